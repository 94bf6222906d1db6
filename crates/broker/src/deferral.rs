//! Transient messages that wait for durable ones, so that the messages of a publisher stay in
//! order in every queue.
//!
//! A transient message waits while durable records of its own session are in flight. It is placed
//! just before the first record with a higher number is applied, or when the last record before it
//! is. Nobody else waits for it: messages of other sessions may be handed over meanwhile, and the
//! engine puts it where its number belongs.
//!
//! Invariant: `list` is in the order of the messages' numbers.

use courant_engine::{Lifetime, QueueId};
use courant_storage::Ticket;
use std::collections::VecDeque;
use std::sync::Arc;

/// A transient message on its way into queues.
#[derive(Debug)]
pub(crate) struct Deferred {
    pub(crate) seq: u64,
    pub(crate) size: u32,
    pub(crate) lifetime: Lifetime,
    pub(crate) transient: Arc<[QueueId]>,
    /// Durable queues that get it all the same, as they stand in a record.
    pub(crate) durable: Option<Arc<[u8]>>,
}

impl Deferred {
    /// How many queues it is to reach.
    pub(crate) fn copies(&self) -> u64 {
        let durable = self.durable.as_ref().map_or(0, |targets| targets.len() / 4);
        (self.transient.len() + durable) as u64
    }
}

/// All that wait in one shard.
#[derive(Debug, Default)]
pub(crate) struct Deferrals {
    list: VecDeque<(Ticket, Deferred)>,
}

impl Deferrals {
    /// Adds a message with a higher number than all before.
    pub(crate) fn push(&mut self, after: Ticket, message: Deferred) {
        self.list.push_back((after, message));
    }

    /// Takes the first message whose number is below that of a record that is about to be applied.
    pub(crate) fn pop_before(&mut self, seq: u64) -> Option<Deferred> {
        self.list.pop_front_if(|(_, message)| message.seq < seq).map(|(_, message)| message)
    }

    /// Takes all that wait for this ticket or an earlier one, in order.
    pub(crate) fn take_reached(&mut self, up_to: Ticket) -> Vec<Deferred> {
        let mut reached = Vec::new();
        if self.list.is_empty() {
            return reached;
        }
        let mut left = VecDeque::new();
        for (after, message) in std::mem::take(&mut self.list) {
            if after <= up_to {
                reached.push(message);
            } else {
                left.push_back((after, message));
            }
        }
        self.list = left;
        reached
    }
}
