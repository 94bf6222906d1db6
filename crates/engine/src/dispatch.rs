//! Handing over: ready messages to subscriptions with credit, in fair turns.
//!
//! A queue with something ready and somebody to take it is *dirty*. A step takes dirty queues in
//! turn; within a queue each subscription gets up to [`TURN_MESSAGES_MAX`] messages, then goes to
//! the end of the line, so that shares differ by at most one turn.

use crate::delivery::{Cause, Lease};
use crate::effect::{Delivery, DeliveryRun, Effects};
use crate::engine::Engine;
use crate::floor::Floor;
use crate::ledger::Ledger;
use crate::limits::{STEP_BYTES_MAX, STEP_MESSAGES_MAX, TURN_MESSAGES_MAX};
use crate::name::QueueId;
use crate::queue::leases::Leases;
use crate::queue::{FloorQueue, LedgerQueue, Taken};
use crate::session::Session;
use crate::settle::note_settles;
use crate::slab::Slab;
use crate::subscription::{Settling, Subscription, SubscriptionId};
use std::collections::BTreeSet;

impl Engine {
    /// Hands over what is ready, at most [`STEP_MESSAGES_MAX`] messages and no more once
    /// [`STEP_BYTES_MAX`] bytes are handed over. Says whether there is more to do.
    pub fn dispatch(&mut self, now_ms: u64, effects: &mut Effects) -> bool {
        let Self { ledger, floor, .. } = self;
        floor.now_ms = floor.now_ms.max(now_ms);
        let mut left = Budget { messages: STEP_MESSAGES_MAX, bytes: STEP_BYTES_MAX };
        while !left.is_spent() {
            let Some(id) = floor.dirty.pop_front() else { return false };
            serve(ledger, floor, id, now_ms, &mut left, effects);
        }
        !floor.dirty.is_empty()
    }
}

/// What a step may still hand over.
struct Budget {
    messages: usize,
    bytes: u64,
}

impl Budget {
    fn is_spent(&self) -> bool {
        self.messages == 0 || self.bytes == 0
    }

    fn skip(&mut self, messages: u64) {
        let messages = usize::try_from(messages).unwrap_or(usize::MAX);
        self.messages = self.messages.saturating_sub(messages);
    }

    fn spend(&mut self, bytes: u32) {
        self.messages = self.messages.saturating_sub(1);
        self.bytes = self.bytes.saturating_sub(u64::from(bytes));
    }
}

/// The parts of the floor that a turn needs beside its queue.
struct Hands<'a> {
    left: &'a mut Budget,
    sessions: &'a mut Slab<Session>,
    subscriptions: &'a mut Slab<Subscription>,
    leases: &'a mut Leases,
    alarms: &'a mut BTreeSet<(u64, SubscriptionId)>,
    now_ms: u64,
    /// Durable messages below may have been handed over before.
    suspect_below: u64,
}

/// Hands over messages of one queue.
fn serve(
    ledger: &Ledger,
    floor: &mut Floor,
    id: QueueId,
    now_ms: u64,
    left: &mut Budget,
    effects: &mut Effects,
) {
    let Floor { queues, sessions, subscriptions, leases, alarms, with_settles, dirty, .. } = floor;
    let suspect_below = ledger.suspect_below;
    let mut hands = Hands { left, sessions, subscriptions, leases, alarms, now_ms, suspect_below };
    let Some(queue) = queues.get_mut(&id) else { return };
    queue.is_dirty = false;
    let ledger_queue = ledger.queues.get(&id);
    while !hands.left.is_spent() {
        let Some(subscription) = queue.turns.pop_front() else { break };
        let expired = effects.expired;
        let is_empty = hands.give_turn(queue, ledger_queue, subscription, effects);
        // What was found to be over costs the step as much as what was handed over.
        hands.left.skip(effects.expired - expired);
        if is_empty {
            break;
        }
    }
    if hands.left.is_spent() {
        Floor::mark(dirty, queue);
    }
    if !queue.settling.is_empty() {
        note_settles(queue, with_settles);
    }
}

impl Hands<'_> {
    /// Gives one subscription its turn. Says whether the queue has no message left.
    fn give_turn(
        &mut self,
        queue: &mut FloorQueue,
        ledger: Option<&LedgerQueue>,
        id: SubscriptionId,
        effects: &mut Effects,
    ) -> bool {
        let Some(subscription) = self.subscriptions.get_mut(id.0) else { return false };
        let session = self.sessions.get_mut(subscription.session);
        let Some(session) = session.filter(|who| !who.is_stalled && !self.leases.is_full()) else {
            subscription.has_turn = false;
            return false;
        };
        let start = u32::try_from(effects.deliveries.len()).unwrap_or(u32::MAX);
        let (mut got, mut bytes) = (0, 0);
        let is_manual = subscription.settling == Settling::Manual;
        let most = room(subscription, session);
        let has_any_size = is_manual && subscription.has_any_size(session);
        let deadline_ms = self.now_ms.saturating_add(subscription.visibility_ms);
        let to = (queue.id, id, deadline_ms);
        let end = loop {
            if got >= most || self.left.is_spent() || self.leases.is_full() {
                break End::Turn;
            }
            if has_any_size {
                let now = self.left.messages.min(self.leases.room());
                let most = most.min(got + u32::try_from(now).unwrap_or(TURN_MESSAGES_MAX));
                queue.take_run(ledger, |taken| {
                    bytes += u64::from(taken.size);
                    let lease = self.leases.open(&mut subscription.open, taken, to);
                    effects.deliveries.push(delivery(&taken, lease, self.suspect_below));
                    self.left.spend(taken.size);
                    got += 1;
                    got < most && self.left.bytes > 0
                });
                if got >= most || self.left.is_spent() {
                    break End::Turn;
                }
            }
            let Some(taken) = queue.take(ledger, self.now_ms, effects) else { break End::Empty };
            if is_manual && let Some(end) = misfit((subscription, session), (got, bytes), &taken) {
                queue.put_back(&taken);
                break end;
            }
            let lease = if is_manual {
                bytes += u64::from(taken.size);
                self.leases.open(&mut subscription.open, taken, to)
            } else {
                settle_at_once(queue, &taken, effects);
                Lease::NONE
            };
            effects.deliveries.push(delivery(&taken, lease, self.suspect_below));
            self.left.spend(taken.size);
            got += 1;
        };
        if got > 0 {
            if is_manual {
                queue.leased += u64::from(got);
                subscription.credit.open(got, bytes);
                if subscription.is_counted() {
                    session.credit.open(got, bytes);
                }
                subscription.set_alarm(id, deadline_ms, self.alarms);
            }
            let (session, queue, end) = (subscription.session, queue.id, start + got);
            extend_runs(effects, DeliveryRun { session, subscription: id, queue, start, end });
        }
        end_turn(queue, (id, subscription, session), end, got > 0);
        end == End::Empty
    }
}

/// Gives the turn to who keeps it, and to the end of the line.
fn end_turn(
    queue: &mut FloorQueue,
    (id, subscription, session): (SubscriptionId, &mut Subscription, &mut Session),
    end: End,
    has_got: bool,
) {
    if end == End::NoCredit || !subscription.has_credit() {
        subscription.has_turn = false;
    } else if end == End::Starved || subscription.is_without_room(session) {
        subscription.has_turn = false;
        session.starve(id, subscription);
    } else if end == End::Empty && !has_got {
        // Without a message the turn is kept: the next one is its.
        queue.turns.push_front(id);
    } else {
        queue.turns.push_back(id);
    }
}

/// Why a turn is over.
#[derive(Clone, Copy, PartialEq)]
enum End {
    /// It got its share, or the step is over.
    Turn,
    /// The queue has nothing left.
    Empty,
    /// The subscription has no room for the next one.
    NoCredit,
    /// Its session has none.
    Starved,
}

/// How many messages a subscription may get in its turn.
#[inline]
fn room(subscription: &Subscription, session: &Session) -> u32 {
    if !subscription.has_credit() || subscription.is_without_room(session) {
        return 0;
    }
    let mut most = TURN_MESSAGES_MAX;
    if subscription.settling == Settling::Manual {
        most = most.min(subscription.credit.room());
        if subscription.is_counted() {
            most = most.min(session.credit.room());
        }
    }
    most
}

/// Why a message is too large behind those that are about to be opened; `None` if it fits.
#[inline]
fn misfit(
    (subscription, session): (&Subscription, &Session),
    opened: (u32, u64),
    taken: &Taken,
) -> Option<End> {
    if !subscription.credit.fits(opened, taken.size) {
        return Some(End::NoCredit);
    }
    let is_starved = subscription.is_counted() && !session.credit.fits(opened, taken.size);
    is_starved.then_some(End::Starved)
}

fn delivery(taken: &Taken, lease: Lease, suspect_below: u64) -> Delivery {
    Delivery {
        seq: taken.seq,
        lease,
        size: taken.size,
        attempt: taken.attempts.saturating_add(1),
        is_suspect: taken.durable && taken.seq < suspect_below,
        durable: taken.durable,
    }
}

/// Adds a run, or lengthens the last one when it is for the same subscription.
fn extend_runs(effects: &mut Effects, run: DeliveryRun) {
    if let Some(last) = effects.runs.last_mut()
        && last.subscription == run.subscription
        && last.end == run.start
    {
        last.end = run.end;
    } else {
        effects.runs.push(run);
    }
}

fn settle_at_once(queue: &mut FloorQueue, taken: &Taken, effects: &mut Effects) {
    if taken.durable {
        queue.settle(taken.position, (taken.seq, taken.size), Cause::Acked);
    } else {
        queue.transient.kill(taken.position);
        effects.freed.push(taken.seq);
    }
}
