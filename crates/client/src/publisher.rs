//! Publishing with a window: so much may be on its way unconfirmed, whoever wants more waits.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use courant_wire::text::Confirm as Level;
use courant_wire::{Limits, MessageId};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

use crate::client::Client;
use crate::destination::Destination;
use crate::error::PublishError;
use crate::options::WindowSize;
use crate::worker::Ask;

/// What the broker said of a message that it took over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Confirm {
    /// Its id; `None` if it is kept nowhere.
    pub id: Option<MessageId>,
    /// How safe it is.
    pub level: Level,
    /// How many queues have it.
    pub queues: u32,
}

/// How a publisher publishes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PublisherOptions {
    /// How much may be unconfirmed.
    pub window: WindowSize,
    /// When a message counts as confirmed.
    pub level: Level,
    /// Not kept in the log.
    pub is_transient: bool,
    /// Whether what was not confirmed when the connection ended is sent over the next one. Then it
    /// may be there twice; without, it fails with [`PublishError::Unknown`].
    pub is_sent_again: bool,
}

impl Default for PublisherOptions {
    /// The default window, confirmed when it is on disk, sent again.
    fn default() -> Self {
        Self {
            window: WindowSize::default(),
            level: Level::Committed,
            is_transient: false,
            is_sent_again: true,
        }
    }
}

/// A message that was not confirmed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("message {number} was not confirmed: {error}")]
pub struct Unconfirmed {
    /// The number that [`Publisher::send`] gave it.
    pub number: u64,
    /// Why.
    #[source]
    pub error: PublishError,
}

/// A message on its way, until it is answered.
#[derive(Debug)]
pub(crate) struct Outgoing {
    pub(crate) to: Destination,
    pub(crate) payload: Bytes,
    pub(crate) level: Level,
    pub(crate) is_transient: bool,
    pub(crate) is_sent_again: bool,
    /// `None` once it was told.
    pub(crate) answer: Option<Answer>,
    /// Its room in the window.
    pub(crate) _room: Room,
}

/// Who waits for the confirm.
#[derive(Debug)]
pub(crate) enum Answer {
    /// One who awaits it.
    One(oneshot::Sender<Result<Confirm, PublishError>>),
    /// A publisher, which is told of failures only.
    Publisher(Arc<Failures>, u64),
}

impl Outgoing {
    /// Tells who waits, and frees the room.
    pub(crate) fn answer(mut self, result: Result<Confirm, PublishError>) {
        self.tell(result);
    }

    fn tell(&mut self, result: Result<Confirm, PublishError>) {
        match (self.answer.take(), result) {
            // Whoever does not wait any more need not be told.
            (Some(Answer::One(sender)), result) => drop(sender.send(result)),
            (Some(Answer::Publisher(failures, number)), Err(error)) => {
                failures.push(Unconfirmed { number, error });
            }
            (Some(Answer::Publisher(..)), Ok(_)) | (None, _) => {}
        }
    }
}

/// A message that goes without an answer has failed. Its room is free only after that was told, so
/// that whoever waits for it finds the failure.
impl Drop for Outgoing {
    fn drop(&mut self) {
        self.tell(Err(PublishError::Closed));
    }
}

/// What failed and was not told yet; at most a window of them, since `send` tells them first.
#[derive(Debug, Default)]
pub(crate) struct Failures(Mutex<VecDeque<Unconfirmed>>);

impl Failures {
    fn push(&self, failure: Unconfirmed) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push_back(failure);
    }

    fn take(&self) -> Result<(), Unconfirmed> {
        match self.0.lock().unwrap_or_else(PoisonError::into_inner).pop_front() {
            Some(failure) => Err(failure),
            None => Ok(()),
        }
    }
}

/// Room for messages and for bytes.
#[derive(Clone, Debug)]
pub(crate) struct Window {
    size: WindowSize,
    messages: Arc<Semaphore>,
    bytes: Arc<Semaphore>,
}

/// The room of one message; free when it is dropped.
#[derive(Debug)]
pub(crate) struct Room {
    _messages: OwnedSemaphorePermit,
    _bytes: OwnedSemaphorePermit,
}

impl Window {
    pub(crate) fn new(size: WindowSize) -> Self {
        let size = WindowSize { messages: size.messages.max(1), bytes: size.bytes.max(1) };
        let room = |count: u32| {
            let count = usize::try_from(count).unwrap_or(usize::MAX);
            Arc::new(Semaphore::new(count.min(Semaphore::MAX_PERMITS)))
        };
        Self { size, messages: room(size.messages), bytes: room(size.bytes) }
    }

    /// Waits for room, in turn. A message larger than all bytes takes all.
    async fn room(&self, bytes: usize) -> Result<Room, PublishError> {
        let bytes = u32::try_from(bytes).unwrap_or(u32::MAX).min(self.size.bytes);
        let closed = |_| PublishError::Closed;
        let messages = self.messages.clone().acquire_owned().await.map_err(closed)?;
        let bytes = self.bytes.clone().acquire_many_owned(bytes).await.map_err(closed)?;
        Ok(Room { _messages: messages, _bytes: bytes })
    }

    /// Waits until nothing is in it.
    async fn empty(&self) -> Result<(), PublishError> {
        let all = self.messages.acquire_many(self.size.messages).await;
        all.map(drop).map_err(|_| PublishError::Closed)
    }
}

/// Publishes to one destination, in order, with a window. See [`Client::publisher`].
#[derive(Debug)]
pub struct Publisher {
    client: Client,
    to: Destination,
    options: PublisherOptions,
    window: Window,
    failures: Arc<Failures>,
    sent: u64,
}

impl Publisher {
    pub(crate) fn new(client: Client, to: Destination, options: PublisherOptions) -> Self {
        let window = Window::new(options.window);
        Self { client, to, options, window, failures: Arc::default(), sent: 0 }
    }

    /// Waits for room in the window and hands the message over; its number, from 0. It is confirmed
    /// when a [`Publisher::flush`] after it succeeds.
    ///
    /// # Errors
    ///
    /// A message before it that failed, each once; then this one was not handed over.
    pub async fn send(&mut self, payload: impl Into<Bytes>) -> Result<u64, Unconfirmed> {
        let number = self.sent;
        let failed = |error| Unconfirmed { number, error };
        self.failures.take()?;
        let payload = payload.into();
        let bytes_max = Limits::DEFAULT.body_bytes_max;
        if payload.len() > bytes_max {
            return Err(failed(PublishError::TooLarge { bytes_max }));
        }
        let room = self.window.room(payload.len()).await.map_err(failed)?;
        self.failures.take()?;
        let answer = Answer::Publisher(Arc::clone(&self.failures), number);
        let outgoing = outgoing(&self.to, payload, &self.options, answer, room);
        self.client.ask(Ask::Publish(outgoing)).await.map_err(|_| failed(PublishError::Closed))?;
        self.sent += 1;
        Ok(number)
    }

    /// Waits until all that was sent is answered. Successful: all of it is confirmed, but for what
    /// an error told before.
    pub async fn flush(&mut self) -> Result<(), Unconfirmed> {
        let empty = self.window.empty().await;
        self.failures.take()?;
        empty.map_err(|error| Unconfirmed { number: self.sent, error })
    }
}

/// As [`Client::publish`].
pub(crate) async fn publish(
    client: &Client,
    window: &Window,
    to: &Destination,
    payload: Bytes,
) -> Result<Confirm, PublishError> {
    let bytes_max = Limits::DEFAULT.body_bytes_max;
    if payload.len() > bytes_max {
        return Err(PublishError::TooLarge { bytes_max });
    }
    let room = window.room(payload.len()).await?;
    let (sender, receiver) = oneshot::channel();
    let options = PublisherOptions::default();
    let outgoing = outgoing(to, payload, &options, Answer::One(sender), room);
    client.ask(Ask::Publish(outgoing)).await.map_err(|_| PublishError::Closed)?;
    receiver.await.unwrap_or(Err(PublishError::Closed))
}

fn outgoing(
    to: &Destination,
    payload: Bytes,
    options: &PublisherOptions,
    answer: Answer,
    room: Room,
) -> Outgoing {
    Outgoing {
        to: to.clone(),
        payload,
        level: options.level,
        is_transient: options.is_transient,
        is_sent_again: options.is_sent_again,
        answer: Some(answer),
        _room: room,
    }
}

/// A message of a test, and what is told of it.
#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests panic")]
pub(crate) fn test_outgoing(
    to: &Destination,
    payload: &str,
    is_sent_again: bool,
) -> (Outgoing, oneshot::Receiver<Result<Confirm, PublishError>>) {
    let room = |count| Arc::new(Semaphore::new(count)).try_acquire_owned();
    let room = Room { _messages: room(1).unwrap(), _bytes: room(1).unwrap() };
    let (sender, told) = oneshot::channel();
    let options = PublisherOptions { is_sent_again, ..PublisherOptions::default() };
    let payload = Bytes::copy_from_slice(payload.as_bytes());
    (outgoing(to, payload, &options, Answer::One(sender), room), told)
}
