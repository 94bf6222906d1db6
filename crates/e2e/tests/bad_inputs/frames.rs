//! Bad inputs in the binary protocol: frames that are wrong, cut, announced and not sent, not read.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use courant_e2e::client::Client;
use courant_wire::binary::{
    DecodedReply, Destination, PublishHead, Reply, Verdict, decode_reply, request,
};
use courant_wire::text::{Confirm, DestinationKind};
use courant_wire::{BATCH_MAX, Handle, Limits, MessageId};

use crate::ANSWER_WITHIN;

/// A connection that speaks binary.
struct Link {
    socket: TcpStream,
    held: Vec<u8>,
}

impl Link {
    fn raw(address: SocketAddr) -> Result<Self> {
        let socket = TcpStream::connect(address)?;
        socket.set_read_timeout(Some(ANSWER_WITHIN))?;
        Ok(Self { socket, held: Vec::new() })
    }

    fn connect(address: SocketAddr) -> Result<Self> {
        let mut link = Self::raw(address)?;
        link.say(|out| request::connect(out, 1, b""))?;
        ensure!(link.numbers()? == (1, 0), "no OK");
        Ok(link)
    }

    fn say(&mut self, write: impl FnOnce(&mut Vec<u8>)) -> Result<()> {
        let mut out = Vec::new();
        write(&mut out);
        Ok(self.socket.write_all(&out)?)
    }

    /// The req of the next reply, and the number of the refusal that it is, or 0. Of the end of the
    /// stream: zeros.
    fn numbers(&mut self) -> Result<(u32, u16)> {
        loop {
            match decode_reply(&self.held, &Limits::DEFAULT) {
                DecodedReply::Reply { reply, consumed } => {
                    let numbers = match reply {
                        Reply::Refused(refused) => (refused.req, refused.number),
                        Reply::Ok { req, .. } | Reply::Pong { req } => (req, 0),
                        Reply::Confirm(mut entries) => (entries.next().context("an entry")?.req, 0),
                        other => bail!("{other:?} came"),
                    };
                    self.held.drain(..consumed);
                    return Ok(numbers);
                }
                DecodedReply::Incomplete { .. } => {
                    let mut part = [0; 4096];
                    match self.socket.read(&mut part) {
                        Ok(0) => return Ok((0, 0)),
                        Ok(count) => self.held.extend_from_slice(&part[..count]),
                        Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => {
                            return Ok((0, 0));
                        }
                        Err(error) => return Err(error.into()),
                    }
                }
                DecodedReply::Malformed { error } => return Err(error.into()),
            }
        }
    }
}

fn to(name: &[u8]) -> PublishHead<'_> {
    PublishHead {
        destination: Destination { kind: DestinationKind::Queue, raw_name: name, key: b"" },
        is_transient: true,
        is_mandatory: false,
        confirm: Confirm::Committed,
        has_properties: false,
    }
}

/// A frame with any body behind the req 9.
fn frame(number: u8, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len() + 4).unwrap_or(u32::MAX).to_be_bytes();
    [&[number], &length[..], &[0, 0, 0, 9], body].concat()
}

/// Each is refused, and the connection goes on.
pub(crate) fn refused(address: SocketAddr) -> Result<()> {
    let mut link = Link::connect(address)?;
    let settle = |handles: &[u8]| frame(0x03, &[&[1, 0, 0, 0, 0, 0, 0, 0, 0, 0], handles].concat());
    let many = vec![0; 4 * (BATCH_MAX + 1)];
    for (what, input, number) in [
        ("no such command", frame(0x7f, b""), 101),
        ("a reply as a command", frame(0x82, &[0; 4]), 101),
        ("an empty PUBLISH", frame(0x01, b""), 117),
        ("no message", frame(0x01, b"\0\x01\x03bad\0"), 117),
        ("too many messages", frame(0x01, &[b"\0\x01\x03bad\0", &many[..]].concat()), 117),
        ("a payload that is cut", frame(0x01, b"\0\x01\x03bad\0\xff\xff\xff\xff"), 117),
        ("flags of tomorrow", frame(0x01, b"\x80\x01\x03bad\0\0\0\0\0"), 117),
        ("two levels", frame(0x01, b"\x0c\x01\x03bad\0\0\0\0\0"), 103),
        ("a key of a queue", frame(0x01, b"\0\x01\x03bad\x01k\0\0\0\0"), 103),
        ("a kind of tomorrow", frame(0x01, b"\0\x09\x03bad\0\0\0\0\0"), 117),
        ("a name with a zero", frame(0x01, b"\0\x01\x03b\0d\0\0\0\0\0"), 200),
        ("no name", frame(0x01, b"\0\x01\0\0\0\0\0\0"), 200),
        ("a queue that is not there", frame(0x01, b"\0\x01\x02no\0\0\0\0\0"), 201),
        (
            "a property of tomorrow",
            frame(0x01, b"\x10\x01\x03bad\0\0\x05\x63\0\0\0\0\0\0\0\0"),
            117,
        ),
        ("a half handle", settle(&[0; 17]), 117),
        ("no handle", settle(&[]), 117),
        ("a handle of zeros", settle(&[0; 18]), 502),
        ("a handle of ones", settle(&[0xff; 18]), 502),
        ("a verdict of tomorrow", frame(0x03, &[[7].as_slice(), &[0; 27]].concat()), 117),
        ("a subscription 0", frame(0x02, &[0; 40]), 117),
        ("no such subscription", frame(0x06, &[0, 0, 0, 3]), 500),
        ("a GET of none", frame(0x09, b"\0\0\0\x01\x03bad\0"), 117),
        ("a GET of a topic", frame(0x09, b"\0\0\x01\x02\x03bad\0"), 113),
        ("a LINE that has a frame", frame(0x0b, b"PUB queue:bad 2"), 113),
        ("a LINE of two lines", frame(0x0b, b"LIST queues\nLIST queues"), 102),
        ("an endless LINE", frame(0x0b, &vec![b'x'; 100_000]), 100),
        ("a second CONNECT", frame(0x05, &[1]), 109),
    ] {
        link.socket.write_all(&input)?;
        let mut numbers = link.numbers().context(what)?;
        ensure!(numbers == (9, number), "{what}: {numbers:?}, not {number}");
        link.say(|out| request::ping(out, 3))?;
        while numbers != (3, 0) {
            numbers = link.numbers().context(what)?;
            ensure!(numbers == (3, 0) || numbers == (9, 0), "{what}: {numbers:?}");
        }
    }
    Ok(())
}

/// Lengths beyond the limit close, before anything is kept for them; lengths within it are no
/// reason to keep more than came.
pub(crate) fn announced(address: SocketAddr) -> Result<()> {
    let mut all = Vec::new();
    for _ in 0..50 {
        let mut link = Link::connect(address)?;
        link.socket.write_all(b"\x01\x01\0\0\0\0\0\0\x01")?;
        all.push(link);
    }
    let mut link = Link::connect(address)?;
    link.socket.write_all(b"\x01\xff\xff\xff\xff")?;
    let (refused, end) = (link.numbers()?, link.numbers()?);
    ensure!((refused, end) == ((0, 118), (0, 0)), "{refused:?} {end:?}");
    // A stranger may say less.
    let mut link = Link::raw(address)?;
    link.socket.write_all(b"\x05\0\x10\0\0")?;
    let (refused, end) = (link.numbers()?, link.numbers()?);
    ensure!((refused, end) == ((0, 118), (0, 0)), "{refused:?} {end:?}");
    std::thread::sleep(Duration::from_secs(10));
    Ok(())
}

/// Half a frame and the end of the stream: nothing of it is done.
pub(crate) fn cut(address: SocketAddr) -> Result<()> {
    let mut whole = Vec::new();
    let publish = request::begin_publish(&mut whole, 2, &to(b"cut"))?;
    request::message(&mut whole, b"half");
    publish.end(&mut whole);
    let mut text = Client::connect(address)?;
    text.line("DECLARE queue:cut")?;
    for length in 1..whole.len() {
        let mut link = Link::connect(address)?;
        link.socket.write_all(&whole[..length])?;
        link.socket.shutdown(Shutdown::Write)?;
        let end = link.numbers()?;
        ensure!(end == (0, 0), "after {length} bytes: {end:?}");
    }
    text.line("DELETE queue:cut if_empty:yes")?;
    Ok(())
}

/// A frame whose replies are many times its size, again and again, from who reads none of them.
pub(crate) fn never_read(address: SocketAddr) -> Result<()> {
    let mut link = Link::connect(address)?;
    let mut out = Vec::new();
    let settle = request::begin_settle(&mut out, 0, Verdict::Ack, false, false);
    for seq in 0..BATCH_MAX as u64 {
        request::handle(&mut out, Handle { id: MessageId { shard: 0, seq }, lease: Some(seq + 1) });
    }
    settle.end(&mut out);
    link.socket.set_write_timeout(Some(Duration::from_secs(3)))?;
    for _ in 0..1000 {
        if link.socket.write_all(&out).is_err() {
            // It is not read on, or it was closed.
            return Ok(());
        }
    }
    bail!("{} bytes of refusals were read for", 1000 * out.len())
}
