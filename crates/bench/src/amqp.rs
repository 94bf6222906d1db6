//! AMQP 0-9-1 as `rabbitmq-server` speaks it: literal frames before the load, and messages as three
//! frames (method, header, body) on channel 1.

use std::collections::BTreeSet;

use anyhow::{Result, bail, ensure};

use crate::dialect::Dialect;
use crate::durable::{Durable, Ear, Hear, Heard};
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

/// queue.declare of `bench`, durable.
const DURABLE_QUEUE: Question<'static> = (
    b"\x01\0\x01\0\0\0\x11\0\x32\0\x0a\0\0\x05bench\x02\0\0\0\0\xce",
    b"\x05bench\0\0\0\0\0\0\0\0\xce",
);
const CONFIRM: Question<'static> = (b"\x01\0\x01\0\0\0\x05\0\x55\0\x0a\0\xce", b"\0\x55\0\x0b\xce");
/// basic.qos: 2,000 deliveries may be open.
const CREDIT: Question<'static> =
    (b"\x01\0\x01\0\0\0\x0b\0\x3c\0\x0a\0\0\0\0\x07\xd0\0\xce", b"\0\x3c\0\x0b\xce");
/// basic.consume of `bench` as `c`, with acknowledgements.
const CONSUME_DURABLE: Question<'static> =
    (b"\x01\0\x01\0\0\0\x13\0\x3c\0\x14\0\0\x05bench\x01c\0\0\0\0\0\xce", b"\0\x3c\0\x15\x01c\xce");

/// The durable path: a durable classic queue `bench`, persistent messages, publisher confirms.
pub const RABBITMQ_DURABLE: Durable = Durable {
    answers: Answers::Bytes,
    publisher: &[GREET, START, OPEN, CHANNEL, DURABLE_QUEUE, CONFIRM],
    consumer: &[GREET, START, OPEN, CHANNEL, CREDIT, CONSUME_DURABLE],
    publish: |out, body| {
        out.extend_from_slice(b"\x01\0\x01\0\0\0\x0e\0\x3c\0\x28\0\0\0\x05bench\0\xce");
        // Delivery mode 2.
        content(out, b"\x10\0\x02", body);
    },
    before: |_, _| {},
    ear: || Box::new(AmqpEar::default()),
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

#[derive(Default)]
struct AmqpEar {
    /// Of the delivery whose body comes next.
    delivery_tag: [u8; 8],
    /// All messages up to this one are confirmed.
    confirmed: u64,
    /// And these behind it.
    confirmed_early: BTreeSet<u64>,
}

impl Ear for AmqpEar {
    fn take(
        &mut self,
        input: &[u8],
        answer: &mut Vec<u8>,
        hear: Hear<'_>,
    ) -> Result<Option<usize>> {
        let Some((head, rest)) = input.split_first_chunk::<7>() else { return Ok(None) };
        let length = u32::from_be_bytes([head[3], head[4], head[5], head[6]]) as usize;
        let Some(payload) = rest.get(..length) else { return Ok(None) };
        let Some(end) = rest.get(length) else { return Ok(None) };
        ensure!(*end == 0xce, "a frame of {length} bytes ends with {end:#x}");
        match head[0] {
            1 => self.method(payload, hear)?,
            3 => {
                answer.extend_from_slice(b"\x01\0\x01\0\0\0\x0d\0\x3c\0\x50");
                answer.extend_from_slice(&self.delivery_tag);
                answer.extend_from_slice(b"\0\xce");
                hear(Heard::Message(payload))?;
            }
            _ => {}
        }
        Ok(Some(8 + length))
    }
}

impl AmqpEar {
    fn method(&mut self, payload: &[u8], hear: Hear<'_>) -> Result<()> {
        match payload {
            // basic.deliver to `c`.
            [0, 0x3c, 0, 0x3c, 1, b'c', rest @ ..] if rest.len() >= 8 => {
                self.delivery_tag.copy_from_slice(&rest[..8]);
                Ok(())
            }
            // basic.ack of the broker: a confirm.
            [0, 0x3c, 0, 0x50, tag @ .., multiple] => {
                let tag = u64::from_be_bytes(tag.try_into()?);
                hear(Heard::Confirmed(self.confirm(tag, *multiple != 0)))
            }
            _ => bail!("rabbitmq-server says {}", payload.escape_ascii()),
        }
    }

    /// One more is confirmed, or all up to it. Says how many are new.
    fn confirm(&mut self, tag: u64, is_multiple: bool) -> u64 {
        if !is_multiple {
            self.confirmed_early.insert(tag);
        }
        let mut new = u64::from(!is_multiple);
        if is_multiple && tag > self.confirmed {
            let behind = self.confirmed_early.split_off(&(tag + 1));
            new = tag - self.confirmed - self.confirmed_early.len() as u64;
            (self.confirmed, self.confirmed_early) = (tag, behind);
        }
        while self.confirmed_early.remove(&(self.confirmed + 1)) {
            self.confirmed += 1;
        }
        new
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::durable::{cut_anywhere, is_refused};

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
        let durable = RABBITMQ_DURABLE.publisher[1..].iter().chain(&RABBITMQ_DURABLE.consumer[1..]);
        for (said, _) in RABBITMQ.subscriber[1..].iter().chain(durable) {
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
    #[test]
    fn confirms_come_in_any_order() {
        let mut ear = AmqpEar::default();
        assert_eq!(ear.confirm(2, false), 1);
        assert_eq!(ear.confirm(5, false), 1);
        assert_eq!(ear.confirm(3, true), 2);
        assert_eq!(ear.confirm(4, false), 1);
        assert_eq!((ear.confirmed, ear.confirmed_early.len()), (5, 0));
        assert_eq!(ear.confirm(9, true), 4);
        assert_eq!(ear.confirm(9, true), 0);
    }

    #[test]
    fn a_delivery_is_acknowledged_by_its_tag() {
        let mut input = Vec::new();
        (RABBITMQ.deliver)(&mut input, b"A");
        input.extend_from_slice(b"\x01\0\x01\0\0\0\x0d\0\x3c\0\x50\0\0\0\0\0\0\0\x07\x01\xce");
        let (heard, answer) = cut_anywhere(RABBITMQ_DURABLE.ear, &input);
        assert_eq!(heard, ["Message([65])", "Confirmed(7)"]);
        assert_eq!(answer, b"\x01\0\x01\0\0\0\x0d\0\x3c\0\x50\0\0\0\0\0\0\0\x01\0\xce");
    }

    #[test]
    fn a_close_is_an_error() {
        let close = b"\x01\0\x01\0\0\0\x04\0\x14\0\x28\xce";
        assert!(is_refused(RABBITMQ_DURABLE.ear, close));
    }
}
