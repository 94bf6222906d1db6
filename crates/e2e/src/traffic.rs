//! Many numbered messages, quickly: a publisher that keeps a window full, and a consumer that acks
//! many at once. Each body says which number it is and can be checked.

use std::fmt::Write;
use std::net::SocketAddr;

use courant_wire::Handle;

use crate::client::{
    ACKS_PER_LINE, ANSWER_WITHIN, Client, ClientError, Incoming, Message, Notice, Refused,
};
use crate::random::mix;

/// Messages sent and not answered.
const WINDOW_MESSAGES: u64 = 20_000;
/// Bytes of bodies sent and not answered.
const WINDOW_BYTES: u64 = 8 << 20;
/// Bytes of one write.
const BURST_BYTES: usize = 64 << 10;
/// The smallest body: its number.
pub const BODY_BYTES_MIN: usize = 8;

/// Appends the body of message `number`, of `bytes` bytes.
pub fn append_body(number: u64, bytes: usize, out: &mut Vec<u8>) {
    let end = out.len() + bytes;
    let mut word = number;
    while out.len() < end {
        let part = word.to_le_bytes();
        out.extend_from_slice(&part[..part.len().min(end - out.len())]);
        word = mix(word.wrapping_add(1));
    }
}

/// The number of a body, if it is whole.
pub fn number_of(body: &[u8]) -> Option<u64> {
    let number = u64::from_le_bytes(body.get(..BODY_BYTES_MIN)?.try_into().ok()?);
    let mut word = number;
    for part in body.chunks(8) {
        if part != &word.to_le_bytes()[..part.len()] {
            return None;
        }
        word = mix(word.wrapping_add(1));
    }
    Some(number)
}

/// What became of one message.
pub type Answer<'a> = dyn FnMut(u64, Result<(), Refused>) + 'a;

/// Publishes messages 0, 1, 2 … to one destination.
#[derive(Debug)]
pub struct Publisher {
    client: Client,
    destination: String,
    body_bytes: usize,
    window: u64,
    sent: u64,
    answered: u64,
    output: Vec<u8>,
}

impl Publisher {
    /// Connects. Bodies have `body_bytes` bytes, at least [`BODY_BYTES_MIN`].
    pub fn new(
        address: SocketAddr,
        destination: &str,
        body_bytes: usize,
    ) -> Result<Self, ClientError> {
        let client = Client::connect(address)?;
        let body_bytes = body_bytes.max(BODY_BYTES_MIN);
        let window = (WINDOW_BYTES / body_bytes as u64).clamp(1, WINDOW_MESSAGES);
        let destination = destination.to_owned();
        Ok(Self {
            client,
            destination,
            body_bytes,
            window,
            sent: 0,
            answered: 0,
            output: Vec::new(),
        })
    }

    /// Goes on with another number.
    #[must_use]
    pub fn starting_at(mut self, number: u64) -> Self {
        (self.sent, self.answered) = (number, number);
        self
    }

    /// The next number.
    pub fn sent(&self) -> u64 {
        self.sent
    }

    /// Sends `count` messages; waits for answers only where the window is full.
    pub fn publish(&mut self, count: u64, answer: &mut Answer<'_>) -> Result<(), ClientError> {
        let end = self.sent + count;
        while self.sent < end {
            self.output.clear();
            while self.sent < end && self.output.len() < BURST_BYTES {
                let line = format!("PUB {} {}\n", self.destination, self.body_bytes);
                self.output.extend_from_slice(line.as_bytes());
                append_body(self.sent, self.body_bytes, &mut self.output);
                self.output.push(b'\n');
                self.sent += 1;
            }
            self.client.send(&self.output)?;
            if self.sent - self.answered >= self.window {
                self.wait(self.window / 2, answer)?;
            }
        }
        Ok(())
    }

    /// Waits until all are answered.
    pub fn finish(&mut self, answer: &mut Answer<'_>) -> Result<(), ClientError> {
        self.wait(0, answer)
    }

    fn wait(&mut self, level: u64, answer: &mut Answer<'_>) -> Result<(), ClientError> {
        while self.sent - self.answered > level {
            match self.client.incoming(ANSWER_WITHIN)? {
                Incoming::Ok(_) => answer(self.answered, Ok(())),
                Incoming::Err(refused) => answer(self.answered, Err(refused)),
                // Told of an alarm; what is refused says so itself.
                Incoming::Notice(Notice { verb: "BLOCKED" | "UNBLOCKED", .. }) => continue,
                other => return Err(ClientError::Unexpected("a confirm", format!("{other:?}"))),
            }
            self.answered += 1;
        }
        Ok(())
    }
}

/// Takes messages; gets an answer to an ack only where it asks for one.
#[derive(Debug)]
pub struct Consumer {
    client: Client,
    acks: String,
    count: usize,
}

impl Consumer {
    /// Connects and subscribes; a delivery may stay open for an hour.
    pub fn new(address: SocketAddr, destination: &str, credit: u32) -> Result<Self, ClientError> {
        let mut client = Client::connect_quiet(address)?;
        let line = format!("SUB {destination} req:sub credit:{credit} visibility:3600000");
        client.line(&line)?;
        Ok(Self { client, acks: String::new(), count: 0 })
    }

    /// The next message.
    pub fn take(&mut self) -> Result<Message, ClientError> {
        self.client.message()
    }

    /// Does nothing but be there; see [`Client::stay`].
    pub fn stay(&mut self) -> Result<(), ClientError> {
        self.client.stay()
    }

    /// Acks one, together with others.
    pub fn ack(&mut self, handle: Handle) -> Result<(), ClientError> {
        let _ = write!(self.acks, " msg_id:{handle}");
        self.count += 1;
        if self.count >= ACKS_PER_LINE { self.flush("") } else { Ok(()) }
    }

    /// Sends the acks so far.
    pub fn send_acks(&mut self) -> Result<(), ClientError> {
        if self.count > 0 { self.flush("") } else { Ok(()) }
    }

    /// Acks what is left, and waits until all acks are on disk.
    pub fn finish(&mut self) -> Result<(), ClientError> {
        if self.count == 0 {
            return Ok(());
        }
        self.flush(" confirm:synced req:last")?;
        match self.client.reply()? {
            Incoming::Ok(_) => Ok(()),
            other => Err(ClientError::Unexpected("OK", format!("{other:?}"))),
        }
    }

    fn flush(&mut self, options: &str) -> Result<(), ClientError> {
        let line = format!("ACK{}{options}\n", self.acks);
        self.acks.clear();
        self.count = 0;
        self.client.send(line.as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::{append_body, number_of};

    #[test]
    fn a_body_says_its_number_and_shows_damage() {
        for bytes in [8, 9, 256, 1000] {
            let mut body = Vec::new();
            append_body(77, bytes, &mut body);
            assert_eq!((body.len(), number_of(&body)), (bytes, Some(77)));
            if let Some(last) = body.get_mut(8..).and_then(<[u8]>::last_mut) {
                *last ^= 1;
                assert_eq!(number_of(&body), None);
            }
        }
    }
}
