//! Latency of the live path at a steady rate.
//!
//! Message n is due at start + n × gap, and its latency counts from when it was due, not from when
//! it was sent: a sender or broker that is late is late in the figures. The sender sleeps between
//! messages and sends all that are due; how late it was itself is reported too.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::num::NonZeroU64;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use hdrhistogram::Histogram;

use crate::dialect::{Chunk, Dialect};
use crate::report::float;
use crate::server::Server;

/// The first messages are not counted.
const WARM: Duration = Duration::from_millis(500);

/// What a run showed, in nanoseconds.
#[derive(Debug)]
pub struct LatencyRun {
    /// From when a message was due to when it had been read.
    pub latency_ns: Histogram<u64>,
    /// From when a message was due to when the sender woke.
    pub late_ns: Histogram<u64>,
    /// Broker's processor time per message.
    pub broker_ns: f64,
}

/// Sends `rate` messages a second for some time.
pub fn run(server: &Server, dialect: &Dialect, rate: u64, within: Duration) -> Result<LatencyRun> {
    let publisher = dialect.publisher(server.address())?.into_stream();
    let subscriber = dialect.subscriber(server.address())?.into_stream();
    let total = rate * u64::try_from((within + WARM).as_millis())? / 1000;
    let out = Chunk::new(usize::try_from(total)?, 16, dialect.publish);
    let expected = Chunk::new(1, 16, dialect.deliver);
    let warm = rate * u64::try_from(WARM.as_millis())? / 1000;
    let gap = Duration::from_nanos(1_000_000_000 / rate);

    let before = server.usage()?;
    let start = Instant::now() + Duration::from_millis(10);
    let due = Due { start, gap };
    let (sent, received) = std::thread::scope(|scope| {
        let receiving = scope.spawn(|| receive(subscriber, &expected, total, warm, due));
        let sent = send(publisher, &out, due);
        (sent, receiving.join().map_err(|_| anyhow::anyhow!("the receiver panicked")))
    });
    let spent = server.usage()?.cpu_ns_since(&before);
    Ok(LatencyRun {
        latency_ns: received??,
        late_ns: sent?,
        broker_ns: float(spent) / float(total),
    })
}

/// When each message is due.
#[derive(Debug, Clone, Copy)]
struct Due {
    start: Instant,
    gap: Duration,
}

impl Due {
    /// Nanoseconds from when a message was due until `now`.
    fn late_ns(self, number: u64, now: Instant) -> u64 {
        let due = self.start + Duration::from_nanos(self.gap_ns() * number);
        u64::try_from(now.saturating_duration_since(due).as_nanos()).unwrap_or(u64::MAX)
    }

    fn gap_ns(self) -> u64 {
        u64::try_from(self.gap.as_nanos()).unwrap_or(u64::MAX)
    }
}

fn histogram() -> Result<Histogram<u64>> {
    Ok(Histogram::new_with_bounds(1, 60_000_000_000, 3)?)
}

fn send(mut stream: TcpStream, chunk: &Chunk, due: Due) -> Result<Histogram<u64>> {
    // Else the kernel lets a sleeper sleep 50 µs longer.
    rustix::thread::set_current_timer_slack(NonZeroU64::new(1))?;
    let mut late = histogram()?;
    let total = chunk.messages();
    let mut sent = 0;
    while sent < total {
        let next = due.start + Duration::from_nanos(due.gap_ns() * sent as u64);
        let mut now = Instant::now();
        if now < next {
            std::thread::sleep(next - now);
            now = Instant::now();
        }
        let passed = now.saturating_duration_since(due.start).as_nanos();
        let until = usize::try_from(passed / u128::from(due.gap_ns()) + 1)?.clamp(sent + 1, total);
        late.saturating_record(due.late_ns(sent as u64, now));
        stream.write_all(chunk.frames(sent..until))?;
        sent = until;
    }
    Ok(late)
}

fn receive(
    mut stream: TcpStream,
    expected: &Chunk,
    total: u64,
    warm: u64,
    due: Due,
) -> Result<Histogram<u64>> {
    let mut latency = histogram()?;
    let frame = expected.frame_bytes as u64;
    let mut buffer = vec![0; 256 * 1024];
    let (mut bytes, mut done) = (0, 0);
    while done < total {
        let count = stream.read(&mut buffer)?;
        let now = Instant::now();
        ensure!(count > 0, "closed after {done} of {total} messages");
        bytes += count as u64;
        for number in done..bytes / frame {
            if number >= warm {
                latency.saturating_record(due.late_ns(number, now));
            }
        }
        done = bytes / frame;
    }
    ensure!(bytes - total * frame < frame, "{bytes} bytes for {total} messages of {frame}");
    Ok(latency)
}
