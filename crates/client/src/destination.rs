//! Where messages are published to and subscriptions point.

use std::sync::Arc;

use courant_wire::binary::request::RequestError;
use courant_wire::limits::NAME_BYTES_MAX;
use courant_wire::text::DestinationKind;
use courant_wire::{NameError, binary, validate_name};

/// A queue, a topic or an exchange, with the key where there is one. Cheap to clone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Destination {
    kind: DestinationKind,
    name: Arc<[u8]>,
    key: Arc<[u8]>,
}

/// Why something is no destination.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DestinationError {
    /// No name of anything.
    #[error("it has a bad name: {0}")]
    Name(NameError),
    /// A key that is too long.
    #[error("{0}")]
    Key(RequestError),
}

impl Destination {
    /// A queue.
    pub fn queue(name: &str) -> Result<Self, DestinationError> {
        Self::of(DestinationKind::Queue, name, &[])
    }

    /// A topic.
    pub fn topic(name: &str) -> Result<Self, DestinationError> {
        Self::of(DestinationKind::Topic, name, &[])
    }

    /// An exchange and the key to publish with, or to bind by.
    pub fn exchange(name: &str, key: &[u8]) -> Result<Self, DestinationError> {
        Self::of(DestinationKind::Exchange, name, key)
    }

    fn of(kind: DestinationKind, name: &str, key: &[u8]) -> Result<Self, DestinationError> {
        let name = validate_name(name.as_bytes()).map_err(DestinationError::Name)?;
        if key.len() > NAME_BYTES_MAX {
            return Err(DestinationError::Key(RequestError::NameTooLong));
        }
        Ok(Self { kind, name: name.as_bytes().into(), key: key.into() })
    }

    /// Whether it is the same; quick where it is a clone.
    pub(crate) fn is(&self, other: &Self) -> bool {
        let is_clone = Arc::ptr_eq(&self.name, &other.name) && Arc::ptr_eq(&self.key, &other.key);
        is_clone && self.kind == other.kind || self == other
    }

    pub(crate) fn wire(&self) -> binary::Destination<'_> {
        binary::Destination { kind: self.kind, raw_name: &self.name, key: &self.key }
    }
}
