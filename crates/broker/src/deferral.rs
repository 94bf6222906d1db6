//! Transient messages that wait for durable ones, so that the messages of a publisher stay in
//! order in every queue.
//!
//! A transient message waits while durable records of its own session are in flight. It is placed
//! just before the first record with a higher number is applied, or when the last record before it
//! is. While it waits, transient messages of other sessions for the same queue wait with it: a
//! queue takes transient messages in the order of arrival, and a younger one in front would hide
//! it from a durable one behind it.
//!
//! Invariant: `list` is in the order of the messages' numbers.

use courant_engine::QueueId;
use courant_storage::Ticket;
use foldhash::fast::FixedState;
use hashbrown::HashMap;
use std::collections::VecDeque;
use std::sync::Arc;

/// A transient message on its way into queues.
#[derive(Debug)]
pub(crate) struct Deferred {
    pub(crate) seq: u64,
    pub(crate) size: u32,
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

    fn queues(&self) -> impl Iterator<Item = QueueId> + '_ {
        let durable = self.durable.as_deref().unwrap_or_default();
        let (whole, _) = durable.as_chunks::<4>();
        let durable = whole.iter().map(|id| QueueId(u32::from_le_bytes(*id)));
        self.transient.iter().copied().chain(durable)
    }
}

/// All that wait in one shard.
#[derive(Debug, Default)]
pub(crate) struct Deferrals {
    list: VecDeque<(Ticket, Deferred)>,
    /// Queues that messages of `list` go to: how many, and the last ticket that one waits for.
    queues: HashMap<QueueId, (u32, Ticket), FixedState>,
}

impl Deferrals {
    /// The ticket that has to be applied before a message can be placed, where its own session's
    /// last one is given.
    pub(crate) fn turn_of(&self, message: &Deferred, own: Ticket) -> Ticket {
        if self.list.is_empty() {
            return own;
        }
        let others = message.queues().filter_map(|queue| self.queues.get(&queue));
        others.map(|(_, after)| *after).fold(own, Ticket::max)
    }

    /// Adds a message with a higher number than all before.
    pub(crate) fn push(&mut self, after: Ticket, message: Deferred) {
        for queue in message.queues() {
            let (count, last) = self.queues.entry(queue).or_default();
            *count += 1;
            *last = after.max(*last);
        }
        self.list.push_back((after, message));
    }

    /// Takes the first message whose number is below that of a record that is about to be applied.
    pub(crate) fn pop_before(&mut self, seq: u64) -> Option<Deferred> {
        let (_, message) = self.list.pop_front_if(|(_, message)| message.seq < seq)?;
        self.forget(&message);
        Some(message)
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
                self.forget(&message);
                reached.push(message);
            } else {
                left.push_back((after, message));
            }
        }
        self.list = left;
        reached
    }

    fn forget(&mut self, message: &Deferred) {
        for queue in message.queues() {
            if let Some((count, _)) = self.queues.get_mut(&queue) {
                *count -= 1;
                if *count == 0 {
                    self.queues.remove(&queue);
                }
            }
        }
    }
}
