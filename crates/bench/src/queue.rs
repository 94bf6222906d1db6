//! Queues: publish, deliver, acknowledge.
//!
//! *Durable*: the publisher keeps a number of messages unconfirmed and counts the confirms.
//! *Transient*: the publisher asks for no confirms, and keeps a number of messages on their way to
//! the consumer. Both ways one consumer checks and acknowledges every message, and the time ends
//! when the broker has taken the last acknowledgement.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use courant_wire::text::{DestinationKind, reply, request};

use crate::consumer::Consumer;
use crate::cost::Usage;
use crate::dialect::Chunk;
use crate::frames;
use crate::link::{Link, Question};
use crate::report::{Costs, float};
use crate::server::Server;
use crate::window::Window;

const NAME: &[u8] = b"bench";
/// Bytes of a durable message.
pub(crate) const BODY_BYTES: usize = 256;
/// Durable messages that may be unconfirmed.
pub(crate) const IN_FLIGHT: usize = 1000;
/// Messages of one circle of bodies.
pub(crate) const CIRCLE: usize = 1000;
/// Transient messages on their way.
const TRANSIENT_ON_WAY: u64 = 16_000;
/// Durable messages that wait for their consumer: so many that it does not hold the publisher
/// back, so few that it stays near.
pub(crate) const DURABLE_ON_WAY: u64 = 50_000;

const CONNECT: Question<'static> = (b"CONNECT {\"verbose\":false}\n", b"OK");

/// What is run.
#[derive(Debug, Clone, Copy)]
pub struct QueueOptions {
    /// Whether both sides speak binary.
    pub is_binary: bool,
    /// Whether messages are committed and confirmed.
    pub is_durable: bool,
    /// Whether the consumer acknowledges; if not, the broker settles what it sends.
    pub acks: bool,
    /// Bytes of a body.
    pub body_bytes: usize,
    /// Messages that may be unconfirmed.
    pub in_flight: usize,
    /// The consumer's credit.
    pub credit: u32,
    /// How long publishing goes on.
    pub duration: Duration,
}

impl QueueOptions {
    /// Durable, acknowledged, in text: 256 bytes, 1,000 in flight.
    #[must_use]
    pub fn durable(credit: u32, duration: Duration) -> QueueOptions {
        QueueOptions {
            is_binary: false,
            is_durable: true,
            acks: true,
            body_bytes: BODY_BYTES,
            in_flight: IN_FLIGHT,
            credit,
            duration,
        }
    }
}

/// What a run showed.
#[derive(Debug, Clone)]
pub struct QueueRun {
    /// Costs per message, of publishing, delivering and acknowledging together.
    pub costs: Costs,
    /// Messages confirmed per second; nothing if none asked for it.
    pub confirmed_per_second: Option<f64>,
    /// Messages per committed batch of the log.
    pub messages_per_batch: f64,
}

/// Runs the load.
pub fn run(server: &Server, options: &QueueOptions) -> Result<QueueRun> {
    let mut control = Link::greeted(server.address(), &[CONNECT])?;
    let durable = if options.is_durable { "yes" } else { "no" };
    control.ask(&(format!("DECLARE queue:bench durable:{durable} req:d\n").as_bytes(), b"OK"))?;
    let consumer = subscribe(server, options)?;
    let publisher = connect(server, options)?;
    let out = outgoing(options)?;
    let window = Window::mine();
    let end = consumer.try_clone()?;
    let batches = control.counter("batches_committed")?;
    let (broker, client) = (server.usage()?, Usage::of(std::process::id())?);
    let begun = Instant::now();
    let (published, consumed) = std::thread::scope(|scope| {
        let consuming = scope.spawn(|| consume(consumer, &window, options));
        let published = publish(publisher, &out, &window, options);
        let settled = published.is_ok().then(|| settled(&mut control, server));
        let _ = end.shutdown(std::net::Shutdown::Read);
        let consumed = consuming.join().map_err(|_| anyhow::anyhow!("the consumer panicked"));
        (published.and_then(|done| settled.transpose().map(|_| done)), consumed)
    });
    let elapsed = begun.elapsed();
    let (broker_now, client_now) = (server.usage()?, Usage::of(std::process::id())?);
    let batches = control.counter("batches_committed")? - batches;
    let consumed = consumed??;
    let published = published.with_context(|| format!("{consumed} were consumed"))?;
    ensure!(consumed == published.messages, "{} published, {consumed} arrived", published.messages);
    let costs = Costs {
        messages: consumed,
        seconds: elapsed.as_secs_f64(),
        broker_ns: broker_now.cpu_ns_since(&broker),
        client_ns: client_now.cpu_ns_since(&client),
        threads: broker_now.by_thread_since(&broker),
        rss_peak_kib: server.rss_peak_kib()?,
        sent_bytes: float(consumed) * float(out.frame_bytes as u64),
    };
    let confirmed = options.is_durable.then(|| float(published.messages) / published.seconds);
    let messages_per_batch = float(consumed) / float(batches.max(1));
    Ok(QueueRun { costs, confirmed_per_second: confirmed, messages_per_batch })
}

/// The publisher's connection.
fn connect(server: &Server, options: &QueueOptions) -> Result<TcpStream> {
    if options.is_binary {
        return frames::publisher(server.address());
    }
    let verbose = format!("CONNECT {{\"verbose\":{}}}\n", options.is_durable);
    Ok(Link::greeted(server.address(), &[(verbose.as_bytes(), b"OK")])?.into_stream())
}

/// What is published, again and again.
fn outgoing(options: &QueueOptions) -> Result<Chunk> {
    if options.is_binary {
        return frames::chunk(NAME, u32::from(options.is_durable), CIRCLE, options.body_bytes);
    }
    Ok(Chunk::new(CIRCLE, options.body_bytes, |out, body| {
        request::publish(out, DestinationKind::Queue, NAME, body);
    }))
}

/// Consumes until the stream ends.
fn consume(stream: TcpStream, window: &Window, options: &QueueOptions) -> Result<u64> {
    if options.is_binary {
        let bodies = Chunk::new(CIRCLE, options.body_bytes, Vec::extend_from_slice);
        return frames::consume(stream, &bodies, options.acks, window);
    }
    let suffixes = Chunk::new(CIRCLE, options.body_bytes, |out, body| {
        reply::live_msg(out, b"", body);
    });
    let mut prefix = Vec::new();
    reply::msg_prefix(&mut prefix, b"queue:bench", Some(b"c"), None);
    Consumer::new(stream, &prefix, &suffixes, options.acks).run(window)
}

/// The consumer's connection.
fn subscribe(server: &Server, options: &QueueOptions) -> Result<TcpStream> {
    if options.is_binary {
        return frames::consumer(server.address(), NAME, options);
    }
    let ack = if options.acks { "manual" } else { "auto" };
    let credit = options.credit;
    let said = format!("SUB queue:bench sub_id:c ack:{ack} credit:{credit} req:s\n");
    let questions = [CONNECT, (said.as_bytes(), b"OK"), (b"PING\n", b"PONG")];
    Ok(Link::greeted(server.address(), &questions)?.into_stream())
}

/// Waits until the broker has nothing left of what it delivered.
fn settled(control: &mut Link, server: &Server) -> Result<()> {
    let begun = Instant::now();
    loop {
        let answer = control.ask(&(b"STATS queue:bench\n", b"OK"))?;
        let is_left = |name| {
            let field = answer.split(' ').find_map(|field| field.strip_prefix(name));
            field.is_none_or(|count| count != "0")
        };
        if !is_left("ready:") && !is_left("open:") {
            return Ok(());
        }
        ensure!(
            begun.elapsed() < Duration::from_secs(10),
            "still unsettled in process {}: {answer}",
            server.pid()
        );
        std::thread::sleep(Duration::from_millis(1));
    }
}

struct PublishedAll {
    messages: u64,
    /// Until the last confirm, or the last write.
    seconds: f64,
}

fn publish(
    stream: TcpStream,
    chunk: &Chunk,
    window: &Window,
    options: &QueueOptions,
) -> Result<PublishedAll> {
    let begun = Instant::now();
    let messages = if options.is_durable && options.is_binary {
        frames::publish_confirmed(stream, chunk, window, options)?
    } else if options.is_durable {
        publish_confirmed(stream, chunk, window, options)?
    } else {
        publish_only(stream, chunk, window, options)?
    };
    let seconds = begun.elapsed().as_secs_f64();
    window.wait(messages, 0)?;
    Ok(PublishedAll { messages, seconds })
}

fn publish_only(
    mut stream: TcpStream,
    chunk: &Chunk,
    window: &Window,
    options: &QueueOptions,
) -> Result<u64> {
    let per_chunk = chunk.messages() as u64;
    let mut sent = 0;
    let deadline = Instant::now() + options.duration;
    while Instant::now() < deadline {
        window.wait(sent + per_chunk, TRANSIENT_ON_WAY)?;
        stream.write_all(&chunk.bytes)?;
        sent += per_chunk;
    }
    Ok(sent)
}

/// Keeps the window full: writes as many as were confirmed, then reads confirms.
fn publish_confirmed(
    mut stream: TcpStream,
    chunk: &Chunk,
    window: &Window,
    options: &QueueOptions,
) -> Result<u64> {
    let circle = chunk.messages();
    let deadline = Instant::now() + options.duration;
    let (mut sent, mut confirmed) = (0u64, 0u64);
    let mut buffer = vec![0; 256 * 1024];
    let mut is_line_start = true;
    loop {
        let is_over = Instant::now() >= deadline;
        if is_over && confirmed == sent {
            return Ok(sent);
        }
        if !is_over {
            let room = options.in_flight - usize::try_from(sent - confirmed)?;
            let start = usize::try_from(sent % circle as u64)?;
            let first = room.min(circle - start);
            window.wait(sent, DURABLE_ON_WAY)?;
            stream.write_all(chunk.frames(start..start + first))?;
            if first < room {
                stream.write_all(chunk.frames(0..room - first))?;
            }
            sent += room as u64;
        }
        let count = stream.read(&mut buffer)?;
        ensure!(count > 0, "closed after {confirmed} confirms");
        confirmed += confirms(&buffer[..count], &mut is_line_start)?;
    }
}

/// Counts lines, each of which must begin like an OK.
fn confirms(input: &[u8], is_line_start: &mut bool) -> Result<u64> {
    let mut lines = 0;
    let mut start = 0;
    if *is_line_start && let Some(first) = input.first() {
        ensure!(*first == b'O', "not an OK: {:?}", String::from_utf8_lossy(input));
    }
    while let Some(length) = memchr::memchr(b'\n', &input[start..]) {
        lines += 1;
        start += length + 1;
        if let Some(first) = input.get(start) {
            let line = &input[start..];
            ensure!(*first == b'O', "not an OK: {:?}", String::from_utf8_lossy(line));
        }
    }
    *is_line_start = start == input.len();
    Ok(lines)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn confirms_are_counted_however_they_are_cut() {
        let stream = b"OK msg_id:1\nOK msg_id:2\nOK msg_id:3\n";
        for cut in 0..stream.len() {
            let mut start = true;
            let lines = confirms(&stream[..cut], &mut start).unwrap()
                + confirms(&stream[cut..], &mut start).unwrap();
            assert_eq!((lines, start), (3, true), "{cut}");
        }
    }

    #[test]
    fn a_refusal_is_no_confirm() {
        let mut start = true;
        assert!(confirms(b"OK msg_id:1\nERR 401 no\n", &mut start).is_err());
        let mut start = true;
        assert!(confirms(b"ERR 401 no\n", &mut start).is_err());
    }
}
