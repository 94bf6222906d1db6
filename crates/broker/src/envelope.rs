//! What stands before the payload in a message's body: exchange, routing key and properties.
//!
//! ```text
//!  ┌───────┬────────────┬──────────┬─────────┬─────┬──────────────────────────┬─────────┐
//!  │ flags │ exchange # │ exchange │ key #   │ key │ properties # u32 │ props │ payload │
//!  │ u8    │ u8         │          │ u8      │     │   only if flag 1         │         │
//!  └───────┴────────────┴──────────┴─────────┴─────┴──────────────────────────┴─────────┘
//! ```
//!
//! A property is a tag (u8), a length (u32) and that many bytes; an unknown tag is kept and
//! skipped. A header's bytes are: length of its name (u16), name, type (u8), value.

use courant_engine::{Header, Properties, Value};

const HAS_PROPERTIES: u8 = 1;
/// Length of all properties, and tag, length and up to eight bytes of the fourteen that occur once.
const FIXED_BYTES_MAX: usize = 4 + 14 * (1 + 4 + 8);
/// Tag, length, length of the name and type.
const HEADER_FIXED_BYTES: usize = 1 + 4 + 2 + 1;

/// Tags of properties. A number is never given another meaning.
mod tag {
    pub(super) const CONTENT_TYPE: u8 = 1;
    pub(super) const CONTENT_ENCODING: u8 = 2;
    pub(super) const HEADER: u8 = 3;
    pub(super) const CORRELATION_ID: u8 = 4;
    pub(super) const REPLY_TO: u8 = 5;
    pub(super) const PRIORITY: u8 = 6;
    pub(super) const DEADLINE: u8 = 7;
    pub(super) const DELIVER_AT: u8 = 8;
    pub(super) const DEDUP_KEY: u8 = 9;
    pub(super) const ORDERING_KEY: u8 = 10;
    pub(super) const TIMESTAMP: u8 = 11;
    pub(super) const APP_ID: u8 = 12;
    pub(super) const USER_ID: u8 = 13;
    pub(super) const TRACE: u8 = 14;
    pub(super) const EXTENSION: u8 = 15;
}

/// An envelope, borrowed from a body.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Envelope<'a> {
    pub(crate) exchange: &'a [u8],
    pub(crate) key: &'a [u8],
    pub(crate) properties: &'a [u8],
    pub(crate) payload: &'a [u8],
}

/// Writes what stands before the payload. Names and keys have at most 255 bytes.
pub(crate) fn encode(out: &mut Vec<u8>, exchange: &[u8], key: &[u8], properties: &Properties<'_>) {
    let plain = properties.is_empty();
    out.push(if plain { 0 } else { HAS_PROPERTIES });
    for name in [exchange, key] {
        let length = u8::try_from(name.len()).unwrap_or(u8::MAX);
        out.push(length);
        out.extend_from_slice(&name[..usize::from(length)]);
    }
    if plain {
        return;
    }
    let at = out.len();
    out.extend_from_slice(&[0; 4]);
    encode_properties(out, properties);
    let length = u32::try_from(out.len() - at - 4).unwrap_or(u32::MAX);
    out[at..at + 4].copy_from_slice(&length.to_le_bytes());
}

fn put(out: &mut Vec<u8>, tag: u8, parts: &[&[u8]]) {
    let length: usize = parts.iter().map(|part| part.len()).sum();
    out.push(tag);
    out.extend_from_slice(&u32::try_from(length).unwrap_or(u32::MAX).to_le_bytes());
    for part in parts {
        out.extend_from_slice(part);
    }
}

fn encode_properties(out: &mut Vec<u8>, properties: &Properties<'_>) {
    let texts = [
        (tag::CONTENT_TYPE, properties.content_type.map(str::as_bytes)),
        (tag::CONTENT_ENCODING, properties.content_encoding.map(str::as_bytes)),
        (tag::CORRELATION_ID, properties.correlation_id),
        (tag::REPLY_TO, properties.reply_to.map(str::as_bytes)),
        (tag::DEDUP_KEY, properties.dedup_key),
        (tag::ORDERING_KEY, properties.ordering_key),
        (tag::APP_ID, properties.app_id.map(str::as_bytes)),
        (tag::USER_ID, properties.user_id.map(str::as_bytes)),
        (tag::TRACE, properties.trace.map(str::as_bytes)),
    ];
    for (tag, bytes) in texts {
        if let Some(bytes) = bytes {
            put(out, tag, &[bytes]);
        }
    }
    let numbers = [
        (tag::DEADLINE, properties.deadline_ms),
        (tag::DELIVER_AT, properties.deliver_at_ms),
        (tag::TIMESTAMP, properties.timestamp_ms),
    ];
    for (tag, number) in numbers {
        if let Some(number) = number {
            put(out, tag, &[&number.to_le_bytes()]);
        }
    }
    if let Some(priority) = properties.priority {
        put(out, tag::PRIORITY, &[&[priority]]);
    }
    if let Some((protocol, bytes)) = properties.extension {
        put(out, tag::EXTENSION, &[&[protocol], bytes]);
    }
    for header in properties.headers {
        encode_header(out, header);
    }
}

/// The most that properties take in an envelope.
pub(crate) fn properties_bytes_max(properties: &Properties<'_>) -> usize {
    if properties.is_empty() {
        return 0;
    }
    let text = |text: Option<&str>| text.map_or(0, str::len);
    let bytes = |bytes: Option<&[u8]>| bytes.map_or(0, <[u8]>::len);
    let headers = properties.headers.iter().map(|header| {
        let value = match header.value {
            Value::Text(value) => value.len(),
            Value::Bytes(value) => value.len(),
            _ => size_of::<u64>(),
        };
        HEADER_FIXED_BYTES + header.name.len() + value
    });
    FIXED_BYTES_MAX
        + text(properties.content_type)
        + text(properties.content_encoding)
        + text(properties.reply_to)
        + text(properties.app_id)
        + text(properties.user_id)
        + text(properties.trace)
        + bytes(properties.correlation_id)
        + bytes(properties.dedup_key)
        + bytes(properties.ordering_key)
        + properties.extension.map_or(0, |(_, bytes)| bytes.len())
        + headers.sum::<usize>()
}

fn encode_header(out: &mut Vec<u8>, header: &Header<'_>) {
    let name = header.name.as_bytes();
    let name_length = u16::try_from(name.len()).unwrap_or(u16::MAX).to_le_bytes();
    let mut write = |kind: u8, value: &[u8]| {
        put(out, tag::HEADER, &[&name_length, name, &[kind], value]);
    };
    match header.value {
        Value::Null => write(0, &[]),
        Value::Bool(value) => write(1, &[u8::from(value)]),
        Value::Int(value) => write(2, &value.to_le_bytes()),
        Value::Float(value) => write(3, &value.to_le_bytes()),
        Value::Text(value) => write(4, value.as_bytes()),
        Value::Bytes(value) => write(5, value),
        Value::Time(value) => write(6, &value.to_le_bytes()),
    }
}

/// Takes a body apart. `None` if it was not written by [`encode`].
pub(crate) fn decode(body: &[u8]) -> Option<Envelope<'_>> {
    let (&flags, rest) = body.split_first()?;
    let (exchange, rest) = short(rest)?;
    let (key, rest) = short(rest)?;
    if flags & HAS_PROPERTIES == 0 {
        return Some(Envelope { exchange, key, properties: &[], payload: rest });
    }
    let (length, rest) = rest.split_first_chunk::<4>()?;
    let length = usize::try_from(u32::from_le_bytes(*length)).ok()?;
    let (properties, payload) = rest.split_at_checked(length)?;
    Some(Envelope { exchange, key, properties, payload })
}

fn short(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (&length, rest) = bytes.split_first()?;
    rest.split_at_checked(usize::from(length))
}

/// Takes the properties apart; headers go into `headers`, which is cleared first.
pub(crate) fn decode_properties<'a>(
    mut bytes: &'a [u8],
    headers: &'a mut Vec<Header<'a>>,
) -> Properties<'a> {
    headers.clear();
    let mut properties = Properties::default();
    while let Some((tag, value, rest)) = property(bytes) {
        bytes = rest;
        let text = || std::str::from_utf8(value).ok();
        let number = || value.first_chunk().map(|chunk| u64::from_le_bytes(*chunk));
        match tag {
            tag::CONTENT_TYPE => properties.content_type = text(),
            tag::CONTENT_ENCODING => properties.content_encoding = text(),
            tag::HEADER => headers.extend(decode_header(value)),
            tag::CORRELATION_ID => properties.correlation_id = Some(value),
            tag::REPLY_TO => properties.reply_to = text(),
            tag::PRIORITY => properties.priority = value.first().copied(),
            tag::DEADLINE => properties.deadline_ms = number(),
            tag::DELIVER_AT => properties.deliver_at_ms = number(),
            tag::DEDUP_KEY => properties.dedup_key = Some(value),
            tag::ORDERING_KEY => properties.ordering_key = Some(value),
            tag::TIMESTAMP => properties.timestamp_ms = number(),
            tag::APP_ID => properties.app_id = text(),
            tag::USER_ID => properties.user_id = text(),
            tag::TRACE => properties.trace = text(),
            tag::EXTENSION => {
                properties.extension = value.split_first().map(|(first, rest)| (*first, rest));
            }
            _ => {}
        }
    }
    properties.headers = headers;
    properties
}

fn property(bytes: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (&tag, rest) = bytes.split_first()?;
    let (length, rest) = rest.split_first_chunk::<4>()?;
    let length = usize::try_from(u32::from_le_bytes(*length)).ok()?;
    let (value, rest) = rest.split_at_checked(length)?;
    Some((tag, value, rest))
}

fn decode_header(bytes: &[u8]) -> Option<Header<'_>> {
    let (length, rest) = bytes.split_first_chunk::<2>()?;
    let (name, rest) = rest.split_at_checked(usize::from(u16::from_le_bytes(*length)))?;
    let (&kind, value) = rest.split_first()?;
    let eight = || value.first_chunk::<8>().copied();
    let value = match kind {
        0 => Value::Null,
        1 => Value::Bool(*value.first()? != 0),
        2 => Value::Int(i64::from_le_bytes(eight()?)),
        3 => Value::Float(f64::from_le_bytes(eight()?)),
        4 => Value::Text(std::str::from_utf8(value).ok()?),
        5 => Value::Bytes(value),
        6 => Value::Time(u64::from_le_bytes(eight()?)),
        _ => return None,
    };
    Some(Header { name: std::str::from_utf8(name).ok()?, value })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_comes_back() {
        let headers = [
            Header { name: "a", value: Value::Text("1") },
            Header { name: "a", value: Value::Int(-2) },
            Header { name: "b", value: Value::Bytes(&[0xff]) },
            Header { name: "c", value: Value::Null },
            Header { name: "d", value: Value::Float(0.5) },
            Header { name: "e", value: Value::Bool(true) },
            Header { name: "f", value: Value::Time(9) },
        ];
        let properties = Properties {
            content_type: Some("text/plain"),
            content_encoding: Some("gzip"),
            headers: &headers,
            correlation_id: Some(&[1, 2]),
            reply_to: Some("r"),
            priority: Some(9),
            deadline_ms: Some(1),
            deliver_at_ms: Some(2),
            dedup_key: Some(b"d"),
            ordering_key: Some(b"o"),
            timestamp_ms: Some(3),
            app_id: Some("app"),
            user_id: Some("me"),
            trace: Some("00-aa-bb-01"),
            extension: Some((1, b"x")),
        };
        let mut body = Vec::new();
        encode(&mut body, b"ex", b"key", &properties);
        body.extend_from_slice(b"payload");
        let envelope = decode(&body).expect("an envelope");
        assert_eq!((envelope.exchange, envelope.key), (&b"ex"[..], &b"key"[..]));
        assert_eq!(envelope.payload, b"payload");
        let mut room = Vec::new();
        assert_eq!(decode_properties(envelope.properties, &mut room), properties);
    }

    #[test]
    fn most_messages_cost_little() {
        let mut body = Vec::new();
        encode(&mut body, b"", b"orders", &Properties::default());
        assert_eq!(body.len(), 3 + 6);
        assert!(decode(&body).is_some_and(|envelope| envelope.payload.is_empty()));
        assert!(decode(&[]).is_none() && decode(&[0, 9, 1]).is_none());
    }
}
