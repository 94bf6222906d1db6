//! A message as this door writes it, and what is said of one, both ways.

use courant::{Header, Lease, Message, Properties, Value};
use courant_wire::binary::{self, DeliveryHead, Property, reply};
use courant_wire::{Handle, MessageId};

/// Writes one delivery into an open DELIVER.
pub(super) fn write_delivery(out: &mut Vec<u8>, message: &Message<'_>, is_plain: bool) {
    let id = MessageId { shard: message.id.shard, seq: message.id.seq };
    let lease = (message.lease != Lease::NONE).then_some(message.lease.0);
    let Message { attempt, is_suspect, payload, .. } = *message;
    let head = DeliveryHead { handle: Handle { id, lease }, attempt, is_suspect };
    if is_plain && !message.has_properties() {
        reply::delivery(out, &head, payload);
        return;
    }
    let mut room = Vec::new();
    let properties = message.properties(&mut room);
    let place = (message.exchange, message.key);
    reply::delivery_more(out, &head, place, |out| write_properties(out, &properties), payload);
}

/// Writes what a publisher said beside the payload.
pub(super) fn write_properties(out: &mut Vec<u8>, properties: &Properties<'_>) {
    for Header { name, value } in properties.headers {
        // No other door lets a name be empty or longer than the field; a reader could do nothing
        // with it.
        if name.is_empty() || u16::try_from(name.len()).is_err() {
            continue;
        }
        let value = value_out(*value);
        Property::Header(binary::Header { name, value }).write(out);
    }
    let said = [
        properties.content_type.map(Property::ContentType),
        properties.content_encoding.map(Property::ContentEncoding),
        properties.correlation_id.map(Property::CorrelationId),
        properties.reply_to.map(Property::ReplyTo),
        properties.timestamp_ms.map(Property::Timestamp),
        properties.app_id.map(Property::AppId),
        properties.user_id.map(Property::UserId),
    ];
    for property in said.iter().flatten() {
        property.write(out);
    }
}

/// What a client says of a message. `headers` has those of this message, in order.
pub(super) fn read_properties<'a>(
    said: &binary::Properties<'a>,
    headers: &'a [Header<'a>],
    now_ms: impl Fn() -> u64,
) -> Properties<'a> {
    let mut properties = Properties { headers, ..Properties::default() };
    for property in said.iter() {
        match property {
            Property::ContentType(text) => properties.content_type = Some(text),
            Property::ContentEncoding(text) => properties.content_encoding = Some(text),
            Property::CorrelationId(bytes) => properties.correlation_id = Some(bytes),
            Property::ReplyTo(text) => properties.reply_to = Some(text),
            Property::Timestamp(time) => properties.timestamp_ms = Some(time),
            Property::AppId(text) => properties.app_id = Some(text),
            Property::TimeToLive(ms) => properties.deadline_ms = Some(now_ms().saturating_add(ms)),
            // Headers were read before; the decoder takes no user id from a client.
            Property::Header(_) | Property::UserId(_) => {}
        }
    }
    properties
}

/// Adds the headers of a message.
pub(super) fn read_headers<'a>(said: &binary::Properties<'a>, headers: &mut Vec<Header<'a>>) {
    headers.extend(said.iter().filter_map(|property| match property {
        Property::Header(binary::Header { name, value }) => {
            Some(Header { name, value: value_in(value) })
        }
        _ => None,
    }));
}

fn value_in(value: binary::Value<'_>) -> Value<'_> {
    match value {
        binary::Value::Null => Value::Null,
        binary::Value::Bool(value) => Value::Bool(value),
        binary::Value::Int(value) => Value::Int(value),
        binary::Value::Float(value) => Value::Float(value),
        binary::Value::Text(value) => Value::Text(value),
        binary::Value::Bytes(value) => Value::Bytes(value),
        binary::Value::Time(value) => Value::Time(value),
    }
}

fn value_out(value: Value<'_>) -> binary::Value<'_> {
    match value {
        Value::Null => binary::Value::Null,
        Value::Bool(value) => binary::Value::Bool(value),
        Value::Int(value) => binary::Value::Int(value),
        Value::Float(value) => binary::Value::Float(value),
        Value::Text(value) => binary::Value::Text(value),
        Value::Bytes(value) => binary::Value::Bytes(value),
        Value::Time(value) => binary::Value::Time(value),
    }
}
