//! A broker under a memory cap among bad consumers: `abuse`. Prints a table of what was measured
//! and of its bounds; ends with 1 if one is exceeded or a message is missing.
//!
//! Without the right to cap memory it says so and goes on without a cap.

use std::io::Write;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Result;
use clap::Parser;
use courant_e2e::abuse::{Plan, run};
use courant_e2e::{memory_group, progress};

/// Stalled readers, consumers that never ack, a flood, and a healthy pair, under a memory cap
#[derive(Parser)]
struct Arguments {
    /// Bodies that wait before it begins
    #[arg(long, default_value_t = 2048)]
    backlog_mib: u64,
    /// Readers that stopped
    #[arg(long, default_value_t = 200)]
    stalled: u32,
    /// Consumers that never ack
    #[arg(long, default_value_t = 200)]
    never_acking: u32,
    /// Of each of the two measurements
    #[arg(long, default_value_t = 30)]
    seconds: u64,
    /// Memory that the broker may have, page cache included
    #[arg(long, default_value_t = 512)]
    cap_mib: u64,
    /// Shows latencies and does not judge them, for machines with other work
    #[arg(long)]
    any_latency: bool,
    /// One line of JSON instead of a table
    #[arg(long)]
    json: bool,
}

fn main() -> Result<ExitCode> {
    let arguments = Arguments::parse();
    let mut cap_bytes = Some(arguments.cap_mib << 20);
    if let Some(why) = memory_group::why_not() {
        writeln!(std::io::stderr(), "MEMORY IS NOT CAPPED, only measured: {why}")?;
        cap_bytes = None;
    }
    let plan = Plan {
        backlog_bytes: arguments.backlog_mib << 20,
        stalled: arguments.stalled,
        never_acking: arguments.never_acking,
        time: Duration::from_secs(arguments.seconds),
        cap_bytes,
        judges_latency: !arguments.any_latency,
    };
    let folder = tempfile::tempdir()?;
    let figures = run(&plan, &folder.path().join("data"), &progress::bar(0, "start"))?;
    let mut stdout = std::io::stdout().lock();
    if arguments.json {
        writeln!(stdout, "{}", figures.json())?;
    } else {
        figures.show(&mut stdout)?;
    }
    Ok(if figures.is_good() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
