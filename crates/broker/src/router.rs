//! Live subscriptions: from an exchange straight to connections, held nowhere.
//!
//! Publishers keep the list of an exchange's targets as they saw it, and compare one number per
//! run of messages to see whether it still holds. A change makes a new list; nobody waits.

use crate::outbox::Outbox;
use crate::outlet::{LiveFormat, Tag};
use courant_engine::ExchangeId;
use foldhash::fast::FixedState;
use hashbrown::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

/// One live subscriber.
pub(crate) struct LiveTarget {
    pub(crate) outbox: Arc<Outbox>,
    pub(crate) tag: Tag,
    pub(crate) format: Arc<dyn LiveFormat>,
}

/// The live subscribers of one exchange; those with the same format stand together.
pub(crate) type LiveTargets = Arc<[Arc<LiveTarget>]>;

/// All live subscriptions of a broker.
#[derive(Default)]
pub(crate) struct Router {
    version: AtomicU64,
    targets: RwLock<HashMap<ExchangeId, LiveTargets, FixedState>>,
}

impl Router {
    /// Rises with every change.
    pub(crate) fn version(&self) -> u64 {
        self.version.load(Ordering::Acquire)
    }

    /// The subscribers of an exchange, and the version at which that is true.
    pub(crate) fn targets(&self, exchange: ExchangeId) -> (u64, LiveTargets) {
        let targets = self.targets.read().unwrap_or_else(PoisonError::into_inner);
        let found = targets.get(&exchange).map_or_else(|| Arc::from([]), Arc::clone);
        (self.version(), found)
    }

    /// Adds a subscriber.
    pub(crate) fn add(&self, exchange: ExchangeId, target: LiveTarget) {
        let mut targets = self.targets.write().unwrap_or_else(PoisonError::into_inner);
        let list = targets.entry(exchange).or_insert_with(|| Arc::from([]));
        let mut all: Vec<_> = list.iter().cloned().collect();
        all.push(Arc::new(target));
        all.sort_by(|a, b| {
            (a.format.door(), a.format.prefix()).cmp(&(b.format.door(), b.format.prefix()))
        });
        *list = all.into();
        self.version.fetch_add(1, Ordering::AcqRel);
    }

    /// Removes what a session subscribed to with a tag.
    pub(crate) fn remove(&self, exchange: ExchangeId, outbox: &Arc<Outbox>, tag: Tag) {
        let mut targets = self.targets.write().unwrap_or_else(PoisonError::into_inner);
        let Some(list) = targets.get_mut(&exchange) else { return };
        let is_it = |t: &LiveTarget| t.tag == tag && Arc::ptr_eq(&t.outbox, outbox);
        let left: Vec<_> = list.iter().filter(|target| !is_it(target)).cloned().collect();
        if left.is_empty() {
            targets.remove(&exchange);
        } else {
            *list = left.into();
        }
        self.version.fetch_add(1, Ordering::AcqRel);
    }

    /// Removes what a session is subscribed to and may not be any more; gives it, to be told.
    pub(crate) fn revoke(
        &self,
        outbox: &Arc<Outbox>,
        is_allowed: impl Fn(ExchangeId) -> bool,
    ) -> Vec<Arc<LiveTarget>> {
        let mut targets = self.targets.write().unwrap_or_else(PoisonError::into_inner);
        let mut revoked = Vec::new();
        for (exchange, list) in &mut *targets {
            let is_theirs = |target: &&Arc<LiveTarget>| Arc::ptr_eq(&target.outbox, outbox);
            if !list.iter().any(|target| is_theirs(&target)) || is_allowed(*exchange) {
                continue;
            }
            revoked.extend(list.iter().filter(is_theirs).cloned());
            *list = list.iter().filter(|target| !is_theirs(target)).cloned().collect();
        }
        self.version.fetch_add(1, Ordering::AcqRel);
        revoked
    }

    /// Removes an exchange that is gone; gives its subscribers, to be told.
    pub(crate) fn remove_exchange(&self, exchange: ExchangeId) -> Option<LiveTargets> {
        let mut targets = self.targets.write().unwrap_or_else(PoisonError::into_inner);
        let gone = targets.remove(&exchange);
        self.version.fetch_add(1, Ordering::AcqRel);
        gone
    }
}
