//! Numbers that say what a broker did. Counted per batch, read by whoever asks.

use courant_engine::Cause;
use std::sync::atomic::{AtomicU64, Ordering};

macro_rules! stats {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// Counters of a broker since its opening.
        #[derive(Debug, Default)]
        pub struct Stats { $($(#[$doc])* pub(crate) $name: AtomicU64,)* }

        /// Their values at one moment.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
        pub struct StatsSnapshot { $($(#[$doc])* pub $name: u64,)* }

        impl Stats {
            /// Reads all counters.
            pub fn snapshot(&self) -> StatsSnapshot {
                StatsSnapshot { $($name: self.$name.load(Ordering::Relaxed),)* }
            }
        }

        impl StatsSnapshot {
            /// All counters with their names.
            pub fn iter(&self) -> impl Iterator<Item = (&'static str, u64)> {
                [$((stringify!($name), self.$name),)*].into_iter()
            }
        }
    };
}

stats! {
    /// Messages admitted.
    published,
    /// Messages handed over by queues.
    delivered,
    /// Frames handed to live subscribers.
    live_delivered,
    /// Frames not handed to live subscribers because they read too slowly.
    live_dropped,
    /// Verdicts on deliveries that were carried out.
    settled,
    /// Messages that left their queue because a consumer rejected them.
    rejected,
    /// Batches committed by the log.
    batches_committed,
    /// Messages that left their queue because they cannot be read any more.
    corrupt,
    /// Messages that left their queue because it was full.
    overflowed,
    /// Messages that left their queue because they were handed over as often as it allows.
    attempts_spent,
    /// Messages that left their queue because their time passed.
    expired,
    /// Messages that were purged.
    purged,
    /// Messages that went with their queue.
    queue_deleted,
    /// Messages that were refused because the disk is full.
    disk_full,
    /// Messages that were refused because of an alarm.
    alarm_refused,
    /// Since when memory is short, in milliseconds since 1970; 0: it is not.
    memory_alarm_since,
    /// Since when the disk is short, in milliseconds since 1970; 0: it is not.
    disk_alarm_since,
    /// Bytes in memory when it was looked last.
    memory_bytes,
    /// Bytes free on the disk when it was looked last; 0 where nobody knows.
    disk_free_bytes,
    /// Connections that were closed because they were silent.
    silent_closed,
    /// Connections that were closed because they did not read.
    slow_closed,
    /// Connections that were closed because they held too much memory.
    memory_closed,
    /// Snapshots that were finished.
    snapshots,
    /// Segments of the log that are gone because nothing in them was needed.
    segments_removed,
    /// Segments of the log whose living frames were written again.
    segments_rewritten,
    /// Parts of queues that were read back.
    pages_loaded,
    /// Bytes that the parts of queues take that could be read back.
    chunk_bytes,
    /// Damaged places that were found in the log.
    damaged,
    /// Records for something that was gone already.
    noops,
}

impl Stats {
    /// Counts messages that left a queue otherwise than by being handled.
    pub(crate) fn note_left(&self, cause: Cause, count: u64) {
        match cause {
            Cause::Overflow => Self::add(&self.overflowed, count),
            Cause::MaxAttempts => Self::add(&self.attempts_spent, count),
            Cause::Purged => Self::add(&self.purged, count),
            Cause::QueueDeleted | Cause::Unused | Cause::SessionEnded => {
                Self::add(&self.queue_deleted, count);
            }
            // These are counted where they are decided.
            Cause::Acked
            | Cause::Expired
            | Cause::Rejected
            | Cause::Corrupt
            | Cause::NotAllowed => {}
        }
    }

    pub(crate) fn get(counter: &AtomicU64) -> u64 {
        counter.load(Ordering::Relaxed)
    }

    pub(crate) fn set(gauge: &AtomicU64, to: u64) {
        gauge.store(to, Ordering::Relaxed);
    }

    pub(crate) fn add(counter: &AtomicU64, by: u64) {
        counter.fetch_add(by, Ordering::Relaxed);
    }
}
