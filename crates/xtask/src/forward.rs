//! Subcommands that are programs of other crates: one table, arguments handed on unchanged.

use std::path::Path;
use std::process::Command;

use anyhow::{Result, bail};

use crate::process;
use crate::workspace;

/// A program of the workspace under a short name.
struct Program {
    name: &'static str,
    binary: &'static str,
    about: &'static str,
    /// Whether it drives the real `courant`: see [`binaries`].
    drives_courant: bool,
}

const PROGRAMS: &[Program] = &[
    Program {
        name: "kill9",
        binary: "kill9",
        about: "kill the broker under load, restart it, ask the oracle: --cycles N --seed S",
        drives_courant: true,
    },
    Program {
        name: "powercut",
        binary: "powercut",
        about: "the same with the power cut, on a folder that forgets: --cuts N --seed S",
        drives_courant: true,
    },
    Program {
        name: "backlog",
        binary: "backlog",
        about: "memory, disk and recovery of a long backlog: --messages N",
        drives_courant: true,
    },
    Program {
        name: "fulldisk",
        binary: "fulldisk",
        about: "fill a small disk, drain it, restart with no byte free: --cycles N --seed S",
        drives_courant: true,
    },
    Program {
        name: "abuse",
        binary: "abuse",
        about: "bad consumers and a flood under a memory cap, and a healthy pair among them",
        drives_courant: true,
    },
    Program {
        name: "scale",
        binary: "scale",
        about: "a hundred thousand queues and bindings, subscribers that come and go, idle clients",
        drives_courant: true,
    },
];

/// What a program ends with where the machine does not allow what it does.
const NOT_HERE: i32 = 3;

/// Builds and runs the program named by the first argument; whether this machine allows it.
pub(crate) fn run(arguments: &[String]) -> Result<bool> {
    let Some((name, rest)) = arguments.split_first() else { bail!("no subcommand given") };
    let Some(program) = PROGRAMS.iter().find(|program| program.name == *name) else {
        for program in PROGRAMS {
            eprintln!("{:<9} {}", program.name, program.about);
        }
        bail!("no subcommand `{name}`: see `cargo xtask help`, and the programs above");
    };
    let root = workspace::root()?;
    let mut command = Command::new(process::test_binary(&root, program.binary)?);
    if program.drives_courant {
        binaries(&root, &mut command)?;
    }
    process::run_unless(command.current_dir(&root).args(rest), NOT_HERE)
}

/// Tells a program or a test where the binaries under test are; builds those that nobody named.
pub(crate) fn binaries(root: &Path, command: &mut Command) -> Result<()> {
    binary(root, command)?;
    if std::env::var_os("COURANT_TESTING_BIN").is_none() {
        command.env("COURANT_TESTING_BIN", process::test_binary(root, "courant")?);
    }
    Ok(())
}

/// Tells a program where the release binary is; builds it if nobody named one.
pub(crate) fn binary(root: &Path, command: &mut Command) -> Result<()> {
    if std::env::var_os("COURANT_BIN").is_none() {
        command.env("COURANT_BIN", process::release_binary(root, "courant-server", "courant")?);
    }
    Ok(())
}
