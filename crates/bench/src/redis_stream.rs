//! A Redis stream with a consumer group: what one read brought is acknowledged in one command, and
//! then the next is read.

use anyhow::{Context, Result, bail, ensure};

use crate::durable::{Durable, Ear, Hear, Heard};
use crate::link::Answers;

const READ: &[u8] = b"XREADGROUP GROUP g c COUNT 1000 BLOCK 0 STREAMS bench >\r\n";

/// The stream `bench`, group `g`.
pub const REDIS_STREAM: Durable = Durable {
    answers: Answers::Lines,
    publisher: &[(b"XGROUP CREATE bench g 0 MKSTREAM\r\n", b"+OK")],
    consumer: &[(b"PING\r\n", b"+PONG"), (READ, b"")],
    publish: |out, body| {
        out.extend_from_slice(b"*5\r\n$4\r\nXADD\r\n$5\r\nbench\r\n$1\r\n*\r\n$1\r\nb\r\n");
        bulk(out, body);
    },
    before: |_, _| {},
    ear: || Box::new(StreamEar::default()),
};

fn bulk(out: &mut Vec<u8>, bytes: &[u8]) {
    out.extend_from_slice(format!("${}\r\n", bytes.len()).as_bytes());
    out.extend_from_slice(bytes);
    out.extend_from_slice(b"\r\n");
}

#[derive(Default)]
struct StreamEar {
    /// Entries of the current read that have not come.
    left: u64,
    /// Their acknowledgement, as far as they came.
    ack: Vec<u8>,
}

impl Ear for StreamEar {
    fn take(
        &mut self,
        input: &[u8],
        answer: &mut Vec<u8>,
        hear: Hear<'_>,
    ) -> Result<Option<usize>> {
        let mut reply = Reply { input, at: 0 };
        let is_whole = match (input.first(), self.left) {
            (None, _) => false,
            (Some(b':'), 0) => reply.number(b':')?.is_some(),
            (Some(b'$'), 0) => match reply.bulk()? {
                Some(_) => hear(Heard::Confirmed(1)).map(|()| true)?,
                None => false,
            },
            (Some(b'*'), 0) => self.begin(&mut reply)?.is_some(),
            (Some(b'*'), _) => match self.entry(&mut reply, answer)? {
                Some(body) => hear(Heard::Message(body)).map(|()| true)?,
                None => false,
            },
            _ => bail!("redis-server says {:?}", String::from_utf8_lossy(input)),
        };
        Ok(is_whole.then_some(reply.at))
    }
}

impl StreamEar {
    /// What stands before the entries of one read: one stream, its name, how many there are.
    fn begin(&mut self, reply: &mut Reply<'_>) -> Result<Option<()>> {
        let Some(()) = reply.exactly(b"*1\r\n*2\r\n$5\r\nbench\r\n")? else { return Ok(None) };
        let Some(count) = reply.number(b'*')? else { return Ok(None) };
        self.left = count;
        let head = format!("*{}\r\n$4\r\nXACK\r\n$5\r\nbench\r\n$1\r\ng\r\n", count + 3);
        self.ack.extend_from_slice(head.as_bytes());
        Ok(Some(()))
    }

    /// One entry: its id, and one field with its value, which is the body.
    fn entry<'a>(
        &mut self,
        reply: &mut Reply<'a>,
        answer: &mut Vec<u8>,
    ) -> Result<Option<&'a [u8]>> {
        let Some(()) = reply.exactly(b"*2\r\n")? else { return Ok(None) };
        let Some(id) = reply.bulk()? else { return Ok(None) };
        let Some(()) = reply.exactly(b"*2\r\n$1\r\nb\r\n")? else { return Ok(None) };
        let Some(body) = reply.bulk()? else { return Ok(None) };
        bulk(&mut self.ack, id);
        self.left -= 1;
        if self.left == 0 {
            answer.append(&mut self.ack);
            answer.extend_from_slice(READ);
        }
        Ok(Some(body))
    }
}

/// A reply as it is read; nothing where it is not there whole.
struct Reply<'a> {
    input: &'a [u8],
    at: usize,
}

impl<'a> Reply<'a> {
    /// These bytes.
    fn exactly(&mut self, expected: &[u8]) -> Result<Option<()>> {
        let rest = &self.input[self.at..];
        let there = &rest[..rest.len().min(expected.len())];
        ensure!(expected.starts_with(there), "redis-server says {}", there.escape_ascii());
        self.at += there.len();
        Ok((there.len() == expected.len()).then_some(()))
    }

    /// A line with this sign and a number.
    fn number(&mut self, sign: u8) -> Result<Option<u64>> {
        let rest = &self.input[self.at..];
        let Some(end) = memchr::memchr(b'\n', rest) else { return Ok(None) };
        let line = std::str::from_utf8(&rest[..end])?.trim_end();
        let number = line.strip_prefix(char::from(sign)).and_then(|digits| digits.parse().ok());
        self.at += end + 1;
        number.map(Some).with_context(|| format!("redis-server says {line:?}"))
    }

    fn bulk(&mut self) -> Result<Option<&'a [u8]>> {
        let Some(length) = self.number(b'$')? else { return Ok(None) };
        let end = self.at + usize::try_from(length)?;
        if self.input.len() < end + 2 {
            return Ok(None);
        }
        ensure!(self.input[end..].starts_with(b"\r\n"), "no end of line after {length} bytes");
        let bytes = &self.input[self.at..end];
        self.at = end + 2;
        Ok(Some(bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::durable::{cut_anywhere, is_refused};

    #[test]
    fn adds_are_confirmed() {
        let (heard, answer) = cut_anywhere(REDIS_STREAM.ear, b"$3\r\n1-0\r\n$3\r\n1-1\r\n");
        assert_eq!(heard, ["Confirmed(1)", "Confirmed(1)"]);
        assert!(answer.is_empty());
        let mut out = Vec::new();
        (REDIS_STREAM.publish)(&mut out, b"hey");
        let literal = "*5\r\n$4\r\nXADD\r\n$5\r\nbench\r\n$1\r\n*\r\n$1\r\nb\r\n$3\r\nhey\r\n";
        assert_eq!(out, literal.as_bytes());
    }

    #[test]
    fn one_read_is_acknowledged_at_its_end() {
        let input = b"*1\r\n*2\r\n$5\r\nbench\r\n*2\r\n\
                      *2\r\n$3\r\n1-0\r\n*2\r\n$1\r\nb\r\n$1\r\nA\r\n\
                      *2\r\n$3\r\n1-1\r\n*2\r\n$1\r\nb\r\n$1\r\nB\r\n:2\r\n";
        let (heard, answer) = cut_anywhere(REDIS_STREAM.ear, input);
        assert_eq!(heard, ["Message([65])", "Message([66])"]);
        let ack = "*5\r\n$4\r\nXACK\r\n$5\r\nbench\r\n$1\r\ng\r\n$3\r\n1-0\r\n$3\r\n1-1\r\n";
        assert_eq!(answer, [ack.as_bytes(), READ].concat());
    }

    #[test]
    fn an_error_is_no_confirm() {
        assert!(is_refused(REDIS_STREAM.ear, b"-ERR no\r\n"));
    }
}
