//! Power cuts under load, against the real binary on a folder that forgets what was not synced:
//! `powercut --cuts N --seed S`. Otherwise as `kill9`.
//!
//! Where no such folder can be mounted it says so and ends with 3.

use std::io::Write;
use std::process::ExitCode;

use anyhow::Result;
use clap::Parser;
use courant_e2e::campaign::ground::Wrong;
use courant_e2e::campaign::{Plan, report};
use courant_forgetful::mount::why_not;

/// Cut the power of the broker under load, restart it, compare with the oracle
#[derive(Parser)]
struct Arguments {
    /// Starts under load, each ended by a cut
    #[arg(long, default_value_t = Plan::default().cycles)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..))]
    cuts: u32,
    /// Repeats the plan of an earlier run
    #[arg(long)]
    seed: Option<u64>,
    /// Publishers at once, in each directory
    #[arg(long, default_value_t = Plan::default().publishers)]
    publishers: u32,
    /// Consumers that share one queue, in each directory
    #[arg(long, default_value_t = Plan::default().consumers)]
    consumers: u32,
    /// Data directories, and so brokers, at once
    #[arg(long, default_value_t = Plan::default().directories)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..))]
    directories: u32,
    /// One run in so many ends by SIGTERM before the cut
    #[arg(long, default_value_t = Plan::default().stops)]
    stops: u32,
    /// One run in so many ends at a named step on the way to the disk; 0: none
    #[arg(long, default_value_t = Plan::default().points)]
    points: u32,
    /// Something wrong on purpose: the campaign must fail
    #[arg(long, value_enum)]
    wrong: Option<Wrong>,
    /// One line of JSON instead of text
    #[arg(long)]
    json: bool,
}

/// Exit code where the machine does not allow it.
const NOT_HERE: u8 = 3;

fn main() -> Result<ExitCode> {
    let arguments = Arguments::parse();
    if let Some(why) = why_not() {
        let mut stderr = std::io::stderr();
        writeln!(stderr, "NO POWER WAS CUT: a folder that forgets can't be mounted here: {why}")?;
        return Ok(ExitCode::from(NOT_HERE));
    }
    let plan = Plan {
        cycles: arguments.cuts,
        seed: arguments.seed.unwrap_or_else(|| u64::from(std::process::id())),
        publishers: arguments.publishers,
        consumers: arguments.consumers,
        directories: arguments.directories,
        stops: arguments.stops,
        points: arguments.points,
        power: true,
        wrong: arguments.wrong,
    };
    report::run_and_show(&plan, arguments.json)
}
