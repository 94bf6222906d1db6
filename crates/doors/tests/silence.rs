//! Clients that say nothing, or stop in the middle: each is told why and closed, in its time.

use courant::{Broker, Options};
use courant_doors::{Listening, NativeOptions, native};
use std::net::SocketAddr;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const EVERY: Duration = Duration::from_millis(150);
/// No answer may take longer; far above what any of them takes.
const PATIENCE: Duration = Duration::from_secs(20);

async fn open() -> (Broker, Listening) {
    let broker = Broker::in_memory(Options::default()).expect("a broker in memory");
    let options = NativeOptions {
        address: SocketAddr::from(([127, 0, 0, 1], 0)),
        handshake_within: EVERY,
        ping_every: EVERY,
        ..NativeOptions::default()
    };
    let listening = native::listen(broker.clone(), options).await.expect("a free port");
    (broker, listening)
}

/// Sends bytes, one write each, and reads to the end of the stream.
async fn told(listening: &Listening, writes: &[&[u8]]) -> String {
    let mut stream = TcpStream::connect(listening.local_addr()).await.expect("a connection");
    for bytes in writes {
        stream.write_all(bytes).await.expect("the door reads");
    }
    let mut all = String::new();
    let read = tokio::time::timeout(PATIENCE, stream.read_to_string(&mut all)).await;
    read.expect("the door closes in time").expect("and in order");
    all
}

#[tokio::test(flavor = "multi_thread")]
async fn silence_is_asked_then_closed() {
    let (_broker, listening) = open().await;
    let nothing = told(&listening, &[]).await;
    assert!(nothing.starts_with("ERR 111 handshake-timeout "), "{nothing}");
    let half_a_greeting = told(&listening, &[b"CONN"]).await;
    assert!(half_a_greeting.starts_with("ERR 111 handshake-timeout "), "{half_a_greeting}");
    let quiet = told(&listening, &[b"CONNECT\n"]).await;
    assert!(quiet.starts_with("OK\nPING\nERR 112 idle-timeout "), "{quiet}");
    let half = told(&listening, &[b"CONNECT\nPUB queue:q 10\nabc"]).await;
    assert!(half.starts_with("OK\nPING\nERR 115 command-timeout "), "{half}");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_answers_pings_stays() {
    let (_broker, listening) = open().await;
    let mut stream = TcpStream::connect(listening.local_addr()).await.expect("a connection");
    stream.write_all(b"CONNECT\n").await.expect("the door reads");
    let mut seen = Vec::new();
    while seen.len() < b"OK\nPING\nPING\nPING\nPING\n".len() {
        let mut buffer = [0; 64];
        let read = tokio::time::timeout(PATIENCE, stream.read(&mut buffer)).await;
        let count = read.expect("a ping in time").expect("the stream goes on");
        assert!(count > 0, "closed although every ping was answered");
        seen.extend_from_slice(&buffer[..count]);
        if buffer[..count].ends_with(b"PING\n") {
            stream.write_all(b"PONG\n").await.expect("the door reads");
        }
    }
    assert_eq!(seen, b"OK\nPING\nPING\nPING\nPING\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn only_loopback_without_credentials() {
    let broker = Broker::in_memory(Options::default()).expect("a broker in memory");
    let address = SocketAddr::from(([0, 0, 0, 0], 0));
    let options = NativeOptions { address, ..NativeOptions::default() };
    let refused = native::listen(broker, options).await.expect_err("nobody else is let in");
    assert_eq!(refused.kind(), std::io::ErrorKind::PermissionDenied);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_connection_too_many_is_told() {
    let broker = Broker::in_memory(Options::default()).expect("a broker in memory");
    let address = SocketAddr::from(([127, 0, 0, 1], 0));
    let options = NativeOptions { address, connections_max: 1, ..NativeOptions::default() };
    let listening = native::listen(broker, options).await.expect("a free port");
    let mut first = TcpStream::connect(listening.local_addr()).await.expect("a connection");
    first.write_all(b"CONNECT\n").await.expect("the door reads");
    let mut ok = [0; 3];
    first.read_exact(&mut ok).await.expect("an answer");
    let second = told(&listening, &[]).await;
    assert!(second.starts_with("ERR 600 too-many-connections "), "{second}");
}
