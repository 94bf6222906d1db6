//! What a server sends. Everything is appended; nothing is flushed, and nothing fails.
//!
//! The frames of the hot path are written from a prefix that is made once per subscription:
//! [`msg_prefix`] with [`msg`], [`live_prefix`] with [`live_msg`]. For anything more, a
//! [`Line`] is begun, given its fields, and ended.

use super::command::Confirm;
use super::line::Line;
use super::verb::Verb;
use crate::decimal;
use crate::id::{Handle, MessageId};
use crate::limits::SENTENCE_BYTES_MAX;

/// `OK`
#[inline]
pub fn ok(out: &mut Vec<u8>) {
    out.extend_from_slice(b"OK\n");
}

/// `OK req:TOKEN`
pub fn ok_req(out: &mut Vec<u8>, req: &[u8]) {
    Line::ok(out, Some(req)).end();
}

/// What a confirm states.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Published {
    /// The id of the message.
    pub id: MessageId,
    /// The level reached.
    pub level: Confirm,
    /// The number of queues it went to.
    pub queues: u32,
    /// The earlier message that it duplicates, if any.
    pub duplicates: Option<MessageId>,
}

/// `OK [req:T] msg_id:ID [level:L] [queues:N] [duplicates:ID]`. A level that is not there is
/// `committed`; a number of queues that is not there is one.
pub fn published(out: &mut Vec<u8>, req: Option<&[u8]>, published: &Published) {
    let mut line = Line::ok(out, req).id("msg_id", published.id);
    if published.level != Confirm::Committed {
        line = line.token("level", published.level.name().as_bytes());
    }
    if published.queues != 1 {
        line = line.number("queues", u64::from(published.queues));
    }
    if let Some(id) = published.duplicates {
        line = line.id("duplicates", id);
    }
    line.end();
}

/// A refusal as it goes over the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ErrReply<'a> {
    /// The stable number of the refusal.
    pub number: u32,
    /// Its stable name: one word.
    pub name: &'a str,
    /// What a person reads: one line, cut at 1,024 bytes. Begins with none of the fields' keys.
    pub sentence: &'a str,
    /// The token of the command.
    pub req: Option<&'a [u8]>,
    /// The command and its ordinal since the connection was opened, from 1; where the reply can't
    /// be told by counting, that is with `verbose` off.
    pub command: Option<(Verb, u64)>,
}

/// `ERR number name [req:T] [verb:V ordinal:N] sentence`
pub fn err(out: &mut Vec<u8>, reply: &ErrReply<'_>) {
    out.extend_from_slice(b"ERR ");
    decimal::write(out, u64::from(reply.number));
    out.push(b' ');
    let mut line = Line::new(out, reply.name.as_bytes()).req(reply.req);
    if let Some((verb, ordinal)) = reply.command {
        line = line.token("verb", verb.name().as_bytes()).number("ordinal", ordinal);
    }
    line.sentence(reply.sentence, SENTENCE_BYTES_MAX).end();
}

/// The part of a MSG that is the same for all deliveries of a subscription, up to its handle.
/// `destination` is as it stands on a line, escapes included (`topic:events`); a MSG that answers
/// GET has no `sub_id` and echoes `req`.
pub fn msg_prefix(
    out: &mut Vec<u8>,
    destination: &[u8],
    sub_id: Option<&[u8]>,
    req: Option<&[u8]>,
) {
    out.extend_from_slice(b"MSG ");
    let mut line = Line::new(out, destination);
    if let Some(sub_id) = sub_id {
        line = line.token("sub_id", sub_id);
    }
    line.req(req).open("msg_id");
}

/// `MSG destination [sub_id:S] msg_id:H size`, and the body.
#[inline]
pub fn msg(out: &mut Vec<u8>, prefix: &[u8], handle: Handle, body: &[u8]) {
    out.reserve(prefix.len() + body.len() + 64);
    Line::msg(out, prefix, handle).end_with_body(body);
}

/// The part of a live MSG that is the same for all messages of a subscription.
pub fn live_prefix(out: &mut Vec<u8>, destination: &[u8], sub_id: Option<&[u8]>) {
    out.extend_from_slice(b"MSG ");
    out.extend_from_slice(destination);
    if let Some(sub_id) = sub_id {
        out.extend_from_slice(b" sub_id:");
        out.extend_from_slice(sub_id);
    }
}

/// `MSG destination [sub_id:S] size`, and the body.
#[inline]
pub fn live_msg(out: &mut Vec<u8>, prefix: &[u8], body: &[u8]) {
    out.reserve(prefix.len() + body.len() + 24);
    Line::new(out, prefix).end_with_body(body);
}

/// `PING`
pub fn ping(out: &mut Vec<u8>) {
    out.extend_from_slice(b"PING\n");
}

/// `PONG [req:T]`
pub fn pong(out: &mut Vec<u8>, req: Option<&[u8]>) {
    Line::new(out, b"PONG").req(req).end();
}

/// A message that reached nobody.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Returned<'a> {
    /// The exchange, or topic, that it was published to.
    pub exchange: &'a [u8],
    /// The routing key; not written if it is empty.
    pub key: &'a [u8],
    /// Why: one word, such as `unroutable`.
    pub reason: &'a str,
    /// The token of its PUB.
    pub req: Option<&'a [u8]>,
}

/// `RETURN exchange:X [key:K] reason:WORD [req:T] size`, and the body; goes before the OK.
pub fn returned(out: &mut Vec<u8>, returned: &Returned<'_>, body: &[u8]) {
    let mut line = Line::new(out, b"RETURN").text("exchange", returned.exchange);
    if !returned.key.is_empty() {
        line = line.text("key", returned.key);
    }
    line.text("reason", returned.reason.as_bytes()).req(returned.req).end_with_body(body);
}

/// `BLOCKED reason:WORD`: publishing is held back until [`unblocked`].
pub fn blocked(out: &mut Vec<u8>, reason: &str) {
    Line::new(out, b"BLOCKED").text("reason", reason.as_bytes()).end();
}

/// `UNBLOCKED`: publishing goes on.
pub fn unblocked(out: &mut Vec<u8>) {
    out.extend_from_slice(b"UNBLOCKED\n");
}

/// `ITEM`, open for fields: one thing of a LIST.
pub fn item(out: &mut Vec<u8>) -> Line<'_> {
    Line::new(out, b"ITEM")
}

/// `CANCEL sub_id:S reason:WORD`: the subscription ended, and not because the client said so. No
/// MSG of it follows.
pub fn cancel(out: &mut Vec<u8>, sub_id: &[u8], reason: &str) {
    Line::new(out, b"CANCEL").token("sub_id", sub_id).text("reason", reason.as_bytes()).end();
}
