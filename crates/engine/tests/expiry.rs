//! Deadlines of messages, and queues that go when nobody uses them.

use courant_engine::record::Targets;
use courant_engine::{
    Admission, Cause, Effects, Engine, ExchangeId, Handle, Lifetime, NEVER, Principal, QueueId,
    QueueOptions, Record, Refusal, Selector, SessionId, Settling, SubscribeOptions, Topology,
    Verdict,
};
use std::collections::BTreeMap;
use std::sync::Arc;

const NOW: u64 = 1_000_000;
const Q: QueueId = QueueId(0);

struct Bench {
    engine: Engine,
    effects: Effects,
    session: SessionId,
    pages: BTreeMap<u64, Vec<u8>>,
}

fn attach(engine: &mut Engine) -> SessionId {
    engine.apply(&engine.opening(), &mut Effects::default());
    engine.attach("/", Arc::new(Principal::unrestricted("me"))).expect("there is /")
}

impl Bench {
    fn new(options: QueueOptions) -> Self {
        let (mut engine, effects) = (Engine::default(), Effects::default());
        let session = attach(&mut engine);
        let mut bench = Self { engine, effects, session, pages: BTreeMap::new() };
        bench.declare("q", options);
        bench
    }

    fn declare(&mut self, name: &str, options: QueueOptions) {
        let declare = Topology::DeclareQueue(name, options);
        match self.engine.admit_topology(self.session, declare, &mut self.effects) {
            Ok(Admission::Log(record)) => self.engine.apply(&record, &mut self.effects),
            other => assert_eq!(other, Ok(Admission::Done)),
        }
    }

    fn publish(&mut self, deadline_ms: u64) -> u64 {
        let seq = self.engine.admit(7).expect("it is allowed");
        let targets = Targets::new(&[0; 4]).expect("one queue");
        let lifetime = Lifetime { admitted_ms: NOW, deadline_ms };
        let exchange = ExchangeId::DEFAULT;
        let record = Record::Published { seq, size: 7, lifetime, exchange, targets };
        self.engine.apply(&record, &mut self.effects);
        seq
    }

    fn subscribe(&mut self, credit: u32, settling: Settling) {
        let options = SubscribeOptions { credit, settling, ..SubscribeOptions::default() };
        self.engine.subscribe(self.session, Q, options).expect("it is allowed");
    }

    fn dispatch(&mut self, now_ms: u64) -> Vec<(u64, Handle)> {
        self.effects.clear();
        while self.engine.dispatch(now_ms, &mut self.effects) {}
        let all = self.effects.deliveries.iter();
        all.map(|d| (d.seq, Handle { seq: d.seq, lease: d.lease })).collect()
    }

    fn settle(&mut self, handle: Handle, verdict: Verdict, now_ms: u64) {
        let selector = Selector::One(handle);
        let done = self.engine.settle(self.session, selector, verdict, now_ms, &mut self.effects);
        assert_eq!(done, Ok(1));
    }

    /// What the records that are due say, applied.
    fn commit(&mut self) -> Vec<(Cause, Vec<(u64, u64)>)> {
        let mut settled = Vec::new();
        let mut deleted = Vec::new();
        self.engine.write_settles(|_, record| match *record {
            Record::Settled { cause, ranges, .. } => settled.push((cause, ranges.to_vec())),
            Record::QueueDeleted { id } => deleted.push(id),
            _ => {}
        });
        for (cause, ranges) in &settled {
            let record = Record::Settled { queue: Q, cause: *cause, ranges };
            self.engine.apply(&record, &mut self.effects);
        }
        for id in deleted {
            self.engine.apply(&Record::QueueDeleted { id }, &mut self.effects);
        }
        settled
    }

    fn expire(&mut self, now_ms: u64) {
        while self.engine.expire(now_ms, &mut self.effects) {}
    }

    fn ready(&self) -> u64 {
        self.engine.counts(Q).expect("it is there").ready
    }

    fn snapshot(&mut self) -> Vec<u8> {
        let snapshot = self.engine.snapshot(&mut 100);
        for page in &snapshot.pages {
            let mut bytes = Vec::new();
            page.encode(&mut bytes);
            self.pages.insert(page.number, bytes);
        }
        self.engine.snapshot_done(true);
        snapshot.root
    }
}

#[test]
fn a_deadline_does_not_wait_for_the_head() {
    let mut bench = Bench::new(QueueOptions::default());
    let first = bench.publish(NEVER);
    let second = bench.publish(NOW + 10);
    let third = bench.publish(NEVER);
    assert_eq!(bench.engine.next_alarm_ms(), Some(NOW + 10));
    bench.expire(NOW + 9);
    assert_eq!(bench.ready(), 3);
    bench.expire(NOW + 10);
    assert_eq!((bench.ready(), bench.effects.expired), (2, 1));
    assert_eq!(bench.commit(), [(Cause::Expired, vec![(second, second)])]);
    bench.subscribe(10, Settling::Manual);
    let got: Vec<u64> = bench.dispatch(NOW + 10).iter().map(|(seq, _)| *seq).collect();
    assert_eq!(got, [first, third]);
    assert_eq!(bench.engine.next_alarm_ms(), Some(NOW + 10 + 300_000), "only leases are left");
}

#[test]
fn nothing_is_handed_over_after_its_deadline_though_nobody_looked() {
    let mut bench = Bench::new(QueueOptions::default());
    for _ in 0..3_000 {
        bench.publish(NOW + 10);
    }
    let last = bench.publish(NOW + 20);
    bench.subscribe(10, Settling::Manual);
    let mut got = Vec::new();
    for _ in 0..4 {
        got.extend(bench.dispatch(NOW + 10));
        bench.commit();
        bench.engine.expire(NOW + 10, &mut bench.effects);
    }
    got.extend(bench.dispatch(NOW + 10));
    assert_eq!(got.iter().map(|(seq, _)| *seq).collect::<Vec<_>>(), [last]);
}

#[test]
fn who_holds_a_message_keeps_it_and_it_expires_when_it_comes_back() {
    let mut bench = Bench::new(QueueOptions::default());
    let seqs = [bench.publish(NOW + 10), bench.publish(NOW + 10)];
    bench.subscribe(2, Settling::Manual);
    let got = bench.dispatch(NOW);
    assert_eq!(got.len(), 2);
    bench.expire(NOW + 50);
    assert_eq!(bench.engine.counts(Q).map(|counts| counts.leased), Some(2));
    bench.settle(got[0].1, Verdict::Ack, NOW + 50);
    bench.settle(got[1].1, Verdict::Nack, NOW + 50);
    bench.expire(NOW + 50);
    assert_eq!(bench.dispatch(NOW + 50), []);
    let settled = bench.commit();
    assert_eq!(settled[0], (Cause::Acked, vec![(seqs[0], seqs[0])]));
    assert_eq!(settled[1], (Cause::Expired, vec![(seqs[1], seqs[1])]));
    assert_eq!(bench.ready(), 0);
}

#[test]
fn the_earlier_of_both_deadlines_counts() {
    let options = QueueOptions { message_ttl_ms: Some(100), ..QueueOptions::default() };
    let mut bench = Bench::new(options);
    bench.publish(NEVER);
    bench.publish(NOW + 50);
    bench.publish(NOW + 500);
    for (after, left) in [(49, 3), (50, 2), (99, 2), (100, 0)] {
        bench.expire(NOW + after);
        assert_eq!(bench.ready(), left, "after {after} ms");
    }
}

#[test]
fn a_step_is_bounded_and_the_rest_follows() {
    let mut bench = Bench::new(QueueOptions::default());
    let seqs: Vec<u64> = (0..10_000).map(|_| bench.publish(NOW + 10)).collect();
    let mut steps = 0;
    loop {
        let before = bench.effects.expired;
        let more = bench.engine.expire(NOW + 10, &mut bench.effects);
        assert!(bench.effects.expired - before <= 1024);
        steps += 1;
        if !more {
            break;
        }
    }
    assert!(steps >= 10, "{steps} steps");
    assert_eq!((bench.effects.expired, bench.ready()), (10_000, 0));
    let settled = bench.commit();
    let covered: u64 = settled.iter().flat_map(|(_, r)| r).map(|(a, b)| b - a + 1).sum();
    assert_eq!(covered, seqs.len() as u64);
    let nothing = Engine::default().ledger().hash();
    assert_ne!(bench.engine.ledger().hash(), nothing);
    assert_eq!(bench.engine.next_alarm_ms(), None, "dues of what is gone are gone");
}

#[test]
fn what_is_not_in_memory_is_loaded_when_it_is_due() {
    let mut bench = Bench::new(QueueOptions::default());
    for nth in 0..5 * 4096 {
        bench.publish(if nth % 2 == 0 { NOW + 10 } else { NEVER });
    }
    let root = bench.snapshot();
    bench.engine = Engine::restore(&root).expect("its own root");
    bench.session = attach(&mut bench.engine);
    assert_eq!(bench.engine.next_alarm_ms(), Some(NOW + 10));
    bench.expire(NOW + 9);
    assert_eq!(bench.effects.wanted, [] as [u64; 0]);
    for _ in 0..10 {
        bench.expire(NOW + 10);
        for page in std::mem::take(&mut bench.effects.wanted) {
            let bytes = &bench.pages[&page];
            bench.engine.install_page(page, bytes, &mut bench.effects).expect("the right page");
        }
    }
    assert_eq!(bench.ready(), 5 * 2048);
    bench.commit();
    assert_eq!(bench.engine.next_alarm_ms(), None);
    bench.subscribe(1, Settling::Auto);
    assert_eq!(bench.dispatch(NOW + 10).len(), 5 * 2048);
}

#[test]
fn a_queue_that_nobody_uses_goes() {
    let options = QueueOptions { expires_ms: Some(60_000), ..QueueOptions::default() };
    let mut bench = Bench::new(options);
    let transient = QueueOptions { durable: false, ..options };
    bench.declare("t", transient);
    let is_there = |bench: &mut Bench| {
        bench.expire(0);
        bench.engine.queues().len()
    };
    bench.expire(NOW);
    bench.subscribe(1, Settling::Manual);
    bench.expire(NOW + 59_999);
    assert_eq!(is_there(&mut bench), 2);
    bench.expire(NOW + 60_000);
    bench.engine.bury(&mut bench.effects);
    assert_eq!(is_there(&mut bench), 1, "the other one has a subscription");
    bench.expire(NOW + 500_000);
    bench.commit();
    assert_eq!(is_there(&mut bench), 1);
    while bench.engine.detach(bench.session, &mut bench.effects) {}
    bench.expire(NOW + 559_000);
    assert!(!bench.engine.has_settles(), "it was used a moment ago");
    bench.expire(NOW + 560_000);
    assert!(bench.engine.has_settles());
    bench.commit();
    assert_eq!(is_there(&mut bench), 0);
}

#[test]
fn an_opening_and_every_use_let_the_time_of_a_queue_begin_again() {
    let options = QueueOptions { expires_ms: Some(60_000), ..QueueOptions::default() };
    let mut bench = Bench::new(options);
    bench.expire(NOW);
    let root = bench.snapshot();
    bench.engine = Engine::restore(&root).expect("its own root");
    bench.session = attach(&mut bench.engine);
    bench.expire(NOW + 80_000);
    assert!(!bench.engine.has_settles(), "it counts from the opening");
    bench.expire(NOW + 130_000);
    bench.declare("q", options);
    bench.expire(NOW + 140_000);
    assert!(!bench.engine.has_settles(), "it was declared");
    let (now_ms, how) = (NOW + 180_000, (Settling::Auto, None));
    let claimed = bench.engine.claim(bench.session, Q, how, now_ms, &mut bench.effects);
    assert_eq!(claimed, Err(Refusal::NothingWaiting));
    bench.expire(NOW + 239_999);
    assert!(!bench.engine.has_settles(), "it was asked for a message");
    bench.expire(NOW + 240_000);
    assert!(bench.engine.has_settles());
}
