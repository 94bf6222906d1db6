//! `kill -9` under load, as often as one likes: `kill9 --cycles N --seed S`.
//!
//! Prints the counts of the oracle; ends with 1 if anything was wrong, and then prints the faults
//! and the line that repeats the campaign, and keeps the data directories.

use std::process::ExitCode;

use anyhow::Result;
use clap::Parser;
use courant_e2e::campaign::{Plan, report};

/// Kill the broker under load, restart it, compare with the oracle
#[derive(Parser)]
struct Arguments {
    /// Starts under load
    #[arg(long, default_value_t = Plan::default().cycles)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..))]
    cycles: u32,
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
    /// One run in so many ends by SIGTERM
    #[arg(long, default_value_t = Plan::default().stops)]
    stops: u32,
    /// One run in so many ends at a named step on the way to the disk; 0: none
    #[arg(long, default_value_t = Plan::default().points)]
    points: u32,
    /// One line of JSON instead of text
    #[arg(long)]
    json: bool,
}

fn main() -> Result<ExitCode> {
    let arguments = Arguments::parse();
    let plan = Plan {
        cycles: arguments.cycles,
        seed: arguments.seed.unwrap_or_else(|| u64::from(std::process::id())),
        publishers: arguments.publishers,
        consumers: arguments.consumers,
        directories: arguments.directories,
        stops: arguments.stops,
        points: arguments.points,
        power: false,
        wrong: None,
    };
    report::run_and_show(&plan, arguments.json)
}
