//! A consumer of a queue that acknowledges every message, all of one read in one write.
//!
//! The publisher's bodies are numbered in a circle; every message is checked to be the next one.

use std::io::{Read, Write};
use std::net::TcpStream;

use anyhow::{Result, bail, ensure};

use crate::dialect::Chunk;
use crate::window::Window;

const READ_BYTES: usize = 256 * 1024;

/// A consuming connection.
#[derive(Debug)]
pub struct Consumer<'a> {
    stream: TcpStream,
    /// What stands before the handle of every message.
    prefix: &'a [u8],
    /// What stands after it: size and body, numbered from 0.
    suffixes: &'a Chunk,
    wants_acks: bool,
    /// Bytes of the last handle: the next is mostly as long.
    handle_bytes: usize,
    acks: Vec<u8>,
    consumed: u64,
}

impl<'a> Consumer<'a> {
    /// A consumer on a connection that has subscribed.
    #[must_use]
    pub fn new(stream: TcpStream, prefix: &'a [u8], suffixes: &'a Chunk, wants_acks: bool) -> Self {
        Consumer {
            stream,
            prefix,
            suffixes,
            wants_acks,
            handle_bytes: 0,
            acks: Vec::new(),
            consumed: 0,
        }
    }

    /// Consumes until the stream is ended. Says how many messages it were.
    pub fn run(mut self, window: &Window) -> Result<u64> {
        let mut buffer = vec![0; 2 * READ_BYTES];
        let mut filled = 0;
        loop {
            let count = self.stream.read(&mut buffer[filled..filled + READ_BYTES])?;
            if count == 0 {
                return Ok(self.consumed);
            }
            filled += count;
            let mut at = 0;
            while let Some(bytes) = self.take(&buffer[at..filled])? {
                at += bytes;
            }
            buffer.copy_within(at..filled, 0);
            filled -= at;
            if !self.acks.is_empty() {
                self.stream.write_all(&self.acks)?;
                self.acks.clear();
            }
            window.arrived(self.consumed);
        }
    }

    /// Takes the first message, if it is there whole. Says how many bytes it took.
    fn take(&mut self, input: &[u8]) -> Result<Option<usize>> {
        let start = self.prefix.len();
        if input.len() < start + self.handle_bytes + self.suffixes.frame_bytes {
            return Ok(None);
        }
        ensure!(
            input.starts_with(self.prefix),
            "not a message: {:?}",
            String::from_utf8_lossy(&input[..input.len().min(120)])
        );
        if self.handle_bytes == 0 || input[start + self.handle_bytes] != b' ' {
            let Some(bytes) = memchr::memchr(b' ', &input[start..]) else { return Ok(None) };
            self.handle_bytes = bytes;
        }
        let end = start + self.handle_bytes;
        let Some(rest) = input.get(end..end + self.suffixes.frame_bytes) else { return Ok(None) };
        let number = usize::try_from(self.consumed % self.suffixes.messages() as u64)?;
        if rest != self.suffixes.frames(number..number + 1) {
            bail!("message {} is {:?}", self.consumed, String::from_utf8_lossy(rest));
        }
        if self.wants_acks {
            self.acks.extend_from_slice(b"ACK msg_id:");
            self.acks.extend_from_slice(&input[start..end]);
            self.acks.push(b'\n');
        }
        self.consumed += 1;
        Ok(Some(end + self.suffixes.frame_bytes))
    }
}
