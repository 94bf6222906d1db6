//! Many tasks at once: publishers, and consumers that return, stall, end and begin again. At the
//! end every message was handled once, and each publisher's came in order where nothing was
//! returned.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "tests panic and tell their seed")]

mod client;

use client::{Client, Event, PATIENCE, Upkeep, below, seed, until};
use courant::testing::Testing;
use courant::{Broker, Destination, Level, Options, Subscribed, Verdict};
use courant_storage::sim::{Dice, SimDisk};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

const PUBLISHERS: usize = 4;
const CONSUMERS: usize = 3;
const MESSAGES: usize = 1_500;

type Handled = Arc<Mutex<BTreeSet<(usize, usize)>>>;

async fn publish(broker: Broker, publisher: usize, seed: u64) {
    let mut dice = Dice::new(seed);
    let mut client = Client::new(&broker);
    let to = client.session.destination(Destination::Queue("q"));
    let mut number = 0;
    while number < MESSAGES {
        let count = (below(&mut dice, 20) + 1).min(MESSAGES - number);
        let bodies: Vec<_> = (number..number + count)
            .map(|number| {
                let padding = below(&mut dice, 400);
                format!("{publisher} {number} {:padding$}", "").into_bytes()
            })
            .collect();
        let batch: Vec<_> =
            bodies.iter().map(|body| (&body[..], Level::Committed, dice.chance(70))).collect();
        let outcomes = client.publish(to, &batch).await;
        number += count;
        if dice.chance(30)
            && let Some(ticket) = outcomes.iter().find_map(|outcome| outcome.unwrap().after)
        {
            client.committed(ticket).await.unwrap();
        }
    }
}

async fn consume(broker: Broker, seed: u64, handled: Handled, is_over: Arc<AtomicBool>) {
    let mut dice = Dice::new(seed);
    while !is_over.load(Ordering::SeqCst) {
        let mut client = Client::new(&broker);
        let credit = [1, 10, 300][below(&mut dice, 3)];
        client.subscribe(Subscribed::Queue("q"), 1, credit).await;
        let mut last = BTreeMap::new();
        for _ in 0..below(&mut dice, 40) {
            if dice.chance(10) {
                client.line.shut();
                tokio::time::sleep(Duration::from_millis(dice.below(5))).await;
                client.line.open();
            }
            for event in client.line.events() {
                let Event::Got(got) = event else { panic!("{event:?}") };
                let mut words = got.text().split(' ').map(|word| word.parse().unwrap_or(0));
                let (publisher, number) = (words.next().unwrap(), words.next().unwrap());
                if got.attempt == 1 {
                    let before = last.insert(publisher, number);
                    assert!(before < Some(number), "{publisher}: {number} came after {before:?}");
                }
                if dice.chance(5) {
                    assert_eq!(client.settle(got.handle, Verdict::Nack), Ok(1));
                } else if dice.chance(95) {
                    client.ack(&got);
                    let is_first = handled.lock().unwrap().insert((publisher, number));
                    assert!(is_first, "{publisher} {number} came again after its ack");
                }
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
}

async fn storm(broker: Broker, seed: u64) {
    let mut owner = Client::new(&broker);
    owner.declare("q").await;
    let (handled, is_over) = (Handled::default(), Arc::new(AtomicBool::new(false)));
    let mut dice = Dice::new(seed);
    let publishers: Vec<_> = (0..PUBLISHERS)
        .map(|publisher| tokio::spawn(publish(broker.clone(), publisher, dice.roll())))
        .collect();
    let consumers: Vec<_> = (0..CONSUMERS)
        .map(|_| {
            let (handled, is_over) = (Arc::clone(&handled), Arc::clone(&is_over));
            tokio::spawn(consume(broker.clone(), dice.roll(), handled, is_over))
        })
        .collect();
    for publisher in publishers {
        tokio::time::timeout(6 * PATIENCE, publisher).await.unwrap().unwrap();
    }
    let all = PUBLISHERS * MESSAGES;
    let is_done = || {
        let is_broken = consumers.iter().any(tokio::task::JoinHandle::is_finished);
        is_broken || handled.lock().unwrap().len() == all
    };
    until("everything is handled", is_done).await;
    is_over.store(true, Ordering::SeqCst);
    for consumer in consumers {
        tokio::time::timeout(PATIENCE, consumer).await.unwrap().unwrap();
    }
    assert_eq!(handled.lock().unwrap().len(), all, "seed {seed}");
    let is_empty = || {
        let counts = owner.session.inspect("q").unwrap();
        (counts.ready, counts.leased, counts.bytes) == (0, 0, 0)
    };
    until("the queue is empty", is_empty).await;
    broker.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn every_message_is_handled_once_over_a_log_in_memory() {
    storm(Broker::in_memory(Options::default()).unwrap(), seed()).await;
}

/// With a small cache and little room, so that bodies are read back and publishers wait, and with
/// snapshots all the time.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn every_message_is_handled_once_over_a_log_on_disk() {
    let testing = Testing { fill_ahead_bytes: Some(0), ..Testing::default() };
    let options = Options {
        cache_bytes_max: 1,
        in_flight_bytes_max: 16 << 10,
        outboxes_bytes_max: 128 << 10,
        transient_bytes_max: 64 << 20,
        chunk_bytes_max: 64 << 10,
        segment_bytes: 64 << 10,
        testing,
        ..Options::default()
    };
    let open = || Broker::open_disk(SimDisk::new().mount(), options);
    let broker = tokio::task::block_in_place(open).unwrap();
    let upkeep = Upkeep::of(&broker);
    storm(broker, seed()).await;
    tokio::task::block_in_place(|| drop(upkeep));
}
