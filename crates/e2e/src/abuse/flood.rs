//! A publisher at full speed and a consumer that keeps up with it.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use anyhow::{Context, Result, bail};

use super::FLOOD;
use crate::traffic::{Consumer, Publisher};

const BODY_BYTES: usize = 256;
const STEP: u64 = 1000;

/// Publishes until told to stop, and then until the consumer has it all; how many messages.
pub(super) fn run(address: SocketAddr, is_over: &AtomicBool) -> Result<u64> {
    let end = AtomicU64::new(u64::MAX);
    std::thread::scope(|scope| {
        let consuming = scope.spawn(|| consume(address, &end));
        let published = publish(address, is_over);
        // The last message says that it is the last.
        end.store(published.as_ref().map_or(0, |count| *count), Ordering::SeqCst);
        let mut publisher = Publisher::new(address, FLOOD, BODY_BYTES)?.starting_at(u64::MAX >> 1);
        publisher.publish(1, &mut |_, _| {})?;
        publisher.finish(&mut |_, _| {})?;
        let consumed = consuming.join().unwrap_or_else(|_| bail!("the consumer panicked"));
        consumed.context("the flood's consumer")?;
        published
    })
}

fn publish(address: SocketAddr, is_over: &AtomicBool) -> Result<u64> {
    let mut publisher = Publisher::new(address, FLOOD, BODY_BYTES)?;
    let mut refused = None;
    while !is_over.load(Ordering::SeqCst) && refused.is_none() {
        publisher.publish(STEP, &mut |_, answer| refused = refused.take().or(answer.err()))?;
    }
    publisher.finish(&mut |_, answer| refused = refused.take().or(answer.err()))?;
    match refused {
        Some(refused) => bail!("refused: {refused}"),
        None => Ok(publisher.sent()),
    }
}

/// Takes in order all that was published, and the last message after it.
fn consume(address: SocketAddr, end: &AtomicU64) -> Result<()> {
    let mut consumer = Consumer::new(address, &format!("{FLOOD} name:drain"), 10_000)?;
    let mut next = 0;
    loop {
        let message = consumer.take()?;
        let number = crate::traffic::number_of(&message.body).context("a damaged body")?;
        consumer.ack(message.handle.context("a delivery without msg_id")?)?;
        if number == u64::MAX >> 1 {
            consumer.finish()?;
            let end = end.load(Ordering::SeqCst);
            anyhow::ensure!(next == end || end == 0, "{next} came of {end}");
            return Ok(());
        }
        anyhow::ensure!(number == next, "{number} came instead of {next}");
        next += 1;
    }
}
