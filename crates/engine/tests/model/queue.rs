//! The naive queue: every message there is, with its state.
//!
//! What a consumer gets next is the lowest number of all that are ready. A transient message that
//! waited for a commit arrives behind younger ones, and takes the place of its number all the same.

use courant_engine::{Cause, NamespaceId, QueueCounts, QueueId, QueueOptions, SessionId};
use std::collections::BTreeMap;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum State {
    Ready,
    Open,
    /// Settled; the record is not applied, and perhaps not written.
    Settling {
        cause: Cause,
        is_written: bool,
    },
}

#[derive(Debug, Clone)]
pub(crate) struct Message {
    pub(crate) size: u32,
    pub(crate) durable: bool,
    /// Attempts made, as the next taker learns.
    pub(crate) attempts: u16,
    /// Attempts that an applied record states.
    pub(crate) noted: u16,
    /// Whether it was never handed over in this opening.
    pub(crate) is_fresh: bool,
    pub(crate) state: State,
}

#[derive(Debug)]
pub(crate) struct Queue {
    pub(crate) id: QueueId,
    pub(crate) namespace: NamespaceId,
    pub(crate) name: String,
    pub(crate) options: QueueOptions,
    pub(crate) owner: Option<SessionId>,
    pub(crate) messages: BTreeMap<u64, Message>,
}

impl Queue {
    pub(crate) fn new(
        id: QueueId,
        namespace: NamespaceId,
        name: &str,
        options: QueueOptions,
    ) -> Self {
        Self {
            id,
            namespace,
            name: name.to_owned(),
            options,
            owner: None,
            messages: BTreeMap::new(),
        }
    }

    pub(crate) fn push(&mut self, seq: u64, size: u32, durable: bool) {
        let state = State::Ready;
        let message = Message { size, durable, attempts: 0, noted: 0, is_fresh: true, state };
        assert!(self.messages.insert(seq, message).is_none(), "the number {seq} came twice");
    }

    /// The number of the message that a consumer gets next.
    pub(crate) fn next(&self) -> Option<u64> {
        let mut waiting = self.messages.iter().filter(|(_, m)| m.state == State::Ready);
        waiting.next().map(|(seq, _)| *seq)
    }

    pub(crate) fn counts(&self, subscriptions: u32) -> QueueCounts {
        let count = |state| self.messages.values().filter(|m| m.state == state).count() as u64;
        let bytes = self.messages.values().map(|m| u64::from(m.size)).sum();
        QueueCounts { ready: count(State::Ready), leased: count(State::Open), bytes, subscriptions }
    }
}
