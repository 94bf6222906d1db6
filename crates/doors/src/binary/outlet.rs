//! Bytes out: deliveries as DELIVER, and what the socket did not take yet.
//!
//! A DELIVER is kept open while deliveries of one subscription follow each other. It is ended when
//! something else comes, when it is flushed, or when it is large; nothing waits for it to grow.

use super::message::write_delivery;
use super::refusal::write_refused;
use crate::refusal::Refused;
use crate::sending::Sending;
use crate::socket::Writer;
use crate::subscriptions::{Subscription, Subscriptions};
use courant::{Alarm, Cause, Client, Flush, Message, Outlet, Refusal, SubscriptionNames, Tag};
use courant_wire::binary::{OpenFrame, reply};
use std::future::Future;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;

/// A DELIVER of so many bytes gets no more deliveries.
pub(super) const RUN_BYTES_MAX: usize = 64 * 1024;

/// The sending side of one connection.
#[derive(Debug)]
pub(crate) struct BinaryOutlet {
    sending: Sending,
    subscriptions: Arc<Subscriptions>,
    client: Client,
    /// The subscription that the last delivery was for.
    last: Option<(Tag, Arc<Subscription>)>,
    /// A DELIVER for it at the end of what is to be sent.
    open: Option<OpenFrame>,
}

impl BinaryOutlet {
    pub(crate) fn new(
        socket: Arc<Writer>,
        subscriptions: Arc<Subscriptions>,
        (client_id, source): (&str, IpAddr),
    ) -> Self {
        let names = Arc::clone(&subscriptions) as Arc<dyn SubscriptionNames>;
        let client = Client { id: client_id.into(), door: "binary", source: Some(source), names };
        Self { sending: Sending::new(socket), subscriptions, client, last: None, open: None }
    }

    /// What is to be sent, behind the last whole frame.
    fn out(&mut self) -> &mut Vec<u8> {
        if let Some(open) = self.open.take() {
            open.end(&mut self.sending.out);
        }
        &mut self.sending.out
    }
}

impl Outlet for BinaryOutlet {
    fn client(&self) -> Client {
        self.client.clone()
    }

    fn deliver(&mut self, tag: Tag, message: &Message<'_>) {
        if self.last.as_ref().is_none_or(|(last, _)| *last != tag) {
            self.out();
            // A subscription that ended meanwhile gets nothing more.
            let Some(subscription) = self.subscriptions.get(tag) else { return };
            self.last = Some((tag, subscription));
        }
        let Some((_, subscription)) = &self.last else { return };
        let out = &mut self.sending.out;
        let is_large = |open: &OpenFrame| open.body_bytes(out) >= RUN_BYTES_MAX;
        if let Some(large) = self.open.take_if(|open| is_large(open)) {
            large.end(out);
        }
        if self.open.is_none() {
            self.open = Some(reply::begin_deliver(out, number_of(subscription)));
        }
        let is_plain = subscription.is_plain(message.exchange, message.key);
        write_delivery(out, message, is_plain);
    }

    fn cancelled(&mut self, tag: Tag, cause: Cause) {
        self.last = None;
        if let Some(subscription) = self.subscriptions.end(tag) {
            let reason = cause.word().replace('-', "_");
            reply::cancel(self.out(), number_of(&subscription), &reason);
        }
    }

    fn blocked(&mut self, alarm: Alarm) {
        reply::blocked(self.out(), alarm.word());
    }

    fn unblocked(&mut self) {
        reply::unblocked(self.out());
    }

    fn refused(&mut self, refusal: Refusal) {
        write_refused(self.out(), &Refused::about(refusal, ""), 0, (0, 0));
    }

    fn bytes(&mut self, bytes: &mut Vec<u8>) {
        self.out();
        self.sending.bytes(bytes);
    }

    fn held_bytes(&self) -> usize {
        self.sending.held_bytes()
    }

    fn flush(&mut self) -> Flush {
        self.out();
        self.sending.flush()
    }

    fn writable(&self) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        self.sending.writable()
    }
}

/// The client's number for a subscription.
fn number_of(subscription: &Subscription) -> u32 {
    subscription.prefix.first_chunk().copied().map_or(0, u32::from_be_bytes)
}
