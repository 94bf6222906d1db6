//! Durable queues of other brokers, and of the binary door: publish with confirms, deliver,
//! acknowledge, as [`queue`] does it through the text door.
//!
//! The publisher keeps 1,000 messages unconfirmed. One consumer compares every body with
//! what was published, in order, and acknowledges it.
//!
//! [`queue`]: crate::queue

use std::io::{IoSlice, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use crate::cost::Usage;
use crate::dialect::Chunk;
use crate::link::{Answers, Link, Question};
use crate::queue::{BODY_BYTES, CIRCLE, DURABLE_ON_WAY, IN_FLIGHT};
use crate::report::{Costs, float};
use crate::server::Server;
use crate::window::Window;

const BUFFER_BYTES: usize = 512 * 1024;

/// How one broker keeps messages.
#[derive(Clone, Copy)]
pub struct Durable {
    /// How it answers before the load.
    pub answers: Answers,
    /// What the publisher says before the load; it comes first.
    pub publisher: &'static [Question<'static>],
    /// What the consumer says before the load.
    pub consumer: &'static [Question<'static>],
    /// Appends a message as it is published; all have one length.
    pub publish: fn(&mut Vec<u8>, &[u8]),
    /// Appends what stands before so many bytes of messages that are published together.
    pub before: fn(&mut Vec<u8>, usize),
    /// Understands what the broker says under load, on one connection.
    pub ear: fn() -> Box<dyn Ear>,
}

impl std::fmt::Debug for Durable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Durable").field("answers", &self.answers).finish_non_exhaustive()
    }
}

/// What a broker said.
#[derive(Debug, PartialEq, Eq)]
pub enum Heard<'a> {
    /// So many more messages are confirmed.
    Confirmed(u64),
    /// A message came, with this body.
    Message(&'a [u8]),
}

/// Who is told of it.
pub type Hear<'a> = &'a mut dyn FnMut(Heard<'_>) -> Result<()>;

/// Understands one connection.
pub trait Ear: Send {
    /// Takes the first thing said, if it is there whole, and says how many bytes it has. Tells what
    /// it means, appends what is to be answered.
    ///
    /// # Errors
    /// If it is a refusal or nothing known.
    fn take(&mut self, input: &[u8], answer: &mut Vec<u8>, hear: Hear<'_>)
    -> Result<Option<usize>>;
}

/// Runs the load: costs per message, of publishing, delivering and acknowledging together, and
/// messages confirmed per second.
pub fn run(server: &Server, durable: &Durable, within: Duration) -> Result<(Costs, f64)> {
    let open = |questions| Link::greeted_in(server.address(), durable.answers, questions);
    let publisher = Talk::new(open(durable.publisher)?.into_stream(), durable);
    let consumer = open(durable.consumer)?.into_stream();
    let end = consumer.try_clone()?;
    let consumer = Talk::new(consumer, durable);
    let out = Chunk::new(CIRCLE, BODY_BYTES, durable.publish);
    let bodies = Chunk::new(CIRCLE, BODY_BYTES, Vec::extend_from_slice);
    let window = Window::mine();

    let (broker, client) = (server.usage()?, Usage::of(std::process::id())?);
    let begun = Instant::now();
    let (published, consumed) = std::thread::scope(|scope| {
        let consuming = scope.spawn(|| consume(consumer, &bodies, &window));
        let publishing = (publisher, durable.before);
        let published = publish(publishing, &out, &window, within).and_then(|messages| {
            let seconds = begun.elapsed().as_secs_f64();
            window.wait(messages, 0)?;
            Ok((messages, seconds))
        });
        let _ = end.shutdown(std::net::Shutdown::Read);
        (published, consuming.join().map_err(|_| anyhow::anyhow!("the consumer panicked")))
    });
    let elapsed = begun.elapsed();
    let (broker_now, client_now) = (server.usage()?, Usage::of(std::process::id())?);
    let consumed = consumed??;
    let (messages, seconds) = published.with_context(|| format!("{consumed} were consumed"))?;
    ensure!(consumed == messages, "{messages} published, {consumed} arrived");
    let costs = Costs {
        messages,
        seconds: elapsed.as_secs_f64(),
        broker_ns: broker_now.cpu_ns_since(&broker),
        client_ns: client_now.cpu_ns_since(&client),
        threads: broker_now.by_thread_since(&broker),
        rss_peak_kib: server.rss_peak_kib()?,
        sent_bytes: float(messages) * float(out.frame_bytes as u64),
    };
    Ok((costs, float(messages) / seconds))
}

/// Keeps the window full: writes as many as were confirmed, then reads confirms.
fn publish(
    (mut talk, before): (Talk, fn(&mut Vec<u8>, usize)),
    chunk: &Chunk,
    window: &Window,
    within: Duration,
) -> Result<u64> {
    let circle = chunk.messages();
    let deadline = Instant::now() + within;
    let (mut sent, mut confirmed) = (0u64, 0u64);
    let mut head = Vec::new();
    loop {
        let is_over = Instant::now() >= deadline;
        if is_over && confirmed == sent {
            return Ok(sent);
        }
        if !is_over {
            let room = IN_FLIGHT - usize::try_from(sent - confirmed)?;
            let start = usize::try_from(sent % circle as u64)?;
            let first = room.min(circle - start);
            window.wait(sent, DURABLE_ON_WAY)?;
            for frames in [chunk.frames(start..start + first), chunk.frames(0..room - first)] {
                if !frames.is_empty() {
                    head.clear();
                    before(&mut head, frames.len());
                    talk.write(&head, frames)?;
                }
            }
            sent += room as u64;
        }
        let is_open = talk.listen(|heard| {
            if let Heard::Confirmed(more) = heard {
                confirmed += more;
            }
            Ok(())
        })?;
        ensure!(is_open, "closed after {confirmed} confirms");
        ensure!(confirmed <= sent, "{confirmed} confirms for {sent} messages");
    }
}

/// Consumes until the stream is ended. Says how many messages it were.
fn consume(mut talk: Talk, bodies: &Chunk, window: &Window) -> Result<u64> {
    let mut consumed = 0;
    loop {
        let is_open = talk.listen(|heard| {
            if let Heard::Message(body) = heard {
                let number = usize::try_from(consumed % bodies.messages() as u64)?;
                if body != bodies.frames(number..number + 1) {
                    bail!("message {consumed} is {:?}", String::from_utf8_lossy(body));
                }
                consumed += 1;
            }
            Ok(())
        })?;
        window.arrived(consumed);
        if !is_open {
            return Ok(consumed);
        }
    }
}

/// One connection under load.
struct Talk {
    stream: TcpStream,
    ear: Box<dyn Ear>,
    buffer: Vec<u8>,
    filled: usize,
    answer: Vec<u8>,
}

impl Talk {
    fn new(stream: TcpStream, durable: &Durable) -> Talk {
        let (buffer, ear) = (vec![0; BUFFER_BYTES], (durable.ear)());
        Talk { stream, ear, buffer, filled: 0, answer: Vec::new() }
    }

    /// Writes both in one call, mostly.
    fn write(&mut self, head: &[u8], frames: &[u8]) -> Result<()> {
        let mut parts = [IoSlice::new(head), IoSlice::new(frames)];
        let mut left = &mut parts[..];
        while !left.is_empty() {
            let count = self.stream.write_vectored(left)?;
            ensure!(count > 0, "the broker takes nothing");
            IoSlice::advance_slices(&mut left, count);
        }
        Ok(())
    }

    /// Reads once and answers all of it at once. Says whether the stream goes on.
    fn listen(&mut self, mut hear: impl FnMut(Heard<'_>) -> Result<()>) -> Result<bool> {
        ensure!(self.filled < self.buffer.len(), "more than {BUFFER_BYTES} bytes in one piece");
        let count = self.stream.read(&mut self.buffer[self.filled..])?;
        self.filled += count;
        let mut at = 0;
        while let Some(bytes) =
            self.ear.take(&self.buffer[at..self.filled], &mut self.answer, &mut hear)?
        {
            at += bytes;
        }
        self.buffer.copy_within(at..self.filled, 0);
        self.filled -= at;
        if !self.answer.is_empty() {
            self.stream.write_all(&self.answer)?;
            self.answer.clear();
        }
        Ok(count > 0)
    }
}

/// Whether it is an error.
#[cfg(test)]
pub(crate) fn is_refused(ear: fn() -> Box<dyn Ear>, input: &[u8]) -> bool {
    ear().take(input, &mut Vec::new(), &mut |_| Ok(())).is_err()
}

/// All that an ear makes of some input that comes in two pieces, cut anywhere: for tests.
#[cfg(test)]
pub(crate) fn cut_anywhere(ear: fn() -> Box<dyn Ear>, input: &[u8]) -> (Vec<String>, Vec<u8>) {
    let run = |cut: usize| {
        let (mut ear, mut all, mut answer) = (ear(), Vec::new(), Vec::new());
        let mut at = 0;
        for end in [cut, input.len()] {
            let mut hear = |heard: Heard<'_>| {
                all.push(format!("{heard:?}"));
                Ok(())
            };
            while let Some(bytes) = ear.take(&input[at..end], &mut answer, &mut hear).unwrap() {
                at += bytes;
            }
        }
        assert_eq!(at, input.len(), "cut at {cut}");
        (all, answer)
    };
    let whole = run(input.len());
    for cut in 0..input.len() {
        assert_eq!(run(cut), whole, "cut at {cut}");
    }
    whole
}
