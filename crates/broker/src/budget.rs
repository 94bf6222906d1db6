//! The memory that all outboxes of a broker fill together.
//!
//! Each outbox may hold [`OUTBOX_BYTES_MAX`] as long as the sum is within the budget, and always
//! [`OUTBOX_BYTES_MIN`], so that clients that do not read leave enough to those that do.
//!
//! Invariant: `held` is the sum of what all shares have counted. What an outbox holds below its
//! minimum is not counted: a client that keeps up never touches the number that all share.

use crate::account::Account;
use crate::limits::{OUTBOX_BYTES_MAX, OUTBOX_BYTES_MIN};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// What all outboxes may hold, and do.
#[derive(Debug)]
pub(crate) struct Budget {
    held: AtomicUsize,
    bytes_max: usize,
}

impl Budget {
    pub(crate) fn new(bytes_max: usize) -> Arc<Self> {
        Arc::new(Self { held: AtomicUsize::new(0), bytes_max })
    }

    /// Bytes held by outboxes above their minimum.
    pub(crate) fn held(&self) -> usize {
        self.held.load(Ordering::SeqCst)
    }
}

/// One outbox's share.
#[derive(Debug)]
pub(crate) struct Share {
    budget: Arc<Budget>,
    /// Of the namespace.
    account: Arc<Account>,
    counted: AtomicUsize,
}

impl Share {
    pub(crate) fn new(budget: &Arc<Budget>, account: Arc<Account>) -> Self {
        Self { budget: Arc::clone(budget), account, counted: AtomicUsize::new(0) }
    }

    /// How much this outbox may hold now.
    pub(crate) fn allowance(&self) -> usize {
        if self.budget.held() > self.budget.bytes_max { OUTBOX_BYTES_MIN } else { OUTBOX_BYTES_MAX }
    }

    /// Whether so little waits that an outbox that was full may be filled again.
    pub(crate) fn is_low(&self, pressure: usize) -> bool {
        pressure <= OUTBOX_BYTES_MIN / 2
            || pressure <= OUTBOX_BYTES_MAX / 2
                && self.budget.held() <= self.budget.bytes_max / 4 * 3
    }

    /// Counts what the outbox holds. Whoever comes last has counted the last state: it is looked
    /// at again after it was counted.
    pub(crate) fn count(&self, pressure: impl Fn() -> usize) {
        loop {
            let now = Some(pressure()).filter(|bytes| *bytes > OUTBOX_BYTES_MIN).unwrap_or(0);
            if self.counted.load(Ordering::SeqCst) == now {
                return;
            }
            let before = self.counted.swap(now, Ordering::SeqCst);
            if now > before {
                self.budget.held.fetch_add(now - before, Ordering::SeqCst);
                self.account.add(now - before);
            } else {
                self.budget.held.fetch_sub(before - now, Ordering::SeqCst);
                self.account.remove(before - now);
            }
        }
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.count(|| 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sum_follows_the_shares() {
        let budget = Budget::new(2 * OUTBOX_BYTES_MAX);
        let account = Arc::new(Account::default());
        let shares = [(); 3].map(|()| Share::new(&budget, Arc::clone(&account)));
        for share in &shares {
            share.count(|| OUTBOX_BYTES_MIN);
            assert_eq!((budget.held(), share.allowance()), (0, OUTBOX_BYTES_MAX));
        }
        for share in &shares {
            assert_eq!(share.allowance(), OUTBOX_BYTES_MAX);
            share.count(|| OUTBOX_BYTES_MAX);
        }
        assert_eq!(shares[0].allowance(), OUTBOX_BYTES_MIN);
        assert!(shares[0].is_low(OUTBOX_BYTES_MIN / 2) && !shares[0].is_low(OUTBOX_BYTES_MIN));
        let [first, second, third] = shares;
        drop((second, third));
        assert!(!first.is_low(OUTBOX_BYTES_MAX / 2 + 1));
        assert_eq!(budget.held(), OUTBOX_BYTES_MAX, "shares that are gone are counted");
        assert!(first.is_low(OUTBOX_BYTES_MAX / 2));
        assert_eq!(account.held(), OUTBOX_BYTES_MAX);
        drop(first);
        assert_eq!((account.held(), budget.held()), (0, 0));
    }
}
