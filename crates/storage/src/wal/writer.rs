//! The writing end of the log: completes batches, puts them one behind the other, syncs, seals and
//! rolls. Lives on the log thread.
//!
//! Invariants:
//! - a batch begins on a sector of its own, and never spans two segments;
//! - in front of the end of a segment there is always room for the seal that ends it;
//! - a segment is used only as far as its space is certain; on a full disk the next one is made of
//!   the reserve;
//! - the next segment is used only after the seal of the one before and the checkpoint are synced:
//!   whatever stands in a segment proves that all before it was durable.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::batch::{Batch, OpenBatch};
use crate::disk::{is_full, write_full};
use crate::error::Poison;
use crate::frame::{FrameMeta, LaneId, Seq};
use crate::kind;
use crate::pipeline::Sink;
use crate::wal::chain;
use crate::wal::checkpoint::{self, CheckpointFile};
use crate::wal::defect::Defect;
use crate::wal::directory::{Directory, synced, written};
use crate::wal::filler::Filler;
use crate::wal::reserve::Need;
use crate::wal::segment::{FIRST_BATCH_AT, Mark, SEAL_BYTES, Segment};

/// Why a seal is written; the first byte of its head.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SealReason {
    Idle = 0,
    /// Nothing follows in this segment.
    Roll = 1,
    Close = 2,
}

impl SealReason {
    /// The frame of such a seal: what it is, and its head. It has no body.
    pub(crate) fn frame(self) -> (FrameMeta, [u8; 8]) {
        let meta = FrameMeta {
            kind: kind::SEAL,
            version: 0,
            critical: true,
            lane: LaneId(0),
            seq: Seq(0),
            term: 0,
        };
        (meta, [self as u8, 0, 0, 0, 0, 0, 0, 0])
    }
}

/// Where the log is to be continued.
pub(crate) struct End {
    pub(crate) segment: Arc<Segment>,
    pub(crate) offset: u64,
    /// The chain value for the next batch.
    pub(crate) chain: u32,
}

/// The writing end.
pub(crate) struct Writer {
    directory: Arc<Directory>,
    checkpoint: CheckpointFile,
    filler: Option<Filler>,
    end: End,
    durable: Mark,
    /// Where the batches stand that were written and not yet committed, in append order.
    placed: VecDeque<(Arc<Segment>, u64)>,
    /// The last thing in the log is a seal.
    sealed: bool,
    seal: OpenBatch,
    /// Only a defect leaves a sync out.
    owes_sync: bool,
}

impl Writer {
    /// Continues at `end`, up to which the log is durable.
    pub(crate) fn new(directory: Arc<Directory>, checkpoint: CheckpointFile, end: End) -> Writer {
        let durable = Mark { segment: end.segment.id, offset: end.offset };
        end.segment.claim_for_log(end.offset);
        Writer {
            directory,
            checkpoint,
            filler: None,
            end,
            durable,
            placed: VecDeque::new(),
            sealed: true,
            seal: OpenBatch::new(),
            owes_sync: false,
        }
    }

    /// Makes sure of space, and states in the checkpoint that the log is being written from here
    /// on. Needs no new space: what a full disk has not is not there.
    pub(crate) fn begin(&mut self) -> Result<(), Poison> {
        self.directory.reserve.open()?;
        self.make_sure_of_space()?;
        if let Some(next) = self.directory.after(self.end.segment.id) {
            self.directory.room.state_next(next.id, next.room());
        }
        self.put_checkpoint(false)
    }

    /// The file of a folder that was copied may have holes, and one that was not preallocated ends
    /// with its last batch.
    fn make_sure_of_space(&mut self) -> Result<(), Poison> {
        let segment = &self.end.segment;
        let (held, wanted) = (segment.size(), self.directory.options.segment_bytes);
        if !self.directory.is_bounded() {
            segment.state_size(held.max(wanted));
            return Ok(());
        }
        for bytes in [held.max(wanted), held] {
            match segment.file().and_then(|file| file.allocate(bytes)) {
                Err(error) if is_full(&error) => segment.state_size(self.end.offset),
                made_sure => {
                    made_sure.map_err(written(&segment.name, held))?;
                    segment.state_size(bytes);
                    break;
                }
            }
        }
        self.state_rest();
        Ok(())
    }

    fn state_rest(&self) {
        let End { segment, offset, .. } = &self.end;
        let rest = segment.size().saturating_sub(offset + SEAL_BYTES);
        self.directory.room.state_rest(segment.id, rest);
    }

    /// Keeps zeros written ahead from now on, if that is wanted.
    pub(crate) fn fill_ahead(&mut self, filler: Option<Filler>) {
        self.filler = filler;
    }

    pub(crate) fn directory(&self) -> &Arc<Directory> {
        &self.directory
    }

    pub(crate) fn end(&self) -> &End {
        &self.end
    }

    fn mark(&self) -> Mark {
        Mark { segment: self.end.segment.id, offset: self.end.offset }
    }

    /// Completes a batch and writes it at the end, where there must be room for it.
    fn put(&mut self, batch: &mut OpenBatch) -> Result<u64, Poison> {
        batch.pad();
        let frames = crate::batch::small(batch.len());
        let End { segment, offset, chain } = &mut self.end;
        let at = *offset;
        let bytes = batch.bytes_mut();
        *chain = chain::complete(bytes, frames, self.durable, *chain, segment.seed);
        let behind = at + bytes.len() as u64;
        segment.claim_for_log(behind);
        let takes_all = Defect::NoSpaceTakenAsWritten.is_in(&self.directory.options);
        let put = || match segment.file().and_then(|file| write_full(&*file, bytes, at)) {
            Err(error) if takes_all && is_full(&error) => Ok(()),
            put => put.map_err(written(&segment.name, at)),
        };
        // A file system that copies on writing, or counts per user, may find no space even here.
        // What was written of it is then written once more.
        self.directory.reserve.lend(bytes.len() as u64, Need::Anything, put)?;
        *offset = behind;
        self.state_rest();
        if let Some(filler) = &self.filler {
            filler.advance(&self.end.segment, behind);
        }
        Ok(at)
    }

    fn sync_segment(&mut self) -> Result<(), Poison> {
        let segment = &self.end.segment;
        let done = segment.file().and_then(|file| file.sync_data());
        done.map_err(synced(&segment.name))?;
        self.durable = self.mark();
        self.owes_sync = false;
        Ok(())
    }

    fn put_seal(&mut self, reason: SealReason) -> Result<(), Poison> {
        let mut seal = std::mem::take(&mut self.seal);
        seal.clear();
        let (meta, bytes) = reason.frame();
        seal.push_any(meta, |head| head.extend(bytes), |_| ());
        let put = self.put(&mut seal);
        self.seal = seal;
        put?;
        self.sync_segment()?;
        self.sealed = true;
        Ok(())
    }

    fn put_checkpoint(&mut self, closed: bool) -> Result<(), Poison> {
        self.checkpoint.put(self.durable, closed).map_err(synced(checkpoint::NAME))
    }

    /// Goes on in a fresh segment if a batch of `len` bytes does not fit in this one. A fresh one
    /// grows with a batch that is larger.
    fn roll_for(&mut self, len: u64) -> Result<(), Poison> {
        let needed = self.end.offset + len + SEAL_BYTES;
        if needed <= self.end.segment.size() {
            return Ok(());
        }
        if self.end.offset == FIRST_BATCH_AT {
            return self.grow(needed);
        }
        let next = self.next_segment(FIRST_BATCH_AT + len + SEAL_BYTES)?;
        self.put_seal(SealReason::Roll)?;
        self.put_checkpoint(false)?;
        self.end.segment.seal(self.end.offset);
        let chain = next.seed;
        self.end = End { segment: next, offset: FIRST_BATCH_AT, chain };
        self.state_rest();
        self.roll_for(len)
    }

    fn next_segment(&self, bytes: u64) -> Result<Arc<Segment>, Poison> {
        let id = self.end.segment.id;
        match self.directory.prepare_after(id) {
            Err(Poison::DiskFull { .. }) if self.directory.is_bounded() => {
                self.directory.prepare_from_reserve(id, bytes)
            }
            made => made,
        }
    }

    /// Makes sure of the space for a segment of `bytes`.
    fn grow(&self, bytes: u64) -> Result<(), Poison> {
        let segment = &self.end.segment;
        if self.directory.is_bounded() {
            let (name, held) = (&segment.name, segment.size());
            let allocate = || {
                let allocated = segment.file().and_then(|file| file.allocate(bytes));
                allocated.map_err(written(name, held))
            };
            self.directory.reserve.lend(bytes.saturating_sub(held), Need::Anything, allocate)?;
        }
        segment.state_size(bytes);
        Ok(())
    }

    /// Whether a seal leaves room for the one that ends the segment. Without it the checkpoint says
    /// the same.
    fn seal_fits(&self) -> bool {
        let fits = self.end.offset + 2 * SEAL_BYTES <= self.end.segment.size();
        fits || !self.directory.is_bounded()
    }
}

impl Sink for Writer {
    fn write(&mut self, batch: &mut OpenBatch) -> Result<(), Poison> {
        if self.owes_sync {
            self.sync_segment()?;
        }
        batch.pad();
        self.roll_for(batch.bytes_mut().len() as u64)?;
        let at = self.put(batch)?;
        if Defect::CheckpointAhead.is_in(&self.directory.options) {
            self.checkpoint.put(self.mark(), false).map_err(synced(checkpoint::NAME))?;
        }
        self.sealed = false;
        self.placed.push_back((Arc::clone(&self.end.segment), at));
        Ok(())
    }

    fn sync(&mut self) -> Result<(), Poison> {
        if Defect::ConfirmBeforeSync.is_in(&self.directory.options) {
            self.owes_sync = true;
            return Ok(());
        }
        self.sync_segment()
    }

    fn committed(&mut self, batches: &[Arc<Batch>]) {
        for batch in batches {
            let Some((segment, at)) = self.placed.pop_front() else { return };
            self.directory.note_batch(&segment, batch, at);
        }
    }

    fn seal(&mut self, closing: bool) -> Result<(), Poison> {
        if !self.sealed && self.seal_fits() {
            self.put_seal(if closing { SealReason::Close } else { SealReason::Idle })?;
        }
        self.put_checkpoint(closing)
    }
}
