//! The file beside a full segment: its index, so that an opening need not walk it.
//!
//! ```text
//!  0           8         12      16     20      24     32       40             48             56
//!  ┌───────────┬─────────┬───────┬──────┬───────┬──────┬────────┬──────────────┬──────────────┬──
//!  │ "couridx" │ version │ crc   │ seed │ lanes │ end  │ frames │ frames bytes │ bodies bytes │
//!  └───────────┴─────────┴───────┴──────┴───────┴──────┴────────┴──────────────┴──────────────┴──
//!   56: last term, then each lane:  lane u32 │ runs u32 │ last seq │ then each run
//!       a run:  base seq │ entries u64 │ then each entry: distance from the base u32, place u32
//! ```
//!
//! Derived data: written without a sync, bound to its segment by the seed and a checksum over
//! everything. One that is missing or wrong costs a walk and is written again.

use std::io;

use crate::checksum::crc32c;
use crate::disk::{Disk, read_full, write_full};
use crate::frame::{LaneId, Seq, le_u32, le_u64};
use crate::wal::index::{Counts, LaneIndex, Run, SegmentIndex};
use crate::wal::segment::{FILE_SUFFIX, Segment};

const MAGIC: [u8; 8] = *b"couridx\0";
const VERSION: u32 = 1;
const CRC_AT: usize = 12;
const COVERED_FROM: usize = 16;
const LANES_AT: usize = 64;
/// A larger file is not an index: it would be that of a segment of 64 GiB.
const FILE_BYTES_MAX: u64 = 128 << 20;

/// How the names of all these files end.
pub(crate) const SUFFIX: &str = ".index";

/// The name of the file beside a segment.
pub(crate) fn name_beside(segment: &str) -> String {
    format!("{}{SUFFIX}", segment.strip_suffix(FILE_SUFFIX).unwrap_or(segment))
}

/// Writes the index of a segment that ends at `end`. If that fails nothing is left.
pub(crate) fn write(disk: &dyn Disk, segment: &Segment, index: &SegmentIndex, end: u64) -> bool {
    let name = name_beside(&segment.name);
    let put = || write_full(&*disk.create(&name)?, &encode(index, segment.seed, end), 0);
    let done = put().is_ok();
    if !done {
        let _ = disk.remove(&name);
    }
    done
}

/// Reads the index of a segment and where it ends; `None` if there is none that is intact.
pub(crate) fn read(disk: &dyn Disk, segment: &Segment) -> Option<(SegmentIndex, u64)> {
    let contents = || -> io::Result<Vec<u8>> {
        let file = disk.open(&name_beside(&segment.name))?;
        let len = file.len()?.min(FILE_BYTES_MAX);
        let mut bytes = vec![0; usize::try_from(len).unwrap_or(0)];
        let read = read_full(&*file, &mut bytes, 0)?;
        bytes.truncate(read);
        Ok(bytes)
    };
    decode(&contents().ok()?, segment.seed)
}

fn encode(index: &SegmentIndex, seed: u32, end: u64) -> Vec<u8> {
    let counts = index.counts;
    let mut bytes = MAGIC.to_vec();
    for number in [VERSION, 0, seed, u32::try_from(index.lanes.len()).unwrap_or(0)] {
        bytes.extend(number.to_le_bytes());
    }
    let sums = [counts.frames, counts.frames_bytes, counts.bodies_bytes, counts.last_term];
    for number in [end].into_iter().chain(sums) {
        bytes.extend(number.to_le_bytes());
    }
    for lane in &index.lanes {
        bytes.extend(u32::from(lane.lane.0).to_le_bytes());
        bytes.extend(u32::try_from(lane.runs.len()).unwrap_or(0).to_le_bytes());
        bytes.extend(lane.last.0.to_le_bytes());
        for run in &lane.runs {
            bytes.extend(run.base.0.to_le_bytes());
            bytes.extend((run.entries.len() as u64).to_le_bytes());
            for (distance, place) in &run.entries {
                bytes.extend(distance.to_le_bytes());
                bytes.extend(place.to_le_bytes());
            }
        }
    }
    let crc = bytes.get(COVERED_FROM..).map_or(0, crc32c).to_le_bytes();
    if let Some(room) = bytes.get_mut(CRC_AT..COVERED_FROM) {
        room.copy_from_slice(&crc);
    }
    bytes
}

/// The index and the end that a file says, if it is intact and beside the segment of that seed.
pub(crate) fn decode(bytes: &[u8], seed: u32) -> Option<(SegmentIndex, u64)> {
    let (fixed, mut rest) = bytes.split_at_checked(LANES_AT)?;
    let known = fixed.starts_with(&MAGIC) && le_u32(fixed, 8) == VERSION;
    let intact = crc32c(bytes.get(COVERED_FROM..)?) == le_u32(fixed, CRC_AT);
    if !known || !intact || le_u32(fixed, 16) != seed {
        return None;
    }
    let counts = Counts {
        frames: le_u64(fixed, 32),
        frames_bytes: le_u64(fixed, 40),
        bodies_bytes: le_u64(fixed, 48),
        last_term: le_u64(fixed, 56),
    };
    let mut index = SegmentIndex { lanes: Vec::new(), counts };
    for _ in 0..le_u32(fixed, 20) {
        let (lane, behind) = decode_lane(rest)?;
        index.lanes.push(lane);
        rest = behind;
    }
    let end = Some(le_u64(fixed, 24)).filter(|&end| end > 0)?;
    rest.is_empty().then_some((index, end))
}

fn decode_lane(bytes: &[u8]) -> Option<(LaneIndex, &[u8])> {
    let (fixed, mut rest) = bytes.split_at_checked(16)?;
    let lane = LaneId(u16::try_from(le_u32(fixed, 0)).ok()?);
    let mut runs = Vec::new();
    for _ in 0..le_u32(fixed, 4) {
        let (fixed, behind) = rest.split_at_checked(16)?;
        let len = usize::try_from(le_u64(fixed, 8)).ok()?.checked_mul(8)?;
        let (entries, behind) = behind.split_at_checked(len)?;
        let entries = entries.chunks(8).map(|entry| (le_u32(entry, 0), le_u32(entry, 4)));
        runs.push(Run { base: Seq(le_u64(fixed, 0)), entries: entries.collect() });
        rest = behind;
    }
    // A full segment notes nothing more, so the place of the last entry is not needed again.
    Some((LaneIndex { lane, last: Seq(le_u64(fixed, 8)), noted_at: 0, runs }, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn index() -> SegmentIndex {
        let mut index = SegmentIndex::default();
        for (lane, seq, at) in [(0, 5, 576), (1, 1 << 40, 640), (0, 9, 8_000), (0, 1 << 41, 9_000)]
        {
            index.note(LaneId(lane), Seq(seq), at);
        }
        let sums = Counts { frames: 4, frames_bytes: 300, bodies_bytes: 100, last_term: 7 };
        index.counts.add(sums);
        index
    }

    #[test]
    fn reads_back_and_sees_every_flipped_bit_every_cut_and_another_segment() {
        let bytes = encode(&index(), 77, 9_216);
        let (read, end) = decode(&bytes, 77).expect("intact");
        assert_eq!((read.counts, end), (index().counts, 9_216));
        assert!(read.spans().eq(index().spans()));
        for (lane, seq) in [(0, 5), (0, 8), (0, 9), (0, 1 << 41), (1, 1 << 40), (2, 1)] {
            let (lane, seq) = (LaneId(lane), Seq(seq));
            assert_eq!(read.find(lane, seq), index().find(lane, seq));
        }
        assert!(decode(&bytes, 78).is_none());
        for bit in 0..bytes.len() * 8 {
            let mut damaged = bytes.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert!(decode(&damaged, 77).is_none(), "bit {bit}");
        }
        for len in 0..bytes.len() {
            assert!(decode(&bytes[..len], 77).is_none(), "cut to {len}");
        }
    }
}
