//! Where requests are admitted and records applied.
//!
//! A durable publish goes: [`Engine::resolve`] → [`Engine::admit`] gives a number → the shell
//! writes [`Record::Published`] → committed → [`Engine::apply`] → [`Engine::dispatch`]. A
//! transient one goes from `admit` straight to [`Engine::place`].

use crate::access::{Operation, Principal};
use crate::credit::Credit;
use crate::delivery::Cause;
use crate::effect::Effects;
use crate::exchange::{Table, Target};
use crate::expiry::{note_durable, note_transient};
use crate::floor::{Floor, SessionId};
use crate::ledger::{Ledger, Remains};
use crate::lifetime::{Lifetime, NEVER};
use crate::limits::{MESSAGE_BYTES_MAX, SEQ_BLOCK};
use crate::name::{ExchangeId, Name, QueueId};
use crate::queue::{FloorQueue, QueueCounts, QueueOptions};
use crate::record::{Record, Targets};
use crate::refusal::Refusal;
pub use crate::route::{Publish, Route};
use crate::session::Session;
use crate::snapshot::Snapshots;
use crate::worker::{Task, Worker};
use std::sync::Arc;

/// The state of one shard.
#[derive(Debug, Default)]
pub struct Engine {
    pub(crate) ledger: Ledger,
    pub(crate) floor: Floor,
    pub(crate) snapshots: Snapshots,
}

impl Engine {
    /// The half that records determine.
    pub fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    /// The record that begins this opening: a new term and a block of numbers that nobody used.
    /// Nothing is admitted before it was applied.
    pub fn opening(&self) -> Record<'static> {
        Record::Opened {
            term: self.ledger.term.saturating_add(1),
            block: self.ledger.block.saturating_add(1),
        }
    }

    /// The record that reserves the next block of numbers, when the current one runs low.
    pub fn reservation(&mut self) -> Option<Record<'static>> {
        let wanted = self.ledger.block.saturating_add(1);
        let left = first_of(wanted).saturating_sub(self.floor.next_seq);
        if left > SEQ_BLOCK / 2 || self.floor.pending.block == wanted {
            return None;
        }
        self.floor.pending.block = wanted;
        Some(Record::BlockReserved { block: wanted })
    }

    /// The record of [`Self::reservation`] was not written: it is to be given again.
    pub fn forget_reservation(&mut self) {
        self.floor.pending.block = 0;
    }

    /// Begins a session, unless it is one too many of its namespace or user.
    pub fn attach(
        &mut self,
        namespace: &str,
        principal: Arc<Principal>,
    ) -> Result<SessionId, Refusal> {
        let id = self.ledger.namespace_names.get(namespace).copied();
        let id = id.ok_or(Refusal::NoSuchNamespace)?;
        let space = self.ledger.namespaces.get(&id).ok_or(Refusal::NoSuchNamespace)?;
        let session = Session {
            namespace: id,
            namespace_name: space.name.clone(),
            principal,
            subscriptions: Vec::new(),
            credit: Credit::new(None, None),
            is_counted: false,
            starved: Vec::new(),
            claims: None,
            owned: Vec::new(),
            is_stalled: false,
        };
        self.floor.add_session(session)
    }

    /// Admits one message and gives it its number. The route must be current.
    pub fn admit(&mut self, size: u32) -> Result<u64, Refusal> {
        if size > MESSAGE_BYTES_MAX {
            return Err(Refusal::MessageTooLarge);
        }
        let seq = self.floor.next_seq;
        if seq >= first_of(self.ledger.block.saturating_add(1)) {
            return Err(Refusal::TooManyInFlight);
        }
        self.floor.next_seq = seq + 1;
        Ok(seq)
    }

    /// Notes that an admitted message is on its way into durable queues (as they stand in a
    /// record), so that nobody takes them for empty.
    pub fn note_in_flight(&mut self, size: u32, targets: &[u8]) {
        let (whole, _) = targets.as_chunks::<4>();
        for id in whole {
            if let Some(queue) = self.floor.queues.get_mut(&QueueId(u32::from_le_bytes(*id))) {
                queue.in_flight += 1;
                queue.in_flight_bytes += u64::from(size);
            }
        }
    }

    /// Gives a record that is not a message its number, so that all records of a lane rise.
    pub fn number(&mut self) -> u64 {
        let seq = self.floor.next_seq;
        self.floor.next_seq += 1;
        seq
    }

    /// Puts a transient message into transient queues, at once, where its number belongs. Says
    /// how many it reached: the caller keeps its body until as many numbers came back in
    /// [`Effects::freed`].
    pub fn place(&mut self, seq: u64, size: u32, lifetime: Lifetime, targets: &[QueueId]) -> u32 {
        let mut reached = 0;
        for target in targets {
            if let Some(queue) = self.floor.queues.get_mut(target) {
                let until_ms = lifetime.until_ms(queue.options.message_ttl_ms);
                queue.push_transient(seq, size, until_ms);
                if until_ms != NEVER {
                    note_transient(queue, until_ms, &mut self.floor.timers);
                }
                reached += 1;
                if queue.is_limited {
                    queue.arrived(size);
                    Floor::note_over(&mut self.floor.over, queue);
                }
                Floor::mark(&mut self.floor.dirty, queue);
            }
        }
        reached
    }

    /// Puts a transient message into durable queues, at once; otherwise as [`Self::place`].
    pub fn place_durable(
        &mut self,
        seq: u64,
        size: u32,
        lifetime: Lifetime,
        targets: &[u8],
    ) -> u32 {
        let (whole, _) = targets.as_chunks::<4>();
        let ids = whole.iter().map(|id| QueueId(u32::from_le_bytes(*id)));
        ids.map(|id| self.place(seq, size, lifetime, &[id])).sum()
    }

    /// Applies a record that is committed. Total: it never refuses.
    pub fn apply(&mut self, record: &Record<'_>, effects: &mut Effects) {
        if let Record::Published { seq, size, lifetime, targets, .. } = *record {
            let changed = self.ledger.apply(record);
            if changed == 0 {
                effects.noops += 1;
            }
            self.arrive((seq, size), (lifetime, changed > 0), targets);
            return;
        }
        let before = self.load_before(record);
        let loose = self.loosen(record);
        let changed = self.ledger.apply(record);
        if changed == 0 {
            effects.noops += 1;
        }
        match *record {
            Record::Settled { queue, ranges, .. } => {
                let bytes = before.1.saturating_sub(self.load_before(record).1);
                if let Some(queue) = self.floor.queues.get_mut(&queue) {
                    queue.settled(changed, bytes);
                    if !queue.parked.is_empty() {
                        queue.forget_parked(ranges);
                    }
                }
            }
            Record::Opened { term, block } => {
                self.floor.leases.begin_term(term);
                // The first number of the block is this record's own.
                let next = first_of(block).saturating_add(1);
                self.floor.next_seq = self.floor.next_seq.max(next);
            }
            Record::CutShort { .. } | Record::BlockReserved { .. } | Record::Returned { .. } => {}
            Record::WorkerBegun { id, kind, queue, below } => {
                if changed > 0 {
                    self.floor.workers.insert(id, Worker::new(Task { kind, queue, below }));
                }
            }
            Record::WorkerEnded { id } => {
                self.floor.workers.remove(&id);
            }
            _ => {
                if let Record::QueueDeleted { id } = *record {
                    let queue = self.floor.queues.get(&id);
                    let settling = queue.map_or(0, |queue| queue.settling_count);
                    effects.note_left(Cause::QueueDeleted, before.0.saturating_sub(settling));
                }
                self.follow_topology(record, changed > 0, effects);
                for exchange in loose {
                    self.lost_binding(exchange);
                }
            }
        }
    }

    /// Brings the floor in line with a message that was just applied.
    #[inline]
    fn arrive(
        &mut self,
        (seq, size): (u64, u32),
        (lifetime, has_changed): (Lifetime, bool),
        targets: Targets<'_>,
    ) {
        self.floor.next_seq = self.floor.next_seq.max(seq.saturating_add(1));
        for target in targets.iter() {
            if let Some(queue) = self.floor.queues.get_mut(&target) {
                queue.arrived(size);
                Floor::note_over(&mut self.floor.over, queue);
                let until_ms = lifetime.until_ms(queue.options.message_ttl_ms);
                if until_ms != NEVER && has_changed {
                    let timers = &mut self.floor.timers;
                    note_durable(&mut self.ledger, queue, until_ms, timers);
                }
                Floor::mark(&mut self.floor.dirty, queue);
            }
        }
    }

    /// Messages and bytes in the queue that a record takes something out of.
    fn load_before(&self, record: &Record<'_>) -> (u64, u64) {
        let (Record::Settled { queue, .. } | Record::QueueDeleted { id: queue }) = record else {
            return (0, 0);
        };
        let queue = self.ledger.queues.get(queue);
        queue.map_or((0, 0), |queue| (queue.chunks.alive(), queue.chunks.bytes()))
    }

    /// What goes takes its bindings with it: routes that used them have to be found again. Says
    /// from which exchanges they lead.
    fn loosen(&mut self, record: &Record<'_>) -> Vec<ExchangeId> {
        let target = match *record {
            Record::QueueDeleted { id } => {
                self.queue_changed(id);
                Target::Queue(id)
            }
            Record::ExchangeDeleted { id } => {
                self.exchange_changed(id);
                Target::Exchange(id)
            }
            _ => return Vec::new(),
        };
        self.ledger.bindings.leading_to(target).map(|(exchange, _)| exchange).collect()
    }

    fn follow_binding(&mut self, exchange: ExchangeId, target: Target, key: &[u8]) {
        self.floor.pending.arrived(exchange, target, key);
        self.binding_changed(exchange, key);
        self.lost_binding(exchange);
    }

    /// Brings the floor in line with a change of topology that was just applied.
    fn follow_topology(&mut self, record: &Record<'_>, has_changed: bool, effects: &mut Effects) {
        match *record {
            Record::NamespaceDeclared { name, .. } => {
                self.floor.pending.namespaces.remove(name);
            }
            Record::Bound { exchange, queue, key } | Record::Unbound { exchange, queue, key } => {
                self.follow_binding(exchange, Target::Queue(queue), key);
            }
            Record::ExchangeBound { from, to, key } | Record::ExchangeUnbound { from, to, key } => {
                self.follow_binding(from, Target::Exchange(to), key);
            }
            Record::QueueDeclared { id, namespace, name, options } => {
                let Ok(name) = Name::new(name.as_bytes()) else { return };
                let key = (namespace, name.clone());
                if self.floor.pending.queues.get(&key).is_some_and(|(pending, _)| *pending == id) {
                    self.floor.pending.queues.remove(&key);
                }
                if !has_changed {
                    return;
                }
                self.floor.routes.raise_name(namespace, name.as_str());
                let mut queue = FloorQueue::new(id, namespace, name, options);
                queue.watch_use(&mut self.floor.timers);
                self.floor.add_queue(queue);
            }
            Record::ExchangeDeclared { id, namespace, name, .. } => {
                self.floor.routes.raise_name(namespace, name);
                let Ok(name) = Name::new(name.as_bytes()) else { return };
                let key = (namespace, name);
                let pending = &mut self.floor.pending.exchanges;
                if pending.get(&key).is_some_and(|(pending, _)| *pending == id) {
                    pending.remove(&key);
                }
            }
            Record::ExchangeDeleted { id } => {
                self.floor.pending.gone_exchanges.remove(&id);
                let bindings = self.floor.bindings.forget_exchange(id);
                for (_, target) in bindings.iter().flat_map(Table::iter) {
                    let Target::Queue(queue) = target else { continue };
                    // A session's own queue, made to listen there.
                    let there = self.floor.queues.get(&queue);
                    if there.is_some_and(|queue| queue.source == Some(id)) {
                        self.remove_floor_queue(queue, effects);
                    }
                }
            }
            Record::QueueDeleted { id } => {
                self.floor.pending.gone_queues.remove(&id);
                self.remove_floor_queue(id, effects);
            }
            _ => {}
        }
    }

    /// What is left of long queues that are gone. Dropping it takes a while: not under a lock.
    pub fn take_remains(&mut self) -> Vec<Remains> {
        std::mem::take(&mut self.ledger.remains)
    }

    /// How a queue is doing.
    pub fn counts(&self, id: QueueId) -> Option<QueueCounts> {
        let queue = self.floor.queues.get(&id)?;
        Some(queue.counts(self.ledger.queues.get(&id)))
    }

    /// The policies of a queue.
    pub fn queue_options(&self, id: QueueId) -> Option<QueueOptions> {
        self.floor.queues.get(&id).map(|queue| queue.options)
    }

    /// The name of an exchange, if it still exists.
    pub fn exchange_name(&self, id: ExchangeId) -> Option<&Name> {
        self.ledger.exchanges.get(&id).map(|exchange| &exchange.name)
    }

    /// The number of a queue that the session may use so.
    pub fn queue_of(
        &self,
        session: SessionId,
        operation: Operation,
        name: &str,
    ) -> Result<QueueId, Refusal> {
        let who = self.floor.sessions.get(session.0).ok_or(Refusal::Closing)?;
        let found = self.find_queue(who.namespace, name);
        match found.and_then(|id| self.floor.queues.get(&id)) {
            Some(queue) => who.allow_queue(session.0, operation, queue)?,
            None => who.allow(operation, name)?,
        }
        self.find_open_queue((session, who.namespace), name)
    }

    /// The number of an exchange that the session may use so.
    pub fn exchange_of(
        &self,
        session: SessionId,
        operation: Operation,
        name: &str,
    ) -> Result<ExchangeId, Refusal> {
        let session = self.floor.sessions.get(session.0).ok_or(Refusal::Closing)?;
        session.allow(operation, name)?;
        self.find_exchange(session.namespace, name).ok_or(Refusal::NoSuchExchange)
    }

    /// Every queue of the shard with its counts, durable ones first.
    pub fn queues(&self) -> Vec<(Name, QueueId, QueueCounts)> {
        let mut all: Vec<_> = self
            .floor
            .queues
            .values()
            .map(|queue| {
                (queue.name.clone(), queue.id, queue.counts(self.ledger.queues.get(&queue.id)))
            })
            .collect();
        all.sort_unstable_by_key(|(_, id, _)| *id);
        all
    }
}

/// The first number of a block. No log holds a block that does not fit; applying must not care.
fn first_of(block: u64) -> u64 {
    block.saturating_mul(SEQ_BLOCK)
}
