//! What the options mean, as the parts of the program want it. The defaults are those of the parts.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use courant::memory;
use courant::{AccessOptions, Limits, Options};
use courant_doors::{Certificate, CertificateError, NativeOptions, SourceCaps};
use tracing_subscriber::filter::LevelFilter;

/// How lines of the log are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LogFormat {
    /// For eyes.
    Human,
    /// One JSON object a line.
    Json,
}

/// So much memory, or so much of what there is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Share {
    /// Bytes.
    Bytes(u64),
    /// Of the machine's memory, or of that of the control group if it is less.
    Percent(u8),
}

impl Share {
    /// What that is on this machine.
    pub(crate) fn bytes(self) -> u64 {
        match self {
            Self::Bytes(bytes) => bytes,
            Self::Percent(percent) => memory::percent_bytes(percent),
        }
    }
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
    /// Connections of one source at a time.
    pub(crate) native_connections_per_source_max: u64,
    /// Those of them that have not logged in.
    pub(crate) native_unauthenticated_per_source_max: u64,
    /// How long a connection may take to send CONNECT.
    pub(crate) native_handshake_within: Duration,
    /// When a quiet connection is asked whether it is there.
    pub(crate) native_ping_every: Duration,
    /// Whether the native door refuses clients without TLS.
    pub(crate) native_tls_required: bool,
    /// The chain of certificates.
    pub(crate) tls_certificate: Option<PathBuf>,
    /// Its key.
    pub(crate) tls_key: Option<PathBuf>,
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
    /// Sessions in one namespace.
    pub(crate) limits_sessions_per_namespace_max: u64,
    /// Sessions of one user.
    pub(crate) limits_sessions_per_user_max: u64,
    /// Queues in one namespace.
    pub(crate) limits_queues_per_namespace_max: u64,
    /// Exchanges in one namespace.
    pub(crate) limits_exchanges_per_namespace_max: u64,
    /// Bindings in one namespace.
    pub(crate) limits_bindings_per_namespace_max: u64,
    /// Bytes held for one connection.
    pub(crate) limits_memory_per_connection_max_bytes: u64,
    /// Bytes held for one namespace.
    pub(crate) limits_memory_per_namespace_max_bytes: u64,
    /// Bytes in memory above which publishers wait.
    pub(crate) limits_memory_max_bytes: Share,
    /// Free bytes of the volume below which publishers wait.
    pub(crate) limits_disk_free_min_bytes: u64,
    /// Users and roles.
    pub(crate) access: AccessOptions,
}

impl Default for Settings {
    fn default() -> Self {
        let (broker, native) = (Options::default(), NativeOptions::default());
        let limits = broker.limits;
        Self {
            data: PathBuf::from("./courant-data"),
            log_level: LevelFilter::INFO,
            log_format: LogFormat::Human,
            native_address: native.address,
            native_connections_max: native.connections_max as u64,
            native_connections_per_source_max: native.per_source.connections_max as u64,
            native_unauthenticated_per_source_max: native.per_source.unauthenticated_max as u64,
            native_handshake_within: native.handshake_within,
            native_ping_every: native.ping_every,
            native_tls_required: native.tls_required,
            tls_certificate: None,
            tls_key: None,
            storage_segment_bytes: broker.segment_bytes,
            memory_cache_bytes: broker.cache_bytes_max as u64,
            memory_in_flight_bytes: broker.in_flight_bytes_max as u64,
            memory_outboxes_bytes: broker.outboxes_bytes_max as u64,
            memory_transient_bytes: broker.transient_bytes_max as u64,
            memory_chunk_bytes: broker.chunk_bytes_max,
            limits_sessions_per_namespace_max: limits.sessions_per_namespace_max as u64,
            limits_sessions_per_user_max: limits.sessions_per_user_max as u64,
            limits_queues_per_namespace_max: limits.queues_per_namespace_max as u64,
            limits_exchanges_per_namespace_max: limits.exchanges_per_namespace_max as u64,
            limits_bindings_per_namespace_max: limits.bindings_per_namespace_max as u64,
            limits_memory_per_connection_max_bytes: limits.memory_per_connection_max_bytes,
            limits_memory_per_namespace_max_bytes: limits.memory_per_namespace_max_bytes,
            limits_memory_max_bytes: Share::Percent(memory::SHARE_PERCENT),
            limits_disk_free_min_bytes: limits.disk_free_min_bytes,
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
            cache_bytes_max: size(self.memory_cache_bytes),
            in_flight_bytes_max: size(self.memory_in_flight_bytes),
            outboxes_bytes_max: size(self.memory_outboxes_bytes),
            transient_bytes_max: size(self.memory_transient_bytes),
            chunk_bytes_max: self.memory_chunk_bytes,
            limits: self.limits(),
            ..Options::default()
        }
    }

    /// How many connections one source may have.
    pub(crate) fn native_per_source(&self) -> SourceCaps {
        SourceCaps {
            connections_max: size(self.native_connections_per_source_max),
            unauthenticated_max: size(self.native_unauthenticated_per_source_max),
        }
    }

    /// Caps and quotas.
    pub(crate) fn limits(&self) -> Limits {
        Limits {
            sessions_per_namespace_max: size(self.limits_sessions_per_namespace_max),
            sessions_per_user_max: size(self.limits_sessions_per_user_max),
            queues_per_namespace_max: size(self.limits_queues_per_namespace_max),
            exchanges_per_namespace_max: size(self.limits_exchanges_per_namespace_max),
            bindings_per_namespace_max: size(self.limits_bindings_per_namespace_max),
            memory_per_connection_max_bytes: self.limits_memory_per_connection_max_bytes,
            memory_per_namespace_max_bytes: self.limits_memory_per_namespace_max_bytes,
            memory_max_bytes: self.limits_memory_max_bytes.bytes(),
            disk_free_min_bytes: self.limits_disk_free_min_bytes,
        }
    }

    /// What the native door is told.
    pub(crate) fn native(&self, certificate: Option<Certificate>) -> NativeOptions {
        NativeOptions {
            address: self.native_address,
            connections_max: size(self.native_connections_max),
            per_source: self.native_per_source(),
            handshake_within: self.native_handshake_within,
            ping_every: self.native_ping_every,
            certificate,
            tls_required: self.native_tls_required,
        }
    }

    /// Reads the certificate, if there is to be one.
    pub(crate) fn certificate(&self) -> Result<Option<Certificate>, CertificateError> {
        let files = self.tls_certificate.as_deref().zip(self.tls_key.as_deref());
        files.map(|(certificate, key)| Certificate::load(certificate, key)).transpose()
    }

    /// What does not go together: a key, and why.
    pub(super) fn conflict(&self) -> Option<(&'static str, &'static str)> {
        match (&self.tls_certificate, &self.tls_key) {
            (Some(_), None) => Some(("tls.key", "it is needed beside tls.certificate")),
            (None, Some(_)) => Some(("tls.certificate", "it is needed beside tls.key")),
            (None, None) if self.native_tls_required => {
                Some(("native.tls_required", "it needs tls.certificate and tls.key"))
            }
            _ => None,
        }
    }
}

fn size(bytes: u64) -> usize {
    usize::try_from(bytes).unwrap_or(usize::MAX)
}
