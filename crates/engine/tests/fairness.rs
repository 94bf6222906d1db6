//! Turns: equal subscriptions get equal shares, whoever cannot take holds nobody back, and the
//! order of turns is the order of subscribing.

use courant_engine::limits::TURN_MESSAGES_MAX;
use courant_engine::{
    Delivery, Effects, Engine, Handle, Lifetime, Principal, QueueId, QueueOptions, Selector,
    SessionId, Settling, SubscribeOptions, SubscriptionId, Topology, Verdict,
};
use std::collections::BTreeMap;
use std::sync::Arc;

const MESSAGES: u64 = 10_000;

/// One transient queue, a session per consumer, and what each got so far.
struct Hall {
    engine: Engine,
    queue: QueueId,
    effects: Effects,
    got: BTreeMap<SubscriptionId, u64>,
    /// Open deliveries, oldest first.
    open: BTreeMap<SubscriptionId, Vec<Handle>>,
    sessions: BTreeMap<SubscriptionId, SessionId>,
}

impl Hall {
    fn new() -> Self {
        let mut engine = Engine::default();
        let mut effects = Effects::default();
        engine.apply(&engine.opening(), &mut effects);
        let session = engine.attach("/", Arc::new(Principal::unrestricted("hall")));
        let session = session.expect("the namespace / exists");
        let options = QueueOptions { durable: false, ..QueueOptions::default() };
        let request = Topology::DeclareQueue("q", options);
        engine.admit_topology(session, request, &mut effects).expect("it is new");
        let queue = engine.queues()[0].1;
        let (got, open, sessions) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
        Self { engine, queue, effects, got, open, sessions }
    }

    fn consumer(&mut self, credit: u32, settling: Settling) -> SubscriptionId {
        let session = self.engine.attach("/", Arc::new(Principal::unrestricted("consumer")));
        let session = session.expect("the namespace / exists");
        let options = SubscribeOptions { credit, settling, ..SubscribeOptions::default() };
        let id = self.engine.subscribe(session, self.queue, options).expect("there is room");
        self.sessions.insert(id, session);
        self.got.insert(id, 0);
        self.open.insert(id, Vec::new());
        id
    }

    fn publish(&mut self, count: u64) {
        for _ in 0..count {
            let seq = self.engine.admit(1).expect("numbers are left");
            assert_eq!(self.engine.place(seq, 1, Lifetime::default(), &[self.queue]), 1);
        }
    }

    /// One step; the runs in their order, as (who, how many).
    fn step(&mut self) -> Vec<(SubscriptionId, u32)> {
        self.effects.clear();
        self.engine.dispatch(0, &mut self.effects);
        for run in &self.effects.runs {
            let part = &self.effects.deliveries[run.start as usize..run.end as usize];
            *self.got.entry(run.subscription).or_default() += part.len() as u64;
            let open = self.open.entry(run.subscription).or_default();
            open.extend(part.iter().map(|d: &Delivery| Handle { seq: d.seq, lease: d.lease }));
        }
        self.effects.runs.iter().map(|run| (run.subscription, run.end - run.start)).collect()
    }

    fn ack(&mut self, id: SubscriptionId, count: usize) {
        let open = self.open.get_mut(&id).expect("a consumer");
        let count = count.min(open.len());
        let mut effects = Effects::default();
        for handle in open.drain(..count) {
            let one = Selector::One(handle);
            let got = self.engine.settle(self.sessions[&id], one, Verdict::Ack, 0, &mut effects);
            assert_eq!(got, Ok(1));
        }
    }

    fn left(&self) -> u64 {
        self.engine.counts(self.queue).expect("the queue is there").ready
    }

    fn assert_equal_shares(&self, among: &[SubscriptionId]) {
        let total: u64 = among.iter().map(|id| self.got[id]).sum();
        let fair = total / among.len() as u64;
        for id in among {
            let share = self.got[id];
            assert!(share.abs_diff(fair) * 10 <= fair, "{share} of {total}, fair is {fair}");
        }
    }
}

#[test]
fn equal_consumers_get_equal_shares_of_a_backlog() {
    for consumers in [2, 3, 7, 16] {
        let mut hall = Hall::new();
        hall.publish(MESSAGES);
        let all: Vec<_> = (0..consumers).map(|_| hall.consumer(64, Settling::Manual)).collect();
        while hall.left() > 0 {
            hall.step();
            for id in &all {
                hall.ack(*id, usize::MAX);
            }
        }
        assert_eq!(hall.got.values().sum::<u64>(), MESSAGES);
        hall.assert_equal_shares(&all);
    }
}

#[test]
fn equal_consumers_get_equal_shares_of_a_trickle() {
    for batch in [1, 3, 8, 20, 100] {
        let mut hall = Hall::new();
        let all: Vec<_> = (0..4).map(|_| hall.consumer(500, Settling::Manual)).collect();
        for _ in 0..MESSAGES / batch {
            hall.publish(batch);
            while hall.left() > 0 {
                hall.step();
            }
            for id in &all {
                hall.ack(*id, usize::MAX);
            }
        }
        hall.assert_equal_shares(&all);
    }
}

#[test]
fn a_consumer_that_settles_at_once_takes_no_more_than_its_share() {
    let mut hall = Hall::new();
    hall.publish(MESSAGES);
    let auto = hall.consumer(1, Settling::Auto);
    let manual = hall.consumer(4096, Settling::Manual);
    while hall.left() > 0 {
        hall.step();
        hall.ack(manual, usize::MAX);
    }
    hall.assert_equal_shares(&[auto, manual]);
}

#[test]
fn a_slow_consumer_gets_what_it_settles_and_the_others_the_rest() {
    let mut hall = Hall::new();
    hall.publish(MESSAGES);
    let slow = hall.consumer(10, Settling::Manual);
    let quick: Vec<_> = (0..3).map(|_| hall.consumer(10, Settling::Manual)).collect();
    let mut acks = 0;
    while hall.left() > 0 {
        hall.step();
        if acks % 100 == 0 {
            hall.ack(slow, 1);
        }
        acks += 1;
        for id in &quick {
            hall.ack(*id, usize::MAX);
        }
    }
    assert!(hall.got[&slow] <= 10 + acks / 100 + 1, "credit bounds the slow one");
    hall.assert_equal_shares(&quick);
}

#[test]
fn credit_bounds_each_share_when_nobody_settles() {
    let mut hall = Hall::new();
    hall.publish(MESSAGES);
    let credits = [0, 1, 5, 8, 9, 100, 1000];
    let all: Vec<_> = credits.map(|credit| hall.consumer(credit, Settling::Manual)).into();
    while !hall.step().is_empty() {}
    for (id, credit) in all.iter().zip(credits) {
        assert_eq!(hall.got[id], u64::from(credit));
    }
    assert_eq!(hall.left(), MESSAGES - u64::from(credits.iter().sum::<u32>()));
}

#[test]
fn a_stalled_session_holds_nobody_back_and_is_served_again() {
    let mut hall = Hall::new();
    let stalled = hall.consumer(64, Settling::Manual);
    let quick: Vec<_> = (0..2).map(|_| hall.consumer(64, Settling::Manual)).collect();
    hall.publish(MESSAGES);
    hall.engine.set_stalled(hall.sessions[&stalled], true);
    while hall.left() > MESSAGES / 2 {
        hall.step();
        for id in &quick {
            hall.ack(*id, usize::MAX);
        }
    }
    assert_eq!(hall.got[&stalled], 0);
    hall.assert_equal_shares(&quick);
    hall.engine.set_stalled(hall.sessions[&stalled], false);
    let before: BTreeMap<_, _> = hall.got.clone();
    while hall.left() > 0 {
        hall.step();
        for id in [&[stalled], &quick[..]].concat() {
            hall.ack(id, usize::MAX);
        }
    }
    for (id, got) in &mut hall.got {
        *got -= before[id];
    }
    hall.assert_equal_shares(&[&[stalled], &quick[..]].concat());
}

#[test]
fn turns_go_round_in_the_order_of_subscribing() {
    let mut hall = Hall::new();
    let all: Vec<_> = (0..3).map(|_| hall.consumer(1000, Settling::Manual)).collect();
    let turn = TURN_MESSAGES_MAX;
    hall.publish(u64::from(turn) * 7);
    let expected: Vec<_> = (0..7).map(|i| (all[i % 3], turn)).collect();
    assert_eq!(hall.step(), expected);
    // Seven turns were taken: the eighth is the second one's, and an idle step costs nobody's.
    assert_eq!(hall.step(), []);
    hall.publish(u64::from(turn) + 1);
    assert_eq!(hall.step(), [(all[1], turn), (all[2], 1)]);
}
