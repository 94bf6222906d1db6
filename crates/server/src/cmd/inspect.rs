//! `courant inspect`: what a data folder holds.

use std::fmt::Write as _;
use std::io::{self, BufWriter, Write};
use std::ops::ControlFlow;
use std::path::PathBuf;

use anyhow::Context;
use clap::Args;
use courant::inspect::{Inspection, QueueSeen, RecordSeen, Report};

use crate::cmd::check;
use crate::folder_report::{self, id, size};
use crate::item;
use crate::table::{Align, Table};

const HELP: &str = "\
The broker of the folder must be stopped; nothing is changed. Damage is shown as
far as it is met; courant check says all about it.

Exit codes:
  0  shown
  1  the folder could not be read; the reason is on stderr
  2  wrong usage";

/// Show what a data folder holds
#[derive(Debug, Args)]
#[command(after_help = HELP)]
pub(crate) struct Inspect {
    /// The data folder of a broker that is stopped
    #[arg(value_name = "DIR")]
    folder: PathBuf,

    /// List every record of the log
    #[arg(long)]
    records: bool,

    /// Print JSON: one object, or one a line with --records
    #[arg(long)]
    json: bool,
}

impl Inspect {
    /// Shows it.
    pub(crate) fn run(&self) -> anyhow::Result<()> {
        let cannot = || format!("cannot inspect {}", self.folder.display());
        let mut inspection = Inspection::begin(&self.folder).with_context(cannot)?;
        if self.records {
            return self.list(&mut inspection).with_context(cannot);
        }
        let report = check::read(&mut inspection).with_context(cannot)?;
        let text =
            if self.json { format!("{}\n", folder_report::json(&report)) } else { tables(&report) };
        folder_report::print(&text)
    }

    /// Lists records until there are no more, or nobody reads them.
    fn list(&self, inspection: &mut Inspection) -> anyhow::Result<()> {
        let mut out = BufWriter::new(io::stdout().lock());
        let mut outcome = Ok(());
        inspection.records(&mut |record| {
            let line = if self.json { folder_report::record_json(&record) } else { line(&record) };
            outcome = writeln!(out, "{line}");
            if outcome.is_ok() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        })?;
        folder_report::unless_left(outcome.and_then(|()| out.flush()))
    }
}

fn line(record: &RecordSeen) -> String {
    let mut line = format!(
        "{} {:>10}  {:<18} {} {}",
        record.file,
        record.offset,
        record.kind,
        lane(record.lane),
        record.seq
    );
    for (name, value) in &record.fields {
        let _ = write!(line, " {name}={value}");
    }
    if record.body_bytes > 0 {
        let state = if record.body_is_intact { "" } else { " DAMAGED" };
        let _ = write!(line, " body={}{state}", record.body_bytes);
    }
    line
}

/// The shard, with a mark if it is its state.
fn lane(lane: u16) -> String {
    let shard = lane & 0x7fff;
    if lane == shard { shard.to_string() } else { format!("{shard}s") }
}

/// Rows under their titles; the first column to the left, the others to the right.
fn table<const N: usize>(text: &mut String, titles: [&str; N], rows: &[[String; N]]) {
    let aligns = std::iter::once(Align::Left).chain(std::iter::repeat(Align::Right));
    Table::new(titles.into_iter().zip(aligns)).write(text, rows);
}

fn tables(report: &Report) -> String {
    let mut text = String::new();
    let segments = report.log.segments.iter().zip(&report.live_bytes);
    let rows: Vec<[String; 7]> = segments
        .map(|(segment, live)| {
            let frames = segment.lanes.iter().map(|span| span.frames).sum::<u64>();
            let (first, last) = segment
                .lanes
                .iter()
                .find(|span| span.lane.0 & 0x8000 == 0)
                .map_or((String::new(), String::new()), |span| {
                    (span.first.0.to_string(), span.last.0.to_string())
                });
            let dead = segment.used_bytes.saturating_sub(*live);
            [
                segment.file.clone(),
                size(segment.used_bytes),
                size(*live),
                size(dead),
                frames.to_string(),
                first,
                last,
            ]
        })
        .collect();
    let titles = ["segment", "used", "live", "dead", "frames", "first seq", "last seq"];
    table(&mut text, titles, &rows);
    let rows: Vec<[String; 3]> = lanes(report);
    text.push('\n');
    table(&mut text, ["lane", "origin", "last seq"], &rows);
    text.push('\n');
    queues(&mut text, report);
    text.push('\n');
    match &report.snapshot {
        Some(snapshot) => {
            let (pages, covers) = (snapshot.pages, id(snapshot.covers));
            let _ = writeln!(text, "snapshot: {pages} pages, covers the log up to {covers}");
        }
        None => text.push_str("snapshot: none\n"),
    }
    if let Some(unknown) = &report.unknown {
        let _ = writeln!(text, "what the queues hold is not known: {unknown}");
    }
    if !report.is_whole() {
        text.push_str("damaged: courant check says where\n");
    }
    text
}

fn queues(text: &mut String, report: &Report) {
    let row = |queue: &QueueSeen| {
        let oldest = queue.oldest.map_or(String::new(), id);
        let policies = folder_report::policies(&queue.options).into_iter();
        let policies = policies.map(|(key, value)| format!("{key}:{}", item::shown(key, &value)));
        let policies: Vec<String> = policies.collect();
        let (ready, bytes) = (queue.ready.to_string(), size(queue.bytes));
        [queue.name.clone(), ready, bytes, oldest, policies.join(" ")]
    };
    let aligns = [Align::Left, Align::Right, Align::Right, Align::Right, Align::Left];
    let titles = ["queue", "messages", "bytes", "oldest", "policies"].into_iter().zip(aligns);
    Table::new(titles).write(text, &report.queues.iter().map(row).collect::<Vec<_>>());
}

fn lanes(report: &Report) -> Vec<[String; 3]> {
    let mut lasts = std::collections::BTreeMap::new();
    for span in report.log.segments.iter().flat_map(|segment| &segment.lanes) {
        lasts.insert(span.lane.0, span.last.0);
    }
    let origins = &report.log.origins;
    let rows = lasts.into_iter().map(|(of, last)| {
        let origin = origins.iter().find(|(known, _)| known.0 == of);
        [lane(of), origin.map_or(0, |(_, seq)| seq.0).to_string(), last.to_string()]
    });
    rows.collect()
}
