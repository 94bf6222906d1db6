//! Alarms: memory or disk is short, so publishers have to wait; consumers, who make room, do not.
//!
//! A small thread looks once a second. The alarm of the memory comes on when what the broker holds,
//! or what the process takes, is above its mark, and goes off when it is below nine tenths of it.
//! That of the disk comes on when less is free on the volume than its mark, or when the log found
//! it full; it goes off when a tenth more is free, and the log has room.
//!
//! While the alarm of the memory is on, every publish is refused. While less is free on the disk
//! than its mark, messages for the log are. Where the log itself found the disk full it says so
//! message by message, as without any alarm.
//!
//! Sessions that publish are told once when an alarm comes on, and when all are off. Each outbox
//! looks at the alarms with its own lock held, and whoever changes them tells all outboxes
//! afterwards: so nobody is left with old news.

use crate::budget::Budget;
use crate::memory;
use crate::shard::{Shard, flush};
use crate::stats::Stats;
use crate::upkeep::Bell;
use crate::worker;
use courant_engine::Refusal;
use courant_storage::Space;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

/// How often it is looked.
const LOOK: Duration = Duration::from_secs(1);

/// What is short.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Alarm {
    /// Memory.
    Memory,
    /// Room on the disk.
    Disk,
}

impl Alarm {
    /// All alarms.
    pub const ALL: [Self; 2] = [Self::Memory, Self::Disk];

    /// One word for it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Memory => "memory",
            Self::Disk => "disk",
        }
    }

    fn bit(self) -> u8 {
        1 << self as u8
    }
}

/// Some of the alarms.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct AlarmSet(u8);

impl AlarmSet {
    pub(crate) fn is_empty(self) -> bool {
        self.0 == 0
    }

    pub(crate) fn has(self, alarm: Alarm) -> bool {
        self.0 & alarm.bit() != 0
    }

    fn set(&mut self, alarm: Alarm, is_on: bool) {
        self.0 = self.0 & !alarm.bit() | if is_on { alarm.bit() } else { 0 };
    }

    /// These and those.
    pub(crate) fn and(self, more: Self) -> Self {
        Self(self.0 | more.0)
    }

    /// These without those.
    pub(crate) fn without(self, less: Self) -> impl Iterator<Item = Alarm> {
        Alarm::ALL.into_iter().filter(move |alarm| self.has(*alarm) && !less.has(*alarm))
    }
}

/// The alarms of a broker, and the marks that they hang on.
#[derive(Debug, Default)]
pub(crate) struct Alarms {
    on: AtomicU8,
    /// Less is free on the disk than its mark.
    is_disk_short: AtomicBool,
    memory_max_bytes: AtomicU64,
    disk_free_min_bytes: AtomicU64,
}

impl Alarms {
    /// From the next look on.
    pub(crate) fn set_marks(&self, memory_max_bytes: u64, disk_free_min_bytes: u64) {
        self.memory_max_bytes.store(memory_max_bytes, Ordering::Relaxed);
        self.disk_free_min_bytes.store(disk_free_min_bytes, Ordering::Relaxed);
    }

    pub(crate) fn on(&self) -> AlarmSet {
        AlarmSet(self.on.load(Ordering::SeqCst))
    }

    /// Why nothing may be published now.
    pub(crate) fn refusal(&self) -> Option<Refusal> {
        self.on().has(Alarm::Memory).then_some(Refusal::MemoryAlarm)
    }

    /// Whether nothing may be published now that has to be on the disk.
    pub(crate) fn is_disk_short(&self) -> bool {
        self.is_disk_short.load(Ordering::Relaxed)
    }
}

/// What one look found.
#[derive(Debug, Clone, Copy, Default)]
struct Found {
    used_bytes: u64,
    /// `None` where nobody knows.
    free_bytes: Option<u64>,
    is_full: bool,
}

/// Whether so much is too much, now that it was or was not.
fn is_above(was: bool, used: u64, most: u64) -> bool {
    if was { used >= most - most / 10 } else { used > most }
}

/// Whether so little is too little, now that it was or was not.
fn is_below(was: bool, free: Option<u64>, least: u64) -> bool {
    let least = if was { least.saturating_add(least / 10) } else { least };
    free.is_some_and(|free| free < least)
}

/// Who looks.
pub(crate) struct Watch {
    shard: Arc<Shard>,
    budget: Arc<Budget>,
}

impl Watch {
    pub(crate) fn new(shard: Arc<Shard>, budget: Arc<Budget>) -> Self {
        Self { shard, budget }
    }

    /// Looks now and, on a thread, until the bell rings.
    pub(crate) fn start(self, bell: Arc<Bell>) -> std::io::Result<JoinHandle<()>> {
        self.look();
        worker::thread("courant-alarms", move || {
            while !bell.wait(LOOK) {
                self.look();
            }
        })
    }

    /// Looks, and tells whoever has to know.
    pub(crate) fn look(&self) {
        let found = self.find();
        let Shard { alarms, stats, clock, .. } = &*self.shard;
        Stats::set(&stats.memory_bytes, found.used_bytes);
        Stats::set(&stats.disk_free_bytes, found.free_bytes.unwrap_or(0));
        let before = alarms.on();
        let now = self.judge(before, found);
        alarms.on.store(now.0, Ordering::SeqCst);
        if now == before {
            return;
        }
        for alarm in Alarm::ALL {
            if now.has(alarm) == before.has(alarm) {
                continue;
            }
            let since = match alarm {
                Alarm::Memory => &stats.memory_alarm_since,
                Alarm::Disk => &stats.disk_alarm_since,
            };
            Stats::set(since, if now.has(alarm) { clock.now_ms() } else { 0 });
            log(alarm, now.has(alarm), found);
        }
        self.tell();
    }

    fn find(&self) -> Found {
        let shard = &self.shard;
        let transient = shard.lock().transient.bytes();
        let held = transient + self.budget.held() + shard.store.in_flight_bytes();
        let held = (held as u64).saturating_add(Stats::get(&shard.stats.chunk_bytes));
        let used_bytes = held.max(memory::resident_bytes().unwrap_or(0));
        let free_bytes = shard.store.space().map(|Space { available, .. }| available);
        Found { used_bytes, free_bytes, is_full: shard.store.usage().is_full }
    }

    fn judge(&self, before: AlarmSet, found: Found) -> AlarmSet {
        let alarms = &self.shard.alarms;
        let most = alarms.memory_max_bytes.load(Ordering::Relaxed);
        let least = alarms.disk_free_min_bytes.load(Ordering::Relaxed);
        let is_short = is_below(alarms.is_disk_short(), found.free_bytes, least);
        alarms.is_disk_short.store(is_short, Ordering::Relaxed);
        let mut now = AlarmSet::default();
        let was_above = before.has(Alarm::Memory);
        now.set(Alarm::Memory, is_above(was_above, found.used_bytes, most));
        now.set(Alarm::Disk, is_short || found.is_full);
        now
    }

    fn tell(&self) {
        let all = self.shard.lock().outboxes();
        let told: Vec<_> = all.into_iter().filter(|outbox| outbox.tell_alarms()).collect();
        flush(&told);
    }
}

fn log(alarm: Alarm, is_on: bool, found: Found) {
    let Found { used_bytes, free_bytes, is_full } = found;
    match (alarm, is_on) {
        (Alarm::Memory, true) => tracing::warn!(
            used_bytes,
            "memory is short: nothing can be published; consume messages, or raise \
             limits.memory_max_bytes"
        ),
        (Alarm::Memory, false) => tracing::info!(used_bytes, "there is enough memory again"),
        (Alarm::Disk, true) => tracing::warn!(
            free_bytes,
            is_full,
            "the disk is short: no durable message can be published; consume messages, free some \
             space, or lower limits.disk_free_min_bytes"
        ),
        (Alarm::Disk, false) => tracing::info!(free_bytes, "there is room on the disk again"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_alarm_that_is_on_goes_off_later_than_it_came_on() {
        assert!(!is_above(false, 100, 100) && is_above(false, 101, 100));
        assert!(is_above(true, 90, 100) && !is_above(true, 89, 100));
        assert!(!is_below(false, Some(100), 100) && is_below(false, Some(99), 100));
        assert!(is_below(true, Some(109), 100) && !is_below(true, Some(110), 100));
        assert!(!is_below(true, None, 100) && !is_below(true, Some(0), 0));
    }

    #[test]
    fn sets_hold_what_was_put_in() {
        let mut some = AlarmSet::default();
        some.set(Alarm::Disk, true);
        assert!(some.has(Alarm::Disk) && !some.has(Alarm::Memory) && !some.is_empty());
        let mut all = some;
        all.set(Alarm::Memory, true);
        assert_eq!(all.without(some).collect::<Vec<_>>(), [Alarm::Memory]);
        assert_eq!(some.and(all), all);
        some.set(Alarm::Disk, false);
        assert!(some.is_empty());
    }
}
