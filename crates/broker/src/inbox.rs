//! What was pushed for a client and not encoded yet.
//!
//! Replies that wait for a commit stand in spans, in the order of their requests; when the first
//! may go, it moves to the items with all behind it that need not wait either.

use crate::alarm::{Alarm, AlarmSet};
use crate::body::{Placed, Source};
use crate::confirm::Level;
use crate::outlet::Tag;
use courant_engine::{Cause, Refusal};
use courant_storage::Ticket;
use std::collections::VecDeque;

/// Something to send, in order.
#[derive(Debug)]
pub(crate) enum Item {
    /// That many bytes of [`Queue::bytes`].
    Bytes(usize),
    /// That many of [`Queue::deliveries`], whose bodies are there.
    Run(Tag, Source, usize),
    /// A subscription ended.
    Cancelled(Tag, Cause),
    /// An alarm came on.
    Blocked(Alarm),
    /// All alarms are off.
    Unblocked,
    /// The session ends.
    Refused(Refusal),
}

/// Items and what they count.
#[derive(Debug, Default)]
pub(crate) struct Queue {
    pub(crate) items: VecDeque<Item>,
    pub(crate) deliveries: VecDeque<Placed>,
    pub(crate) bytes: Vec<u8>,
}

/// Room beyond this is given back once it is empty.
const KEEP_BYTES: usize = 64 << 10;

impl Queue {
    /// Gives back the room that only a burst needed. Called when everything was taken out.
    pub(crate) fn shrink(&mut self) {
        if self.items.capacity() * size_of::<Item>() > KEEP_BYTES {
            self.items = VecDeque::new();
        }
        if self.deliveries.capacity() * size_of::<Placed>() > KEEP_BYTES {
            self.deliveries = VecDeque::new();
        }
        if self.bytes.capacity() > KEEP_BYTES {
            self.bytes = Vec::new();
        }
    }
}

/// Replies to consecutive requests that wait for the same thing.
#[derive(Debug)]
pub(crate) struct Span {
    pub(crate) after: Ticket,
    pub(crate) level: Level,
    pub(crate) bytes: usize,
}

#[derive(Debug, Default)]
pub(crate) struct Inbox {
    pub(crate) queue: Queue,
    /// Replies that wait for a commit, or behind one that does.
    pub(crate) spans: VecDeque<Span>,
    pub(crate) span_bytes: VecDeque<u8>,
    pub(crate) committed: Ticket,
    pub(crate) written: Ticket,
    pub(crate) failed: Option<Refusal>,
    /// Alarms that the client was told of since the last time that none was on.
    pub(crate) told: AlarmSet,
}

impl Inbox {
    pub(crate) fn reached(&self, after: Ticket, level: Level) -> bool {
        match level {
            Level::Memory => true,
            Level::Written => self.written.max(self.committed) >= after,
            Level::Committed => self.committed >= after,
        }
    }

    pub(crate) fn push_bytes(&mut self, bytes: &[u8]) {
        self.queue.bytes.extend_from_slice(bytes);
        match self.queue.items.back_mut() {
            Some(Item::Bytes(count)) => *count += bytes.len(),
            _ => self.queue.items.push_back(Item::Bytes(bytes.len())),
        }
    }

    /// Moves the replies that need not wait any more to the items.
    pub(crate) fn release_replies(&mut self) {
        let mut ready = 0;
        while let Some(span) = self.spans.front()
            && self.reached(span.after, span.level)
        {
            ready += span.bytes;
            self.spans.pop_front();
        }
        if ready > 0 {
            let (front, back) = self.span_bytes.as_slices();
            let from_front = ready.min(front.len());
            self.queue.bytes.extend_from_slice(&front[..from_front]);
            self.queue.bytes.extend_from_slice(&back[..ready - from_front]);
            self.span_bytes.drain(..ready);
            if self.span_bytes.is_empty() && self.span_bytes.capacity() > KEEP_BYTES {
                self.span_bytes = VecDeque::new();
            }
            match self.queue.items.back_mut() {
                Some(Item::Bytes(count)) => *count += ready,
                _ => self.queue.items.push_back(Item::Bytes(ready)),
            }
        }
    }
}
