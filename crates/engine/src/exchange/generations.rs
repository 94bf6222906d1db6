//! What tells a kept route that it may not hold any more.
//!
//! 256 counters. A route hangs on two of them: the one of its exchange, and the one of its
//! exchange and what its key begins with; it holds as long as neither rises. A change raises the
//! one that all routes it may alter hang on: of a binding with a plain key or a pattern that
//! begins with a plain segment the second, of any other the first. Where exchanges feed each other
//! all rise. So a storm of changes at one place leaves the routes of other places alone, but for
//! one in 256 by chance.

use crate::exchange::ExchangeKind;
use crate::exchange::hash::{hash, mix};
use crate::exchange::trie::{first_literal, first_segment};
use crate::name::{ExchangeId, NamespaceId};

/// How many counters there are.
pub const GENERATIONS: usize = 256;

/// The two counters that a route hangs on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Slots(pub [u8; 2]);

impl Slots {
    /// The counters of an exchange that is there, and a key.
    pub fn of(exchange: ExchangeId, kind: ExchangeKind, key: &[u8]) -> Self {
        let whole = exchange_slot(exchange);
        Self(match kind {
            ExchangeKind::Direct => [whole, key_slot(exchange, key)],
            ExchangeKind::Topic => [whole, key_slot(exchange, first_segment(key))],
            _ => [whole, whole],
        })
    }

    /// The counter of a name in a namespace: of a queue, or of an exchange that is not there.
    pub fn of_name(namespace: NamespaceId, name: &str) -> Self {
        Self([name_slot(namespace, name); 2])
    }
}

/// The counter to be raised for a change of a binding.
pub fn slot_of_binding(exchange: ExchangeId, kind: ExchangeKind, key: &[u8]) -> u8 {
    match kind {
        ExchangeKind::Direct => key_slot(exchange, key),
        ExchangeKind::Topic => match first_literal(key) {
            Some(first) => key_slot(exchange, first),
            None => exchange_slot(exchange),
        },
        _ => exchange_slot(exchange),
    }
}

fn exchange_slot(exchange: ExchangeId) -> u8 {
    slot(u64::from(exchange.0))
}

fn key_slot(exchange: ExchangeId, first: &[u8]) -> u8 {
    slot(hash(first) ^ u64::from(exchange.0))
}

fn name_slot(namespace: NamespaceId, name: &str) -> u8 {
    slot(hash(name.as_bytes()) ^ (u64::from(namespace.0) << 32))
}

fn slot(bits: u64) -> u8 {
    mix(bits).to_le_bytes()[7]
}

/// The counters.
#[derive(Debug)]
pub struct Generations {
    each: [u64; GENERATIONS],
    changes: u64,
}

impl Default for Generations {
    fn default() -> Self {
        Self { each: [0; GENERATIONS], changes: 0 }
    }
}

impl Generations {
    /// What routes at these slots are compared by.
    pub fn at(&self, slots: Slots) -> u64 {
        let [a, b] = slots.0;
        self.each[usize::from(a)].wrapping_add(self.each[usize::from(b)])
    }

    /// Every counter.
    pub fn each(&self) -> &[u64; GENERATIONS] {
        &self.each
    }

    /// Rises with any of them.
    pub fn changes(&self) -> u64 {
        self.changes
    }

    /// Routes that hang on one counter may have changed.
    pub(crate) fn raise(&mut self, slot: u8) {
        self.each[usize::from(slot)] += 1;
        self.changes += 1;
    }

    /// Routes to a name may have changed.
    pub(crate) fn raise_name(&mut self, namespace: NamespaceId, name: &str) {
        self.raise(name_slot(namespace, name));
    }

    /// All routes through an exchange may have changed.
    pub(crate) fn raise_exchange(&mut self, exchange: ExchangeId) {
        self.raise(exchange_slot(exchange));
    }

    /// Any route may have changed.
    pub(crate) fn raise_all(&mut self) {
        self.each.iter_mut().for_each(|each| *each += 1);
        self.changes += 1;
    }
}
