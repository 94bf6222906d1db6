//! Refusals as frames.

use crate::refusal::Refused;
use courant_wire::binary::{self, Closes, Retry, reply};

/// Writes REFUSED. `about` is the place of the first message or handle, and how many there are;
/// zeros for a whole command.
pub(crate) fn write_refused(
    out: &mut Vec<u8>,
    refused: &Refused,
    req: u32,
    (index, count): (u32, u32),
) {
    let refusal = refused.refusal;
    let closes = match refusal.closes() {
        _ if !refused.closes => Closes::Nothing,
        courant::Closes::Session => Closes::Session,
        courant::Closes::Nothing | courant::Closes::Connection => Closes::Connection,
    };
    let retry = match refusal.retry() {
        courant::Retry::Never => Retry::Never,
        courant::Retry::Changed => Retry::Changed,
        courant::Retry::Later => Retry::Later,
    };
    let (number, name, sentence) = (refusal.number(), refusal.name(), &refused.sentence[..]);
    let refused = binary::Refused { req, index, count, number, closes, retry, name, sentence };
    reply::refused(out, &refused);
}
