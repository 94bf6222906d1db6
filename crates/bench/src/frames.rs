//! The queue loads in the binary protocol: the same bodies, the same window, the same checks.
//!
//! A publisher puts [`FRAME`] messages into a frame. A consumer acknowledges all of one read in
//! one frame, as far as it takes them.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Instant;

use anyhow::{Result, bail, ensure};
use courant_wire::binary::{
    DecodedReply, Destination, OpenFrame, PublishHead, Reply, Subscribe, Verdict, decode_reply,
    request,
};
use courant_wire::text::{Confirm, DestinationKind};
use courant_wire::{BATCH_MAX, Handle, Limits};

use crate::dialect::{Chunk, body};
use crate::link::{Answers, Link};
use crate::queue::{DURABLE_ON_WAY, QueueOptions};
use crate::window::Window;

const READ_BYTES: usize = 256 * 1024;
/// Messages of one frame, as far as it takes them.
const FRAME: usize = 100;

/// The answer to CONNECT, and to the only other question.
const OK: &[u8] = b"\x80\0\0\0\x08\0\0\0\x01\0\0\0\0";

fn queue(name: &[u8]) -> Destination<'_> {
    Destination { kind: DestinationKind::Queue, raw_name: name, key: b"" }
}

/// A connection that may publish.
pub(crate) fn publisher(address: SocketAddr) -> Result<TcpStream> {
    let mut connect = Vec::new();
    request::connect(&mut connect, 1, b"");
    Ok(Link::greeted_in(address, Answers::Bytes, &[(&connect, OK)])?.into_stream())
}

/// A connection that consumes a queue.
pub(crate) fn consumer(
    address: SocketAddr,
    name: &[u8],
    options: &QueueOptions,
) -> Result<TcpStream> {
    let (mut connect, mut subscribe) = (Vec::new(), Vec::new());
    request::connect(&mut connect, 1, b"");
    let wanted = Subscribe {
        sub: 1,
        is_auto: !options.acks,
        is_live: false,
        destination: queue(name),
        subscriber: b"",
        credit: Some(options.credit),
        credit_bytes: None,
        visibility: None,
    };
    request::subscribe(&mut subscribe, 1, &wanted)?;
    let questions: [(&[u8], &[u8]); 2] = [(&connect, OK), (&subscribe, OK)];
    Ok(Link::greeted_in(address, Answers::Bytes, &questions)?.into_stream())
}

/// A circle of messages to publish in frames, each answered if `req` is not 0.
pub(crate) fn chunk(name: &[u8], req: u32, messages: usize, body_bytes: usize) -> Result<Chunk> {
    let head = PublishHead {
        destination: queue(name),
        is_transient: false,
        is_mandatory: false,
        confirm: Confirm::Committed,
        has_properties: false,
    };
    let mut bytes = Vec::new();
    for first in (0..messages).step_by(FRAME) {
        let frame = request::begin_publish(&mut bytes, req, &head)?;
        for number in first..first + FRAME {
            request::message(&mut bytes, &body(number as u64, body_bytes));
        }
        frame.end(&mut bytes);
    }
    Ok(Chunk::of(bytes, messages))
}

/// Keeps the window full: writes as many frames as were confirmed, then reads confirms.
pub(crate) fn publish_confirmed(
    mut stream: TcpStream,
    chunk: &Chunk,
    window: &Window,
    options: &QueueOptions,
) -> Result<u64> {
    let frames = chunk.messages() / FRAME;
    let frame_bytes = chunk.bytes.len() / frames;
    let deadline = Instant::now() + options.duration;
    let (mut sent, mut confirmed) = (0u64, 0u64);
    let mut input = Input::default();
    loop {
        let is_over = Instant::now() >= deadline;
        if is_over && confirmed == sent {
            return Ok(sent);
        }
        let room = options.in_flight - usize::try_from(sent - confirmed)?;
        if !is_over && room >= FRAME {
            window.wait(sent, DURABLE_ON_WAY)?;
            let start = usize::try_from(sent)? / FRAME % frames;
            let many = (room / FRAME).min(frames - start);
            stream.write_all(&chunk.bytes[start * frame_bytes..(start + many) * frame_bytes])?;
            sent += (many * FRAME) as u64;
            if room / FRAME > many {
                continue;
            }
        }
        ensure!(input.read(&mut stream)?, "closed after {confirmed} confirms");
        input.each(|reply| match reply {
            Reply::Confirm(entries) => {
                confirmed += entries.map(|entry| u64::from(entry.count)).sum::<u64>();
                Ok(())
            }
            other => bail!("{other:?} is no confirm"),
        })?;
    }
}

/// Consumes until the stream is ended, and checks every message to be the next of the circle of
/// `bodies`. Says how many messages it were.
pub(crate) fn consume(
    mut stream: TcpStream,
    bodies: &Chunk,
    wants_acks: bool,
    window: &Window,
) -> Result<u64> {
    let (mut input, mut acks) = (Input::default(), Vec::new());
    let begin = |acks: &mut Vec<u8>| request::begin_settle(acks, 0, Verdict::Ack, false, false);
    let mut consumed = 0u64;
    while input.read(&mut stream)? {
        let mut frame: Option<(OpenFrame, usize)> = None;
        let mut ack = |handle: Handle| {
            if let Some((full, _)) = frame.take_if(|(_, count)| *count == BATCH_MAX) {
                full.end(&mut acks);
            }
            let (_, count) = frame.get_or_insert_with(|| (begin(&mut acks), 0));
            *count += 1;
            request::handle(&mut acks, handle);
        };
        input.each(|reply| {
            let Reply::Deliver { deliveries, .. } = reply else { bail!("{reply:?} is no message") };
            for delivery in deliveries {
                let number = usize::try_from(consumed % bodies.messages() as u64)?;
                let expected = bodies.frames(number..number + 1);
                ensure!(delivery.payload == expected, "message {consumed}: {delivery:?}");
                consumed += 1;
                if wants_acks {
                    ack(delivery.head.handle);
                }
            }
            Ok(())
        })?;
        if let Some((frame, _)) = frame {
            frame.end(&mut acks);
            stream.write_all(&acks)?;
            acks.clear();
        }
        window.arrived(consumed);
    }
    Ok(consumed)
}

/// What was read and not looked at yet.
#[derive(Default)]
struct Input {
    buffer: Vec<u8>,
    filled: usize,
}

impl Input {
    /// Reads once. Says whether there was anything.
    fn read(&mut self, stream: &mut TcpStream) -> Result<bool> {
        self.buffer.resize(2 * READ_BYTES, 0);
        let count = stream.read(&mut self.buffer[self.filled..])?;
        self.filled += count;
        Ok(count > 0)
    }

    /// Looks at each whole frame.
    fn each(&mut self, mut look: impl FnMut(Reply<'_>) -> Result<()>) -> Result<()> {
        let mut at = 0;
        loop {
            match decode_reply(&self.buffer[at..self.filled], &Limits::DEFAULT) {
                DecodedReply::Reply { reply, consumed } => {
                    at += consumed;
                    look(reply)?;
                }
                DecodedReply::Incomplete { .. } => break,
                DecodedReply::Malformed { error } => return Err(error.into()),
            }
        }
        self.buffer.copy_within(at..self.filled, 0);
        self.filled -= at;
        Ok(())
    }
}
