//! What one tenant, one user or one connection may use up. Nothing here is a message's concern.
//!
//! Whatever is lowered below what exists removes nothing: it refuses what comes next.

use crate::limits::{
    BINDINGS_PER_NAMESPACE_MAX, MEMORY_PER_CONNECTION_MAX_BYTES, MEMORY_PER_NAMESPACE_MAX_BYTES,
    SESSIONS_MAX,
};
use crate::memory::{SHARE_PERCENT, percent_bytes};
use courant_engine::Quotas;
use courant_engine::limits::{EXCHANGES_MAX, QUEUES_MAX};

/// Caps that may be changed while the broker runs, with
/// [`Broker::set_limits`](crate::Broker::set_limits).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Sessions in one namespace at a time.
    pub sessions_per_namespace_max: usize,
    /// Sessions of one user at a time, in all namespaces together.
    pub sessions_per_user_max: usize,
    /// Queues in one namespace.
    pub queues_per_namespace_max: usize,
    /// Exchanges in one namespace, topics among them.
    pub exchanges_per_namespace_max: usize,
    /// Bindings in one namespace.
    pub bindings_per_namespace_max: usize,
    /// Bytes that the broker may hold for one connection.
    pub memory_per_connection_max_bytes: u64,
    /// Bytes that the broker may hold for one namespace.
    pub memory_per_namespace_max_bytes: u64,
    /// Bytes in memory above which publishers have to wait.
    pub memory_max_bytes: u64,
    /// Bytes of the data folder's volume below which publishers have to wait.
    pub disk_free_min_bytes: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            sessions_per_namespace_max: SESSIONS_MAX,
            sessions_per_user_max: SESSIONS_MAX,
            queues_per_namespace_max: QUEUES_MAX,
            exchanges_per_namespace_max: EXCHANGES_MAX,
            bindings_per_namespace_max: BINDINGS_PER_NAMESPACE_MAX,
            memory_per_connection_max_bytes: MEMORY_PER_CONNECTION_MAX_BYTES,
            memory_per_namespace_max_bytes: MEMORY_PER_NAMESPACE_MAX_BYTES,
            memory_max_bytes: percent_bytes(SHARE_PERCENT),
            disk_free_min_bytes: 0,
        }
    }
}

impl Limits {
    /// What the engine looks at.
    pub(crate) fn quotas(&self) -> Quotas {
        Quotas {
            sessions_per_namespace_max: self.sessions_per_namespace_max,
            sessions_per_user_max: self.sessions_per_user_max,
            queues_per_namespace_max: self.queues_per_namespace_max,
            exchanges_per_namespace_max: self.exchanges_per_namespace_max,
            bindings_per_namespace_max: self.bindings_per_namespace_max,
        }
    }
}
