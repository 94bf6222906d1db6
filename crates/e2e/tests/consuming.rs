//! How messages are handed over: credit, claims, attempts, and how a subscription ends; over
//! `kill -9` where it must survive one.

#![allow(clippy::unwrap_used, reason = "tests panic")]

use courant_e2e::broker::{Broker, bodies};
use courant_e2e::client::{Client, Message, field};

fn put(client: &mut Client, head: &str, body: &str) {
    client.put(head, body.as_bytes()).unwrap_or_else(|error| panic!("{head}: {error}"));
}

fn next(client: &mut Client) -> Message {
    client.message().expect("a message")
}

/// Nothing comes but the answer to what is asked now.
fn is_quiet(client: &mut Client) -> bool {
    client.line("STATS").expect("counts");
    client.stay().expect("a connection");
    matches!(client.buffered(), Ok(None)) && client.waiting() == 0
}

fn settle(client: &mut Client, verb: &str, message: &Message) {
    let handle = message.handle.expect("a handle");
    client.line(&format!("{verb} msg_id:{handle} confirm:synced")).expect("a settle");
}

#[test]
fn attempts_are_counted_and_end_over_kills() {
    let mut broker = Broker::start();
    let mut client = broker.client();
    client.line("DECLARE queue:q max_attempts:4").unwrap();
    put(&mut client, "queue:q", "poison");
    for attempt in 1..=2 {
        client.line("GET queue:q").unwrap();
        let message = next(&mut client);
        assert_eq!(message.attempt, attempt);
        settle(&mut client, "NACK", &message);
    }
    broker.kill();
    let mut client = broker.client();
    client.line("GET queue:q").unwrap();
    let message = next(&mut client);
    // What was open when the broker died may count or not; nothing that was written is forgotten.
    assert!((3..=4).contains(&message.attempt), "{message:?}");
    settle(&mut client, "NACK", &message);
    if message.attempt == 3 {
        broker.kill();
        client = broker.client();
        client.line("GET queue:q").unwrap();
        let message = next(&mut client);
        assert_eq!((message.attempt, message.redelivered.as_deref()), (4, Some("yes")));
        settle(&mut client, "NACK", &message);
    }
    assert_eq!(client.refused("GET queue:q").unwrap().number, 402, "it left");
    broker.kill();
    assert_eq!(broker.client().refused("GET queue:q").unwrap().number, 402, "and stays away");
}

#[test]
fn a_claim_needs_no_subscription_and_comes_back_after_a_kill() {
    let mut broker = Broker::start();
    let mut client = broker.client();
    client.line("DECLARE queue:q").unwrap();
    for body in ["1", "2", "3"] {
        put(&mut client, "queue:q", body);
    }
    let fields = client.line("GET queue:q count:2").unwrap();
    assert_eq!(field(&fields, "count"), Some("2"));
    let (one, two) = (next(&mut client), next(&mut client));
    settle(&mut client, "ACK", &one);
    client.line("GET queue:q ack:auto").unwrap();
    assert_eq!(next(&mut client).body, b"3");
    assert_eq!(client.refused("GET queue:q").unwrap().number, 402);
    // With a synced settle behind it the one that was settled by itself is on disk, too.
    settle(&mut client, "NACK", &two);
    client.line("GET queue:q").unwrap();
    assert_eq!(next(&mut client).body, b"2");
    broker.kill();
    assert_eq!(bodies(&broker.client().drain("q").unwrap()), ["2"]);
}

#[test]
fn a_subscription_is_told_why_it_ended() {
    let mut broker = Broker::start();
    let mut client = broker.client();
    client.lines("DECLARE queue:q\nDECLARE topic:t").unwrap();
    broker.kill();
    let (mut client, mut reader) = (broker.client(), broker.client());
    reader.line("SUB queue:q sub_id:a").unwrap();
    reader.line("SUB topic:t name:n sub_id:b").unwrap();
    client.line("DELETE queue:q").unwrap();
    let told = reader.notice().unwrap();
    let fields = ["sub_id", "reason"].map(|name| told.field(name));
    assert_eq!((told.verb, fields), ("CANCEL", [Some("a"), Some("queue_deleted")]));
    client.line("DELETE topic:t name:n").unwrap();
    let told = reader.notice().unwrap();
    assert_eq!(told.field("sub_id"), Some("b"));
    assert_eq!(reader.refused("UNSUB sub_id:a").unwrap().number, 500);
    // Its connection goes on.
    client.line("DECLARE queue:q").unwrap();
    reader.line("SUB queue:q sub_id:a").unwrap();
    put(&mut client, "queue:q", "new");
    assert_eq!(next(&mut reader).body, b"new");
}

#[test]
fn credit_counts_messages_and_bytes() {
    let broker = Broker::start();
    let mut client = broker.client();
    client.line("DECLARE queue:q").unwrap();
    for number in 0..6 {
        put(&mut client, "queue:q", &number.to_string().repeat(100));
    }
    put(&mut client, "queue:q", &"x".repeat(5000));
    let mut reader = broker.client();
    reader.line("SUB queue:q sub_id:s credit:10 credit_bytes:250").unwrap();
    let first = [next(&mut reader), next(&mut reader)];
    assert!(is_quiet(&mut reader), "200 of 250 bytes are open");
    settle(&mut reader, "ACK", &first[0]);
    let third = next(&mut reader);
    assert_eq!(third.body, b"2".repeat(100));
    reader.line("CREDIT bytes:1000000 n:3").unwrap();
    assert!(is_quiet(&mut reader), "the subscription's own bytes are used up");
    for message in [&first[1], &third] {
        settle(&mut reader, "ACK", message);
    }
    let next_two = [next(&mut reader), next(&mut reader)];
    for message in &next_two {
        settle(&mut reader, "ACK", message);
    }
    let last = next(&mut reader);
    assert_eq!(last.body, b"5".repeat(100));
    assert!(is_quiet(&mut reader), "5,000 bytes do not fit beside others");
    settle(&mut reader, "ACK", &last);
    assert_eq!(next(&mut reader).body.len(), 5000, "alone they do");
}

#[test]
fn credit_of_the_session_holds_all_its_subscriptions() {
    let broker = Broker::start();
    let mut client = broker.client();
    client.lines("DECLARE queue:a\nDECLARE queue:b").unwrap();
    for queue in ["a", "b", "a", "b"] {
        put(&mut client, &format!("queue:{queue}"), &queue.repeat(100));
    }
    let mut reader = broker.client();
    reader.line("CREDIT n:3 bytes:250").unwrap();
    reader.line("SUB queue:a sub_id:a credit:10").unwrap();
    reader.line("SUB queue:b sub_id:b credit:10").unwrap();
    let mut open = vec![next(&mut reader), next(&mut reader)];
    assert!(is_quiet(&mut reader), "250 bytes");
    reader.line("CREDIT n:3 bytes:1000").unwrap();
    open.push(next(&mut reader));
    assert!(is_quiet(&mut reader), "three messages");
    settle(&mut reader, "ACK", &open[0]);
    open.push(next(&mut reader));
    let mut all = bodies(&open);
    all.sort();
    assert_eq!(all, ["a", "a", "b", "b"].map(|queue| queue.repeat(100)));
}

#[test]
fn what_a_consumer_that_is_gone_or_silent_held_goes_to_another() {
    let mut broker = Broker::start();
    let mut client = broker.client();
    client.line("DECLARE queue:q visibility:1000").unwrap();
    put(&mut client, "queue:q", "job");
    broker.kill();
    let (mut gone, mut silent, mut last) = (broker.client(), broker.client(), broker.client());
    gone.line("SUB queue:q sub_id:g").unwrap();
    assert_eq!(next(&mut gone).body, b"job");
    drop(gone);
    silent.line("SUB queue:q sub_id:s").unwrap();
    let held = next(&mut silent);
    assert!(held.attempt >= 2 && held.redelivered.is_some(), "{held:?}");
    last.line("SUB queue:q sub_id:l").unwrap();
    let again = next(&mut last);
    assert!(again.attempt > held.attempt, "{again:?}");
    let handle = held.handle.unwrap();
    assert_eq!(silent.refused(&format!("ACK msg_id:{handle}")).unwrap().number, 502);
    settle(&mut last, "ACK", &again);
    broker.kill();
    assert_eq!(broker.client().refused("GET queue:q").unwrap().number, 402);
}

#[test]
fn a_delivery_that_is_extended_stays() {
    let broker = Broker::start();
    let mut client = broker.client();
    client.line("DECLARE queue:q visibility:1000").unwrap();
    put(&mut client, "queue:q", "long");
    put(&mut client, "queue:q", "short");
    client.line("SUB queue:q sub_id:s credit:2").unwrap();
    let (long, short) = (next(&mut client), next(&mut client));
    client.line(&format!("EXTEND msg_id:{} ms:3600000", long.handle.unwrap())).unwrap();
    // The other one comes again, so that the first would have, too.
    let again = next(&mut client);
    assert_eq!((&again.body, again.attempt), (&short.body, 2));
    assert!(is_quiet(&mut client));
    settle(&mut client, "ACK", &long);
    // Without a time it is the queue's, so that it comes again.
    client.line(&format!("EXTEND msg_id:{}", again.handle.unwrap())).unwrap();
    assert_eq!(next(&mut client).attempt, 3);
}
