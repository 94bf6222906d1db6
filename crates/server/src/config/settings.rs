//! What the options mean, as the parts of the program want it. The defaults are those of the parts.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use courant::{AccessOptions, Options};
use courant_doors::NativeOptions;
use tracing_subscriber::filter::LevelFilter;

/// How lines of the log are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LogFormat {
    /// For eyes.
    Human,
    /// One JSON object a line.
    Json,
}

/// All settings of a broker.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    /// The data folder.
    pub(crate) data: PathBuf,
    /// What is logged.
    pub(crate) log_level: LevelFilter,
    /// How it is.
    pub(crate) log_format: LogFormat,
    /// Where the native door listens.
    pub(crate) native_address: SocketAddr,
    /// Connections of the native door at a time.
    pub(crate) native_connections_max: u64,
    /// How long a connection may take to send CONNECT.
    pub(crate) native_handshake_within: Duration,
    /// When a quiet connection is asked whether it is there.
    pub(crate) native_ping_every: Duration,
    /// Size of a segment of the log.
    pub(crate) storage_segment_bytes: u64,
    /// Bytes of the log's tail that are kept in memory.
    pub(crate) memory_cache_bytes: u64,
    /// Bytes that may wait for their commit.
    pub(crate) memory_in_flight_bytes: u64,
    /// Bytes that may wait for all clients together.
    pub(crate) memory_outboxes_bytes: u64,
    /// Bytes of transient messages.
    pub(crate) memory_transient_bytes: u64,
    /// Bytes that long queues take in memory.
    pub(crate) memory_chunk_bytes: u64,
    /// Users and roles.
    pub(crate) access: AccessOptions,
}

impl Default for Settings {
    fn default() -> Self {
        let (broker, native) = (Options::default(), NativeOptions::default());
        Self {
            data: PathBuf::from("./courant-data"),
            log_level: LevelFilter::INFO,
            log_format: LogFormat::Human,
            native_address: native.address,
            native_connections_max: native.connections_max as u64,
            native_handshake_within: native.handshake_within,
            native_ping_every: native.ping_every,
            storage_segment_bytes: broker.segment_bytes,
            memory_cache_bytes: broker.cache_bytes_max as u64,
            memory_in_flight_bytes: broker.in_flight_bytes_max as u64,
            memory_outboxes_bytes: broker.outboxes_bytes_max as u64,
            memory_transient_bytes: broker.transient_bytes_max as u64,
            memory_chunk_bytes: broker.chunk_bytes_max,
            access: AccessOptions::default(),
        }
    }
}

impl Settings {
    /// What the broker is told.
    pub(crate) fn broker(&self) -> Options {
        // A build with the feature `testing` has one field more.
        #[allow(clippy::needless_update)]
        Options {
            segment_bytes: self.storage_segment_bytes,
            cache_bytes_max: memory(self.memory_cache_bytes),
            in_flight_bytes_max: memory(self.memory_in_flight_bytes),
            outboxes_bytes_max: memory(self.memory_outboxes_bytes),
            transient_bytes_max: memory(self.memory_transient_bytes),
            chunk_bytes_max: self.memory_chunk_bytes,
            ..Options::default()
        }
    }

    /// What the native door is told.
    pub(crate) fn native(&self) -> NativeOptions {
        NativeOptions {
            address: self.native_address,
            connections_max: memory(self.native_connections_max),
            handshake_within: self.native_handshake_within,
            ping_every: self.native_ping_every,
            ..NativeOptions::default()
        }
    }
}

fn memory(bytes: u64) -> usize {
    usize::try_from(bytes).unwrap_or(usize::MAX)
}
