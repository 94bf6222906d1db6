//! What an embedding program or the server may choose.

use crate::quota::Limits;

/// Options of a broker. All have safe defaults.
#[derive(Debug, Clone)]
pub struct Options {
    /// Bytes of the log's tail that are kept in memory to serve bodies from.
    pub cache_bytes_max: usize,
    /// Bytes that may wait for their commit before publishers wait.
    pub in_flight_bytes_max: usize,
    /// Bytes that may wait for all clients together before each may have only a little.
    pub outboxes_bytes_max: usize,
    /// Bytes of transient messages before more are refused.
    pub transient_bytes_max: usize,
    /// Bytes that long queues take in memory; the rest of them stays on disk.
    pub chunk_bytes_max: u64,
    /// Size of a segment of the log.
    pub segment_bytes: u64,
    /// Caps and quotas, which [`Broker::set_limits`](crate::Broker::set_limits) changes.
    pub limits: Limits,
    /// Switches for tests.
    #[cfg(feature = "testing")]
    pub testing: crate::testing::Testing,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            cache_bytes_max: courant_storage::limits::CACHE_BYTES_MAX,
            in_flight_bytes_max: courant_storage::limits::IN_FLIGHT_BYTES_MAX,
            outboxes_bytes_max: crate::limits::OUTBOXES_BYTES_MAX,
            transient_bytes_max: crate::limits::TRANSIENT_BYTES_MAX,
            chunk_bytes_max: crate::limits::CHUNK_BYTES_MAX,
            segment_bytes: courant_storage::limits::SEGMENT_BYTES,
            limits: Limits::default(),
            #[cfg(feature = "testing")]
            testing: crate::testing::Testing::default(),
        }
    }
}
