//! Frames written from the fields of a vector.

use super::told::unhex;
use courant_wire::binary::{
    Closes, Confirmed, DeliveryHead, Destination, Get, Header, Property, PublishHead, Refused,
    Retry, Subscribe, Value as HeaderValue, Verdict, reply, request,
};
use courant_wire::text::{Confirm, DestinationKind};
use courant_wire::{Handle, MessageId};
use serde_json::Value;

/// Writes a command by the name of its frame.
pub(crate) fn command(out: &mut Vec<u8>, frame: &str, fields: &Value) {
    let req = || int(fields, "req");
    match frame {
        "CONNECT" => request::connect(out, req(), text(fields, "object").as_bytes()),
        "PUBLISH" => publish(out, req(), fields),
        "SUBSCRIBE" => {
            let (name, key) = (bytes(&fields["destination"]["name"]), key_of(fields));
            let some = |name: &str| Some(int(fields, name)).filter(|number: &u64| *number != 0);
            let subscribe = Subscribe {
                sub: int(fields, "sub"),
                is_auto: flag(fields, "auto"),
                is_live: flag(fields, "live"),
                destination: to(fields, &name, &key),
                subscriber: text(fields, "subscriber").as_bytes(),
                credit: fields["credit"].as_u64().map(|credit| credit.try_into().unwrap()),
                credit_bytes: some("credit_bytes"),
                visibility: some("visibility"),
            };
            request::subscribe(out, req(), &subscribe).unwrap();
        }
        "UNSUBSCRIBE" => request::unsubscribe(out, req(), int(fields, "sub")),
        "CREDIT" => {
            let (sub, messages) = (int(fields, "sub"), int(fields, "messages"));
            request::credit(out, req(), sub, messages, int(fields, "bytes"));
        }
        "SETTLE" => {
            let ms = int::<u64>(fields, "ms");
            let verdict = match text(fields, "verdict") {
                "ack" => Verdict::Ack,
                "nack" => Verdict::Nack,
                "reject" => Verdict::Reject,
                _ => Verdict::Extend { milliseconds: (ms != 0).then_some(ms) },
            };
            let (synced, upto) = (flag(fields, "synced"), flag(fields, "upto"));
            let frame = request::begin_settle(out, req(), verdict, synced, upto);
            for one in fields["handles"].as_array().unwrap() {
                request::handle(out, handle(one));
            }
            frame.end(out);
        }
        "GET" => {
            let (name, key) = (bytes(&fields["destination"]["name"]), key_of(fields));
            let (is_auto, count) = (flag(fields, "auto"), int(fields, "count"));
            let destination = to(fields, &name, &key);
            request::get(out, req(), &Get { is_auto, count, destination }).unwrap();
        }
        "LINE" => request::line(out, req(), text(fields, "line").as_bytes()),
        "PING" => request::ping(out, req()),
        "PONG" => request::pong(out),
        "QUIT" => request::quit(out, req()),
        _ => panic!("{frame}"),
    }
}

/// The same of a reply.
pub(crate) fn reply(out: &mut Vec<u8>, frame: &str, fields: &Value) {
    let req = || int(fields, "req");
    let sub = || int(fields, "sub");
    let payload = || bytes(&fields["payload"]);
    let properties = |out: &mut Vec<u8>| properties(out, &fields["properties"]);
    match frame {
        "OK" => reply::ok(out, req(), int(fields, "count"), text(fields, "fields").as_bytes()),
        "CONFIRM" => {
            let frame = reply::begin_confirm(out);
            for entry in fields["entries"].as_array().unwrap() {
                reply::confirmed(out, &confirmed(entry));
            }
            frame.end(out);
        }
        "DELIVER" => {
            let frame = reply::begin_deliver(out, sub());
            for one in fields["deliveries"].as_array().unwrap() {
                delivery(out, one);
            }
            frame.end(out);
        }
        "LIVE" => reply::live(out, sub(), &payload()),
        "LIVE with more" => {
            let key = bytes(&fields["key"]);
            reply::live_more(out, sub(), &key, properties, &payload());
        }
        "PING" => reply::ping(out),
        "PONG" => reply::pong(out, req()),
        "CANCEL" => reply::cancel(out, sub(), text(fields, "reason")),
        "RETURN" => {
            let returned = reply::Returned {
                req: req(),
                index: int(fields, "index"),
                reason: text(fields, "reason"),
                exchange: text(fields, "exchange").as_bytes(),
                key: text(fields, "key").as_bytes(),
            };
            reply::returned(out, &returned, properties, &payload());
        }
        "BLOCKED" => reply::blocked(out, text(fields, "reason")),
        "UNBLOCKED" => reply::unblocked(out),
        "ITEM" => reply::item(out, req(), text(fields, "fields").as_bytes()),
        "REFUSED" => reply::refused(out, &refused(fields)),
        _ => panic!("{frame}"),
    }
}

fn publish(out: &mut Vec<u8>, req: u32, fields: &Value) {
    let (name, key) = (bytes(&fields["destination"]["name"]), key_of(fields));
    let head = PublishHead {
        destination: to(fields, &name, &key),
        is_transient: flag(fields, "transient"),
        is_mandatory: flag(fields, "mandatory"),
        confirm: Confirm::parse(text(fields, "level").as_bytes()).unwrap(),
        has_properties: flag(fields, "has_properties"),
    };
    let frame = request::begin_publish(out, req, &head).unwrap();
    for one in fields["messages"].as_array().unwrap() {
        let payload = bytes(&one["payload"]);
        if head.has_properties {
            let said = |out: &mut Vec<u8>| properties(out, &one["properties"]);
            request::message_with(out, said, &payload).unwrap();
        } else {
            request::message(out, &payload);
        }
    }
    frame.end(out);
}

fn delivery(out: &mut Vec<u8>, fields: &Value) {
    let head = DeliveryHead {
        handle: handle(&fields["handle"]),
        attempt: int(fields, "attempt"),
        is_suspect: flag(fields, "suspect"),
    };
    let (more, payload) = (&fields["more"], bytes(&fields["payload"]));
    if more.is_null() {
        reply::delivery(out, &head, &payload);
    } else {
        let (exchange, key) = (bytes(&more["exchange"]), bytes(&more["key"]));
        let said = |out: &mut Vec<u8>| properties(out, &more["properties"]);
        reply::delivery_more(out, &head, (&exchange, &key), said, &payload);
    }
}

fn confirmed(fields: &Value) -> Confirmed {
    let id = &fields["id"];
    Confirmed {
        req: int(fields, "req"),
        index: int(fields, "index"),
        count: int(fields, "count"),
        level: Confirm::parse(text(fields, "level").as_bytes()).unwrap(),
        queues: int(fields, "queues"),
        id: (!id.is_null()).then(|| message_id(id)),
    }
}

fn refused(fields: &Value) -> Refused<'_> {
    Refused {
        req: int(fields, "req"),
        index: int(fields, "index"),
        count: int(fields, "count"),
        number: int(fields, "number"),
        closes: match text(fields, "closes") {
            "nothing" => Closes::Nothing,
            "session" => Closes::Session,
            _ => Closes::Connection,
        },
        retry: match text(fields, "retry") {
            "never" => Retry::Never,
            "changed" => Retry::Changed,
            _ => Retry::Later,
        },
        name: text(fields, "name"),
        sentence: text(fields, "sentence"),
    }
}

fn properties(out: &mut Vec<u8>, list: &Value) {
    for one in list.as_array().unwrap() {
        let (name, value) = one.as_object().unwrap().iter().next().unwrap();
        let text = value.as_str().unwrap_or_default();
        let (raw, number) = (bytes(value), value.as_u64().unwrap_or_default());
        let property = match name.as_str() {
            "content_type" => Property::ContentType(text),
            "content_encoding" => Property::ContentEncoding(text),
            "header" => {
                header(out, value);
                continue;
            }
            "correlation_id" => Property::CorrelationId(&raw),
            "reply_to" => Property::ReplyTo(text),
            "timestamp" => Property::Timestamp(number),
            "app_id" => Property::AppId(text),
            "user_id" => Property::UserId(text),
            "time_to_live" => Property::TimeToLive(number),
            _ => panic!("{name}"),
        };
        property.write(out);
    }
}

fn header(out: &mut Vec<u8>, fields: &Value) {
    let value = &fields["value"];
    let raw = bytes(value);
    let value = match text(fields, "type") {
        "null" => HeaderValue::Null,
        "bool" => HeaderValue::Bool(value.as_bool().unwrap()),
        "int" => HeaderValue::Int(value.as_i64().unwrap()),
        "float" => HeaderValue::Float(value.as_f64().unwrap()),
        "text" => HeaderValue::Text(value.as_str().unwrap()),
        "bytes" => HeaderValue::Bytes(&raw),
        _ => HeaderValue::Time(value.as_u64().unwrap()),
    };
    Property::Header(Header { name: text(fields, "name"), value }).write(out);
}

fn to<'a>(fields: &Value, raw_name: &'a [u8], key: &'a [u8]) -> Destination<'a> {
    let kind = match text(&fields["destination"], "kind") {
        "queue" => DestinationKind::Queue,
        "topic" => DestinationKind::Topic,
        _ => DestinationKind::Exchange,
    };
    Destination { kind, raw_name, key }
}

fn key_of(fields: &Value) -> Vec<u8> {
    bytes(&fields["destination"]["key"])
}

fn message_id(fields: &Value) -> MessageId {
    MessageId { shard: int(fields, "shard"), seq: int(fields, "number") }
}

fn handle(fields: &Value) -> Handle {
    let lease = Some(int(fields, "lease")).filter(|lease| *lease != 0);
    Handle { id: message_id(fields), lease }
}

fn bytes(value: &Value) -> Vec<u8> {
    match value["hex"].as_str() {
        Some(digits) => unhex(digits),
        None => value.as_str().unwrap_or_default().as_bytes().to_vec(),
    }
}

fn text<'a>(fields: &'a Value, name: &str) -> &'a str {
    fields[name].as_str().unwrap()
}

fn flag(fields: &Value, name: &str) -> bool {
    fields[name].as_bool().unwrap()
}

fn int<T: TryFrom<u64>>(fields: &Value, name: &str) -> T {
    let number = fields[name].as_u64().unwrap();
    T::try_from(number).ok().unwrap()
}
