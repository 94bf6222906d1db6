//! A message as this door writes it: MSG, its fields, its body.

use crate::option::headers;
use courant::{Lease, Message, Properties};
use courant_wire::text::Line;
use courant_wire::text::reply;
use courant_wire::{Handle, MessageId};

/// Writes one MSG after its prefix.
pub(crate) fn write_message(
    out: &mut Vec<u8>,
    prefix: &[u8],
    message: &Message<'_>,
    is_plain: impl FnOnce(&[u8], &[u8]) -> bool,
) {
    let id = MessageId { shard: message.id.shard, seq: message.id.seq };
    let lease = (message.lease != Lease::NONE).then_some(message.lease.0);
    let handle = Handle { id, lease };
    let is_plain = is_plain(message.exchange, message.key);
    let is_first = message.attempt <= 1 && !message.is_suspect;
    if is_plain && is_first && !message.has_properties() {
        reply::msg(out, prefix, handle, message.payload);
        return;
    }
    let mut line = Line::msg(out, prefix, handle);
    if message.attempt > 1 {
        line = line.number("attempt", u64::from(message.attempt)).token("redelivered", b"yes");
    } else if message.is_suspect {
        line = line.token("redelivered", b"maybe");
    }
    if !is_plain {
        if !message.exchange.is_empty() {
            line = line.text("exchange", message.exchange);
        }
        if !message.key.is_empty() {
            line = line.text("key", message.key);
        }
    }
    let mut room = Vec::new();
    properties(line, &message.properties(&mut room)).end_with_body(message.payload);
}

/// Writes what a publisher said beside the body.
pub(crate) fn properties<'o>(line: Line<'o>, properties: &Properties<'_>) -> Line<'o> {
    let mut line = headers(line, properties.headers);
    let texts = [
        ("content_type", properties.content_type.map(str::as_bytes)),
        ("content_encoding", properties.content_encoding.map(str::as_bytes)),
        ("correlation_id", properties.correlation_id),
        ("reply_to", properties.reply_to.map(str::as_bytes)),
        ("app_id", properties.app_id.map(str::as_bytes)),
        ("user_id", properties.user_id.map(str::as_bytes)),
    ];
    for (name, value) in texts {
        if let Some(value) = value {
            line = line.text(name, value);
        }
    }
    match properties.timestamp_ms {
        Some(timestamp) => line.number("timestamp", timestamp),
        None => line,
    }
}
