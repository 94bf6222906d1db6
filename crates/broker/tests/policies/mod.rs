//! The part of a fixture that is about policies of queues, deadlines, exchanges of all kinds and
//! work in steps; written before a snapshot (`early`) and behind the last one (`late`).

use crate::client::{Client, texts};
use courant::{
    BindTo, Broker, Destination, DestinationId, ExchangeKind, ExchangeOptions, Header,
    HeaderFilter, HeaderMode, Level, Outgoing, Overflow, Properties, QueueOptions, Subscribed,
    Topology, Value, Verdict,
};

/// A deadline that no run of this test sees.
pub(crate) const FAR_MS: u64 = 1 << 42;
/// A time that no run of this test takes.
const LONG_MS: u64 = 1 << 40;

const KINDS: [(&str, ExchangeKind); 5] = [
    ("direct", ExchangeKind::Direct),
    ("fanout", ExchangeKind::Fanout),
    ("topic", ExchangeKind::Topic),
    ("headers", ExchangeKind::Headers),
    ("hash", ExchangeKind::Hash),
];

const HEADERS: [Header<'static>; 2] = [
    Header { name: "kind", value: Value::Text("video") },
    Header { name: "parts", value: Value::Int(2) },
];

/// Every policy there is.
fn limited() -> QueueOptions {
    QueueOptions {
        visibility_ms: 5_000,
        auto_delete: true,
        max_length: Some(5),
        max_bytes: Some(5_000),
        max_message_bytes: Some(500),
        overflow: Overflow::DropOldest,
        message_ttl_ms: Some(LONG_MS),
        expires_ms: Some(LONG_MS),
        max_attempts: Some(7),
        ..QueueOptions::default()
    }
}

fn blocking() -> QueueOptions {
    QueueOptions { max_length: Some(9), overflow: Overflow::Block, ..QueueOptions::default() }
}

fn fragile() -> QueueOptions {
    QueueOptions { max_attempts: Some(1), ..QueueOptions::default() }
}

/// Publishes a batch and waits until it is on disk. How many queues the last message reached.
pub(crate) async fn publish(
    client: &mut Client,
    to: DestinationId,
    properties: &Properties<'_>,
    bodies: &[&[u8]],
) -> u32 {
    let message =
        |payload| Outgoing { to, properties, payload, level: Level::Committed, is_durable: true };
    let batch: Vec<_> = bodies.iter().copied().map(message).collect();
    client.session.publish(&batch, true).unwrap();
    let last = client.session.outcomes().last().unwrap().unwrap();
    if let Some(after) = last.after {
        client.committed(after).await.unwrap();
    }
    last.queues
}

async fn send(client: &mut Client, queue: &str, deadline_ms: Option<u64>, body: &str) {
    let to = client.session.destination(Destination::Queue(queue));
    let properties = Properties { deadline_ms, ..Properties::default() };
    publish(client, to, &properties, &[body.as_bytes()]).await;
}

/// What the binding of an exchange of that kind says.
fn key_of(kind: ExchangeKind) -> Vec<u8> {
    match kind {
        ExchangeKind::Direct => b"a.b".to_vec(),
        ExchangeKind::Fanout => Vec::new(),
        ExchangeKind::Topic => b"a.*".to_vec(),
        ExchangeKind::Headers => {
            let filter = HeaderFilter { mode: HeaderMode::All, headers: HEADERS.to_vec() };
            filter.encode().unwrap()
        }
        ExchangeKind::Hash => b"3".to_vec(),
    }
}

/// Writes all of it; names begin with `at`.
pub(crate) async fn write(broker: &Broker, at: &str) {
    let mut client = Client::new(broker);
    for (name, options) in [
        ("limited", limited()),
        ("blocking", blocking()),
        ("fragile", fragile()),
        ("timed", QueueOptions::default()),
        ("purged", QueueOptions::default()),
        ("routed", QueueOptions::default()),
    ] {
        client.session.declare_queue(&format!("{at} {name}"), options).await.unwrap();
    }
    write_messages(&mut client, at).await;
    write_exchanges(&mut client, at).await;
    let purged = format!("{at} purged");
    for body in ["1", "2", "3"] {
        send(&mut client, &purged, None, body).await;
    }
    assert_eq!(client.session.purge(&purged).await, Ok(3));
    send(&mut client, &purged, None, "later").await;
    while !broker.workers().is_empty() {
        tokio::task::yield_now().await;
    }
    client.sync_settles().await.unwrap();
}

async fn write_messages(client: &mut Client, at: &str) {
    for number in 0..7 {
        send(client, &format!("{at} limited"), None, &number.to_string()).await;
    }
    let timed = format!("{at} timed");
    for (deadline_ms, body) in [(None, "for ever"), (Some(1), "over"), (Some(FAR_MS), "far")] {
        send(client, &timed, deadline_ms, body).await;
    }
    let fragile = format!("{at} fragile");
    for body in ["once", "never"] {
        send(client, &fragile, None, body).await;
    }
    client.subscribe(Subscribed::Queue(&fragile), 9, 2).await;
    let got = client.take(2).await;
    client.settle(got[0].handle, Verdict::Nack).unwrap();
    client.settle(got[1].handle, Verdict::Reject).unwrap();
    client.session.unsubscribe(9).unwrap();
    send(client, &fragile, None, "waits").await;
    client.sync_settles().await.unwrap();
}

async fn write_exchanges(client: &mut Client, at: &str) {
    let routed = format!("{at} routed");
    for (name, kind) in KINDS {
        let exchange = &format!("{at} {name}");
        let declared = Topology::DeclareExchange(exchange, ExchangeOptions::of(kind));
        client.session.change(declared).await.unwrap();
        let (key, to) = (&key_of(kind), BindTo::Queue(&routed));
        client.session.change(Topology::Bind { exchange, to, key }).await.unwrap();
    }
    // From each to the next, and in a circle.
    for (from, to, key) in [
        ("fanout", "topic", &b""[..]),
        ("topic", "direct", b"#"),
        ("direct", "fanout", b"a.b"),
        ("direct", "hash", b"gone"),
    ] {
        let (exchange, to) = (&format!("{at} {from}"), &format!("{at} {to}"));
        let to = BindTo::Exchange(to);
        client.session.change(Topology::Bind { exchange, to, key }).await.unwrap();
        if key == b"gone" {
            client.session.change(Topology::Unbind { exchange, to, key }).await.unwrap();
        }
    }
}

/// Sees that all of it is there.
pub(crate) async fn check(broker: &Broker, at: &str) {
    let mut client = Client::new(broker);
    for (name, options) in
        [("limited", limited()), ("blocking", blocking()), ("fragile", fragile())]
    {
        assert_eq!(client.session.queue_difference(&format!("{at} {name}"), &options), None);
    }
    for (queue, expected) in [
        ("limited", &["2", "3", "4", "5", "6"][..]),
        ("timed", &["for ever", "far"]),
        ("fragile", &["waits"]),
        ("purged", &["later"]),
    ] {
        let queue = &format!("{at} {queue}");
        client.subscribe(Subscribed::Queue(queue), 1, 10).await;
        assert_eq!(texts(&client.take(expected.len()).await), expected, "{queue}");
        client.session.unsubscribe(1).unwrap();
    }
    for (name, kind) in KINDS {
        let name = &format!("{at} {name}");
        assert_eq!(client.session.exchange_difference(name, ExchangeOptions::of(kind)), None);
        let properties = Properties { headers: &HEADERS, ..Properties::default() };
        let to = client.session.destination(Destination::Exchange(name, b"a.b"));
        assert_eq!(publish(&mut client, to, &properties, &[b"x"]).await, 1, "{name}");
        let reached = match kind {
            ExchangeKind::Fanout | ExchangeKind::Hash => 1,
            _ => 0,
        };
        let to = client.session.destination(Destination::Exchange(name, b"c"));
        let reaches = publish(&mut client, to, &Properties::default(), &[b"y"]).await;
        assert_eq!(reaches, reached, "{name}");
    }
}
