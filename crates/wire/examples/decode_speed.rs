//! Measures the hot codecs in this process: nanoseconds per command or frame, the best of several
//! rounds over a buffer that fits the second-level cache.
//!
//! `cargo run --release -p courant-wire --example decode_speed`

use std::hint::black_box;
use std::io::Write as _;
use std::time::Instant;

use courant_wire::text::{Decoded, DestinationKind, decode, reply, request};
use courant_wire::{Handle, Limits, MessageId};

const COMMANDS: u32 = 2_000;
const ROUNDS: u32 = 2_000;

fn main() -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    let body = [b'x'; 16];
    let handle = |n: u32| Handle {
        id: MessageId { shard: 0, seq: 3 << 32 | u64::from(n) },
        lease: Some(3 << 32 | u64::from(n)),
    };
    let mut input = Vec::new();

    for _ in 0..COMMANDS {
        request::publish(&mut input, DestinationKind::Topic, b"events", &body);
    }
    writeln!(out, "decode PUB, 16 bytes:           {:6.1} ns", decode_all(&input))?;

    input.clear();
    for n in 0..COMMANDS {
        request::publish_line(&mut input, DestinationKind::Queue, b"orders")
            .number("req", u64::from(n))
            .end_with_body(&body);
    }
    writeln!(out, "decode PUB with req:, 16 bytes: {:6.1} ns", decode_all(&input))?;

    input.clear();
    for n in 0..COMMANDS {
        request::ack(&mut input, handle(n));
    }
    writeln!(out, "decode ACK:                     {:6.1} ns", decode_all(&input))?;

    let mut prefix = Vec::new();
    reply::msg_prefix(&mut prefix, b"topic:events", Some(b"sub456"), None);
    let each = encode_all(|out, n| reply::msg(out, &prefix, handle(n), &body));
    writeln!(out, "encode MSG, 16 bytes:           {each:6.1} ns")?;

    prefix.clear();
    reply::live_prefix(&mut prefix, b"topic:events", None);
    let each = encode_all(|out, _| reply::live_msg(out, &prefix, &body));
    writeln!(out, "encode live MSG, 16 bytes:      {each:6.1} ns")?;

    let each = encode_all(|out, n| handle(n).write(out));
    writeln!(out, "encode handle:                  {each:6.1} ns")
}

fn decode_all(input: &[u8]) -> f64 {
    let limits = Limits::DEFAULT;
    best(|| {
        let mut rest = black_box(input);
        let mut decoded = 0;
        while let Decoded::Command { command, consumed } = decode(rest, &limits) {
            black_box(&command);
            rest = rest.get(consumed..).unwrap_or_default();
            decoded += 1;
        }
        assert_eq!(decoded, COMMANDS);
    })
}

fn encode_all(mut encode: impl FnMut(&mut Vec<u8>, u32)) -> f64 {
    let mut out = Vec::with_capacity(1 << 20);
    best(|| {
        out.clear();
        for n in 0..COMMANDS {
            encode(&mut out, n);
        }
        black_box(&out);
    })
}

#[allow(clippy::disallowed_methods, reason = "a benchmark reads the clock, once per round")]
fn best(mut round: impl FnMut()) -> f64 {
    let mut best = f64::MAX;
    for _ in 0..ROUNDS {
        let start = Instant::now();
        round();
        let nanos = start.elapsed().as_secs_f64() * 1e9;
        best = best.min(nanos / f64::from(COMMANDS));
    }
    best
}
