//! The policy of `deny.toml`, checked by `cargo deny`.
//!
//! Licences, bans and sources need nothing but the lock file, so they are always checked.
//! Advisories need the `RustSec` database: where it can't be fetched, the outcome says so.

use std::path::Path;

use anyhow::{Context, Result};

use crate::process::{self, Outcome};
use crate::workspace;

const VERSION: &str = "0.20.2";

/// Installs `cargo deny` if it is missing (two to three minutes on two cores, once), then checks.
pub(crate) fn run() -> Result<Outcome> {
    let root = workspace::root()?;
    install(&root)?;
    process::run(process::cargo(&root).args([
        "deny",
        "--locked",
        "check",
        "--hide-inclusion-graph",
        "bans",
        "licenses",
        "sources",
    ]))?;
    if !process::succeeds(process::cargo(&root).args(["deny", "fetch", "db"])) {
        return Ok(Outcome::PassedWith(
            "advisories were NOT checked: the RustSec database cannot be fetched from here".into(),
        ));
    }
    process::run(process::cargo(&root).args([
        "deny",
        "--locked",
        "check",
        "--disable-fetch",
        "advisories",
    ]))?;
    Ok(Outcome::Passed)
}

fn install(root: &Path) -> Result<()> {
    if process::succeeds(process::cargo(root).args(["deny", "--version"])) {
        return Ok(());
    }
    eprintln!("cargo-deny is missing: building {VERSION}, once");
    process::run(process::cargo(root).args([
        "install",
        "cargo-deny",
        "--locked",
        "--version",
        VERSION,
    ]))
    .context("cargo-deny cannot be installed, so the dependencies were not checked")
}
