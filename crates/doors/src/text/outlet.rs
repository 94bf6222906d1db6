//! Bytes out: deliveries as MSG, and what the socket did not take yet.

use super::message::write_message;
use super::refusal;
use crate::sending::Sending;
use crate::socket::Writer;
use crate::subscriptions::{Subscription, Subscriptions};
use courant::{Alarm, Cause, Client, Flush, Message, Outlet, Refusal, SubscriptionNames, Tag};
use courant_wire::text::reply;
use std::future::Future;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;

/// The sending side of one connection.
#[derive(Debug)]
pub(crate) struct TextOutlet {
    sending: Sending,
    subscriptions: Arc<Subscriptions>,
    client: Client,
    /// The subscription that the last delivery was for.
    last: Option<(Tag, Arc<Subscription>)>,
}

impl TextOutlet {
    pub(crate) fn new(
        socket: Arc<Writer>,
        subscriptions: Arc<Subscriptions>,
        (client_id, source): (&str, IpAddr),
    ) -> Self {
        let names = Arc::clone(&subscriptions) as Arc<dyn SubscriptionNames>;
        let client = Client { id: client_id.into(), door: "text", source: Some(source), names };
        Self { sending: Sending::new(socket), subscriptions, client, last: None }
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
        let Some((_, subscription)) = &self.last else { return };
        write_message(&mut self.sending.out, &subscription.prefix, message, |exchange, key| {
            subscription.is_plain(exchange, key)
        });
    }

    fn cancelled(&mut self, tag: Tag, cause: Cause) {
        self.last = None;
        if let Some(subscription) = self.subscriptions.end(tag) {
            let reason = cause.word().replace('-', "_");
            reply::cancel(&mut self.sending.out, &subscription.sub_id, &reason);
        }
    }

    fn blocked(&mut self, alarm: Alarm) {
        reply::blocked(&mut self.sending.out, alarm.word());
    }

    fn unblocked(&mut self) {
        reply::unblocked(&mut self.sending.out);
    }

    fn refused(&mut self, refusal: Refusal) {
        refusal::write(&mut self.sending.out, refusal, "");
    }

    fn bytes(&mut self, bytes: &mut Vec<u8>) {
        self.sending.bytes(bytes);
    }

    fn held_bytes(&self) -> usize {
        self.sending.held_bytes()
    }

    fn flush(&mut self) -> Flush {
        self.sending.flush()
    }

    fn writable(&self) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        self.sending.writable()
    }
}
