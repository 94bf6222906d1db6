//! Caps of sources and quotas of namespaces, in literal bytes.

use courant::{Broker, Limits, Options};
use courant_doors::{Listening, NativeOptions, SourceCaps, native};
use std::net::SocketAddr;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// No answer may take longer; far above what any of them takes.
const PATIENCE: Duration = Duration::from_secs(20);

async fn open(per_source: SourceCaps, limits: Limits) -> (Broker, Listening) {
    let options = Options { limits, ..Options::default() };
    let broker = Broker::in_memory(options).expect("a broker in memory");
    let address = SocketAddr::from(([127, 0, 0, 1], 0));
    let options = NativeOptions { address, per_source, ..NativeOptions::default() };
    let listening = native::listen(broker.clone(), options).await.expect("a free port");
    (broker, listening)
}

async fn connect(listening: &Listening) -> TcpStream {
    TcpStream::connect(listening.local_addr()).await.expect("a connection")
}

/// Types something and reads the line that comes.
async fn line(stream: &mut TcpStream, typed: &str) -> String {
    stream.write_all(typed.as_bytes()).await.expect("the door reads");
    let mut line = Vec::new();
    while line.last() != Some(&b'\n') {
        let byte = timeout(PATIENCE, stream.read_u8()).await.expect("an answer in time");
        line.push(byte.expect("a whole line"));
    }
    String::from_utf8(line).expect("text")
}

/// What a connection is told that says nothing.
async fn told(listening: &Listening) -> String {
    let mut all = String::new();
    let mut stream = connect(listening).await;
    let read = timeout(PATIENCE, stream.read_to_string(&mut all)).await;
    read.expect("the door closes in time").expect("and in order");
    all
}

#[tokio::test(flavor = "multi_thread")]
async fn the_source_is_named() {
    let caps = SourceCaps { connections_max: 2, unauthenticated_max: 1 };
    let (_broker, listening) = open(caps, Limits::default()).await;
    let mut first = connect(&listening).await;
    assert_eq!(
        told(&listening).await,
        "ERR 610 too-many-unauthenticated too many connections from this source have not logged in \
         (127.0.0.1); log in sooner, or with fewer connections at a time\n"
    );
    assert_eq!(line(&mut first, "CONNECT\n").await, "OK\n");
    let mut second = connect(&listening).await;
    assert_eq!(line(&mut second, "CONNECT\n").await, "OK\n");
    assert_eq!(
        told(&listening).await,
        "ERR 600 too-many-connections too many connections (127.0.0.1); close some, or raise the \
         limit\n"
    );
    listening.set_source_caps(SourceCaps { connections_max: 3, ..caps });
    let mut third = connect(&listening).await;
    assert_eq!(line(&mut third, "CONNECT\n").await, "OK\n");
    assert_eq!(line(&mut first, "PING\n").await, "PONG\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_used_up_is_named() {
    let limits = Limits {
        queues_per_namespace_max: 1,
        exchanges_per_namespace_max: 1,
        bindings_per_namespace_max: 0,
        sessions_per_namespace_max: 1,
        ..Limits::default()
    };
    let (broker, listening) = open(SourceCaps::default(), limits).await;
    let mut stream = connect(&listening).await;
    let script = [
        ("CONNECT", "OK"),
        (
            "DECLARE topic:t name:s",
            "ERR 202 no-such-topic topic t does not exist; declare it first: DECLARE topic:t",
        ),
        ("DECLARE topic:t", "OK"),
        (
            "DECLARE topic:t name:s",
            "ERR 612 namespace-quota the namespace has used up its quota of exchanges and \
             bindings; remove some of what is in it, or raise the quota",
        ),
        // Nothing is half made.
        ("DECLARE queue:q", "OK"),
        (
            "DECLARE queue:r",
            "ERR 612 namespace-quota the namespace has used up its quota of queues and exchanges \
             and bindings; remove some of what is in it, or raise the quota",
        ),
        ("DECLARE queue:q", "OK"),
        ("DELETE topic:t", "OK"),
        (
            "SUB exchange:x name:n key:k",
            "ERR 203 no-such-exchange exchange x does not exist; declare it first: DECLARE \
             exchange:x",
        ),
    ];
    for (typed, expected) in script {
        assert_eq!(line(&mut stream, &format!("{typed}\n")).await, format!("{expected}\n"));
    }
    let mut another = connect(&listening).await;
    assert_eq!(
        line(&mut another, "CONNECT\n").await,
        "ERR 609 too-many-sessions too many sessions in this namespace, or of this user; close \
         some, or raise the limit\n"
    );
    broker.set_limits(Limits::default());
    assert_eq!(broker.limits(), Limits::default());
    let mut another = connect(&listening).await;
    assert_eq!(line(&mut another, "CONNECT\n").await, "OK\n");
    assert_eq!(line(&mut stream, "DECLARE queue:r\n").await, "OK\n");
}

/// Connections that come and go in every way, many at once: afterwards exactly as many fit as may.
#[tokio::test(flavor = "multi_thread")]
async fn counts_are_exact_after_a_storm() {
    const MOST: usize = 20;
    let caps = SourceCaps { connections_max: MOST, unauthenticated_max: MOST / 2 };
    let limits = Limits { sessions_per_user_max: MOST / 2, ..Limits::default() };
    let (_broker, listening) = open(caps, limits).await;
    let address = listening.local_addr();
    let storms = (0..MOST * 2).map(|nth| {
        tokio::spawn(async move {
            for number in 0..60 {
                let Ok(mut stream) = TcpStream::connect(address).await else { continue };
                let what: &[u8] = match (nth + number) % 5 {
                    0 => b"",
                    1 => b"CONNECT\n",
                    2 => b"CONNECT\nSUB topic:none\nQUIT\n",
                    3 => b"CONNECT {\"user\":\"a\",\"password\":\"b\"}\n",
                    _ => b"rubbish\n",
                };
                let _ = stream.write_all(what).await;
                if number % 3 == 0 {
                    let _ = timeout(Duration::from_millis(5), stream.read(&mut [0; 64])).await;
                }
            }
        })
    });
    for storm in storms.collect::<Vec<_>>() {
        storm.await.expect("it ends");
    }
    let patience = std::time::Instant::now() + PATIENCE;
    let mut sessions = Vec::new();
    while sessions.len() < MOST / 2 {
        assert!(std::time::Instant::now() < patience, "only {} fit", sessions.len());
        let mut stream = connect(&listening).await;
        let _ = stream.write_all(b"CONNECT\n").await;
        let mut told = [0; 3];
        let read = timeout(PATIENCE, stream.read_exact(&mut told)).await.expect("in time");
        if read.is_ok() && &told == b"OK\n" {
            sessions.push(stream);
        }
    }
    let mut one_more = connect(&listening).await;
    assert!(line(&mut one_more, "CONNECT\n").await.starts_with("ERR 609 "));
    drop(one_more);
    let mut strangers = Vec::new();
    loop {
        assert!(std::time::Instant::now() < patience, "{} strangers", strangers.len());
        let mut stream = connect(&listening).await;
        match timeout(Duration::from_millis(200), stream.read_u8()).await {
            Err(_) => strangers.push(stream),
            Ok(_) if strangers.len() == MOST / 2 => break,
            // What is refused last may take a moment to be gone.
            Ok(_) => {}
        }
    }
}
