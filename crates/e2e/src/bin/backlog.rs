//! A long backlog: `backlog --messages N`. Prints a table of what was measured and of its bounds;
//! ends with 1 if one is exceeded.

use std::io::Write;
use std::process::ExitCode;

use anyhow::Result;
use clap::Parser;
use courant_e2e::backlog::{Plan, run};
use courant_e2e::progress;

/// Measure memory, disk and recovery of a long backlog of durable messages
#[derive(Parser)]
struct Arguments {
    /// Durable messages that wait
    #[arg(long, default_value_t = 1_000_000)]
    #[arg(value_parser = clap::value_parser!(u64).range(1000..))]
    messages: u64,
    /// Bytes of each body
    #[arg(long, default_value_t = 256)]
    body_bytes: usize,
    /// One line of JSON instead of a table
    #[arg(long)]
    json: bool,
}

fn main() -> Result<ExitCode> {
    let arguments = Arguments::parse();
    let plan = Plan { messages: arguments.messages, body_bytes: arguments.body_bytes };
    let folder = tempfile::tempdir()?;
    let (figures, said) = run(&plan, &folder.path().join("data"), &progress::bar(0, "messages"))?;
    let mut stdout = std::io::stdout().lock();
    if arguments.json {
        writeln!(stdout, "{}", figures.json())?;
    } else {
        figures.show(&mut stdout)?;
    }
    if figures.is_good() {
        return Ok(ExitCode::SUCCESS);
    }
    writeln!(std::io::stderr(), "the broker said:\n{said}")?;
    Ok(ExitCode::FAILURE)
}
