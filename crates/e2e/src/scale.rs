//! Many of everything, through the real binary: what one more costs where there are a hundred
//! thousand.
//!
//! - `queues`: declared, opened again, deleted;
//! - `bindings`: a message through an exchange with one binding, and through one with all of them;
//! - `subscribers`: they come and go beside a publisher;
//! - `connections`: they do nothing, and hold memory.
//!
//! Processor time is that of the broker alone, in nanoseconds, and holds on a busy machine, too;
//! times on the wall are judged only where the plan says that the machine is quiet.

mod bindings;
mod connections;
mod queues;
mod subscribers;

use std::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use indicatif::ProgressBar;

use crate::client::{ANSWER_WITHIN, Client, Incoming};
use crate::figures::Figures;
use crate::server::Server;

/// The parts, in the order in which they run.
pub const PARTS: [&str; 4] = ["queues", "bindings", "subscribers", "connections"];
/// Commands of one connection that are not answered yet.
const WINDOW: usize = 500;
/// Connections that declare and delete at the same time: a commit is shared by them.
const AT_ONCE: usize = 16;

/// What to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Plan {
    /// Queues that are declared.
    pub queues: usize,
    /// Bindings of one exchange.
    pub bindings: usize,
    /// Messages that measure what a binding costs.
    pub messages: usize,
    /// Subscriptions that begin, and end, per second.
    pub subscribes: usize,
    /// How long they come and go.
    pub time: Duration,
    /// Connections that do nothing.
    pub connections: usize,
    /// Whether times on the wall are judged, which wants a quiet machine.
    pub judges_time: bool,
}

/// Does one of [`PARTS`] in the data directory `data`.
pub fn run(
    part: &str,
    plan: &Plan,
    data: &Path,
    progress: &ProgressBar,
    figures: &mut Figures,
) -> Result<()> {
    match part {
        "queues" => queues::run(plan, data, progress, figures),
        "bindings" => bindings::run(plan, data, progress, figures),
        "subscribers" => subscribers::run(plan, data, progress, figures),
        "connections" => connections::run(plan, data, progress, figures),
        _ => bail!("no part `{part}`; the parts are {}", PARTS.join(", ")),
    }
}

/// Processor time that a process has used so far, all threads that live.
fn cpu(pid: u32) -> Result<Duration> {
    let mut nanoseconds = 0;
    for task in std::fs::read_dir(format!("/proc/{pid}/task"))? {
        let path = task?.path().join("schedstat");
        let text = std::fs::read_to_string(&path).with_context(|| path.display().to_string())?;
        let first = text.split_whitespace().next().context("schedstat")?;
        nanoseconds += first.parse::<u64>()?;
    }
    Ok(Duration::from_nanos(nanoseconds))
}

/// What some commands took.
#[derive(Clone, Copy, Debug, Default)]
struct Cost {
    wall: Duration,
    cpu: Duration,
}

/// Measures what `work` costs the broker.
fn measure(server: &Server, work: impl FnOnce() -> Result<()>) -> Result<Cost> {
    let (started, before) = (Instant::now(), cpu(server.pid())?);
    work()?;
    Ok(Cost { wall: started.elapsed(), cpu: cpu(server.pid())?.saturating_sub(before) })
}

/// Sends commands on one connection, many at a time; every one has to be done.
fn call_all(client: &mut Client, commands: &[String]) -> Result<()> {
    for part in commands.chunks(WINDOW) {
        client.send(part.concat().as_bytes())?;
        for command in part {
            match client.incoming(ANSWER_WITHIN)? {
                Incoming::Ok(_) => {}
                other => bail!("{}: {other:?}", command.trim_end()),
            }
        }
    }
    Ok(())
}

/// The same from many connections at once.
fn share_out(address: SocketAddr, commands: &[String]) -> Result<()> {
    let each = commands.len().div_ceil(AT_ONCE).max(1);
    std::thread::scope(|scope| {
        let call = |part: &'_ [String]| call_all(&mut Client::connect(address)?, part);
        let calling: Vec<_> =
            commands.chunks(each).map(|part| scope.spawn(move || call(part))).collect();
        for thread in calling {
            thread.join().unwrap_or_else(|_| bail!("a client panicked"))?;
        }
        Ok(())
    })
}

/// How much longer than the first the last took, of costs in the order of the work. Of ten each
/// the one in the middle counts.
fn growth(costs: &[Cost], of: impl Fn(&Cost) -> Duration) -> Result<f64> {
    let tenth = (costs.len() / 10).max(1);
    ensure!(costs.len() >= 2, "nothing to compare");
    let middle = |costs: &[Cost]| {
        let mut all: Vec<_> = costs.iter().map(&of).collect();
        all.sort_unstable();
        all.get(all.len() / 2).copied().unwrap_or_default().as_secs_f64()
    };
    let (first, last) = (&costs[..tenth], &costs[costs.len() - tenth..]);
    Ok(middle(last) / middle(first).max(1e-9))
}
