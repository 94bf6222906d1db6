//! `kill -9` under load, as often as one likes: `kill9 --cycles N --seed S`.
//!
//! Prints the counts of the oracle; ends with 1 if anything was wrong, and then prints the faults
//! and the line that repeats the campaign, and keeps the data directories.

use std::process::ExitCode;

use anyhow::Result;
use clap::Parser;
use courant_e2e::campaign::choices::Choices;
use courant_e2e::campaign::{Plan, report};

/// Kill the broker under load, restart it, compare with the oracle
#[derive(Parser)]
struct Arguments {
    /// Starts under load
    #[arg(long, default_value_t = Plan::default().cycles)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..))]
    cycles: u32,
    #[command(flatten)]
    choices: Choices,
}

fn main() -> Result<ExitCode> {
    let arguments = Arguments::parse();
    let plan = arguments.choices.plan(arguments.cycles);
    report::run_and_show(&plan, arguments.choices.json)
}
