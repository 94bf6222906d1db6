//! The half of the state that belongs to this process: sessions, subscriptions, credit, leases,
//! transient queues and messages, and what was admitted and is not in the ledger yet. It is
//! rebuilt empty at every opening; what must survive becomes a record.

use crate::exchange::bindings::Bindings;
use crate::exchange::generations::Generations;
use crate::exchange::{ExchangeSpec, Target};
use crate::expiry::{Loads, Timers};
use crate::name::{ExchangeId, Name, NamespaceId, QueueId};
use crate::queue::chunks::Chunks;
use crate::queue::leases::Leases;
use crate::queue::{FloorQueue, QueueOptions};
use crate::quota::Usage;
use crate::session::Session;
use crate::slab::{Key, Slab};
use crate::subscription::{Subscription, SubscriptionId};
use crate::worker::{Worker, WorkerId};
use foldhash::fast::FixedState;
use hashbrown::HashMap;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// Names a session within its shard.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionId(pub Key);

#[derive(Debug, Default)]
pub(crate) struct Floor {
    pub(crate) next_seq: u64,
    pub(crate) queues: HashMap<QueueId, FloorQueue, FixedState>,
    pub(crate) transient_names: BTreeMap<(NamespaceId, Name), QueueId>,
    /// Bindings of transient queues.
    pub(crate) bindings: Bindings,
    pub(crate) next_transient: u32,
    pub(crate) sessions: Slab<Session>,
    pub(crate) subscriptions: Slab<Subscription>,
    pub(crate) leases: Leases,
    /// At most one entry per subscription: when its oldest delivery may be due.
    pub(crate) alarms: BTreeSet<(u64, SubscriptionId)>,
    /// The time that the last step was told.
    pub(crate) now_ms: u64,
    /// When queues have messages whose deadline may be over, or may be disused.
    pub(crate) timers: Timers,
    /// Chunks with such messages that are not in memory.
    pub(crate) loads: Loads,
    /// Queues that may have something to hand over.
    pub(crate) dirty: VecDeque<QueueId>,
    /// Queues that may hold more than their policies allow and drop what is oldest.
    pub(crate) over: Vec<QueueId>,
    /// Full queues for which a publisher was held, and the size of its message.
    pub(crate) held: Vec<(QueueId, u32)>,
    /// Queues that go because nobody uses them any more, and why: their subscribers are told.
    pub(crate) doomed: Vec<QueueId>,
    /// Work that is done in steps.
    pub(crate) workers: BTreeMap<WorkerId, Worker>,
    /// Transient messages of long queues that are gone: their bodies are freed in steps.
    pub(crate) remains: Vec<Chunks>,
    /// Workers with nothing left to do, whose record is to be written.
    pub(crate) ended: Vec<WorkerId>,
    /// The broker ends: durable queues that go with their last subscription stay.
    pub(crate) is_closing: bool,
    /// How many names for queues this opening has given.
    pub(crate) names_given: u64,
    /// Queues with settled messages whose record is to be written.
    pub(crate) with_settles: Vec<QueueId>,
    /// Durable messages that came back, whose record is to be written.
    pub(crate) returned: Vec<(QueueId, u64, u16)>,
    /// Messages whose body is known to be damaged.
    pub(crate) corrupt: BTreeSet<u64>,
    /// Admitted, in the log, not applied yet.
    pub(crate) pending: Pending,
    /// Exchanges whose last binding went and that go with it.
    pub(crate) unused_exchanges: BTreeSet<ExchangeId>,
    /// What namespaces and users take up.
    pub(crate) usage: Usage,
    /// What kept routes hang on.
    pub(crate) routes: Generations,
}

/// From, to, and the key.
type Binding = (ExchangeId, Target, Box<[u8]>);

/// Changes of topology that are in flight.
#[derive(Debug, Default)]
pub(crate) struct Pending {
    pub(crate) queues: BTreeMap<(NamespaceId, Name), (QueueId, QueueOptions)>,
    pub(crate) exchanges: BTreeMap<(NamespaceId, Name), (ExchangeId, ExchangeSpec)>,
    pub(crate) namespaces: BTreeMap<Name, NamespaceId>,
    /// Bindings that are about to be made (true) or ended, and how many records about each are
    /// in flight.
    pub(crate) bindings: BTreeMap<Binding, (bool, u32)>,
    pub(crate) gone_queues: BTreeSet<QueueId>,
    pub(crate) gone_exchanges: BTreeSet<ExchangeId>,
    pub(crate) next_queue: u32,
    pub(crate) next_worker: u32,
    pub(crate) next_exchange: u32,
    pub(crate) next_namespace: u32,
    pub(crate) block: u64,
}

impl Pending {
    /// Notes that a record about a binding is in flight.
    pub(crate) fn will_be_bound(
        &mut self,
        (exchange, to, key): (ExchangeId, Target, &[u8]),
        is_bound: bool,
    ) {
        let pending = self.bindings.entry((exchange, to, key.into())).or_default();
        *pending = (is_bound, pending.1 + 1);
    }

    /// Whether the last record in flight about a binding makes it; `None` if there is none.
    pub(crate) fn is_bound(
        &self,
        (exchange, to, key): (ExchangeId, Target, &[u8]),
    ) -> Option<bool> {
        if self.bindings.is_empty() {
            return None;
        }
        self.bindings.get(&(exchange, to, key.into())).map(|(is_bound, _)| *is_bound)
    }

    /// Whether a record in flight makes a binding from an exchange.
    pub(crate) fn will_have_bindings(&self, exchange: ExchangeId) -> bool {
        let first = (exchange, Target::Queue(QueueId(0)), Box::default());
        let from = self.bindings.range(first..).take_while(|((from, ..), _)| *from == exchange);
        from.into_iter().any(|(_, (is_bound, _))| *is_bound)
    }

    /// Notes that a record about a binding is in flight no more.
    pub(crate) fn arrived(&mut self, exchange: ExchangeId, to: Target, key: &[u8]) {
        if self.bindings.is_empty() {
            return;
        }
        let key = (exchange, to, key.into());
        if let Some((_, in_flight)) = self.bindings.get_mut(&key) {
            *in_flight -= 1;
            if *in_flight == 0 {
                self.bindings.remove(&key);
            }
        }
    }
}

impl Floor {
    /// Transient queues of a namespace with the names that clients know, behind a name.
    pub(crate) fn transient_names_of(
        &self,
        namespace: NamespaceId,
        after: Option<&str>,
    ) -> impl Iterator<Item = (&Name, &QueueId)> {
        let after = after.and_then(|name| Name::new(name.as_bytes()).ok());
        let first = match after {
            Some(name) => std::ops::Bound::Excluded((namespace, name)),
            None => match Name::new(b" ") {
                Ok(name) => std::ops::Bound::Included((namespace, name)),
                Err(_) => std::ops::Bound::Unbounded,
            },
        };
        let behind = self.transient_names.range((first, std::ops::Bound::Unbounded));
        behind
            .take_while(move |((space, _), _)| *space == namespace)
            .map(|((_, name), id)| (name, id))
    }
}

impl Floor {
    /// Notes that a queue may have something to hand over.
    pub(crate) fn mark(dirty: &mut VecDeque<QueueId>, queue: &mut FloorQueue) {
        if !queue.is_dirty && !queue.turns.is_empty() {
            queue.is_dirty = true;
            dirty.push_back(queue.id);
        }
    }

    /// Gives a subscription its turn again if it has credit and its session keeps up.
    pub(crate) fn offer_turn(&mut self, id: SubscriptionId) {
        let Some(subscription) = self.subscriptions.get_mut(id.0) else { return };
        if subscription.has_turn || !subscription.has_credit() {
            return;
        }
        let Some(session) = self.sessions.get_mut(subscription.session) else { return };
        if session.is_stalled {
            return;
        }
        if subscription.is_without_room(session) {
            session.starve(id, subscription);
            return;
        }
        if let Some(queue) = self.queues.get_mut(&subscription.queue) {
            subscription.has_turn = true;
            queue.turns.push_back(id);
            Self::mark(&mut self.dirty, queue);
        }
    }
}
