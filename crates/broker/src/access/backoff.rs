//! Who guesses wrong waits: twice as long with every wrong guess, by source and by user.
//!
//! The first guesses are free: people mistype. A lock that is on is not made longer by asking. Of
//! each kind a bounded number is remembered; the one that was wrong longest ago is forgotten for a
//! new one. A source of IPv6 is its network of 64 bits, which is what one customer gets.

use std::collections::HashMap;
use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hash};
use std::net::IpAddr;

/// Sources, and users, that are remembered.
const REMEMBERED_MAX: usize = 16_384;
/// Wrong guesses of a source before it waits.
const FREE_OF_SOURCE: u32 = 5;
/// Wrong guesses about a user before its logins wait; more, since others can bring it about.
const FREE_OF_USER: u32 = 20;
/// The first wait.
const WAIT_MS: u64 = 1_000;
/// The longest wait of a source.
const SOURCE_WAIT_MS_MAX: u64 = 300_000;
/// The longest wait of a user.
const USER_WAIT_MS_MAX: u64 = 30_000;
/// After so long without a wrong guess it is as if there had been none.
const FORGET_MS: u64 = 900_000;

/// What is known of one source or user.
#[derive(Debug, Clone, Copy, Default)]
struct Wrong {
    count: u32,
    last_ms: u64,
    locked_until_ms: u64,
}

/// Wrong guesses of one kind, by a hash of who it was.
#[derive(Debug)]
struct Table {
    entries: HashMap<u64, Wrong>,
    free: u32,
    wait_ms_max: u64,
}

impl Table {
    fn is_locked(&self, key: u64, now_ms: u64) -> bool {
        self.entries.get(&key).is_some_and(|wrong| wrong.locked_until_ms > now_ms)
    }

    fn failed(&mut self, key: u64, now_ms: u64) {
        if self.entries.len() >= REMEMBERED_MAX && !self.entries.contains_key(&key) {
            let oldest = self.entries.iter().min_by_key(|(_, wrong)| wrong.last_ms);
            if let Some(oldest) = oldest.map(|(key, _)| *key) {
                self.entries.remove(&oldest);
            }
        }
        let wrong = self.entries.entry(key).or_default();
        if now_ms.saturating_sub(wrong.last_ms) > FORGET_MS {
            *wrong = Wrong::default();
        }
        wrong.count = wrong.count.saturating_add(1);
        wrong.last_ms = now_ms;
        if wrong.count >= self.free {
            let doublings = (wrong.count - self.free).min(32);
            let wait_ms = (WAIT_MS << doublings).min(self.wait_ms_max);
            wrong.locked_until_ms = now_ms.saturating_add(wait_ms);
        }
    }
}

/// Whom to keep waiting.
#[derive(Debug)]
pub(super) struct Backoff {
    sources: Table,
    users: Table,
    keys: RandomState,
}

impl Default for Backoff {
    fn default() -> Self {
        let table = |free, wait_ms_max| Table { entries: HashMap::new(), free, wait_ms_max };
        Self {
            sources: table(FREE_OF_SOURCE, SOURCE_WAIT_MS_MAX),
            users: table(FREE_OF_USER, USER_WAIT_MS_MAX),
            keys: RandomState::new(),
        }
    }
}

impl Backoff {
    /// Whether whoever comes from there has to wait.
    pub(super) fn is_source_locked(&self, source: IpAddr, now_ms: u64) -> bool {
        self.sources.is_locked(self.key_of(source), now_ms)
    }

    /// Whether whoever says to be that user has to wait.
    pub(super) fn is_user_locked(&self, user: &str, now_ms: u64) -> bool {
        self.users.is_locked(self.keys.hash_one(user), now_ms)
    }

    /// Notes a wrong guess; a token names no user.
    pub(super) fn failed(&mut self, source: IpAddr, user: Option<&str>, now_ms: u64) {
        let source = self.key_of(source);
        self.sources.failed(source, now_ms);
        if let Some(user) = user {
            let user = self.keys.hash_one(user);
            self.users.failed(user, now_ms);
        }
    }

    /// Notes a right one.
    pub(super) fn succeeded(&mut self, source: IpAddr, user: Option<&str>) {
        let source = self.key_of(source);
        self.sources.entries.remove(&source);
        if let Some(user) = user {
            self.users.entries.remove(&self.keys.hash_one(user));
        }
    }

    fn key_of(&self, source: IpAddr) -> u64 {
        fn key(keys: &RandomState, of: impl Hash) -> u64 {
            keys.hash_one(of)
        }
        match source.to_canonical() {
            IpAddr::V4(address) => key(&self.keys, address),
            IpAddr::V6(address) => key(&self.keys, &address.segments()[..4]),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn a_source_waits_longer_each_time_and_is_forgiven() {
        let (mut backoff, here, mut now) = (Backoff::default(), ip("192.0.2.1"), 1_000_000);
        for _ in 0..FREE_OF_SOURCE {
            assert!(!backoff.is_source_locked(here, now));
            backoff.failed(here, None, now);
        }
        for wait_ms in [1_000, 2_000, 4_000, 8_000] {
            assert!(backoff.is_source_locked(here, now + wait_ms - 1));
            assert!(!backoff.is_source_locked(here, now + wait_ms));
            assert!(!backoff.is_source_locked(ip("192.0.2.2"), now));
            now += wait_ms;
            backoff.failed(here, None, now);
        }
        for _ in 0..100 {
            backoff.failed(here, None, now);
        }
        assert!(backoff.is_source_locked(here, now + SOURCE_WAIT_MS_MAX - 1));
        assert!(!backoff.is_source_locked(here, now + SOURCE_WAIT_MS_MAX));
        now += FORGET_MS + 1;
        backoff.failed(here, None, now);
        assert!(!backoff.is_source_locked(here, now), "it is long ago");
        for _ in 0..FREE_OF_SOURCE {
            backoff.failed(here, None, now);
        }
        backoff.succeeded(here, None);
        assert!(!backoff.is_source_locked(here, now));
    }

    #[test]
    fn a_user_is_slowed_down_from_wherever_it_comes() {
        let mut backoff = Backoff::default();
        for i in 0..FREE_OF_USER {
            assert!(!backoff.is_user_locked("alice", 5), "{i}");
            backoff.failed(ip(&format!("192.0.2.{i}")), Some("alice"), 5);
        }
        assert!(backoff.is_user_locked("alice", 5 + WAIT_MS - 1));
        assert!(!backoff.is_user_locked("bob", 5));
        assert!(!backoff.is_source_locked(ip("192.0.2.1"), 5));
    }

    #[test]
    fn one_network_is_one_source() {
        let mut backoff = Backoff::default();
        for i in 0..FREE_OF_SOURCE {
            backoff.failed(ip(&format!("2001:db8::{i}")), None, 0);
        }
        assert!(backoff.is_source_locked(ip("2001:db8::ffff:1"), 0));
        assert!(!backoff.is_source_locked(ip("2001:db8:0:1::1"), 0));
        for _ in 0..FREE_OF_SOURCE {
            backoff.failed(ip("::ffff:192.0.2.7"), None, 0);
        }
        assert!(backoff.is_source_locked(ip("192.0.2.7"), 0));
        assert!(!backoff.is_source_locked(ip("192.0.2.8"), 0));
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let mut backoff = Backoff::default();
        for i in 0..u32::try_from(REMEMBERED_MAX).unwrap() + 10 {
            let source = IpAddr::from(std::net::Ipv4Addr::from_bits(i));
            backoff.failed(source, Some(&i.to_string()), u64::from(i));
        }
        assert_eq!(backoff.sources.entries.len(), REMEMBERED_MAX);
        assert_eq!(backoff.users.entries.len(), REMEMBERED_MAX);
    }
}
