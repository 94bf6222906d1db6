//! A client that tells what it hears in short.

use courant::{Broker, Options};
use courant_doors::{Listening, NativeOptions, native};
use courant_wire::binary::{
    DecodedReply, Destination, PublishHead, Reply, Subscribe, Verdict, decode_reply, request,
};
use courant_wire::text::{Confirm, DestinationKind};
use courant_wire::{Handle, Limits};
use std::fmt::Write;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// No answer may take longer; far above what any of them takes.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) const QUEUE: DestinationKind = DestinationKind::Queue;
pub(crate) const TOPIC: DestinationKind = DestinationKind::Topic;
pub(crate) const EXCHANGE: DestinationKind = DestinationKind::Exchange;

pub(crate) async fn open() -> (Broker, Listening) {
    open_with(Options::default()).await
}

pub(crate) async fn open_with(options: Options) -> (Broker, Listening) {
    let broker = Broker::in_memory(options).unwrap();
    let listening = listen(&broker).await;
    (broker, listening)
}

pub(crate) async fn listen(broker: &Broker) -> Listening {
    let address = SocketAddr::from(([127, 0, 0, 1], 0));
    let options = NativeOptions { address, ..NativeOptions::default() };
    native::listen(broker.clone(), options).await.unwrap()
}

pub(crate) struct Client {
    pub(crate) stream: TcpStream,
    held: Vec<u8>,
    /// Handles that came, in order.
    pub(crate) handles: Vec<Handle>,
}

pub(crate) fn to<'a>(kind: DestinationKind, name: &'a str, key: &'a str) -> PublishHead<'a> {
    PublishHead {
        destination: Destination { kind, raw_name: name.as_bytes(), key: key.as_bytes() },
        is_transient: false,
        is_mandatory: false,
        confirm: Confirm::Committed,
        has_properties: false,
    }
}

impl Client {
    pub(crate) async fn raw(listening: &Listening) -> Self {
        let stream = TcpStream::connect(listening.local_addr()).await.unwrap();
        Self { stream, held: Vec::new(), handles: Vec::new() }
    }

    pub(crate) async fn new(listening: &Listening) -> Self {
        let mut client = Self::raw(listening).await;
        client.says(|out| request::connect(out, 1, b"{\"client_id\":\"test\"}")).await;
        client.hears(&["OK 1"]).await;
        client
    }

    pub(crate) async fn says(&mut self, write: impl FnOnce(&mut Vec<u8>)) {
        let mut out = Vec::new();
        write(&mut out);
        self.stream.write_all(&out).await.unwrap();
    }

    /// Says a line of the text protocol; the answer has to be OK.
    pub(crate) async fn line(&mut self, line: &str) {
        self.says(|out| request::line(out, 77, line.as_bytes())).await;
        let told = self.told().await;
        assert!(told.starts_with("OK 77"), "{line}: {told}");
    }

    pub(crate) async fn publishes(&mut self, req: u32, head: PublishHead<'_>, payloads: &[&str]) {
        self.says(|out| publish(out, req, head, payloads)).await;
    }

    pub(crate) async fn subscribes(
        &mut self,
        sub: u32,
        kind: DestinationKind,
        name: &str,
        is_live: bool,
    ) {
        let subscribe = subscription(sub, to(kind, name, "").destination, is_live);
        self.says(|out| request::subscribe(out, 50, &subscribe).unwrap()).await;
        self.hears(&["OK 50"]).await;
    }

    pub(crate) async fn settles(&mut self, req: u32, verdict: Verdict, handles: &[Handle]) {
        self.says(|out| settle(out, req, verdict, handles)).await;
    }

    /// The next frame in short; `end` at the end of the stream.
    pub(crate) async fn told(&mut self) -> String {
        loop {
            match decode_reply(&self.held, &Limits::DEFAULT) {
                DecodedReply::Reply { reply, consumed } => {
                    let told = tell(&reply, &mut self.handles);
                    self.held.drain(..consumed);
                    return told;
                }
                DecodedReply::Incomplete { .. } => {
                    let read = self.stream.read_buf(&mut self.held);
                    let read = tokio::time::timeout(PATIENCE, read).await.expect("in time");
                    if !matches!(read, Ok(1..)) {
                        return "end".to_owned();
                    }
                }
                DecodedReply::Malformed { error } => panic!("{error}"),
            }
        }
    }

    /// Reads frames; each has to begin so.
    #[track_caller]
    pub(crate) fn hears<'a>(
        &'a mut self,
        expected: &'a [&'a str],
    ) -> impl Future<Output = ()> + 'a {
        let caller = std::panic::Location::caller();
        async move {
            for expected in expected {
                let told = self.told().await;
                assert!(told.starts_with(expected), "{told}, not {expected}, at {caller}");
            }
        }
    }
}

pub(crate) fn publish(out: &mut Vec<u8>, req: u32, head: PublishHead<'_>, payloads: &[&str]) {
    let frame = request::begin_publish(out, req, &head).unwrap();
    for payload in payloads {
        request::message(out, payload.as_bytes());
    }
    frame.end(out);
}

pub(crate) fn settle(out: &mut Vec<u8>, req: u32, verdict: Verdict, handles: &[Handle]) {
    let frame = request::begin_settle(out, req, verdict, false, false);
    for handle in handles {
        request::handle(out, *handle);
    }
    frame.end(out);
}

pub(crate) fn subscription(sub: u32, destination: Destination<'_>, is_live: bool) -> Subscribe<'_> {
    let (is_auto, subscriber) = (false, &b""[..]);
    let (credit, credit_bytes, visibility) = (None, None, None);
    Subscribe { sub, is_auto, is_live, destination, subscriber, credit, credit_bytes, visibility }
}

pub(crate) fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

pub(crate) fn tell(reply: &Reply<'_>, handles: &mut Vec<Handle>) -> String {
    match reply {
        Reply::Ok { req, count, fields } => format!("OK {req} {count} {}", text(fields.raw())),
        Reply::Item { req, fields } => format!("ITEM {req} {}", text(fields.raw())),
        Reply::Confirm(entries) => {
            let mut told = "CONFIRM".to_owned();
            for entry in entries.clone() {
                let (req, index, count, queues) =
                    (entry.req, entry.index, entry.count, entry.queues);
                let level = entry.level.name();
                let id = if entry.id.is_some() { "id" } else { "none" };
                let _ = write!(told, " {req}:{index}+{count} {level} {queues} {id}");
            }
            told
        }
        Reply::Deliver { sub, deliveries } => {
            let mut told = format!("DELIVER {sub}");
            for delivery in deliveries.clone() {
                handles.push(delivery.head.handle);
                let _ = write!(told, " {}", text(delivery.payload));
                if delivery.head.attempt > 1 {
                    let _ = write!(told, "/{}", delivery.head.attempt);
                }
                if let Some(more) = delivery.more {
                    let (exchange, key) = (text(more.exchange), text(more.key));
                    let properties: Vec<_> = more.properties.iter().collect();
                    let _ = write!(told, " ({exchange} {key} {properties:?})");
                }
            }
            told
        }
        Reply::Live { sub, key, properties, payload } => {
            let properties: Vec<_> = properties.iter().collect();
            format!("LIVE {sub} {} ({} {properties:?})", text(payload), text(key))
        }
        Reply::Return { returned, properties, payload } => {
            let properties: Vec<_> = properties.iter().collect();
            let (exchange, key) = (text(returned.exchange), text(returned.key));
            let (req, index, reason) = (returned.req, returned.index, returned.reason);
            format!(
                "RETURN {req}:{index} {reason} {} ({exchange} {key} {properties:?})",
                text(payload)
            )
        }
        Reply::Cancel { sub, reason } => format!("CANCEL {sub} {reason}"),
        Reply::Ping => "PING".to_owned(),
        Reply::Pong { req } => format!("PONG {req}"),
        Reply::Blocked { reason } => format!("BLOCKED {reason}"),
        Reply::Unblocked => "UNBLOCKED".to_owned(),
        Reply::Refused(refused) => {
            let (req, index, count) = (refused.req, refused.index, refused.count);
            let (number, closes) = (refused.number, refused.closes);
            format!("REFUSED {req}:{index}+{count} {number} {closes:?} {}", refused.sentence)
        }
        Reply::Unknown { number } => format!("UNKNOWN {number}"),
    }
}
