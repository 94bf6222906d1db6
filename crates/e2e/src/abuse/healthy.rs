//! One publisher and one consumer that do their part well: what a message takes from one to the
//! other.

use std::net::SocketAddr;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use super::HEALTHY;
use crate::traffic::{Consumer, Publisher, number_of};

const PAUSE: Duration = Duration::from_millis(4);
const BODY_BYTES: usize = 256;

/// Times from the publisher to the consumer.
#[derive(Debug)]
pub(super) struct Latencies(Vec<Duration>);

impl Latencies {
    /// What `percent` of the messages did not exceed.
    pub(super) fn at(&self, percent: usize) -> Duration {
        let index = (self.0.len() * percent / 100).min(self.0.len().saturating_sub(1));
        self.0.get(index).copied().unwrap_or_default()
    }
}

/// Runs until told to stop; every message has to arrive.
pub(super) fn run(address: SocketAddr, is_over: &AtomicBool) -> Result<Latencies> {
    let sent: Mutex<Vec<Instant>> = Mutex::default();
    let is_last = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let consuming = scope.spawn(|| consume(address, &sent, &is_last));
        let published = publish(address, &sent, is_over, &is_last);
        let consumed = consuming.join().unwrap_or_else(|_| bail!("the consumer panicked"));
        published.context("the publisher")?;
        consumed.context("the consumer")
    })
}

fn publish(
    address: SocketAddr,
    sent: &Mutex<Vec<Instant>>,
    is_over: &AtomicBool,
    is_last: &AtomicBool,
) -> Result<()> {
    let mut publisher = Publisher::new(address, HEALTHY, BODY_BYTES)?;
    let mut refused = None;
    loop {
        is_last.store(is_over.load(Ordering::SeqCst), Ordering::SeqCst);
        sent.lock().unwrap_or_else(PoisonError::into_inner).push(Instant::now());
        let mut answer = |_, answer: Result<(), _>| refused = refused.take().or(answer.err());
        publisher.publish(1, &mut answer)?;
        publisher.finish(&mut answer)?;
        if let Some(refused) = refused {
            bail!("refused: {refused}");
        }
        if is_last.load(Ordering::SeqCst) {
            return Ok(());
        }
        std::thread::sleep(PAUSE);
    }
}

fn consume(
    address: SocketAddr,
    sent: &Mutex<Vec<Instant>>,
    is_last: &AtomicBool,
) -> Result<Latencies> {
    let mut consumer = Consumer::new(address, HEALTHY, 100)?;
    let mut times = Vec::new();
    loop {
        let message = consumer.take()?;
        let now = Instant::now();
        let number = number_of(&message.body).context("a damaged body")?;
        ensure!(number == times.len() as u64, "{number} came instead of {}", times.len());
        let (then, count) = {
            let sent = sent.lock().unwrap_or_else(PoisonError::into_inner);
            (sent.get(times.len()).copied(), sent.len())
        };
        times.push(now - then.context("a message that was not sent")?);
        consumer.ack(message.handle.context("a delivery without msg_id")?)?;
        if is_last.load(Ordering::SeqCst) && times.len() == count {
            consumer.finish()?;
            times.sort_unstable();
            return Ok(Latencies(times));
        }
        // Each ack by itself, as such a consumer would.
        consumer.send_acks()?;
    }
}
