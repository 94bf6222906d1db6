//! The programs that the tests use and Rust does not bring: looked for, and installed if missing.

use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::process::{self, Outcome};

/// (program, Debian package, what needs it)
const PACKAGES: &[(&str, &str, &str)] = &[
    ("git", "git", "tidy lists the files of the tree"),
    ("nc", "netcat-openbsd", "the README's transcript is typed through it"),
    ("valgrind", "valgrind", "instruction counts of the hot paths"),
];

/// Installs what is missing through apt-get, as root or through sudo without a question.
pub(crate) fn install() -> Result<Outcome> {
    let missing: Vec<_> =
        PACKAGES.iter().filter(|(program, ..)| !process::is_installed(program)).collect();
    if missing.is_empty() {
        return Ok(Outcome::Passed);
    }
    for (program, package, need) in &missing {
        eprintln!("`{program}` is missing (package {package}): {need}");
    }
    let names: Vec<_> = missing.iter().map(|(_, package, _)| *package).collect();
    let by_hand = format!("install it by hand: apt-get install {}", names.join(" "));
    if !process::is_installed("apt-get") {
        bail!("this machine has no apt-get; {by_hand}");
    }
    process::run(&mut apt_get(&["update", "-q"])).with_context(|| by_hand.clone())?;
    let mut install = apt_get(&["install", "-q", "-y", "--no-install-recommends"]);
    process::run(install.args(&names)).context(by_hand)?;
    Ok(Outcome::Passed)
}

fn apt_get(arguments: &[&str]) -> Command {
    let is_root = process::output(Command::new("id").arg("-u")).is_ok_and(|id| id.trim() == "0");
    let mut command = if is_root {
        Command::new("apt-get")
    } else {
        let mut sudo = Command::new("sudo");
        sudo.args(["-n", "apt-get"]);
        sudo
    };
    command.args(arguments).env("DEBIAN_FRONTEND", "noninteractive");
    command
}
