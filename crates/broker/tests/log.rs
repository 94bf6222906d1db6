//! What the broker does when its log waits, fails, is full, ends and begins again.

#![allow(clippy::unwrap_used, reason = "tests panic")]

mod client;

use client::{Client, Event, texts, until};
use courant::testing::{Gate, Testing};
use courant::{
    Broker, Destination, Level, OpenError, Options, QueueOptions, Refusal, Subscribed, Verdict,
};
use courant_storage::sim::{Fault, SimDisk};
use std::sync::Arc;
use std::time::Duration;

fn options() -> Options {
    let testing = Testing { fill_ahead_bytes: Some(0), ..Testing::default() };
    Options { testing, ..Options::default() }
}

fn open(disk: &SimDisk) -> Broker {
    tokio::task::block_in_place(|| Broker::open_disk(disk.mount(), options())).unwrap()
}

/// A broker whose syncs wait while the gate is shut.
fn gated(options: Options) -> (Broker, Arc<Gate>) {
    tokio::task::block_in_place(|| courant::testing::gated(options)).unwrap()
}

const DURABLE: (Level, bool) = (Level::Committed, true);
const TRANSIENT: (Level, bool) = (Level::Memory, false);

async fn put(client: &mut Client, body: &[u8], (level, is_durable): (Level, bool)) {
    let to = client.session.destination(Destination::Queue("q"));
    client.publish(to, &[(body, level, is_durable)]).await[0].unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_seen_before_its_sync_and_confirmed_before_its_level() {
    // No seal comes between.
    let (testing, base) =
        (Testing { seal_delay_ms: Some(600_000), ..options().testing }, options());
    let (broker, gate) = gated(Options { testing, ..base });
    let mut client = Client::new(&broker);
    client.declare("q").await;
    client.subscribe(Subscribed::Queue("q"), 1, 9).await;
    let to = client.session.destination(Destination::Queue("q"));
    let outbox = Arc::clone(client.session.outbox());
    for level in [Level::Memory, Level::Written, Level::Committed] {
        gate.shut();
        let published = client.publish(to, &[(b"body", level, true)]).await[0].unwrap();
        outbox.reply(level.word().as_bytes(), published.after.map(|after| (after, level)));
        outbox.flush();
        let confirm = Event::Bytes(level.word().into());
        if level < Level::Committed {
            assert_eq!(client.line.wait(1).await, std::slice::from_ref(&confirm));
        }
        tokio::time::sleep(Duration::from_millis(80)).await;
        assert_eq!(client.line.events(), [], "something came before its sync");
        gate.open();
        let events = client.line.wait(if level < Level::Committed { 1 } else { 2 }).await;
        assert!(events.iter().any(|event| matches!(event, Event::Got(_))), "{events:?}");
        assert_eq!(events.contains(&confirm), level == Level::Committed);
    }
}

/// The sync is held, so that everything is in flight at once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn durable_and_transient_messages_in_flight_stay_in_order() {
    let (broker, gate) = gated(options());
    let (mut one, mut other) = (Client::new(&broker), Client::new(&broker));
    one.declare("q").await;
    gate.shut();
    put(&mut one, b"one 1 durable", DURABLE).await;
    put(&mut one, b"one 2 transient", TRANSIENT).await;
    put(&mut one, b"one 3 durable", DURABLE).await;
    put(&mut other, b"other 1 transient", TRANSIENT).await;
    put(&mut other, b"other 2 durable", DURABLE).await;
    put(&mut one, b"one 4 transient", TRANSIENT).await;
    put(&mut one, b"one 5 durable", DURABLE).await;
    gate.open();
    one.sync_settles().await.unwrap();
    let mut reader = Client::new(&broker);
    reader.subscribe(Subscribed::Queue("q"), 1, 9).await;
    let got = reader.take(7).await;
    for publisher in ["one", "other"] {
        let of_one: Vec<_> =
            texts(&got).into_iter().filter(|text| text.starts_with(publisher)).collect();
        assert!(of_one.is_sorted(), "{of_one:?}");
    }
}

/// A transient message waits for no sync but its own session's.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_transient_message_does_not_wait_for_the_syncs_of_others() {
    let (broker, gate) = gated(options());
    let (mut one, mut other) = (Client::new(&broker), Client::new(&broker));
    one.declare("q").await;
    other.subscribe(Subscribed::Queue("q"), 1, 9).await;
    gate.shut();
    put(&mut one, b"durable", DURABLE).await;
    put(&mut other, b"transient", TRANSIENT).await;
    assert_eq!(texts(&other.take(1).await), ["transient"]);
    gate.open();
    assert_eq!(texts(&other.take(1).await), ["durable"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn publishers_wait_while_the_log_is_full_and_go_on() {
    let (broker, gate) = gated(Options { in_flight_bytes_max: 4_096, ..options() });
    let mut client = Client::new(&broker);
    client.declare("q").await;
    client.subscribe(Subscribed::Queue("q"), 1, 999).await;
    gate.shut();
    let opener = {
        let gate = Arc::clone(&gate);
        tokio::spawn(async move {
            tokio::time::sleep(Duration::from_millis(100)).await;
            gate.open();
        })
    };
    let begun = std::time::Instant::now();
    for number in 0..100 {
        put(&mut client, format!("{number:0500}").as_bytes(), DURABLE).await;
        if number == 0 {
            gate.shut();
        }
    }
    assert!(begun.elapsed() >= Duration::from_millis(50), "nobody had to wait");
    opener.await.unwrap();
    let got = client.take(100).await;
    assert!(got.iter().enumerate().all(|(at, got)| got.text().parse() == Ok(at)));
}

/// A change that found the log full is made once there is room, and never half.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_declaration_waits_for_room_too() {
    let (broker, gate) = gated(Options { in_flight_bytes_max: 4_096, ..options() });
    let (mut client, mut other) = (Client::new(&broker), Client::new(&broker));
    client.declare("q").await;
    gate.shut();
    put(&mut client, &[b'a'; 8_192], DURABLE).await;
    let declared = tokio::spawn(async move {
        let first = other.session.declare_queue("new", QueueOptions::default()).await;
        (first, other.session.declare_queue("new", QueueOptions::default()).await, other)
    });
    tokio::time::sleep(Duration::from_millis(60)).await;
    gate.open();
    let (first, second, mut other) =
        tokio::time::timeout(client::PATIENCE, declared).await.unwrap().unwrap();
    assert_eq!((first, second), (Ok("new".to_owned()), Ok("new".to_owned())));
    other.send("new", b"a").await;
    assert_eq!(other.session.inspect("new").unwrap().ready, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failed_sync_ends_all_confirms() {
    let disk = SimDisk::new();
    let broker = open(&disk);
    let (mut waiting, mut later) = (Client::new(&broker), Client::new(&broker));
    waiting.declare("q").await;
    waiting.send("q", b"safe").await;
    let to = waiting.session.destination(Destination::Queue("q"));
    disk.fail_at(1, Fault::FailedSync);
    let published = waiting.publish(to, &[(b"lost", Level::Committed, true)]).await[0].unwrap();
    let ticket = published.after.unwrap();
    assert_eq!(waiting.committed(ticket).await, Err(Refusal::LogPoisoned));
    assert!(waiting.line.committed() < ticket, "a failed sync was confirmed");
    assert_eq!(waiting.line.wait(1).await, [Event::Refused(Refusal::LogPoisoned)]);
    until("the broker knows", || broker.is_poisoned()).await;
    let to = later.session.destination(Destination::Queue("q"));
    let outcome = later.publish(to, &[(b"late", Level::Committed, true)]).await[0];
    assert_eq!(outcome.unwrap_err(), Refusal::LogPoisoned);
    assert_eq!(later.sync_settles().await, Err(Refusal::LogPoisoned));
    let declared = later.session.declare_queue("new", QueueOptions::default()).await;
    assert_eq!(declared, Err(Refusal::LogPoisoned));
    later.subscribe(Subscribed::Queue("q"), 1, 9).await;
    assert_eq!(texts(&later.take(1).await), ["safe"], "what was not confirmed was handed over");
    assert!(broker.close().await.is_err(), "a poisoned log was closed as if nothing were");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_closed_is_there_again() {
    let disk = SimDisk::new();
    let broker = open(&disk);
    assert!(broker.opened().log.as_ref().unwrap().clean, "a fresh folder");
    let mut client = Client::new(&broker);
    client.declare("q").await;
    client.session.declare_topic("t").await.unwrap();
    client.subscribe(Subscribed::Durable("t", b"", "one"), 7, 0).await;
    for body in [&b"a"[..], b"b", b"c", b"d"] {
        client.send("q", body).await;
    }
    put(&mut client, b"transient", TRANSIENT).await;
    let to = client.session.destination(Destination::Topic("t"));
    client.publish(to, &[(b"topical", Level::Memory, true)]).await[0].unwrap();
    client.subscribe(Subscribed::Queue("q"), 1, 2).await;
    let got = client.take(2).await;
    client.ack(&got[0]);
    assert_eq!(texts(&client.take(1).await), ["c"]);
    let term = broker.opened().term;
    drop(client);
    broker.close().await.unwrap();
    broker.close().await.unwrap();
    let hash = broker.ledger_hash();
    assert_eq!(courant::testing::replayed_hash(disk.mount()).unwrap(), hash, "a replay differs");
    drop(broker);
    let broker = open(&disk);
    let opened = broker.opened();
    assert!(opened.log.as_ref().unwrap().clean, "{opened:?}");
    assert_eq!((opened.messages, opened.term), (5, term + 1));
    let mut client = Client::new(&broker);
    client.subscribe(Subscribed::Queue("q"), 1, 9).await;
    let again = client.take(3).await;
    assert_eq!(texts(&again), ["b", "c", "d"]);
    assert_eq!(again.iter().map(|got| got.attempt).collect::<Vec<_>>(), [2, 2, 1]);
    assert_eq!(client.settle(got[1].handle, Verdict::Ack), Err(Refusal::NotOpen), "an old handle");
    client.subscribe(Subscribed::Durable("t", b"", "one"), 2, 9).await;
    assert_eq!(texts(&client.take(1).await), ["topical"]);
}

/// Also the very first of an opening, whose number stands next to the opening's own.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_message_of_every_opening_is_read_back() {
    let disk = SimDisk::new();
    for opening in 0..4u8 {
        let broker = open(&disk);
        let mut client = Client::new(&broker);
        if opening == 0 {
            client.declare("q").await;
        }
        client.send("q", &[b'a' + opening]).await;
        drop(client);
        broker.close().await.unwrap();
    }
    let broker = open(&disk);
    let mut client = Client::new(&broker);
    client.subscribe(Subscribed::Queue("q"), 1, 9).await;
    assert_eq!(texts(&client.take(4).await), ["a", "b", "c", "d"]);
    client.sync_settles().await.unwrap();
    let (mut fresh, wait) = (Client::new(&broker), client::PATIENCE);
    let synced = tokio::time::timeout(wait, fresh.sync_settles()).await;
    assert_eq!(synced, Ok(Ok(Level::Committed)), "what is committed already is waited for");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_folder_has_one_broker_at_a_time() {
    let folder = tempfile::tempdir().unwrap();
    let broker = Broker::open(folder.path(), options()).await.unwrap();
    let second = Broker::open(folder.path(), options()).await;
    let locked = courant_storage::OpenError::Locked;
    assert!(
        matches!(&second, Err(OpenError::Log(error)) if error.to_string() == locked.to_string()),
        "{second:?}"
    );
    let mut client = Client::new(&broker);
    client.declare("q").await;
    client.send("q", b"kept").await;
    drop(client);
    // Without a close: what holds the folder goes with the last handle, a moment later.
    drop(broker);
    let mut again = Broker::open(folder.path(), options()).await;
    for _ in 0..500 {
        if again.is_ok() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
        again = Broker::open(folder.path(), options()).await;
    }
    let broker = again.unwrap();
    let mut client = Client::new(&broker);
    client.subscribe(Subscribed::Queue("q"), 1, 9).await;
    assert_eq!(texts(&client.take(1).await), ["kept"]);
    broker.close().await.unwrap();
}

/// After the close everything is refused, and nothing waits for ever.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_closed_broker_refuses() {
    let broker = open(&SimDisk::new());
    let mut client = Client::new(&broker);
    client.declare("q").await;
    broker.close().await.unwrap();
    assert_eq!(client.line.wait(1).await, [Event::Refused(Refusal::Closing)]);
    let to = client.session.destination(Destination::Queue("q"));
    let outcome = client.publish(to, &[(b"a", Level::Committed, true)]).await[0];
    assert_eq!(outcome.unwrap_err(), Refusal::Closing);
    assert_eq!(client.sync_settles().await, Err(Refusal::Closing));
}
