//! The vectors in `vectors/`, for authors of clients in any language: each is decoded and compared
//! with its fields, and its fields are encoded and compared with its bytes.

#![allow(clippy::unwrap_used, reason = "a test may panic, in its helpers too")]

mod told;
mod written;

use std::collections::BTreeSet;

use courant_wire::Limits;
use courant_wire::binary::{
    CommandKind, Decoded, DecodedReply, HEAD_BYTES, ReplyKind, decode, decode_reply,
};
use serde_json::Value;

/// One frame.
struct Vector {
    /// File and case, for messages.
    place: String,
    frame: String,
    is_client: bool,
    fields: Value,
    bytes: Vec<u8>,
}

fn vectors() -> Vec<Vector> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/vectors");
    let mut vectors = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "json") {
            continue;
        }
        let file: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
        for case in file["cases"].as_array().unwrap() {
            let pieces = case["bytes"].as_array().unwrap().iter();
            vectors.push(Vector {
                place: format!("{}: {}", path.display(), case["what"]),
                frame: file["frame"].as_str().unwrap().to_owned(),
                is_client: file["from"] == "client",
                fields: case["fields"].clone(),
                bytes: pieces.flat_map(|piece| told::unhex(piece[0].as_str().unwrap())).collect(),
            });
        }
    }
    vectors
}

/// What the whole of `bytes` says: its name and its fields.
fn read(is_client: bool, bytes: &[u8]) -> (&'static str, Value) {
    let limits = Limits::DEFAULT;
    if is_client {
        match decode(bytes, &limits) {
            Decoded::Command { req, command, consumed } if consumed == bytes.len() => {
                told::command(req, &command, bytes)
            }
            other => panic!("{other:?}"),
        }
    } else {
        match decode_reply(bytes, &limits) {
            DecodedReply::Reply { reply, consumed } if consumed == bytes.len() => {
                told::reply(&reply, bytes[0])
            }
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn every_vector_decodes_to_its_fields() {
    for Vector { place, frame, is_client, fields, bytes } in vectors() {
        let (name, told) = read(is_client, &bytes);
        assert_eq!(name, frame, "{place}");
        assert_eq!(told, fields, "{place}");
    }
}

#[test]
fn every_vector_is_encoded_from_its_fields() {
    for Vector { place, frame, is_client, fields, bytes } in vectors() {
        let mut out = b"before".to_vec();
        if is_client {
            written::command(&mut out, &frame, &fields);
        } else {
            written::reply(&mut out, &frame, &fields);
        }
        assert_eq!(told::hex(&out[6..]), told::hex(&bytes), "{place}");
    }
}

#[test]
fn a_cut_vector_is_incomplete_and_says_what_it_wants() {
    for Vector { place, is_client, bytes, .. } in vectors() {
        for cut in 0..bytes.len() {
            let expected = if cut < HEAD_BYTES { HEAD_BYTES } else { bytes.len() };
            let wanted = if is_client {
                match decode(&bytes[..cut], &Limits::DEFAULT) {
                    Decoded::Incomplete { wanted } => Some(wanted),
                    _ => None,
                }
            } else {
                match decode_reply(&bytes[..cut], &Limits::DEFAULT) {
                    DecodedReply::Incomplete { wanted } => Some(wanted),
                    _ => None,
                }
            };
            assert_eq!(wanted, Some(expected), "{place}, cut at {cut}");
        }
    }
}

#[test]
fn every_kind_of_frame_has_vectors() {
    let there: BTreeSet<_> =
        vectors().into_iter().map(|vector| (vector.is_client, vector.frame)).collect();
    let commands = CommandKind::ALL.iter().map(|kind| (true, kind.name().to_owned()));
    let replies = ReplyKind::ALL.iter().map(|kind| (false, kind.name().to_owned()));
    assert_eq!(there, commands.chain(replies).collect());
}
