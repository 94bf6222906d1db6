//! What may still be appended: as much as the disk has certainly room for.
//!
//! The writing side states what there is (the rest of the segment, the one prepared behind it, what
//! the reserve holds); an append compares with two numbers made of that, and asks nobody.
//!
//! Invariants:
//! - what was admitted can be written. Two batches may wait, one being written and the open one;
//!   none is ever split: so what waits has to fit into *one* of the three as a whole;
//! - messages are admitted on the reserve only while it is whole and the disk is not known to be
//!   full, and then on a half of it: what is left is for upkeep, which makes room again;
//! - of the reserve a sixteenth is never used by the log (the list of segments has to be replaced
//!   before anything is given back), and in the segment in use there is always room for the few
//!   records that a restart writes: a folder opens with no byte free on the disk.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::disk::Disk;
use crate::limits::{FRAME_ROOM_BYTES_MAX, OPENING_BYTES, RESTART_BYTES, UPKEEP_BYTES_MAX};
use crate::store::Purpose;

/// Why there is no room for an append.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Lack {
    /// There will be once what waits is written.
    ForNow,
    /// The disk is full.
    OfDisk,
}

/// What the writing side has.
#[derive(Debug, Clone, Copy, Default)]
struct Figures {
    /// The segment in use, and how much of it is left.
    segment: u64,
    rest: u64,
    /// What the segment prepared behind it takes.
    next: u64,
    /// What the reserve holds, and what it should.
    reserve: u64,
    reserve_whole: u64,
    /// The next segment could not be made.
    is_tight: bool,
}

/// The room for appends.
pub(crate) struct Room {
    /// To be asked for the exceptional message that fits into nothing prepared; without it there is
    /// always room.
    disk: Option<Arc<dyn Disk>>,
    segment_bytes: u64,
    /// Largest append for upkeep.
    upkeep_bytes_max: u64,
    figures: Mutex<Figures>,
    messages_bytes: AtomicU64,
    upkeep_bytes: AtomicU64,
    restart_bytes: AtomicU64,
    is_full: AtomicBool,
}

impl Room {
    /// Room without end.
    pub(crate) fn endless() -> Room {
        Room {
            disk: None,
            segment_bytes: 0,
            upkeep_bytes_max: 0,
            figures: Mutex::default(),
            messages_bytes: AtomicU64::new(u64::MAX),
            upkeep_bytes: AtomicU64::new(u64::MAX),
            restart_bytes: AtomicU64::new(u64::MAX),
            is_full: AtomicBool::new(false),
        }
    }

    /// Room on a disk that ends; none until the first figures.
    pub(crate) fn on(disk: Arc<dyn Disk>, segment_bytes: u64, reserve_bytes: u64) -> Room {
        let figures = Figures { reserve_whole: reserve_bytes, ..Figures::default() };
        let room = Room {
            disk: Some(disk),
            segment_bytes,
            upkeep_bytes_max: figures.upkeep_bytes_max(),
            figures: Mutex::new(figures),
            ..Room::endless()
        };
        room.state(|_| ());
        room
    }

    /// Whether an append fits beside the `pending` bytes that wait to be written. `is_opening`: it
    /// is one of the first few of this opening.
    pub(crate) fn check(
        &self,
        purpose: Purpose,
        pending: usize,
        is_opening: bool,
    ) -> Result<(), Lack> {
        let (bytes, limit) = match purpose {
            Purpose::Messages { bytes } => (bytes as u64, &self.messages_bytes),
            Purpose::Upkeep if is_opening => (OPENING_BYTES, &self.restart_bytes),
            Purpose::Upkeep => (self.upkeep_bytes_max, &self.upkeep_bytes),
        };
        let limit = limit.load(Ordering::Acquire);
        let alone = bytes.saturating_add(FRAME_ROOM_BYTES_MAX);
        let needed = alone.saturating_add(pending as u64);
        if needed <= limit {
            return Ok(());
        }
        let is_full = self.is_full();
        if !is_full && self.disk_has(needed) {
            return Ok(());
        }
        Err(if !is_full && alone <= limit { Lack::ForNow } else { Lack::OfDisk })
    }

    /// Whether segments of their own can be made for so many bytes: a system call, for the few
    /// messages that are larger than what is prepared.
    fn disk_has(&self, bytes: u64) -> bool {
        let space = self.disk.as_ref().and_then(|disk| disk.space().ok().flatten());
        // A segment may be in the making at the same time.
        space.is_some_and(|space| space.available >= bytes.saturating_add(2 * self.segment_bytes))
    }

    /// Whether the disk has an end that is known.
    pub(crate) fn is_bounded(&self) -> bool {
        self.disk.is_some()
    }

    /// Messages are refused until there is room on the disk.
    pub(crate) fn is_full(&self) -> bool {
        self.is_full.load(Ordering::Acquire)
    }

    /// What upkeep may still take of a full disk; `None` while it is not full.
    pub(crate) fn left_bytes(&self) -> Option<u64> {
        self.is_full().then(|| self.figures().left_bytes())
    }

    /// The segment in use has so many bytes left.
    pub(crate) fn state_rest(&self, segment: u64, rest: u64) {
        self.state(|figures| {
            if figures.segment != segment {
                *figures = Figures { segment, next: 0, ..*figures };
            }
            figures.rest = rest;
        });
    }

    /// A segment of so many bytes is prepared.
    pub(crate) fn state_next(&self, segment: u64, room: u64) {
        self.state(|figures| {
            if segment > figures.segment {
                figures.next = room;
            }
        });
    }

    /// The next segment could not be made, or could again.
    pub(crate) fn state_tight(&self, is_tight: bool) {
        self.state(|figures| figures.is_tight = is_tight);
    }

    /// The reserve holds so many bytes.
    pub(crate) fn state_reserve(&self, held: u64) {
        self.state(|figures| figures.reserve = held);
    }

    fn figures(&self) -> MutexGuard<'_, Figures> {
        self.figures.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn state(&self, change: impl FnOnce(&mut Figures)) {
        if self.disk.is_none() {
            return;
        }
        let mut figures = self.figures();
        change(&mut figures);
        self.messages_bytes.store(figures.for_messages(), Ordering::Release);
        self.upkeep_bytes.store(figures.for_upkeep(), Ordering::Release);
        self.restart_bytes.store(figures.for_restart(), Ordering::Release);
        self.is_full.store(figures.is_full(), Ordering::Release);
    }
}

/// What the log takes from a reserve of `whole` bytes for one segment, if not more is needed.
pub(crate) fn piece_bytes(whole: u64) -> u64 {
    whole / 8
}

/// What the log leaves in it.
pub(crate) fn floor_bytes(whole: u64) -> u64 {
    whole / 16
}

/// What the file system may need beside the bytes of a new file.
pub(crate) fn margin_bytes(whole: u64) -> u64 {
    (whole / 16).min(64 << 10)
}

impl Figures {
    fn is_full(&self) -> bool {
        self.is_tight || self.reserve < self.reserve_whole
    }

    fn upkeep_bytes_max(&self) -> u64 {
        UPKEEP_BYTES_MAX.min(self.reserve_whole / 4)
    }

    /// In the segment in use, without what a restart needs.
    fn rest(&self) -> u64 {
        self.rest.saturating_sub(RESTART_BYTES.min(self.reserve_whole / 16))
    }

    /// What the reserve certainly gives to two batches that need a segment each.
    fn reserve_share(&self) -> u64 {
        let whole = self.reserve_whole;
        let kept = floor_bytes(whole) + piece_bytes(whole) + 2 * margin_bytes(whole);
        self.reserve.saturating_sub(kept)
    }

    fn for_messages(&self) -> u64 {
        if self.reserve < self.reserve_whole {
            return 0;
        }
        let whole = if self.is_tight { 0 } else { self.reserve_whole };
        let share = self.reserve_share().saturating_sub(self.upkeep_bytes_max()).min(whole / 2);
        self.rest().max(self.next).max(share)
    }

    fn for_upkeep(&self) -> u64 {
        self.rest().max(self.next).max(self.reserve_share())
    }

    /// In all places together.
    fn left_bytes(&self) -> u64 {
        self.rest() + self.next + self.reserve_share()
    }

    fn for_restart(&self) -> u64 {
        self.rest.max(self.next).max(self.reserve)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sim::SimDisk;

    const WHOLE: u64 = 8 << 20;

    fn room() -> Room {
        let room = Room::on(SimDisk::new().mount(), 4 << 20, WHOLE);
        room.state_reserve(WHOLE);
        room.state_rest(1, 100 << 10);
        room
    }

    fn messages(bytes: usize) -> Purpose {
        Purpose::Messages { bytes }
    }

    #[test]
    fn what_waits_has_to_fit_into_one_place_as_a_whole() {
        let room = room();
        assert_eq!(room.check(messages(3 << 20), 0, false), Ok(()));
        assert_eq!(room.check(messages(3 << 20), 1 << 20, false), Err(Lack::ForNow));
        assert_eq!(room.check(messages(5 << 20), 0, false), Err(Lack::OfDisk));
        room.state_next(2, 6 << 20);
        assert_eq!(room.check(messages(5 << 20), 0, false), Ok(()));
        assert!(!room.is_full());
    }

    #[test]
    fn without_a_next_segment_messages_take_what_is_left_and_upkeep_the_reserve() {
        let room = room();
        room.state_tight(true);
        assert!(room.is_full());
        assert_eq!(room.check(messages(20 << 10), 0, false), Ok(()));
        assert_eq!(room.check(messages(40 << 10), 0, false), Err(Lack::OfDisk));
        assert_eq!(room.check(Purpose::Upkeep, 1 << 20, false), Ok(()));
    }

    #[test]
    fn a_reserve_that_is_not_whole_is_for_upkeep_alone_and_at_last_for_a_restart() {
        let room = room();
        room.state_reserve(WHOLE - 1);
        assert_eq!(room.check(messages(1), 0, false), Err(Lack::OfDisk));
        assert_eq!(room.check(Purpose::Upkeep, 0, false), Ok(()));
        room.state_reserve(WHOLE / 4);
        assert_eq!(room.check(Purpose::Upkeep, 0, false), Err(Lack::OfDisk));
        assert_eq!(room.check(Purpose::Upkeep, 0, true), Ok(()));
        room.state_reserve(0);
        assert_eq!(room.check(Purpose::Upkeep, 0, true), Ok(()));
        room.state_reserve(WHOLE);
        assert_eq!(room.check(messages(1), 0, false), Ok(()));
    }

    #[test]
    fn a_prepared_segment_counts_until_it_is_in_use() {
        let room = room();
        room.state_next(2, 6 << 20);
        room.state_rest(2, 6 << 20);
        room.state_next(2, 6 << 20);
        room.state_rest(2, 1 << 10);
        assert_eq!(room.check(messages(5 << 20), 0, false), Err(Lack::OfDisk));
    }

    #[test]
    fn a_room_without_end_has_always_room() {
        let room = Room::endless();
        room.state_tight(true);
        assert_eq!(room.check(messages(usize::MAX / 2), usize::MAX / 2, false), Ok(()));
        assert_eq!(room.check(Purpose::Upkeep, 1, false), Ok(()));
    }
}
