//! One frame: the unit that is appended, found and checked.
//!
//! ```text
//!  0        4        8        12       16
//!  ┌────────┬─┬─┬────┬────────┬────────┐
//!  │ hcrc   │k│v│lane│ head # │ body # │   k kind, v version with the critical bit on top
//!  ├────────┴─┴─┴────┼────────┴────────┤
//!  │ seq             │ term            │
//!  ├────────┬────────┼─────────────────┘
//!  │ prev   │ bcrc   │  head …  body …  zeros up to a multiple of 8
//!  └────────┴────────┘
//! ```
//!
//! `hcrc` is the CRC32C of bytes 4 up to the end of the head, `bcrc` that of the body. `prev` is
//! the `hcrc` of the frame before in the same batch, or the checksum of the batch header for the
//! first one: a frame checks on its own, and cannot be moved. Little-endian always.

use crate::limits::{FRAME_ALIGN_BYTES, FRAME_HEADER_BYTES};

/// One independent sequence of frames in the log: one per shard.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct LaneId(pub u16);

/// A position in a lane: strictly increasing, not dense, given by the caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Seq(pub u64);

/// A place inside one [`Batch`](crate::Batch); meaningless for any other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Offset(pub(crate) u32);

/// What a frame is, without its contents.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FrameMeta {
    /// What the contents mean; the caller's kinds are `0x10..=0x7f`.
    pub kind: u8,
    /// Version of the kind's encoding, at most [`FRAME_VERSION_MAX`](crate::limits).
    pub version: u8,
    /// A reader that does not know the kind must refuse to go on.
    pub critical: bool,
    /// The lane it is appended to.
    pub lane: LaneId,
    /// Its position in the lane, above all positions given before.
    pub seq: Seq,
    /// The term (of the leader, or of the opening) in which it was written.
    pub term: u64,
}

/// One frame as read back, from a batch in memory or from a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Frame<'a> {
    /// What the contents mean.
    pub kind: u8,
    /// Version of the kind's encoding.
    pub version: u8,
    /// A reader that does not know the kind must refuse to go on.
    pub critical: bool,
    /// The lane it belongs to.
    pub lane: LaneId,
    /// Its position in the lane.
    pub seq: Seq,
    /// The term in which it was written.
    pub term: u64,
    /// The ledger's facts, covered by the header checksum.
    pub head: &'a [u8],
    /// Message properties and payload, covered by the body checksum. Empty in
    /// [`Store::scan`](crate::Store::scan), which does not read bodies.
    pub body: &'a [u8],
    /// Length of the body, also where `body` was not read.
    pub body_len: u32,
}

/// The fixed part of a frame, decoded; nothing in it is trusted yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct FrameHeader {
    pub(crate) header_crc: u32,
    pub(crate) kind: u8,
    pub(crate) version: u8,
    pub(crate) critical: bool,
    pub(crate) lane: LaneId,
    pub(crate) head_len: u32,
    pub(crate) body_len: u32,
    pub(crate) seq: Seq,
    pub(crate) term: u64,
    pub(crate) prev: u32,
    pub(crate) body_crc: u32,
}

const CRITICAL_BIT: u8 = 0x80;
/// Where `prev` and the body checksum stand: the log thread fills them in.
pub(crate) const PREV_AT: usize = 32;
pub(crate) const BODY_CRC_AT: usize = 36;
/// The header checksum covers everything from here to the end of the head.
pub(crate) const COVERED_FROM: usize = 4;

impl FrameHeader {
    /// The header of a frame whose checksums are not computed yet.
    pub(crate) fn unsealed(meta: FrameMeta, head_len: u32, body_len: u32) -> FrameHeader {
        FrameHeader {
            header_crc: 0,
            kind: meta.kind,
            version: meta.version,
            critical: meta.critical,
            lane: meta.lane,
            head_len,
            body_len,
            seq: meta.seq,
            term: meta.term,
            prev: 0,
            body_crc: 0,
        }
    }

    pub(crate) fn encode(&self) -> [u8; FRAME_HEADER_BYTES] {
        let mut bytes = [0; FRAME_HEADER_BYTES];
        let flags = if self.critical { CRITICAL_BIT } else { 0 };
        bytes[0..4].copy_from_slice(&self.header_crc.to_le_bytes());
        bytes[4] = self.kind;
        bytes[5] = (self.version & !CRITICAL_BIT) | flags;
        bytes[6..8].copy_from_slice(&self.lane.0.to_le_bytes());
        bytes[8..12].copy_from_slice(&self.head_len.to_le_bytes());
        bytes[12..16].copy_from_slice(&self.body_len.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.seq.0.to_le_bytes());
        bytes[24..32].copy_from_slice(&self.term.to_le_bytes());
        bytes[32..36].copy_from_slice(&self.prev.to_le_bytes());
        bytes[36..40].copy_from_slice(&self.body_crc.to_le_bytes());
        bytes
    }

    /// Decodes the fixed part at the start of `bytes`; `None` if there are too few.
    pub(crate) fn decode(bytes: &[u8]) -> Option<FrameHeader> {
        let fixed: &[u8; FRAME_HEADER_BYTES] = bytes.first_chunk()?;
        let u32_at = |at: usize| le_u32(fixed, at);
        let u64_at = |at: usize| le_u64(fixed, at);
        Some(FrameHeader {
            header_crc: u32_at(0),
            kind: fixed[4],
            version: fixed[5] & !CRITICAL_BIT,
            critical: fixed[5] & CRITICAL_BIT != 0,
            lane: LaneId(u16::from_le_bytes([fixed[6], fixed[7]])),
            head_len: u32_at(8),
            body_len: u32_at(12),
            seq: Seq(u64_at(16)),
            term: u64_at(24),
            prev: u32_at(PREV_AT),
            body_crc: u32_at(BODY_CRC_AT),
        })
    }

    /// Fixed part and head, in bytes.
    pub(crate) fn headed_len(&self) -> usize {
        FRAME_HEADER_BYTES + self.head_len as usize
    }

    /// Everything, without the padding after it. Cannot overflow on a 64-bit machine.
    pub(crate) fn len(&self) -> usize {
        self.headed_len() + self.body_len as usize
    }

    /// Everything, with the padding after it.
    pub(crate) fn padded_len(&self) -> usize {
        self.len().next_multiple_of(FRAME_ALIGN_BYTES)
    }

    pub(crate) fn frame<'a>(&self, head: &'a [u8], body: &'a [u8]) -> Frame<'a> {
        Frame {
            kind: self.kind,
            version: self.version,
            critical: self.critical,
            lane: self.lane,
            seq: self.seq,
            term: self.term,
            head,
            body,
            body_len: self.body_len,
        }
    }
}

/// Four little-endian bytes of `bytes` at `at`; zero where there are too few.
pub(crate) fn le_u32(bytes: &[u8], at: usize) -> u32 {
    let chunk = bytes.get(at..).and_then(|tail| tail.first_chunk::<4>());
    chunk.map_or(0, |chunk| u32::from_le_bytes(*chunk))
}

/// Eight little-endian bytes of `bytes` at `at`; zero where there are too few.
pub(crate) fn le_u64(bytes: &[u8], at: usize) -> u64 {
    let chunk = bytes.get(at..).and_then(|tail| tail.first_chunk::<8>());
    chunk.map_or(0, |chunk| u64::from_le_bytes(*chunk))
}
