//! What a queue was declared with: it survives `kill -9`, a differing declaration is told by name,
//! and each limit does what it says. Which queues go by themselves, and that they stay gone.

#![allow(clippy::unwrap_used, reason = "tests panic")]

use std::time::Duration;

use courant_e2e::broker::{Broker, bodies, until};
use courant_e2e::client::{Client, ClientError, Incoming, field};
use courant_e2e::traffic::Publisher;

fn put(client: &mut Client, head: &str, body: &str) {
    client.put(head, body.as_bytes()).unwrap_or_else(|error| panic!("{head}: {error}"));
}

/// The number of the refusal of a PUB.
fn full(client: &mut Client, queue: &str, body: &str) -> u32 {
    match client.put(&format!("queue:{queue}"), body.as_bytes()) {
        Err(ClientError::Refused(refused)) => refused.number,
        other => panic!("{queue}: {other:?}"),
    }
}

fn drained(client: &mut Client, queue: &str) -> Vec<String> {
    bodies(&client.drain(queue).expect("a claim"))
}

/// How a queue is doing, which counts as using it.
fn counts(client: &mut Client, queue: &str) -> [u64; 4] {
    let fields = client.line(&format!("DECLARE queue:{queue} passive:yes")).expect("counts");
    ["ready", "open", "bytes", "subscriptions"].map(|name| number(&fields, name))
}

fn number(fields: &[(String, String)], name: &str) -> u64 {
    field(fields, name).and_then(|value| value.parse().ok()).expect("a number")
}

/// Whether it is in the list, which does not count as using it.
fn is_there(client: &mut Client, queue: &str) -> bool {
    client.line("LIST queues").expect("a list");
    client.told().iter().any(|item| item.field("queue") == Some(queue))
}

const POLICIES: [(&str, &str, &str); 9] = [
    ("visibility", "5000", "6000"),
    ("auto_delete", "yes", "no"),
    ("max_length", "50", "51"),
    ("max_bytes", "5000", "5001"),
    ("max_message_bytes", "500", "501"),
    ("overflow", "drop-oldest", "block"),
    ("message_ttl", "60000", "60001"),
    ("expires", "3600000", "3600001"),
    ("max_attempts", "5", "6"),
];

#[test]
fn every_policy_survives_and_the_one_that_differs_is_named() {
    let mut broker = Broker::start();
    let with = |change: Option<&str>| {
        let option = |(name, is, other): &(&str, &str, &str)| {
            format!(" {name}:{}", if change == Some(*name) { other } else { is })
        };
        format!("DECLARE queue:q{}", POLICIES.iter().map(option).collect::<Vec<_>>().concat())
    };
    broker.client().line(&with(None)).unwrap();
    broker.kill();
    let mut client = broker.client();
    client.line(&with(None)).unwrap();
    for (name, ..) in POLICIES {
        let refused = client.refused(&with(Some(name))).unwrap();
        assert_eq!(refused.number, 205, "{name}: {refused}");
        assert!(refused.sentence.contains(name), "{name}: {refused}");
    }
    let refused = client.refused(&format!("{} durable:no", with(None))).unwrap();
    assert!(refused.number == 205 && refused.sentence.contains("durable"), "{refused}");
    client.line("LIST queues").unwrap();
    let item = client.told().remove(0);
    for (name, is, _) in POLICIES {
        assert_eq!(item.field(name), Some(is), "{name}");
    }
}

#[test]
fn a_full_queue_rejects_after_a_kill() {
    let mut broker = Broker::start();
    let declared = "DECLARE queue:two max_length:2
        DECLARE queue:bytes max_bytes:1000
        DECLARE queue:small max_message_bytes:4
        DECLARE exchange:all kind:fanout
        DECLARE queue:wide
        BIND exchange:all queue:two
        BIND exchange:all queue:wide";
    let mut client = broker.client();
    client.lines(declared).unwrap();
    put(&mut client, "queue:two", "1");
    put(&mut client, "queue:bytes", &"x".repeat(700));
    broker.kill();
    let mut client = broker.client();
    put(&mut client, "queue:two", "2");
    assert_eq!(full(&mut client, "two", "3"), 403);
    assert_eq!(full(&mut client, "bytes", &"y".repeat(700)), 403);
    assert_eq!(full(&mut client, "small", "12345"), 404);
    put(&mut client, "queue:small", "1234");
    // All of its queues take a message, or none does.
    let refused = client.put("exchange:all", b"4").map(|_| ());
    assert!(matches!(refused, Err(ClientError::Refused(it)) if it.number == 403));
    broker.kill();
    let mut client = broker.client();
    assert_eq!(full(&mut client, "two", "5"), 403);
    assert_eq!(drained(&mut client, "two"), ["1", "2"]);
    put(&mut client, "exchange:all", "6");
    assert_eq!(drained(&mut client, "two"), ["6"]);
    assert_eq!(drained(&mut client, "wide"), ["6"]);
}

#[test]
fn a_full_queue_blocks_its_publisher_and_keeps_its_order() {
    let mut broker = Broker::start();
    let mut client = broker.client();
    client.line("DECLARE queue:q max_length:3 overflow:block").unwrap();
    for body in ["1", "2"] {
        put(&mut client, "queue:q", body);
    }
    broker.kill();
    let (mut publisher, mut consumer) = (broker.client(), broker.client());
    for body in ["3", "4", "5", "6"] {
        publisher.send(format!("PUB queue:q req:{body} 1\n{body}\n").as_bytes()).unwrap();
    }
    assert_eq!(confirmed(&mut publisher), "3");
    assert!(matches!(publisher.incoming(Duration::from_millis(100)), Err(ClientError::Late(..))));
    assert_eq!(counts(&mut consumer, "q")[0], 3, "more than it takes");
    consumer.line("GET queue:q count:3").unwrap();
    let got: Vec<_> = (0..3).map(|_| consumer.message().unwrap()).collect();
    assert_eq!(bodies(&got), ["1", "2", "3"]);
    for message in got {
        consumer.line(&format!("ACK msg_id:{} confirm:synced", message.handle.unwrap())).unwrap();
    }
    for body in ["4", "5", "6"] {
        assert_eq!(confirmed(&mut publisher), body);
    }
    broker.kill();
    assert_eq!(drained(&mut broker.client(), "q"), ["4", "5", "6"]);
}

fn confirmed(client: &mut Client) -> String {
    match client.reply().expect("a confirm") {
        Incoming::Ok(fields) => field(&fields, "req").expect("its req").to_owned(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_oldest_go_and_stay_gone() {
    let mut broker = Broker::start();
    let mut client = broker.client();
    client.line("DECLARE queue:last max_length:3 overflow:drop-oldest").unwrap();
    client.line("DECLARE queue:bytes max_bytes:1000 overflow:drop-oldest").unwrap();
    for number in 0..10 {
        put(&mut client, "queue:last", &number.to_string());
    }
    for letter in ["a", "b", "c"] {
        put(&mut client, "queue:bytes", &letter.repeat(400));
    }
    let dropped = |broker: &Broker| broker.json("stats --json")[0]["overflowed"].clone();
    assert_eq!(dropped(&broker), 8, "counted");
    broker.kill();
    let mut client = broker.client();
    put(&mut client, "queue:last", "10");
    assert_eq!(drained(&mut client, "last"), ["8", "9", "10"]);
    assert_eq!(drained(&mut client, "bytes"), ["b".repeat(400), "c".repeat(400)]);
}

#[test]
fn a_deadline_passes_while_the_broker_is_away() {
    let mut broker = Broker::start();
    let mut client = broker.client();
    client.line("DECLARE queue:own").unwrap();
    client.line("DECLARE queue:ttl message_ttl:1500").unwrap();
    for (head, body) in [
        ("queue:own ttl:1500", "short"),
        ("queue:own ttl:3600000", "long"),
        ("queue:own", "for ever"),
        ("queue:ttl ttl:3600000", "short"),
    ] {
        put(&mut client, head, body);
    }
    // Counted from when it was published: not from the start of the broker.
    broker.kill_for(Duration::from_millis(1600));
    let mut client = broker.client();
    assert_eq!(drained(&mut client, "own"), ["long", "for ever"]);
    assert_eq!(drained(&mut client, "ttl"), [""; 0]);
    broker.kill();
    let mut client = broker.client();
    assert_eq!(drained(&mut client, "own"), [""; 0]);
    // Unread and asked for by nobody, wherever it stands.
    for (head, body) in [("queue:own", "first"), ("queue:own ttl:100", "x"), ("queue:ttl", "x")] {
        put(&mut client, head, body);
    }
    broker.kill();
    let mut client = broker.client();
    until("the deadline passes", || counts(&mut client, "own")[0] == 1);
    until("the deadline passes", || counts(&mut client, "ttl")[0] == 0);
    assert_eq!(drained(&mut client, "own"), ["first"]);
}

#[test]
fn a_queue_that_nobody_uses_goes_and_stays_gone() {
    let mut broker = Broker::start();
    let mut client = broker.client();
    client.line("DECLARE queue:brief expires:300").unwrap();
    client.line("DECLARE queue:used expires:300").unwrap();
    put(&mut client, "queue:brief", "held");
    broker.kill();
    let mut client = broker.client();
    client.line("SUB queue:used sub_id:u").unwrap();
    until("it goes", || !is_there(&mut client, "brief"));
    assert!(is_there(&mut client, "used"), "somebody subscribed to it");
    client.line("UNSUB sub_id:u").unwrap();
    until("it goes", || !is_there(&mut client, "used"));
    client.line("DECLARE queue:marker").unwrap();
    broker.kill();
    let mut client = broker.client();
    assert!(!is_there(&mut client, "brief") && !is_there(&mut client, "used"));
    client.line("DECLARE queue:brief").unwrap();
    assert_eq!(drained(&mut client, "brief"), [""; 0], "nothing of the old one");
}

#[test]
fn exclusive_queues_are_their_connections_and_go_with_it() {
    let mut broker = Broker::start();
    let (mut owner, mut other) = (broker.client(), broker.client());
    owner.line("DECLARE queue:mine exclusive:yes durable:no").unwrap();
    let named = owner.line("DECLARE queue: exclusive:yes durable:no").unwrap();
    let named = field(&named, "queue").expect("a name").to_owned();
    assert!(named.starts_with('$'), "{named}");
    put(&mut owner, &format!("queue:{named}"), "by its owner");
    for command in ["SUB queue:mine", "GET queue:mine", "DELETE queue:mine", "PURGE queue:mine"] {
        assert_eq!(other.refused(command).unwrap().number, 211, "{command}");
    }
    let declared = other.refused("DECLARE queue:mine exclusive:yes durable:no").unwrap();
    assert_eq!(declared.number, 211);
    assert_eq!(owner.refused("DECLARE queue:x exclusive:yes").unwrap().number, 208);
    owner.line("QUIT").unwrap();
    until("they go", || !is_there(&mut other, "mine") && !is_there(&mut other, &named));
    other.line("DECLARE queue:mine exclusive:yes durable:no").unwrap();
    broker.kill();
    let mut client = broker.client();
    assert!(!is_there(&mut client, "mine"));
    // Names of before the kill are not given again.
    let fresh = client.line("DECLARE queue: exclusive:yes durable:no").unwrap();
    assert_ne!(field(&fresh, "queue"), Some(named.as_str()));
}

#[test]
fn auto_delete_queues_go_with_their_last_subscription() {
    let mut broker = Broker::start();
    let mut client = broker.client();
    client.line("DECLARE queue:durable auto_delete:yes").unwrap();
    client.line("DECLARE queue:transient auto_delete:yes durable:no").unwrap();
    put(&mut client, "queue:durable", "kept");
    broker.kill();
    let (mut client, mut second) = (broker.client(), broker.client());
    assert!(is_there(&mut client, "durable"), "nobody subscribed to it yet");
    client.line("SUB queue:durable sub_id:a").unwrap();
    second.line("SUB queue:durable sub_id:b").unwrap();
    client.line("UNSUB sub_id:a").unwrap();
    assert!(is_there(&mut client, "durable"), "one is left");
    second.line("QUIT").unwrap();
    until("it goes", || !is_there(&mut client, "durable"));
    client.line("DECLARE queue:marker").unwrap();
    broker.kill();
    let mut client = broker.client();
    assert!(!is_there(&mut client, "durable") && !is_there(&mut client, "transient"));
}

#[test]
fn the_end_of_the_broker_takes_nothing_from_a_durable_auto_delete_queue() {
    let mut broker = Broker::start();
    broker.client().line("DECLARE queue:q auto_delete:yes").unwrap();
    for end in [Broker::kill, Broker::restart] {
        let mut client = broker.client();
        client.line("SUB queue:q sub_id:a credit:0").unwrap();
        put(&mut client, "queue:q", "confirmed");
        end(&mut broker);
        assert_eq!(drained(&mut broker.client(), "q"), ["confirmed"]);
    }
}

#[test]
fn counts_and_conditions_after_a_kill() {
    let mut broker = Broker::start();
    let mut client = broker.client();
    client.line("DECLARE queue:q").unwrap();
    for body in ["one", "three"] {
        put(&mut client, "queue:q", body);
    }
    let bytes = counts(&mut client, "q")[2];
    broker.kill();
    let mut client = broker.client();
    assert_eq!(counts(&mut client, "q"), [2, 0, bytes, 0]);
    client.line("SUB queue:q sub_id:s credit:1").unwrap();
    let message = client.message().unwrap();
    assert_eq!(counts(&mut client, "q"), [1, 1, bytes, 1]);
    let handle = message.handle.unwrap();
    client.line(&format!("ACK msg_id:{handle} confirm:synced")).unwrap();
    assert_eq!(client.refused("DELETE queue:q if_unused:yes").unwrap().number, 207);
    client.line("UNSUB sub_id:s").unwrap();
    assert_eq!(client.refused("DELETE queue:q if_empty:yes").unwrap().number, 206);
    assert_eq!(client.refused("DECLARE queue:none passive:yes").unwrap().number, 201);
    broker.kill();
    let mut client = broker.client();
    assert_eq!(client.refused("DELETE queue:q if_empty:yes").unwrap().number, 206);
    assert_eq!(drained(&mut client, "q"), ["three"]);
    client.line("DELETE queue:q if_empty:yes if_unused:yes").unwrap();
    broker.kill();
    let refused = broker.client().refused("DECLARE queue:q passive:yes").unwrap();
    assert_eq!(refused.number, 201);
}

/// A purge of many messages is a worker: it takes them in steps, is in the list meanwhile, and
/// what a kill leaves of them goes after the start.
#[test]
fn a_purge_that_is_killed_goes_on() {
    let mut broker = Broker::start();
    for messages in [60_000, 120_000, 240_000, 480_000] {
        let mut client = broker.client();
        client.line("DECLARE queue:q").unwrap();
        let mut publisher = Publisher::new(broker.address(), "queue:q", 8).unwrap();
        let mut confirm = |number, answer| assert_eq!(answer, Ok(()), "{number}");
        publisher.publish(messages, &mut confirm).unwrap();
        publisher.finish(&mut confirm).unwrap();
        client.send(b"PURGE queue:q\nLIST workers\nPUB queue:q 5\nlater\n").unwrap();
        let purged = client.reply().unwrap();
        assert!(matches!(&purged, Incoming::Ok(it) if number(it, "messages") == messages));
        for _ in 0..2 {
            assert!(matches!(client.reply().unwrap(), Incoming::Ok(_)));
        }
        let workers = client.told();
        broker.kill();
        let left = opened(&broker, "ready");
        let mut client = broker.client();
        until("only what came later is left", || counts(&mut client, "q")[0] == 1);
        until("no worker is left", || {
            client.line("LIST workers").unwrap();
            client.told().is_empty()
        });
        assert_eq!(drained(&mut client, "q"), ["later"]);
        if left > 1 && workers.len() == 1 {
            assert_eq!(
                ["kind", "queue"].map(|it| workers[0].field(it)),
                [Some("purge"), Some("q")]
            );
            assert_eq!(broker.done("ls workers"), "no workers\n");
            broker.kill();
            assert_eq!(counts(&mut broker.client(), "q")[0], 0);
            return;
        }
    }
    panic!("each purge was over before it was killed");
}

/// A number in the line about the opening.
fn opened(broker: &Broker, name: &str) -> u64 {
    let said = broker.server().stderr();
    let line = said.lines().find(|line| line.contains(" opened ")).expect("an opening");
    let value = line.split_whitespace().find_map(|word| word.strip_prefix(name)?.strip_prefix('='));
    value.and_then(|value| value.parse().ok()).expect("its number")
}
