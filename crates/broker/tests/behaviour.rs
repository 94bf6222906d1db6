//! What a broker does, whatever its log is: every case runs over a log in memory and one on disk,
//! each with and without snapshots and space given back all the time.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "tests panic and tell their seed")]

mod client;

use client::{Client, Event, Lines, Upkeep, below, seed, texts, until};
use courant::{
    Broker, Cause, Destination, Level, Options, Outgoing, Properties, Refusal, Settling,
    SubscribeOptions, Subscribed, Topology, Verdict,
};
use courant_storage::sim::{Dice, SimDisk};
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

type Case = for<'a> fn(&'a Broker) -> Pin<Box<dyn Future<Output = ()> + 'a>>;

const COMMITTED: (Level, bool) = (Level::Committed, true);

/// Messages as [`Client::publish`] takes them.
fn durable(payloads: &[String]) -> Vec<(&[u8], Level, bool)> {
    payloads.iter().map(|payload| (payload.as_bytes(), COMMITTED.0, COMMITTED.1)).collect()
}

fn numbered(count: usize) -> Vec<String> {
    (0..count).map(|number| format!("{number:05}")).collect()
}

async fn send_all(client: &mut Client, to: Destination<'_>, payloads: &[String]) {
    let to = client.session.destination(to);
    let outcomes = client.publish(to, &durable(payloads)).await;
    if let Some(ticket) = outcomes.iter().rev().find_map(|outcome| outcome.unwrap().after) {
        client.committed(ticket).await.unwrap();
    }
}

/// Runs cases over each kind of log.
async fn over_all(cases: &[Case]) {
    let usual = Options { segment_bytes: 64 << 10, ..Options::default() };
    let small = Options { chunk_bytes_max: 0, cache_bytes_max: 1, ..usual.clone() };
    for case in cases {
        for (options, has_upkeep) in [(&usual, false), (&small, true)] {
            let memory = || Broker::in_memory(options.clone());
            let wal = || Broker::open_disk(SimDisk::new().mount(), options.clone());
            for open in [&memory as &dyn Fn() -> _, &wal] {
                let broker = tokio::task::block_in_place(open).unwrap();
                let upkeep = has_upkeep.then(|| Upkeep::of(&broker));
                case(&broker).await;
                tokio::task::block_in_place(|| drop(upkeep));
                broker.close().await.unwrap();
            }
        }
    }
}

macro_rules! cases {
    ($($(#[$doc:meta])* async fn $name:ident($broker:ident: &Broker) $body:block)*) => {
        $(
            $(#[$doc])*
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                over_all(&[|$broker| Box::pin(async move $body)]).await;
            }
        )*
    };
}

cases! {
    async fn messages_come_in_order_and_leave_when_acked(broker: &Broker) {
        let mut client = Client::new(broker);
        client.declare("q").await;
        let sent = numbered(100);
        send_all(&mut client, Destination::Queue("q"), &sent).await;
        client.subscribe(Subscribed::Queue("q"), 1, 200).await;
        let got = client.take(100).await;
        assert_eq!(texts(&got), sent);
        assert!(got.iter().all(|got| got.attempt == 1 && got.tag == 1));
        let counts = client.session.inspect("q").unwrap();
        assert_eq!((counts.ready, counts.leased, counts.subscriptions), (0, 100, 1));
        for got in &got {
            client.ack(got);
        }
        client.sync_settles().await.unwrap();
        let counts = client.session.inspect("q").unwrap();
        assert_eq!((counts.ready, counts.leased, counts.bytes), (0, 0, 0));
        assert_eq!(client.settle(got[0].handle, Verdict::Ack), Err(Refusal::NotOpen));
    }

    async fn a_confirm_states_its_level_and_the_queues_it_reached(broker: &Broker) {
        let mut client = Client::new(broker);
        client.declare("q").await;
        client.declare_transient("x").await;
        client.session.declare_topic("t").await.unwrap();
        let q = client.session.destination(Destination::Queue("q"));
        for level in [Level::Memory, Level::Written, Level::Committed] {
            let published = client.publish(q, &[(b"a", level, true)]).await[0].unwrap();
            assert_eq!((published.level, published.queues), (level, 1));
            assert_eq!(published.after.is_none(), level == Level::Memory);
            if let Some(ticket) = published.after {
                client.committed(ticket).await.unwrap();
            }
        }
        // Whatever is asked for, what is not in the log is in memory only.
        let kept = client.publish(q, &[(b"a", Level::Committed, false)]).await[0].unwrap();
        assert_eq!((kept.level, kept.queues, kept.after), (Level::Memory, 1, None));
        let x = client.session.destination(Destination::Queue("x"));
        let kept = client.publish(x, &[(b"a", Level::Committed, true)]).await[0].unwrap();
        assert_eq!((kept.level, kept.queues, kept.after), (Level::Memory, 1, None));
        let t = client.session.destination(Destination::Topic("t"));
        let nobody = client.publish(t, &[(b"a", Level::Committed, true)]).await[0].unwrap();
        assert_eq!((nobody.level, nobody.queues, nobody.after), (Level::Memory, 0, None));
        client.subscribe(Subscribed::Durable("t", b"", "one"), 1, 9).await;
        client.subscribe(Subscribed::Durable("t", b"", "two"), 2, 9).await;
        client.subscribe(Subscribed::Topic("t", b""), 3, 9).await;
        let three = client.publish(t, &[(b"a", Level::Committed, true)]).await[0].unwrap();
        assert_eq!((three.level, three.queues), (Level::Committed, 3));
        client.committed(three.after.unwrap()).await.unwrap();
        let mut tags: Vec<_> = client.take(3).await.iter().map(|got| got.tag).collect();
        tags.sort_unstable();
        assert_eq!(tags, [1, 2, 3]);
    }

    async fn confirms_come_in_the_order_of_their_publishes(broker: &Broker) {
        let mut client = Client::new(broker);
        client.declare("q").await;
        let q = client.session.destination(Destination::Queue("q"));
        let outbox = Arc::clone(client.session.outbox());
        for number in 0..200u32 {
            let level = [Level::Memory, Level::Written, Level::Committed][number as usize % 3];
            let published = client.publish(q, &[(b"a", level, number % 7 > 0)]).await[0].unwrap();
            let after = published.after.map(|after| (after, published.level));
            outbox.reply(&number.to_le_bytes(), after);
            outbox.flush();
        }
        client.sync_settles().await.unwrap();
        let mut bytes = Vec::new();
        while bytes.len() < 800 {
            for event in client.line.wait(1).await {
                let Event::Bytes(more) = event else { panic!("not a reply: {event:?}") };
                bytes.extend(more);
            }
        }
        let expected: Vec<u8> = (0..200u32).flat_map(u32::to_le_bytes).collect();
        assert_eq!(bytes, expected);
    }

    /// Also where one batch mixes both kinds, and one write of the log many batches.
    async fn durable_and_transient_messages_of_a_publisher_stay_in_order(broker: &Broker) {
        let seed = seed();
        let mut dice = Dice::new(seed);
        let mut client = Client::new(broker);
        let mut reader = Client::new(broker);
        client.declare("q").await;
        reader.subscribe(Subscribed::Queue("q"), 1, 10_000).await;
        let q = client.session.destination(Destination::Queue("q"));
        let all = numbered(1_000);
        let mut rest = all.as_slice();
        while !rest.is_empty() {
            let (now, later) = rest.split_at(rest.len().min(below(&mut dice, 4) + 1));
            rest = later;
            let batch: Vec<_> = now
                .iter()
                .map(|text| (text.as_bytes(), Level::Committed, dice.chance(60)))
                .collect();
            let outcomes = client.publish(q, &batch).await;
            if dice.chance(10)
                && let Some(ticket) = outcomes.iter().find_map(|outcome| outcome.unwrap().after)
            {
                client.committed(ticket).await.unwrap();
            }
        }
        let got = reader.take(1_000).await;
        let disorder = got.iter().zip(&all).find(|(got, sent)| got.text() != sent.as_str());
        assert!(disorder.is_none(), "seed {seed}: {disorder:?}");
    }

    async fn what_goes_back_comes_again_in_its_place(broker: &Broker) {
        let mut client = Client::new(broker);
        client.declare("q").await;
        send_all(&mut client, Destination::Queue("q"), &numbered(5)).await;
        client.subscribe(Subscribed::Queue("q"), 1, 3).await;
        let first = client.take(3).await;
        assert_eq!(client.settle(first[1].handle, Verdict::Nack), Ok(1));
        let again = client.take(1).await;
        assert_eq!((again[0].text(), again[0].attempt), ("00001", 2));
        assert_ne!(again[0].handle, first[1].handle);
        assert_eq!(client.settle(first[1].handle, Verdict::Ack), Err(Refusal::NotOpen));
        let before = broker.stats();
        assert_eq!(client.settle(first[2].handle, Verdict::Reject), Ok(1));
        assert_eq!(client.settle(first[2].handle, Verdict::Reject), Err(Refusal::NotOpen));
        let after = broker.stats();
        assert_eq!((after.rejected, after.settled), (before.rejected + 1, before.settled + 1));
        assert_eq!(texts(&client.take(1).await), ["00003"]);
        client.ack(&first[0]);
        assert_eq!(texts(&client.take(1).await), ["00004"]);
    }

    async fn a_session_that_ends_gives_everything_back(broker: &Broker) {
        let mut client = Client::new(broker);
        client.declare("q").await;
        send_all(&mut client, Destination::Queue("q"), &numbered(3_000)).await;
        client.subscribe(Subscribed::Queue("q"), 1, 5_000).await;
        let got = client.take(3_000).await;
        client.ack(&got[7]);
        drop(client);
        let mut next = Client::new(broker);
        next.subscribe(Subscribed::Queue("q"), 1, 5_000).await;
        let again = next.take(2_999).await;
        assert!(again.iter().all(|got| got.attempt == 2));
        assert!(again.windows(2).all(|pair| pair[0].id.seq < pair[1].id.seq));
        assert!(again.iter().all(|other| other.id != got[7].id));
        assert_eq!(next.settle(got[0].handle, Verdict::Ack), Err(Refusal::NotOpen));
    }

    async fn an_ended_subscription_leaves_its_open_deliveries_to_be_settled(broker: &Broker) {
        let mut client = Client::new(broker);
        client.declare("q").await;
        send_all(&mut client, Destination::Queue("q"), &numbered(3)).await;
        client.subscribe(Subscribed::Queue("q"), 1, 2).await;
        let got = client.take(2).await;
        client.session.unsubscribe(1).unwrap();
        assert_eq!(client.session.unsubscribe(1), Err(Refusal::NoSuchSubscription));
        client.ack(&got[0]);
        assert_eq!(client.settle(got[1].handle, Verdict::Nack), Ok(1));
        assert!(client.line.events().is_empty(), "an ended subscription got more");
        client.subscribe(Subscribed::Queue("q"), 1, 9).await;
        let rest = client.take(2).await;
        assert_eq!(texts(&rest), ["00001", "00002"]);
        assert_eq!((rest[0].attempt, rest[1].attempt), (2, 1));
    }

    async fn one_message_is_claimed_without_a_subscription(broker: &Broker) {
        let mut client = Client::new(broker);
        client.declare("q").await;
        let nothing = client.session.claim("q", Settling::Manual, None).await;
        assert_eq!(nothing.unwrap_err(), Refusal::NothingWaiting);
        send_all(&mut client, Destination::Queue("q"), &numbered(2)).await;
        let q = client.session.destination(Destination::Queue("q"));
        client.publish(q, &[(b"transient", Level::Memory, false)]).await[0].unwrap();
        let claimed = client.session.claim("q", Settling::Manual, None).await.unwrap();
        let message = claimed.message().unwrap();
        assert_eq!((message.payload, message.attempt), (&b"00000"[..], 1));
        let handle = courant::Handle { seq: claimed.id.seq, lease: message.lease };
        let next = client.session.claim("q", Settling::Auto, None).await.unwrap();
        assert_eq!(next.message().unwrap().payload, b"00001");
        let last = client.session.claim("q", Settling::Auto, None).await.unwrap();
        assert_eq!(last.message().unwrap().payload, b"transient");
        assert_eq!(client.settle(handle, Verdict::Nack), Ok(1));
        let again = client.session.claim("q", Settling::Auto, None).await.unwrap();
        assert_eq!(again.message().unwrap().attempt, 2);
        let counts = client.session.inspect("q").unwrap();
        assert_eq!((counts.ready, counts.leased), (0, 0));
    }

    async fn a_deadline_gives_a_delivery_back(broker: &Broker) {
        let mut client = Client::new(broker);
        client.declare("q").await;
        send_all(&mut client, Destination::Queue("q"), &numbered(1)).await;
        let options = SubscribeOptions { visibility_ms: Some(100), ..SubscribeOptions::default() };
        client.subscribe_with(Subscribed::Queue("q"), 1, options).await;
        let got = client.take(1).await;
        let again = client.take(1).await;
        assert_eq!(again[0].attempt, 2);
        assert_eq!(client.settle(got[0].handle, Verdict::Ack), Err(Refusal::NotOpen));
        client.ack(&again[0]);
    }

    async fn a_topic_that_is_deleted_ends_its_subscriptions(broker: &Broker) {
        let mut client = Client::new(broker);
        client.session.declare_topic("t").await.unwrap();
        client.subscribe(Subscribed::Topic("t", b""), 1, 9).await;
        client.subscribe(Subscribed::Live("t", b"", Arc::new(Lines)), 2, 9).await;
        let delete = Topology::DeleteExchange { name: "t", if_unused: false };
        client.session.change(delete).await.unwrap();
        let mut ended: Vec<_> = client
            .line
            .wait(2)
            .await
            .into_iter()
            .map(|event| match event {
                Event::Cancelled(tag, cause) => (tag, cause),
                other => panic!("not an end: {other:?}"),
            })
            .collect();
        ended.sort_unstable();
        assert_eq!(ended, [(1, Cause::QueueDeleted), (2, Cause::QueueDeleted)]);
        let t = client.session.destination(Destination::Topic("t"));
        let refused = client.publish(t, &[(b"a", Level::Committed, true)]).await[0];
        assert_eq!(refused.unwrap_err(), Refusal::NoSuchTopic);
        assert!(broker.queues().is_empty(), "the session's queue stayed");
        assert_eq!(client.session.unsubscribe(1), Err(Refusal::NoSuchSubscription));
    }

    async fn a_queue_that_is_deleted_ends_its_subscriptions(broker: &Broker) {
        let mut client = Client::new(broker);
        client.declare("q").await;
        client.subscribe(Subscribed::Queue("q"), 1, 9).await;
        send_all(&mut client, Destination::Queue("q"), &numbered(1)).await;
        let got = client.take(1).await;
        let delete = Topology::DeleteQueue { name: "q", if_empty: false, if_unused: false };
        client.session.change(delete).await.unwrap();
        assert_eq!(client.line.wait(1).await, [Event::Cancelled(1, Cause::QueueDeleted)]);
        assert_eq!(client.settle(got[0].handle, Verdict::Ack), Err(Refusal::NotOpen));
        assert_eq!(client.session.inspect("q"), Err(Refusal::NoSuchQueue));
        client.declare("q").await;
        assert_eq!(client.session.inspect("q").unwrap().ready, 0);
    }

    async fn the_queue_of_a_session_goes_with_it(broker: &Broker) {
        let mut publisher = Client::new(broker);
        publisher.session.declare_topic("t").await.unwrap();
        let mut subscriber = Client::new(broker);
        subscriber.subscribe(Subscribed::Topic("t", b""), 1, 1).await;
        send_all(&mut publisher, Destination::Topic("t"), &numbered(50)).await;
        assert_eq!(texts(&subscriber.take(1).await), ["00000"]);
        assert_eq!(broker.queues().len(), 1);
        drop(subscriber);
        assert!(broker.queues().is_empty());
        let t = publisher.session.destination(Destination::Topic("t"));
        let published = publisher.publish(t, &[(b"a", Level::Committed, true)]).await[0].unwrap();
        assert_eq!(published.queues, 0);
    }

    async fn two_sessions_share_fairly(broker: &Broker) {
        let mut publisher = Client::new(broker);
        publisher.declare("q").await;
        let mut readers = [Client::new(broker), Client::new(broker)];
        for reader in &mut readers {
            reader.subscribe(Subscribed::Queue("q"), 1, 2_000).await;
        }
        for part in numbered(2_000).chunks(100) {
            send_all(&mut publisher, Destination::Queue("q"), part).await;
        }
        let mut shares = [0; 2];
        until("every message is handed over", || {
            for (share, reader) in shares.iter_mut().zip(&readers) {
                *share += reader.line.events().len();
            }
            shares.iter().sum::<usize>() == 2_000
        })
        .await;
        assert!(shares.iter().all(|share| (900..=1_100).contains(share)), "{shares:?}");
    }

    async fn credit_bounds_the_open_deliveries(broker: &Broker) {
        let mut client = Client::new(broker);
        client.declare("q").await;
        client.subscribe(Subscribed::Queue("q"), 1, 5).await;
        send_all(&mut client, Destination::Queue("q"), &numbered(20)).await;
        let got = client.take(5).await;
        client.session.credit(1, 2).unwrap();
        assert_eq!(texts(&client.take(2).await), ["00005", "00006"]);
        client.ack(&got[3]);
        assert_eq!(texts(&client.take(1).await), ["00007"]);
        assert_eq!(client.session.inspect("q").unwrap().leased, 7);
    }

    async fn what_does_not_exist_is_refused(broker: &Broker) {
        let mut client = Client::new(broker);
        for (to, refusal) in [
            (Destination::Queue("q"), Refusal::NoSuchQueue),
            (Destination::Topic("t"), Refusal::NoSuchTopic),
            (Destination::Exchange("x", b"k"), Refusal::NoSuchExchange),
        ] {
            let id = client.session.destination(to);
            let outcome = client.publish(id, &[(b"a", Level::Committed, true)]).await[0];
            assert_eq!(outcome.unwrap_err(), refusal);
        }
        let options = SubscribeOptions::default();
        let missing = client.session.subscribe(Subscribed::Queue("q"), 1, options).await;
        assert_eq!(missing, Err(Refusal::NoSuchQueue));
        let missing = client.session.subscribe(Subscribed::Topic("t", b""), 1, options).await;
        assert_eq!(missing, Err(Refusal::NoSuchExchange));
        // A destination that comes to be is found again.
        client.declare("q").await;
        send_all(&mut client, Destination::Queue("q"), &numbered(1)).await;
    }
}

/// Publishes a message with so many milliseconds to live, and waits until it is committed.
async fn send_mortal(client: &mut Client, queue: &str, body: &[u8], ttl_ms: u64) {
    let to = client.session.destination(Destination::Queue(queue));
    let deadline_ms = Some(client.session.now_ms() + ttl_ms);
    let properties = Properties { deadline_ms, ..Properties::default() };
    let (level, is_durable, payload) = (Level::Committed, true, body);
    let batch = [Outgoing { to, properties: &properties, payload, level, is_durable }];
    client.session.publish(&batch, true).unwrap();
    let after = client.session.outcomes()[0].unwrap().after.unwrap();
    client.committed(after).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_whose_time_is_over_leaves_also_after_a_restart() {
    let disk = SimDisk::new();
    let open = || {
        let open = || Broker::open_disk(disk.mount(), Options::default()).unwrap();
        tokio::task::block_in_place(open)
    };
    let broker = open();
    let mut client = Client::new(&broker);
    client.declare("q").await;
    client.send("q", b"first").await;
    send_mortal(&mut client, "q", b"soon", 1).await;
    send_mortal(&mut client, "q", b"later", 3_600_000).await;
    client.send("q", b"last").await;
    until("three are left", || client.session.inspect("q").unwrap().ready == 3).await;
    assert_eq!(broker.stats().expired, 1);
    client.sync_settles().await.unwrap();
    send_mortal(&mut client, "q", b"while it is down", 300).await;
    drop(client);
    broker.close().await.unwrap();
    drop(broker);
    tokio::time::sleep(std::time::Duration::from_millis(310)).await;
    let broker = open();
    let mut client = Client::new(&broker);
    until("three are left", || client.session.inspect("q").unwrap().ready == 3).await;
    client.subscribe(Subscribed::Queue("q"), 1, 10).await;
    assert_eq!(texts(&client.take(3).await), ["first", "later", "last"]);
}
