//! Signs of life: a quiet client is asked, and one that asks is answered at once.
//!
//! PONG does not wait for replies that wait for a disk: it says that the connection and the broker
//! behind it are there, whatever a disk does.

use super::connection::read_more;
use super::refusal::Refused;
use super::talk::Talk;
use crate::clock::ahead;
use crate::socket::Reader;
use courant::{Outbox, Refusal};
use courant_wire::Limits;
use courant_wire::text::{Command, Decoded, decode, reply};
use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Sleep;

/// More than this is not read ahead: no PING is so long.
const AHEAD_BYTES_MAX: usize = 4096;

/// What was heard since the timer looked last.
#[derive(Debug, Default)]
pub(super) struct Heard {
    pub(super) anything: bool,
    asked: bool,
}

impl Talk {
    /// Looks whether the connection is still there. Says whether it goes on.
    pub(super) fn ask(
        &mut self,
        heard: &mut Heard,
        carry: &[u8],
        quiet: Pin<&mut Sleep>,
        every: Duration,
    ) -> bool {
        if heard.anything {
            *heard = Heard::default();
        } else if heard.asked {
            let refusal =
                if carry.is_empty() { Refusal::IdleTimeout } else { Refusal::CommandTimeout };
            self.session.note_silent();
            self.say_refused(&Refused::about(refusal, ""), None, None);
            return false;
        } else {
            heard.asked = true;
            let mut ping = Vec::new();
            reply::ping(&mut ping);
            self.session.outbox().notice(&ping);
            self.session.outbox().flush();
        }
        quiet.reset(ahead(every));
        true
    }
}

/// Answers a PING before all that waits.
pub(super) fn pong(outbox: &Arc<Outbox>, req: Option<&[u8]>) {
    let mut pong = Vec::new();
    reply::pong(&mut pong, req);
    outbox.notice(&pong);
}

/// Answers PINGs, and counts them, as long as nothing else comes: that has to wait for its turn.
pub(super) async fn answer(
    reader: &mut Reader,
    carry: &mut Vec<u8>,
    outbox: &Arc<Outbox>,
    answered: &mut u64,
) -> Infallible {
    loop {
        match decode(carry, &Limits::DEFAULT) {
            Decoded::Command { command: command @ Command::Ping { .. }, consumed } => {
                *answered += 1;
                pong(outbox, command.req());
                outbox.flush();
                carry.drain(..consumed);
            }
            Decoded::Blank { consumed } => {
                carry.drain(..consumed);
            }
            Decoded::Incomplete { .. } if carry.len() < AHEAD_BYTES_MAX => {
                match read_more(reader, carry).await {
                    Ok(0) | Err(_) => break,
                    Ok(_) => {}
                }
            }
            _ => break,
        }
    }
    std::future::pending().await
}
