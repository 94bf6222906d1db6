//! Counters that say whether a kept route still holds, to be read without the shard's lock. What
//! hangs on which: `courant_engine::exchange::generations`.

use courant_engine::exchange::generations::{GENERATIONS, Generations, Slots};
use std::sync::atomic::{AtomicU64, Ordering};

pub(crate) struct Counters {
    each: [AtomicU64; GENERATIONS],
    changes: AtomicU64,
}

impl Default for Counters {
    fn default() -> Self {
        Self { each: [const { AtomicU64::new(0) }; GENERATIONS], changes: AtomicU64::new(0) }
    }
}

impl Counters {
    /// What routes at these slots are compared by.
    pub(crate) fn at(&self, slots: Slots) -> u64 {
        let [a, b] = slots.0.map(|slot| self.each[usize::from(slot)].load(Ordering::Acquire));
        a.wrapping_add(b)
    }

    /// Rises with any of them.
    pub(crate) fn changes(&self) -> u64 {
        self.changes.load(Ordering::Acquire)
    }

    /// What hangs on one of them may have changed.
    pub(crate) fn raise(&self, slot: u8) {
        self.each[usize::from(slot)].fetch_add(1, Ordering::AcqRel);
        self.changes.fetch_add(1, Ordering::AcqRel);
    }

    /// Anything may have changed.
    pub(crate) fn raise_all(&self) {
        for each in &self.each {
            each.fetch_add(1, Ordering::AcqRel);
        }
        self.changes.fetch_add(1, Ordering::AcqRel);
    }

    /// Shows what the engine counts. Called with the shard's lock held, by one at a time.
    pub(crate) fn follow(&self, engine: &Generations) {
        if self.changes.load(Ordering::Relaxed) == engine.changes() {
            return;
        }
        for (shown, counted) in self.each.iter().zip(engine.each()) {
            // Who reads the others is left alone.
            if shown.load(Ordering::Relaxed) != *counted {
                shown.store(*counted, Ordering::Release);
            }
        }
        self.changes.store(engine.changes(), Ordering::Release);
    }
}
