//! What a door puts between the broker and its client.

use crate::alarm::Alarm;
use crate::client::Client;
use crate::envelope;
use courant_engine::{Cause, Delivery, Header, Lease, MessageId, Properties, Refusal};
use courant_storage::Ticket;
use std::future::Future;
use std::pin::Pin;

/// A door's own number for a subscription; it comes back with everything that concerns it.
pub type Tag = u32;

/// One message as it is handed to a client, borrowed from the log.
#[derive(Debug, Clone, Copy)]
pub struct Message<'a> {
    /// Names the message.
    pub id: MessageId,
    /// Settles this delivery; [`Lease::NONE`] where nothing has to be settled.
    pub lease: Lease,
    /// 1 for the first handing-over.
    pub attempt: u16,
    /// Whether it may have been handed over before an unclean stop, without a trace of it.
    pub is_suspect: bool,
    /// Name of the exchange it came through; empty for the default exchange.
    pub exchange: &'a [u8],
    /// The routing key.
    pub key: &'a [u8],
    /// The properties as they are kept; see [`Message::properties`].
    pub(crate) properties: &'a [u8],
    /// The payload.
    pub payload: &'a [u8],
}

impl<'a> Message<'a> {
    pub(crate) fn new(shard: u16, delivery: &Delivery, body: &'a [u8]) -> Option<Self> {
        let Delivery { seq, lease, attempt, is_suspect, .. } = *delivery;
        let id = MessageId { shard, seq };
        let envelope::Envelope { exchange, key, properties, payload } = envelope::decode(body)?;
        Some(Self { id, lease, attempt, is_suspect, exchange, key, properties, payload })
    }

    /// Whether the publisher said anything beside the payload.
    pub fn has_properties(&self) -> bool {
        !self.properties.is_empty()
    }

    /// What the publisher said beside the payload. `room` is for the headers.
    pub fn properties(&self, room: &'a mut Vec<Header<'a>>) -> Properties<'a> {
        envelope::decode_properties(self.properties, room)
    }
}

/// What became of an attempt to give a client its bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flush {
    /// The client has everything.
    Done,
    /// The client takes no more for now.
    Blocked,
    /// The client is gone.
    Gone,
}

/// The client's side of a session. Called by whoever has news for it, one at a time.
pub trait Outlet: Send {
    /// Who that is, for lists; asked once, when the session begins.
    fn client(&self) -> Client {
        Client::default()
    }

    /// Adds a delivery of the subscription with that tag.
    fn deliver(&mut self, tag: Tag, message: &Message<'_>);

    /// Says that a subscription ended.
    fn cancelled(&mut self, tag: Tag, cause: Cause);

    /// Says that publishing is held back, and why.
    fn blocked(&mut self, alarm: Alarm);

    /// Says that publishing goes on.
    fn unblocked(&mut self);

    /// Says why the session ends; nothing comes after it.
    fn refused(&mut self, refusal: Refusal);

    /// Adds bytes in the door's own form. May take the contents and leave other ones: the caller
    /// only clears the vector afterwards.
    fn bytes(&mut self, bytes: &mut Vec<u8>);

    /// Everything up to the ticket is committed.
    fn committed(&mut self, up_to: Ticket) {
        let _ = up_to;
    }

    /// Bytes that were added and that the client has not taken.
    fn held_bytes(&self) -> usize;

    /// Gives the client as much as it takes without waiting.
    fn flush(&mut self) -> Flush;

    /// Is ready when a client that was [`Flush::Blocked`] may take more.
    fn writable(&self) -> Pin<Box<dyn Future<Output = ()> + Send>>;
}

/// How a live subscriber wants its frames. Frames are the same for all subscribers whose format
/// has the same [`LiveFormat::prefix`] and the same door, so that a run is encoded once.
pub trait LiveFormat: Send + Sync {
    /// Which door encodes them; never the same for two encodings.
    fn door(&self) -> u8;

    /// What distinguishes this subscriber's frames from those of others at the same door.
    fn prefix(&self) -> &[u8];

    /// Appends one frame.
    fn encode(&self, out: &mut Vec<u8>, message: &LiveMessage<'_>);
}

/// One message on the live path: no id, no lease.
#[derive(Debug, Clone, Copy)]
pub struct LiveMessage<'a> {
    /// The routing key.
    pub key: &'a [u8],
    /// What the publisher said beside the payload.
    pub properties: &'a Properties<'a>,
    /// The payload.
    pub payload: &'a [u8],
}
