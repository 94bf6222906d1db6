//! Bytes to commands.
//!
//! Take the frame; find the command; take its `req`; then its fields in their order, then what
//! excludes what. Only a length above the limit loses the framing: behind everything else that can
//! be wrong the next frame begins.

use super::body::Body;
use super::command::{
    Command, Decoded, Destination, Get, Handles, Messages, Publish, PublishHead, Settle, Subscribe,
    Verdict,
};
use super::error::WireError;
use super::frame::{Taken, take};
use super::kind::CommandKind;
use super::properties::Properties;
use crate::limits::{BATCH_MAX, Limits, MS_MAX};
use crate::text::{self, Confirm, DestinationKind, Key, Verb};

/// The version of the protocol that CONNECT names.
pub(super) const VERSION: u8 = 1;
/// Most messages of one GET.
const GET_MAX: u16 = 1024;

/// The bits of flags, by command.
pub(super) mod flag {
    pub(in crate::binary) const TRANSIENT: u8 = 0x01;
    pub(in crate::binary) const MANDATORY: u8 = 0x02;
    pub(in crate::binary) const WRITTEN: u8 = 0x04;
    pub(in crate::binary) const MEMORY: u8 = 0x08;
    pub(in crate::binary) const PROPERTIES: u8 = 0x10;
    pub(in crate::binary) const PUBLISH: u8 = 0x1f;

    pub(in crate::binary) const AUTO: u8 = 0x01;
    pub(in crate::binary) const LIVE: u8 = 0x02;
    pub(in crate::binary) const CREDIT: u8 = 0x04;
    pub(in crate::binary) const SUBSCRIBE: u8 = 0x07;
    pub(in crate::binary) const GET: u8 = AUTO;

    pub(in crate::binary) const SYNCED: u8 = 0x01;
    pub(in crate::binary) const UPTO: u8 = 0x02;
    pub(in crate::binary) const SETTLE: u8 = 0x03;
}

/// Decodes the command at the beginning of `input`. Borrows, allocates nothing, reads no further
/// than one frame. Empty input is [`Decoded::Incomplete`].
#[inline]
pub fn decode<'a>(input: &'a [u8], limits: &Limits) -> Decoded<'a> {
    let bytes_max = limits.frame_bytes_max;
    let (number, body, consumed) = match take(input, bytes_max) {
        Taken::Whole { number, body, end } => (number, body, end),
        Taken::Partial { wanted } => return Decoded::Incomplete { wanted },
        Taken::TooLarge { bytes } => {
            let error = WireError::FrameTooLarge { bytes, bytes_max };
            return Decoded::Refused { error, req: 0, consumed: None };
        }
    };
    let mut fields = Fields { command: CommandKind::Pong, body: Body::new(body) };
    let req = fields.body.u32();
    let decoded = match (CommandKind::of(number), req) {
        (None, _) => Err(WireError::UnknownCommand { number }),
        (Some(CommandKind::Pong), _) if body.is_empty() => Ok(Command::Pong),
        (Some(command @ CommandKind::Pong), _) => Err(WireError::TooLong { command }),
        (Some(command), None) => Err(WireError::TooShort { command }),
        (Some(command), Some(_)) => {
            fields.command = command;
            fields.command(limits)
        }
    };
    let req = req.unwrap_or_default();
    match decoded {
        Ok(command) => Decoded::Command { req, command, consumed },
        Err(error) => Decoded::Refused { error, req, consumed: Some(consumed) },
    }
}

/// The fields of one command, behind its `req`.
struct Fields<'a> {
    command: CommandKind,
    body: Body<'a>,
}

impl<'a> Fields<'a> {
    #[inline]
    fn command(mut self, limits: &Limits) -> Result<Command<'a>, WireError> {
        match self.command {
            CommandKind::Publish => self.publish(limits).map(Command::Publish),
            CommandKind::Settle => self.settle().map(Command::Settle),
            CommandKind::Subscribe => self.subscribe().map(Command::Subscribe),
            CommandKind::Credit => self.credit(),
            CommandKind::Get => self.get().map(Command::Get),
            CommandKind::Line => self.line(limits),
            CommandKind::Connect => match self.u8()? {
                VERSION => Ok(Command::Connect { json: self.body.rest() }),
                version => Err(WireError::Version { version }),
            },
            CommandKind::Unsubscribe => {
                let sub = self.sub()?;
                self.end(Command::Unsubscribe { sub })
            }
            CommandKind::Ping => self.end(Command::Ping),
            CommandKind::Pong => self.end(Command::Pong),
            CommandKind::Quit => self.end(Command::Quit),
        }
    }

    #[inline]
    fn publish(&mut self, limits: &Limits) -> Result<Publish<'a>, WireError> {
        let flags = self.flags(flag::PUBLISH)?;
        let destination = self.destination()?;
        let confirm = match flags & (flag::WRITTEN | flag::MEMORY) {
            0 => Confirm::Committed,
            flag::WRITTEN => Confirm::Written,
            flag::MEMORY => Confirm::Memory,
            _ => return self.conflict("confirm at level written", "confirm at level memory"),
        };
        let has_properties = flags & flag::PROPERTIES != 0;
        let messages = self.messages(has_properties, limits)?;
        let head = PublishHead {
            destination,
            is_transient: flags & flag::TRANSIENT != 0,
            is_mandatory: flags & flag::MANDATORY != 0,
            confirm,
            has_properties,
        };
        Ok(Publish { head, messages })
    }

    /// Checks the messages to the end of the body.
    #[inline]
    fn messages(&self, has_properties: bool, limits: &Limits) -> Result<Messages<'a>, WireError> {
        let command = self.command;
        let (mut rest, mut count) = (self.body, 0usize);
        while !rest.is_empty() {
            if has_properties {
                let properties = rest.str16().ok_or(WireError::TooShort { command })?;
                Properties::of_client(properties, limits)?;
            }
            let payload = rest.str32().ok_or(WireError::TooShort { command })?;
            if payload.len() > limits.body_bytes_max {
                let (bytes, bytes_max) = (payload.len(), limits.body_bytes_max);
                return Err(WireError::PayloadTooLarge { bytes, bytes_max });
            }
            count += 1;
        }
        match count {
            0 => return Err(WireError::Empty { command, what: "message" }),
            1..=BATCH_MAX => {}
            _ => return Err(WireError::TooMany { command, what: "message", most: BATCH_MAX }),
        }
        Ok(Messages::new(self.body, count, has_properties))
    }

    #[inline]
    fn settle(&mut self) -> Result<Settle<'a>, WireError> {
        let (verdict, flags) = (self.u8()?, self.flags(flag::SETTLE)?);
        let milliseconds = self.milliseconds("ms")?;
        let (is_synced, is_upto) = (flags & flag::SYNCED != 0, flags & flag::UPTO != 0);
        let verdict = match verdict {
            1 => Verdict::Ack,
            2 => Verdict::Nack,
            3 => Verdict::Reject,
            4 if is_synced => return self.conflict("extend", "a reply when it is on disk"),
            4 => Verdict::Extend { milliseconds },
            _ => return self.bad_number("verdict", u64::from(verdict)),
        };
        if milliseconds.is_some() && !matches!(verdict, Verdict::Extend { .. }) {
            return self.conflict("ms", "another verdict than extend");
        }
        if is_upto && verdict != Verdict::Ack {
            return self.conflict("all earlier ones", "another verdict than ack");
        }
        let command = self.command;
        match self.body.rest().as_chunks() {
            ([], []) => Err(WireError::Empty { command, what: "handle" }),
            (handles, []) if handles.len() > BATCH_MAX => {
                Err(WireError::TooMany { command, what: "handle", most: BATCH_MAX })
            }
            (handles, []) => {
                Ok(Settle { verdict, is_synced, is_upto, handles: Handles::new(handles) })
            }
            _ => Err(WireError::TooShort { command }),
        }
    }

    fn subscribe(&mut self) -> Result<Subscribe<'a>, WireError> {
        let (sub, flags) = (self.sub()?, self.flags(flag::SUBSCRIBE)?);
        let destination = self.destination()?;
        let subscriber = self.str8()?;
        let (messages, bytes) = (self.u32()?, self.u64()?);
        let visibility = self.milliseconds("visibility")?;
        let (is_auto, is_live) = (flags & flag::AUTO != 0, flags & flag::LIVE != 0);
        let credit = (flags & flag::CREDIT != 0).then_some(messages);
        let credit_bytes = (bytes != 0).then_some(bytes);
        if credit.is_none() && messages != 0 {
            return self.conflict("credit", "flags without 0x04");
        }
        let is_queue = destination.kind == DestinationKind::Queue;
        for (excluded, what, other) in [
            (is_live && !subscriber.is_empty(), "a subscriber", "live"),
            (is_live && is_auto, "settling as it is sent", "live"),
            (is_live && visibility.is_some(), "visibility", "live"),
            (is_live && credit.is_some(), "credit", "live"),
            (is_live && credit_bytes.is_some(), "credit bytes", "live"),
            (is_queue && is_live, "live", "a queue"),
            (is_queue && !subscriber.is_empty(), "a subscriber", "a queue"),
        ] {
            if excluded {
                return self.conflict(what, other);
            }
        }
        self.end(Subscribe {
            sub,
            is_auto,
            is_live,
            destination,
            subscriber,
            credit,
            credit_bytes,
            visibility,
        })
    }

    fn credit(&mut self) -> Result<Command<'a>, WireError> {
        let (sub, messages, bytes) = (self.u32()?, self.u32()?, self.u64()?);
        if sub != 0 && bytes != 0 {
            return self.conflict("bytes", "a subscription");
        }
        if sub != 0 && messages == 0 {
            return self.bad_number("messages", 0);
        }
        self.end(Command::Credit { sub, messages, bytes })
    }

    fn get(&mut self) -> Result<Get<'a>, WireError> {
        let (flags, count) = (self.flags(flag::GET)?, self.u16()?);
        if count == 0 || count > GET_MAX {
            return self.bad_number("count", u64::from(count));
        }
        let destination = self.destination()?;
        self.end(Get { is_auto: flags & flag::AUTO != 0, count, destination })
    }

    fn line(&mut self, limits: &Limits) -> Result<Command<'a>, WireError> {
        let (verb, words) = text::split_verb(self.body.rest(), limits).map_err(WireError::Line)?;
        match verb {
            Verb::Declare
            | Verb::Delete
            | Verb::Bind
            | Verb::Unbind
            | Verb::Purge
            | Verb::List
            | Verb::Stats => {}
            _ => return Err(WireError::NotCarried { verb }),
        }
        let command = text::decode_rest(verb, words, limits).map_err(WireError::Line)?;
        if command.options().get(Key::Req).is_some() {
            return self.conflict("req: on the line", "a frame that has one");
        }
        Ok(Command::Line { command })
    }

    #[inline]
    fn destination(&mut self) -> Result<Destination<'a>, WireError> {
        let kind = match self.u8()? {
            1 => DestinationKind::Queue,
            2 => DestinationKind::Topic,
            3 => DestinationKind::Exchange,
            kind => return self.bad_number("kind", u64::from(kind)),
        };
        let (raw_name, key) = (self.str8()?, self.str8()?);
        if kind == DestinationKind::Queue && !key.is_empty() {
            return self.conflict("a key", "a queue");
        }
        Ok(Destination { kind, raw_name, key })
    }

    /// A subscription's number.
    fn sub(&mut self) -> Result<u32, WireError> {
        match self.u32()? {
            0 => self.bad_number("sub", 0),
            sub => Ok(sub),
        }
    }

    #[inline]
    fn flags(&mut self, known: u8) -> Result<u8, WireError> {
        let (flags, command) = (self.u8()?, self.command);
        match flags & !known {
            0 => Ok(flags),
            flags => Err(WireError::UnknownFlags { command, flags }),
        }
    }

    /// A time; `None` is 0.
    #[inline]
    fn milliseconds(&mut self, field: &'static str) -> Result<Option<u64>, WireError> {
        match self.u64()? {
            0 => Ok(None),
            milliseconds @ 1..=MS_MAX => Ok(Some(milliseconds)),
            value => self.bad_number(field, value),
        }
    }

    #[inline]
    fn u8(&mut self) -> Result<u8, WireError> {
        self.body.u8().ok_or(self.short())
    }

    fn u16(&mut self) -> Result<u16, WireError> {
        self.body.u16().ok_or(self.short())
    }

    #[inline]
    fn u32(&mut self) -> Result<u32, WireError> {
        self.body.u32().ok_or(self.short())
    }

    #[inline]
    fn u64(&mut self) -> Result<u64, WireError> {
        self.body.u64().ok_or(self.short())
    }

    #[inline]
    fn str8(&mut self) -> Result<&'a [u8], WireError> {
        self.body.str8().ok_or(self.short())
    }

    #[inline]
    fn short(&self) -> WireError {
        WireError::TooShort { command: self.command }
    }

    /// What was decoded, if nothing stands behind it.
    fn end<T>(&self, whole: T) -> Result<T, WireError> {
        let command = self.command;
        if self.body.is_empty() { Ok(whole) } else { Err(WireError::TooLong { command }) }
    }

    fn bad_number<T>(&self, field: &'static str, value: u64) -> Result<T, WireError> {
        Err(WireError::BadNumber { command: self.command, field, value })
    }

    fn conflict<T>(&self, what: &'static str, other: &'static str) -> Result<T, WireError> {
        Err(WireError::Conflict { command: self.command, what, other })
    }
}
