//! Refusals as lines.

use crate::refusal::Refused;
use courant::Refusal;
use courant_wire::text::Verb;
use courant_wire::text::reply::{self, ErrReply};

/// Writes a refusal of no command in particular.
pub(crate) fn write(out: &mut Vec<u8>, refusal: Refusal, subject: &str) {
    write_reply(out, &Refused::about(refusal, subject), None, None);
}

/// Writes a refusal of a command.
pub(crate) fn write_reply(
    out: &mut Vec<u8>,
    refused: &Refused,
    req: Option<&[u8]>,
    command: Option<(Verb, u64)>,
) {
    let (number, name) = (u32::from(refused.refusal.number()), refused.refusal.name());
    reply::err(out, &ErrReply { number, name, sentence: &refused.sentence, req, command });
}
