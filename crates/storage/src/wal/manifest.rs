//! The list of all segments: a segment exists only once a manifest that lists it is durable.
//!
//! ```text
//!  0           8         12        16           24        32
//!  ┌───────────┬─────────┬─────────┬────────────┬─────────┬──────────────────────────────┐
//!  │ "courman" │ version │ crc     │ generation │ count   │ count × id, generation, name │
//!  └───────────┴─────────┴─────────┴────────────┴─────────┴──────────────────────────────┘
//! ```
//!
//! Replaced as a whole: a new file is written and synced, renamed over the old one, and the folder
//! synced. The version is that of the whole folder.

use crate::checksum::crc32c;
use crate::frame::{le_u32, le_u64};

/// The version of the folder that this code writes, and the highest it reads.
pub(crate) const FORMAT_VERSION: u32 = 1;
/// The file.
pub(crate) const NAME: &str = "manifest";
/// What is written before it is renamed.
pub(crate) const NEW_NAME: &str = "manifest.new";

const MAGIC: [u8; 8] = *b"courman\0";
const CRC_AT: usize = 12;
const COVERED_FROM: usize = 16;
const ENTRIES_AT: usize = 32;
const NAME_BYTES_MAX: usize = 255;

/// All segments, by id.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Manifest {
    pub(crate) generation: u64,
    pub(crate) segments: Vec<Entry>,
}

/// One segment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) id: u64,
    pub(crate) generation: u64,
    pub(crate) name: String,
}

/// Why a manifest is not accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ManifestFault {
    Newer(u32),
    Rotten,
}

impl Manifest {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut bytes = MAGIC.to_vec();
        bytes.extend(FORMAT_VERSION.to_le_bytes());
        bytes.extend([0; 4]);
        bytes.extend(self.generation.to_le_bytes());
        bytes.extend((self.segments.len() as u64).to_le_bytes());
        for entry in &self.segments {
            bytes.extend(entry.id.to_le_bytes());
            bytes.extend(entry.generation.to_le_bytes());
            bytes.extend((entry.name.len() as u64).to_le_bytes());
            bytes.extend(entry.name.as_bytes());
        }
        let crc = bytes.get(COVERED_FROM..).map_or(0, crc32c);
        if let Some(room) = bytes.get_mut(CRC_AT..COVERED_FROM) {
            room.copy_from_slice(&crc.to_le_bytes());
        }
        bytes
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Manifest, ManifestFault> {
        if bytes.get(..MAGIC.len()) != Some(&MAGIC) {
            return Err(ManifestFault::Rotten);
        }
        let version = le_u32(bytes, 8);
        if version > FORMAT_VERSION {
            return Err(ManifestFault::Newer(version));
        }
        let covered = bytes.get(COVERED_FROM..).ok_or(ManifestFault::Rotten)?;
        if version == 0 || crc32c(covered) != le_u32(bytes, CRC_AT) {
            return Err(ManifestFault::Rotten);
        }
        let mut segments: Vec<Entry> = Vec::new();
        let mut rest = bytes.get(ENTRIES_AT..).ok_or(ManifestFault::Rotten)?;
        for _ in 0..le_u64(bytes, 24) {
            let (entry, behind) = Entry::decode(rest).ok_or(ManifestFault::Rotten)?;
            if segments.last().is_some_and(|last| last.id >= entry.id) {
                return Err(ManifestFault::Rotten);
            }
            segments.push(entry);
            rest = behind;
        }
        Ok(Manifest { generation: le_u64(bytes, 16), segments })
    }
}

impl Entry {
    fn decode(bytes: &[u8]) -> Option<(Entry, &[u8])> {
        let (fixed, rest) = bytes.split_at_checked(24)?;
        let name_len = usize::try_from(le_u64(fixed, 16)).ok()?;
        if name_len > NAME_BYTES_MAX {
            return None;
        }
        let (name, rest) = rest.split_at_checked(name_len)?;
        let name = std::str::from_utf8(name).ok().filter(|name| !name.contains('/'))?.to_owned();
        Some((Entry { id: le_u64(fixed, 0), generation: le_u64(fixed, 8), name }, rest))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn manifest() -> Manifest {
        let entry = |id| Entry { id, generation: 1, name: format!("{id}.segment") };
        Manifest { generation: 4, segments: vec![entry(1), entry(2), entry(7)] }
    }

    #[test]
    fn reads_back_and_sees_every_flipped_bit_and_every_cut() {
        let bytes = manifest().encode();
        assert_eq!(Manifest::decode(&bytes), Ok(manifest()));
        for bit in 0..bytes.len() * 8 {
            let mut damaged = bytes.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert!(Manifest::decode(&damaged).is_err(), "bit {bit}");
        }
        for len in 0..bytes.len() {
            assert!(Manifest::decode(&bytes[..len]).is_err(), "cut to {len}");
        }
    }

    #[test]
    fn a_later_version_is_told_apart_before_anything_else_is_read() {
        let mut bytes = manifest().encode();
        bytes[8] = 2;
        bytes.truncate(20);
        assert_eq!(Manifest::decode(&bytes), Err(ManifestFault::Newer(2)));
    }
}
