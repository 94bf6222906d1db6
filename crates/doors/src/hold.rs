//! Waiting for room to publish, without keeping room from being made.
//!
//! A message may wait for a full queue that this very connection consumes. So while it waits, what
//! the client sends is still read, up to [`AHEAD_BYTES_MAX`] behind the command that waits, and
//! settles that want no reply are
//! done ahead of the messages before them. Everything else keeps its turn.

use crate::connection::{Protocol, read_more};
use crate::socket::Reader;
use std::sync::Arc;

/// Bytes that are read ahead while a message waits.
const AHEAD_BYTES_MAX: usize = 256 * 1024;

/// Waits until there may be room again. Says whether the connection goes on.
pub(crate) async fn wait_for_room(
    protocol: &mut impl Protocol,
    reader: &mut Reader,
    carry: &mut Vec<u8>,
) -> bool {
    let outbox = Arc::clone(protocol.session().outbox());
    let mut is_ended = false;
    loop {
        let waiting = protocol.settle_ahead(carry);
        outbox.flush();
        let may_read = !is_ended && carry.len() < waiting + AHEAD_BYTES_MAX;
        tokio::select! {
            biased;
            () = protocol.session().room() => return true,
            () = outbox.closed() => return false,
            read = read_more(reader, carry), if may_read => {
                // What was sent before the end is still done.
                is_ended = !matches!(read, Ok(1..));
            }
        }
    }
}
