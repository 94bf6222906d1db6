//! What the outside is asked to do. Buffers are reused; deliveries come in runs.

use crate::delivery::{Cause, Lease};
use crate::name::QueueId;
use crate::slab::Key;
use crate::subscription::SubscriptionId;

/// One message handed over to one subscription.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Delivery {
    /// The message's number in its shard.
    pub seq: u64,
    /// What settles it; 0 where the subscription settles by receiving.
    pub lease: Lease,
    /// Bytes of properties and body.
    pub size: u32,
    /// 1 for the first handing-over.
    pub attempt: u16,
    /// Whether it may have been handed over before without a trace of it.
    pub is_suspect: bool,
    /// Whether the body lies in the log (otherwise in memory).
    pub durable: bool,
}

/// Consecutive deliveries for one subscription.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DeliveryRun {
    /// The session that gets them.
    pub session: Key,
    /// The subscription that gets them.
    pub subscription: SubscriptionId,
    /// The queue they come from.
    pub queue: QueueId,
    /// First of the run in [`Effects::deliveries`].
    pub start: u32,
    /// One past the last.
    pub end: u32,
}

/// A subscription ended without its session's wish.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cancelled {
    /// Whose it was.
    pub session: Key,
    /// Which it was.
    pub subscription: SubscriptionId,
    /// Why.
    pub cause: Cause,
}

/// What one or more steps of the engine ask for, in order.
#[derive(Debug, Default)]
pub struct Effects {
    /// All deliveries, grouped by `runs`.
    pub deliveries: Vec<Delivery>,
    /// Who gets which of them.
    pub runs: Vec<DeliveryRun>,
    /// Subscriptions that ended.
    pub cancelled: Vec<Cancelled>,
    /// Transient messages whose body one queue does not need any more, once per queue.
    pub freed: Vec<u64>,
    /// Pages of chunks to be loaded, for [`Engine::install_page`](crate::Engine::install_page);
    /// what waits for one goes on by itself when it comes.
    pub wanted: Vec<u64>,
    /// How many messages left queues otherwise than by being handled, and why.
    pub left: Vec<(Cause, u64)>,
    /// Messages taken out as corrupt, once per queue.
    pub parked: u64,
    /// Messages taken out because their deadline is over, once per queue.
    pub expired: u64,
    /// Records for something that was gone already.
    pub noops: u64,
}

impl Effects {
    /// Counts messages that left otherwise than by being handled.
    pub(crate) fn note_left(&mut self, cause: Cause, count: u64) {
        match self.left.last_mut() {
            _ if count == 0 => {}
            Some((last, sum)) if *last == cause => *sum += count,
            _ => self.left.push((cause, count)),
        }
    }

    /// Forgets everything and keeps the buffers.
    pub fn clear(&mut self) {
        self.deliveries.clear();
        self.runs.clear();
        self.cancelled.clear();
        self.freed.clear();
        self.wanted.clear();
        self.left.clear();
        self.parked = 0;
        self.expired = 0;
        self.noops = 0;
    }

    /// Whether nothing is asked for.
    pub fn is_empty(&self) -> bool {
        self.runs.is_empty()
            && self.cancelled.is_empty()
            && self.freed.is_empty()
            && self.wanted.is_empty()
    }
}
