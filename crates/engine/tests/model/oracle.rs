//! The naive model: queues as ordered maps of messages, a list of open deliveries, topology as
//! lists that are searched from end to end. Nothing here is quick, and nothing is shared with the
//! engine but names and numbers.

use super::log::Fact;
pub(crate) use super::queue::State;
use super::queue::{Message, Queue};
use courant_engine::exchange::Target;
use courant_engine::limits::STEP_MESSAGES_MAX;
use courant_engine::{
    Cause, ExchangeId, ExchangeSpec, Handle, Lifetime, NamespaceId, QueueId, Refusal, SessionId,
    SubscriptionId, WorkerId,
};
use std::collections::{BTreeMap, BTreeSet, HashSet};

#[derive(Debug)]
pub(crate) struct Exchange {
    pub(crate) id: ExchangeId,
    pub(crate) namespace: NamespaceId,
    pub(crate) name: String,
    pub(crate) spec: ExchangeSpec,
    pub(crate) bindings: Vec<(Vec<u8>, Target)>,
    /// It is about to be deleted: nobody finds it.
    pub(crate) is_going: bool,
    /// Whether a binding from it went in this opening.
    pub(crate) has_lost: bool,
    /// The same before: whether the engine knows depends on its last snapshot.
    pub(crate) had_lost: bool,
}

/// Work on a queue that is done in steps.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Worker {
    pub(crate) queue: QueueId,
    pub(crate) below: u64,
    /// Nothing is left; a durable queue's waits for its record.
    pub(crate) is_over: bool,
    /// Whether that is so depends on pages that did not come.
    pub(crate) is_unsure: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Holder {
    Subscription(SubscriptionId),
    /// What the session claimed, from whichever queues.
    Claims,
}

#[derive(Debug)]
pub(crate) struct Session {
    pub(crate) namespace: NamespaceId,
    pub(crate) is_stalled: bool,
    pub(crate) is_leaving: bool,
    pub(crate) holders: Vec<Holder>,
    pub(crate) owned: Vec<QueueId>,
    pub(crate) credit: Option<u32>,
    pub(crate) credit_bytes: Option<u64>,
}

#[derive(Debug)]
pub(crate) struct Subscription {
    pub(crate) session: SessionId,
    pub(crate) queue: QueueId,
    pub(crate) credit: u32,
    pub(crate) credit_bytes: Option<u64>,
    pub(crate) auto: bool,
    pub(crate) visibility_ms: u64,
    pub(crate) open: u32,
    pub(crate) is_ended: bool,
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct Open {
    pub(crate) handle: Handle,
    pub(crate) session: SessionId,
    pub(crate) holder: Holder,
    pub(crate) queue: QueueId,
    pub(crate) size: u32,
    pub(crate) deadline_ms: u64,
}

/// What the engine is expected to have asked for by the end of an operation.
#[derive(Debug, Default)]
pub(crate) struct Expected {
    pub(crate) freed: Vec<u64>,
    /// How many left otherwise than by being handled.
    pub(crate) left: BTreeMap<Cause, u64>,
    /// How many were overdue and left with their queue: one or the other counts.
    pub(crate) overdue: u64,
    pub(crate) cancelled: Vec<(SessionId, SubscriptionId)>,
    pub(crate) noops: u64,
}

#[derive(Debug, Default)]
pub(crate) struct Oracle {
    pub(crate) term: u64,
    pub(crate) block: u64,
    pub(crate) last_seq: u64,
    pub(crate) namespaces: Vec<(NamespaceId, String)>,
    pub(crate) queues: BTreeMap<QueueId, Queue>,
    pub(crate) exchanges: Vec<Exchange>,
    pub(crate) sessions: BTreeMap<SessionId, Session>,
    pub(crate) subscriptions: BTreeMap<SubscriptionId, Subscription>,
    /// In the order of handing over.
    pub(crate) open: Vec<Open>,
    /// Came back, and no record says so yet.
    pub(crate) returned: Vec<(QueueId, u64, u16)>,
    pub(crate) stale: Vec<Handle>,
    pub(crate) now_ms: u64,
    /// Messages that left because of their deadline.
    pub(crate) expired: u64,
    /// By the number that the engine gave them.
    pub(crate) workers: BTreeMap<WorkerId, Worker>,
    /// Durable queues that go because nobody uses them; their records are to come.
    pub(crate) doomed: Vec<QueueId>,
    /// Transient messages of long queues that are gone, whose bodies are freed in steps.
    pub(crate) remains: Vec<u64>,
    /// Full queues for which a publisher was held, and the size of its message.
    pub(crate) held: BTreeSet<(QueueId, u32)>,
    /// Durable messages with lower numbers may have been handed over before.
    pub(crate) suspect_below: u64,
    pub(crate) expected: Expected,
    known_queues: HashSet<QueueId>,
    known_exchanges: HashSet<ExchangeId>,
    known_workers: HashSet<WorkerId>,
}

impl Oracle {
    pub(crate) fn new() -> Self {
        let mut oracle = Self::default();
        oracle.namespaces.push((NamespaceId::DEFAULT, "/".to_owned()));
        oracle.known_exchanges.insert(ExchangeId::DEFAULT);
        oracle
    }

    /// What a log leaves behind when nothing else happened.
    pub(crate) fn replay<'a>(log: impl Iterator<Item = &'a Fact>) -> Self {
        let mut oracle = Self::new();
        for fact in log {
            oracle.apply(fact);
        }
        oracle.expected = Expected::default();
        for exchange in &mut oracle.exchanges {
            exchange.had_lost = std::mem::take(&mut exchange.has_lost);
        }
        oracle
    }

    /// Applies a committed fact, and counts it if it is about nothing that is still there.
    pub(crate) fn apply(&mut self, fact: &Fact) {
        let has_changed = match fact {
            Fact::Opened { term, block } => {
                self.term = *term;
                self.block = *block;
                true
            }
            Fact::CutShort { below } => {
                self.suspect_below = self.suspect_below.max(*below);
                true
            }
            Fact::WorkerBegun { id, queue, below, .. } => self.begin_worker(*id, *queue, *below),
            Fact::WorkerEnded { id } => self.workers.remove(id).is_some(),
            Fact::BlockReserved { block } => {
                self.block = *block;
                true
            }
            Fact::Published { seq, size, lifetime, targets, .. } => {
                self.apply_published(*seq, *size, *lifetime, targets)
            }
            Fact::Settled { queue, cause, ranges } => self.apply_settled(*queue, *cause, ranges),
            Fact::Returned { queue, attempts } => self.apply_returned(*queue, attempts),
            _ => self.apply_topology(fact),
        };
        self.expected.noops += u64::from(!has_changed);
    }

    fn apply_published(&mut self, seq: u64, size: u32, lifetime: Lifetime, targets: &[u8]) -> bool {
        self.last_seq = seq;
        let mut has_changed = false;
        for target in targets.chunks(4) {
            let id = QueueId(u32::from_le_bytes(target.try_into().expect("4 bytes")));
            if let Some(queue) = self.queues.get_mut(&id) {
                queue.push(seq, size, true, lifetime);
                queue.has_arrivals = true;
                has_changed = true;
            }
        }
        has_changed
    }

    fn apply_settled(&mut self, id: QueueId, cause: Cause, ranges: &[(u64, u64)]) -> bool {
        let Some(queue) = self.queues.get_mut(&id) else { return false };
        let mut has_changed = false;
        for &(first, last) in ranges {
            let gone: Vec<u64> = queue
                .messages
                .range(first..=last)
                .filter(|(_, message)| message.durable)
                .map(|(seq, _)| *seq)
                .collect();
            for seq in gone {
                let message = queue.messages.remove(&seq).expect("just found");
                let expected = State::Settling { cause, is_written: true };
                let is_replay = message.state == State::Ready && message.is_fresh;
                assert!(
                    message.state == expected || is_replay && self.sessions.is_empty(),
                    "a record takes {seq} out of {id:?}, which is {message:?}"
                );
                has_changed = true;
            }
        }
        has_changed
    }

    fn apply_returned(&mut self, id: QueueId, attempts: &[(u64, u16)]) -> bool {
        let Some(queue) = self.queues.get_mut(&id) else { return false };
        let mut has_changed = false;
        for (seq, count) in attempts {
            if let Some(message) = queue.messages.get_mut(seq) {
                message.noted = message.noted.max(*count);
                message.attempts = message.attempts.max(*count);
                has_changed = true;
            }
        }
        has_changed
    }

    fn apply_topology(&mut self, fact: &Fact) -> bool {
        match *fact {
            Fact::NamespaceDeclared { id, ref name } => {
                let taken = self.namespaces.iter().any(|(i, n)| *i == id || n == name);
                assert!(!taken, "namespace {name} came twice");
                self.namespaces.push((id, name.clone()));
                true
            }
            Fact::ExchangeDeclared { id, namespace, ref name, spec } => {
                assert!(self.known_exchanges.insert(id), "{id:?} was used before");
                let (name, bindings) = (name.clone(), Vec::new());
                let (is_going, has_lost, had_lost) = (false, false, false);
                self.exchanges.push(Exchange {
                    id,
                    namespace,
                    name,
                    spec,
                    bindings,
                    is_going,
                    has_lost,
                    had_lost,
                });
                true
            }
            Fact::ExchangeDeleted { id } => self.remove_exchange(id),
            Fact::QueueDeclared { id, namespace, ref name, options } => {
                assert!(self.known_queues.insert(id), "{id:?} was used before");
                self.queues.insert(id, Queue::new(id, namespace, name, options));
                true
            }
            Fact::QueueDeleted { id } => {
                let is_there = self.queues.contains_key(&id);
                self.remove_queue(id);
                is_there
            }
            Fact::Bound { exchange, queue, ref key } => {
                self.queues.contains_key(&queue) && self.bind(exchange, Target::Queue(queue), key)
            }
            Fact::Unbound { exchange, queue, ref key } => {
                self.unbind(exchange, Target::Queue(queue), key)
            }
            Fact::ExchangeBound { from, to, ref key } => {
                self.exchanges.iter().any(|there| there.id == to)
                    && self.bind(from, Target::Exchange(to), key)
            }
            Fact::ExchangeUnbound { from, to, ref key } => {
                self.unbind(from, Target::Exchange(to), key)
            }
            _ => unreachable!("not a change of topology"),
        }
    }

    fn begin_worker(&mut self, id: WorkerId, queue: QueueId, below: u64) -> bool {
        assert!(self.known_workers.insert(id), "{id:?} was used before");
        let worker = Worker { queue, below, is_over: false, is_unsure: false };
        self.queues.contains_key(&queue) && self.workers.insert(id, worker).is_none()
    }

    fn remove_exchange(&mut self, id: ExchangeId) -> bool {
        let Some(at) = self.exchanges.iter().position(|exchange| exchange.id == id) else {
            return false;
        };
        self.exchanges.remove(at);
        self.unbind_all(Target::Exchange(id));
        let of_it = self.queues.values().filter(|queue| queue.source == Some(id));
        for queue in of_it.map(|queue| queue.id).collect::<Vec<_>>() {
            self.remove_queue(queue);
        }
        true
    }

    pub(crate) fn bind(&mut self, exchange: ExchangeId, to: Target, key: &[u8]) -> bool {
        let Some(exchange) = self.exchanges.iter_mut().find(|there| there.id == exchange) else {
            return false;
        };
        let binding = (key.to_vec(), to);
        let is_new = !exchange.bindings.contains(&binding);
        if is_new {
            exchange.bindings.push(binding);
        }
        is_new
    }

    pub(crate) fn unbind(&mut self, exchange: ExchangeId, to: Target, key: &[u8]) -> bool {
        let Some(exchange) = self.exchanges.iter_mut().find(|there| there.id == exchange) else {
            return false;
        };
        let before = exchange.bindings.len();
        exchange.bindings.retain(|(k, there)| k != key || *there != to);
        let has_changed = exchange.bindings.len() < before;
        exchange.has_lost |= has_changed;
        has_changed
    }

    /// What leads to something that is gone is gone too.
    fn unbind_all(&mut self, to: Target) {
        for exchange in &mut self.exchanges {
            let before = exchange.bindings.len();
            exchange.bindings.retain(|(_, there)| *there != to);
            exchange.has_lost |= exchange.bindings.len() < before;
        }
    }

    /// Takes a queue away: its subscriptions end, with their open deliveries; what was ended
    /// before, or claimed, keeps a lease on nothing.
    pub(crate) fn remove_queue(&mut self, id: QueueId) {
        let Some(queue) = self.queues.remove(&id) else { return };
        let transient = queue.messages.iter().filter(|(_, message)| !message.durable);
        let transient: Vec<u64> = transient.map(|(seq, _)| *seq).collect();
        if transient.len() > STEP_MESSAGES_MAX {
            self.remains.extend(transient);
        } else {
            self.expected.freed.extend(transient);
        }
        self.note_left(Cause::QueueDeleted, queue.load(self.now_ms).0);
        self.expected.overdue += queue.overdue(self.now_ms);
        self.workers.retain(|_, worker| worker.queue != id);
        self.doomed.retain(|doomed| *doomed != id);
        if let Some(owner) = queue.owner.and_then(|owner| self.sessions.get_mut(&owner)) {
            owner.owned.retain(|owned| *owned != id);
        }
        let gone: Vec<SubscriptionId> = self
            .subscriptions
            .iter()
            .filter(|(_, held)| held.queue == id && !held.is_ended)
            .map(|(id, _)| *id)
            .collect();
        for id in gone {
            let held = self.subscriptions.remove(&id).expect("just found");
            self.expected.cancelled.push((held.session, id));
            let holder = Holder::Subscription(id);
            self.stale.extend(self.open.iter().filter(|o| o.holder == holder).map(|o| o.handle));
            self.open.retain(|open| open.holder != holder);
            if let Some(session) = self.sessions.get_mut(&held.session) {
                session.holders.retain(|other| *other != holder);
            }
        }
        self.unbind_all(Target::Queue(id));
    }

    /// Lets a queue go because nobody uses it.
    pub(crate) fn doom(&mut self, id: QueueId) {
        let queue = self.queues.get_mut(&id).expect("it is there");
        if !queue.is_going {
            queue.is_going = true;
            self.doomed.push(id);
        }
    }

    /// A subscription of a queue ended: some queues go with their last one.
    pub(crate) fn note_unsubscribed(&mut self, id: QueueId) {
        let is_last = self.subscription_count(id) == 0;
        let now_ms = self.now_ms;
        let Some(queue) = self.queues.get_mut(&id) else { return };
        queue.used_ms = Some(now_ms);
        if queue.options.auto_delete && is_last {
            self.doom(id);
        }
    }

    /// Queues that nobody used for so long go.
    pub(crate) fn expire_queues(&mut self) {
        let mut over = Vec::new();
        let used: BTreeSet<QueueId> =
            self.subscriptions.values().filter(|s| !s.is_ended).map(|s| s.queue).collect();
        for queue in self.queues.values_mut().filter(|queue| !queue.is_going) {
            let Some(expires_ms) = queue.options.expires_ms else { continue };
            let used_ms = *queue.used_ms.get_or_insert(self.now_ms);
            if !used.contains(&queue.id) && used_ms + expires_ms <= self.now_ms {
                over.push(queue.id);
            }
        }
        for id in over {
            self.doom(id);
        }
    }

    pub(crate) fn note_left(&mut self, cause: Cause, count: u64) {
        if count > 0 && !matches!(cause, Cause::Acked | Cause::Expired | Cause::Corrupt) {
            *self.expected.left.entry(cause).or_default() += count;
        }
    }

    /// Transient messages whose time is over and that nobody has are gone. Of durable ones a record
    /// tells.
    pub(crate) fn expire_transient(&mut self) {
        let mut over = Vec::new();
        for queue in self.queues.values().filter(|queue| queue.has_deadlines) {
            let all = queue.messages.iter();
            let due = all.filter(|(_, m)| !m.durable && m.is_overdue(self.now_ms));
            over.extend(due.map(|(seq, _)| (queue.id, *seq)));
        }
        self.expired += over.len() as u64;
        for (id, seq) in over {
            self.leave(id, seq, Cause::Expired);
        }
    }

    /// Puts a transient message into the queues that are there, and says how many those are.
    pub(crate) fn place(
        &mut self,
        seq: u64,
        size: u32,
        lifetime: Lifetime,
        targets: &[QueueId],
    ) -> u32 {
        let mut reached = 0;
        for target in targets {
            if let Some(queue) = self.queues.get_mut(target) {
                queue.push(seq, size, false, lifetime);
                queue.has_arrivals = true;
                reached += 1;
            }
        }
        reached
    }

    /// Hands over the next message of a queue and says what a consumer must have seen.
    pub(crate) fn take(&mut self, id: QueueId, is_auto: bool) -> Option<(u64, Message)> {
        let queue = self.queues.get_mut(&id)?;
        let seq = queue.next(self.now_ms)?;
        let message = queue.messages.get_mut(&seq)?;
        let seen = message.clone();
        message.is_fresh = false;
        message.state = State::Open;
        if is_auto {
            self.leave(id, seq, Cause::Acked);
        }
        Some((seq, seen))
    }

    pub(crate) fn open(&mut self, open: Open) {
        if let Holder::Subscription(id) = open.holder {
            self.subscriptions.get_mut(&id).expect("a live subscription").open += 1;
        }
        self.open.push(open);
    }

    /// A message was handled: a durable one waits for its record.
    pub(crate) fn leave(&mut self, id: QueueId, seq: u64, cause: Cause) {
        if !self.queues.contains_key(&id) {
            return;
        }
        self.note_left(cause, 1);
        let queue = self.queues.get_mut(&id).expect("just found");
        if !matches!(cause, Cause::Acked | Cause::Expired) {
            *queue.left.entry(cause).or_default() += 1;
        }
        let message = queue.messages.get_mut(&seq).expect("an open message is there");
        if message.durable {
            message.state = State::Settling { cause, is_written: false };
        } else {
            queue.messages.remove(&seq);
            self.expected.freed.push(seq);
        }
    }

    /// A message was not handled: it is ready again, with one attempt more.
    fn come_back(&mut self, id: QueueId, seq: u64) {
        let Some(queue) = self.queues.get_mut(&id) else { return };
        let message = queue.messages.get_mut(&seq).expect("an open message is there");
        assert_eq!(message.state, State::Open);
        message.attempts += 1;
        if queue.options.max_attempts.is_some_and(|most| message.attempts >= most) {
            self.leave(id, seq, Cause::MaxAttempts);
            return;
        }
        message.state = State::Ready;
        if message.durable {
            self.returned.push((id, seq, message.attempts));
        }
    }

    /// Closes an open delivery. `None` returns the message.
    pub(crate) fn close(&mut self, handle: Handle, cause: Option<Cause>) {
        let at = self.open.iter().position(|open| open.handle == handle).expect("it is open");
        let open = self.open.remove(at);
        self.stale.push(handle);
        match cause {
            Some(cause) => self.leave(open.queue, handle.seq, cause),
            None => self.come_back(open.queue, handle.seq),
        }
        if let Holder::Subscription(id) = open.holder {
            let held = self.subscriptions.get_mut(&id).expect("a holder");
            held.open -= 1;
            let (is_done, session) = (held.is_ended && held.open == 0, held.session);
            if is_done && !self.sessions.get(&session).is_some_and(|s| s.is_leaving) {
                self.forget(session, open.holder);
            }
        }
    }

    pub(crate) fn forget(&mut self, session: SessionId, holder: Holder) {
        if let Holder::Subscription(id) = holder {
            self.subscriptions.remove(&id);
        }
        if let Some(session) = self.sessions.get_mut(&session) {
            session.holders.retain(|other| *other != holder);
        }
    }

    /// One step of giving back everything a session holds; says whether there is more.
    pub(crate) fn detach(&mut self, id: SessionId, step: usize) -> bool {
        let Some(session) = self.sessions.get_mut(&id) else { return false };
        session.is_stalled = true;
        session.is_leaving = true;
        let mut left = step;
        for holder in session.holders.clone() {
            let held: Vec<Handle> = self
                .open
                .iter()
                .filter(|open| open.session == id && open.holder == holder)
                .map(|open| open.handle)
                .take(left)
                .collect();
            left -= held.len();
            for handle in held {
                self.close(handle, None);
            }
            if left == 0 {
                return true;
            }
            let ended = match holder {
                Holder::Subscription(id) => self.subscriptions.get(&id).filter(|s| !s.is_ended),
                Holder::Claims => None,
            };
            let ended = ended.map(|held| held.queue);
            self.forget(id, holder);
            if let Some(queue) = ended {
                self.note_unsubscribed(queue);
            }
        }
        let session = self.sessions.remove(&id).expect("it was there");
        for queue in session.owned {
            self.remove_queue(queue);
        }
        false
    }

    pub(crate) fn subscription_count(&self, queue: QueueId) -> u32 {
        let live = self.subscriptions.values().filter(|s| s.queue == queue && !s.is_ended);
        u32::try_from(live.count()).expect("few")
    }

    /// Whether subscription and session have room for a message of that size.
    pub(crate) fn has_room(&self, id: SubscriptionId, size: u32) -> bool {
        let held = &self.subscriptions[&id];
        let holder = Holder::Subscription(id);
        let own = self.open.iter().filter(|open| open.holder == holder);
        let session = &self.sessions[&held.session];
        let all =
            self.open.iter().filter(|o| o.session == held.session && o.holder != Holder::Claims);
        let fits = |open: Vec<&Open>, messages: Option<u32>, bytes: Option<u64>| {
            let count = u32::try_from(open.len()).expect("few");
            let sum: u64 = open.iter().map(|open| u64::from(open.size)).sum();
            messages.is_none_or(|most| count < most)
                && (count == 0
                    || bytes.is_none_or(|most| sum < most && sum + u64::from(size) <= most))
        };
        !held.is_ended
            && held.credit > 0
            && (held.auto
                || fits(own.collect(), Some(held.credit), held.credit_bytes)
                    && fits(all.collect(), session.credit, session.credit_bytes))
    }

    /// Whether a delivery is about a message that is still somewhere.
    pub(crate) fn is_about_something(&self, open: &Open) -> bool {
        self.queues.contains_key(&open.queue)
    }

    /// The one open delivery of a message in a session.
    pub(crate) fn only_open(&self, session: SessionId, seq: u64) -> Result<Handle, Refusal> {
        let mut found = self.open.iter().filter(|open| {
            open.session == session && open.handle.seq == seq && self.is_about_something(open)
        });
        match (found.next(), found.next()) {
            (None, _) => Err(Refusal::NotOpen),
            (Some(open), None) => Ok(open.handle),
            _ => Err(Refusal::Ambiguous),
        }
    }
}

impl Oracle {
    pub(crate) fn begin_session(&mut self, id: SessionId, namespace: NamespaceId) {
        let (holders, owned) = (Vec::new(), Vec::new());
        let (credit, credit_bytes) = (None, None);
        let session = Session {
            namespace,
            is_stalled: false,
            is_leaving: false,
            holders,
            owned,
            credit,
            credit_bytes,
        };
        assert!(self.sessions.insert(id, session).is_none(), "{id:?} is in use");
    }

    pub(crate) fn has_unwritten(&self) -> bool {
        let is_unwritten =
            |message: &Message| matches!(message.state, State::Settling { is_written: false, .. });
        self.queues.values().any(|queue| queue.messages.values().any(is_unwritten))
    }

    /// A record about settled messages was written: each durable message within its ranges was
    /// settled so, and no record said it before.
    pub(crate) fn note_written(&mut self, id: QueueId, cause: Cause, ranges: &[(u64, u64)]) {
        let queue = self.queues.get_mut(&id).expect("records name queues that are there");
        for &(first, last) in ranges {
            let mut about = 0;
            for (seq, message) in queue.messages.range_mut(first..=last) {
                if message.durable {
                    let expected = State::Settling { cause, is_written: false };
                    if cause == Cause::Expired {
                        assert!(message.is_overdue(self.now_ms), "{seq} of {id:?}: {message:?}");
                        self.expired += 1;
                    } else {
                        assert_eq!(message.state, expected, "{seq} of {id:?} in {first}..={last}");
                    }
                    message.state = State::Settling { cause, is_written: true };
                    about += 1;
                }
            }
            assert!(about > 0, "the range {first}..={last} of {id:?} is about nothing");
        }
    }
}
