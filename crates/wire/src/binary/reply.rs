//! What a server sends. Everything is appended; nothing is flushed, and nothing fails.
//!
//! CONFIRM and DELIVER are open-ended: one is begun, given its entries or deliveries, and ended.
//! Whoever appends keeps a frame within [`Limits::reply_frame_bytes_max`].
//!
//! [`Limits::reply_frame_bytes_max`]: crate::Limits::reply_frame_bytes_max

use super::body::{handle_bytes, length32, push_str8, push_str32};
use super::frame::{OpenFrame, head};
use super::kind::ReplyKind;
use crate::id::{Handle, MessageId};
use crate::limits::SENTENCE_BYTES_MAX;
use crate::text::Confirm;

/// The bits of a delivery's flags.
pub(super) mod flag {
    pub(in crate::binary) const MORE: u8 = 0x01;
    pub(in crate::binary) const SUSPECT: u8 = 0x02;
    pub(in crate::binary) const SETTLED: u8 = 0x04;
}

/// OK. `fields` are words of the text protocol, as they stand behind the word OK there.
pub fn ok(out: &mut Vec<u8>, req: u32, count: u32, fields: &[u8]) {
    head(out, ReplyKind::Ok.number(), 8 + fields.len());
    out.extend_from_slice(&req.to_be_bytes());
    out.extend_from_slice(&count.to_be_bytes());
    out.extend_from_slice(fields);
}

/// ITEM: one thing of a LIST, before its OK. `fields` as of [`ok`].
pub fn item(out: &mut Vec<u8>, req: u32, fields: &[u8]) {
    head(out, ReplyKind::Item.number(), 4 + fields.len());
    out.extend_from_slice(&req.to_be_bytes());
    out.extend_from_slice(fields);
}

/// Messages of one PUBLISH, next to each other, that reached the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Confirmed {
    /// Of the PUBLISH.
    pub req: u32,
    /// The place of the first of them in its frame.
    pub index: u32,
    /// How many they are, from 1.
    pub count: u32,
    /// The level reached.
    pub level: Confirm,
    /// The number of queues that each went to.
    pub queues: u32,
    /// The id of the first; the others follow it one by one. None if they were kept nowhere.
    pub id: Option<MessageId>,
}

/// Begins a CONFIRM, for [`confirmed`].
#[inline]
pub fn begin_confirm(out: &mut Vec<u8>) -> OpenFrame {
    OpenFrame::begin(out, ReplyKind::Confirm.number())
}

/// One entry of a CONFIRM.
#[inline]
pub fn confirmed(out: &mut Vec<u8>, confirmed: &Confirmed) {
    let mut bytes = [0; 27];
    bytes[..4].copy_from_slice(&confirmed.req.to_be_bytes());
    bytes[4..8].copy_from_slice(&confirmed.index.to_be_bytes());
    bytes[8..12].copy_from_slice(&confirmed.count.to_be_bytes());
    bytes[12] = level(confirmed.level);
    bytes[13..17].copy_from_slice(&confirmed.queues.to_be_bytes());
    if let Some(id) = confirmed.id {
        bytes[17..19].copy_from_slice(&id.shard.to_be_bytes());
        bytes[19..].copy_from_slice(&id.seq.to_be_bytes());
    }
    out.extend_from_slice(&bytes);
}

/// The number of a level.
fn level(level: Confirm) -> u8 {
    match level {
        Confirm::Committed => 0,
        Confirm::Written => 1,
        Confirm::Memory => 2,
    }
}

/// What stands before the payload of a delivery, where nothing more is said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeliveryHead {
    /// What is settled; without a lease it is settled already.
    pub handle: Handle,
    /// The how-many-eth delivery, from 1.
    pub attempt: u16,
    /// It may have been handed over before an unclean stop.
    pub is_suspect: bool,
}

impl DeliveryHead {
    #[inline]
    fn bytes(&self, more: u8) -> [u8; 21] {
        let settled = if self.handle.lease.is_none() { flag::SETTLED } else { 0 };
        let suspect = if self.is_suspect { flag::SUSPECT } else { 0 };
        let mut bytes = [more | suspect | settled; 21];
        bytes[1..19].copy_from_slice(&handle_bytes(self.handle));
        bytes[19..].copy_from_slice(&self.attempt.to_be_bytes());
        bytes
    }
}

/// Begins a DELIVER, for [`delivery`] and [`delivery_more`]. `sub` 0 answers a GET.
#[inline]
pub fn begin_deliver(out: &mut Vec<u8>, sub: u32) -> OpenFrame {
    let frame = OpenFrame::begin(out, ReplyKind::Deliver.number());
    out.extend_from_slice(&sub.to_be_bytes());
    frame
}

/// A delivery of which no more is to be said.
#[inline]
pub fn delivery(out: &mut Vec<u8>, head: &DeliveryHead, payload: &[u8]) {
    let mut bytes = [0; 25];
    bytes[..21].copy_from_slice(&head.bytes(0));
    bytes[21..].copy_from_slice(&length32(payload.len()).to_be_bytes());
    out.extend_from_slice(&bytes);
    out.extend_from_slice(payload);
}

/// A delivery with where it was published, and what `properties` writes: see
/// [`super::Property::write`].
pub fn delivery_more(
    out: &mut Vec<u8>,
    head: &DeliveryHead,
    (exchange, key): (&[u8], &[u8]),
    properties: impl FnOnce(&mut Vec<u8>),
    payload: &[u8],
) {
    out.extend_from_slice(&head.bytes(flag::MORE));
    push_str8(out, exchange);
    push_str8(out, key);
    push_str32(out, properties);
    out.extend_from_slice(&length32(payload.len()).to_be_bytes());
    out.extend_from_slice(payload);
}

/// LIVE: a message of a live subscription, of which no more is to be said.
#[inline]
pub fn live(out: &mut Vec<u8>, sub: u32, payload: &[u8]) {
    let mut bytes = [ReplyKind::Live.number(); 9];
    bytes[1..5].copy_from_slice(&length32(4 + payload.len()).to_be_bytes());
    bytes[5..].copy_from_slice(&sub.to_be_bytes());
    out.extend_from_slice(&bytes);
    out.extend_from_slice(payload);
}

/// LIVE with the key it was published with, and what `properties` writes.
pub fn live_more(
    out: &mut Vec<u8>,
    sub: u32,
    key: &[u8],
    properties: impl FnOnce(&mut Vec<u8>),
    payload: &[u8],
) {
    let frame = OpenFrame::begin(out, ReplyKind::LiveMore.number());
    out.extend_from_slice(&sub.to_be_bytes());
    push_str8(out, key);
    push_str32(out, properties);
    out.extend_from_slice(payload);
    frame.end(out);
}

/// PING
pub fn ping(out: &mut Vec<u8>) {
    head(out, ReplyKind::Ping.number(), 0);
}

/// PONG
pub fn pong(out: &mut Vec<u8>, req: u32) {
    head(out, ReplyKind::Pong.number(), 4);
    out.extend_from_slice(&req.to_be_bytes());
}

/// CANCEL: the subscription ended, and not because the client said so. No delivery of it follows.
pub fn cancel(out: &mut Vec<u8>, sub: u32, reason: &str) {
    head(out, ReplyKind::Cancel.number(), 4 + reason.len());
    out.extend_from_slice(&sub.to_be_bytes());
    out.extend_from_slice(reason.as_bytes());
}

/// A message that reached nobody.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Returned<'a> {
    /// Of its PUBLISH.
    pub req: u32,
    /// Its place in that frame.
    pub index: u32,
    /// Why: one word, such as `unroutable`.
    pub reason: &'a str,
    /// The exchange, or topic, that it was published to.
    pub exchange: &'a [u8],
    /// The key that it was published with.
    pub key: &'a [u8],
}

/// RETURN, with what `properties` writes; goes before the CONFIRM.
pub fn returned(
    out: &mut Vec<u8>,
    returned: &Returned<'_>,
    properties: impl FnOnce(&mut Vec<u8>),
    payload: &[u8],
) {
    let frame = OpenFrame::begin(out, ReplyKind::Return.number());
    out.extend_from_slice(&returned.req.to_be_bytes());
    out.extend_from_slice(&returned.index.to_be_bytes());
    push_str8(out, returned.reason.as_bytes());
    push_str8(out, returned.exchange);
    push_str8(out, returned.key);
    push_str32(out, properties);
    out.extend_from_slice(payload);
    frame.end(out);
}

/// BLOCKED: publishing is held back until [`unblocked`].
pub fn blocked(out: &mut Vec<u8>, reason: &str) {
    head(out, ReplyKind::Blocked.number(), reason.len());
    out.extend_from_slice(reason.as_bytes());
}

/// UNBLOCKED: publishing goes on.
pub fn unblocked(out: &mut Vec<u8>) {
    head(out, ReplyKind::Unblocked.number(), 0);
}

/// What a refusal puts an end to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Closes {
    Nothing,
    Session,
    Connection,
}

/// Whether asking again can help.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retry {
    /// The same will always be refused.
    Never,
    /// After a change.
    Changed,
    /// The same, later.
    Later,
}

/// A refusal as it goes over the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refused<'a> {
    /// Of the command; 0 with a `count` of 0 is about none.
    pub req: u32,
    /// The place of the first message, or of the handle, that it is about.
    pub index: u32,
    /// How many it is about; 0 is the whole command.
    pub count: u32,
    /// The stable number of the refusal.
    pub number: u16,
    /// What it puts an end to.
    pub closes: Closes,
    /// Whether asking again can help.
    pub retry: Retry,
    /// Its stable name: one word.
    pub name: &'a str,
    /// What a person reads, cut at 1,024 bytes.
    pub sentence: &'a str,
}

/// REFUSED
pub fn refused(out: &mut Vec<u8>, refused: &Refused<'_>) {
    let frame = OpenFrame::begin(out, ReplyKind::Refused.number());
    out.extend_from_slice(&refused.req.to_be_bytes());
    out.extend_from_slice(&refused.index.to_be_bytes());
    out.extend_from_slice(&refused.count.to_be_bytes());
    out.extend_from_slice(&refused.number.to_be_bytes());
    out.push(match refused.closes {
        Closes::Nothing => 0,
        Closes::Session => 1,
        Closes::Connection => 2,
    });
    out.push(match refused.retry {
        Retry::Never => 0,
        Retry::Changed => 1,
        Retry::Later => 2,
    });
    push_str8(out, refused.name.as_bytes());
    let end = refused.sentence.floor_char_boundary(SENTENCE_BYTES_MAX);
    out.extend_from_slice(refused.sentence.get(..end).unwrap_or_default().as_bytes());
    frame.end(out);
}
