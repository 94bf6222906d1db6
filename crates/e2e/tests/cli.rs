//! `courant serve`, `pub` and `sub` as a person or a script uses them.

use std::time::Duration;

use courant_e2e::broker::Broker;
use courant_e2e::cli::Ended;
use courant_e2e::client::{Client, field};
use courant_e2e::server::{DRAINED_WITHIN, Server};
use rustix::process::Signal;

/// Publishes to a topic until a message reaches a queue.
fn publish_until_queued(broker: &Broker, topic: &str, body: &str) {
    let mut client = broker.client();
    for _ in 0..3000 {
        let command = format!("PUB {topic} {}\n{body}\n", body.len());
        let fields = client.call(command.as_bytes()).expect("a confirm");
        if field(&fields, "queues") != Some("0") {
            return;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    panic!("nobody subscribed to {topic}");
}

#[test]
fn lines_in_and_lines_out() {
    let broker = Broker::start();
    let input = "one\ntwo\nthree\n";
    let published = broker.run_with(&["pub", "queue:orders", "--declare", "--lines"], input);
    assert_eq!(published.success().unwrap(), "");
    assert_eq!(broker.done(&["sub", "queue:orders", "--count", "3"]), input);
}

#[test]
fn a_body_may_be_an_argument_or_all_of_stdin() {
    let broker = Broker::start();
    broker.done(&["pub", "queue:a", "as argument", "--declare"]);
    for arguments in [&["pub", "queue:a", "-"][..], &["pub", "queue:a"]] {
        broker.run_with(arguments, "all\nof it").success().unwrap();
    }
    let out = broker.done(&["sub", "queue:a", "--count", "3"]);
    assert_eq!(out, "as argument\nall\nof it\nall\nof it\n");
}

#[test]
fn an_unknown_queue_is_a_refusal_that_says_how_to_declare_it() {
    let broker = Broker::start();
    for arguments in [&["pub", "queue:missing", "x"][..], &["sub", "queue:missing", "--count", "1"]]
    {
        let ended = broker.run(arguments);
        assert_eq!(ended.code(), Some(1), "{arguments:?}: {ended:?}");
        assert_eq!(ended.stdout, "");
        assert!(ended.stderr.contains("201"), "{ended:?}");
        assert!(ended.stderr.contains("no-such-queue"), "{ended:?}");
        assert!(ended.stderr.contains("missing"), "{ended:?}");
        let lower = ended.stderr.to_lowercase();
        assert!(lower.contains("declare"), "it says how to declare: {ended:?}");
    }
}

#[test]
fn an_unknown_topic_is_refused_too() {
    let broker = Broker::start();
    let ended = broker.run(&["pub", "topic:missing", "x"]);
    assert_eq!(ended.code(), Some(1), "{ended:?}");
    assert!(ended.stderr.contains("202 no-such-topic"), "{ended:?}");
}

#[test]
fn wrong_usage_ends_with_two_and_no_broker_with_one() {
    let broker = Broker::start();
    for arguments in [
        &["pub"][..],
        &["pub", "orders", "x"],
        &["sub", "queue:a", "--count", "none"],
        &["sub", "queue:a", "--live"],
        &["frobnicate"],
    ] {
        let ended = broker.run(arguments);
        assert_eq!(ended.code(), Some(2), "{arguments:?}: {ended:?}");
        assert!(!ended.stderr.is_empty() && ended.stdout.is_empty(), "{ended:?}");
    }
    let free = std::net::TcpListener::bind("127.0.0.1:0").and_then(|socket| socket.local_addr());
    let nobody = free.unwrap().to_string();
    let ended = broker.run(&["pub", "queue:a", "x", "--addr", &nobody]);
    assert_eq!(ended.code(), Some(1), "{ended:?}");
    assert!(ended.stderr.contains("courant serve"), "it says how to start one: {ended:?}");
}

#[test]
fn headers_reach_the_consumer() {
    let broker = Broker::start();
    let arguments =
        ["pub", "queue:h", "x", "--declare", "--header", "source=web shop", "--header", "a%b=c=d"];
    broker.done(&arguments);
    let line = broker.done(&["sub", "queue:h", "--count", "1", "--json"]);
    let json: serde_json::Value = serde_json::from_str(&line).unwrap();
    assert_eq!(json["headers"]["source"], "web shop", "{line}");
    assert_eq!(json["headers"]["a%b"], "c=d", "{line}");
}

#[test]
fn json_has_one_object_a_line() {
    let broker = Broker::start();
    broker.done(&["pub", "queue:j", "line one\nline two", "--declare"]);
    let mut client = broker.client();
    client.publish("queue:j", b"\xff\x00binary").unwrap();
    let lines = broker.done(&["sub", "queue:j", "--count", "2", "--json"]);
    let objects: Vec<serde_json::Value> =
        lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(objects.len(), 2, "{lines}");
    assert_eq!(objects[0]["destination"], "queue:j");
    assert_eq!(objects[0]["body"], "line one\nline two");
    assert_eq!(objects[0]["attempt"], 1);
    assert!(objects[0]["msg_id"].as_str().unwrap().contains('.'), "{lines}");
    assert_eq!(objects[1]["body_base64"], "/wBiaW5hcnk=");
    assert!(objects[1].get("body").is_none_or(serde_json::Value::is_null), "{lines}");
}

#[test]
fn a_live_subscription_prints_what_is_published_meanwhile() {
    let broker = Broker::start();
    let mut client = broker.client();
    client.line("DECLARE topic:live").unwrap();
    let running = broker.begin(&["sub", "topic:live", "--live", "--count", "2"]);
    // Nothing tells when the subscription stands, so one publishes until it ends.
    let address = broker.address();
    let (sender, receiver) = std::sync::mpsc::sync_channel(1);
    std::thread::scope(|scope| {
        scope.spawn(move || sender.send(running.end()));
        let mut client = Client::connect(address).unwrap();
        let mut number = 0;
        let ended = loop {
            let body = number.to_string();
            let command = format!("PUB topic:live {}\n{body}\n", body.len());
            client.call(command.as_bytes()).unwrap();
            number += 1;
            if let Ok(ended) = receiver.recv_timeout(Duration::from_millis(5)) {
                break ended.unwrap();
            }
        };
        let out = ended.success().unwrap();
        let numbers: Vec<u64> = out.lines().map(|line| line.parse().unwrap()).collect();
        assert_eq!(numbers.len(), 2, "{out}");
        assert_eq!(numbers[1], numbers[0] + 1, "{out}");
    });
}

#[test]
fn a_session_subscription_acks_and_ends_at_its_count() {
    let broker = Broker::start();
    broker.client().line("DECLARE topic:news").unwrap();
    let running = broker.begin(&["sub", "topic:news", "--count", "1"]);
    publish_until_queued(&broker, "topic:news", "first");
    assert_eq!(running.end().and_then(Ended::success).unwrap(), "first\n");
}

#[test]
fn a_named_subscriber_survives_a_restart() {
    let mut broker = Broker::start();
    let mut client = broker.client();
    client.line("DECLARE topic:events").unwrap();
    let running = broker.begin(&["sub", "topic:events", "--name", "billing", "--count", "1"]);
    publish_until_queued(&broker, "topic:events", "while there");
    assert_eq!(running.end().and_then(Ended::success).unwrap(), "while there\n");
    broker.done(&["pub", "topic:events", "while away"]);
    broker.restart();
    broker.done(&["pub", "topic:events", "after the restart"]);
    let out = broker.done(&["sub", "topic:events", "--name", "billing", "--count", "2"]);
    assert_eq!(out, "while away\nafter the restart\n");
}

#[test]
fn acked_messages_are_gone_after_a_restart_and_others_are_not() {
    let mut broker = Broker::start();
    let input = "1\n2\n3\n4\n";
    broker.run_with(&["pub", "queue:q", "--declare", "--lines"], input).success().unwrap();
    assert_eq!(broker.done(&["sub", "queue:q", "--count", "2"]), "1\n2\n");
    broker.restart();
    assert_eq!(broker.done(&["sub", "queue:q", "--count", "2"]), "3\n4\n");
}

#[test]
fn manual_ack_takes_nothing_without_a_verdict() {
    let broker = Broker::start();
    broker.done(&["pub", "queue:m", "body", "--declare"]);
    let line = broker.done(&["sub", "queue:m", "--count", "1", "--manual-ack"]);
    let (handle, body) = line.trim_end().split_once('\t').unwrap();
    assert!(courant_wire::Handle::parse(handle.as_bytes()).is_ok(), "{line}");
    assert_eq!(body, "body");
    let line = broker.done(&["sub", "queue:m", "--count", "1", "--json"]);
    let json: serde_json::Value = serde_json::from_str(&line).unwrap();
    assert_eq!(json["body"], "body");
    assert_eq!(json["attempt"], 2, "{line}");
}

#[test]
fn a_reader_that_leaves_ends_sub_quietly_and_loses_nothing() {
    let broker = Broker::start();
    // Together more than the pipe and the command hold.
    let line = |number: u64| format!("{number:0>400}");
    let lines = (0..2000).map(line).collect::<Vec<_>>().join("\n");
    broker.run_with(&["pub", "queue:p", "--declare", "--lines"], &lines).success().unwrap();
    let ended = broker.shell("courant sub queue:p | head -1");
    assert_eq!(ended.stdout.trim_end(), line(0), "{ended:?}");
    assert_eq!(ended.stderr, "", "{ended:?}");
    assert_eq!(ended.code(), Some(0), "{ended:?}");
    // What the pipe swallowed may be gone; the last message can't be, and order holds.
    let mut client = broker.client();
    client.line("SUB queue:p sub_id:s credit:5000").unwrap();
    let mut last = None;
    while last != Some(1999) {
        let message = client.message().unwrap();
        let number: u64 = String::from_utf8(message.body).unwrap().parse().unwrap();
        assert!(last.is_none_or(|last| number > last), "{number} after {last:?}");
        last = Some(number);
    }
}

#[test]
fn a_reader_that_leaves_is_noticed_without_another_message() {
    let broker = Broker::start();
    broker.run_with(&["pub", "queue:few", "--declare", "--lines"], "a\nb\n").success().unwrap();
    // Both lines are in the pipe before its reader goes: no write will ever fail.
    let ended = broker.shell("courant sub queue:few | (read line; sleep 1; echo $line)");
    assert_eq!((ended.stdout.as_str(), ended.code()), ("a\n", Some(0)), "{ended:?}");
}

#[test]
fn a_refusal_in_the_middle_of_lines_counts_the_confirmed() {
    let broker = Broker::start();
    let mut lines = "short\n".repeat(3);
    lines.push_str(&"x".repeat(17 << 20));
    let mut running = broker.begin("pub queue:big --declare --lines");
    // The client may end before it has read all.
    let _ = running.feed(lines.as_bytes());
    let ended = running.end().unwrap();
    assert_eq!(ended.code(), Some(1), "{}", ended.stderr);
    assert!(ended.stderr.contains("3 of 3"), "{}", ended.stderr);
    assert_eq!(broker.done(&["sub", "queue:big", "--count", "3"]), "short\n".repeat(3));
}

#[test]
fn signals_end_a_subscription() {
    let broker = Broker::start();
    broker.done(&["pub", "queue:s", "x", "--declare"]);
    for signal in [Signal::TERM, Signal::INT] {
        broker.done(&["pub", "queue:s", "x"]);
        let running = broker.begin(&["sub", "queue:s"]);
        assert_eq!(running.line().unwrap().as_deref(), Some("x"));
        running.signal(signal).unwrap();
        let ended = running.end().unwrap();
        assert!(matches!(ended.code(), Some(0 | 130)), "{ended:?}");
    }
}

#[test]
fn sigterm_drains_and_ends_with_zero() {
    let mut broker = Broker::start();
    broker.done(&["pub", "queue:d", "kept", "--declare"]);
    // Idle connections, open deliveries and a half-sent command must not hold it up.
    let mut idle = broker.client();
    idle.line("SUB queue:d sub_id:s credit:10").unwrap();
    idle.message().unwrap();
    let mut half = broker.client();
    half.send(b"PUB queue:d 100\nhalf").unwrap();
    let silent = Client::raw(broker.address()).unwrap();
    let exit = broker.terminate(DRAINED_WITHIN);
    assert_eq!(exit.status.code(), Some(0), "{exit:?}");
    drop(silent);
    broker.start_again();
    assert_eq!(broker.done(&["sub", "queue:d", "--count", "1"]), "kept\n");
}

#[test]
fn serve_says_what_to_type_next() {
    let broker = Broker::start();
    let line = broker.server().stdout_line(Duration::from_secs(30)).unwrap().unwrap();
    assert!(line.contains("courant pub"), "{line:?}");
}

#[test]
fn a_second_broker_on_the_folder_is_refused() {
    let broker = Broker::start();
    let second = Server::start(&broker.data());
    let error = format!("{:#}", second.expect_err("two brokers on one folder"));
    assert!(error.contains("ended before it was ready"), "{error}");
    broker.done(&["pub", "queue:still", "there", "--declare"]);
    assert_eq!(broker.done(&["sub", "queue:still", "--count", "1"]), "there\n");
}
