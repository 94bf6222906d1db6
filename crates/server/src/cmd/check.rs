//! `courant check`: is a data folder whole, and what becomes of it if not.
//!
//! The answer is on stdout, the progress on stderr, and only on a terminal.

use std::fmt::Write as _;
use std::io::{self, IsTerminal, Write};
use std::path::PathBuf;

use anyhow::{Context, bail};
use clap::Args;
use courant::inspect::{Fault, Inspection, Outcome, QueueSeen, Report, SetAside};
use serde_json::json;

use crate::folder_report::{self, id, plural, size};

const HELP: &str = "\
The broker of the folder must be stopped. Everything is read and verified; nothing
is changed, unless --quarantine is given: then the damaged parts are copied into
DIR/quarantine-N, with a page that says what they are, and everything else stays.

Exit codes:
  0  the folder is whole, or a broker starts on it after --quarantine
  1  it is damaged, or could not be checked; the reason is on stderr
  2  wrong usage";

/// Verify a data folder
#[derive(Debug, Args)]
#[command(after_help = HELP)]
pub(crate) struct Check {
    /// The data folder of a broker that is stopped
    #[arg(value_name = "DIR")]
    folder: PathBuf,

    /// Set damaged parts aside, so that a broker starts with all the rest
    #[arg(long)]
    quarantine: bool,

    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

impl Check {
    /// Checks and says what was found; damage is an error.
    pub(crate) fn run(&self) -> anyhow::Result<()> {
        let cannot = || format!("cannot check {}", self.folder.display());
        let mut inspection = Inspection::begin(&self.folder).with_context(cannot)?;
        let mut report = read(&mut inspection).with_context(cannot)?;
        let mut set_aside = None;
        if self.quarantine && report.needs_quarantine() {
            let into = self.free_folder();
            let set = inspection.set_aside(&report, &into).with_context(cannot)?;
            set_aside = Some((into, set));
            if !self.json {
                folder_report::print(&summary(&report))?;
            }
            inspection = Inspection::begin(&self.folder).with_context(cannot)?;
            report = read(&mut inspection).with_context(cannot)?;
        }
        self.show(&report, set_aside.as_ref())?;
        let starts = report.unknown.is_none() && !report.needs_quarantine();
        if report.is_whole() || self.quarantine && starts {
            return Ok(());
        }
        let places = report.log.faults.len() as u64;
        bail!("{} is damaged: {}", self.folder.display(), plural(places, "place", "places"));
    }

    fn show(&self, report: &Report, set: Option<&(PathBuf, SetAside)>) -> anyhow::Result<()> {
        if self.json {
            let mut json = folder_report::json(report);
            if let (Some((into, set)), Some(members)) = (set, json.as_object_mut()) {
                let set = json!({"folder": into, "files": set.files, "bytes": set.bytes,
                    "rewritten": set.rewritten, "removed": set.removed});
                members.insert("set_aside".to_owned(), set);
            }
            return folder_report::print(&format!("{json}\n"));
        }
        let mut text = String::new();
        if let Some((into, set)) = set {
            let _ = writeln!(
                text,
                "\nset aside in {}: {}, {}\nmessages that were acked near them may come again, \
                 as redelivered: maybe\n\nnow:\n",
                into.display(),
                plural(set.files.len() as u64, "range", "ranges"),
                size(set.bytes)
            );
        }
        text.push_str(&summary(report));
        folder_report::print(&text)
    }

    /// The first `quarantine-N` that is not there.
    fn free_folder(&self) -> PathBuf {
        let named = |number: u32| self.folder.join(format!("quarantine-{number}"));
        (1..u32::MAX).map(named).find(|folder| !folder.exists()).unwrap_or_else(|| named(0))
    }
}

/// Reads everything, with progress on a terminal.
pub(crate) fn read(inspection: &mut Inspection) -> anyhow::Result<Report> {
    let total = inspection.bytes();
    let (mut done, mut percent_shown) = (0, None);
    let is_shown = io::stderr().is_terminal() && total > 0;
    let report = inspection.run(&mut |bytes| {
        done += bytes;
        let percent = (done.saturating_mul(100) / total.max(1)).min(100);
        if is_shown && percent_shown != Some(percent) {
            percent_shown = Some(percent);
            let (done, total) = (size(done), size(total));
            let _ = write!(io::stderr(), "\r{percent:3} %  {done} of {total}  ");
        }
    });
    if is_shown {
        let _ = write!(io::stderr(), "\r{:40}\r", "");
    }
    Ok(report?)
}

fn summary(report: &Report) -> String {
    let mut text = String::new();
    let _ = write_summary(&mut text, report);
    text
}

fn write_summary(text: &mut String, report: &Report) -> std::fmt::Result {
    let bytes = report.log.segments.iter().map(|segment| segment.used_bytes).sum();
    let segments = plural(report.log.segments.len() as u64, "segment", "segments");
    let records = plural(report.records, "record", "records");
    writeln!(text, "log       {segments}, {}, {records}, {}", size(bytes), ending(report))?;
    match &report.snapshot {
        Some(snapshot) => {
            let pages = plural(snapshot.pages, "page", "pages");
            writeln!(text, "snapshot  {pages}, covers the log up to {}", id(snapshot.covers))?;
        }
        None => writeln!(text, "snapshot  none")?,
    }
    if report.unknown.is_none() {
        let ready: u64 = report.queues.iter().map(|queue| queue.ready).sum();
        let queues = plural(report.queues.len() as u64, "queue", "queues");
        writeln!(text, "queues    {queues}, {}", plural(ready, "message", "messages"))?;
    }
    if let Some(torn) = &report.log.torn {
        writeln!(
            text,
            "note      {}, offset {}: an unfinished write of {} bytes, never confirmed; a start \
             drops it",
            torn.file, torn.offset, torn.bytes
        )?;
    }
    if report.is_whole() {
        return writeln!(text, "\nwhole: nothing is damaged");
    }
    for fault in &report.log.faults {
        writeln!(text)?;
        write_fault(text, report, fault)?;
    }
    write_lost(text, report)?;
    write_remedy(text, report)
}

fn ending(report: &Report) -> &'static str {
    if report.log.clean { "closed in order" } else { "not closed in order" }
}

fn write_fault(text: &mut String, report: &Report, fault: &Fault) -> std::fmt::Result {
    let at = &fault.at;
    let bytes = plural(at.bytes, "byte", "bytes");
    writeln!(text, "{}, offset {}: {} ({bytes})", at.file, at.offset, fault.why)?;
    for line in folder_report::concerned(report, fault) {
        writeln!(text, "    {line}")?;
    }
    let outcome = match fault.outcome {
        Outcome::Mended => "a start mends it; nothing is lost",
        Outcome::Unseen => "a start does not look there; it is found when it is read",
        Outcome::Reported => "a start goes on, and parks the message as corrupt",
        Outcome::Refused => "a start is refused",
    };
    writeln!(text, "    {outcome}")
}

fn write_lost(text: &mut String, report: &Report) -> std::fmt::Result {
    if let Some(unknown) = &report.unknown {
        writeln!(text, "\nwhat the queues hold is not known: {unknown}")?;
    }
    let is_hurt = |queue: &&QueueSeen| queue.lost_count > 0 || queue.unread.is_some();
    for queue in report.queues.iter().filter(is_hurt) {
        writeln!(text)?;
        if queue.lost_count > 0 {
            let (lost, ready) = (queue.lost_count, plural(queue.ready, "message", "messages"));
            writeln!(text, "queue {}: {lost} of {ready} cannot be read:", queue.name)?;
            let ids: Vec<String> = queue.lost.iter().map(|lost| id(*lost)).collect();
            let more = if queue.lost_count > ids.len() as u64 { " …" } else { "" };
            writeln!(text, "    {}{more}", ids.join(" "))?;
        }
        if let Some(unread) = &queue.unread {
            let ready = plural(queue.ready, "message", "messages");
            writeln!(text, "queue {}: which {ready} it has is not known: {unread}", queue.name)?;
        }
    }
    Ok(())
}

fn write_remedy(text: &mut String, report: &Report) -> std::fmt::Result {
    let is_mended = |fault: &Fault| fault.outcome == Outcome::Mended;
    if report.unknown.is_none() && report.log.faults.iter().all(is_mended) {
        return writeln!(text, "\na broker may be started");
    }
    if !report.needs_quarantine() {
        let what = "what cannot be read is parked as corrupt";
        return writeln!(text, "\na broker may be started: {what}");
    }
    writeln!(
        text,
        "\nrestore the folder from a backup if there is one; else set the damage aside:"
    )?;
    writeln!(text, "    courant check DIR --quarantine")
}
