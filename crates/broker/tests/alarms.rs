//! Alarms: publishers are told and refused, consumers go on, and when it is over all is as before.
//! Accounts: who holds more than it may is refused or closed, and nobody else.

#![allow(clippy::unwrap_used, reason = "tests panic")]

mod client;

use client::{Client, Event, until};
use courant::{
    Alarm, Broker, Destination, Level, Limits, Options, Principal, Refusal, Subscribed, Topology,
};
use courant_storage::sim::SimDisk;
use std::sync::Arc;

const MIB: u64 = 1 << 20;
const KIB: usize = 1 << 10;

fn marks(memory_max_bytes: u64, disk_free_min_bytes: u64) -> Limits {
    Limits { memory_max_bytes, disk_free_min_bytes, ..Limits::default() }
}

/// What a publisher says of each message.
async fn tries(client: &mut Client, queue: &str, bytes: usize, is_durable: bool) -> Outcome {
    let to = client.session.destination(Destination::Queue(queue));
    let outcomes = client.publish(to, &[(&vec![b'x'; bytes], Level::Committed, is_durable)]).await;
    match outcomes[0] {
        Ok(published) => {
            if let Some(ticket) = published.after {
                client.committed(ticket).await.unwrap();
            }
            Ok(())
        }
        Err(refusal) => Err(refusal),
    }
}

type Outcome = Result<(), Refusal>;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn short_memory_stops_publishers_and_nobody_else() {
    let broker = Broker::in_memory(Options::default()).unwrap();
    let [mut publisher, mut consumer, mut late] = [(); 3].map(|()| Client::new(&broker));
    publisher.declare("q").await;
    publisher.session.declare_topic("t").await.unwrap();
    for _ in 0..3 {
        assert_eq!(tries(&mut publisher, "q", 10, true).await, Ok(()));
    }
    broker.set_limits(marks(MIB, 0));
    assert_eq!(publisher.line.wait(1).await, [Event::Blocked(Alarm::Memory)]);
    assert!(broker.stats().memory_alarm_since > 0 && broker.stats().memory_bytes > MIB);
    for _ in 0..2 {
        assert_eq!(tries(&mut publisher, "q", 10, true).await, Err(Refusal::MemoryAlarm));
        assert_eq!(tries(&mut late, "q", 10, false).await, Err(Refusal::MemoryAlarm));
    }
    let live = publisher.session.destination(Destination::Topic("t"));
    let refused = publisher.publish(live, &[(b"live", Level::Memory, true)]).await;
    assert_eq!(refused, [Err(Refusal::MemoryAlarm)]);
    assert_eq!(late.line.wait(1).await, [Event::Blocked(Alarm::Memory)], "told once");
    consumer.subscribe(Subscribed::Queue("q"), 1, 9).await;
    for got in consumer.take(3).await {
        consumer.ack(&got);
    }
    consumer.declare("other").await;
    let delete = Topology::DeleteQueue { name: "other", if_empty: true, if_unused: true };
    consumer.session.change(delete).await.unwrap();
    broker.set_limits(Limits::default());
    assert_eq!(publisher.line.wait(1).await, [Event::Unblocked]);
    assert_eq!(late.line.wait(1).await, [Event::Unblocked]);
    assert_eq!(tries(&mut publisher, "q", 10, true).await, Ok(()));
    assert_eq!(consumer.take(1).await.len(), 1, "it heard nothing of all that");
    let stats = broker.stats();
    assert_eq!((stats.memory_alarm_since, stats.alarm_refused), (0, 5));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_short_disk_stops_durable_messages_alone() {
    let disk = SimDisk::new();
    disk.set_capacity(Some(64 * MIB));
    let options = Options { limits: marks(1 << 40, 1 << 40), ..Options::default() };
    let open = || Broker::open_disk(disk.mount(), options);
    let broker = tokio::task::block_in_place(open).unwrap();
    let mut client = Client::new(&broker);
    client.declare("q").await;
    client.declare_transient("t").await;
    assert_eq!(tries(&mut client, "q", 10, true).await, Err(Refusal::DiskFull));
    assert_eq!(client.line.wait(1).await, [Event::Blocked(Alarm::Disk)]);
    assert_eq!(tries(&mut client, "t", 10, true).await, Ok(()));
    assert_eq!(tries(&mut client, "q", 10, false).await, Ok(()));
    let stats = broker.stats();
    assert!(stats.disk_alarm_since > 0 && stats.disk_free_bytes > 0 && !broker.is_full());
    // Both alarms, and one of them over: it goes on as long as any is on.
    broker.set_limits(marks(MIB, 1 << 40));
    assert_eq!(client.line.wait(1).await, [Event::Blocked(Alarm::Memory)]);
    broker.set_limits(marks(MIB, 0));
    until("the disk is well", || broker.stats().disk_alarm_since == 0).await;
    assert_eq!(tries(&mut client, "q", 10, true).await, Err(Refusal::MemoryAlarm));
    broker.set_limits(Limits::default());
    assert_eq!(client.line.wait(1).await, [Event::Unblocked]);
    assert_eq!(tries(&mut client, "q", 10, true).await, Ok(()));
    broker.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_namespace_that_used_up_its_memory_does_not_touch_another() {
    let memory_per_namespace_max_bytes = MIB;
    let limits = Limits { memory_per_namespace_max_bytes, ..Limits::default() };
    let broker = Broker::in_memory(Options { limits, ..Options::default() }).unwrap();
    let mut neighbour = Client::new(&broker);
    neighbour.session.change(Topology::DeclareNamespace("team")).await.unwrap();
    let principal = Arc::new(Principal::unrestricted("test"));
    let mut client = Client::of(&broker, "team", &principal).unwrap();
    for client in [&mut client, &mut neighbour] {
        client.declare("d").await;
        client.declare_transient("t").await;
    }
    let mut taken = 0;
    while tries(&mut client, "t", 64 * KIB, true).await.is_ok() {
        taken += 1;
        assert!(taken < 100, "it is never used up");
    }
    assert_eq!(tries(&mut client, "t", 1, true).await, Err(Refusal::NamespaceQuota));
    assert_eq!(tries(&mut client, "d", 1, true).await, Ok(()), "that one is on disk");
    assert_eq!(tries(&mut neighbour, "t", 64 * KIB, true).await, Ok(()));
    client.subscribe(Subscribed::Queue("t"), 1, 100).await;
    for got in client.take(taken).await {
        client.ack(&got);
    }
    assert_eq!(tries(&mut client, "t", 64 * KIB, true).await, Ok(()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_that_holds_too_much_is_closed_and_its_deliveries_go_back() {
    let memory_per_connection_max_bytes = 2 * MIB;
    let limits = Limits { memory_per_connection_max_bytes, ..Limits::default() };
    let broker = Broker::in_memory(Options { limits, ..Options::default() }).unwrap();
    let [mut publisher, mut frozen, mut other] = [(); 3].map(|()| Client::new(&broker));
    publisher.declare("q").await;
    frozen.line.shut();
    frozen.subscribe(Subscribed::Queue("q"), 1, 1000).await;
    for _ in 0..30 {
        assert_eq!(tries(&mut publisher, "q", 64 * KIB, true).await, Ok(()));
    }
    let is_full = || frozen.session.outbox().pressure() >= courant::limits::OUTBOX_BYTES_MAX;
    until("its outbox is full", is_full).await;
    assert!(!frozen.session.outbox().is_closed(), "that alone is no reason");
    // The first that comes is larger than it may hold.
    let [mut large, mut reads] = [(); 2].map(|()| Client::new(&broker));
    large.line.shut();
    large.declare("large").await;
    large.subscribe(Subscribed::Queue("large"), 1, 9).await;
    assert_eq!(tries(&mut publisher, "large", 3 * 1024 * KIB, true).await, Ok(()));
    until("it is closed", || large.session.outbox().is_closed()).await;
    large.line.open();
    let refused = || large.line.events().contains(&Event::Refused(Refusal::ConnectionMemory));
    until("it is told why", refused).await;
    large.session.close();
    broker.set_limits(Limits::default());
    reads.subscribe(Subscribed::Queue("large"), 1, 9).await;
    assert_eq!(reads.take(1).await[0].attempt, 2);
    frozen.session.close();
    other.subscribe(Subscribed::Queue("q"), 1, 1000).await;
    for got in other.take(30).await {
        other.ack(&got);
    }
    assert_eq!(broker.stats().memory_closed, 1);
    broker.set_limits(limits);
    let carried = usize::try_from(2 * MIB + 1).unwrap();
    assert!(publisher.session.look_at_memory(carried), "what the door carries counts");
    assert!(!other.session.look_at_memory(carried - 1));
}

/// What is on its way into the log counts too: the publisher waits instead of being closed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_publisher_waits_for_what_it_has_in_flight() {
    let memory_per_connection_max_bytes = MIB;
    let limits = Limits { memory_per_connection_max_bytes, ..Limits::default() };
    let open = || courant::testing::gated(Options { limits, ..Options::default() });
    let (broker, gate) = tokio::task::block_in_place(open).unwrap();
    let mut client = Client::new(&broker);
    client.declare("q").await;
    gate.shut();
    let to = client.session.destination(Destination::Queue("q"));
    let (properties, payload) = (courant::Properties::default(), vec![b'x'; 100 * KIB]);
    let message = courant::Outgoing {
        to,
        properties: &properties,
        payload: &payload,
        level: Level::Committed,
        is_durable: true,
    };
    let mut count = 0;
    while client.session.publish(&[message], true).is_ok() {
        count += 1;
        assert!(count < 100, "it never waits");
        assert!(!client.session.look_at_memory(0));
    }
    assert_eq!(count, 5, "half of what the connection may hold");
    gate.open();
    client.session.room().await;
    while client.session.publish(&[message], true).is_err() {
        client.session.room().await;
    }
    assert!(client.session.outcomes()[0].is_ok());
    broker.close().await.unwrap();
}
