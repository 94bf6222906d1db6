//! Running other programs: output goes to the terminal, failure is an error that names the command.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

/// How a step ended, when it did not fail.
pub(crate) enum Outcome {
    /// All that the step promises was checked.
    Passed,
    /// It passed, but the reader must know something: shown again in the summary.
    PassedWith(String),
}

impl Outcome {
    /// Prints the remark, if there is one.
    pub(crate) fn print(self, step: &str) {
        match self {
            Self::Passed => eprintln!("{step}: passed"),
            Self::PassedWith(note) => eprintln!("{step}: passed, but: {note}"),
        }
    }
}

/// The cargo that runs us, in the folder of the workspace.
pub(crate) fn cargo(root: &Path) -> Command {
    let program = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(program);
    command.current_dir(root);
    // `cargo run` sets these for this program; build scripts of others would see a change.
    for (name, _) in std::env::vars_os() {
        let name_text = name.to_string_lossy();
        if name_text.starts_with("CARGO_PKG_") || name_text.starts_with("CARGO_MANIFEST_") {
            command.env_remove(&name);
        }
    }
    command
}

/// Runs to the end with the terminal's output.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    run_unless(command, 0).map(|_| ())
}

/// As [`run`]; false if it ended with `code`, which is no failure.
pub(crate) fn run_unless(command: &mut Command, code: i32) -> Result<bool> {
    let shown = shown(command);
    eprintln!("$ {shown}");
    let status = command.status().with_context(|| format!("cannot start `{shown}`"))?;
    if code != 0 && status.code() == Some(code) {
        return Ok(false);
    }
    ensure!(status.success(), "`{shown}` ended with {status}");
    Ok(true)
}

/// Runs to the end and says whether it succeeded, without showing its output.
pub(crate) fn succeeds(command: &mut Command) -> bool {
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}

/// Runs to the end and gives what it wrote to standard output; standard error is shown.
pub(crate) fn output(command: &mut Command) -> Result<String> {
    let shown = shown(command);
    let output = command
        .stderr(Stdio::inherit())
        .output()
        .with_context(|| format!("cannot start `{shown}`"))?;
    ensure!(output.status.success(), "`{shown}` ended with {}", output.status);
    String::from_utf8(output.stdout).with_context(|| format!("`{shown}` did not write UTF-8"))
}

/// Builds the release binary of one package and says where it is.
pub(crate) fn release_binary(root: &Path, package: &str, binary: &str) -> Result<PathBuf> {
    built(cargo(root).args(["build", "--release", "--locked", "-p", package]), binary)
}

/// Builds a program of the workspace with the features that the tests have, so that it shares their
/// build, and says where it is.
pub(crate) fn test_binary(root: &Path, binary: &str) -> Result<PathBuf> {
    built(cargo(root).args(["build", "--locked", "--workspace", "--all-features"]), binary)
}

fn built(build: &mut Command, binary: &str) -> Result<PathBuf> {
    build.args(["--bin", binary, "--message-format=json-render-diagnostics"]);
    eprintln!("$ {}", shown(build));
    let messages = output(build)?;
    for line in messages.lines() {
        let Ok(message) = serde_json::from_str::<Value>(line) else { continue };
        let is_it = message["target"]["name"] == binary;
        if let (true, Some(path)) = (is_it, message["executable"].as_str()) {
            return Ok(PathBuf::from(path));
        }
    }
    bail!("cargo built but named no executable `{binary}`")
}

/// Whether a program of that name is on the PATH.
pub(crate) fn is_installed(program: &str) -> bool {
    let Some(path) = std::env::var_os("PATH") else { return false };
    std::env::split_paths(&path).any(|folder| folder.join(program).is_file())
}

fn shown(command: &Command) -> String {
    let program = Path::new(command.get_program());
    let program = program.file_name().unwrap_or(program.as_os_str());
    let words = std::iter::once(program).chain(command.get_args());
    words.map(OsStr::to_string_lossy).collect::<Vec<_>>().join(" ")
}
