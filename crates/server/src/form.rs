//! The forms in which messages and confirms go to stdout, one a line.

use std::borrow::Cow;

use courant_wire::Text;
use courant_wire::text::{Destination, Fields};

use crate::base64;

/// How a message is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    /// The body.
    Body,
    /// The handle, a tab, the body.
    Handle,
    /// A JSON object.
    Json,
}

impl Form {
    /// Appends a message and its line end.
    pub(crate) fn message(
        self,
        out: &mut Vec<u8>,
        destination: Destination<'_>,
        fields: Fields<'_>,
        body: &[u8],
    ) {
        match self {
            Self::Body => out.extend_from_slice(body),
            Self::Handle => {
                out.extend_from_slice(fields.get("msg_id").map_or(b"", |handle| handle.raw()));
                out.push(b'\t');
                out.extend_from_slice(body);
            }
            Self::Json => json_message(out, destination, fields, body),
        }
        out.push(b'\n');
    }
}

/// Appends the confirm of one message as JSON, with its line end.
pub(crate) fn json_confirm(out: &mut Vec<u8>, destination: &str, fields: Fields<'_>) {
    out.extend_from_slice(b"{\"destination\":");
    json_string(out, destination);
    out.extend_from_slice(b",\"msg_id\":");
    json_text(out, fields.get("msg_id"));
    // The protocol leaves out what is usual.
    out.extend_from_slice(b",\"level\":");
    json_string(out, &fields.get("level").map_or("committed".into(), lossy));
    out.extend_from_slice(b",\"queues\":");
    json_number(out, fields.number("queues").unwrap_or(1));
    out.extend_from_slice(b"}\n");
}

fn json_message(out: &mut Vec<u8>, destination: Destination<'_>, fields: Fields<'_>, body: &[u8]) {
    out.extend_from_slice(b"{\"destination\":");
    let name = String::from_utf8_lossy(destination.raw_name.raw());
    json_string(out, &format!("{}:{name}", destination.kind.name()));
    out.extend_from_slice(b",\"msg_id\":");
    json_text(out, fields.get("msg_id"));
    out.extend_from_slice(b",\"attempt\":");
    json_number(out, fields.number("attempt").unwrap_or(1));
    json_properties(out, fields);
    out.extend_from_slice(b",\"headers\":");
    json_headers(out, fields);
    json_body(out, body);
    out.push(b'}');
}

/// Appends a message that came back as JSON, with its line end.
pub(crate) fn json_return(out: &mut Vec<u8>, destination: &str, fields: Fields<'_>, body: &[u8]) {
    out.extend_from_slice(b"{\"returned\":");
    json_string(out, destination);
    for key in ["key", "reason"] {
        if let Some(value) = fields.get(key) {
            out.extend_from_slice(format!(",\"{key}\":").as_bytes());
            json_text(out, Some(value));
        }
    }
    json_body(out, body);
    out.extend_from_slice(b"}\n");
}

fn json_body(out: &mut Vec<u8>, body: &[u8]) {
    if let Ok(body) = std::str::from_utf8(body) {
        out.extend_from_slice(b",\"body\":");
        json_string(out, body);
    } else {
        out.extend_from_slice(b",\"body_base64\":\"");
        base64::encode(out, body);
        out.push(b'"');
    }
}

/// The other fields of the message, where it has any.
fn json_properties(out: &mut Vec<u8>, fields: Fields<'_>) {
    const ELSEWHERE: [&[u8]; 8] =
        [b"sub_id", b"msg_id", b"attempt", b"h", b"hi", b"hb", b"hn", b"req"];
    let mut separator: &[u8] = b",\"properties\":{";
    for (key, value) in fields.iter().filter(|(key, _)| !ELSEWHERE.contains(key)) {
        out.extend_from_slice(separator);
        json_string(out, &String::from_utf8_lossy(key));
        out.push(b':');
        json_text(out, Some(value));
        separator = b",";
    }
    if separator == b"," {
        out.push(b'}');
    }
}

/// A header that is given once is a string, one that is repeated is an array of them.
fn json_headers(out: &mut Vec<u8>, fields: Fields<'_>) {
    let headers: Vec<_> =
        fields.headers().map(|header| (lossy(header.name), lossy(header.value))).collect();
    out.push(b'{');
    let mut separator: &[u8] = b"";
    for (at, (name, value)) in headers.iter().enumerate() {
        if headers[..at].iter().any(|(earlier, _)| earlier == name) {
            continue;
        }
        out.extend_from_slice(separator);
        separator = b",";
        json_string(out, name);
        out.push(b':');
        let mut later = headers[at + 1..].iter().filter(|(other, _)| other == name).peekable();
        if later.peek().is_none() {
            json_string(out, value);
            continue;
        }
        out.push(b'[');
        json_string(out, value);
        for (_, value) in later {
            out.push(b',');
            json_string(out, value);
        }
        out.push(b']');
    }
    out.push(b'}');
}

fn json_text(out: &mut Vec<u8>, text: Option<Text<'_>>) {
    match text {
        Some(text) => json_string(out, &lossy(text)),
        None => out.extend_from_slice(b"null"),
    }
}

fn json_string(out: &mut Vec<u8>, text: &str) {
    // Writing a string into memory can't fail; an empty one would still be valid JSON.
    if serde_json::to_writer(&mut *out, text).is_err() {
        out.extend_from_slice(b"\"\"");
    }
}

fn json_number(out: &mut Vec<u8>, number: u64) {
    out.extend_from_slice(number.to_string().as_bytes());
}

/// The text meant. Bytes that are no UTF-8 become U+FFFD: JSON has no place for them.
fn lossy(text: Text<'_>) -> Cow<'_, str> {
    let mut buffer = Vec::new();
    match text.bytes(&mut buffer) {
        Ok(_) if !text.is_escaped() => String::from_utf8_lossy(text.raw()),
        Ok(bytes) => Cow::Owned(String::from_utf8_lossy(bytes).into_owned()),
        Err(_) => String::from_utf8_lossy(text.raw()),
    }
}

#[cfg(test)]
mod tests {
    use courant_wire::Limits;
    use courant_wire::text::{DecodedReply, Reply, decode_reply};

    use super::*;

    fn printed(form: Form, frame: &[u8]) -> String {
        let mut out = Vec::new();
        match decode_reply(frame, &Limits::DEFAULT) {
            DecodedReply::Reply { reply: Reply::Msg { destination, fields, body }, .. } => {
                form.message(&mut out, destination, fields, body);
            }
            DecodedReply::Reply { reply: Reply::Ok { fields }, .. } => {
                json_confirm(&mut out, "queue:a%20b", fields);
            }
            other => panic!("{other:?}"),
        }
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_body_is_a_line() {
        assert_eq!(printed(Form::Body, b"MSG queue:q sub_id:s msg_id:1.1 3\none\n"), "one\n");
        assert_eq!(printed(Form::Handle, b"MSG queue:q msg_id:1.1 3\none\n"), "1.1\tone\n");
    }

    #[test]
    fn json_has_the_members_that_are_documented() {
        assert_eq!(
            printed(
                Form::Json,
                b"MSG queue:a%20b sub_id:s msg_id:1.1 attempt:2 redelivered:yes h:k=v%20w h:r=1 \
                  h:r=2 h:a%3Db=%22 6\nsay \"x\n"
            ),
            "{\"destination\":\"queue:a%20b\",\"msg_id\":\"1.1\",\"attempt\":2,\
             \"properties\":{\"redelivered\":\"yes\"},\
             \"headers\":{\"k\":\"v w\",\"r\":[\"1\",\"2\"],\"a=b\":\"\\\"\"},\
             \"body\":\"say \\\"x\"}\n"
        );
    }

    #[test]
    fn json_of_a_live_message_has_no_handle() {
        let line = printed(Form::Json, b"MSG topic:t 2\n\xff\x00\n");
        let json: serde_json::Value = serde_json::from_str(&line).unwrap();
        assert_eq!(
            json,
            serde_json::json!({"destination": "topic:t", "msg_id": null, "attempt": 1,
                "headers": {}, "body_base64": "/wA="})
        );
    }

    #[test]
    fn json_of_a_confirm_states_its_level() {
        assert_eq!(
            printed(Form::Json, b"OK msg_id:4z\n"),
            "{\"destination\":\"queue:a%20b\",\"msg_id\":\"4z\",\"level\":\"committed\",\
             \"queues\":1}\n"
        );
        assert!(
            printed(Form::Json, b"OK msg_id:4z level:memory queues:0\n")
                .contains("\"level\":\"memory\",\"queues\":0")
        );
    }
}
