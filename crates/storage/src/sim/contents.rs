//! One file: what is durable, what was done since, and what may be left of that.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::sim::Dice;

/// What space is counted in.
pub(super) const BLOCK_BYTES: usize = 4096;

/// Something that is done to a file.
#[derive(Debug, Clone)]
pub(super) enum FileOp {
    Write {
        offset: usize,
        bytes: Arc<[u8]>,
    },
    Resize {
        len: usize,
    },
    /// Every block below `len` gets a place on the disk.
    Allocate {
        len: usize,
    },
    Sync,
    /// What it should have made durable is kept or lost, once and for all.
    FailedSync {
        seed: u64,
    },
}

/// Something that was done to a file and not synced.
#[derive(Debug, Clone)]
enum Change {
    Write { offset: usize, bytes: Arc<[u8]> },
    Resize { len: usize },
}

/// One file.
#[derive(Debug, Clone, Default)]
pub(super) struct Contents {
    durable: Vec<u8>,
    pub(super) current: Vec<u8>,
    /// Since the last sync, in order.
    pending: Vec<Change>,
    /// Syncs that failed: each handle that was open then is told once.
    pub(super) failed_syncs: u64,
    /// Open handles of the process that lives.
    pub(super) handles: usize,
    /// Blocks that have a place on the disk.
    blocks: BTreeSet<usize>,
    /// The disk can't read these any more.
    pub(super) broken: Vec<std::ops::Range<usize>>,
}

/// Which of the unsynced changes a power loss leaves.
#[derive(Debug, Clone)]
pub(super) enum Kept {
    All,
    None,
    /// All but this change of this file, and what came later to the same place.
    Without {
        file: usize,
        change: usize,
    },
    /// All but this change of the names.
    WithoutName(usize),
    /// Each unit of `unit_bytes` on its own.
    Torn {
        dice: Dice,
        unit_bytes: usize,
        percent: u64,
        /// New space that was not written shows what the disk held there before.
        stale: Option<Arc<[u8]>>,
    },
}

impl Kept {
    /// One of the ways to tear, by seed.
    pub(super) fn torn(seed: u64, stale: Option<Arc<[u8]>>) -> Kept {
        // Disks that lose nothing, or all, are as likely as mixtures.
        let odds = [0, 100, 50, 10, 90];
        let percent = odds.get(seed as usize % odds.len()).copied().unwrap_or(50);
        let mut dice = Dice::new(seed);
        let unit_bytes = if dice.chance(50) { 512 } else { 4096 };
        let stale = stale.filter(|_| dice.chance(30));
        Kept::Torn { dice, unit_bytes, percent, stale }
    }

    fn unit_bytes(&self) -> usize {
        if let Kept::Torn { unit_bytes, .. } = self { *unit_bytes } else { 512 }
    }

    /// How many of `count` changes are kept: a whole prefix, because what came later to a place
    /// was written over what came earlier. `part` names the place.
    fn prefix(&self, file: usize, part: u64, count: usize) -> usize {
        match self {
            Kept::None => 0,
            Kept::Torn { dice, percent, .. } => {
                let mut dice = dice.of(file as u64).of(part);
                match (dice.chance(*percent), dice.chance(50)) {
                    (true, _) => count,
                    (false, true) => 0,
                    (false, false) => dice.below(count as u64 + 1) as usize,
                }
            }
            Kept::All | Kept::Without { .. } | Kept::WithoutName(_) => count,
        }
    }

    /// Whether a change of a name is kept.
    pub(super) fn keeps_name(&self, change: usize) -> bool {
        match self {
            Kept::None => false,
            Kept::WithoutName(without) => *without != change,
            Kept::Torn { dice, percent, .. } => {
                dice.of(u64::MAX).of(change as u64).chance(*percent)
            }
            Kept::All | Kept::Without { .. } => true,
        }
    }
}

impl Contents {
    /// A file that is durable as it is.
    pub(super) fn durable(bytes: Vec<u8>) -> Contents {
        let blocks = (0..bytes.len().div_ceil(BLOCK_BYTES)).collect();
        Contents { durable: bytes.clone(), current: bytes, blocks, ..Contents::default() }
    }

    pub(super) fn apply(&mut self, file: usize, op: &FileOp) {
        match op {
            FileOp::Write { offset, bytes } => {
                self.blocks.extend(blocks(*offset, bytes.len()));
                self.change(Change::Write { offset: *offset, bytes: Arc::clone(bytes) });
            }
            FileOp::Resize { len } => {
                self.blocks.split_off(&len.div_ceil(BLOCK_BYTES));
                self.change(Change::Resize { len: *len });
            }
            FileOp::Allocate { len } => {
                self.blocks.extend(blocks(0, *len));
                if self.current.len() < *len {
                    self.change(Change::Resize { len: *len });
                }
            }
            FileOp::Sync => {
                for change in std::mem::take(&mut self.pending) {
                    change.apply(&mut self.durable);
                }
            }
            FileOp::FailedSync { seed } => {
                self.durable = self.settled(file, &Kept::torn(*seed, None));
                self.pending.clear();
                self.failed_syncs += 1;
            }
        }
    }

    fn change(&mut self, change: Change) {
        change.apply(&mut self.current);
        self.pending.push(change);
    }

    /// Blocks that have a place.
    pub(super) fn block_count(&self) -> usize {
        self.blocks.len()
    }

    /// Blocks that a write or an allocation of these bytes would need beside those.
    pub(super) fn new_blocks(&self, offset: usize, len: usize) -> usize {
        blocks(offset, len).filter(|block| !self.blocks.contains(block)).count()
    }

    /// Changes what is stored, as rot does.
    pub(super) fn damage(&mut self, change: impl Fn(&mut Vec<u8>)) {
        let mut bytes = std::mem::take(&mut self.current);
        change(&mut bytes);
        let handles = self.handles;
        *self = Contents { handles, failed_syncs: self.failed_syncs, ..Contents::durable(bytes) };
    }

    pub(super) fn pending_count(&self) -> usize {
        self.pending.len()
    }

    /// What stands in the file after a power loss.
    pub(super) fn settled(&self, file: usize, kept: &Kept) -> Vec<u8> {
        let (count, unit) = (self.pending.len(), kept.unit_bytes());
        let without = match kept {
            Kept::Without { file: of, change } if *of == file => Some(*change),
            _ => None,
        };
        let sizes = match without {
            Some(at) if matches!(self.pending.get(at), Some(Change::Resize { .. })) => at,
            _ => kept.prefix(file, u64::MAX, count),
        };
        let mut bytes = self.durable.clone();
        let mut len = bytes.len();
        for (at, change) in self.pending.iter().enumerate() {
            if at < sizes {
                len = change.len_after(len);
            }
            match change {
                Change::Resize { .. } if at < sizes => change.apply(&mut bytes),
                Change::Resize { .. } => {}
                Change::Write { offset, bytes: written } => {
                    if at < sizes {
                        kept.expose(&mut bytes, len);
                    }
                    for part in units(*offset, written.len(), unit) {
                        let is_kept = match without {
                            Some(without) => at < without || !self.touches(without, &part),
                            None => at < kept.prefix(file, (part.start / unit) as u64, count),
                        };
                        if is_kept {
                            let from = part.start - offset;
                            let piece = written.get(from..part.end - offset).unwrap_or(&[]);
                            put(&mut bytes, piece, part.start);
                        }
                    }
                }
            }
        }
        bytes.resize(len, 0);
        bytes
    }

    /// Whether a pending write is to the units of `part`.
    fn touches(&self, change: usize, part: &std::ops::Range<usize>) -> bool {
        let Some(Change::Write { offset, bytes }) = self.pending.get(change) else { return false };
        let start = offset / 512 * 512;
        part.start < (offset + bytes.len()).next_multiple_of(512) && start < part.end
    }
}

impl Kept {
    /// Extends a file as a write does of which only the new length was kept.
    fn expose(&self, bytes: &mut Vec<u8>, len: usize) {
        let from = bytes.len();
        if from >= len {
            return;
        }
        bytes.resize(len, 0);
        if let Kept::Torn { stale: Some(stale), .. } = self {
            let old = stale.iter().cycle().skip(from % stale.len().max(1));
            bytes.iter_mut().skip(from).zip(old).for_each(|(new, old)| *new = *old);
        }
    }
}

impl Change {
    fn apply(&self, bytes: &mut Vec<u8>) {
        match self {
            Change::Write { offset, bytes: written } => put(bytes, written, *offset),
            Change::Resize { len } => bytes.resize(*len, 0),
        }
    }

    fn len_after(&self, len: usize) -> usize {
        match self {
            Change::Write { offset, bytes } => len.max(offset + bytes.len()),
            Change::Resize { len } => *len,
        }
    }
}

fn put(into: &mut Vec<u8>, bytes: &[u8], offset: usize) {
    if into.len() < offset + bytes.len() {
        into.resize(offset + bytes.len(), 0);
    }
    if let Some(room) = into.get_mut(offset..offset + bytes.len()) {
        room.copy_from_slice(bytes);
    }
}

fn blocks(offset: usize, len: usize) -> std::ops::Range<usize> {
    offset / BLOCK_BYTES..(offset + len).div_ceil(BLOCK_BYTES)
}

/// The pieces of a range that are torn apart.
fn units(offset: usize, len: usize, unit: usize) -> impl Iterator<Item = std::ops::Range<usize>> {
    let end = offset + len;
    let firsts = (offset / unit..end.div_ceil(unit)).map(move |unit_at| unit_at * unit);
    firsts.map(move |first| first.max(offset)..(first + unit).min(end))
}
