//! A publisher that waits for room in a full queue that blocks.
//!
//! The session is held at its first message without room, for [`HOLD_MS`] at most; then that
//! message is refused, and so is what follows it in the same batch. The shard counts how often a
//! queue for which somebody waits got room; whoever sees another count than when it was held asks
//! again.

use crate::publish::Desk;
use crate::shard::Shard;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// How long a message waits for room in a queue.
const HOLD_MS: u64 = 30_000;

/// One wait.
#[derive(Debug)]
pub(crate) struct Hold {
    until_ms: u64,
    /// How often queues had got room when it was looked last.
    seen: u64,
}

impl Hold {
    /// What a session waits for after a batch: a message that found no room again waits no longer
    /// than before. Called with the shard's lock held.
    pub(crate) fn after(
        before: Option<Self>,
        (shard, now_ms): (&Shard, u64),
        desk: &Desk,
    ) -> Option<Self> {
        if !desk.is_held {
            return None;
        }
        let is_same = desk.outcomes.is_empty();
        let until_ms = before.filter(|_| is_same).map(|hold| hold.until_ms);
        let until_ms = until_ms.unwrap_or(now_ms.saturating_add(HOLD_MS));
        Some(Self { until_ms, seen: Self::count(shard) })
    }

    /// Whether the message has waited long enough.
    pub(crate) fn is_over(&self, now_ms: u64) -> bool {
        now_ms >= self.until_ms
    }

    /// Is ready when a queue got room, or the wait is over.
    pub(crate) async fn wait(&self, shard: &Shard) {
        let room = shard.queue_room.notified();
        if Self::count(shard) != self.seen {
            return;
        }
        let left = self.until_ms.saturating_sub(shard.clock.now_ms());
        let _ = tokio::time::timeout(Duration::from_millis(left), room).await;
    }

    fn count(shard: &Shard) -> u64 {
        shard.rooms.load(Ordering::Acquire)
    }
}

impl Shard {
    /// Wakes everybody who waits for room in a queue.
    pub(crate) fn tell_room(&self) {
        self.rooms.fetch_add(1, Ordering::AcqRel);
        self.queue_room.notify_waiters();
    }
}
