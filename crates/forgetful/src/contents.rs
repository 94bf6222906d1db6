//! One file: what it is now, what is certain of it, and the changes between the two.

use std::collections::VecDeque;

use crate::volume::{Forgotten, Keep};

/// The longest a file may be.
pub const FILE_BYTES_MAX: u64 = 1 << 30;

#[derive(Clone, Debug)]
enum Change {
    Write { offset: usize, bytes: Vec<u8> },
    Length(usize),
}

/// The bytes of one file.
#[derive(Clone, Debug, Default)]
pub struct Contents {
    live: Vec<u8>,
    durable: Vec<u8>,
    /// What leads from `durable` to `live`.
    pending: VecDeque<Change>,
    /// Changes that were synced.
    synced: u64,
}

impl Contents {
    /// Bytes that it has now.
    pub fn bytes(&self) -> &[u8] {
        &self.live
    }

    /// Writes as a process does; the caller has checked the bounds.
    pub fn write(&mut self, offset: usize, bytes: &[u8]) {
        put(&mut self.live, offset, bytes);
        self.pending.push_back(Change::Write { offset, bytes: bytes.to_vec() });
    }

    /// Cuts, or extends by zeros.
    pub fn set_length(&mut self, length: usize) {
        self.live.resize(length, 0);
        self.pending.push_back(Change::Length(length));
    }

    /// Names the changes made so far, for [`Contents::sync_to`].
    pub fn mark(&self) -> u64 {
        self.synced + self.pending.len() as u64
    }

    /// The changes before `mark` are certain from now on.
    pub fn sync_to(&mut self, mark: u64) {
        while self.synced < mark
            && let Some(change) = self.pending.pop_front()
        {
            self.synced += 1;
            match change {
                Change::Write { offset, bytes } => put(&mut self.durable, offset, &bytes),
                Change::Length(length) => self.durable.resize(length, 0),
            }
        }
    }

    /// What the power leaves of it: of the unsynced changes none, all, or any part, in blocks of
    /// `tear` bytes. `below(n)` gives a number below `n`.
    pub fn cut(
        &mut self,
        keep: Keep,
        tear: usize,
        below: &mut dyn FnMut(u64) -> u64,
        forgotten: &mut Forgotten,
    ) {
        for change in std::mem::take(&mut self.pending) {
            self.synced += 1;
            match change {
                Change::Length(length) => {
                    if keep.takes(below) {
                        self.durable.resize(length, 0);
                    }
                }
                Change::Write { offset, bytes } => {
                    forgotten.bytes_unsynced += bytes.len() as u64;
                    forgotten.bytes_kept += self.keep_blocks(offset, &bytes, keep, tear, below);
                }
            }
        }
        self.live.clone_from(&self.durable);
    }

    /// A file may have grown by a write of which nothing else was kept, but what was kept beyond
    /// its old end is nothing if it did not grow.
    fn keep_blocks(
        &mut self,
        offset: usize,
        bytes: &[u8],
        keep: Keep,
        tear: usize,
        below: &mut dyn FnMut(u64) -> u64,
    ) -> u64 {
        let end = offset + bytes.len();
        if end > self.durable.len() && keep.takes(below) {
            self.durable.resize(end, 0);
        }
        let mut kept = 0;
        let mut from = 0;
        while from < bytes.len() {
            let to = ((offset + from) / tear * tear + tear - offset).min(bytes.len());
            if keep.takes(below) {
                let room = self.durable.len().saturating_sub(offset + from).min(to - from);
                put(&mut self.durable, offset + from, &bytes[from..from + room]);
                kept += room as u64;
            }
            from = to;
        }
        kept
    }
}

fn put(into: &mut Vec<u8>, offset: usize, bytes: &[u8]) {
    if bytes.is_empty() {
        return;
    }
    if into.len() < offset + bytes.len() {
        into.resize(offset + bytes.len(), 0);
    }
    into[offset..offset + bytes.len()].copy_from_slice(bytes);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counter() -> impl FnMut(u64) -> u64 {
        let mut state = 7u64;
        move |end| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (state >> 33) % end
        }
    }

    #[test]
    fn what_was_synced_stays_and_the_rest_is_kept_or_not() {
        for keep in [Keep::Nothing, Keep::All, Keep::Some] {
            let mut contents = Contents::default();
            contents.write(0, b"synced..");
            contents.sync_to(contents.mark());
            contents.write(8, &[1; 3000]);
            let mut forgotten = Forgotten::default();
            contents.cut(keep, 512, &mut counter(), &mut forgotten);
            assert_eq!(&contents.bytes()[..8], b"synced..");
            assert_eq!(forgotten.bytes_unsynced, 3000);
            match keep {
                Keep::Nothing => assert_eq!(contents.bytes().len(), 8),
                Keep::All => assert_eq!(&contents.bytes()[8..], &[1; 3000]),
                Keep::Some => assert!(forgotten.bytes_kept < 3000),
            }
        }
    }

    #[test]
    fn a_torn_write_is_torn_at_blocks() {
        let mut torn = 0;
        let mut below = counter();
        for _ in 0..100 {
            let mut contents = Contents::default();
            contents.set_length(4096);
            contents.sync_to(contents.mark());
            contents.write(100, &[9; 2000]);
            contents.cut(Keep::Some, 512, &mut below, &mut Forgotten::default());
            let bytes = contents.bytes();
            for block in 0..8 {
                let (from, to) = ((block * 512).max(100), (block * 512 + 512).min(2100));
                if from < to {
                    assert!(bytes[from..to].iter().all(|byte| *byte == bytes[from]), "{block}");
                }
            }
            let written = &bytes[100..2100];
            torn += usize::from(written.contains(&9) && written.contains(&0));
        }
        assert!(torn > 50, "{torn} of 100 were torn");
    }

    #[test]
    fn a_sync_covers_what_was_before_its_mark_only() {
        let mut contents = Contents::default();
        contents.write(0, b"a");
        let mark = contents.mark();
        contents.write(0, b"b");
        contents.sync_to(mark);
        contents.cut(Keep::Nothing, 512, &mut counter(), &mut Forgotten::default());
        assert_eq!(contents.bytes(), b"a");
    }
}
