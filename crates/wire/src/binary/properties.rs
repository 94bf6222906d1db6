//! What is said of a message beside its payload: a row of tags, lengths and values.
//!
//! A server checks each property of a client when it decodes the frame, and refuses what it does
//! not know. A client checks that they fit into each other and passes over what it does not know,
//! since a newer server may say more. Both iterate without errors afterwards.

use std::fmt;

use super::body::{Body, push_str16, push_str32};
use super::error::WireError;
use crate::limits::{Limits, MS_MAX};

/// The tags of properties.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs)]
#[repr(u8)]
pub enum Tag {
    ContentType = 1,
    ContentEncoding,
    Header,
    CorrelationId,
    ReplyTo,
    Timestamp,
    AppId,
    UserId,
    TimeToLive,
}

impl Tag {
    /// All of them, in the order of their numbers.
    pub const ALL: [Self; 9] = [
        Self::ContentType,
        Self::ContentEncoding,
        Self::Header,
        Self::CorrelationId,
        Self::ReplyTo,
        Self::Timestamp,
        Self::AppId,
        Self::UserId,
        Self::TimeToLive,
    ];

    /// The byte before its value.
    pub const fn number(self) -> u8 {
        self as u8
    }

    /// Its name in the specification.
    pub const fn name(self) -> &'static str {
        match self {
            Self::ContentType => "content type",
            Self::ContentEncoding => "content encoding",
            Self::Header => "header",
            Self::CorrelationId => "correlation id",
            Self::ReplyTo => "reply to",
            Self::Timestamp => "timestamp",
            Self::AppId => "app id",
            Self::UserId => "user id",
            Self::TimeToLive => "time to live",
        }
    }

    /// The one with that number.
    pub fn of(number: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|tag| tag.number() == number)
    }
}

impl fmt::Display for Tag {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

/// The value of a header.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Value<'a> {
    /// There without a value.
    Null,
    /// A truth value.
    Bool(bool),
    /// A whole number.
    Int(i64),
    /// A floating point number.
    Float(f64),
    /// Text.
    Text(&'a str),
    /// Bytes.
    Bytes(&'a [u8]),
    /// Milliseconds since 1970.
    Time(u64),
}

/// A header: its name may occur again, and the order is kept.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Header<'a> {
    /// 1 to 65,535 bytes.
    pub name: &'a str,
    /// Its value.
    pub value: Value<'a>,
}

/// One property.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Property<'a> {
    /// MIME type of the payload.
    ContentType(&'a str),
    /// Encoding of the payload.
    ContentEncoding(&'a str),
    /// A header.
    Header(Header<'a>),
    /// Matches a reply to its request.
    CorrelationId(&'a [u8]),
    /// Where a reply should go.
    ReplyTo(&'a str),
    /// The publisher's own time, milliseconds since 1970.
    Timestamp(u64),
    /// The publishing application.
    AppId(&'a str),
    /// The publishing user; from the server only.
    UserId(&'a str),
    /// How long the message may wait, in milliseconds; from the client only.
    TimeToLive(u64),
}

impl<'a> Property<'a> {
    /// Its tag.
    pub fn tag(&self) -> Tag {
        match self {
            Self::ContentType(_) => Tag::ContentType,
            Self::ContentEncoding(_) => Tag::ContentEncoding,
            Self::Header(_) => Tag::Header,
            Self::CorrelationId(_) => Tag::CorrelationId,
            Self::ReplyTo(_) => Tag::ReplyTo,
            Self::Timestamp(_) => Tag::Timestamp,
            Self::AppId(_) => Tag::AppId,
            Self::UserId(_) => Tag::UserId,
            Self::TimeToLive(_) => Tag::TimeToLive,
        }
    }

    /// Appends it.
    pub fn write(&self, out: &mut Vec<u8>) {
        out.push(self.tag().number());
        push_str32(out, |out| match self {
            Self::ContentType(text)
            | Self::ContentEncoding(text)
            | Self::ReplyTo(text)
            | Self::AppId(text)
            | Self::UserId(text) => out.extend_from_slice(text.as_bytes()),
            Self::CorrelationId(bytes) => out.extend_from_slice(bytes),
            Self::Timestamp(number) | Self::TimeToLive(number) => {
                out.extend_from_slice(&number.to_be_bytes());
            }
            Self::Header(header) => header.write(out),
        });
    }

    /// Reads the value that stands behind a tag.
    fn parse(tag: Tag, value: &'a [u8]) -> Result<Self, WireError> {
        let text = || std::str::from_utf8(value).map_err(|_| WireError::NotUtf8 { tag });
        let number = || match value.try_into() {
            Ok(bytes) => Ok(u64::from_be_bytes(bytes)),
            Err(_) => Err(WireError::BadProperty { tag }),
        };
        Ok(match tag {
            Tag::ContentType => Self::ContentType(text()?),
            Tag::ContentEncoding => Self::ContentEncoding(text()?),
            Tag::Header => Self::Header(Header::parse(value)?),
            Tag::CorrelationId => Self::CorrelationId(value),
            Tag::ReplyTo => Self::ReplyTo(text()?),
            Tag::Timestamp => Self::Timestamp(number()?),
            Tag::AppId => Self::AppId(text()?),
            Tag::UserId => Self::UserId(text()?),
            Tag::TimeToLive => match number()? {
                milliseconds @ 1..=MS_MAX => Self::TimeToLive(milliseconds),
                _ => return Err(WireError::BadProperty { tag }),
            },
        })
    }
}

impl<'a> Header<'a> {
    fn write(&self, out: &mut Vec<u8>) {
        push_str16(out, self.name.as_bytes());
        match self.value {
            Value::Null => out.push(0),
            Value::Bool(value) => out.extend_from_slice(&[1, u8::from(value)]),
            Value::Int(value) => push_typed(out, 2, &value.to_be_bytes()),
            Value::Float(value) => push_typed(out, 3, &value.to_be_bytes()),
            Value::Text(value) => push_typed(out, 4, value.as_bytes()),
            Value::Bytes(value) => push_typed(out, 5, value),
            Value::Time(value) => push_typed(out, 6, &value.to_be_bytes()),
        }
    }

    fn parse(bytes: &'a [u8]) -> Result<Self, WireError> {
        let tag = Tag::Header;
        let bad = WireError::BadProperty { tag };
        let text = |bytes| std::str::from_utf8(bytes).map_err(|_| WireError::NotUtf8 { tag });
        let mut body = Body::new(bytes);
        let name = body.str16().filter(|name| !name.is_empty()).ok_or(bad)?;
        let form = body.u8().ok_or(bad)?;
        let value = body.rest();
        let eight = || <[u8; 8]>::try_from(value).map_err(|_| bad);
        let value = match (form, value) {
            (0, []) => Value::Null,
            (1, [0]) => Value::Bool(false),
            (1, [1]) => Value::Bool(true),
            (2, _) => Value::Int(i64::from_be_bytes(eight()?)),
            (3, _) => Value::Float(f64::from_be_bytes(eight()?)),
            (4, _) => Value::Text(text(value)?),
            (5, _) => Value::Bytes(value),
            (6, _) => Value::Time(u64::from_be_bytes(eight()?)),
            _ => return Err(bad),
        };
        Ok(Self { name: text(name)?, value })
    }
}

fn push_typed(out: &mut Vec<u8>, form: u8, value: &[u8]) {
    out.push(form);
    out.extend_from_slice(value);
}

/// The properties of one message, in their order; checked when its frame was decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Properties<'a> {
    rest: &'a [u8],
}

impl<'a> Properties<'a> {
    /// None.
    pub const EMPTY: Self = Self { rest: &[] };

    /// Whether there are none.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// Each that is known here and has the form that it should have.
    pub fn iter(&self) -> impl Iterator<Item = Property<'a>> + use<'a> {
        let mut rest = Body::new(self.rest);
        std::iter::from_fn(move || take(&mut rest))
            .filter_map(|(number, value)| Property::parse(Tag::of(number)?, value).ok())
    }

    /// As they came.
    pub fn raw(&self) -> &'a [u8] {
        self.rest
    }

    /// Takes what was checked before.
    #[inline]
    pub(super) fn checked(rest: &'a [u8]) -> Self {
        Self { rest }
    }

    /// Checks what a client sent: nothing is passed over.
    pub(super) fn of_client(bytes: &'a [u8], limits: &Limits) -> Result<Self, WireError> {
        let (mut seen, mut headers, mut headers_bytes) = (0u16, 0, 0);
        let mut rest = Body::new(bytes);
        while !rest.is_empty() {
            let (number, value) = take(&mut rest).ok_or(WireError::PropertiesTooShort)?;
            let tag = Tag::of(number).filter(|tag| *tag != Tag::UserId);
            let tag = tag.ok_or(WireError::UnknownProperty { tag: number })?;
            if let Property::Header(_) = Property::parse(tag, value)? {
                headers += 1;
                headers_bytes += value.len();
            } else if seen & 1 << number == 0 {
                seen |= 1 << number;
            } else {
                return Err(WireError::RepeatedProperty { tag });
            }
        }
        if headers > limits.headers_max {
            return Err(WireError::TooManyHeaders { headers_max: limits.headers_max });
        }
        if headers_bytes > limits.headers_bytes_max {
            return Err(WireError::HeadersTooLarge { bytes_max: limits.headers_bytes_max });
        }
        Ok(Self { rest: bytes })
    }

    /// What a server sent, as [`Properties::raw`] gives it, if each property ends where the next
    /// begins.
    pub fn of_server(bytes: &'a [u8]) -> Option<Self> {
        let mut rest = Body::new(bytes);
        while !rest.is_empty() {
            take(&mut rest)?;
        }
        Some(Self { rest: bytes })
    }
}

/// A tag and its value.
fn take<'a>(rest: &mut Body<'a>) -> Option<(u8, &'a [u8])> {
    Some((rest.u8()?, rest.str32()?))
}
