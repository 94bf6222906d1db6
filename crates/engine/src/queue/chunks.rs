//! Messages of one queue in arrival order, as a list of chunks of 4,096 entries.
//!
//! An entry is a sequence number (as a distance from the chunk's first), a size and one bit that
//! says whether the message is alive: about 8 bytes a message. A full chunk changes only in its
//! bits; a chunk without a living entry is dropped whole. A [`Position`] counts entries since the
//! queue began and stays valid while chunks before it are dropped.
//!
//! Invariants: `alive` and `bytes` are the sums over the bits; in a ledger, sequence numbers rise
//! strictly, and only there [`Chunks::at_or_after`] is asked. Transient messages keep the order of
//! arrival.

use crate::limits::CHUNK_ENTRIES;
use std::collections::VecDeque;

const WORDS: usize = CHUNK_ENTRIES / 64;

/// How many entries came before, since the queue began.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Position(pub u64);

/// One living message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry {
    /// Where it is.
    pub position: Position,
    /// Its number in the shard.
    pub seq: u64,
    /// Bytes of its properties and body.
    pub size: u32,
}

#[derive(Debug)]
struct Chunk {
    deltas: Vec<u32>,
    sizes: Vec<u32>,
    bits: [u64; WORDS],
    alive: u32,
}

impl Chunk {
    fn new() -> Box<Self> {
        Box::new(Self { deltas: Vec::new(), sizes: Vec::new(), bits: [0; WORDS], alive: 0 })
    }

    fn is_alive(&self, index: usize) -> bool {
        self.bits[index / 64] >> (index % 64) & 1 == 1
    }

    fn next_alive(&self, from: usize) -> Option<usize> {
        let mut word = from / 64;
        if word >= WORDS {
            return None;
        }
        let mut bits = self.bits[word] & (u64::MAX << (from % 64));
        while bits == 0 {
            word += 1;
            if word == WORDS {
                return None;
            }
            bits = self.bits[word];
        }
        Some(word * 64 + bits.trailing_zeros() as usize)
    }
}

#[derive(Debug)]
struct Place {
    base: u64,
    /// `None` once every entry is dead.
    chunk: Option<Box<Chunk>>,
}

/// The list of chunks.
#[derive(Debug, Default)]
pub struct Chunks {
    places: VecDeque<Place>,
    /// Number of the first chunk still in `places`.
    first: u64,
    alive: u64,
    bytes: u64,
    spare: Option<Box<Chunk>>,
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

    /// Where the next message will come.
    pub fn end(&self) -> Position {
        let last = match self.places.back() {
            Some(Place { chunk: Some(chunk), .. }) => chunk.deltas.len(),
            Some(_) => CHUNK_ENTRIES,
            None => 0,
        };
        let chunks_before = self.first + (self.places.len() as u64).saturating_sub(1);
        Position(chunks_before * CHUNK_ENTRIES as u64 + last as u64)
    }

    /// Appends a living message.
    pub fn push(&mut self, seq: u64, size: u32) {
        let delta = match self.places.back() {
            Some(Place { base, chunk: Some(chunk) }) if chunk.deltas.len() < CHUNK_ENTRIES => {
                seq.checked_sub(*base).and_then(|delta| u32::try_from(delta).ok())
            }
            _ => None,
        };
        if delta.is_none() {
            self.begin_chunk(seq);
        }
        let Some(Place { chunk: Some(chunk), .. }) = self.places.back_mut() else { return };
        let index = chunk.deltas.len();
        chunk.deltas.push(delta.unwrap_or(0));
        chunk.sizes.push(size);
        chunk.bits[index / 64] |= 1 << (index % 64);
        chunk.alive += 1;
        self.alive += 1;
        self.bytes += u64::from(size);
    }

    /// Starts a chunk whose first message is `base`. A chunk left half full (its numbers would
    /// not fit 32 bits) keeps its empty places as dead entries, so that positions stay sums.
    fn begin_chunk(&mut self, base: u64) {
        if let Some(place) = self.places.back_mut()
            && place.chunk.as_ref().is_some_and(|chunk| chunk.alive == 0)
        {
            place.chunk = None;
        }
        self.drop_dead_front();
        let chunk = self.spare.take().unwrap_or_else(Chunk::new);
        self.places.push_back(Place { base, chunk: Some(chunk) });
    }

    /// The first living message at or after a position.
    pub fn next_alive(&self, from: Position) -> Option<Entry> {
        if self.alive == 0 {
            return None;
        }
        let (mut number, mut index) = split(from);
        if number < self.first {
            (number, index) = (self.first, 0);
        }
        loop {
            let place = self.places.get(usize::try_from(number - self.first).ok()?)?;
            if let Some(chunk) = &place.chunk
                && let Some(found) = chunk.next_alive(index)
            {
                return Some(Entry {
                    position: Position(number * CHUNK_ENTRIES as u64 + found as u64),
                    seq: place.base + u64::from(chunk.deltas[found]),
                    size: chunk.sizes[found],
                });
            }
            number += 1;
            index = 0;
        }
    }

    /// Marks a message dead. Returns its size if it was alive.
    pub fn kill(&mut self, position: Position) -> Option<u32> {
        let (number, index) = split(position);
        let slot = usize::try_from(number.checked_sub(self.first)?).ok()?;
        let last = self.places.len().checked_sub(1)?;
        let place = self.places.get_mut(slot)?;
        let chunk = place.chunk.as_mut()?;
        if !chunk.is_alive(index) {
            return None;
        }
        chunk.bits[index / 64] &= !(1 << (index % 64));
        chunk.alive -= 1;
        let size = chunk.sizes[index];
        self.alive -= 1;
        self.bytes -= u64::from(size);
        let full = chunk.deltas.len() == CHUNK_ENTRIES || slot < last;
        if chunk.alive == 0 && full {
            self.retire(slot);
        }
        Some(size)
    }

    fn retire(&mut self, slot: usize) {
        if let Some(mut chunk) = self.places[slot].chunk.take()
            && self.spare.is_none()
        {
            chunk.deltas.clear();
            chunk.sizes.clear();
            chunk.bits = [0; WORDS];
            self.spare = Some(chunk);
        }
        self.drop_dead_front();
    }

    fn drop_dead_front(&mut self) {
        while self.places.front().is_some_and(|place| place.chunk.is_none()) {
            self.places.pop_front();
            self.first += 1;
        }
    }

    /// The first living message with at least that number, where numbers rise.
    pub fn at_or_after(&self, seq: u64) -> Option<Entry> {
        let slot = self.places.partition_point(|place| place.base <= seq).saturating_sub(1);
        let place = self.places.get(slot)?;
        let number = self.first + slot as u64;
        let index = match &place.chunk {
            Some(chunk) => {
                let delta = u32::try_from(seq.saturating_sub(place.base)).unwrap_or(u32::MAX);
                chunk.deltas.partition_point(|d| *d < delta)
            }
            None => CHUNK_ENTRIES,
        };
        let mut from = Position(number * CHUNK_ENTRIES as u64 + index as u64);
        loop {
            let entry = self.next_alive(from)?;
            if entry.seq >= seq {
                return Some(entry);
            }
            from = Position(entry.position.0 + 1);
        }
    }

    /// All living messages in order.
    pub fn iter(&self) -> impl Iterator<Item = Entry> + '_ {
        let mut from = Position(0);
        std::iter::from_fn(move || {
            let entry = self.next_alive(from)?;
            from = Position(entry.position.0 + 1);
            Some(entry)
        })
    }
}

fn split(position: Position) -> (u64, usize) {
    let entries = CHUNK_ENTRIES as u64;
    (position.0 / entries, usize::try_from(position.0 % entries).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    proptest! {
        #[test]
        fn chunks_agree_with_a_map(steps in prop::collection::vec(
            (prop_oneof![1u64..4, 1000u64..2000, Just(1u64 << 32)], 0usize..3, any::<u32>()),
            1..6000,
        )) {
            let mut chunks = Chunks::default();
            let mut model: BTreeMap<u64, (u32, Position)> = BTreeMap::new();
            let mut seq = 1;
            for (gap, kills, pick) in steps {
                seq += gap;
                let position = chunks.end();
                chunks.push(seq, pick % 100);
                let entry = chunks.at_or_after(seq).expect("just pushed");
                prop_assert!(entry.position >= position);
                model.insert(seq, (pick % 100, entry.position));
                for _ in 0..kills {
                    if model.is_empty() { break }
                    let nth = pick as usize % model.len();
                    let (&victim, &(size, position)) = model.iter().nth(nth).expect("in range");
                    prop_assert_eq!(chunks.kill(position), Some(size));
                    prop_assert_eq!(chunks.kill(position), None);
                    model.remove(&victim);
                }
            }
            prop_assert_eq!(chunks.alive(), model.len() as u64);
            let bytes: u64 = model.values().map(|(size, _)| u64::from(*size)).sum();
            prop_assert_eq!(chunks.bytes(), bytes);
            let seqs: Vec<u64> = chunks.iter().map(|entry| entry.seq).collect();
            prop_assert_eq!(seqs, model.keys().copied().collect::<Vec<_>>());
        }
    }
}
