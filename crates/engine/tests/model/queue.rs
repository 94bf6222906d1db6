//! The naive queue: every message there is, with its state.
//!
//! What a consumer gets next is the lowest number of all that are ready. A transient message that
//! waited for a commit arrives behind younger ones, and takes the place of its number all the same.

use courant_engine::{
    Cause, ExchangeId, Lifetime, NEVER, NamespaceId, QueueCounts, QueueId, QueueOptions, SessionId,
};
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
    pub(crate) deadline_ms: u64,
    /// Attempts made, as the next taker learns.
    pub(crate) attempts: u16,
    /// Attempts that an applied record states.
    pub(crate) noted: u16,
    /// Whether it was never handed over in this opening.
    pub(crate) is_fresh: bool,
    pub(crate) state: State,
}

impl Message {
    /// Whether nobody gets it any more although nobody has it.
    pub(crate) fn is_overdue(&self, now_ms: u64) -> bool {
        self.state == State::Ready && self.deadline_ms <= now_ms
    }
}

#[derive(Debug)]
pub(crate) struct Queue {
    pub(crate) id: QueueId,
    pub(crate) namespace: NamespaceId,
    pub(crate) name: String,
    pub(crate) options: QueueOptions,
    pub(crate) owner: Option<SessionId>,
    /// The exchange through which a session gets what is published.
    pub(crate) source: Option<ExchangeId>,
    /// It is about to be deleted: nobody finds it.
    pub(crate) is_going: bool,
    /// When it was last declared, claimed from or subscribed to, as far as this opening knows.
    pub(crate) used_ms: Option<u64>,
    /// Whether something came since the oldest last left.
    pub(crate) has_arrivals: bool,
    pub(crate) messages: BTreeMap<u64, Message>,
    /// Whether a message ever had a deadline.
    pub(crate) has_deadlines: bool,
    /// How many messages left otherwise than by being handled.
    pub(crate) left: BTreeMap<Cause, u64>,
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
            source: None,
            is_going: false,
            used_ms: None,
            has_arrivals: false,
            messages: BTreeMap::new(),
            has_deadlines: false,
            left: BTreeMap::new(),
        }
    }

    pub(crate) fn push(&mut self, seq: u64, size: u32, durable: bool, lifetime: Lifetime) {
        let state = State::Ready;
        let of_queue = self.options.message_ttl_ms.map(|ttl| lifetime.admitted_ms + ttl);
        let deadline_ms = lifetime.deadline_ms.min(of_queue.unwrap_or(NEVER));
        self.has_deadlines |= deadline_ms != NEVER;
        let (attempts, noted, is_fresh) = (0, 0, true);
        let message = Message { size, durable, deadline_ms, attempts, noted, is_fresh, state };
        assert!(self.messages.insert(seq, message).is_none(), "the number {seq} came twice");
    }

    /// The number of the message that a consumer gets next.
    pub(crate) fn next(&self, now_ms: u64) -> Option<u64> {
        let is_ready = |m: &Message| m.state == State::Ready && m.deadline_ms > now_ms;
        let mut waiting = self.messages.iter().filter(|(_, m)| is_ready(m));
        waiting.next().map(|(seq, _)| *seq)
    }

    /// Durable messages whose time is over and of which no record says so yet.
    pub(crate) fn overdue(&self, now_ms: u64) -> u64 {
        self.messages.values().filter(|m| m.is_overdue(now_ms)).count() as u64
    }

    /// Messages and bytes that count for its limits: what is settled does not, nor what is overdue.
    pub(crate) fn load(&self, now_ms: u64) -> (u64, u64) {
        let is_kept = |m: &&Message| {
            m.state == State::Open || m.state == State::Ready && !m.is_overdue(now_ms)
        };
        let kept = self.messages.values().filter(is_kept).map(|m| u64::from(m.size));
        kept.fold((0, 0), |(count, bytes), size| (count + 1, bytes + size))
    }

    /// Whether more is in it than it may hold.
    pub(crate) fn has_too_many(&self, now_ms: u64) -> bool {
        let (count, bytes) = self.load(now_ms);
        self.options.max_length.is_some_and(|most| count > most)
            || self.options.max_bytes.is_some_and(|most| bytes > most)
    }

    pub(crate) fn is_limited(&self) -> bool {
        let QueueOptions { max_length, max_bytes, max_message_bytes, .. } = self.options;
        max_length.is_some() || max_bytes.is_some() || max_message_bytes.is_some()
    }

    pub(crate) fn counts(&self, subscriptions: u32) -> QueueCounts {
        let count = |state| self.messages.values().filter(|m| m.state == state).count() as u64;
        let bytes = self.messages.values().map(|m| u64::from(m.size)).sum();
        let (ready, leased) = (count(State::Ready), count(State::Open));
        QueueCounts {
            ready,
            leased,
            bytes,
            subscriptions,
            left: self.left.iter().map(|(cause, count)| (*cause, *count)).collect(),
        }
    }
}
