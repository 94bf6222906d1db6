//! The accept loop: a bounded number of connections, a task each.

use crate::native::Door;
use crate::text;
use courant::Refusal;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};

/// How long accepting waits after an error such as "too many open files", instead of spinning.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Starts accepting until the door is told to stop.
pub(crate) fn start(listener: TcpListener, door: Arc<Door>) {
    tokio::spawn(async move {
        loop {
            let accepted = tokio::select! {
                accepted = listener.accept() => accepted,
                () = door.stopped() => return,
            };
            match accepted {
                Ok((stream, peer)) => admit(stream, peer.ip(), &door).await,
                Err(error) => {
                    tracing::warn!(%error, "no connection can be accepted now");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    });
}

async fn admit(stream: TcpStream, source: IpAddr, door: &Arc<Door>) {
    let Ok(permit) = Arc::clone(&door.permits).try_acquire_owned() else {
        let mut refused = Vec::new();
        text::refusal::write(&mut refused, Refusal::TooManyConnections, "");
        // A fresh socket takes a line at once; nobody may hold up the others.
        let _ = tokio::time::timeout(ACCEPT_PAUSE, stream.writable()).await;
        let _ = stream.try_write(&refused);
        return;
    };
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "a connection went away at once");
        return;
    }
    let door = Arc::clone(door);
    tokio::spawn(async move {
        let (reader, writer) = stream.into_split();
        text::serve((reader, writer), source, &door).await;
        drop(permit);
    });
}
