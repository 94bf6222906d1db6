//! One chunk of a queue: up to 4,096 entries in order of arrival.
//!
//! An entry is a number (as a distance from the chunk's first), a size and one bit that says
//! whether the message is alive; where one of them has a deadline, all have a place for one. The
//! entries stand in one of four forms:
//!
//! ```text
//!   growing ── full, or its numbers end ──► whole ── few alive ──► sparse
//!                                           │  ▲
//!                      written to a page,   │  │  the page is read again
//!                      nobody near          ▼  │
//!                                           cold
//! ```
//!
//! Whole entries never change, so that a snapshot shares them. A cold chunk keeps its bits and
//! sums; what needs an entry has to bring the page first. Invariants: `alive` and `bytes` are the
//! sums over the bits; a cold chunk has a page that holds all its entries; `earliest` is the least
//! deadline of all entries, dead ones included.

use crate::lifetime::NEVER;
use crate::limits::CHUNK_ENTRIES;
use std::sync::Arc;

const WORDS: usize = CHUNK_ENTRIES / 64;
/// A whole chunk with no more living messages than that keeps only these.
pub(crate) const SPARSE_MAX: usize = CHUNK_ENTRIES / 32;

/// One bit for each entry.
pub(crate) type Bits = [u64; WORDS];

/// Distances, sizes and deadlines of the entries of a chunk.
#[derive(Debug, Default)]
pub(crate) struct Columns {
    pub(crate) deltas: Vec<u32>,
    pub(crate) sizes: Vec<u32>,
    /// Empty if no entry has one.
    pub(crate) deadlines: Vec<u64>,
}

impl Columns {
    /// Adds the deadline of the last entry, if there are any.
    #[inline]
    pub(crate) fn note_deadline(&mut self, deadline_ms: u64) {
        if deadline_ms != NEVER || !self.deadlines.is_empty() {
            self.push_deadline(deadline_ms);
        }
    }

    /// All before have none if there is no column yet.
    #[cold]
    fn push_deadline(&mut self, deadline_ms: u64) {
        if self.deadlines.is_empty() {
            self.deadlines.reserve(self.deltas.capacity());
        }
        self.deadlines.resize(self.deltas.len() - 1, NEVER);
        self.deadlines.push(deadline_ms);
    }

    /// The least deadline.
    pub(crate) fn earliest(&self) -> u64 {
        self.deadlines.iter().copied().min().unwrap_or(NEVER)
    }
}

/// An entry of a chunk that forgot the others.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Kept {
    pub(crate) index: u16,
    pub(crate) delta: u32,
    pub(crate) size: u32,
}

#[derive(Debug)]
pub(crate) enum Entries {
    Growing(Columns),
    Whole(Arc<Columns>),
    /// The entries that are left, and their deadlines if the chunk has any.
    Sparse(Box<[Kept]>, Box<[u64]>),
    Cold,
}

#[derive(Debug)]
pub(crate) struct Chunk {
    pub(crate) bits: Bits,
    pub(crate) alive: u32,
    /// Entries, dead ones included; while it grows its columns know.
    pub(crate) len: u32,
    /// Bytes of the living messages.
    pub(crate) bytes: u64,
    /// Distance of the last entry; while it grows its columns know.
    pub(crate) last_delta: u32,
    /// Entries that stand in `page`, from the first on.
    pub(crate) page_len: u32,
    /// The committed page of its entries; 0 if there is none.
    pub(crate) page: u64,
    /// The least deadline of all entries; [`NEVER`] if there is none.
    pub(crate) earliest: u64,
    /// When the floor looks at its deadlines next; see `expiry.rs`.
    pub(crate) due: u64,
    pub(crate) entries: Entries,
}

impl Chunk {
    /// An empty chunk that grows; the first message comes at distance 0.
    pub(crate) fn growing(capacity: usize) -> Self {
        let (deltas, sizes) = (Vec::with_capacity(capacity), Vec::with_capacity(capacity));
        Self {
            bits: [0; WORDS],
            alive: 0,
            len: 0,
            bytes: 0,
            last_delta: 0,
            page_len: 0,
            page: 0,
            earliest: NEVER,
            due: NEVER,
            entries: Entries::Growing(Columns { deltas, sizes, deadlines: Vec::new() }),
        }
    }

    pub(crate) fn is_growing(&self) -> bool {
        matches!(self.entries, Entries::Growing(_))
    }

    pub(crate) fn is_cold(&self) -> bool {
        matches!(self.entries, Entries::Cold)
    }

    /// Its columns, where they are in memory as a whole.
    pub(crate) fn columns(&self) -> Option<&Columns> {
        match &self.entries {
            Entries::Growing(columns) => Some(columns),
            Entries::Whole(columns) => Some(columns),
            Entries::Sparse(..) | Entries::Cold => None,
        }
    }

    /// Whether its entries have places for deadlines.
    pub(crate) fn has_deadlines(&self) -> bool {
        self.earliest != NEVER
    }

    /// Appends a living entry; says which it is. Only while it grows.
    #[inline]
    pub(crate) fn push(&mut self, delta: u32, size: u32, deadline_ms: u64) -> usize {
        let Entries::Growing(columns) = &mut self.entries else { return 0 };
        let index = columns.deltas.len();
        columns.deltas.push(delta);
        columns.sizes.push(size);
        if deadline_ms != NEVER || self.earliest != NEVER {
            columns.push_deadline(deadline_ms);
            self.earliest = self.earliest.min(deadline_ms);
        }
        self.bits[index / 64] |= 1 << (index % 64);
        self.alive += 1;
        self.bytes += u64::from(size);
        index
    }

    /// The delta of its last entry.
    pub(crate) fn newest_delta(&self) -> u32 {
        match &self.entries {
            Entries::Growing(columns) => columns.deltas.last().copied().unwrap_or(0),
            _ => self.last_delta,
        }
    }

    /// Ends its growing.
    pub(crate) fn close(&mut self) {
        let Entries::Growing(columns) = &mut self.entries else { return };
        self.len = count(columns.deltas.len());
        self.last_delta = columns.deltas.last().copied().unwrap_or(0);
        let mut columns = std::mem::take(columns);
        columns.deltas.shrink_to_fit();
        columns.sizes.shrink_to_fit();
        columns.deadlines.shrink_to_fit();
        self.entries = Entries::Whole(Arc::new(columns));
        self.thin();
    }

    /// Keeps only the living entries of a whole chunk if they are few.
    pub(crate) fn thin(&mut self) {
        if self.alive as usize > SPARSE_MAX {
            return;
        }
        let Entries::Whole(columns) = &self.entries else { return };
        let mut kept = Vec::with_capacity(self.alive as usize);
        let mut deadlines = Vec::new();
        let mut next = self.next_alive(0);
        while let Some(index) = next {
            let (delta, size) = (columns.deltas[index], columns.sizes[index]);
            kept.push(Kept { index: u16::try_from(index).unwrap_or(0), delta, size });
            deadlines.extend(columns.deadlines.get(index));
            next = self.next_alive(index + 1);
        }
        self.entries = Entries::Sparse(kept.into(), deadlines.into());
    }

    /// Makes it a whole one with these entries and no page.
    pub(crate) fn renew(&mut self, columns: Columns, bits: &Bits) {
        let set = |index: &usize| bits[index / 64] >> (index % 64) & 1 == 1;
        let living = (0..columns.sizes.len()).filter(set);
        self.bytes = living.map(|index| u64::from(columns.sizes[index])).sum();
        self.alive = bits.iter().map(|word| word.count_ones()).sum();
        self.len = count(columns.deltas.len());
        self.last_delta = columns.deltas.last().copied().unwrap_or(0);
        self.earliest = columns.earliest();
        (self.bits, self.page, self.page_len) = (*bits, 0, 0);
        self.entries = Entries::Whole(Arc::new(columns));
        self.thin();
    }

    pub(crate) fn is_alive(&self, index: usize) -> bool {
        self.bits[index / 64] >> (index % 64) & 1 == 1
    }

    /// The first living entry at or after an index.
    pub(crate) fn next_alive(&self, from: usize) -> Option<usize> {
        next_bit(&self.bits, from)
    }

    /// Distance and size of a living entry; `None` if the chunk is cold.
    pub(crate) fn entry(&self, index: usize) -> Option<(u32, u32)> {
        match self.columns() {
            Some(columns) => Some((*columns.deltas.get(index)?, *columns.sizes.get(index)?)),
            None => self.kept(index),
        }
    }

    /// The deadline of a living entry; [`NEVER`] if it has none, or the chunk is cold.
    pub(crate) fn deadline(&self, index: usize) -> u64 {
        if self.earliest == NEVER {
            return NEVER;
        }
        let deadline_ms = match &self.entries {
            Entries::Growing(columns) => columns.deadlines.get(index),
            Entries::Whole(columns) => columns.deadlines.get(index),
            Entries::Sparse(kept, deadlines) => {
                let at = kept.binary_search_by_key(&index, |kept| usize::from(kept.index));
                at.ok().and_then(|at| deadlines.get(at))
            }
            Entries::Cold => None,
        };
        deadline_ms.copied().unwrap_or(NEVER)
    }

    #[inline(never)]
    fn kept(&self, index: usize) -> Option<(u32, u32)> {
        let Entries::Sparse(kept, _) = &self.entries else { return None };
        let at = kept.binary_search_by_key(&index, |kept| usize::from(kept.index)).ok()?;
        Some((kept[at].delta, kept[at].size))
    }

    /// Marks an entry dead. Returns its size if it was alive and the chunk is not cold.
    pub(crate) fn kill(&mut self, index: usize) -> Option<u32> {
        if !self.is_alive(index) {
            return None;
        }
        let size = match &self.entries {
            Entries::Growing(columns) => *columns.sizes.get(index)?,
            Entries::Whole(columns) => *columns.sizes.get(index)?,
            Entries::Sparse(..) | Entries::Cold => self.kept(index)?.1,
        };
        self.bits[index / 64] &= !(1 << (index % 64));
        self.alive -= 1;
        self.bytes -= u64::from(size);
        Some(size)
    }

    /// Shows index, distance and size of living entries from an index on, as long as `see` wants
    /// more; none if not all its entries are in memory.
    #[inline]
    pub(crate) fn run(&self, from: usize, mut see: impl FnMut(usize, u32, u32) -> bool) {
        let Some(Columns { deltas, sizes, .. }) = self.columns() else { return };
        let mut mask = u64::MAX << (from % 64);
        for (word, bits) in self.bits.iter().enumerate().skip(from / 64) {
            let mut bits = bits & mask;
            mask = u64::MAX;
            while bits != 0 {
                let index = word * 64 + bits.trailing_zeros() as usize;
                let (Some(delta), Some(size)) = (deltas.get(index), sizes.get(index)) else {
                    return;
                };
                if !see(index, *delta, *size) {
                    return;
                }
                bits &= bits - 1;
            }
        }
    }

    /// Marks living entries dead, from an index on, up to a distance. Says how many there were,
    /// their bytes, and whether a later one lives; `None` if not all its entries are in memory.
    pub(crate) fn kill_up_to(&mut self, from: usize, last: u32) -> Option<(u32, u64, bool)> {
        let columns = match &self.entries {
            Entries::Growing(columns) => columns,
            Entries::Whole(columns) => &**columns,
            Entries::Sparse(..) | Entries::Cold => return None,
        };
        let (mut gone, mut bytes, mut has_later) = (0, 0, false);
        let mut mask = u64::MAX << (from % 64);
        'words: for (word, bits) in self.bits.iter_mut().enumerate().skip(from / 64) {
            let mut living = *bits & mask;
            mask = u64::MAX;
            while living != 0 {
                let bit = living.trailing_zeros();
                let index = word * 64 + bit as usize;
                if columns.deltas.get(index).is_none_or(|delta| *delta > last) {
                    has_later = true;
                    break 'words;
                }
                *bits &= !(1 << bit);
                living &= living - 1;
                gone += 1;
                bytes += columns.sizes.get(index).map_or(0, |size| u64::from(*size));
            }
        }
        self.alive -= gone;
        self.bytes -= bytes;
        Some((gone, bytes, has_later))
    }

    /// An index that no entry with at least that distance comes before; of a cold chunk, 0.
    pub(crate) fn lower_bound(&self, delta: u32) -> usize {
        if let Some(columns) = self.columns() {
            return columns.deltas.partition_point(|d| *d < delta);
        }
        let Entries::Sparse(kept, _) = &self.entries else { return 0 };
        let at = kept.partition_point(|kept| kept.delta < delta);
        kept.get(at).map_or(CHUNK_ENTRIES, |kept| usize::from(kept.index))
    }

    /// Distance of the last entry.
    pub(crate) fn last_delta(&self) -> u32 {
        match &self.entries {
            Entries::Growing(columns) => columns.deltas.last().copied().unwrap_or(0),
            _ => self.last_delta,
        }
    }

    /// How many entries it has, dead ones included.
    pub(crate) fn len(&self) -> u32 {
        match &self.entries {
            Entries::Growing(columns) => count(columns.deltas.len()),
            _ => self.len,
        }
    }

    /// Lets go of whole entries whose page is committed; says whether it did.
    pub(crate) fn cool(&mut self) -> bool {
        let can = self.is_evictable();
        if can {
            self.entries = Entries::Cold;
        }
        can
    }

    /// Whether its entries may leave memory.
    pub(crate) fn is_evictable(&self) -> bool {
        matches!(self.entries, Entries::Whole(_)) && self.page != 0 && self.page_len == self.len
    }
}

/// The first bit that is set, at or after an index.
pub(crate) fn next_bit(all: &Bits, from: usize) -> Option<usize> {
    let mut word = from / 64;
    if word >= WORDS {
        return None;
    }
    let mut bits = all[word] & (u64::MAX << (from % 64));
    while bits == 0 {
        word += 1;
        if word == WORDS {
            return None;
        }
        bits = all[word];
    }
    Some(word * 64 + bits.trailing_zeros() as usize)
}

fn count(len: usize) -> u32 {
    u32::try_from(len).unwrap_or(u32::MAX)
}
