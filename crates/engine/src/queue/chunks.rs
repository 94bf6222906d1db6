//! Messages of one queue in arrival order, as a list of chunks.
//!
//! A chunk without a living entry leaves the list; numbers of chunks are never reused. A
//! [`Position`] counts entries as if every chunk had been filled, and stays valid while other
//! chunks go.
//!
//! Invariants: `alive` and `bytes` are the sums over the chunks; only the last chunk grows; in a
//! ledger, sequence numbers rise strictly, and only there [`Chunks::at_or_after`] is asked.
//! Transient messages keep the order of arrival, and their chunks are never cold.

use crate::lifetime::NEVER;
use crate::limits::CHUNK_ENTRIES;
use crate::queue::chunk::{Bits, Chunk, Columns};
use std::collections::VecDeque;

/// How many entries came before, since the queue began.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Position(pub u64);

/// One living message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Entry {
    /// Where it is.
    pub position: Position,
    /// Its number in the shard.
    pub seq: u64,
    /// Bytes of its properties and body.
    pub size: u32,
}

/// A living message whose chunk is not in memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Absent {
    /// Where it is.
    pub position: Position,
    /// Its number is not below that.
    pub seq_min: u64,
    /// The page that says more.
    pub page: u64,
}

/// What comes next in a queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// A living message.
    Entry(Entry),
    /// A living message of which no more is known yet.
    Cold(Absent),
    /// Nothing.
    None,
}

#[derive(Debug)]
pub(crate) struct Place {
    /// Rises along the list, with gaps where chunks died.
    pub(crate) number: u64,
    /// Number of its first message.
    pub(crate) base: u64,
    pub(crate) chunk: Box<Chunk>,
}

impl Place {
    /// Number of its last message.
    pub(crate) fn last(&self) -> u64 {
        self.base + u64::from(self.chunk.last_delta())
    }

    /// What is known of a living entry.
    #[inline]
    fn at(&self, index: usize) -> Next {
        let position = Position(self.number * CHUNK_ENTRIES as u64 + index as u64);
        match self.chunk.entry(index) {
            Some((delta, size)) => {
                Next::Entry(Entry { position, seq: self.base + u64::from(delta), size })
            }
            None => Next::Cold(Absent {
                position,
                seq_min: self.base + index as u64,
                page: self.chunk.page,
            }),
        }
    }

    /// Shows number, size and deadline of its living messages; none if it is cold.
    pub(crate) fn show(&self, see: &mut dyn FnMut(u64, u32, u64)) {
        let mut next = self.chunk.next_alive(0);
        while let Some(index) = next
            && let Some((delta, size)) = self.chunk.entry(index)
        {
            see(self.base + u64::from(delta), size, self.chunk.deadline(index));
            next = self.chunk.next_alive(index + 1);
        }
    }
}

/// The list of chunks.
#[derive(Debug, Default)]
pub struct Chunks {
    pub(crate) places: VecDeque<Place>,
    /// Number of the chunk that begins next.
    next: u64,
    alive: u64,
    bytes: u64,
}

impl Chunks {
    /// Living messages.
    pub fn alive(&self) -> u64 {
        self.alive
    }

    /// Bytes of the living messages.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The number of the last message of the last chunk.
    pub fn newest(&self) -> Option<u64> {
        let Place { base, chunk, .. } = self.places.back()?;
        Some(base + u64::from(chunk.newest_delta()))
    }

    /// Appends a living message; says where it is.
    #[inline]
    pub fn push(&mut self, seq: u64, size: u32, deadline_ms: u64) -> Position {
        if let Some(Place { number, base, chunk }) = self.places.back_mut()
            && chunk.is_growing()
            && let Some(delta) = seq.checked_sub(*base)
            && let Ok(delta) = u32::try_from(delta)
        {
            let index = chunk.push(delta, size, deadline_ms);
            if index + 1 == CHUNK_ENTRIES {
                chunk.close();
            }
            self.alive += 1;
            self.bytes += u64::from(size);
            return Position(*number * CHUNK_ENTRIES as u64 + index as u64);
        }
        self.push_first(seq, size, deadline_ms)
    }

    #[cold]
    fn push_first(&mut self, seq: u64, size: u32, deadline_ms: u64) -> Position {
        self.begin_chunk(seq);
        self.push(seq, size, deadline_ms)
    }

    /// Starts a chunk whose first message is `base`, and ends the one before if its numbers went
    /// as far as 32 bits can say.
    fn begin_chunk(&mut self, base: u64) {
        let mut capacity = 0;
        if let Some(Place { chunk, .. }) = self.places.back_mut() {
            chunk.close();
            // A queue that filled one chunk will fill another.
            capacity = if chunk.len as usize == CHUNK_ENTRIES { CHUNK_ENTRIES } else { 0 };
            if chunk.alive == 0 {
                self.places.pop_back();
            }
        }
        self.adopt(base, Box::new(Chunk::growing(capacity)));
    }

    /// Puts a chunk at the end.
    pub(crate) fn adopt(&mut self, base: u64, chunk: Box<Chunk>) {
        self.alive += u64::from(chunk.alive);
        self.bytes += chunk.bytes;
        self.places.push_back(Place { number: self.next, base, chunk });
        self.next += 1;
    }

    /// Where the first chunk with at least that number is.
    pub(crate) fn slot(&self, number: u64) -> usize {
        let len = self.places.len();
        let Some(last) = self.places.back() else { return 0 };
        let Some(behind) = last.number.checked_sub(number) else { return len };
        // Without gaps behind it, which is the rule, it can be counted off.
        if let Some(slot) = usize::try_from(behind).ok().and_then(|n| (len - 1).checked_sub(n))
            && self.places[slot].number == number
        {
            return slot;
        }
        self.places.partition_point(|place| place.number < number)
    }

    /// The first living message at or after a position.
    pub fn next(&self, from: Position) -> Next {
        if self.alive == 0 {
            return Next::None;
        }
        let (number, index) = split(from);
        if let Some(last) = self.places.back()
            && last.number == number
        {
            return last.chunk.next_alive(index).map_or(Next::None, |found| last.at(found));
        }
        self.next_before(number, index)
    }

    /// Shows living messages from a position on, in order, as long as `see` wants more, and moves
    /// the position behind them. Ends with the chunk, and at one that is not in memory as a whole.
    #[inline]
    pub(crate) fn run(&self, from: &mut Position, mut see: impl FnMut(Entry) -> bool) {
        let (number, index) = split(*from);
        let last = self.places.back().filter(|last| last.number == number);
        let Some(place) = last.or_else(|| self.place(number)) else { return };
        let first = number * CHUNK_ENTRIES as u64;
        place.chunk.run(index, |index, delta, size| {
            let position = Position(first + index as u64);
            *from = Position(position.0 + 1);
            see(Entry { position, seq: place.base + u64::from(delta), size })
        });
    }

    /// As [`Self::next`], from a chunk that is not the last.
    fn next_before(&self, number: u64, mut index: usize) -> Next {
        let mut slot = self.slot(number);
        while let Some(place) = self.places.get(slot) {
            if place.number != number {
                index = 0;
            }
            if let Some(found) = place.chunk.next_alive(index) {
                return place.at(found);
            }
            slot += 1;
        }
        Next::None
    }

    /// Marks a message dead. Returns its size if it was alive.
    pub fn kill(&mut self, position: Position) -> Option<u32> {
        let (number, index) = split(position);
        let is_in_last = self.places.back().is_some_and(|last| last.number == number);
        let place = if is_in_last {
            self.places.back_mut()?
        } else {
            let slot = self.slot(number);
            self.places.get_mut(slot).filter(|place| place.number == number)?
        };
        let size = place.chunk.kill(index)?;
        self.alive -= 1;
        self.bytes -= u64::from(size);
        if !place.chunk.is_growing() {
            place.chunk.thin();
            if place.chunk.alive == 0 {
                self.places.remove(self.slot(number));
            }
        }
        Some(size)
    }

    /// Marks dead what lives from a position on in its chunk, up to a number. Says how many there
    /// were, and whether one behind them lives in that chunk; `None` if it is not in memory as a
    /// whole.
    pub(crate) fn kill_up_to(&mut self, from: Position, last: u64) -> Option<(u64, bool)> {
        let (number, index) = split(from);
        let slot = self.slot(number);
        let place = self.places.get_mut(slot).filter(|place| place.number == number)?;
        let last = last.checked_sub(place.base)?;
        let last = u32::try_from(last).unwrap_or(u32::MAX);
        let (gone, bytes, has_later) = place.chunk.kill_up_to(index, last)?;
        self.alive -= u64::from(gone);
        self.bytes -= bytes;
        if !place.chunk.is_growing() {
            place.chunk.thin();
            if place.chunk.alive == 0 {
                self.places.remove(slot);
            }
        }
        Some((u64::from(gone), has_later))
    }

    /// The first living message with at least that number, where numbers rise. One that is not in
    /// memory may have a lower number, if others of its chunk have not.
    pub fn at_or_after(&self, seq: u64) -> Next {
        let Some(place) = self.places.get(self.slot_of(seq)) else { return Next::None };
        let delta = u32::try_from(seq.saturating_sub(place.base)).unwrap_or(u32::MAX);
        let index = place.chunk.lower_bound(delta);
        self.next(Position(place.number * CHUNK_ENTRIES as u64 + index as u64))
    }

    /// Where the first chunk is whose last message has at least that number.
    pub(crate) fn slot_of(&self, seq: u64) -> usize {
        let slot = self.places.partition_point(|place| place.base <= seq).saturating_sub(1);
        let is_before = self.places.get(slot).is_some_and(|place| place.last() < seq);
        slot + usize::from(is_before)
    }

    /// Removes every message of a chunk that is not in memory if all its numbers lie in a range.
    /// Says how many there were.
    pub(crate) fn drop_cold(&mut self, position: Position, (first, last): (u64, u64)) -> u64 {
        let (number, _) = split(position);
        let slot = self.slot(number);
        let Some(place) = self.places.get(slot).filter(|place| place.number == number) else {
            return 0;
        };
        if !place.chunk.is_cold() || place.base < first || place.last() > last {
            return 0;
        }
        let gone = u64::from(place.chunk.alive);
        self.alive -= gone;
        self.bytes -= place.chunk.bytes;
        self.places.remove(slot);
        gone
    }

    /// Gives a chunk other entries, its bits and sums with them. Its page is void. One without a
    /// living entry leaves the list.
    pub(crate) fn renew(&mut self, base: u64, columns: Columns, bits: &Bits) {
        let Ok(slot) = self.places.binary_search_by_key(&base, |place| place.base) else { return };
        let Some(place) = self.places.get_mut(slot) else { return };
        let chunk = &mut *place.chunk;
        self.alive -= u64::from(chunk.alive);
        self.bytes -= chunk.bytes;
        chunk.renew(columns, bits);
        self.alive += u64::from(chunk.alive);
        self.bytes += chunk.bytes;
        if chunk.alive == 0 {
            self.places.remove(slot);
        }
    }

    /// The page of the chunk behind that of a position, if it is not in memory.
    pub(crate) fn cold_behind(&self, position: Position) -> Option<u64> {
        let (number, _) = split(position);
        let place = self.places.get(self.slot(number + 1))?;
        place.chunk.is_cold().then_some(place.chunk.page)
    }

    /// The chunk that begins with that message.
    pub(crate) fn find(&mut self, base: u64) -> Option<&mut Place> {
        let slot = self.places.binary_search_by_key(&base, |place| place.base).ok()?;
        self.places.get_mut(slot)
    }

    /// The deadline of a living message whose chunk is in memory.
    pub(crate) fn deadline(&self, position: Position) -> u64 {
        let (number, index) = split(position);
        self.place(number).map_or(NEVER, |place| place.chunk.deadline(index))
    }

    /// The chunk with that number.
    pub(crate) fn place(&self, number: u64) -> Option<&Place> {
        self.places.get(self.slot(number)).filter(|place| place.number == number)
    }

    /// The chunk with that number.
    pub(crate) fn place_mut(&mut self, number: u64) -> Option<&mut Place> {
        let slot = self.slot(number);
        self.places.get_mut(slot).filter(|place| place.number == number)
    }

    /// All living messages in order, of chunks that are in memory.
    pub fn iter(&self) -> impl Iterator<Item = Entry> + '_ {
        self.places.iter().flat_map(|place| {
            let mut from = 0;
            std::iter::from_fn(move || {
                let index = place.chunk.next_alive(from)?;
                from = index + 1;
                let (delta, size) = place.chunk.entry(index)?;
                let position = Position(place.number * CHUNK_ENTRIES as u64 + index as u64);
                Some(Entry { position, seq: place.base + u64::from(delta), size })
            })
        })
    }
}

pub(crate) fn split(position: Position) -> (u64, usize) {
    let entries = CHUNK_ENTRIES as u64;
    (position.0 / entries, usize::try_from(position.0 % entries).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    fn entry(next: Next) -> Entry {
        let Next::Entry(entry) = next else { panic!("{next:?} is no entry") };
        entry
    }

    proptest! {
        /// Many at a time are the same as one by one.
        #[test]
        fn runs_agree_with_steps(
            gaps in prop::collection::vec(
                prop_oneof![3000 => 1u64..4, 1 => Just(1u64 << 31)], 1..9000,
            ),
            dead in prop::collection::vec((0usize..9000, 1usize..3000), 0..4),
            ranges in prop::collection::vec((0usize..9000, 0u64..6000), 1..4),
        ) {
            let (mut runs, mut steps) = (Chunks::default(), Chunks::default());
            let mut seq = 0;
            let mut seqs = Vec::new();
            let mut positions = Vec::new();
            for gap in gaps {
                seq += gap;
                seqs.push(seq);
                positions.push(runs.push(seq, 7, NEVER));
                steps.push(seq, 7, NEVER);
            }
            for (first, count) in dead {
                for position in positions.iter().skip(first).take(count) {
                    prop_assert_eq!(runs.kill(*position), steps.kill(*position));
                }
            }
            for (first, span) in ranges {
                let first = seqs[first % seqs.len()];
                let last = first + span;
                let mut gone = 0;
                while let Next::Entry(entry) = steps.at_or_after(first) && entry.seq <= last {
                    steps.kill(entry.position);
                    gone += 1;
                }
                let mut queue = 0;
                while let Next::Entry(entry) = runs.at_or_after(first) && entry.seq <= last {
                    match runs.kill_up_to(entry.position, last) {
                        Some((killed, _)) => queue += killed,
                        None => queue += u64::from(runs.kill(entry.position).is_some()),
                    }
                }
                prop_assert_eq!((queue, runs.alive(), runs.bytes()),
                                (gone, steps.alive(), steps.bytes()));
                prop_assert!(runs.iter().eq(steps.iter()));
            }
            let mut from = Position::default();
            let mut seen = Vec::new();
            while let Next::Entry(entry) = runs.next(from) {
                from = entry.position;
                runs.run(&mut from, |entry| { seen.push(entry); true });
                if seen.last().is_none_or(|last| *last < entry) {
                    seen.push(entry);
                    from = Position(entry.position.0 + 1);
                }
            }
            prop_assert!(steps.iter().eq(seen));
        }

        #[test]
        fn chunks_agree_with_a_map(steps in prop::collection::vec(
            (prop_oneof![1u64..4, 1000u64..2000, Just(1u64 << 32)], 0usize..3, any::<u32>()),
            1..6000,
        ), keep in prop_oneof![Just(1usize), Just(50), Just(1000)], mortal in 0u32..8) {
            let mut chunks = Chunks::default();
            let mut model: BTreeMap<u64, (u32, Position, u64)> = BTreeMap::new();
            let mut seq = 1;
            let mut last = None;
            for (gap, kills, pick) in steps {
                seq += gap;
                let deadline = if pick % 7 < mortal { u64::from(pick) } else { NEVER };
                let position = chunks.push(seq, pick % 100, deadline);
                prop_assert_eq!(chunks.deadline(position), deadline);
                let new = entry(chunks.at_or_after(seq));
                prop_assert_eq!(new.position, position);
                prop_assert_eq!((new.seq, new.size), (seq, pick % 100));
                prop_assert!(Some(new.position) > last);
                last = Some(position);
                model.insert(seq, (pick % 100, new.position, deadline));
                for _ in 0..kills {
                    // Some are out of reach, so that chunks become sparse and the list has gaps.
                    let reach = model.len().saturating_sub(model.len() / keep);
                    if reach == 0 { break }
                    let nth = pick as usize % reach;
                    let (&victim, &(size, position, _)) = model.iter().nth(nth).expect("in range");
                    prop_assert_eq!(entry(chunks.at_or_after(victim)).position, position);
                    prop_assert_eq!(chunks.kill(position), Some(size));
                    prop_assert_eq!(chunks.kill(position), None);
                    let after = model.range(victim + 1..).next().map(|(seq, _)| *seq);
                    let next = match chunks.next(position) {
                        Next::Entry(entry) => Some(entry.seq),
                        _ => None,
                    };
                    prop_assert_eq!(next, after);
                    model.remove(&victim);
                }
            }
            prop_assert_eq!(chunks.alive(), model.len() as u64);
            let bytes: u64 = model.values().map(|(size, _, _)| u64::from(*size)).sum();
            prop_assert_eq!(chunks.bytes(), bytes);
            let seqs: Vec<u64> = chunks.iter().map(|entry| entry.seq).collect();
            prop_assert_eq!(seqs, model.keys().copied().collect::<Vec<_>>());
            for (position, deadline) in model.values().map(|(_, p, d)| (*p, *d)) {
                prop_assert_eq!(chunks.deadline(position), deadline);
                let (number, _) = split(position);
                prop_assert!(chunks.place(number).expect("there").chunk.earliest <= deadline);
            }
            prop_assert!(chunks.places.len() <= model.len() + 1, "a dead chunk stayed");
        }
    }
}
