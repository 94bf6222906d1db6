//! A store that keeps everything in memory, with the same contract as the log on disk: commits come
//! from a thread of its own, in append order, through the same listener.
//!
//! What it holds is bounded by [`Memory::bounded`]: beyond it nothing more is ever committed, as on
//! a full disk.

use std::ops::ControlFlow;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use crate::batch::{Batch, OpenBatch};
use crate::error::{AppendError, CloseError, KeepError, Poison, ReadError, ScanError, StartError};
use crate::frame::{Frame, LaneId, Offset, Seq};
use crate::limits::{IN_FLIGHT_BYTES_MAX, WRITE_DELAY_MS};
use crate::pipeline::{Pipeline, PipelineOptions, Sink};
use crate::store::{Listener, Living, Purpose, Reclaimed, Store, Ticket, Urgency, Usage};
use crate::tail::Tail;

/// A store without files.
pub struct Memory {
    content: Arc<Content>,
    pipeline: Pipeline,
    options: MemoryOptions,
}

/// Bounds of a [`Memory`].
#[derive(Debug, Clone, Copy)]
pub struct MemoryOptions {
    /// All that it may ever hold.
    pub bytes_max: usize,
    /// Appends are refused as full above this many bytes that wait for their commit.
    pub in_flight_bytes_max: usize,
}

impl Default for MemoryOptions {
    fn default() -> MemoryOptions {
        MemoryOptions { bytes_max: BYTES_MAX, in_flight_bytes_max: IN_FLIGHT_BYTES_MAX }
    }
}

const BYTES_MAX: usize = 1 << 30;

struct Content {
    kept: RwLock<Kept>,
}

struct Kept {
    batches: Vec<Arc<Batch>>,
    held_bytes: usize,
    /// Finds by lane and seq; never evicts, because the bound is kept by the sink.
    found: Tail,
}

impl Default for Memory {
    fn default() -> Memory {
        Memory::new()
    }
}

impl Memory {
    /// An empty store with the default bounds.
    #[must_use]
    pub fn new() -> Memory {
        Memory::bounded(MemoryOptions::default())
    }

    /// An empty store.
    #[must_use]
    pub fn bounded(options: MemoryOptions) -> Memory {
        let found = Tail::new(usize::MAX);
        let kept = Kept { batches: Vec::new(), held_bytes: 0, found };
        Memory::over(Arc::new(Content { kept: RwLock::new(kept) }), options)
    }

    /// Closes the store and opens another one on the same content, as a restart would.
    #[must_use]
    pub fn reopened(&self) -> Memory {
        let _ = self.close();
        Memory::over(Arc::clone(&self.content), self.options)
    }

    fn over(content: Arc<Content>, options: MemoryOptions) -> Memory {
        let pipeline = Pipeline::new(PipelineOptions {
            in_flight_bytes_max: options.in_flight_bytes_max,
            cache_bytes_max: 0,
            write_delay: Duration::from_millis(WRITE_DELAY_MS),
            sync_delay: Duration::ZERO,
            seal_delay: Duration::from_hours(1),
        });
        Memory { content, pipeline, options }
    }
}

impl Content {
    fn find(&self, lane: LaneId, seq: Seq) -> Option<(Arc<Batch>, Offset)> {
        self.kept.read().unwrap_or_else(PoisonError::into_inner).found.find(lane, seq)
    }
}

struct MemorySink {
    content: Arc<Content>,
    bytes_max: usize,
    in_flight_bytes: usize,
}

impl Sink for MemorySink {
    fn write(&mut self, batch: &mut OpenBatch) -> Result<(), Poison> {
        let held = self.content.kept.read().unwrap_or_else(PoisonError::into_inner).held_bytes;
        self.in_flight_bytes += batch.len_bytes();
        if held + self.in_flight_bytes > self.bytes_max {
            return Err(Poison::DiskFull { file: "memory".into(), offset: held as u64 });
        }
        Ok(())
    }

    fn sync(&mut self) -> Result<(), Poison> {
        Ok(())
    }

    fn committed(&mut self, batches: &[Arc<Batch>]) {
        let mut kept = self.content.kept.write().unwrap_or_else(PoisonError::into_inner);
        for batch in batches {
            kept.held_bytes += batch.capacity_bytes();
            kept.found.push(batch, |_| ());
            kept.batches.push(Arc::clone(batch));
        }
        self.in_flight_bytes = 0;
    }

    fn seal(&mut self, _closing: bool) -> Result<(), Poison> {
        Ok(())
    }
}

impl Store for Memory {
    fn append(
        &self,
        urgency: Urgency,
        purpose: Purpose,
        fill: &mut dyn FnMut(&mut OpenBatch),
    ) -> Result<Ticket, AppendError> {
        self.pipeline.append(urgency, purpose, fill)
    }

    fn committed(&self) -> Ticket {
        self.pipeline.committed()
    }

    fn in_flight_bytes(&self) -> usize {
        self.pipeline.in_flight_bytes()
    }

    fn cached(&self, lane: LaneId, seq: Seq) -> Option<(Arc<Batch>, Offset)> {
        self.content.find(lane, seq)
    }

    fn read(&self, lane: LaneId, seq: Seq, into: &mut Vec<u8>) -> Result<(), ReadError> {
        let (batch, at) = self.content.find(lane, seq).ok_or(ReadError::NotFound)?;
        into.extend_from_slice(batch.body(at));
        Ok(())
    }

    fn scan(&self, visit: &mut dyn FnMut(Frame<'_>) -> ControlFlow<()>) -> Result<(), ScanError> {
        let kept = self.content.kept.read().unwrap_or_else(PoisonError::into_inner);
        let batches = kept.batches.clone();
        drop(kept);
        for batch in &batches {
            for (_, frame) in batch.frames() {
                if visit(Frame { body: &[], ..frame }).is_break() {
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    fn origins(&self) -> Vec<(LaneId, Seq)> {
        Vec::new()
    }

    fn raise_origins(&self, _origins: &[(LaneId, Seq)]) -> Result<(), KeepError> {
        Ok(())
    }

    fn reclaim(&self, _living: &mut Living<'_>) -> Result<Reclaimed, KeepError> {
        Ok(Reclaimed::default())
    }

    fn usage(&self) -> Usage {
        Usage::default()
    }

    fn start(&self, listener: Arc<dyn Listener>) -> Result<(), StartError> {
        let sink = MemorySink {
            content: Arc::clone(&self.content),
            bytes_max: self.options.bytes_max,
            in_flight_bytes: 0,
        };
        self.pipeline.start(sink, listener)
    }

    fn close(&self) -> Result<(), CloseError> {
        self.pipeline.close()
    }
}
