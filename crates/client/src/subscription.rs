//! Subscriptions: what is asked for, and the messages that came and were not read yet.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use courant_wire::binary;
use courant_wire::limits::NAME_BYTES_MAX;
use tokio::sync::Notify;

use crate::client::Client;
use crate::destination::Destination;
use crate::error::{EndOfSubscription, RequestError};
use crate::limits::{CREDIT_BYTES, LIVE_BYTES_MAX, LIVE_MAX};
use crate::message::{Delivered, Message};
use crate::worker::Ask;

/// What to subscribe to, and how.
///
/// ```
/// use courant_client::{Destination, Mode, Subscribe};
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let subscribe = Subscribe::new(Destination::topic("prices")?)
///     .mode(Mode::Durable("billing".to_owned()))
///     .credit(50);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Subscribe {
    to: Destination,
    mode: Mode,
    credit: u32,
    credit_bytes: u64,
    visibility_ms: Option<u64>,
}

/// What a subscription keeps.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Of a queue: its messages. Of a topic or an exchange: a queue of the session's own, which
    /// goes with the connection.
    Session,
    /// Of a topic or an exchange: the queue of this name, which waits when nobody is there.
    Durable(String),
    /// Straight from the publisher, at most once, with nothing to settle.
    Live,
}

impl Subscribe {
    /// In mode [`Mode::Session`], with a credit of 256 messages and 32 MiB.
    pub fn new(to: Destination) -> Self {
        let (mode, credit_bytes) = (Mode::Session, CREDIT_BYTES);
        Self { to, mode, credit: 256, credit_bytes, visibility_ms: None }
    }

    /// In another mode.
    #[must_use]
    pub fn mode(mut self, mode: Mode) -> Self {
        self.mode = mode;
        self
    }

    /// How many messages may be open, those that were not read yet included; at least one.
    #[must_use]
    pub fn credit(mut self, messages: u32) -> Self {
        self.credit = messages.max(1);
        self
    }

    /// The same in bytes of their payloads, at least one; a message that is larger comes alone.
    #[must_use]
    pub fn credit_bytes(mut self, bytes: u64) -> Self {
        self.credit_bytes = bytes.max(1);
        self
    }

    /// How long a message may be open before it goes to another.
    #[must_use]
    pub fn visibility_ms(mut self, milliseconds: u64) -> Self {
        self.visibility_ms = Some(milliseconds);
        self
    }

    pub(crate) fn is_live(&self) -> bool {
        self.mode == Mode::Live
    }

    pub(crate) fn check(&self) -> Result<(), RequestError> {
        match &self.mode {
            Mode::Durable(name) if name.len() > NAME_BYTES_MAX => Err(RequestError::Unsayable),
            _ => Ok(()),
        }
    }

    pub(crate) fn wire(&self, sub: u32) -> binary::Subscribe<'_> {
        let subscriber: &[u8] = match &self.mode {
            Mode::Durable(name) => name.as_bytes(),
            Mode::Session | Mode::Live => &[],
        };
        binary::Subscribe {
            sub,
            is_auto: false,
            is_live: self.is_live(),
            destination: self.to.wire(),
            subscriber,
            credit: (!self.is_live()).then_some(self.credit),
            credit_bytes: (!self.is_live()).then_some(self.credit_bytes),
            visibility: self.visibility_ms.filter(|_| !self.is_live()),
        }
    }

    /// Messages and bytes that may wait for the reader.
    fn waiting_max(&self) -> (usize, usize) {
        if self.is_live() {
            return (LIVE_MAX, LIVE_BYTES_MAX);
        }
        let bytes = usize::try_from(self.credit_bytes).unwrap_or(usize::MAX);
        (usize::try_from(self.credit).unwrap_or(usize::MAX), bytes)
    }
}

/// A subscription; it ends when it is dropped. What came and was not read is given back then.
///
/// It goes on after a disconnect by itself, under the same number.
#[derive(Debug)]
pub struct Subscription {
    client: Client,
    sub: u32,
    inbox: Arc<Inbox>,
}

impl Subscription {
    pub(crate) fn new(client: Client, sub: u32, inbox: Arc<Inbox>) -> Self {
        Self { client, sub, inbox }
    }

    /// The number that events call it by.
    pub fn number(&self) -> u32 {
        self.sub
    }

    /// Waits for the next message. Nothing is lost if it is dropped before.
    pub async fn next(&mut self) -> Result<Message, EndOfSubscription> {
        loop {
            {
                let mut state = self.inbox.lock();
                if let Some(delivered) = state.waiting.pop_front() {
                    state.bytes -= delivered.payload.len();
                    return Ok(Message { delivered, client: self.client.clone() });
                }
                if let Some(end) = &state.end {
                    return Err(end.clone());
                }
            }
            self.inbox.news.notified().await;
        }
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        self.inbox.lock().is_left = true;
        // If there is no room for it, the connection's task finds it left at its next look.
        let _ = self.client.try_ask(Ask::Unsubscribe { sub: self.sub });
    }
}

/// Messages between the connection's task and the reader.
#[derive(Debug)]
pub(crate) struct Inbox {
    waiting_max: usize,
    bytes_max: usize,
    state: Mutex<InboxState>,
    news: Notify,
}

#[derive(Debug, Default)]
struct InboxState {
    waiting: VecDeque<Delivered>,
    /// Of their payloads.
    bytes: usize,
    end: Option<EndOfSubscription>,
    /// Nobody reads it any more.
    is_left: bool,
}

impl Inbox {
    pub(crate) fn new(subscribe: &Subscribe) -> Self {
        let (waiting_max, bytes_max) = subscribe.waiting_max();
        Self { waiting_max, bytes_max, state: Mutex::default(), news: Notify::new() }
    }

    fn lock(&self) -> MutexGuard<'_, InboxState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds messages; those that find no room, or no reader, come back.
    pub(crate) fn add(&self, messages: impl Iterator<Item = Delivered>) -> Vec<Delivered> {
        let mut left_over = Vec::new();
        let mut state = self.lock();
        for message in messages {
            let bytes = state.bytes + message.payload.len();
            let has_room = state.waiting.is_empty()
                || state.waiting.len() < self.waiting_max && bytes <= self.bytes_max;
            if state.is_left || !has_room {
                left_over.push(message);
            } else {
                state.bytes = bytes;
                state.waiting.push_back(message);
            }
        }
        drop(state);
        self.news.notify_one();
        left_over
    }

    /// Takes what was not read.
    pub(crate) fn clear(&self) -> VecDeque<Delivered> {
        let mut state = self.lock();
        state.bytes = 0;
        std::mem::take(&mut state.waiting)
    }

    pub(crate) fn end(&self, end: EndOfSubscription) {
        self.lock().end.get_or_insert(end);
        self.news.notify_one();
    }

    pub(crate) fn is_left(&self) -> bool {
        self.lock().is_left
    }
}
