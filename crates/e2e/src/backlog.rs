//! A long backlog of durable messages, through the real binary: what it costs in memory and on
//! disk, how soon it is served again after a `kill -9`, and that space comes back once messages
//! are acked.
//!
//! 1. publish N; 2. `kill -9`, start, first delivery; 3. take all, ack all but one in a thousand;
//! 4. ack the rest; 5. one body for ten durable subscribers.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use courant_wire::Handle;
use indicatif::ProgressBar;

use crate::client::{Client, Message};
use crate::figures::Figures;
use crate::server::{Launch, Server};
use crate::traffic::{Consumer, Publisher, number_of};
use crate::watch::{self, Watch, on_disk};

const QUEUE: &str = "queue:backlog";
const TOPIC: &str = "topic:fanout";
const SUBSCRIBERS: u64 = 10;
const FANOUT_BODY_BYTES: usize = 4096;
const FANOUT_MESSAGES: u64 = 20_000;

/// Resident bytes of the broker, while messages wait and after it was opened again.
const RESIDENT_BYTES_MAX: u64 = 300 << 20;
/// From the start after a `kill -9` to the first delivery.
const SERVING_WITHIN: Duration = Duration::from_secs(5);
/// From the last ack to the space being back.
const SPACE_BACK_WITHIN: Duration = Duration::from_mins(1);
/// What a folder may use beside twice the living bytes.
const DISK_BYTES_SPARE: u64 = 256 << 20;
/// What a folder without a message may have: the segment in use and one prepared, and a reserve.
const EMPTY_SEGMENTS_MAX: u64 = 3;
/// One in so many is left open.
const OPEN_ONE_IN: u64 = 1000;
/// Deliveries that may be open beside those.
const CREDIT: u32 = 10_000;

/// What to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Plan {
    /// Messages that wait.
    pub messages: u64,
    /// Bytes of each body.
    pub body_bytes: usize,
}

/// Does all of it in the data directory `data`; the figures, and what the broker said.
pub fn run(plan: &Plan, data: &Path, progress: &ProgressBar) -> Result<(Figures, String)> {
    let mut figures = Figures::default();
    progress.set_length(2 * plan.messages + FANOUT_MESSAGES);
    let server = Launch::new(data)?.start()?;
    publish(plan, &server, data, progress, &mut figures)?;
    server.kill()?;
    let started = Instant::now();
    let server = Launch::new(data)?.start()?;
    let watch = Watch::start(server.pid());
    let ready = started.elapsed();
    let credit = CREDIT + u32::try_from(plan.messages / OPEN_ONE_IN)?;
    let mut consumer = Consumer::new(server.address()?, QUEUE, credit.min(65_535))?;
    let first = consumer.take()?;
    figures.time("ready after kill -9", ready, None);
    figures.time("first delivery after kill -9", started.elapsed(), Some(SERVING_WITHIN));
    let open = take(plan, &mut consumer, &first, progress, &mut figures)?;
    let peak = watch.take_peak().resident;
    figures.bytes("resident, reopened and drained (most)", peak, Some(RESIDENT_BYTES_MAX));
    wait_sparse(plan, &mut consumer, &open, data, &mut figures)?;
    for handle in open {
        consumer.ack(handle)?;
    }
    consumer.finish()?;
    wait_empty(&mut consumer, data, &mut figures)?;
    fan_out(&server, data, progress, &mut figures)?;
    drop(watch);
    let exit = server.stop()?;
    progress.finish_and_clear();
    Ok((figures, exit.stderr))
}

fn publish(
    plan: &Plan,
    server: &Server,
    data: &Path,
    progress: &ProgressBar,
    figures: &mut Figures,
) -> Result<()> {
    let mut client = Client::connect(server.address()?)?;
    client.line(&format!("DECLARE {QUEUE}"))?;
    let watch = Watch::start(server.pid());
    let started = Instant::now();
    let mut publisher = Publisher::new(server.address()?, QUEUE, plan.body_bytes)?;
    let mut refused = None;
    while publisher.sent() < plan.messages {
        let count = (plan.messages - publisher.sent()).min(10_000);
        publisher.publish(count, &mut |_, answer| {
            refused = refused.take().or(answer.err());
        })?;
        progress.set_position(publisher.sent());
        client.stay()?;
    }
    publisher.finish(&mut |_, answer| refused = refused.take().or(answer.err()))?;
    if let Some(refused) = refused {
        bail!("a message was refused: {refused}");
    }
    let seconds = started.elapsed().as_secs_f64();
    figures.count("messages", plan.messages, None);
    #[expect(clippy::cast_precision_loss, reason = "a figure for people")]
    figures.add("published and confirmed", plan.messages as f64 / seconds, "/s", None);
    let peak = watch.take_peak().resident;
    figures.bytes("resident while queued (most)", peak, Some(RESIDENT_BYTES_MAX));
    figures.bytes("bodies", plan.messages * plan.body_bytes as u64, None);
    figures.bytes("disk, all queued", on_disk(data).bytes, None);
    Ok(())
}

/// Takes everything in order and leaves one in a thousand open.
fn take(
    plan: &Plan,
    consumer: &mut Consumer,
    first: &Message,
    progress: &ProgressBar,
    figures: &mut Figures,
) -> Result<Vec<Handle>> {
    let started = Instant::now();
    let mut open = Vec::new();
    check(first, 0)?;
    let mut message = first.clone();
    for number in 0..plan.messages {
        if number > 0 {
            message = consumer.take().with_context(|| format!("message {number}"))?;
            check(&message, number)?;
        }
        let handle = message.handle.context("a delivery without msg_id")?;
        if number % OPEN_ONE_IN == 0 {
            open.push(handle);
        } else {
            consumer.ack(handle)?;
        }
        if number % 10_000 == 0 {
            progress.inc(10_000);
        }
    }
    consumer.finish()?;
    let seconds = started.elapsed().as_secs_f64();
    #[expect(clippy::cast_precision_loss, reason = "a figure for people")]
    figures.add("taken and acked", plan.messages as f64 / seconds, "/s", None);
    Ok(open)
}

fn check(message: &Message, expected: u64) -> Result<()> {
    let number = number_of(&message.body);
    ensure!(number == Some(expected), "message {number:?} came instead of {expected}");
    Ok(())
}

fn wait_sparse(
    plan: &Plan,
    consumer: &mut Consumer,
    open: &[Handle],
    data: &Path,
    figures: &mut Figures,
) -> Result<()> {
    let living = open.len() as u64 * plan.body_bytes as u64;
    let bound = 2 * living + DISK_BYTES_SPARE;
    wait_disk(consumer, |on_disk| on_disk.bytes <= bound, data)?;
    figures.bytes("disk, one in 1,000 open", on_disk(data).bytes, Some(bound));
    Ok(())
}

fn wait_empty(consumer: &mut Consumer, data: &Path, figures: &mut Figures) -> Result<()> {
    let took = wait_disk(consumer, |on_disk| on_disk.segments <= EMPTY_SEGMENTS_MAX, data)?;
    let on_disk = on_disk(data);
    figures.time("until segments were gone", took, None);
    figures.count("segments, drained", on_disk.segments, Some(EMPTY_SEGMENTS_MAX));
    figures.bytes("disk, drained", on_disk.bytes, Some(DISK_BYTES_SPARE));
    Ok(())
}

/// Waits for the disk, and stays connected meanwhile.
fn wait_disk(
    consumer: &mut Consumer,
    is_so: impl Fn(watch::OnDisk) -> bool,
    data: &Path,
) -> Result<Duration> {
    let mut stayed = Ok(());
    let took = watch::wait_until(SPACE_BACK_WITHIN, || {
        stayed = consumer.stay();
        stayed.is_err() || is_so(on_disk(data))
    });
    stayed?;
    Ok(took.unwrap_or(SPACE_BACK_WITHIN))
}

/// One body for ten subscribers is on disk once.
fn fan_out(
    server: &Server,
    data: &Path,
    progress: &ProgressBar,
    figures: &mut Figures,
) -> Result<()> {
    let mut client = Client::connect(server.address()?)?;
    client.line(&format!("DECLARE {TOPIC}"))?;
    for subscriber in 0..SUBSCRIBERS {
        client.line(&format!("SUB {TOPIC} sub_id:s{subscriber} name:n{subscriber} credit:0"))?;
    }
    let before = on_disk(data).bytes;
    let mut publisher = Publisher::new(server.address()?, TOPIC, FANOUT_BODY_BYTES)?;
    let mut refused = None;
    let mut answer = |_, answer: Result<(), _>| refused = refused.take().or(answer.err());
    publisher.publish(FANOUT_MESSAGES, &mut answer)?;
    publisher.finish(&mut answer)?;
    if let Some(refused) = refused {
        bail!("a message was refused: {refused}");
    }
    progress.inc(FANOUT_MESSAGES);
    let bodies = FANOUT_MESSAGES * FANOUT_BODY_BYTES as u64;
    // A segment in use and a prepared one are not full.
    let bound = bodies + bodies / 2 + (128 << 20);
    figures.bytes("bodies, each for 10 subscribers", bodies, None);
    figures.bytes("disk for them", on_disk(data).bytes.saturating_sub(before), Some(bound));
    Ok(())
}
