//! The engine alone: publish → ready → deliver → acknowledge, in batches, without log or encoding.
//!
//! The durable way applies the record of each message and the records of the settles at the end of
//! each batch, as the log thread would.

use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use courant_engine::record::Targets;
use courant_engine::{
    Admission, Cause, Effects, Engine, ExchangeId, Handle, Lifetime, Principal, Publish, QueueId,
    QueueOptions, Record, Route, Selector, SessionId, SubscribeOptions, Topology, Verdict,
};

/// Messages of one batch.
pub const BATCH: u32 = 64;

/// One record of settles: queue, cause, ranges of numbers.
type Settles = (QueueId, Cause, Vec<(u64, u64)>);

/// An engine with a queue and a subscription.
#[derive(Debug)]
pub struct EngineLoad {
    engine: Engine,
    effects: Effects,
    session: SessionId,
    route: Route,
    is_durable: bool,
    body_bytes: u32,
    /// The records of one batch's settles: applied once the engine is free.
    settles: Vec<Settles>,
}

impl EngineLoad {
    /// Sets the stage.
    pub fn new(is_durable: bool, body_bytes: u32) -> Result<EngineLoad> {
        let mut engine = Engine::default();
        let mut effects = Effects::default();
        engine.apply(&engine.opening(), &mut effects);
        let session = engine.attach("/", Arc::new(Principal::unrestricted("bench")))?;
        let options = QueueOptions { durable: is_durable, ..QueueOptions::default() };
        let request = Topology::DeclareQueue("q", options);
        if let Admission::Log(record) = engine.admit_topology(session, request, &mut effects)? {
            engine.apply(&record, &mut effects);
        }
        let queue = engine.queues().first().context("no queue")?.1;
        engine.subscribe(session, queue, SubscribeOptions::default())?;
        let route = engine.resolve(session, Publish::Queue("q"))?;
        let settles = Vec::new();
        Ok(EngineLoad { engine, effects, session, route, is_durable, body_bytes, settles })
    }

    /// Sends one batch all the way.
    pub fn batch(&mut self) -> Result<()> {
        self.effects.clear();
        for _ in 0..BATCH {
            let seq = self.engine.admit(self.body_bytes)?;
            if self.is_durable {
                let targets = Targets::new(&self.route.durable).context("bad targets")?;
                let (size, exchange) = (self.body_bytes, ExchangeId::DEFAULT);
                let lifetime = Lifetime::default();
                let record = Record::Published { seq, size, lifetime, exchange, targets };
                self.engine.apply(&record, &mut self.effects);
            } else {
                let lifetime = Lifetime::default();
                self.engine.place(seq, self.body_bytes, lifetime, &self.route.transient);
            }
        }
        self.engine.dispatch(0, &mut self.effects);
        let deliveries = std::mem::take(&mut self.effects.deliveries);
        let mut settled = 0;
        for delivery in &deliveries {
            let handle = Handle { seq: delivery.seq, lease: delivery.lease };
            let (selector, effects) = (Selector::One(handle), &mut self.effects);
            settled += self.engine.settle(self.session, selector, Verdict::Ack, 0, effects)?;
        }
        ensure!(settled == BATCH, "{settled} of a batch were settled");
        self.effects.deliveries = deliveries;
        if self.is_durable {
            self.write_settles();
        }
        Ok(())
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

/// Nanoseconds per message over that many messages.
pub fn nanoseconds(is_durable: bool, messages: u64) -> Result<f64> {
    let mut load = EngineLoad::new(is_durable, 256)?;
    let begun = std::time::Instant::now();
    let batches = messages / u64::from(BATCH);
    for _ in 0..batches {
        load.batch()?;
    }
    let spent = begun.elapsed().as_secs_f64() * 1e9;
    Ok(spent / crate::report::float(batches * u64::from(BATCH)))
}
