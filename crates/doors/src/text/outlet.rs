//! Bytes out: deliveries as MSG, and what the socket did not take yet.

use super::refusal;
use super::subscriptions::{Subscription, Subscriptions};
use courant::{Cause, Flush, Header, Lease, Message, Outlet, Properties, Refusal, Tag, Value};
use courant_wire::text::Line;
use courant_wire::text::reply;
use courant_wire::{Handle, MessageId};
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use tokio::net::tcp::OwnedWriteHalf;

/// A buffer that grew beyond this is given back once it is empty.
const KEEP_BYTES: usize = 64 * 1024;

/// The sending side of one connection.
#[derive(Debug)]
pub(crate) struct TextOutlet {
    socket: Arc<OwnedWriteHalf>,
    subscriptions: Arc<Subscriptions>,
    /// The subscription that the last delivery was for.
    last: Option<(Tag, Arc<Subscription>)>,
    out: Vec<u8>,
    /// Bytes of `out` that the socket took.
    taken: usize,
}

impl TextOutlet {
    pub(crate) fn new(socket: OwnedWriteHalf, subscriptions: Arc<Subscriptions>) -> Self {
        let socket = Arc::new(socket);
        Self { socket, subscriptions, last: None, out: Vec::new(), taken: 0 }
    }
}

impl Outlet for TextOutlet {
    fn deliver(&mut self, tag: Tag, message: &Message<'_>) {
        if self.last.as_ref().is_none_or(|(last, _)| *last != tag) {
            // A subscription that ended meanwhile gets nothing more.
            let Some(subscription) = self.subscriptions.get(tag) else { return };
            self.last = Some((tag, subscription));
        }
        let Some((_, subscription)) = &self.last else { return };
        write_message(&mut self.out, &subscription.prefix, message, |exchange, key| {
            subscription.is_plain(exchange, key)
        });
    }

    fn cancelled(&mut self, tag: Tag, cause: Cause) {
        self.last = None;
        if let Some(subscription) = self.subscriptions.end(tag) {
            let reason = cause.word().replace('-', "_");
            reply::cancel(&mut self.out, &subscription.sub_id, &reason);
        }
    }

    fn refused(&mut self, refusal: Refusal) {
        refusal::write(&mut self.out, refusal, "");
    }

    fn bytes(&mut self, bytes: &mut Vec<u8>) {
        if self.out.is_empty() {
            std::mem::swap(&mut self.out, bytes);
        } else {
            self.out.extend_from_slice(bytes);
        }
    }

    fn held_bytes(&self) -> usize {
        self.out.len() - self.taken
    }

    fn flush(&mut self) -> Flush {
        while self.taken < self.out.len() {
            match self.socket.try_write(&self.out[self.taken..]) {
                Ok(0) => return Flush::Gone,
                Ok(count) => self.taken += count,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Flush::Blocked,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => return Flush::Gone,
            }
        }
        self.taken = 0;
        self.out.clear();
        if self.out.capacity() > KEEP_BYTES {
            self.out = Vec::new();
        }
        Flush::Done
    }

    fn writable(&self) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        let socket = Arc::clone(&self.socket);
        Box::pin(async move {
            let _ = socket.writable().await;
        })
    }
}

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
    if is_plain && message.attempt <= 1 && !message.has_properties() {
        reply::msg(out, prefix, handle, message.payload);
        return;
    }
    let mut line = Line::msg(out, prefix, handle);
    if message.attempt > 1 {
        line = line.number("attempt", u64::from(message.attempt)).token("redelivered", b"yes");
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
pub(crate) fn properties<'o>(mut line: Line<'o>, properties: &Properties<'_>) -> Line<'o> {
    for Header { name, value } in properties.headers {
        line = match value {
            Value::Null => line.header(name.as_bytes(), b""),
            Value::Bool(value) => line.header(name.as_bytes(), value.to_string().as_bytes()),
            Value::Int(value) => line.header(name.as_bytes(), value.to_string().as_bytes()),
            Value::Float(value) => line.header(name.as_bytes(), value.to_string().as_bytes()),
            Value::Text(value) => line.header(name.as_bytes(), value.as_bytes()),
            Value::Bytes(value) => line.header(name.as_bytes(), value),
            Value::Time(value) => line.header(name.as_bytes(), value.to_string().as_bytes()),
        };
    }
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
