//! Fill and drain a small volume: `fulldisk --cycles N --seed S`. Prints what was done; ends with 1
//! if anything was lost, refused for another reason, or kept from starting.
//!
//! Where no volume can be mounted it says so and ends with 3.

use std::io::Write;
use std::process::ExitCode;

use anyhow::Result;
use clap::Parser;
use courant_e2e::fulldisk::{Plan, run};
use courant_e2e::progress;
use courant_e2e::volume::{Kind, why_not};

/// Fill a small disk until messages are refused, drain it, restart with no byte free
#[derive(Parser)]
struct Arguments {
    /// Times to fill and drain
    #[arg(long, default_value_t = 100)]
    cycles: u32,
    /// Repeats the plan of an earlier run
    #[arg(long)]
    seed: Option<u64>,
    /// Size of the volume
    #[arg(long, default_value_t = 64)]
    volume_mib: u64,
    /// What the volume is made of
    #[arg(long, value_enum, default_value = "tmpfs")]
    on: Kind,
    /// One line of JSON instead of a table
    #[arg(long)]
    json: bool,
}

/// Exit code where the machine does not allow it.
const NOT_HERE: u8 = 3;

fn main() -> Result<ExitCode> {
    let arguments = Arguments::parse();
    let mut stderr = std::io::stderr();
    if let Some(why) = why_not(arguments.on) {
        writeln!(stderr, "NO DISK WAS FILLED: a volume can't be mounted here: {why}")?;
        return Ok(ExitCode::from(NOT_HERE));
    }
    let plan = Plan {
        cycles: arguments.cycles,
        seed: arguments.seed.unwrap_or_else(|| u64::from(std::process::id())),
        volume_bytes: arguments.volume_mib << 20,
        kind: arguments.on,
    };
    let mut stdout = std::io::stdout().lock();
    if !arguments.json {
        writeln!(stdout, "{}", plan.replay())?;
    }
    let folder = tempfile::tempdir()?;
    let bar = progress::bar(u64::from(plan.cycles), "cycles");
    let figures = match run(&plan, folder.path(), &bar) {
        Ok(figures) => figures,
        Err(error) => {
            writeln!(stderr, "{error:#}\nrepeat with: {}", plan.replay())?;
            return Ok(ExitCode::FAILURE);
        }
    };
    if arguments.json {
        writeln!(stdout, "{}", figures.json())?;
    } else {
        figures.show(&mut stdout)?;
    }
    Ok(if figures.is_good() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
