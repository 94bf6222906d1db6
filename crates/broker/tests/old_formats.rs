//! A folder of a broker with every kind of record, of every version of the format, opens for ever:
//! `docs/format.md` says how to add one.
//!
//! Fixtures of before some kind have none of it: what is in one is asked of it where it is there.
//! All together have all that can be written.

#![allow(clippy::unwrap_used, reason = "tests panic")]

mod client;
mod policies;

use client::{Client, Got, texts};
use courant::inspect::Inspection;
use courant::testing::{Testing, keep_up, record_kinds};
use courant::{
    BindTo, Broker, Destination, ExchangeKind, ExchangeOptions, Level, Options, Properties,
    QueueOptions, Subscribed, Topology, Verdict,
};
use courant_storage::sim::SimDisk;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

/// So many messages fill a chunk, and some more.
const BULK: usize = 4_200;
/// One in so many of them is left.
const LEFT: usize = 10;

/// What every fixture has.
const KINDS: [&str; 14] = [
    "published",
    "settled",
    "returned",
    "opened",
    "namespace-declared",
    "exchange-declared",
    "exchange-deleted",
    "queue-declared",
    "queue-deleted",
    "cut-short",
    "bound",
    "unbound",
    "snapshot-page",
    "snapshot-root",
];

/// What is somewhere, beside every kind: a kind with a field, or with a field of this value.
const FACTS: [&str; 18] = [
    "published deadline-ms",
    "exchange-declared type=direct",
    "exchange-declared type=fanout",
    "exchange-declared type=topic",
    "exchange-declared type=headers",
    "exchange-declared type=hash",
    "exchange-declared internal",
    "exchange-declared auto-delete",
    "exchange-declared alternate",
    "worker-begun work=purge",
    "settled cause=acked",
    "settled cause=rejected",
    "settled cause=purged",
    "settled cause=expired",
    "settled cause=overflow",
    "settled cause=max-attempts",
    "cut-short below",
    "returned attempts",
];

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures")
}

fn options() -> Options {
    let testing = Testing { fill_ahead_bytes: Some(0), ..Testing::default() };
    Options { segment_bytes: 64 << 10, testing, ..Options::default() }
}

fn open(disk: &SimDisk) -> Broker {
    tokio::task::block_in_place(|| Broker::open_disk(disk.mount(), options())).unwrap()
}

/// Fills a chunk of a queue and empties most of it; the rest is in a snapshot and in segments that
/// were written again.
async fn bulk(broker: &Broker, queue: &str, deadline_ms: Option<u64>) {
    let mut client = Client::new(broker);
    client.declare(queue).await;
    let to = client.session.destination(Destination::Queue(queue));
    let bodies: Vec<_> = (0..BULK).map(|number| number.to_string()).collect();
    let properties = Properties { deadline_ms, ..Properties::default() };
    for part in bodies.chunks(100) {
        let part: Vec<_> = part.iter().map(String::as_bytes).collect();
        policies::publish(&mut client, to, &properties, &part).await;
    }
    client.subscribe(Subscribed::Queue(queue), 1, 60_000).await;
    for got in client.take(BULK).await {
        if got.text().parse::<usize>().unwrap() % LEFT != 0 {
            client.ack(&got);
        }
    }
    client.sync_settles().await.unwrap();
}

/// An exchange that was declared with every option.
fn inner() -> ExchangeOptions<'static> {
    ExchangeOptions {
        kind: ExchangeKind::Topic,
        is_internal: true,
        auto_delete: true,
        alternate: Some("t"),
    }
}

/// Every other kind of record.
async fn everything(broker: &Broker) {
    let mut client = Client::new(broker);
    client.declare("q").await;
    client.declare("gone").await;
    client.session.change(Topology::DeclareNamespace("n")).await.unwrap();
    client.session.declare_topic("t").await.unwrap();
    client.session.declare_topic("gone").await.unwrap();
    client.session.declare_queue("t/s", QueueOptions::default()).await.unwrap();
    for key in [&b""[..], b"key"] {
        client
            .session
            .change(Topology::Bind { exchange: "t", to: BindTo::Queue("t/s"), key })
            .await
            .unwrap();
    }
    let unbind = Topology::Unbind { exchange: "t", to: BindTo::Queue("t/s"), key: b"key" };
    client.session.change(unbind).await.unwrap();
    let delete = Topology::DeleteQueue { name: "gone", if_empty: false, if_unused: false };
    client.session.change(delete).await.unwrap();
    client
        .session
        .change(Topology::DeleteExchange { name: "gone", if_unused: false })
        .await
        .unwrap();
    let change = Topology::DeclareExchange("inner", inner());
    client.session.change(change).await.unwrap();
    for key in [&b"a"[..], b"b"] {
        let (exchange, to) = ("t", BindTo::Exchange("inner"));
        client.session.change(Topology::Bind { exchange, to, key }).await.unwrap();
    }
    let (exchange, to, key) = ("t", BindTo::Exchange("inner"), b"b");
    client.session.change(Topology::Unbind { exchange, to, key }).await.unwrap();
    for body in ["acked", "returned", "kept"] {
        client.send("q", body.as_bytes()).await;
    }
    let topic = client.session.destination(Destination::Topic("t"));
    client.publish(topic, &[(b"topical", Level::Committed, true)]).await[0].unwrap();
    client.subscribe(Subscribed::Queue("q"), 1, 2).await;
    let got = client.take(2).await;
    // Nothing is handed over again, which would count.
    client.session.unsubscribe(1).unwrap();
    client.ack(&got[0]);
    client.settle(got[1].handle, Verdict::Nack).unwrap();
    client.sync_settles().await.unwrap();
}

/// The files of a folder with all of it, written by this version.
async fn written() -> BTreeMap<String, Vec<u8>> {
    let disk = SimDisk::new();
    let broker = open(&disk);
    bulk(&broker, "bulk", None).await;
    bulk(&broker, "timed bulk", Some(policies::FAR_MS)).await;
    policies::write(&broker, "early").await;
    for _ in 0..2 {
        assert!(tokio::task::block_in_place(|| keep_up(&broker)));
    }
    broker.close().await.unwrap();
    drop(broker);
    let broker = open(&disk);
    everything(&broker).await;
    policies::write(&broker, "late").await;
    // Without a close: the next opening says so in a record.
    disk.kill();
    drop(broker);
    let broker = open(&disk);
    broker.close().await.unwrap();
    disk.contents()
}

async fn taken(broker: &Broker, queue: &str, count: usize) -> Vec<Got> {
    let mut client = Client::new(broker);
    assert_eq!(client.session.inspect(queue).unwrap().ready, count as u64, "{queue}");
    client.subscribe(Subscribed::Queue(queue), 1, 60_000).await;
    client.take(count).await
}

/// What a folder has: kinds, kinds with a field, and with a field of this value.
fn facts(disk: &SimDisk) -> BTreeSet<String> {
    let mut inspection = Inspection::begin_on(&disk.mount()).unwrap();
    let report = inspection.run(&mut |_| ()).unwrap();
    assert!(report.is_whole(), "{report:?}");
    let mut facts = BTreeSet::new();
    let mut see = |record: courant::inspect::RecordSeen| {
        facts.insert(record.kind.to_owned());
        for (name, value) in &record.fields {
            facts.insert(format!("{} {name}", record.kind));
            if ["type", "cause", "work"].contains(name) {
                facts.insert(format!("{} {name}={value}", record.kind));
            }
        }
        ControlFlow::Continue(())
    };
    inspection.records(&mut see).unwrap();
    facts
}

async fn check(files: BTreeMap<String, Vec<u8>>) -> BTreeSet<String> {
    let disk = SimDisk::of(files);
    let facts = tokio::task::block_in_place(|| facts(&disk));
    for kind in KINDS {
        assert!(facts.contains(kind), "{kind} is not in {facts:?}");
    }
    let broker = open(&disk);
    assert!(broker.opened().has_snapshot);
    if facts.contains("exchange-bound") {
        assert!(facts.contains("exchange-unbound"));
        let client = Client::new(&broker);
        client.session.inspect_exchange("inner").unwrap();
        assert_eq!(client.session.exchange_difference("inner", inner()), None);
    }
    let expected: Vec<_> = (0..BULK).step_by(LEFT).map(|number| number.to_string()).collect();
    assert_eq!(texts(&taken(&broker, "bulk", BULK / LEFT).await), expected);
    if facts.contains("published deadline-ms") {
        assert_eq!(texts(&taken(&broker, "timed bulk", BULK / LEFT).await), expected);
        policies::check(&broker, "early").await;
        policies::check(&broker, "late").await;
    }
    let got = taken(&broker, "q", 2).await;
    assert_eq!(texts(&got), ["returned", "kept"]);
    assert_eq!(got[0].attempt, 2, "an attempt is forgotten");
    assert_eq!(texts(&taken(&broker, "t/s", 1).await), ["topical"]);
    facts
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_folder_of_every_version_opens() {
    let mut facts = BTreeSet::new();
    for folder in fs::read_dir(fixtures()).unwrap() {
        let mut files = BTreeMap::new();
        for file in fs::read_dir(folder.unwrap().path()).unwrap() {
            let file = file.unwrap();
            let name = file.file_name().into_string().unwrap();
            files.insert(name, fs::read(file.path()).unwrap());
        }
        facts.extend(check(files).await);
    }
    for fact in record_kinds().into_iter().chain(FACTS) {
        // A second block of numbers comes after 2³² messages.
        assert!(facts.contains(fact) || fact == "block-reserved", "no fixture has {fact}");
    }
}

/// What this version writes has all that a fixture has to have. Where it is asked for by a name, it
/// becomes one: once, to be committed and never written again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_this_version_writes_opens() {
    let files = written().await;
    check(files.clone()).await;
    let Some(name) = std::env::var_os("COURANT_WRITE_FIXTURE") else { return };
    let folder = fixtures().join(name);
    fs::create_dir_all(&folder).unwrap();
    for (name, bytes) in files {
        let path = folder.join(name);
        assert!(!path.exists(), "a fixture is never overwritten");
        fs::write(path, bytes).unwrap();
    }
}
