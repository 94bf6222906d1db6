//! The half of the state that depends on records alone: replicated, hashed, kept in snapshots.
//!
//! [`Ledger::apply`] is total. It never refuses, never routes, never looks at a clock. A record
//! for something already gone is a counted no-op, so that the same records always lead to the
//! same ledger, whatever happened on the floor. Numbers rise in the log and are never reused, so
//! a declaration or message with a number that was seen before is such a record too: a prefix
//! applied twice changes nothing.

use crate::exchange::bindings::Bindings;
use crate::exchange::{Exchange, Target, bindable};
use crate::lifetime::NEVER;
use crate::limits::CHUNK_ENTRIES;
use crate::name::{ExchangeId, Name, NamespaceId, QueueId};
use crate::queue::LedgerQueue;
use crate::queue::chunks::{Chunks, Next, split};
use crate::record::Record;
use crate::snapshot::page::LoadError;
use crate::worker::{Task, WorkerId};
use foldhash::fast::FixedState;
use hashbrown::HashMap;
use std::collections::{BTreeMap, BTreeSet};
use std::hash::{BuildHasher, Hash, Hasher};

/// Names of one namespace.
#[derive(Debug)]
pub(crate) struct Namespace {
    pub(crate) name: Name,
    pub(crate) exchanges: BTreeMap<Name, ExchangeId>,
    pub(crate) queues: BTreeMap<Name, QueueId>,
}

/// What is left of a long queue that is gone: to be dropped where nobody waits.
#[derive(Debug)]
pub struct Remains {
    _queue: LedgerQueue,
}

/// Everything that records say.
#[derive(Debug)]
pub struct Ledger {
    pub(crate) term: u64,
    pub(crate) block: u64,
    /// Messages below may have been handed over without a trace of it.
    pub(crate) suspect_below: u64,
    pub(crate) namespaces: BTreeMap<NamespaceId, Namespace>,
    /// Which namespace a name means.
    pub(crate) namespace_names: BTreeMap<Name, NamespaceId>,
    pub(crate) exchanges: BTreeMap<ExchangeId, Exchange>,
    /// Of how many exchanges each is the alternate.
    pub(crate) alternates: BTreeMap<ExchangeId, u32>,
    /// Bindings of durable queues and of exchanges.
    pub(crate) bindings: Bindings,
    pub(crate) queues: HashMap<QueueId, LedgerQueue, FixedState>,
    pub(crate) next_namespace: u32,
    pub(crate) next_exchange: u32,
    pub(crate) next_queue: u32,
    pub(crate) next_worker: u32,
    /// Long queues that are gone, to be given back to the allocator without the shard's lock.
    pub(crate) remains: Vec<Remains>,
    /// Work that was begun and is not done.
    pub(crate) workers: BTreeMap<WorkerId, Task>,
    pub(crate) last_seq: u64,
    /// Queues that may have chunks whose entries can leave memory.
    pub(crate) large: BTreeSet<QueueId>,
}

impl Default for Ledger {
    fn default() -> Self {
        let mut namespaces = BTreeMap::new();
        let mut namespace_names = BTreeMap::new();
        if let Ok(name) = Name::new(b"/") {
            namespace_names.insert(name.clone(), NamespaceId::DEFAULT);
            namespaces.insert(NamespaceId::DEFAULT, Namespace::new(name));
        }
        Self {
            term: 0,
            block: 0,
            suspect_below: 0,
            namespaces,
            namespace_names,
            exchanges: BTreeMap::new(),
            alternates: BTreeMap::new(),
            bindings: Bindings::default(),
            queues: HashMap::default(),
            next_namespace: 1,
            next_exchange: 1,
            next_queue: 0,
            next_worker: 0,
            remains: Vec::new(),
            workers: BTreeMap::new(),
            last_seq: 0,
            large: BTreeSet::new(),
        }
    }
}

impl Namespace {
    pub(crate) fn new(name: Name) -> Self {
        Self { name, exchanges: BTreeMap::new(), queues: BTreeMap::new() }
    }
}

impl Ledger {
    /// Applies one fact. Says how many messages or things it changed; 0 is a no-op.
    pub fn apply(&mut self, record: &Record<'_>) -> u64 {
        match *record {
            Record::Opened { term, block } => {
                self.term = self.term.max(term);
                self.block = self.block.max(block);
                1
            }
            Record::CutShort { below } => {
                self.suspect_below = self.suspect_below.max(below);
                1
            }
            Record::BlockReserved { block } => {
                self.block = self.block.max(block);
                1
            }
            Record::Published { seq, size, lifetime, targets, .. } => {
                if seq <= self.last_seq {
                    return 0;
                }
                self.last_seq = seq;
                let mut reached = 0;
                let may_repeat = targets.iter().len() > 1;
                for target in targets.iter() {
                    if let Some(queue) = self.queues.get_mut(&target) {
                        // Total also for a record that names a queue twice: it gets one.
                        if may_repeat && queue.chunks.newest() == Some(seq) {
                            continue;
                        }
                        let until_ms = lifetime.until_ms(queue.options.message_ttl_ms);
                        let (_, index) = split(queue.chunks.push(seq, size, until_ms));
                        if index == 0 || index == CHUNK_ENTRIES - 1 {
                            self.large.insert(target);
                        }
                        reached += 1;
                    }
                }
                reached
            }
            Record::Settled { queue, ranges, .. } => self.settle(queue, ranges),
            Record::Returned { queue, attempts } => self.note_attempts(queue, attempts),
            Record::WorkerBegun { id, kind, queue, below } => {
                let is_new = is_new(id.0, &mut self.next_worker);
                let begins = is_new && self.queues.contains_key(&queue);
                if begins {
                    self.workers.insert(id, Task { kind, queue, below });
                }
                u64::from(begins)
            }
            Record::WorkerEnded { id } => u64::from(self.workers.remove(&id).is_some()),
            _ => u64::from(self.apply_topology(record)),
        }
    }

    fn settle(&mut self, queue: QueueId, ranges: &[(u64, u64)]) -> u64 {
        let Some(queue) = self.queues.get_mut(&queue) else { return 0 };
        ranges.iter().map(|range| queue.settle(*range)).sum()
    }

    fn note_attempts(&mut self, queue: QueueId, attempts: &[(u64, u16)]) -> u64 {
        let Some(queue) = self.queues.get_mut(&queue) else { return 0 };
        let mut noted = 0;
        for &(seq, count) in attempts {
            if matches!(queue.chunks.at_or_after(seq), Next::Entry(entry) if entry.seq == seq) {
                let known = queue.attempts.entry(seq).or_insert(0);
                *known = (*known).max(count);
                noted += 1;
            }
        }
        noted
    }

    fn apply_topology(&mut self, record: &Record<'_>) -> bool {
        match *record {
            Record::NamespaceDeclared { id, name } => {
                if !is_new(id.0, &mut self.next_namespace) {
                    return false;
                }
                let Ok(name) = Name::new(name.as_bytes()) else { return false };
                self.add_namespace(id, name);
                true
            }
            Record::ExchangeDeclared { id, namespace, name, spec } => {
                if !is_new(id.0, &mut self.next_exchange) {
                    return false;
                }
                let Ok(name) = Name::new(name.as_bytes()) else { return false };
                let Some(space) = self.namespaces.get_mut(&namespace) else { return false };
                space.exchanges.insert(name.clone(), id);
                self.add_exchange(Exchange { id, namespace, name, spec });
                true
            }
            Record::ExchangeDeleted { id } => self.delete_exchange(id),
            Record::QueueDeclared { id, namespace, name, options } => {
                if !is_new(id.0, &mut self.next_queue) {
                    return false;
                }
                let Ok(name) = Name::new(name.as_bytes()) else { return false };
                let Some(space) = self.namespaces.get_mut(&namespace) else { return false };
                space.queues.insert(name.clone(), id);
                let (chunks, attempts) = (Chunks::default(), BTreeMap::new());
                let queue = LedgerQueue { id, namespace, name, options, chunks, attempts };
                self.queues.insert(id, queue);
                true
            }
            Record::QueueDeleted { id } => self.delete_queue(id),
            Record::Bound { exchange, queue, key } => {
                self.queues.contains_key(&queue) && self.bind(exchange, key, Target::Queue(queue))
            }
            Record::Unbound { exchange, queue, key } => {
                self.bindings.unbind(exchange, key, Target::Queue(queue))
            }
            Record::ExchangeBound { from, to, key } => {
                self.exchanges.contains_key(&to) && self.bind(from, key, Target::Exchange(to))
            }
            Record::ExchangeUnbound { from, to, key } => {
                self.bindings.unbind(from, key, Target::Exchange(to))
            }
            _ => false,
        }
    }

    pub(crate) fn add_namespace(&mut self, id: NamespaceId, name: Name) {
        self.namespace_names.entry(name.clone()).or_insert(id);
        self.namespaces.insert(id, Namespace::new(name));
    }

    pub(crate) fn add_exchange(&mut self, exchange: Exchange) {
        if let Some(alternate) = exchange.spec.alternate {
            *self.alternates.entry(alternate).or_insert(0) += 1;
        }
        self.exchanges.insert(exchange.id, exchange);
    }

    /// Adds a binding from an exchange that is there, if the key says something to it.
    pub(crate) fn bind(&mut self, exchange: ExchangeId, key: &[u8], target: Target) -> bool {
        let Some(there) = self.exchanges.get(&exchange) else { return false };
        let kind = there.spec.kind;
        bindable(kind, key) && self.bindings.bind((exchange, there.namespace, kind), key, target)
    }

    fn delete_exchange(&mut self, id: ExchangeId) -> bool {
        let Some(gone) = self.exchanges.remove(&id) else { return false };
        if let Some(space) = self.namespaces.get_mut(&gone.namespace)
            && space.exchanges.get(&gone.name) == Some(&id)
        {
            space.exchanges.remove(&gone.name);
        }
        if let Some(alternate) = gone.spec.alternate
            && let Some(count) = self.alternates.get_mut(&alternate)
        {
            *count -= 1;
            if *count == 0 {
                self.alternates.remove(&alternate);
            }
        }
        self.bindings.forget_exchange(id);
        self.bindings.forget_target(Target::Exchange(id));
        true
    }

    fn delete_queue(&mut self, id: QueueId) -> bool {
        let Some(gone) = self.queues.remove(&id) else { return false };
        if let Some(space) = self.namespaces.get_mut(&gone.namespace)
            && space.queues.get(&gone.name) == Some(&id)
        {
            space.queues.remove(&gone.name);
        }
        self.bindings.forget_target(Target::Queue(id));
        self.large.remove(&id);
        self.workers.retain(|_, task| task.queue != id);
        if gone.chunks.alive() > CHUNK_ENTRIES as u64 {
            self.remains.push(Remains { _queue: gone });
        }
        true
    }

    /// The term of the last opening.
    pub fn term(&self) -> u64 {
        self.term
    }

    /// A number that is equal for equal ledgers, whichever way they came about. For a ledger
    /// whose chunks are all in memory; 0 if one is not.
    pub fn hash(&self) -> u64 {
        self.hash_with(|page, _| Err(page)).unwrap_or(0)
    }

    /// The same, with the pages of cold chunks from `load`.
    pub fn hash_with<E>(
        &self,
        mut load: impl FnMut(u64, &mut Vec<u8>) -> Result<(), E>,
    ) -> Result<u64, LoadError<E>> {
        let mut hasher = FixedState::default().build_hasher();
        (self.term, self.block, self.suspect_below, self.last_seq).hash(&mut hasher);
        (self.next_namespace, self.next_exchange, self.next_queue).hash(&mut hasher);
        for (id, space) in &self.namespaces {
            (id, &space.name, &space.exchanges, &space.queues).hash(&mut hasher);
        }
        for (id, exchange) in &self.exchanges {
            (id, exchange.id, exchange.namespace, &exchange.name, exchange.spec).hash(&mut hasher);
        }
        for (exchange, table) in self.bindings.iter() {
            for (key, target) in table.iter() {
                (exchange, key, target).hash(&mut hasher);
            }
        }
        (self.next_worker, &self.workers).hash(&mut hasher);
        let mut queues: Vec<_> = self.queues.values().collect();
        queues.sort_unstable_by_key(|queue| queue.id);
        for queue in queues {
            (queue.id, queue.namespace, &queue.name, &queue.attempts).hash(&mut hasher);
            queue.options.durable.hash(&mut hasher);
            queue.options.tags().for_each(|tag| tag.hash(&mut hasher));
            queue.each(&mut load, &mut |seq, size, deadline_ms| {
                (seq, size).hash(&mut hasher);
                if deadline_ms != NEVER {
                    deadline_ms.hash(&mut hasher);
                }
            })?;
        }
        Ok(hasher.finish())
    }
}

/// Whether a number was not given before; from now on it was. The highest one never is.
fn is_new(number: u32, next: &mut u32) -> bool {
    let is_new = number >= *next && number < u32::MAX;
    if is_new {
        *next = number + 1;
    }
    is_new
}
