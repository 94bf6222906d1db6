//! Subcommands that are programs of other crates: one table, arguments handed on unchanged.

use std::process::Command;

use anyhow::{Result, bail};

use crate::process;
use crate::workspace;

/// A program of the workspace under a short name.
struct Program {
    name: &'static str,
    binary: &'static str,
    about: &'static str,
    /// Whether it drives the real `courant`, whose path it then finds in `COURANT_BIN`.
    drives_courant: bool,
}

const PROGRAMS: &[Program] = &[Program {
    name: "kill9",
    binary: "kill9",
    about: "kill the broker under load, restart it, compare with the oracle: --cycles N --seed S",
    drives_courant: true,
}];

/// Builds and runs the program named by the first argument.
pub(crate) fn run(arguments: &[String]) -> Result<()> {
    let Some((name, rest)) = arguments.split_first() else { bail!("no subcommand given") };
    let Some(program) = PROGRAMS.iter().find(|program| program.name == *name) else {
        for program in PROGRAMS {
            eprintln!("{:<8} {}", program.name, program.about);
        }
        bail!("no subcommand `{name}`: see `cargo xtask help`, and the programs above");
    };
    let root = workspace::root()?;
    let mut command = Command::new(process::test_binary(&root, program.binary)?);
    if program.drives_courant && std::env::var_os("COURANT_BIN").is_none() {
        let courant = process::release_binary(&root, "courant-server", "courant")?;
        command.env("COURANT_BIN", courant);
    }
    process::run(command.current_dir(&root).args(rest))
}
