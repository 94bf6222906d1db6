//! A client that publishes to a full queue that blocks, and consumes it on the same connection.

use courant::{Broker, Options};
use courant_doors::{NativeOptions, native};
use std::net::SocketAddr;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

/// Well below the time after which a message that waits for room is refused.
const PATIENCE: Duration = Duration::from_secs(15);

struct Client(BufReader<TcpStream>);

impl Client {
    async fn send(&mut self, text: &str) {
        self.0.get_mut().write_all(text.as_bytes()).await.expect("the door reads");
    }

    async fn line(&mut self) -> String {
        let mut line = String::new();
        let read = tokio::time::timeout(PATIENCE, self.0.read_line(&mut line)).await;
        read.expect("in time").expect("and in order");
        line
    }

    /// The handle and the body of the next message.
    async fn message(&mut self) -> (String, String) {
        let line = self.line().await;
        let handle = line.split(' ').find_map(|word| word.strip_prefix("msg_id:"));
        let handle = handle.unwrap_or_else(|| panic!("{line}")).trim_end().to_owned();
        let mut body = [0; 2];
        let read = tokio::time::timeout(PATIENCE, self.0.read_exact(&mut body)).await;
        assert!(read.is_ok(), "no body behind {line}");
        (handle, String::from_utf8_lossy(&body[..1]).into_owned())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn its_settles_are_read_while_it_waits() {
    let broker = Broker::in_memory(Options::default()).expect("a broker in memory");
    let address = SocketAddr::from(([127, 0, 0, 1], 0));
    let options = NativeOptions { address, ..NativeOptions::default() };
    let listening = native::listen(broker.clone(), options).await.expect("a free port");
    let stream = TcpStream::connect(listening.local_addr()).await.expect("a connection");
    let mut client = Client(BufReader::new(stream));
    client
        .send("CONNECT {\"verbose\":false}\nDECLARE queue:q max_length:1 overflow:block req:1\n")
        .await;
    assert_eq!(client.line().await, "OK\n");
    assert_eq!(client.line().await, "OK req:1\n");
    client.send("SUB queue:q sub_id:s credit:1 req:2\n").await;
    assert!(client.line().await.starts_with("OK req:2"));
    // Room for one at a time: each waits until the one before is acked.
    client.send("PUB queue:q 1\na\nPUB queue:q 1\nb\nPUB queue:q 1\nc\n").await;
    for expected in ["a", "b", "c"] {
        let (handle, body) = client.message().await;
        assert_eq!(body, expected);
        client.send(&format!("ACK msg_id:{handle}\n")).await;
    }
    // CONNECT, DECLARE and SUB, three PUBs and three ACKs came before.
    client.send("NONSENSE\n").await;
    let refused = client.line().await;
    assert!(refused.starts_with("ERR 101 unknown-verb"), "{refused}");
    assert_eq!(broker.stats().settled, 3);
}
