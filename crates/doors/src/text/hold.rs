//! Waiting for room to publish, without keeping room from being made.
//!
//! A message may wait for a full queue that this very connection consumes. So while it waits, what
//! the client sends is still read, up to [`AHEAD_BYTES_MAX`], and settles that want no reply are
//! done ahead of the PUBs before them. In the carried bytes a PONG takes the place of each, which
//! counts as a command as it did. Everything else keeps its turn.

use super::command::SettleBatch;
use super::connection::read_more;
use super::talk::Talk;
use crate::socket::Reader;
use courant_wire::Limits;
use courant_wire::text::{Command, Decoded, decode};
use std::sync::Arc;

/// Bytes that are read ahead while a message waits.
const AHEAD_BYTES_MAX: usize = 256 * 1024;
/// A command that asks for nothing.
const NOTHING: &[u8] = b"PONG\r\n";

impl Talk {
    /// Waits until there may be room again. Says whether the connection goes on.
    pub(super) async fn wait_for_room(&mut self, reader: &mut Reader, carry: &mut Vec<u8>) -> bool {
        let outbox = Arc::clone(self.session.outbox());
        let mut is_ended = false;
        loop {
            self.settle_ahead(carry);
            outbox.flush();
            let may_read = !is_ended && carry.len() < AHEAD_BYTES_MAX;
            tokio::select! {
                biased;
                () = self.session.room() => return true,
                () = outbox.closed() => return false,
                read = read_more(reader, carry), if may_read => {
                    // What was sent before the end is still done.
                    is_ended = !matches!(read, Ok(1..));
                }
            }
        }
    }

    /// Does settles that want no reply, wherever they stand behind PUBs.
    fn settle_ahead(&mut self, carry: &mut Vec<u8>) {
        let (mut at, mut ordinal) = (0, self.ordinal);
        while !self.is_verbose {
            let mut batch = SettleBatch::default();
            let consumed = match decode(&carry[at..], &Limits::DEFAULT) {
                Decoded::Blank { consumed } => {
                    at += consumed;
                    continue;
                }
                Decoded::Command { command, consumed } => {
                    ordinal += 1;
                    match &command {
                        Command::Publish(_) | Command::Ping { .. } | Command::Pong => {
                            at += consumed;
                            continue;
                        }
                        Command::Ack(settle)
                        | Command::Nack(settle)
                        | Command::Reject(settle)
                        | Command::Extend(settle)
                            if command.req().is_none() && !settle.options.confirm_synced() =>
                        {
                            let verb = command.verb();
                            if Self::add_settle(verb, settle, ordinal, &mut batch).is_err() {
                                return;
                            }
                        }
                        _ => return,
                    }
                    self.settle(&mut batch, false);
                    consumed
                }
                Decoded::Incomplete { .. } | Decoded::Refused { .. } => return,
            };
            carry.splice(at..at + consumed, NOTHING.iter().copied());
            at += NOTHING.len();
        }
    }
}
