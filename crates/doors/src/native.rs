//! The native port: text and binary, told apart by the first byte.

use crate::listener;
use crate::source::{SourceCaps, Sources};
use crate::tls::Certificate;
use courant::Broker;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, watch};

const NO_CERTIFICATE: &str = "TLS is required, and there is no certificate";

/// What the native door may be told.
#[derive(Debug, Clone)]
pub struct NativeOptions {
    /// Where it listens.
    pub address: SocketAddr,
    /// Connections at a time.
    pub connections_max: usize,
    /// How many of them one source may have: an IPv4 address, or 64 bits of an IPv6 address.
    pub per_source: SourceCaps,
    /// How long a connection may take to send CONNECT.
    pub handshake_within: Duration,
    /// A connection that is quiet for so long is asked whether it is there; after twice that it
    /// is closed.
    pub ping_every: Duration,
    /// What is shown to clients that want TLS; without one they are refused.
    pub certificate: Option<Certificate>,
    /// Whether clients without TLS are refused.
    pub tls_required: bool,
}

impl Default for NativeOptions {
    fn default() -> Self {
        Self {
            address: SocketAddr::from(([127, 0, 0, 1], 7530)),
            connections_max: 16_384,
            per_source: SourceCaps::default(),
            handshake_within: Duration::from_secs(10),
            ping_every: Duration::from_secs(15),
            certificate: None,
            tls_required: false,
        }
    }
}

/// What all connections of the door share.
#[derive(Debug)]
pub(crate) struct Door {
    pub(crate) broker: Broker,
    pub(crate) options: NativeOptions,
    /// The certificate as it is now, and whether TLS is required.
    tls: RwLock<(Option<Certificate>, bool)>,
    /// One permit a connection.
    pub(crate) permits: Arc<Semaphore>,
    /// Where connections come from.
    pub(crate) sources: Arc<Sources>,
    /// Becomes true when nobody is let in any more.
    pub(crate) stop: watch::Sender<bool>,
}

impl Door {
    /// The certificate as it is now, and whether TLS is required.
    pub(crate) fn tls(&self) -> (Option<Certificate>, bool) {
        self.tls.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Is ready when nobody is let in any more.
    pub(crate) async fn stopped(&self) {
        let _ = self.stop.subscribe().wait_for(|is_stopped| *is_stopped).await;
    }
}

/// A native door that accepts connections.
#[derive(Debug)]
pub struct Listening {
    door: Arc<Door>,
    address: SocketAddr,
}

/// Opens the door.
///
/// # Errors
/// If the address is taken; or is not loopback while no credential exists, since then nobody but
/// this machine is let in.
pub async fn listen(broker: Broker, options: NativeOptions) -> io::Result<Listening> {
    if !options.address.ip().is_loopback() && !broker.has_credentials() {
        let text = "without users the native door listens on loopback only: use 127.0.0.1, or \
                    add a user";
        return Err(io::Error::new(io::ErrorKind::PermissionDenied, text));
    }
    let tls = (options.certificate.clone(), options.tls_required);
    if tls.1 && tls.0.is_none() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, NO_CERTIFICATE));
    }
    let listener = TcpListener::bind(options.address).await?;
    let address = listener.local_addr()?;
    let permits = Arc::new(Semaphore::new(options.connections_max));
    let sources = Arc::new(Sources::new(options.per_source));
    let door = Arc::new(Door {
        broker,
        options,
        tls: RwLock::new(tls),
        permits,
        sources,
        stop: watch::Sender::new(false),
    });
    listener::start(listener, Arc::clone(&door));
    Ok(Listening { door, address })
}

impl Listening {
    /// Where it listens.
    pub fn local_addr(&self) -> SocketAddr {
        self.address
    }

    /// Shows new connections another certificate, or none; those that are there go on with theirs.
    ///
    /// # Errors
    /// If TLS would be required and impossible; nothing is changed then.
    pub fn set_tls(&self, certificate: Option<Certificate>, is_required: bool) -> io::Result<()> {
        if is_required && certificate.is_none() {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, NO_CERTIFICATE));
        }
        let tls = &self.door.tls;
        *tls.write().unwrap_or_else(PoisonError::into_inner) = (certificate, is_required);
        Ok(())
    }

    /// Lets sources have so many connections from now on; those that are there stay.
    pub fn set_source_caps(&self, caps: SourceCaps) {
        self.door.sources.set_caps(caps);
    }

    /// Stops accepting, lets what was published be confirmed, closes the broker's sessions, and
    /// waits for the connections to end, at most so long.
    pub async fn stop(self, grace: Duration) {
        self.door.stop.send_replace(true);
        self.door.broker.drain(grace / 2).await;
        self.door.broker.end_sessions();
        let all = u32::try_from(self.door.options.connections_max).unwrap_or(u32::MAX);
        let _ = tokio::time::timeout(grace, self.door.permits.acquire_many(all)).await;
    }
}
