//! Signs of life: a quiet client is asked, and one that asks is answered at once.
//!
//! PONG does not wait for replies that wait for a disk: it says that the connection and the broker
//! behind it are there, whatever a disk does.

use crate::clock::ahead;
use crate::connection::{Protocol, read_more};
use crate::socket::Reader;
use courant::{Outbox, Refusal};
use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Sleep;

/// More than this is not read ahead: no PING is so long.
const AHEAD_BYTES_MAX: usize = 4096;

/// What stands first behind a command that waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ahead {
    /// A PING of so many bytes, which was answered.
    Ping(usize),
    /// So many bytes that say nothing.
    Blank(usize),
    /// Too little to know.
    Incomplete,
    /// Something else: it waits for its turn.
    Other,
}

/// What was heard since the timer looked last.
#[derive(Debug, Default)]
pub(crate) struct Heard {
    pub(crate) anything: bool,
    asked: bool,
}

/// Looks whether the connection is still there. Says whether it goes on.
pub(crate) fn ask(
    protocol: &mut impl Protocol,
    heard: &mut Heard,
    carry: &[u8],
    quiet: Pin<&mut Sleep>,
    every: Duration,
) -> bool {
    if heard.anything {
        *heard = Heard::default();
    } else if heard.asked {
        let refusal = if carry.is_empty() { Refusal::IdleTimeout } else { Refusal::CommandTimeout };
        protocol.session().note_silent();
        protocol.refuse(refusal);
        return false;
    } else {
        heard.asked = true;
        let outbox = Arc::clone(protocol.session().outbox());
        protocol.ping(&outbox);
        outbox.flush();
    }
    quiet.reset(ahead(every));
    true
}

/// Answers PINGs, and counts them, as long as nothing else comes: that has to wait for its turn.
pub(crate) async fn answer<P: Protocol>(
    reader: &mut Reader,
    carry: &mut Vec<u8>,
    outbox: &Arc<Outbox>,
    answered: &mut u64,
) -> Infallible {
    loop {
        match P::pong_ahead(outbox, carry) {
            Ahead::Ping(bytes) => {
                *answered += 1;
                outbox.flush();
                carry.drain(..bytes);
            }
            Ahead::Blank(bytes) => {
                carry.drain(..bytes);
            }
            Ahead::Incomplete if carry.len() < AHEAD_BYTES_MAX => {
                match read_more(reader, carry).await {
                    Ok(0) | Err(_) => break,
                    Ok(_) => {}
                }
            }
            Ahead::Incomplete | Ahead::Other => break,
        }
    }
    std::future::pending().await
}
