//! Power cuts under load, against the real binary on a folder that forgets what was not synced:
//! `powercut --cuts N --seed S`. Otherwise as `kill9`.
//!
//! Where no such folder can be mounted it says so and ends with 3.

use std::io::Write;
use std::process::ExitCode;

use anyhow::Result;
use clap::Parser;
use courant_e2e::campaign::choices::Choices;
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
    #[command(flatten)]
    choices: Choices,
    /// Something wrong on purpose: the campaign must fail
    #[arg(long, value_enum)]
    wrong: Option<Wrong>,
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
    let plan = arguments.choices.plan(arguments.cuts);
    let plan = Plan { power: true, wrong: arguments.wrong, ..plan };
    report::run_and_show(&plan, arguments.choices.json)
}
