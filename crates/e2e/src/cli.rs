//! The command line under test as a child process: what goes in, what comes out, how it ends, each
//! with a deadline.

use std::io::Write;
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process};

use crate::binary;
use crate::capture::Capture;

/// How long a command may take, on a loaded machine.
pub const ENDS_WITHIN: Duration = Duration::from_secs(30);

/// How a command ended.
#[derive(Debug)]
pub struct Ended {
    /// Its status.
    pub status: ExitStatus,
    /// All of its stdout.
    pub stdout: String,
    /// All of its stderr.
    pub stderr: String,
}

impl Ended {
    /// The exit code; none if a signal ended it.
    pub fn code(&self) -> Option<i32> {
        self.status.code()
    }

    /// Its stdout if it ended with 0, else an error with its stderr.
    pub fn success(self) -> Result<String> {
        if !self.status.success() {
            bail!("it ended with {}; stderr: {}stdout: {}", self.status, self.stderr, self.stdout);
        }
        Ok(self.stdout)
    }
}

/// A running command.
#[derive(Debug)]
pub struct Running {
    child: Child,
    stdin: Option<ChildStdin>,
    stdout: Capture,
    stderr: Capture,
}

/// `courant` with arguments, against the broker at `address`; its stdin stays open.
pub fn start(address: SocketAddr, arguments: &[&str]) -> Result<Running> {
    let mut command = Command::new(binary::path()?);
    command.args(arguments).env("COURANT_ADDR", address.to_string());
    start_command(command)
}

/// A line of a shell in `folder`; `courant` is the binary under test, by a link in `folder/bin`.
/// A pipe in it fails if any part of it does.
pub fn shell(address: SocketAddr, line: &str, folder: &Path) -> Result<Running> {
    let path = std::env::var("PATH").unwrap_or_default();
    let own = folder.join("bin");
    let link = own.join("courant");
    if !link.exists() {
        std::fs::create_dir_all(&own)?;
        std::os::unix::fs::symlink(binary::path()?, &link)?;
    }
    let mut command = Command::new("bash");
    command.arg("-o").arg("pipefail").arg("-c").arg(line).current_dir(folder);
    command.env("PATH", format!("{}:{path}", own.display()));
    command.env("COURANT_ADDR", address.to_string());
    start_command(command)
}

/// Starts any command with its streams captured.
pub fn start_command(mut command: Command) -> Result<Running> {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().with_context(|| format!("{command:?} does not start"))?;
    let stdin = child.stdin.take();
    let stdout = Capture::start(child.stdout.take().context("stdout is a pipe")?);
    let stderr = Capture::start(child.stderr.take().context("stderr is a pipe")?);
    Ok(Running { child, stdin, stdout, stderr })
}

/// Runs `courant` with nothing on stdin, to its end.
pub fn run(address: SocketAddr, arguments: &[&str]) -> Result<Ended> {
    start(address, arguments)?.end()
}

/// Runs `courant` with `input` on stdin, to its end.
pub fn run_with(address: SocketAddr, arguments: &[&str], input: &[u8]) -> Result<Ended> {
    let mut running = start(address, arguments)?;
    running.feed(input)?;
    running.end()
}

impl Running {
    /// Writes to its stdin. Keep it below what a pipe holds, or make sure it is read.
    pub fn feed(&mut self, input: &[u8]) -> Result<()> {
        let stdin = self.stdin.as_mut().context("stdin is closed already")?;
        stdin.write_all(input)?;
        Ok(stdin.flush()?)
    }

    /// The next line of its stdout.
    pub fn line(&self) -> Result<Option<String>> {
        let context = || format!("stderr: {}", self.stderr.text());
        self.stdout.line(ENDS_WITHIN).with_context(context)
    }

    /// Sends a signal.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw).context("pid")?;
        Ok(kill_process(pid, signal)?)
    }

    /// Closes its stdin and waits for its end.
    pub fn end(mut self) -> Result<Ended> {
        self.stdin = None;
        let deadline = Instant::now() + ENDS_WITHIN;
        let status = loop {
            if let Some(status) = self.child.try_wait()? {
                break status;
            }
            if Instant::now() > deadline {
                let (stdout, stderr) = (self.stdout.text(), self.stderr.text());
                bail!("it did not end within {ENDS_WITHIN:?}; stdout: {stdout}stderr: {stderr}");
            }
            std::thread::sleep(Duration::from_millis(2));
        };
        self.stdout.finish(ENDS_WITHIN)?;
        self.stderr.finish(ENDS_WITHIN)?;
        Ok(Ended { status, stdout: self.stdout.text(), stderr: self.stderr.text() })
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
