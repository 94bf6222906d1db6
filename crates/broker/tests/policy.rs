//! What a queue may say of itself, through sessions: every case runs over a log in memory and one
//! on disk.

#![allow(clippy::unwrap_used, reason = "tests panic")]

mod client;

use client::{Client, Event, texts, until};
use courant::{
    Broker, Cause, Destination, Level, Options, Outgoing, Overflow, Properties, QueueOptions,
    Refusal, Room, Settling, Subscribed, Topology, Verdict,
};
use courant_storage::sim::SimDisk;

fn open(disk: &SimDisk) -> Broker {
    let options = Options { segment_bytes: 64 << 10, ..Options::default() };
    tokio::task::block_in_place(|| Broker::open_disk(disk.mount(), options)).unwrap()
}

fn both() -> [Broker; 2] {
    [open(&SimDisk::new()), Broker::in_memory(Options::default()).unwrap()]
}

async fn declare(client: &mut Client, name: &str, options: QueueOptions) {
    assert_eq!(client.session.declare_queue(name, options).await, Ok(name.to_owned()));
}

/// Publishes one message; says whether it was refused or has to wait.
async fn send(client: &mut Client, queue: &str, text: &str) -> Result<Result<(), Refusal>, Room> {
    let to = client.session.destination(Destination::Queue(queue));
    let (properties, level) = (&Properties::default(), Level::Committed);
    let message = Outgoing { to, properties, payload: text.as_bytes(), level, is_durable: true };
    client.session.publish(&[message], true)?;
    let outcome = client.session.outcomes()[0];
    if let Ok(published) = outcome
        && let Some(ticket) = published.after
    {
        client.committed(ticket).await.unwrap();
    }
    Ok(outcome.map(drop))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_queue_refuses() {
    for broker in both() {
        let mut client = Client::new(&broker);
        let options = QueueOptions {
            max_length: Some(2),
            max_message_bytes: Some(100),
            ..QueueOptions::default()
        };
        declare(&mut client, "q", options).await;
        for text in ["a", "b"] {
            assert_eq!(send(&mut client, "q", text).await, Ok(Ok(())));
        }
        assert_eq!(send(&mut client, "q", "c").await, Ok(Err(Refusal::QueueFull)));
        let large = "x".repeat(200);
        let refused = send(&mut client, "q", &large).await;
        assert_eq!(refused, Ok(Err(Refusal::MessageTooLargeForQueue)));
        let claimed = client.session.claim("q", Settling::Auto, None).await.unwrap();
        assert_eq!(claimed.message().unwrap().payload, b"a");
        assert_eq!(send(&mut client, "q", "c").await, Ok(Ok(())));
        broker.close().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_publisher_waits_for_room_and_keeps_its_order() {
    for broker in both() {
        let (mut client, mut other) = (Client::new(&broker), Client::new(&broker));
        let overflow = Overflow::Block;
        let options = QueueOptions { max_length: Some(2), overflow, ..QueueOptions::default() };
        declare(&mut client, "q", options).await;
        let to = client.session.destination(Destination::Queue("q"));
        let properties = &Properties::default();
        let texts_sent: Vec<String> = (0..5).map(|n| n.to_string()).collect();
        let batch: Vec<Outgoing<'_>> = texts_sent
            .iter()
            .map(|text| Outgoing {
                to,
                properties,
                payload: text.as_bytes(),
                level: Level::Committed,
                is_durable: true,
            })
            .collect();
        assert_eq!(client.session.publish(&batch, true), Err(Room));
        assert_eq!(client.session.outcomes().len(), 2, "the first found room");
        let publisher = async {
            let mut left = &batch[2..];
            while client.session.publish(left, true).is_err() {
                left = &left[client.session.outcomes().len()..];
                client.session.room().await;
            }
            assert!(client.session.outcomes().iter().all(Result::is_ok));
        };
        let consumer = async {
            other.subscribe(Subscribed::Queue("q"), 1, 1).await;
            let mut got = Vec::new();
            while got.len() < batch.len() {
                let more = other.take(1).await;
                for one in &more {
                    other.ack(one);
                }
                got.extend(more);
            }
            got
        };
        let ((), got) = tokio::join!(publisher, consumer);
        assert_eq!(texts(&got), texts_sent);
        broker.close().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_oldest_go_and_stay_gone() {
    let disk = SimDisk::new();
    let broker = open(&disk);
    let mut client = Client::new(&broker);
    let overflow = Overflow::DropOldest;
    let options = QueueOptions { max_length: Some(3), overflow, ..QueueOptions::default() };
    declare(&mut client, "q", options).await;
    for number in 0..10 {
        assert_eq!(send(&mut client, "q", &number.to_string()).await, Ok(Ok(())));
    }
    let counts = client.session.inspect("q").unwrap();
    assert_eq!((counts.ready, counts.left.of(Cause::Overflow)), (3, 7));
    assert_eq!(broker.stats().overflowed, 7);
    client.sync_settles().await.unwrap();
    disk.kill();
    drop((client, broker));
    let broker = open(&disk);
    let mut client = Client::new(&broker);
    assert_eq!(client.session.inspect("q").unwrap().ready, 3);
    client.subscribe(Subscribed::Queue("q"), 1, 9).await;
    assert_eq!(texts(&client.take(3).await), ["7", "8", "9"]);
    declare(&mut client, "q", options).await;
    broker.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn queues_go_by_themselves() {
    for broker in both() {
        let (mut client, mut other) = (Client::new(&broker), Client::new(&broker));
        let exclusive = QueueOptions { durable: false, exclusive: true, ..QueueOptions::default() };
        let name = client.session.declare_queue("", exclusive).await.unwrap();
        assert!(name.starts_with("$q."), "{name}");
        assert_eq!(other.session.inspect(&name), Err(Refusal::QueueExclusive));
        let auto = QueueOptions { auto_delete: true, ..QueueOptions::default() };
        declare(&mut client, "auto", auto).await;
        client.subscribe(Subscribed::Queue("auto"), 1, 1).await;
        assert_eq!(client.session.unsubscribe(1), Ok(()));
        assert_eq!(other.session.inspect("auto"), Err(Refusal::NoSuchQueue));
        declare(&mut other, "gone", QueueOptions::default()).await;
        client.subscribe(Subscribed::Queue("gone"), 2, 1).await;
        let delete = Topology::DeleteQueue { name: "gone", if_empty: true, if_unused: true };
        assert_eq!(other.session.change(delete).await, Err(Refusal::QueueInUse));
        let delete = Topology::DeleteQueue { name: "gone", if_empty: true, if_unused: false };
        other.session.change(delete).await.unwrap();
        assert_eq!(client.line.wait(1).await, [Event::Cancelled(2, Cause::QueueDeleted)]);
        client.session.close();
        let (refused, there) = (other.session.inspect(&name), broker.queues());
        assert_eq!(refused, Err(Refusal::NoSuchQueue));
        assert!(there.iter().all(|(queue, _)| *queue != name));
        broker.close().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_that_nobody_can_handle_leaves() {
    for broker in both() {
        let mut client = Client::new(&broker);
        let options = QueueOptions { max_attempts: Some(2), ..QueueOptions::default() };
        declare(&mut client, "q", options).await;
        send(&mut client, "q", "poison").await.unwrap().unwrap();
        client.subscribe(Subscribed::Queue("q"), 1, 1).await;
        for attempt in 1..=2 {
            let got = client.take(1).await;
            assert_eq!(got[0].attempt, attempt);
            client.settle(got[0].handle, Verdict::Nack).unwrap();
        }
        let counts = client.session.inspect("q").unwrap();
        assert_eq!((counts.ready, counts.left.of(Cause::MaxAttempts)), (0, 1));
        assert_eq!(broker.stats().attempts_spent, 1);
        broker.close().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_purge_goes_on_after_a_crash() {
    let disk = SimDisk::new();
    let broker = open(&disk);
    let mut client = Client::new(&broker);
    declare(&mut client, "q", QueueOptions::default()).await;
    let to = client.session.destination(Destination::Queue("q"));
    let batch = vec![(&b"x"[..], Level::Committed, true); 1_000];
    for _ in 0..20 {
        let outcomes = client.publish(to, &batch).await;
        client.committed(outcomes.last().unwrap().unwrap().after.unwrap()).await.unwrap();
    }
    assert_eq!(client.session.purge("q").await, Ok(20_000));
    send(&mut client, "q", "later").await.unwrap().unwrap();
    disk.kill();
    drop((client, broker));
    let broker = open(&disk);
    let client = Client::new(&broker);
    until("only what came later is left", || client.session.inspect("q").unwrap().ready == 1).await;
    until("the worker is done", || broker.workers().is_empty()).await;
    broker.close().await.unwrap();
    let broker = open(&disk);
    assert_eq!(broker.opened().ready, 1);
    assert!(broker.workers().is_empty());
    broker.close().await.unwrap();
}
