//! How a broker is spoken to on its publish-and-subscribe path: what both sides say first, and
//! what one message looks like on either side. All frames of one run have the same length.

use std::net::SocketAddr;

use anyhow::Result;
use courant_wire::binary;
use courant_wire::text::{Confirm, DestinationKind, reply, request};

use crate::link::{Answers, Link, Question};

/// Appends messages that are published together.
pub type PublishAll = fn(&mut Vec<u8>, &[Vec<u8>]);

/// One broker's frames.
#[derive(Clone, Copy)]
pub struct Dialect {
    /// For people.
    pub name: &'static str,
    /// How it answers before the load.
    pub answers: Answers,
    /// What a publisher says before the load.
    pub publisher: &'static [Question<'static>],
    /// What a subscriber says before the load.
    pub subscriber: &'static [Question<'static>],
    /// Appends a message as it is published.
    pub publish: fn(&mut Vec<u8>, &[u8]),
    /// Where many that are published together have one frame.
    pub publish_all: Option<PublishAll>,
    /// Appends a message as it is delivered.
    pub deliver: fn(&mut Vec<u8>, &[u8]),
    /// The bytes of a delivered message that are the broker's own: from, until.
    pub varies: (usize, usize),
    /// What a subscriber may say at any time, without an answer, to show that it is there.
    pub sign_of_life: &'static [u8],
    /// Whether it counts what it delivers, as Courant's STATS does.
    pub has_stats: bool,
}

impl std::fmt::Debug for Dialect {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Dialect").field("name", &self.name).finish_non_exhaustive()
    }
}

impl Dialect {
    /// A connection that may publish.
    pub fn publisher(&self, address: SocketAddr) -> Result<Link> {
        Link::greeted_in(address, self.answers, self.publisher)
    }

    /// A connection that has subscribed.
    pub fn subscriber(&self, address: SocketAddr) -> Result<Link> {
        Link::greeted_in(address, self.answers, self.subscriber)
    }

    /// Whether these bytes are the beginning of a message as it is delivered.
    #[must_use]
    pub fn begins(&self, message: &[u8], got: &[u8]) -> bool {
        let (from, until) = self.varies;
        let mut pairs = message.iter().zip(got).enumerate();
        pairs.all(|(at, (ours, theirs))| ours == theirs || (from..until).contains(&at))
    }
}

const CONNECT: Question<'static> = (b"CONNECT {\"verbose\":false}\n", b"OK");
const SYNC: Question<'static> = (b"PING\n", b"PONG");

/// Courant's text door, live mode, topic `x`.
pub const COURANT: Dialect = Dialect {
    name: "courant",
    answers: Answers::Lines,
    publisher: &[CONNECT, (b"DECLARE topic:x req:d\n", b"OK")],
    subscriber: &[
        CONNECT,
        (b"DECLARE topic:x req:d\n", b"OK"),
        (b"SUB topic:x mode:live req:s\n", b"OK"),
        SYNC,
    ],
    publish: |out, body| request::publish(out, DestinationKind::Topic, b"x", body),
    publish_all: None,
    deliver: |out, body| reply::live_msg(out, b"MSG topic:x", body),
    varies: (0, 0),
    sign_of_life: b"\n",
    has_stats: true,
};

/// Courant's binary door, live mode, topic `x`; what is published together is one frame.
pub const BINARY: Dialect = Dialect {
    name: "courant binary",
    answers: Answers::Bytes,
    publisher: &[BINARY_CONNECT, BINARY_DECLARE],
    subscriber: &[
        BINARY_CONNECT,
        BINARY_DECLARE,
        // A live subscription, number 1.
        (
            b"\x02\0\0\0\x22\0\0\0\x01\0\0\0\x01\x02\x02\x01x\0\
              \0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0",
            BINARY_OK,
        ),
    ],
    publish: |out, body| publish_binary(out, &[body]),
    publish_all: Some(publish_binary),
    deliver: |out, body| binary::reply::live(out, 1, body),
    varies: (0, 0),
    sign_of_life: b"\x08\0\0\0\0",
    has_stats: true,
};

pub(crate) const BINARY_OK: &[u8] = b"\x80\0\0\0\x08\0\0\0\x01\0\0\0\0";
pub(crate) const BINARY_CONNECT: Question<'static> = (b"\x05\0\0\0\x05\0\0\0\x01\x01", BINARY_OK);
const BINARY_DECLARE: Question<'static> = (b"\x0b\0\0\0\x13\0\0\0\x01DECLARE topic:x", BINARY_OK);

/// A PUBLISH that asks for no reply.
fn publish_binary(out: &mut Vec<u8>, bodies: &[impl AsRef<[u8]>]) {
    let kind = DestinationKind::Topic;
    let head = binary::PublishHead {
        destination: binary::Destination { kind, raw_name: b"x", key: b"" },
        is_transient: false,
        is_mandatory: false,
        confirm: Confirm::Committed,
        has_properties: false,
    };
    // The name is short: there is nothing to refuse.
    let Ok(frame) = binary::request::begin_publish(out, 0, &head) else { return };
    for body in bodies {
        binary::request::message(out, body.as_ref());
    }
    frame.end(out);
}

/// The NATS client protocol, subject `x`.
pub const NATS: Dialect = Dialect {
    name: "nats-server",
    answers: Answers::Lines,
    publisher: &[(b"CONNECT {\"verbose\":false,\"pedantic\":false}\r\nPING\r\n", b"PONG")],
    subscriber: &[
        (b"CONNECT {\"verbose\":false,\"pedantic\":false}\r\n", b""),
        (b"SUB x 1\r\nPING\r\n", b"PONG"),
    ],
    publish: |out, body| lines(out, &format!("PUB x {}", body.len()), body),
    publish_all: None,
    deliver: |out, body| lines(out, &format!("MSG x 1 {}", body.len()), body),
    varies: (0, 0),
    sign_of_life: b"PONG\r\n",
    has_stats: false,
};

/// Redis, channel `x`.
pub const REDIS: Dialect = Dialect {
    name: "redis-server",
    answers: Answers::Lines,
    publisher: &[(b"PING\r\n", b"+PONG"), (b"CLIENT REPLY OFF\r\n", b"")],
    // Its answer is three bulk strings and a number.
    subscriber: &[(b"SUBSCRIBE x\r\n", b":1")],
    publish: |out, body| {
        let head = format!("*3\r\n$7\r\nPUBLISH\r\n$1\r\nx\r\n${}", body.len());
        lines(out, &head, body);
    },
    publish_all: None,
    deliver: |out, body| {
        let head = format!("*3\r\n$7\r\nmessage\r\n$1\r\nx\r\n${}", body.len());
        lines(out, &head, body);
    },
    varies: (0, 0),
    sign_of_life: b"",
    has_stats: false,
};

/// MQTT 3.1.1 at quality of service 0, topic `x`.
pub const MOSQUITTO: Dialect = Dialect {
    name: "mosquitto",
    answers: Answers::Bytes,
    // No name, no keep-alive.
    publisher: &[(b"\x10\x0c\0\x04MQTT\x04\x02\0\0\0\0", b"\x20\x02\0\0")],
    subscriber: &[
        (b"\x10\x0c\0\x04MQTT\x04\x02\0\0\0\0", b"\x20\x02\0\0"),
        (b"\x82\x06\0\x01\0\x01x\0", b"\x90\x03\0\x01\0"),
    ],
    publish: mqtt_publish,
    publish_all: None,
    deliver: mqtt_publish,
    varies: (0, 0),
    sign_of_life: b"",
    has_stats: false,
};

fn mqtt_publish(out: &mut Vec<u8>, body: &[u8]) {
    out.push(0x30);
    let mut left = body.len() + 3;
    while left > 0x7f {
        out.push(0x80 | u8::try_from(left & 0x7f).unwrap_or_default());
        left >>= 7;
    }
    out.push(u8::try_from(left).unwrap_or_default());
    out.extend_from_slice(b"\0\x01x");
    out.extend_from_slice(body);
}

fn lines(out: &mut Vec<u8>, head: &str, body: &[u8]) {
    for part in [head.as_bytes(), b"\r\n", body, b"\r\n"] {
        out.extend_from_slice(part);
    }
}

/// A body of that many bytes that begins with a number of 16 digits.
#[must_use]
pub fn body(number: u64, bytes: usize) -> Vec<u8> {
    let mut body = format!("{number:016}").into_bytes();
    body.resize(bytes, b'x');
    body
}

/// Many messages in a row, in frames of one length.
#[derive(Debug)]
pub struct Chunk {
    /// The frames.
    pub bytes: Vec<u8>,
    /// The length of each.
    pub frame_bytes: usize,
    messages: usize,
}

impl Chunk {
    /// The messages numbered from 0, as `write` puts them.
    pub fn new(messages: usize, body_bytes: usize, write: impl Fn(&mut Vec<u8>, &[u8])) -> Chunk {
        let mut bytes = Vec::new();
        for number in 0..messages {
            write(&mut bytes, &body(number as u64, body_bytes));
        }
        Chunk::of(bytes, messages)
    }

    /// The same as they are published together; what each takes is an average.
    #[must_use]
    pub fn published(messages: usize, body_bytes: usize, dialect: &Dialect) -> Chunk {
        let Some(publish_all) = dialect.publish_all else {
            return Chunk::new(messages, body_bytes, dialect.publish);
        };
        let mut bytes = Vec::new();
        let bodies: Vec<_> = (0..messages).map(|n| body(n as u64, body_bytes)).collect();
        publish_all(&mut bytes, &bodies);
        Chunk::of(bytes, messages)
    }

    /// So many messages in these bytes; what each takes is an average.
    #[must_use]
    pub fn of(bytes: Vec<u8>, messages: usize) -> Chunk {
        let frame_bytes = bytes.len() / messages;
        Chunk { bytes, frame_bytes, messages }
    }

    /// How many messages there are.
    #[must_use]
    pub fn messages(&self) -> usize {
        self.messages
    }

    /// Some of the frames.
    #[must_use]
    pub fn frames(&self, range: std::ops::Range<usize>) -> &[u8] {
        &self.bytes[range.start * self.frame_bytes..range.end * self.frame_bytes]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mqtt_frames_are_as_the_standard_has_them() {
        let mut out = Vec::new();
        (MOSQUITTO.publish)(&mut out, b"hello");
        assert_eq!(out, b"\x30\x08\0\x01xhello");
        out.clear();
        (MOSQUITTO.publish)(&mut out, &[b'y'; 256]);
        assert_eq!(out[..6], *b"\x30\x83\x02\0\x01x");
        assert_eq!(out.len(), 6 + 256);
    }
}
