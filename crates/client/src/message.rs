//! A message that came, and what becomes of it.

use bytes::Bytes;
use courant_wire::binary::{Delivery, Properties, Verdict};
use courant_wire::{Handle, MessageId};

use crate::client::Client;
use crate::error::SettleError;
use crate::worker::Ask;

/// A message. One that has to be settled (of all subscriptions but live ones) counts against the
/// credit of its subscription until it is, and comes again if it never is.
///
/// A settle is sent with those that come soon before and after it; one that did not reach the
/// broker before the connection ended was none, and the message comes again. Dropping a message
/// settles nothing.
#[derive(Debug)]
pub struct Message {
    pub(crate) delivered: Delivered,
    pub(crate) client: Client,
}

/// A message without the way back.
#[derive(Debug)]
pub(crate) struct Delivered {
    pub(crate) payload: Bytes,
    /// Of a message that says more: where it was published, its key, its properties.
    said: Option<(Bytes, Bytes, Bytes)>,
    attempt: u16,
    is_suspect: bool,
    /// `None` for a live message.
    pub(crate) handle: Option<Handle>,
    /// Of which connection it is.
    pub(crate) epoch: u64,
}

impl Delivered {
    /// `delivery` is part of `frame`, and nothing of it is copied.
    pub(crate) fn of(frame: &Bytes, delivery: &Delivery<'_>, epoch: u64) -> Self {
        let said = delivery.more.map(|more| {
            let part = |bytes: &[u8]| frame.slice_ref(bytes);
            (part(more.exchange), part(more.key), part(more.properties.raw()))
        });
        Self {
            payload: frame.slice_ref(delivery.payload),
            said,
            attempt: delivery.head.attempt,
            is_suspect: delivery.head.is_suspect,
            handle: Some(delivery.head.handle),
            epoch,
        }
    }

    /// The same of a live message.
    pub(crate) fn live(
        frame: &Bytes,
        (key, properties, payload): (&[u8], &Properties<'_>, &[u8]),
        epoch: u64,
    ) -> Self {
        let says_more = !key.is_empty() || !properties.is_empty();
        let said = says_more
            .then(|| (Bytes::new(), frame.slice_ref(key), frame.slice_ref(properties.raw())));
        let payload = frame.slice_ref(payload);
        Self { payload, said, attempt: 1, is_suspect: false, handle: None, epoch }
    }
}

impl Message {
    /// What was published. It shares the memory of the messages that came in one frame with it, so
    /// copy what is to be kept for long.
    pub fn payload(&self) -> &Bytes {
        &self.delivered.payload
    }

    /// The payload alone.
    pub fn into_payload(self) -> Bytes {
        self.delivered.payload
    }

    /// Its id; `None` for a live message.
    pub fn id(&self) -> Option<MessageId> {
        self.delivered.handle.map(|handle| handle.id)
    }

    /// The exchange or topic it was published to, where that is not what is subscribed to.
    pub fn exchange(&self) -> &[u8] {
        self.delivered.said.as_ref().map_or(&[], |(exchange, _, _)| exchange)
    }

    /// The key it was published with.
    pub fn key(&self) -> &[u8] {
        self.delivered.said.as_ref().map_or(&[], |(_, key, _)| key)
    }

    /// What is said of it.
    pub fn properties(&self) -> Properties<'_> {
        let said = self.delivered.said.as_ref();
        said.and_then(|(_, _, raw)| Properties::of_server(raw)).unwrap_or_default()
    }

    /// The how-many-eth delivery it is, from 1.
    pub fn attempt(&self) -> u16 {
        self.delivered.attempt
    }

    /// Whether it may have come before: there was an earlier attempt, or an unclean stop.
    pub fn may_be_repeated(&self) -> bool {
        self.delivered.attempt > 1 || self.delivered.is_suspect
    }

    /// Done with.
    pub async fn ack(&self) -> Result<(), SettleError> {
        self.settle(Verdict::Ack).await
    }

    /// Not done: back to its old place.
    pub async fn nack(&self) -> Result<(), SettleError> {
        self.settle(Verdict::Nack).await
    }

    /// Never to be done.
    pub async fn reject(&self) -> Result<(), SettleError> {
        self.settle(Verdict::Reject).await
    }

    /// Still at it, for so many milliseconds from now; `None` is what the queue says.
    pub async fn extend(&self, milliseconds: Option<u64>) -> Result<(), SettleError> {
        self.settle(Verdict::Extend { milliseconds }).await
    }

    async fn settle(&self, verdict: Verdict) -> Result<(), SettleError> {
        let Delivered { handle, epoch, .. } = self.delivered;
        // A live message has nothing to settle.
        let Some(handle) = handle else { return Ok(()) };
        if epoch != self.client.epoch() {
            return Err(SettleError::Stale);
        }
        let asked = self.client.ask(Ask::Settle { verdict, handle, epoch }).await;
        asked.map_err(|_| SettleError::Closed)
    }
}
