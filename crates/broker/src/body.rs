//! Where the bodies of deliveries are.

use courant_engine::Delivery;
use courant_storage::{Batch, LaneId, Offset, Seq};
use std::sync::Arc;

/// Where the bodies of a run are.
#[derive(Debug, Clone)]
pub(crate) enum Source {
    /// In this batch.
    Memory(Arc<Batch>),
    /// In the log's files only.
    Disk,
}

/// A delivery, and where in its batch the body is.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Placed {
    pub(crate) delivery: Delivery,
    pub(crate) at: Option<Offset>,
}

impl Placed {
    /// Size of its body.
    pub(crate) fn bytes(&self) -> usize {
        self.delivery.size as usize
    }

    /// The place of a delivery whose source is a batch.
    pub(crate) fn at(&self) -> Offset {
        self.at.unwrap_or_else(|| unreachable!("a delivery from memory has a place"))
    }
}

/// The place of a message in a batch.
pub(crate) fn find(batch: &Batch, shard: u16, seq: u64) -> Option<Offset> {
    batch.find(LaneId(shard), Seq(seq))
}
