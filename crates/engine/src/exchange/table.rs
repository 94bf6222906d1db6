//! What one exchange routes to: its bindings as they were given, and what finds them by a message.

use crate::exchange::hash::{Draw, Weights};
use crate::exchange::headers::Filters;
use crate::exchange::trie::Trie;
use crate::exchange::{Endpoint, ExchangeKind, Key};
use crate::message::Header;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;

/// The bindings of one exchange, by key.
#[derive(Debug)]
pub struct Table<T> {
    by_key: BTreeMap<Key, BTreeSet<T>>,
    count: usize,
    index: Index<T>,
}

/// What finds bindings where the key alone does not.
#[derive(Debug)]
enum Index<T> {
    Direct,
    /// Endpoints, and how many keys lead to each.
    Fanout(BTreeMap<T, u32>),
    Topic(Trie<T>),
    Headers(Filters<T>),
    Hash(Weights<T>),
}

impl<T: Endpoint> Table<T> {
    /// No bindings of an exchange of that kind.
    pub fn new(kind: ExchangeKind) -> Self {
        let index = match kind {
            ExchangeKind::Direct => Index::Direct,
            ExchangeKind::Fanout => Index::Fanout(BTreeMap::new()),
            ExchangeKind::Topic => Index::Topic(Trie::default()),
            ExchangeKind::Headers => Index::Headers(Filters::default()),
            ExchangeKind::Hash => Index::Hash(Weights::default()),
        };
        Self { by_key: BTreeMap::new(), count: 0, index }
    }

    /// Adds a binding whose key is `bindable`; says whether it is new.
    pub fn bind(&mut self, key: &Key, end: T) -> bool {
        if !self.by_key.entry(Key::clone(key)).or_default().insert(end) {
            return false;
        }
        self.count += 1;
        match &mut self.index {
            Index::Direct => {}
            Index::Fanout(ends) => *ends.entry(end).or_insert(0) += 1,
            Index::Topic(trie) => trie.add(key, end),
            Index::Headers(filters) => filters.add(key, end),
            Index::Hash(weights) => weights.add(key, end),
        }
        true
    }

    /// Removes a binding; says whether it was there.
    pub fn unbind(&mut self, key: &[u8], end: T) -> bool {
        let Some((shared, _)) = self.by_key.get_key_value(key) else { return false };
        let shared = Key::clone(shared);
        let Some(ends) = self.by_key.get_mut(key) else { return false };
        if !ends.remove(&end) {
            return false;
        }
        if ends.is_empty() {
            self.by_key.remove(key);
        }
        self.count -= 1;
        match &mut self.index {
            Index::Direct => {}
            Index::Fanout(ends) => {
                if let Some(keys) = ends.get_mut(&end) {
                    *keys -= 1;
                    if *keys == 0 {
                        ends.remove(&end);
                    }
                }
            }
            Index::Topic(trie) => trie.remove(key, end),
            Index::Headers(filters) => filters.remove(&shared, end),
            Index::Hash(weights) => weights.remove(key, end),
        }
        true
    }

    /// Whether a binding is there.
    pub fn has(&self, key: &[u8], end: T) -> bool {
        self.by_key.get(key).is_some_and(|ends| ends.contains(&end))
    }

    /// How many bindings there are.
    pub fn len(&self) -> usize {
        self.count
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Bindings behind one, in the order of keys and of what they lead to.
    pub(crate) fn behind(&self, after: Option<(&[u8], T)>) -> impl Iterator<Item = (&Key, T)> {
        let first = after.map_or(Bound::Unbounded, |(key, _)| Bound::Included(key));
        let keys = self.by_key.range::<[u8], _>((first, Bound::Unbounded));
        keys.flat_map(move |(key, ends)| {
            let first = match after {
                Some((last, end)) if **key == *last => Bound::Excluded(end),
                _ => Bound::Unbounded,
            };
            ends.range((first, Bound::Unbounded)).map(move |end| (key, *end))
        })
    }

    /// All bindings, in the order of keys.
    pub fn iter(&self) -> impl Iterator<Item = (&Key, T)> {
        self.by_key.iter().flat_map(|(key, ends)| ends.iter().map(move |end| (key, *end)))
    }

    /// Adds where a message with that key and these headers goes, perhaps more than once each. Of a
    /// hash exchange nothing: `choose` says it.
    pub fn find(&self, key: &[u8], headers: &[Header<'_>], found: &mut Vec<T>) {
        match &self.index {
            Index::Direct => found.extend(self.by_key.get(key).into_iter().flatten()),
            Index::Fanout(ends) => found.extend(ends.keys()),
            Index::Topic(trie) => trie.find(key, found),
            Index::Headers(filters) => filters.find(headers, found),
            Index::Hash(_) => {}
        }
    }

    /// Where a hash exchange sends a message with that key, among what may be taken.
    pub(crate) fn choose(&self, key: &[u8], may: impl Fn(T) -> bool) -> Option<(Draw, T)> {
        match &self.index {
            Index::Hash(weights) => weights.choose(key, may),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exchange::bindable;

    #[test]
    fn a_table_keeps_count() {
        for kind in (1..=5).filter_map(ExchangeKind::from_number) {
            let mut table = Table::new(kind);
            let key = Key::from(&b"\x02"[..]);
            let key = if kind == ExchangeKind::Hash { Key::from(&b"2"[..]) } else { key };
            assert!(bindable(kind, &key));
            assert!(table.bind(&key, 7u32) && !table.bind(&key, 7) && table.bind(&key, 8));
            assert_eq!((table.len(), table.has(&key, 7), table.has(b"", 7)), (2, true, false));
            assert!(table.unbind(&key, 7) && !table.unbind(&key, 7) && table.unbind(&key, 8));
            assert!(table.is_empty() && table.iter().next().is_none());
            let mut found = Vec::new();
            table.find(&key, &[], &mut found);
            assert!(found.is_empty() && table.choose(b"k", |_| true).is_none(), "{kind:?}");
        }
    }
}
