//! The tail of the log in memory: committed batches, newest kept, oldest evicted first.
//!
//! Invariants: batches are in append order; `held_bytes` is the sum over `batches`; the newest
//! batch stays even when it alone is above the budget, so that its consumers need no file.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::batch::Batch;
use crate::frame::{LaneId, Offset, Seq};

/// The cache of committed batches.
#[derive(Debug)]
pub(crate) struct Tail {
    bytes_max: usize,
    held_bytes: usize,
    batches: VecDeque<Arc<Batch>>,
    lanes: Vec<LaneTail>,
}

#[derive(Debug)]
struct LaneTail {
    lane: LaneId,
    /// With the last seq of the lane in the batch, which rises.
    batches: VecDeque<(Seq, Arc<Batch>)>,
}

impl Tail {
    pub(crate) fn new(bytes_max: usize) -> Tail {
        Tail { bytes_max, held_bytes: 0, batches: VecDeque::new(), lanes: Vec::new() }
    }

    /// Adds the newest batch and hands out, through `evicted`, those that no longer fit.
    pub(crate) fn push(&mut self, batch: &Arc<Batch>, mut evicted: impl FnMut(Arc<Batch>)) {
        for lane in batch.lanes() {
            let Some((_, last)) = batch.span(lane) else { continue };
            if let Some(tail) = self.lanes.iter_mut().find(|tail| tail.lane == lane) {
                tail.batches.push_back((last, Arc::clone(batch)));
            } else {
                let batches = VecDeque::from([(last, Arc::clone(batch))]);
                self.lanes.push(LaneTail { lane, batches });
            }
        }
        self.held_bytes += batch.capacity_bytes();
        self.batches.push_back(Arc::clone(batch));
        while self.held_bytes > self.bytes_max && self.batches.len() > 1 {
            let Some(oldest) = self.batches.pop_front() else { return };
            self.held_bytes -= oldest.capacity_bytes();
            for tail in &mut self.lanes {
                if tail.batches.front().is_some_and(|(_, front)| Arc::ptr_eq(front, &oldest)) {
                    tail.batches.pop_front();
                }
            }
            evicted(oldest);
        }
    }

    pub(crate) fn find(&self, lane: LaneId, seq: Seq) -> Option<(Arc<Batch>, Offset)> {
        let batches = &self.lanes.iter().find(|tail| tail.lane == lane)?.batches;
        let at = batches.partition_point(|&(last, _)| last < seq);
        let (_, batch) = batches.get(at)?;
        batch.find(lane, seq).map(|offset| (Arc::clone(batch), offset))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::batch::OpenBatch;
    use crate::frame::FrameMeta;
    use crate::kind;

    fn batch(frames: &[(u16, u64)]) -> Arc<Batch> {
        let mut open = OpenBatch::new();
        for &(lane, seq) in frames {
            let meta = FrameMeta {
                kind: kind::CALLERS_FIRST,
                version: 0,
                critical: false,
                lane: LaneId(lane),
                seq: Seq(seq),
                term: 1,
            };
            open.push(meta, &[b"head"], &[&seq.to_le_bytes()]);
        }
        open.seal()
    }

    #[test]
    fn finds_by_lane_and_forgets_the_oldest_first() {
        let batches = [batch(&[(0, 1), (0, 5)]), batch(&[(1, 2)]), batch(&[(0, 9), (1, 4)])];
        let budget = batches[1].capacity_bytes() + batches[2].capacity_bytes();
        let mut tail = Tail::new(budget);
        let mut evicted = Vec::new();
        for batch in &batches {
            tail.push(batch, |old| evicted.push(old.span(LaneId(0))));
        }
        assert_eq!(evicted, [Some((Seq(1), Seq(5)))]);
        assert!(tail.find(LaneId(0), Seq(5)).is_none());
        for (lane, seq) in [(1, 2), (0, 9), (1, 4)] {
            let (batch, at) = tail.find(LaneId(lane), Seq(seq)).expect("still held");
            assert_eq!(batch.body(at), seq.to_le_bytes());
        }
        assert!(tail.find(LaneId(1), Seq(3)).is_none());
        assert!(tail.find(LaneId(7), Seq(3)).is_none());
    }
}
