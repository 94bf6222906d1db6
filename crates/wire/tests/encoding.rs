//! Frames out as literal bytes, and what a client makes of them.

#![allow(clippy::unwrap_used, reason = "a test may panic, in its helpers too")]

use courant_wire::text::reply::{self, ErrReply, Published, Returned};
use courant_wire::text::{
    Confirm, DecodedReply, DestinationKind, HeaderField, HeaderForm, Line, Login, Reply,
    ReplyError, Verb, decode_reply, request,
};
use courant_wire::{Handle, Limits, MessageId};

fn written(write: impl FnOnce(&mut Vec<u8>)) -> String {
    let mut out = Vec::new();
    write(&mut out);
    String::from_utf8_lossy(&out).into_owned()
}

fn decode(input: &[u8]) -> Reply<'_> {
    match decode_reply(input, &Limits::DEFAULT) {
        DecodedReply::Reply { reply, consumed } if consumed == input.len() => reply,
        other => panic!("{other:?}"),
    }
}

#[test]
fn confirms() {
    let id = MessageId { shard: 0, seq: 1000 };
    let mut confirm = Published { id, level: Confirm::Committed, queues: 1, duplicates: None };
    assert_eq!(written(reply::ok), "OK\n");
    assert_eq!(written(|out| reply::ok_req(out, b"7")), "OK req:7\n");
    assert_eq!(written(|out| reply::published(out, None, &confirm)), "OK msg_id:z8\n");
    confirm.level = Confirm::Memory;
    confirm.queues = 0;
    confirm.duplicates = Some(MessageId { shard: 0, seq: 1 });
    assert_eq!(
        written(|out| reply::published(out, Some(b"r"), &confirm)),
        "OK req:r msg_id:z8 level:memory queues:0 duplicates:1\n"
    );
}

#[test]
fn refusals() {
    let mut refusal = ErrReply {
        number: 404,
        name: "queue_not_found",
        sentence: "There is no queue\nhere.",
        req: None,
        command: None,
    };
    let plain = written(|out| reply::err(out, &refusal));
    assert_eq!(plain, "ERR 404 queue_not_found There is no queue here.\n");
    refusal.req = Some(b"7");
    refusal.command = Some((Verb::Pub, 12));
    let full = written(|out| reply::err(out, &refusal));
    let head = "ERR 404 queue_not_found req:7 verb:PUB ordinal:12";
    assert_eq!(full, format!("{head} There is no queue here.\n"));
    let Reply::Err { number, name, fields, sentence } = decode(full.as_bytes()) else { panic!() };
    assert_eq!(
        (number, name, sentence),
        (404, &b"queue_not_found"[..], &b"There is no queue here."[..])
    );
    assert_eq!(fields.get("req").unwrap().raw(), b"7");
    assert_eq!(fields.number("ordinal"), Some(12));
    let Reply::Err { sentence, fields, .. } = decode(plain.as_bytes()) else { panic!() };
    assert_eq!(sentence, b"There is no queue here.");
    assert_eq!(fields.iter().count(), 0);
    let long = "é".repeat(5000);
    refusal.sentence = &long;
    assert!(written(|out| reply::err(out, &refusal)).len() < 1100);
}

#[test]
fn messages() {
    let handle = Handle { id: MessageId { shard: 0, seq: 31 }, lease: Some(32) };
    let prefix = written(|out| reply::msg_prefix(out, b"topic:events", Some(b"s1"), None));
    let plain = written(|out| reply::msg(out, prefix.as_bytes(), handle, b"hello"));
    assert_eq!(plain, "MSG topic:events sub_id:s1 msg_id:z.10 5\nhello\n");
    let full = written(|out| {
        Line::msg(out, prefix.as_bytes(), handle)
            .number("attempt", 2)
            .token("redelivered", b"maybe")
            .text("key", b"a b")
            .header(b"k=1", b"=%\xc3\xa9")
            .end_with_body(b"");
    });
    assert_eq!(
        full,
        "MSG topic:events sub_id:s1 msg_id:z.10 attempt:2 redelivered:maybe key:a%20b \
         h:k%3D1==%25\u{e9} 0\n\n"
    );
    let Reply::Msg { fields, body, .. } = decode(full.as_bytes()) else { panic!() };
    assert_eq!(fields.handle(), Some(handle));
    assert_eq!(fields.number("attempt"), Some(2));
    assert!(body.is_empty());
    let HeaderField { name, value, .. } = fields.headers().next().unwrap();
    assert_eq!(name.bytes(&mut Vec::new()), Ok(&b"k=1"[..]));
    assert_eq!(value.bytes(&mut Vec::new()), Ok(&b"=%\xc3\xa9"[..]));
    let got = written(|out| reply::msg_prefix(out, b"queue:q", None, Some(b"7")));
    assert_eq!(got, "MSG queue:q req:7 msg_id:");
}

#[test]
fn live_messages() {
    let prefix = written(|out| reply::live_prefix(out, b"topic:x", None));
    let body = [b'b'; 100];
    let frame = written(|out| reply::live_msg(out, prefix.as_bytes(), &body));
    assert_eq!(frame, format!("MSG topic:x 100\n{}\n", "b".repeat(100)));
    let prefix = written(|out| reply::live_prefix(out, b"topic:x", Some(b"s")));
    let frame = written(|out| reply::live_msg(out, prefix.as_bytes(), b"1"));
    assert_eq!(frame, "MSG topic:x sub_id:s 1\n1\n");
    let Reply::Msg { fields, body, .. } = decode(frame.as_bytes()) else { panic!() };
    assert_eq!((fields.get("sub_id").unwrap().raw(), body), (&b"s"[..], &b"1"[..]));
    assert_eq!(fields.handle(), None);
}

#[test]
fn notices() {
    assert_eq!(written(reply::ping), "PING\n");
    assert_eq!(written(|out| reply::pong(out, None)), "PONG\n");
    assert_eq!(written(|out| reply::pong(out, Some(b"7"))), "PONG req:7\n");
    let cancel = written(|out| reply::cancel(out, b"s1", "queue_deleted"));
    assert_eq!(cancel, "CANCEL sub_id:s1 reason:queue_deleted\n");
    assert!(matches!(decode(b"PING\n"), Reply::Ping));
    assert_eq!(written(|out| reply::blocked(out, "disk")), "BLOCKED reason:disk\n");
    assert_eq!(written(reply::unblocked), "UNBLOCKED\n");
    assert!(matches!(decode(b"BLOCKED reason:disk\n"), Reply::Blocked { .. }));
    assert!(matches!(decode(b"UNBLOCKED\n"), Reply::Unblocked { .. }));
    let item = written(|out| reply::item(out).text("queue", b"a b").number("ready", 3).end());
    assert_eq!(item, "ITEM queue:a%20b ready:3\n");
    let Reply::Item { fields } = decode(item.as_bytes()) else { panic!() };
    assert_eq!(fields.number("ready"), Some(3));
}

#[test]
fn returned_messages() {
    let mut returned = Returned { exchange: b"e", key: b"", reason: "unroutable", req: None };
    let frame = written(|out| reply::returned(out, &returned, b"hi"));
    assert_eq!(frame, "RETURN exchange:e reason:unroutable 2\nhi\n");
    (returned.key, returned.req) = (b"a b", Some(&b"7"[..]));
    let frame = written(|out| reply::returned(out, &returned, b"\n"));
    assert_eq!(frame, "RETURN exchange:e key:a%20b reason:unroutable req:7 1\n\n\n");
    let Reply::Return { fields, body } = decode(frame.as_bytes()) else { panic!() };
    assert_eq!((fields.get("key").unwrap().raw(), body), (&b"a%20b"[..], &b"\n"[..]));
}

#[test]
fn typed_headers_come_back() {
    let line = written(|out| {
        reply::item(out)
            .typed_header(HeaderForm::Int, b"n", b"-1")
            .typed_header(HeaderForm::Null, b"=", b"")
            .header(b"t", b"x")
            .end();
    });
    assert_eq!(line, "ITEM hi:n=-1 hn:%3D= h:t=x\n");
    let Reply::Item { fields } = decode(line.as_bytes()) else { panic!() };
    let forms: Vec<_> = fields.headers().map(|header| header.form).collect();
    assert_eq!(forms, [HeaderForm::Int, HeaderForm::Null, HeaderForm::Text]);
}

#[test]
fn requests() {
    use DestinationKind::{Queue, Topic};
    let handle = Handle::parse(b"1f.2").unwrap();
    let login = Login { client_id: Some("c".into()), verbose: false, ..Login::default() };
    let cases: [(String, &str); 10] = [
        (
            written(|out| request::connect(out, &login)),
            "CONNECT {\"client_id\":\"c\",\"verbose\":false}\n",
        ),
        (written(|out| request::publish(out, Queue, b"a b", b"hi")), "PUB queue:a%20b 2\nhi\n"),
        (
            written(|out| {
                request::subscribe_line(out, Topic, b"e").token("mode", b"live").end();
            }),
            "SUB topic:e mode:live\n",
        ),
        (
            written(|out| request::declare_line(out, Queue, b"q").req(Some(b"1")).end()),
            "DECLARE queue:q req:1\n",
        ),
        (written(|out| request::ack(out, handle)), "ACK msg_id:1f.2\n"),
        (written(|out| request::nack_requeue(out, handle)), "NACK msg_id:1f.2 requeue:yes\n"),
        (written(|out| request::reject(out, handle, b"a b")), "REJECT msg_id:1f.2 reason:a%20b\n"),
        (written(|out| request::extend(out, handle, 9)), "EXTEND msg_id:1f.2 ms:9\n"),
        (written(|out| request::credit(out, b"s", 3)), "CREDIT sub_id:s n:3\n"),
        (written(|out| request::unsubscribe(out, b"s")), "UNSUB sub_id:s\n"),
    ];
    for (text, expected) in cases {
        assert_eq!(text, expected);
        let decoded = courant_wire::text::decode(text.as_bytes(), &Limits::DEFAULT);
        let courant_wire::text::Decoded::Command { consumed, .. } = decoded else {
            panic!("{decoded:?}");
        };
        assert_eq!(consumed, text.len());
    }
}

#[test]
fn what_is_no_reply() {
    let cases: [(&[u8], ReplyError); 8] = [
        (b"RETURN\n", ReplyError::BadMsg),
        (b"RETURN exchange:e 2\nabc\n", ReplyError::BodyUnterminated),
        (b"ERR\n", ReplyError::BadErr),
        (b"ERR x name Sentence\n", ReplyError::BadErr),
        (b"MSG\n", ReplyError::BadMsg),
        (b"MSG queue:q x\n", ReplyError::BadMsg),
        (b"MSG queue:q 1\nab\n", ReplyError::BodyUnterminated),
        (
            b"MSG queue:q 99999999\n",
            ReplyError::BodyTooLarge { bytes_max: Limits::DEFAULT.body_bytes_max },
        ),
    ];
    for (input, error) in cases {
        let expected = DecodedReply::Malformed { error };
        assert_eq!(decode_reply(input, &Limits::DEFAULT), expected);
    }
    assert!(matches!(
        decode_reply(b"HTTP/1.1 400 Bad Request\r\n", &Limits::DEFAULT),
        DecodedReply::Malformed { error: ReplyError::UnknownReply { .. } }
    ));
    assert_eq!(
        decode_reply(b"MSG queue:q 10\nhalf", &Limits::DEFAULT),
        DecodedReply::Incomplete { wanted: 26 }
    );
}
