//! Random frames, frames that were changed at random, and every cut.

#![allow(clippy::unwrap_used, reason = "a test may panic, in its helpers too")]

mod again;
mod seed;

use courant_wire::binary::{
    Confirmed, Decoded, DecodedReply, DeliveryHead, Destination, Get, HEAD_BYTES, Header, Property,
    PublishHead, Reply, Subscribe, Value, Verdict, decode, decode_reply, reply, request,
};
use courant_wire::text::{Confirm, DestinationKind};
use courant_wire::{Handle, Limits, MessageId};
use proptest::prelude::*;
use proptest::sample::Index;

const SMALL: Limits = Limits {
    line_bytes_max: 30,
    body_bytes_max: 20,
    headers_max: 2,
    frame_bytes_max: 100,
    reply_frame_bytes_max: 100,
    ..Limits::DEFAULT
};

fn bytes(range: std::ops::Range<usize>) -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(any::<u8>(), range)
}

fn handle() -> impl Strategy<Value = Handle> {
    (any::<u16>(), any::<u64>(), prop::option::of(1..=u64::MAX))
        .prop_map(|(shard, seq, lease)| Handle { id: MessageId { shard, seq }, lease })
}

fn confirm() -> impl Strategy<Value = Confirm> {
    prop::sample::select(vec![Confirm::Committed, Confirm::Written, Confirm::Memory])
}

/// A row of properties, as bytes.
fn properties(from_client: bool) -> impl Strategy<Value = Vec<u8>> {
    let value = prop_oneof![
        Just(0u8).prop_map(|_| (0u8, Vec::new())),
        (1u8..7, bytes(0..9)).prop_map(|(form, raw)| (form, raw)),
    ];
    let headers = prop::collection::vec(("[a-zå]{1,9}", value, any::<u64>(), ".{0,9}"), 0..4);
    let texts = prop::array::uniform5(prop::option::of(".{0,9}"));
    let others = (prop::option::of(bytes(0..9)), prop::option::of(any::<u64>()));
    let ttl = prop::option::of(1..=1u64 << 42);
    (headers, texts, others, ttl).prop_map(move |(headers, texts, others, ttl)| {
        let mut out = Vec::new();
        for (name, (form, raw), number, text) in &headers {
            let value = match form {
                0 => Value::Null,
                1 => Value::Bool(number % 2 == 1),
                2 => Value::Int(number.cast_signed()),
                3 => Value::Float(f64::from_bits(*number)),
                4 => Value::Text(text),
                5 => Value::Bytes(raw),
                _ => Value::Time(*number),
            };
            Property::Header(Header { name, value }).write(&mut out);
        }
        let [one, two, three, four, user] = &texts;
        let said = [
            one.as_deref().map(Property::ContentType),
            two.as_deref().map(Property::ContentEncoding),
            three.as_deref().map(Property::ReplyTo),
            four.as_deref().map(Property::AppId),
            user.as_deref().filter(|_| !from_client).map(Property::UserId),
            others.0.as_deref().map(Property::CorrelationId),
            others.1.map(Property::Timestamp),
            ttl.filter(|_| from_client).map(Property::TimeToLive),
        ];
        said.into_iter().flatten().for_each(|property| property.write(&mut out));
        out
    })
}

fn publish() -> impl Strategy<Value = Vec<u8>> {
    let messages = prop::collection::vec((properties(true), bytes(0..40)), 1..5);
    let names = (bytes(0..20), bytes(0..9), 0usize..3);
    (any::<u32>(), any::<[bool; 3]>(), confirm(), names, messages).prop_map(
        |(req, flags, confirm, (raw_name, key, kind), messages)| {
            let mut out = Vec::new();
            let head = PublishHead {
                destination: destination(kind, &raw_name, &key),
                is_transient: flags[0],
                is_mandatory: flags[1],
                confirm,
                has_properties: flags[2],
            };
            let frame = request::begin_publish(&mut out, req, &head).unwrap();
            for (said, payload) in &messages {
                if head.has_properties {
                    let said = |out: &mut Vec<u8>| out.extend_from_slice(said);
                    request::message_with(&mut out, said, payload).unwrap();
                } else {
                    request::message(&mut out, payload);
                }
            }
            frame.end(&mut out);
            out
        },
    )
}

fn destination<'a>(kind: usize, raw_name: &'a [u8], key: &'a [u8]) -> Destination<'a> {
    use DestinationKind::{Exchange, Queue, Topic};
    let kind = [Queue, Topic, Exchange][kind];
    Destination { kind, raw_name, key: if kind == Queue { b"" } else { key } }
}

fn settle() -> impl Strategy<Value = Vec<u8>> {
    let handles = prop::collection::vec(handle(), 1..6);
    let ms = prop::option::of(1..=1u64 << 42);
    (any::<u32>(), 0usize..4, ms, any::<[bool; 2]>(), handles).prop_map(
        |(req, verdict, milliseconds, [synced, upto], handles)| {
            let extend = Verdict::Extend { milliseconds };
            let verdict = [Verdict::Ack, Verdict::Nack, Verdict::Reject, extend][verdict];
            let (synced, upto) = (synced && verdict != extend, upto && verdict == Verdict::Ack);
            let mut out = Vec::new();
            let frame = request::begin_settle(&mut out, req, verdict, synced, upto);
            for handle in handles {
                request::handle(&mut out, handle);
            }
            frame.end(&mut out);
            out
        },
    )
}

fn subscribe() -> impl Strategy<Value = Vec<u8>> {
    let numbers = (1..=u32::MAX, any::<Option<u32>>(), any::<u64>(), 0..=1u64 << 42);
    (any::<u32>(), numbers, any::<[bool; 2]>(), bytes(0..9), bytes(0..9), 0usize..3).prop_map(
        |(req, (sub, credit, credit_bytes, visibility), [auto, live], name, other, kind)| {
            let destination = destination(kind, &name, &other);
            let is_queue = destination.kind == DestinationKind::Queue;
            let is_live = live && !is_queue;
            let subscribe = Subscribe {
                sub,
                is_auto: auto && !is_live,
                is_live,
                destination,
                subscriber: if is_queue || is_live { b"" } else { &other },
                credit: credit.filter(|_| !is_live),
                credit_bytes: Some(credit_bytes).filter(|bytes| *bytes != 0 && !is_live),
                visibility: Some(visibility).filter(|ms| *ms != 0 && !is_live),
            };
            let mut out = Vec::new();
            request::subscribe(&mut out, req, &subscribe).unwrap();
            out
        },
    )
}

/// One valid command.
fn command() -> impl Strategy<Value = Vec<u8>> {
    let others = (any::<u32>(), 1..=u32::MAX, 1..=1024u16, bytes(0..9), 0..8).prop_map(
        |(req, sub, count, name, which)| {
            let mut out = Vec::new();
            match which {
                0 => request::connect(&mut out, req, &name),
                1 => request::unsubscribe(&mut out, req, sub),
                2 => request::credit(&mut out, req, sub, u32::from(count), 0),
                3 => request::credit(&mut out, req, 0, 0, u64::from(sub)),
                4 => {
                    let destination = destination(0, &name, b"");
                    request::get(&mut out, req, &Get { is_auto: true, count, destination })
                        .unwrap();
                }
                5 => request::line(&mut out, req, b"LIST queues count:5"),
                6 => request::ping(&mut out, req),
                _ => request::quit(&mut out, req),
            }
            out
        },
    );
    prop_oneof![publish(), publish(), settle(), subscribe(), others]
}

/// One frame of a server.
fn answer() -> impl Strategy<Value = Vec<u8>> {
    let delivery = (handle(), any::<u16>(), any::<[bool; 2]>(), properties(false), bytes(0..30));
    let deliver =
        (any::<u32>(), prop::collection::vec(delivery, 0..5)).prop_map(|(sub, deliveries)| {
            let mut out = Vec::new();
            let frame = reply::begin_deliver(&mut out, sub);
            for (handle, attempt, [is_suspect, more], said, payload) in deliveries {
                let head = DeliveryHead { handle, attempt, is_suspect };
                if more {
                    let said = |out: &mut Vec<u8>| out.extend_from_slice(&said);
                    reply::delivery_more(&mut out, &head, (b"logs", b"a.b"), said, &payload);
                } else {
                    reply::delivery(&mut out, &head, &payload);
                }
            }
            frame.end(&mut out);
            out
        });
    let entry = (any::<[u32; 4]>(), confirm(), prop::option::of(handle()));
    let confirm = prop::collection::vec(entry, 0..5).prop_map(|entries| {
        let mut out = Vec::new();
        let frame = reply::begin_confirm(&mut out);
        for ([req, index, count, queues], level, handle) in entries {
            let id = handle.map(|handle| handle.id);
            reply::confirmed(&mut out, &Confirmed { req, index, count, level, queues, id });
        }
        frame.end(&mut out);
        out
    });
    let live = (any::<u32>(), bytes(0..9), properties(false), bytes(0..30)).prop_map(
        |(sub, key, said, payload)| {
            let mut out = Vec::new();
            let said = |out: &mut Vec<u8>| out.extend_from_slice(&said);
            reply::live_more(&mut out, sub, &key, said, &payload);
            reply::live(&mut out, sub, &payload);
            out
        },
    );
    prop_oneof![deliver, confirm, live]
}

/// Frames, some of them with bytes changed, their lengths mostly right.
fn changed(frames: impl Strategy<Value = Vec<u8>>) -> impl Strategy<Value = Vec<u8>> {
    let change = (any::<Index>(), any::<u8>(), any::<bool>());
    (frames, prop::collection::vec(change, 0..4)).prop_map(|(mut frame, changes)| {
        for (at, byte, is_small) in changes {
            let at = at.index(frame.len());
            if at != 1 {
                frame[at] = if is_small { frame[at] ^ 1 << (byte % 8) } else { byte };
            }
        }
        frame
    })
}

/// Decodes all commands of `input`; each is what it is with less and with more behind it, and is
/// written again as it came.
fn look(input: &[u8], limits: &Limits) -> usize {
    let (mut rest, mut count) = (input, 0);
    loop {
        let decoded = decode(rest, limits);
        let consumed = match &decoded {
            Decoded::Command { req, command, consumed } => {
                let mut out = Vec::new();
                again::command(&mut out, *req, command, &rest[..*consumed]);
                assert_eq!(out, &rest[..*consumed], "{command:?}");
                *consumed
            }
            Decoded::Incomplete { wanted } => {
                assert!(*wanted > rest.len() && *wanted <= limits.frame_bytes_max + HEAD_BYTES);
                return count;
            }
            Decoded::Refused { error, consumed, .. } => {
                assert!(!error.to_string().is_empty());
                match consumed {
                    Some(consumed) => *consumed,
                    None => return count,
                }
            }
        };
        assert!(consumed >= HEAD_BYTES && consumed <= rest.len());
        assert_eq!(decode(&rest[..consumed], limits), decoded);
        for cut in 0..consumed {
            assert!(matches!(decode(&rest[..cut], limits), Decoded::Incomplete { .. }));
        }
        rest = &rest[consumed..];
        count += 1;
    }
}

/// The same of replies, which are written again as something that reads as they did.
fn look_at_replies(input: &[u8], limits: &Limits) -> usize {
    let (mut rest, mut count) = (input, 0);
    while let DecodedReply::Reply { reply, consumed } = decode_reply(rest, limits) {
        let mut out = Vec::new();
        again::reply(&mut out, &reply);
        if !matches!(reply, Reply::Unknown { .. }) {
            let DecodedReply::Reply { reply, consumed } = decode_reply(&out, &Limits::DEFAULT)
            else {
                panic!("{reply:?}")
            };
            assert_eq!(consumed, out.len());
            let mut twice = Vec::new();
            again::reply(&mut twice, &reply);
            assert_eq!(twice, out);
        }
        rest = &rest[consumed..];
        count += 1;
    }
    count
}

proptest! {
    #![proptest_config(seed::config(1000))]

    #[test]
    fn commands_come_back(inputs in prop::collection::vec(command(), 1..5)) {
        let input = inputs.concat();
        prop_assert_eq!(look(&input, &Limits::DEFAULT), inputs.len());
        look(&input, &SMALL);
    }

    #[test]
    fn replies_come_back(inputs in prop::collection::vec(answer(), 1..5)) {
        for input in &inputs {
            let mut rest = &input[..];
            while let DecodedReply::Reply { reply, consumed } =
                decode_reply(rest, &Limits::DEFAULT)
            {
                // A live message of which no more is said has a shorter form.
                let mut out = Vec::new();
                again::reply(&mut out, &reply);
                prop_assert!(out == rest[..consumed] || rest[0] == 0x84);
                for cut in 0..consumed {
                    let half = decode_reply(&rest[..cut], &Limits::DEFAULT);
                    let incomplete = matches!(half, DecodedReply::Incomplete { .. });
                    prop_assert!(incomplete, "cut at {}", cut);
                }
                rest = &rest[consumed..];
            }
            prop_assert!(rest.is_empty());
        }
        let input = inputs.concat();
        prop_assert!(look_at_replies(&input, &Limits::DEFAULT) >= inputs.len());
    }

    #[test]
    fn changed_frames_are_decoded_without_panic(
        commands in prop::collection::vec(changed(command()), 1..4),
        answers in prop::collection::vec(changed(answer()), 1..4),
    ) {
        look(&commands.concat(), &Limits::DEFAULT);
        look(&commands.concat(), &SMALL);
        look_at_replies(&answers.concat(), &Limits::DEFAULT);
        look_at_replies(&answers.concat(), &SMALL);
    }

    #[test]
    fn any_bytes_are_decoded_without_panic(number: u8, length in 0..60u8, input in bytes(0..60)) {
        let input = [&[number & 0x8f, 0, 0, 0, length], &input[..]].concat();
        look(&input, &Limits::DEFAULT);
        look_at_replies(&input, &Limits::DEFAULT);
    }
}
