//! Exchanges: they route and hold nothing.

use crate::name::{ExchangeId, Name, NamespaceId, QueueId};
use std::collections::BTreeMap;

/// Tags of options in records. A number is never given another meaning.
const INTERNAL: u8 = 1;
const AUTO_DELETE: u8 = 2;
const ALTERNATE: u8 = 3;

/// How an exchange routes. The numbers are part of the log's format.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum ExchangeKind {
    /// To the queues bound with exactly the message's key.
    Direct = 1,
    /// To every bound queue. A topic is one of these.
    Fanout = 2,
    /// To those bound with a pattern that the message's key matches.
    Topic = 3,
    /// To those bound with a filter that the message's headers match.
    Headers = 4,
    /// To one of those bound, chosen by the message's key in proportion to their weights.
    Hash = 5,
}

impl ExchangeKind {
    /// The kind with that number.
    pub fn from_number(number: u8) -> Option<Self> {
        match number {
            1 => Some(Self::Direct),
            2 => Some(Self::Fanout),
            3 => Some(Self::Topic),
            4 => Some(Self::Headers),
            5 => Some(Self::Hash),
            _ => None,
        }
    }

    /// The word for it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Direct => "direct",
            Self::Fanout => "fanout",
            Self::Topic => "topic",
            Self::Headers => "headers",
            Self::Hash => "hash",
        }
    }

    /// The kind that a word stands for.
    pub fn from_word(word: &str) -> Option<Self> {
        (1..=5).filter_map(Self::from_number).find(|kind| kind.word() == word)
    }
}

/// What a client says of an exchange that it declares.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ExchangeOptions<'a> {
    /// How it routes.
    pub kind: ExchangeKind,
    /// Whether messages come from other exchanges only.
    pub is_internal: bool,
    /// Whether it goes with the last binding from it.
    pub auto_delete: bool,
    /// The exchange that gets what finds no target here; it exists when this one is declared.
    pub alternate: Option<&'a str>,
}

impl ExchangeOptions<'_> {
    /// Only a kind.
    pub fn of(kind: ExchangeKind) -> Self {
        Self { kind, is_internal: false, auto_delete: false, alternate: None }
    }
}

/// The same as records say it: names are numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ExchangeSpec {
    /// How it routes.
    pub kind: ExchangeKind,
    /// Whether messages come from other exchanges only.
    pub is_internal: bool,
    /// Whether it goes with the last binding from it.
    pub auto_delete: bool,
    /// The exchange that gets what finds no target here. It may be gone by now.
    pub alternate: Option<ExchangeId>,
}

impl ExchangeSpec {
    /// Only a kind.
    pub fn of(kind: ExchangeKind) -> Self {
        Self { kind, is_internal: false, auto_delete: false, alternate: None }
    }

    /// The options as they stand in a record: tags that rise, and their values.
    pub fn tags(&self) -> impl Iterator<Item = (u8, u64)> {
        [
            (INTERNAL, self.is_internal.then_some(1)),
            (AUTO_DELETE, self.auto_delete.then_some(1)),
            (ALTERNATE, self.alternate.map(|id| u64::from(id.0))),
        ]
        .into_iter()
        .filter_map(|(tag, value)| Some((tag, value?)))
    }

    /// The options that such tags stand for; `None` if one is not known, does not rise, or has a
    /// value that is none.
    pub fn from_tags(
        kind: ExchangeKind,
        tags: impl IntoIterator<Item = (u8, u64)>,
    ) -> Option<Self> {
        let mut spec = Self::of(kind);
        let mut last = 0;
        for (tag, value) in tags {
            if tag <= last {
                return None;
            }
            last = tag;
            match tag {
                INTERNAL if value == 1 => spec.is_internal = true,
                AUTO_DELETE if value == 1 => spec.auto_delete = true,
                ALTERNATE => spec.alternate = Some(ExchangeId(u32::try_from(value).ok()?)),
                _ => return None,
            }
        }
        Some(spec)
    }

    /// The wire key of the first difference.
    pub fn differing(&self, other: &Self) -> Option<&'static str> {
        if self.kind != other.kind {
            Some("kind")
        } else if self.is_internal != other.is_internal {
            Some("internal")
        } else if self.auto_delete != other.auto_delete {
            Some("auto_delete")
        } else if self.alternate != other.alternate {
            Some("alternate")
        } else {
            None
        }
    }
}

/// Where a binding leads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BindTo<'a> {
    /// To a queue.
    Queue(&'a str),
    /// To an exchange.
    Exchange(&'a str),
}

/// What a binding leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Target {
    /// A queue.
    Queue(QueueId),
    /// An exchange.
    Exchange(ExchangeId),
}

/// What an exchange routes to, by key. A fanout exchange keeps all of them under one key.
#[derive(Debug, Default)]
pub struct Bindings {
    by_key: BTreeMap<Box<[u8]>, Vec<Target>>,
    count: usize,
}

impl Bindings {
    /// Adds a binding; says whether it is new.
    pub fn bind(&mut self, key: &[u8], target: Target) -> bool {
        let targets = self.by_key.entry(key.into()).or_default();
        match targets.binary_search(&target) {
            Ok(_) => false,
            Err(at) => {
                targets.insert(at, target);
                self.count += 1;
                true
            }
        }
    }

    /// Removes a binding; says whether it was there.
    pub fn unbind(&mut self, key: &[u8], target: Target) -> bool {
        let Some(targets) = self.by_key.get_mut(key) else { return false };
        let Ok(at) = targets.binary_search(&target) else { return false };
        targets.remove(at);
        self.count -= 1;
        if targets.is_empty() {
            self.by_key.remove(key);
        }
        true
    }

    /// Whether a binding is there.
    pub fn has(&self, key: &[u8], target: Target) -> bool {
        self.by_key.get(key).is_some_and(|targets| targets.binary_search(&target).is_ok())
    }

    /// Removes every binding to a target.
    pub fn forget(&mut self, target: Target) {
        let mut removed = 0;
        self.by_key.retain(|_, targets| {
            if let Ok(at) = targets.binary_search(&target) {
                targets.remove(at);
                removed += 1;
            }
            !targets.is_empty()
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
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], Target)> {
        self.by_key.iter().flat_map(|(key, targets)| targets.iter().map(move |t| (&**key, *t)))
    }

    /// Adds what a message with that key goes to; none twice.
    pub fn route(&self, kind: ExchangeKind, key: &[u8], found: &mut Vec<Target>) {
        match kind {
            // The other kinds can't be declared yet.
            ExchangeKind::Direct
            | ExchangeKind::Topic
            | ExchangeKind::Headers
            | ExchangeKind::Hash => {
                if let Some(targets) = self.by_key.get(key) {
                    found.extend_from_slice(targets);
                }
            }
            ExchangeKind::Fanout => {
                found.extend(self.by_key.values().flatten().copied());
                if self.by_key.len() > 1 {
                    found.sort_unstable();
                    found.dedup();
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
    pub(crate) spec: ExchangeSpec,
    pub(crate) bindings: Bindings,
}
