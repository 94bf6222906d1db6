//! Snapshots, space that is given back, long queues out of memory, and damaged messages.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "tests panic and tell their seed")]

mod client;

use client::{Client, Got, below, seed, until};
use courant::testing::{Testing, keep_up, replayed_hash};
use courant::{
    BindTo, Broker, Destination, Level, Options, Settling, Subscribed, Topology, Verdict,
};
use courant_storage::sim::{Dice, SimDisk};
use std::path::Path;

const KIB: usize = 1 << 10;

/// Small segments, nothing in memory that need not be.
fn options() -> Options {
    let testing = Testing { fill_ahead_bytes: Some(0), ..Testing::default() };
    let (cache_bytes_max, chunk_bytes_max, segment_bytes) = (1, 0, 64 << 10);
    Options { cache_bytes_max, chunk_bytes_max, segment_bytes, testing, ..Options::default() }
}

fn open(disk: &SimDisk) -> Broker {
    tokio::task::block_in_place(|| Broker::open_disk(disk.mount(), options())).unwrap()
}

fn keep(broker: &Broker) {
    assert!(tokio::task::block_in_place(|| keep_up(broker)), "a snapshot was not finished");
}

/// Publishes numbered messages of a size, and waits until they are committed.
async fn fill(
    client: &mut Client,
    to: Destination<'_>,
    numbers: std::ops::Range<usize>,
    size: usize,
) {
    let to = client.session.destination(to);
    let numbers: Vec<_> = numbers.collect();
    for part in numbers.chunks(256) {
        let payloads: Vec<_> = part.iter().map(|number| format!("{number:0size$}")).collect();
        let batch: Vec<_> =
            payloads.iter().map(|text| (text.as_bytes(), Level::Committed, true)).collect();
        let outcomes = client.publish(to, &batch).await;
        client.committed(outcomes[0].unwrap().after.unwrap()).await.unwrap();
    }
}

fn number(got: &Got) -> usize {
    got.text().parse().unwrap()
}

/// Bytes of all files of a folder.
fn folder_bytes(folder: &Path) -> u64 {
    std::fs::read_dir(folder).unwrap().map(|file| file.unwrap().metadata().unwrap().len()).sum()
}

/// One random thing that changes the ledger.
async fn do_something(client: &mut Client, dice: &mut Dice) {
    let name = format!("q{}", below(dice, 4));
    match below(dice, 10) {
        0 => client.declare(&name).await,
        1 if dice.chance(20) => {
            let delete = Topology::DeleteQueue { name: &name, if_empty: false, if_unused: false };
            let _ = client.session.change(delete).await;
        }
        2 => client.session.declare_topic("t").await.unwrap(),
        3 => {
            let (exchange, queue, key) = ("t", name.as_str(), &b""[..]);
            let _ = client
                .session
                .change(Topology::Bind { exchange, to: BindTo::Queue(queue), key })
                .await;
        }
        4..=6 => {
            let topic = client.session.destination(Destination::Topic("t"));
            let queue = client.session.destination(Destination::Queue(&name));
            let to = if dice.chance(30) { topic } else { queue };
            let bodies: Vec<_> = (0..below(dice, 400)).map(|n| vec![b'x'; n % 300]).collect();
            let batch: Vec<_> =
                bodies.iter().map(|body| (&body[..], Level::Committed, true)).collect();
            client.publish(to, &batch).await;
        }
        _ => {
            for _ in 0..below(dice, 200) {
                let Ok(claimed) = client.session.claim(&name, Settling::Manual, None).await else {
                    break;
                };
                let lease = claimed.message().unwrap().lease;
                let handle = courant::Handle { seq: claimed.id.seq, lease };
                let verdict = [Verdict::Ack, Verdict::Ack, Verdict::Nack, Verdict::Reject];
                client.settle(handle, verdict[below(dice, 4)]).unwrap();
            }
        }
    }
}

/// Whatever happens between: snapshot and the records behind it give the ledger that was there.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restart_gives_the_same_ledger() {
    let seed = seed();
    let mut dice = Dice::new(seed);
    let disk = SimDisk::new();
    let mut snapshots = 0;
    for _ in 0..12 {
        let broker = open(&disk);
        snapshots += u32::from(broker.opened().has_snapshot);
        let mut client = Client::new(&broker);
        for _ in 0..below(&mut dice, 40) {
            do_something(&mut client, &mut dice).await;
            if dice.chance(15) {
                keep(&broker);
            }
        }
        client.sync_settles().await.unwrap();
        drop(client);
        broker.close().await.unwrap();
        let hash = broker.ledger_hash();
        drop(broker);
        assert_ne!(hash, 0);
        assert_eq!(replayed_hash(disk.mount()).unwrap(), hash, "seed {seed}");
    }
    assert!(snapshots > 5, "{snapshots} openings had a snapshot");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_drained_takes_no_space() {
    let folder = tempfile::tempdir().unwrap();
    let broker = Broker::open(folder.path(), options()).await.unwrap();
    let mut client = Client::new(&broker);
    client.declare("q").await;
    let before = folder_bytes(folder.path());
    for _ in 0..3 {
        fill(&mut client, Destination::Queue("q"), 0..4_000, KIB).await;
        client.subscribe(Subscribed::Queue("q"), 1, 5_000).await;
        assert!(folder_bytes(folder.path()) > 4_000 * KIB as u64);
        for got in client.take(4_000).await {
            client.ack(&got);
        }
        client.session.unsubscribe(1).unwrap();
        client.sync_settles().await.unwrap();
        keep(&broker);
        let after = folder_bytes(folder.path());
        assert!(after <= before + 8 * 64 * KIB as u64, "{after} bytes, {before} before");
    }
    assert!(broker.stats().segments_removed > 40, "{:?}", broker.stats());
    broker.close().await.unwrap();
}

/// One in a hundred stays: the disk holds at most twice what lives, and it is all there.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_few_that_stay_do_not_keep_the_rest() {
    let folder = tempfile::tempdir().unwrap();
    let broker = Broker::open(folder.path(), options()).await.unwrap();
    let mut client = Client::new(&broker);
    client.declare("q").await;
    let before = folder_bytes(folder.path());
    fill(&mut client, Destination::Queue("q"), 0..10_000, KIB).await;
    client.subscribe(Subscribed::Queue("q"), 1, 20_000).await;
    for got in client.take(10_000).await {
        if !number(&got).is_multiple_of(100) {
            client.ack(&got);
        }
    }
    client.sync_settles().await.unwrap();
    keep(&broker);
    let after = folder_bytes(folder.path());
    let most = 2 * 100 * KIB as u64 + before + 8 * 64 * KIB as u64;
    assert!(after <= most, "{after} bytes of at most {most}");
    drop(client);
    broker.close().await.unwrap();
    drop(broker);
    let broker = Broker::open(folder.path(), options()).await.unwrap();
    let mut client = Client::new(&broker);
    client.subscribe(Subscribed::Queue("q"), 1, 20_000).await;
    let left: Vec<_> = client.take(100).await.iter().map(number).collect();
    assert_eq!(left, (0..10_000).step_by(100).collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_body_for_ten_subscribers_is_on_disk_once() {
    let folder = tempfile::tempdir().unwrap();
    let broker = Broker::open(folder.path(), options()).await.unwrap();
    let mut client = Client::new(&broker);
    client.session.declare_topic("t").await.unwrap();
    let before = folder_bytes(folder.path());
    for number in 0..10 {
        let name = format!("s{number}");
        client.subscribe(Subscribed::Durable("t", b"", &name), number, 0).await;
    }
    fill(&mut client, Destination::Topic("t"), 0..1_000, 4 * KIB).await;
    keep(&broker);
    let after = folder_bytes(folder.path());
    assert!(after - before < 5_000 * KIB as u64, "{} bytes for 4 MiB", after - before);
    client.subscribe(Subscribed::Queue("t/s7"), 77, 2_000).await;
    assert_eq!(client.take(1_000).await.len(), 1_000);
}

/// Nothing of a long queue but what is next is in memory, before and after a restart.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_long_queue_is_read_back_as_it_is_consumed() {
    let disk = SimDisk::new();
    let broker = open(&disk);
    let mut client = Client::new(&broker);
    client.declare("q").await;
    fill(&mut client, Destination::Queue("q"), 0..50_000, 8).await;
    keep(&broker);
    let in_memory = broker.stats().chunk_bytes;
    assert!(in_memory <= 3 * 4_096 * 8, "{in_memory} bytes of a long queue are in memory");
    let mut claimer = Client::new(&broker);
    for _ in 0..10_000 {
        claimer.session.claim("q", Settling::Auto, None).await.unwrap();
    }
    client.sync_settles().await.unwrap();
    drop((client, claimer));
    broker.close().await.unwrap();
    drop(broker);
    let broker = open(&disk);
    assert!(broker.opened().has_snapshot);
    assert!(broker.opened().messages < 50_000, "{:?}", broker.opened());
    assert_eq!(broker.opened().ready, 40_000);
    let mut client = Client::new(&broker);
    client.subscribe(Subscribed::Queue("q"), 1, 60_000).await;
    for (at, got) in client.take(40_000).await.iter().enumerate() {
        assert_eq!(number(got), at + 10_000);
    }
    assert!(broker.stats().pages_loaded > 5, "{:?}", broker.stats());
}

/// A damaged body is not handed over, whenever it is found; the others come in their order.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_damaged_message_leaves_its_queues() {
    for finds_at_start in [false, true] {
        let disk = SimDisk::new();
        let mut broker = open(&disk);
        let mut client = Client::new(&broker);
        client.declare("q").await;
        client.declare("other").await;
        client.session.declare_topic("t").await.unwrap();
        for queue in ["q", "other"] {
            let (exchange, key) = ("t", &b""[..]);
            client
                .session
                .change(Topology::Bind { exchange, to: BindTo::Queue(queue), key })
                .await
                .unwrap();
        }
        fill(&mut client, Destination::Topic("t"), 0..300, 500).await;
        drop(client);
        if finds_at_start {
            broker.close().await.unwrap();
        }
        let needle = format!("{:0500}", 77).into_bytes();
        for (name, _) in disk.files() {
            disk.damage(&name, |bytes| {
                let found = bytes.windows(needle.len()).position(|part| part == needle);
                if let Some(at) = found {
                    bytes[at + 250] ^= 1;
                }
            });
        }
        if finds_at_start {
            broker = open(&disk);
        }
        let mut client = Client::new(&broker);
        client.subscribe(Subscribed::Queue("q"), 1, 999).await;
        let got: Vec<_> = client.take(299).await.iter().map(number).collect();
        let rest: Vec<_> = (0..300).filter(|number| *number != 77).collect();
        assert_eq!(got, rest);
        until("it left both queues", || broker.stats().corrupt == 2).await;
        assert_eq!(client.session.inspect("other").unwrap().ready, 299);
        client.sync_settles().await.unwrap();
        drop(client);
        broker.close().await.unwrap();
        drop(broker);
        let broker = open(&disk);
        assert_eq!(broker.opened().ready, 2 * 299);
        assert_eq!(broker.stats().corrupt, 0, "it was parked before");
    }
}

/// What is on its way to a client that does not read is not given back, although it is settled.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_on_its_way_is_kept() {
    let gated = tokio::task::block_in_place(|| courant::testing::gated(options()));
    let (broker, gate) = gated.unwrap();
    let mut client = Client::new(&broker);
    client.declare("q").await;
    fill(&mut client, Destination::Queue("q"), 0..600, KIB).await;
    let mut slow = Client::new(&broker);
    gate.shut_reader();
    let auto = courant::SubscribeOptions { settling: Settling::Auto, ..Default::default() };
    slow.subscribe_with(Subscribed::Queue("q"), 1, auto).await;
    until("all is on its way", || slow.session.inspect("q").unwrap().ready == 0).await;
    client.sync_settles().await.unwrap();
    keep(&broker);
    gate.open_reader();
    let got: Vec<_> = slow.take(600).await.iter().map(number).collect();
    assert_eq!(got, (0..600).collect::<Vec<_>>());
}

/// A message that cannot be read goes back to all queues that it was handed over from.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn both_deliveries_of_a_message_go_back() {
    let gated = tokio::task::block_in_place(|| courant::testing::gated(options()));
    let (broker, gate) = gated.unwrap();
    let mut client = Client::new(&broker);
    client.session.declare_topic("t").await.unwrap();
    for name in ["a", "b"] {
        client.subscribe(Subscribed::Durable("t", b"", name), 1, 0).await;
        client.session.unsubscribe(1).unwrap();
    }
    fill(&mut client, Destination::Topic("t"), 0..1, KIB).await;
    // Of the bodies only the latest batch is in memory.
    client.declare("q").await;
    fill(&mut client, Destination::Queue("q"), 0..1, KIB).await;
    for (tag, queue) in [(1, "t/a"), (2, "t/b")] {
        let options = courant::SubscribeOptions::default();
        client.session.subscribe(Subscribed::Queue(queue), tag, options).await.unwrap();
    }
    // One body for both, tried three times.
    gate.fail_reads(3);
    client.session.begin_deliveries();
    let got = client.take(2).await;
    assert!(got.iter().all(|got| got.attempt == 2), "{got:?}");
    assert_ne!(got[0].tag, got[1].tag);
}

/// What was claimed is not needed any more once nobody waits for the claim.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_claim_that_is_given_up_keeps_nothing() {
    let disk = SimDisk::new();
    let broker = open(&disk);
    let mut client = Client::new(&broker);
    client.declare("q").await;
    fill(&mut client, Destination::Queue("q"), 0..600, KIB).await;
    while client.session.inspect("q").unwrap().ready > 0 {
        // Polls it once.
        let claim = client.session.claim("q", Settling::Auto, None);
        let _ = tokio::time::timeout(std::time::Duration::ZERO, claim).await;
    }
    client.sync_settles().await.unwrap();
    keep(&broker);
    let files = disk.files();
    let segments = files.iter().filter(|(name, _)| name.ends_with(".segment"));
    let bytes: usize = segments.map(|(_, bytes)| bytes).sum();
    assert!(bytes < 300 * KIB, "{bytes} bytes are kept: {files:?}");
}

/// What may have been handed over before an unclean stop says so, also from a snapshot.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_snapshot_remembers_an_unclean_stop() {
    let disk = SimDisk::new();
    let broker = open(&disk);
    let mut client = Client::new(&broker);
    client.declare("q").await;
    fill(&mut client, Destination::Queue("q"), 0..10, 8).await;
    disk.kill();
    drop((client, broker));
    for has_snapshot in [false, true, true] {
        let broker = open(&disk);
        assert_eq!(broker.opened().has_snapshot, has_snapshot);
        let mut client = Client::new(&broker);
        fill(&mut client, Destination::Queue("q"), 10..11, 8).await;
        for number in 0..11 {
            let claimed = client.session.claim("q", Settling::Manual, None).await.unwrap();
            assert_eq!(claimed.message().unwrap().is_suspect, number < 10, "{number}");
        }
        let last = client.session.claim("q", Settling::Auto, None).await;
        assert_eq!(last.is_ok(), has_snapshot, "what was added before");
        keep(&broker);
        drop(client);
        broker.close().await.unwrap();
    }
}
