//! The binary protocol, both sides: whatever the bytes are, a decoder gives an answer, stays within
//! what it was given, and what it accepts has one form: it is written again as it came.

#![no_main]

#[path = "../../crates/wire/tests/again/mod.rs"]
mod again;

use courant_wire::Limits;
use courant_wire::binary::{Decoded, DecodedReply, HEAD_BYTES, Reply, decode, decode_reply};
use libfuzzer_sys::fuzz_target;

/// Small ones, so that every bound is reached by a short input.
const LIMITS: Limits = Limits {
    line_bytes_max: 60,
    body_bytes_max: 20,
    headers_max: 4,
    headers_bytes_max: 64,
    reply_line_bytes_max: 400,
    frame_bytes_max: 400,
    reply_frame_bytes_max: 400,
};

fn commands(mut input: &[u8]) {
    let mut out = Vec::new();
    while !input.is_empty() {
        let decoded = decode(input, &LIMITS);
        let consumed = match &decoded {
            Decoded::Command { req, command, consumed } => {
                out.clear();
                again::command(&mut out, *req, command, &input[..*consumed]);
                assert_eq!(out, &input[..*consumed]);
                *consumed
            }
            Decoded::Refused { error, consumed, .. } => {
                assert!(!error.to_string().is_empty());
                assert_eq!(error.loses_framing(), consumed.is_none());
                match consumed {
                    Some(consumed) => *consumed,
                    None => return,
                }
            }
            Decoded::Incomplete { wanted } => {
                assert!(*wanted > input.len() && *wanted <= HEAD_BYTES + LIMITS.frame_bytes_max);
                return;
            }
        };
        assert!(consumed >= HEAD_BYTES && consumed <= input.len());
        // What stands behind it is none of its business.
        assert_eq!(decode(&input[..consumed], &LIMITS), decoded);
        assert!(matches!(decode(&input[..consumed - 1], &LIMITS), Decoded::Incomplete { .. }));
        input = &input[consumed..];
    }
}

fn replies(mut input: &[u8]) {
    while let DecodedReply::Reply { reply, consumed } = decode_reply(input, &LIMITS) {
        assert!(consumed >= HEAD_BYTES && consumed <= input.len());
        input = &input[consumed..];
        if matches!(reply, Reply::Unknown { .. }) {
            continue;
        }
        let (mut once, mut twice) = (Vec::new(), Vec::new());
        again::reply(&mut once, &reply);
        match decode_reply(&once, &Limits::DEFAULT) {
            DecodedReply::Reply { reply, .. } => again::reply(&mut twice, &reply),
            other => panic!("{other:?}"),
        }
        assert_eq!(once, twice);
    }
}

fuzz_target!(|input: &[u8]| {
    commands(input);
    replies(input);
});
