//! Bytes out: deliveries as MSG, and what the socket did not take yet.

use super::message::write_message;
use super::refusal;
use crate::socket::Writer;
use crate::subscriptions::{Subscription, Subscriptions};
use courant::{Alarm, Cause, Client, Flush, Message, Outlet, Refusal, SubscriptionNames, Tag};
use courant_wire::text::reply;
use std::future::Future;
use std::io;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;

/// A buffer that grew beyond this is given back once it is empty.
const KEEP_BYTES: usize = 64 * 1024;

/// The sending side of one connection.
#[derive(Debug)]
pub(crate) struct TextOutlet {
    socket: Arc<Writer>,
    subscriptions: Arc<Subscriptions>,
    client: Client,
    /// The subscription that the last delivery was for.
    last: Option<(Tag, Arc<Subscription>)>,
    out: Vec<u8>,
    /// Bytes of `out` that the socket took.
    taken: usize,
    /// Whether the socket took all, and has not sent all of it.
    is_unsent: bool,
}

impl TextOutlet {
    pub(crate) fn new(
        socket: Arc<Writer>,
        subscriptions: Arc<Subscriptions>,
        (client_id, source): (&str, IpAddr),
    ) -> Self {
        let (last, out) = (None, Vec::new());
        let names = Arc::clone(&subscriptions) as Arc<dyn SubscriptionNames>;
        let client = Client { id: client_id.into(), door: "text", source: Some(source), names };
        Self { socket, subscriptions, client, last, out, taken: 0, is_unsent: false }
    }
}

impl Outlet for TextOutlet {
    fn client(&self) -> Client {
        self.client.clone()
    }

    fn deliver(&mut self, tag: Tag, message: &Message<'_>) {
        if self.last.as_ref().is_none_or(|(last, _)| *last != tag) {
            // A subscription that ended meanwhile gets nothing more.
            let Some(subscription) = self.subscriptions.get(tag) else { return };
            self.last = Some((tag, subscription));
        }
        let Some((_, subscription)) = self.last.as_ref().filter(|(_, last)| !last.is_over()) else {
            return;
        };
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

    fn blocked(&mut self, alarm: Alarm) {
        reply::blocked(&mut self.out, alarm.word());
    }

    fn unblocked(&mut self) {
        reply::unblocked(&mut self.out);
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
        self.out.len() - self.taken + usize::from(self.is_unsent)
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
        self.is_unsent = match self.socket.try_finish() {
            Ok(()) => false,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => true,
            Err(_) => return Flush::Gone,
        };
        if self.out.capacity() > KEEP_BYTES {
            self.out = Vec::new();
        }
        if self.is_unsent { Flush::Blocked } else { Flush::Done }
    }

    fn writable(&self) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        let socket = Arc::clone(&self.socket);
        Box::pin(async move {
            let _ = socket.writable().await;
        })
    }
}
