//! The hot paths that `counts` runs under callgrind, one at a time on one thread: the same number
//! of messages always takes the same instructions.
//!
//! What needs the log thread is not here: how its work falls into batches depends on the machine.
//! Nor are the log's batches by themselves: while the release profile has several codegen units,
//! whether `OpenBatch::push_with` is inlined here changes with unrelated code, and with it a count
//! by up to 45 %.

use std::future::Future;
use std::hint::black_box;
use std::pin::Pin;
use std::sync::Arc;

use anyhow::{Context, Result, bail, ensure};
use courant::{
    Alarm, Broker, Cause, Destination, Flush, Level, LiveFormat, LiveMessage, Message, Options,
    Outgoing, Outlet, Principal, Properties, Refusal, Session, SubscribeOptions, Subscribed, Tag,
};
use courant_wire::text::{Decoded, DestinationKind, decode, reply, request};
use courant_wire::{Handle, Limits, MessageId};

use crate::binary;
use crate::engine::{BATCH, EngineLoad};

/// One path: its name, and what runs it for a number of messages.
pub type HotPath = (&'static str, fn(u64) -> Result<()>);

/// All of them.
pub const PATHS: &[HotPath] = &[
    ("decode-pub", |messages| {
        decode_all(messages, |out, _| {
            request::publish(out, DestinationKind::Topic, b"events", &[b'x'; 16]);
        })
    }),
    ("decode-ack", |messages| {
        decode_all(messages, |out, number| request::ack(out, handle(number)))
    }),
    ("encode-msg", |messages| {
        encode_messages(messages);
        Ok(())
    }),
    ("encode-live", |messages| {
        encode_live(messages);
        Ok(())
    }),
    ("decode-publish-binary", binary::decode_publish),
    ("decode-settle-binary", binary::decode_settle),
    ("encode-deliver-binary", |messages| {
        binary::encode_deliver(messages);
        Ok(())
    }),
    ("encode-live-binary", |messages| {
        binary::encode_live(messages);
        Ok(())
    }),
    ("engine-transient", |messages| engine(messages, false)),
    ("engine-durable", |messages| engine(messages, true)),
    ("live", |messages| within_runtime(live(messages))),
    ("transient", |messages| within_runtime(transient(messages))),
];

/// Runs a path by its name.
pub fn run(name: &str, messages: u64) -> Result<()> {
    match PATHS.iter().find(|(known, _)| *known == name) {
        Some((_, run)) => run(messages),
        None => bail!("there is no path {name:?}: see --list"),
    }
}

pub(crate) fn handle(number: u64) -> Handle {
    let seq = 3 << 32 | number;
    Handle { id: MessageId { shard: 0, seq }, lease: Some(seq) }
}

pub(crate) fn batches(messages: u64) -> u64 {
    messages / u64::from(BATCH)
}

/// Decodes batches of the same commands.
fn decode_all(messages: u64, write: impl Fn(&mut Vec<u8>, u64)) -> Result<()> {
    let mut input = Vec::new();
    for number in 0..u64::from(BATCH) {
        write(&mut input, number);
    }
    for _ in 0..batches(messages) {
        let mut rest = black_box(&input[..]);
        let mut decoded = 0;
        while let Decoded::Command { command, consumed } = decode(rest, &Limits::DEFAULT) {
            black_box(&command);
            rest = &rest[consumed..];
            decoded += 1;
        }
        ensure!(decoded == BATCH, "{decoded} commands of a batch were decoded");
    }
    Ok(())
}

fn encode_messages(messages: u64) {
    let (mut prefix, mut out) = (Vec::new(), Vec::new());
    reply::msg_prefix(&mut prefix, b"queue:orders", Some(b"s1"), None);
    for _ in 0..batches(messages) {
        out.clear();
        for number in 0..u64::from(BATCH) {
            reply::msg(&mut out, black_box(&prefix), handle(number), black_box(&[b'x'; 16]));
        }
        black_box(&out);
    }
}

fn encode_live(messages: u64) {
    let (mut prefix, mut out) = (Vec::new(), Vec::new());
    reply::live_prefix(&mut prefix, b"topic:events", None);
    for _ in 0..batches(messages) {
        out.clear();
        for _ in 0..BATCH {
            reply::live_msg(&mut out, black_box(&prefix), black_box(&[b'x'; 16]));
        }
        black_box(&out);
    }
}

fn engine(messages: u64, is_durable: bool) -> Result<()> {
    let mut load = EngineLoad::new(is_durable, 256)?;
    for _ in 0..batches(messages) {
        load.batch()?;
    }
    Ok(())
}

fn within_runtime(run: impl Future<Output = Result<()>>) -> Result<()> {
    tokio::runtime::Builder::new_current_thread().enable_time().build()?.block_on(run)
}

/// A client that takes everything at once and forgets it.
#[derive(Debug, Default)]
struct Swallow {
    /// Handles of deliveries, to be acknowledged.
    open: Arc<std::sync::Mutex<Vec<courant::Handle>>>,
}

impl Outlet for Swallow {
    fn deliver(&mut self, _: Tag, message: &Message<'_>) {
        black_box(message.payload);
        if let Ok(mut open) = self.open.lock() {
            open.push(courant::Handle { seq: message.id.seq, lease: message.lease });
        }
    }

    fn cancelled(&mut self, _: Tag, _: Cause) {}

    fn blocked(&mut self, _: Alarm) {}

    fn unblocked(&mut self) {}

    fn refused(&mut self, _: Refusal) {}

    fn bytes(&mut self, bytes: &mut Vec<u8>) {
        black_box(&bytes[..]);
    }

    fn held_bytes(&self) -> usize {
        0
    }

    fn flush(&mut self) -> Flush {
        Flush::Done
    }

    fn writable(&self) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        Box::pin(std::future::ready(()))
    }
}

/// Live frames as the text door writes them.
struct TextFormat;

impl LiveFormat for TextFormat {
    fn door(&self) -> u8 {
        1
    }

    fn prefix(&self) -> &[u8] {
        b"MSG topic:x"
    }

    fn encode(&self, out: &mut Vec<u8>, message: &LiveMessage<'_>) {
        reply::live_msg(out, self.prefix(), message.payload);
    }
}

fn attach(broker: &Broker) -> Result<(Session, Arc<std::sync::Mutex<Vec<courant::Handle>>>)> {
    let outlet = Swallow::default();
    let open = Arc::clone(&outlet.open);
    let principal = Arc::new(Principal::unrestricted("bench"));
    Ok((broker.attach("/", &principal, Box::new(outlet))?, open))
}

/// Publish in batches to a topic with one live subscriber.
async fn live(messages: u64) -> Result<()> {
    let broker = Broker::in_memory(Options::default())?;
    let (mut subscriber, _) = attach(&broker)?;
    let (mut publisher, _) = attach(&broker)?;
    publisher.declare_topic("x").await?;
    let format = Arc::new(TextFormat);
    let options = SubscribeOptions::default();
    subscriber.subscribe(Subscribed::Live("x", b"", format), 1, options).await?;
    let properties = Properties::default();
    let to = publisher.destination(Destination::Topic("x"));
    let batch = [outgoing(to, &properties, &[b'x'; 16]); BATCH as usize];
    for _ in 0..batches(messages) {
        publisher.publish(black_box(&batch), false).ok().context("no room")?;
    }
    let delivered = broker.stats().live_delivered;
    ensure!(delivered == batches(messages) * u64::from(BATCH), "{delivered} were delivered");
    Ok(())
}

/// Publish in batches to a transient queue, deliver, acknowledge.
async fn transient(messages: u64) -> Result<()> {
    let broker = Broker::in_memory(Options::default())?;
    let (mut consumer, open) = attach(&broker)?;
    let (mut publisher, _) = attach(&broker)?;
    let transient = courant::QueueOptions { durable: false, ..courant::QueueOptions::default() };
    publisher.declare_queue("q", transient).await?;
    consumer.subscribe(Subscribed::Queue("q"), 1, SubscribeOptions::default()).await?;
    let properties = Properties::default();
    let to = publisher.destination(Destination::Queue("q"));
    let batch = [outgoing(to, &properties, &[b'x'; 16]); BATCH as usize];
    let (mut verdicts, mut results) = (Vec::new(), Vec::new());
    for _ in 0..batches(messages) {
        publisher.publish(black_box(&batch), false).ok().context("no room")?;
        verdicts.clear();
        if let Ok(mut open) = open.lock() {
            let handles = open.drain(..).map(courant::Selector::One);
            verdicts.extend(handles.map(|handle| (handle, courant::Verdict::Ack)));
        }
        ensure!(verdicts.len() == BATCH as usize, "{} were delivered", verdicts.len());
        results.clear();
        consumer.settle(&verdicts, &mut results);
        ensure!(results.iter().all(Result::is_ok), "a verdict was refused");
    }
    Ok(())
}

fn outgoing<'a>(
    to: courant::DestinationId,
    properties: &'a Properties<'a>,
    payload: &'a [u8],
) -> Outgoing<'a> {
    Outgoing { to, properties, payload, level: Level::Committed, is_durable: true }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_path_runs() {
        for (name, run) in PATHS {
            run(10 * u64::from(BATCH)).unwrap_or_else(|error| panic!("{name}: {error}"));
        }
        assert!(run("nowhere", 1).is_err());
    }
}
