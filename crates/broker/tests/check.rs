//! What a check says of a damaged folder, and what a broker then delivers of it.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "tests panic and tell their seed")]

mod client;

use client::{Client, below};
use courant::inspect::{Fault, Inspection, Outcome, RecordSeen, Report};
use courant::testing::{Testing, keep_up};
use courant::{Broker, Destination, Level, OpenError, Options, Subscribed};
use courant_storage::limits::FRAME_HEADER_BYTES;
use courant_storage::sim::{Dice, SimDisk};
use std::collections::BTreeMap;
use std::ops::ControlFlow;

fn options() -> Options {
    let testing = Testing { fill_ahead_bytes: Some(0), ..Testing::default() };
    let (cache_bytes_max, chunk_bytes_max, segment_bytes) = (1, 0, 16 << 10);
    Options { cache_bytes_max, chunk_bytes_max, segment_bytes, testing, ..Options::default() }
}

fn open(disk: &SimDisk) -> Result<Broker, OpenError> {
    tokio::task::block_in_place(|| Broker::open_disk(disk.mount(), options()))
}

/// A stopped folder, and the messages that wait in its queue: number and text.
async fn filled(dice: &mut Dice) -> (SimDisk, BTreeMap<u64, String>) {
    let disk = SimDisk::new();
    let broker = open(&disk).unwrap();
    let mut client = Client::new(&broker);
    client.declare("orders").await;
    let (mut waiting, mut number) = (BTreeMap::new(), 0);
    for _ in 0..4 {
        let to = client.session.destination(Destination::Queue("orders"));
        let texts: Vec<String> = (0..60)
            .map(|_| {
                number += 1;
                format!("message {number} {}", "x".repeat(below(dice, 300)))
            })
            .collect();
        let batch: Vec<_> =
            texts.iter().map(|text| (text.as_bytes(), Level::Committed, true)).collect();
        for (outcome, text) in client.publish(to, &batch).await.into_iter().zip(texts) {
            let published = outcome.unwrap();
            waiting.insert(published.id.unwrap().seq, text);
            client.committed(published.after.unwrap()).await.unwrap();
        }
        if dice.chance(50) {
            let mut reader = Client::new(&broker);
            reader.subscribe(Subscribed::Queue("orders"), 1, 20).await;
            for got in reader.take(20).await {
                reader.ack(&got);
                waiting.remove(&got.id.seq);
            }
            reader.sync_settles().await.unwrap();
        }
        if dice.chance(60) {
            tokio::task::block_in_place(|| keep_up(&broker));
        }
    }
    broker.close().await.unwrap();
    disk.kill();
    (disk, waiting)
}

fn damage(disk: &SimDisk, dice: &mut Dice) -> String {
    let mut files = disk.files();
    files.retain(|(name, len)| *len > 0 && !name.starts_with("reserve"));
    let (name, len) = files[below(dice, files.len())].clone();
    let (at, bit) = (below(dice, len), below(dice, 8));
    if dice.chance(70) {
        disk.damage(&name, |bytes| bytes[at] ^= 1 << bit);
        return format!("bit {bit} of byte {at} of {name} flipped");
    }
    let sector = at / 512 * 512;
    disk.damage(&name, |bytes| bytes[sector..len.min(sector + 512)].fill(0xa5));
    format!("the sector at {sector} of {name} overwritten")
}

fn report(disk: &SimDisk) -> (Inspection, Report) {
    let mut inspection = Inspection::begin_on(&disk.mount()).unwrap();
    let report = inspection.run(&mut |_| ()).unwrap();
    (inspection, report)
}

/// Whether a message is among what a report says may be missing.
fn is_told(reports: &[&Report], seq: u64) -> bool {
    reports.iter().any(|report| {
        let lost = report.queues.iter().flat_map(|queue| &queue.lost);
        let mut gaps = report.log.faults.iter().flat_map(|fault| &fault.gaps);
        lost.into_iter().any(|id| id.seq == seq)
            || gaps.any(|gap| gap.above.0 < seq && gap.below.is_none_or(|below| seq < below.0))
    })
}

async fn one(seed: u64) -> &'static str {
    println!("COURANT_SEED={seed}");
    let mut dice = Dice::new(seed);
    let (disk, waiting) = filled(&mut dice).await;
    for _ in 0..=below(&mut dice, 2) {
        println!("{}", damage(&disk, &mut dice));
    }
    let (inspection, before) = report(&disk);
    if before.needs_quarantine() || !before.is_whole() && dice.chance(50) {
        inspection.set_aside_on(&before, &*SimDisk::new().mount()).unwrap();
    } else {
        drop(inspection);
    }
    let (inspection, after) = report(&disk);
    assert!(!after.needs_quarantine(), "{:#?}", after.log.faults);
    drop(inspection);
    if after.unknown.is_some() || after.queues.iter().any(|queue| queue.unread.is_some()) {
        // The snapshot itself is damaged, which a check says.
        assert!(!after.is_whole());
        return "state";
    }
    let broker = open(&disk).unwrap();
    let mut client = Client::new(&broker);
    let queue = after.queues.iter().find(|queue| queue.name == "orders");
    let Some(queue) = queue else {
        assert!(!before.is_whole(), "the queue is gone");
        return "topology";
    };
    let deliverable = usize::try_from(queue.ready - queue.lost_count).unwrap();
    client.subscribe(Subscribed::Queue("orders"), 1, 1000).await;
    let got = client.take(deliverable).await;
    assert!(got.is_sorted_by_key(|got| got.id.seq), "out of order");
    let mut left = waiting;
    for got in &got {
        let text = left.remove(&got.id.seq);
        assert!(text.is_none_or(|text| text == got.text()), "a wrong body");
    }
    for (seq, text) in &left {
        assert!(is_told(&[&before, &after], *seq), "{seq} is gone without a word: {text}");
    }
    broker.close().await.unwrap();
    if before.is_whole() { "whole" } else { "saved" }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broker_delivers_all_that_a_check_calls_whole() {
    let given = std::env::var("COURANT_SEED").ok().and_then(|seed| seed.parse().ok());
    let seeds = given.map_or(0..24, |seed: u64| seed..seed + 1);
    let mut outcomes = BTreeMap::new();
    for seed in seeds {
        *outcomes.entry(one(seed).await).or_insert(0) += 1;
    }
    println!("{outcomes:?}");
}

/// Places of the frames of a kind, by their seqs: file, start of the body, its length.
fn bodies(disk: &SimDisk, kind: &str) -> Vec<(String, u64, u64)> {
    let mut inspection = Inspection::begin_on(&disk.mount()).unwrap();
    let mut places = Vec::new();
    let mut see = |record: RecordSeen| {
        if record.kind == kind {
            let head = if kind == "snapshot-root" { 24 } else { 0 };
            let body = record.offset + FRAME_HEADER_BYTES as u64 + head;
            places.push((record.seq, record.file, body, u64::from(record.body_bytes)));
        }
        ControlFlow::Continue(())
    };
    inspection.records(&mut see).unwrap();
    places.sort();
    places.into_iter().map(|(_, file, at, len)| (file, at, len)).collect()
}

fn flip(disk: &SimDisk, (file, at, len): &(String, u64, u64)) {
    let at = usize::try_from(at + len / 2).unwrap();
    disk.damage(file, |bytes| bytes[at] ^= 4);
}

/// Damages the head of a frame whose body begins there.
fn flip_head(disk: &SimDisk, (file, at, _): &(String, u64, u64)) {
    let at = usize::try_from(*at).unwrap() - 25;
    disk.damage(file, |bytes| bytes[at] ^= 4);
}

/// A folder with a snapshot: two queues, of "orders" so many of ten messages acked before it,
/// and `late` more behind it.
async fn with_pages(acked: usize, late: usize) -> (SimDisk, BTreeMap<u64, String>) {
    let disk = SimDisk::new();
    let broker = open(&disk).unwrap();
    let mut client = Client::new(&broker);
    client.declare("orders").await;
    client.declare("others").await;
    let mut waiting = BTreeMap::new();
    for number in 0..300 {
        let name = if number % 5 == 0 { "others" } else { "orders" };
        let to = client.session.destination(Destination::Queue(name));
        let text = format!("message {number} {}", "x".repeat(1200));
        let sent = client.publish(to, &[(text.as_bytes(), Level::Committed, true)]).await;
        let published = sent.into_iter().next().unwrap().unwrap();
        client.committed(published.after.unwrap()).await.unwrap();
        if name == "orders" {
            waiting.insert(published.id.unwrap().seq, text);
        }
    }
    let mut reader = Client::new(&broker);
    reader.subscribe(Subscribed::Queue("orders"), 1, 240).await;
    let (early, rest): (Vec<_>, Vec<_>) =
        reader.take(240).await.into_iter().enumerate().partition(|(nth, _)| nth % 10 < acked);
    for (_, got) in early {
        reader.ack(&got);
        waiting.remove(&got.id.seq);
    }
    reader.sync_settles().await.unwrap();
    tokio::task::block_in_place(|| keep_up(&broker));
    for (_, got) in rest.into_iter().step_by(11).take(late) {
        reader.ack(&got);
        waiting.remove(&got.id.seq);
    }
    reader.sync_settles().await.unwrap();
    broker.close().await.unwrap();
    disk.kill();
    (disk, waiting)
}

/// Sets the damage aside if that is needed, then takes everything: more may come, not less.
/// Says how many there were.
async fn saves_all(name: &str, disk: &SimDisk, waiting: &BTreeMap<u64, String>) -> usize {
    let (inspection, before) = report(disk);
    assert!(!before.is_whole(), "{name}: nothing was found");
    if before.needs_quarantine() {
        inspection.set_aside_on(&before, &*SimDisk::new().mount()).unwrap();
    } else {
        let is_mended = |fault: &Fault| fault.outcome == Outcome::Mended;
        assert!(before.log.faults.iter().all(is_mended), "{name}: {:#?}", before.log.faults);
        drop(inspection);
    }
    let (inspection, after) = report(disk);
    drop(inspection);
    assert!(after.unknown.is_none() && !after.needs_quarantine(), "{name}: {after:#?}");
    let orders = after.queues.iter().find(|queue| queue.name == "orders").unwrap();
    assert_eq!((orders.lost_count, &orders.unread), (0, &None), "{name}");
    // The second time there is nothing left to mend.
    for round in 0..2 {
        let broker = open(disk).unwrap();
        let mut client = Client::new(&broker);
        client.subscribe(Subscribed::Queue("orders"), 1, 1000).await;
        let got = client.take(usize::try_from(orders.ready).unwrap()).await;
        assert!(got.is_sorted_by_key(|got| got.id.seq), "{name}, {round}: out of order");
        let got: BTreeMap<u64, &str> = got.iter().map(|got| (got.id.seq, got.text())).collect();
        for (seq, text) in waiting {
            assert_eq!(got.get(seq), Some(&text.as_str()), "{name}, {round}: {seq}");
        }
        drop(client);
        tokio::task::block_in_place(|| keep_up(&broker));
        broker.close().await.unwrap();
        disk.kill();
    }
    let (_, mended) = report(disk);
    assert!(mended.unknown.is_none() && mended.queues.iter().all(|queue| queue.unread.is_none()));
    let others = mended.queues.iter().find(|queue| queue.name == "others").unwrap();
    assert_eq!((others.ready, others.lost_count), (60, 0), "{name}");
    let came = usize::try_from(orders.ready).unwrap();
    println!("{name}: {came} of {}", waiting.len());
    came
}

/// What is damaged of a snapshot.
type Harm = fn(&SimDisk);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_damaged_snapshot_loses_nothing() {
    let pages: Harm = |disk| bodies(disk, "snapshot-page").iter().for_each(|at| flip(disk, at));
    let harms: [(&str, Harm); 7] = [
        ("the pages", pages),
        ("the pages, dead messages gone", pages),
        ("the heads of the pages", |disk| {
            for at in bodies(disk, "snapshot-page") {
                flip_head(disk, &at);
            }
        }),
        ("the first root", |disk| flip(disk, &bodies(disk, "snapshot-root")[0])),
        ("the second root", |disk| flip(disk, &bodies(disk, "snapshot-root")[1])),
        ("the head of the first root", |disk| flip_head(disk, &bodies(disk, "snapshot-root")[0])),
        ("the pages and the first root", |disk| {
            for at in bodies(disk, "snapshot-page") {
                flip(disk, &at);
            }
            flip(disk, &bodies(disk, "snapshot-root")[0]);
        }),
    ];
    for (nth, (name, harm)) in harms.into_iter().enumerate() {
        // With six of ten, what was acked is gone from the log.
        let acked = [1, 6][nth % 2];
        // Then an opening needs the page, and not only a consumer.
        let late = [0, 5][nth / 2 % 2];
        let (disk, waiting) = with_pages(acked, late).await;
        assert_eq!(bodies(&disk, "snapshot-root").len(), 2, "one snapshot");
        assert!(!bodies(&disk, "snapshot-page").is_empty());
        harm(&disk);
        let found = saves_all(name, &disk, &waiting).await;
        assert!(acked == 6 || found == waiting.len(), "{name}: {found} came");
    }
}
