//! The bindings of all exchanges, found from either end: a queue that goes takes its own with it
//! without a look at anybody else's.

use crate::exchange::{ExchangeKind, Key, Table, Target};
use crate::name::{ExchangeId, NamespaceId};
use crate::quota::Tally;
use std::collections::{BTreeMap, BTreeSet};

/// Every binding that records (or the floor) know.
///
/// Invariants: `to` has an entry for each binding of `from`, and no other; `counts` has as many in
/// a namespace as there are from its exchanges.
#[derive(Debug, Default)]
pub(crate) struct Bindings {
    from: BTreeMap<ExchangeId, (NamespaceId, Table<Target>)>,
    to: BTreeSet<(Target, ExchangeId, Key)>,
    counts: Tally<NamespaceId>,
}

impl Bindings {
    /// Adds a binding; says whether it is new.
    pub(crate) fn bind(
        &mut self,
        (exchange, namespace, kind): (ExchangeId, NamespaceId, ExchangeKind),
        key: &[u8],
        target: Target,
    ) -> bool {
        let new = || (namespace, Table::new(kind));
        let (_, table) = self.from.entry(exchange).or_insert_with(new);
        let key = Key::from(key);
        let is_new = table.bind(&key, target);
        if is_new {
            self.to.insert((target, exchange, key));
            self.counts.add(&namespace);
        }
        is_new
    }

    /// Removes a binding; says whether it was there.
    pub(crate) fn unbind(&mut self, exchange: ExchangeId, key: &[u8], target: Target) -> bool {
        let Some((namespace, table)) = self.from.get_mut(&exchange) else { return false };
        if !table.unbind(key, target) {
            return false;
        }
        self.counts.remove(namespace, 1);
        if table.is_empty() {
            self.from.remove(&exchange);
        }
        self.to.remove(&(target, exchange, Key::from(key)))
    }

    /// The bindings from an exchange, if there are any.
    pub(crate) fn of(&self, exchange: ExchangeId) -> Option<&Table<Target>> {
        self.from.get(&exchange).map(|(_, table)| table)
    }

    /// Whether a binding is there.
    pub(crate) fn has(&self, exchange: ExchangeId, key: &[u8], target: Target) -> bool {
        self.of(exchange).is_some_and(|table| table.has(key, target))
    }

    /// How many bindings lead from an exchange.
    pub(crate) fn count(&self, exchange: ExchangeId) -> usize {
        self.of(exchange).map_or(0, Table::len)
    }

    /// How many bindings lead from the exchanges of a namespace.
    pub(crate) fn count_in(&self, namespace: NamespaceId) -> usize {
        self.counts.of(&namespace)
    }

    /// The bindings that lead to a target.
    pub(crate) fn leading_to(&self, target: Target) -> impl Iterator<Item = (ExchangeId, &Key)> {
        self.to.range(around(target)).map(|(_, exchange, key)| (*exchange, key))
    }

    /// Removes what leads to a target that is gone; gives it.
    pub(crate) fn forget_target(&mut self, target: Target) -> Vec<(ExchangeId, Key)> {
        let gone: Vec<_> = self.to.extract_if(around(target), |_| true).collect();
        for (target, exchange, key) in &gone {
            if let Some((namespace, table)) = self.from.get_mut(exchange) {
                table.unbind(key, *target);
                self.counts.remove(namespace, 1);
                if table.is_empty() {
                    self.from.remove(exchange);
                }
            }
        }
        gone.into_iter().map(|(_, exchange, key)| (exchange, key)).collect()
    }

    /// Removes what leads from an exchange that is gone; gives it.
    pub(crate) fn forget_exchange(&mut self, exchange: ExchangeId) -> Option<Table<Target>> {
        let (namespace, gone) = self.from.remove(&exchange)?;
        self.counts.remove(&namespace, gone.len());
        for (key, target) in gone.iter() {
            self.to.remove(&(target, exchange, Key::clone(key)));
        }
        Some(gone)
    }

    /// Every exchange with bindings.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (ExchangeId, &Table<Target>)> {
        self.from.iter().map(|(exchange, (_, table))| (*exchange, table))
    }
}

type Ends = (Target, ExchangeId, Key);

/// All that a target can be an end of; no exchange has the highest number.
fn around(target: Target) -> std::ops::Range<Ends> {
    let none = Key::from(&b""[..]);
    (target, ExchangeId(0), Key::clone(&none))..(target, ExchangeId(u32::MAX), none)
}
