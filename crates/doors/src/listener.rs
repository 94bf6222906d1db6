//! The accept loop: a bounded number of connections, a task each.

use crate::native::Door;
use crate::refusal::Refused;
use crate::source::Source;
use crate::{connection, text};
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
    let permit = Arc::clone(&door.permits).try_acquire_owned();
    let entered = permit.map_err(|_| Refused::about(Refusal::TooManyConnections, ""));
    let entered = entered.and_then(|permit| {
        let place = Source::from(source);
        let visit =
            door.sources.enter(place).map_err(|refusal| Refused::from_source(refusal, place));
        Ok((permit, visit?))
    });
    let (permit, visit) = match entered {
        Ok(entered) => entered,
        Err(refused) => return refuse(&stream, &refused).await,
    };
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "a connection went away at once");
        return;
    }
    let door = Arc::clone(door);
    tokio::spawn(async move {
        let (reader, writer) = stream.into_split();
        connection::serve((reader, writer), (source, visit), &door).await;
        drop(permit);
    });
}

/// Says why a connection is not taken, before anything is read of it.
async fn refuse(stream: &TcpStream, refused: &Refused) {
    let mut line = Vec::new();
    text::write_refused(&mut line, refused, None, None);
    // A fresh socket takes a line at once; nobody may hold up the others.
    let _ = tokio::time::timeout(ACCEPT_PAUSE, stream.writable()).await;
    let _ = stream.try_write(&line);
}
