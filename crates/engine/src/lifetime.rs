//! When a message was admitted, and until when it is delivered.
//!
//! Deadlines are absolute, in the engine's time. A message has the earlier of its own and that of
//! its queue: the two numbers stand in its record, so that every replay comes to the same.

/// A time that never comes: stands where there is no deadline.
pub const NEVER: u64 = u64::MAX;

/// What the record of a message says of time, in milliseconds since 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lifetime {
    /// When it was admitted.
    pub admitted_ms: u64,
    /// From when on nobody gets it any more; [`NEVER`] if its publisher did not say.
    pub deadline_ms: u64,
}

impl Default for Lifetime {
    fn default() -> Self {
        Self { admitted_ms: 0, deadline_ms: NEVER }
    }
}

impl Lifetime {
    /// Its deadline in a queue that keeps messages for so long.
    #[inline]
    pub fn until_ms(self, ttl_ms: Option<u64>) -> u64 {
        match ttl_ms {
            None => self.deadline_ms,
            Some(ttl_ms) => self.deadline_ms.min(self.admitted_ms.saturating_add(ttl_ms)),
        }
    }
}
