//! A broker as a child process, the real binary or a peer's; killed when it is dropped.

use std::io::{BufRead, BufReader};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use tempfile::TempDir;

use crate::cost::{Usage, rss_peak_kib};

/// How long a start may take.
const READY_WITHIN: Duration = Duration::from_secs(30);

/// A running broker.
#[derive(Debug)]
pub struct Server {
    child: Child,
    address: SocketAddr,
    data: TempDir,
}

/// The binary: what `COURANT_BIN` names, else the one built beside this program.
pub fn binary() -> Result<PathBuf> {
    if let Some(named) = std::env::var_os("COURANT_BIN") {
        return Ok(PathBuf::from(named));
    }
    let this = std::env::current_exe()?;
    let target = this.ancestors().find(|folder| folder.join("release/courant").is_file());
    let found = target.map(|target| target.join("release/courant"));
    found.context("no binary: `cargo build --release -p courant-server`, or set COURANT_BIN")
}

impl Server {
    /// Starts `courant serve` on a folder of its own inside `folder`.
    pub fn start(binary: &Path, folder: &Path) -> Result<Server> {
        let data = TempDir::with_prefix_in("courant-speed-", folder)?;
        let mut child = Command::new(binary)
            .args(["serve", "--native", "127.0.0.1:0", "--log", "warn", "--data"])
            .arg(data.path())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| format!("cannot start {}", binary.display()))?;
        let mut line = String::new();
        if let Some(stdout) = child.stdout.take() {
            BufReader::new(stdout).read_line(&mut line)?;
        }
        let address = line
            .strip_prefix("native door ready on ")
            .and_then(|rest| rest.split(' ').next()?.parse().ok());
        let Some(address) = address else {
            let _ = child.kill();
            let _ = child.wait();
            bail!("no ready line but {line:?}")
        };
        Ok(Server { child, address, data })
    }

    /// Starts another broker and waits until it accepts connections. `arguments` gets a port that
    /// is free, and a folder.
    pub fn peer(program: &str, arguments: impl Fn(u16, &Path) -> Vec<String>) -> Result<Server> {
        let data = TempDir::with_prefix("peer-speed-")?;
        let address = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
        let child = Command::new(program)
            .args(arguments(address.port(), data.path()))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?;
        let server = Server { child, address, data };
        let begun = Instant::now();
        while TcpStream::connect(address).is_err() {
            if begun.elapsed() > READY_WITHIN {
                bail!("{program} does not listen");
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        Ok(server)
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its folder.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.data.path()
    }

    /// The number of its process.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What it used so far.
    pub fn usage(&self) -> Result<Usage> {
        Usage::of(self.child.id())
    }

    /// The most memory it had, in KiB.
    pub fn rss_peak_kib(&self) -> Result<u64> {
        rss_peak_kib(self.child.id())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
