//! The client library and the real binary: everything it can do, and what it does when the broker
//! is killed again and again under it.

#![allow(clippy::unwrap_used, reason = "tests panic")]

use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use courant_client::{
    Client, Destination, EndOfSubscription, Event, Level, Mode, Options, PublisherOptions,
    RequestError, SettleError, Subscribe, Tls, WindowSize,
};
use courant_e2e::broker::Broker;

/// How long anything may take that has to come true, on a loaded machine.
const UNTIL: Duration = Duration::from_mins(1);

/// Messages of each publisher between two looks at the clock.
const BURST: u64 = 100;

fn play<F: Future<Output = ()>>(test: F) {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    runtime.block_on(async { tokio::time::timeout(2 * UNTIL, test).await.expect("it ends") });
}

async fn connect(broker: &Broker) -> Client {
    Client::connect(Options::new(broker.address().to_string())).await.unwrap()
}

/// A broker that comes back on the same port.
fn broker_that_stays() -> Broker {
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    Broker::launched(|launch| launch.native(&format!("127.0.0.1:{port}")))
}

#[test]
fn what_is_published_comes_and_is_settled() {
    let broker = Broker::start();
    play(async {
        let client = connect(&broker).await;
        client.command("DECLARE queue:orders").await.unwrap();
        let orders = Destination::queue("orders").unwrap();
        let confirm = client.publish(&orders, "first").await.unwrap();
        assert_eq!((confirm.level, confirm.queues), (Level::Committed, 1));
        let options = PublisherOptions {
            window: WindowSize { messages: 10, bytes: 100 },
            ..PublisherOptions::default()
        };
        let mut publisher = client.publisher(&orders, options);
        for number in 0..500_u64 {
            assert_eq!(publisher.send(number.to_string()).await.unwrap(), number);
        }
        publisher.flush().await.unwrap();

        let subscribe = Subscribe::new(orders.clone()).credit(20);
        let mut subscription = client.subscribe(subscribe).await.unwrap();
        let first = subscription.next().await.unwrap();
        assert_eq!(first.payload(), "first");
        assert_eq!(first.id(), confirm.id);
        first.extend(Some(60_000)).await.unwrap();
        first.nack().await.unwrap();
        let mut repeated = false;
        for number in 0..500 {
            let mut message = subscription.next().await.unwrap();
            if message.payload() == "first" {
                assert!(message.may_be_repeated() && message.attempt() == 2);
                message.ack().await.unwrap();
                repeated = true;
                message = subscription.next().await.unwrap();
            }
            assert_eq!(message.payload(), &number.to_string());
            message.ack().await.unwrap();
        }
        assert!(repeated, "what was given back comes again");
        drop(subscription);

        client.publish(&orders, "claimed").await.unwrap();
        let claimed = client.claim(&orders, 5).await.unwrap();
        assert_eq!(claimed.len(), 1);
        claimed[0].reject().await.unwrap();
        assert!(client.claim(&orders, 5).await.unwrap().is_empty());
        let listed = client.command("LIST queues").await.unwrap();
        assert_eq!(listed.items.len(), 1, "{listed:?}");
        assert!(client.close().await);
    });
}

#[test]
fn topics_have_live_and_durable_subscribers_and_what_is_refused_is_told() {
    let broker = Broker::start();
    play(async {
        let client = connect(&broker).await;
        client.command("DECLARE topic:news").await.unwrap();
        let news = Destination::topic("news").unwrap();
        let by = |mode| client.subscribe(Subscribe::new(news.clone()).mode(mode));
        let mut live = by(Mode::Live).await.unwrap();
        let mut own = by(Mode::Session).await.unwrap();
        let mut durable = by(Mode::Durable("paper".to_owned())).await.unwrap();
        client.publish(&news, "hello").await.unwrap();
        for subscription in [&mut live, &mut own, &mut durable] {
            let message = subscription.next().await.unwrap();
            assert_eq!(message.payload(), "hello");
            message.ack().await.unwrap();
        }
        let nowhere = Destination::queue("nowhere").unwrap();
        assert!(client.publish(&nowhere, "lost").await.is_err());
        let mut publisher = client.publisher(&nowhere, PublisherOptions::default());
        publisher.send("lost").await.unwrap();
        assert_eq!(publisher.flush().await.unwrap_err().number, 0);
        publisher.flush().await.unwrap();
        let refused = client.subscribe(Subscribe::new(nowhere)).await;
        assert!(matches!(refused, Err(RequestError::Refused(_))), "{refused:?}");

        client.command("DECLARE queue:short").await.unwrap();
        let short = Destination::queue("short").unwrap();
        let mut ended = client.subscribe(Subscribe::new(short)).await.unwrap();
        client.command("DELETE queue:short").await.unwrap();
        let end = ended.next().await.unwrap_err();
        assert!(matches!(end, EndOfSubscription::Cancelled(_)), "{end:?}");
        assert!(client.close().await);
        assert_eq!(live.next().await.unwrap_err(), EndOfSubscription::Closed);
    });
}

#[test]
fn handles_of_before_a_kill_are_refused_and_the_messages_come_again() {
    let mut broker = broker_that_stays();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let (client, mut events, mut subscription, message) = runtime.block_on(async {
        let client = connect(&broker).await;
        client.command("DECLARE queue:orders").await.unwrap();
        let orders = Destination::queue("orders").unwrap();
        client.publish(&orders, "kept").await.unwrap();
        let subscribe = Subscribe::new(orders);
        let mut subscription = client.subscribe(subscribe).await.unwrap();
        let message = subscription.next().await.unwrap();
        (client.clone(), client.events(), subscription, message)
    });
    broker.kill();
    runtime.block_on(async {
        let event = tokio::time::timeout(UNTIL, events.next()).await.unwrap();
        assert!(matches!(event, Some(Event::Disconnected { .. })), "{event:?}");
        assert_eq!(message.ack().await, Err(SettleError::Stale));
        let again = tokio::time::timeout(UNTIL, subscription.next()).await.unwrap().unwrap();
        assert_eq!(again.payload(), "kept");
        assert!(again.may_be_repeated());
        again.ack().await.unwrap();
        assert!(client.close().await);
    });
}

#[test]
fn a_client_speaks_tls_with_a_broker_it_trusts() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let made = rcgen::generate_simple_self_signed(vec!["127.0.0.1".to_owned()]).unwrap();
    std::fs::write(path("cert.pem"), made.cert.pem()).unwrap();
    std::fs::write(path("key.pem"), made.signing_key.serialize_pem()).unwrap();
    let (certificate, key) = (path("cert.pem"), path("key.pem"));
    let config = format!("[tls]\ncertificate = {certificate:?}\nkey = {key:?}\n");
    std::fs::write(path("courant.toml"), config).unwrap();
    let file = path("courant.toml").display().to_string();
    let broker = Broker::launched(|launch| {
        let launch = launch.arguments(&["--config", &file]);
        launch.with("COURANT_NATIVE_TLS_REQUIRED", &true)
    });
    play(async {
        let options = Options::new(broker.address().to_string());
        assert!(Client::connect(options.clone()).await.is_err(), "clear text");
        let stranger = options.clone().tls(Tls::default());
        assert!(Client::connect(stranger).await.is_err(), "a certificate that nobody signed");
        let client = Client::connect(options.tls(Tls { ca: Some(certificate) })).await.unwrap();
        client.command("DECLARE queue:large").await.unwrap();
        let large = Destination::queue("large").unwrap();
        let mut subscription = client.subscribe(Subscribe::new(large.clone())).await.unwrap();
        for bytes in [0, 1, 100_000, 5_000_000] {
            let payload = vec![b'x'; bytes];
            client.publish(&large, payload.clone()).await.unwrap();
            let message = subscription.next().await.unwrap();
            assert_eq!(message.payload().len(), bytes);
            assert!(message.payload() == &payload[..]);
            message.ack().await.unwrap();
        }
        assert!(client.close().await);
    });
}

/// Publishes numbers until told to stop; how many.
async fn publish_numbers(client: Client, name: &str, stop: Arc<AtomicBool>) -> u64 {
    let topic = Destination::topic("numbers").unwrap();
    let window = WindowSize { messages: 256, bytes: 1 << 20 };
    let options = PublisherOptions { window, ..PublisherOptions::default() };
    let mut publisher = client.publisher(&topic, options);
    let mut sent = 0;
    while !stop.load(Ordering::Relaxed) {
        for _ in 0..BURST {
            publisher.send(format!("{name} {sent}")).await.unwrap();
            sent += 1;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    publisher.flush().await.unwrap();
    sent
}

/// What a consumer has seen of one publisher.
#[derive(Debug, Default)]
struct Seen {
    next: u64,
    repeats: u64,
}

/// Reads until it has seen as many of each publisher as `totals` says once it is known. Each number
/// comes first in its order.
async fn consume_numbers(
    client: Client,
    name: &str,
    totals: tokio::sync::watch::Receiver<Option<[u64; 2]>>,
) -> [Seen; 2] {
    let subscribe = Subscribe::new(Destination::topic("numbers").unwrap());
    let subscribe = subscribe.mode(Mode::Durable(name.to_owned())).credit(100);
    let mut subscription = client.subscribe(subscribe).await.unwrap();
    let mut seen = [Seen::default(), Seen::default()];
    loop {
        let totals = *totals.borrow();
        if totals.is_some_and(|totals| totals == [seen[0].next, seen[1].next]) {
            return seen;
        }
        let waited = tokio::time::timeout(Duration::from_millis(200), subscription.next()).await;
        let Ok(message) = waited else { continue };
        let message = message.unwrap();
        let text = String::from_utf8(message.payload().to_vec()).unwrap();
        let (publisher, number) = text.split_once(' ').unwrap();
        let seen = &mut seen[publisher.parse::<usize>().unwrap()];
        let number: u64 = number.parse().unwrap();
        assert!(number <= seen.next, "{name}: {text}, and {} has not come", seen.next);
        if number == seen.next {
            seen.next += 1;
        } else {
            seen.repeats += 1;
        }
        // A settle that is stale, or does not arrive, makes the message come again.
        let _ = message.ack().await;
    }
}

#[test]
fn a_broker_that_is_killed_every_two_seconds_loses_nothing_for_its_clients() {
    let seconds = std::env::var("COURANT_CLIENT_SECONDS").ok();
    let seconds: u64 = seconds.map_or(20, |text| text.parse().unwrap());
    let mut broker = broker_that_stays();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let stop = Arc::new(AtomicBool::new(false));
    let (tell, totals) = tokio::sync::watch::channel(None);
    let (publishers, consumers, mut events) = runtime.block_on(async {
        let (first, second) = (connect(&broker).await, connect(&broker).await);
        first.command("DECLARE topic:numbers").await.unwrap();
        let consumers = [
            tokio::spawn(consume_numbers(first.clone(), "one", totals.clone())),
            tokio::spawn(consume_numbers(second.clone(), "two", totals)),
        ];
        // A durable subscriber gets what is published once it is there.
        while first.command("LIST subscriptions").await.unwrap().items.len() < 2 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        let events = first.events();
        let publishers = [
            tokio::spawn(publish_numbers(first, "0", Arc::clone(&stop))),
            tokio::spawn(publish_numbers(second, "1", Arc::clone(&stop))),
        ];
        (publishers, consumers, events)
    });
    let kills = seconds / 2;
    for _ in 0..kills {
        std::thread::sleep(Duration::from_secs(2));
        broker.kill();
    }
    stop.store(true, Ordering::Relaxed);
    let seen = runtime.block_on(async {
        let [first, second] = publishers;
        let published = async { [first.await.unwrap(), second.await.unwrap()] };
        let published = tokio::time::timeout(UNTIL, published).await.expect("all is confirmed");
        tell.send(Some(published)).unwrap();
        let mut seen = Vec::new();
        for consumer in consumers {
            let consumed = tokio::time::timeout(UNTIL, consumer).await;
            seen.push(consumed.expect("all comes").unwrap());
        }
        seen
    });
    let mut disconnects = 0;
    while let Some(event) = runtime.block_on(events.next()) {
        disconnects += u64::from(matches!(event, Event::Disconnected { .. }));
    }
    println!("{kills} kills, {disconnects} disconnects of one client: {seen:?}");
    assert!(disconnects >= kills, "{disconnects} disconnects in {kills} kills");
    assert!(seen.iter().flatten().all(|seen| seen.next > BURST * kills));
}
