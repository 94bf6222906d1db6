//! The binary door over a socket: what is sent as frames, and what comes, told in short.

#![allow(clippy::unwrap_used, reason = "a test may panic, in its helpers too")]

mod client;
mod cuts;

use client::{
    Client, EXCHANGE, PATIENCE, QUEUE, TOPIC, listen, open, open_with, publish, subscription, text,
    to,
};
use courant_wire::binary::{
    Get, Header, Property, PublishHead, Subscribe, Value, Verdict, request,
};
use courant_wire::text::Confirm;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

#[tokio::test(flavor = "multi_thread")]
async fn what_is_published_is_delivered_settled_and_gone() {
    let (_broker, listening) = open().await;
    let mut client = Client::new(&listening).await;
    client.line("DECLARE queue:q").await;
    client.publishes(2, to(QUEUE, "q", ""), &["a", "b", "c"]).await;
    client.hears(&["CONFIRM 2:0+3 committed 1 id"]).await;
    client.subscribes(9, QUEUE, "q", false).await;
    client.hears(&["DELIVER 9 a b c"]).await;
    let handles = client.handles.clone();
    client.settles(3, Verdict::Nack, &handles[..1]).await;
    client.hears(&["DELIVER 9 a/2", "OK 3 1"]).await;
    let again = client.handles[3];
    client.settles(4, Verdict::Ack, &[handles[0], handles[1], again, handles[1]]).await;
    client.hears(&["REFUSED 4:0+1 502", "REFUSED 4:3+1 502", "OK 4 2"]).await;
    // Without a number only what is wrong is told.
    client.settles(0, Verdict::Reject, &[handles[2]]).await;
    client.settles(0, Verdict::Reject, &[handles[2]]).await;
    client.hears(&["REFUSED 0:0+1 502"]).await;
    client.says(|out| request::unsubscribe(out, 5, 9)).await;
    client.says(|out| request::unsubscribe(out, 6, 9)).await;
    client.hears(&["OK 5 0", "REFUSED 6:0+0 500"]).await;
    client.line("STATS queue:q").await;
    client.says(|out| request::quit(out, 7)).await;
    client.hears(&["OK 7 0", "end"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn levels_and_lifetimes_are_as_asked() {
    let (_broker, listening) = open().await;
    let mut client = Client::new(&listening).await;
    client.line("DECLARE queue:q").await;
    client.line("DECLARE topic:t").await;
    let head = to(QUEUE, "q", "");
    // One write: all of them are one batch.
    client
        .says(|out| {
            publish(out, 2, PublishHead { confirm: Confirm::Written, ..head }, &["a"]);
            publish(out, 3, PublishHead { confirm: Confirm::Memory, ..head }, &["b", "c"]);
            publish(out, 4, PublishHead { is_transient: true, ..head }, &["d"]);
            publish(out, 0, head, &["e"]);
            publish(out, 5, to(TOPIC, "t", ""), &["f", "g"]);
            publish(out, 6, head, &["h"]);
        })
        .await;
    let mut told = String::new();
    while !told.contains("6:0+1") {
        told += &client.told().await.replace("CONFIRM", "");
    }
    let expected = " 2:0+1 written 1 id 3:0+2 memory 1 id 4:0+1 memory 1 id 5:0+2 memory 0 none";
    let expected = [expected, " 6:0+1 committed 1 id"].concat();
    assert_eq!(told.replace("0 id", "0 none"), expected);
    client.line("STATS queue:q").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn live_messages_come_with_what_is_said_of_them_to_both_doors() {
    let (_broker, listening) = open().await;
    let mut client = Client::new(&listening).await;
    let mut typist = TcpStream::connect(listening.local_addr()).await.unwrap();
    let typed = "CONNECT {\"verbose\":false}\nDECLARE exchange:e kind:topic req:1\n\
                 SUB exchange:e key:# mode:live sub_id:s req:2\n";
    typist.write_all(typed.as_bytes()).await.unwrap();
    let mut lines = Lines(typist, Vec::new());
    lines.read(&["OK", "OK req:1", "OK req:2"]).await;
    let subscribe = subscription(4, to(EXCHANGE, "e", "a.*").destination, true);
    client.says(|out| request::subscribe(out, 2, &subscribe).unwrap()).await;
    client.hears(&["OK 2"]).await;
    client
        .says(|out| {
            publish(out, 0, to(EXCHANGE, "e", "a.b"), &["one", "two"]);
            let head = PublishHead { has_properties: true, ..to(EXCHANGE, "e", "a.c") };
            let frame = request::begin_publish(out, 0, &head).unwrap();
            let said = |out: &mut Vec<u8>| {
                Property::ContentType("text/plain").write(out);
                Property::Header(Header { name: "n", value: Value::Int(5) }).write(out);
                Property::TimeToLive(60_000).write(out);
            };
            request::message_with(out, said, b"three").unwrap();
            request::message_with(out, |_| {}, b"four").unwrap();
            frame.end(out);
        })
        .await;
    client
        .hears(&[
            "LIVE 4 one (a.b [])",
            "LIVE 4 two (a.b [])",
            "LIVE 4 three (a.c [Header(Header { name: \"n\", value: Int(5) }), ContentType(",
            "LIVE 4 four (a.c [])",
        ])
        .await;
    lines
        .read(&[
            "MSG exchange:e sub_id:s key:a.b 3",
            "one",
            "MSG exchange:e sub_id:s key:a.b 3",
            "two",
            "MSG exchange:e sub_id:s key:a.c hi:n=5 content_type:text/plain 5",
            "three",
            "MSG exchange:e sub_id:s key:a.c 4",
            "four",
        ])
        .await;
    lines.0.write_all(b"PUB exchange:e key:a.z h:x=y 2\nhi\n").await.unwrap();
    client.hears(&["LIVE 4 hi (a.z [Header(Header { name: \"x\", value: Text(\"y\") })])"]).await;
}

/// A connection that reads lines.
struct Lines(TcpStream, Vec<u8>);

impl Lines {
    async fn read(&mut self, expected: &[&str]) {
        for expected in expected {
            while !self.1.contains(&b'\n') {
                let read = tokio::time::timeout(PATIENCE, self.0.read_buf(&mut self.1)).await;
                assert!(matches!(read, Ok(Ok(1..))), "the end, not {expected}");
            }
            let end = self.1.iter().position(|byte| *byte == b'\n').unwrap();
            let line: Vec<u8> = self.1.drain(..=end).collect();
            assert_eq!(text(&line).trim_end(), *expected);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_queue_hands_over_properties_and_where_it_came_from() {
    let (_broker, listening) = open().await;
    let mut client = Client::new(&listening).await;
    for line in ["DECLARE queue:q", "DECLARE exchange:e", "BIND exchange:e queue:q key:k"] {
        client.line(line).await;
    }
    client.publishes(2, to(EXCHANGE, "e", "k"), &["routed"]).await;
    client.hears(&["CONFIRM 2:0+1 committed 1 id"]).await;
    let head = PublishHead { has_properties: true, ..to(QUEUE, "q", "") };
    let all = [
        Property::CorrelationId(b"\0\xff"),
        Property::ReplyTo("there"),
        Property::Timestamp(7),
        Property::AppId("app"),
        Property::Header(Header { name: "f", value: Value::Float(0.5) }),
        Property::Header(Header { name: "b", value: Value::Bytes(b"\x01") }),
        Property::Header(Header { name: "t", value: Value::Time(9) }),
        Property::Header(Header { name: "n", value: Value::Null }),
        Property::Header(Header { name: "y", value: Value::Bool(true) }),
    ];
    client
        .says(|out| {
            let frame = request::begin_publish(out, 3, &head).unwrap();
            let said = |out: &mut Vec<u8>| all.iter().for_each(|property| property.write(out));
            request::message_with(out, said, b"said").unwrap();
            frame.end(out);
        })
        .await;
    client.hears(&["CONFIRM 3:0+1 committed 1 id"]).await;
    let get = Get { is_auto: true, count: 10, destination: to(QUEUE, "q", "").destination };
    client.says(|out| request::get(out, 4, &get).unwrap()).await;
    client.says(|out| request::get(out, 5, &get).unwrap()).await;
    let came = client.told().await;
    assert!(came.starts_with("DELIVER 0 routed (e k []) said ( q ["), "{came}");
    for property in all {
        assert!(came.contains(&format!("{property:?}")), "{property:?} in {came}");
    }
    assert!(client.handles.iter().all(|handle| handle.lease.is_none()));
    client.hears(&["OK 4 2", "REFUSED 5:0+0 402 Nothing"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_reaches_nobody_comes_back_before_its_confirm() {
    let (_broker, listening) = open().await;
    let mut client = Client::new(&listening).await;
    for line in ["DECLARE queue:q", "DECLARE exchange:e", "BIND exchange:e queue:q key:k"] {
        client.line(line).await;
    }
    let mandatory = |key| PublishHead { is_mandatory: true, ..to(EXCHANGE, "e", key) };
    client
        .says(|out| {
            publish(out, 2, mandatory("k"), &["kept"]);
            publish(out, 3, mandatory("no"), &["lost", "too"]);
            publish(out, 0, mandatory("no"), &["silent"]);
            publish(out, 4, to(EXCHANGE, "e", "no"), &["dropped"]);
        })
        .await;
    client
        .hears(&[
            "CONFIRM 2:0+1 committed 1 id",
            "RETURN 3:0 unroutable lost (e no [])",
            "RETURN 3:1 unroutable too (e no [])",
            "CONFIRM 3:0+2 memory 0",
            "RETURN 0:0 unroutable silent (e no [])",
            "CONFIRM 4:0+1 memory 0",
        ])
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_are_refused_one_by_one() {
    let (_broker, listening) = open().await;
    let mut client = Client::new(&listening).await;
    client.line("DECLARE queue:q max_length:2 max_message_bytes:3").await;
    client.publishes(2, to(QUEUE, "q", ""), &["a", "long", "longer", "b", "c", "d"]).await;
    client
        .hears(&[
            "CONFIRM 2:0+1",
            "REFUSED 2:1+2 404 Nothing",
            "CONFIRM 2:3+1",
            "REFUSED 2:4+2 403 Nothing",
        ])
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_frame_that_waits_for_room_goes_on_where_it_stopped() {
    let (_broker, listening) = open().await;
    let mut client = Client::new(&listening).await;
    client.line("DECLARE queue:q max_length:1 overflow:block").await;
    client.subscribes(1, QUEUE, "q", false).await;
    client
        .says(|out| {
            publish(out, 2, to(QUEUE, "q", ""), &["a", "b", "c"]);
            publish(out, 3, to(QUEUE, "q", ""), &["d"]);
        })
        .await;
    let mut confirmed = Vec::new();
    for expected in ["DELIVER 1 a", "DELIVER 1 b", "DELIVER 1 c", "DELIVER 1 d"] {
        loop {
            let told = client.told().await;
            if told == expected {
                break;
            }
            assert!(told.starts_with("CONFIRM"), "{told}");
            confirmed.push(told);
        }
        let handle = *client.handles.last().unwrap();
        client.settles(0, Verdict::Ack, &[handle]).await;
    }
    client.says(|out| request::ping(out, 8)).await;
    loop {
        let told = client.told().await;
        if told == "PONG 8" {
            break;
        }
        confirmed.push(told);
    }
    let confirmed = confirmed.concat().replace("CONFIRM", "").replace(" committed 1 id", "");
    assert_eq!(confirmed, " 2:0+1 2:1+1 2:2+1 3:0+1");
}

#[tokio::test(flavor = "multi_thread")]
async fn settles_are_read_behind_a_large_frame_that_waits() {
    let (_broker, listening) = open().await;
    let mut client = Client::new(&listening).await;
    client.line("DECLARE queue:q max_length:1 overflow:block").await;
    client.subscribes(1, QUEUE, "q", false).await;
    let large = "x".repeat(400_000);
    client.publishes(0, to(QUEUE, "q", ""), &[&large, &large, &large, "end"]).await;
    for _ in 0..3 {
        client.hears(&["DELIVER 1 xxxx"]).await;
        let handle = *client.handles.last().unwrap();
        client.settles(0, Verdict::Ack, &[handle]).await;
    }
    client.hears(&["DELIVER 1 end"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_being_read_from_disk_when_a_subscription_ends_is_not_lost() {
    let folder = tempfile::tempdir().unwrap();
    let broker = courant::Broker::open(folder.path(), courant::Options::default()).await.unwrap();
    let listening = listen(&broker).await;
    let mut client = Client::new(&listening).await;
    client.line("DECLARE queue:q").await;
    let bodies: Vec<String> = (0..500).map(|number| format!("{number:03}")).collect();
    let payloads: Vec<&str> = bodies.iter().map(String::as_str).collect();
    client.publishes(2, to(QUEUE, "q", ""), &payloads).await;
    client.hears(&["CONFIRM 2:0+500 committed"]).await;
    listening.stop(std::time::Duration::from_secs(5)).await;
    broker.close().await.unwrap();
    let broker = courant::Broker::open(folder.path(), courant::Options::default()).await.unwrap();
    let listening = listen(&broker).await;
    let mut client = Client::new(&listening).await;
    let wanted = subscription(1, to(QUEUE, "q", "").destination, false);
    let wanted = Subscribe { is_auto: true, credit: Some(300), ..wanted };
    client
        .says(|out| {
            request::subscribe(out, 3, &wanted).unwrap();
            request::unsubscribe(out, 4, 1);
            request::quit(out, 5);
        })
        .await;
    let (mut all, mut told) = (String::new(), String::new());
    while told != "end" {
        all += told.strip_prefix("DELIVER 1").unwrap_or_default();
        told = client.told().await;
    }
    assert!(!all.is_empty(), "nothing was on its way");
    let mut client = Client::new(&listening).await;
    let get = Get { is_auto: true, count: 1024, destination: to(QUEUE, "q", "").destination };
    client.says(|out| request::get(out, 6, &get).unwrap()).await;
    all += client.told().await.strip_prefix("DELIVER 0").unwrap_or_default();
    let mut came: Vec<&str> = all.split_whitespace().collect();
    came.sort_unstable();
    assert_eq!(came, payloads);
}

#[tokio::test(flavor = "multi_thread")]
async fn publishers_are_told_of_alarms() {
    let short = |memory_max_bytes| courant::Limits { memory_max_bytes, ..Default::default() };
    let options = courant::Options { limits: short(1), ..Default::default() };
    let (broker, listening) = open_with(options).await;
    let mut client = Client::new(&listening).await;
    client.publishes(2, to(QUEUE, "q", ""), &["a", "b"]).await;
    client.hears(&["BLOCKED memory", "REFUSED 2:0+2 613 Nothing memory is short"]).await;
    broker.set_limits(short(1 << 50));
    client.hears(&["UNBLOCKED"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn lines_are_answered_as_in_text() {
    let (_broker, listening) = open().await;
    let mut client = Client::new(&listening).await;
    client.line("DECLARE queue:a").await;
    client.line("DECLARE queue:b max_length:5").await;
    let say = |line: &'static str| move |out: &mut Vec<u8>| request::line(out, 6, line.as_bytes());
    client.says(say("LIST queues")).await;
    client.hears(&["ITEM 6 queue:a ", "ITEM 6 queue:b ", "OK 6 0 count:2"]).await;
    client.says(say("PURGE queue:a")).await;
    client.hears(&["OK 6 0 messages:0"]).await;
    client.says(say("DECLARE queue:b")).await;
    client.hears(&["REFUSED 6:0+0 205 Nothing b exists with another"]).await;
    client.says(say("DECLARE queue:b nonsense:1")).await;
    client.hears(&["REFUSED 6:0+0 103 Nothing"]).await;
    client.says(say("PUB queue:b 2")).await;
    client.hears(&["REFUSED 6:0+0 113 Nothing"]).await;
    client.says(say("NONSENSE")).await;
    client.hears(&["REFUSED 6:0+0 101 Nothing"]).await;
    // Its end is known: nothing has to close.
    client.says(|out| request::line(out, 6, &[b'x'; 5000])).await;
    client.hears(&["REFUSED 6:0+0 100 Nothing"]).await;
    // With number 0 nothing but a refusal is told.
    client.says(|out| request::line(out, 0, b"DELETE queue:a")).await;
    client.says(|out| request::line(out, 0, b"DELETE queue:a")).await;
    client.hears(&["REFUSED 0:0+0 201 Nothing"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn subscriptions_have_numbers_and_ends() {
    let (_broker, listening) = open().await;
    let mut client = Client::new(&listening).await;
    client.line("DECLARE queue:q").await;
    client.line("DECLARE topic:t").await;
    let queue = subscription(1, to(QUEUE, "q", "").destination, false);
    let queue = Subscribe { credit: Some(1), ..queue };
    client.says(|out| request::subscribe(out, 2, &queue).unwrap()).await;
    client.says(|out| request::subscribe(out, 3, &queue).unwrap()).await;
    client.hears(&["OK 2", "REFUSED 3:0+0 501"]).await;
    let no = subscription(2, to(TOPIC, "no", "").destination, false);
    client.says(|out| request::subscribe(out, 4, &no).unwrap()).await;
    client.hears(&["REFUSED 4:0+0 202"]).await;
    client.publishes(0, to(QUEUE, "q", ""), &["a", "b", "c"]).await;
    client.hears(&["DELIVER 1 a"]).await;
    client.says(|out| request::credit(out, 5, 1, 1, 0)).await;
    client.hears(&["DELIVER 1 b", "OK 5"]).await;
    let durable =
        Subscribe { subscriber: b"me", ..subscription(2, to(TOPIC, "t", "").destination, false) };
    client.says(|out| request::subscribe(out, 6, &durable).unwrap()).await;
    client.hears(&["OK 6"]).await;
    client.publishes(0, to(TOPIC, "t", ""), &["x", "y"]).await;
    client.hears(&["DELIVER 2 x y"]).await;
    client.says(|out| request::line(out, 0, b"DELETE queue:q")).await;
    client.hears(&["CANCEL 1 "]).await;
    client.says(|out| request::credit(out, 7, 1, 1, 0)).await;
    client.hears(&["REFUSED 7:0+0 500"]).await;
    client.says(|out| request::line(out, 8, b"LIST subscriptions")).await;
    client.hears(&["ITEM 8 session:0.0 sub_id:2 mode:queue queue:t/me credit:", "OK 8 0"]).await;
    client.says(|out| request::line(out, 9, b"LIST sessions")).await;
    client.hears(&["ITEM 9 session:0.0 door:binary source:127.0.0.1 since:", "OK 9 0"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_command_costs_itself_and_a_length_beyond_the_limit_the_connection() {
    let (_broker, listening) = open().await;
    let mut client = Client::new(&listening).await;
    client.line("DECLARE queue:q").await;
    client.says(|out| out.extend_from_slice(b"\x7f\0\0\0\x04\0\0\0\x09")).await;
    client.hears(&["REFUSED 9:0+0 101 Nothing"]).await;
    client.says(|out| out.extend_from_slice(b"\x04\0\0\0\x05\0\0\0\x09x")).await;
    client.hears(&["REFUSED 9:0+0 117 Nothing"]).await;
    client.says(|out| request::connect(out, 10, b"")).await;
    client.hears(&["REFUSED 10:0+0 109 Nothing"]).await;
    client.publishes(11, to(QUEUE, "q\0", ""), &["a"]).await;
    client.hears(&["REFUSED 11:0+0 200 Nothing"]).await;
    // Between two that are good, and told in their order.
    client
        .says(|out| {
            publish(out, 12, to(QUEUE, "q", ""), &["a"]);
            out.extend_from_slice(b"\x01\0\0\0\x05\0\0\0\x0d\xff");
            publish(out, 14, to(QUEUE, "q", ""), &["b"]);
        })
        .await;
    client.hears(&["CONFIRM 12:0+1", "REFUSED 13:0+0 117 Nothing", "CONFIRM 14:0+1"]).await;
    client.says(|out| out.extend_from_slice(b"\x01\xff\xff\xff\xff")).await;
    client.hears(&["REFUSED 0:0+0 118 Connection", "end"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_does_not_begin_with_connect_is_closed() {
    let (_broker, listening) = open().await;
    for (bytes, refused) in [
        (&b"\x04\0\0\0\x04\0\0\0\x09"[..], "REFUSED 0:0+0 108 Connection"),
        (b"\x05\0\0\0\x05\0\0\0\x09\x02", "REFUSED 0:0+0 110 Connection"),
        (b"\x05\0\0\0\x06\0\0\0\x09\x01{", "REFUSED 0:0+0 106 Connection"),
        (b"\x05\0\0\x10\x01", "REFUSED 0:0+0 118 Connection"),
        (b"\x05\0\0\0\x04\0\0\0\x09", "REFUSED 0:0+0 117 Connection"),
        (b"\x05\0\0\0\x12\0\0\0\x09\x01{\"token\":\"x\"}", "REFUSED 9:0+0 3"),
    ] {
        let mut client = Client::raw(&listening).await;
        client.says(|out| out.extend_from_slice(bytes)).await;
        client.hears(&[refused, "end"]).await;
    }
}
