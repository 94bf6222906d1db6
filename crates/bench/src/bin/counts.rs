//! Runs one hot path for a number of messages, for `cargo xtask counts`.

use std::io::Write as _;

use anyhow::{Context, Result};
use clap::Parser;
use courant_bench::path;

/// Run a hot path under callgrind
#[derive(Debug, Parser)]
struct Arguments {
    /// Name the paths, one a line
    #[arg(long)]
    list: bool,
    /// The path
    #[arg(long, required_unless_present = "list")]
    path: Option<String>,
    /// For how many messages
    #[arg(long, default_value_t = 20_000)]
    messages: u64,
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    if arguments.list {
        let mut out = std::io::stdout().lock();
        for (name, _) in path::PATHS {
            writeln!(out, "{name}")?;
        }
        return Ok(());
    }
    path::run(&arguments.path.context("no --path")?, arguments.messages)
}
