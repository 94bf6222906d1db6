//! The oracle bites: each kind of misbehaviour, fed to it by hand, is reported as what it is, and a
//! broker that behaves is not.

use courant_e2e::oracle::{FaultKind, Oracle, Outlet, Seen};
use courant_e2e::random::Random;
use courant_e2e::stamp::{self, Origin, Stamped};
use courant_wire::{Handle, MessageId};

const QUEUE: Outlet = 0;
const SUBSCRIBER: Outlet = 1;

/// One queue and one topic with a subscriber; route 2 leads to both.
struct Script {
    oracle: Oracle,
    random: Random,
    leases: u64,
}

impl Script {
    fn new() -> Self {
        let routes = vec![vec![QUEUE], vec![SUBSCRIBER], vec![QUEUE, SUBSCRIBER]];
        let mut oracle = Oracle::new(2, routes);
        oracle.started();
        Self { oracle, random: Random::new(5), leases: 0 }
    }

    fn send(&mut self, route: usize) -> Stamped {
        let sequence = self.oracle.next_sequence(0);
        let stamped = stamp::make(Origin { publisher: 0, sequence }, &mut self.random);
        self.oracle.sending(route, stamped.stamp);
        stamped
    }

    fn confirm(&mut self, message: &Stamped) {
        self.oracle.confirmed(message.stamp.origin, Some(id_of(message)), 1);
    }

    fn publish(&mut self) -> Stamped {
        let message = self.send(0);
        self.confirm(&message);
        message
    }

    fn deliver(&mut self, message: &Stamped, marked: bool) {
        let seen = self.seen(QUEUE, id_of(message), marked);
        self.oracle.delivered(&seen, Ok(message.stamp));
    }

    fn seen(&mut self, outlet: Outlet, id: MessageId, marked: bool) -> Seen {
        self.leases += 1;
        let handle = Handle { id, lease: Some(self.leases) };
        Seen { outlet, lane: 0, handle, attempt: 1 + u64::from(marked), marked }
    }

    fn ack(&mut self, message: &Stamped, synced: bool) {
        self.oracle.acking(QUEUE, message.stamp.origin);
        self.oracle.acked(QUEUE, message.stamp.origin, synced);
    }

    fn kinds(&mut self) -> Vec<FaultKind> {
        self.oracle.finish();
        let faults = self.oracle.faults();
        assert_eq!(faults.len() as u64, self.oracle.counts().faults());
        faults.iter().map(|fault| fault.kind).collect()
    }
}

fn id_of(message: &Stamped) -> MessageId {
    MessageId { shard: 0, seq: 1000 + message.stamp.origin.sequence }
}

#[test]
fn a_broker_that_behaves_is_not_accused() {
    let mut script = Script::new();
    let messages: Vec<Stamped> = (0..10).map(|_| script.publish()).collect();
    let unconfirmed = script.send(0);
    script.deliver(&messages[0], false);
    script.oracle.nacking(QUEUE, messages[0].stamp.origin);
    script.deliver(&messages[1], false);
    script.deliver(&messages[0], true);
    script.ack(&messages[0], true);
    script.ack(&messages[1], false);
    script.oracle.started();
    script.deliver(&messages[1], true);
    script.ack(&messages[1], true);
    for message in &messages[2..] {
        script.deliver(message, false);
        script.ack(message, true);
    }
    assert_eq!(script.kinds(), []);
    let counts = script.oracle.counts();
    assert_eq!((counts.published, counts.confirmed, counts.delivered), (11, 10, 10));
    assert_eq!((counts.redelivered, counts.acked, counts.acked_synced), (2, 11, 10));
    assert_eq!(unconfirmed.stamp.origin.sequence, 10);
}

#[test]
fn a_lost_message() {
    let mut script = Script::new();
    let kept = script.publish();
    script.publish();
    script.deliver(&kept, false);
    script.ack(&kept, false);
    assert_eq!(script.kinds(), [FaultKind::Lost]);
}

#[test]
fn a_message_that_was_delivered_and_vanished_before_its_ack() {
    let mut script = Script::new();
    let message = script.send(0);
    script.deliver(&message, false);
    script.oracle.nacking(QUEUE, message.stamp.origin);
    assert_eq!(script.kinds(), [FaultKind::Lost]);
}

#[test]
fn a_message_that_reached_one_of_its_two_queues() {
    let mut script = Script::new();
    let message = script.send(2);
    script.oracle.confirmed(message.stamp.origin, Some(id_of(&message)), 2);
    script.deliver(&message, false);
    script.ack(&message, true);
    assert_eq!(script.kinds(), [FaultKind::Lost]);
}

#[test]
fn a_confirm_for_no_queue() {
    let mut script = Script::new();
    let message = script.send(0);
    script.oracle.confirmed(message.stamp.origin, Some(id_of(&message)), 0);
    script.deliver(&message, false);
    script.ack(&message, true);
    assert_eq!(script.kinds(), [FaultKind::Lost]);
}

#[test]
fn an_invented_message() {
    let mut script = Script::new();
    script.publish();
    let origin = Origin { publisher: 0, sequence: 77 };
    let forged = stamp::make(origin, &mut Random::new(9));
    script.deliver(&forged, false);
    let stranger = stamp::make(Origin { publisher: 9, sequence: 0 }, &mut Random::new(9));
    let seen = script.seen(QUEUE, MessageId { shard: 0, seq: 5 }, false);
    script.oracle.delivered(&seen, Ok(stranger.stamp));
    let kinds = script.kinds();
    assert_eq!(kinds, [FaultKind::Invented, FaultKind::Invented, FaultKind::Lost]);
}

#[test]
fn a_message_in_the_wrong_queue() {
    let mut script = Script::new();
    let message = script.publish();
    let seen = script.seen(SUBSCRIBER, id_of(&message), false);
    script.oracle.delivered(&seen, Ok(message.stamp));
    assert_eq!(script.kinds(), [FaultKind::Invented, FaultKind::Lost]);
}

#[test]
fn an_altered_message() {
    let mut script = Script::new();
    let mut message =
        stamp::make_of_length(Origin { publisher: 0, sequence: 0 }, 40, false, &mut Random::new(3));
    script.oracle.sending(0, message.stamp);
    *message.body.last_mut().unwrap() ^= 1;
    let seen = script.seen(QUEUE, id_of(&message), false);
    script.oracle.delivered(&seen, stamp::read(&message.body, &[]));
    assert_eq!(script.kinds(), [FaultKind::Altered]);
}

#[test]
fn a_message_that_is_whole_but_another_one() {
    let mut script = Script::new();
    let message = script.publish();
    let other = stamp::make_of_length(message.stamp.origin, 3, false, &mut Random::new(4));
    script.deliver(&other, false);
    script.ack(&message, true);
    assert_eq!(script.kinds(), [FaultKind::Altered]);
}

#[test]
fn messages_out_of_order() {
    let mut script = Script::new();
    let (first, second) = (script.publish(), script.publish());
    for message in [&second, &first] {
        script.deliver(message, false);
        script.ack(message, true);
    }
    assert_eq!(script.kinds(), [FaultKind::OutOfOrder]);
}

#[test]
fn a_resurrected_message() {
    let mut script = Script::new();
    let message = script.publish();
    script.deliver(&message, false);
    script.ack(&message, true);
    script.oracle.started();
    script.deliver(&message, true);
    assert_eq!(script.kinds(), [FaultKind::Resurrected]);
}

#[test]
fn a_message_that_came_back_after_its_ack_in_one_run_or_after_an_orderly_stop() {
    let mut script = Script::new();
    let message = script.publish();
    script.deliver(&message, false);
    script.ack(&message, false);
    script.deliver(&message, true);
    script.ack(&message, false);
    script.oracle.stopped_cleanly();
    script.oracle.started();
    script.deliver(&message, true);
    assert_eq!(script.kinds(), [FaultKind::Resurrected, FaultKind::Resurrected]);
}

#[test]
fn a_duplicate_and_an_unmarked_repeat() {
    let mut script = Script::new();
    let message = script.publish();
    script.deliver(&message, false);
    script.deliver(&message, true);
    script.oracle.started();
    script.deliver(&message, false);
    script.ack(&message, true);
    assert_eq!(script.kinds(), [FaultKind::Duplicated, FaultKind::Unmarked]);
}

#[test]
fn reused_ids_and_handles() {
    let mut script = Script::new();
    let first = script.publish();
    let second = script.send(0);
    script.oracle.confirmed(second.stamp.origin, Some(id_of(&first)), 1);
    let seen = script.seen(QUEUE, id_of(&first), false);
    script.oracle.delivered(&seen, Ok(first.stamp));
    script.oracle.nacking(QUEUE, first.stamp.origin);
    let again = Seen { marked: true, attempt: 2, ..seen };
    script.oracle.delivered(&again, Ok(first.stamp));
    script.ack(&first, true);
    let other = script.seen(QUEUE, MessageId { shard: 0, seq: 1 }, false);
    script.oracle.delivered(&other, Ok(second.stamp));
    script.ack(&second, true);
    let kinds = script.kinds();
    assert_eq!(kinds, [FaultKind::IdReused, FaultKind::IdReused, FaultKind::IdReused]);
}

#[test]
fn a_refusal_under_load() {
    let mut script = Script::new();
    script.oracle.refused("604 too-many-in-flight".to_owned());
    assert_eq!(script.kinds(), [FaultKind::Refused]);
}

#[test]
fn attempts_that_do_not_rise_in_one_run() {
    let mut script = Script::new();
    let message = script.publish();
    for marked in [false, true, true] {
        script.deliver(&message, marked);
        script.oracle.nacking(QUEUE, message.stamp.origin);
    }
    script.ack(&message, true);
    assert_eq!(script.kinds(), [FaultKind::Unmarked]);
}
