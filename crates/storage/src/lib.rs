//! Durability: lanes of frames in one physical log. Knows bytes, lanes and sequence numbers, and no
//! queue.
//!
//! Promised: what a [`Listener`] was told as committed is found again after any crash, in append
//! order, unaltered or reported as rotten; what was not is either found whole or not at all. A
//! failed write or sync ends everything ([`error::Poison`]). Where a frame stands in which file is
//! never seen outside.
//!
//! Reading order: [`store`] (the contract), `frame`, [`batch`], [`kind`], [`limits`], [`disk`],
//! then [`wal`] from `wal/segment.rs` up. The bytes are drawn in `docs/format.md`.

#![deny(clippy::indexing_slicing, clippy::cast_possible_truncation)]
#![cfg_attr(test, allow(clippy::indexing_slicing, clippy::cast_possible_truncation))]

pub mod batch;
mod checksum;
mod direct;
pub mod disk;
pub mod error;
mod frame;
pub mod kind;
pub mod limits;
mod living;
pub mod memory;
mod pipeline;
mod room;
#[cfg(any(test, feature = "testing"))]
#[expect(clippy::cast_possible_truncation, reason = "test machinery: small numbers from dice")]
pub mod sim;
pub mod store;
#[cfg(any(test, feature = "testing"))]
#[expect(clippy::cast_possible_truncation, reason = "test machinery: small numbers from dice")]
pub mod suite;
mod tail;
pub mod wal;

pub use batch::{Batch, OpenBatch};
pub use disk::{Disk, File, RealDisk, Space};
pub use error::{
    AppendError, CloseError, KeepError, OpenError, Poison, ReadError, ScanError, StartError,
};
pub use frame::{Frame, FrameMeta, LaneId, Offset, Seq};
pub use memory::{Memory, MemoryOptions};
pub use store::{
    Damage, Damaged, Listener, Living, Purpose, Reclaimed, Scrubbed, Store, Ticket, Urgency, Usage,
};
pub use wal::{
    Check, CheckError, Checked, Fault, Gap, Outcome, Seen, SegmentSeen, SetAside, Span, Witness,
};
pub use wal::{Defect, Progress, Recovered, RottenBody, TornTail, Wal, WalOptions};
