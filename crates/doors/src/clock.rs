//! Deadlines of connections: the only place of the doors that reads a clock.

use std::time::Duration;
use tokio::time::Instant;

/// The moment that is so far ahead.
pub(crate) fn ahead(by: Duration) -> Instant {
    Instant::now() + by
}
