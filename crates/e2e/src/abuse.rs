//! A broker under a memory cap, with a long backlog and many consumers that do their part badly,
//! and one pair that does it well.
//!
//! - the *backlog*: [`Plan::backlog_bytes`] in one queue;
//! - *stalled* readers: half subscribed to the backlog, half live to what the flood publishes; they
//!   answer PING and never read;
//! - *never-ackers* on the backlog: they read what they get and ack nothing;
//! - the *flood*: a publisher at full speed, and a consumer that keeps up;
//! - the *healthy* pair: a message every few milliseconds, from publisher to consumer and acked.
//!
//! Measured with flood and healthy pair alone, then with all. At the end the abusers go, and the
//! backlog is taken: every message of it once.

mod crowd;
mod flood;
mod healthy;

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use indicatif::ProgressBar;

use crate::client::Client;
use crate::figures::Figures;
use crate::memory_group::MemoryGroup;
use crate::server::{Launch, Server};
use crate::traffic::{Consumer, Publisher, number_of};
use crate::watch::Watch;
use crowd::Crowd;
use healthy::Latencies;

const BACKLOG: &str = "queue:backlog";
const FLOOD: &str = "topic:flood";
const HEALTHY: &str = "queue:healthy";
const BODY_BYTES: usize = 16 << 10;

/// Memory of the broker that is no page of a file. What the limits allow together is some 150 MiB;
/// the rest is what the allocator keeps for a while (279 MiB in all were seen).
const ANONYMOUS_BYTES_MAX: u64 = 320 << 20;
/// The healthy pair's p99 under abuse, as a multiple of the one without.
const LATENCY_TIMES_MAX: f64 = 2.0;

/// What to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Plan {
    /// Bytes of bodies that wait.
    pub backlog_bytes: u64,
    /// Readers that stopped.
    pub stalled: u32,
    /// Consumers that never ack.
    pub never_acking: u32,
    /// How long each of the two measurements takes.
    pub time: Duration,
    /// The cap on the broker's memory; none without the right to set one.
    pub cap_bytes: Option<u64>,
    /// Whether the healthy pair's latency is judged, which wants a quiet machine.
    pub judges_latency: bool,
}

/// Does all of it in the data directory `data`.
pub fn run(plan: &Plan, data: &Path, progress: &ProgressBar) -> Result<Figures> {
    let mut server = Launch::new(data)?.spawn()?;
    let _group = plan.cap_bytes.map(|cap| MemoryGroup::new(cap, server.pid())).transpose()?;
    server.wait_ready()?;
    let watch = Watch::start(server.pid());
    let mut figures = Figures::default();
    progress.set_length(5);
    prepare(&server)?;
    progress.set_message("backlog");
    let messages = fill(plan, &server)?;
    figures.bytes("backlog", messages * BODY_BYTES as u64, None);
    figures.bytes("anonymous memory, filling (most)", watch.take_peak().anonymous, None);
    progress.inc(1);

    progress.set_message("without abuse");
    let (before, rate) = measure(plan, &server, None)?;
    figures.bytes("anonymous memory without abuse (most)", watch.take_peak().anonymous, None);
    show(
        &mut figures,
        ["healthy p50 without", "healthy p99 without", "flood without"],
        &before,
        rate,
    );
    progress.inc(1);

    progress.set_message("abuse");
    let crowd = Crowd::gather(server.address()?, plan.stalled, plan.never_acking)?;
    progress.inc(1);
    let (after, rate) = measure(plan, &server, Some(&crowd))?;
    show(
        &mut figures,
        ["healthy p50 under abuse", "healthy p99 under abuse", "flood under abuse"],
        &after,
        rate,
    );
    let times = after.at(99).as_secs_f64() / before.at(99).as_secs_f64().max(1e-6);
    let bound = plan.judges_latency.then_some(LATENCY_TIMES_MAX);
    figures.add("healthy p99, times the one without", times, "x", bound);
    figures.count("abusers that were sent away", crowd.leave(), None);
    let bound = Some(ANONYMOUS_BYTES_MAX);
    figures.bytes("anonymous memory under abuse (most)", watch.take_peak().anonymous, bound);
    progress.inc(1);

    progress.set_message("drain");
    drain(&server, messages)?;
    figures.bytes("anonymous memory, draining (most)", watch.take_peak().anonymous, bound);
    drop(watch);
    ensure!(server.is_alive(), "the broker is gone:\n{}", server.stderr());
    server.stop()?;
    progress.finish_and_clear();
    Ok(figures)
}

fn prepare(server: &Server) -> Result<()> {
    let mut client = Client::connect(server.address()?)?;
    for destination in [BACKLOG, FLOOD, HEALTHY] {
        client.line(&format!("DECLARE {destination}"))?;
    }
    client.line(&format!("SUB {FLOOD} sub_id:s name:drain credit:0"))?;
    Ok(())
}

fn fill(plan: &Plan, server: &Server) -> Result<u64> {
    let messages = plan.backlog_bytes / BODY_BYTES as u64;
    let mut publisher = Publisher::new(server.address()?, BACKLOG, BODY_BYTES)?;
    let mut refused = None;
    let mut answer = |_, answer: Result<(), _>| refused = refused.take().or(answer.err());
    publisher.publish(messages, &mut answer)?;
    publisher.finish(&mut answer)?;
    match refused {
        Some(refused) => bail!("the backlog was refused: {refused}"),
        None => Ok(messages),
    }
}

/// Flood and healthy pair for the time of the plan; what the pair saw, and messages per second of
/// the flood.
fn measure(plan: &Plan, server: &Server, crowd: Option<&Crowd>) -> Result<(Latencies, f64)> {
    let address = server.address()?;
    let is_over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let flood = scope.spawn(|| flood::run(address, &is_over));
        let healthy = scope.spawn(|| healthy::run(address, &is_over));
        let deadline = std::time::Instant::now() + plan.time;
        let mut kept = Ok(());
        while std::time::Instant::now() < deadline && kept.is_ok() {
            kept = crowd.map_or(Ok(()), Crowd::keep);
            std::thread::sleep(Duration::from_millis(100));
        }
        is_over.store(true, Ordering::SeqCst);
        let flooded = flood.join().unwrap_or_else(|_| bail!("the flood panicked"));
        let latencies = healthy.join().unwrap_or_else(|_| bail!("the healthy pair panicked"));
        kept.context("the crowd")?;
        #[expect(clippy::cast_precision_loss, reason = "a figure for people")]
        let rate = flooded.context("the flood")? as f64 / plan.time.as_secs_f64();
        Ok((latencies.context("the healthy pair")?, rate))
    })
}

fn show(figures: &mut Figures, names: [&'static str; 3], latencies: &Latencies, rate: f64) {
    for (name, percent) in names.into_iter().zip([50, 99]) {
        figures.add(name, latencies.at(percent).as_secs_f64() * 1e3, "ms", None);
    }
    figures.add(names[2], rate, "/s", None);
}

/// Every message of the backlog, once.
fn drain(server: &Server, messages: u64) -> Result<()> {
    let mut consumer = Consumer::new(server.address()?, BACKLOG, 1000)?;
    let mut seen = vec![false; usize::try_from(messages)?];
    for taken in 0..messages {
        let message = consumer.take().with_context(|| format!("{taken} of {messages} taken"))?;
        let number = number_of(&message.body).context("a body that is not whole")?;
        let place = seen.get_mut(usize::try_from(number)?).context("a message never sent")?;
        ensure!(!std::mem::replace(place, true), "message {number} came twice");
        consumer.ack(message.handle.context("a delivery without msg_id")?)?;
    }
    consumer.finish()?;
    Ok(())
}
