//! What is typed, and what comes: literal bytes, over a socket, each on a broker of its own.

use courant::{Broker, Options};
use courant_doors::{Listening, NativeOptions, native};
use std::net::SocketAddr;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// No answer may take longer; far above what any of them takes.
const PATIENCE: Duration = Duration::from_secs(20);

async fn open() -> (Broker, Listening) {
    let broker = Broker::in_memory(Options::default()).expect("a broker in memory");
    let address = SocketAddr::from(([127, 0, 0, 1], 0));
    let options = NativeOptions { address, ..NativeOptions::default() };
    let listening = native::listen(broker.clone(), options).await.expect("a free port");
    (broker, listening)
}

/// Types all of it behind a CONNECT and before a QUIT, and reads what comes between their OKs.
async fn said(listening: &Listening, typed: &str) -> String {
    said_as(listening, "", typed).await
}

/// The same, with the JSON of the CONNECT.
async fn said_as(listening: &Listening, json: &str, typed: &str) -> String {
    let mut stream = TcpStream::connect(listening.local_addr()).await.expect("a connection");
    let all = format!("CONNECT {json}\n{typed}QUIT\n");
    stream.write_all(all.as_bytes()).await.expect("the door reads");
    let mut all = String::new();
    let read = tokio::time::timeout(PATIENCE, stream.read_to_string(&mut all)).await;
    read.expect("the door closes in time").expect("and in order");
    let inner = all.strip_prefix("OK\n").and_then(|rest| rest.strip_suffix("OK\n"));
    inner.unwrap_or(&all).to_owned()
}

/// Types line for line; each reply has to begin as said. The ids of messages are cut off.
async fn check(script: &[(&str, &str)]) {
    let (_broker, listening) = open().await;
    let typed: Vec<&str> = script.iter().flat_map(|(typed, _)| [*typed, "\n"]).collect();
    let typed = typed.concat();
    let all = said(&listening, &typed).await;
    let mut lines = all.lines();
    for (typed, expected) in script {
        for expected in expected.lines() {
            let line = lines.next().unwrap_or("nothing");
            let fits = match expected.strip_suffix('…') {
                Some(beginning) => line.starts_with(beginning),
                None => line == expected,
            };
            assert!(fits, "{typed}\n  should say {expected}\n  and says   {line}\nin\n{all}");
        }
    }
    assert_eq!(lines.next(), None, "{all}");
}

#[tokio::test(flavor = "multi_thread")]
async fn queues_have_policies() {
    check(&[
        ("DECLARE queue:q max_length:5 overflow:drop-oldest message_ttl:1000", "OK"),
        ("DECLARE queue:q max_length:5 overflow:drop-oldest message_ttl:1000 req:1", "OK req:1"),
        (
            "DECLARE queue:q max_length:6 overflow:drop-oldest",
            "ERR 205 declared-otherwise q exists…",
        ),
        ("DECLARE queue:q passive:yes", "OK ready:0 open:0 bytes:0 subscriptions:0"),
        ("DECLARE queue:no passive:yes", "ERR 201 no-such-queue queue no does not exist;…"),
        ("DECLARE queue:x exclusive:yes", "ERR 208 bad-policy…"),
        ("DECLARE queue:x exclusive:yes durable:no", "OK"),
        ("DELETE queue:q if_empty:yes if_unused:yes", "OK"),
        ("DELETE queue:q", "ERR 201 no-such-queue…"),
        ("DECLARE queue:q kind:topic", "ERR 103 bad-option…"),
        ("DECLARE namespace:team", "OK"),
        ("DECLARE namespace:team", "OK"),
    ])
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn exchanges_have_kinds_and_alternates() {
    check(&[
        ("DECLARE exchange:lost kind:fanout internal:yes", "OK"),
        ("DECLARE exchange:e kind:topic alternate:lost", "OK"),
        (
            "DECLARE exchange:e kind:topic",
            "ERR 205 declared-otherwise e exists with another alternate;…",
        ),
        ("DECLARE exchange:e kind:hash", "ERR 205 declared-otherwise e exists with another kind;…"),
        ("DECLARE exchange:f alternate:no", "ERR 203 no-such-exchange exchange no does not…"),
        ("PUB exchange:lost 0\n", "ERR 214 exchange-internal…"),
        ("DECLARE queue:q", "OK"),
        ("DECLARE queue:r", "OK"),
        ("BIND exchange:lost queue:q", "OK"),
        ("BIND exchange:e exchange:lost key:a.*", "OK"),
        ("BIND exchange:e queue:r key:#", "OK"),
        ("PUB exchange:e key:a.b 2\nhi", "OK msg_id:4000008 queues:2"),
        ("PUB exchange:e key:b 2\nhi", "OK msg_id:4000009"),
        ("DELETE exchange:e if_unused:yes", "ERR 213 exchange-in-use…"),
        ("UNBIND exchange:e exchange:lost key:a.*", "OK"),
        ("UNBIND exchange:e exchange:lost key:a.*", "ERR 209 no-such-binding…"),
        ("UNBIND exchange:e queue:r key:#", "OK"),
        ("DELETE exchange:e if_unused:yes", "OK"),
        ("BIND exchange:no queue:q", "ERR 203 no-such-exchange exchange no does…"),
        ("BIND topic:no queue:q", "ERR 202 no-such-topic topic no does…"),
        ("BIND exchange:lost queue:no", "ERR 201 no-such-queue queue no does…"),
        ("BIND exchange:lost exchange:no", "ERR 203 no-such-exchange exchange no does…"),
        ("BIND queue:q exchange:lost", "ERR 103 bad-option…"),
    ])
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn headers_and_weights_bind() {
    check(&[
        ("DECLARE exchange:h kind:headers", "OK"),
        ("DECLARE exchange:w kind:hash", "OK"),
        ("DECLARE queue:q", "OK"),
        ("BIND exchange:h queue:q match:all h:type=video hi:parts=2", "OK"),
        ("PUB exchange:h h:type=video hi:parts=2 h:more=x 0\n", "OK msg_id:4000005"),
        ("PUB exchange:h h:type=video h:parts=2 0\n", "OK msg_id:…"),
        (
            "PUB exchange:h h:type=video h:parts=2 mandatory:yes req:a 2\nhi",
            "RETURN exchange:h reason:unroutable req:a 2\n\
             hi\n\
             OK req:a msg_id:4000007 level:memory queues:0",
        ),
        (
            "PUB exchange:w key:a%20b mandatory:yes 2\nhi",
            "RETURN exchange:w key:a%20b reason:unroutable 2\n\
             hi\n\
             OK msg_id:4000008 level:memory queues:0",
        ),
        ("UNBIND exchange:h queue:q match:all hi:parts=2 h:type=video", "OK"),
        ("BIND exchange:w queue:q weight:10", "OK"),
        ("PUB exchange:w key:a mandatory:yes 0\n", "OK msg_id:400000b"),
        ("BIND exchange:w queue:q key:x", "ERR 212 bad-binding…"),
        ("DECLARE exchange:d kind:direct", "OK"),
        ("BIND exchange:d queue:q weight:5", "ERR 212 bad-binding…"),
        ("BIND exchange:d queue:q match:all h:a=b", "ERR 212 bad-binding…"),
        ("BIND exchange:h queue:q weight:5", "ERR 212 bad-binding…"),
        ("SUB exchange:h mode:live", "ERR 113 not-supported…"),
    ])
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn lists_come_in_pages_and_queues_are_purged() {
    check(&[
        ("DECLARE queue:b", "OK"),
        ("DECLARE queue:a%20a durable:no", "OK"),
        ("DECLARE exchange:e kind:topic", "OK"),
        (
            "LIST queues count:1",
            "ITEM queue:a%20a ready:0 open:0 bytes:0 subscriptions:0 durable:no\n\
             OK count:1 more:yes after:a%20a",
        ),
        (
            "LIST queues after:a%20a",
            "ITEM queue:b ready:0 open:0 bytes:0 subscriptions:0\nOK count:1",
        ),
        ("LIST queues after:b req:7", "OK req:7 count:0"),
        ("LIST exchanges", "ITEM exchange:e kind:topic bindings:0\nOK count:1"),
        ("LIST workers", "OK count:0"),
        ("BIND exchange:e queue:b key:x.*", "OK"),
        ("BIND exchange:e queue:a%20a key:x.*", "OK"),
        (
            "LIST bindings count:1",
            "ITEM from:e queue:b key:x.*\nOK count:1 more:yes after:e%0A782e2a%0Aq0",
        ),
        ("LIST bindings after:e%0A782e2a%0Aq0", "ITEM from:e queue:a%20a key:x.*\nOK count:1"),
        ("LIST bindings after:e", "OK count:0"),
        ("LIST bindings after:e%0Azz%0Aq0", "ERR 103 bad-option…"),
        ("DECLARE namespace:team", "OK"),
        ("LIST namespaces count:1", "ITEM namespace:/\nOK count:1 more:yes after:/"),
        ("LIST namespaces after:/", "ITEM namespace:team\nOK count:1"),
        ("LIST cats", "ERR 102 missing-field…"),
        ("PUB queue:b 1\n1", "OK msg_id:…"),
        ("DECLARE queue:other", "OK"),
        ("PURGE queue:b", "OK messages:1"),
        ("PURGE queue:no", "ERR 201 no-such-queue…"),
        ("PURGE topic:b", "ERR 103 bad-option…"),
    ])
    .await;
}

/// What can be said of one thing, and what belongs to it.
#[tokio::test(flavor = "multi_thread")]
async fn one_thing_is_shown_as_in_its_list() {
    check(&[
        ("DECLARE exchange:lost kind:fanout internal:yes", "OK"),
        ("DECLARE exchange:e kind:topic alternate:lost auto_delete:yes", "OK"),
        ("DECLARE queue:q max_length:2 overflow:drop-oldest", "OK"),
        ("DECLARE queue:r", "OK"),
        ("BIND exchange:e queue:q key:x.*", "OK"),
        ("BIND exchange:e queue:r key:y", "OK"),
        ("BIND exchange:lost exchange:e", "OK"),
        (
            "STATS queue:q",
            "OK ready:0 open:0 bytes:0 subscriptions:0 max_length:2 overflow:drop-oldest",
        ),
        ("STATS exchange:e", "OK kind:topic bindings:2 auto_delete:yes alternate:lost"),
        ("STATS exchange:lost req:1", "OK req:1 kind:fanout bindings:1 internal:yes"),
        ("STATS queue:no", "ERR 201 no-such-queue queue no does…"),
        ("STATS topic:no", "ERR 202 no-such-topic topic no does…"),
        ("LIST bindings queue:q", "ITEM from:e queue:q key:x.*\nOK count:1"),
        (
            "LIST bindings exchange:e count:2",
            "ITEM from:e queue:q key:x.*\nITEM from:e queue:r key:y\nOK count:2 more:yes after:e",
        ),
        ("LIST bindings exchange:e after:e", "ITEM from:lost exchange:e\nOK count:1"),
        ("LIST bindings exchange:no", "ERR 203 no-such-exchange exchange no does…"),
        ("LIST subscriptions queue:no", "ERR 201 no-such-queue queue no does…"),
        ("LIST queues queue:q", "ERR 103 bad-option…"),
        ("DECLARE queue:mine exclusive:yes durable:no", "OK"),
        (
            "STATS queue:mine",
            "OK ready:0 open:0 bytes:0 subscriptions:0 durable:no exclusive:yes owner:0.0",
        ),
        ("STATS", "OK published:0 …"),
    ])
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sessions_and_subscriptions_are_listed() {
    let (_broker, listening) = open().await;
    let mut other = TcpStream::connect(listening.local_addr()).await.expect("a connection");
    let typed = "CONNECT {\"client_id\":\"worker 1\"}\n\
        DECLARE queue:q\nDECLARE exchange:t kind:topic\nPUB queue:q 2\nhi\n\
        SUB queue:q sub_id:w credit:5 credit_bytes:100\n\
        SUB exchange:t key:a.# sub_id:own ack:auto\n\
        SUB exchange:t key:b.* mode:live sub_id:now\n\
        PING\n";
    other.write_all(typed.as_bytes()).await.expect("the door reads");
    let mut seen = Vec::new();
    while ["\nhi\n", "PONG\n"].iter().any(|end| !String::from_utf8_lossy(&seen).contains(end)) {
        let read = tokio::time::timeout(PATIENCE, other.read_buf(&mut seen)).await;
        assert!(read.expect("in time").expect("a byte") > 0, "{seen:?}");
    }
    let script = "LIST sessions count:1\nLIST sessions after:0\nLIST sessions after:x\n\
        LIST subscriptions\nLIST subscriptions after:l\nLIST subscriptions count:1\n\
        LIST subscriptions exchange:t after:0\nLIST subscriptions queue:q\n\
        LIST subscriptions after:l0\nLIST subscriptions after:m\n";
    let all = said(&listening, script).await;
    // These differ from run to run.
    let mut lines = all.lines().map(|line| {
        let words = line.split(' ').map(|word| match word.split_once(':') {
            Some(("since", ms)) if ms.parse::<u64>().is_ok_and(|ms| ms > 1 << 40) => "since:T",
            Some(("held_bytes", _)) => "held_bytes:N",
            _ => word,
        });
        words.collect::<Vec<_>>().join(" ")
    });
    let on_queue = "ITEM session:0.0 sub_id:w mode:queue queue:q credit:5 open:1 open_bytes:6 \
                    credit_bytes:100 client_id:worker%201";
    let own = "ITEM session:0.0 sub_id:own mode:session exchange:t credit:256 open:0 \
               open_bytes:0 ack:auto key:a.# client_id:worker%201";
    let live = "ITEM session:0.0 sub_id:now mode:live exchange:t key:b.* client_id:worker%201";
    for expected in [
        "ITEM session:0.0 door:text source:127.0.0.1 since:T subscriptions:3 \
         open:1 open_bytes:6 held_bytes:N client_id:worker%201",
        "OK count:1 more:yes after:0",
        "ITEM session:1.0 door:text source:127.0.0.1 since:T subscriptions:0 \
         open:0 open_bytes:0 held_bytes:N",
        "OK count:1",
        "ERR 103 bad-option…",
        on_queue,
        own,
        "OK count:2 more:yes after:l",
        live,
        "OK count:1",
        on_queue,
        "OK count:1 more:yes after:0",
        own,
        "OK count:1 more:yes after:l",
        on_queue,
        "OK count:1",
        "OK count:0",
        "ERR 103 bad-option…",
    ] {
        let line = lines.next().unwrap_or_default();
        let fits = match expected.strip_suffix('…') {
            Some(beginning) => line.starts_with(beginning),
            None => line == expected,
        };
        assert!(fits, "should say {expected}\nand says   {line}\nin\n{all}");
    }
    assert_eq!(lines.next(), None, "{all}");
}

#[tokio::test(flavor = "multi_thread")]
async fn lives_follow_patterns() {
    check(&[
        ("DECLARE exchange:t kind:topic", "OK"),
        ("SUB exchange:t mode:live key:a.* sub_id:x", "OK"),
        (
            "PUB exchange:t key:a.b mandatory:yes 2\nhi",
            "MSG exchange:t sub_id:x key:a.b 2\nhi\nOK …",
        ),
        (
            "PUB exchange:t key:b mandatory:yes 1\n!",
            "RETURN exchange:t key:b reason:unroutable 1\n!\nOK …",
        ),
    ])
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn time_to_live_credit_and_names_given() {
    check(&[
        ("DECLARE queue: exclusive:yes durable:no", "OK queue:$q.…"),
        ("DECLARE queue:q max_length:1", "OK"),
        (
            "DECLARE queue:q max_length:2",
            "ERR 205 declared-otherwise q exists with another max_length;…",
        ),
        ("PUB queue:q ttl:100000 1\n1", "OK msg_id:…"),
        ("PUB queue:q 1\n2", "ERR 403 queue-full…"),
        ("CREDIT n:1 bytes:5", "OK"),
        ("SUB queue:q sub_id:s credit:0 credit_bytes:10", "OK"),
    ])
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn subscribers_are_declared_and_deleted() {
    check(&[
        ("DECLARE topic:t name:s", "ERR 202 no-such-topic topic t does…"),
        ("DECLARE topic:t", "OK"),
        ("DECLARE topic:t name:s max_length:9", "OK"),
        ("DECLARE topic:t name:s max_length:8", "ERR 205 declared-otherwise t/s exists…"),
        ("PUB topic:t 2\nhi", "OK msg_id:…"),
        // Waits for the disk, behind the message.
        ("DECLARE queue:other", "OK"),
        ("DECLARE topic:t name:s passive:yes", "OK ready:1 open:0…"),
        ("SUB topic:t name:s sub_id:a credit:0", "OK"),
        ("DECLARE topic:t name:n passive:yes", "ERR 215 no-such-subscriber…"),
        ("DELETE topic:t name:s if_empty:yes", "ERR 206 queue-not-empty…"),
        ("DELETE topic:t name:s if_unused:yes", "ERR 207 queue-in-use…"),
        ("UNSUB sub_id:a", "OK"),
        ("DELETE topic:t name:s", "OK"),
        ("DELETE topic:t name:s", "ERR 215 no-such-subscriber…"),
        ("DELETE topic:t", "OK"),
    ])
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn typed_headers_reach_the_consumer() {
    check(&[
        ("DECLARE queue:q", "OK"),
        ("PUB queue:q hi:n=-5 h:t=a%20b hb:b=no hn:z= 2\nhi", "OK msg_id:…"),
        ("PUB queue:q hi:n=5.5 2\nhi", "ERR 103 bad-option…"),
        ("PUB queue:q hb:n=true 0\n", "ERR 103 bad-option…"),
    ])
    .await;
    let (_broker, listening) = open().await;
    let typed = "DECLARE queue:q\nPUB queue:q hi:n=-5 h:t=a%20b hb:b=no hn:z= 2\nhi\n\
                 DECLARE queue:other\nGET queue:q\n";
    let said = said(&listening, typed).await;
    assert!(said.contains(" hi:n=-5 h:t=a%20b hb:b=no hn:z= 2\nhi\nOK count:1\n"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn namespaces_keep_names_apart() {
    let (_broker, listening) = open().await;
    assert_eq!(said(&listening, "DECLARE namespace:team\nDECLARE queue:q\n").await, "OK\nOK\n");
    let team = r#"{"namespace":"team"}"#;
    let there = said_as(&listening, team, "DECLARE queue:q passive:yes\n").await;
    assert!(there.starts_with("ERR 201 no-such-queue "), "{there}");
    assert_eq!(said_as(&listening, team, "DECLARE queue:q max_length:1\n").await, "OK\n");
    let other = said_as(&listening, r#"{"namespace":"other"}"#, "").await;
    assert!(other.starts_with("ERR 204 no-such-namespace namespace other "), "{other}");
}
