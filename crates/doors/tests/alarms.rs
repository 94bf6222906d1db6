//! What a publisher reads while the broker is short of memory: literal bytes.

use courant::{Broker, Limits, Options};
use courant_doors::{NativeOptions, native};
use std::net::SocketAddr;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

/// No answer may take longer; far above what any of them takes.
const PATIENCE: Duration = Duration::from_secs(20);

struct Typist(BufReader<TcpStream>);

impl Typist {
    async fn types(&mut self, text: &str) {
        self.0.get_mut().write_all(text.as_bytes()).await.expect("the door reads");
    }

    /// The next lines begin so.
    async fn reads(&mut self, beginnings: &[&str]) {
        for beginning in beginnings {
            let mut line = String::new();
            let read = tokio::time::timeout(PATIENCE, self.0.read_line(&mut line)).await;
            read.expect("in time").expect("and in order");
            assert!(line.starts_with(beginning), "{line} came instead of {beginning}");
        }
    }
}

fn short(memory_max_bytes: u64, memory_per_connection_max_bytes: u64) -> Limits {
    Limits { memory_max_bytes, memory_per_connection_max_bytes, ..Limits::default() }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_publisher_is_told_once_and_a_silent_one_nothing() {
    let options = Options { limits: short(1, 1 << 20), ..Options::default() };
    let broker = Broker::in_memory(options).expect("a broker in memory");
    let address = SocketAddr::from(([127, 0, 0, 1], 0));
    let options = NativeOptions { address, ..NativeOptions::default() };
    let listening = native::listen(broker.clone(), options).await.expect("a free port");
    let mut typists = Vec::new();
    for _ in 0..2 {
        let stream = TcpStream::connect(listening.local_addr()).await.expect("a connection");
        typists.push(Typist(BufReader::new(stream)));
    }
    let [publisher, other] = &mut typists[..] else { unreachable!("two") };
    other.types("CONNECT\nDECLARE queue:q\nSUB queue:q sub_id:s\n").await;
    other.reads(&["OK\n", "OK\n", "OK\n"]).await;
    publisher.types("CONNECT\n").await;
    publisher.reads(&["OK\n"]).await;
    publisher.types("PUB queue:q 2\nhi\n").await;
    publisher.reads(&["BLOCKED reason:memory\n", "ERR 613 memory-alarm "]).await;
    publisher.types("PUB queue:q 2\nhi\nPING\n").await;
    publisher.reads(&["ERR 613 memory-alarm ", "PONG\n"]).await;
    broker.set_limits(short(1 << 50, 1 << 20));
    publisher.reads(&["UNBLOCKED\n"]).await;
    publisher.types("PUB queue:q 2\nhi\n").await;
    publisher.reads(&["OK msg_id:"]).await;
    other.reads(&["MSG queue:q sub_id:s ", "hi\n"]).await;
    // A body beyond what may be held for one connection.
    publisher.types("PUB queue:q 4000000\n").await;
    let part = [b'x'; 16 << 10];
    for _ in 0..66 {
        // The last part may find the connection closed.
        let _ = publisher.0.get_mut().write_all(&part).await;
    }
    publisher.reads(&["ERR 611 connection-memory "]).await;
    assert_eq!(broker.stats().memory_closed, 1);
}
