//! A broker as a child process, the real binary or a peer's; killed when it is dropped.

use std::io::{BufRead, BufReader};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use tempfile::TempDir;

use crate::cost::{Usage, rss_peak_kib};

/// How long a start may take.
const READY_WITHIN: Duration = Duration::from_mins(1);

/// A running broker.
#[derive(Debug)]
pub struct Server {
    child: Child,
    _companions: Companions,
    address: SocketAddr,
    data: TempDir,
}

/// A port of loopback that nobody has now.
pub(crate) fn free_port() -> Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

/// Programs that a broker needs beside it; killed when they are dropped.
#[derive(Debug, Default)]
struct Companions(Vec<Child>);

impl Drop for Companions {
    fn drop(&mut self) {
        for child in &mut self.0 {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

fn quietly(mut command: Command) -> Result<Child> {
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.spawn().with_context(|| format!("cannot start {}", command.get_program().display()))
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
        Ok(Server { child, _companions: Companions::default(), address, data })
    }

    /// Starts another broker, the last of the commands, and waits until it accepts connections.
    /// `commands` gets a port that is free, and a folder inside `parent`.
    pub fn peer(
        parent: &Path,
        commands: impl Fn(u16, &Path) -> Result<Vec<Command>>,
    ) -> Result<Server> {
        let data = TempDir::with_prefix_in("peer-speed-", parent)?;
        let address = SocketAddr::from(([127, 0, 0, 1], free_port()?));
        let mut commands = commands(address.port(), data.path())?;
        let broker = commands.pop().context("no command")?;
        let mut companions = Companions::default();
        for command in commands {
            companions.0.push(quietly(command)?);
        }
        let mut server = Server { child: quietly(broker)?, _companions: companions, address, data };
        let begun = Instant::now();
        while TcpStream::connect(address).is_err() {
            if let Some(status) = server.child.try_wait()? {
                bail!("it ended with {status}");
            }
            ensure!(begun.elapsed() < READY_WITHIN, "it does not listen");
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

    /// What it used so far, and its children with it.
    pub fn usage(&self) -> Result<Usage> {
        Usage::of_tree(self.child.id())
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
