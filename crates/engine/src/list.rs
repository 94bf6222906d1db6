//! Lists of what there is in a session's namespace, in order of names, a page at a time.
//!
//! A page begins behind a name and looks at no more than [`LOOKED_AT_MAX`] names, whatever the
//! session may see of them: a list costs a step its share, however much there is.

use crate::access::Operation;
use crate::engine::Engine;
use crate::exchange::{ExchangeKind, ExchangeSpec, Key, Target};
use crate::floor::SessionId;
use crate::name::{ExchangeId, Name, QueueId};
use crate::queue::{QueueCounts, QueueOptions};
use crate::refusal::Refusal;
use std::collections::BTreeMap;
use std::ops::Bound;

/// Names that one page looks at.
const LOOKED_AT_MAX: usize = 1000;

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

impl ListedBinding {
    /// Where it stands in the list: what the next part begins behind.
    pub fn place(&self) -> BindingPlace {
        BindingPlace { exchange: self.exchange.clone(), at: Some((self.key.clone(), self.target)) }
    }
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
    ) -> Result<Part<(QueueOptions, QueueCounts)>, Refusal> {
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
            if who.allow_queue(session.0, Operation::Inspect, queue).is_ok()
                && let Some(counts) = self.counts(id)
            {
                part.items.push((name.clone(), (queue.options, counts)));
            }
        }
        Ok(part)
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

    /// Bindings behind a place, at most `count`, in order of their exchanges' names.
    pub fn list_bindings(
        &self,
        session: SessionId,
        after: Option<&BindingPlace>,
        count: usize,
    ) -> Result<(Vec<ListedBinding>, Option<BindingPlace>), Refusal> {
        let who = self.floor.sessions.get(session.0).ok_or(Refusal::Closing)?;
        let Some(space) = self.ledger.namespaces.get(&who.namespace) else {
            return Err(Refusal::NoSuchNamespace);
        };
        let count = count.clamp(1, LOOKED_AT_MAX);
        let mut found = Vec::new();
        let first = after.map_or(Bound::Unbounded, |after| match after.at {
            Some(_) => Bound::Included(after.exchange.as_str()),
            None => Bound::Excluded(after.exchange.as_str()),
        });
        let names = space.exchanges.range::<str, _>((first, Bound::Unbounded));
        for (looked_at, (name, id)) in names.enumerate() {
            let Some(exchange) = self.ledger.exchanges.get(id) else { continue };
            if who.allow(Operation::Inspect, name.as_str()).is_ok() {
                let within = after.filter(|after| after.exchange == *name);
                let behind = within.and_then(|after| after.at.as_ref());
                let behind = behind.map(|(key, target)| (&key[..], *target));
                let wanted = count + 1 - found.len();
                for (key, target) in self.bindings_behind(*id, behind, wanted) {
                    if let Some(to) = self.target_name(target) {
                        let (exchange, kind) = (name.clone(), exchange.spec.kind);
                        found.push(ListedBinding { exchange, kind, key, target, to });
                    }
                }
            }
            if found.len() > count {
                found.truncate(count);
                let more = found.last().map(ListedBinding::place);
                return Ok((found, more));
            }
            if looked_at + 1 == LOOKED_AT_MAX {
                return Ok((found, Some(BindingPlace { exchange: name.clone(), at: None })));
            }
        }
        Ok((found, None))
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
    ) -> Result<Part<(ExchangeSpec, Option<Name>)>, Refusal> {
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
                let alternate = exchange.spec.alternate.and_then(|id| self.exchange_name(id));
                part.items.push((name.clone(), (exchange.spec, alternate.cloned())));
            }
        }
        Ok(part)
    }
}

fn behind(after: Option<&str>) -> Bound<&str> {
    after.map_or(Bound::Unbounded, Bound::Excluded)
}
