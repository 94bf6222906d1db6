//! AMQP 0-9-1 as `rabbitmq-server` speaks it: literal frames before the load, and messages as three
//! frames (method, header, body) on channel 1.

use crate::dialect::Dialect;
use crate::link::{Answers, Question};

const GREET: Question<'static> = (b"AMQP\0\0\x09\x01", b"en_US\xce");
/// connection.start-ok: guest by PLAIN; answered by connection.tune with the broker's defaults.
const START: Question<'static> = (
    b"\x01\0\0\0\0\0$\0\x0a\0\x0b\0\0\0\0\x05PLAIN\0\0\0\x0c\0guest\0guest\x05en_US\xce",
    b"\x00\x02\0\0\0\x3c\xce",
);
/// connection.tune-ok without heartbeats, connection.open of `/`.
const OPEN: Question<'static> = (
    b"\x01\0\0\0\0\0\x0c\0\x0a\0\x1f\x07\xff\0\x02\0\0\0\0\xce\
      \x01\0\0\0\0\0\x08\0\x0a\0\x28\x01/\0\0\xce",
    b"\0\x0a\0\x29\0\xce",
);
const CHANNEL: Question<'static> =
    (b"\x01\0\x01\0\0\0\x05\0\x14\0\x0a\0\xce", b"\0\x14\0\x0b\0\0\0\0\xce");
/// exchange.declare of `x`, fanout.
const EXCHANGE: Question<'static> =
    (b"\x01\0\x01\0\0\0\x14\0\x28\0\x0a\0\0\x01x\x06fanout\0\0\0\0\0\xce", b"\0\x28\0\x0b\xce");
/// queue.declare, exclusive, named by the broker; the next two mean it by naming none.
const QUEUE: Question<'static> =
    (b"\x01\0\x01\0\0\0\x0c\0\x32\0\x0a\0\0\0\x04\0\0\0\0\xce", b"\0\0\0\0\0\0\0\0\xce");
const BIND: Question<'static> =
    (b"\x01\0\x01\0\0\0\x0f\0\x32\0\x14\0\0\0\x01x\0\0\0\0\0\0\xce", b"\0\x32\0\x15\xce");
/// basic.consume as `c`, without acknowledgements.
const CONSUME: Question<'static> =
    (b"\x01\0\x01\0\0\0\x0e\0\x3c\0\x14\0\0\0\x01c\x02\0\0\0\0\xce", b"\0\x3c\0\x15\x01c\xce");

/// The live path: a fanout exchange `x`, a transient queue of each subscriber's own, settled as it
/// is sent.
pub const RABBITMQ: Dialect = Dialect {
    name: "rabbitmq-server",
    answers: Answers::Bytes,
    publisher: &[GREET, START, OPEN, CHANNEL, EXCHANGE],
    subscriber: &[GREET, START, OPEN, CHANNEL, EXCHANGE, QUEUE, BIND, CONSUME],
    publish: |out, body| {
        out.extend_from_slice(b"\x01\0\x01\0\0\0\x0a\0\x3c\0\x28\0\0\x01x\0\0\xce");
        content(out, b"\0\0", body);
    },
    publish_all: None,
    deliver: |out, body| {
        out.extend_from_slice(b"\x01\0\x01\0\0\0\x12\0\x3c\0\x3c\x01c");
        // The delivery tag counts from 1.
        out.extend_from_slice(b"\0\0\0\0\0\0\0\x01\0\x01x\0\xce");
        content(out, b"\0\0", body);
    },
    varies: (13, 21),
    sign_of_life: b"",
    has_stats: false,
};

/// The header frame with these property flags and properties, and one body frame.
fn content(out: &mut Vec<u8>, properties: &[u8], body: &[u8]) {
    let header_bytes = u32::try_from(12 + properties.len()).unwrap_or(u32::MAX);
    let body_bytes = u32::try_from(body.len()).unwrap_or(u32::MAX);
    out.extend_from_slice(b"\x02\0\x01");
    out.extend_from_slice(&header_bytes.to_be_bytes());
    out.extend_from_slice(b"\0\x3c\0\0");
    out.extend_from_slice(&u64::from(body_bytes).to_be_bytes());
    out.extend_from_slice(properties);
    out.extend_from_slice(b"\xce\x03\0\x01");
    out.extend_from_slice(&body_bytes.to_be_bytes());
    out.extend_from_slice(body);
    out.push(0xce);
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every frame says its length, and ends with 0xce.
    fn walk(mut frames: &[u8]) -> usize {
        let mut count = 0;
        while let Some(head) = frames.first_chunk::<7>() {
            let length = u32::from_be_bytes([head[3], head[4], head[5], head[6]]) as usize;
            assert_eq!(frames[7 + length], 0xce, "{:?}", frames.escape_ascii().to_string());
            frames = &frames[8 + length..];
            count += 1;
        }
        assert!(frames.is_empty());
        count
    }

    #[test]
    fn frames_are_as_long_as_they_say() {
        for (said, _) in &RABBITMQ.subscriber[1..] {
            assert!(walk(said) >= 1);
        }
        let mut out = Vec::new();
        (RABBITMQ.publish)(&mut out, b"hello");
        assert_eq!(walk(&out), 3);
        assert!(out.ends_with(b"\xce\x03\0\x01\0\0\0\x05hello\xce"));
        out.clear();
        (RABBITMQ.deliver)(&mut out, b"hello");
        assert_eq!(walk(&out), 3);
    }
}
