//! How a broker is spoken to on its publish-and-subscribe path: what both sides say first, and
//! what one message looks like on either side. All frames of one run have the same length.

use courant_wire::text::{DestinationKind, reply, request};

use crate::link::Question;

/// One broker's frames.
#[derive(Clone, Copy)]
pub struct Dialect {
    /// For people.
    pub name: &'static str,
    /// What a publisher says before the load.
    pub publisher: &'static [Question<'static>],
    /// What a subscriber says before the load.
    pub subscriber: &'static [Question<'static>],
    /// Appends a message as it is published.
    pub publish: fn(&mut Vec<u8>, &[u8]),
    /// Appends a message as it is delivered.
    pub deliver: fn(&mut Vec<u8>, &[u8]),
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

const CONNECT: Question<'static> = (b"CONNECT {\"verbose\":false}\n", b"OK");
const SYNC: Question<'static> = (b"PING\n", b"PONG");

/// Courant's text door, live mode, topic `x`.
pub const COURANT: Dialect = Dialect {
    name: "courant",
    publisher: &[CONNECT, (b"DECLARE topic:x req:d\n", b"OK")],
    subscriber: &[
        CONNECT,
        (b"DECLARE topic:x req:d\n", b"OK"),
        (b"SUB topic:x mode:live req:s\n", b"OK"),
        SYNC,
    ],
    publish: |out, body| request::publish(out, DestinationKind::Topic, b"x", body),
    deliver: |out, body| reply::live_msg(out, b"MSG topic:x", body),
    sign_of_life: b"\n",
    has_stats: true,
};

/// The NATS client protocol, subject `x`.
pub const NATS: Dialect = Dialect {
    name: "nats-server",
    publisher: &[(b"CONNECT {\"verbose\":false,\"pedantic\":false}\r\nPING\r\n", b"PONG")],
    subscriber: &[
        (b"CONNECT {\"verbose\":false,\"pedantic\":false}\r\n", b""),
        (b"SUB x 1\r\nPING\r\n", b"PONG"),
    ],
    publish: |out, body| lines(out, &format!("PUB x {}", body.len()), body),
    deliver: |out, body| lines(out, &format!("MSG x 1 {}", body.len()), body),
    sign_of_life: b"PONG\r\n",
    has_stats: false,
};

/// Redis, channel `x`.
pub const REDIS: Dialect = Dialect {
    name: "redis-server",
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
    sign_of_life: b"",
    has_stats: false,
};

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
