//! Admission of changes to namespaces, exchanges, queues and bindings.
//!
//! A durable change becomes a record; until that is applied, it is *pending*: the same request
//! again waits for it, a different one for the same name is refused. What is transient changes
//! the floor at once.

use crate::credit::Credit;
use crate::delivery::Cause;
use crate::effect::{Cancelled, Effects};
use crate::engine::Engine;
use crate::exchange::{BindTo, ExchangeOptions, Target, bindable};
use crate::floor::SessionId;
use crate::limits::{BINDINGS_MAX, QUEUES_MAX, STEP_MESSAGES_MAX};
use crate::name::{ExchangeId, Name, NamespaceId, QueueId};
use crate::queue::{FloorQueue, QueueOptions};
use crate::record::Record;
use crate::refusal::Refusal;
use crate::session::check_name;

/// A request to change what exists.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Topology<'a> {
    /// Make a namespace.
    DeclareNamespace(&'a str),
    /// Make an exchange, or see that it exists like this.
    DeclareExchange(&'a str, ExchangeOptions<'a>),
    /// Remove an exchange with its bindings.
    DeleteExchange {
        /// Which.
        name: &'a str,
        /// Only if there is no binding from it.
        if_unused: bool,
    },
    /// Make a queue, or see that it exists like this.
    DeclareQueue(&'a str, QueueOptions),
    /// Remove a queue with its messages.
    DeleteQueue {
        /// Which.
        name: &'a str,
        /// Only if it holds no message.
        if_empty: bool,
        /// Only if it has no subscription.
        if_unused: bool,
    },
    /// Make an exchange route to a queue or exchange.
    Bind {
        /// From.
        exchange: &'a str,
        /// To.
        to: BindTo<'a>,
        /// With this key.
        key: &'a [u8],
    },
    /// End that.
    Unbind {
        /// From.
        exchange: &'a str,
        /// To.
        to: BindTo<'a>,
        /// With this key.
        key: &'a [u8],
    },
}

/// What has to happen for an admitted request.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Admission<'a> {
    /// Log this record, and apply it when it is committed.
    Log(Record<'a>),
    /// Nothing: it is so already.
    Done,
    /// The same is in flight: it is so once everything logged so far is committed.
    Pending,
}

impl Engine {
    /// Decides a change of topology.
    pub fn admit_topology<'a>(
        &mut self,
        session: SessionId,
        request: Topology<'a>,
        effects: &mut Effects,
    ) -> Result<Admission<'a>, Refusal> {
        let who = self.floor.sessions.get(session.0).ok_or(Refusal::Closing)?;
        let namespace = who.namespace;
        who.allow_change(&request, |name| self.is_own((session, namespace), name))?;
        match request {
            Topology::DeclareNamespace(name) => self.declare_namespace(name),
            Topology::DeclareExchange(name, options) => {
                self.declare_exchange(namespace, name, options)
            }
            Topology::DeleteExchange { name, if_unused } => {
                self.delete_exchange(namespace, name, if_unused)
            }
            Topology::DeclareQueue(name, options) => {
                self.declare_queue((session, namespace), name, options)
            }
            Topology::DeleteQueue { name, if_empty, if_unused } => {
                let id = self.find_open_queue((session, namespace), name)?;
                self.delete_queue(id, (if_empty, if_unused), effects)
            }
            Topology::Bind { exchange, to, key } => {
                self.bind((session, namespace), exchange, to, key)
            }
            Topology::Unbind { exchange, to, key } => {
                self.unbind((session, namespace), exchange, to, key)
            }
        }
    }

    /// Whether the broker gave a session that queue, for itself alone.
    pub(crate) fn is_own(
        &self,
        (session, namespace): (SessionId, NamespaceId),
        name: &str,
    ) -> bool {
        let found = name.starts_with(GIVEN).then(|| self.find_queue(namespace, name)).flatten();
        let queue = found.and_then(|id| self.floor.queues.get(&id));
        queue.is_some_and(|queue| queue.owner == Some(session.0))
    }

    fn declare_namespace<'a>(&mut self, name: &'a str) -> Result<Admission<'a>, Refusal> {
        if self.ledger.namespace_names.contains_key(name) {
            return Ok(Admission::Done);
        }
        let pending = &mut self.floor.pending;
        if pending.namespaces.contains_key(name) {
            return Ok(Admission::Pending);
        }
        let id = pending.next_namespace.max(self.ledger.next_namespace);
        pending.next_namespace = id.saturating_add(1);
        let id = NamespaceId(id);
        pending.namespaces.insert(valid(name)?, id);
        Ok(Admission::Log(Record::NamespaceDeclared { id, name }))
    }

    fn declare_queue<'a>(
        &mut self,
        (session, namespace): (SessionId, NamespaceId),
        name: &'a str,
        options: QueueOptions,
    ) -> Result<Admission<'a>, Refusal> {
        if !options.is_valid() {
            return Err(Refusal::BadPolicy);
        }
        let same = |is: bool, then| if is { Ok(then) } else { Err(Refusal::DeclaredOtherwise) };
        self.pardon(namespace, name);
        if self.find_queue(namespace, name).is_some() {
            let id = self.find_open_queue((session, namespace), name)?;
            let Some(there) = self.floor.queues.get_mut(&id) else {
                return Err(Refusal::NoSuchQueue);
            };
            there.note_use(self.floor.now_ms);
            return same(there.options == options, Admission::Done);
        }
        if !self.is_given(name) {
            check_name(name)?;
        }
        let key = (namespace, valid(name)?);
        if let Some((_, pending)) = self.floor.pending.queues.get(&key) {
            return same(*pending == options, Admission::Pending);
        }
        if self.floor.queues.len() + self.floor.pending.queues.len() >= QUEUES_MAX {
            return Err(Refusal::TooManyQueues);
        }
        self.room_for_queue(namespace)?;
        if !options.durable {
            let id = self.new_transient_queue(namespace, key.1.clone(), options);
            self.floor.transient_names.insert(key, id);
            if options.exclusive {
                self.own(session, id);
            }
            return Ok(Admission::Done);
        }
        let pending = &mut self.floor.pending;
        let id = pending.next_queue.max(self.ledger.next_queue);
        if id >= QueueId::TRANSIENT {
            return Err(Refusal::TooManyQueues);
        }
        pending.next_queue = id + 1;
        let id = QueueId(id);
        pending.queues.insert(key, (id, options));
        Ok(Admission::Log(Record::QueueDeclared { id, namespace, name, options }))
    }

    fn new_transient_queue(
        &mut self,
        namespace: NamespaceId,
        name: Name,
        options: QueueOptions,
    ) -> QueueId {
        // Numbers of this opening: they wrap after 2³¹, and skip what is still there.
        let id = loop {
            let id = QueueId(self.floor.next_transient | QueueId::TRANSIENT);
            self.floor.next_transient = self.floor.next_transient.wrapping_add(1);
            if !self.floor.queues.contains_key(&id) {
                break id;
            }
        };
        let options = QueueOptions { durable: false, ..options };
        self.floor.routes.raise_name(namespace, name.as_str());
        let mut queue = FloorQueue::new(id, namespace, name, options);
        queue.watch_use(&mut self.floor.timers);
        self.floor.add_queue(queue);
        id
    }

    /// Makes a transient queue that only this session uses and that goes with it, bound to an
    /// exchange.
    pub fn open_session_queue(
        &mut self,
        session: SessionId,
        exchange: ExchangeId,
        key: &[u8],
    ) -> Result<QueueId, Refusal> {
        if self.floor.queues.len() >= QUEUES_MAX {
            return Err(Refusal::TooManyQueues);
        }
        let kind = self.ledger.exchanges.get(&exchange).map(|there| there.spec.kind);
        let kind = kind.ok_or(Refusal::NoSuchExchange)?;
        if !bindable(kind, key) {
            return Err(Refusal::BadBinding);
        }
        let there = self.ledger.bindings.count(exchange) + self.floor.bindings.count(exchange);
        if there >= BINDINGS_MAX {
            return Err(Refusal::TooManyBindings);
        }
        let who = self.floor.sessions.get(session.0).ok_or(Refusal::Closing)?;
        let namespace = who.namespace;
        self.room_for_queue(namespace)?;
        self.room_for_binding(namespace)?;
        let name = valid(&format!("$session.{}", self.floor.next_transient))?;
        let id = self.new_transient_queue(namespace, name, QueueOptions::default());
        self.own(session, id);
        if let Some(queue) = self.floor.queues.get_mut(&id) {
            queue.source = Some(exchange);
        }
        self.floor.bindings.bind((exchange, namespace, kind), key, Target::Queue(id));
        self.binding_changed(exchange, key);
        Ok(id)
    }

    /// Lets a queue belong to a session alone, and go with it.
    fn own(&mut self, session: SessionId, id: QueueId) {
        if let Some(queue) = self.floor.queues.get_mut(&id) {
            queue.owner = Some(session.0);
        }
        if let Some(who) = self.floor.sessions.get_mut(session.0) {
            who.owned.push(id);
        }
    }

    /// A name for a queue that nobody has chosen: unique for ever, because it has the term.
    pub fn give_queue_name(&mut self) -> String {
        let number = self.floor.names_given;
        self.floor.names_given += 1;
        format!("{GIVEN}{}.{number}", self.ledger.term)
    }

    /// Whether a name was given by this opening.
    fn is_given(&self, name: &str) -> bool {
        let number = name.strip_prefix(GIVEN).and_then(|rest| rest.split_once('.'));
        number.is_some_and(|(term, number)| {
            term.parse() == Ok(self.ledger.term)
                && number.parse().is_ok_and(|number: u64| number < self.floor.names_given)
        })
    }

    /// The first policy in which a queue differs from others; `None` if it does not, or is not
    /// there.
    pub fn queue_difference(
        &self,
        session: SessionId,
        name: &str,
        options: &QueueOptions,
    ) -> Option<&'static str> {
        let namespace = self.floor.sessions.get(session.0)?.namespace;
        if let Some(id) = self.find_queue(namespace, name) {
            return options.differing(&self.floor.queues.get(&id)?.options);
        }
        let (_, pending) = self.floor.pending.queues.get(&(namespace, valid(name).ok()?))?;
        options.differing(pending)
    }

    /// Removes a queue that [`Self::open_session_queue`] made.
    pub fn close_session_queue(&mut self, session: SessionId, id: QueueId, effects: &mut Effects) {
        if self.floor.queues.get(&id).is_some_and(|queue| queue.owner == Some(session.0)) {
            self.remove_floor_queue(id, effects);
        }
    }

    fn delete_queue(
        &mut self,
        id: QueueId,
        (if_empty, if_unused): (bool, bool),
        effects: &mut Effects,
    ) -> Result<Admission<'static>, Refusal> {
        let counts = self.counts(id).unwrap_or_default();
        let in_flight = self.floor.queues.get(&id).map_or(0, |queue| queue.in_flight);
        if if_empty && counts.ready + counts.leased + in_flight > 0 {
            return Err(Refusal::QueueNotEmpty);
        }
        if if_unused && counts.subscriptions > 0 {
            return Err(Refusal::QueueInUse);
        }
        if id.is_durable() {
            self.queue_changed(id);
            self.floor.pending.gone_queues.insert(id);
            return Ok(Admission::Log(Record::QueueDeleted { id }));
        }
        self.remove_floor_queue(id, effects);
        Ok(Admission::Done)
    }

    /// The broker ends, and all sessions with it. That takes no durable queue with it, whatever is
    /// in them: an orderly end keeps what a crash would keep.
    pub fn begin_close(&mut self) {
        self.floor.is_closing = true;
    }

    /// The last subscription of a queue ended: if it is made so, it goes with that.
    pub(crate) fn end_unused(&mut self, id: QueueId) {
        let Some(queue) = self.floor.queues.get(&id) else { return };
        let stays = self.floor.is_closing && id.is_durable();
        if queue.options.auto_delete && queue.subscriptions.is_empty() && !stays {
            self.doom(id);
        }
    }

    /// Lets a queue go. It cannot be found from now on; the record of a durable one follows with
    /// [`Self::write_settles`], a transient one goes with the next [`Self::bury`].
    pub(crate) fn doom(&mut self, id: QueueId) {
        if id.is_durable() && !self.floor.pending.gone_queues.insert(id) {
            return;
        }
        self.queue_changed(id);
        self.floor.doomed.push(id);
    }

    /// A durable queue that is to go, and whose record could not be written yet, is declared again:
    /// it stays. Otherwise the record of another queue of its name would come before its own.
    fn pardon(&mut self, namespace: NamespaceId, name: &str) {
        if self.floor.doomed.is_empty() {
            return;
        }
        let space = self.ledger.namespaces.get(&namespace);
        let Some(id) = space.and_then(|space| space.queues.get(name)).copied() else { return };
        let Some(at) = self.floor.doomed.iter().position(|doomed| *doomed == id) else { return };
        self.floor.doomed.swap_remove(at);
        self.floor.pending.gone_queues.remove(&id);
        self.queue_changed(id);
        if let Some(queue) = self.floor.queues.get_mut(&id) {
            queue.note_use(self.floor.now_ms);
            queue.watch_use(&mut self.floor.timers);
        }
    }

    /// Removes transient queues that are to go.
    pub fn bury(&mut self, effects: &mut Effects) {
        if self.floor.doomed.is_empty() {
            return;
        }
        for id in self.floor.doomed.extract_if(.., |id| !id.is_durable()).collect::<Vec<_>>() {
            self.remove_floor_queue(id, effects);
        }
    }

    /// Removes what the floor knows of a queue: its subscriptions end, its open deliveries too.
    pub(crate) fn remove_floor_queue(&mut self, id: QueueId, effects: &mut Effects) {
        self.queue_changed(id);
        let Some(mut queue) = self.floor.take_queue(id) else { return };
        queue.dues.stop(id, &mut self.floor.timers);
        self.floor.workers.retain(|_, worker| worker.task.queue != id);
        if let Some(owner) = queue.owner.and_then(|owner| self.floor.sessions.get_mut(owner))
            && let Some(at) = owner.owned.iter().position(|owned| *owned == id)
        {
            owner.owned.swap_remove(at);
        }
        effects.note_left(Cause::QueueDeleted, queue.transient.alive());
        for subscription in &queue.subscriptions {
            self.drop_subscription(*subscription, Some(&queue), effects);
        }
        if queue.transient.alive() > STEP_MESSAGES_MAX as u64 {
            self.floor.remains.push(std::mem::take(&mut queue.transient));
        } else {
            effects.freed.extend(queue.transient.iter().map(|entry| entry.seq));
        }
        if !id.is_durable() {
            self.floor.transient_names.remove(&(queue.namespace, queue.name));
            for (exchange, _) in self.floor.bindings.forget_target(Target::Queue(id)) {
                self.lost_binding(exchange);
            }
        }
    }

    /// Ends one subscription of a queue that is gone.
    fn drop_subscription(
        &mut self,
        id: crate::SubscriptionId,
        gone: Option<&FloorQueue>,
        effects: &mut Effects,
    ) {
        let Some(mut subscription) = self.floor.subscriptions.remove(id.0) else { return };
        while let Some(lease) = self.floor.leases.first(subscription.open).map(|open| open.lease) {
            self.floor.leases.close(&mut subscription.open, lease);
        }
        if let Some(alarm) = subscription.alarm_ms {
            self.floor.alarms.remove(&(alarm, id));
        }
        if let Some(session) = self.floor.sessions.get_mut(subscription.session) {
            session.subscriptions.retain(|other| *other != id);
            session.starved.retain(|other| *other != id);
            if subscription.is_counted() {
                let Credit { messages, bytes, .. } = subscription.credit;
                session.credit.close(messages, bytes);
            }
            if session.claims == Some(id) {
                session.claims = None;
            }
        }
        self.floor.feed(subscription.session);
        if gone.is_some() && !subscription.is_ended {
            let session = subscription.session;
            let cause = Cause::QueueDeleted;
            effects.cancelled.push(Cancelled { session, subscription: id, cause });
        }
    }

    pub(crate) fn find_queue(&self, namespace: NamespaceId, name: &str) -> Option<QueueId> {
        let space = self.ledger.namespaces.get(&namespace)?;
        let durable = space.queues.get(name).copied();
        if let Some(id) = durable
            && !self.floor.pending.gone_queues.contains(&id)
        {
            return Some(id);
        }
        let key = (namespace, Name::new(name.as_bytes()).ok()?);
        self.floor.transient_names.get(&key).copied()
    }

    /// A queue that does not belong to another session.
    pub(crate) fn find_open_queue(
        &self,
        (session, namespace): (SessionId, NamespaceId),
        name: &str,
    ) -> Result<QueueId, Refusal> {
        let id = self.find_queue(namespace, name).ok_or(Refusal::NoSuchQueue)?;
        let owner = self.floor.queues.get(&id).and_then(|queue| queue.owner);
        if owner.is_some_and(|owner| owner != session.0) {
            return Err(Refusal::QueueExclusive);
        }
        Ok(id)
    }
}

/// What names begin with that the broker gives to queues.
pub(crate) const GIVEN: &str = "$q.";

pub(crate) fn valid(name: &str) -> Result<Name, Refusal> {
    Name::new(name.as_bytes()).map_err(|_| Refusal::BadName)
}
