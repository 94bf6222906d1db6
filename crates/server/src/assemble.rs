//! Builds the broker with its doors, and takes it apart again.
//!
//! Order: the broker opens its folder before a door listens, so that nobody is let in who can't
//! be served; at the end the doors close before the broker, so that everything a client was
//! promised is in the log when it is sealed. Each step of the end has its time, in all less than
//! ten seconds.

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, anyhow, bail};
use courant::{Access, Broker};
use courant_doors::native::{self, Listening};
use courant_wire::Limits;
use tokio::time::timeout;

use crate::config::Settings;

/// How long sessions may go on with what they have begun.
const GRACE: Duration = Duration::from_secs(4);
/// How long the log may take to be written out and sealed.
const CLOSE_TIME_MAX: Duration = Duration::from_secs(4);

// What a door lets in, the broker takes: the wire's bounds are within the engine's.
const _: () = {
    let wire = Limits::DEFAULT;
    let message_bytes = wire.body_bytes_max + wire.headers_bytes_max;
    assert!(message_bytes <= courant::limits::MESSAGE_BYTES_MAX as usize);
    assert!(courant_wire::limits::NAME_BYTES_MAX == courant::limits::NAME_BYTES_MAX);
};

/// A broker that serves.
pub(crate) struct Assembly {
    broker: Broker,
    native: Listening,
}

impl Assembly {
    /// Opens the data folder, which is made if it is not there, and listens.
    pub(crate) async fn start(settings: &Settings) -> anyhow::Result<Self> {
        let (data, options) = (settings.data.as_path(), settings.broker());
        let certificate = settings.certificate()?;
        #[cfg(feature = "testing")]
        let opened = crate::fail_point::open(data, options).await;
        #[cfg(not(feature = "testing"))]
        let opened = Broker::open(data, options).await;
        let broker =
            opened.with_context(|| format!("cannot open the data folder {}", data.display()))?;
        if !settings.access.users.is_empty() {
            let access = Access::new(settings.access.clone())?;
            broker.set_access(access);
        }
        let native = match native::listen(broker.clone(), settings.native(certificate)).await {
            Ok(listening) => listening,
            Err(error) => {
                // The folder was opened for nothing; it is left as clean as it was.
                let _ = timeout(CLOSE_TIME_MAX, broker.close()).await;
                return Err(describe(error, settings.native_address));
            }
        };
        Ok(Self { broker, native })
    }

    /// The broker.
    pub(crate) fn broker(&self) -> &Broker {
        &self.broker
    }

    /// The native door.
    pub(crate) fn native(&self) -> &Listening {
        &self.native
    }

    /// Where the native door listens.
    pub(crate) fn native_address(&self) -> SocketAddr {
        self.native.local_addr()
    }

    /// Lets sessions finish, closes the doors, seals the log.
    pub(crate) async fn stop(self) -> anyhow::Result<()> {
        if timeout(GRACE + Duration::from_secs(1), self.native.stop(GRACE)).await.is_err() {
            tracing::warn!("the native door did not close in time");
        }
        match timeout(CLOSE_TIME_MAX, self.broker.close()).await {
            Ok(closed) => closed.context("the data folder was not closed cleanly"),
            Err(_) => bail!("the data folder was not closed within {CLOSE_TIME_MAX:?}"),
        }
    }
}

fn describe(error: std::io::Error, address: SocketAddr) -> anyhow::Error {
    if error.kind() == ErrorKind::AddrInUse {
        anyhow!("cannot listen on {address}: another program, perhaps a broker, does; see --native")
    } else {
        anyhow!(error).context(format!("cannot listen on {address}"))
    }
}
