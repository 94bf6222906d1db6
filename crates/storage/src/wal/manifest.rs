//! The list of all segments: a segment exists only once a manifest that lists it is durable. It
//! holds the origins of the lanes too.
//!
//! ```text
//!  0           8         12      16           24       32     40         48      56
//!  ┌───────────┬─────────┬───────┬────────────┬────────┬──────┬──────────┬───────┬─────┬─ ─
//!  │ "courman" │ version │ crc   │ generation │ length │ term │ segments │ lanes │ …   │ 0
//!  └───────────┴─────────┴───────┴────────────┴────────┴──────┴──────────┴───────┴─────┴─ ─
//!   segment:  id │ generation │ last id │ length of the name │ name      lane:  lane │ origin
//! ```
//!
//! Two equal copies are kept (`copies`). The version is that of the whole folder.

use crate::checksum::crc32c;
use crate::frame::{LaneId, Seq, le_u32, le_u64};
use crate::wal::segment::Segment;

/// The version of the folder that this code writes, and the highest it reads.
pub(crate) const FORMAT_VERSION: u32 = 2;
/// The files of the two copies.
pub(crate) const NAMES: [&str; 2] = ["manifest", "manifest.2"];
/// What is written before it is renamed.
pub(crate) const NEW_NAME: &str = "manifest.new";

const MAGIC: [u8; 8] = *b"courman\0";
const CRC_AT: usize = 12;
const COVERED_FROM: usize = 16;
const LENGTH_AT: usize = 24;
const ENTRIES_AT: usize = 56;
const NAME_BYTES_MAX: usize = 255;

/// All segments, by id, and the origins, by lane.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Manifest {
    pub(crate) generation: u64,
    /// No frame that was given up had a higher term.
    pub(crate) term: u64,
    pub(crate) segments: Vec<Entry>,
    pub(crate) origins: Vec<(LaneId, Seq)>,
}

/// One segment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) id: u64,
    pub(crate) generation: u64,
    /// The last of the ids that it stands for: its own, unless it was made of several.
    pub(crate) last: u64,
    pub(crate) name: String,
}

impl Entry {
    pub(crate) fn of(segment: &Segment) -> Entry {
        let (id, generation, last) = (segment.id, segment.generation, segment.last);
        Entry { id, generation, last, name: segment.name.to_string() }
    }
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
        let counts = [self.segments.len() as u64, self.origins.len() as u64];
        for number in [self.generation, 0, self.term].into_iter().chain(counts) {
            bytes.extend(number.to_le_bytes());
        }
        for entry in &self.segments {
            for number in [entry.id, entry.generation, entry.last, entry.name.len() as u64] {
                bytes.extend(number.to_le_bytes());
            }
            bytes.extend(entry.name.as_bytes());
        }
        for (lane, origin) in &self.origins {
            bytes.extend(u64::from(lane.0).to_le_bytes());
            bytes.extend(origin.0.to_le_bytes());
        }
        let length = (bytes.len() as u64).to_le_bytes();
        put(&mut bytes, LENGTH_AT, &length);
        let crc = bytes.get(COVERED_FROM..).map_or(0, crc32c).to_le_bytes();
        put(&mut bytes, CRC_AT, &crc);
        bytes
    }

    /// Decodes a copy; what follows its own length is not looked at.
    pub(crate) fn decode(bytes: &[u8]) -> Result<Manifest, ManifestFault> {
        if bytes.get(..MAGIC.len()) != Some(&MAGIC) {
            return Err(ManifestFault::Rotten);
        }
        let decoded = match le_u32(bytes, 8) {
            1 => decode_v1(bytes),
            FORMAT_VERSION => decode_v2(bytes),
            newer if newer > FORMAT_VERSION => return Err(ManifestFault::Newer(newer)),
            _ => None,
        };
        let rises = |manifest: &Manifest| {
            manifest.segments.iter().all(|entry| entry.id <= entry.last)
                && manifest.segments.is_sorted_by(|one, next| one.last < next.id)
                && manifest.origins.is_sorted_by(|(one, _), (next, _)| one < next)
        };
        decoded.filter(rises).ok_or(ManifestFault::Rotten)
    }

    /// The origin of a lane.
    pub(crate) fn origin(&self, lane: LaneId) -> Seq {
        let found = self.origins.iter().find(|(known, _)| *known == lane);
        found.map_or(Seq(0), |&(_, origin)| origin)
    }

    /// Raises the origin of a lane; says whether that changed anything.
    pub(crate) fn raise(&mut self, lane: LaneId, origin: Seq) -> bool {
        match self.origins.binary_search_by_key(&lane, |&(known, _)| known) {
            Ok(at) => {
                let held = self.origins.get_mut(at).filter(|(_, held)| *held < origin);
                held.map(|held| held.1 = origin).is_some()
            }
            Err(at) => {
                self.origins.insert(at, (lane, origin));
                true
            }
        }
    }
}

fn put(bytes: &mut [u8], at: usize, field: &[u8]) {
    if let Some(room) = bytes.get_mut(at..at + field.len()) {
        room.copy_from_slice(field);
    }
}

/// As version 1 was: no last id, no origins, and the checksum covers the whole file.
fn decode_v1(bytes: &[u8]) -> Option<Manifest> {
    let (fixed, mut rest) = bytes.split_at_checked(32)?;
    if crc32c(bytes.get(COVERED_FROM..)?) != le_u32(fixed, CRC_AT) {
        return None;
    }
    let mut segments = Vec::new();
    for _ in 0..le_u64(fixed, 24) {
        let (id, behind) = number(rest)?;
        let (generation, behind) = number(behind)?;
        let (name, behind) = name(behind)?;
        segments.push(Entry { id, generation, last: id, name });
        rest = behind;
    }
    Some(Manifest { generation: le_u64(fixed, 16), segments, ..Manifest::default() })
}

fn decode_v2(bytes: &[u8]) -> Option<Manifest> {
    let length = usize::try_from(le_u64(bytes, LENGTH_AT)).ok()?;
    let bytes = bytes.get(..length)?;
    let (fixed, mut rest) = bytes.split_at_checked(ENTRIES_AT)?;
    if crc32c(bytes.get(COVERED_FROM..)?) != le_u32(fixed, CRC_AT) {
        return None;
    }
    let mut manifest =
        Manifest { generation: le_u64(fixed, 16), term: le_u64(fixed, 32), ..Manifest::default() };
    for _ in 0..le_u64(fixed, 40) {
        let (id, behind) = number(rest)?;
        let (generation, behind) = number(behind)?;
        let (last, behind) = number(behind)?;
        let (name, behind) = name(behind)?;
        manifest.segments.push(Entry { id, generation, last, name });
        rest = behind;
    }
    for _ in 0..le_u64(fixed, 48) {
        let (lane, behind) = number(rest)?;
        let (origin, behind) = number(behind)?;
        manifest.origins.push((LaneId(u16::try_from(lane).ok()?), Seq(origin)));
        rest = behind;
    }
    Some(manifest)
}

fn number(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let (number, rest) = bytes.split_first_chunk()?;
    Some((u64::from_le_bytes(*number), rest))
}

fn name(bytes: &[u8]) -> Option<(String, &[u8])> {
    let (length, rest) = number(bytes)?;
    let length = usize::try_from(length).ok().filter(|length| *length <= NAME_BYTES_MAX)?;
    let (name, rest) = rest.split_at_checked(length)?;
    let name = std::str::from_utf8(name).ok().filter(|name| !name.contains('/'))?;
    Some((name.to_owned(), rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn manifest() -> Manifest {
        let entry = |id, last| Entry { id, generation: 1, last, name: format!("{id}.segment") };
        Manifest {
            generation: 4,
            term: 9,
            segments: vec![entry(1, 1), entry(2, 5), entry(7, 7)],
            origins: vec![(LaneId(0), Seq(77)), (LaneId(0x8000), Seq(3))],
        }
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
    fn what_follows_its_length_is_room_for_a_longer_one() {
        let mut bytes = manifest().encode();
        bytes.resize(4096, 0);
        assert_eq!(Manifest::decode(&bytes), Ok(manifest()));
    }

    #[test]
    fn ids_that_overlap_are_refused() {
        let mut twice = manifest();
        twice.segments[1].last = 7;
        assert_eq!(Manifest::decode(&twice.encode()), Err(ManifestFault::Rotten));
    }

    #[test]
    fn an_origin_only_rises() {
        let mut manifest = manifest();
        assert!(manifest.raise(LaneId(3), Seq(5)) && manifest.raise(LaneId(3), Seq(6)));
        assert!(!manifest.raise(LaneId(3), Seq(6)) && !manifest.raise(LaneId(3), Seq(1)));
        assert_eq!(manifest.origin(LaneId(3)), Seq(6));
        assert_eq!(Manifest::decode(&manifest.encode()), Ok(manifest));
    }

    #[test]
    fn a_later_version_is_told_apart_before_anything_else_is_read() {
        let mut bytes = manifest().encode();
        bytes[8] = 3;
        bytes.truncate(20);
        assert_eq!(Manifest::decode(&bytes), Err(ManifestFault::Newer(3)));
    }
}
