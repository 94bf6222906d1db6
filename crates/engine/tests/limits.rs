//! Bounds hold, and applying is total: no record, however odd, stops the engine, and the same odd
//! records give the same ledger.

mod log;

use courant_engine::limits::{SEQ_BLOCK, VISIBILITY_MS_MAX, VISIBILITY_MS_MIN};
use courant_engine::{
    Admission, Cause, Effects, Engine, ExchangeId, ExchangeKind, ExchangeOptions, ExchangeSpec,
    Lifetime, NamespaceId, Principal, QueueId, QueueOptions, Record, Refusal, SessionId, Settling,
    Topology,
};
use log::Fact;
use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;

fn opened() -> (Engine, Effects, SessionId) {
    let mut engine = Engine::default();
    let mut effects = Effects::default();
    engine.apply(&engine.opening(), &mut effects);
    let session = engine.attach("/", Arc::new(Principal::unrestricted("limits")));
    (engine, effects, session.expect("the namespace / exists"))
}

fn skip_to(engine: &mut Engine, seq: u64, effects: &mut Effects) {
    let (exchange, targets) = (ExchangeId::DEFAULT, Vec::new());
    let lifetime = Lifetime::default();
    let fact = Fact::Published { seq: seq - 1, size: 0, lifetime, exchange, targets };
    engine.apply(&fact.record(), effects);
}

#[test]
fn numbers_end_with_their_block_until_the_next_is_committed() {
    let (mut engine, mut effects, _) = opened();
    assert_eq!(engine.reservation(), None);
    skip_to(&mut engine, SEQ_BLOCK + SEQ_BLOCK / 2, &mut effects);
    let record = engine.reservation();
    assert_eq!(record, Some(Record::BlockReserved { block: 2 }));
    assert_eq!(engine.reservation(), None, "it is in flight");
    skip_to(&mut engine, 2 * SEQ_BLOCK - 1, &mut effects);
    assert_eq!(engine.admit(1), Ok(2 * SEQ_BLOCK - 1));
    assert_eq!(engine.admit(1), Err(Refusal::TooManyInFlight));
    engine.apply(&Record::BlockReserved { block: 2 }, &mut effects);
    assert_eq!(engine.admit(1), Ok(2 * SEQ_BLOCK));
    let opening = Record::Opened { term: 2, block: 3 };
    assert_eq!(engine.opening(), opening);
    engine.apply(&opening, &mut effects);
    let first = 3 * SEQ_BLOCK + 1;
    assert_eq!(engine.admit(1), Ok(first), "the block's first number is the opening's own");
}

#[test]
fn a_claim_keeps_to_the_range_of_visibility() {
    let (mut engine, mut effects, session) = opened();
    let options = QueueOptions { durable: false, ..QueueOptions::default() };
    let declared = Topology::DeclareQueue("q", options);
    let done = engine.admit_topology(session, declared, &mut effects);
    assert_eq!(done, Ok(Admission::Done));
    let queue = engine.queues()[0].1;
    for (ms, expected) in [
        (VISIBILITY_MS_MIN - 1, Refusal::BadPolicy),
        (VISIBILITY_MS_MIN, Refusal::NothingWaiting),
        (VISIBILITY_MS_MAX, Refusal::NothingWaiting),
        (VISIBILITY_MS_MAX + 1, Refusal::BadPolicy),
        (u64::MAX, Refusal::BadPolicy),
    ] {
        let how = (Settling::Manual, Some(ms));
        let got = engine.claim(session, queue, how, u64::MAX - 5, &mut effects);
        assert_eq!(got, Err(expected), "{ms} ms");
    }
}

fn number() -> impl Strategy<Value = u64> {
    let edges = [0, 1, 1 << 32, u64::from(u32::MAX), 1 << 63, u64::MAX - 1, u64::MAX];
    prop_oneof![4 => 0..40u64, 1 => prop::sample::select(edges.to_vec()), 1 => any::<u64>()]
}

fn id() -> impl Strategy<Value = u32> {
    let edges = [(1 << 31) - 1, 1 << 31, u32::MAX - 1, u32::MAX];
    prop_oneof![8 => 0..4u32, 1 => prop::sample::select(edges.to_vec())]
}

fn any_fact() -> impl Strategy<Value = Fact> {
    let name = "[ab]?|\u{1}";
    let targets = prop::collection::vec(id(), 0..4);
    let range = (number(), number());
    prop_oneof![
        1 => (number(), number()).prop_map(|(term, block)| Fact::Opened { term, block }),
        1 => number().prop_map(|block| Fact::BlockReserved { block }),
        2 => (id(), name)
            .prop_map(|(id, name)| Fact::NamespaceDeclared { id: NamespaceId(id), name }),
        3 => (id(), 0..2u32, name).prop_map(|(id, namespace, name)| Fact::ExchangeDeclared {
            id: ExchangeId(id),
            namespace: NamespaceId(namespace),
            name,
            spec: ExchangeSpec::of(ExchangeKind::Direct),
        }),
        1 => id().prop_map(|id| Fact::ExchangeDeleted { id: ExchangeId(id) }),
        4 => (id(), 0..2u32, name, number()).prop_map(|(id, namespace, name, visibility_ms)| {
            let namespace = NamespaceId(namespace);
            let options = QueueOptions { visibility_ms, ..QueueOptions::default() };
            Fact::QueueDeclared { id: QueueId(id), namespace, name, options }
        }),
        1 => id().prop_map(|id| Fact::QueueDeleted { id: QueueId(id) }),
        2 => (id(), id(), any::<bool>()).prop_map(|(exchange, queue, is_bound)| {
            let (exchange, queue, key) = (ExchangeId(exchange), QueueId(queue), vec![1]);
            if is_bound {
                Fact::Bound { exchange, queue, key }
            } else {
                Fact::Unbound { exchange, queue, key }
            }
        }),
        9 => (number(), any::<u32>(), targets).prop_map(|(seq, size, targets)| {
            let targets = targets.iter().flat_map(|id| id.to_le_bytes()).collect();
            let (lifetime, exchange) = (Lifetime::default(), ExchangeId::DEFAULT);
            Fact::Published { seq, size, lifetime, exchange, targets }
        }),
        4 => (id(), prop::collection::vec(range, 0..4)).prop_map(|(queue, ranges)| {
            Fact::Settled { queue: QueueId(queue), cause: Cause::Acked, ranges }
        }),
        3 => (id(), prop::collection::vec((number(), any::<u16>()), 0..4)).prop_map(
            |(queue, attempts)| Fact::Returned { queue: QueueId(queue), attempts }
        ),
    ]
}

#[test]
fn applying_is_total() {
    let seed = std::env::var("COURANT_SEED").ok().and_then(|seed| seed.parse().ok());
    let seed: u64 = seed.unwrap_or_else(|| RandomState::new().hash_one(0));
    println!("COURANT_SEED={seed}");
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    let config = Config { cases: 400, failure_persistence: None, ..Config::default() };
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &bytes);
    let facts = prop::collection::vec(any_fact(), 1..120);
    let done = TestRunner::new_with_rng(config, rng).run(&facts, |facts| {
        apply_all(&facts);
        Ok(())
    });
    done.expect("no record stops the engine");
}

fn apply_all(facts: &[Fact]) {
    let (mut engine, mut effects, session) = opened();
    let mut again = Engine::default();
    again.apply(&again.opening(), &mut effects);
    for fact in facts {
        assert_eq!(Fact::of(&fact.record()), *fact);
        engine.apply(&fact.record(), &mut effects);
        while engine.dispatch(1, &mut effects) {}
        for (_, id, _) in engine.queues() {
            let how = (Settling::Manual, None);
            let _ = engine.claim(session, id, how, 1, &mut effects);
        }
        let _ = (engine.admit(1), engine.reservation(), engine.opening());
        for request in [
            Topology::DeclareQueue("new", QueueOptions::default()),
            Topology::DeclareExchange("new", ExchangeOptions::of(ExchangeKind::Fanout)),
            Topology::DeclareNamespace("n"),
        ] {
            let _ = engine.admit_topology(session, request, &mut effects);
        }
        engine.write_settles(|_, _| {});
        again.apply(&fact.record(), &mut effects);
    }
    assert_eq!(engine.ledger().hash(), again.ledger().hash());
    Engine::restore(&engine.snapshot(&mut 1).root).expect("a snapshot of it can be read");
}
