//! What has to hold over one restart, step by step: the small, certain companions of the campaign
//! in `kill9.rs`, which finds such things by chance.

use courant_e2e::broker::{Broker, bodies};
use courant_e2e::client::{Client, Message};

/// Takes `count` messages and leaves them open.
fn take(client: &mut Client, queue: &str, count: usize) -> Vec<Message> {
    client.line(&format!("SUB queue:{queue} sub_id:{queue} credit:1000")).expect("a subscription");
    (0..count).map(|_| client.message().expect("a message")).collect()
}

/// Each opening begins a block of numbers: the first message in it is as good as any other.
#[test]
fn the_first_message_of_a_run_comes_out_in_the_next() {
    let mut broker = Broker::start();
    broker.client().line("DECLARE queue:q").unwrap();
    let mut expected = Vec::new();
    for run in 0..4 {
        if run % 2 == 0 {
            broker.kill();
        } else {
            broker.restart();
        }
        let mut client = broker.client();
        for number in 0..2 {
            let body = format!("run {run} message {number}");
            client.publish("queue:q", body.as_bytes()).unwrap();
            expected.push(body);
        }
    }
    broker.kill();
    let messages = take(&mut broker.client(), "q", expected.len());
    assert_eq!(bodies(&messages), expected);
}

#[test]
fn a_repeat_after_a_kill_says_that_it_may_be_one() {
    let mut broker = Broker::start();
    let mut client = broker.client();
    client.line("DECLARE queue:q").unwrap();
    for body in ["a", "b", "c"] {
        client.publish("queue:q", body.as_bytes()).unwrap();
    }
    let first = take(&mut client, "q", 3);
    assert!(first.iter().all(|message| message.attempt == 1 && message.redelivered.is_none()));
    broker.kill();
    for message in take(&mut broker.client(), "q", 3) {
        assert!(
            message.redelivered.is_some() || message.attempt > 1,
            "delivered before the kill, and again without a word: {message:?}"
        );
    }
}

#[test]
fn attempts_are_counted_over_a_kill() {
    let mut broker = Broker::start();
    let mut client = broker.client();
    client.line("DECLARE queue:q").unwrap();
    client.publish("queue:q", b"poison").unwrap();
    let mut message = take(&mut client, "q", 1).remove(0);
    for attempt in 1..=3 {
        assert_eq!(message.attempt, attempt);
        let handle = message.handle.unwrap();
        client.line(&format!("NACK msg_id:{handle} confirm:synced")).unwrap();
        message = client.message().unwrap();
    }
    broker.kill();
    let message = take(&mut broker.client(), "q", 1).remove(0);
    assert!(message.attempt >= 4, "{message:?}");
}

/// An old handle never settles a newer delivery.
#[test]
fn a_handle_of_before_the_kill_settles_nothing() {
    let mut broker = Broker::start();
    let mut client = broker.client();
    client.line("DECLARE queue:q").unwrap();
    let id = client.publish("queue:q", b"x").unwrap();
    let old = take(&mut client, "q", 1).remove(0).handle.unwrap();
    broker.kill();
    let mut client = broker.client();
    let new = take(&mut client, "q", 1).remove(0).handle.unwrap();
    assert_eq!((old.id, new.id), (id, id));
    assert_ne!(old, new);
    let refused = client.line(&format!("ACK msg_id:{old}"));
    assert!(format!("{refused:?}").contains("502"), "{refused:?}");
    client.line(&format!("ACK msg_id:{new} confirm:synced")).unwrap();
}

#[test]
fn synced_acks_hold_and_others_hold_over_an_orderly_stop() {
    let mut broker = Broker::start();
    let mut client = broker.client();
    client.line("DECLARE queue:q").unwrap();
    for body in ["a", "b", "c", "d", "e", "f"] {
        client.publish("queue:q", body.as_bytes()).unwrap();
    }
    let messages = take(&mut client, "q", 6);
    let handle = |index: usize| messages[index].handle.unwrap();
    client.line(&format!("ACK msg_id:{} confirm:synced", handle(1))).unwrap();
    client.line(&format!("REJECT msg_id:{} confirm:synced", handle(3))).unwrap();
    broker.kill();
    let mut client = broker.client();
    let messages = take(&mut client, "q", 4);
    assert_eq!(bodies(&messages), ["a", "c", "e", "f"]);
    client.line(&format!("ACK msg_id:{}", messages[2].handle.unwrap())).unwrap();
    broker.restart();
    assert_eq!(bodies(&take(&mut broker.client(), "q", 3)), ["a", "c", "f"]);
}

#[test]
fn a_body_of_16_mib_and_an_empty_one_survive() {
    let mut broker = Broker::start();
    let mut client = broker.client();
    client.line("DECLARE queue:q").unwrap();
    let mut large = Vec::new();
    courant_e2e::random::Random::new(4).bytes(16 << 20, &mut large);
    client.publish("queue:q", b"").unwrap();
    client.publish("queue:q", &large).unwrap();
    client.publish("queue:q", b"\r\n\n\r\0").unwrap();
    broker.kill();
    let messages = take(&mut broker.client(), "q", 3);
    assert_eq!(messages[0].body, b"");
    assert!(messages[1].body == large, "{} bytes", messages[1].body.len());
    assert_eq!(messages[2].body, b"\r\n\n\r\0");
}

#[test]
fn what_is_transient_is_gone_and_what_was_deleted_stays_gone() {
    let mut broker = Broker::start();
    let mut client = broker.client();
    client.line("DECLARE queue:durable").unwrap();
    client.line("DECLARE queue:transient durable:no").unwrap();
    client.line("DECLARE queue:deleted").unwrap();
    client.publish("queue:durable durable:no", b"transient").unwrap();
    client.publish("queue:durable", b"durable").unwrap();
    client.publish("queue:deleted", b"deleted").unwrap();
    client.line("DELETE queue:deleted").unwrap();
    broker.kill();
    let mut client = broker.client();
    for name in ["transient", "deleted"] {
        let refused = client.line(&format!("SUB queue:{name}"));
        assert!(format!("{refused:?}").contains("201"), "{name}: {refused:?}");
    }
    assert_eq!(bodies(&take(&mut client, "durable", 1)), ["durable"]);
    // A new queue of the old name has none of the old messages.
    client.line("DECLARE queue:deleted").unwrap();
    let empty = client.line("GET queue:deleted");
    assert!(format!("{empty:?}").contains("402"), "{empty:?}");
}

#[test]
fn properties_and_headers_survive() {
    let mut broker = Broker::start();
    let mut client = broker.client();
    client.line("DECLARE queue:q").unwrap();
    let head = "queue:q h:a=1 h:b%20c=2%0A3 h:a=4 content_type:text/plain correlation_id:x%FFy";
    client.publish(head, b"body").unwrap();
    broker.kill();
    let mut client = broker.client();
    client.send(b"SUB queue:q sub_id:s\n").unwrap();
    assert_eq!(client.raw_line().unwrap(), b"OK\n");
    let line = String::from_utf8(client.raw_line().unwrap()).unwrap();
    let words: Vec<&str> = line.split_whitespace().collect();
    let headers: Vec<_> = words.iter().filter(|word| word.starts_with("h:")).collect();
    assert_eq!(headers, [&"h:a=1", &"h:b%20c=2%0A3", &"h:a=4"], "{line}");
    assert!(words.contains(&"content_type:text/plain"), "{line}");
    assert!(words.contains(&"correlation_id:x%FFy"), "{line}");
}
