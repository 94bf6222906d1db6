//! The memory that one namespace fills: bodies of its transient messages, and what waits for its
//! clients.
//!
//! Invariant: `held` is the sum of what its batches and its outboxes have counted. A batch counts
//! from its arrival until nobody needs any message of it; an outbox counts what it holds above its
//! minimum (`budget.rs`), so that a client that keeps up counts nothing.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

/// What one namespace holds.
#[derive(Debug, Default)]
pub(crate) struct Account {
    held: AtomicUsize,
}

impl Account {
    pub(crate) fn held(&self) -> usize {
        self.held.load(Ordering::Relaxed)
    }

    pub(crate) fn add(&self, bytes: usize) {
        self.held.fetch_add(bytes, Ordering::Relaxed);
    }

    pub(crate) fn remove(&self, bytes: usize) {
        self.held.fetch_sub(bytes, Ordering::Relaxed);
    }
}

/// The accounts of all namespaces that had a session.
#[derive(Debug, Default)]
pub(crate) struct Accounts {
    by_namespace: BTreeMap<Box<str>, Arc<Account>>,
}

impl Accounts {
    /// The account of a namespace, which has to exist.
    pub(crate) fn of(&mut self, namespace: &str) -> Arc<Account> {
        if let Some(account) = self.by_namespace.get(namespace) {
            return Arc::clone(account);
        }
        let account = Arc::new(Account::default());
        self.by_namespace.insert(namespace.into(), Arc::clone(&account));
        account
    }
}

/// The most that may be held for one connection, and for one namespace.
#[derive(Debug, Default)]
pub(crate) struct MemoryBounds {
    connection_max_bytes: AtomicU64,
    namespace_max_bytes: AtomicU64,
}

impl MemoryBounds {
    pub(crate) fn set(&self, connection_max_bytes: u64, namespace_max_bytes: u64) {
        self.connection_max_bytes.store(connection_max_bytes, Ordering::Relaxed);
        self.namespace_max_bytes.store(namespace_max_bytes, Ordering::Relaxed);
    }

    pub(crate) fn connection_max_bytes(&self) -> u64 {
        self.connection_max_bytes.load(Ordering::Relaxed)
    }

    /// Whether nothing more may be kept in memory for a namespace.
    pub(crate) fn is_used_up(&self, account: &Account) -> bool {
        account.held() as u64 > self.namespace_max_bytes.load(Ordering::Relaxed)
    }
}
