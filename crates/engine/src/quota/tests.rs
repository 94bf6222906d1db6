//! Counts that must never drift, under random changes.

use super::*;
use crate::exchange::{BindTo, ExchangeKind, ExchangeOptions};
use crate::topology::{Admission, Topology};
use crate::{Effects, Principal, QueueOptions, Record};
use std::collections::VecDeque;
use std::sync::Arc;

const SPACES: [&str; 3] = ["/", "a", "b"];
const USERS: [&str; 3] = ["x", "y", "z"];
const NAMES: [&str; 6] = ["n0", "n1", "n2", "n3", "n4", "n5"];
const QUOTAS: Quotas = Quotas {
    sessions_per_namespace_max: 4,
    sessions_per_user_max: 5,
    queues_per_namespace_max: 4,
    exchanges_per_namespace_max: 3,
    bindings_per_namespace_max: 5,
};

/// What there is, counted one by one.
fn counted<K: Ord>(all: impl Iterator<Item = K>) -> BTreeMap<K, usize> {
    let mut counts = BTreeMap::new();
    all.for_each(|whose| *counts.entry(whose).or_insert(0) += 1);
    counts
}

fn bindings_of(engine: &Engine, is_floor: bool) -> BTreeMap<NamespaceId, usize> {
    let all = if is_floor { &engine.floor.bindings } else { &engine.ledger.bindings };
    let space = |exchange| engine.ledger.exchanges[&exchange].namespace;
    counted(all.iter().flat_map(|(exchange, table)| table.iter().map(move |_| space(exchange))))
}

fn check(engine: &Engine, seed: u64) {
    let (floor, usage) = (&engine.floor, &engine.floor.usage);
    let sessions = || floor.sessions.iter().map(|(_, session)| session);
    assert_eq!(usage.sessions.0, counted(sessions().map(|it| it.namespace)), "{seed}");
    assert_eq!(usage.users.0, counted(sessions().map(|it| it.principal.name.clone())));
    assert_eq!(usage.queues.0, counted(floor.queues.values().map(|it| it.namespace)), "{seed}");
    for space in (0..SPACES.len()).filter_map(|n| u32::try_from(n).ok()).map(NamespaceId) {
        for (bindings, is_floor) in [(&engine.ledger.bindings, false), (&floor.bindings, true)] {
            let there = bindings_of(engine, is_floor).get(&space).copied().unwrap_or(0);
            assert_eq!(bindings.count_in(space), there, "{seed} {space:?} {is_floor}");
        }
        assert!(usage.sessions.of(&space) <= QUOTAS.sessions_per_namespace_max);
        assert!(usage.queues.of(&space) <= QUOTAS.queues_per_namespace_max, "{seed}");
        let both = engine.ledger.bindings.count_in(space) + floor.bindings.count_in(space);
        assert!(both <= QUOTAS.bindings_per_namespace_max, "{seed} {space:?}: {both}");
        let exchanges = engine.ledger.namespaces.get(&space).map_or(0, |it| it.exchanges.len());
        assert!(exchanges <= QUOTAS.exchanges_per_namespace_max, "{seed}");
    }
}

/// An engine whose records are applied some time after they were admitted.
struct Bench {
    engine: Engine,
    effects: Effects,
    sessions: Vec<SessionId>,
    in_flight: VecDeque<Record<'static>>,
    applied: Vec<Record<'static>>,
    random: u64,
    refused: usize,
}

impl Bench {
    fn random(&mut self, below: usize) -> usize {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        usize::try_from(self.random >> 33).unwrap_or(0) % below
    }

    fn some_session(&mut self) -> SessionId {
        let nth = self.random(self.sessions.len());
        self.sessions[nth]
    }

    fn apply(&mut self) {
        let Some(record) = self.in_flight.pop_front() else { return };
        self.engine.apply(&record, &mut self.effects);
        self.applied.push(record);
    }

    fn request(&mut self) -> Topology<'static> {
        let name = NAMES[self.random(NAMES.len())];
        let other = NAMES[self.random(NAMES.len())];
        let key = NAMES[self.random(2)].as_bytes();
        let durable = self.random(3) > 0;
        let exclusive = !durable && self.random(2) == 0;
        let to = if self.random(3) > 0 { BindTo::Queue(other) } else { BindTo::Exchange(other) };
        let kind = ExchangeKind::Topic;
        match self.random(12) {
            0..3 => {
                let options = QueueOptions { durable, exclusive, ..QueueOptions::default() };
                Topology::DeclareQueue(name, options)
            }
            3..5 => {
                let options = ExchangeOptions::of(kind);
                Topology::DeclareExchange(name, options)
            }
            5 => Topology::DeleteQueue { name, if_empty: false, if_unused: false },
            6 => Topology::DeleteExchange { name, if_unused: false },
            7 => Topology::Unbind { exchange: name, to, key },
            _ => Topology::Bind { exchange: name, to, key },
        }
    }

    fn step(&mut self) {
        match self.random(10) {
            0 => {
                let space = SPACES[self.random(SPACES.len())];
                let user = Arc::new(Principal::unrestricted(USERS[self.random(USERS.len())]));
                match self.engine.attach(space, user) {
                    Ok(session) => self.sessions.push(session),
                    Err(refusal) => assert_eq!(refusal, Refusal::TooManySessions),
                }
            }
            1 if self.sessions.len() > 4 => {
                let nth = self.random(self.sessions.len());
                let session = self.sessions.swap_remove(nth);
                while self.engine.detach(session, &mut self.effects) {}
            }
            2 if !self.sessions.is_empty() => {
                let session = self.some_session();
                let user = Arc::new(Principal::unrestricted(USERS[self.random(USERS.len())]));
                self.engine.set_principal(session, user, &mut self.effects);
            }
            3 if !self.sessions.is_empty() => {
                let session = self.some_session();
                let exchange = ExchangeId(u32::try_from(self.random(40)).unwrap_or(0));
                // It may be an exchange of another namespace: the shell looks it up by name.
                let here = self.engine.floor.sessions.get(session.0).map(|it| it.namespace);
                let there = self.engine.ledger.exchanges.get(&exchange);
                if there.map(|it| it.namespace) == here {
                    let opened = self.engine.open_session_queue(session, exchange, b"#");
                    self.refused += usize::from(opened == Err(Refusal::NamespaceQuota));
                }
            }
            4 | 5 => self.apply(),
            _ if self.sessions.is_empty() => {}
            _ => {
                let session = self.some_session();
                let request = self.request();
                let (engine, effects) = (&mut self.engine, &mut self.effects);
                match engine.admit_topology(session, request, effects) {
                    Ok(Admission::Log(record)) => self.in_flight.push_back(record),
                    Err(Refusal::NamespaceQuota) => {
                        self.refused += 1;
                        assert!(self.engine.used_up(session).is_some(), "{request:?}");
                    }
                    _ => {}
                }
            }
        }
    }
}

/// Whatever is made and goes, in whatever order, on the floor and in the log: the counts are what
/// is there, no quota is passed, and a restored engine counts what the ledger has.
#[test]
fn counts_never_drift() {
    let seed = std::env::var("COURANT_SEED").ok().and_then(|seed| seed.parse().ok());
    let seed: u64 = seed.unwrap_or(0x5eed_0001);
    let mut engine = Engine::default();
    engine.set_quotas(QUOTAS);
    let mut bench = Bench {
        engine,
        effects: Effects::default(),
        sessions: Vec::new(),
        in_flight: VecDeque::new(),
        applied: Vec::new(),
        random: seed | 1,
        refused: 0,
    };
    bench.in_flight.push_back(bench.engine.opening());
    for (id, name) in [(1, "a"), (2, "b")] {
        let id = NamespaceId(id);
        bench.in_flight.push_back(Record::NamespaceDeclared { id, name });
    }
    (0..3).for_each(|_| bench.apply());
    for _ in 0..30_000 {
        bench.step();
        check(&bench.engine, seed);
    }
    assert!(bench.refused > 1000, "{seed}: only {} refusals", bench.refused);
    while !bench.in_flight.is_empty() {
        bench.apply();
    }
    let root = bench.engine.snapshot(&mut 1).root;
    let restored = Engine::restore(&root).expect("its own root");
    let mut replayed = Engine::default();
    for record in &bench.applied {
        replayed.apply(record, &mut bench.effects);
    }
    for engine in [restored, replayed] {
        check(&engine, seed);
        assert_eq!(engine.ledger.hash(), bench.engine.ledger.hash(), "{seed}");
        assert_eq!(bindings_of(&engine, false), bindings_of(&bench.engine, false), "{seed}");
    }
}
