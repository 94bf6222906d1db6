//! The text protocol, both sides: whatever the bytes are, a decoder gives an answer, stays within
//! what it was given, and says the same of a command however its bytes arrive.

#![no_main]

use courant_wire::Limits;
use courant_wire::text::{Command, Decoded, DecodedReply, Login, Reply, decode, decode_reply};
use libfuzzer_sys::fuzz_target;

/// Small ones, so that every bound is reached by a short input.
const LIMITS: Limits = Limits {
    line_bytes_max: 120,
    body_bytes_max: 20,
    headers_max: 4,
    headers_bytes_max: 64,
    reply_line_bytes_max: 400,
    ..Limits::DEFAULT
};

/// What there is on a line is looked at, too.
fn look(command: &Command<'_>) {
    let (mut buffer, options) = (Vec::new(), command.options());
    for (key, value) in options.iter() {
        let _ = (value.name(&mut buffer), options.number(key), options.yes_no(key));
        let _ = (options.token(key), options.get(key));
    }
    for header in options.headers() {
        let _ = header.name.name(&mut buffer);
        let _ = header.value.bytes(&mut buffer);
    }
    match command {
        Command::Connect { json, .. } => drop(Login::parse(json)),
        Command::Publish(publish) => {
            assert!(publish.body.len() <= LIMITS.body_bytes_max);
            let _ = publish.destination.name(&mut buffer);
        }
        Command::Ack(settle) | Command::Nack(settle) | Command::Reject(settle) => {
            assert!(settle.handles().count() > 0 || settle.upto().is_some());
        }
        _ => {}
    }
}

fn commands(mut input: &[u8]) {
    while !input.is_empty() {
        let decoded = decode(input, &LIMITS);
        let consumed = match &decoded {
            Decoded::Command { command, consumed } => {
                look(command);
                Some(*consumed)
            }
            Decoded::Blank { consumed } => Some(*consumed),
            Decoded::Refused { error, consumed, .. } => {
                assert!(!error.to_string().is_empty());
                *consumed
            }
            Decoded::Incomplete { wanted } => {
                let most = LIMITS.line_bytes_max + LIMITS.body_bytes_max + 4;
                assert!(*wanted == 0 || *wanted > input.len());
                assert!(*wanted <= most && input.len() <= most);
                None
            }
        };
        let Some(consumed) = consumed else { return };
        assert!(consumed > 0 && consumed <= input.len());
        // With fewer bytes it is not yet known, or it is already the same refusal.
        for cut in 0..consumed {
            match decode(&input[..cut], &LIMITS) {
                Decoded::Incomplete { .. } => {}
                Decoded::Refused { consumed: Some(early), .. } if early == consumed => {}
                earlier => assert_eq!(earlier, decoded, "cut at {cut}"),
            }
        }
        // What stands behind it is none of its business.
        assert_eq!(decode(&input[..consumed], &LIMITS), decoded);
        input = &input[consumed..];
    }
}

fn replies(mut input: &[u8]) {
    let mut buffer = Vec::new();
    while !input.is_empty() {
        let consumed = match decode_reply(input, &LIMITS) {
            DecodedReply::Reply { reply, consumed } => {
                if let Reply::Ok { fields } | Reply::Msg { fields, .. } = &reply {
                    let _ = (fields.handle(), fields.msg_id(), fields.number("queues"));
                    for (_, value) in fields.iter() {
                        let _ = value.name(&mut buffer);
                    }
                    assert!(fields.headers().count() <= fields.iter().count());
                }
                consumed
            }
            DecodedReply::Blank { consumed } => consumed,
            DecodedReply::Incomplete { .. } | DecodedReply::Malformed { .. } => return,
        };
        assert!(consumed > 0 && consumed <= input.len());
        input = &input[consumed..];
    }
}

fuzz_target!(|input: &[u8]| {
    commands(input);
    replies(input);
});
