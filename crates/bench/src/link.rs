//! A connection: a blocking socket, and questions with answers before the load begins.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};

/// How long an answer may take.
const ANSWER_WITHIN: Duration = Duration::from_secs(30);

/// Something to say, and how its answer is known: see [`Answers`].
pub type Question<'a> = (&'a [u8], &'a [u8]);

/// How a broker answers, and so what the second half of a [`Question`] means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answers {
    /// In lines: how one of them begins.
    Lines,
    /// In bytes: how the answer ends.
    Bytes,
}

/// One connection.
#[derive(Debug)]
pub struct Link {
    stream: TcpStream,
}

impl Link {
    /// Connects.
    pub fn open(address: SocketAddr) -> Result<Link> {
        let stream = TcpStream::connect(address).with_context(|| format!("connect {address}"))?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(ANSWER_WITHIN))?;
        Ok(Link { stream })
    }

    /// Connects, and asks all questions.
    pub fn greeted(address: SocketAddr, questions: &[Question<'_>]) -> Result<Link> {
        let mut link = Link::open(address)?;
        for question in questions {
            link.ask(question)?;
        }
        Ok(link)
    }

    /// Connects, and asks all questions of a protocol that answers in this way.
    pub fn greeted_in(
        address: SocketAddr,
        answers: Answers,
        questions: &[Question<'_>],
    ) -> Result<Link> {
        if answers == Answers::Lines {
            return Link::greeted(address, questions);
        }
        let mut link = Link::open(address)?;
        for (said, end) in questions {
            link.stream.write_all(said)?;
            link.read_until(end)
                .with_context(|| format!("asked {:?}", said.escape_ascii().to_string()))?;
        }
        Ok(link)
    }

    /// Says something and reads lines until one begins as it should; an empty expectation waits
    /// for nothing.
    pub fn ask(&mut self, (said, expected): &Question<'_>) -> Result<String> {
        self.stream.write_all(said)?;
        if expected.is_empty() {
            return Ok(String::new());
        }
        loop {
            let line = self.read_line()?;
            if line.as_bytes().starts_with(expected) {
                return Ok(line);
            }
            if line.starts_with("ERR") || line.starts_with('-') {
                bail!("asked {:?}, got {line:?}", String::from_utf8_lossy(said));
            }
        }
    }

    /// One line, byte by byte: nothing behind it may be taken.
    fn read_line(&mut self) -> Result<String> {
        let mut line = Vec::new();
        let mut byte = [0];
        loop {
            ensure!(self.stream.read(&mut byte)? == 1, "closed in the middle of an answer");
            if byte == *b"\n" {
                return Ok(String::from_utf8_lossy(&line).trim_end().to_owned());
            }
            line.push(byte[0]);
        }
    }

    /// Reads until what came ends so, and not a byte more.
    fn read_until(&mut self, end: &[u8]) -> Result<()> {
        let mut read = Vec::new();
        let mut byte = [0];
        while !read.ends_with(end) {
            let got = self.stream.read(&mut byte);
            let so_far = || format!("after {:?}", read.escape_ascii().to_string());
            ensure!(got.with_context(so_far)? == 1, "closed {}", so_far());
            read.push(byte[0]);
        }
        Ok(())
    }

    /// One of the broker's counters.
    pub fn counter(&mut self, name: &str) -> Result<u64> {
        let answer = self.ask(&(b"STATS\n", b"OK"))?;
        let mut fields = answer.split(' ').filter_map(|field| field.split_once(':'));
        let value = fields.find(|(key, _)| *key == name).and_then(|(_, value)| value.parse().ok());
        value.with_context(|| format!("no {name} in {answer:?}"))
    }

    /// The socket, for the load.
    #[must_use]
    pub fn into_stream(self) -> TcpStream {
        self.stream
    }
}
