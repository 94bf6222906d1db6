//! Random commands, random bytes, and every cut.

#![allow(clippy::unwrap_used, reason = "a test may panic, in its helpers too")]

mod seed;

use courant_wire::text::{
    Command, Decoded, DecodedReply, DestinationKind, HeaderField, Key, Line, OPTIONS, Reply, Verb,
    decode, decode_reply, reply, request,
};
use courant_wire::{Handle, Limits, MessageId};
use proptest::prelude::*;

const SMALL: Limits =
    Limits { line_bytes_max: 64, body_bytes_max: 100, headers_max: 2, ..Limits::DEFAULT };

/// A command in words that do not depend on the way it was read.
fn told(command: &Command<'_>) -> String {
    match command {
        Command::Ack(settle) => {
            format!("Ack {:?} {:?}", settle.handles().collect::<Vec<_>>(), settle.upto())
        }
        command => format!("{command:?}"),
    }
}

/// What one step of decoding was, in a form that outlives the input.
fn steps(input: &[u8], limits: &Limits) -> Vec<String> {
    let mut rest = input;
    let mut steps = Vec::new();
    loop {
        let (step, consumed) = match decode(rest, limits) {
            Decoded::Command { command, consumed } => (told(&command), Some(consumed)),
            Decoded::Blank { consumed } => (String::new(), Some(consumed)),
            Decoded::Incomplete { wanted } => {
                assert!(wanted == 0 || wanted > rest.len());
                return steps;
            }
            Decoded::Refused { error, consumed, req, .. } => {
                (format!("{error:?} {req:?}"), consumed)
            }
        };
        if !step.is_empty() {
            steps.push(step);
        }
        let Some(consumed) = consumed else { return steps };
        assert!(consumed > 0 && consumed <= rest.len());
        rest = &rest[consumed..];
    }
}

/// As [`steps`], the bytes arriving in two reads.
fn steps_cut(input: &[u8], cut: usize, limits: &Limits) -> Vec<String> {
    let mut start = 0;
    let mut steps = Vec::new();
    for end in [cut, input.len()] {
        loop {
            let (step, consumed) = match decode(&input[start..end], limits) {
                Decoded::Command { command, consumed } => (told(&command), Some(consumed)),
                Decoded::Blank { consumed } => (String::new(), Some(consumed)),
                Decoded::Incomplete { .. } => break,
                Decoded::Refused { error, consumed, req, .. } => {
                    (format!("{error:?} {req:?}"), consumed)
                }
            };
            if !step.is_empty() {
                steps.push(step);
            }
            let Some(consumed) = consumed else { return steps };
            start += consumed;
        }
    }
    steps
}

/// Bytes that look like commands more often than chance would have it.
fn noise() -> impl Strategy<Value = Vec<u8>> {
    let word = prop_oneof![
        prop::sample::select(Verb::ALL.to_vec()).prop_map(|verb| verb.name().as_bytes().to_vec()),
        prop::sample::select(OPTIONS.iter().map(|spec| spec.name).collect::<Vec<_>>())
            .prop_map(|name| format!("{name}:").into_bytes()),
        prop::sample::select(vec![
            "queue:a",
            "topic:b%20",
            "exchange:",
            "req:1",
            "msg_id:1.1",
            "h:a=b",
            "sub_id:s",
            "n:1",
            " ",
            "\n",
            "\r\n",
            "5",
            "0",
            "3\nabc\n",
            "%",
            "{",
            "\n\n",
            "key:k",
            "mode:live",
            "queue:",
            "namespace:n",
            "queues",
            "hi:a=5",
            "hb:a=yes",
            "hn:a=",
        ])
        .prop_map(|text| text.as_bytes().to_vec()),
        prop::collection::vec(any::<u8>(), 0..6),
    ];
    let separator = prop::sample::select(vec![&b" "[..], b" ", b"", b"\n"]);
    prop::collection::vec((word, separator), 0..24)
        .prop_map(|words| words.into_iter().flat_map(|(word, end)| [&word, end].concat()).collect())
}

fn kind() -> impl Strategy<Value = DestinationKind> {
    use DestinationKind::{Exchange, Queue, Topic};
    prop::sample::select(vec![Queue, Topic, Exchange])
}

fn bytes(range: std::ops::Range<usize>) -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(any::<u8>(), range)
}

/// One valid command as bytes.
fn valid() -> impl Strategy<Value = Vec<u8>> {
    let publish =
        (kind(), bytes(1..20), bytes(0..40), prop::option::of("[!-~]{1,9}"), any::<bool>())
            .prop_map(|(kind, name, body, req, crlf)| {
                let mut out = Vec::new();
                let line = request::publish_line(&mut out, kind, &name);
                line.req(req.as_deref().map(str::as_bytes)).end_with_body(&body);
                if crlf {
                    out.insert(out.len() - 1, b'\r');
                }
                out
            });
    let ack = (any::<u16>(), any::<u64>(), any::<Option<u64>>()).prop_map(|(shard, seq, lease)| {
        let mut out = Vec::new();
        request::ack(&mut out, Handle { id: MessageId { shard, seq }, lease });
        out
    });
    let others = prop::sample::select(vec![
        "PING\n",
        "pong\r\n",
        "\n",
        "SUB topic:a mode:live\n",
        "NOPE\n",
        "pub topic:a bad:1 2\r\nhi\n",
        "CREDIT sub_id:s n:5\r\n",
        "PUB queue:q priority:12 4\nlost\r\n",
        "DECLARE queue:a req:1\n",
        "DECLARE queue: exclusive:yes\n",
        "PUB topic:t hi:a=1 hn:b= 2\nhi\n",
        "LIST bindings after:x\n",
        "PURGE queue:q\n",
    ]);
    prop_oneof![publish, ack, others.prop_map(|text| text.as_bytes().to_vec())]
}

proptest! {
    #![proptest_config(seed::config(2000))]

    #[test]
    fn any_bytes_are_decoded_without_panic(input in bytes(0..200)) {
        steps(&input, &Limits::DEFAULT);
        steps(&input, &SMALL);
        if let DecodedReply::Reply { consumed, .. } = decode_reply(&input, &Limits::DEFAULT) {
            prop_assert!(consumed <= input.len());
        }
    }

    #[test]
    fn noise_is_decoded_without_panic(input in noise()) {
        steps(&input, &Limits::DEFAULT);
        steps(&input, &SMALL);
        for verb in ["", "MSG ", "ERR "] {
            let input = [verb.as_bytes(), &input].concat();
            if let DecodedReply::Reply { consumed, .. } = decode_reply(&input, &Limits::DEFAULT) {
                prop_assert!(consumed <= input.len());
            }
        }
    }

    /// The shortcuts and the general way agree: a space at the front
    /// is all it takes to go from the first to the second.
    #[test]
    fn the_shortcuts_agree_with_the_general_way(input in valid()) {
        let with_space = [b" ", &input[..]].concat();
        let fast = steps(&input, &Limits::DEFAULT);
        let slow = steps(&with_space, &Limits::DEFAULT);
        prop_assert_eq!(fast, slow);
    }

    #[test]
    fn commands_are_the_same_however_they_are_cut(
        inputs in prop::collection::vec(valid(), 1..5),
        tail in noise(),
    ) {
        let mut input = inputs.concat();
        input.extend_from_slice(&tail);
        for limits in [Limits::DEFAULT, SMALL] {
            let whole = steps(&input, &limits);
            for cut in 0..=input.len() {
                prop_assert_eq!(&steps_cut(&input, cut, &limits), &whole, "cut at {}", cut);
            }
        }
    }

    #[test]
    fn a_publish_comes_back(
        kind in kind(), name in bytes(1..60), body in bytes(0..300),
        key in bytes(1..30), headers in prop::collection::vec((bytes(1..9), bytes(0..9)), 0..5),
    ) {
        let mut out = Vec::new();
        let mut line = request::publish_line(&mut out, kind, &name);
        if kind != DestinationKind::Queue {
            line = line.text("key", &key);
        }
        for (name, value) in &headers {
            line = line.header(name, value);
        }
        line.end_with_body(&body);
        let Decoded::Command { command: Command::Publish(publish), consumed } =
            decode(&out, &Limits::DEFAULT)
        else {
            panic!("{:?}", decode(&out, &Limits::DEFAULT));
        };
        prop_assert_eq!(consumed, out.len());
        prop_assert_eq!(publish.destination.kind, kind);
        let mut buffer = Vec::new();
        prop_assert_eq!(publish.destination.raw_name.bytes(&mut buffer), Ok(&name[..]));
        prop_assert_eq!(publish.body, &body[..]);
        let got = publish.options.get(Key::RoutingKey)
            .map(|text| text.bytes(&mut Vec::new()).unwrap().to_vec());
        prop_assert_eq!(got, (kind != DestinationKind::Queue).then_some(key));
        let got: Vec<_> = publish.options.headers().map(|HeaderField { name, value, .. }| {
            let name = name.bytes(&mut Vec::new()).unwrap().to_vec();
            (name, value.bytes(&mut Vec::new()).unwrap().to_vec())
        }).collect();
        prop_assert_eq!(got, headers);
    }

    #[test]
    fn settles_come_back(
        handles in prop::collection::vec((any::<u16>(), any::<u64>(), any::<Option<u64>>()), 1..9),
    ) {
        let handles: Vec<_> = handles.into_iter()
            .map(|(shard, seq, lease)| Handle { id: MessageId { shard, seq }, lease })
            .collect();
        let mut out = Vec::new();
        handles.iter().fold(Line::new(&mut out, b"ACK"), |line, handle| {
            line.handle("msg_id", *handle)
        }).end();
        let Decoded::Command { command: Command::Ack(settle), .. } = decode(&out, &Limits::DEFAULT)
        else {
            panic!()
        };
        prop_assert_eq!(settle.handles().collect::<Vec<_>>(), handles);
    }

    #[test]
    fn a_message_comes_back(
        shard: u16, seq: u64, lease: u64, name in "[a-z.]{1,20}", sub_id in "[!-~]{1,20}",
        body in bytes(0..300), value in bytes(0..20),
    ) {
        let handle = Handle { id: MessageId { shard, seq }, lease: Some(lease) };
        let mut prefix = Vec::new();
        let destination = format!("topic:{name}");
        reply::msg_prefix(&mut prefix, destination.as_bytes(), Some(sub_id.as_bytes()), None);
        let mut out = Vec::new();
        reply::msg(&mut out, &prefix, handle, &body);
        let plain = out.len();
        Line::msg(&mut out, &prefix, handle).header(b"k", &value).end_with_body(&body);
        for (from, to) in [(0, plain), (plain, out.len())] {
            for cut in from..to {
                let half = decode_reply(&out[from..cut], &Limits::DEFAULT);
                let incomplete = matches!(half, DecodedReply::Incomplete { .. });
                prop_assert!(incomplete, "cut at {}", cut);
            }
            let DecodedReply::Reply { reply, consumed } =
                decode_reply(&out[from..], &Limits::DEFAULT)
            else {
                panic!()
            };
            let Reply::Msg { destination, fields, body: got } = reply else { panic!() };
            prop_assert_eq!(consumed, to - from);
            prop_assert_eq!(destination.raw_name.raw(), name.as_bytes());
            prop_assert_eq!(fields.get("sub_id").unwrap().raw(), sub_id.as_bytes());
            prop_assert_eq!(fields.handle(), Some(handle));
            prop_assert_eq!(got, &body[..]);
        }
    }
}
