//! The handle of a client: cheap to clone, and all that its users hold.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use courant_wire::Limits;
use tokio::sync::{Semaphore, broadcast, mpsc, oneshot};

use crate::destination::Destination;
use crate::error::{ConnectError, PublishError, RequestError};
use crate::event::{Event, Events};
use crate::limits::{CLAIM_MAX, EVENTS_MAX, REQUESTS_MAX};
use crate::message::Message;
use crate::options::Options;
use crate::publisher::{self, Confirm, Publisher, PublisherOptions, Window};
use crate::subscription::{Inbox, Subscribe, Subscription};
use crate::worker::{self, Ask, Owner};

/// How long [`Client::close`] waits for confirms and the end.
const CLOSE_WITHIN: Duration = Duration::from_secs(10);

/// A client of a broker. Clones are the same client; it ends when the last of them, of its
/// subscriptions, publishers and messages is dropped, or with [`Client::close`].
///
/// The connection is made again by itself whenever it ends. See the page of the crate.
#[derive(Clone, Debug)]
pub struct Client {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    asks: mpsc::Sender<Ask>,
    shared: Arc<Shared>,
    window: Window,
    requests: Semaphore,
    last_sub: AtomicU32,
    owner: Owner,
}

/// What the client and the connection's task both see.
#[derive(Debug)]
pub(crate) struct Shared {
    /// How many connections have ended.
    pub(crate) epoch: AtomicU64,
    pub(crate) events: broadcast::Sender<Event>,
}

/// The client's task has ended.
#[derive(Debug)]
pub(crate) struct Ended;

/// The answer to a command.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Answer {
    /// What the OK says, in the words of the text protocol.
    pub fields: String,
    /// The ITEMs before it, each in those words.
    pub items: Vec<String>,
}

impl Client {
    /// Connects and logs in. From then on the connection is made again whenever it ends.
    ///
    /// It has to be called in a Tokio runtime.
    pub async fn connect(options: Options) -> Result<Self, ConnectError> {
        let window = Window::new(options.window);
        let shared = Arc::new(Shared {
            epoch: AtomicU64::new(0),
            events: broadcast::Sender::new(EVENTS_MAX),
        });
        let (asks, owner) = worker::start(options, Arc::clone(&shared)).await?;
        let requests = Semaphore::new(REQUESTS_MAX);
        let last_sub = AtomicU32::new(0);
        Ok(Self { inner: Arc::new(Inner { asks, shared, window, requests, last_sub, owner }) })
    }

    /// Publishes a message, and waits until it is confirmed: on disk, in all its queues. After a
    /// disconnect it is sent again, so it may be there twice.
    pub async fn publish(
        &self,
        to: &Destination,
        payload: impl Into<Bytes>,
    ) -> Result<Confirm, PublishError> {
        publisher::publish(self, &self.inner.window, to, payload.into()).await
    }

    /// Publishes many messages, confirmed in the background.
    pub fn publisher(&self, to: &Destination, options: PublisherOptions) -> Publisher {
        Publisher::new(self.clone(), to.clone(), options)
    }

    /// Subscribes, and waits until the broker said yes.
    pub async fn subscribe(&self, subscribe: Subscribe) -> Result<Subscription, RequestError> {
        subscribe.check()?;
        let sub = self.inner.last_sub.fetch_add(1, Ordering::Relaxed) + 1;
        let inbox = Arc::new(Inbox::new(&subscribe));
        // Made first: if nobody waits any more, dropping it ends the subscription.
        let subscription = Subscription::new(self.clone(), sub, Arc::clone(&inbox));
        let ask = |answer| Ask::Subscribe { sub, subscribe, inbox, answer };
        self.request(ask).await?;
        Ok(subscription)
    }

    /// Takes up to `count` messages (1 to 1,024) that are ready now from a queue; fewer, or none,
    /// if there are not so many.
    pub async fn claim(
        &self,
        queue: &Destination,
        count: u16,
    ) -> Result<Vec<Message>, RequestError> {
        let (queue, count) = (queue.clone(), count.clamp(1, CLAIM_MAX));
        let taken = self.request(|answer| Ask::Claim { queue, count, answer }).await?;
        let message = |delivered| Message { delivered, client: self.clone() };
        Ok(taken.into_iter().map(message).collect())
    }

    /// Says one line of the text protocol: DECLARE, DELETE, BIND, UNBIND, PURGE, LIST or STATS.
    pub async fn command(&self, line: &str) -> Result<Answer, RequestError> {
        if line.len() > Limits::DEFAULT.line_bytes_max || line.contains(['\r', '\n']) {
            return Err(RequestError::Unsayable);
        }
        let line = line.to_owned();
        self.request(|answer| Ask::Line { line, answer }).await
    }

    /// What happens from now on.
    pub fn events(&self) -> Events {
        Events { receiver: self.inner.shared.events.subscribe() }
    }

    /// Ends the client: what was published is sent and confirmed first. Waits ten seconds at most;
    /// whether it was in order. Whatever others still ask of it is refused.
    pub async fn close(self) -> bool {
        let (answer, ended) = oneshot::channel();
        let in_order = async {
            let asked = self.ask(Ask::Close { answer }).await;
            asked.is_ok() && ended.await.is_ok()
        };
        let is_in_order = tokio::time::timeout(CLOSE_WITHIN, in_order).await.unwrap_or(false);
        self.inner.owner.end();
        is_in_order
    }

    /// Asks for something that is answered; there may be a limited number of them.
    async fn request<T>(
        &self,
        ask: impl FnOnce(oneshot::Sender<Result<T, RequestError>>) -> Ask,
    ) -> Result<T, RequestError> {
        let closed = |_| RequestError::Closed;
        let _room = self.inner.requests.acquire().await.map_err(closed)?;
        let (sender, receiver) = oneshot::channel();
        self.ask(ask(sender)).await.map_err(|Ended| RequestError::Closed)?;
        receiver.await.unwrap_or(Err(RequestError::Closed))
    }

    pub(crate) async fn ask(&self, ask: Ask) -> Result<(), Ended> {
        self.inner.asks.send(ask).await.map_err(|_| Ended)
    }

    pub(crate) fn try_ask(&self, ask: Ask) -> Result<(), Ended> {
        self.inner.asks.try_send(ask).map_err(|_| Ended)
    }

    /// How many connections have ended.
    pub(crate) fn epoch(&self) -> u64 {
        self.inner.shared.epoch.load(Ordering::Acquire)
    }
}
