//! Where the frames of a segment stand, sparsely: for each lane one entry of 8 bytes per
//! [`INDEX_STRETCH_BYTES`] of the segment. And what the frames are in sum.
//!
//! Invariant: a frame of a lane stands at most one stretch behind the last entry of its lane that
//! is not above its seq. So a search walks at most one stretch, and knows by then.

use crate::frame::{LaneId, Seq};
use crate::limits::{FRAME_ALIGN_BYTES, INDEX_STRETCH_BYTES};

/// The caller's frames in sum.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Counts {
    pub(crate) frames: u64,
    /// With heads, bodies and padding of frames.
    pub(crate) frames_bytes: u64,
    pub(crate) bodies_bytes: u64,
    pub(crate) last_term: u64,
}

impl Counts {
    pub(crate) fn add(&mut self, more: Counts) {
        self.frames += more.frames;
        self.frames_bytes += more.frames_bytes;
        self.bodies_bytes += more.bodies_bytes;
        self.last_term = self.last_term.max(more.last_term);
    }
}

/// The index of one segment.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct SegmentIndex {
    pub(super) lanes: Vec<LaneIndex>,
    pub(crate) counts: Counts,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct LaneIndex {
    pub(super) lane: LaneId,
    pub(super) last: Seq,
    /// Byte offset of the last entry.
    pub(super) noted_at: u64,
    /// Stretches of seqs that are near each other: a jump by 2³² and more starts a new one.
    pub(super) runs: Vec<Run>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Run {
    pub(super) base: Seq,
    /// Distance from `base`, and the place in units of the frame alignment.
    pub(super) entries: Vec<(u32, u32)>,
}

impl SegmentIndex {
    /// Notes a frame; to be called in append order. Says whether it is the first of its lane.
    pub(crate) fn note(&mut self, lane: LaneId, seq: Seq, at: u64) -> bool {
        let Some(index) = self.lanes.iter_mut().find(|index| index.lane == lane) else {
            let first = Run { base: seq, entries: vec![(0, unit(at))] };
            self.lanes.push(LaneIndex { lane, last: seq, noted_at: at, runs: vec![first] });
            return true;
        };
        index.last = seq;
        let Some(run) = index.runs.last_mut() else { return false };
        match u32::try_from(seq.0.wrapping_sub(run.base.0)) {
            Ok(_) if at - index.noted_at < u64::from(INDEX_STRETCH_BYTES) => return false,
            Ok(delta) => run.entries.push((delta, unit(at))),
            Err(_) => index.runs.push(Run { base: seq, entries: vec![(0, unit(at))] }),
        }
        index.noted_at = at;
        false
    }

    /// The lanes that have frames, with the first and the last seq.
    pub(crate) fn spans(&self) -> impl Iterator<Item = (LaneId, Seq, Seq)> {
        self.lanes.iter().map(|index| {
            let first = index.runs.first().map_or(index.last, |run| run.base);
            (index.lane, first, index.last)
        })
    }

    /// Where to begin to look for a frame: `None` if the segment has none with this seq.
    pub(crate) fn find(&self, lane: LaneId, seq: Seq) -> Option<u64> {
        let index = self.lanes.iter().find(|index| index.lane == lane)?;
        if seq > index.last {
            return None;
        }
        let above = index.runs.partition_point(|run| run.base <= seq);
        let run = index.runs.get(above.checked_sub(1)?)?;
        let delta = seq.0 - run.base.0;
        let above = run.entries.partition_point(|&(entry, _)| u64::from(entry) <= delta);
        let &(_, unit) = run.entries.get(above.checked_sub(1)?)?;
        Some(u64::from(unit) * FRAME_ALIGN_BYTES as u64)
    }
}

/// A place as it is kept: segments end far below 2³⁵ bytes.
fn unit(at: u64) -> u32 {
    debug_assert!(at.is_multiple_of(FRAME_ALIGN_BYTES as u64));
    u32::try_from(at / FRAME_ALIGN_BYTES as u64).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn finds_what_a_linear_search_finds(
            frames in prop::collection::vec((0u16..3, 1u64..(1 << 33), 1u64..600), 1..400),
            probes in prop::collection::vec((0u16..4, any::<prop::sample::Index>()), 50),
        ) {
            let mut index = SegmentIndex::default();
            let mut placed: Vec<(LaneId, Seq, u64)> = Vec::new();
            let (mut seqs, mut at) = ([0u64; 3], 512);
            for (lane, step, len) in frames {
                // Small steps mostly, a jump now and then.
                let step = if step % 5 == 0 { step } else { step % 7 + 1 };
                seqs[lane as usize] += step;
                let seq = Seq(seqs[lane as usize]);
                let is_first = !placed.iter().any(|&(known, ..)| known == LaneId(lane));
                prop_assert_eq!(index.note(LaneId(lane), seq, at), is_first);
                placed.push((LaneId(lane), seq, at));
                at += len * 8;
            }
            for &(lane, seq, at) in &placed {
                let from = index.find(lane, seq).expect("it was noted");
                prop_assert!(from <= at && at - from < u64::from(INDEX_STRETCH_BYTES));
                let is_of_lane = |&(other, _, place): &(_, _, u64)| other == lane && place == from;
                prop_assert!(placed.iter().any(is_of_lane));
            }
            for (lane, probe) in probes {
                let seq = Seq(probe.index(1 << 34) as u64);
                let below = placed.iter().any(|&(other, s, _)| other == LaneId(lane) && s <= seq);
                let above = placed.iter().any(|&(other, s, _)| other == LaneId(lane) && s >= seq);
                prop_assert_eq!(index.find(LaneId(lane), seq).is_some(), below && above);
            }
        }
    }
}
