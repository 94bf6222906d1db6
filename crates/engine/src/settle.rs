//! Subscriptions, settling, deadlines, and the records that follow from them.

use crate::access::Operation;
use crate::credit::Credit;
use crate::delivery::{Cause, Handle, Lease, Outcome, Selector, Verdict, outcome};
use crate::effect::{Delivery, Effects};
use crate::engine::Engine;
use crate::expiry::note_returned;
use crate::floor::{Floor, SessionId};
use crate::limits::{
    CREDIT_MAX, STEP_MESSAGES_MAX, SUBSCRIPTIONS_MAX, VISIBILITY_MS_MAX, VISIBILITY_MS_MIN,
};
use crate::name::QueueId;
use crate::queue::leases::{Open, OpenList};
use crate::queue::{FloorQueue, Taken};
use crate::record::{Record, SeqRange};
use crate::refusal::Refusal;
use crate::subscription::{Settling, Share, SubscribeOptions, Subscription, SubscriptionId};

impl Engine {
    /// Begins a subscription on a queue.
    pub fn subscribe(
        &mut self,
        session: SessionId,
        queue: QueueId,
        options: SubscribeOptions,
    ) -> Result<SubscriptionId, Refusal> {
        if !options.is_valid() {
            return Err(Refusal::BadPolicy);
        }
        let who = self.floor.sessions.get_mut(session.0).ok_or(Refusal::Closing)?;
        if who.subscriptions.len() >= SUBSCRIPTIONS_MAX {
            return Err(Refusal::TooManySubscriptions);
        }
        let there = self.floor.queues.get_mut(&queue).ok_or(Refusal::NoSuchQueue)?;
        who.allow_queue(session.0, Operation::Consume, there)?;
        if there.owner.is_some_and(|owner| owner != session.0) {
            return Err(Refusal::QueueExclusive);
        }
        let subscription = Subscription {
            session: session.0,
            queue,
            settling: options.settling,
            visibility_ms: options.visibility_ms.unwrap_or(there.options.visibility_ms),
            credit: Credit::new(Some(options.credit), options.credit_bytes),
            open: OpenList::default(),
            has_turn: false,
            share: if who.is_counted { Share::Counted } else { Share::Uncounted },
            is_ended: false,
            alarm_ms: None,
        };
        let id = SubscriptionId(self.floor.subscriptions.insert(subscription));
        there.subscriptions.push(id);
        there.note_use(self.floor.now_ms);
        who.subscriptions.push(id);
        self.floor.offer_turn(id);
        Ok(id)
    }

    /// Ends a subscription. Its open deliveries stay the session's until they are settled, their
    /// deadline passes or the session ends.
    pub fn unsubscribe(&mut self, session: SessionId, id: SubscriptionId) -> Result<(), Refusal> {
        let subscription = self.owned(session, id)?;
        subscription.is_ended = true;
        let is_done = subscription.credit.messages == 0;
        let queue = subscription.queue;
        if let Some(there) = self.floor.queues.get_mut(&queue) {
            let before = there.subscriptions.len();
            there.turns.retain(|other| *other != id);
            there.subscriptions.retain(|other| *other != id);
            // What holds a session's claims is none of the queue's subscriptions.
            if there.subscriptions.len() < before {
                there.note_use(self.floor.now_ms);
                self.end_unused(queue);
            }
        }
        if let Some(subscription) = self.floor.subscriptions.get_mut(id.0) {
            subscription.has_turn = false;
        }
        if is_done {
            self.forget_subscription(session, id);
        }
        Ok(())
    }

    pub(crate) fn forget_subscription(&mut self, session: SessionId, id: SubscriptionId) {
        if let Some(gone) = self.floor.subscriptions.remove(id.0)
            && let Some(alarm) = gone.alarm_ms
        {
            self.floor.alarms.remove(&(alarm, id));
        }
        if let Some(who) = self.floor.sessions.get_mut(session.0) {
            who.subscriptions.retain(|other| *other != id);
            who.starved.retain(|other| *other != id);
            if who.claims == Some(id) {
                who.claims = None;
            }
        }
    }

    fn owned(
        &mut self,
        session: SessionId,
        id: SubscriptionId,
    ) -> Result<&mut Subscription, Refusal> {
        self.floor
            .subscriptions
            .get_mut(id.0)
            .filter(|subscription| subscription.session == session.0 && !subscription.is_ended)
            .ok_or(Refusal::NoSuchSubscription)
    }

    /// Lets that many more deliveries of a subscription be open at a time, up to [`CREDIT_MAX`].
    pub fn add_credit(
        &mut self,
        session: SessionId,
        id: SubscriptionId,
        more: u32,
    ) -> Result<(), Refusal> {
        let subscription = self.owned(session, id)?;
        let messages_max = &mut subscription.credit.messages_max;
        *messages_max = messages_max.saturating_add(more).min(CREDIT_MAX);
        self.floor.offer_turn(id);
        Ok(())
    }

    /// Stops or goes on handing over to a session whose reader is too slow.
    pub fn set_stalled(&mut self, session: SessionId, is_stalled: bool) {
        let Some(who) = self.floor.sessions.get_mut(session.0) else { return };
        if who.is_stalled == is_stalled {
            return;
        }
        who.is_stalled = is_stalled;
        if !is_stalled {
            for id in who.subscriptions.clone() {
                self.floor.offer_turn(id);
            }
        }
    }

    /// Hands over one ready message without a subscription. `None` if it has to be loaded first:
    /// ask again once what is in [`Effects::wanted`] was installed.
    pub fn claim(
        &mut self,
        session: SessionId,
        queue: QueueId,
        (settling, visibility_ms): (Settling, Option<u64>),
        now_ms: u64,
        effects: &mut Effects,
    ) -> Result<Option<Delivery>, Refusal> {
        let in_range = VISIBILITY_MS_MIN..=VISIBILITY_MS_MAX;
        if visibility_ms.is_some_and(|ms| !in_range.contains(&ms)) {
            return Err(Refusal::BadPolicy);
        }
        let id = self.claims_of(session, queue)?;
        let Self { ledger, floor, .. } = self;
        let there = floor.queues.get_mut(&queue).ok_or(Refusal::NoSuchQueue)?;
        if floor.leases.is_full() {
            return Err(Refusal::TooManyDeliveries);
        }
        let held = floor.subscriptions.get_mut(id.0).ok_or(Refusal::NoSuchSubscription)?;
        if held.credit.messages >= CREDIT_MAX {
            return Err(Refusal::TooManyDeliveries);
        }
        let from = ledger.queues.get(&queue);
        there.note_use(now_ms);
        let taken = there.take(from, now_ms, effects);
        if !there.settling.is_empty() {
            note_settles(there, &mut floor.with_settles);
        }
        let Some(taken) = taken else {
            let is_waiting = there.is_waiting(from);
            return if is_waiting { Ok(None) } else { Err(Refusal::NothingWaiting) };
        };
        let mut lease = Lease::NONE;
        if settling == Settling::Manual {
            let deadline_ms =
                now_ms.saturating_add(visibility_ms.unwrap_or(there.options.visibility_ms));
            lease = floor.leases.open(&mut held.open, taken, (queue, id, deadline_ms));
            held.credit.open(1, u64::from(taken.size));
            there.leased += 1;
            held.set_alarm(id, deadline_ms, &mut floor.alarms);
        } else {
            leave(there, &taken, Cause::Acked, &mut floor.with_settles, effects);
        }
        let attempt = taken.attempts.saturating_add(1);
        let (seq, size, durable) = (taken.seq, taken.size, taken.durable);
        let is_suspect = durable && seq < ledger.suspect_below;
        Ok(Some(Delivery { seq, lease, size, attempt, is_suspect, durable }))
    }

    /// The subscription without turns that holds what a session claimed.
    fn claims_of(&mut self, session: SessionId, queue: QueueId) -> Result<SubscriptionId, Refusal> {
        let who = self.floor.sessions.get_mut(session.0).ok_or(Refusal::Closing)?;
        let there = self.floor.queues.get(&queue).ok_or(Refusal::NoSuchQueue)?;
        who.allow_queue(session.0, Operation::Consume, there)?;
        if there.owner.is_some_and(|owner| owner != session.0) {
            return Err(Refusal::QueueExclusive);
        }
        if let Some(id) = who.claims {
            return Ok(id);
        }
        let id = SubscriptionId(self.floor.subscriptions.insert(Subscription {
            session: session.0,
            queue,
            settling: Settling::Manual,
            visibility_ms: there.options.visibility_ms,
            credit: Credit::new(Some(0), None),
            open: OpenList::default(),
            has_turn: false,
            share: Share::Uncounted,
            is_ended: false,
            alarm_ms: None,
        }));
        who.claims = Some(id);
        who.subscriptions.push(id);
        Ok(id)
    }

    /// Does what a client says of its open deliveries. Says how many it was about. Of all up to one
    /// it closes a step's worth, the oldest first: more is to be done while that one
    /// [is open](Self::is_open).
    pub fn settle(
        &mut self,
        session: SessionId,
        selector: Selector,
        verdict: Verdict,
        now_ms: u64,
        effects: &mut Effects,
    ) -> Result<u32, Refusal> {
        if let Verdict::Extend(Some(ms)) = verdict
            && ms > VISIBILITY_MS_MAX
        {
            return Err(Refusal::BadPolicy);
        }
        match selector {
            Selector::One(handle) => {
                let id = self.holder(session, handle)?;
                let is_there = self.settle_one(id, handle.lease, verdict, now_ms, effects);
                if is_there { Ok(1) } else { Err(Refusal::NotOpen) }
            }
            Selector::Message(seq) => {
                let handle = self.only_open(session, seq)?;
                let id = self.holder(session, handle)?;
                self.settle_one(id, handle.lease, verdict, now_ms, effects);
                Ok(1)
            }
            Selector::UpTo(handle) => {
                let id = self.holder(session, handle)?;
                let list = self.floor.subscriptions.get(id.0).map(|s| s.open).unwrap_or_default();
                let named = self.floor.leases.at(handle.lease);
                if named.is_none_or(|open| !self.floor.queues.contains_key(&open.queue)) {
                    return Err(Refusal::NotOpen);
                }
                let is_step = !matches!(verdict, Verdict::Extend(_));
                let mut leases = Vec::new();
                for open in self.floor.leases.iter(list) {
                    leases.push(open.lease);
                    if open.lease == handle.lease || is_step && leases.len() == STEP_MESSAGES_MAX {
                        break;
                    }
                }
                let mut settled = 0;
                for lease in leases {
                    settled += u32::from(self.settle_one(id, lease, verdict, now_ms, effects));
                }
                Ok(settled)
            }
        }
    }

    /// Whether a delivery is open.
    pub fn is_open(&self, handle: Handle) -> bool {
        self.floor.leases.get(handle.lease, handle.seq).is_some()
    }

    /// The subscription of this session that holds the delivery open.
    #[inline]
    fn holder(&self, session: SessionId, handle: Handle) -> Result<SubscriptionId, Refusal> {
        let open = self.floor.leases.get(handle.lease, handle.seq).ok_or(Refusal::NotOpen)?;
        let holder = self.floor.subscriptions.get(open.subscription.0);
        match holder {
            Some(subscription) if subscription.session == session.0 => Ok(open.subscription),
            _ => Err(Refusal::NotOpen),
        }
    }

    /// The handle of the only open delivery of a message in a session.
    fn only_open(&self, session: SessionId, seq: u64) -> Result<Handle, Refusal> {
        let who = self.floor.sessions.get(session.0).ok_or(Refusal::Closing)?;
        let mut found = None;
        for id in &who.subscriptions {
            let Some(subscription) = self.floor.subscriptions.get(id.0) else { continue };
            for open in self.floor.leases.iter(subscription.open) {
                if open.taken.seq == seq && self.floor.queues.contains_key(&open.queue) {
                    if found.is_some() {
                        return Err(Refusal::Ambiguous);
                    }
                    found = Some(Handle { seq, lease: open.lease });
                }
            }
        }
        found.ok_or(Refusal::NotOpen)
    }

    /// Closes or extends one delivery. Says whether its queue was still there: what a session
    /// claimed, or holds of an ended subscription, may outlive that.
    #[expect(clippy::inline_always, reason = "on the way of every message")]
    #[inline(always)]
    fn settle_one(
        &mut self,
        id: SubscriptionId,
        lease: Lease,
        verdict: Verdict,
        now_ms: u64,
        effects: &mut Effects,
    ) -> bool {
        if let Verdict::Extend(ms) = verdict {
            let floor = &mut self.floor;
            let Some(subscription) = floor.subscriptions.get_mut(id.0) else { return false };
            let open = floor.leases.at(lease);
            let Some(queue) = open.and_then(|open| floor.queues.get(&open.queue)) else {
                return false;
            };
            let ms = ms.unwrap_or(queue.options.visibility_ms);
            let deadline_ms = now_ms.saturating_add(ms);
            floor.leases.extend(lease, deadline_ms);
            subscription.set_alarm(id, deadline_ms, &mut floor.alarms);
            return true;
        }
        self.close((id, lease), outcome(verdict), effects)
    }

    /// Closes a delivery. Says whether its queue was still there.
    #[inline]
    pub(crate) fn close(
        &mut self,
        (id, lease): (SubscriptionId, Lease),
        outcome: Outcome,
        effects: &mut Effects,
    ) -> bool {
        let floor = &mut self.floor;
        let Some(subscription) = floor.subscriptions.get_mut(id.0) else { return false };
        let Some(open) = floor.leases.close(&mut subscription.open, lease) else { return false };
        subscription.credit.close(1, u64::from(open.taken.size));
        let is_done = subscription.is_ended && subscription.credit.messages == 0;
        let wants_turn = !subscription.has_turn;
        let session = SessionId(subscription.session);
        let is_counted = subscription.is_counted();
        if is_counted && let Some(who) = floor.sessions.get_mut(session.0) {
            who.credit.close(1, u64::from(open.taken.size));
        }
        let is_there = self.finish(&open, outcome, effects);
        if is_done {
            self.forget_subscription(session, id);
        } else if wants_turn {
            self.floor.offer_turn(id);
        }
        if is_counted {
            self.floor.feed(session.0);
        }
        is_there
    }

    /// Does to the message of a closed delivery what its outcome says; nothing, and `false`, if
    /// its queue is gone.
    #[expect(clippy::inline_always, reason = "on the way of every message")]
    #[inline(always)]
    fn finish(&mut self, open: &Open, outcome: Outcome, effects: &mut Effects) -> bool {
        let floor = &mut self.floor;
        let Some(queue) = floor.queues.get_mut(&open.queue) else { return false };
        queue.leased = queue.leased.saturating_sub(1);
        let mut taken = open.taken;
        match outcome {
            Outcome::Gone(cause) => {
                leave(queue, &taken, cause, &mut floor.with_settles, effects);
            }
            Outcome::Ready => {
                taken.attempts = taken.attempts.saturating_add(1);
                if queue.options.max_attempts.is_some_and(|most| taken.attempts >= most) {
                    let cause = Cause::MaxAttempts;
                    leave(queue, &taken, cause, &mut floor.with_settles, effects);
                    return true;
                }
                if taken.durable {
                    floor.returned.push((open.queue, taken.seq, taken.attempts));
                }
                queue.put_back(&taken);
                if !queue.dues.is_unused() {
                    let (ledger, place) = (&mut self.ledger, (taken.position, taken.durable));
                    note_returned(ledger, queue, place, &mut floor.timers);
                }
                Floor::mark(&mut floor.dirty, queue);
            }
            Outcome::Leased => {}
        }
        true
    }

    /// Gives back everything a session holds and ends it, in steps. Says whether there is more.
    pub fn detach(&mut self, session: SessionId, effects: &mut Effects) -> bool {
        let Some(who) = self.floor.sessions.get_mut(session.0) else { return false };
        who.is_stalled = true;
        let subscriptions = who.subscriptions.clone();
        let mut left = STEP_MESSAGES_MAX;
        for id in subscriptions {
            left = self.give_back(id, left, effects);
            if left == 0 {
                return true;
            }
            let _ = self.unsubscribe(session, id);
            self.forget_subscription(session, id);
        }
        let owned = match self.floor.take_session(session) {
            Some(who) => who.owned,
            None => return false,
        };
        for queue in owned {
            self.remove_floor_queue(queue, effects);
        }
        false
    }

    /// Returns up to `most` open deliveries of a subscription; says how many of `most` are left.
    pub(crate) fn give_back(
        &mut self,
        id: SubscriptionId,
        most: usize,
        effects: &mut Effects,
    ) -> usize {
        let mut left = most;
        while left > 0 {
            let Some(subscription) = self.floor.subscriptions.get_mut(id.0) else { break };
            let Some(first) = self.floor.leases.first(subscription.open) else { break };
            let lease = first.lease;
            let Some(open) = self.floor.leases.close(&mut subscription.open, lease) else { break };
            subscription.credit.close(1, u64::from(open.taken.size));
            self.finish(&open, Outcome::Ready, effects);
            left -= 1;
        }
        left
    }

    /// Returns deliveries whose deadline passed, and takes out messages whose own did, at most a
    /// step's worth. Says whether there may be more that is due.
    pub fn expire(&mut self, now_ms: u64, effects: &mut Effects) -> bool {
        self.floor.now_ms = self.floor.now_ms.max(now_ms);
        let mut left = STEP_MESSAGES_MAX;
        while let Some(&(alarm, id)) = self.floor.alarms.first()
            && alarm <= now_ms
        {
            if left == 0 {
                return true;
            }
            self.floor.alarms.pop_first();
            let Some(subscription) = self.floor.subscriptions.get_mut(id.0) else { continue };
            subscription.alarm_ms = None;
            let list = subscription.open;
            let mut next = u64::MAX;
            let mut due = Vec::new();
            for open in self.floor.leases.iter(list) {
                if open.deadline_ms > now_ms {
                    next = next.min(open.deadline_ms);
                } else if due.len() < left {
                    due.push(open.lease);
                } else {
                    next = now_ms;
                    break;
                }
            }
            left -= due.len();
            for lease in due {
                self.settle_one(id, lease, Verdict::Nack, now_ms, effects);
            }
            if next < u64::MAX
                && let Some(subscription) = self.floor.subscriptions.get_mut(id.0)
                && subscription.alarm_ms.is_none()
            {
                subscription.alarm_ms = Some(next);
                self.floor.alarms.insert((next, id));
            }
        }
        self.expire_messages(now_ms, &mut left, effects)
    }

    /// When [`Self::expire`] has something to do next.
    pub fn next_alarm_ms(&self) -> Option<u64> {
        let lease = self.floor.alarms.first().map(|(alarm, _)| *alarm);
        let message = self.floor.timers.first().map(|(timer, _)| *timer);
        lease.into_iter().chain(message).min()
    }

    /// Whether [`Self::write_settles`] has something to write.
    pub fn has_settles(&self) -> bool {
        !self.floor.with_settles.is_empty()
            || !self.floor.returned.is_empty()
            || !self.floor.ended.is_empty()
            || self.floor.doomed.iter().any(|id| id.is_durable())
            || !self.floor.unused_exchanges.is_empty()
    }

    /// Gives the records for everything that was settled or came back since the last call, and for
    /// exchanges that nobody uses any more, each with its number.
    pub fn write_settles(&mut self, mut write: impl FnMut(u64, &Record<'_>)) {
        let floor = &mut self.floor;
        let mut number = || {
            floor.next_seq += 1;
            floor.next_seq - 1
        };
        let mut ranges: Vec<SeqRange> = Vec::new();
        for id in floor.with_settles.drain(..) {
            let Some(queue) = floor.queues.get_mut(&id) else { continue };
            queue.has_settles = false;
            queue.settling.sort_unstable_by_key(|(position, _, cause)| (*cause, *position));
            for same in queue.settling.chunk_by(|a, b| a.2 == b.2) {
                for part in same.chunks(STEP_MESSAGES_MAX * 4) {
                    ranges.clear();
                    let mut last = None;
                    for (position, seq, _) in part {
                        match ranges.last_mut() {
                            Some(range) if last == Some(position.0) => range.1 = *seq,
                            _ => ranges.push((*seq, *seq)),
                        }
                        last = Some(position.0 + 1);
                    }
                    write(
                        number(),
                        &Record::Settled { queue: id, cause: part[0].2, ranges: &ranges },
                    );
                }
            }
            queue.settling.clear();
        }
        floor.returned.sort_unstable();
        let mut attempts = Vec::new();
        for same in floor.returned.chunk_by(|a, b| a.0 == b.0) {
            for part in same.chunks(STEP_MESSAGES_MAX * 4) {
                attempts.clear();
                attempts.extend(part.iter().map(|(_, seq, count)| (*seq, *count)));
                write(number(), &Record::Returned { queue: part[0].0, attempts: &attempts });
            }
        }
        floor.returned.clear();
        for id in floor.ended.drain(..) {
            // That of a queue that is gone meanwhile ended with it.
            if floor.workers.contains_key(&id) {
                write(number(), &Record::WorkerEnded { id });
            }
        }
        for id in floor.doomed.extract_if(.., |id| id.is_durable()) {
            write(number(), &Record::QueueDeleted { id });
        }
        while let Some(id) = self.take_unused_exchange() {
            let seq = self.number();
            write(seq, &Record::ExchangeDeleted { id });
        }
    }
}

/// Takes a message out of its queue for good: a transient one at once, a durable one by a record.
#[expect(clippy::inline_always, reason = "on the way of every message")]
#[inline(always)]
pub(crate) fn leave(
    queue: &mut FloorQueue,
    taken: &Taken,
    cause: Cause,
    with_settles: &mut Vec<QueueId>,
    effects: &mut Effects,
) {
    if taken.durable {
        queue.settle(taken.position, (taken.seq, taken.size), cause);
        note_settles(queue, with_settles);
    } else {
        queue.transient.kill(taken.position);
        effects.freed.push(taken.seq);
    }
    if cause != Cause::Acked {
        queue.count_left(cause);
        effects.note_left(cause, 1);
    }
}

#[inline]
pub(crate) fn note_settles(queue: &mut FloorQueue, with_settles: &mut Vec<QueueId>) {
    if !queue.has_settles {
        queue.has_settles = true;
        with_settles.push(queue.id);
    }
}
