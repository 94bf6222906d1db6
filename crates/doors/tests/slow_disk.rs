//! A connection whose replies wait for a disk is alive all the same.

#![allow(clippy::unwrap_used, reason = "tests panic")]

use courant::Options;
use courant::testing::{Gate, Testing};
use courant_doors::{Listening, NativeOptions, native};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// No answer may take longer; far above what any of them takes.
const PATIENCE: Duration = Duration::from_secs(20);

async fn open() -> (Listening, Arc<Gate>) {
    let testing = Testing { fill_ahead_bytes: Some(0), ..Testing::default() };
    let options = Options { testing, ..Options::default() };
    let gated = tokio::task::block_in_place(|| courant::testing::gated(options));
    let (broker, gate) = gated.unwrap();
    let address = SocketAddr::from(([127, 0, 0, 1], 0));
    let options = NativeOptions { address, ..NativeOptions::default() };
    (native::listen(broker, options).await.unwrap(), gate)
}

struct Talk(TcpStream);

impl Talk {
    async fn begin(listening: &Listening) -> Self {
        let mut talk = Self(TcpStream::connect(listening.local_addr()).await.unwrap());
        talk.asks("CONNECT\n", &["OK"]).await;
        talk
    }

    /// Sends, and reads as many lines as there are beginnings, each the beginning of one of them.
    async fn asks(&mut self, sent: &str, beginnings: &[&str]) {
        self.0.write_all(sent.as_bytes()).await.unwrap();
        let mut lines = Vec::new();
        for _ in beginnings {
            let line = tokio::time::timeout(PATIENCE, self.line()).await;
            lines.push(line.unwrap_or_else(|_| panic!("{lines:?} and no more after {sent:?}")));
        }
        for beginning in beginnings {
            let found = lines.iter().any(|line| line.starts_with(beginning));
            assert!(found, "no {beginning:?} in {lines:?} after {sent:?}");
        }
    }

    async fn line(&mut self) -> String {
        let mut line = Vec::new();
        while line.last() != Some(&b'\n') {
            line.push(self.0.read_u8().await.unwrap());
        }
        String::from_utf8(line).unwrap()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pings_and_other_connections_are_answered_during_a_sync() {
    let (listening, gate) = open().await;
    let mut publisher = Talk::begin(&listening).await;
    let mut declarer = Talk::begin(&listening).await;
    let mut other = Talk::begin(&listening).await;
    publisher.asks("DECLARE queue:q\nDECLARE topic:t\n", &["OK", "OK"]).await;
    other.asks("SUB topic:t sub_id:l mode:live\n", &["OK"]).await;
    other.asks("DECLARE queue:x durable:no\nSUB queue:x sub_id:x ack:auto\n", &["OK", "OK"]).await;
    gate.shut();
    publisher.asks("PUB queue:q 1\na\nPING\n", &["PONG"]).await;
    declarer.asks("DECLARE queue:new\nPING\n", &["PONG"]).await;
    for number in 0..100 {
        publisher.asks(&format!("PING req:p{number}\n"), &[&format!("PONG req:p{number}")]).await;
        declarer.asks(&format!("PING req:d{number}\n\n"), &[&format!("PONG req:d{number}")]).await;
        other.asks("PUB topic:t 1\nl\n", &["OK", "MSG topic:t", "l"]).await;
        other.asks("PUB queue:x 1\nx\n", &["OK", "MSG queue:x", "x"]).await;
    }
    // What comes behind the declaration waits for it.
    declarer.asks("PING req:last\nPUB queue:new 1\nn\nPING\n", &["PONG req:last"]).await;
    gate.open();
    publisher.asks("", &["OK msg_id:"]).await;
    let line = declarer.line().await;
    assert_eq!(line, "OK\n");
    let mut rest = [declarer.line().await, declarer.line().await];
    rest.sort();
    assert!(rest[0].starts_with("OK msg_id:") && rest[1] == "PONG\n", "{rest:?}");
}
