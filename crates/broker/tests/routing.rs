//! Routing through sessions: patterns, headers of each message, exchanges that feed others, live
//! subscriptions with patterns, what reaches nobody, and bindings that come and go under traffic.

#![allow(clippy::unwrap_used, reason = "tests panic")]

mod client;

use client::{Client, Event, texts};
use courant::{
    BindTo, Broker, Destination, ExchangeKind, ExchangeOptions, Header, HeaderFilter, HeaderMode,
    Level, LiveFormat, LiveMessage, Options, Outgoing, Properties, Published, Refusal, Session,
    SubscribeOptions, Subscribed, Topology, Value,
};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

struct Plain(&'static str);

impl LiveFormat for Plain {
    fn door(&self) -> u8 {
        7
    }

    fn prefix(&self) -> &[u8] {
        self.0.as_bytes()
    }

    fn encode(&self, out: &mut Vec<u8>, message: &LiveMessage<'_>) {
        out.extend_from_slice(self.0.as_bytes());
        out.extend_from_slice(message.payload);
        out.push(b';');
    }
}

async fn declare(client: &mut Client, name: &str, kind: ExchangeKind) {
    let request = Topology::DeclareExchange(name, ExchangeOptions::of(kind));
    client.session.change(request).await.unwrap();
}

async fn bind(client: &mut Client, exchange: &str, to: BindTo<'_>, key: &[u8]) {
    client.session.change(Topology::Bind { exchange, to, key }).await.unwrap();
}

fn publish(
    session: &mut Session,
    (exchange, key): (&str, &str),
    headers: &[Header<'_>],
    payload: &str,
) -> Result<Published, Refusal> {
    let to = session.destination(Destination::Exchange(exchange, key.as_bytes()));
    let properties = &Properties { headers, ..Properties::default() };
    let (payload, level) = (payload.as_bytes(), Level::Committed);
    let message = Outgoing { to, properties, payload, level, is_durable: true };
    session.publish(&[message], true).unwrap();
    session.outcomes()[0]
}

fn live_text(events: &[Event]) -> String {
    let bytes = events.iter().filter_map(|event| match event {
        Event::Bytes(bytes) => Some(bytes.as_slice()),
        _ => None,
    });
    String::from_utf8(bytes.collect::<Vec<_>>().concat()).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn headers_decide_for_each_message() {
    let broker = Broker::in_memory(Options::default()).unwrap();
    let mut client = Client::new(&broker);
    declare(&mut client, "entry", ExchangeKind::Fanout).await;
    declare(&mut client, "h", ExchangeKind::Headers).await;
    bind(&mut client, "entry", BindTo::Exchange("h"), b"").await;
    for (queue, value) in [("one", Value::Int(1)), ("two", Value::Text("2"))] {
        client.declare(queue).await;
        let headers = vec![Header { name: "n", value }];
        let filter = HeaderFilter { mode: HeaderMode::All, headers }.encode().unwrap();
        bind(&mut client, "h", BindTo::Queue(queue), &filter).await;
    }
    let cases = [
        (Value::Float(1.0), 1, "one"),
        (Value::Text("2"), 1, "two"),
        (Value::Int(2), 0, ""),
        (Value::Int(1), 1, "one"),
    ];
    for (value, queues, name) in cases {
        let headers = [Header { name: "n", value }];
        let done = publish(&mut client.session, ("entry", ""), &headers, name).unwrap();
        assert_eq!((done.queues, done.is_unroutable), (queues, queues == 0), "{value:?}");
    }
    client.subscribe(Subscribed::Queue("one"), 1, 10).await;
    assert_eq!(texts(&client.take(2).await), ["one", "one"]);
    client.subscribe(Subscribed::Queue("two"), 2, 10).await;
    assert_eq!(texts(&client.take(1).await), ["two"]);
    let mut other = Client::new(&broker);
    let live = Subscribed::Live("h", b"", Arc::new(Plain("")));
    let refused = other.session.subscribe(live, 1, SubscribeOptions::default()).await;
    assert_eq!(refused, Err(Refusal::NotSupported));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn live_subscriptions_have_patterns_and_follow_exchanges() {
    let broker = Broker::in_memory(Options::default()).unwrap();
    let mut client = Client::new(&broker);
    declare(&mut client, "x", ExchangeKind::Topic).await;
    declare(&mut client, "feed", ExchangeKind::Fanout).await;
    bind(&mut client, "feed", BindTo::Exchange("x"), b"").await;
    let before = publish(&mut client.session, ("x", "a.b"), &[], "nobody").unwrap();
    assert!(before.is_unroutable);
    let mut one = Client::new(&broker);
    one.subscribe(Subscribed::Live("x", b"a.*", Arc::new(Plain("1:"))), 1, 0).await;
    let mut two = Client::new(&broker);
    two.subscribe(Subscribed::Live("x", b"#", Arc::new(Plain("2:"))), 1, 0).await;
    for (exchange, key, payload) in
        [("x", "a.b", "p"), ("x", "b", "q"), ("feed", "a.c", "r"), ("x", "$a", "s")]
    {
        let done = publish(&mut client.session, (exchange, key), &[], payload).unwrap();
        assert_eq!(done.is_unroutable, payload == "s", "{payload}");
    }
    assert_eq!(live_text(&one.line.wait(2).await), "1:p;1:r;");
    assert_eq!(live_text(&two.line.wait(3).await), "2:p;2:q;2:r;");
    two.session.unsubscribe(1).unwrap();
    assert!(publish(&mut client.session, ("x", "b"), &[], "t").unwrap().is_unroutable);
    assert!(!publish(&mut client.session, ("x", "a.z"), &[], "u").unwrap().is_unroutable);
    assert_eq!(live_text(&one.line.wait(1).await), "1:u;");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn alternates_internal_exchanges_and_those_that_go() {
    let broker = Broker::in_memory(Options::default()).unwrap();
    let mut client = Client::new(&broker);
    client.declare("lost").await;
    client.declare("q").await;
    let spare = ExchangeOptions { is_internal: true, ..ExchangeOptions::of(ExchangeKind::Fanout) };
    client.session.change(Topology::DeclareExchange("spare", spare)).await.unwrap();
    bind(&mut client, "spare", BindTo::Queue("lost"), b"").await;
    let options = ExchangeOptions {
        auto_delete: true,
        alternate: Some("spare"),
        ..ExchangeOptions::of(ExchangeKind::Direct)
    };
    client.session.change(Topology::DeclareExchange("x", options)).await.unwrap();
    assert_eq!(client.session.exchange_difference("x", options), None);
    let plain = ExchangeOptions { alternate: None, ..options };
    assert_eq!(client.session.exchange_difference("x", plain), Some("alternate"));
    bind(&mut client, "x", BindTo::Queue("q"), b"k").await;
    let refused = publish(&mut client.session, ("spare", ""), &[], "");
    assert_eq!(refused, Err(Refusal::ExchangeInternal));
    assert_eq!(publish(&mut client.session, ("x", "k"), &[], "kept").unwrap().queues, 1);
    assert_eq!(publish(&mut client.session, ("x", "other"), &[], "lost").unwrap().queues, 1);
    client.subscribe(Subscribed::Queue("lost"), 1, 10).await;
    assert_eq!(texts(&client.take(1).await), ["lost"]);
    let in_use = Topology::DeleteExchange { name: "x", if_unused: true };
    assert_eq!(client.session.change(in_use).await, Err(Refusal::ExchangeInUse));
    let delete = Topology::DeleteQueue { name: "q", if_empty: false, if_unused: false };
    client.session.change(delete).await.unwrap();
    // The last binding from it is gone, and so is the exchange.
    client::until("x is gone", || client.session.inspect_exchange("x").is_err()).await;
    let refused = publish(&mut client.session, ("x", "k"), &[], "");
    assert_eq!(refused, Err(Refusal::NoSuchExchange));
}

/// Bindings and session queues come and go at full speed; who is bound all the time misses nothing
/// and gets everything in order.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_storm_of_bindings_leaves_messages_in_order() {
    const MESSAGES: usize = 4_000;
    let broker = Broker::in_memory(Options::default()).unwrap();
    let mut client = Client::new(&broker);
    declare(&mut client, "x", ExchangeKind::Topic).await;
    client.declare("steady").await;
    bind(&mut client, "x", BindTo::Queue("steady"), b"a.#").await;
    client.declare("other").await;
    let is_over = Arc::new(AtomicBool::new(false));
    let mut storms = Vec::new();
    for storm in 0..3 {
        let (broker, is_over) = (broker.clone(), Arc::clone(&is_over));
        storms.push(tokio::spawn(async move {
            let mut client = Client::new(&broker);
            let mut changes = 0u32;
            while !is_over.load(Ordering::SeqCst) {
                let key = format!("a.{storm}.*.{}", changes % 50);
                bind(&mut client, "x", BindTo::Queue("other"), key.as_bytes()).await;
                client.subscribe(Subscribed::Topic("x", b"#"), 1, 1).await;
                client.session.unsubscribe(1).unwrap();
                let (exchange, to, key) = ("x", BindTo::Queue("other"), key.as_bytes());
                client.session.change(Topology::Unbind { exchange, to, key }).await.unwrap();
                changes += 1;
            }
            changes
        }));
    }
    let mut publisher = Client::new(&broker);
    for number in 0..MESSAGES {
        let key = format!("a.{}", number % 7);
        let done = publish(&mut publisher.session, ("x", &key), &[], &number.to_string());
        let done = done.unwrap();
        assert!(done.queues >= 1);
        if number % 64 == 0 {
            publisher.committed(done.after.unwrap()).await.unwrap();
        }
    }
    is_over.store(true, Ordering::SeqCst);
    for storm in storms {
        assert!(storm.await.unwrap() > 0);
    }
    client.subscribe(Subscribed::Queue("steady"), 1, 60_000).await;
    let got = client.take(MESSAGES).await;
    let numbers: Vec<usize> = got.iter().map(|got| got.text().parse().unwrap()).collect();
    assert!(numbers.iter().copied().eq(0..MESSAGES));
}
