//! What is on its way to a client: bodies that must be read from disk, clients that do not read,
//! and everything in its order all the same.

#![allow(clippy::unwrap_used, reason = "tests panic")]

mod client;

use client::{Client, Event, Line, Lines, PATIENCE, until};
use courant::limits::{OUTBOX_BYTES_MAX, OUTBOX_BYTES_MIN};
use courant::testing::Testing;
use courant::{
    Broker, Cause, Destination, Level, Options, Refusal, Settling, SubscribeOptions, Subscribed,
    Topology,
};
use courant_storage::sim::SimDisk;
use std::sync::Arc;

const KIB: usize = 1 << 10;

/// A broker on a simulated disk. With a cache of one byte only the newest batch stays in memory.
fn broker(cache_bytes_max: usize) -> Broker {
    let testing = Testing { fill_ahead_bytes: Some(0), ..Testing::default() };
    let options = Options { cache_bytes_max, testing, ..Options::default() };
    tokio::task::block_in_place(|| Broker::open_disk(SimDisk::new().mount(), options)).unwrap()
}

/// A payload that begins with its number.
fn payload(number: usize, size: usize) -> Vec<u8> {
    let mut payload = format!("{number:07}").into_bytes();
    payload.resize(size.max(7), b'.');
    payload
}

fn number(payload: &[u8]) -> usize {
    std::str::from_utf8(&payload[..7]).unwrap().parse().unwrap()
}

/// Fills the queue `q` with numbered messages, committed in batches of 16.
async fn fill(client: &mut Client, count: usize, size: usize) {
    client.declare("q").await;
    let to = client.session.destination(Destination::Queue("q"));
    let numbers: Vec<_> = (0..count).collect();
    for part in numbers.chunks(16) {
        let payloads: Vec<_> = part.iter().map(|number| payload(*number, size)).collect();
        let batch: Vec<_> =
            payloads.iter().map(|payload| (&payload[..], Level::Committed, true)).collect();
        let outcomes = client.publish(to, &batch).await;
        client.committed(outcomes[0].unwrap().after.unwrap()).await.unwrap();
    }
}

fn numbers(events: &[Event]) -> Vec<usize> {
    let got = events.iter().filter_map(|event| match event {
        Event::Got(got) => Some(number(&got.payload)),
        _ => None,
    });
    got.collect()
}

fn assert_in_order(got: &[usize], count: usize) {
    let wrong = got.iter().enumerate().find(|(at, number)| *at != **number);
    assert_eq!((wrong, got.len()), (None, count), "(place, number) that is wrong, and how many");
}

/// Lets a line be still for a while: what should not come has its chance.
async fn settle_down(line: &Line) -> usize {
    let mut last = (usize::MAX, 0);
    while last.0 != last.1 {
        last = (last.1, line.held_bytes().1);
        tokio::time::sleep(std::time::Duration::from_millis(30)).await;
    }
    last.1
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bodies_from_disk_and_from_memory_come_in_order() {
    let broker = broker(1);
    let mut publisher = Client::new(&broker);
    fill(&mut publisher, 800, 100).await;
    let mut reader = Client::new(&broker);
    reader.subscribe(Subscribed::Queue("q"), 1, 5_000).await;
    let to = publisher.session.destination(Destination::Queue("q"));
    for at in 800..1_000 {
        // Every third is in memory only: it waits behind those that are read from disk.
        let is_durable = at % 3 > 0;
        publisher.publish(to, &[(&payload(at, 100), Level::Committed, is_durable)]).await;
    }
    let events = reader.line.wait(1_000).await;
    assert_eq!(numbers(&events), (0..1_000).collect::<Vec<_>>());
    assert!(
        events.iter().all(|event| matches!(event, Event::Got(got) if got.payload.len() == 100))
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_end_of_a_subscription_waits_behind_bodies_from_disk() {
    let broker = broker(1);
    let mut client = Client::new(&broker);
    fill(&mut client, 400, 10 * KIB).await;
    let mut reader = Client::new(&broker);
    reader.line.shut();
    reader.subscribe(Subscribed::Queue("q"), 1, 5_000).await;
    settle_down(&reader.line).await;
    let delete = Topology::DeleteQueue { name: "q", if_empty: false, if_unused: false };
    client.session.change(delete).await.unwrap();
    reader.line.open();
    let mut events = Vec::new();
    while !matches!(events.last(), Some(Event::Cancelled(1, Cause::QueueDeleted))) {
        events.extend(reader.line.wait(1).await);
    }
    let got = numbers(&events);
    assert_in_order(&got, got.len());
    assert_eq!(got.len(), events.len() - 1, "something came behind the end");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_comes_behind_the_end_of_a_session() {
    let broker = broker(1);
    let mut client = Client::new(&broker);
    fill(&mut client, 400, 10 * KIB).await;
    let mut reader = Client::new(&broker);
    reader.line.shut();
    reader.subscribe(Subscribed::Queue("q"), 1, 5_000).await;
    settle_down(&reader.line).await;
    broker.end_sessions();
    reader.line.open();
    let mut events = Vec::new();
    while !events.contains(&Event::Refused(Refusal::Closing)) {
        events.extend(reader.line.wait(1).await);
    }
    settle_down(&reader.line).await;
    events.extend(reader.line.events());
    let is_last = events.last() == Some(&Event::Refused(Refusal::Closing));
    assert!(is_last, "more came behind the end");
}

/// Warm and cold: about a MiB, and not one message is lost or doubled when it reads again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_does_not_read_gets_no_more_and_others_go_on() {
    for cache_bytes_max in [64 << 20, 1] {
        let broker = broker(cache_bytes_max);
        let mut publisher = Client::new(&broker);
        fill(&mut publisher, 1_000, 16 * KIB).await;
        let mut slow = Client::new(&broker);
        slow.line.shut();
        slow.subscribe(Subscribed::Queue("q"), 1, 5_000).await;
        let is_full = || slow.line.held_bytes().0 > OUTBOX_BYTES_MAX - 16 * KIB;
        until("it is full", is_full).await;
        let held = settle_down(&slow.line).await;
        let bounds = OUTBOX_BYTES_MAX - 16 * KIB..2 * OUTBOX_BYTES_MAX;
        assert!(bounds.contains(&held), "{held} bytes wait, cache {cache_bytes_max}");
        let leased = slow.session.inspect("q").unwrap().leased;
        assert!(leased < 300, "{leased} of 1000 were handed to a client that does not read");
        let mut quick = Client::new(&broker);
        quick.subscribe(Subscribed::Queue("q"), 1, 100).await;
        let got = quick.line.wait(100).await;
        assert!(numbers(&got)[0] > 60, "another client's turn");
        drop(quick);
        slow.line.open();
        let mut got = numbers(&slow.line.wait(1_000).await);
        got.sort_unstable();
        assert_in_order(&got, 1_000);
        assert!(slow.line.held_bytes().1 < 2 * OUTBOX_BYTES_MAX);
    }
}

/// Clients that do not read hold no more than the budget together, each at least a little; what
/// they leave is for whoever reads.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_clients_that_do_not_read_share_a_budget() {
    const BUDGET: usize = 4 << 20;
    const CLIENTS: usize = 60;
    for cache_bytes_max in [256 << 20, 1] {
        let testing = Testing { fill_ahead_bytes: Some(0), ..Testing::default() };
        let outboxes_bytes_max = BUDGET;
        let options =
            Options { cache_bytes_max, outboxes_bytes_max, testing, ..Options::default() };
        let open = || Broker::open_disk(SimDisk::new().mount(), options);
        let broker = tokio::task::block_in_place(open).unwrap();
        let mut publisher = Client::new(&broker);
        fill(&mut publisher, 8_000, 4 * KIB).await;
        let mut slow: Vec<_> = (0..CLIENTS).map(|_| Client::new(&broker)).collect();
        for client in &mut slow {
            client.line.shut();
            client.subscribe(Subscribed::Queue("q"), 1, 5_000).await;
        }
        let pressure = |slow: &[Client]| -> Vec<usize> {
            slow.iter().map(|client| client.session.outbox().pressure()).collect()
        };
        let is_full = || pressure(&slow).iter().all(|bytes| *bytes >= OUTBOX_BYTES_MIN);
        until("all are full", is_full).await;
        settle_down(&slow[CLIENTS - 1].line).await;
        let held: usize = pressure(&slow).iter().sum();
        let counted = broker.outboxes_bytes();
        assert!(counted.abs_diff(held) < CLIENTS * OUTBOX_BYTES_MIN, "{counted} of {held} counted");
        // A step that was begun is ended: some come a little above.
        let most = BUDGET + CLIENTS * (2 * OUTBOX_BYTES_MIN + 8 * KIB);
        assert!(held <= most, "{held} bytes wait, cache {cache_bytes_max}");
        let mut quick = Client::new(&broker);
        quick.subscribe(Subscribed::Queue("q"), 1, 9_999).await;
        let ready = || quick.session.inspect("q").unwrap().ready;
        until("whoever reads gets all the rest", || ready() == 0).await;
        for client in &slow {
            client.line.open();
        }
        until("they have everything", || broker.outboxes_bytes() == 0).await;
        let mut got = numbers(&quick.line.wait(1).await);
        while got.len() < 8_000 {
            until("more comes", || {
                let lines = slow.iter().chain([&quick]).map(|client| &client.line);
                let before = got.len();
                got.extend(lines.flat_map(|line| numbers(&line.events())));
                got.len() > before
            })
            .await;
        }
        got.sort_unstable();
        assert_in_order(&got, 8_000);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_settles_itself_is_not_taken_for_a_client_that_does_not_read() {
    for cache_bytes_max in [64 << 20, 1] {
        let broker = broker(cache_bytes_max);
        let mut publisher = Client::new(&broker);
        fill(&mut publisher, 1_000, 16 * KIB).await;
        let mut slow = Client::new(&broker);
        slow.line.shut();
        let options = SubscribeOptions { settling: Settling::Auto, ..SubscribeOptions::default() };
        slow.subscribe_with(Subscribed::Queue("q"), 1, options).await;
        settle_down(&slow.line).await;
        let ready = slow.session.inspect("q").unwrap().ready;
        assert!(ready > 700, "{ready} of 1000 are left, cache {cache_bytes_max}");
        slow.line.open();
        let got = numbers(&slow.line.wait(1_000).await);
        assert_in_order(&got, 1_000);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_embedded_session_holds_no_more_than_a_door() {
    let broker = broker(64 << 20);
    fill(&mut Client::new(&broker), 1_000, 16 * KIB).await;
    let mut session = broker.session("embedded").unwrap();
    let options = SubscribeOptions { settling: Settling::Auto, ..SubscribeOptions::default() };
    let subscription = session.subscribe(Subscribed::Queue("q"), options).await.unwrap();
    let ready = session.session().inspect("q").unwrap().ready;
    assert!(ready > 700, "{ready} of 1000 are left");
    for at in 0..1_000 {
        let next = tokio::time::timeout(PATIENCE, session.next(subscription)).await;
        assert_eq!(number(&next.expect("it stopped").unwrap().payload), at);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_live_subscriber_that_is_slow_loses_messages_and_they_are_counted() {
    let broker = broker(64 << 20);
    let mut publisher = Client::new(&broker);
    publisher.session.declare_topic("t").await.unwrap();
    let (mut slow, mut quick) = (Client::new(&broker), Client::new(&broker));
    slow.line.shut();
    for client in [&mut slow, &mut quick] {
        client.subscribe(Subscribed::Live("t", b"", Arc::new(Lines)), 1, 0).await;
    }
    let to = publisher.session.destination(Destination::Topic("t"));
    for at in 0..640 {
        publisher.publish(to, &[(&payload(at, 16 * KIB), Level::Memory, false)]).await;
    }
    let stats = broker.stats();
    assert_eq!(stats.live_delivered + stats.live_dropped, 2 * 640);
    assert!((540..=600).contains(&stats.live_dropped), "{stats:?}");
    assert!(slow.line.held_bytes().1 < 2 * OUTBOX_BYTES_MAX);
    assert_eq!(quick.line.wait(640).await.len(), 640);
    slow.line.open();
    let kept = 640 - usize::try_from(stats.live_dropped).unwrap();
    let mut bytes = 0;
    while bytes < kept * (16 * KIB + 1) {
        for event in slow.line.wait(1).await {
            let Event::Bytes(more) = event else { panic!("not a frame") };
            bytes += more.len();
        }
    }
    until("it gets frames again", || slow.session.outbox().pressure() == 0).await;
    publisher.publish(to, &[(b"again", Level::Memory, false)]).await;
    assert_eq!(slow.line.wait(1).await, [Event::Bytes(b"again\n".to_vec())]);
}

/// Whoever waits for a client to catch up is told, whatever runs at the same time.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_waits_for_a_client_is_told() {
    let broker = broker(64 << 20);
    for round in 0..300 {
        let client = Client::new(&broker);
        client.line.shut();
        let outbox = Arc::clone(client.session.outbox());
        for _ in 0..2 {
            outbox.reply(&vec![b'a'; OUTBOX_BYTES_MAX], None);
        }
        outbox.flush();
        assert!(outbox.is_congested());
        let waits = {
            let outbox = Arc::clone(&outbox);
            tokio::spawn(async move {
                outbox.drained().await;
                outbox.emptied().await;
            })
        };
        client.line.open();
        let told = tokio::time::timeout(PATIENCE, waits).await;
        told.unwrap_or_else(|_| panic!("nobody was told, round {round}")).unwrap();
        assert_eq!(outbox.pressure(), 0);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_hangs_up_while_bodies_are_read_harms_nobody() {
    let broker = broker(1);
    fill(&mut Client::new(&broker), 300, 10 * KIB).await;
    for _ in 0..30 {
        let mut client = Client::new(&broker);
        client.subscribe(Subscribed::Queue("q"), 1, 500).await;
        client.line.hang_up();
        client.session.outbox().notice(b"x");
        client.session.outbox().flush();
    }
    let mut last = Client::new(&broker);
    last.subscribe(Subscribed::Queue("q"), 1, 500).await;
    assert_in_order(&numbers(&last.line.wait(300).await), 300);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_claim_reads_a_body_from_disk() {
    let broker = broker(1);
    let mut client = Client::new(&broker);
    fill(&mut client, 40, 100).await;
    for at in 0..40 {
        let claimed = client.session.claim("q", Settling::Manual, None).await.unwrap();
        assert_eq!(number(claimed.message().unwrap().payload), at);
    }
    assert_eq!(client.session.inspect("q").unwrap().leased, 40);
}

/// However long the backlog is that a client reads at once, it needs no deep stack.
#[test]
fn a_long_backlog_needs_no_deep_stack() {
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    let runtime = runtime.worker_threads(2).thread_stack_size(64 * KIB).enable_all().build();
    let runtime = runtime.unwrap();
    let _context = runtime.enter();
    let broker = broker(256 << 20);
    runtime.block_on(fill(&mut Client::new(&broker), 6_400, 16 * KIB));
    // On a worker, whose stack is small.
    let reading = runtime.spawn(async move {
        let mut reader = Client::new(&broker);
        let options = SubscribeOptions { settling: Settling::Auto, ..SubscribeOptions::default() };
        reader.subscribe_with(Subscribed::Queue("q"), 1, options).await;
        assert_in_order(&numbers(&reader.line.wait(6_400).await), 6_400);
    });
    runtime.block_on(reading).unwrap();
}

/// What queues of sessions remember of a message counts too.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn transient_messages_that_nobody_reads_are_bounded() {
    let options = Options { transient_bytes_max: 1 << 20, ..Options::default() };
    let broker = Broker::in_memory(options).unwrap();
    let mut publisher = Client::new(&broker);
    publisher.session.declare_topic("t").await.unwrap();
    let mut readers: Vec<_> = (0..50).map(|_| Client::new(&broker)).collect();
    for reader in &mut readers {
        reader.subscribe(Subscribed::Topic("t", b""), 1, 0).await;
    }
    let to = publisher.session.destination(Destination::Topic("t"));
    let mut published = 0;
    let refusal = loop {
        match publisher.publish(to, &[(b"small", Level::Memory, false)]).await[0] {
            Ok(_) => published += 1,
            Err(refusal) => break refusal,
        }
        assert!(published < 10_000, "it is never full");
    };
    assert_eq!(refusal, Refusal::MemoryFull);
    assert!(published > 500, "{published} fill a MiB");
    drop(readers);
    publisher.publish(to, &[(b"small", Level::Memory, false)]).await[0].unwrap();
}
