//! What the engine alone costs: publish → ready → deliver → ack, in batches of 64.
//!
//! Run with `cargo run --release -p courant-engine --example speed`. The durable path applies the
//! record of each message, and the records of the settles at the end of each batch; no log is
//! written and nothing is encoded.

use courant_engine::record::{SeqRange, Targets};
use courant_engine::{
    Cause, Effects, Engine, ExchangeId, Handle, Principal, Publish, QueueId, QueueOptions, Record,
    Route, Selector, SessionId, SubscribeOptions, Topology, Verdict,
};
use std::io::Write as _;
use std::sync::Arc;
use std::time::Instant;

const BATCH: u32 = 64;
const MESSAGES: u32 = 4_000_000;
const ROUNDS: usize = 5;

/// How a batch is settled.
#[derive(Clone, Copy)]
enum Ack {
    Each,
    UpTo,
}

struct Bench {
    engine: Engine,
    effects: Effects,
    session: SessionId,
    route: Route,
    durable: bool,
    /// The settle records of a batch, kept to apply them.
    settles: Vec<(QueueId, Cause, Vec<SeqRange>)>,
}

impl Bench {
    fn new(durable: bool) -> Option<Self> {
        let mut engine = Engine::default();
        let mut effects = Effects::default();
        engine.apply(&engine.opening(), &mut effects);
        let session = engine.attach("/", Arc::new(Principal::unrestricted("bench"))).ok()?;
        let options = QueueOptions { durable, ..QueueOptions::default() };
        let request = Topology::DeclareQueue("q", options);
        if let courant_engine::Admission::Log(record) =
            engine.admit_topology(session, request, &mut effects).ok()?
        {
            engine.apply(&record, &mut effects);
        }
        let queue = engine.queues().first()?.1;
        engine.subscribe(session, queue, SubscribeOptions::default()).ok()?;
        let route = engine.resolve(session, Publish::Queue("q")).ok()?;
        let settles = Vec::new();
        Some(Self { engine, effects, session, route, durable, settles })
    }

    /// Sends one batch all the way; says how many messages were acknowledged.
    fn batch(&mut self, ack: Ack) -> u32 {
        self.effects.clear();
        for _ in 0..BATCH {
            let Ok(seq) = self.engine.admit(256) else { return 0 };
            if self.durable {
                let Some(targets) = Targets::new(&self.route.durable) else { return 0 };
                let exchange = ExchangeId::DEFAULT;
                let record = Record::Published { seq, size: 256, exchange, targets };
                self.engine.apply(&record, &mut self.effects);
            } else {
                self.engine.place(seq, 256, &self.route.transient);
            }
        }
        self.engine.dispatch(0, &mut self.effects);
        let deliveries = std::mem::take(&mut self.effects.deliveries);
        let mut settled = 0;
        let from = match ack {
            Ack::Each => 0,
            Ack::UpTo => deliveries.len().saturating_sub(1),
        };
        for delivery in &deliveries[from..] {
            let handle = Handle { seq: delivery.seq, lease: delivery.lease };
            let selector = match ack {
                Ack::Each => Selector::One(handle),
                Ack::UpTo => Selector::UpTo(handle),
            };
            let done =
                self.engine.settle(self.session, selector, Verdict::Ack, 0, &mut self.effects);
            settled += done.unwrap_or(0);
        }
        self.effects.deliveries = deliveries;
        if self.durable {
            self.write_settles();
        }
        settled
    }

    fn write_settles(&mut self) {
        let settles = &mut self.settles;
        self.engine.write_settles(|_, record| {
            if let Record::Settled { queue, cause, ranges } = *record {
                settles.push((queue, cause, ranges.to_vec()));
            }
        });
        for (queue, cause, ranges) in self.settles.drain(..) {
            let record = Record::Settled { queue, cause, ranges: &ranges };
            self.engine.apply(&record, &mut self.effects);
        }
    }
}

fn main() -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    let paths = [
        ("transient, ack each", false, Ack::Each),
        ("transient, ack up to", false, Ack::UpTo),
        ("durable, ack each", true, Ack::Each),
        ("durable, ack up to", true, Ack::UpTo),
    ];
    writeln!(out, "batches of {BATCH}, {MESSAGES} messages a round, {ROUNDS} rounds")?;
    for (name, durable, ack) in paths {
        let mut rounds = Vec::new();
        for _ in 0..ROUNDS {
            let Some(mut bench) = Bench::new(durable) else { continue };
            let begun = Instant::now();
            let mut done = 0;
            while done < MESSAGES {
                let settled = bench.batch(ack);
                assert_eq!(settled, BATCH, "every message is acknowledged");
                done += settled;
            }
            rounds.push(begun.elapsed().as_secs_f64() * 1e9 / f64::from(MESSAGES));
        }
        rounds.sort_by(f64::total_cmp);
        let (least, most) = (rounds.first().unwrap_or(&0.0), rounds.last().unwrap_or(&0.0));
        writeln!(out, "{name:>22}: {least:6.1} ns a message at best, {most:6.1} at worst")?;
    }
    Ok(())
}
