//! Policies that limit what a queue holds, one at a time.

#![allow(clippy::unwrap_used, reason = "tests panic")]

use courant_engine::{
    Admission, BindTo, Cause, Effects, Engine, ExchangeKind, ExchangeOptions, Handle, Lease,
    Lifetime, NoRoom, Overflow, Principal, Publish, QueueId, QueueOptions, Record, Refusal,
    Selector, SessionId, Settling, SubscribeOptions, SubscriptionId, Topology, Verdict,
};
use std::sync::Arc;

/// Cause and ranges of a record about settling; no cause: the queue is gone.
type Written = (Option<Cause>, Vec<(u64, u64)>);

struct Bench {
    engine: Engine,
    effects: Effects,
    me: SessionId,
}

impl Bench {
    fn new() -> Self {
        let (mut engine, mut effects) = (Engine::default(), Effects::default());
        engine.apply(&engine.opening(), &mut effects);
        let me = engine.attach("/", Arc::new(Principal::unrestricted("me"))).unwrap();
        Self { engine, effects, me }
    }

    fn session(&mut self) -> SessionId {
        self.engine.attach("/", Arc::new(Principal::unrestricted("other"))).unwrap()
    }

    fn change(&mut self, request: Topology<'_>) -> Result<(), Refusal> {
        self.change_as(self.me, request)
    }

    fn change_as(&mut self, who: SessionId, request: Topology<'_>) -> Result<(), Refusal> {
        if let Admission::Log(record) =
            self.engine.admit_topology(who, request, &mut self.effects)?
        {
            self.engine.apply(&record, &mut self.effects);
        }
        self.engine.bury(&mut self.effects);
        Ok(())
    }

    fn declare(&mut self, name: &str, options: QueueOptions) -> QueueId {
        self.change(Topology::DeclareQueue(name, options)).unwrap();
        let all = self.engine.queues();
        all.iter().find(|(there, _, _)| there.as_str() == name).unwrap().1
    }

    /// Admits a message; it is on its way until the record is applied.
    fn admit(&mut self, name: &str, size: u32) -> Result<(u64, Vec<u8>), NoRoom> {
        let route = self.engine.resolve(self.me, Publish::Queue(name)).unwrap();
        self.engine.find_room(&route, (size, size), true)?;
        let seq = self.engine.admit(size).unwrap();
        if route.durable.is_empty() {
            self.engine.note_placing(size, &route, false);
            self.engine.place(seq, size, Lifetime::default(), &route.transient);
        } else {
            self.engine.note_in_flight(size, &route.durable);
        }
        Ok((seq, route.durable.to_vec()))
    }

    fn arrive(&mut self, (seq, targets): (u64, Vec<u8>), size: u32) {
        if !targets.is_empty() {
            let exchange = courant_engine::ExchangeId::DEFAULT;
            let targets = courant_engine::record::Targets::new(&targets).unwrap();
            let record =
                Record::Published { seq, size, lifetime: Lifetime::default(), exchange, targets };
            self.engine.apply(&record, &mut self.effects);
        }
        while self.engine.dispatch(0, &mut self.effects) {}
        while self.engine.shed(0, &mut self.effects) {}
    }

    fn send(&mut self, name: &str, size: u32) -> Result<u64, NoRoom> {
        let message = self.admit(name, size)?;
        let seq = message.0;
        self.arrive(message, size);
        Ok(seq)
    }

    /// Writes and applies what was settled; gives back the records' causes and ranges.
    fn write(&mut self) -> Vec<Written> {
        let mut written = Vec::new();
        let mut deleted = Vec::new();
        self.engine.write_settles(|_, record| match *record {
            Record::Settled { queue, cause, ranges } => {
                written.push((queue, Some(cause), ranges.to_vec()));
            }
            Record::QueueDeleted { id } => deleted.push(id),
            _ => {}
        });
        let mut out = Vec::new();
        for (queue, cause, ranges) in written {
            let record = Record::Settled { queue, cause: cause.unwrap(), ranges: &ranges };
            self.engine.apply(&record, &mut self.effects);
            out.push((cause, ranges));
        }
        for id in deleted {
            self.engine.apply(&Record::QueueDeleted { id }, &mut self.effects);
            out.push((None, Vec::new()));
        }
        out
    }

    fn subscribe(&mut self, queue: QueueId, credit: u32) -> SubscriptionId {
        let options = SubscribeOptions { credit, ..SubscribeOptions::default() };
        self.engine.subscribe(self.me, queue, options).unwrap()
    }

    fn settle(&mut self, (seq, lease): (u64, Lease), verdict: Verdict) {
        let one = Selector::One(Handle { seq, lease });
        self.engine.settle(self.me, one, verdict, 0, &mut self.effects).unwrap();
    }

    fn ready(&self, queue: QueueId) -> u64 {
        self.engine.counts(queue).unwrap().ready
    }
}

const FULL: Result<u64, NoRoom> = Err(NoRoom::Refused(Refusal::QueueFull));

fn both(check: impl Fn(bool)) {
    check(true);
    check(false);
}

#[test]
fn a_full_queue_refuses_and_takes_again() {
    both(|durable| {
        let mut bench = Bench::new();
        let options = QueueOptions { durable, max_length: Some(2), ..QueueOptions::default() };
        let queue = bench.declare("q", options);
        let first = bench.admit("q", 5).unwrap();
        let second = bench.admit("q", 5).unwrap();
        assert_eq!(bench.send("q", 5), FULL, "what is on its way counts");
        bench.arrive(first, 5);
        bench.arrive(second, 5);
        assert_eq!(bench.send("q", 5), FULL, "what is ready counts");
        bench.subscribe(queue, 1);
        while bench.engine.dispatch(0, &mut bench.effects) {}
        assert_eq!(bench.send("q", 5), FULL, "what is handed over counts");
        let got = bench.effects.deliveries[0];
        bench.settle((got.seq, got.lease), Verdict::Ack);
        assert!(bench.send("q", 5).is_ok(), "what is settled counts no more");
        bench.write();
        assert_eq!(bench.send("q", 5), FULL, "and does not make room twice");
    });
}

#[test]
fn bytes_are_limited_in_sum_and_for_one_message() {
    both(|durable| {
        let mut bench = Bench::new();
        let max_bytes = Some(10);
        let options = QueueOptions { durable, max_bytes, ..QueueOptions::default() };
        let queue = bench.declare("q", options);
        let large = NoRoom::Refused(Refusal::MessageTooLargeForQueue);
        assert_eq!(bench.send("q", 11), Err(large), "it never finds room");
        bench.send("q", 6).unwrap();
        assert_eq!(bench.send("q", 5), FULL);
        bench.send("q", 4).unwrap();
        assert_eq!(bench.engine.counts(queue).unwrap().bytes, 10);
        bench.subscribe(queue, 1);
        while bench.engine.dispatch(0, &mut bench.effects) {}
        let got = bench.effects.deliveries[0];
        bench.settle((got.seq, got.lease), Verdict::Ack);
        assert_eq!(bench.send("q", 7), FULL);
        bench.write();
        bench.send("q", 6).unwrap();
        let max_message_bytes = Some(3);
        bench.declare("small", QueueOptions { durable, max_message_bytes, ..Default::default() });
        assert_eq!(bench.send("small", 4), Err(large));
        bench.send("small", 3).unwrap();
    });
}

#[test]
fn a_message_for_a_full_queue_goes_nowhere() {
    let mut bench = Bench::new();
    bench.declare("full", QueueOptions { max_length: Some(1), ..Default::default() });
    bench.declare("free", QueueOptions::default());
    bench.send("full", 1).unwrap();
    let fanout = ExchangeOptions::of(ExchangeKind::Fanout);
    bench.change(Topology::DeclareExchange("x", fanout)).unwrap();
    for queue in ["full", "free"] {
        let (exchange, to) = ("x", BindTo::Queue(queue));
        bench.change(Topology::Bind { exchange, to, key: b"" }).unwrap();
    }
    let route = bench.engine.resolve(bench.me, Publish::Topic("x")).unwrap();
    assert_eq!(route.reach(), 2);
    let refused = bench.engine.find_room(&route, (1, 1), true);
    assert_eq!(refused, Err(NoRoom::Refused(Refusal::QueueFull)));
}

#[test]
fn a_full_queue_that_blocks_holds_until_there_is_room() {
    let mut bench = Bench::new();
    let overflow = Overflow::Block;
    let options = QueueOptions { max_length: Some(1), overflow, ..QueueOptions::default() };
    let queue = bench.declare("q", options);
    bench.send("q", 1).unwrap();
    assert_eq!(bench.send("q", 1), Err(NoRoom::Held));
    assert!(!bench.engine.has_new_room());
    let route = bench.engine.resolve(bench.me, Publish::Queue("q")).unwrap();
    let refused = bench.engine.find_room(&route, (1, 1), false);
    assert_eq!(refused, Err(NoRoom::Refused(Refusal::QueueFull)), "who waited is refused");
    bench.subscribe(queue, 1);
    while bench.engine.dispatch(0, &mut bench.effects) {}
    let got = bench.effects.deliveries[0];
    bench.settle((got.seq, got.lease), Verdict::Ack);
    assert!(bench.engine.has_new_room());
    assert!(!bench.engine.has_new_room(), "it is said once");
    bench.send("q", 1).unwrap();
    assert_eq!(bench.send("q", 1), Err(NoRoom::Held));
    let delete = Topology::DeleteQueue { name: "q", if_empty: false, if_unused: false };
    bench.change(delete).unwrap();
    assert!(bench.engine.has_new_room(), "nobody waits for a queue that is gone");
}

#[test]
fn the_oldest_leave_and_are_counted() {
    both(|durable| {
        let mut bench = Bench::new();
        let overflow = Overflow::DropOldest;
        let max_length = Some(3);
        let options = QueueOptions { durable, max_length, overflow, ..QueueOptions::default() };
        let queue = bench.declare("q", options);
        let seqs: Vec<u64> = (0..5).map(|_| bench.send("q", 9).unwrap()).collect();
        assert_eq!(bench.ready(queue), 3);
        assert_eq!(bench.engine.counts(queue).unwrap().left.of(Cause::Overflow), 2);
        let records = bench.write();
        if durable {
            assert_eq!(records, [(Some(Cause::Overflow), vec![(seqs[0], seqs[1])])]);
        } else {
            assert_eq!(bench.effects.freed, seqs[..2]);
        }
        assert_eq!(bench.ready(queue), 3, "the record takes nothing more");
        bench.subscribe(queue, 3);
        while bench.engine.dispatch(0, &mut bench.effects) {}
        let got: Vec<u64> = bench.effects.deliveries.iter().map(|d| d.seq).collect();
        assert_eq!(got, seqs[2..], "what is left keeps its order");
        bench.send("q", 9).unwrap();
        let counts = bench.engine.counts(queue).unwrap();
        assert_eq!((counts.ready, counts.leased), (0, 3), "what is handed over stays");
        assert_eq!(counts.left.of(Cause::Overflow), 3);
    });
}

#[test]
fn a_message_leaves_after_so_many_attempts() {
    both(|durable| {
        let mut bench = Bench::new();
        let max_attempts = Some(2);
        let options = QueueOptions { durable, max_attempts, ..QueueOptions::default() };
        let queue = bench.declare("q", options);
        let seq = bench.send("q", 1).unwrap();
        bench.subscribe(queue, 1);
        for attempt in 1..=2 {
            while bench.engine.dispatch(0, &mut bench.effects) {}
            let got = *bench.effects.deliveries.last().unwrap();
            assert_eq!(got.attempt, attempt);
            bench.settle((got.seq, got.lease), Verdict::Nack);
        }
        assert_eq!(bench.ready(queue), 0);
        assert_eq!(bench.engine.counts(queue).unwrap().left.of(Cause::MaxAttempts), 1);
        if durable {
            assert!(bench.write().contains(&(Some(Cause::MaxAttempts), vec![(seq, seq)])));
        }
    });
}

#[test]
fn an_exclusive_queue_is_its_sessions_and_goes_with_it() {
    let mut bench = Bench::new();
    let options = QueueOptions { durable: false, exclusive: true, ..QueueOptions::default() };
    let queue = bench.declare("mine", options);
    let other = bench.session();
    let locked = Err(Refusal::QueueExclusive);
    assert_eq!(bench.change_as(other, Topology::DeclareQueue("mine", options)), locked);
    let delete = Topology::DeleteQueue { name: "mine", if_empty: false, if_unused: false };
    assert_eq!(bench.change_as(other, delete), locked);
    let subscribed = bench.engine.subscribe(other, queue, SubscribeOptions::default());
    assert_eq!(subscribed.err(), Some(Refusal::QueueExclusive));
    let kind = ExchangeOptions::of(ExchangeKind::Fanout);
    bench.change(Topology::DeclareExchange("x", kind)).unwrap();
    let bind = Topology::Bind { exchange: "x", to: BindTo::Queue("mine"), key: b"" };
    assert_eq!(bench.change_as(other, bind), locked, "nobody else says what comes into it");
    let consume = courant_engine::Operation::Consume;
    assert_eq!(bench.engine.queue_of(other, consume, "mine"), Err(Refusal::QueueExclusive));
    assert_eq!(bench.change(Topology::DeclareQueue("mine", options)), Ok(()));
    bench.send("mine", 1).unwrap();
    while bench.engine.detach(bench.me, &mut bench.effects) {}
    assert!(bench.engine.counts(queue).is_none());
    assert_eq!(bench.effects.freed.len(), 1);
    let durable = QueueOptions { exclusive: true, ..QueueOptions::default() };
    let refused = bench.change_as(other, Topology::DeclareQueue("new", durable));
    assert_eq!(refused, Err(Refusal::BadPolicy));
}

#[test]
fn a_queue_that_is_declared_before_its_end_is_logged_stays() {
    let mut bench = Bench::new();
    let options = QueueOptions { auto_delete: true, ..QueueOptions::default() };
    let queue = bench.declare("q", options);
    bench.send("q", 1).unwrap();
    let only = bench.subscribe(queue, 0);
    bench.engine.unsubscribe(bench.me, only).unwrap();
    // The log had no room for its record yet. Another of this name must not come before that.
    let request = Topology::DeclareQueue("q", options);
    let again = bench.engine.admit_topology(bench.me, request, &mut bench.effects);
    assert_eq!(again, Ok(Admission::Done));
    assert!(bench.write().is_empty());
    assert_eq!(bench.ready(queue), 1);
    let only = bench.subscribe(queue, 0);
    bench.engine.unsubscribe(bench.me, only).unwrap();
    assert_eq!(bench.write(), [(None, Vec::new())], "it still goes with its last one");
}

#[test]
fn a_queue_that_a_snapshot_finds_too_long_drops_its_oldest() {
    let mut bench = Bench::new();
    let (max_length, overflow) = (Some(2), Overflow::DropOldest);
    let queue =
        bench.declare("q", QueueOptions { max_length, overflow, ..QueueOptions::default() });
    for _ in 0..5 {
        bench.send("q", 1).unwrap();
    }
    assert_eq!(bench.ready(queue), 2);
    // What was dropped is not in the log yet, nor in the snapshot.
    let root = bench.engine.snapshot(&mut 1).root;
    let mut engine = Engine::restore(&root).unwrap();
    assert_eq!(engine.counts(queue).unwrap().ready, 5);
    let mut effects = Effects::default();
    engine.apply(&engine.opening(), &mut effects);
    while engine.shed(0, &mut effects) {}
    if let [page] = effects.wanted[..] {
        let mut bytes = Vec::new();
        bench.engine.snapshot(&mut { page }).pages[0].encode(&mut bytes);
        engine.install_page(page, &bytes, &mut effects).unwrap();
        while engine.shed(0, &mut effects) {}
    }
    assert_eq!(engine.counts(queue).unwrap().ready, 2);
}

#[test]
fn an_exclusive_queue_outlives_an_exchange_that_leads_to_it() {
    let mut bench = Bench::new();
    let options = QueueOptions { durable: false, exclusive: true, ..QueueOptions::default() };
    let queue = bench.declare("mine", options);
    let kind = ExchangeOptions::of(ExchangeKind::Fanout);
    bench.change(Topology::DeclareExchange("x", kind)).unwrap();
    bench.change(Topology::Bind { exchange: "x", to: BindTo::Queue("mine"), key: b"" }).unwrap();
    bench.send("mine", 1).unwrap();
    bench.change(Topology::DeleteExchange { name: "x", if_unused: false }).unwrap();
    assert_eq!(bench.ready(queue), 1);
}

#[test]
fn a_queue_goes_with_its_last_subscription() {
    both(|durable| {
        let mut bench = Bench::new();
        let options = QueueOptions { durable, auto_delete: true, ..QueueOptions::default() };
        let queue = bench.declare("q", options);
        assert!(bench.write().is_empty(), "not before there was one");
        let (one, two) = (bench.subscribe(queue, 1), bench.subscribe(queue, 1));
        bench.engine.unsubscribe(bench.me, one).unwrap();
        bench.engine.bury(&mut bench.effects);
        assert!(bench.write().is_empty() && bench.engine.counts(queue).is_some());
        bench.engine.unsubscribe(bench.me, two).unwrap();
        bench.engine.bury(&mut bench.effects);
        let found = bench.engine.resolve(bench.me, Publish::Queue("q"));
        assert_eq!(found.err(), Some(Refusal::NoSuchQueue), "it cannot be found at once");
        assert_eq!(bench.write().len(), usize::from(durable));
        assert!(bench.engine.counts(queue).is_none());
    });
}

/// Nor does a claim count as one, though a session holds what it claimed as if it were.
#[test]
fn a_queue_outlives_a_session_that_claimed_from_it() {
    both(|durable| {
        let mut bench = Bench::new();
        let options = QueueOptions { durable, auto_delete: true, ..QueueOptions::default() };
        let queue = bench.declare("q", options);
        let visitor = bench.session();
        let effects = &mut bench.effects;
        let claimed = bench.engine.claim(visitor, queue, (Settling::Manual, None), 1, effects);
        assert_eq!(claimed.err(), Some(Refusal::NothingWaiting));
        assert!(!bench.engine.detach(visitor, effects));
        bench.engine.bury(effects);
        assert!(bench.write().is_empty() && bench.engine.counts(queue).is_some());
    });
}

/// As after a crash, of which it knows nothing either.
#[test]
fn the_end_of_the_broker_is_not_the_end_of_a_durable_queue() {
    both(|durable| {
        let mut bench = Bench::new();
        let options = QueueOptions { durable, auto_delete: true, ..QueueOptions::default() };
        let queue = bench.declare("q", options);
        let one = bench.subscribe(queue, 1);
        bench.engine.begin_close();
        bench.engine.unsubscribe(bench.me, one).unwrap();
        bench.engine.bury(&mut bench.effects);
        assert!(bench.write().is_empty());
        assert_eq!(bench.engine.counts(queue).is_some(), durable);
    });
}

#[test]
fn a_name_is_given_once() {
    let mut bench = Bench::new();
    let refused = bench.change(Topology::DeclareQueue("$q.1.0", QueueOptions::default()));
    assert_eq!(refused, Err(Refusal::ReservedName));
    let names: Vec<String> = (0..3).map(|_| bench.engine.give_queue_name()).collect();
    assert_eq!(names, ["$q.1.0", "$q.1.1", "$q.1.2"]);
    bench.declare("$q.1.1", QueueOptions::default());
    for other in ["$q.1.3", "$q.2.0", "$q.", "$other"] {
        let refused = bench.change(Topology::DeclareQueue(other, QueueOptions::default()));
        assert_eq!(refused, Err(Refusal::ReservedName), "{other}");
    }
    let delete = Topology::DeleteQueue { name: "$q.1.1", if_empty: false, if_unused: false };
    assert_eq!(bench.change(delete), Ok(()));
}

#[test]
fn the_policy_that_differs_is_named() {
    let mut bench = Bench::new();
    let options = QueueOptions { max_length: Some(9), ..QueueOptions::default() };
    bench.declare("q", options);
    let other = QueueOptions { max_length: Some(8), ..options };
    let refused = bench.change(Topology::DeclareQueue("q", other));
    assert_eq!(refused, Err(Refusal::DeclaredOtherwise));
    assert_eq!(bench.engine.queue_difference(bench.me, "q", &other), Some("max_length"));
    assert_eq!(bench.engine.queue_difference(bench.me, "q", &options), None);
}

#[test]
fn a_purge_takes_what_was_ready_in_steps_and_goes_on_after_a_restart() {
    let mut bench = Bench::new();
    let queue = bench.declare("q", QueueOptions::default());
    let seqs: Vec<u64> = (0..3_000).map(|_| bench.send("q", 1).unwrap()).collect();
    bench.subscribe(queue, 2);
    while bench.engine.dispatch(0, &mut bench.effects) {}
    let (ready, record) = bench.engine.admit_purge(bench.me, "q").unwrap();
    assert_eq!(ready, 2_998);
    let record = record.expect("a durable queue has records");
    bench.engine.number();
    bench.engine.apply(&record, &mut bench.effects);
    let late = bench.send("q", 1).unwrap();
    assert!(bench.engine.work(0, &mut bench.effects), "a step is bounded");
    assert_eq!(bench.engine.workers()[0].done, 1_024);
    let (seen, more) = bench.engine.list_workers(bench.me, None, 10).unwrap();
    assert_eq!((seen, more), (bench.engine.workers(), None));
    bench.change(Topology::DeclareNamespace("team")).unwrap();
    let anybody = Arc::new(Principal::unrestricted("p"));
    let there = bench.engine.attach("team", anybody).unwrap();
    assert_eq!(bench.engine.list_workers(there, None, 10).unwrap().0, [], "in its namespace only");
    assert_eq!(bench.write(), [(Some(Cause::Purged), vec![(seqs[2], seqs[1_025])])]);

    let snapshot = bench.engine.snapshot(&mut 1);
    let load = |page: u64| {
        let mut bytes = Vec::new();
        let index = usize::try_from(page - 1).unwrap();
        snapshot.pages[index].encode(&mut bytes);
        bytes
    };
    let mut again = Engine::restore(&snapshot.root).unwrap();
    let mut effects = Effects::default();
    again.apply(&again.opening(), &mut effects);
    assert!(again.has_work(), "it goes on with what is left");
    for _ in 0..10 {
        again.work(0, &mut effects);
        for page in std::mem::take(&mut effects.wanted) {
            again.install_page(page, &load(page), &mut effects).unwrap();
        }
        let mut ended = Vec::new();
        again.write_settles(|_, record| match *record {
            Record::WorkerEnded { id } => ended.push(id),
            Record::Settled { cause, .. } => assert_eq!(cause, Cause::Purged),
            ref other => panic!("{other:?} is not of a purge"),
        });
        for id in ended {
            again.apply(&Record::WorkerEnded { id }, &mut effects);
        }
    }
    assert!(!again.has_work() && again.workers().is_empty());
    let counts = again.counts(queue).unwrap();
    assert_eq!(counts.ready, 1, "what came later stays: {late}");
    assert_eq!(counts.left.of(Cause::Purged), 2_998 - 1_024 + 2);
}

#[test]
fn a_purge_of_a_transient_queue_has_no_record() {
    let mut bench = Bench::new();
    let options = QueueOptions { durable: false, ..QueueOptions::default() };
    let queue = bench.declare("q", options);
    assert_eq!(bench.engine.admit_purge(bench.me, "q").unwrap(), (0, None));
    for _ in 0..3 {
        bench.send("q", 1).unwrap();
    }
    assert_eq!(bench.engine.admit_purge(bench.me, "q").unwrap(), (3, None));
    assert!(!bench.engine.work(0, &mut bench.effects));
    assert_eq!((bench.ready(queue), bench.effects.freed.len()), (0, 3));
    assert!(!bench.engine.has_work() && bench.write().is_empty());
}

#[test]
fn bodies_of_a_long_transient_queue_are_freed_in_steps() {
    let mut bench = Bench::new();
    let queue = bench.declare("q", QueueOptions { durable: false, ..QueueOptions::default() });
    let all: Vec<u64> = (0..3000).map(|_| bench.send("q", 1).unwrap()).collect();
    assert!(!bench.engine.has_work());
    bench.change(Topology::DeleteQueue { name: "q", if_empty: false, if_unused: false }).unwrap();
    assert!(bench.engine.counts(queue).is_none(), "the queue itself is gone at once");
    assert_eq!(bench.effects.left, [(Cause::QueueDeleted, 3000)]);
    let mut freed = std::mem::take(&mut bench.effects.freed);
    assert!(freed.is_empty() && bench.engine.has_work());
    loop {
        let more = bench.engine.work(0, &mut bench.effects);
        assert!(bench.effects.freed.len() <= 1024, "a step is bounded");
        freed.append(&mut bench.effects.freed);
        if !more {
            break;
        }
    }
    assert_eq!(freed, all);
    assert!(!bench.engine.has_work());
}

#[test]
fn a_worker_goes_with_its_queue() {
    let mut bench = Bench::new();
    bench.declare("q", QueueOptions::default());
    bench.send("q", 1).unwrap();
    let (_, record) = bench.engine.admit_purge(bench.me, "q").unwrap();
    bench.engine.apply(&record.unwrap(), &mut bench.effects);
    let delete = Topology::DeleteQueue { name: "q", if_empty: false, if_unused: false };
    bench.change(delete).unwrap();
    assert!(!bench.engine.has_work());
    bench.engine.write_settles(|_, record| panic!("{record:?} is about nothing"));
    let root = bench.engine.snapshot(&mut 1).root;
    assert!(!Engine::restore(&root).unwrap().has_work());
}
