//! Reading full segments for no other reason than to see whether they are still what was written:
//! rot is found while there is a backup that does not have it yet.
//!
//! Goes from the oldest segment to the newest that is full, a bounded number of bytes a call, and
//! begins again. Behind a damaged place it goes on at the next intact batch. A segment with a
//! damaged head is never written again: the copy would lack what stands behind the head.

use std::sync::Arc;

use crate::error::ReadError;
use crate::limits::SECTOR_BYTES;
use crate::store::{Damage, Scrubbed};
use crate::wal::chain::BatchHeader;
use crate::wal::check::place;
use crate::wal::directory::Directory;
use crate::wal::reader::{self, Found, Verdict, Window};
use crate::wal::segment::{FIRST_BATCH_AT, Segment, SegmentHeader};
use crate::wal::stand::{each_sector, header};

/// Where the next call goes on.
#[derive(Debug, Default)]
pub(crate) struct Cursor {
    segment: u64,
    /// 0: before the header.
    offset: u64,
    /// What the next batch has to have as `prev`, where it is known.
    chain: Option<u32>,
}

/// Reads on for about so many bytes.
pub(crate) fn scrub(
    directory: &Directory,
    cursor: &mut Cursor,
    bytes: u64,
) -> Result<Scrubbed, ReadError> {
    let mut scrubbed = Scrubbed::default();
    for segment in directory.segments() {
        let Some(end) = segment.sealed_at().filter(|_| segment.id >= cursor.segment) else {
            continue;
        };
        if segment.id > cursor.segment {
            *cursor = Cursor { segment: segment.id, ..Cursor::default() };
        }
        let read = read(&segment, end, cursor, bytes, &mut scrubbed);
        if read.is_err() {
            // The next call begins behind it.
            *cursor = Cursor { segment: segment.id + 1, ..Cursor::default() };
        }
        read.map_err(|source| reader::unreadable(&segment, 0, source))?;
        if scrubbed.read_bytes >= bytes {
            return Ok(scrubbed);
        }
    }
    *cursor = Cursor::default();
    scrubbed.wrapped = true;
    Ok(scrubbed)
}

/// Reads on in one segment.
fn read(
    segment: &Arc<Segment>,
    end: u64,
    cursor: &mut Cursor,
    bytes: u64,
    scrubbed: &mut Scrubbed,
) -> std::io::Result<()> {
    let mut window = Window::open(segment)?;
    if cursor.offset == 0 {
        let sector = window.bytes(0, SECTOR_BYTES)?;
        if !SegmentHeader::decode(sector).is_ok_and(|(_, seed)| seed == segment.seed) {
            let bytes = SECTOR_BYTES as u64;
            scrubbed.damaged.push(place(&segment.name, 0, bytes, Damage::Segment));
        }
        (cursor.offset, cursor.chain) = (FIRST_BATCH_AT, Some(segment.seed));
    }
    while cursor.offset < end && scrubbed.read_bytes < bytes {
        let at = cursor.offset;
        (cursor.offset, cursor.chain) = match window.batch(at)? {
            Found::Batch(header) => {
                let bytes = window.bytes(at, header.len as usize)?;
                let chain = cursor.chain.unwrap_or(header.prev);
                (at + u64::from(header.len), batch(segment, at, bytes, (&header, chain), scrubbed))
            }
            Found::Nothing | Found::Bad(_) => {
                segment.mark_damaged();
                let next = next_batch(&mut window, segment.seed, at)?.unwrap_or(end).min(end);
                scrubbed.damaged.push(place(&segment.name, at, next - at, Damage::Batch));
                (next, None)
            }
        };
        scrubbed.read_bytes += cursor.offset - at;
    }
    if cursor.offset >= end {
        *cursor = Cursor { segment: segment.id + 1, ..Cursor::default() };
    }
    Ok(())
}

/// Verifies a batch; gives the chain behind it, where it is known.
fn batch(
    segment: &Segment,
    at: u64,
    bytes: &[u8],
    (header, chain): (&BatchHeader, u32),
    scrubbed: &mut Scrubbed,
) -> Option<u32> {
    let damaged = &mut scrubbed.damaged;
    match reader::verify(bytes, header, chain) {
        Verdict::Intact { chain, rotten_bodies: false } => Some(chain),
        Verdict::Intact { chain, .. } => {
            let placed = reader::frames(bytes, header);
            damaged.extend(placed.filter(|placed| !placed.body_is_intact()).map(|placed| {
                let (lane, seq) = (placed.header.lane, placed.header.seq);
                let frame_at = at + placed.at as u64;
                let bytes = placed.header.padded_len() as u64;
                place(&segment.name, frame_at, bytes, Damage::Body { lane, seq })
            }));
            Some(chain)
        }
        Verdict::Bad { at: inside, .. } => {
            segment.mark_damaged();
            let left = (bytes.len() - inside.min(bytes.len())) as u64;
            damaged.push(place(&segment.name, at + inside as u64, left, Damage::Head));
            None
        }
    }
}

/// The next place behind `at` where a batch begins.
fn next_batch(window: &mut Window, seed: u32, at: u64) -> std::io::Result<Option<u64>> {
    let mut found = None;
    each_sector(window, at + SECTOR_BYTES as u64, &mut |at, sector| {
        found = header(sector, seed).map(|_| at);
        found.is_some()
    })?;
    Ok(found)
}
