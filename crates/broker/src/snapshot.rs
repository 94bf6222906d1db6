//! Snapshots in the log: pages and the parts of a root, as frames of the shard's *state lane*.
//!
//! ```text
//!   page   seq = its number in the root    body: as the engine wrote it
//!   root   parts with consecutive seqs     body: left u32 │ stamp u64 │ up to 1 MiB of the root
//! ```
//!
//! Without its root a folder is lost, so all parts are written twice, in different batches: the
//! second copy right behind the first. `left` says how many parts follow, those of the second copy
//! included, and its top bit that there are two; so any part that can be read tells where the
//! others are. An opening takes each part from the copy that is intact. A page needs no copy: what
//! stood in it can be built again from the log (`rebuild.rs`).
//!
//! `stamp` is the time of the snapshot. All of them go the way of every append, in pieces of about
//! 1 MiB, each awaited before the next, so that messages never stand behind much of it. A snapshot
//! counts once its frames are committed and the origins of both lanes were raised: that of the data
//! lane to the first record that it does not cover, that of the state lane to the first part of its
//! root, which is how an opening finds it. Until then the one before counts; seqs that were used
//! are never used again.

use crate::codec;
use crate::error::OpenError;
use courant_engine::ledger::Ledger;
use courant_engine::{Page, Snapshot};
use courant_storage::{FrameMeta, LaneId, OpenBatch, ReadError, Seq, Store};

/// Bytes of a root in one frame, and of a piece that is appended at once.
const PIECE_BYTES: usize = 1 << 20;
/// Bytes before the root in one of its parts.
const PART_FIXED: usize = 4 + 8;
/// How often a root is written.
const COPIES: usize = 2;
/// Set in `left` of a part if its root was written twice; roots of old folders stand there once.
const TWICE: u32 = 1 << 31;
/// So many parts in a row may be damaged where nobody knows how many there are.
const SEARCH_MAX: u64 = 64;

/// The lane of a shard's pages and roots.
pub(crate) fn state_lane(shard: u16) -> LaneId {
    LaneId(0x8000 | shard)
}

fn meta(shard: u16, kind: u8, seq: u64, term: u64) -> FrameMeta {
    let (version, lane) = (codec::VERSION, state_lane(shard));
    FrameMeta { kind, version, critical: true, lane, seq: Seq(seq), term }
}

/// A snapshot on its way into the log.
pub(crate) struct Writing {
    shard: u16,
    term: u64,
    stamp_ms: u64,
    /// The seq of the last record of the data lane that it covers.
    pub(crate) covers: u64,
    snapshot: Snapshot,
    /// Pages that were appended.
    done: usize,
    /// Bytes of what is still to be appended.
    left_bytes: usize,
    /// Seq of the first part of the root, known once all pages have their numbers.
    pub(crate) root_seq: u64,
    parts_done: usize,
}

impl Writing {
    /// `next_seq` is the next free seq of the state lane, behind the pages; it is moved behind the
    /// root.
    pub(crate) fn new(
        (shard, term, stamp_ms): (u16, u64, u64),
        (snapshot, covers): (Snapshot, u64),
        next_seq: &mut u64,
    ) -> Self {
        let root_seq = *next_seq;
        let (done, parts_done) = (0, 0);
        let pages_bytes: usize = snapshot.pages.iter().map(Page::size).sum();
        let left_bytes = pages_bytes + COPIES * snapshot.root.len();
        let writing = Self {
            shard,
            term,
            stamp_ms,
            covers,
            snapshot,
            done,
            left_bytes,
            root_seq,
            parts_done,
        };
        *next_seq += (COPIES * writing.parts()) as u64;
        writing
    }

    /// Of one copy.
    fn parts(&self) -> usize {
        self.snapshot.root.len().div_ceil(PIECE_BYTES).max(1)
    }

    /// Pages and bytes of the root.
    pub(crate) fn size(&self) -> (usize, usize) {
        (self.snapshot.pages.len(), self.snapshot.root.len())
    }

    /// Bytes of what is still to be appended.
    pub(crate) fn left_bytes(&self) -> u64 {
        self.left_bytes as u64
    }

    /// Whether everything was appended.
    pub(crate) fn is_done(&self) -> bool {
        self.done == self.snapshot.pages.len() && self.parts_done == COPIES * self.parts()
    }

    /// Appends the next piece.
    pub(crate) fn append(&mut self, open: &mut OpenBatch) {
        let mut bytes = 0;
        while bytes < PIECE_BYTES
            && let Some(page) = self.snapshot.pages.get(self.done)
        {
            let before = open.len_bytes();
            open.push_with(
                meta(self.shard, page.kind(), page.number, self.term),
                |_| {},
                |out| page.encode(out),
            );
            bytes += open.len_bytes() - before;
            self.left_bytes -= page.size();
            self.done += 1;
        }
        if bytes == 0 {
            self.append_part(open);
        }
    }

    fn append_part(&mut self, open: &mut OpenBatch) {
        let (part, parts) = (self.parts_done, self.parts());
        let seq = self.root_seq + part as u64;
        let from = part % parts * PIECE_BYTES;
        let root = &self.snapshot.root;
        let bytes = &root[from.min(root.len())..(from + PIECE_BYTES).min(root.len())];
        self.left_bytes -= bytes.len();
        let left = u32::try_from(COPIES * parts - part - 1).unwrap_or(u32::MAX) | TWICE;
        open.push_with(
            meta(self.shard, codec::SNAPSHOT_ROOT, seq, self.term),
            |head| {
                head.extend_from_slice(&u32::try_from(part).unwrap_or(u32::MAX).to_le_bytes());
                head.extend_from_slice(&u32::try_from(parts).unwrap_or(u32::MAX).to_le_bytes());
                let first_page = self.snapshot.pages.first().map_or(0, |page| page.number);
                head.extend_from_slice(&first_page.to_le_bytes());
                head.extend_from_slice(&self.covers.to_le_bytes());
            },
            |body| {
                body.extend_from_slice(&left.to_le_bytes());
                body.extend_from_slice(&self.stamp_ms.to_le_bytes());
                body.extend_from_slice(bytes);
            },
        );
        self.parts_done += 1;
    }
}

/// What the head of a part of a root says: its number, of how many, and the last record that the
/// snapshot covers. The second copy counts on.
pub(crate) fn part(head: &[u8]) -> Option<(u32, u32, u64)> {
    let (part, rest) = head.split_first_chunk()?;
    let (parts, rest) = rest.split_first_chunk()?;
    let (_first_page, rest) = rest.split_first_chunk::<8>()?;
    let covers = u64::from_le_bytes(*rest.first_chunk()?);
    Some((u32::from_le_bytes(*part), u32::from_le_bytes(*parts), covers))
}

/// A root that was read back.
pub(crate) struct Root {
    pub(crate) bytes: Vec<u8>,
    pub(crate) stamp_ms: u64,
    /// The seq behind its last part.
    pub(crate) next_seq: u64,
    /// A part could not be read, and its copy could.
    pub(crate) is_damaged: bool,
}

/// Where the parts of a root are.
#[derive(Clone, Copy, PartialEq)]
struct Parts {
    /// Of one copy.
    count: u64,
    copies: u64,
}

impl Parts {
    /// As the part says that stands `nth` from the first.
    fn told_by(nth: u64, left: u32) -> Self {
        let all = nth + 1 + u64::from(left & !TWICE);
        if left & TWICE == 0 {
            return Self { count: all, copies: 1 };
        }
        Self { count: all / COPIES as u64, copies: COPIES as u64 }
    }
}

/// Reads the root that counts, if there is one.
pub(crate) fn read_root(store: &dyn Store, shard: u16) -> Result<Option<Root>, OpenError> {
    let lane = state_lane(shard);
    let origins = store.origins();
    let Some((_, Seq(first))) = origins.into_iter().find(|(of, _)| *of == lane) else {
        return Ok(None);
    };
    let mut part = Vec::new();
    let parts = find_parts(store, lane, first, &mut part)?;
    let next_seq = first.saturating_add(parts.count * parts.copies);
    let mut root = Root { bytes: Vec::new(), stamp_ms: 0, next_seq, is_damaged: false };
    for nth in 0..parts.count {
        let mut error = None;
        for nth in (0..parts.copies).map(|copy| copy * parts.count + nth) {
            part.clear();
            error = fetch(store, lane, first.saturating_add(nth), &mut part).err();
            let Some(error) = &error else {
                let (left, stamp_ms) = fixed(&part).ok_or(OpenError::Root { seq: first })?;
                if Parts::told_by(nth, left) != parts {
                    return Err(OpenError::Root { seq: first });
                }
                root.stamp_ms = stamp_ms;
                root.bytes.extend_from_slice(part.get(PART_FIXED..).unwrap_or_default());
                break;
            };
            root.is_damaged = true;
            tracing::warn!(part = nth, %error, "a part of the snapshot cannot be read");
        }
        if let Some(error) = error {
            return Err(OpenError::Snapshot(error));
        }
    }
    Ok(Some(root))
}

/// Asks the first part that can be read.
fn find_parts(
    store: &dyn Store,
    lane: LaneId,
    first: u64,
    part: &mut Vec<u8>,
) -> Result<Parts, OpenError> {
    let mut error = None;
    for nth in 0..SEARCH_MAX {
        part.clear();
        match fetch(store, lane, first.saturating_add(nth), part) {
            Ok(()) => {
                let (left, _) = fixed(part).ok_or(OpenError::Root { seq: first })?;
                return Ok(Parts::told_by(nth, left));
            }
            Err(damage) => error = error.or(Some(damage)),
        }
    }
    Err(error.map_or(OpenError::Root { seq: first }, OpenError::Snapshot))
}

/// `left` and the stamp of a part.
fn fixed(part: &[u8]) -> Option<(u32, u64)> {
    let [a, b, c, d, stamp @ ..] = *part.first_chunk::<PART_FIXED>()?;
    Some((u32::from_le_bytes([a, b, c, d]), u64::from_le_bytes(stamp)))
}

/// The hash of a ledger, whose cold parts are read. Zero if one cannot be read.
pub(crate) fn hash(ledger: &Ledger, store: &dyn Store, shard: u16) -> u64 {
    let load = |page, into: &mut Vec<u8>| fetch(store, state_lane(shard), page, into);
    ledger.hash_with(load).unwrap_or(0)
}

/// Appends a body, from memory if it is there, otherwise from the disk.
pub(crate) fn fetch(
    store: &dyn Store,
    lane: LaneId,
    seq: u64,
    into: &mut Vec<u8>,
) -> Result<(), ReadError> {
    if let Some((batch, at)) = store.cached(lane, Seq(seq)) {
        into.extend_from_slice(batch.body(at));
        return Ok(());
    }
    store.read(lane, Seq(seq), into)
}

#[cfg(test)]
mod tests {
    use super::*;
    use courant_storage::{Batch, Listener, Memory, Poison, Purpose, Ticket, Urgency};
    use std::sync::Arc;

    struct Nobody;

    impl Listener for Nobody {
        fn written(&self, _: Ticket) {}
        fn committed(&self, _: &[Arc<Batch>], _: Ticket) {}
        fn room(&self) {}
        fn poisoned(&self, _: &Poison) {}
    }

    const FIRST: u64 = 10;

    /// A log with those parts of a root of three, each of one byte.
    fn log(copies: u64, is_there: impl Fn(u64) -> bool) -> Memory {
        let store = Memory::new();
        store.start(Arc::new(Nobody)).expect("it starts");
        let ticket = store.append(Urgency::Now, Purpose::Upkeep, &mut |open| {
            for nth in (0..3 * copies).filter(|nth| is_there(*nth)) {
                let top = if copies == 2 { TWICE } else { 0 };
                let left = u32::try_from(3 * copies - nth - 1).expect("few") | top;
                let stamp = 77_u64.to_le_bytes();
                let byte = [b'a' + u8::try_from(nth % 3).expect("few")];
                let parts: [&[u8]; 3] = [&left.to_le_bytes(), &stamp, &byte];
                open.push(meta(0, codec::SNAPSHOT_ROOT, FIRST + nth, 1), &[], &parts);
            }
        });
        let ticket = ticket.expect("taken");
        while store.committed() < ticket {
            std::thread::yield_now();
        }
        store.raise_origins(&[(state_lane(0), Seq(FIRST))]).expect("raised");
        store
    }

    #[test]
    fn every_part_is_taken_from_the_copy_that_is_there() {
        for there in 0..1_u64 << 6 {
            let is_there = |nth: u64| there >> nth & 1 == 1;
            let is_whole = (0..3).all(|nth| is_there(nth) || is_there(nth + 3));
            match read_root(&log(2, is_there), 0) {
                Ok(Some(root)) => {
                    assert!(is_whole, "{there:b}");
                    assert_eq!((root.bytes.as_slice(), root.stamp_ms), (&b"abc"[..], 77));
                    assert_eq!(root.next_seq, FIRST + 6);
                    assert_eq!(root.is_damaged, !(0..3).all(is_there), "{there:b}");
                }
                Err(OpenError::Snapshot(ReadError::NotFound)) => assert!(!is_whole, "{there:b}"),
                other => panic!("{there:b}: {:?}", other.err()),
            }
        }
    }

    #[test]
    fn a_root_that_was_written_once_is_read() {
        let root = read_root(&log(1, |_| true), 0).expect("read").expect("there");
        assert_eq!((root.bytes.as_slice(), root.next_seq), (&b"abc"[..], FIRST + 3));
        let cut = read_root(&log(1, |nth| nth != 1), 0);
        assert!(matches!(cut, Err(OpenError::Snapshot(ReadError::NotFound))));
    }
}
