//! Frames as the vectors tell them: their fields by name.

use courant_wire::binary::{
    Closes, Command, Confirmed, Delivery, Destination, Header, Message, Properties, Property,
    PublishHead, Refused, Reply, Retry, Subscribe, Value as HeaderValue, Verdict,
};
use courant_wire::text::Confirm;
use courant_wire::{Handle, MessageId};
use serde_json::{Value, json};

pub(crate) fn unhex(text: &str) -> Vec<u8> {
    let digits = text.as_bytes().chunks(2);
    digits.map(|two| u8::from_str_radix(str::from_utf8(two).unwrap(), 16).unwrap()).collect()
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().flat_map(|byte| [byte >> 4, byte & 15]).map(digit).collect()
}

fn digit(value: u8) -> char {
    char::from_digit(u32::from(value), 16).unwrap()
}

/// The name and the fields of a command; `bytes` are its frame.
pub(crate) fn command(req: u32, command: &Command<'_>, bytes: &[u8]) -> (&'static str, Value) {
    match command {
        Command::Connect { json } => {
            ("CONNECT", json!({ "req": req, "version": 1, "object": told(json) }))
        }
        Command::Publish(publish) => {
            let PublishHead { destination, confirm, has_properties, .. } = publish.head;
            let messages: Vec<_> =
                publish.messages.clone().map(|one| message(&one, has_properties)).collect();
            assert_eq!(messages.len(), publish.messages.len());
            let fields = json!({
                "req": req, "transient": publish.head.is_transient,
                "mandatory": publish.head.is_mandatory, "level": confirm.name(),
                "has_properties": has_properties, "destination": to(&destination),
                "messages": messages,
            });
            ("PUBLISH", fields)
        }
        Command::Subscribe(subscription) => ("SUBSCRIBE", subscribe(req, subscription)),
        Command::Unsubscribe { sub } => ("UNSUBSCRIBE", json!({ "req": req, "sub": sub })),
        Command::Credit { sub, messages, bytes } => {
            ("CREDIT", json!({ "req": req, "sub": sub, "messages": messages, "bytes": bytes }))
        }
        Command::Settle(settle) => {
            let (verdict, ms) = match settle.verdict {
                Verdict::Ack => ("ack", None),
                Verdict::Nack => ("nack", None),
                Verdict::Reject => ("reject", None),
                Verdict::Extend { milliseconds } => ("extend", milliseconds),
            };
            let handles: Vec<_> = settle.handles.clone().map(handle).collect();
            assert_eq!(handles.len(), settle.handles.len());
            let fields = json!({
                "req": req, "verdict": verdict, "synced": settle.is_synced,
                "upto": settle.is_upto, "ms": ms.unwrap_or_default(), "handles": handles,
            });
            ("SETTLE", fields)
        }
        Command::Get(get) => {
            let to = to(&get.destination);
            let fields =
                json!({ "req": req, "auto": get.is_auto, "count": get.count, "destination": to });
            ("GET", fields)
        }
        // The line as it came: what it says is for the tests of the text protocol.
        Command::Line { .. } => ("LINE", json!({ "req": req, "line": told(&bytes[9..]) })),
        Command::Ping => ("PING", json!({ "req": req })),
        Command::Pong => ("PONG", json!({})),
        Command::Quit => ("QUIT", json!({ "req": req })),
    }
}

/// The same of a reply; `number` is its first byte.
pub(crate) fn reply(reply: &Reply<'_>, number: u8) -> (&'static str, Value) {
    match reply {
        Reply::Ok { req, count, fields } => {
            ("OK", json!({ "req": req, "count": count, "fields": told(fields.raw()) }))
        }
        Reply::Confirm(entries) => {
            let entries: Vec<_> = entries.clone().map(confirmed).collect();
            ("CONFIRM", json!({ "entries": entries }))
        }
        Reply::Deliver { sub, deliveries } => {
            let deliveries: Vec<_> = deliveries.clone().map(delivery).collect();
            ("DELIVER", json!({ "sub": sub, "deliveries": deliveries }))
        }
        Reply::Live { sub, payload, .. } if number == 0x83 => {
            ("LIVE", json!({ "sub": sub, "payload": told(payload) }))
        }
        Reply::Live { sub, key, properties: said, payload } => {
            let (key, payload) = (told(key), told(payload));
            let said = properties(said);
            let fields = json!({ "sub": sub, "key": key, "properties": said, "payload": payload });
            ("LIVE with more", fields)
        }
        Reply::Ping => ("PING", json!({})),
        Reply::Pong { req } => ("PONG", json!({ "req": req })),
        Reply::Cancel { sub, reason } => ("CANCEL", json!({ "sub": sub, "reason": reason })),
        Reply::Return { returned, properties: said, payload } => {
            let fields = json!({
                "req": returned.req, "index": returned.index, "reason": returned.reason,
                "exchange": told(returned.exchange), "key": told(returned.key),
                "properties": properties(said), "payload": told(payload),
            });
            ("RETURN", fields)
        }
        Reply::Blocked { reason } => ("BLOCKED", json!({ "reason": reason })),
        Reply::Unblocked => ("UNBLOCKED", json!({})),
        Reply::Item { req, fields } => {
            ("ITEM", json!({ "req": req, "fields": told(fields.raw()) }))
        }
        Reply::Refused(refusal) => ("REFUSED", refused(refusal)),
        Reply::Unknown { number } => panic!("{number:#x} is unknown"),
    }
}

/// Bytes: a string where they are one.
fn told(bytes: &[u8]) -> Value {
    match str::from_utf8(bytes) {
        Ok(text) if !text.contains('\0') => json!(text),
        _ => json!({ "hex": hex(bytes) }),
    }
}

fn to(destination: &Destination<'_>) -> Value {
    let Destination { kind, raw_name, key } = destination;
    json!({ "kind": kind.name(), "name": told(raw_name), "key": told(key) })
}

fn message(message: &Message<'_>, has_properties: bool) -> Value {
    if has_properties {
        let said = properties(&message.properties);
        json!({ "properties": said, "payload": told(message.payload) })
    } else {
        assert!(message.properties.is_empty());
        json!({ "payload": told(message.payload) })
    }
}

fn subscribe(req: u32, subscribe: &Subscribe<'_>) -> Value {
    json!({
        "req": req, "sub": subscribe.sub, "auto": subscribe.is_auto, "live": subscribe.is_live,
        "destination": to(&subscribe.destination), "subscriber": told(subscribe.subscriber),
        "credit": subscribe.credit,
        "credit_bytes": subscribe.credit_bytes.unwrap_or_default(),
        "visibility": subscribe.visibility.unwrap_or_default(),
    })
}

fn handle(handle: Handle) -> Value {
    let MessageId { shard, seq } = handle.id;
    json!({ "shard": shard, "number": seq, "lease": handle.lease.unwrap_or_default() })
}

fn confirmed(entry: Confirmed) -> Value {
    let id = entry.id.map(|MessageId { shard, seq }| json!({ "shard": shard, "number": seq }));
    let level = match entry.level {
        Confirm::Committed => "committed",
        Confirm::Written => "written",
        Confirm::Memory => "memory",
    };
    json!({
        "req": entry.req, "index": entry.index, "count": entry.count, "level": level,
        "queues": entry.queues, "id": id,
    })
}

fn delivery(delivery: Delivery<'_>) -> Value {
    let more = delivery.more.map(|more| {
        let said = properties(&more.properties);
        json!({ "exchange": told(more.exchange), "key": told(more.key), "properties": said })
    });
    json!({
        "handle": handle(delivery.head.handle), "attempt": delivery.head.attempt,
        "suspect": delivery.head.is_suspect, "more": more, "payload": told(delivery.payload),
    })
}

fn properties(properties: &Properties<'_>) -> Value {
    properties.iter().map(|property| said(&property)).collect()
}

fn said(property: &Property<'_>) -> Value {
    match property {
        Property::ContentType(text) => json!({ "content_type": text }),
        Property::ContentEncoding(text) => json!({ "content_encoding": text }),
        Property::Header(header) => json!({ "header": header_said(header) }),
        Property::CorrelationId(bytes) => json!({ "correlation_id": told(bytes) }),
        Property::ReplyTo(text) => json!({ "reply_to": text }),
        Property::Timestamp(number) => json!({ "timestamp": number }),
        Property::AppId(text) => json!({ "app_id": text }),
        Property::UserId(text) => json!({ "user_id": text }),
        Property::TimeToLive(number) => json!({ "time_to_live": number }),
    }
}

fn header_said(Header { name, value }: &Header<'_>) -> Value {
    let (form, value) = match value {
        HeaderValue::Null => return json!({ "name": name, "type": "null" }),
        HeaderValue::Bool(value) => ("bool", json!(value)),
        HeaderValue::Int(value) => ("int", json!(value)),
        HeaderValue::Float(value) => ("float", json!(value)),
        HeaderValue::Text(value) => ("text", json!(value)),
        HeaderValue::Bytes(value) => ("bytes", told(value)),
        HeaderValue::Time(value) => ("time", json!(value)),
    };
    json!({ "name": name, "type": form, "value": value })
}

fn refused(refused: &Refused<'_>) -> Value {
    let closes = match refused.closes {
        Closes::Nothing => "nothing",
        Closes::Session => "session",
        Closes::Connection => "connection",
    };
    let retry = match refused.retry {
        Retry::Never => "never",
        Retry::Changed => "changed",
        Retry::Later => "later",
    };
    json!({
        "req": refused.req, "index": refused.index, "count": refused.count,
        "number": refused.number, "closes": closes, "retry": retry, "name": refused.name,
        "sentence": refused.sentence,
    })
}
