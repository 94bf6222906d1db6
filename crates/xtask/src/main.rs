//! The project's own tool: one command that checks (`ci`, read-only) and one that writes (`fix`).
//!
//! Everything else is a part of those two that can be run alone. Nothing here is shipped.

mod ci;
mod counts;
mod deny;
mod forward;
mod fuzz;
mod packages;
mod process;
mod rivals;
mod source;
mod tidy;
mod workspace;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(name = "cargo xtask", about = "Checks and chores of the Courant workspace")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Check everything; changes no file of the tree
    Ci(ci::CiOptions),
    /// Write what can be written: format, and what clippy can repair
    Fix,
    /// Install what the tests need, build the binary, run all tests
    Test(ci::TestOptions),
    /// Check the house rules (STYLE.md)
    Tidy,
    /// Check licences, bans, sources and advisories of the dependencies
    Deny,
    /// Instructions per message on the hot paths, against crates/bench/counts.toml
    Counts(counts::CountsOptions),
    /// Run the fuzz targets, from the corpus in fuzz/corpus
    Fuzz(fuzz::FuzzOptions),
    /// Install other brokers, and measure them and the binary side by side
    Rivals(rivals::RivalsOptions),
    /// Any subcommand of forward.rs, with its arguments
    #[command(external_subcommand)]
    Forward(Vec<String>),
}

fn not_here(was_run: bool) -> anyhow::Result<()> {
    anyhow::ensure!(was_run, "this machine does not allow it, so nothing was shown");
    Ok(())
}

fn main() -> ExitCode {
    let result = match Arguments::parse().command {
        Command::Ci(options) => ci::check(&options),
        Command::Fix => ci::fix(),
        Command::Test(options) => ci::test(&options),
        Command::Tidy => tidy::run(),
        Command::Deny => deny::run().map(|outcome| outcome.print("deny")),
        Command::Counts(options) => counts::run(&options),
        Command::Fuzz(options) => fuzz::run(&options),
        Command::Rivals(options) => rivals::run(&options),
        Command::Forward(arguments) => forward::run(&arguments).and_then(not_here),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}
