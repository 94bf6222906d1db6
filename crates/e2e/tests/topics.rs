//! Subscribers of topics: durable ones with a name, those of a session, live ones; over `kill -9`,
//! and while others come and go.

#![allow(clippy::unwrap_used, reason = "tests panic")]

use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::ScopedJoinHandle;

use courant_e2e::broker::{Broker, bodies, until};
use courant_e2e::client::{Client, ClientError, field};

fn put(client: &mut Client, head: &str, body: &str) -> u64 {
    let fields = client.put(head, body.as_bytes()).unwrap_or_else(|it| panic!("{head}: {it}"));
    field(&fields, "queues").map_or(1, |count| count.parse().unwrap())
}

/// The next messages, each acked on disk.
fn take(client: &mut Client, count: usize) -> Vec<String> {
    let take = |_| {
        let message = client.message().expect("a message");
        let handle = message.handle.expect("to be acked");
        client.line(&format!("ACK msg_id:{handle} confirm:synced")).expect("an ack");
        message
    };
    bodies(&(0..count).map(take).collect::<Vec<_>>())
}

#[test]
fn named_subscribers_survive_and_those_of_a_session_do_not() {
    let mut broker = Broker::start();
    let (mut client, mut named, mut session) = (broker.client(), broker.client(), broker.client());
    client.line("DECLARE topic:t").unwrap();
    client.line("DECLARE topic:t name:declared max_length:100").unwrap();
    named.line("SUB topic:t name:subscribed sub_id:n").unwrap();
    session.line("SUB topic:t sub_id:s").unwrap();
    assert_eq!(put(&mut client, "topic:t", "1"), 3);
    assert_eq!((take(&mut named, 1), take(&mut session, 1)), (vec!["1".into()], vec!["1".into()]));
    broker.kill();
    let mut client = broker.client();
    assert_eq!(put(&mut client, "topic:t", "2"), 2);
    let mut reader = broker.client();
    reader.line("SUB topic:t name:declared sub_id:d").unwrap();
    assert_eq!(take(&mut reader, 2), ["1", "2"]);
    let mut reader = broker.client();
    reader.line("SUB topic:t name:subscribed").unwrap();
    assert_eq!(take(&mut reader, 1), ["2"]);
    let refused = client.refused("DECLARE topic:t name:declared max_length:99").unwrap();
    assert!(refused.number == 205 && refused.sentence.contains("max_length"), "{refused}");
}

#[test]
fn a_subscriber_that_was_deleted_stays_so() {
    let mut broker = Broker::start();
    let mut client = broker.client();
    client.lines("DECLARE topic:t\nDECLARE topic:t name:a\nDECLARE topic:t name:b").unwrap();
    assert_eq!(put(&mut client, "topic:t", "1"), 2);
    assert_eq!(client.refused("DELETE topic:t name:a if_empty:yes").unwrap().number, 206);
    client.line("DELETE topic:t name:a").unwrap();
    broker.kill();
    let mut client = broker.client();
    assert_eq!(put(&mut client, "topic:t", "2"), 1);
    assert_eq!(client.refused("DELETE topic:t name:a").unwrap().number, 215);
    // A new one of the old name gets what comes from now on.
    client.line("SUB topic:t name:a sub_id:a").unwrap();
    assert_eq!(put(&mut client, "topic:t", "3"), 2);
    assert_eq!(take(&mut client, 1), ["3"]);
    client.line("UNSUB sub_id:a").unwrap();
    client.line("DELETE topic:t").unwrap();
    broker.kill();
    let mut client = broker.client();
    assert!(client.put("topic:t", b"4").is_err());
    assert_eq!(bodies(&client.drain("t/b").unwrap()), ["1", "2", "3"], "its queue stays");
}

#[test]
fn live_subscribers_get_what_is_published_meanwhile() {
    let mut broker = Broker::start();
    broker.client().line("DECLARE topic:t").unwrap();
    broker.kill();
    let (mut client, mut live) = (broker.client(), broker.client());
    assert_eq!(put(&mut client, "topic:t", "before"), 0);
    live.line("SUB topic:t mode:live sub_id:l").unwrap();
    assert_eq!(put(&mut client, "topic:t", "now"), 0);
    let message = live.message().unwrap();
    assert_eq!((message.body, message.handle), (b"now".to_vec(), None));
    for option in ["name:n", "ack:auto", "credit:1", "credit_bytes:1", "visibility:1000"] {
        let refused = live.refused(&format!("SUB topic:t mode:live {option}")).unwrap();
        assert_eq!(refused.number, 103, "{option}: {refused}");
    }
    client.line("DELETE topic:t").unwrap();
    let told = live.notice().unwrap();
    assert_eq!((told.verb, told.field("sub_id")), ("CANCEL", Some("l")));
    assert!(told.field("reason").is_some(), "{told:?}");
}

#[test]
fn several_sessions_share_a_name() {
    let broker = Broker::start();
    let (mut client, mut a, mut b) = (broker.client(), broker.client(), broker.client());
    client.line("DECLARE topic:t").unwrap();
    for reader in [&mut a, &mut b] {
        reader.line("SUB topic:t name:shared sub_id:s credit:5").unwrap();
    }
    for number in 0..10 {
        assert_eq!(put(&mut client, "topic:t", &number.to_string()), 1);
    }
    let mut all = [take(&mut a, 5), take(&mut b, 5)].concat();
    all.sort();
    assert_eq!(all, (0..10).map(|number| number.to_string()).collect::<Vec<_>>());
}

/// Subscribes and goes again, in every way, until the broker ends.
fn come_and_go(mut client: Client, name: &str, rounds: &AtomicU64) {
    for round in 0.. {
        let (sub, how) = match round % 4 {
            0 => (format!("name:{name}"), "UNSUB sub_id:s"),
            1 => (String::from("mode:live"), "UNSUB sub_id:s"),
            2 => (String::from("mode:session"), "UNSUB sub_id:s"),
            _ => (format!("name:{name}"), "DELETE topic:t name:"),
        };
        let how = if how.ends_with(':') { format!("{how}{name}") } else { how.to_owned() };
        let both =
            client.line(&format!("SUB topic:t sub_id:s {sub}")).and_then(|_| client.line(&how));
        match both.and_then(|_| client.forget()) {
            Ok(()) => {}
            Err(ClientError::Closed) => return,
            Err(error) => panic!("{sub}, {how}: {error}"),
        }
        rounds.fetch_add(1, Ordering::SeqCst);
    }
}

fn publish(mut client: Client, life: u64, confirms: &AtomicU64) -> Vec<String> {
    let mut confirmed = Vec::new();
    loop {
        let body = format!("{life}.{}", confirmed.len());
        match client.put("topic:t", body.as_bytes()) {
            Ok(_) => confirmed.push(body),
            Err(ClientError::Closed) => return confirmed,
            Err(error) => panic!("{body}: {error}"),
        }
        confirms.fetch_add(1, Ordering::SeqCst);
    }
}

#[test]
fn a_subscriber_misses_nothing_while_others_come_and_go_and_the_broker_dies() {
    let mut broker = Broker::start();
    broker.client().lines("DECLARE topic:t\nDECLARE topic:t name:kept").unwrap();
    let mut confirmed = Vec::new();
    for life in 0..3 {
        let (confirms, rounds) = (AtomicU64::new(0), AtomicU64::new(0));
        std::thread::scope(|scope| {
            let (confirms, rounds, client) = (&confirms, &rounds, broker.client());
            let publishing = scope.spawn(move || publish(client, life, confirms));
            let others = ["a", "b"].map(|name| {
                let client = broker.client();
                scope.spawn(move || come_and_go(client, name, rounds))
            });
            until("enough happened", || {
                let is_reached = |count: &AtomicU64, n| count.load(Ordering::SeqCst) >= n;
                let enough = is_reached(confirms, 100) && is_reached(rounds, 20);
                enough
                    || publishing.is_finished()
                    || others.iter().any(ScopedJoinHandle::is_finished)
            });
            broker.kill();
            confirmed.extend(publishing.join().unwrap());
            for one in others {
                one.join().unwrap();
            }
        });
    }
    let there = bodies(&broker.client().drain("t/kept").unwrap());
    let lost: Vec<_> = confirmed.iter().filter(|body| !there.contains(body)).collect();
    assert!(lost.is_empty(), "{lost:?} of {} confirmed", confirmed.len());
    assert!(there.len() <= confirmed.len() + 3, "at most one a life came without its confirm");
}
