//! `JetStream`, the streams of nats-server: publishing with acknowledged replies, and a push
//! consumer that acknowledges every message by itself.

use anyhow::{Context, Result, bail};

use crate::durable::{Durable, Ear, Hear, Heard};
use crate::link::{Answers, Question};

const CONNECT: Question<'static> = (b"CONNECT {\"verbose\":false,\"pedantic\":false}\r\n", b"");

/// A stream `bench` in files with the server's defaults, which do not sync before they confirm.
pub const JETSTREAM: Durable = Durable {
    answers: Answers::Lines,
    publisher: &[
        CONNECT,
        (
            b"SUB _I 1\r\nPUB $JS.API.STREAM.CREATE.bench _I 54\r\n\
              {\"name\":\"bench\",\"subjects\":[\"bench\"],\"storage\":\"file\"}\r\n",
            b"{\"type\":\"io.nats.jetstream.api.v1.stream_create_response\",\"config\"",
        ),
    ],
    consumer: &[
        CONNECT,
        (
            b"SUB d 2\r\nSUB _J 1\r\nPUB $JS.API.CONSUMER.CREATE.bench.c _J 134\r\n\
              {\"stream_name\":\"bench\",\"config\":{\"name\":\"c\",\"durable_name\":\"c\",\
              \"deliver_subject\":\"d\",\"ack_policy\":\"explicit\",\
              \"max_ack_pending\":65535}}\r\n",
            b"{\"type\":\"io.nats.jetstream.api.v1.consumer_create_response\",\"stream_name\"",
        ),
    ],
    publish: |out, body| {
        out.extend_from_slice(format!("PUB bench _I {}\r\n", body.len()).as_bytes());
        out.extend_from_slice(body);
        out.extend_from_slice(b"\r\n");
    },
    before: |_, _| {},
    ear: || Box::new(NatsEar),
};

struct NatsEar;

impl Ear for NatsEar {
    fn take(
        &mut self,
        input: &[u8],
        answer: &mut Vec<u8>,
        hear: Hear<'_>,
    ) -> Result<Option<usize>> {
        let Some(end) = memchr::memchr(b'\n', input) else { return Ok(None) };
        let line = std::str::from_utf8(&input[..end])?.trim_end();
        let mut words = line.split(' ');
        match words.next().unwrap_or_default() {
            "MSG" => {}
            "PING" => {
                answer.extend_from_slice(b"PONG\r\n");
                return Ok(Some(end + 1));
            }
            "INFO" | "PONG" => return Ok(Some(end + 1)),
            _ => bail!("nats-server says {line:?}"),
        }
        let words: Vec<&str> = words.collect();
        let length = words.last().and_then(|word| word.parse::<usize>().ok());
        let length = length.with_context(|| format!("no length in {line:?}"))?;
        let Some(payload) = input.get(end + 1..end + 1 + length) else { return Ok(None) };
        let bytes = end + 1 + length + 2;
        if input.len() < bytes {
            return Ok(None);
        }
        if let [_, _, reply, _] = words[..] {
            answer.extend_from_slice(format!("PUB {reply} 0\r\n\r\n").as_bytes());
            hear(Heard::Message(payload))?;
            return Ok(Some(bytes));
        }
        if !payload.starts_with(b"{\"stream\":") {
            bail!("not confirmed: {:?}", String::from_utf8_lossy(payload));
        }
        hear(Heard::Confirmed(1))?;
        Ok(Some(bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::durable::{cut_anywhere, is_refused};

    #[test]
    fn questions_have_the_length_that_they_say() {
        for (said, _) in [JETSTREAM.publisher[1], JETSTREAM.consumer[1]] {
            let text = std::str::from_utf8(said).unwrap();
            let (head, json) = text.trim_end().rsplit_once("\r\n").unwrap();
            let length: usize = head.rsplit_once(' ').unwrap().1.parse().unwrap();
            assert_eq!(json.len(), length, "{json}");
        }
    }

    #[test]
    fn confirms_and_messages_are_told_apart() {
        let input = b"MSG _I 1 26\r\n{\"stream\":\"bench\",\"seq\":1}\r\nPING\r\n\
                      MSG d 2 $JS.ACK.bench.c.1.1.1.9.0 5\r\nhello\r\n";
        let (heard, answer) = cut_anywhere(JETSTREAM.ear, input);
        assert_eq!(heard, ["Confirmed(1)", "Message([104, 101, 108, 108, 111])"]);
        assert_eq!(answer, b"PONG\r\nPUB $JS.ACK.bench.c.1.1.1.9.0 0\r\n\r\n");
    }

    #[test]
    fn a_refusal_is_no_confirm() {
        let input = b"MSG _I 1 12\r\n{\"error\":{}}\r\n";
        assert!(is_refused(JETSTREAM.ear, input));
    }
}
