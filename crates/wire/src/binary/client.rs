//! The client's side: bytes that a server sent to replies.
//!
//! A frame, a reason or a property that a client does not know is no error: a newer server may
//! send more of them.

use super::body::{Body, HANDLE_BYTES, handle};
use super::frame::{Taken, take};
use super::kind::ReplyKind;
use super::properties::Properties;
use super::reply::{Closes, Confirmed, DeliveryHead, Refused, Retry, Returned, flag};
use crate::limits::Limits;
use crate::text::{Confirm, Fields};

/// What the beginning of some input is.
#[derive(Clone, Debug, PartialEq)]
pub enum DecodedReply<'a> {
    /// A whole frame.
    Reply {
        /// What it says.
        reply: Reply<'a>,
        /// The bytes it took; never more than were given.
        consumed: usize,
    },
    /// More bytes are needed; `wanted` in all.
    Incomplete {
        /// As of [`super::Decoded::Incomplete`].
        wanted: usize,
    },
    /// Not what a server sends; the connection is of no more use.
    Malformed {
        /// What is wrong.
        error: ReplyError,
    },
}

/// Why bytes are no reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReplyError {
    /// A frame larger than the limit.
    #[error("the server sent a frame of more than {bytes_max} bytes")]
    TooLarge {
        /// The limit.
        bytes_max: usize,
    },
    /// A frame that is not as the specification says.
    #[error("the server sent a {kind} that is not as it should be")]
    BadFrame {
        /// Which.
        kind: ReplyKind,
    },
}

/// What a server sends.
#[derive(Clone, Debug, PartialEq)]
pub enum Reply<'a> {
    /// The command was carried out.
    Ok {
        /// Of the command.
        req: u32,
        /// Deliveries that were settled, or messages that GET took.
        count: u32,
        /// What else there is to say, as in the text protocol.
        fields: Fields<'a>,
    },
    /// Messages were taken over.
    Confirm(Confirms<'a>),
    /// Messages of a queue.
    Deliver {
        /// The subscription; 0 answers a GET.
        sub: u32,
        /// The deliveries.
        deliveries: Deliveries<'a>,
    },
    /// A message of a live subscription.
    Live {
        /// The subscription.
        sub: u32,
        /// The key it was published with, where it says so.
        key: &'a [u8],
        /// What is said of it.
        properties: Properties<'a>,
        /// Its payload.
        payload: &'a [u8],
    },
    /// The server asks for a PONG.
    Ping,
    /// The answer to PING.
    Pong {
        /// Of the PING.
        req: u32,
    },
    /// A subscription was ended by the server.
    Cancel {
        /// The subscription.
        sub: u32,
        /// Why, in a word.
        reason: &'a str,
    },
    /// A message that reached nobody comes back.
    Return {
        /// Which, and why.
        returned: Returned<'a>,
        /// What is said of it.
        properties: Properties<'a>,
        /// Its payload.
        payload: &'a [u8],
    },
    /// Publishing is held back.
    Blocked {
        /// Why, in a word.
        reason: &'a str,
    },
    /// Publishing goes on.
    Unblocked,
    /// One thing of a LIST, before its OK.
    Item {
        /// Of the LINE.
        req: u32,
        /// What it is like, as in the text protocol.
        fields: Fields<'a>,
    },
    /// Something was refused.
    Refused(Refused<'a>),
    /// A frame of a newer server, to be passed over.
    Unknown {
        /// Its first byte.
        number: u8,
    },
}

/// The entries of a CONFIRM.
#[derive(Clone, Debug, PartialEq)]
pub struct Confirms<'a> {
    rest: Body<'a>,
}

impl Iterator for Confirms<'_> {
    type Item = Confirmed;

    fn next(&mut self) -> Option<Confirmed> {
        take_confirmed(&mut self.rest)
    }
}

/// Where a delivery was published, and what is said of it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct More<'a> {
    /// The exchange, or topic; empty if it was published to the queue.
    pub exchange: &'a [u8],
    /// The key.
    pub key: &'a [u8],
    /// The properties.
    pub properties: Properties<'a>,
}

/// A message of a queue.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Delivery<'a> {
    /// What it is settled by, and how often it came.
    pub head: DeliveryHead,
    /// What more is said; without it, it was published straight to the destination of the
    /// subscription, without properties.
    pub more: Option<More<'a>>,
    /// Its payload.
    pub payload: &'a [u8],
}

/// The deliveries of a DELIVER.
#[derive(Clone, Debug, PartialEq)]
pub struct Deliveries<'a> {
    rest: Body<'a>,
}

impl<'a> Iterator for Deliveries<'a> {
    type Item = Delivery<'a>;

    #[inline]
    fn next(&mut self) -> Option<Delivery<'a>> {
        take_delivery(&mut self.rest)
    }
}

/// Decodes the frame at the beginning of `input`. Borrows and allocates nothing.
#[inline]
pub fn decode_reply<'a>(input: &'a [u8], limits: &Limits) -> DecodedReply<'a> {
    let bytes_max = limits.reply_frame_bytes_max;
    let (number, body, consumed) = match take(input, bytes_max) {
        Taken::Whole { number, body, end } => (number, body, end),
        Taken::Partial { wanted } => return DecodedReply::Incomplete { wanted },
        Taken::TooLarge { .. } => {
            return DecodedReply::Malformed { error: ReplyError::TooLarge { bytes_max } };
        }
    };
    let Some(kind) = ReplyKind::of(number) else {
        return DecodedReply::Reply { reply: Reply::Unknown { number }, consumed };
    };
    match decode_body(kind, Body::new(body)) {
        Some(reply) => DecodedReply::Reply { reply, consumed },
        None => DecodedReply::Malformed { error: ReplyError::BadFrame { kind } },
    }
}

#[inline]
fn decode_body(kind: ReplyKind, mut body: Body<'_>) -> Option<Reply<'_>> {
    Some(match kind {
        ReplyKind::Deliver => {
            let sub = body.u32()?;
            let deliveries = checked(body, take_delivery)?;
            Reply::Deliver { sub, deliveries: Deliveries { rest: deliveries } }
        }
        ReplyKind::Live => {
            let sub = body.u32()?;
            Reply::Live { sub, key: &[], properties: Properties::EMPTY, payload: body.rest() }
        }
        ReplyKind::LiveMore => {
            let (sub, key) = (body.u32()?, body.str8()?);
            let properties = Properties::of_server(body.str32()?)?;
            Reply::Live { sub, key, properties, payload: body.rest() }
        }
        ReplyKind::Confirm => Reply::Confirm(Confirms { rest: checked(body, take_confirmed)? }),
        ReplyKind::Ok => {
            let (req, count) = (body.u32()?, body.u32()?);
            Reply::Ok { req, count, fields: Fields::new(body.rest()) }
        }
        ReplyKind::Item => Reply::Item { req: body.u32()?, fields: Fields::new(body.rest()) },
        ReplyKind::Ping if body.is_empty() => Reply::Ping,
        ReplyKind::Unblocked if body.is_empty() => Reply::Unblocked,
        ReplyKind::Ping | ReplyKind::Unblocked => return None,
        ReplyKind::Pong => {
            let req = body.u32()?;
            body.is_empty().then_some(Reply::Pong { req })?
        }
        ReplyKind::Cancel => Reply::Cancel { sub: body.u32()?, reason: text(body.rest())? },
        ReplyKind::Blocked => Reply::Blocked { reason: text(body.rest())? },
        ReplyKind::Return => {
            let (req, index) = (body.u32()?, body.u32()?);
            let (reason, exchange, key) = (text(body.str8()?)?, body.str8()?, body.str8()?);
            let returned = Returned { req, index, reason, exchange, key };
            let properties = Properties::of_server(body.str32()?)?;
            Reply::Return { returned, properties, payload: body.rest() }
        }
        ReplyKind::Refused => Reply::Refused(take_refused(body)?),
    })
}

/// The body again, if it consists of entries to its end.
#[inline]
fn checked<'a, T>(
    body: Body<'a>,
    mut take: impl FnMut(&mut Body<'a>) -> Option<T>,
) -> Option<Body<'a>> {
    let mut rest = body;
    while !rest.is_empty() {
        take(&mut rest)?;
    }
    Some(body)
}

fn text(bytes: &[u8]) -> Option<&str> {
    std::str::from_utf8(bytes).ok()
}

fn take_confirmed(rest: &mut Body<'_>) -> Option<Confirmed> {
    Some(Confirmed {
        req: rest.u32()?,
        index: rest.u32()?,
        count: rest.u32()?,
        level: match rest.u8()? {
            0 => Confirm::Committed,
            1 => Confirm::Written,
            2 => Confirm::Memory,
            _ => return None,
        },
        queues: rest.u32()?,
        id: Some(rest.id()?).filter(|id| id.shard != 0 || id.seq != 0),
    })
}

#[inline]
fn take_delivery<'a>(rest: &mut Body<'a>) -> Option<Delivery<'a>> {
    let flags = rest.u8()?;
    let handle = handle(rest.array::<HANDLE_BYTES>()?);
    let head =
        DeliveryHead { handle, attempt: rest.u16()?, is_suspect: flags & flag::SUSPECT != 0 };
    let more = if flags & flag::MORE == 0 {
        None
    } else {
        let (exchange, key) = (rest.str8()?, rest.str8()?);
        Some(More { exchange, key, properties: Properties::of_server(rest.str32()?)? })
    };
    Some(Delivery { head, more, payload: rest.str32()? })
}

fn take_refused(mut body: Body<'_>) -> Option<Refused<'_>> {
    let (req, index, count, number) = (body.u32()?, body.u32()?, body.u32()?, body.u16()?);
    let closes = match body.u8()? {
        0 => Closes::Nothing,
        1 => Closes::Session,
        2 => Closes::Connection,
        _ => return None,
    };
    let retry = match body.u8()? {
        0 => Retry::Never,
        1 => Retry::Changed,
        2 => Retry::Later,
        _ => return None,
    };
    let name = text(body.str8()?)?;
    let sentence = text(body.rest())?;
    Some(Refused { req, index, count, number, closes, retry, name, sentence })
}
