//! Where frames go on behind a damaged place.
//!
//! A body may hold what looks like frames, so a checksum alone proves nothing. What proves is the
//! chain: `prev` of the header of the next batch is the checksum of the last frame before it, and
//! depends, through every frame before, on the salt of the segment. So a run of frames counts only
//! if it is unbroken up to there.
//!
//! 1. Try every place where a frame may begin, in order.
//! 2. Follow the frames from there: each head verifies, and each `prev` is the checksum before it.
//! 3. The run ends where frames end. Its last checksum is the proof, or the place was none.

use crate::frame::{FrameHeader, le_u64};
use crate::limits::{BODY_BYTES_MAX, FRAME_ALIGN_BYTES, HEAD_BYTES_MAX};
use crate::wal::chain;

/// What is looked at is at most so many times what there is: forged frames cannot cost more.
const EFFORT_MAX: usize = 16;

/// The first place at or behind `from` from which frames run unbroken to the end of `bytes`, where
/// their chain is `proof`.
pub(crate) fn resume(bytes: &[u8], from: usize, proof: u32) -> Option<usize> {
    let mut effort_left = bytes.len().saturating_mul(EFFORT_MAX);
    let first = from.next_multiple_of(FRAME_ALIGN_BYTES);
    let mut places = (first..bytes.len()).step_by(FRAME_ALIGN_BYTES);
    places.find(|&at| effort_left > 0 && runs_to(bytes, at, proof, &mut effort_left))
}

fn runs_to(bytes: &[u8], from: usize, proof: u32, effort_left: &mut usize) -> bool {
    let (mut at, mut last) = (from, None);
    while !is_end(bytes, at) {
        let Some(header) = frame(bytes, at) else { return false };
        if last.is_some_and(|last| last != header.prev) {
            return false;
        }
        let cost = header.headed_len();
        *effort_left = effort_left.saturating_sub(cost);
        let is_intact = bytes.get(at..).is_some_and(|rest| chain::head_is_intact(rest, &header));
        if *effort_left == 0 || !is_intact {
            return false;
        }
        last = Some(header.header_crc);
        at += header.padded_len();
    }
    last == Some(proof)
}

/// Whether no frame begins at `at`: the padding of the batch, or its end.
pub(crate) fn is_end(bytes: &[u8], at: usize) -> bool {
    bytes.get(at..).is_none_or(|rest| rest.len() < 8 || le_u64(rest, 0) == 0)
}

/// The header at `at`, if what it says fits into `bytes`; its checksum is not looked at.
pub(crate) fn frame(bytes: &[u8], at: usize) -> Option<FrameHeader> {
    let rest = bytes.get(at..)?;
    let header = FrameHeader::decode(rest)?;
    let is_possible = (1..0x80).contains(&header.kind)
        && header.head_len as usize <= HEAD_BYTES_MAX
        && header.body_len as usize <= BODY_BYTES_MAX
        && header.len() <= rest.len();
    is_possible.then_some(header)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::batch::OpenBatch;
    use crate::frame::{FrameMeta, LaneId, Seq};
    use crate::limits::BATCH_HEADER_BYTES;
    use crate::wal::segment::Mark;

    fn batch(bodies: &[&[u8]], seed: u32) -> (Vec<u8>, Vec<usize>, u32) {
        let mut open = OpenBatch::new();
        let mut places = Vec::new();
        for (number, body) in bodies.iter().enumerate() {
            places.push(BATCH_HEADER_BYTES + open.len_bytes());
            let seq = Seq(number as u64 + 1);
            let lane = LaneId(0);
            let meta = FrameMeta { kind: 0x10, version: 1, critical: true, lane, seq, term: 1 };
            open.push(meta, &[b"head"], &[body]);
        }
        open.pad();
        let frames = crate::batch::small(open.len());
        let chain = chain::complete(open.bytes_mut(), frames, Mark::default(), 7, seed);
        (open.bytes_mut().clone(), places, chain)
    }

    #[test]
    fn frames_behind_a_bad_head_are_found_by_their_chain() {
        let (mut bytes, places, chain) = batch(&[b"one", b"two", b"three", b"four"], 1);
        bytes[places[1] + 16] ^= 1;
        assert_eq!(resume(&bytes, places[1], chain), Some(places[2]));
        bytes[places[3] + 20] ^= 1;
        assert_eq!(resume(&bytes, places[1], chain), None, "the last one proves the others");
    }

    #[test]
    fn forged_frames_in_a_body_are_not_taken_for_frames() {
        // A whole batch of somebody's own, which chains in itself.
        let (forged, forged_places, _) = batch(&[b"evil", b"more evil"], 99);
        let inner = &forged[forged_places[0]..];
        for pad in 0..8 {
            let mut body = vec![1; pad];
            body.extend_from_slice(inner);
            let (mut bytes, places, chain) = batch(&[b"one", &body, b"three"], 1);
            bytes[places[1] + 8] ^= 1;
            assert_eq!(resume(&bytes, places[1], chain), Some(places[2]), "pad {pad}");
            // The same as the last frame of its batch: nothing follows, so nothing is found.
            let (mut bytes, places, chain) = batch(&[b"one", &body], 1);
            bytes[places[1] + 8] ^= 1;
            assert_eq!(resume(&bytes, places[1], chain), None, "pad {pad}");
        }
    }
}
