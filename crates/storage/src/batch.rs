//! Batches: frames being collected, and frames handed over.
//!
//! An [`OpenBatch`] already has the form that goes to disk, except for checksums and chain, which
//! are the log thread's work. Once handed over it is a [`Batch`]: immutable, shared, and also the
//! body cache, because consumers' bytes are encoded straight from it.
//!
//! Invariants: in a batch the seqs of one lane strictly increase in append order; every
//! [`Offset`] that a batch gives out is the start of one of its frames.

use std::sync::Arc;

use crate::frame::{Frame, FrameHeader, FrameMeta, LaneId, Offset, Seq};
use crate::kind;
use crate::limits::{
    BATCH_BYTES_MAX, BATCH_HEADER_BYTES, BODY_BYTES_MAX, FRAME_ALIGN_BYTES, FRAME_HEADER_BYTES,
    FRAME_VERSION_MAX, HEAD_BYTES_MAX, SECTOR_BYTES,
};
use crate::store::Ticket;

/// Where the frames of one lane stand in a batch, by seq.
#[derive(Debug, Default)]
struct LaneIndex {
    lane: LaneId,
    entries: Vec<(Seq, Offset)>,
}

/// The lanes of a batch in the order of their first frame. A node has few lanes, and a batch
/// mostly has one, so a linear search for the lane is the fastest.
#[derive(Debug, Default)]
struct Lanes {
    lanes: Vec<LaneIndex>,
    /// Lanes beyond this are left from an earlier use: kept for their allocations.
    used: usize,
}

impl Lanes {
    fn iter(&self) -> impl Iterator<Item = &LaneIndex> {
        self.lanes.iter().take(self.used)
    }

    fn get(&self, lane: LaneId) -> Option<&[(Seq, Offset)]> {
        self.iter().find(|index| index.lane == lane).map(|index| index.entries.as_slice())
    }

    fn note(&mut self, lane: LaneId, seq: Seq, at: Offset) {
        let known = self.iter().position(|index| index.lane == lane);
        let place = known.unwrap_or_else(|| self.begin(lane));
        if let Some(index) = self.lanes.get_mut(place) {
            let rises = index.entries.last().is_none_or(|&(last, _)| last < seq);
            assert!(rises, "the seqs of a lane must strictly increase");
            index.entries.push((seq, at));
        }
    }

    /// Gives a lane its index, with the allocations of an earlier use if there are any.
    fn begin(&mut self, lane: LaneId) -> usize {
        let place = self.used;
        self.used += 1;
        if let Some(index) = self.lanes.get_mut(place) {
            index.lane = lane;
            index.entries.clear();
        } else {
            self.lanes.push(LaneIndex { lane, entries: Vec::new() });
        }
        place
    }

    fn compacted(&self) -> Lanes {
        let copy = |index: &LaneIndex| LaneIndex {
            lane: index.lane,
            entries: index.entries.as_slice().to_vec(),
        };
        Lanes { lanes: self.iter().map(copy).collect(), used: self.used }
    }

    fn capacity_bytes(&self) -> usize {
        let entries: usize = self.lanes.iter().map(|index| index.entries.capacity()).sum();
        entries * size_of::<(Seq, Offset)>()
    }
}

/// Frames being collected, already in their form on disk except for checksums and chain.
#[derive(Debug)]
pub struct OpenBatch {
    bytes: Vec<u8>,
    lanes: Lanes,
    frames: u32,
    /// Where the last frame ends; beyond it is padding.
    frames_end: usize,
    bodies_len_bytes: usize,
}

impl Default for OpenBatch {
    fn default() -> Self {
        Self::new()
    }
}

impl OpenBatch {
    /// An empty batch.
    #[must_use]
    pub fn new() -> OpenBatch {
        OpenBatch {
            bytes: vec![0; BATCH_HEADER_BYTES],
            lanes: Lanes::default(),
            frames: 0,
            frames_end: BATCH_HEADER_BYTES,
            bodies_len_bytes: 0,
        }
    }

    /// Adds one frame; the parts of head and body are concatenated in place.
    ///
    /// # Panics
    /// On a caller's bug: a kind that is not the caller's, a seq that does not rise within its
    /// lane, or a head or body above [`limits`](crate::limits).
    pub fn push(&mut self, meta: FrameMeta, head: &[&[u8]], body: &[&[u8]]) -> Offset {
        let append = |parts: &[&[u8]], bytes: &mut Vec<u8>| {
            for part in parts {
                bytes.extend_from_slice(part);
            }
        };
        self.push_with(meta, |bytes| append(head, bytes), |bytes| append(body, bytes))
    }

    /// Adds one frame whose head and body are written by closures straight into the batch. The
    /// closures must only append to the vector they are given.
    ///
    /// # Panics
    /// As [`OpenBatch::push`].
    pub fn push_with(
        &mut self,
        meta: FrameMeta,
        head: impl FnOnce(&mut Vec<u8>),
        body: impl FnOnce(&mut Vec<u8>),
    ) -> Offset {
        assert!(kind::is_callers(meta.kind), "kind {:#04x} is not the caller's", meta.kind);
        let at = self.push_any(meta, head, body);
        self.lanes.note(meta.lane, meta.seq, at);
        at
    }

    /// Adds a frame of any kind; one of storage's own is not found by lane and seq.
    pub(crate) fn push_any(
        &mut self,
        meta: FrameMeta,
        head: impl FnOnce(&mut Vec<u8>),
        body: impl FnOnce(&mut Vec<u8>),
    ) -> Offset {
        assert!(meta.version <= FRAME_VERSION_MAX, "version {} has eight bits", meta.version);
        let start = self.bytes.len();
        self.bytes.extend_from_slice(&[0; FRAME_HEADER_BYTES]);
        let head_start = self.bytes.len();
        head(&mut self.bytes);
        let body_start = self.bytes.len();
        body(&mut self.bytes);
        let end = self.bytes.len();
        let (head_len, body_len) = (body_start - head_start, end - body_start);
        assert!(head_len <= HEAD_BYTES_MAX && body_len <= BODY_BYTES_MAX, "frame too large");
        assert!(end <= BATCH_BYTES_MAX, "batch too large");
        let header = FrameHeader::unsealed(meta, small(head_len), small(body_len)).encode();
        if let Some(room) = self.bytes.get_mut(start..head_start) {
            room.copy_from_slice(&header);
        }
        self.frames_end = end.next_multiple_of(FRAME_ALIGN_BYTES);
        self.bytes.resize(self.frames_end, 0);
        self.frames += 1;
        self.bodies_len_bytes += body_len;
        Offset(small(start))
    }

    /// Number of frames so far.
    #[must_use]
    pub fn len(&self) -> usize {
        self.frames as usize
    }

    /// Whether there is no frame yet.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.frames == 0
    }

    /// Bytes the frames take so far.
    #[must_use]
    pub fn len_bytes(&self) -> usize {
        self.frames_end - BATCH_HEADER_BYTES
    }

    /// Hands the batch over without any log: for messages that are never written.
    #[must_use]
    pub fn seal(self) -> Arc<Batch> {
        Arc::new(self.into_batch(Ticket(0)))
    }

    pub(crate) fn into_batch(self, ticket: Ticket) -> Batch {
        let frames_len_bytes = self.len_bytes();
        Batch {
            bytes: self.bytes,
            lanes: self.lanes,
            frames: self.frames,
            frames_len_bytes,
            bodies_len_bytes: self.bodies_len_bytes,
            ticket,
        }
    }

    /// Takes over the allocations of a batch that nobody needs any more.
    pub(crate) fn recycle(batch: Batch) -> OpenBatch {
        let (bytes, lanes) = (batch.bytes, batch.lanes);
        let mut open = OpenBatch { bytes, lanes, frames: 0, frames_end: 0, bodies_len_bytes: 0 };
        open.clear();
        open
    }

    /// Empties the batch and keeps its allocations.
    pub(crate) fn clear(&mut self) {
        self.bytes.clear();
        self.bytes.resize(BATCH_HEADER_BYTES, 0);
        self.lanes.used = 0;
        self.frames = 0;
        self.frames_end = BATCH_HEADER_BYTES;
        self.bodies_len_bytes = 0;
    }

    /// The same in allocations of just its size.
    pub(crate) fn compacted(&self) -> OpenBatch {
        OpenBatch {
            bytes: self.bytes.as_slice().to_vec(),
            lanes: self.lanes.compacted(),
            frames: self.frames,
            frames_end: self.frames_end,
            bodies_len_bytes: self.bodies_len_bytes,
        }
    }

    /// Memory it holds.
    pub(crate) fn capacity_bytes(&self) -> usize {
        self.bytes.capacity() + self.lanes.capacity_bytes()
    }

    /// Header, frames and padding, for the log thread.
    pub(crate) fn bytes_mut(&mut self) -> &mut Vec<u8> {
        &mut self.bytes
    }

    /// Zeros up to the next sector, so that the next batch begins on one of its own.
    pub(crate) fn pad(&mut self) {
        let padded = self.bytes.len().next_multiple_of(SECTOR_BYTES);
        self.bytes.resize(padded, 0);
    }
}

/// A batch that was handed over: immutable, shared, and the body cache.
#[derive(Debug)]
pub struct Batch {
    bytes: Vec<u8>,
    lanes: Lanes,
    frames: u32,
    frames_len_bytes: usize,
    bodies_len_bytes: usize,
    ticket: Ticket,
}

impl Batch {
    /// The caller's and storage's frames in append order; a cheap decode without checksums.
    pub fn frames(&self) -> impl Iterator<Item = (Offset, Frame<'_>)> {
        let mut at = BATCH_HEADER_BYTES;
        (0..self.frames).map(move |_| {
            let offset = Offset(small(at));
            let (header, frame) = self.decode(offset);
            at += header.padded_len();
            (offset, frame)
        })
    }

    /// The frame at a place that this batch gave out; constant time, nothing copied.
    ///
    /// # Panics
    /// If the place is another batch's.
    #[must_use]
    pub fn frame(&self, at: Offset) -> Frame<'_> {
        self.decode(at).1
    }

    /// The body of the frame at `at`; constant time, nothing copied.
    ///
    /// # Panics
    /// If the place is another batch's.
    #[must_use]
    pub fn body(&self, at: Offset) -> &[u8] {
        self.frame(at).body
    }

    /// Where the frame of `lane` with `seq` stands, if it is here.
    #[must_use]
    pub fn find(&self, lane: LaneId, seq: Seq) -> Option<Offset> {
        let entries = self.lanes.get(lane)?;
        let at = entries.binary_search_by_key(&seq, |&(seq, _)| seq).ok()?;
        entries.get(at).map(|&(_, offset)| offset)
    }

    /// First and last seq of a lane in this batch.
    #[must_use]
    pub fn span(&self, lane: LaneId) -> Option<(Seq, Seq)> {
        let entries = self.lanes.get(lane)?;
        Some((entries.first()?.0, entries.last()?.0))
    }

    /// The lanes that have frames here, in the order of their first frame.
    pub fn lanes(&self) -> impl Iterator<Item = LaneId> {
        self.lanes.iter().map(|index| index.lane)
    }

    /// Number of frames.
    #[must_use]
    pub fn len(&self) -> usize {
        self.frames as usize
    }

    /// Whether there is no frame.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.frames == 0
    }

    /// Bytes in their form on disk.
    #[must_use]
    pub fn len_bytes(&self) -> usize {
        self.bytes.len()
    }

    /// Position of the last frame in the append order of the log; zero if never in a log.
    #[must_use]
    pub fn ticket(&self) -> Ticket {
        self.ticket
    }

    /// Bytes of the frames alone.
    pub(crate) fn frames_len_bytes(&self) -> usize {
        self.frames_len_bytes
    }

    /// Bytes of the bodies alone.
    pub(crate) fn bodies_len_bytes(&self) -> usize {
        self.bodies_len_bytes
    }

    /// Places of the frames of one lane, by seq.
    pub(crate) fn entries(&self, lane: LaneId) -> &[(Seq, Offset)] {
        self.lanes.get(lane).unwrap_or(&[])
    }

    /// Memory it holds.
    pub(crate) fn capacity_bytes(&self) -> usize {
        self.bytes.capacity() + self.lanes.capacity_bytes()
    }

    #[expect(clippy::indexing_slicing, reason = "a foreign offset is the caller's bug: it panics")]
    fn decode(&self, at: Offset) -> (FrameHeader, Frame<'_>) {
        let bytes = &self.bytes[at.0 as usize..];
        let Some(header) = FrameHeader::decode(bytes) else {
            // invariant: a batch gives out offsets of its own frames only.
            panic!("offset {} is not of this batch", at.0);
        };
        let head = &bytes[FRAME_HEADER_BYTES..header.headed_len()];
        let body = &bytes[header.headed_len()..header.len()];
        (header, header.frame(head, body))
    }
}

/// A length that was checked against [`BATCH_BYTES_MAX`].
#[expect(clippy::cast_possible_truncation, reason = "below BATCH_BYTES_MAX, which fits")]
pub(crate) fn small(len: usize) -> u32 {
    debug_assert!(len <= BATCH_BYTES_MAX);
    len as u32
}
