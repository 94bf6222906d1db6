//! The trait of every store: append, learn what is durable, read back.
//!
//! Life of a store: open, [`Store::scan`] (recovery), [`Store::start`], then
//! [`Store::append`] from any thread, [`Store::close`]. Everything between an append and its commit
//! happens on the log thread, which tells a [`Listener`].

use std::ops::ControlFlow;
use std::sync::Arc;

use crate::batch::{Batch, OpenBatch};
use crate::disk::Space;
use crate::error::{
    AppendError, CloseError, KeepError, Poison, ReadError, ScanError, StartError, Unsupported,
};
use crate::frame::{Frame, LaneId, Offset, Seq};

/// A position in the append order of the whole log, counted in frames since the store was opened.
///
/// A ticket is committed when [`Store::committed`] is at or above it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Ticket(pub u64);

/// How soon an append has to be durable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Urgency {
    /// Commit as soon as possible.
    Now,
    /// Written within 5 ms, synced within 50 ms, or with the next urgent one.
    Soon,
}

/// What an append is for, which decides whether it may use the room that is kept for an emergency.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// Messages: refused as [`AppendError::DiskFull`] unless there is certainly room for them.
    Messages {
        /// At most so many bytes are added, frames included.
        bytes: usize,
    },
    /// Settles, topology, snapshots: what makes room in the end. May use the reserve.
    Upkeep,
}

/// Shows to the closure it is given every (lane, seq, bytes of the body) that is needed; `false`:
/// it gave up, and nothing is to be concluded from what it showed.
pub type Living<'a> = dyn FnMut(&mut dyn FnMut(LaneId, Seq, u32)) -> bool + 'a;

/// What [`Store::reclaim`] did, and what it saw.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Reclaimed {
    /// Segments that are gone, because nothing in them was needed.
    pub removed_segments: u64,
    /// Segments of which the living frames were written again.
    pub rewritten_segments: u64,
    /// Given back to the file system.
    pub freed_bytes: u64,
    /// Needed, of `used_bytes`.
    pub live_bytes: u64,
    /// Used by the segments that were looked at, before.
    pub used_bytes: u64,
    /// There is more to be given back: call again.
    pub more: bool,
}

/// What [`Store::scrub`] read.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Scrubbed {
    /// Bytes that were read and verified.
    pub read_bytes: u64,
    /// The end was reached: the next call begins with the oldest segment again.
    pub wrapped: bool,
    /// Damage that was found by this call.
    pub damaged: Vec<Damaged>,
}

/// A place that does not hold what was written to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Damaged {
    /// The file.
    pub file: String,
    /// Where in it.
    pub offset: u64,
    /// How much of it is not to be used.
    pub bytes: u64,
    /// What should be there.
    pub what: Damage,
}

/// What is damaged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Damage {
    /// A copy of the list of segments.
    Manifest,
    /// One of the two statements how far the log is durable.
    Checkpoint,
    /// What was derived from a segment to find frames in it.
    Index,
    /// A segment that is listed and not there.
    Missing,
    /// The header of a segment.
    Segment,
    /// The header of a batch, or a batch that is not there in full.
    Batch,
    /// The head of a frame, or its place in the chain: what is behind it in its batch is not found.
    Head,
    /// The body of a frame.
    Body {
        /// Its lane.
        lane: LaneId,
        /// Its seq.
        seq: Seq,
    },
}

/// What a store uses, cheap to ask for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Usage {
    /// Files that hold frames.
    pub files: u64,
    /// Bytes that all files take on disk.
    pub disk_bytes: u64,
    /// Bytes of frames that were committed since the store was opened.
    pub appended_bytes: u64,
    /// Messages are refused because the disk is full.
    pub is_full: bool,
    /// What upkeep may still take of a full disk; `None` while it is not full.
    pub left_bytes: Option<u64>,
    /// Size of a new segment, which a small volume makes smaller; 0 if there are none.
    pub segment_bytes: u64,
}

/// Who is told what became of the appends. Called on the log thread, never with a lock of the
/// store held, so it may call the store, except for [`Store::close`].
pub trait Listener: Send + Sync {
    /// Everything up to `up_to` was handed to the operating system, not yet synced.
    fn written(&self, up_to: Ticket);

    /// `batches` are durable: every batch exactly once, in append order. They are in the cache.
    fn committed(&self, batches: &[Arc<Batch>], up_to: Ticket);

    /// There is room again after an append was refused: bytes in flight fell below half of the
    /// limit, or a full disk has room for messages.
    fn room(&self);

    /// A write or a sync failed: nothing more is ever committed by this store.
    fn poisoned(&self, cause: &Poison);
}

/// Durability: lanes of frames, appended in batches and committed in groups.
pub trait Store: Send + Sync {
    /// Lets `fill` encode frames into the open batch, under its lock: one short call for many
    /// messages. All frames of one call are committed together or lost together. The ticket covers
    /// everything appended so far, also when `fill` adds nothing.
    ///
    /// `fill` is not called when the append is refused.
    fn append(
        &self,
        urgency: Urgency,
        purpose: Purpose,
        fill: &mut dyn FnMut(&mut OpenBatch),
    ) -> Result<Ticket, AppendError>;

    /// Everything up to this ticket is durable.
    fn committed(&self) -> Ticket;

    /// Bytes appended and not yet committed.
    fn in_flight_bytes(&self) -> usize;

    /// The committed batch that holds a frame, and its place, if it is in the tail of the log that
    /// is kept in memory. Never touches a file. A batch serves its neighbours too:
    /// [`Batch::find`].
    fn cached(&self, lane: LaneId, seq: Seq) -> Option<(Arc<Batch>, Offset)>;

    /// Appends the body of a committed frame to `into`, read from file, with its checksums
    /// verified. On an error `into` is as before. Not for a network thread: it waits for the disk.
    fn read(&self, lane: LaneId, seq: Seq, into: &mut Vec<u8>) -> Result<(), ReadError>;

    /// Shows the frames of a lane with seqs from the first to the last that are there, needed or
    /// not, in order and without their bodies, as [`Store::scan`] does. Passes over damaged places:
    /// what they hid is not shown. Reads much; not for a network thread.
    fn heads(
        &self,
        lane: LaneId,
        seqs: (Seq, Seq),
        visit: &mut dyn FnMut(Frame<'_>),
    ) -> Result<(), ReadError>;

    /// Shows all of the caller's frames that were committed before [`Store::start`] and are not
    /// below the origin of their lane, in append order, without their bodies (`body` is empty,
    /// `body_len` is true), until `visit` breaks.
    fn scan(&self, visit: &mut dyn FnMut(Frame<'_>) -> ControlFlow<()>) -> Result<(), ScanError>;

    /// Starts the log thread. Before it only [`Store::scan`] and [`Store::read`] are of use.
    fn start(&self, listener: Arc<dyn Listener>) -> Result<(), StartError>;

    /// Commits what is in flight, seals the log and joins the log thread; later appends are
    /// refused. Calling it again does nothing.
    fn close(&self) -> Result<(), CloseError>;

    /// Puts a frame that was received from elsewhere at its place, out of append order: `lane` may
    /// then have gaps that later calls fill. Shape only: refused until replication needs it.
    fn install(&self, frame: Frame<'_>) -> Result<Ticket, Unsupported> {
        let _ = frame;
        Err(Unsupported { what: "install" })
    }

    /// Voids everything of `lane` from `from` on, by a record in the log. Shape only.
    fn truncate_suffix(&self, lane: LaneId, from: Seq) -> Result<Ticket, Unsupported> {
        let _ = (lane, from);
        Err(Unsupported { what: "truncate_suffix" })
    }

    /// The origin of every lane that has one, by lane. A lane without one has origin 0.
    fn origins(&self) -> Vec<(LaneId, Seq)>;

    /// States durably that below these seqs only living frames are needed any more:
    /// [`Store::scan`] does not show them at the next opening, and [`Store::reclaim`] may remove
    /// them. An origin never falls: one that is not above what holds changes nothing. Waits for
    /// the disk: not for a network thread.
    fn raise_origins(&self, origins: &[(LaneId, Seq)]) -> Result<(), KeepError>;

    /// Gives space back that holds nothing needed. `living` is called once; it shows every
    /// (lane, seq, bytes of the body) that is needed below the origins, in any order, repeats
    /// allowed, and returns `false` to give up. What it does not show is gone for ever. Removes and
    /// rewrites a bounded amount: [`Reclaimed::more`] says to call again. One call at a time;
    /// waits for the disk.
    fn reclaim(&self, living: &mut Living<'_>) -> Result<Reclaimed, KeepError>;

    /// Reads on through sealed segments where the last call ended, about so many bytes, verifies
    /// everything and gives what is damaged. Wraps around.
    fn scrub(&self, bytes: u64) -> Result<Scrubbed, ReadError> {
        let _ = bytes;
        Ok(Scrubbed { wrapped: true, ..Scrubbed::default() })
    }

    /// What the store uses.
    fn usage(&self) -> Usage;

    /// How much room the volume below has; `None` if nobody knows. A system call.
    fn space(&self) -> Option<Space> {
        None
    }
}
