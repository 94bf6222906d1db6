//! Opening a folder: what is there, how far it is good, and whether what follows is torn or rotten.
//!
//! Steps:
//! 1. Manifest, checkpoint, header of every listed segment. Damage to any of them is rot.
//! 2. Walk all batches in order, verifying headers, heads, chain and bodies, up to the first place
//!    P that is not a good batch.
//! 3. Let D be the furthest durable mark in the checkpoint, or in any valid batch header at or
//!    after P. P < D: what stood at P was durable, so it is rot, and the folder is refused
//!    untouched.
//! 4. Else P is where the log ends. What is not zero behind it is a torn tail: it is overwritten
//!    with zeros and synced, so that no later write can bring it back to life.
//! 5. What stands between D and P may only be in the memory of the operating system:
//!    it is written once more and synced, before anybody is told of it.
//!
//! A bad body below D does not end the walk: the frame keeps its place and is reported. At or above
//! D it makes its batch torn. A valid frame behind a bad one in the same batch proves nothing,
//! because the sectors of one write land in any order (`docs/decisions/0002-torn-or-rotten.md`).

use std::io;
use std::sync::Arc;

use crate::disk::{Disk, read_full, write_full};
use crate::error::OpenError;
use crate::frame::{Frame, LaneId, Seq};
use crate::kind;
use crate::limits::{SECTOR_BYTES, SEGMENT_BYTES_MIN};
use crate::wal::chain::BatchHeader;
use crate::wal::checkpoint::{self, CheckpointFile};
use crate::wal::defect::Defect;
use crate::wal::directory::Directory;
use crate::wal::manifest::{self, Manifest, ManifestFault};
use crate::wal::reader::{self, Found, Placed, Verdict, Window, is_zero};
use crate::wal::segment::{FILE_SUFFIX, FIRST_BATCH_AT, HeaderFault, Mark, Segment, SegmentHeader};
use crate::wal::writer::End;
use crate::wal::{Recovered, RottenBody, TornTail, WalOptions};

/// The lock on the folder.
pub(crate) const LOCK_NAME: &str = "lock";

/// More damaged bodies than this are only counted.
const ROTTEN_BODIES_MAX: usize = 1024;
const STEP_BYTES: usize = 1 << 20;

/// A folder that is ready to be continued at `end`.
pub(crate) struct Opened {
    pub(crate) directory: Arc<Directory>,
    pub(crate) checkpoint: CheckpointFile,
    pub(crate) end: End,
    pub(crate) recovered: Recovered,
}

/// Opens a folder that is locked already, and shows every frame of the caller's to `visit`.
pub(crate) fn open(
    disk: Arc<dyn Disk>,
    options: WalOptions,
    visit: &mut dyn FnMut(Frame<'_>),
) -> Result<Opened, OpenError> {
    if options.segment_bytes < SEGMENT_BYTES_MIN {
        return Err(OpenError::SegmentTooSmall { segment_bytes: options.segment_bytes });
    }
    let names = disk.list().map_err(failed("listing", "the folder"))?;
    if !names.iter().any(|name| name == manifest::NAME) {
        return create(disk, options, &names);
    }
    let manifest = read_manifest(&*disk)?;
    let checkpoint = open_checkpoint(&*disk)?;
    let directory = Arc::new(Directory::new(Arc::clone(&disk), options, manifest.clone()));
    // The manifest that is seen may have outlived a failed sync: nothing is written to a segment
    // before the list that has it is certain.
    directory.sync_folder().map_err(|cause| poisoned(&cause))?;
    for entry in &manifest.segments {
        directory.add(open_segment(&*disk, entry)?);
    }
    remove_unlisted(&*disk, &manifest, &names)?;
    let mut walk = Walk::new(&directory, &checkpoint, visit);
    let end = walk.run()?;
    let (durable, mut recovered) = (walk.durable, walk.recovered);
    finish(&directory, checkpoint, end, durable, &mut recovered)
}

fn failed(what: &'static str, file: &str) -> impl FnOnce(io::Error) -> OpenError {
    let file = file.to_owned();
    move |source| match source.kind() {
        io::ErrorKind::NotFound => OpenError::Missing { file },
        _ => OpenError::Io { what, file, source },
    }
}

fn rotten(file: &str, offset: u64, what: &'static str) -> OpenError {
    OpenError::Rotten { file: file.to_owned(), offset, what }
}

fn poisoned(cause: &crate::error::Poison) -> OpenError {
    let source = io::Error::other(cause.to_string());
    OpenError::Io { what: "preparing", file: "the folder".to_owned(), source }
}

/// A fresh folder. A crash in the middle leaves one that is still taken as fresh: the manifest
/// comes last.
fn create(disk: Arc<dyn Disk>, options: WalOptions, names: &[String]) -> Result<Opened, OpenError> {
    for name in names {
        let ours = [LOCK_NAME, checkpoint::NAME, manifest::NEW_NAME].contains(&name.as_str());
        if !ours && !name.ends_with(FILE_SUFFIX) {
            return Err(OpenError::Foreign { file: name.clone() });
        }
    }
    remove_unlisted(&*disk, &Manifest::default(), names)?;
    let file = disk.create(checkpoint::NAME).map_err(failed("creating", checkpoint::NAME))?;
    let checkpoint = CheckpointFile::create(file).map_err(failed("writing", checkpoint::NAME))?;
    let directory = Directory::new(disk, options, Manifest::default());
    let segment = directory.prepare_after(0).map_err(|cause| poisoned(&cause))?;
    let chain = segment.seed;
    let end = End { segment, offset: FIRST_BATCH_AT, chain };
    let recovered = Recovered { clean: true, ..Recovered::default() };
    Ok(Opened { directory: Arc::new(directory), checkpoint, end, recovered })
}

fn read_manifest(disk: &dyn Disk) -> Result<Manifest, OpenError> {
    let name = manifest::NAME;
    let read = || {
        let file = disk.open(name)?;
        let mut bytes = vec![0; usize::try_from(file.len()?).unwrap_or(0)];
        read_full(&*file, &mut bytes, 0)?;
        Ok(bytes)
    };
    Manifest::decode(&read().map_err(failed("reading", name))?).map_err(|fault| match fault {
        ManifestFault::Newer(found) => OpenError::Newer { found, known: manifest::FORMAT_VERSION },
        ManifestFault::Rotten => rotten(name, 0, "the list of segments"),
    })
}

fn open_checkpoint(disk: &dyn Disk) -> Result<CheckpointFile, OpenError> {
    let name = checkpoint::NAME;
    let file = disk.open(name).map_err(failed("opening", name))?;
    let opened = CheckpointFile::open(file).map_err(failed("reading", name))?;
    opened.ok_or_else(|| rotten(name, 0, "the statement how far the log is durable"))
}

fn open_segment(disk: &dyn Disk, entry: &manifest::Entry) -> Result<Arc<Segment>, OpenError> {
    let name = &entry.name;
    let file = disk.open_log(name).map_err(failed("opening", name))?;
    let mut sector = [0; SECTOR_BYTES];
    let read = read_full(&*file, &mut sector, 0).map_err(failed("reading", name))?;
    if read < SECTOR_BYTES {
        return Err(rotten(name, read as u64, "the header of a segment"));
    }
    let (header, _) = SegmentHeader::decode(&sector).map_err(|fault| match fault {
        HeaderFault::Newer(found) => OpenError::Newer { found, known: manifest::FORMAT_VERSION },
        HeaderFault::Rotten => rotten(name, 0, "the header of a segment"),
    })?;
    if (header.id, header.generation) != (entry.id, entry.generation) {
        return Err(rotten(name, 0, "the header of another segment"));
    }
    Ok(Arc::new(Segment::new(&header, name.as_str().into(), file)))
}

/// Removes files that a crash left behind before a manifest listed them. Nothing was ever written
/// to such a segment; if there is, the manifest is not what it was.
fn remove_unlisted(
    disk: &dyn Disk,
    manifest: &Manifest,
    names: &[String],
) -> Result<(), OpenError> {
    for name in names.iter().filter(|name| name.ends_with(FILE_SUFFIX)) {
        if manifest.segments.iter().any(|entry| entry.name == *name) {
            continue;
        }
        let file = disk.open(name).map_err(failed("opening", name))?;
        let mut sectors = [0; 2 * SECTOR_BYTES];
        read_full(&*file, &mut sectors, 0).map_err(failed("reading", name))?;
        let (first, second) = sectors.split_at(SECTOR_BYTES);
        let holds_batch = SegmentHeader::decode(first)
            .is_ok_and(|(_, seed)| BatchHeader::decode(second, seed).is_some());
        if holds_batch {
            return Err(rotten(manifest::NAME, 0, "a list without a segment that is in use"));
        }
        disk.remove(name).map_err(failed("removing", name))?;
    }
    Ok(())
}

/// The walk over all batches.
struct Walk<'a> {
    directory: &'a Directory,
    visit: &'a mut dyn FnMut(Frame<'_>),
    segments: Vec<Arc<Segment>>,
    /// The furthest durable mark seen; complete once `looked_ahead`.
    durable: Mark,
    looked_ahead: bool,
    closed_at: Option<Mark>,
    trusts_anything: bool,
    recovered: Recovered,
    /// The frames of one batch, on their way into the index.
    placed: Vec<(LaneId, Seq, u64)>,
}

/// How a segment ended.
enum Stop {
    /// With a seal that says so.
    Rolled,
    At {
        offset: u64,
        chain: u32,
        fault: Option<(u64, &'static str)>,
    },
}

impl<'a> Walk<'a> {
    fn new(
        directory: &'a Directory,
        checkpoint: &CheckpointFile,
        visit: &'a mut dyn FnMut(Frame<'_>),
    ) -> Walk<'a> {
        let latest = checkpoint.latest();
        Walk {
            directory,
            visit,
            segments: directory.segments(),
            durable: latest.durable,
            looked_ahead: false,
            closed_at: latest.closed.then_some(latest.durable),
            trusts_anything: Defect::TruncateAtBadChecksum.is_in(&directory.options),
            recovered: Recovered::default(),
            placed: Vec::new(),
        }
    }

    /// Walks to the end of the log and gives its place.
    fn run(&mut self) -> Result<End, OpenError> {
        let segments = self.segments.clone();
        let mut rolled: Option<&Arc<Segment>> = None;
        for segment in &segments {
            match self.segment(segment)? {
                Stop::Rolled => rolled = Some(segment),
                Stop::At { offset, chain, fault } => {
                    return self.stop(segment, offset, chain, fault);
                }
            }
        }
        // All segments are full: the crash came before the next one was made.
        let last = rolled.map_or(0, |segment| segment.id);
        let next = self.directory.prepare_after(last).map_err(|cause| poisoned(&cause))?;
        if self.durable.segment > last {
            return Err(rotten(manifest::NAME, 0, "a list without a segment that is in use"));
        }
        let chain = next.seed;
        Ok(End { segment: next, offset: FIRST_BATCH_AT, chain })
    }

    /// Decides what it means that the walk ends here.
    fn stop(
        &mut self,
        segment: &Arc<Segment>,
        offset: u64,
        chain: u32,
        fault: Option<(u64, &'static str)>,
    ) -> Result<End, OpenError> {
        let place = Mark { segment: segment.id, offset };
        if self.closed_at != Some(place) || fault.is_some() {
            self.look_ahead(place)?;
        }
        if place < self.durable && !self.trusts_anything {
            let (at, what) = fault.unwrap_or((offset, "nothing where a batch was"));
            return Err(rotten(&segment.name, at, what));
        }
        self.recovered.clean = self.closed_at == Some(place) && fault.is_none();
        Ok(End { segment: Arc::clone(segment), offset, chain })
    }

    fn segment(&mut self, segment: &Arc<Segment>) -> Result<Stop, OpenError> {
        let reading = || failed("reading", &segment.name);
        let mut window = Window::open(segment).map_err(|error| reading()(error))?;
        let (mut at, mut chain) = (FIRST_BATCH_AT, segment.seed);
        loop {
            let stop = |fault| Ok(Stop::At { offset: at, chain, fault });
            let header = match window.batch(at).map_err(|error| reading()(error))? {
                Found::Batch(header) => header,
                Found::Nothing => return stop(None),
                Found::Bad(what) => return stop(Some((at, what))),
            };
            let bytes = window.bytes(at, header.len as usize).map_err(|error| reading()(error))?;
            let (behind, rotten_bodies) = match reader::verify(bytes, &header, chain) {
                Verdict::Bad { at: inside, what } => {
                    return stop(Some((at + inside as u64, what)));
                }
                Verdict::Intact { chain, rotten_bodies } => (chain, rotten_bodies),
            };
            if rotten_bodies && !self.is_durable(segment, at)? {
                return stop(Some((at, "a body with a bad checksum")));
            }
            chain = behind;
            self.durable = self.durable.max(header.durable);
            if rotten_bodies {
                self.note_rotten(segment, at, bytes, &header);
            }
            let rolled = self.batch(segment, at, bytes, &header)?;
            at += u64::from(header.len);
            if rolled {
                return Ok(Stop::Rolled);
            }
        }
    }

    /// Takes up all frames of a batch; says whether it ends its segment.
    fn batch(
        &mut self,
        segment: &Arc<Segment>,
        at: u64,
        bytes: &[u8],
        header: &BatchHeader,
    ) -> Result<bool, OpenError> {
        let mut rolled = false;
        for placed in reader::frames(bytes, header) {
            let Placed { header, .. } = &placed;
            if kind::is_callers(header.kind) {
                let frame_at = at + placed.at as u64;
                self.placed.push((header.lane, header.seq, frame_at));
                self.recovered.note(header.lane, header.seq, header.term);
                (self.visit)(placed.without_body());
            } else if kind::is_understood(header.kind) {
                rolled |= placed.ends_segment();
            } else if header.critical {
                let (file, offset) = (segment.name.to_string(), at + placed.at as u64);
                return Err(OpenError::UnknownKind { file, offset, kind: header.kind });
            }
        }
        self.directory.note(segment, self.placed.drain(..));
        Ok(rolled)
    }

    /// Reports the bodies of a batch that are not what was written.
    fn note_rotten(&mut self, segment: &Segment, at: u64, bytes: &[u8], header: &BatchHeader) {
        let rotten = reader::frames(bytes, header).filter(|placed| !placed.body_is_intact());
        for placed in rotten {
            self.recovered.rotten_bodies_count += 1;
            if self.recovered.rotten_bodies.len() < ROTTEN_BODIES_MAX {
                self.recovered.rotten_bodies.push(RottenBody {
                    file: segment.name.to_string(),
                    offset: at + placed.at as u64,
                    lane: placed.header.lane,
                    seq: placed.header.seq,
                });
            }
        }
    }

    /// Whether the batch at `at` is known to have been durable.
    fn is_durable(&mut self, segment: &Segment, at: u64) -> Result<bool, OpenError> {
        let place = Mark { segment: segment.id, offset: at };
        if place >= self.durable {
            self.look_ahead(place)?;
        }
        Ok(place < self.durable)
    }

    /// Takes up the durable marks of all valid batch headers from `place` on.
    fn look_ahead(&mut self, place: Mark) -> Result<(), OpenError> {
        if std::mem::replace(&mut self.looked_ahead, true) {
            return Ok(());
        }
        for segment in self.segments.iter().filter(|segment| segment.id >= place.segment) {
            let here = segment.id == place.segment;
            let from = if here { place.offset } else { FIRST_BATCH_AT };
            let seed = segment.seed;
            let mut durable = self.durable;
            let mut see = |sector: &[u8]| {
                if BatchHeader::is_at(sector)
                    && let Some(header) = BatchHeader::decode(sector, seed)
                {
                    durable = durable.max(header.durable);
                }
            };
            each_step(segment, from, &mut |_, bytes| {
                bytes.chunks(SECTOR_BYTES).for_each(&mut see);
                Ok(())
            })
            .map_err(failed("reading", &segment.name))?;
            self.durable = durable;
        }
        Ok(())
    }
}

/// Shows a segment from `from` to its end in steps of whole sectors; steps of zeros are left out.
fn each_step(
    segment: &Segment,
    from: u64,
    see: &mut dyn FnMut(u64, &[u8]) -> io::Result<()>,
) -> io::Result<()> {
    let mut window = Window::open(segment)?;
    let mut at = from;
    while at < window.file_len() {
        let bytes = window.bytes(at, STEP_BYTES)?;
        if bytes.is_empty() {
            break;
        }
        if !is_zero(bytes) {
            see(at, bytes)?;
        }
        at += bytes.len() as u64;
    }
    Ok(())
}

/// Drops the torn tail, makes the rest certain, and states so in the checkpoint.
fn finish(
    directory: &Arc<Directory>,
    mut checkpoint: CheckpointFile,
    end: End,
    durable: Mark,
    recovered: &mut Recovered,
) -> Result<Opened, OpenError> {
    let place = Mark { segment: end.segment.id, offset: end.offset };
    if !recovered.clean {
        recovered.torn = drop_tail(directory, &end)?;
        write_again(directory, durable, place)?;
        let putting = failed("writing", checkpoint::NAME);
        checkpoint.put(place, false).map_err(putting)?;
    }
    recovered.lanes.sort_unstable();
    let recovered = std::mem::take(recovered);
    Ok(Opened { directory: Arc::clone(directory), checkpoint, end, recovered })
}

/// Overwrites everything behind the end with zeros.
fn drop_tail(directory: &Directory, end: &End) -> Result<Option<TornTail>, OpenError> {
    let mut torn: Option<TornTail> = None;
    for segment in directory.segments().iter().filter(|other| other.id >= end.segment.id) {
        let here = segment.id == end.segment.id;
        let from = if here { end.offset } else { FIRST_BATCH_AT };
        let mut dropped_to = None;
        let zeros = vec![0; STEP_BYTES];
        each_step(segment, from, &mut |at, bytes| {
            let behind = bytes.iter().rposition(|&byte| byte != 0).map_or(0, |last| last + 1);
            dropped_to = Some(at + behind as u64);
            write_full(&*segment.file, zeros.get(..bytes.len()).unwrap_or(&zeros), at)
        })
        .map_err(failed("overwriting the torn tail of", &segment.name))?;
        if let Some(to) = dropped_to {
            segment.file.sync_data().map_err(failed("syncing", &segment.name))?;
            let (file, bytes) = (segment.name.to_string(), to - from);
            torn.get_or_insert(TornTail { file, offset: from, bytes });
        }
    }
    Ok(torn)
}

/// Writes everything between two places once more and syncs it: after a sync that failed, the
/// operating system may show what it never wrote, and take it for written.
fn write_again(directory: &Directory, from: Mark, to: Mark) -> Result<(), OpenError> {
    for segment in directory.segments() {
        if segment.id < from.segment || segment.id > to.segment {
            continue;
        }
        let start = if segment.id == from.segment { from.offset } else { 0 };
        let end = if segment.id == to.segment { to.offset } else { u64::MAX };
        let step = &mut |at: u64, bytes: &[u8]| {
            let left = usize::try_from(end.saturating_sub(at)).unwrap_or(usize::MAX);
            let bytes = bytes.get(..left.min(bytes.len())).unwrap_or(&[]);
            write_full(&*segment.file, bytes, at)
        };
        each_step(&segment, start, step).map_err(failed("writing again", &segment.name))?;
        segment.file.sync_data().map_err(failed("syncing", &segment.name))?;
    }
    Ok(())
}

impl Recovered {
    fn note(&mut self, lane: LaneId, seq: Seq, term: u64) {
        self.frames += 1;
        self.last_term = self.last_term.max(term);
        match self.lanes.iter_mut().find(|(known, _)| *known == lane) {
            Some((_, last)) => *last = (*last).max(seq),
            None => self.lanes.push((lane, seq)),
        }
    }
}
