//! Exchanges: they route and hold nothing.
//!
//! A binding leads from an exchange to a queue or to another exchange, and has a key, whose
//! meaning is that of the exchange's kind ([`bindable`]). `table.rs` has the bindings of one
//! exchange, and an index for each kind (`trie.rs`, `headers.rs`, `hash.rs`); `bindings.rs` has
//! all of them, from both ends; `generations.rs` says how long a route that was found holds. The
//! walk from exchange to exchange is in `route.rs`.

pub(crate) mod bindings;
pub mod generations;
pub mod hash;
pub mod headers;
mod table;
mod trie;

use crate::limits::NAME_BYTES_MAX;
use crate::name::{ExchangeId, Name, NamespaceId, QueueId};
use std::sync::Arc;
pub use table::Table;

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

/// The key of a binding.
pub type Key = Arc<[u8]>;

/// What a binding can lead to.
pub trait Endpoint: Copy + Ord {
    /// A number of its own.
    fn number(self) -> u64;
}

impl Endpoint for Target {
    fn number(self) -> u64 {
        match self {
            Self::Queue(QueueId(id)) => u64::from(id),
            Self::Exchange(ExchangeId(id)) => 1 << 32 | u64::from(id),
        }
    }
}

impl Endpoint for u32 {
    fn number(self) -> u64 {
        u64::from(self)
    }
}

/// Whether a key says something as the key of a binding: of a direct exchange the routing key, of a
/// fanout exchange anything, of a topic exchange a pattern, of a hash exchange a weight from 1 to
/// [`hash::WEIGHT_MAX`] in decimal (empty for 1), of a headers exchange a
/// [`HeaderFilter`](headers::HeaderFilter) in writing.
pub fn bindable(kind: ExchangeKind, key: &[u8]) -> bool {
    match kind {
        ExchangeKind::Direct | ExchangeKind::Fanout | ExchangeKind::Topic => {
            key.len() <= NAME_BYTES_MAX
        }
        ExchangeKind::Hash => hash::weight(key).is_some(),
        ExchangeKind::Headers => headers::HeaderFilter::decode(key).is_some(),
    }
}

/// An exchange as records describe it.
#[derive(Debug)]
pub struct Exchange {
    pub(crate) id: ExchangeId,
    pub(crate) namespace: NamespaceId,
    pub(crate) name: Name,
    pub(crate) spec: ExchangeSpec,
}
