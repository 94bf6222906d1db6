//! The live path: publishers to subscribers, at most once, as fast as the broker goes.
//!
//! One thread writes chunks for all publishers, one reads for all subscribers. The writer keeps at
//! most [`LiveOptions::window_bytes`] on their way to the slowest subscriber, so that the broker
//! need not drop anything; a run in which something was dropped fails.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use rustix::event::{PollFd, PollFlags, poll};

use crate::cost::Usage;
use crate::dialect::{COURANT, Chunk, Dialect};
use crate::report::{Costs, float};
use crate::server::Server;
use crate::window::Window;

const READ_BYTES: usize = 256 * 1024;
/// How often a subscriber shows that it is there.
const SIGN_EVERY: Duration = Duration::from_secs(5);

/// What is run.
#[derive(Debug, Clone, Copy)]
pub struct LiveOptions {
    /// Connections that publish.
    pub publishers: usize,
    /// Connections that subscribe.
    pub subscribers: usize,
    /// Bytes of a body.
    pub body_bytes: usize,
    /// Bytes of one write.
    pub chunk_bytes: usize,
    /// Delivered bytes on their way to one subscriber.
    pub window_bytes: u64,
    /// How long publishing goes on.
    pub duration: Duration,
}

impl LiveOptions {
    /// 16 bytes through one publisher and one subscriber.
    #[must_use]
    pub fn new(publishers: usize, subscribers: usize, duration: Duration) -> LiveOptions {
        let chunk_bytes = if publishers > 1 { 8 << 10 } else { 64 << 10 };
        LiveOptions {
            publishers,
            subscribers,
            body_bytes: 16,
            chunk_bytes,
            window_bytes: 1 << 20,
            duration,
        }
    }
}

/// Runs the load; costs are per message delivered.
pub fn run(server: &Server, dialect: &Dialect, options: &LiveOptions) -> Result<Costs> {
    let address = server.address();
    let mut publishers = Vec::new();
    for _ in 0..options.publishers {
        publishers.push(dialect.publisher(address)?.into_stream());
    }
    let mut subscribers = Vec::new();
    for _ in 0..options.subscribers {
        subscribers.push(dialect.subscriber(address)?.into_stream());
    }
    let frame = Chunk::new(1, options.body_bytes, dialect.publish).frame_bytes;
    let per_chunk = options.chunk_bytes / frame;
    let out = Chunk::published(per_chunk, options.body_bytes, dialect);
    let expected = Chunk::new(per_chunk, options.body_bytes, dialect.deliver);
    let window = Window::mine();
    let counted = Counted::read(server, dialect)?;

    let (broker, client) = (server.usage()?, Usage::of(std::process::id())?);
    let begun = Instant::now();
    let (sent, arrived) = std::thread::scope(|scope| {
        let reader = scope.spawn(|| {
            let mut reading = Reading::new(&subscribers, &expected, dialect);
            reading.run(&window)
        });
        let sent = publish(&mut publishers, &out, &expected, &window, options);
        // The end of publishing is the end of the streams' growth: the reader stops by itself.
        for subscriber in &subscribers {
            let _ = subscriber.shutdown(std::net::Shutdown::Read);
        }
        let arrived = reader.join().map_err(|_| anyhow::anyhow!("the reader panicked"));
        (sent, arrived)
    });
    let elapsed = begun.elapsed();
    let (broker_now, client_now) = (server.usage()?, Usage::of(std::process::id())?);
    let arrived = arrived??;
    let now = Counted::read(server, dialect)?;
    let dropped = now.dropped - counted.dropped;
    let sent = sent.with_context(|| {
        let name = dialect.name;
        format!("{name}: one subscriber got {arrived} messages; {dropped} were dropped")
    })?;
    ensure!(sent == arrived, "{sent} messages were published, {arrived} arrived");
    let messages = sent * options.subscribers as u64;
    let delivered = now.delivered - counted.delivered;
    ensure!(
        !dialect.has_stats || (delivered, dropped) == (messages, 0),
        "{messages} messages arrived; the broker counted {delivered}, and {dropped} dropped"
    );
    Ok(Costs {
        messages,
        seconds: elapsed.as_secs_f64(),
        broker_ns: broker_now.cpu_ns_since(&broker),
        client_ns: client_now.cpu_ns_since(&client),
        threads: broker_now.by_thread_since(&broker),
        rss_peak_kib: server.rss_peak_kib()?,
        sent_bytes: float(sent) * float(out.frame_bytes as u64),
    })
}

/// What the broker says it did.
#[derive(Debug, Default)]
struct Counted {
    delivered: u64,
    dropped: u64,
}

impl Counted {
    fn read(server: &Server, dialect: &Dialect) -> Result<Counted> {
        if !dialect.has_stats {
            return Ok(Counted::default());
        }
        let mut control = COURANT.publisher(server.address())?;
        let delivered = control.counter("live_delivered")?;
        Ok(Counted { delivered, dropped: control.counter("live_dropped")? })
    }
}

/// Publishes until the time is over, then waits until all has arrived. Says how many messages.
fn publish(
    publishers: &mut [TcpStream],
    chunk: &Chunk,
    expected: &Chunk,
    window: &Window,
    options: &LiveOptions,
) -> Result<u64> {
    let on_way = options.window_bytes / expected.frame_bytes as u64;
    let per_chunk = chunk.messages() as u64;
    let deadline = Instant::now() + options.duration;
    let mut sent = 0;
    while Instant::now() < deadline {
        for publisher in &mut *publishers {
            window.wait(sent + per_chunk, on_way.max(per_chunk))?;
            publisher.write_all(&chunk.bytes)?;
            sent += per_chunk;
        }
    }
    window.wait(sent, 0)?;
    Ok(sent)
}

/// Reads for all subscribers.
struct Reading<'a> {
    streams: &'a [TcpStream],
    expected: &'a Chunk,
    dialect: &'a Dialect,
    /// Bytes that each got.
    bytes: Vec<u64>,
    /// The last bytes that each got, one frame of them.
    tails: Vec<Vec<u8>>,
    buffer: Vec<u8>,
}

impl<'a> Reading<'a> {
    fn new(streams: &'a [TcpStream], expected: &'a Chunk, dialect: &'a Dialect) -> Self {
        let (bytes, tails) = (vec![0; streams.len()], vec![Vec::new(); streams.len()]);
        let buffer = vec![0; READ_BYTES];
        Reading { streams, expected, dialect, bytes, tails, buffer }
    }

    /// Reads until the streams end. Says how many messages the one that got least got.
    fn run(&mut self, window: &Window) -> Result<u64> {
        let frame = self.expected.frame_bytes as u64;
        let mut signed = Instant::now();
        let mut ready = vec![0];
        let mut is_open = true;
        if self.streams.len() > 1 {
            for stream in self.streams {
                stream.set_nonblocking(true)?;
            }
        }
        while is_open {
            if self.streams.len() > 1 {
                self.wait(&mut ready)?;
            }
            for &at in &ready {
                is_open &= self.read(at)?;
            }
            let least = self.bytes.iter().min().copied().unwrap_or_default();
            window.arrived(least / frame);
            if signed.elapsed() > SIGN_EVERY {
                signed = Instant::now();
                for mut stream in self.streams {
                    stream.write_all(self.dialect.sign_of_life)?;
                }
            }
        }
        let last = self.expected.messages() - 1;
        let last = self.expected.frames(last..last + 1);
        for tail in &self.tails {
            ensure!(
                tail.len() == last.len() && self.dialect.begins(last, tail),
                "the last frame is {:?}",
                String::from_utf8_lossy(tail)
            );
        }
        Ok(self.bytes.iter().min().copied().unwrap_or_default() / frame)
    }

    /// Waits until some streams have something.
    fn wait(&self, ready: &mut Vec<usize>) -> Result<()> {
        let mut polled: Vec<PollFd<'_>> =
            self.streams.iter().map(|stream| PollFd::new(stream, PollFlags::IN)).collect();
        poll(&mut polled, None)?;
        ready.clear();
        ready.extend((0..polled.len()).filter(|at| !polled[*at].revents().is_empty()));
        Ok(())
    }

    /// Reads from one stream. Says whether it goes on.
    fn read(&mut self, at: usize) -> Result<bool> {
        let count = match (&self.streams[at]).read(&mut self.buffer) {
            Ok(0) => return Ok(false),
            Ok(count) => count,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(true),
            Err(error) => bail!("reading: {error}"),
        };
        let frame = self.expected.frame_bytes;
        let got = &self.buffer[..count];
        if self.bytes[at] == 0 {
            let first = self.expected.frames(0..1);
            let start = &got[..count.min(frame)];
            ensure!(
                self.dialect.begins(first, start),
                "it begins {:?}",
                String::from_utf8_lossy(start)
            );
        }
        self.bytes[at] += count as u64;
        let tail = &mut self.tails[at];
        if count >= frame {
            tail.clear();
        } else {
            tail.drain(..(tail.len() + count).saturating_sub(frame).min(tail.len()));
        }
        tail.extend_from_slice(&got[count - count.min(frame)..]);
        Ok(true)
    }
}
