//! Validated names, and the numbers that stand for them in records.
//!
//! A name is 1 to 255 bytes of UTF-8 without control characters. It never becomes a path.

use crate::limits::NAME_BYTES_MAX;
use std::fmt;
use std::sync::Arc;
use thiserror::Error;

/// A validated name of a namespace, exchange, queue, topic or subscriber.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name(Arc<str>);

/// Why bytes are not a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum NameError {
    /// It has no bytes.
    #[error("a name has at least one byte")]
    Empty,
    /// It has more than [`NAME_BYTES_MAX`] bytes.
    #[error("a name has at most {NAME_BYTES_MAX} bytes")]
    TooLong,
    /// It is not UTF-8.
    #[error("a name is UTF-8")]
    NotUtf8,
    /// It holds a control character.
    #[error("a name has no control characters")]
    Control,
}

impl Name {
    /// Checks the bytes and takes them as a name.
    pub fn new(bytes: &[u8]) -> Result<Self, NameError> {
        Self::check(bytes).map(|text| Self(Arc::from(text)))
    }

    /// Checks that the bytes are a name, without keeping them.
    pub fn check(bytes: &[u8]) -> Result<&str, NameError> {
        if bytes.is_empty() {
            return Err(NameError::Empty);
        }
        if bytes.len() > NAME_BYTES_MAX {
            return Err(NameError::TooLong);
        }
        let text = std::str::from_utf8(bytes).map_err(|_| NameError::NotUtf8)?;
        if text.chars().any(char::is_control) {
            return Err(NameError::Control);
        }
        Ok(text)
    }

    /// The text of the name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl std::borrow::Borrow<str> for Name {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&*self.0, f)
    }
}

/// The number of a namespace; never reused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NamespaceId(pub u32);

/// The number of an exchange; never reused. 0 is the default exchange.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ExchangeId(pub u32);

/// The number of a queue. Below 2³¹: a durable queue, never reused. From 2³¹: a transient queue
/// of this opening, never written to a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct QueueId(pub u32);

impl NamespaceId {
    /// The namespace `/`, which always exists.
    pub const DEFAULT: Self = Self(0);
}

impl ExchangeId {
    /// The exchange without a name: its routing key is the name of a queue.
    pub const DEFAULT: Self = Self(0);
}

impl QueueId {
    pub(crate) const TRANSIENT: u32 = 1 << 31;

    /// Whether the queue lives in the ledger and outlives the process.
    pub fn is_durable(self) -> bool {
        self.0 < Self::TRANSIENT
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_have_bounds() {
        assert_eq!(Name::new(b""), Err(NameError::Empty));
        assert_eq!(Name::new(&[b'a'; 256]), Err(NameError::TooLong));
        assert_eq!(Name::new(b"a\nb"), Err(NameError::Control));
        assert_eq!(Name::new("a\u{85}b".as_bytes()), Err(NameError::Control));
        assert_eq!(Name::new(&[0xff]), Err(NameError::NotUtf8));
        assert_eq!(Name::new("größe/1".as_bytes()).map(|n| n.to_string()), Ok("größe/1".into()));
    }
}
