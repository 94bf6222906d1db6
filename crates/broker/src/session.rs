//! A session: all that a door can ask of the broker.
//!
//! A session belongs to one connection and is used by one task at a time. What it holds
//! (subscriptions, open deliveries, queues of its own) is given back when it is closed or dropped.

use crate::account::Account;
use crate::codec;
use crate::confirm::Level;
use crate::envelope;
use crate::flight::Flight;
use crate::hold::Hold;
use crate::keeper::Keeper;
use crate::limits::ROUTES_MAX;
use crate::outbox::Outbox;
use crate::outlet::{LiveFormat, Tag};
use crate::publish::{Desk, DestinationId};
use crate::router::{LiveId, LiveTarget, LiveTargets};
use crate::shard::{Shard, Touched, flush};
use crate::stats::Stats;
use courant_engine::Publish;
use courant_engine::exchange::generations::Slots;
use courant_engine::{
    Admission, BindTo, Engine, ExchangeKind, ExchangeOptions, Operation, Properties, QueueCounts,
    QueueId, QueueOptions, Refusal, Route, Selector, SessionId, SubscribeOptions, SubscriptionId,
    Topology, Verdict,
};
use courant_storage::{Purpose, Ticket, Urgency};
use std::collections::HashMap;
use std::sync::Arc;

/// Where a publisher wants its messages to go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Destination<'a> {
    /// To one queue.
    Queue(&'a str),
    /// To a topic.
    Topic(&'a str),
    /// To an exchange with a routing key.
    Exchange(&'a str, &'a [u8]),
}

/// A destination that this session looked up, and where its messages go.
pub(crate) struct Known {
    kind: Kind,
    pub(crate) exchange: Box<[u8]>,
    pub(crate) key: Arc<[u8]>,
    /// The envelope of a message without properties.
    pub(crate) envelope: Box<[u8]>,
    /// What the route hangs on.
    pub(crate) slots: Slots,
    /// What stood there when it was found.
    pub(crate) version: u64,
    pub(crate) route: Result<Route, Refusal>,
    pub(crate) live: LiveTargets,
    pub(crate) live_version: u64,
}

/// Kind, exchange and key of a destination.
type KnownName = (u8, Box<[u8]>, Box<[u8]>);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Queue,
    Topic,
    Exchange,
}

/// What stands behind a tag.
#[derive(Debug, Clone, Copy)]
enum Held {
    Queue(SubscriptionId, Option<QueueId>),
    Live(LiveId),
}

/// What a subscriber asks for.
#[derive(Clone)]
pub enum Subscribed<'a> {
    /// Messages of a queue, shared with its other subscribers.
    Queue(&'a str),
    /// Messages of a topic or exchange (with that key) from now on, in a transient queue of the
    /// session's own.
    Topic(&'a str, &'a [u8]),
    /// Messages of a topic or exchange (with that key), kept for a durable subscriber of that
    /// name while it is away: in the queue `topic/name`.
    Durable(&'a str, &'a [u8], &'a str),
    /// Messages of a topic or exchange (with that key or pattern), straight to the connection, at
    /// most once.
    Live(&'a str, &'a [u8], Arc<dyn LiveFormat>),
}

/// One connection's hold on the broker.
pub struct Session {
    pub(crate) shard: Arc<Shard>,
    _keeper: Arc<Keeper>,
    pub(crate) id: SessionId,
    pub(crate) outbox: Arc<Outbox>,
    pub(crate) known: Vec<Known>,
    known_names: HashMap<KnownName, u32>,
    held: HashMap<Tag, Held>,
    pub(crate) last_ticket: Ticket,
    pub(crate) desk: Desk,
    pub(crate) touched: Touched,
    pub(crate) in_flight_bytes_max: usize,
    /// What it has in the log, not committed.
    pub(crate) flight: Flight,
    /// What has to be committed before more may be.
    pub(crate) waits_for: Option<Ticket>,
    /// The memory of its namespace.
    pub(crate) account: Arc<Account>,
    /// Whether it has published.
    pub(crate) is_publisher: bool,
    /// What a message of this session waits for.
    pub(crate) hold: Option<Hold>,
    is_open: bool,
}

impl std::fmt::Debug for Session {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Session").field("id", &self.id).finish_non_exhaustive()
    }
}

impl Known {
    /// The destination as the engine takes it.
    pub(crate) fn publish(&self) -> Publish<'_> {
        let exchange = std::str::from_utf8(&self.exchange).unwrap_or_default();
        match self.kind {
            Kind::Queue => Publish::Queue(std::str::from_utf8(&self.key).unwrap_or_default()),
            Kind::Topic => Publish::Topic(exchange),
            Kind::Exchange => Publish::Exchange(exchange, &self.key),
        }
    }
}

impl Session {
    pub(crate) fn new(
        (shard, keeper): (Arc<Shard>, Arc<Keeper>),
        id: SessionId,
        (outbox, account): (Arc<Outbox>, Arc<Account>),
        in_flight_bytes_max: usize,
    ) -> Self {
        Self {
            shard,
            _keeper: keeper,
            id,
            outbox,
            known: Vec::new(),
            known_names: HashMap::new(),
            held: HashMap::new(),
            last_ticket: Ticket::default(),
            desk: Desk::default(),
            touched: Touched::new(),
            in_flight_bytes_max,
            flight: Flight::default(),
            waits_for: None,
            account,
            is_publisher: false,
            hold: None,
            is_open: true,
        }
    }

    /// Looks up a destination, so that a batch can name it by a number. Numbers stay valid until
    /// [`Session::forget_destinations`].
    pub fn destination(&mut self, to: Destination<'_>) -> DestinationId {
        let (kind, exchange, key) = match to {
            Destination::Queue(name) => (Kind::Queue, &b""[..], name.as_bytes()),
            Destination::Topic(name) => (Kind::Topic, name.as_bytes(), &b""[..]),
            Destination::Exchange(name, key) => (Kind::Exchange, name.as_bytes(), key),
        };
        let name = (kind as u8, Box::from(exchange), Box::from(key));
        if let Some(known) = self.known_names.get(&name) {
            return DestinationId(*known);
        }
        let mut plain = Vec::new();
        envelope::encode(&mut plain, exchange, key, &Properties::NONE);
        let number = u32::try_from(self.known.len()).unwrap_or(u32::MAX);
        self.known.push(Known {
            kind,
            exchange: name.1.clone(),
            key: Arc::from(key),
            envelope: plain.into(),
            slots: Slots::default(),
            version: u64::MAX,
            route: Err(Refusal::NoSuchQueue),
            live: Arc::default(),
            live_version: u64::MAX,
        });
        self.known_names.insert(name, number);
        DestinationId(number)
    }

    /// Forgets all destinations if there are many. Call it between batches.
    pub fn forget_destinations(&mut self) -> bool {
        if self.known.len() < ROUTES_MAX {
            return false;
        }
        self.known.clear();
        self.known_names.clear();
        true
    }

    /// Finds the route of a destination again if the topology changed.
    pub(crate) fn refresh(&mut self, engine: &Engine, to: DestinationId) {
        let Some(known) = self.known.get_mut(to.0 as usize) else { return };
        if known.version == engine.generations().at(known.slots) {
            return;
        }
        let to = known.publish();
        let slots = engine.slots(self.id, to);
        known.route = engine.resolve(self.id, to);
        known.slots = slots;
        known.version = engine.generations().at(slots);
        known.live_version = u64::MAX;
    }

    /// Changes the topology and waits until that is committed. While the log is full it waits
    /// for room.
    pub async fn change(&mut self, request: Topology<'_>) -> Result<(), Refusal> {
        let ticket = loop {
            match self.begin_change(request) {
                Err(Refusal::TooManyInFlight) => self.log_room().await,
                begun => break begun?,
            }
        };
        flush(&self.touched);
        self.touched.clear();
        match ticket {
            Some(ticket) => self.outbox.committed(ticket).await,
            None => Ok(()),
        }
    }

    /// Admits a change and writes its record, or neither. Gives the ticket to wait for.
    fn begin_change(&mut self, request: Topology<'_>) -> Result<Option<Ticket>, Refusal> {
        let shard = Arc::clone(&self.shard);
        let mut guard = shard.lock();
        let state = &mut *guard;
        let mut has_to_wait = Ok(false);
        let ticket = shard.append(Urgency::Now, Purpose::Upkeep, &mut |open| {
            let (engine, effects) = (&mut state.engine, &mut state.effects);
            has_to_wait = engine.admit_topology(self.id, request, effects).map(|admission| {
                if let Admission::Log(record) = &admission {
                    let meta = shard.meta(codec::kind(record), engine.number());
                    open.push_with(meta, |out| codec::encode(record, out), |_| {});
                }
                !matches!(admission, Admission::Done)
            });
        })?;
        let has_to_wait = has_to_wait?;
        shard.hand_out(state, &mut self.touched);
        if has_to_wait {
            state.wait(ticket, &self.outbox);
        }
        Ok(has_to_wait.then_some(ticket))
    }

    /// What the namespace may not have more of, in words.
    pub fn used_up(&self) -> Option<String> {
        self.shard.lock().engine.used_up(self.id)
    }

    /// Makes a queue, or sees that it exists like this. Says its name: one that nobody has used
    /// if `name` is empty.
    pub async fn declare_queue(
        &mut self,
        name: &str,
        options: QueueOptions,
    ) -> Result<String, Refusal> {
        let name = match name {
            "" => self.shard.lock().engine.give_queue_name(),
            name => name.to_owned(),
        };
        self.change(Topology::DeclareQueue(&name, options)).await?;
        Ok(name)
    }

    /// After [`Refusal::DeclaredOtherwise`]: the word for the first policy in which the queue
    /// differs.
    pub fn queue_difference(&self, name: &str, options: &QueueOptions) -> Option<&'static str> {
        self.shard.lock().engine.queue_difference(self.id, name, options)
    }

    /// Makes a topic, or sees that it exists.
    pub async fn declare_topic(&mut self, name: &str) -> Result<(), Refusal> {
        self.change(Topology::DeclareExchange(name, ExchangeOptions::of(ExchangeKind::Fanout)))
            .await
    }

    /// How a queue is doing; refused if it does not exist.
    pub fn inspect(&self, queue: &str) -> Result<QueueCounts, Refusal> {
        let state = self.shard.lock();
        let id = state.engine.queue_of(self.id, Operation::Inspect, queue)?;
        state.engine.counts(id).ok_or(Refusal::NoSuchQueue)
    }

    /// Whether a topic or exchange exists.
    pub fn inspect_exchange(&self, name: &str) -> Result<(), Refusal> {
        self.shard.lock().engine.exchange_of(self.id, Operation::Inspect, name).map(|_| ())
    }

    /// How an exchange routes, for who may make this binding; `None` if it is not there, and for
    /// others.
    pub fn exchange_kind(&self, exchange: &str, to: BindTo<'_>) -> Option<ExchangeKind> {
        self.shard.lock().engine.kind_of(self.id, exchange, to)
    }

    /// The wire key of the first option by which an exchange that is there differs.
    pub fn exchange_difference(
        &self,
        name: &str,
        options: ExchangeOptions<'_>,
    ) -> Option<&'static str> {
        self.shard.lock().engine.exchange_difference(self.id, name, options)
    }

    /// Begins a subscription, to a topic as to the exchange that it is; its messages come to the
    /// outlet with the tag.
    pub async fn subscribe(
        &mut self,
        to: Subscribed<'_>,
        tag: Tag,
        options: SubscribeOptions,
    ) -> Result<(), Refusal> {
        if self.held.contains_key(&tag) {
            return Err(Refusal::SubscriptionExists);
        }
        let held = match to {
            Subscribed::Queue(name) => self.subscribe_queue(name, tag, options)?,
            Subscribed::Topic(name, key) => self.subscribe_topic((name, key), tag, options)?,
            Subscribed::Durable(topic, key, name) => {
                let queue = self.join_subscriber(topic, key, name).await?;
                self.subscribe_queue(&queue, tag, options)?
            }
            Subscribed::Live(name, key, format) => {
                let state = self.shard.lock();
                let exchange = state.engine.live_place(self.id, name, key)?;
                let outbox = Arc::clone(&self.outbox);
                let target = LiveTarget { outbox, tag, format };
                Held::Live(self.shard.router.add(exchange, key, target))
            }
        };
        self.held.insert(tag, held);
        Ok(())
    }

    fn subscribe_queue(
        &mut self,
        name: &str,
        tag: Tag,
        options: SubscribeOptions,
    ) -> Result<Held, Refusal> {
        let id = {
            let mut state = self.shard.lock();
            let queue = state.engine.queue_of(self.id, Operation::Consume, name)?;
            let id = state.engine.subscribe(self.id, queue, options)?;
            state.tag(id, tag);
            id
        };
        Ok(Held::Queue(id, None))
    }

    fn subscribe_topic(
        &mut self,
        (name, key): (&str, &[u8]),
        tag: Tag,
        options: SubscribeOptions,
    ) -> Result<Held, Refusal> {
        let mut guard = self.shard.lock();
        let state = &mut *guard;
        let exchange = state.engine.exchange_of(self.id, Operation::Consume, name)?;
        let queue = state.engine.open_session_queue(self.id, exchange, key)?;
        let id = match state.engine.subscribe(self.id, queue, options) {
            Ok(id) => id,
            Err(refusal) => {
                state.engine.close_session_queue(self.id, queue, &mut state.effects);
                return Err(refusal);
            }
        };
        state.tag(id, tag);
        Ok(Held::Queue(id, Some(queue)))
    }

    /// Starts handing over to new subscriptions. Called once their reply was added.
    pub fn begin_deliveries(&mut self) {
        self.step(|_, _| {});
    }

    /// Ends a subscription.
    pub fn unsubscribe(&mut self, tag: Tag) -> Result<(), Refusal> {
        let held = self.held.remove(&tag).ok_or(Refusal::NoSuchSubscription)?;
        match held {
            Held::Live(id) => {
                self.shard.router.remove(id);
                Ok(())
            }
            Held::Queue(id, own) => {
                let session = self.id;
                self.step(|engine, effects| {
                    let done = engine.unsubscribe(session, id);
                    if let Some(queue) = own {
                        engine.close_session_queue(session, queue, effects);
                    }
                    done
                })
            }
        }
    }

    /// Forgets a subscription that the broker ended.
    pub fn forget(&mut self, tag: Tag) {
        self.held.remove(&tag);
    }

    /// Lets that many more deliveries of a subscription be open at a time.
    pub fn credit(&mut self, tag: Tag, more: u32) -> Result<(), Refusal> {
        let session = self.id;
        match self.held.get(&tag) {
            Some(Held::Queue(id, _)) => {
                let id = *id;
                self.step(|engine, _| engine.add_credit(session, id, more))
            }
            Some(Held::Live(_)) => Err(Refusal::NotSupported),
            None => Err(Refusal::NoSuchSubscription),
        }
    }

    /// Lets so many messages, and bytes of them, be open at a time over all subscriptions; `None`
    /// means no bound. One that is larger than all these bytes comes alone.
    pub fn set_credit(&mut self, messages: Option<u32>, bytes: Option<u64>) {
        let session = self.id;
        self.step(|engine, _| engine.set_credit(session, messages, bytes));
    }

    /// The broker's time, milliseconds since 1970: deadlines are looked at by it.
    pub fn now_ms(&self) -> u64 {
        self.shard.clock.now_ms()
    }

    /// Runs a step of the engine, hands over what follows, and flushes.
    fn step<T>(&mut self, run: impl FnOnce(&mut Engine, &mut courant_engine::Effects) -> T) -> T {
        let shard = Arc::clone(&self.shard);
        let result = {
            let mut guard = shard.lock();
            let state = &mut *guard;
            let result = run(&mut state.engine, &mut state.effects);
            shard.hand_out(state, &mut self.touched);
            result
        };
        flush(&self.touched);
        self.touched.clear();
        result
    }

    /// Settles open deliveries, in order; one result each, appended to `results`.
    pub fn settle(
        &mut self,
        verdicts: &[(Selector, Verdict)],
        results: &mut Vec<Result<u32, Refusal>>,
    ) {
        let shard = Arc::clone(&self.shard);
        let (mut settled, mut rejected) = (0, 0);
        {
            let mut guard = shard.lock();
            let now_ms = shard.clock.now_ms();
            for (selector, verdict) in verdicts {
                let state = &mut *guard;
                let (engine, effects) = (&mut state.engine, &mut state.effects);
                let mut result = engine.settle(self.id, *selector, *verdict, now_ms, effects);
                // All up to one go in steps, between which others get the shard.
                while let (Selector::UpTo(handle), Ok(count)) = (selector, result)
                    && !matches!(verdict, Verdict::Extend(_))
                    && guard.engine.is_open(*handle)
                {
                    shard.hand_out(&mut guard, &mut self.touched);
                    drop(guard);
                    guard = shard.lock();
                    let state = &mut *guard;
                    let (engine, effects) = (&mut state.engine, &mut state.effects);
                    let more = engine.settle(self.id, *selector, *verdict, now_ms, effects);
                    result = more.map(|more| count + more).or(Ok(count));
                    if more.is_err() {
                        break;
                    }
                }
                let count = u64::from(result.unwrap_or(0));
                settled += count;
                if *verdict == Verdict::Reject {
                    rejected += count;
                }
                results.push(result);
            }
            shard.hand_out(&mut guard, &mut self.touched);
        }
        Stats::add(&shard.stats.settled, settled);
        if rejected > 0 {
            Stats::add(&shard.stats.rejected, rejected);
        }
        flush(&self.touched);
        self.touched.clear();
    }

    /// The ticket whose commit makes all settles so far durable.
    pub fn settles_synced(&mut self) -> Result<Ticket, Refusal> {
        let shard = Arc::clone(&self.shard);
        let mut guard = shard.lock();
        let state = &mut *guard;
        let ticket = shard.log_settles(state, Urgency::Now)?;
        state.wait(ticket, &self.outbox);
        Ok(ticket)
    }

    /// Closes the session if more is held for its connection than may be: `carried` bytes that the
    /// door read and that could not be done yet, what is on its way into the log, and what is on
    /// its way to the client. Says whether it was closed.
    pub fn look_at_memory(&mut self, carried: usize) -> bool {
        let more = self.flight.bytes().saturating_add(carried);
        self.shard.look_at_memory(&self.outbox, more)
    }

    /// Counts the connection as one that is closed because it says nothing.
    pub fn note_silent(&self) {
        Stats::add(&self.shard.stats.silent_closed, 1);
    }

    /// Waits until a ticket of this session is committed.
    pub async fn committed(&self, ticket: Ticket) -> Result<Level, Refusal> {
        self.outbox.committed(ticket).await.map(|()| Level::Committed)
    }

    /// Gives back everything and ends the session.
    pub fn close(&mut self) {
        if !self.is_open {
            return;
        }
        self.is_open = false;
        for (_, held) in self.held.drain() {
            if let Held::Live(id) = held {
                self.shard.router.remove(id);
            }
        }
        let mut touched = Touched::new();
        let mut more = true;
        while more {
            let mut guard = self.shard.lock();
            let state = &mut *guard;
            more = state.engine.detach(self.id, &mut state.effects);
            if !more {
                state.leave(self.id);
            }
            self.shard.hand_out(state, &mut touched);
        }
        flush(&touched);
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.close();
    }
}
