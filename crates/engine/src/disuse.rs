//! Queues that go when nobody uses them for so long: no subscription, no claim, no declaration.
//!
//! A queue that is made so stands in the timers of the shard ([`crate::expiry`]). When its time is
//! up it is seen whether it was used meanwhile, and from when on the time counts again; so using a
//! queue costs a note of the time and no more. What is noted is the time of the last step that was
//! told one. An opening knows of no use: the time counts from its first step.

use crate::expiry::{Dues, Timers};
use crate::lifetime::NEVER;
use crate::queue::FloorQueue;

/// Since when a queue is not used.
#[derive(Debug)]
pub(crate) struct Disuse {
    /// The last use; [`NEVER`] if none is known.
    used_ms: u64,
    /// When it is looked whether it was used; [`NEVER`] if it does not matter.
    pub(crate) look_ms: u64,
}

impl Disuse {
    pub(crate) fn new() -> Self {
        Self { used_ms: NEVER, look_ms: NEVER }
    }
}

impl FloorQueue {
    /// Notes that somebody used the queue.
    pub(crate) fn note_use(&mut self, now_ms: u64) {
        // Before the first step nobody knows the time.
        self.dues.disuse.used_ms = if now_ms == 0 { NEVER } else { now_ms };
    }

    /// Whether nobody used the queue for as long as it is kept so; otherwise it is looked again
    /// when that may be.
    pub(crate) fn is_disused(&mut self, now_ms: u64) -> bool {
        let Dues { disuse, .. } = &mut self.dues;
        if disuse.look_ms > now_ms {
            return false;
        }
        let Some(expires_ms) = self.options.expires_ms else {
            disuse.look_ms = NEVER;
            return false;
        };
        if !self.subscriptions.is_empty() || disuse.used_ms == NEVER {
            disuse.used_ms = now_ms;
        }
        disuse.look_ms = disuse.used_ms.saturating_add(expires_ms);
        let is_disused = disuse.look_ms <= now_ms;
        if is_disused {
            disuse.look_ms = NEVER;
        }
        is_disused
    }

    /// Puts a queue into the timers if it goes when nobody uses it.
    pub(crate) fn watch_use(&mut self, timers: &mut Timers) {
        self.dues.disuse.look_ms = if self.options.expires_ms.is_some() { 0 } else { NEVER };
        self.dues.set_timer(self.id, timers);
    }
}
