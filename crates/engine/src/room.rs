//! Whether queues have room for a message, and what happens where they have not.
//!
//! What counts for the limits of a queue is everything in it: ready, handed over, and on its way
//! (admitted and not applied or placed yet). What is settled counts no more, even before its
//! record is applied.
//!
//! - `reject`: the message is refused as a whole, wherever else it would go.
//! - `block`: its publisher is *held*: the shell asks again once [`Engine::has_new_room`] says so.
//! - `drop-oldest`: it is taken; when it arrives the oldest ready messages leave
//!   ([`Engine::shed`]). What is handed over stays, so a queue whose consumers hold all that it
//!   may have drops what comes.
//!
//! Queues without limits pay nothing: their routes say that there is nothing to look at.

use crate::delivery::Cause;
use crate::effect::Effects;
use crate::engine::{Engine, Route};
use crate::floor::Floor;
use crate::limits::STEP_MESSAGES_MAX;
use crate::name::QueueId;
use crate::queue::{FloorQueue, LedgerQueue, Overflow};
use crate::refusal::Refusal;
use crate::settle::{leave, note_settles};

/// Why a message is not admitted into its queues.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoRoom {
    /// It is refused.
    Refused(Refusal),
    /// Its publisher is to wait.
    Held,
}

impl Engine {
    /// Whether every queue of a route has room for a message: its bytes with properties, and those
    /// of its body, which alone a limit of one message is about. With `may_hold` a full queue that
    /// blocks asks for the publisher to wait; otherwise it refuses.
    #[inline]
    pub fn find_room(
        &mut self,
        route: &Route,
        bytes: (u32, u32),
        may_hold: bool,
    ) -> Result<(), NoRoom> {
        if route.is_limited { self.find_limited_room(route, bytes, may_hold) } else { Ok(()) }
    }

    fn find_limited_room(
        &mut self,
        route: &Route,
        (size, body): (u32, u32),
        may_hold: bool,
    ) -> Result<(), NoRoom> {
        let Self { ledger, floor, .. } = self;
        let mut verdict = Ok(());
        let first_held = floor.held.len();
        for id in targets(&route.durable).chain(route.transient.iter().copied()) {
            let Some(queue) = floor.queues.get(&id).filter(|queue| queue.is_limited) else {
                continue;
            };
            let options = &queue.options;
            if options.max_message_bytes.is_some_and(|most| body > most)
                || options.max_bytes.is_some_and(|most| u64::from(size) > most)
            {
                floor.held.truncate(first_held);
                return Err(NoRoom::Refused(Refusal::MessageTooLargeForQueue));
            }
            if options.overflow == Overflow::DropOldest
                || !queue.is_full(ledger.queues.get(&id), size)
            {
                continue;
            }
            if options.overflow == Overflow::Block && may_hold {
                if verdict.is_ok() {
                    verdict = Err(NoRoom::Held);
                }
                floor.held.push((id, size));
            } else {
                verdict = Err(NoRoom::Refused(Refusal::QueueFull));
            }
        }
        if verdict != Err(NoRoom::Held) {
            floor.held.truncate(first_held);
        }
        verdict
    }

    /// Notes that an admitted transient message is on its way into queues, so that they keep room
    /// for it until it is placed. Needed where the route is limited.
    pub fn note_placing(&mut self, size: u32, route: &Route, with_durable: bool) {
        let durable = targets(if with_durable { &route.durable } else { &[] });
        for id in durable.chain(route.transient.iter().copied()) {
            if let Some(queue) = self.floor.queues.get_mut(&id).filter(|queue| queue.is_limited) {
                queue.in_flight += 1;
                queue.in_flight_bytes += u64::from(size);
            }
        }
    }

    /// Whether a queue for which a publisher was held has room again, or is gone. It is forgotten
    /// then: who still has no room is held again.
    pub fn has_new_room(&mut self) -> bool {
        let Self { ledger, floor, .. } = self;
        if floor.held.is_empty() {
            return false;
        }
        let before = floor.held.len();
        let queues = &floor.queues;
        floor.held.sort_unstable();
        floor.held.dedup();
        let all = floor.held.len();
        floor.held.retain(|(id, size)| {
            queues.get(id).is_some_and(|queue| queue.is_full(ledger.queues.get(id), *size))
        });
        debug_assert!(all <= before);
        floor.held.len() < all
    }

    /// Lets the oldest ready messages of queues that hold too many leave, a step's worth at most.
    /// Says whether there is more to do.
    pub fn shed(&mut self, now_ms: u64, effects: &mut Effects) -> bool {
        let Self { ledger, floor, .. } = self;
        let mut left = STEP_MESSAGES_MAX;
        while let Some(id) = floor.over.pop() {
            let from = ledger.queues.get(&id);
            let Some(queue) = floor.queues.get_mut(&id) else { continue };
            queue.is_over = false;
            while left > 0 && queue.has_too_many(from) {
                // A part that is not in memory is asked for; its page brings the queue back here.
                let expired = effects.expired;
                let taken = queue.take(from, now_ms, effects);
                let expired = usize::try_from(effects.expired - expired).unwrap_or(usize::MAX);
                left = left.saturating_sub(expired).max(1);
                let Some(taken) = taken else { break };
                leave(queue, &taken, Cause::Overflow, &mut floor.with_settles, effects);
                left -= 1;
            }
            if !queue.settling.is_empty() {
                note_settles(queue, &mut floor.with_settles);
            }
            if left == 0 {
                Floor::note_over(&mut floor.over, queue);
                return true;
            }
        }
        false
    }
}

impl FloorQueue {
    /// Messages and bytes in it and on their way.
    fn load(&self, ledger: Option<&LedgerQueue>) -> (u64, u64) {
        let (alive, bytes) = ledger.map_or((0, 0), |q| (q.chunks.alive(), q.chunks.bytes()));
        (
            alive.saturating_sub(self.settling_count) + self.transient.alive(),
            bytes.saturating_sub(self.settling_bytes) + self.transient.bytes(),
        )
    }

    /// Whether it has no room for a message of that size.
    fn is_full(&self, ledger: Option<&LedgerQueue>, size: u32) -> bool {
        let (count, bytes) = self.load(ledger);
        let exceeds = |most: Option<u64>, load: u64| most.is_some_and(|most| load > most);
        exceeds(self.options.max_length, count + self.in_flight + 1)
            || exceeds(self.options.max_bytes, bytes + self.in_flight_bytes + u64::from(size))
    }

    /// Whether more is in it than it may hold.
    fn has_too_many(&self, ledger: Option<&LedgerQueue>) -> bool {
        let (count, bytes) = self.load(ledger);
        self.options.max_length.is_some_and(|most| count > most)
            || self.options.max_bytes.is_some_and(|most| bytes > most)
    }

    /// A message that was on its way into it arrived.
    #[inline]
    pub(crate) fn arrived(&mut self, size: u32) {
        self.in_flight = self.in_flight.saturating_sub(1);
        self.in_flight_bytes = self.in_flight_bytes.saturating_sub(u64::from(size));
    }
}

impl Floor {
    /// Notes that a queue that drops its oldest messages may hold too many.
    #[inline]
    pub(crate) fn note_over(over: &mut Vec<QueueId>, queue: &mut FloorQueue) {
        if !queue.is_over && queue.is_limited && queue.options.overflow == Overflow::DropOldest {
            queue.is_over = true;
            over.push(queue.id);
        }
    }
}

/// Queue numbers as they stand in a record.
fn targets(bytes: &[u8]) -> impl Iterator<Item = QueueId> {
    let (whole, _) = bytes.as_chunks::<4>();
    whole.iter().map(|id| QueueId(u32::from_le_bytes(*id)))
}
