//! The real broker as a child process: started on port 0, known to be ready by its ready line,
//! ended by SIGKILL, by SIGTERM, or, if a test forgets it, when it is dropped.
//!
//! What it wrote to stderr is part of every error of this module, and is shown when a test panics
//! while a server is alive.

use std::net::SocketAddr;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail};
use rustix::process::{Pid, Signal, kill_process};

use crate::binary;
use crate::capture::Capture;

/// How long a start may take, recovery included, on a loaded machine.
pub const READY_WITHIN: Duration = Duration::from_mins(1);

/// How long a SIGTERM may take: the promise of the command line.
pub const DRAINED_WITHIN: Duration = Duration::from_secs(10);

/// How a broker is started.
#[derive(Clone, Debug)]
pub struct Launch {
    binary: PathBuf,
    data: PathBuf,
    environment: Vec<(&'static str, String)>,
    arguments: Vec<String>,
    native: String,
}

impl Launch {
    /// The binary under test on the data directory `data`.
    pub fn new(data: &Path) -> Result<Self> {
        Ok(Self::of(binary::path()?, data))
    }

    /// The same of a testing build, which knows fail points.
    pub fn testing(data: &Path) -> Result<Self> {
        Ok(Self::of(binary::testing()?, data))
    }

    fn of(binary: PathBuf, data: &Path) -> Self {
        let data = data.to_owned();
        Self {
            binary,
            data,
            environment: Vec::new(),
            arguments: Vec::new(),
            native: "127.0.0.1:0".to_owned(),
        }
    }

    /// With arguments beside those that say where the data is and that a free port is taken.
    #[must_use]
    pub fn arguments(mut self, arguments: &[&str]) -> Self {
        self.arguments.extend(arguments.iter().map(|argument| (*argument).to_owned()));
        self
    }

    /// Listening there instead of on a free port of this machine.
    #[must_use]
    pub fn native(mut self, address: &str) -> Self {
        address.clone_into(&mut self.native);
        self
    }

    /// With a variable in its environment.
    #[must_use]
    pub fn with(mut self, name: &'static str, value: &impl ToString) -> Self {
        self.environment.push((name, value.to_string()));
        self
    }

    /// With segments of so many bytes.
    #[must_use]
    pub fn segments(self, bytes: u64) -> Self {
        self.with("COURANT_STORAGE_SEGMENT_BYTES", &bytes)
    }

    /// Starts it and does not wait.
    pub fn spawn(&self) -> Result<Server> {
        let path = &self.binary;
        let mut command = Command::new(path);
        command.arg("serve").arg("--data").arg(&self.data).args(["--native", &self.native]);
        command.args(&self.arguments);
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child =
            command.spawn().with_context(|| format!("{} does not start", path.display()))?;
        let stdout = child.stdout.take().context("stdout is a pipe")?;
        let stderr = child.stderr.take().context("stderr is a pipe")?;
        Ok(Server {
            child,
            stdout: Capture::start(stdout),
            stderr: Capture::start(stderr),
            started: Instant::now(),
            address: None,
        })
    }

    /// Starts it and waits until it is ready.
    pub fn start(&self) -> Result<Server> {
        let mut server = self.spawn()?;
        server.wait_ready()?;
        Ok(server)
    }
}

/// A running broker.
#[derive(Debug)]
pub struct Server {
    child: Child,
    stdout: Capture,
    stderr: Capture,
    started: Instant,
    address: Option<SocketAddr>,
}

/// How a broker ended.
#[derive(Debug)]
pub struct Exit {
    /// Its status.
    pub status: ExitStatus,
    /// From the signal to the end.
    pub elapsed: Duration,
    /// All of its stderr.
    pub stderr: String,
}

impl Server {
    /// Starts a broker on the data directory `data` and waits until it is ready.
    pub fn start(data: &Path) -> Result<Self> {
        Launch::new(data)?.start()
    }

    /// Starts a broker and does not wait.
    pub fn spawn(data: &Path) -> Result<Self> {
        Launch::new(data)?.spawn()
    }

    /// Waits for the ready line of the native door; how long it took since the start.
    pub fn wait_ready(&mut self) -> Result<Duration> {
        let deadline = self.started + READY_WITHIN;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let line = self.stdout.line(left).map_err(|error| self.explain(error))?;
            let Some(line) = line else {
                let status = self.child.wait();
                return Err(
                    self.explain(anyhow!("the broker ended before it was ready: {status:?}"))
                );
            };
            if let Some(address) = ready_address(&line) {
                self.address = Some(address);
                return Ok(self.started.elapsed());
            }
        }
    }

    /// The address of the native door.
    pub fn address(&self) -> Result<SocketAddr> {
        self.address.context("the broker is not ready yet")
    }

    /// The next line of its stdout after the ready line.
    pub fn stdout_line(&self, wait: Duration) -> Result<Option<String>> {
        self.stdout.line(wait).map_err(|error| self.explain(error))
    }

    /// Everything that it wrote to stderr so far.
    pub fn stderr(&self) -> String {
        self.stderr.text()
    }

    /// Number of the process.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Sends a signal and does not wait.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw).context("pid")?;
        Ok(kill_process(pid, signal)?)
    }

    /// Whether the process still runs.
    pub fn is_alive(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// Whether SIGKILL, from whomever, has ended it.
    pub fn was_killed(&mut self) -> bool {
        let status = self.child.try_wait().ok().flatten();
        status.and_then(|status| status.signal()) == Some(Signal::KILL.as_raw())
    }

    /// Waits until it has ended by itself, but not longer than `within`; whether it has.
    pub fn wait_end(&mut self, within: Duration) -> bool {
        let deadline = Instant::now() + within;
        while self.is_alive() && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(2));
        }
        !self.is_alive()
    }

    /// Resident bytes of the process.
    pub fn resident_bytes(&self) -> Result<u64> {
        let path = format!("/proc/{}/status", self.child.id());
        let status = std::fs::read_to_string(&path).with_context(|| path.clone())?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let number = line.and_then(|line| line.split_whitespace().next()).context("VmRSS")?;
        Ok(number.parse::<u64>()? * 1024)
    }

    /// `kill -9`, and waits until the process is gone.
    pub fn kill(mut self) -> Result<()> {
        if let Some(status) = self.child.try_wait()? {
            let error = anyhow!("the broker had ended by itself before the kill: {status}");
            return Err(self.explain(error));
        }
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }

    /// SIGTERM, and waits for the end. A broker that needs longer than `within` is an error.
    pub fn terminate(mut self, within: Duration) -> Result<Exit> {
        if let Some(status) = self.child.try_wait()? {
            let error = anyhow!("the broker had ended by itself before SIGTERM: {status}");
            return Err(self.explain(error));
        }
        let signalled = Instant::now();
        self.signal(Signal::TERM)?;
        loop {
            if let Some(status) = self.child.try_wait()? {
                let elapsed = signalled.elapsed();
                self.stderr.finish(Duration::from_secs(10))?;
                return Ok(Exit { status, elapsed, stderr: self.stderr() });
            }
            if signalled.elapsed() > within {
                let error = anyhow!("the broker did not end within {within:?} of SIGTERM");
                return Err(self.explain(error));
            }
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    /// SIGTERM; anything but status 0 within the promised time is an error.
    pub fn stop(self) -> Result<Exit> {
        let exit = self.terminate(DRAINED_WITHIN)?;
        if !exit.status.success() {
            bail!("SIGTERM ended with {}, not 0; stderr:\n{}", exit.status, exit.stderr);
        }
        Ok(exit)
    }

    fn explain(&self, error: anyhow::Error) -> anyhow::Error {
        let stdout = self.stdout.text();
        error.context(format!("stdout:\n{stdout}\nstderr:\n{}", self.stderr()))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            let _ = self.stderr.finish(Duration::from_secs(1));
            eprintln!("--- stderr of the broker:\n{}---", self.stderr());
        }
    }
}

/// The address in `native door ready on ADDR ...`.
fn ready_address(line: &str) -> Option<SocketAddr> {
    let rest = line.strip_prefix("native door ready on ")?;
    rest.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::ready_address;

    #[test]
    fn the_ready_line_names_the_address() {
        let address = ready_address("native door ready on 127.0.0.1:7530 (text)");
        assert_eq!(address, "127.0.0.1:7530".parse().ok());
        assert_eq!(ready_address("http door ready on 127.0.0.1:7531"), None);
        assert_eq!(ready_address("native door ready on nowhere"), None);
    }
}
