//! `courant`: the broker and its command line, in one binary.
//!
//! This file parses, runs and turns the outcome into an exit code. `cmd` has one file per command,
//! `config` is the one table of options, `assemble` builds the broker with its doors, `connection`
//! is the small client that the commands share which talk to a broker, `item` and `table` are how
//! they show what it says.

use std::io::Write;
use std::process::ExitCode;

use clap::Parser;

mod assemble;
mod base64;
mod clock;
mod cmd;
mod config;
mod connection;
mod destination;
mod endpoint;
#[cfg(feature = "testing")]
mod fail_point;
mod folder_report;
mod form;
mod input;
mod item;
mod log;
mod quantity;
mod refused;
mod reload;
mod signals;
mod table;
mod transport;
mod unanswered;
mod verdict;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    courant_doors::tls::install_provider();
    match cmd::run(cmd::Cli::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Where there is nobody to read the reason, the exit code still says it.
            let _ = writeln!(std::io::stderr(), "courant: {error:#}");
            ExitCode::FAILURE
        }
    }
}
