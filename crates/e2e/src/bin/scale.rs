//! Many of everything: `scale --queues N --bindings N …`. Prints a table of what was measured and
//! of its bounds; ends with 1 if one is exceeded.

use std::io::Write;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Result;
use clap::Parser;
use courant_e2e::figures::Figures;
use courant_e2e::progress;
use courant_e2e::scale::{PARTS, Plan, run};

/// Measure what one more costs where there are very many
#[derive(Parser)]
struct Arguments {
    /// Run these parts only: queues, bindings, subscribers, connections
    #[arg(long, value_delimiter = ',', default_values_t = PARTS.map(str::to_owned))]
    parts: Vec<String>,
    /// Queues that are declared and deleted
    #[arg(long, default_value_t = 100_000)]
    queues: usize,
    /// Bindings of one exchange
    #[arg(long, default_value_t = 100_000)]
    bindings: usize,
    /// Messages that measure what bindings cost
    #[arg(long, default_value_t = 200_000)]
    messages: usize,
    /// Subscriptions that begin and end per second
    #[arg(long, default_value_t = 10_000)]
    subscribes: usize,
    /// How long they come and go
    #[arg(long, default_value_t = 10)]
    seconds: u64,
    /// Connections that do nothing
    #[arg(long, default_value_t = 10_000)]
    connections: usize,
    /// Do not judge times on the wall: for a machine that does other things, too
    #[arg(long)]
    any_time: bool,
    /// One line of JSON instead of a table
    #[arg(long)]
    json: bool,
}

fn main() -> Result<ExitCode> {
    let arguments = Arguments::parse();
    let plan = Plan {
        queues: arguments.queues,
        bindings: arguments.bindings,
        messages: arguments.messages,
        subscribes: arguments.subscribes,
        time: Duration::from_secs(arguments.seconds),
        connections: arguments.connections,
        judges_time: !arguments.any_time,
    };
    let mut figures = Figures::default();
    for part in &arguments.parts {
        let steps = match part.as_str() {
            "queues" => 2 * plan.queues,
            "bindings" => plan.bindings + 4 * plan.messages,
            "connections" => plan.connections,
            _ => 0,
        };
        let folder = tempfile::tempdir()?;
        let progress = progress::bar(steps as u64, "scale").with_message(part.clone());
        run(part, &plan, &folder.path().join("data"), &progress, &mut figures)?;
        progress.finish_and_clear();
    }
    let mut stdout = std::io::stdout().lock();
    if arguments.json {
        writeln!(stdout, "{}", figures.json())?;
    } else {
        figures.show(&mut stdout)?;
    }
    Ok(if figures.is_good() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
