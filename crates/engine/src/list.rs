//! Lists of what there is in a session's namespace, in order of names, a page at a time; and one
//! of it alone. Who is there is listed by `roster.rs`.
//!
//! A page begins behind a name and looks at no more than [`LOOKED_AT_MAX`] names or bindings,
//! whatever the session may see of them: a list costs a step its share, however much there is.

use crate::access::Operation;
use crate::engine::Engine;
use crate::exchange::{BindTo, Exchange, ExchangeKind, ExchangeSpec, Key, Target};
use crate::floor::SessionId;
use crate::name::{ExchangeId, Name, QueueId};
use crate::queue::{FloorQueue, QueueCounts, QueueOptions};
use crate::refusal::Refusal;
use std::collections::BTreeMap;
use std::ops::Bound;

/// Names, bindings or slots that one page looks at.
pub(crate) const LOOKED_AT_MAX: usize = 1000;

/// A queue as a list shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListedQueue {
    /// Its policies.
    pub options: QueueOptions,
    /// How it is doing.
    pub counts: QueueCounts,
    /// The session that alone may use it.
    pub owner: Option<SessionId>,
}

/// An exchange as a list shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListedExchange {
    /// Its options.
    pub spec: ExchangeSpec,
    /// The name of its alternate, if that is still there.
    pub alternate: Option<Name>,
    /// How many bindings lead from it.
    pub bindings: u64,
}

/// A binding as a list shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListedBinding {
    /// From.
    pub exchange: Name,
    /// How that routes.
    pub kind: ExchangeKind,
    /// The key, whose meaning is the exchange's.
    pub key: Key,
    /// To a queue, or to an exchange.
    pub target: Target,
    /// Its name.
    pub to: Name,
}

/// A place in the list of bindings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BindingPlace {
    /// The exchange.
    pub exchange: Name,
    /// Its last binding that was seen; behind all of them if there is none.
    pub at: Option<(Key, Target)>,
}

/// A part of a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part<T> {
    /// What the session may see of it, in order.
    pub items: Vec<(Name, T)>,
    /// Behind which name it goes on, if it does.
    pub more: Option<Name>,
}

impl Engine {
    /// Queues behind a name, at most `count`.
    pub fn list_queues(
        &self,
        session: SessionId,
        after: Option<&str>,
        count: usize,
    ) -> Result<Part<ListedQueue>, Refusal> {
        let who = self.floor.sessions.get(session.0).ok_or(Refusal::Closing)?;
        let Some(space) = self.ledger.namespaces.get(&who.namespace) else {
            return Err(Refusal::NoSuchNamespace);
        };
        let limit = count.min(LOOKED_AT_MAX) + 1;
        // The names of durable and of transient queues never meet.
        let mut found: BTreeMap<&Name, QueueId> = BTreeMap::new();
        let durable = space.queues.range::<str, _>((behind(after), Bound::Unbounded));
        found.extend(durable.take(limit).map(|(name, id)| (name, *id)));
        let transient = self.floor.transient_names_of(who.namespace, after);
        found.extend(transient.take(limit).map(|(name, id)| (name, *id)));
        let mut part = Part { items: Vec::new(), more: None };
        let mut last = None;
        for (at, (name, id)) in found.into_iter().enumerate() {
            if at + 1 == limit {
                part.more = last;
                break;
            }
            last = Some(name.clone());
            let Some(queue) = self.floor.queues.get(&id) else { continue };
            if who.allow_queue(session.0, Operation::Inspect, queue).is_ok() {
                part.items.push((name.clone(), self.listed_queue(queue)));
            }
        }
        Ok(part)
    }

    /// One queue as it is listed; also one that is exclusive to another session.
    pub fn list_queue(&self, session: SessionId, name: &str) -> Result<ListedQueue, Refusal> {
        let id = self.queue_seen(session, name)?;
        let queue = self.floor.queues.get(&id).ok_or(Refusal::NoSuchQueue)?;
        Ok(self.listed_queue(queue))
    }

    /// The number of a queue that the session may look at.
    pub(crate) fn queue_seen(&self, session: SessionId, name: &str) -> Result<QueueId, Refusal> {
        let who = self.floor.sessions.get(session.0).ok_or(Refusal::Closing)?;
        let id = self.find_queue(who.namespace, name);
        match id.and_then(|id| self.floor.queues.get(&id)) {
            Some(queue) => who.allow_queue(session.0, Operation::Inspect, queue)?,
            None => who.allow(Operation::Inspect, name)?,
        }
        id.ok_or(Refusal::NoSuchQueue)
    }

    fn listed_queue(&self, queue: &FloorQueue) -> ListedQueue {
        let counts = queue.counts(self.ledger.queues.get(&queue.id));
        ListedQueue { options: queue.options, counts, owner: queue.owner.map(SessionId) }
    }

    /// Namespaces that the session's user may enter, behind a name, at most `count`.
    pub fn list_namespaces(
        &self,
        session: SessionId,
        after: Option<&str>,
        count: usize,
    ) -> Result<Part<()>, Refusal> {
        let who = self.floor.sessions.get(session.0).ok_or(Refusal::Closing)?;
        let names = self.ledger.namespaces.values().map(|space| &space.name);
        let mut names: Vec<&Name> = names
            .filter(|name| after.is_none_or(|after| name.as_str() > after))
            .filter(|name| who.principal.may_enter(name.as_str()))
            .collect();
        names.sort_unstable();
        let count = count.clamp(1, LOOKED_AT_MAX);
        let is_cut = names.len() > count;
        names.truncate(count);
        let more = names.last().filter(|_| is_cut).map(|name| Name::clone(name));
        Ok(Part { items: names.into_iter().map(|name| (name.clone(), ())).collect(), more })
    }

    /// Bindings behind a place, at most `count`, in order of their exchanges' names. With `of` only
    /// those that lead to that queue, or to or from that exchange.
    pub fn list_bindings(
        &self,
        session: SessionId,
        of: Option<BindTo<'_>>,
        after: Option<&BindingPlace>,
        count: usize,
    ) -> Result<(Vec<ListedBinding>, Option<BindingPlace>), Refusal> {
        let of = of.map(|of| self.target_of(session, of)).transpose()?;
        let who = self.floor.sessions.get(session.0).ok_or(Refusal::Closing)?;
        let Some(space) = self.ledger.namespaces.get(&who.namespace) else {
            return Err(Refusal::NoSuchNamespace);
        };
        let first = after.map_or(Bound::Unbounded, |after| match after.at {
            Some(_) => Bound::Included(after.exchange.as_str()),
            None => Bound::Excluded(after.exchange.as_str()),
        });
        let mut found = Vec::new();
        let (mut last, mut left) = (None, LOOKED_AT_MAX);
        for (name, id) in space.exchanges.range::<str, _>((first, Bound::Unbounded)) {
            if left == 0 {
                return Ok((found, last));
            }
            left -= 1;
            let there = self.ledger.exchanges.get(id);
            let there = there.filter(|_| who.allow(Operation::Inspect, name.as_str()).is_ok());
            if let Some(there) = there {
                let behind = after.filter(|after| after.exchange == *name);
                let behind = behind.and_then(|after| after.at.as_ref());
                let behind = behind.map(|(key, target)| (&key[..], *target));
                let most = if of.is_some() { left } else { left.min(count.max(1) - found.len()) };
                for (key, target) in self.bindings_behind(*id, behind, most + 1) {
                    if found.len() >= count.max(1) || left == 0 {
                        return Ok((found, last));
                    }
                    left -= 1;
                    let at = Some((key.clone(), target));
                    last = Some(BindingPlace { exchange: name.clone(), at });
                    if of.is_none_or(|of| of == target || of == Target::Exchange(*id)) {
                        found.extend(self.listed_binding(there, key, target));
                    }
                }
            }
            last = Some(BindingPlace { exchange: name.clone(), at: None });
        }
        Ok((found, None))
    }

    fn listed_binding(&self, from: &Exchange, key: Key, target: Target) -> Option<ListedBinding> {
        let to = self.target_name(target)?;
        Some(ListedBinding { exchange: from.name.clone(), kind: from.spec.kind, key, target, to })
    }

    /// The next bindings of an exchange, durable and transient ones in one order.
    fn bindings_behind(
        &self,
        exchange: ExchangeId,
        behind: Option<(&[u8], Target)>,
        wanted: usize,
    ) -> Vec<(Key, Target)> {
        let tables = [self.ledger.bindings.of(exchange), self.floor.bindings.of(exchange)];
        let parts =
            tables.into_iter().flatten().flat_map(|table| table.behind(behind).take(wanted));
        let mut all: Vec<_> = parts.map(|(key, target)| (key.clone(), target)).collect();
        all.sort_unstable();
        all.truncate(wanted);
        all
    }

    fn target_name(&self, target: Target) -> Option<Name> {
        match target {
            Target::Queue(id) => self.floor.queues.get(&id).map(|queue| queue.name.clone()),
            Target::Exchange(id) => self.exchange_name(id).cloned(),
        }
    }

    /// Exchanges and topics behind a name, at most `count`, each with the name of its alternate.
    pub fn list_exchanges(
        &self,
        session: SessionId,
        after: Option<&str>,
        count: usize,
    ) -> Result<Part<ListedExchange>, Refusal> {
        let who = self.floor.sessions.get(session.0).ok_or(Refusal::Closing)?;
        let Some(space) = self.ledger.namespaces.get(&who.namespace) else {
            return Err(Refusal::NoSuchNamespace);
        };
        let limit = count.min(LOOKED_AT_MAX) + 1;
        let mut part = Part { items: Vec::new(), more: None };
        let mut last = None;
        let behind = space.exchanges.range::<str, _>((behind(after), Bound::Unbounded));
        for (at, (name, id)) in behind.take(limit).enumerate() {
            if at + 1 == limit {
                part.more = last;
                break;
            }
            last = Some(name.clone());
            let Some(exchange) = self.ledger.exchanges.get(id) else { continue };
            if who.allow(Operation::Inspect, name.as_str()).is_ok() {
                part.items.push((name.clone(), self.listed_exchange(exchange)));
            }
        }
        Ok(part)
    }

    /// One exchange or topic as it is listed.
    pub fn list_exchange(&self, session: SessionId, name: &str) -> Result<ListedExchange, Refusal> {
        let id = self.exchange_of(session, Operation::Inspect, name)?;
        let exchange = self.ledger.exchanges.get(&id).ok_or(Refusal::NoSuchExchange)?;
        Ok(self.listed_exchange(exchange))
    }

    fn listed_exchange(&self, exchange: &Exchange) -> ListedExchange {
        let Exchange { id, spec, .. } = *exchange;
        let alternate = spec.alternate.and_then(|id| self.exchange_name(id)).cloned();
        let bindings = self.ledger.bindings.count(id) + self.floor.bindings.count(id);
        ListedExchange { spec, alternate, bindings: bindings as u64 }
    }
}

fn behind(after: Option<&str>) -> Bound<&str> {
    after.map_or(Bound::Unbounded, Bound::Excluded)
}
