//! Frames that are not as they should be: literal bytes in, refusals out. What is as it should be
//! is in `vectors/`.

#![allow(clippy::unwrap_used, reason = "a test may panic, in its helpers too")]

use courant_wire::binary::{
    Command, CommandKind, Decoded, DecodedReply, Destination, PublishHead, Reply, ReplyError,
    ReplyKind, Tag, WireError, decode, decode_reply, reply, request,
};
use courant_wire::text::{self, Confirm, DestinationKind, Verb};
use courant_wire::{BATCH_MAX, Excerpt, Limits, NameError};

const REQ: &[u8] = &[0, 0, 0, 9];
const QUEUE: &[u8] = b"\x01\x01q\x00";
const HANDLE: &[u8] = &[7; 18];

fn frame(number: u8, fields: &[&[u8]]) -> Vec<u8> {
    let body = fields.concat();
    let length = u32::try_from(body.len()).unwrap().to_be_bytes();
    [&[number], &length[..], &body].concat()
}

/// Why it is refused, with the number of the command and the bytes to skip.
#[track_caller]
fn refused(input: &[u8], limits: &Limits) -> WireError {
    match decode(input, limits) {
        Decoded::Refused { error, req, consumed } => {
            let has_req = consumed.is_some() && input.len() >= 9;
            assert_eq!(req, if has_req { 9 } else { 0 });
            assert_eq!(consumed, (!error.loses_framing()).then_some(input.len()));
            error
        }
        other => panic!("{other:?}"),
    }
}

/// The same of a frame of these fields behind its `req`.
#[track_caller]
fn wrong(kind: CommandKind, fields: &[&[u8]]) -> WireError {
    let fields = [&[REQ], fields].concat();
    refused(&frame(kind.number(), &fields), &Limits::DEFAULT)
}

#[test]
fn lengths_are_compared_before_the_body_arrives() {
    let limits = Limits { frame_bytes_max: 13, ..Limits::DEFAULT };
    let whole = frame(0x06, &[REQ, &[0, 0, 0, 1]]);
    assert!(matches!(decode(&whole, &limits), Decoded::Command { consumed: 13, .. }));
    let error = WireError::FrameTooLarge { bytes: 14, bytes_max: 13 };
    assert_eq!(refused(b"\x01\0\0\0\x0e", &limits), error);
    assert_eq!(decode(b"\x01\0\0\0\x0d", &limits), Decoded::Incomplete { wanted: 18 });
    let error = WireError::FrameTooLarge { bytes: u32::MAX, bytes_max: 16_908_288 };
    assert_eq!(refused(b"\x01\xff\xff\xff\xff", &Limits::DEFAULT), error);
    assert_eq!(decode(b"", &limits), Decoded::Incomplete { wanted: 5 });
    let limits = Limits { reply_frame_bytes_max: 3, ..Limits::DEFAULT };
    let error = ReplyError::TooLarge { bytes_max: 3 };
    assert_eq!(decode_reply(b"\x85\0\0\0\x04", &limits), DecodedReply::Malformed { error });
}

#[test]
fn commands_that_there_are_not() {
    for number in (0..=u8::MAX).filter(|number| CommandKind::of(*number).is_none()) {
        let error = WireError::UnknownCommand { number };
        assert_eq!(refused(&frame(number, &[REQ, b"anything"]), &Limits::DEFAULT), error);
        assert_eq!(refused(&frame(number, &[]), &Limits::DEFAULT), error);
    }
    assert_eq!(WireError::UnknownCommand { number: 10 }.to_string(), "there is no command 0x0a");
}

#[test]
fn a_body_has_all_its_fields_and_nothing_behind_them() {
    use CommandKind::{Connect, Credit, Get, Ping, Publish, Quit, Settle, Subscribe, Unsubscribe};
    let subscribe = [&[0, 0, 0, 1, 0], QUEUE, &[0; 21]].concat();
    let bodies: [(CommandKind, &[u8]); 9] = [
        (Connect, &[1]),
        (Publish, &[&[0], QUEUE, &[0; 4]].concat()),
        (Subscribe, &subscribe),
        (Settle, &[&[1, 0, 0, 0, 0, 0, 0, 0, 0, 0], HANDLE].concat()),
        (Unsubscribe, &[0, 0, 0, 1]),
        (Credit, &[0; 16]),
        (Get, &[&[0, 0, 1], QUEUE].concat()),
        (Ping, &[]),
        (Quit, &[]),
    ];
    for (command, fields) in bodies {
        let body = [REQ, fields].concat();
        let whole = frame(command.number(), &[&body]);
        assert!(matches!(decode(&whole, &Limits::DEFAULT), Decoded::Command { .. }), "{command}");
        for cut in 0..body.len() {
            let error = refused(&frame(command.number(), &[&body[..cut]]), &Limits::DEFAULT);
            let empty = matches!(error, WireError::Empty { .. });
            assert!(empty || error == WireError::TooShort { command }, "{error}, cut at {cut}");
        }
        let error = match command {
            Connect => continue,
            Publish | Settle => WireError::TooShort { command },
            _ => WireError::TooLong { command },
        };
        assert_eq!(wrong(command, &[fields, &[0]]), error);
    }
    let command = CommandKind::Pong;
    assert_eq!(refused(&frame(8, &[&[1]]), &Limits::DEFAULT), WireError::TooLong { command });
}

#[test]
fn flags_and_numbers_that_there_are_not() {
    let unknown = |command, flags| WireError::UnknownFlags { command, flags };
    let bad = |command, field, value| WireError::BadNumber { command, field, value };

    let command = CommandKind::Publish;
    assert_eq!(wrong(command, &[&[0xe1], QUEUE, &[0; 4]]), unknown(command, 0xe0));
    for kind in [0, 4, 255] {
        let error = bad(command, "kind", u64::from(kind));
        assert_eq!(wrong(command, &[&[0, kind], b"\x01q\x00", &[0; 4]]), error);
    }

    let command = CommandKind::Settle;
    assert_eq!(wrong(command, &[&[1, 4], &[0; 8], HANDLE]), unknown(command, 4));
    for verdict in [0, 5] {
        let error = bad(command, "verdict", u64::from(verdict));
        assert_eq!(wrong(command, &[&[verdict, 0], &[0; 8], HANDLE]), error);
    }
    let beyond = (1u64 << 42) + 1;
    let error = bad(command, "ms", beyond);
    assert_eq!(wrong(command, &[&[4, 0], &beyond.to_be_bytes(), HANDLE]), error);

    let command = CommandKind::Subscribe;
    assert_eq!(wrong(command, &[&[0, 0, 0, 1, 8], QUEUE, &[0; 21]]), unknown(command, 8));
    assert_eq!(wrong(command, &[&[0, 0, 0, 0, 0], QUEUE, &[0; 21]]), bad(command, "sub", 0));
    let error = bad(command, "visibility", beyond);
    let fields: [&[u8]; 4] = [&[0, 0, 0, 1, 0], QUEUE, &[0; 13], &beyond.to_be_bytes()];
    assert_eq!(wrong(command, &fields), error);

    let command = CommandKind::Unsubscribe;
    assert_eq!(wrong(command, &[&[0; 4]]), bad(command, "sub", 0));
    let command = CommandKind::Credit;
    assert_eq!(wrong(command, &[&[0, 0, 0, 1], &[0; 12]]), bad(command, "messages", 0));
    let command = CommandKind::Get;
    assert_eq!(wrong(command, &[&[2, 0, 1], QUEUE]), unknown(command, 2));
    assert_eq!(wrong(command, &[&[0, 0, 0], QUEUE]), bad(command, "count", 0));
    assert_eq!(wrong(command, &[&[0, 4, 1], QUEUE]), bad(command, "count", 1025));
    assert_eq!(wrong(CommandKind::Connect, &[&[2], b"{}"]), WireError::Version { version: 2 });
}

#[test]
fn what_does_not_go_together() {
    #[track_caller]
    fn conflict(command: CommandKind, fields: &[&[u8]], what: &str, other: &str) {
        match wrong(command, fields) {
            WireError::Conflict { command: named, what: one, other: two } => {
                assert_eq!((named, one, two), (command, what, other));
            }
            error => panic!("{error}"),
        }
    }
    let two = ("confirm at level written", "confirm at level memory");
    conflict(CommandKind::Publish, &[&[0x0c], QUEUE, &[0; 4]], two.0, two.1);
    conflict(CommandKind::Publish, &[b"\0\x01\x01q\x01k", &[0; 4]], "a key", "a queue");
    conflict(CommandKind::Get, &[b"\0\0\x01\x01\x01q\x01k"], "a key", "a queue");
    let handle = &[&[0; 8], HANDLE].concat();
    let two = ("extend", "a reply when it is on disk");
    conflict(CommandKind::Settle, &[&[4, 1], handle], two.0, two.1);
    for verdict in 2..=4 {
        let two = ("all earlier ones", "another verdict than ack");
        conflict(CommandKind::Settle, &[&[verdict, 2], handle], two.0, two.1);
    }
    let handle = &[&[0, 0, 0, 0, 0, 0, 0, 1], HANDLE].concat();
    for verdict in 1..=3 {
        let two = ("ms", "another verdict than extend");
        conflict(CommandKind::Settle, &[&[verdict, 0], handle], two.0, two.1);
    }
    let credit = [&[0, 0, 0, 1, 0, 0, 0, 1], &[0, 0, 0, 0, 0, 0, 0, 5][..]].concat();
    conflict(CommandKind::Credit, &[&credit], "bytes", "a subscription");

    let subscribe = |flags: u8, to: &[u8], subscriber: &[u8], numbers: [u64; 3], what, other| {
        let [credit, bytes, visibility] = numbers.map(u64::to_be_bytes);
        let fields: [&[u8]; 6] =
            [&[0, 0, 0, 1, flags], to, subscriber, &credit[4..], &bytes, &visibility];
        conflict(CommandKind::Subscribe, &fields, what, other);
    };
    let topic = b"\x02\x01t\x00";
    subscribe(0, topic, b"\0", [1, 0, 0], "credit", "flags without 0x04");
    subscribe(2, topic, b"\x01s", [0, 0, 0], "a subscriber", "live");
    subscribe(3, topic, b"\0", [0, 0, 0], "settling as it is sent", "live");
    subscribe(6, topic, b"\0", [1, 0, 0], "credit", "live");
    subscribe(2, topic, b"\0", [0, 1, 0], "credit bytes", "live");
    subscribe(2, topic, b"\0", [0, 0, 1], "visibility", "live");
    subscribe(2, QUEUE, b"\0", [0, 0, 0], "live", "a queue");
    subscribe(0, QUEUE, b"\x01s", [0, 0, 0], "a subscriber", "a queue");
}

#[test]
fn a_frame_has_no_more_than_may_be_done_at_once() {
    for (command, fields, what, bytes) in [
        (CommandKind::Publish, &[&[0], QUEUE].concat(), "message", 4),
        (CommandKind::Settle, &[&[1, 0][..], &[0; 8]].concat(), "handle", 18),
    ] {
        let many = vec![0; bytes * (BATCH_MAX + 1)];
        let error = WireError::TooMany { command, what, most: BATCH_MAX };
        assert_eq!(wrong(command, &[fields, &many]), error);
        let most = frame(command.number(), &[REQ, fields, &many[bytes..]]);
        assert!(matches!(decode(&most, &Limits::DEFAULT), Decoded::Command { .. }));
    }
}

#[test]
fn messages_are_at_least_one_and_not_too_large() {
    let command = CommandKind::Publish;
    let error = WireError::Empty { command, what: "message" };
    assert_eq!(wrong(command, &[&[0], QUEUE]), error);
    let command = CommandKind::Settle;
    let error = WireError::Empty { command, what: "handle" };
    assert_eq!(wrong(command, &[&[1, 0], &[0; 8]]), error);

    let limits = Limits { body_bytes_max: 3, ..Limits::DEFAULT };
    let publish = |payload: &[u8]| {
        let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
        frame(0x01, &[REQ, &[0], QUEUE, &[0, 0, 0, 1, b'x'], &length, payload])
    };
    assert!(matches!(decode(&publish(b"abc"), &limits), Decoded::Command { .. }));
    let error = WireError::PayloadTooLarge { bytes: 4, bytes_max: 3 };
    assert_eq!(refused(&publish(b"abcd"), &limits), error);
}

/// One message with these properties, each a tag and a value.
fn with_properties(properties: &[(u8, &[u8])]) -> Vec<u8> {
    let mut row = Vec::new();
    for (tag, value) in properties {
        row.push(*tag);
        row.extend_from_slice(&u32::try_from(value.len()).unwrap().to_be_bytes());
        row.extend_from_slice(value);
    }
    let length = u16::try_from(row.len()).unwrap().to_be_bytes();
    frame(0x01, &[REQ, &[0x10], QUEUE, &length, &row, &[0; 4]])
}

#[test]
fn properties_that_there_are_not() {
    let wrong =
        |properties: &[(u8, &[u8])]| refused(&with_properties(properties), &Limits::DEFAULT);
    for tag in [0, 8, 10, 255] {
        assert_eq!(wrong(&[(1, b"a"), (tag, b"")]), WireError::UnknownProperty { tag });
    }
    let eight = &[0, 0, 0, 0, 0, 0, 0, 1];
    for tag in Tag::ALL.into_iter().filter(|tag| !matches!(tag, Tag::Header | Tag::UserId)) {
        let twice = [(tag.number(), &eight[..]), (tag.number(), eight)];
        assert_eq!(wrong(&twice), WireError::RepeatedProperty { tag });
    }
    for tag in [Tag::ContentType, Tag::ContentEncoding, Tag::ReplyTo, Tag::AppId] {
        assert_eq!(wrong(&[(tag.number(), b"\xff")]), WireError::NotUtf8 { tag });
    }
    for tag in [Tag::Timestamp, Tag::TimeToLive] {
        for value in [&b""[..], &[0; 7], &[0; 9]] {
            assert_eq!(wrong(&[(tag.number(), value)]), WireError::BadProperty { tag });
        }
    }
    let tag = Tag::TimeToLive;
    for value in [0u64, (1 << 42) + 1] {
        assert_eq!(wrong(&[(9, &value.to_be_bytes())]), WireError::BadProperty { tag });
    }
    let input = frame(0x01, &[REQ, &[0x10], QUEUE, &[0, 5], &[1, 0, 0, 0, 1], &[0; 4]]);
    assert_eq!(refused(&input, &Limits::DEFAULT), WireError::PropertiesTooShort);
}

#[test]
fn headers_that_there_are_not() {
    let wrong = |value: &[u8]| refused(&with_properties(&[(3, value)]), &Limits::DEFAULT);
    let tag = Tag::Header;
    let bad: [&[u8]; 13] = [
        b"",
        b"\0",
        b"\0\0\0",
        b"\0\x01n",
        b"\0\x02n\0",
        b"\0\x01n\0x",
        b"\0\x01n\x01",
        b"\0\x01n\x01\x02",
        b"\0\x01n\x02\0\0\0\0\0\0\0",
        b"\0\x01n\x03\0\0\0\0\0\0\0\0\0",
        b"\0\x01n\x06",
        b"\0\x01n\x07",
        b"\0\x01n\xff\0",
    ];
    for value in bad {
        assert_eq!(wrong(value), WireError::BadProperty { tag }, "{value:?}");
    }
    assert_eq!(wrong(b"\0\x01\xff\x04a"), WireError::NotUtf8 { tag });
    assert_eq!(wrong(b"\0\x01n\x04\xff"), WireError::NotUtf8 { tag });

    let limits = Limits { headers_max: 2, headers_bytes_max: 12, ..Limits::DEFAULT };
    let header = (3, &b"\0\x01n\x04ab"[..]);
    let two = with_properties(&[header, header]);
    assert!(matches!(decode(&two, &limits), Decoded::Command { .. }));
    let three = with_properties(&[header, header, header]);
    assert_eq!(refused(&three, &limits), WireError::TooManyHeaders { headers_max: 2 });
    let large = with_properties(&[header, (3, b"\0\x01n\x04abc")]);
    assert_eq!(refused(&large, &limits), WireError::HeadersTooLarge { bytes_max: 12 });
}

#[test]
fn lines_that_are_not_carried() {
    let wrong = |line: &str| wrong(CommandKind::Line, &[line.as_bytes()]);
    for verb in Verb::ALL {
        let carried = matches!(
            verb,
            Verb::Declare
                | Verb::Delete
                | Verb::Bind
                | Verb::Unbind
                | Verb::Purge
                | Verb::List
                | Verb::Stats
        );
        if !carried {
            assert_eq!(wrong(&format!("{verb} req:1")), WireError::NotCarried { verb });
        }
    }
    let unknown = |word: &str| {
        let verb = Excerpt::from(word.as_bytes());
        WireError::Line(text::WireError::UnknownVerb { verb })
    };
    assert_eq!(wrong(""), unknown(""));
    assert_eq!(wrong("BREW tea"), unknown("BREW"));
    assert!(matches!(wrong("STATS req:1"), WireError::Conflict { .. }));
    let verb = Verb::Purge;
    let missing = WireError::Line(text::WireError::MissingDestination { verb });
    assert_eq!(wrong("PURGE"), missing);
    let control = WireError::Line(text::WireError::ControlCharacter);
    assert_eq!(wrong("DELETE queue:q if_empty:yes\n"), control);
    let limits = Limits { line_bytes_max: 5, ..Limits::DEFAULT };
    let error = WireError::Line(text::WireError::LineTooLong { bytes_max: 5 });
    assert_eq!(refused(&frame(0x0b, &[REQ, b"STATS "]), &limits), error);
    assert!(!error.loses_framing());
    let input = frame(0x0b, &[REQ, b"STATS"]);
    let Decoded::Command { command: Command::Line { command }, .. } = decode(&input, &limits)
    else {
        panic!()
    };
    assert_eq!(command.verb(), Verb::Stats);
}

#[test]
fn names_are_looked_at_when_they_are_asked_for() {
    let name = |raw_name| {
        Destination { kind: DestinationKind::Queue, raw_name, key: b"" }.name().map(str::len)
    };
    assert_eq!(name(b"q"), Ok(1));
    assert_eq!(name(b""), Err(NameError::Empty));
    assert_eq!(name(b"\xff"), Err(NameError::NotUtf8));
    assert_eq!(name(b"a\n"), Err(NameError::ControlCharacter));
}

#[test]
fn what_a_client_cannot_say_is_not_begun() {
    let mut out = b"before".to_vec();
    let long = [b'n'; 256];
    let queue = Destination { kind: DestinationKind::Queue, raw_name: b"q", key: b"" };
    let head = |destination| PublishHead {
        destination,
        is_transient: false,
        is_mandatory: false,
        confirm: Confirm::Committed,
        has_properties: true,
    };
    let too_long = Err(request::RequestError::NameTooLong);
    let named = Destination { raw_name: &long, ..queue };
    assert_eq!(request::begin_publish(&mut out, 1, &head(named)), too_long);
    let keyed = Destination { key: &long, ..queue };
    assert_eq!(request::begin_publish(&mut out, 1, &head(keyed)), too_long);
    let space = Destination { kind: DestinationKind::Namespace, ..queue };
    let namespace = Err(request::RequestError::Namespace);
    assert_eq!(request::begin_publish(&mut out, 1, &head(space)), namespace);
    assert_eq!(out, b"before");

    let frame = request::begin_publish(&mut out, 9, &head(queue)).unwrap();
    let begun = out.clone();
    let fill = |bytes: usize| move |out: &mut Vec<u8>| out.resize(out.len() + bytes, 0);
    let too_large = Err(request::RequestError::PropertiesTooLarge);
    assert_eq!(request::message_with(&mut out, fill(65_536), b"x"), too_large);
    assert_eq!(out, begun);
    assert_eq!(request::message_with(&mut out, fill(65_535), b"x"), Ok(()));
    assert_eq!(frame.body_bytes(&out), 9 + 2 + 65_535 + 5);
    frame.discard(&mut out);
    assert_eq!(out, b"before");
}

#[test]
fn a_client_passes_over_what_it_does_not_know() {
    let decode = |input: &[u8]| match decode_reply(input, &Limits::DEFAULT) {
        DecodedReply::Reply { reply, consumed } if consumed == input.len() => format!("{reply:?}"),
        other => panic!("{other:?}"),
    };
    let expected = format!("{:?}", Reply::Unknown { number: 0x90 });
    assert_eq!(decode(&frame(0x90, &[b"anything"])), expected);
    // Properties: one of a later version, one that is not as it should be, and one that is.
    let row = b"\xf0\0\0\0\x01x\x06\0\0\0\x01x\x07\0\0\0\x01a";
    let input = frame(0x84, &[REQ, &[0, 0, 0, 0, 18], row, b"payload"]);
    let DecodedReply::Reply { reply: Reply::Live { properties, payload, .. }, .. } =
        decode_reply(&input, &Limits::DEFAULT)
    else {
        panic!()
    };
    assert_eq!(properties.iter().map(|one| one.tag()).collect::<Vec<_>>(), [Tag::AppId]);
    assert_eq!(payload, b"payload");
}

#[test]
fn replies_that_are_not_as_they_should_be() {
    let bodies: [(ReplyKind, &[u8]); 19] = [
        (ReplyKind::Ok, &[0; 7]),
        (ReplyKind::Confirm, &[0; 26]),
        (ReplyKind::Confirm, &[9; 27]),
        (ReplyKind::Deliver, &[0; 3]),
        (ReplyKind::Deliver, &[0; 28]),
        (ReplyKind::Deliver, &[&[0; 4][..], &[1], &[0; 20], &[0, 0, 0, 0, 0, 1], &[0; 4]].concat()),
        (ReplyKind::Live, &[0; 3]),
        (ReplyKind::LiveMore, &[0; 8]),
        (ReplyKind::LiveMore, &[0, 0, 0, 1, 0, 0, 0, 0, 1, 5]),
        (ReplyKind::Ping, &[0]),
        (ReplyKind::Pong, &[0; 5]),
        (ReplyKind::Cancel, &[0, 0, 0, 1, 0xff]),
        (ReplyKind::Return, &[0; 14]),
        (ReplyKind::Blocked, &[0xff]),
        (ReplyKind::Unblocked, &[0]),
        (ReplyKind::Item, &[0; 3]),
        (ReplyKind::Refused, &[0; 16]),
        (ReplyKind::Refused, &[&[0; 14][..], &[3, 0, 0]].concat()),
        (ReplyKind::Refused, &[&[0; 15][..], &[3, 0]].concat()),
    ];
    for (kind, body) in bodies {
        let input = frame(kind.number(), &[body]);
        let error = ReplyError::BadFrame { kind };
        let decoded = decode_reply(&input, &Limits::DEFAULT);
        assert_eq!(decoded, DecodedReply::Malformed { error }, "{body:?}");
    }
}

#[test]
fn a_sentence_is_cut_between_characters() {
    let mut out = Vec::new();
    let sentence = "é".repeat(600);
    let refused = reply::Refused {
        req: 1,
        index: 0,
        count: 0,
        number: 403,
        closes: reply::Closes::Nothing,
        retry: reply::Retry::Later,
        name: "queue-full",
        sentence: &format!("x{sentence}"),
    };
    reply::refused(&mut out, &refused);
    match decode_reply(&out, &Limits::DEFAULT) {
        DecodedReply::Reply { reply: Reply::Refused(refused), .. } => {
            assert_eq!(refused.sentence, format!("x{}", "é".repeat(511)));
        }
        other => panic!("{other:?}"),
    }
}
