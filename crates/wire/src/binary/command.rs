//! Commands as they were read: borrowed from the input, checked to their last byte.

use super::body::{Body, HANDLE_BYTES, handle};
use super::error::WireError;
use super::properties::Properties;
use crate::escape::{NameError, validate_name};
use crate::id::Handle;
use crate::text::{self, Confirm, DestinationKind};

/// What the beginning of some input is.
#[derive(Clone, Debug, PartialEq)]
pub enum Decoded<'a> {
    /// A whole command.
    Command {
        /// The client's number for it; 0 asks for no reply.
        req: u32,
        /// The command.
        command: Command<'a>,
        /// The bytes it took; never more than were given.
        consumed: usize,
    },
    /// More bytes are needed.
    Incomplete {
        /// The bytes needed in all, those given included: the head of a frame, or the frame. It is
        /// below the limits, but it is the client's word: let a buffer grow as bytes arrive.
        wanted: usize,
    },
    /// Not a command that can be carried out.
    Refused {
        /// What is wrong.
        error: WireError,
        /// The client's number for it; 0 if that has not arrived.
        req: u32,
        /// The bytes to skip, after which the next command begins; `None` where that is too far
        /// away and the connection has to close.
        consumed: Option<usize>,
    },
}

/// A command.
#[derive(Clone, Debug, PartialEq)]
pub enum Command<'a> {
    /// CONNECT
    Connect {
        /// The JSON object, not yet parsed (see [`text::Login::parse`]); empty if there is none.
        json: &'a [u8],
    },
    /// PUBLISH
    Publish(Publish<'a>),
    /// SUBSCRIBE
    Subscribe(Subscribe<'a>),
    /// UNSUBSCRIBE
    Unsubscribe {
        /// The subscription, from 1.
        sub: u32,
    },
    /// CREDIT
    Credit {
        /// The subscription; 0 is the session.
        sub: u32,
        /// Messages to add to the subscription's credit, at least one; or those that may be open in
        /// the session, 0 for no limit.
        messages: u32,
        /// Bytes that may be open in the session, 0 for no limit.
        bytes: u64,
    },
    /// SETTLE
    Settle(Settle<'a>),
    /// GET
    Get(Get<'a>),
    /// LINE
    Line {
        /// DECLARE, DELETE, BIND, UNBIND, PURGE, LIST or STATS, without `req:`.
        command: text::Command<'a>,
    },
    /// PING
    Ping,
    /// PONG, the answer to the server's PING; has no reply.
    Pong,
    /// QUIT
    Quit,
}

/// Where a command points.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Destination<'a> {
    /// What it names; no namespace.
    pub kind: DestinationKind,
    /// The name, not yet looked at: see [`Destination::name`]. At most 255 bytes.
    pub raw_name: &'a [u8],
    /// The key: of a message that is published, or of the binding that a subscription makes. At
    /// most 255 bytes, none for a queue.
    pub key: &'a [u8],
}

impl<'a> Destination<'a> {
    /// The name, if it is valid.
    pub fn name(&self) -> Result<&'a str, NameError> {
        validate_name(self.raw_name)
    }
}

/// What all messages of a PUBLISH have in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(clippy::struct_excessive_bools, reason = "they are flags of the frame")]
pub struct PublishHead<'a> {
    /// Where to.
    pub destination: Destination<'a>,
    /// Not kept in the log.
    pub is_transient: bool,
    /// Those that reach nobody come back.
    pub is_mandatory: bool,
    /// The level at which they are confirmed.
    pub confirm: Confirm,
    /// Whether each message has properties, if only an empty row of them.
    pub has_properties: bool,
}

/// Messages to publish.
#[derive(Clone, Debug, PartialEq)]
pub struct Publish<'a> {
    /// What they have in common.
    pub head: PublishHead<'a>,
    /// The messages, at least one.
    pub messages: Messages<'a>,
}

/// One message of a PUBLISH.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Message<'a> {
    /// What is said of it.
    pub properties: Properties<'a>,
    /// Its payload.
    pub payload: &'a [u8],
}

/// The messages of a PUBLISH, in their order; checked when the frame was decoded.
#[derive(Clone, Debug, PartialEq)]
pub struct Messages<'a> {
    rest: Body<'a>,
    left: usize,
    has_properties: bool,
}

impl<'a> Messages<'a> {
    /// What was checked to be `left` messages.
    #[inline]
    pub(super) fn new(rest: Body<'a>, left: usize, has_properties: bool) -> Self {
        Self { rest, left, has_properties }
    }
}

impl<'a> Iterator for Messages<'a> {
    type Item = Message<'a>;

    #[inline]
    fn next(&mut self) -> Option<Message<'a>> {
        let properties = if self.has_properties {
            Properties::checked(self.rest.str16()?)
        } else {
            Properties::EMPTY
        };
        let payload = self.rest.str32()?;
        self.left = self.left.saturating_sub(1);
        Some(Message { properties, payload })
    }

    #[inline]
    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
    }
}

impl ExactSizeIterator for Messages<'_> {}

/// A subscription to make.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Subscribe<'a> {
    /// The client's number for it, from 1.
    pub sub: u32,
    /// Settle each message as it is sent.
    pub is_auto: bool,
    /// Straight to the connection, at most once.
    pub is_live: bool,
    /// What to subscribe to; its key is that of the binding.
    pub destination: Destination<'a>,
    /// The durable subscriber, its name not yet looked at; empty for a queue of the session's own.
    pub subscriber: &'a [u8],
    /// Messages that may be open at once; `None` is the server's default.
    pub credit: Option<u32>,
    /// The same in bytes of their payloads; `None` is without limit.
    pub credit_bytes: Option<u64>,
    /// Milliseconds that a delivery may stay open; `None` is the queue's own.
    pub visibility: Option<u64>,
}

/// What becomes of deliveries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Done with.
    Ack,
    /// Not done: back to its old place.
    Nack,
    /// Never to be done.
    Reject,
    /// Still at it.
    Extend {
        /// For so many milliseconds from now; `None` is the queue's own visibility.
        milliseconds: Option<u64>,
    },
}

/// Deliveries to settle or extend.
#[derive(Clone, Debug, PartialEq)]
pub struct Settle<'a> {
    /// What becomes of them.
    pub verdict: Verdict,
    /// The reply comes when it is on disk; not of extend.
    pub is_synced: bool,
    /// Each handle stands for all earlier ones of its subscription too; of ack only.
    pub is_upto: bool,
    /// The deliveries, at least one.
    pub handles: Handles<'a>,
}

/// The deliveries of a SETTLE, in their order.
#[derive(Clone, Debug, PartialEq)]
pub struct Handles<'a> {
    rest: &'a [[u8; HANDLE_BYTES]],
}

impl<'a> Handles<'a> {
    #[inline]
    pub(super) fn new(rest: &'a [[u8; HANDLE_BYTES]]) -> Self {
        Self { rest }
    }
}

impl Iterator for Handles<'_> {
    type Item = Handle;

    #[inline]
    fn next(&mut self) -> Option<Handle> {
        let (first, rest) = self.rest.split_first()?;
        self.rest = rest;
        Some(handle(first))
    }

    #[inline]
    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.rest.len(), Some(self.rest.len()))
    }
}

impl ExactSizeIterator for Handles<'_> {}

/// Messages to take that are ready now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Get<'a> {
    /// Settle each as it is sent.
    pub is_auto: bool,
    /// At most so many: 1 to 1,024.
    pub count: u16,
    /// The queue. A door refuses what is none.
    pub destination: Destination<'a>,
}
