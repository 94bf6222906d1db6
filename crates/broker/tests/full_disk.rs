//! A disk without room: messages are refused before they are written, everything else goes on, and
//! what is consumed makes room again, without a restart and after one.

#![allow(clippy::unwrap_used, reason = "tests panic")]

mod client;

use client::{Client, until};
use courant::{
    BindTo, Broker, Destination, Level, Options, QueueOptions, Refusal, Settling, SubscribeOptions,
    Subscribed, Topology,
};
use courant_storage::sim::SimDisk;

const KIB: usize = 1 << 10;
const MIB: u64 = 1 << 20;

fn open(disk: &SimDisk) -> Broker {
    let options = Options { cache_bytes_max: 1, ..Options::default() };
    tokio::task::block_in_place(|| Broker::open_disk(disk.mount(), options)).unwrap()
}

/// Publishes until the disk is full; gives how many were confirmed.
async fn fill(client: &mut Client) -> usize {
    let to = client.session.destination(Destination::Queue("q"));
    let body = vec![b'x'; 16 * KIB];
    for confirmed in 0.. {
        assert!(confirmed < 4_000, "it is never full");
        match client.publish(to, &[(&body, Level::Committed, true)]).await[0] {
            Ok(published) => client.committed(published.after.unwrap()).await.map(drop).unwrap(),
            Err(refusal) => {
                assert_eq!(refusal, Refusal::DiskFull);
                return confirmed;
            }
        }
    }
    unreachable!("it ends before");
}

async fn drain(client: &mut Client, count: usize) {
    for _ in 0..count {
        let claimed = client.session.claim("q", Settling::Auto, None).await.unwrap();
        assert_eq!(claimed.message().unwrap().payload.len(), 16 * KIB);
    }
    let empty = client.session.claim("q", Settling::Auto, None).await;
    assert_eq!(empty.unwrap_err(), Refusal::NothingWaiting);
    client.sync_settles().await.unwrap();
}

/// Whatever needs no message in the log.
async fn everything_else_goes_on(broker: &Broker, round: usize) {
    // Publishers are told of the full disk; consumers hear nothing of it.
    let [mut client, mut consumer] = [(); 2].map(|()| Client::new(broker));
    let new = format!("new{round}");
    client.session.declare_queue(&new, QueueOptions::default()).await.unwrap();
    let delete = Topology::DeleteQueue { name: &new, if_empty: true, if_unused: true };
    client.session.change(delete).await.unwrap();
    client.declare_transient("t").await;
    consumer.subscribe(Subscribed::Queue("t"), 1, 9).await;
    let transient = client.session.destination(Destination::Queue("t"));
    let durable = client.session.destination(Destination::Queue("q"));
    let (properties, body) = (courant::Properties::default(), vec![b'y'; 64 * KIB]);
    let message = |to, is_durable| courant::Outgoing {
        to,
        properties: &properties,
        payload: &body,
        level: Level::Committed,
        is_durable,
    };
    // One that needs room does not keep back those that don't.
    let batch = [message(transient, true), message(durable, true), message(transient, false)];
    client.session.publish(&batch, true).unwrap();
    let outcomes: Vec<_> = client.session.outcomes().iter().map(|o| o.map(|p| p.queues)).collect();
    assert_eq!(outcomes, [Ok(1), Err(Refusal::DiskFull), Ok(1)]);
    for got in consumer.take(2).await {
        consumer.ack(&got);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_is_drained_and_filled_again() {
    let disk = SimDisk::new();
    disk.set_capacity(Some(24 * MIB));
    let mut broker = open(&disk);
    Client::new(&broker).declare("q").await;
    for round in 0..6 {
        let mut client = Client::new(&broker);
        let mut confirmed = fill(&mut client).await;
        // What was freed before may still come back: it is full when it stays so.
        for _ in 0..6 {
            tokio::time::sleep(std::time::Duration::from_millis(200)).await;
            confirmed += fill(&mut client).await;
        }
        assert!(confirmed * 16 * KIB > 8 << 20, "{confirmed} in round {round}");
        everything_else_goes_on(&broker, round).await;
        assert!(broker.is_full() && broker.stats().disk_full >= 2);
        if round % 2 == 1 {
            // Not one byte more is free while it starts and is drained.
            drop(client);
            broker.close().await.unwrap();
            disk.set_capacity(Some(disk.used_bytes()));
            broker = open(&disk);
            client = Client::new(&broker);
        }
        drain(&mut client, confirmed).await;
        disk.set_capacity(Some(24 * MIB));
        let to = client.session.destination(Destination::Queue("q"));
        let is_roomy = || disk.used_bytes() < 10 * MIB && !broker.is_full();
        until("there is room again", is_roomy).await;
        client.publish(to, &[(&[b'x'; 16 * KIB], Level::Committed, true)]).await[0].unwrap();
        until("it is ready", || client.session.inspect("q").unwrap().ready == 1).await;
        drain(&mut client, 1).await;
    }
    assert!(!broker.is_poisoned());
    broker.close().await.unwrap();
}

/// A snapshot of so many small messages takes more than the reserve has: it must not take what
/// settling them needs.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_snapshot_that_does_not_fit_leaves_room_for_settling() {
    let disk = SimDisk::new();
    disk.set_capacity(Some(24 * MIB));
    let broker = open(&disk);
    let mut client = Client::new(&broker);
    client.session.declare_topic("t").await.unwrap();
    let queues: Vec<String> = (0..40).map(|number| format!("q{number}")).collect();
    for queue in &queues {
        client.declare(queue).await;
        let bind = Topology::Bind { exchange: "t", to: BindTo::Queue(queue), key: b"" };
        client.session.change(bind).await.unwrap();
    }
    let to = client.session.destination(Destination::Topic("t"));
    let batch = vec![(&b"x"[..], Level::Committed, true); 400];
    let mut is_full = false;
    while !is_full {
        for outcome in client.publish(to, &batch).await {
            match outcome {
                Ok(published) => drop(client.committed(published.after.unwrap()).await.unwrap()),
                Err(refusal) => is_full = refusal == Refusal::DiskFull,
            }
        }
    }
    let (credit, settling) = (1_000, Settling::Auto);
    let options = SubscribeOptions { credit, settling, ..SubscribeOptions::default() };
    for (queue, tag) in queues.iter().zip(1..) {
        client.subscribe_with(Subscribed::Queue(queue), tag, options).await;
    }
    let is_roomy = || !broker.is_full() && disk.used_bytes() < 12 * MIB;
    until("there is room again", is_roomy).await;
    assert!(client.publish(to, &batch).await.iter().all(Result::is_ok) && !broker.is_poisoned());
    broker.close().await.unwrap();
}
