//! Routing alone: what finding a route costs among very many patterns and among one, a route that
//! is kept, a change of a binding, and the end of a queue among very many.

use anyhow::{Context as _, Result};
use courant_engine::{
    Admission, BindTo, Effects, Engine, ExchangeKind, ExchangeOptions, Principal, Publish,
    QueueOptions, SessionId, Topology,
};
use std::hint::black_box;
use std::sync::Arc;
use std::time::Instant;

/// Rounds of what is quick.
const ROUNDS: u32 = 100_000;

/// Nanoseconds each.
#[derive(Debug, Clone, Copy)]
pub struct RouteCosts {
    /// Finding a route.
    pub cold: f64,
    /// Seeing that a kept route holds.
    pub kept: f64,
    /// A session's queue that is bound and goes again.
    pub session_queue: f64,
}

struct Stage {
    engine: Engine,
    effects: Effects,
    session: SessionId,
}

impl Stage {
    fn new() -> Result<Stage> {
        let mut engine = Engine::default();
        let effects = Effects::default();
        engine.apply(&engine.opening(), &mut Effects::default());
        let session = engine.attach("/", Arc::new(Principal::unrestricted("bench")))?;
        Ok(Stage { engine, effects, session })
    }

    fn change(&mut self, request: Topology<'_>) -> Result<()> {
        let admitted = self.engine.admit_topology(self.session, request, &mut self.effects)?;
        if let Admission::Log(record) = admitted {
            self.engine.apply(&record, &mut self.effects);
        }
        self.effects.clear();
        Ok(())
    }
}

fn each(rounds: u32, begun: Instant) -> f64 {
    begun.elapsed().as_secs_f64() * 1e9 / f64::from(rounds)
}

/// What routing costs beside so many patterns with wildcards.
pub fn costs(patterns: u32) -> Result<RouteCosts> {
    let mut stage = Stage::new()?;
    let options = ExchangeOptions::of(ExchangeKind::Topic);
    stage.change(Topology::DeclareExchange("x", options))?;
    stage.change(Topology::DeclareQueue("q", QueueOptions::default()))?;
    for number in 0..patterns {
        let key = match number % 4 {
            0 => format!("device.{number}.*"),
            1 => format!("device.*.{number}"),
            2 => format!("device.{number}.#"),
            _ => format!("*.{number}.state"),
        };
        let key = key.as_bytes();
        stage.change(Topology::Bind { exchange: "x", to: BindTo::Queue("q"), key })?;
    }
    let to = Publish::Exchange("x", b"device.0.state");
    let begun = Instant::now();
    for _ in 0..ROUNDS {
        black_box(stage.engine.resolve(stage.session, black_box(to))?);
    }
    let cold = each(ROUNDS, begun);
    let route = stage.engine.resolve(stage.session, to)?;
    let begun = Instant::now();
    for _ in 0..ROUNDS {
        black_box(stage.engine.is_current(black_box(&route)));
    }
    let kept = each(ROUNDS, begun);
    let exchange = route.exchange;
    let begun = Instant::now();
    for _ in 0..ROUNDS {
        let queue = stage.engine.open_session_queue(stage.session, exchange, b"device.7.#")?;
        stage.engine.close_session_queue(stage.session, queue, &mut stage.effects);
        stage.effects.clear();
    }
    Ok(RouteCosts { cold, kept, session_queue: each(ROUNDS, begun) })
}

/// Nanoseconds for the end of each of the first and of the last thousand of so many bound queues.
pub fn ends(queues: u32) -> Result<(f64, f64)> {
    const SOME: u32 = 1000;
    let mut stage = Stage::new()?;
    let options = ExchangeOptions::of(ExchangeKind::Topic);
    stage.change(Topology::DeclareExchange("x", options))?;
    let names: Vec<String> = (0..queues).map(|number| format!("q{number}")).collect();
    for name in &names {
        stage.change(Topology::DeclareQueue(name, QueueOptions::default()))?;
        let (to, key) = (BindTo::Queue(name), format!("a.{name}.#"));
        stage.change(Topology::Bind { exchange: "x", to, key: key.as_bytes() })?;
    }
    let mut spent = Vec::new();
    for part in names.chunks(SOME as usize) {
        let begun = Instant::now();
        for name in part {
            stage.change(Topology::DeleteQueue { name, if_empty: false, if_unused: false })?;
        }
        spent.push(each(SOME, begun));
    }
    let first = spent.first().copied().context("no queues")?;
    Ok((first, spent.last().copied().unwrap_or(first)))
}
