//! Exchanges: they route and hold nothing.

use crate::name::{ExchangeId, Name, NamespaceId, QueueId};
use std::collections::BTreeMap;

/// How an exchange routes. The numbers are part of the log's format.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum ExchangeKind {
    /// To the queues bound with exactly the message's key.
    Direct = 1,
    /// To every bound queue. A topic is one of these.
    Fanout = 2,
}

impl ExchangeKind {
    /// The kind with that number.
    pub fn from_number(number: u8) -> Option<Self> {
        match number {
            1 => Some(Self::Direct),
            2 => Some(Self::Fanout),
            _ => None,
        }
    }
}

/// Which queues an exchange routes to, by key. A fanout exchange keeps all of them under one key.
#[derive(Debug, Default)]
pub struct Bindings {
    by_key: BTreeMap<Box<[u8]>, Vec<QueueId>>,
    count: usize,
}

impl Bindings {
    /// Adds a binding; says whether it is new.
    pub fn bind(&mut self, key: &[u8], queue: QueueId) -> bool {
        let queues = self.by_key.entry(key.into()).or_default();
        match queues.binary_search(&queue) {
            Ok(_) => false,
            Err(at) => {
                queues.insert(at, queue);
                self.count += 1;
                true
            }
        }
    }

    /// Removes a binding; says whether it was there.
    pub fn unbind(&mut self, key: &[u8], queue: QueueId) -> bool {
        let Some(queues) = self.by_key.get_mut(key) else { return false };
        let Ok(at) = queues.binary_search(&queue) else { return false };
        queues.remove(at);
        self.count -= 1;
        if queues.is_empty() {
            self.by_key.remove(key);
        }
        true
    }

    /// Whether a binding is there.
    pub fn has(&self, key: &[u8], queue: QueueId) -> bool {
        self.by_key.get(key).is_some_and(|queues| queues.binary_search(&queue).is_ok())
    }

    /// Removes every binding to a queue.
    pub fn forget(&mut self, queue: QueueId) {
        let mut removed = 0;
        self.by_key.retain(|_, queues| {
            if let Ok(at) = queues.binary_search(&queue) {
                queues.remove(at);
                removed += 1;
            }
            !queues.is_empty()
        });
        self.count -= removed;
    }

    /// How many bindings there are.
    pub fn len(&self) -> usize {
        self.count
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// All bindings, in the order of keys.
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], QueueId)> {
        self.by_key.iter().flat_map(|(key, queues)| queues.iter().map(move |q| (&**key, *q)))
    }

    /// Adds the queues that a message with that key goes to; none twice.
    pub fn route(&self, kind: ExchangeKind, key: &[u8], targets: &mut Vec<QueueId>) {
        match kind {
            ExchangeKind::Direct => {
                if let Some(queues) = self.by_key.get(key) {
                    targets.extend_from_slice(queues);
                }
            }
            ExchangeKind::Fanout => {
                targets.extend(self.by_key.values().flatten().copied());
                if self.by_key.len() > 1 {
                    targets.sort_unstable();
                    targets.dedup();
                }
            }
        }
    }
}

/// An exchange as records describe it.
#[derive(Debug)]
pub struct Exchange {
    pub(crate) id: ExchangeId,
    pub(crate) namespace: NamespaceId,
    pub(crate) name: Name,
    pub(crate) kind: ExchangeKind,
    pub(crate) bindings: Bindings,
}
