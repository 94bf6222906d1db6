//! Where a command points: `queue:NAME`, `topic:NAME`, `exchange:NAME`; DECLARE knows
//! `namespace:NAME` too.

use crate::escape::{NameError, Text};

/// What kind of thing a destination names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DestinationKind {
    /// `queue:`
    Queue,
    /// `topic:`
    Topic,
    /// `exchange:`
    Exchange,
    /// `namespace:`, of DECLARE only.
    Namespace,
}

impl DestinationKind {
    /// The word before the colon.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Queue => "queue",
            Self::Topic => "topic",
            Self::Exchange => "exchange",
            Self::Namespace => "namespace",
        }
    }
}

/// A destination as it stands on the line. Two that are equal mean the same; two that differ may
/// still mean the same, by escapes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Destination<'a> {
    /// What it names.
    pub kind: DestinationKind,
    /// The name, not yet unescaped, its escapes well formed; empty only in `DECLARE queue:`.
    pub raw_name: Text<'a>,
}

impl<'a> Destination<'a> {
    /// Splits `queue:NAME`; `None` if it has another form.
    pub fn parse(word: &'a [u8]) -> Option<Self> {
        let (kind, name) = Self::split(word)?;
        Some(Self { kind, raw_name: Text::new(name) })
    }

    /// As [`Destination::parse`], of DECLARE: a namespace too, and a queue without a name, for
    /// which the server chooses one.
    pub(crate) fn parse_declared(word: &'a [u8]) -> Option<Self> {
        if let Some(name) = word.strip_prefix(b"namespace:") {
            let (kind, raw_name) = (DestinationKind::Namespace, Text::new(name));
            return if name.is_empty() { None } else { Some(Self { kind, raw_name }) };
        }
        if word == b"queue:" {
            return Some(Self { kind: DestinationKind::Queue, raw_name: Text::plain(b"") });
        }
        Self::parse(word)
    }

    /// As [`Destination::parse`] for a word that is known to have no `%`.
    #[inline]
    pub(crate) fn parse_plain(word: &'a [u8]) -> Option<Self> {
        let (kind, name) = Self::split(word)?;
        Some(Self { kind, raw_name: Text::plain(name) })
    }

    #[inline]
    fn split(word: &'a [u8]) -> Option<(DestinationKind, &'a [u8])> {
        let (kind, name) = if let Some(name) = word.strip_prefix(b"queue:") {
            (DestinationKind::Queue, name)
        } else if let Some(name) = word.strip_prefix(b"topic:") {
            (DestinationKind::Topic, name)
        } else {
            (DestinationKind::Exchange, word.strip_prefix(b"exchange:")?)
        };
        if name.is_empty() { None } else { Some((kind, name)) }
    }

    /// The name, unescaped into `buffer` where it has to be, and valid.
    pub fn name<'b>(&self, buffer: &'b mut Vec<u8>) -> Result<&'b str, NameError>
    where
        'a: 'b,
    {
        self.raw_name.name(buffer)
    }
}
