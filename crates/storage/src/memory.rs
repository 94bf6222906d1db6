//! A store that keeps everything in memory, with the same contract as the log on disk: commits come
//! from a thread of its own, in append order, through the same listener.
//!
//! What it holds is bounded by [`Memory::bounded`]: beyond it nothing more is ever committed, as on
//! a full disk. It gives back whole batches in which nothing is needed.

use std::ops::ControlFlow;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::Duration;

use crate::batch::{Batch, OpenBatch};
use crate::error::{AppendError, CloseError, KeepError, Poison, ReadError, ScanError, StartError};
use crate::frame::{Frame, LaneId, Offset, Seq};
use crate::limits::{IN_FLIGHT_BYTES_MAX, WRITE_DELAY_MS};
use crate::living::LiveSeqs;
use crate::pipeline::{Pipeline, PipelineOptions, Sink};
use crate::room::Room;
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
    /// By lane.
    origins: Vec<(LaneId, Seq)>,
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
        let kept = Kept { batches: Vec::new(), held_bytes: 0, origins: Vec::new(), found };
        Memory::over(Arc::new(Content { kept: RwLock::new(kept) }), options)
    }

    /// Closes the store and opens another one on the same content, as a restart would.
    #[must_use]
    pub fn reopened(&self) -> Memory {
        let _ = self.close();
        Memory::over(Arc::clone(&self.content), self.options)
    }

    fn over(content: Arc<Content>, options: MemoryOptions) -> Memory {
        let waits = PipelineOptions {
            in_flight_bytes_max: options.in_flight_bytes_max,
            cache_bytes_max: 0,
            write_delay: Duration::from_millis(WRITE_DELAY_MS),
            sync_delay: Duration::ZERO,
            seal_delay: Duration::from_hours(1),
        };
        let pipeline = Pipeline::new(waits, Arc::new(Room::endless()));
        Memory { content, pipeline, options }
    }
}

impl Content {
    fn kept(&self) -> RwLockReadGuard<'_, Kept> {
        self.kept.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn kept_mut(&self) -> RwLockWriteGuard<'_, Kept> {
        self.kept.write().unwrap_or_else(PoisonError::into_inner)
    }

    fn find(&self, lane: LaneId, seq: Seq) -> Option<(Arc<Batch>, Offset)> {
        self.kept().found.find(lane, seq)
    }
}

impl Kept {
    fn keep(&mut self, batch: &Arc<Batch>) {
        self.held_bytes += batch.capacity_bytes();
        self.found.push(batch, |_| ());
        self.batches.push(Arc::clone(batch));
    }

    fn origin(&self, lane: LaneId) -> Seq {
        let found = self.origins.iter().find(|(known, _)| *known == lane);
        found.map_or(Seq(0), |&(_, origin)| origin)
    }

    /// Drops the batches in which nothing is needed.
    fn drop_dead(&mut self, live: &LiveSeqs) {
        let batches = std::mem::take(&mut self.batches);
        self.found = Tail::new(usize::MAX);
        self.held_bytes = 0;
        for batch in &batches {
            let is_needed = batch.lanes().any(|lane| {
                let origin = self.origin(lane);
                let mut seqs = batch.entries(lane).iter().map(|&(seq, _)| seq);
                seqs.any(|seq| seq >= origin || live.contains(lane, seq))
            });
            if is_needed {
                self.keep(batch);
            }
        }
    }
}

struct MemorySink {
    content: Arc<Content>,
    bytes_max: usize,
    in_flight_bytes: usize,
}

impl Sink for MemorySink {
    fn write(&mut self, batch: &mut OpenBatch) -> Result<(), Poison> {
        let held = self.content.kept().held_bytes;
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
        let mut kept = self.content.kept_mut();
        for batch in batches {
            kept.keep(batch);
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

    fn heads(
        &self,
        lane: LaneId,
        (first, last): (Seq, Seq),
        visit: &mut dyn FnMut(Frame<'_>),
    ) -> Result<(), ReadError> {
        let batches = self.content.kept().batches.clone();
        for batch in &batches {
            for &(seq, at) in batch.entries(lane) {
                if (first..=last).contains(&seq) {
                    visit(Frame { body: &[], ..batch.frame(at) });
                }
            }
        }
        Ok(())
    }

    fn scan(&self, visit: &mut dyn FnMut(Frame<'_>) -> ControlFlow<()>) -> Result<(), ScanError> {
        let kept = self.content.kept();
        let (batches, origins) = (kept.batches.clone(), kept.origins.clone());
        drop(kept);
        let is_below = |frame: &Frame<'_>| {
            origins.iter().any(|&(lane, origin)| lane == frame.lane && frame.seq < origin)
        };
        for batch in &batches {
            for (_, frame) in batch.frames() {
                if !is_below(&frame) && visit(Frame { body: &[], ..frame }).is_break() {
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    fn origins(&self) -> Vec<(LaneId, Seq)> {
        self.content.kept().origins.clone()
    }

    fn raise_origins(&self, origins: &[(LaneId, Seq)]) -> Result<(), KeepError> {
        let mut kept = self.content.kept_mut();
        for &(lane, origin) in origins {
            match kept.origins.binary_search_by_key(&lane, |&(known, _)| known) {
                Ok(at) => {
                    if let Some((_, held)) = kept.origins.get_mut(at) {
                        *held = origin.max(*held);
                    }
                }
                Err(at) => kept.origins.insert(at, (lane, origin)),
            }
        }
        Ok(())
    }

    fn reclaim(&self, living: &mut Living<'_>) -> Result<Reclaimed, KeepError> {
        let mut live = LiveSeqs::default();
        let mut live_bytes = 0;
        let done = living(&mut |lane, seq, body_bytes| {
            if live.insert(lane, seq) {
                live_bytes += u64::from(body_bytes);
            }
        });
        if !done {
            return Ok(Reclaimed::default());
        }
        let mut kept = self.content.kept_mut();
        let used_bytes = kept.held_bytes as u64;
        kept.drop_dead(&live);
        let freed_bytes = used_bytes - kept.held_bytes as u64;
        Ok(Reclaimed { freed_bytes, live_bytes, used_bytes, ..Reclaimed::default() })
    }

    fn usage(&self) -> Usage {
        Usage { appended_bytes: self.pipeline.committed_bytes(), ..Usage::default() }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::FrameMeta;
    use crate::kind;
    use crate::suite::Watch;

    #[test]
    fn batches_with_nothing_needed_go() {
        let memory = Memory::new();
        let watch = Watch::new();
        memory.start(Arc::clone(&watch) as Arc<_>).expect("it starts");
        for seq in 1..=9 {
            let meta = FrameMeta {
                kind: kind::CALLERS_FIRST,
                version: 0,
                critical: false,
                lane: LaneId(2),
                seq: Seq(seq),
                term: 1,
            };
            let ticket = memory.append(Urgency::Now, Purpose::Upkeep, &mut |open| {
                open.push(meta, &[], &[&[7; 100]]);
            });
            watch.wait_committed(ticket.expect("taken")).expect("committed");
        }
        memory.raise_origins(&[(LaneId(2), Seq(8))]).expect("raised");
        let reclaimed = memory.reclaim(&mut |see| {
            see(LaneId(2), Seq(4), 100);
            true
        });
        assert!(reclaimed.expect("reclaimed").freed_bytes > 600);
        let found = |seq| memory.read(LaneId(2), Seq(seq), &mut Vec::new()).is_ok();
        let kept: Vec<u64> = (1..=9).filter(|&seq| found(seq)).collect();
        assert_eq!(kept, [4, 8, 9]);
    }
}
