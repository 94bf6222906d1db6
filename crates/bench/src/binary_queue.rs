//! Courant's binary door with a durable queue: what is published together is one frame, and so is
//! what settles the deliveries of one frame.

use anyhow::{Result, bail};
use courant_wire::Limits;
use courant_wire::binary::{DecodedReply, Reply, Verdict, decode_reply, request};

use crate::dialect::{BINARY_CONNECT, BINARY_OK};
use crate::durable::{Durable, Ear, Hear, Heard};
use crate::link::Answers;

/// What stands before the messages in the body of a PUBLISH: req 1, no flags, the queue `bench`.
const TO_BENCH: &[u8] = b"\0\0\0\x01\0\x01\x05bench\0";

/// The queue `bench`, credit of 65,535.
pub const BINARY_QUEUE: Durable = Durable {
    answers: Answers::Bytes,
    publisher: &[
        BINARY_CONNECT,
        (b"\x0b\0\0\0\x23\0\0\0\x01DECLARE queue:bench durable:yes", BINARY_OK),
    ],
    consumer: &[
        BINARY_CONNECT,
        (
            b"\x02\0\0\0\x26\0\0\0\x01\0\0\0\x01\x04\x01\x05bench\0\0\
              \0\0\xff\xff\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0",
            BINARY_OK,
        ),
    ],
    publish: request::message,
    before: |out, bytes| {
        let length = u32::try_from(TO_BENCH.len() + bytes).unwrap_or(u32::MAX);
        out.push(0x01);
        out.extend_from_slice(&length.to_be_bytes());
        out.extend_from_slice(TO_BENCH);
    },
    ear: || Box::new(BinaryEar),
};

struct BinaryEar;

impl Ear for BinaryEar {
    fn take(
        &mut self,
        input: &[u8],
        answer: &mut Vec<u8>,
        hear: Hear<'_>,
    ) -> Result<Option<usize>> {
        let (reply, consumed) = match decode_reply(input, &Limits::DEFAULT) {
            DecodedReply::Reply { reply, consumed } => (reply, consumed),
            DecodedReply::Incomplete { .. } => return Ok(None),
            DecodedReply::Malformed { error } => return Err(error.into()),
        };
        match reply {
            Reply::Confirm(confirms) => {
                for confirmed in confirms {
                    hear(Heard::Confirmed(u64::from(confirmed.count)))?;
                }
            }
            Reply::Deliver { deliveries, .. } => {
                let frame = request::begin_settle(answer, 0, Verdict::Ack, false, false);
                for delivery in deliveries {
                    hear(Heard::Message(delivery.payload))?;
                    request::handle(answer, delivery.head.handle);
                }
                frame.end(answer);
            }
            Reply::Ping => request::pong(answer),
            other => bail!("courant says {other:?}"),
        }
        Ok(Some(consumed))
    }
}

#[cfg(test)]
mod tests {
    use courant_wire::binary::{Command, Decoded, decode};

    use super::*;

    #[test]
    fn published_messages_are_one_frame() {
        let (mut messages, mut frame) = (Vec::new(), Vec::new());
        for body in [b"one", b"two"] {
            (BINARY_QUEUE.publish)(&mut messages, body);
        }
        (BINARY_QUEUE.before)(&mut frame, messages.len());
        frame.extend_from_slice(&messages);
        let Decoded::Command { command: Command::Publish(publish), consumed, .. } =
            decode(&frame, &Limits::DEFAULT)
        else {
            panic!("no PUBLISH: {frame:?}")
        };
        assert_eq!(consumed, frame.len());
        let bodies: Vec<&[u8]> = publish.messages.map(|message| message.payload).collect();
        assert_eq!(bodies, [b"one", b"two"]);
    }

    #[test]
    fn questions_are_whole_frames() {
        for (said, _) in BINARY_QUEUE.publisher.iter().chain(BINARY_QUEUE.consumer) {
            let decoded = decode(said, &Limits::DEFAULT);
            let Decoded::Command { consumed, .. } = decoded else { panic!("{decoded:?}") };
            assert_eq!(consumed, said.len());
        }
    }
}
