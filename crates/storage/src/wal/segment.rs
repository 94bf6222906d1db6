//! One file of the log.
//!
//! ```text
//!  sector 0: header         sector 1 …: batches, each from a sector of its own       zeros
//!  ┌──────────────────────┬───────────────┬──────────┬─────────────────┬──────┬─ ─ ─
//!  │ magic version crc    │ batch         │ batch    │ batch           │ seal │ 0 0 0
//!  │ id generation salt   │               │          │                 │      │
//!  └──────────────────────┴───────────────┴──────────┴─────────────────┴──────┴─ ─ ─
//! ```
//!
//! The checksum of the header seeds all checksums of batch headers in the file: bytes of another
//! segment, generation or folder never verify here, and the salt keeps a client from forging them.

use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};

use crate::checksum::crc32c;
use crate::disk::{Disk, File};
use crate::frame::{le_u32, le_u64};
use crate::limits::SECTOR_BYTES;

/// A place in the log: everything before it is meant. Marks are ordered as the log is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(crate) struct Mark {
    pub(crate) segment: u64,
    pub(crate) offset: u64,
}

/// What a seal takes: one frame in a batch of one sector.
pub(crate) const SEAL_BYTES: u64 = SECTOR_BYTES as u64;

/// Where the first batch begins.
pub(crate) const FIRST_BATCH_AT: u64 = SECTOR_BYTES as u64;

const MAGIC: [u8; 8] = *b"courseg\0";
const VERSION: u32 = 1;
const HEADER_BYTES: usize = 64;
const CRC_AT: usize = 12;

/// What tells a segment from all others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SegmentHeader {
    pub(crate) id: u64,
    pub(crate) generation: u64,
    pub(crate) salt: u64,
}

/// Why a segment header is not accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum HeaderFault {
    Newer(u32),
    Rotten,
}

impl SegmentHeader {
    pub(crate) fn encode(&self) -> [u8; SECTOR_BYTES] {
        let mut sector = [0; SECTOR_BYTES];
        sector[0..8].copy_from_slice(&MAGIC);
        sector[8..12].copy_from_slice(&VERSION.to_le_bytes());
        sector[16..24].copy_from_slice(&self.id.to_le_bytes());
        sector[24..32].copy_from_slice(&self.generation.to_le_bytes());
        sector[32..40].copy_from_slice(&self.salt.to_le_bytes());
        let crc = crc32c(&sector[..HEADER_BYTES]);
        sector[CRC_AT..16].copy_from_slice(&crc.to_le_bytes());
        sector
    }

    /// Decodes the first sector and gives the header with its checksum, the seed of the segment.
    pub(crate) fn decode(sector: &[u8]) -> Result<(SegmentHeader, u32), HeaderFault> {
        let fixed: &[u8; HEADER_BYTES] = sector.first_chunk().ok_or(HeaderFault::Rotten)?;
        if fixed[0..8] != MAGIC {
            return Err(HeaderFault::Rotten);
        }
        let version = le_u32(fixed, 8);
        if version > VERSION {
            return Err(HeaderFault::Newer(version));
        }
        let mut covered = *fixed;
        covered[CRC_AT..16].fill(0);
        let crc = le_u32(fixed, CRC_AT);
        if crc != crc32c(&covered) || version == 0 {
            return Err(HeaderFault::Rotten);
        }
        let header = SegmentHeader {
            id: le_u64(fixed, 16),
            generation: le_u64(fixed, 24),
            salt: le_u64(fixed, 32),
        };
        Ok((header, crc))
    }

    /// The seed of the segment.
    pub(crate) fn seed(&self) -> u32 {
        le_u32(&self.encode(), CRC_AT)
    }
}

/// The name of a segment's file.
pub(crate) fn file_name(id: u64, generation: u64) -> String {
    format!("{id:016x}-{generation:08x}{FILE_SUFFIX}")
}

/// What the name of a segment's file says: id and generation.
pub(crate) fn parse_name(name: &str) -> Option<(u64, u64)> {
    let (id, generation) = name.strip_suffix(FILE_SUFFIX)?.split_once('-')?;
    Some((u64::from_str_radix(id, 16).ok()?, u64::from_str_radix(generation, 16).ok()?))
}

/// How the names of all segment files end.
pub(crate) const FILE_SUFFIX: &str = ".segment";

/// One file of the log.
pub(crate) struct Segment {
    pub(crate) id: u64,
    pub(crate) generation: u64,
    /// The last of the ids that it stands for.
    pub(crate) last: u64,
    pub(crate) seed: u32,
    pub(crate) name: Arc<str>,
    disk: Arc<dyn Disk>,
    /// Held while it is written to, or was read a short while ago (`handles`).
    held: Mutex<Option<Arc<dyn File>>>,
    /// Where it ends, once it is full; 0 before.
    sealed_at: AtomicU64,
    /// Something in it is not what was written: it is never written again.
    damaged: AtomicBool,
    /// Where its space ends.
    size: AtomicU64,
    claims: Mutex<Claims>,
    released: Condvar,
}

/// Who may write where: the log below `taken`, the filler in `filling`, which is above.
#[derive(Debug, Clone, Copy, Default)]
struct Claims {
    /// Up to here the file holds batches, or zeros that were written.
    taken: u64,
    /// A range that is being filled with zeros right now.
    filling: Option<(u64, u64)>,
}

impl Segment {
    /// A segment of which only the header is taken.
    pub(crate) fn new(disk: &Arc<dyn Disk>, header: &SegmentHeader, name: Arc<str>) -> Segment {
        Segment {
            id: header.id,
            generation: header.generation,
            last: header.id,
            seed: header.seed(),
            name,
            disk: Arc::clone(disk),
            held: Mutex::new(None),
            sealed_at: AtomicU64::new(0),
            damaged: AtomicBool::new(false),
            size: AtomicU64::new(FIRST_BATCH_AT),
            claims: Mutex::new(Claims { taken: FIRST_BATCH_AT, filling: None }),
            released: Condvar::new(),
        }
    }

    /// The same, standing for all ids up to `last`.
    pub(crate) fn standing_for(self, last: u64) -> Segment {
        Segment { last, ..self }
    }

    /// The same, with a seed that was found without the header.
    pub(crate) fn seeded(self, seed: u32) -> Segment {
        Segment { seed, ..self }
    }

    /// The file: the one that is held, or else opened for this once.
    pub(crate) fn file(&self) -> io::Result<Arc<dyn File>> {
        let held = self.held.lock().unwrap_or_else(PoisonError::into_inner).clone();
        held.map_or_else(|| self.disk.open_log(&self.name), Ok)
    }

    /// Holds a file from now on, so that all use the same.
    pub(crate) fn hold(&self, file: Arc<dyn File>) {
        *self.held.lock().unwrap_or_else(PoisonError::into_inner) = Some(file);
    }

    /// Ends the holding.
    pub(crate) fn release(&self) {
        self.held.lock().unwrap_or_else(PoisonError::into_inner).take();
    }

    /// Gives back the room behind `end`, if the file is longer; that it is, is no fault.
    pub(crate) fn trim(&self, end: u64) {
        let Ok(file) = self.file() else { return };
        if file.len().is_ok_and(|len| len > end) && file.set_len(end).is_ok() {
            self.state_size(end);
        }
    }

    /// States that it is full: its last batch, a seal that says so, ends at `end` and is durable.
    pub(crate) fn seal(&self, end: u64) {
        self.sealed_at.store(end, Ordering::Release);
    }

    /// Where it ends, if it is full.
    pub(crate) fn sealed_at(&self) -> Option<u64> {
        Some(self.sealed_at.load(Ordering::Acquire)).filter(|&end| end > 0)
    }

    /// Notes that something in it is not what was written.
    pub(crate) fn mark_damaged(&self) {
        self.damaged.store(true, Ordering::Release);
    }

    pub(crate) fn is_damaged(&self) -> bool {
        self.damaged.load(Ordering::Acquire)
    }

    /// Where its space ends, in bytes from the start of the file.
    pub(crate) fn size(&self) -> u64 {
        self.size.load(Ordering::Acquire)
    }

    /// Space was made sure of up to `bytes`.
    pub(crate) fn state_size(&self, bytes: u64) {
        self.size.store(bytes, Ordering::Release);
    }

    /// What a fresh one has room for, before the seal that ends it.
    pub(crate) fn room(&self) -> u64 {
        self.size().saturating_sub(FIRST_BATCH_AT + SEAL_BYTES)
    }

    /// Takes everything below `end` for the log; waits for a filler that is at work there.
    pub(crate) fn claim_for_log(&self, end: u64) {
        let mut claims = self.claims.lock().unwrap_or_else(PoisonError::into_inner);
        while claims.filling.is_some_and(|(from, _)| from < end) {
            claims = self.released.wait(claims).unwrap_or_else(PoisonError::into_inner);
        }
        claims.taken = claims.taken.max(end);
    }

    /// Takes the next range that is to be zeros, if less than `up_to` is taken; to be given back
    /// with [`Segment::filled`].
    pub(crate) fn claim_for_zeros(&self, up_to: u64, bytes_max: u64) -> Option<(u64, u64)> {
        let mut claims = self.claims.lock().unwrap_or_else(PoisonError::into_inner);
        if claims.taken >= up_to {
            return None;
        }
        let range = (claims.taken, up_to.min(claims.taken + bytes_max));
        claims.filling = Some(range);
        Some(range)
    }

    /// Ends a filling.
    pub(crate) fn filled(&self) {
        let mut claims = self.claims.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, end)) = claims.filling.take() {
            claims.taken = claims.taken.max(end);
        }
        drop(claims);
        self.released.notify_all();
    }

    /// Up to here the file holds batches or written zeros.
    pub(crate) fn taken(&self) -> u64 {
        self.claims.lock().unwrap_or_else(PoisonError::into_inner).taken
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_reads_back_and_every_flipped_bit_is_seen() {
        let header = SegmentHeader { id: 7, generation: 2, salt: 0xdead_beef };
        let sector = header.encode();
        assert_eq!(SegmentHeader::decode(&sector), Ok((header, header.seed())));
        for bit in 0..HEADER_BYTES * 8 {
            let mut damaged = sector;
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert!(SegmentHeader::decode(&damaged).is_err(), "bit {bit}");
        }
    }

    #[test]
    fn a_later_version_is_told_apart() {
        let mut sector = SegmentHeader { id: 1, generation: 1, salt: 1 }.encode();
        sector[8] = 9;
        assert_eq!(SegmentHeader::decode(&sector), Err(HeaderFault::Newer(9)));
    }
}
