//! All subscriptions of a client, by their numbers, so that they can be made again.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use courant_wire::binary::request;

use crate::error::{EndOfSubscription, Refusal, RequestError};
use crate::message::Delivered;
use crate::subscription::{Inbox, Subscribe};
use crate::worker::To;

/// All of them. Their readers learn it when this is dropped.
#[derive(Debug, Default)]
pub(crate) struct Subscriptions {
    all: BTreeMap<u32, Entry>,
}

#[derive(Debug)]
struct Entry {
    subscribe: Subscribe,
    inbox: Arc<Inbox>,
    /// Who waits until it is made.
    answer: Option<To<()>>,
}

impl Subscriptions {
    pub(crate) fn add(
        &mut self,
        sub: u32,
        subscribe: Subscribe,
        inbox: Arc<Inbox>,
        answer: To<()>,
    ) {
        self.all.insert(sub, Entry { subscribe, inbox, answer: Some(answer) });
    }

    pub(crate) fn numbers(&self) -> Vec<u32> {
        self.all.keys().copied().collect()
    }

    /// Those that nobody reads any more.
    pub(crate) fn left(&self) -> Vec<u32> {
        let left = self.all.iter().filter(|(_, entry)| entry.inbox.is_left());
        left.map(|(sub, _)| *sub).collect()
    }

    /// Appends its SUBSCRIBE.
    pub(crate) fn write(&self, sub: u32, req: u32, out: &mut Vec<u8>) {
        if let Some(entry) = self.all.get(&sub) {
            // invariant: its names were checked when it was asked for.
            let _ = request::subscribe(out, req, &entry.subscribe.wire(sub));
        }
    }

    /// The broker made it.
    pub(crate) fn made(&mut self, sub: u32) {
        if let Some(answer) = self.all.get_mut(&sub).and_then(|entry| entry.answer.take()) {
            // Whoever does not wait any more drops the subscription.
            let _ = answer.send(Ok(()));
        }
    }

    /// The broker did not make it.
    pub(crate) fn refused(&mut self, sub: u32, refusal: Refusal) {
        let Some(entry) = self.all.remove(&sub) else { return };
        match entry.answer {
            Some(answer) => drop(answer.send(Err(RequestError::Refused(refusal)))),
            None => entry.inbox.end(EndOfSubscription::Refused(refusal)),
        }
    }

    /// The broker ended it.
    pub(crate) fn cancelled(&mut self, sub: u32, reason: &str) {
        if let Some(entry) = self.all.remove(&sub) {
            entry.inbox.end(EndOfSubscription::Cancelled(reason.to_owned()));
        }
    }

    /// Takes one away; what was not read.
    pub(crate) fn remove(&mut self, sub: u32) -> Option<VecDeque<Delivered>> {
        self.all.remove(&sub).map(|entry| entry.inbox.clear())
    }

    /// The connection has ended: what was not read comes again, but of live ones, which is read.
    pub(crate) fn clear(&self) {
        for entry in self.all.values().filter(|entry| !entry.subscribe.is_live()) {
            entry.inbox.clear();
        }
    }

    /// The reader's end of one.
    pub(crate) fn inbox(&self, sub: u32) -> Option<&Inbox> {
        self.all.get(&sub).map(|entry| &*entry.inbox)
    }
}

impl Drop for Subscriptions {
    fn drop(&mut self) {
        for entry in self.all.values() {
            entry.inbox.end(EndOfSubscription::Closed);
        }
    }
}
