//! Connections that are logged in and do nothing: what each of them holds.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use indicatif::ProgressBar;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use super::Plan;
use crate::client::ANSWER_WITHIN;
use crate::figures::Figures;
use crate::server::Launch;
use crate::watch::memory;

/// Resident bytes of the broker for each.
const RESIDENT_EACH_MAX: f64 = 16.0;
/// Connections before the first look, so that what the first ones bring about is not counted.
const WARM_UP: usize = 100;
/// Descriptors that both processes need beside those of connections.
const DESCRIPTORS_SPARE: u64 = 200;

pub(super) fn run(
    plan: &Plan,
    data: &Path,
    progress: &ProgressBar,
    figures: &mut Figures,
) -> Result<()> {
    raise_descriptors(plan.connections + WARM_UP)?;
    let server = Launch::new(data)?.start()?;
    let address = server.address()?;
    let resident = || memory(server.pid()).map(|now| now.resident).context("the broker is gone");
    let mut sockets = Vec::new();
    let connect = || -> Result<TcpStream> {
        let mut socket = TcpStream::connect(address)?;
        socket.set_read_timeout(Some(ANSWER_WITHIN))?;
        socket.write_all(b"CONNECT {}\n")?;
        let mut answer = [0; 3];
        socket.read_exact(&mut answer)?;
        ensure!(&answer == b"OK\n", "CONNECT was answered by {answer:?}");
        Ok(socket)
    };
    for _ in 0..WARM_UP {
        sockets.push(connect()?);
    }
    let before = resident()?;
    for nth in 0..plan.connections {
        sockets.push(connect().with_context(|| format!("connection {nth}"))?);
        progress.inc(1);
    }
    let after = resident()?;
    #[expect(clippy::cast_precision_loss, reason = "a figure for people")]
    let each = after.saturating_sub(before) as f64 / 1024.0 / plan.connections as f64;
    figures.count("connections", plan.connections as u64, None);
    figures.add("resident for each", each, "KiB", Some(RESIDENT_EACH_MAX));
    drop(sockets);
    server.stop()?;
    Ok(())
}

/// For this process and the broker that it starts.
fn raise_descriptors(connections: usize) -> Result<()> {
    let wanted = connections as u64 + DESCRIPTORS_SPARE;
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if current.is_none_or(|current| current >= wanted) {
        return Ok(());
    }
    let maximum = maximum.map(|maximum| maximum.max(wanted));
    setrlimit(Resource::Nofile, Rlimit { current: Some(wanted), maximum })
        .with_context(|| format!("{wanted} open files are not allowed: see `ulimit -n`"))
}
