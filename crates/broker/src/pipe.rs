//! What is being encoded for a client: the door's outlet, and what waits for a disk.

use crate::body::{Placed, Source};
use crate::inbox::{Item, Queue};
use crate::outlet::{Message, Outlet, Tag};
use courant_engine::Delivery;
use courant_storage::Batch;

/// The encoding end of an outbox.
pub(crate) struct Pipe {
    pub(crate) outlet: Box<dyn Outlet>,
    /// Swapped with the inbox's; empty between flushes.
    pub(crate) queue: Queue,
    /// Deliveries that wait for a body from disk, and what came after them.
    pub(crate) waiting: Queue,
    /// Bytes of the bodies in `waiting`.
    pub(crate) waiting_bytes: usize,
    /// A task waits for the socket to take more.
    pub(crate) has_writer: bool,
    /// The reader has this outbox on its list.
    pub(crate) has_reader: bool,
    pub(crate) is_gone: bool,
}

impl Pipe {
    pub(crate) fn new(outlet: Box<dyn Outlet>) -> Self {
        Self {
            outlet,
            queue: Queue::default(),
            waiting: Queue::default(),
            waiting_bytes: 0,
            has_writer: false,
            has_reader: false,
            is_gone: false,
        }
    }

    /// Encodes everything in `queue` whose body is at hand; the rest goes to `waiting`.
    pub(crate) fn encode(&mut self, shard: u16) {
        // The common case: nothing but bytes; the vector itself changes hands.
        if self.queue.deliveries.is_empty()
            && self.queue.items.len() == 1
            && let Some(Item::Bytes(_)) = self.queue.items.front()
        {
            self.outlet.bytes(&mut self.queue.bytes);
            self.queue.bytes.clear();
            self.queue.items.clear();
            return;
        }
        let mut at = 0;
        let mut part = Vec::new();
        while let Some(item) = self.queue.items.pop_front() {
            match item {
                Item::Bytes(count) => {
                    part.clear();
                    part.extend_from_slice(&self.queue.bytes[at..at + count]);
                    at += count;
                    self.outlet.bytes(&mut part);
                }
                Item::Run(tag, Source::Memory(batch), count) if self.waiting.items.is_empty() => {
                    for placed in self.queue.deliveries.drain(..count) {
                        hand(&mut *self.outlet, shard, tag, &placed, batch.body(placed.at()));
                    }
                }
                Item::Cancelled(tag, cause) if self.waiting.items.is_empty() => {
                    self.outlet.cancelled(tag, cause);
                }
                Item::Run(tag, source, count) => self.put_off(tag, source, count),
                Item::Blocked(alarm) => self.outlet.blocked(alarm),
                Item::Unblocked => self.outlet.unblocked(),
                Item::Refused(refusal) if self.waiting.items.is_empty() => {
                    self.outlet.refused(refusal);
                }
                Item::Cancelled(..) | Item::Refused(_) => self.waiting.items.push_back(item),
            }
        }
        self.queue.bytes.clear();
    }

    /// Lets deliveries wait for their turn. A durable body that waits is read again: the batch that
    /// holds it may be large.
    fn put_off(&mut self, tag: Tag, source: Source, count: usize) {
        let is_durable = |placed: &Placed| placed.delivery.durable;
        let is_logged = self.queue.deliveries.front().is_some_and(is_durable);
        for placed in self.queue.deliveries.drain(..count) {
            self.waiting_bytes += placed.bytes();
            self.waiting.deliveries.push_back(placed);
        }
        let source = if is_logged { Source::Disk } else { source };
        self.waiting.items.push_back(Item::Run(tag, source, count));
    }

    /// Adds the next deliveries whose bodies are to be read from disk.
    pub(crate) fn wanted(&self, (most, bytes_max): (usize, usize), wanted: &mut Vec<Delivery>) {
        // Consecutive runs are read together, however small each of them is.
        let is_cold = |item: &&Item| matches!(item, Item::Run(_, Source::Disk, _));
        let counts = self.waiting.items.iter().take_while(is_cold).map(|item| match item {
            Item::Run(_, _, count) => *count,
            _ => 0,
        });
        let count = counts.sum::<usize>().min(most);
        let mut bytes = 0;
        for placed in self.waiting.deliveries.iter().take(count) {
            bytes += placed.delivery.size as usize;
            if bytes > bytes_max && !wanted.is_empty() {
                break;
            }
            wanted.push(placed.delivery);
        }
    }

    /// Sends the next `count` deliveries, whose bodies were on disk.
    pub(crate) fn supply(&mut self, shard: u16, bodies: &Batch, mut count: usize) {
        while count > 0
            && let Some(Item::Run(tag, Source::Disk, left)) = self.waiting.items.front_mut()
        {
            let tag = *tag;
            let part = count.min(*left);
            *left -= part;
            let is_done = *left == 0;
            count -= part;
            for placed in self.waiting.deliveries.drain(..part) {
                self.waiting_bytes -= placed.bytes();
                if let Some(at) = crate::body::find(bodies, shard, placed.delivery.seq) {
                    hand(&mut *self.outlet, shard, tag, &placed, bodies.body(at));
                }
            }
            if is_done {
                self.waiting.items.pop_front();
            }
        }
        self.go_on(shard);
    }

    /// Sends what waited behind a body, up to the next one that is on disk.
    pub(crate) fn go_on(&mut self, shard: u16) {
        while let Some(item) = self.waiting.items.front() {
            match item {
                Item::Run(_, Source::Disk, _) => return,
                Item::Run(tag, Source::Memory(batch), count) => {
                    for placed in self.waiting.deliveries.drain(..*count) {
                        self.waiting_bytes -= placed.bytes();
                        hand(&mut *self.outlet, shard, *tag, &placed, batch.body(placed.at()));
                    }
                }
                Item::Cancelled(tag, cause) => self.outlet.cancelled(*tag, *cause),
                Item::Refused(refusal) => self.outlet.refused(*refusal),
                // These never wait.
                Item::Bytes(_) | Item::Blocked(_) | Item::Unblocked => {}
            }
            self.waiting.items.pop_front();
        }
        self.waiting.shrink();
    }

    /// Gives up the bodies that wait: their deliveries stay open, and go back with the session.
    pub(crate) fn abandon(&mut self) {
        self.waiting.deliveries.clear();
        self.waiting_bytes = 0;
        for item in self.waiting.items.drain(..) {
            match item {
                Item::Cancelled(tag, cause) => self.outlet.cancelled(tag, cause),
                Item::Refused(refusal) => self.outlet.refused(refusal),
                Item::Run(..) | Item::Bytes(_) | Item::Blocked(_) | Item::Unblocked => {}
            }
        }
    }
}

fn hand(outlet: &mut dyn Outlet, shard: u16, tag: Tag, placed: &Placed, body: &[u8]) {
    let delivery = &placed.delivery;
    if let Some(message) = Message::new(shard, delivery, body) {
        outlet.deliver(tag, &message);
    } else {
        tracing::error!(seq = delivery.seq, "a message without an envelope was skipped");
    }
}
