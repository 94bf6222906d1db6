//! `kill -9` under load, as often as one likes: `kill9 --cycles N --seed S`.
//!
//! Prints the counts of the oracle; ends with 1 if anything was wrong, and then prints the faults
//! and the line that repeats the campaign, and keeps the data directories.

use std::io::Write;
use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Context, Result, bail};
use courant_e2e::campaign::{self, Plan};

const USAGE: &str = "kill9 [--cycles N] [--seed S] [--publishers P] [--consumers C] \
     [--directories D] [--stops ONE_IN]";

fn main() -> Result<ExitCode> {
    let plan = parse(std::env::args().skip(1))?;
    let mut stdout = std::io::stdout().lock();
    writeln!(stdout, "{}", plan.replay())?;
    let folder = tempfile::tempdir()?;
    let started = Instant::now();
    let outcome = campaign::run(&plan, folder.path());
    writeln!(stdout, "{} · {:.1} s", outcome.counts, started.elapsed().as_secs_f64())?;
    if outcome.is_good() {
        return Ok(ExitCode::SUCCESS);
    }
    for (directory, fault) in &outcome.faults {
        writeln!(stdout, "data-{directory}: {fault}")?;
    }
    for (directory, failure) in &outcome.failures {
        writeln!(stdout, "data-{directory}: {failure:?}")?;
    }
    writeln!(stdout, "data kept in {}", folder.keep().display())?;
    writeln!(stdout, "repeat with: {}", plan.replay())?;
    Ok(ExitCode::FAILURE)
}

fn parse(mut arguments: impl Iterator<Item = String>) -> Result<Plan> {
    let mut plan = Plan::default();
    let mut seed = None;
    while let Some(name) = arguments.next() {
        let value = arguments.next().with_context(|| format!("{name} needs a value\n{USAGE}"))?;
        match name.as_str() {
            "--cycles" => plan.cycles = value.parse()?,
            "--seed" => seed = Some(value.parse()?),
            "--publishers" => plan.publishers = value.parse()?,
            "--consumers" => plan.consumers = value.parse()?,
            "--stops" => plan.stops = value.parse()?,
            "--directories" => plan.directories = value.parse()?,
            _ => bail!("{name} is no option\n{USAGE}"),
        }
    }
    plan.seed = seed.unwrap_or_else(|| u64::from(std::process::id()));
    if plan.cycles == 0 || plan.directories == 0 {
        bail!("at least one cycle and one directory\n{USAGE}");
    }
    Ok(plan)
}
