//! The trait of every store: append, learn what is durable, read back.
//!
//! Life of a store: open, [`Store::scan`] (recovery), [`Store::start`], then
//! [`Store::append`] from any thread, [`Store::close`]. Everything between an append and its commit
//! happens on the log thread, which tells a [`Listener`].

use std::ops::ControlFlow;
use std::sync::Arc;

use crate::batch::{Batch, OpenBatch};
use crate::error::{
    AppendError, CloseError, PageError, Poison, ReadError, ReclaimError, ScanError, StartError,
    Unsupported,
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

/// Who is told what became of the appends. Called on the log thread, never with a lock of the
/// store held, so it may call the store, except for [`Store::close`].
pub trait Listener: Send + Sync {
    /// Everything up to `up_to` was handed to the operating system, not yet synced.
    fn written(&self, up_to: Ticket);

    /// `batches` are durable: every batch exactly once, in append order. They are in the cache.
    fn committed(&self, batches: &[Arc<Batch>], up_to: Ticket);

    /// Bytes in flight fell below half of the limit after an append was refused as full.
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

    /// Shows all of the caller's frames that were committed before [`Store::start`] in append
    /// order, without their bodies (`body` is empty, `body_len` is true), until `visit` breaks.
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

    /// Keeps a page of state (a chunk of a snapshot) under a number of the caller's. Shape only.
    fn put_page(&self, page: u64, bytes: &[u8]) -> Result<(), PageError> {
        let _ = (page, bytes);
        Err(PageError::Unsupported(Unsupported { what: "put_page" }))
    }

    /// Reads back a page of state. Shape only.
    fn get_page(&self, page: u64, into: &mut Vec<u8>) -> Result<(), PageError> {
        let _ = (page, into);
        Err(PageError::Unsupported(Unsupported { what: "get_page" }))
    }

    /// Gives back the space of `lane` below `below`, except for the seqs that `is_live` names; a
    /// sparse segment may be rewritten. Shape only.
    fn reclaim(
        &self,
        lane: LaneId,
        below: Seq,
        is_live: &mut dyn FnMut(Seq) -> bool,
    ) -> Result<u64, ReclaimError> {
        let _ = (lane, below, is_live);
        Err(ReclaimError::Unsupported(Unsupported { what: "reclaim" }))
    }
}
