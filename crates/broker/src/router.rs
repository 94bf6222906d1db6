//! Live subscriptions: from an exchange straight to connections, held nowhere.
//!
//! Publishers keep the list of a destination's targets as they found it, and compare one number
//! per run of messages to see whether it still holds. A change makes new lists; nobody waits. The
//! key of a live subscription is that of a binding: a pattern at a topic exchange.

use crate::counters::Counters;
use crate::outbox::Outbox;
use crate::outlet::{LiveFormat, Tag};
use courant_engine::exchange::generations::{Slots, slot_of_binding};
use courant_engine::exchange::{Endpoint, Key, Table};
use courant_engine::{ExchangeId, ExchangeKind};
use foldhash::fast::FixedState;
use hashbrown::HashMap;
use std::collections::BTreeSet;
use std::ops::Bound;
use std::sync::{Arc, PoisonError, RwLock, RwLockWriteGuard};

/// One live subscriber.
pub(crate) struct LiveTarget {
    pub(crate) outbox: Arc<Outbox>,
    pub(crate) tag: Tag,
    pub(crate) format: Arc<dyn LiveFormat>,
}

/// The live subscribers of one destination; those with the same format stand together.
pub(crate) type LiveTargets = Arc<[Arc<LiveTarget>]>;

/// Names a live subscription; never given again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct LiveId(pub(crate) u64);

impl Endpoint for LiveId {
    fn number(self) -> u64 {
        self.0
    }
}

/// What a live subscription listens to.
#[derive(Debug, Clone)]
struct Place {
    exchange: ExchangeId,
    kind: ExchangeKind,
    key: Key,
}

#[derive(Default)]
struct Lists {
    next: u64,
    tables: HashMap<ExchangeId, Table<LiveId>, FixedState>,
    targets: HashMap<LiveId, (Place, Arc<LiveTarget>), FixedState>,
    /// The keys of `targets`, for lists.
    order: BTreeSet<LiveId>,
}

/// A live subscription as a list finds it.
pub(crate) struct ListedLive {
    pub(crate) id: LiveId,
    pub(crate) exchange: ExchangeId,
    pub(crate) key: Key,
    pub(crate) target: Arc<LiveTarget>,
}

impl Lists {
    fn remove(&mut self, id: LiveId) -> Option<(Place, Arc<LiveTarget>)> {
        let (place, target) = self.targets.remove(&id)?;
        self.order.remove(&id);
        target.outbox.count_live(false);
        if let Some(table) = self.tables.get_mut(&place.exchange) {
            table.unbind(&place.key, id);
            if table.is_empty() {
                self.tables.remove(&place.exchange);
            }
        }
        Some((place, target))
    }
}

/// All live subscriptions of a broker.
#[derive(Default)]
pub(crate) struct Router {
    counters: Counters,
    lists: RwLock<Lists>,
}

impl Router {
    /// What a list is compared by: the list of a destination whose messages come through one
    /// exchange hangs on its slots, any other on every change.
    pub(crate) fn version(&self, slots: Slots, through: &[ExchangeId]) -> u64 {
        if through.len() > 1 { self.counters.changes() } else { self.counters.at(slots) }
    }

    /// Who gets messages with a key that come through these exchanges.
    pub(crate) fn targets(&self, through: &[ExchangeId], key: &[u8]) -> LiveTargets {
        let lists = self.lists.read().unwrap_or_else(PoisonError::into_inner);
        let mut found = Vec::new();
        for exchange in through {
            if let Some(table) = lists.tables.get(exchange) {
                table.find(key, &[], &mut found);
            }
        }
        if found.is_empty() {
            return Arc::default();
        }
        found.sort_unstable();
        found.dedup();
        let mut targets: Vec<_> = found
            .iter()
            .filter_map(|id| lists.targets.get(id))
            .map(|(_, target)| Arc::clone(target))
            .collect();
        drop(lists);
        targets.sort_by(|a, b| {
            (a.format.door(), a.format.prefix()).cmp(&(b.format.door(), b.format.prefix()))
        });
        targets.into()
    }

    /// Adds a subscriber with a key that is bindable there.
    pub(crate) fn add(
        &self,
        (exchange, kind): (ExchangeId, ExchangeKind),
        key: &[u8],
        target: LiveTarget,
    ) -> LiveId {
        let mut lists = self.write();
        let id = LiveId(lists.next);
        lists.next += 1;
        let key = Key::from(key);
        lists.tables.entry(exchange).or_insert_with(|| Table::new(kind)).bind(&key, id);
        lists.order.insert(id);
        target.outbox.count_live(true);
        lists.targets.insert(id, (Place { exchange, kind, key: Key::clone(&key) }, target.into()));
        self.counters.raise(slot_of_binding(exchange, kind, &key));
        id
    }

    /// The next subscriptions behind one, at most `most`.
    pub(crate) fn behind(&self, after: Option<LiveId>, most: usize) -> Vec<ListedLive> {
        let first = after.map_or(Bound::Unbounded, Bound::Excluded);
        let lists = self.lists.read().unwrap_or_else(PoisonError::into_inner);
        let next = lists.order.range((first, Bound::Unbounded)).take(most);
        next.filter_map(|id| {
            let (place, target) = lists.targets.get(id)?;
            let (exchange, key) = (place.exchange, Key::clone(&place.key));
            Some(ListedLive { id: *id, exchange, key, target: Arc::clone(target) })
        })
        .collect()
    }

    /// Removes a subscriber.
    pub(crate) fn remove(&self, id: LiveId) {
        let gone = self.write().remove(id);
        if let Some((Place { exchange, kind, key }, _)) = gone {
            self.counters.raise(slot_of_binding(exchange, kind, &key));
        }
    }

    /// Removes what a session is subscribed to and may not be any more; gives it, to be told.
    pub(crate) fn revoke(
        &self,
        outbox: &Arc<Outbox>,
        is_allowed: impl Fn(ExchangeId) -> bool,
    ) -> Vec<Arc<LiveTarget>> {
        self.remove_where(|place, target| {
            Arc::ptr_eq(&target.outbox, outbox) && !is_allowed(place.exchange)
        })
    }

    /// Removes an exchange that is gone; gives its subscribers, to be told.
    pub(crate) fn remove_exchange(&self, exchange: ExchangeId) -> Vec<Arc<LiveTarget>> {
        let table = {
            let lists = self.lists.read().unwrap_or_else(PoisonError::into_inner);
            lists.tables.contains_key(&exchange)
        };
        if table { self.remove_where(|place, _| place.exchange == exchange) } else { Vec::new() }
    }

    fn remove_where(&self, is_it: impl Fn(&Place, &LiveTarget) -> bool) -> Vec<Arc<LiveTarget>> {
        let mut lists = self.write();
        let all = lists.targets.iter();
        let mut gone: Vec<_> =
            all.filter(|(_, (place, target))| is_it(place, target)).map(|(id, _)| *id).collect();
        gone.sort_unstable();
        let gone = gone.into_iter().filter_map(|id| lists.remove(id));
        let gone: Vec<_> = gone.map(|(_, target)| target).collect();
        if !gone.is_empty() {
            self.counters.raise_all();
        }
        gone
    }

    fn write(&self) -> RwLockWriteGuard<'_, Lists> {
        self.lists.write().unwrap_or_else(PoisonError::into_inner)
    }
}
