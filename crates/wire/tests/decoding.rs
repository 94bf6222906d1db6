//! Literal bytes in, commands and refusals out.

#![allow(clippy::unwrap_used, reason = "a test may panic, in its helpers too")]

use courant_wire::text::{
    AckMode, Command, Confirm, Decoded, DestinationKind, HeaderField, HeaderForm, Key, Listed,
    Login, LoginError, OPTIONS, Options, SubMode, Verb, WireError, decode,
};
use courant_wire::{Excerpt, Handle, Limits, NameError};

fn run(input: &[u8]) -> Decoded<'_> {
    decode(input, &Limits::DEFAULT)
}

/// The command, which has to take all of the input.
#[track_caller]
fn command(input: &[u8]) -> Command<'_> {
    match run(input) {
        Decoded::Command { command, consumed } if consumed == input.len() => command,
        other => panic!("{other:?}"),
    }
}

/// What the refusal says, which has to skip all of the input or nothing.
#[track_caller]
fn refusal(input: &str) -> (WireError, bool) {
    match run(input.as_bytes()) {
        Decoded::Refused { error, consumed, .. } => {
            assert!(consumed.is_none_or(|bytes| bytes == input.len()), "{consumed:?}");
            assert_eq!(consumed.is_none(), error.loses_framing());
            (error, consumed.is_none())
        }
        other => panic!("{input:?}: {other:?}"),
    }
}

#[test]
fn line_ends_case_and_spaces_do_not_matter() {
    let inputs: [&[u8]; 8] = [
        b"PUB queue:orders 5\nhello\n",
        b"PUB queue:orders 5\r\nhello\r\n",
        b"PUB queue:orders 5\nhello\r\n",
        b"PUB queue:orders 5\r\nhello\n",
        b"pub queue:orders 5\nhello\n",
        b"  Pub   queue:orders   005  \nhello\n",
        b"PUB queue:orders  5\nhello\n",
        b"PUB queue:orders 0000000000005\nhello\n",
    ];
    for input in inputs {
        let Command::Publish(publish) = command(input) else { panic!() };
        assert_eq!(publish.destination.kind, DestinationKind::Queue);
        assert_eq!(publish.destination.raw_name.raw(), b"orders");
        assert_eq!(publish.body, b"hello");
        assert!(publish.options.is_empty());
    }
}

#[test]
fn a_body_is_any_bytes() {
    let Command::Publish(publish) = command(b"PUB topic:e 6\n\r\n\0\xff\n\r\n") else { panic!() };
    assert_eq!(publish.body, b"\r\n\0\xff\n\r");
    let Command::Publish(publish) = command(b"PUB topic:e 0\n\r\n") else { panic!() };
    assert_eq!(publish.body, b"");
}

#[test]
fn all_options_of_a_publish() {
    let line = b"PUB exchange:e req:r1 key:a.b%20c confirm:written durable:no h:x=1 \
        content_type:text/plain h:a%3Db=%0A correlation_id:%00%FF app_id:a reply_to:queue:back \
        timestamp:1700000000000 content_encoding:gzip ttl:5 priority:9 delay:0 deliver_at:9 \
        dedup:d ordering:o 2\nhi\n";
    let Command::Publish(publish) = command(line) else { panic!() };
    let options = publish.options;
    assert_eq!(options.iter().count(), 18);
    assert_eq!(options.req(), Some(&b"r1"[..]));
    assert_eq!(options.confirm(), Some(Confirm::Written));
    assert_eq!(options.yes_no(Key::Durable), Some(false));
    assert_eq!(options.number(Key::Timestamp), Some(1_700_000_000_000));
    assert_eq!(options.first_unsupported(), Some(Key::Priority));
    let text = |key: Key| options.get(key).unwrap().bytes(&mut Vec::new()).unwrap().to_vec();
    assert_eq!(text(Key::RoutingKey), b"a.b c");
    assert_eq!(text(Key::CorrelationId), b"\0\xff");
    assert_eq!(text(Key::ReplyTo), b"queue:back");
    let mut buffers = (Vec::new(), Vec::new());
    let headers: Vec<(Vec<u8>, Vec<u8>)> = options
        .headers()
        .map(|HeaderField { name, value, .. }| {
            let name = name.bytes(&mut buffers.0).unwrap().to_vec();
            (name, value.bytes(&mut buffers.1).unwrap().to_vec())
        })
        .collect();
    assert_eq!(headers, [(b"x".to_vec(), b"1".to_vec()), (b"a=b".to_vec(), b"\n".to_vec())]);
}

#[test]
fn subscriptions() {
    let Command::Subscribe { options, .. } = command(b"SUB topic:e\n") else { panic!() };
    assert_eq!((options.sub_mode(), options.ack_mode()), (SubMode::Session, AckMode::Manual));
    let line = b"SUB topic:e name:billing credit:10 ack:auto visibility:30000 sub_id:s\n";
    let Command::Subscribe { options, .. } = command(line) else { panic!() };
    assert_eq!(options.ack_mode(), AckMode::Auto);
    assert_eq!(options.number(Key::Credit), Some(10));
    assert_eq!(options.number(Key::Visibility), Some(30_000));
    assert_eq!(options.get(Key::Name).unwrap().name(&mut Vec::new()), Ok("billing"));
    let Command::Subscribe { options, .. } = command(b"SUB topic:e mode:live\n") else { panic!() };
    assert_eq!(options.sub_mode(), SubMode::Live);
    let Command::Unsubscribe { sub_id, .. } = command(b"UNSUB sub_id:a%b\n") else { panic!() };
    assert_eq!(sub_id, b"a%b");
    let Command::Credit { sub_id, n, .. } = command(b"CREDIT n:7 sub_id:s\n") else { panic!() };
    assert_eq!((sub_id, n), (Some(&b"s"[..]), Some(7)));
    let line = b"CREDIT bytes:4096 n:9\n";
    let Command::Credit { sub_id, n, options } = command(line) else { panic!() };
    assert_eq!((sub_id, n, options.number(Key::Bytes)), (None, Some(9), Some(4096)));
}

#[test]
fn headers_have_types() {
    let line = b"PUB queue:q hi:n=-5 h:t=x hb:b=no hn:z= 0\n\n";
    let Command::Publish(publish) = command(line) else { panic!() };
    let headers: Vec<HeaderField<'_>> = publish.options.headers().collect();
    let told: Vec<_> =
        headers.iter().map(|header| (header.name.raw(), header.form, header.value.raw())).collect();
    assert_eq!(
        told,
        [
            (&b"n"[..], HeaderForm::Int, &b"-5"[..]),
            (b"t", HeaderForm::Text, b"x"),
            (b"b", HeaderForm::Bool, b"no"),
            (b"z", HeaderForm::Null, b""),
        ]
    );
    assert_eq!(headers[0].int(), Some(-5));
}

#[test]
fn declarations() {
    let declared = |line: &'static [u8]| match command(line) {
        Command::Declare { destination, options } => (destination, options),
        other => panic!("{other:?}"),
    };
    let (queue, options) = declared(
        b"DECLARE queue:q max_length:5 max_bytes:6 max_message_bytes:7 overflow:drop-oldest \
          message_ttl:8 expires:9 max_attempts:10 exclusive:yes auto_delete:yes durable:no\n",
    );
    assert_eq!((queue.kind, queue.raw_name.raw()), (DestinationKind::Queue, &b"q"[..]));
    let numbers = [
        Key::MaxLength,
        Key::MaxBytes,
        Key::MaxMessageBytes,
        Key::MessageTtl,
        Key::Expires,
        Key::MaxAttempts,
    ]
    .map(|key| options.number(key));
    assert_eq!(numbers, [5, 6, 7, 8, 9, 10].map(Some));
    assert_eq!(options.get(Key::Overflow).unwrap().raw(), b"drop-oldest");
    let (queue, _) = declared(b"DECLARE queue: exclusive:yes durable:no\n");
    assert_eq!((queue.kind, queue.raw_name.raw()), (DestinationKind::Queue, &b""[..]));
    let (space, _) = declared(b"DECLARE namespace:team%20a\n");
    assert_eq!(space.kind, DestinationKind::Namespace);
    assert_eq!(space.name(&mut Vec::new()), Ok("team a"));
    let (topic, options) = declared(b"DECLARE topic:t name:s max_length:5\n");
    assert_eq!(topic.kind, DestinationKind::Topic);
    assert_eq!(options.get(Key::Name).unwrap().raw(), b"s");
    declared(b"DECLARE exchange:e kind:hash internal:yes auto_delete:yes alternate:other\n");
}

#[test]
fn bindings_purges_and_lists() {
    command(b"BIND exchange:e queue:q match:all-with-x h:a=1 hi:b=2 hn:c=\n");
    command(b"UNBIND exchange:e exchange:f weight:1000\n");
    let Command::Purge { destination, .. } = command(b"PURGE queue:q req:1\n") else { panic!() };
    assert_eq!(destination.raw_name.raw(), b"q");
    for list in Listed::ALL {
        let line = format!("LIST {} after:a%20b count:1000\n", list.name());
        let Command::List { what, of, options } = command(line.as_bytes()) else { panic!() };
        assert_eq!((what, of, options.number(Key::Count)), (list, None, Some(1000)));
        assert_eq!(options.get(Key::After).unwrap().bytes(&mut Vec::new()).unwrap(), b"a b");
    }
    for list in ["bindings", "subscriptions"] {
        let line = format!("LIST {list} queue:a%20b count:5\n");
        let Command::List { of: Some(of), .. } = command(line.as_bytes()) else { panic!() };
        assert_eq!((of.kind, of.raw_name.raw()), (DestinationKind::Queue, &b"a%20b"[..]));
    }
}

#[test]
fn every_option_can_be_decoded_for_each_of_its_verbs() {
    // A set of keys is a u64 and a set of verbs a u32: none may share a bit.
    let names: std::collections::BTreeSet<_> = OPTIONS.iter().map(|spec| spec.name).collect();
    assert_eq!(names.len(), OPTIONS.len());
    assert!(OPTIONS.len() <= 64 && Verb::ALL.len() <= 32);
    for spec in OPTIONS {
        assert_eq!(Key::parse(spec.name.as_bytes()), Some(spec.key));
        assert!(Verb::ALL.into_iter().any(|verb| spec.is_for(verb)), "{}", spec.name);
    }
}

#[test]
fn settles() {
    let handle = |text: &str| Handle::parse(text.as_bytes()).unwrap();
    let Command::Ack(one) = command(b"ACK msg_id:1f.2\n") else { panic!() };
    assert_eq!(one.handles().collect::<Vec<_>>(), [handle("1f.2")]);
    assert_eq!(one.upto(), None);
    let Command::Ack(one) = command(b"ACK msg_id:1F.2\r\n") else { panic!() };
    assert_eq!(one.handles().collect::<Vec<_>>(), [handle("1f.2")]);
    let line = b"ACK msg_id:1.1 msg_id:2.2 req:x upto:3.3 confirm:synced\n";
    let Command::Ack(many) = command(line) else { panic!() };
    assert_eq!(many.handles().collect::<Vec<_>>(), [handle("1.1"), handle("2.2")]);
    assert_eq!(many.upto(), Some(handle("3.3")));
    assert!(many.options.confirm_synced());
    let Command::Nack(nack) = command(b"NACK msg_id:1.1 requeue:yes\n") else { panic!() };
    assert_eq!(nack.options.yes_no(Key::Requeue), Some(true));
    let Command::Reject(reject) = command(b"REJECT msg_id:1.1 reason:no%20good\n") else {
        panic!()
    };
    let reason = reject.options.get(Key::Reason).unwrap();
    assert_eq!(reason.bytes(&mut Vec::new()), Ok(&b"no good"[..]));
    let Command::Extend(extend) = command(b"EXTEND msg_id:1.1 ms:5000\n") else { panic!() };
    assert_eq!(extend.options.number(Key::Ms), Some(5000));
}

#[test]
fn every_verb_is_read_in_any_case() {
    let lines = [
        "CONNECT",
        "CONNECT req:1 {\"version\":\"1.0\"}",
        "PUB queue:q 0\n",
        "SUB queue:q",
        "UNSUB sub_id:s",
        "ACK upto:1",
        "NACK msg_id:1",
        "REJECT msg_id:1",
        "EXTEND msg_id:1",
        "CREDIT sub_id:s n:1",
        "PING req:1",
        "PONG",
        "DECLARE exchange:e kind:topic internal:no",
        "PURGE queue:q",
        "LIST queues",
        "DELETE queue:q if_empty:yes if_unused:no",
        "BIND exchange:a queue:b key:x.*",
        "UNBIND topic:a exchange:b",
        "GET queue:q count:10 ack:auto",
        "STATS",
        "STATS queue:q",
        "STATS req:1",
        "QUIT",
        "DECLARE queue:q passive:yes visibility:1000",
    ];
    for line in lines {
        let verb = Verb::parse(line.split_whitespace().next().unwrap().as_bytes()).unwrap();
        let (head, tail) = line.split_at(verb.name().len());
        for head in [head.to_string(), head.to_lowercase()] {
            assert_eq!(command(format!("{head}{tail}\n").as_bytes()).verb(), verb, "{line}");
        }
    }
    for verb in Verb::ALL {
        assert!(lines.iter().any(|line| line.split(' ').next() == Some(verb.name())), "{verb}");
    }
}

fn word(text: &str) -> Excerpt {
    Excerpt::from(text.as_bytes())
}

fn unexpected(verb: Verb, text: &str) -> WireError {
    WireError::UnexpectedWord { verb, word: word(text) }
}

fn unknown(verb: Verb, key: &str) -> WireError {
    WireError::UnknownOption { verb, key: word(key) }
}

fn bad(key: Key, value: &str) -> WireError {
    WireError::BadValue { key, value: word(value), wants: key.spec().wants }
}

fn missing(verb: Verb, key: Key) -> WireError {
    WireError::MissingOption { verb, key }
}

fn conflict(verb: Verb, key: Key, other: &'static str) -> WireError {
    WireError::Conflict { verb, key, other }
}

fn nowhere(verb: Verb) -> WireError {
    WireError::MissingDestination { verb }
}

fn bad_destination(text: &str) -> WireError {
    WireError::BadDestination { word: word(text) }
}

#[track_caller]
fn all_keep_the_framing(cases: &[(&str, WireError)]) {
    for (input, error) in cases {
        assert_eq!(refusal(input), (*error, false), "{input:?}");
    }
}

#[test]
fn refused_publishes_are_skipped_with_their_bodies() {
    all_keep_the_framing(&[
        ("HELLO x\n", WireError::UnknownVerb { verb: word("HELLO") }),
        ("\u{1b}[A\n", WireError::UnknownVerb { verb: word("?[A") }),
        ("PUB 5\nhello\n", nowhere(Verb::Pub)),
        ("PUB orders 5\nhello\n", bad_destination("orders")),
        ("PUB queue: 5\nhello\n", bad_destination("queue:")),
        ("PUB Queue:x 5\nhello\n", bad_destination("Queue:x")),
        ("PUB queue:x colour:red 5\nhello\n", unknown(Verb::Pub, "colour")),
        ("PUB queue:x sub_id:red 5\nhello\n", unknown(Verb::Pub, "sub_id")),
        ("PUB queue:x REQ:1 5\nhello\n", unknown(Verb::Pub, "REQ")),
        ("PUB queue:x key:k 5\nhello\n", conflict(Verb::Pub, Key::RoutingKey, "a queue")),
        ("PUB topic:x key:a key:b 5\nhello\n", WireError::RepeatedOption { key: Key::RoutingKey }),
        ("PUB queue:x 5 5\nhello\n", unexpected(Verb::Pub, "5")),
        ("PUB queue:x priority:10 5\nhello\n", bad(Key::Priority, "10")),
        ("PUB queue:x ttl:0 5\nhello\n", bad(Key::Ttl, "0")),
        ("PUB queue:x ttl:-1 5\nhello\n", bad(Key::Ttl, "-1")),
        ("PUB queue:x confirm:synced 5\nhello\n", bad(Key::Confirm, "synced")),
        ("PUB queue:x durable:maybe 5\nhello\n", bad(Key::Durable, "maybe")),
        ("PUB queue:x h:novalue 5\nhello\n", bad(Key::Header, "novalue")),
        ("PUB queue:x h:=v 5\nhello\n", bad(Key::Header, "=v")),
        ("PUB queue:x req: 5\nhello\n", bad(Key::Req, "")),
        ("PUB queue:a%2 5\nhello\n", WireError::BadEscape { word: word("queue:a%2") }),
        (
            "PUB queue:x reply_to:%zz 5\nhello\n",
            WireError::BadEscape { word: word("reply_to:%zz") },
        ),
        ("PUB queue:x app_id:a\tb 5\nhello\n", WireError::ControlCharacter),
    ]);
}

#[test]
fn refusals_that_keep_the_framing() {
    all_keep_the_framing(&[
        ("SUB\n", nowhere(Verb::Sub)),
        ("SUB topic:e live\n", unexpected(Verb::Sub, "live")),
        ("SUB topic:e mode:fast\n", bad(Key::Mode, "fast")),
        ("SUB topic:e mode:live name:n\n", conflict(Verb::Sub, Key::Name, "mode:live")),
        ("SUB topic:e mode:live ack:manual\n", conflict(Verb::Sub, Key::Ack, "mode:live")),
        ("SUB queue:q mode:live\n", conflict(Verb::Sub, Key::Mode, "a queue")),
        ("SUB queue:q name:n\n", conflict(Verb::Sub, Key::Name, "a queue")),
        ("SUB queue:q credit:4294967296\n", bad(Key::Credit, "4294967296")),
        ("UNSUB\n", missing(Verb::Unsub, Key::SubId)),
        ("UNSUB topic:e\n", unknown(Verb::Unsub, "topic")),
        ("CREDIT sub_id:s\n", missing(Verb::Credit, Key::N)),
        ("CREDIT\n", missing(Verb::Credit, Key::N)),
        ("CREDIT sub_id:s n:1 bytes:5\n", conflict(Verb::Credit, Key::Bytes, "sub_id")),
        ("CREDIT sub_id:s n:0\n", bad(Key::N, "0")),
        ("ACK\n", missing(Verb::Ack, Key::MsgId)),
        ("ACK xyz\n", unexpected(Verb::Ack, "xyz")),
        ("ACK msg_id:\n", bad(Key::MsgId, "")),
        ("ACK msg_id:01.1\n", bad(Key::MsgId, "01.1")),
        ("ACK msg_id:1.\n", bad(Key::MsgId, "1.")),
        ("ACK msg_id:1.1.1\n", bad(Key::MsgId, "1.1.1")),
        ("ACK msg_id:lou\n", bad(Key::MsgId, "lou")),
        ("ACK msg_id:1 confirm:committed\n", bad(Key::Confirm, "committed")),
        ("NACK upto:1\n", unknown(Verb::Nack, "upto")),
        ("DELETE orders\n", bad_destination("orders")),
        ("BIND exchange:e\n", nowhere(Verb::Bind)),
        ("GET queue:q count:0\n", bad(Key::Count, "0")),
        ("STATS orders\n", bad_destination("orders")),
        ("CONNECT version=1\n", WireError::ConnectNotJson),
        ("PONG req:1\n", unknown(Verb::Pong, "req")),
        ("QUIT now\n", unexpected(Verb::Quit, "now")),
    ]);
    let Decoded::Refused { error, .. } = run(b"SUB queue:q sub_id:\xff\n") else { panic!() };
    assert_eq!(error, WireError::NotUtf8);
}

#[test]
fn refused_topology_keeps_the_framing() {
    all_keep_the_framing(&[
        (
            "DECLARE queue:q kind:topic\n",
            conflict(Verb::Declare, Key::Kind, "anything but an exchange"),
        ),
        ("DECLARE exchange:e kind:ring\n", bad(Key::Kind, "ring")),
        (
            "DECLARE exchange:e max_length:5\n",
            conflict(Verb::Declare, Key::MaxLength, "anything but a queue"),
        ),
        (
            "DECLARE topic:t durable:no\n",
            conflict(Verb::Declare, Key::Durable, "anything but a queue"),
        ),
        ("DECLARE queue:q name:n\n", conflict(Verb::Declare, Key::Name, "anything but a topic")),
        (
            "DECLARE topic:t auto_delete:yes\n",
            conflict(Verb::Declare, Key::AutoDelete, "anything but a queue or an exchange"),
        ),
        ("DECLARE namespace:n passive:yes\n", conflict(Verb::Declare, Key::Passive, "a namespace")),
        ("DECLARE queue:q max_length:0\n", bad(Key::MaxLength, "0")),
        ("DECLARE queue:q overflow:drop\n", bad(Key::Overflow, "drop")),
        ("DECLARE queue:q max_attempts:65536\n", bad(Key::MaxAttempts, "65536")),
        ("DECLARE namespace:\n", bad_destination("namespace:")),
        ("DECLARE topic:\n", bad_destination("topic:")),
        ("DELETE namespace:n\n", bad_destination("namespace:n")),
        ("DELETE queue:\n", bad_destination("queue:")),
        (
            "DELETE exchange:e if_empty:yes\n",
            conflict(Verb::Delete, Key::IfEmpty, "anything but a queue"),
        ),
        ("PUB queue:q hi:a=1.5 0\n\n", bad(Key::HeaderInt, "a=1.5")),
        ("PUB queue:q hb:a=true 0\n\n", bad(Key::HeaderBool, "a=true")),
        ("PUB queue:q hn:a=x 0\n\n", bad(Key::HeaderNull, "a=x")),
        ("PUB queue:q hi:a 0\n\n", bad(Key::HeaderInt, "a")),
        (
            "BIND exchange:e queue:q key:k weight:1\n",
            conflict(Verb::Bind, Key::RoutingKey, "weight"),
        ),
        (
            "BIND exchange:e queue:q key:k h:a=1\n",
            conflict(Verb::Bind, Key::RoutingKey, "match or headers"),
        ),
        (
            "UNBIND exchange:e queue:q weight:1 match:any\n",
            conflict(Verb::Unbind, Key::Weight, "match or headers"),
        ),
        ("BIND exchange:e queue:q weight:1001\n", bad(Key::Weight, "1001")),
        ("BIND exchange:e queue:q match:some\n", bad(Key::Match, "some")),
        ("PURGE\n", nowhere(Verb::Purge)),
        ("PURGE queue:q if_empty:yes\n", unknown(Verb::Purge, "if_empty")),
        ("LIST\n", WireError::UnknownList { word: word("") }),
        ("LIST cats\n", WireError::UnknownList { word: word("cats") }),
        ("LIST queues count:1025\n", bad(Key::Count, "1025")),
        ("LIST queues all\n", unexpected(Verb::List, "all")),
        ("LIST queues queue:q\n", unknown(Verb::List, "queue")),
        ("LIST bindings all\n", WireError::BadDestination { word: word("all") }),
    ]);
}

#[test]
fn refusals_that_lose_the_framing() {
    let bytes_max = Limits::DEFAULT.body_bytes_max;
    let cases = [
        ("PUB\n", WireError::MissingSize),
        ("PUB queue:x\n", WireError::MissingSize),
        ("PUB queue:x five\n", WireError::SizeNotNumber { word: word("five") }),
        ("PUB queue:x -5\n", WireError::SizeNotNumber { word: word("-5") }),
        ("PUB queue:x 5\nhello!\n", WireError::BodyUnterminated { bytes: 5 }),
        ("PUB queue:x 5\nhello\r!\n", WireError::BodyUnterminated { bytes: 5 }),
        ("PUB queue:x a:b 5\nhello!\n", WireError::BodyUnterminated { bytes: 5 }),
        ("PUB queue:x 16777217\n", WireError::BodyTooLarge { bytes: 16_777_217, bytes_max }),
        (
            "PUB queue:x 99999999999999999999\n",
            WireError::BodyTooLarge { bytes: u64::MAX, bytes_max },
        ),
    ];
    for (input, error) in cases {
        assert_eq!(refusal(input), (error, true), "{input:?}");
    }
}

#[test]
fn a_refusal_names_verb_and_request() {
    let Decoded::Refused { verb, req, consumed, .. } =
        run(b"pub queue:x req:7 bad:1 5\nhello\nPING\n")
    else {
        panic!()
    };
    assert_eq!((verb, req, consumed), (&b"pub"[..], Some(&b"7"[..]), Some(32)));
    let Decoded::Refused { verb, req, .. } = run(b"BREW req:tea\n") else { panic!() };
    assert_eq!((verb, req), (&b"BREW"[..], Some(&b"tea"[..])));
}

#[test]
fn limits_are_exact_and_checked_before_the_rest_arrives() {
    let limits = Limits { line_bytes_max: 16, body_bytes_max: 9, ..Limits::DEFAULT };
    let decode = |input: &'static [u8]| decode(input, &limits);
    let too_long = |decoded| {
        let error = WireError::LineTooLong { bytes_max: 16 };
        matches!(decoded, Decoded::Refused { error: e, consumed: None, .. } if e == error)
    };
    assert!(matches!(decode(b"PING req:1234567\n"), Decoded::Command { .. }));
    assert!(matches!(decode(b"PING req:1234567\r\n"), Decoded::Command { .. }));
    assert!(too_long(decode(b"PING req:12345678\n")));
    assert!(too_long(decode(b"PING req:12345678\r\n")));
    assert!(too_long(decode(b"PING req:1234567890")));
    assert!(too_long(decode(b"PUB queue:abcde 1\nx\n")));
    assert!(too_long(decode(b"ACK msg_id:12345.1\n")));
    assert!(matches!(decode(b"PUB queue:abcd 1\nx\n"), Decoded::Command { .. }));
    assert!(matches!(decode(b"PUB queue:abcd 9\n"), Decoded::Incomplete { wanted: 27 }));
    assert!(matches!(decode(b"PUB queue:abc 10\n"), Decoded::Refused { consumed: None, .. }));

    let limits = Limits { headers_max: 2, headers_bytes_max: 8, ..Limits::DEFAULT };
    let refused = |input: &'static [u8]| match courant_wire::text::decode(input, &limits) {
        Decoded::Refused { error, .. } => Some(error),
        _ => None,
    };
    assert_eq!(refused(b"PUB queue:q h:a=12 h:b=12 0\n\n"), None);
    assert_eq!(
        refused(b"PUB queue:q h:a=1 h:b=1 h:c=1 0\n\n"),
        Some(WireError::TooManyHeaders { headers_max: 2 })
    );
    assert_eq!(
        refused(b"PUB queue:q h:a=12 h:b=123 0\n\n"),
        Some(WireError::HeadersTooLarge { bytes_max: 8 })
    );
}

#[test]
fn what_is_missing_is_said() {
    let wants = |input: &'static [u8]| match run(input) {
        Decoded::Incomplete { wanted } => wanted,
        other => panic!("{other:?}"),
    };
    assert_eq!(wants(b""), 0);
    assert_eq!(wants(b"PUB queue:x 5"), 0);
    assert_eq!(wants(b"PUB queue:x 5\n"), 20);
    assert_eq!(wants(b"PUB queue:x 5\nhello"), 20);
    assert_eq!(wants(b"PUB queue:x 5\nhello\r"), 21);
    assert_eq!(wants(b"pub queue:x a:b 5\r\nhel"), 25);
    assert_eq!(wants(b"PUB queue:x 16777216\n"), 21 + 16_777_216 + 1);
    assert_eq!(run(b"\r\nPING\n"), Decoded::Blank { consumed: 2 });
    assert_eq!(run(b"   \nPING\n"), Decoded::Blank { consumed: 4 });
}

#[test]
fn names_are_checked_where_they_are_looked_up() {
    let name = |input: &'static [u8]| {
        let Command::Publish(publish) = command(input) else { panic!() };
        publish.destination.name(&mut Vec::new()).map(str::to_owned)
    };
    assert_eq!(name(b"PUB queue:a%20b%25 0\n\n").as_deref(), Ok("a b%"));
    assert_eq!(name("PUB queue:k\u{f8} 0\n\n".as_bytes()).as_deref(), Ok("k\u{f8}"));
    assert_eq!(name(b"PUB queue:\xff 0\n\n"), Err(NameError::NotUtf8));
    assert_eq!(name(b"PUB queue:%FF 0\n\n"), Err(NameError::NotUtf8));
    assert_eq!(name(b"PUB queue:a\x1bb 0\n\n"), Err(NameError::ControlCharacter));
    assert_eq!(name(b"PUB queue:%0A 0\n\n"), Err(NameError::ControlCharacter));
    assert_eq!(name(b"PUB queue:%C2%85 0\n\n"), Err(NameError::ControlCharacter));
}

#[test]
fn logins() {
    let parse = |json: &str| Login::parse(json.as_bytes());
    assert_eq!(parse(""), Ok(Login::default()));
    assert!(!parse(r#"{"verbose":false}"#).unwrap().verbose);
    let login = parse(r#"{"user":"a","password":"secret"}"#).unwrap();
    assert!(!format!("{login:?}").contains("secret"));
    assert!(matches!(parse("{"), Err(LoginError::Syntax { .. })));
    assert!(matches!(parse(r#"{"colour":1}"#), Err(LoginError::Field { .. })));
    assert!(matches!(parse(r#"{"user":1}"#), Err(LoginError::Field { .. })));
    assert!(matches!(parse(r#"{"user":"a"}"#), Err(LoginError::Credentials)));
    assert!(matches!(parse(r#"{"version":"2.0"}"#), Err(LoginError::Version { .. })));
    assert!(matches!(parse(r#"{"version":"11"}"#), Err(LoginError::Version { .. })));
}

#[test]
fn no_options_is_the_empty_slice() {
    let Command::Ping { options } = command(b"PING   \n") else { panic!() };
    assert_eq!(options, Options::EMPTY);
}
