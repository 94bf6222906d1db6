//! Giving space back: which segments go, and which are written again.
//!
//! Only full segments in which every frame is below the origin of its lane are looked at. In steps:
//! 1. Ask once what of them is needed.
//! 2. Remove those in which nothing is.
//! 3. Write again what has to be: a group of neighbours that shrinks to half at least, or many
//!    small ones that become one.
//!
//! Bounds: after enough calls a segment takes at most twice what is needed of it, apart from small
//! ones; and what is written is never more than what is freed, apart from small ones, of which
//! [`SMALL_MERGED_MIN`] make one that is so many times as large. A segment with a damaged place is
//! never written again, and removed only when nothing in it is needed.

use std::sync::Arc;

use crate::error::KeepError;
use crate::frame::{LaneId, Seq};
use crate::limits::SECTOR_BYTES;
use crate::living::LiveSeqs;
use crate::store::{Living, Reclaimed};
use crate::wal::directory::{Directory, Indexed};
use crate::wal::reserve::Need;
use crate::wal::rewrite::{self, BATCH_BYTES};
use crate::wal::segment::Segment;

/// So many small segments become one, though that frees hardly anything.
const SMALL_MERGED_MIN: usize = 4;
/// A segment is small below this part of a full one.
const SMALL_PART: u64 = 4;
/// So many full segments at most are written by one call.
const WRITTEN_SEGMENTS_MAX: u64 = 2;

/// A segment that is looked at.
pub(crate) struct Part {
    pub(crate) indexed: Indexed,
    /// Where it ends.
    pub(crate) end: u64,
    live_frames: u64,
    live_bodies_bytes: u64,
}

impl Part {
    fn new(indexed: Indexed) -> Option<Part> {
        let end = indexed.segment.sealed_at()?;
        Some(Part { indexed, end, live_frames: 0, live_bodies_bytes: 0 })
    }

    pub(crate) fn segment(&self) -> &Arc<Segment> {
        &self.indexed.segment
    }

    /// What is needed of it, with the mean share of a frame's fixed parts and its head.
    fn live_bytes(&self) -> u64 {
        let counts = self.indexed.index.counts;
        let heads = counts.frames_bytes.saturating_sub(counts.bodies_bytes);
        self.live_bodies_bytes + heads * self.live_frames / counts.frames.max(1)
    }
}

/// What is needed, of all segments that are looked at.
pub(crate) struct Census {
    lanes: Vec<LaneCensus>,
    live: LiveSeqs,
}

struct LaneCensus {
    lane: LaneId,
    /// First and last seq of the lane in a part, and its place; by seq.
    spans: Vec<(Seq, Seq, usize)>,
    /// Where the last seq was found.
    at: usize,
}

impl Census {
    fn of(parts: &[Part]) -> Census {
        let mut lanes: Vec<LaneCensus> = Vec::new();
        for (place, part) in parts.iter().enumerate() {
            for (lane, first, last) in part.indexed.index.spans() {
                let spans = vec![(first, last, place)];
                match lanes.iter_mut().find(|census| census.lane == lane) {
                    Some(census) => census.spans.extend(spans),
                    None => lanes.push(LaneCensus { lane, spans, at: 0 }),
                }
            }
        }
        Census { lanes, live: LiveSeqs::default() }
    }

    fn note(&mut self, parts: &mut [Part], lane: LaneId, seq: Seq, body_bytes: u32) {
        let Some(census) = self.lanes.iter_mut().find(|census| census.lane == lane) else { return };
        let Some(part) = census.place(seq).and_then(|place| parts.get_mut(place)) else { return };
        if self.live.insert(lane, seq) {
            part.live_frames += 1;
            part.live_bodies_bytes += u64::from(body_bytes);
        }
    }

    /// Whether a frame of a segment that was looked at is needed.
    pub(crate) fn is_live(&self, lane: LaneId, seq: Seq) -> bool {
        self.live.contains(lane, seq)
    }
}

impl LaneCensus {
    fn place(&mut self, seq: Seq) -> Option<usize> {
        let find = |at| {
            let (first, last, place) = self.spans.get(at).copied()?;
            (first <= seq && seq <= last).then_some(place)
        };
        if let Some(place) = find(self.at) {
            return Some(place);
        }
        let at = self.spans.partition_point(|&(_, last, _)| last < seq);
        let found = find(at);
        self.at = at;
        found
    }
}

/// Gives space back, a bounded amount.
pub(crate) fn reclaim(
    directory: &Directory,
    living: &mut Living<'_>,
) -> Result<Reclaimed, KeepError> {
    let mut parts: Vec<Part> =
        directory.below_origins().into_iter().filter_map(Part::new).collect();
    let mut census = Census::of(&parts);
    if parts.is_empty() || !living(&mut |lane, seq, len| census.note(&mut parts, lane, seq, len)) {
        return Ok(Reclaimed::default());
    }
    let mut reclaimed = Reclaimed {
        live_bytes: parts.iter().map(Part::live_bytes).sum(),
        used_bytes: parts.iter().map(|part| part.end).sum(),
        ..Reclaimed::default()
    };
    let (live, dead): (Vec<Part>, Vec<Part>) =
        parts.into_iter().partition(|part| part.live_frames > 0);
    directory.swap(&dead.iter().collect::<Vec<_>>(), None)?;
    reclaimed.removed_segments = dead.len() as u64;
    reclaimed.freed_bytes = dead.iter().map(|part| part.end).sum();
    let done = rewrite_some(directory, &live, &census, &mut reclaimed);
    // What was freed is freed; the next call meets the same obstacle if it is still there.
    if reclaimed.freed_bytes > 0 { Ok(reclaimed) } else { done.map(|()| reclaimed) }
}

fn rewrite_some(
    directory: &Directory,
    live: &[Part],
    census: &Census,
    reclaimed: &mut Reclaimed,
) -> Result<(), KeepError> {
    let segment_bytes = directory.options.segment_bytes;
    let mut left = WRITTEN_SEGMENTS_MAX * segment_bytes;
    for group in groups(directory, live) {
        if left == 0 {
            reclaimed.more = true;
            break;
        }
        let rewritten = match rewrite::rewrite(directory, &group, census) {
            // The reserve is lent for it: what is freed in return makes it whole again.
            Err(KeepError::DiskFull { .. }) if is_lent(directory, &group) => {
                rewrite::rewrite(directory, &group, census)
            }
            done => done,
        }?;
        let (before, after) = (group.iter().map(|part| part.end).sum::<u64>(), rewritten.end);
        left = left.saturating_sub(after);
        directory.swap(&group, Some(rewritten))?;
        reclaimed.rewritten_segments += group.len() as u64;
        reclaimed.freed_bytes += before.saturating_sub(after);
    }
    Ok(())
}

fn is_lent(directory: &Directory, group: &[&Part]) -> bool {
    let bytes = bytes_after(group) + directory.reserve.margin_bytes();
    directory.reserve.give(bytes, Need::Rewriting)
}

/// The groups of neighbours that are worth being written again, each as one segment.
fn groups<'p>(directory: &Directory, live: &'p [Part]) -> Vec<Vec<&'p Part>> {
    let segment_bytes = directory.options.segment_bytes;
    let mut groups: Vec<Vec<&Part>> = Vec::new();
    let mut open: Vec<&Part> = Vec::new();
    for part in live {
        let is_small = part.end < segment_bytes / SMALL_PART;
        let is_eligible = !part.segment().is_damaged() && (is_small || is_worth(&[part]));
        let fits = open.last().is_none_or(|last| {
            let bytes: u64 = open.iter().map(|part| part.live_bytes()).sum();
            directory.are_neighbours(last.segment(), part.segment())
                && bytes + part.live_bytes() <= segment_bytes
        });
        if !is_eligible || !fits {
            close(&mut groups, std::mem::take(&mut open));
        }
        if is_eligible {
            open.push(part);
        }
    }
    close(&mut groups, open);
    groups
}

fn close<'p>(groups: &mut Vec<Vec<&'p Part>>, group: Vec<&'p Part>) {
    if is_worth(&group) {
        groups.push(group);
    } else {
        let alone = group.into_iter().filter(|part| is_worth(&[part])).map(|part| vec![part]);
        groups.extend(alone);
    }
}

/// About what one segment with all that is needed of them takes.
fn bytes_after(group: &[&Part]) -> u64 {
    let live: u64 = group.iter().map(|part| part.live_bytes()).sum();
    // A header, a seal, and the last sector of each batch.
    let sectors = 3 + live / BATCH_BYTES as u64;
    live + sectors * SECTOR_BYTES as u64
}

fn is_worth(group: &[&Part]) -> bool {
    let used: u64 = group.iter().map(|part| part.end).sum();
    let after = bytes_after(group);
    after * 2 <= used || (group.len() >= SMALL_MERGED_MIN && after < used)
}
