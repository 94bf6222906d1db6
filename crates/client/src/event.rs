//! What happens to a client beside the answers that it waits for.

use tokio::sync::broadcast;

use crate::error::Refusal;

/// Something that happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// The connection is there again. Durable and queue subscriptions go on; what was published to
    /// subscriptions of the session and live ones meanwhile did not reach them.
    Connected,
    /// The connection has ended; another one is being made.
    Disconnected {
        /// Why.
        cause: String,
    },
    /// The broker is short of something: publishing waits.
    Blocked {
        /// Of what, in a word.
        reason: String,
    },
    /// Publishing goes on.
    Unblocked,
    /// The broker ended a subscription.
    Cancelled {
        /// Its number: see [`crate::Subscription::number`].
        sub: u32,
        /// Why, in a word.
        reason: String,
    },
    /// Something was refused that nobody waits for: a settle, mostly.
    Refused(Refusal),
    /// A live subscription was read too slowly: messages of it were lost.
    LiveLost {
        /// Its number.
        sub: u32,
        /// How many.
        messages: u64,
    },
    /// This listener was too slow, and missed so many events.
    Missed(u64),
}

/// A listener.
#[derive(Debug)]
pub struct Events {
    pub(crate) receiver: broadcast::Receiver<Event>,
}

impl Events {
    /// The next event; `None` when the client has ended.
    pub async fn next(&mut self) -> Option<Event> {
        match self.receiver.recv().await {
            Ok(event) => Some(event),
            Err(broadcast::error::RecvError::Lagged(count)) => Some(Event::Missed(count)),
            Err(broadcast::error::RecvError::Closed) => None,
        }
    }
}
