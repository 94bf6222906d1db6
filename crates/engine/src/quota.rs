//! How much of a shard namespaces and users take up, and how much they may.
//!
//! All of it follows from what exists: nothing here is a record's, and nothing of it is hashed.
//! What is in flight counts as if it were there; what is being removed counts until it is gone.
//! A quota that is lowered below what exists removes nothing: it refuses what comes next.

use crate::engine::Engine;
use crate::floor::{Floor, SessionId};
use crate::name::{ExchangeId, Name, NamespaceId, QueueId};
use crate::queue::FloorQueue;
use crate::refusal::Refusal;
use crate::session::Session;
use std::collections::BTreeMap;

/// What is allowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Quotas {
    /// Sessions in one namespace at a time.
    pub sessions_per_namespace_max: usize,
    /// Sessions of one user at a time, in all namespaces together.
    pub sessions_per_user_max: usize,
    /// Queues in one namespace: durable ones, transient ones and those of sessions.
    pub queues_per_namespace_max: usize,
    /// Exchanges in one namespace.
    pub exchanges_per_namespace_max: usize,
    /// Bindings in one namespace.
    pub bindings_per_namespace_max: usize,
}

impl Quotas {
    /// As much as there is.
    pub const NONE: Self = Self {
        sessions_per_namespace_max: usize::MAX,
        sessions_per_user_max: usize::MAX,
        queues_per_namespace_max: usize::MAX,
        exchanges_per_namespace_max: usize::MAX,
        bindings_per_namespace_max: usize::MAX,
    };
}

impl Default for Quotas {
    fn default() -> Self {
        Self::NONE
    }
}

/// How many of something each of many has; who has none is not in it.
#[derive(Debug)]
pub(crate) struct Tally<K>(BTreeMap<K, usize>);

impl<K> Default for Tally<K> {
    fn default() -> Self {
        Self(BTreeMap::new())
    }
}

impl<K: Ord + Clone> Tally<K> {
    /// One more.
    pub(crate) fn add(&mut self, whose: &K) {
        match self.0.get_mut(whose) {
            Some(count) => *count += 1,
            None => _ = self.0.insert(whose.clone(), 1),
        }
    }

    /// So many less.
    pub(crate) fn remove(&mut self, whose: &K, many: usize) {
        let Some(count) = self.0.get_mut(whose) else { return };
        *count = count.saturating_sub(many);
        if *count == 0 {
            self.0.remove(whose);
        }
    }

    /// How many there are.
    pub(crate) fn of(&self, whose: &K) -> usize {
        self.0.get(whose).copied().unwrap_or(0)
    }
}

/// What is on the floor, by whom it counts for.
#[derive(Debug, Default)]
pub(crate) struct Usage {
    /// What is allowed.
    pub(crate) quotas: Quotas,
    sessions: Tally<NamespaceId>,
    users: Tally<String>,
    queues: Tally<NamespaceId>,
}

impl Floor {
    /// Lets a session in, if it is not one too many.
    pub(crate) fn add_session(&mut self, session: Session) -> Result<SessionId, Refusal> {
        let Usage { quotas, sessions, users, .. } = &mut self.usage;
        let (namespace, user) = (session.namespace, &session.principal.name);
        if sessions.of(&namespace) >= quotas.sessions_per_namespace_max
            || users.of(user) >= quotas.sessions_per_user_max
        {
            return Err(Refusal::TooManySessions);
        }
        sessions.add(&namespace);
        users.add(user);
        Ok(SessionId(self.sessions.insert(session)))
    }

    /// Takes a session out.
    pub(crate) fn take_session(&mut self, id: SessionId) -> Option<Session> {
        let session = self.sessions.remove(id.0)?;
        self.usage.sessions.remove(&session.namespace, 1);
        self.usage.users.remove(&session.principal.name, 1);
        Some(session)
    }

    /// Notes that a session counts for another user.
    pub(crate) fn change_user(&mut self, before: &String, after: &String) {
        if before != after {
            self.usage.users.remove(before, 1);
            self.usage.users.add(after);
        }
    }

    /// Puts a queue there that is not there yet.
    pub(crate) fn add_queue(&mut self, queue: FloorQueue) {
        self.usage.queues.add(&queue.namespace);
        self.queues.insert(queue.id, queue);
    }

    /// Takes a queue out.
    pub(crate) fn take_queue(&mut self, id: QueueId) -> Option<FloorQueue> {
        let queue = self.queues.remove(&id)?;
        self.usage.queues.remove(&queue.namespace, 1);
        Some(queue)
    }
}

impl Engine {
    /// Puts other quotas in the place of those there are.
    pub fn set_quotas(&mut self, quotas: Quotas) {
        self.floor.usage.quotas = quotas;
    }

    /// What the namespace of a session may not have more of, in words: `queues`, `bindings`.
    pub fn used_up(&self, session: SessionId) -> Option<String> {
        let namespace = self.floor.sessions.get(session.0)?.namespace;
        let all = [
            ("queues", self.room_for_queue(namespace)),
            ("exchanges", self.room_for_exchange(namespace)),
            ("bindings", self.room_for_binding(namespace)),
        ];
        let used_up: Vec<_> =
            all.iter().filter(|(_, room)| room.is_err()).map(|(what, _)| *what).collect();
        (!used_up.is_empty()).then(|| used_up.join(" and "))
    }

    /// Whether one queue more may be in a namespace.
    pub(crate) fn room_for_queue(&self, namespace: NamespaceId) -> Result<(), Refusal> {
        let Usage { quotas, queues, .. } = &self.floor.usage;
        let (there, pending) = (queues.of(&namespace), &self.floor.pending.queues);
        within(quotas.queues_per_namespace_max, there, pending.len(), || {
            count_of(pending, namespace)
        })
    }

    /// Whether one exchange more may be in a namespace.
    pub(crate) fn room_for_exchange(&self, namespace: NamespaceId) -> Result<(), Refusal> {
        let most = self.floor.usage.quotas.exchanges_per_namespace_max;
        let there = self.ledger.namespaces.get(&namespace).map_or(0, |space| space.exchanges.len());
        let pending = &self.floor.pending.exchanges;
        within(most, there, pending.len(), || count_of(pending, namespace))
    }

    /// Whether one binding more may be in a namespace.
    pub(crate) fn room_for_binding(&self, namespace: NamespaceId) -> Result<(), Refusal> {
        let most = self.floor.usage.quotas.bindings_per_namespace_max;
        let (ledger, floor) = (&self.ledger.bindings, &self.floor.bindings);
        let there = ledger.count_in(namespace) + floor.count_in(namespace);
        let pending = &self.floor.pending.bindings;
        let is_here = |exchange: &ExchangeId| {
            self.ledger.exchanges.get(exchange).is_some_and(|there| there.namespace == namespace)
        };
        within(most, there, pending.len(), || {
            let made = pending.iter().filter(|(_, (is_bound, _))| *is_bound);
            let here = made.filter(|((exchange, ..), _)| is_here(exchange));
            here.filter(|((exchange, to, key), _)| !ledger.has(*exchange, key, *to)).count()
        })
    }
}

/// Whether one more is allowed. What is in flight is counted, by `count`, only where the most that
/// it can be would matter.
fn within(
    most: usize,
    there: usize,
    pending_most: usize,
    count: impl Fn() -> usize,
) -> Result<(), Refusal> {
    if there + pending_most < most || there + count() < most {
        Ok(())
    } else {
        Err(Refusal::NamespaceQuota)
    }
}

/// Names in flight in a namespace.
fn count_of<T>(pending: &BTreeMap<(NamespaceId, Name), T>, namespace: NamespaceId) -> usize {
    pending.keys().filter(|(space, _)| *space == namespace).count()
}

#[cfg(test)]
mod tests;
