//! A check of a folder that nobody runs: everything in it is read and verified, and nothing is
//! changed.
//!
//! 1. [`Check::begin`] takes the lock, reads the small files and the header of every segment.
//! 2. [`Check::run`] walks all batches in order (`walk.rs`). Behind a damaged place it goes on
//!    where the chain proves that frames begin again (`salvage.rs`).
//! 3. What an opening would drop as a torn tail is not damage: the rule is that of `recovery.rs`.
//!
//! What a check calls whole is what an opening accepts, and the other way round.

use std::io;
use std::ops::ControlFlow;
use std::sync::Arc;

use crate::disk::{Disk, File, read_full};
use crate::frame::{Frame, FrameHeader, LaneId, Seq, le_u32};
use crate::limits::SECTOR_BYTES;
use crate::store::{Damage, Damaged};
use crate::wal::TornTail;
use crate::wal::chain::BatchHeader;
use crate::wal::checkpoint::{self, Checkpoint};
use crate::wal::folder::LOCK_NAME;
use crate::wal::index::SegmentIndex;
use crate::wal::manifest::{self, Entry, Manifest, ManifestFault};
use crate::wal::segment::{self, SegmentHeader};
use crate::wal::summary;
use crate::wal::walk::Walk;

/// A folder was not checked.
#[derive(Debug, thiserror::Error)]
pub enum CheckError {
    /// A process has it.
    #[error("the data folder is in use: stop its broker first")]
    Locked,
    /// There is no log in it.
    #[error("the folder holds no log")]
    Foreign,
    /// Written by a later version.
    #[error("the data folder has format {found}, this version reads up to {known}")]
    Newer {
        /// The folder's.
        found: u32,
        /// Ours.
        known: u32,
    },
    /// The operating system refused.
    #[error("{what} {file} failed: {source}")]
    Io {
        /// What was tried.
        what: &'static str,
        /// The file.
        file: String,
        /// Its words.
        source: io::Error,
    },
}

/// One frame, with the place where it was found.
#[derive(Debug, Clone, Copy)]
pub struct Seen<'a> {
    /// The segment's file.
    pub file: &'a str,
    /// Start of the frame in it.
    pub offset: u64,
    /// The frame with its body. Kinds of storage's own are shown too.
    pub frame: Frame<'a>,
    /// Whether the body is what was written.
    pub body_is_intact: bool,
    pub(crate) header: FrameHeader,
}

/// Who is shown what a check reads.
pub trait Witness {
    /// A frame whose head is intact, in append order. To break ends the check.
    fn frame(&mut self, seen: &Seen<'_>) -> ControlFlow<()>;

    /// So many bytes more were read.
    fn progress(&mut self, bytes: u64) {
        let _ = bytes;
    }
}

impl<F: FnMut(&Seen<'_>) -> ControlFlow<()>> Witness for F {
    fn frame(&mut self, seen: &Seen<'_>) -> ControlFlow<()> {
        self(seen)
    }
}

/// What becomes of damage when the folder is opened as it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Outcome {
    /// It is put right; nothing is lost.
    Mended,
    /// The opening does not look there; it is found when it is read.
    Unseen,
    /// The opening goes on, and says so; the body cannot be read.
    Reported,
    /// The opening is refused.
    Refused,
}

/// Frames of one lane that may be missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Gap {
    /// The lane.
    pub lane: LaneId,
    /// The last seq before the damage; 0 if there is none.
    pub above: Seq,
    /// The first seq behind it, if there is one.
    pub below: Option<Seq>,
}

/// One damaged place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// Where it is, and what should be there.
    pub at: Damaged,
    /// What was found, or not.
    pub why: &'static str,
    /// How many frames are missing, where that is known.
    pub frames: Option<u64>,
    /// Between which seqs frames may be missing. Empty where none are. Of a lane that no frame is
    /// left of, nothing is said.
    pub gaps: Vec<Gap>,
    /// What happens at an opening.
    pub outcome: Outcome,
}

/// The frames of one lane in a segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    /// The lane.
    pub lane: LaneId,
    /// Its first seq here.
    pub first: Seq,
    /// Its last seq here.
    pub last: Seq,
    /// How many frames.
    pub frames: u64,
}

/// One segment as it was found.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SegmentSeen {
    /// The file.
    pub file: String,
    /// Its number in the log.
    pub id: u64,
    /// How often it was rewritten, counted from 1.
    pub generation: u64,
    /// Length of the file.
    pub file_bytes: u64,
    /// Up to here it holds batches.
    pub used_bytes: u64,
    /// It ends with a seal that says that it is full.
    pub is_full: bool,
    /// What it holds, by lane.
    pub lanes: Vec<Span>,
}

/// What a check found.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Checked {
    /// All segments, in their order.
    pub segments: Vec<SegmentSeen>,
    /// All damage: of the small files and headers first, then in the order of the log.
    pub faults: Vec<Fault>,
    /// The log was closed in order.
    pub clean: bool,
    /// An unfinished end that the next opening drops. It was never confirmed: this is no damage.
    pub torn: Option<TornTail>,
    /// The witness ended it.
    pub stopped: bool,
    /// The origins of lanes: below them only living frames are needed.
    pub origins: Vec<(LaneId, Seq)>,
}

/// A folder under its lock.
pub struct Check {
    pub(crate) disk: Arc<dyn Disk>,
    pub(crate) layout: Layout,
    /// Of every segment, once it was run.
    pub(crate) indexes: Vec<SegmentIndex>,
    _lock: Box<dyn Send + Sync>,
}

/// The small files and the headers.
#[derive(Default)]
pub(crate) struct Layout {
    pub(crate) manifest: Manifest,
    pub(crate) checkpoint: Checkpoint,
    pub(crate) segments: Vec<Listed>,
    pub(crate) faults: Vec<Fault>,
}

/// A segment of the list.
pub(crate) struct Listed {
    pub(crate) entry: Entry,
    /// What is there of it.
    pub(crate) file: Option<Arc<dyn File>>,
    pub(crate) file_bytes: u64,
    /// From its header, or as its first batch proves it.
    pub(crate) seed: Option<u32>,
    /// The fault that hides all of it.
    pub(crate) fault: Option<usize>,
    /// An opening does not look into it.
    pub(crate) is_passed: bool,
}

pub(crate) fn failed(what: &'static str, file: &str) -> impl FnOnce(io::Error) -> CheckError {
    let file = file.to_owned();
    move |source| CheckError::Io { what, file, source }
}

impl Check {
    /// Takes the lock and looks at what is there.
    pub fn begin(disk: &Arc<dyn Disk>) -> Result<Check, CheckError> {
        let names = disk.list().map_err(failed("listing", "the folder"))?;
        let is_ours = |name: &String| {
            manifest::NAMES.contains(&name.as_str()) || name.ends_with(segment::FILE_SUFFIX)
        };
        if !names.iter().any(is_ours) {
            return Err(CheckError::Foreign);
        }
        let lock = disk.lock(LOCK_NAME).map_err(failed("locking", LOCK_NAME))?;
        let lock = lock.ok_or(CheckError::Locked)?;
        let layout = Layout::read(&**disk, &names)?;
        Ok(Check { disk: Arc::clone(disk), layout, indexes: Vec::new(), _lock: lock })
    }

    /// Bytes that a run reads.
    pub fn bytes(&self) -> u64 {
        self.layout.segments.iter().map(|listed| listed.file_bytes).sum()
    }

    /// Reads everything and shows it to `witness`.
    pub fn run(&mut self, witness: &mut dyn Witness) -> Result<Checked, CheckError> {
        let (checked, indexes) = Walk::new(&self.layout, witness).run_from(0)?;
        self.indexes = indexes;
        Ok(checked)
    }
}

impl Layout {
    fn read(disk: &dyn Disk, names: &[String]) -> Result<Layout, CheckError> {
        let mut layout = Layout::default();
        match layout.read_manifest(disk)? {
            Some(manifest) => layout.manifest = manifest,
            None => layout.manifest = rebuilt(disk, names)?,
        }
        layout.read_checkpoint(disk)?;
        for entry in layout.manifest.segments.clone() {
            layout.read_segment(disk, entry)?;
        }
        layout.read_indexes(disk)?;
        Ok(layout)
    }

    /// The list, if a copy of it is intact: the newer one.
    fn read_manifest(&mut self, disk: &dyn Disk) -> Result<Option<Manifest>, CheckError> {
        let mut newest: Option<Manifest> = None;
        let mut is_first_version = false;
        let mut newer = None;
        let mut damaged = Vec::new();
        for name in manifest::NAMES {
            let bytes = match whole(disk, name) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
                other => other.map_err(failed("reading", name))?,
            };
            match Manifest::decode(&bytes) {
                Ok(manifest) => {
                    // The first version had one copy.
                    is_first_version |= le_u32(&bytes, 8) == 1;
                    let known = newest.as_ref().map(|newest| newest.generation);
                    if known < Some(manifest.generation) {
                        newest = Some(manifest);
                    }
                }
                Err(fault) => {
                    if let ManifestFault::Newer(version) = fault {
                        newer = Some(version);
                    }
                    damaged.push(place(name, 0, bytes.len() as u64, Damage::Manifest));
                }
            }
        }
        if let (None, Some(found)) = (&newest, newer) {
            return Err(CheckError::Newer { found, known: manifest::FORMAT_VERSION });
        }
        let outcome = if newest.is_some() { Outcome::Mended } else { Outcome::Refused };
        damaged.retain(|at| !is_first_version || at.bytes > 0);
        let faults = damaged.into_iter().map(|at| fault(at, "the list of segments", outcome));
        self.faults.extend(faults);
        Ok(newest)
    }

    /// The files beside segments, and which segments an opening passes over because of them.
    fn read_indexes(&mut self, disk: &dyn Disk) -> Result<(), CheckError> {
        let mut is_passing = true;
        for listed in &mut self.segments {
            let name = summary::name_beside(&listed.entry.name);
            let bytes = match whole(disk, &name) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => None,
                other => Some(other.map_err(failed("reading", &name))?),
            };
            let found = bytes.as_ref().zip(listed.seed);
            let index = found.and_then(|(bytes, seed)| summary::decode(bytes, seed));
            let manifest = &self.manifest;
            is_passing &= index.as_ref().is_some_and(|(index, _)| {
                index.spans().all(|(lane, _, last)| last < manifest.origin(lane))
            });
            listed.is_passed = is_passing;
            if let (Some(bytes), None, Some(_)) = (bytes, index, listed.seed) {
                let at = place(&name, 0, bytes.len() as u64, Damage::Index);
                self.faults.push(fault(at, "the index of a segment", Outcome::Mended));
            }
        }
        Ok(())
    }

    fn read_checkpoint(&mut self, disk: &dyn Disk) -> Result<(), CheckError> {
        let name = checkpoint::NAME;
        let slots = match disk.open(name).and_then(|file| checkpoint::slots(&*file)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => [None; 2],
            other => other.map_err(failed("reading", name))?,
        };
        let outcome =
            if slots.iter().any(Option::is_some) { Outcome::Mended } else { Outcome::Refused };
        for (slot, number) in slots.iter().zip(0u64..) {
            if slot.is_none() {
                let offset = number * checkpoint::SLOT_STRIDE;
                let at = place(name, offset, SECTOR_BYTES as u64, Damage::Checkpoint);
                self.faults.push(fault(at, "the statement how far the log is durable", outcome));
            }
        }
        let latest = slots.iter().flatten().max_by_key(|slot| slot.generation);
        self.checkpoint = latest.copied().unwrap_or_default();
        Ok(())
    }

    fn read_segment(&mut self, disk: &dyn Disk, entry: Entry) -> Result<(), CheckError> {
        let name = entry.name.clone();
        let file = match disk.open(&name) {
            Ok(file) => Some(file),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(failed("opening", &name)(error)),
        };
        let mut listed =
            Listed { entry, file: None, file_bytes: 0, seed: None, fault: None, is_passed: false };
        let Some(file) = file else {
            listed.fault = Some(self.faults.len());
            let at = place(&name, 0, 0, Damage::Missing);
            self.faults.push(fault(at, "a segment that the list has", Outcome::Refused));
            self.segments.push(listed);
            return Ok(());
        };
        listed.file_bytes = file.len().map_err(failed("reading", &name))?;
        let mut sectors = [0; 2 * SECTOR_BYTES];
        let read = read_full(&*file, &mut sectors, 0).map_err(failed("reading", &name))?;
        let (first, second) = sectors.split_at(SECTOR_BYTES);
        let is_there = read >= SECTOR_BYTES;
        listed.seed = match SegmentHeader::decode(first) {
            Ok((header, seed)) if is_there && header_is_of(&header, &listed.entry) => Some(seed),
            _ => {
                let seed = proven_seed(second);
                listed.fault = seed.is_none().then_some(self.faults.len());
                let at = place(&name, 0, SECTOR_BYTES as u64, Damage::Segment);
                self.faults.push(fault(at, "the header of a segment", Outcome::Refused));
                seed
            }
        };
        listed.file = Some(file);
        self.segments.push(listed);
        Ok(())
    }
}

fn header_is_of(header: &SegmentHeader, entry: &Entry) -> bool {
    (header.id, header.generation) == (entry.id, entry.generation)
}

/// The seed of a segment whose header is damaged: its first batch has it as `prev`, and is intact
/// with it alone.
pub(crate) fn proven_seed(second: &[u8]) -> Option<u32> {
    let seed = le_u32(second, 32);
    BatchHeader::decode(second, seed).map(|_| seed)
}

/// The list as the files say: of every id the highest generation.
fn rebuilt(disk: &dyn Disk, names: &[String]) -> Result<Manifest, CheckError> {
    let mut segments: Vec<Entry> = Vec::new();
    for name in names.iter().filter(|name| name.ends_with(segment::FILE_SUFFIX)) {
        let mut sector = [0; SECTOR_BYTES];
        let file = disk.open(name).map_err(failed("opening", name))?;
        read_full(&*file, &mut sector, 0).map_err(failed("reading", name))?;
        let header = SegmentHeader::decode(&sector).ok();
        let (id, generation) = header
            .map(|(header, _)| (header.id, header.generation))
            .or_else(|| segment::parse_name(name))
            .unwrap_or_default();
        segments.push(Entry { id, generation, last: id, name: name.clone() });
    }
    segments.sort_unstable_by_key(|entry| (entry.id, std::cmp::Reverse(entry.generation)));
    segments.dedup_by_key(|entry| entry.id);
    Ok(Manifest { segments, ..Manifest::default() })
}

pub(crate) fn whole(disk: &dyn Disk, name: &str) -> io::Result<Vec<u8>> {
    let file = disk.open(name)?;
    let mut bytes = vec![0; usize::try_from(file.len()?).unwrap_or(0)];
    let read = read_full(&*file, &mut bytes, 0)?;
    bytes.truncate(read);
    Ok(bytes)
}

pub(crate) fn place(file: &str, offset: u64, bytes: u64, what: Damage) -> Damaged {
    Damaged { file: file.to_owned(), offset, bytes, what }
}

pub(crate) fn fault(at: Damaged, why: &'static str, outcome: Outcome) -> Fault {
    Fault { at, why, frames: None, gaps: Vec::new(), outcome }
}
