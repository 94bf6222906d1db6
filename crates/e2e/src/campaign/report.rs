//! What a campaign tells the one who started it.

use std::io::{self, Write};
use std::process::ExitCode;
use std::time::Instant;

use anyhow::Result;
use serde_json::json;

use super::{Outcome, Plan, run};
use crate::progress;

/// Runs a plan in a temporary folder, which is kept if something is wrong, and shows what came of
/// it, for people or as one line of JSON.
pub fn run_and_show(plan: &Plan, is_json: bool) -> Result<ExitCode> {
    let folder = tempfile::tempdir()?;
    let started = Instant::now();
    let mut stdout = io::stdout().lock();
    if !is_json {
        writeln!(stdout, "{}", plan.replay())?;
    }
    let bar = progress::bar(u64::from(plan.cycles), "cycles");
    let outcome = run(plan, folder.path(), &bar);
    let seconds = started.elapsed().as_secs_f64();
    if is_json {
        writeln!(stdout, "{}", json(plan, &outcome, seconds))?;
    } else {
        show(&outcome, seconds, &mut stdout)?;
    }
    if outcome.is_good() {
        return Ok(ExitCode::SUCCESS);
    }
    explain(&outcome, &mut io::stderr().lock())?;
    writeln!(io::stderr(), "data kept in {}", folder.keep().display())?;
    writeln!(io::stderr(), "repeat with: {}", plan.replay())?;
    Ok(ExitCode::FAILURE)
}

/// Faults and failures, one to a line.
pub fn explain(outcome: &Outcome, out: &mut dyn Write) -> io::Result<()> {
    for (directory, fault) in &outcome.faults {
        writeln!(out, "data-{directory}: {fault}")?;
    }
    for (directory, failure) in &outcome.failures {
        writeln!(out, "data-{directory}: {failure:#}")?;
    }
    Ok(())
}

fn show(outcome: &Outcome, seconds: f64, out: &mut dyn Write) -> io::Result<()> {
    for (name, tried, reached) in outcome.points.rows() {
        writeln!(out, "{name:<32} tried {tried:>4}, reached {reached:>4}")?;
    }
    writeln!(out, "{} · {seconds:.1} s", outcome.counts)
}

fn json(plan: &Plan, outcome: &Outcome, seconds: f64) -> serde_json::Value {
    let counts: serde_json::Map<_, _> = outcome
        .counts
        .rows()
        .into_iter()
        .map(|(name, count)| (name.into(), count.into()))
        .collect();
    let points: Vec<_> = outcome
        .points
        .rows()
        .map(|(name, tried, reached)| json!({"name": name, "tried": tried, "reached": reached}))
        .collect();
    json!({
        "replay": plan.replay(),
        "good": outcome.is_good(),
        "seconds": seconds,
        "slowest_start_ms": u64::try_from(outcome.counts.ready_max.as_millis()).unwrap_or(u64::MAX),
        "counts": counts,
        "points": points,
    })
}
