//! What a client sends. Everything is appended; what does not fit into its field is refused, and
//! then nothing was appended.
//!
//! PUBLISH and SETTLE are open-ended: one is begun, given its messages or handles, and ended.
//! Whoever appends keeps a frame within [`Limits::frame_bytes_max`].
//!
//! [`Limits::frame_bytes_max`]: crate::Limits::frame_bytes_max

use super::body::{handle_bytes, length32, push_str8};
use super::command::{Destination, Get, PublishHead, Subscribe, Verdict};
use super::decode::{VERSION, flag};
use super::frame::{OpenFrame, head};
use super::kind::CommandKind;
use crate::id::Handle;
use crate::limits::NAME_BYTES_MAX;
use crate::text::{Confirm, DestinationKind};

/// Why something cannot be said in a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RequestError {
    /// A name or a key of more than [`NAME_BYTES_MAX`] bytes.
    #[error("a name or key has at most {NAME_BYTES_MAX} bytes")]
    NameTooLong,
    /// Properties of more than 65,535 bytes.
    #[error("the properties of a message have at most 65,535 bytes")]
    PropertiesTooLarge,
    /// A namespace as a destination.
    #[error("a namespace is no destination")]
    Namespace,
}

/// CONNECT. `json` is an object, or nothing.
pub fn connect(out: &mut Vec<u8>, req: u32, json: &[u8]) {
    head(out, CommandKind::Connect.number(), 5 + json.len());
    out.extend_from_slice(&req.to_be_bytes());
    out.push(VERSION);
    out.extend_from_slice(json);
}

/// Begins a PUBLISH, for [`message`], or for [`message_with`] if its messages have properties.
pub fn begin_publish(
    out: &mut Vec<u8>,
    req: u32,
    publish: &PublishHead<'_>,
) -> Result<OpenFrame, RequestError> {
    let kind = check(&publish.destination)?;
    let frame = begin(out, CommandKind::Publish, req);
    let level = match publish.confirm {
        Confirm::Committed => 0,
        Confirm::Written => flag::WRITTEN,
        Confirm::Memory => flag::MEMORY,
    };
    let flags = bit(publish.is_transient, flag::TRANSIENT)
        | bit(publish.is_mandatory, flag::MANDATORY)
        | bit(publish.has_properties, flag::PROPERTIES);
    out.push(level | flags);
    destination(out, kind, &publish.destination);
    Ok(frame)
}

/// A message of a PUBLISH without properties.
#[inline]
pub fn message(out: &mut Vec<u8>, payload: &[u8]) {
    out.reserve(payload.len() + 4);
    out.extend_from_slice(&length32(payload.len()).to_be_bytes());
    out.extend_from_slice(payload);
}

/// A message of a PUBLISH with properties, those that `properties` writes: see
/// [`super::Property::write`].
pub fn message_with(
    out: &mut Vec<u8>,
    properties: impl FnOnce(&mut Vec<u8>),
    payload: &[u8],
) -> Result<(), RequestError> {
    let at = out.len();
    out.extend_from_slice(&[0; 2]);
    properties(out);
    let Ok(length) = u16::try_from(out.len().saturating_sub(at + 2)) else {
        out.truncate(at);
        return Err(RequestError::PropertiesTooLarge);
    };
    if let Some(place) = out.get_mut(at..at + 2) {
        place.copy_from_slice(&length.to_be_bytes());
    }
    message(out, payload);
    Ok(())
}

/// SUBSCRIBE
pub fn subscribe(
    out: &mut Vec<u8>,
    req: u32,
    subscribe: &Subscribe<'_>,
) -> Result<(), RequestError> {
    let kind = check(&subscribe.destination)?;
    if subscribe.subscriber.len() > NAME_BYTES_MAX {
        return Err(RequestError::NameTooLong);
    }
    let frame = begin(out, CommandKind::Subscribe, req);
    out.extend_from_slice(&subscribe.sub.to_be_bytes());
    let flags = bit(subscribe.is_auto, flag::AUTO)
        | bit(subscribe.is_live, flag::LIVE)
        | bit(subscribe.credit.is_some(), flag::CREDIT);
    out.push(flags);
    destination(out, kind, &subscribe.destination);
    push_str8(out, subscribe.subscriber);
    out.extend_from_slice(&subscribe.credit.unwrap_or_default().to_be_bytes());
    out.extend_from_slice(&subscribe.credit_bytes.unwrap_or_default().to_be_bytes());
    out.extend_from_slice(&subscribe.visibility.unwrap_or_default().to_be_bytes());
    frame.end(out);
    Ok(())
}

/// UNSUBSCRIBE
pub fn unsubscribe(out: &mut Vec<u8>, req: u32, sub: u32) {
    head(out, CommandKind::Unsubscribe.number(), 8);
    out.extend_from_slice(&req.to_be_bytes());
    out.extend_from_slice(&sub.to_be_bytes());
}

/// CREDIT: `messages` more for a subscription, or with `sub` 0 the credit of the session.
pub fn credit(out: &mut Vec<u8>, req: u32, sub: u32, messages: u32, bytes: u64) {
    head(out, CommandKind::Credit.number(), 20);
    out.extend_from_slice(&req.to_be_bytes());
    out.extend_from_slice(&sub.to_be_bytes());
    out.extend_from_slice(&messages.to_be_bytes());
    out.extend_from_slice(&bytes.to_be_bytes());
}

/// Begins a SETTLE, for [`handle`].
#[inline]
pub fn begin_settle(
    out: &mut Vec<u8>,
    req: u32,
    verdict: Verdict,
    is_synced: bool,
    is_upto: bool,
) -> OpenFrame {
    let frame = begin(out, CommandKind::Settle, req);
    let (number, milliseconds) = match verdict {
        Verdict::Ack => (1, None),
        Verdict::Nack => (2, None),
        Verdict::Reject => (3, None),
        Verdict::Extend { milliseconds } => (4, milliseconds),
    };
    out.extend_from_slice(&[number, bit(is_synced, flag::SYNCED) | bit(is_upto, flag::UPTO)]);
    out.extend_from_slice(&milliseconds.unwrap_or_default().to_be_bytes());
    frame
}

/// A delivery of a SETTLE.
#[inline]
pub fn handle(out: &mut Vec<u8>, handle: Handle) {
    out.extend_from_slice(&handle_bytes(handle));
}

/// GET
pub fn get(out: &mut Vec<u8>, req: u32, get: &Get<'_>) -> Result<(), RequestError> {
    let kind = check(&get.destination)?;
    let frame = begin(out, CommandKind::Get, req);
    out.push(bit(get.is_auto, flag::AUTO));
    out.extend_from_slice(&get.count.to_be_bytes());
    destination(out, kind, &get.destination);
    frame.end(out);
    Ok(())
}

/// LINE. `line` is a command of the text protocol, its end left out: see [`crate::text::Line`].
pub fn line(out: &mut Vec<u8>, req: u32, line: &[u8]) {
    head(out, CommandKind::Line.number(), 4 + line.len());
    out.extend_from_slice(&req.to_be_bytes());
    out.extend_from_slice(line);
}

/// PING
pub fn ping(out: &mut Vec<u8>, req: u32) {
    head(out, CommandKind::Ping.number(), 4);
    out.extend_from_slice(&req.to_be_bytes());
}

/// PONG, the answer to the server's PING.
pub fn pong(out: &mut Vec<u8>) {
    head(out, CommandKind::Pong.number(), 0);
}

/// QUIT
pub fn quit(out: &mut Vec<u8>, req: u32) {
    head(out, CommandKind::Quit.number(), 4);
    out.extend_from_slice(&req.to_be_bytes());
}

#[inline]
fn begin(out: &mut Vec<u8>, command: CommandKind, req: u32) -> OpenFrame {
    let frame = OpenFrame::begin(out, command.number());
    out.extend_from_slice(&req.to_be_bytes());
    frame
}

#[inline]
fn bit(is_set: bool, flag: u8) -> u8 {
    if is_set { flag } else { 0 }
}

/// The number of the destination's kind, if all of it can be written.
fn check(destination: &Destination<'_>) -> Result<u8, RequestError> {
    if destination.raw_name.len().max(destination.key.len()) > NAME_BYTES_MAX {
        return Err(RequestError::NameTooLong);
    }
    match destination.kind {
        DestinationKind::Queue => Ok(1),
        DestinationKind::Topic => Ok(2),
        DestinationKind::Exchange => Ok(3),
        DestinationKind::Namespace => Err(RequestError::Namespace),
    }
}

fn destination(out: &mut Vec<u8>, kind: u8, destination: &Destination<'_>) {
    out.push(kind);
    push_str8(out, destination.raw_name);
    push_str8(out, destination.key);
}
