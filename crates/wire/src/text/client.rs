//! The client's side: bytes that a server sent to replies.
//!
//! A field that a client does not know is no error: a newer server may send more of them.

use super::destination::Destination;
use super::frame::{TakenBody, TakenLine, take_body, take_line};
use super::options::{Headers, next_word, split_at_colon, trim_spaces, words};
use crate::decimal;
use crate::escape::Text;
use crate::excerpt::Excerpt;
use crate::id::{Handle, MessageId};
use crate::limits::Limits;

/// What the beginning of some input is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum DecodedReply<'a> {
    /// A whole reply, body included.
    Reply {
        /// The reply.
        reply: Reply<'a>,
        /// The bytes it took; never more than were given.
        consumed: usize,
    },
    /// An empty line.
    Blank {
        /// The bytes it took.
        consumed: usize,
    },
    /// More bytes are needed; `wanted` in all, or zero if that is not known.
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
    /// No line end within the limit.
    #[error("the server's line is longer than {bytes_max} bytes")]
    LineTooLong {
        /// The limit.
        bytes_max: usize,
    },
    /// The first word is none of the protocol.
    #[error("the server sent \"{word}\", which is no reply")]
    UnknownReply {
        /// What stands there.
        word: Excerpt,
    },
    /// ERR without number, name or sentence.
    #[error("the server sent an ERR without number and name")]
    BadErr,
    /// MSG without a destination, or MSG or RETURN without a size at its end.
    #[error("the server sent a message without destination and size")]
    BadMsg,
    /// A body that is larger than the limit.
    #[error("the server sent a body of more than {bytes_max} bytes")]
    BodyTooLarge {
        /// The limit.
        bytes_max: usize,
    },
    /// A body without a line end after it.
    #[error("the server sent a body that is not followed by a line end")]
    BodyUnterminated,
}

/// What a server sends.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Reply<'a> {
    /// The command was carried out.
    Ok {
        /// `req`, `msg_id`, `level`, `queues` and others.
        fields: Fields<'a>,
    },
    /// The command was refused.
    Err {
        /// The stable number.
        number: u32,
        /// The stable name.
        name: &'a [u8],
        /// `req`, `verb`, `ordinal`.
        fields: Fields<'a>,
        /// The sentence, for people.
        sentence: &'a [u8],
    },
    /// A message.
    Msg {
        /// What was subscribed to or got from.
        destination: Destination<'a>,
        /// `sub_id`, `msg_id` and others.
        fields: Fields<'a>,
        /// The body.
        body: &'a [u8],
    },
    /// The server asks for a PONG.
    Ping,
    /// The answer to PING.
    Pong {
        /// `req`.
        fields: Fields<'a>,
    },
    /// A subscription was ended by the server.
    Cancel {
        /// `sub_id` and `reason`.
        fields: Fields<'a>,
    },
    /// A message that reached nobody comes back, before the OK of its PUB.
    Return {
        /// `exchange`, `key`, `reason`, `req`.
        fields: Fields<'a>,
        /// The body.
        body: &'a [u8],
    },
    /// One thing of a LIST, before its OK.
    Item {
        /// What it is like.
        fields: Fields<'a>,
    },
    /// Publishing is held back.
    Blocked {
        /// `reason`.
        fields: Fields<'a>,
    },
    /// Publishing goes on.
    Unblocked {
        /// None yet.
        fields: Fields<'a>,
    },
}

/// The `key:value` words of a reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fields<'a> {
    raw: &'a [u8],
}

impl<'a> Fields<'a> {
    /// What a frame of another protocol carries.
    pub(crate) fn new(raw: &'a [u8]) -> Self {
        Self { raw }
    }

    /// As they were sent.
    pub fn raw(&self) -> &'a [u8] {
        self.raw
    }

    /// Each field, in order; words that are no field are passed over.
    pub fn iter(&self) -> impl Iterator<Item = (&'a [u8], Text<'a>)> + use<'a> {
        words(self.raw).filter_map(split_at_colon).map(|(key, value)| (key, Text::new(value)))
    }

    /// The first value of `key`.
    pub fn get(&self, key: &str) -> Option<Text<'a>> {
        self.iter().find(|(name, _)| *name == key.as_bytes()).map(|(_, value)| value)
    }

    /// The first value of `key`, if it is a decimal number.
    pub fn number(&self, key: &str) -> Option<u64> {
        decimal::parse(self.get(key)?.raw()).ok()
    }

    /// The handle in `msg_id` of a MSG.
    pub fn handle(&self) -> Option<Handle> {
        Handle::parse(self.get("msg_id")?.raw()).ok()
    }

    /// The message id in `msg_id` of the OK that answers a PUB.
    pub fn msg_id(&self) -> Option<MessageId> {
        MessageId::parse(self.get("msg_id")?.raw()).ok()
    }

    /// The headers, in order.
    pub fn headers(&self) -> Headers<'a> {
        Headers::of(self.raw)
    }
}

/// Decodes the reply at the beginning of `input`. Borrows and allocates nothing.
pub fn decode_reply<'a>(input: &'a [u8], limits: &Limits) -> DecodedReply<'a> {
    let bytes_max = limits.reply_line_bytes_max;
    let (line, end) = match take_line(input, bytes_max) {
        TakenLine::Whole { line, end } => (line, end),
        TakenLine::Partial => return DecodedReply::Incomplete { wanted: 0 },
        TakenLine::TooLong => {
            return DecodedReply::Malformed { error: ReplyError::LineTooLong { bytes_max } };
        }
    };
    let mut rest = line;
    let Some(word) = next_word(&mut rest) else {
        return DecodedReply::Blank { consumed: end };
    };
    let fields = Fields { raw: rest };
    let reply = match word {
        b"MSG" => {
            return match parse_msg(rest) {
                Some((destination, fields, size)) => {
                    let whole = |body| Reply::Msg { destination, fields, body };
                    decode_body(input, (end, size), limits, whole)
                }
                None => DecodedReply::Malformed { error: ReplyError::BadMsg },
            };
        }
        b"RETURN" => {
            return match split_size(rest) {
                Some((fields, size)) => {
                    decode_body(input, (end, size), limits, |body| Reply::Return { fields, body })
                }
                None => DecodedReply::Malformed { error: ReplyError::BadMsg },
            };
        }
        b"OK" => Reply::Ok { fields },
        b"ERR" => match parse_err(rest) {
            Some(reply) => reply,
            None => return DecodedReply::Malformed { error: ReplyError::BadErr },
        },
        b"PING" => Reply::Ping,
        b"PONG" => Reply::Pong { fields },
        b"CANCEL" => Reply::Cancel { fields },
        b"ITEM" => Reply::Item { fields },
        b"BLOCKED" => Reply::Blocked { fields },
        b"UNBLOCKED" => Reply::Unblocked { fields },
        _ => {
            let error = ReplyError::UnknownReply { word: Excerpt::from(word) };
            return DecodedReply::Malformed { error };
        }
    };
    DecodedReply::Reply { reply, consumed: end }
}

/// The reply that a line and the body of `size` bytes behind it make.
fn decode_body<'a>(
    input: &'a [u8],
    (start, size): (usize, u64),
    limits: &Limits,
    whole: impl FnOnce(&'a [u8]) -> Reply<'a>,
) -> DecodedReply<'a> {
    let bytes_max = limits.body_bytes_max;
    let size = match usize::try_from(size) {
        Ok(size) if size <= bytes_max => size,
        _ => return DecodedReply::Malformed { error: ReplyError::BodyTooLarge { bytes_max } },
    };
    match take_body(input, start, size) {
        TakenBody::Whole { body, end } => DecodedReply::Reply { reply: whole(body), consumed: end },
        TakenBody::Partial { wanted } => DecodedReply::Incomplete { wanted },
        TakenBody::Unterminated => DecodedReply::Malformed { error: ReplyError::BodyUnterminated },
    }
}

/// Destination, fields, size.
fn parse_msg(words: &[u8]) -> Option<(Destination<'_>, Fields<'_>, u64)> {
    let mut rest = trim_spaces(words);
    let destination = Destination::parse(next_word(&mut rest)?)?;
    let (fields, size) = split_size(rest)?;
    Some((destination, fields, size))
}

/// Fields, size.
fn split_size(words: &[u8]) -> Option<(Fields<'_>, u64)> {
    let (fields, size) = words.split_at_checked(memchr::memrchr(b' ', words)? + 1)?;
    Some((Fields { raw: fields }, decimal::parse(size).ok()?))
}

/// Number, name, then the three known fields in their order, then the sentence.
fn parse_err(words: &[u8]) -> Option<Reply<'_>> {
    let mut rest = trim_spaces(words);
    let number = u32::try_from(decimal::parse(next_word(&mut rest)?).ok()?).ok()?;
    let name = next_word(&mut rest)?;
    let after_name = rest;
    for key in [&b"req:"[..], b"verb:", b"ordinal:"] {
        let mut after = rest;
        if next_word(&mut after).is_some_and(|word| word.starts_with(key)) {
            rest = after;
        }
    }
    let fields = after_name.get(..after_name.len() - rest.len())?;
    Some(Reply::Err { number, name, fields: Fields { raw: fields }, sentence: trim_spaces(rest) })
}
