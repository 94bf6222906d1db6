//! The checksums of a batch: completing one before it is written, verifying one after it was read.
//!
//! ```text
//!  0        4        8        12       16                32       36       40            64
//!  ┌────────┬────────┬────────┬────────┬────────┬────────┬────────┬────────┬─────────────┐
//!  │ crc    │ magic  │ length │ frames │ durable mark    │ prev   │ 0      │ 0 …         │
//!  │        │        │        │        │ segment, offset │        │        │             │
//!  └────────┴────────┴────────┴────────┴────────┴────────┴────────┴────────┴─────────────┘
//! ```
//!
//! The batch header verifies on its own (`crc` is seeded by the segment). `prev` is the checksum of
//! the last frame of the batch before it, or the seed of the segment; the first frame's `prev` is
//! `crc`, each other frame's that of the frame before. So nothing can be left out, moved or brought
//! back unseen.

use crate::checksum::{crc32c, crc32c_seeded};
use crate::frame::{BODY_CRC_AT, COVERED_FROM, FrameHeader, PREV_AT, le_u32, le_u64};
use crate::limits::{BATCH_BYTES_MAX, BATCH_HEADER_BYTES, SECTOR_BYTES};
use crate::wal::segment::Mark;

/// The fifth byte of a batch, where a frame has its kind: never a kind.
const MAGIC: [u8; 4] = [0xc7, b'b', b'a', b't'];
const MAGIC_AT: usize = 4;

/// The fixed part of a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct BatchHeader {
    /// Everything with padding: a multiple of a sector.
    pub(crate) len: u32,
    pub(crate) frames: u32,
    /// Up to here the log was durable before this batch was written.
    pub(crate) durable: Mark,
    pub(crate) prev: u32,
    /// Its own checksum: the chain value for the first frame.
    pub(crate) crc: u32,
}

impl BatchHeader {
    fn encode(&self, seed: u32) -> [u8; BATCH_HEADER_BYTES] {
        let mut bytes = [0; BATCH_HEADER_BYTES];
        bytes[4..8].copy_from_slice(&MAGIC);
        bytes[8..12].copy_from_slice(&self.len.to_le_bytes());
        bytes[12..16].copy_from_slice(&self.frames.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.durable.segment.to_le_bytes());
        bytes[24..32].copy_from_slice(&self.durable.offset.to_le_bytes());
        bytes[32..36].copy_from_slice(&self.prev.to_le_bytes());
        let crc = crc32c_seeded(seed, &bytes[4..]);
        bytes[0..4].copy_from_slice(&crc.to_le_bytes());
        bytes
    }

    /// Decodes and verifies the header at the start of `bytes`.
    pub(crate) fn decode(bytes: &[u8], seed: u32) -> Option<BatchHeader> {
        let fixed: &[u8; BATCH_HEADER_BYTES] = bytes.first_chunk()?;
        if fixed[4..8] != MAGIC {
            return None;
        }
        let crc = le_u32(fixed, 0);
        if crc != crc32c_seeded(seed, &fixed[4..]) {
            return None;
        }
        let len = le_u32(fixed, 8);
        let whole = len as usize;
        let fits = whole.is_multiple_of(SECTOR_BYTES)
            && (SECTOR_BYTES..=BATCH_BYTES_MAX + SECTOR_BYTES).contains(&whole);
        fits.then_some(BatchHeader {
            len,
            frames: le_u32(fixed, 12),
            durable: Mark { segment: le_u64(fixed, 16), offset: le_u64(fixed, 24) },
            prev: le_u32(fixed, 32),
            crc,
        })
    }

    /// Whether the start of a sector looks like a batch, not like a frame or padding.
    pub(crate) fn is_at(bytes: &[u8]) -> bool {
        bytes.get(MAGIC_AT..MAGIC_AT + MAGIC.len()).is_some_and(|magic| magic == MAGIC)
    }
}

/// What is done about the checksums of bodies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Bodies {
    Fresh,
    /// They are copied from elsewhere, with the checksums that they had.
    Kept,
}

/// Completes a batch that has `frames` frames in `bytes`, padded to sectors. Gives the chain value
/// for the batch behind it.
pub(crate) fn complete(bytes: &mut [u8], frames: u32, durable: Mark, prev: u32, seed: u32) -> u32 {
    complete_with(Bodies::Fresh, bytes, frames, durable, prev, seed)
}

/// The same, with a choice.
pub(crate) fn complete_with(
    bodies: Bodies,
    bytes: &mut [u8],
    frames: u32,
    durable: Mark,
    prev: u32,
    seed: u32,
) -> u32 {
    let len = crate::batch::small(bytes.len());
    let header = BatchHeader { len, frames, durable, prev, crc: 0 }.encode(seed);
    let mut chain = le_u32(&header, 0);
    let Some((room, mut rest)) = bytes.split_at_mut_checked(BATCH_HEADER_BYTES) else {
        return chain;
    };
    room.copy_from_slice(&header);
    for _ in 0..frames {
        let Some(decoded) = FrameHeader::decode(rest) else { break };
        let Some((frame, behind)) = rest.split_at_mut_checked(decoded.padded_len()) else { break };
        chain = complete_frame(frame, &decoded, chain, bodies);
        rest = behind;
    }
    chain
}

fn complete_frame(frame: &mut [u8], header: &FrameHeader, prev: u32, bodies: Bodies) -> u32 {
    let Some(body) = frame.get(header.headed_len()..header.len()) else { return prev };
    let body_crc = match bodies {
        Bodies::Fresh => crc32c(body),
        Bodies::Kept => header.body_crc,
    };
    if let Some(room) = frame.get_mut(PREV_AT..BODY_CRC_AT) {
        room.copy_from_slice(&prev.to_le_bytes());
    }
    if let Some(room) = frame.get_mut(BODY_CRC_AT..BODY_CRC_AT + 4) {
        room.copy_from_slice(&body_crc.to_le_bytes());
    }
    let crc = frame.get(COVERED_FROM..header.headed_len()).map_or(0, crc32c);
    if let Some(room) = frame.first_chunk_mut::<4>() {
        *room = crc.to_le_bytes();
    }
    crc
}

/// Whether the head of the frame at the start of `bytes` is what was written.
pub(crate) fn head_is_intact(bytes: &[u8], header: &FrameHeader) -> bool {
    let covered = bytes.get(COVERED_FROM..header.headed_len());
    covered.is_some_and(|covered| crc32c(covered) == header.header_crc)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::batch::OpenBatch;
    use crate::frame::{FrameMeta, LaneId, Seq};

    /// The bytes of a batch with one frame, written by hand: whoever changes them changes the
    /// format, and has to follow the steps in `docs/format.md`.
    #[test]
    fn a_batch_has_the_literal_bytes_of_the_format() {
        let mut open = OpenBatch::new();
        let meta = FrameMeta {
            kind: 0x10,
            version: 3,
            critical: true,
            lane: LaneId(2),
            seq: Seq(0x0102_0304_0506_0708),
            term: 9,
        };
        open.push(meta, &[b"fa", b"ct"], &[b"body"]);
        open.pad();
        let durable = Mark { segment: 1, offset: 1024 };
        let chain = complete(open.bytes_mut(), 1, durable, 0xaabb_ccdd, 0x1122_3344);
        let mut header = vec![0xc7, b'b', b'a', b't', 0, 2, 0, 0, 1, 0, 0, 0];
        header.extend([1, 0, 0, 0, 0, 0, 0, 0, 0, 4, 0, 0, 0, 0, 0, 0]);
        header.extend([0xdd, 0xcc, 0xbb, 0xaa]);
        header.extend([0; 28]);
        let batch_crc = crc32c::crc32c_append(0x1122_3344, &header);
        let mut frame = vec![0x10, 0x83, 2, 0, 4, 0, 0, 0, 4, 0, 0, 0];
        frame.extend([8, 7, 6, 5, 4, 3, 2, 1, 9, 0, 0, 0, 0, 0, 0, 0]);
        frame.extend(batch_crc.to_le_bytes());
        frame.extend(crc32c::crc32c(b"body").to_le_bytes());
        frame.extend(b"fact");
        let frame_crc = crc32c::crc32c(&frame);
        frame.extend(b"body");
        let mut expected = batch_crc.to_le_bytes().to_vec();
        expected.extend(header);
        expected.extend(frame_crc.to_le_bytes());
        expected.extend(frame);
        expected.resize(SECTOR_BYTES, 0);
        assert_eq!(*open.bytes_mut(), expected);
        assert_eq!(chain, frame_crc);
    }

    #[test]
    fn a_header_verifies_with_its_own_seed_only() {
        let header = BatchHeader {
            len: 1024,
            frames: 3,
            durable: Mark { segment: 4, offset: 512 },
            prev: 5,
            crc: 0,
        };
        let bytes = header.encode(77);
        let decoded = BatchHeader::decode(&bytes, 77).expect("its own");
        assert_eq!(BatchHeader { crc: 0, ..decoded }, header);
        assert_eq!(BatchHeader::decode(&bytes, 78), None);
        for bit in 0..bytes.len() * 8 {
            let mut damaged = bytes;
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(BatchHeader::decode(&damaged, 77), None, "bit {bit}");
        }
    }
}
