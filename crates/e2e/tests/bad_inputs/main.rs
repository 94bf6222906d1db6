//! Bad inputs at the door: each gets a numbered refusal or a clean close, the broker lives on, its
//! memory does not grow, and a healthy neighbour publishes and consumes all the while.
//!
//! [`cases`] is the table of those that are judged at once, with those of [`exchanges`] and
//! [`policies`]. Those that take time (slow handshakes,
//! half a command and silence, readers that do not read) run beside each other in this file.

mod cases;
mod exchanges;
mod frames;
mod pairs;
mod policies;
mod storms;

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail, ensure};
use cases::{Case, End};
use courant_e2e::client::{Client, ClientError};
use courant_e2e::server::Server;
use pairs::PAIRS;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// What the process may grow by, over all of this: one body of 16 MiB and its copy, and some.
const GROWTH_BYTES_MAX: u64 = 64 << 20;

/// What it may grow by for a while: far below the 800 MiB that are announced and the 240 MB
/// that are not read.
const PEAK_BYTES_MAX: u64 = 192 << 20;

/// The promise is 10 s; a loaded machine may add to it.
const HANDSHAKE_CLOSES_WITHIN: Duration = Duration::from_secs(18);

const ANSWER_WITHIN: Duration = Duration::from_secs(20);

pub(crate) type Timed = fn(SocketAddr) -> Result<()>;

const TIMED: &[(&str, Timed)] = &[
    ("a connection that never speaks", silent),
    ("a handshake of a byte a second", slow_handshake),
    ("a handshake of empty lines", newlines_for_ever),
    ("half a handshake", half_handshake),
    ("half a command and silence", half_command),
    ("half a body and silence", half_body),
    ("half a body and the end of the stream", half_body_then_end),
    ("fifty announced bodies that never come", announced_bodies),
    ("a reader that never reads", never_reads),
    ("a subscriber that never reads", subscriber_never_reads),
    ("a thousand connections that go away", come_and_go),
    ("a stranger's handle", foreign_handle),
    ("binary garbage", binary_garbage),
    ("frames that are refused", frames::refused),
    ("fifty announced frames that never come", frames::announced),
    ("half a frame and the end of the stream", frames::cut),
    ("refusals in frames that nobody reads", frames::never_read),
];

#[test]
fn bad_inputs_are_refused_and_harm_nobody() {
    raise_descriptors().expect("room for a thousand connections");
    let started = Instant::now();
    let folder = tempfile::tempdir().expect("a temporary directory");
    let mut server = Server::start(folder.path()).expect("the broker starts");
    let address = server.address().expect("ready");
    prepare(address).expect("the queues are declared");
    warm_up(address).expect("a body of the largest size");
    let before = server.resident_bytes().expect("VmRSS");
    let table = cases::table();

    let done = AtomicBool::new(false);
    let (failures, exchanged, peak) = std::thread::scope(|scope| {
        let neighbour = scope.spawn(|| neighbour(address, &done));
        let peak = scope.spawn(|| resident_peak(&server, &done));
        let timed: Vec<_> = TIMED
            .iter()
            .chain(PAIRS)
            .map(|(name, run)| (*name, scope.spawn(move || run(address))))
            .collect();
        let mut failures = Vec::new();
        for case in &table {
            if let Err(error) = judge(address, case) {
                failures.push(format!("{}: {error:#}", case.name));
            }
        }
        for (name, running) in timed {
            let result = running.join().unwrap_or_else(|_| Err(anyhow!("it panicked")));
            failures.extend(result.err().map(|error| format!("{name}: {error:#}")));
        }
        done.store(true, Ordering::SeqCst);
        let exchanged = neighbour.join().unwrap_or_else(|_| Err(anyhow!("it panicked")));
        (failures, exchanged, peak.join().unwrap_or_else(|_| Err(anyhow!("it panicked"))))
    });

    assert!(server.is_alive(), "the broker ended; stderr:\n{}", server.stderr());
    assert!(!server.stderr().contains("panicked"), "{}", server.stderr());
    let after = server.resident_bytes().expect("VmRSS");
    let exchanged = exchanged.expect("the neighbour is served");
    let peak = peak.expect("VmRSS");
    // Straight to stderr, which the test runner does not hold back.
    let _ = writeln!(
        std::io::stderr(),
        "{} bad inputs; the neighbour exchanged {exchanged} messages; resident {} KiB before, {} \
         KiB at most, {} KiB after; {:.1} s",
        table.len() + TIMED.len() + PAIRS.len(),
        before / 1024,
        peak / 1024,
        after / 1024,
        started.elapsed().as_secs_f64()
    );
    assert!(failures.is_empty(), "{} failed:\n{}", failures.len(), failures.join("\n"));
    assert!(after < before + GROWTH_BYTES_MAX, "it grew from {before} to {after} bytes");
    assert!(peak < before + PEAK_BYTES_MAX, "it grew from {before} to {peak} bytes for a while");
    assert!(table.len() + TIMED.len() + PAIRS.len() >= 30 && exchanged > 0);
    server.stop().expect("an orderly stop");
}

/// As many descriptors as may be, for this process and the broker that it starts.
fn raise_descriptors() -> Result<()> {
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    Ok(setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum })?)
}

fn prepare(address: SocketAddr) -> Result<()> {
    let mut client = Client::connect(address)?;
    for name in ["bad", "good", "neighbour", "flood", "foreign"] {
        client.line(&format!("DECLARE queue:{name}"))?;
    }
    client.line("DECLARE topic:t")?;
    Ok(())
}

/// The largest body once, so that growth is not that of the first use.
fn warm_up(address: SocketAddr) -> Result<()> {
    let mut client = Client::connect(address)?;
    client.publish("queue:bad", &vec![b'x'; 16 << 20])?;
    client.line("SUB queue:bad sub_id:s ack:manual")?;
    let message = client.message()?;
    ensure!(message.body.len() == 16 << 20, "a body of {} bytes", message.body.len());
    let handle = message.handle.context("a handle")?;
    client.line(&format!("ACK msg_id:{handle}"))?;
    client.line("QUIT")?;
    Ok(())
}

fn judge(address: SocketAddr, case: &Case) -> Result<()> {
    let mut client = if case.login { Client::connect(address)? } else { Client::raw(address)? };
    // The server may close while it is still being written to.
    let sent = client.send(&case.input);
    for expected in &case.replies {
        let line = match client.raw_line() {
            Ok(line) => line,
            // A server that closes on a flood resets it, and the refusal may be lost with it.
            Err(ClientError::Closed) if case.end == End::Closed && case.input.len() > 4097 => {
                return Ok(());
            }
            Err(error) => return Err(anyhow!(error).context(format!("expected {expected:?}"))),
        };
        let line = String::from_utf8_lossy(&line).into_owned();
        ensure!(
            expected.split('|').any(|start| line.starts_with(start)),
            "expected {expected:?}, and {line:?} came"
        );
    }
    if case.end == End::Open {
        sent?;
        // Not before the replies are there: a PONG does not wait for those that wait for a disk.
        client.send(b"PING req:alive\n")?;
        let line = client.raw_line().context("after the replies")?;
        let line = String::from_utf8_lossy(&line).into_owned();
        ensure!(line == "PONG req:alive\n", "it should go on, and {line:?} came");
        return Ok(());
    }
    expect_close(&mut client, ANSWER_WITHIN)
}

fn expect_close(client: &mut Client, within: Duration) -> Result<()> {
    let rest = client.rest(within).context("it should close")?;
    ensure!(rest.is_empty(), "before the close came {:?}", String::from_utf8_lossy(&rest));
    Ok(())
}

/// The largest size in memory until it is told to stop.
fn resident_peak(server: &Server, done: &AtomicBool) -> Result<u64> {
    let mut peak = 0;
    while !done.load(Ordering::SeqCst) {
        peak = server.resident_bytes()?.max(peak);
        std::thread::sleep(Duration::from_millis(20));
    }
    Ok(peak)
}

/// Publishes, takes and acks one message after the other until it is told to stop.
fn neighbour(address: SocketAddr, done: &AtomicBool) -> Result<u64> {
    let mut publisher = Client::connect(address)?;
    let mut consumer = Client::connect(address)?;
    consumer.line("SUB queue:neighbour sub_id:n credit:10")?;
    let mut number = 0u64;
    while !done.load(Ordering::SeqCst) {
        let body = number.to_string();
        publisher.publish("queue:neighbour", body.as_bytes())?;
        let message = consumer.message()?;
        ensure!(message.body == body.as_bytes(), "expected {body}, and {message:?} came");
        let handle = message.handle.context("a handle")?;
        consumer.line(&format!("ACK msg_id:{handle}"))?;
        number += 1;
    }
    Ok(number)
}

/// Reads to the end; the refusal has to be the last line.
fn expect_handshake_timeout(mut client: Client, since: Instant) -> Result<()> {
    let rest = client.rest(HANDSHAKE_CLOSES_WITHIN).context("it should be closed")?;
    let rest = String::from_utf8_lossy(&rest).into_owned();
    ensure!(rest.starts_with("ERR 111 handshake-timeout "), "{rest:?} came");
    let elapsed = since.elapsed();
    ensure!(elapsed > Duration::from_secs(8), "closed too early, after {elapsed:?}");
    Ok(())
}

fn silent(address: SocketAddr) -> Result<()> {
    let client = Client::raw(address)?;
    expect_handshake_timeout(client, Instant::now())
}

fn half_handshake(address: SocketAddr) -> Result<()> {
    let mut client = Client::raw(address)?;
    client.send(b"CONNECT {\"vers")?;
    expect_handshake_timeout(client, Instant::now())
}

/// Progress does not put the deadline off.
fn slow_handshake(address: SocketAddr) -> Result<()> {
    drip(address, b"CONNECT ")
}

fn newlines_for_ever(address: SocketAddr) -> Result<()> {
    drip(address, b"\n")
}

fn drip(address: SocketAddr, bytes: &[u8]) -> Result<()> {
    let client = Client::raw(address)?;
    let started = Instant::now();
    let mut socket = client.socket()?;
    let closed = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for byte in bytes.iter().cycle() {
                if closed.load(Ordering::SeqCst) || socket.write_all(&[*byte]).is_err() {
                    return;
                }
                std::thread::sleep(Duration::from_secs(1));
            }
        });
        let result = expect_handshake_timeout(client, started);
        closed.store(true, Ordering::SeqCst);
        result
    })
}

/// It may be refused in time, or wait; if it waits, the rest still completes the command.
fn half_then(address: SocketAddr, first: &[u8], second: &[u8]) -> Result<()> {
    let mut client = Client::connect(address)?;
    client.send(first)?;
    match client.incoming(Duration::from_secs(4)) {
        Err(ClientError::Late(..)) => {}
        other => bail!("nothing was due, and {other:?} came"),
    }
    client.call(second)?;
    Ok(())
}

fn half_command(address: SocketAddr) -> Result<()> {
    half_then(address, b"PUB queue:go", b"od 2\nhi\n")
}

fn half_body(address: SocketAddr) -> Result<()> {
    half_then(address, b"PUB queue:good 10\n12345", b"67890\n")
}

/// What is not whole was never published.
fn half_body_then_end(address: SocketAddr) -> Result<()> {
    let mut client = Client::connect(address)?;
    client.line("DECLARE queue:half")?;
    client.send(b"PUB queue:half 10\n12345")?;
    client.end_output()?;
    expect_close(&mut client, ANSWER_WITHIN)?;
    let mut witness = Client::connect(address)?;
    match witness.line("GET queue:half") {
        Err(ClientError::Refused(refused)) if refused.number == 402 => Ok(()),
        other => bail!("expected an empty queue, and {other:?} came"),
    }
}

/// A size is no reason to set memory aside: 800 MiB would be, here.
fn announced_bodies(address: SocketAddr) -> Result<()> {
    let mut clients = Vec::new();
    for _ in 0..50 {
        let mut client = Client::connect(address)?;
        client.send(b"PUB queue:bad 16777216\nx")?;
        clients.push(client);
    }
    // They stand until the slow ones are through, so that their memory is seen.
    std::thread::sleep(Duration::from_secs(10));
    Ok(())
}

/// Sends commands and never reads: it is stopped or closed, and not remembered without a bound.
fn never_reads(address: SocketAddr) -> Result<()> {
    let mut client = Client::connect(address)?;
    client.line("PING req:1").or_else(expected_pong)?;
    let mut socket = client.socket()?;
    flood(&mut socket, &b"PING req:0123456789012345678901234567890123456789\n".repeat(1000))
}

/// Messages are not piled up for a subscriber that does not read them.
fn subscriber_never_reads(address: SocketAddr) -> Result<()> {
    let mut deaf = Client::connect(address)?;
    deaf.line("SUB topic:t sub_id:deaf mode:live")?;
    let mut publisher = Client::connect(address)?;
    let body = vec![b'x'; 60_000];
    // 240 MB in all, far above any outbox and what the sockets hold.
    for _ in 0..4000 {
        match publisher.publish("topic:t", &body) {
            // A message that was kept nowhere has no id.
            Ok(_) | Err(ClientError::Unexpected(..)) => {}
            Err(error) => bail!("the publisher suffers: {error}"),
        }
    }
    Ok(())
}

fn expected_pong(error: ClientError) -> Result<Vec<(String, String)>, ClientError> {
    match error {
        ClientError::Unexpected(_, came) if came == "Pong" => Ok(Vec::new()),
        error => Err(error),
    }
}

/// Writes until the other side takes no more, or closes, or has taken 64 MB.
fn flood(socket: &mut TcpStream, chunk: &[u8]) -> Result<()> {
    socket.set_write_timeout(Some(Duration::from_secs(2)))?;
    let mut sent = 0;
    while sent < 64_000_000 {
        match socket.write(chunk) {
            Ok(count) => sent += count,
            Err(_) => return Ok(()),
        }
    }
    bail!("it took {sent} bytes of commands whose answers nobody reads")
}

fn come_and_go(address: SocketAddr) -> Result<()> {
    for number in 0..1000 {
        let mut socket = TcpStream::connect(address)?;
        match number % 4 {
            0 => {}
            1 => socket.write_all(b"CONNECT {}\n")?,
            2 => socket.write_all(b"CONNECT {}\nSUB topic:t sub_id:s\nPUB queue:bad 100\nabc")?,
            _ => socket.shutdown(Shutdown::Both)?,
        }
    }
    Ok(())
}

/// The delivery stays open for the one that it belongs to.
fn foreign_handle(address: SocketAddr) -> Result<()> {
    let mut owner = Client::connect(address)?;
    owner.line("SUB queue:foreign sub_id:o credit:1")?;
    owner.publish("queue:foreign", b"mine")?;
    let handle = owner.message()?.handle.context("a handle")?;
    let mut thief = Client::connect(address)?;
    for verb in ["ACK", "NACK", "REJECT", "EXTEND"] {
        for named in [handle.to_string(), handle.id.to_string()] {
            match thief.line(&format!("{verb} msg_id:{named}")) {
                Err(ClientError::Refused(refused)) if refused.number == 502 => {}
                other => bail!("{verb} of a foreign {named}: {other:?}"),
            }
        }
    }
    owner.line(&format!("ACK msg_id:{handle}"))?;
    match owner.line(&format!("ACK msg_id:{handle}")) {
        Err(ClientError::Refused(refused)) if refused.number == 502 => Ok(()),
        other => bail!("a second ack: {other:?}"),
    }
}

/// A first byte below 0x20 announces the binary protocol. Whatever the rest is: a refusal or
/// a close.
fn binary_garbage(address: SocketAddr) -> Result<()> {
    let mut random = courant_e2e::random::Random::new(11);
    for first in [0u8, 1, 2, 3, 4, 5, 0x16, 0x1f] {
        let mut garbage = vec![first];
        random.bytes(600, &mut garbage);
        let mut socket = TcpStream::connect(address)?;
        socket.set_read_timeout(Some(ANSWER_WITHIN))?;
        let _ = socket.write_all(&garbage);
        let _ = socket.shutdown(Shutdown::Write);
        let mut answer = Vec::new();
        match socket.read_to_end(&mut answer) {
            Ok(_) => {}
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => {}
            Err(error) => bail!("first byte {first}: {error}"),
        }
    }
    Ok(())
}
