//! While a sync takes its time, only confirms of durable messages wait for it. The sync is held by
//! the test for as long as it counts what goes on.

#![allow(clippy::unwrap_used, reason = "tests panic")]

mod client;

use client::{Client, Event, Lines, texts, until};
use courant::testing::{Gate, Testing};
use courant::{Broker, Destination, Level, Options, Subscribed};
use std::sync::Arc;

const DURABLE: (Level, bool) = (Level::Committed, true);
const TRANSIENT: (Level, bool) = (Level::Memory, false);

/// A broker whose syncs wait while the gate is shut.
fn gated() -> (Broker, Arc<Gate>) {
    let testing = Testing { fill_ahead_bytes: Some(0), ..Testing::default() };
    let options = Options { testing, ..Options::default() };
    tokio::task::block_in_place(|| courant::testing::gated(options)).unwrap()
}

async fn put(client: &mut Client, to: Destination<'_>, body: &str, kind: (Level, bool)) {
    let to = client.session.destination(to);
    client.publish(to, &[(body.as_bytes(), kind.0, kind.1)]).await[0].unwrap();
}

/// Somebody's durable message is in flight, with a transient one behind it that has to wait.
async fn begin_to_wait(client: &mut Client) {
    put(client, Destination::Queue("q"), "durable", DURABLE).await;
    put(client, Destination::Queue("q"), "behind it", TRANSIENT).await;
}

/// Also into the queue where somebody's message waits, and behind it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn transient_messages_of_others_go_on() {
    let (broker, gate) = gated();
    let (mut slow, mut other) = (Client::new(&broker), Client::new(&broker));
    slow.declare("q").await;
    other.declare_transient("t").await;
    other.subscribe(Subscribed::Queue("q"), 1, 9_999).await;
    other.subscribe(Subscribed::Queue("t"), 2, 9_999).await;
    gate.shut();
    begin_to_wait(&mut slow).await;
    for number in 0..500 {
        let (text, queue) = (number.to_string(), ["q", "t"][number % 2]);
        put(&mut other, Destination::Queue(queue), &text, TRANSIENT).await;
        let got = other.take(1).await;
        assert_eq!(texts(&got), [text]);
        other.ack(&got[0]);
    }
    assert!(slow.line.events().is_empty());
    gate.open();
    assert_eq!(texts(&other.take(2).await), ["durable", "behind it"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn live_traffic_goes_on() {
    let (broker, gate) = gated();
    let (mut slow, mut other) = (Client::new(&broker), Client::new(&broker));
    slow.declare("q").await;
    other.session.declare_topic("live").await.unwrap();
    other.subscribe(Subscribed::Live("live", b"", Arc::new(Lines)), 1, 0).await;
    gate.shut();
    begin_to_wait(&mut slow).await;
    for number in 0..500 {
        put(&mut other, Destination::Topic("live"), &number.to_string(), TRANSIENT).await;
        let frame = format!("{number}\n").into_bytes();
        assert_eq!(other.line.wait(1).await, [Event::Bytes(frame)]);
    }
    gate.open();
}

/// What is committed already is handed over and settled; sessions begin and end.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn committed_messages_go_on() {
    let (broker, gate) = gated();
    let mut slow = Client::new(&broker);
    slow.declare("q").await;
    slow.declare("ready").await;
    for number in 0..200 {
        put(&mut slow, Destination::Queue("ready"), &number.to_string(), DURABLE).await;
    }
    slow.sync_settles().await.unwrap();
    gate.shut();
    begin_to_wait(&mut slow).await;
    for round in 0..20 {
        let mut reader = Client::new(&broker);
        reader.subscribe(Subscribed::Queue("ready"), 1, 1).await;
        for number in round * 10..(round + 1) * 10 {
            let got = reader.take(1).await;
            assert_eq!(texts(&got), [number.to_string()]);
            reader.ack(&got[0]);
        }
    }
    let counts = || slow.session.inspect("ready").unwrap();
    assert_eq!((counts().ready, counts().leased), (0, 0));
    gate.open();
    until("the settles are applied", || counts().bytes == 0).await;
}
