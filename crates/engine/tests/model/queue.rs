//! The naive queue: every message there is, with its state.
//!
//! What a consumer may get next is the lowest number among three candidates: the messages that
//! came back, the durable ones never handed over, and the oldest *arrival* of the transient ones
//! never handed over. A transient copy of a durable message arrives at its commit, behind younger
//! transient messages; only in a queue that saw such an arrival can the candidate differ from the
//! lowest number of all, and there alone the plain rule is not asserted.

use courant_engine::{Cause, NamespaceId, QueueCounts, QueueId, QueueOptions, SessionId};
use std::collections::{BTreeMap, VecDeque};

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
    /// Fresh transient messages in the order they came.
    pub(crate) arrivals: VecDeque<u64>,
    last_arrival: u64,
    is_late: bool,
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
            arrivals: VecDeque::new(),
            last_arrival: 0,
            is_late: false,
        }
    }

    pub(crate) fn push(&mut self, seq: u64, size: u32, durable: bool) {
        let state = State::Ready;
        let message = Message { size, durable, attempts: 0, noted: 0, is_fresh: true, state };
        assert!(self.messages.insert(seq, message).is_none(), "the number {seq} came twice");
        if !durable {
            self.is_late |= seq < self.last_arrival;
            self.last_arrival = self.last_arrival.max(seq);
            self.arrivals.push_back(seq);
        }
    }

    /// The number of the message that a consumer may get next.
    pub(crate) fn next(&self) -> Option<u64> {
        let ready = |m: &Message| m.state == State::Ready;
        let mut waiting = self.messages.iter().filter(|(_, m)| ready(m));
        let lowest = waiting.clone().next().map(|(seq, _)| *seq);
        if !self.is_late {
            return lowest;
        }
        let back = waiting.clone().find(|(_, m)| !m.is_fresh).map(|(seq, _)| *seq);
        let durable = waiting.find(|(_, m)| m.is_fresh && m.durable).map(|(seq, _)| *seq);
        let transient = self.arrivals.front().copied();
        [back, durable, transient].into_iter().flatten().min()
    }

    pub(crate) fn counts(&self, subscriptions: u32) -> QueueCounts {
        let count = |state| self.messages.values().filter(|m| m.state == state).count() as u64;
        let bytes = self.messages.values().map(|m| u64::from(m.size)).sum();
        QueueCounts { ready: count(State::Ready), leased: count(State::Open), bytes, subscriptions }
    }
}
