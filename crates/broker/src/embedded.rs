//! Sessions inside this process: the same queues without a protocol in between.

use crate::alarm::Alarm;
use crate::confirm::{Confirm, Level};
use crate::limits::{OUTBOX_BYTES_MAX, OUTBOX_BYTES_MIN};
use crate::outlet::{Flush, Message, Outlet, Tag};
use crate::publish::Outgoing;
use crate::session::{Destination, Session, Subscribed};
use courant_engine::{
    Cause, Handle, MessageId, Properties, QueueOptions, Refusal, Selector, SubscribeOptions,
    Verdict,
};
use std::collections::{HashMap, VecDeque};
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::Notify;

/// A message that was handed over to this process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delivered {
    /// Names the message.
    pub id: MessageId,
    /// Settles this delivery.
    pub handle: Handle,
    /// 1 for the first handing-over.
    pub attempt: u16,
    /// The routing key.
    pub key: Vec<u8>,
    /// The payload.
    pub payload: Vec<u8>,
}

/// Deliveries that wait to be taken; bounded by the subscriptions' credit, and as a door's bytes.
#[derive(Debug, Default)]
struct Waiting {
    by_tag: HashMap<Tag, VecDeque<Result<Delivered, Cause>>>,
    refusal: Option<Refusal>,
}

#[derive(Debug, Default)]
struct Inner {
    waiting: Mutex<Waiting>,
    /// Bytes of payloads in `waiting`.
    waiting_bytes: AtomicUsize,
    news: Notify,
}

struct EmbeddedOutlet(Arc<Inner>);

impl EmbeddedOutlet {
    fn push(&self, tag: Tag, what: Result<Delivered, Cause>) {
        let mut waiting = self.0.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.by_tag.entry(tag).or_default().push_back(what);
        drop(waiting);
        self.0.news.notify_waiters();
    }
}

impl Outlet for EmbeddedOutlet {
    fn deliver(&mut self, tag: Tag, message: &Message<'_>) {
        self.0.waiting_bytes.fetch_add(message.payload.len(), Ordering::SeqCst);
        let delivered = Delivered {
            id: message.id,
            handle: Handle { seq: message.id.seq, lease: message.lease },
            attempt: message.attempt,
            key: message.key.to_vec(),
            payload: message.payload.to_vec(),
        };
        self.push(tag, Ok(delivered));
    }

    fn cancelled(&mut self, tag: Tag, cause: Cause) {
        self.push(tag, Err(cause));
    }

    /// A publisher of this process sees the refusal.
    fn blocked(&mut self, _: Alarm) {}

    fn unblocked(&mut self) {}

    fn refused(&mut self, refusal: Refusal) {
        self.0.waiting.lock().unwrap_or_else(PoisonError::into_inner).refusal = Some(refusal);
        self.0.news.notify_waiters();
    }

    fn bytes(&mut self, _: &mut Vec<u8>) {}

    fn held_bytes(&self) -> usize {
        self.0.waiting_bytes.load(Ordering::SeqCst)
    }

    fn flush(&mut self) -> Flush {
        Flush::Done
    }

    fn writable(&self) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        Box::pin(std::future::ready(()))
    }
}

/// A session inside this process.
#[derive(Debug)]
pub struct EmbeddedSession {
    session: Session,
    inner: Arc<Inner>,
    next_tag: Tag,
}

/// What [`EmbeddedSession::next`] takes messages by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Subscription(Tag);

impl EmbeddedSession {
    pub(crate) fn begin(
        begin: impl FnOnce(Box<dyn Outlet>) -> Result<Session, Refusal>,
    ) -> Result<Self, Refusal> {
        let inner = Arc::new(Inner::default());
        let session = begin(Box::new(EmbeddedOutlet(Arc::clone(&inner))))?;
        Ok(Self { session, inner, next_tag: 0 })
    }

    /// Makes a queue, or sees that it exists like this. Says its name: one that nobody has used
    /// if `name` is empty.
    pub async fn declare_queue(
        &mut self,
        name: &str,
        options: QueueOptions,
    ) -> Result<String, Refusal> {
        self.session.declare_queue(name, options).await
    }

    /// Makes a topic, or sees that it exists.
    pub async fn declare_topic(&mut self, name: &str) -> Result<(), Refusal> {
        self.session.declare_topic(name).await
    }

    /// Publishes one message and waits for its confirm, which states the level reached.
    pub async fn publish(
        &mut self,
        to: Destination<'_>,
        payload: &[u8],
    ) -> Result<Confirm, Refusal> {
        let to = self.session.destination(to);
        let properties = &Properties::NONE;
        let (level, is_durable) = (Level::Committed, true);
        let message = Outgoing { to, properties, payload, level, is_durable };
        while self.session.publish(&[message], true).is_err() {
            self.session.room().await;
        }
        let outcome = self.session.outcomes().first().copied();
        let published = outcome.unwrap_or(Err(Refusal::Closing))?;
        if let Some(ticket) = published.after {
            self.session.committed(ticket).await?;
        }
        let (level, queues) = (published.level, published.queues);
        self.session.forget_destinations();
        Ok(Confirm { id: published.id.ok_or(Refusal::Closing)?, level, queues })
    }

    /// Begins a subscription.
    pub async fn subscribe(
        &mut self,
        to: Subscribed<'_>,
        options: SubscribeOptions,
    ) -> Result<Subscription, Refusal> {
        let tag = self.next_tag;
        self.next_tag += 1;
        self.session.subscribe(to, tag, options).await?;
        self.session.begin_deliveries();
        Ok(Subscription(tag))
    }

    /// The next message of a subscription; refused when the subscription has ended.
    pub async fn next(&mut self, subscription: Subscription) -> Result<Delivered, Refusal> {
        loop {
            let news = self.inner.news.notified();
            {
                let mut waiting = self.inner.waiting.lock().unwrap_or_else(PoisonError::into_inner);
                if let Some(list) = waiting.by_tag.get_mut(&subscription.0)
                    && let Some(next) = list.pop_front()
                {
                    drop(waiting);
                    let next = next.map_err(|_| Refusal::NoSuchSubscription)?;
                    self.note_taken(next.payload.len());
                    return Ok(next);
                }
                if let Some(refusal) = waiting.refusal {
                    return Err(refusal);
                }
            }
            news.await;
        }
    }

    /// Lets more come once half of what may wait was taken.
    fn note_taken(&self, bytes: usize) {
        let before = self.inner.waiting_bytes.fetch_sub(bytes, Ordering::SeqCst);
        let falls_below = |low: usize| before > low && before - bytes <= low;
        if falls_below(OUTBOX_BYTES_MAX / 2) || falls_below(OUTBOX_BYTES_MIN / 2) {
            self.session.outbox().flush();
        }
    }

    /// Says of one delivery that it was handled. It is synced within 50 ms.
    pub fn ack(&mut self, delivered: &Delivered) -> Result<(), Refusal> {
        self.settle(delivered, Verdict::Ack)
    }

    /// Says anything else of one delivery.
    pub fn settle(&mut self, delivered: &Delivered, verdict: Verdict) -> Result<(), Refusal> {
        let mut results = Vec::with_capacity(1);
        self.session.settle(&[(Selector::One(delivered.handle), verdict)], &mut results);
        results.pop().unwrap_or(Err(Refusal::Closing)).map(|_| ())
    }

    /// Waits until everything settled so far is on disk.
    pub async fn sync_settles(&mut self) -> Result<(), Refusal> {
        let ticket = loop {
            match self.session.settles_synced() {
                Err(Refusal::TooManyInFlight) => self.session.room().await,
                ticket => break ticket?,
            }
        };
        self.session.committed(ticket).await.map(|_| ())
    }

    /// Everything else a session can do.
    pub fn session(&mut self) -> &mut Session {
        &mut self.session
    }
}
