//! How a broker is spoken to on its publish-and-subscribe path: what both sides say first, and
//! what one message looks like on either side. All frames of one run have the same length.

use std::net::SocketAddr;

use anyhow::Result;
use courant_wire::text::{DestinationKind, reply, request};

use crate::link::{Answers, Link, Question};

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
    deliver: |out, body| reply::live_msg(out, b"MSG topic:x", body),
    varies: (0, 0),
    sign_of_life: b"\n",
    has_stats: true,
};

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
}

impl Chunk {
    /// The messages numbered from 0, as `write` puts them.
    pub fn new(messages: usize, body_bytes: usize, write: impl Fn(&mut Vec<u8>, &[u8])) -> Chunk {
        let mut bytes = Vec::new();
        for number in 0..messages {
            write(&mut bytes, &body(number as u64, body_bytes));
        }
        let frame_bytes = bytes.len() / messages;
        Chunk { bytes, frame_bytes }
    }

    /// How many messages there are.
    #[must_use]
    pub fn messages(&self) -> usize {
        self.bytes.len() / self.frame_bytes
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
