//! Opening a folder: what is there, how far it is good, and whether what follows is torn or rotten.
//!
//! Steps:
//! 1. Manifest, checkpoint, header of every listed segment. Damage to any of them is rot; one copy
//!    of the manifest alone is mended.
//! 2. Pass over the oldest segments that, by their index files, have no frame at or above the
//!    origin of its lane. Walk all batches behind them in order, verifying headers, heads, chain
//!    and bodies, up to the first place P that is not a good batch.
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
use std::ops::ControlFlow;
use std::sync::Arc;

use crate::disk::{Disk, write_full};
use crate::error::OpenError;
use crate::frame::{LaneId, Seq};
use crate::kind;
use crate::limits::SEGMENT_BYTES_MIN;
use crate::wal::chain::BatchHeader;
use crate::wal::checkpoint::{self, CheckpointFile};
use crate::wal::copies::Copies;
use crate::wal::defect::Defect;
use crate::wal::directory::Directory;
use crate::wal::folder::{self, failed, rotten};
use crate::wal::index::Counts;
use crate::wal::manifest::{self, Manifest};
use crate::wal::reader::{self, Found, Placed, STEP_BYTES, Verdict, Window};
use crate::wal::segment::{FIRST_BATCH_AT, Mark, Segment};
use crate::wal::stand::{each_sector, header};
use crate::wal::summary;
use crate::wal::writer::End;
use crate::wal::{Progress, Recovered, RottenBody, TornTail, WalOptions};

/// More damaged bodies than this are only counted.
const ROTTEN_BODIES_MAX: usize = 1024;

/// A folder that is ready to be continued at `end`.
pub(crate) struct Opened {
    pub(crate) directory: Arc<Directory>,
    pub(crate) checkpoint: CheckpointFile,
    pub(crate) end: End,
    pub(crate) recovered: Recovered,
}

/// Opens a folder that is locked already; `progress` is told how far the walk has come.
pub(crate) fn open(
    disk: Arc<dyn Disk>,
    options: WalOptions,
    progress: &mut dyn FnMut(Progress),
) -> Result<Opened, OpenError> {
    if options.segment_bytes < SEGMENT_BYTES_MIN {
        return Err(OpenError::SegmentTooSmall { segment_bytes: options.segment_bytes });
    }
    let names = disk.list().map_err(failed("listing", "the folder"))?;
    if !names.iter().any(|name| manifest::NAMES.contains(&name.as_str())) {
        return create(disk, options, &names);
    }
    let (copies, manifest, mended) = Copies::read(&*disk)?;
    let checkpoint = folder::open_checkpoint(&*disk)?;
    let (shared, listed) = (Arc::clone(&disk), manifest.clone());
    let directory = Arc::new(Directory::new(shared, options, listed, copies));
    for entry in &manifest.segments {
        directory.add(folder::open_segment(&disk, entry)?);
    }
    let leftovers = folder::leftovers(&*disk, &manifest, &names)?;
    // The manifest that is seen may have outlived a failed sync: nothing is removed, and nothing
    // written to a segment, before both copies of the list are certain.
    directory.sync_folder().map_err(|cause| poisoned(&cause))?;
    directory.change(|_| true).map_err(|error| unkept(&error))?;
    for name in leftovers {
        disk.remove(name).map_err(failed("removing", name))?;
    }
    let mut walk = Walk::new(&directory, &checkpoint, progress);
    walk.recovered.mended = mended.map(str::to_owned);
    let end = walk.run(&manifest)?;
    let (durable, mut recovered) = (walk.durable, walk.recovered);
    finish(&directory, checkpoint, end, durable, &mut recovered)
}

fn poisoned(cause: &crate::error::Poison) -> OpenError {
    let source = io::Error::other(cause.to_string());
    OpenError::Io { what: "preparing", file: "the folder".to_owned(), source }
}

fn unkept(cause: &crate::error::KeepError) -> OpenError {
    let source = io::Error::other(cause.to_string());
    OpenError::Io { what: "preparing", file: manifest::NAMES[0].to_owned(), source }
}

/// A fresh folder. A crash in the middle leaves one that is still taken as fresh: the manifest
/// comes last.
fn create(disk: Arc<dyn Disk>, options: WalOptions, names: &[String]) -> Result<Opened, OpenError> {
    folder::refuse_foreign(names)?;
    for name in folder::leftovers(&*disk, &Manifest::default(), names)? {
        disk.remove(name).map_err(failed("removing", name))?;
    }
    let file = disk.create(checkpoint::NAME).map_err(failed("creating", checkpoint::NAME))?;
    let checkpoint = CheckpointFile::create(file).map_err(failed("writing", checkpoint::NAME))?;
    let directory = Directory::new(disk, options, Manifest::default(), Copies::none());
    let segment = directory.prepare_after(0).map_err(|cause| poisoned(&cause))?;
    let chain = segment.seed;
    let end = End { segment, offset: FIRST_BATCH_AT, chain };
    let recovered = Recovered { clean: true, ..Recovered::default() };
    Ok(Opened { directory: Arc::new(directory), checkpoint, end, recovered })
}

/// The walk over all batches.
struct Walk<'a> {
    directory: &'a Directory,
    progress: &'a mut dyn FnMut(Progress),
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
        progress: &'a mut dyn FnMut(Progress),
    ) -> Walk<'a> {
        let latest = checkpoint.latest();
        Walk {
            directory,
            progress,
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
    fn run(&mut self, manifest: &Manifest) -> Result<End, OpenError> {
        let segments = self.segments.clone();
        let passed = self.pass_over(manifest);
        let mut rolled = passed.checked_sub(1).and_then(|last| segments.get(last));
        for segment in segments.iter().skip(passed) {
            self.recovered.walked_segments += 1;
            match self.segment(segment)? {
                Stop::Rolled => rolled = Some(segment),
                Stop::At { offset, chain, fault } => {
                    return self.stop(segment, offset, chain, fault);
                }
            }
        }
        // All segments are full: the crash came before the next one was made.
        let last = rolled.map_or(0, |segment| segment.last);
        if self.durable.segment > last {
            return Err(rotten(manifest::NAMES[0], 0, "a list without a segment that is in use"));
        }
        let next = self.directory.prepare_after(last).map_err(|cause| poisoned(&cause))?;
        let chain = next.seed;
        Ok(End { segment: next, offset: FIRST_BATCH_AT, chain })
    }

    /// Takes the indexes of the oldest segments from the files beside them, as long as nothing in
    /// the segments has to be shown; says how many these are.
    fn pass_over(&mut self, manifest: &Manifest) -> usize {
        for &(lane, origin) in &manifest.origins {
            if let Some(below) = origin.0.checked_sub(1) {
                self.recovered.note(lane, Seq(below), manifest.term);
            }
        }
        let segments = self.segments.clone();
        for (passed, segment) in segments.iter().enumerate() {
            let Some((index, end)) = summary::read(&*self.directory.disk, segment) else {
                return passed;
            };
            if !index.spans().all(|(lane, _, last)| last < manifest.origin(lane)) {
                return passed;
            }
            self.recovered.frames += index.counts.frames;
            self.recovered.last_term = self.recovered.last_term.max(index.counts.last_term);
            segment.seal(end);
            self.directory.add_index(segment, index);
            self.recovered.passed_segments += 1;
        }
        segments.len()
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
            self.walked(header.len, window.file_len());
            if rolled {
                segment.seal(at);
                self.directory.complete(segment);
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
        let mut counts = Counts::default();
        for placed in reader::frames(bytes, header) {
            let Placed { header, .. } = &placed;
            if kind::is_callers(header.kind) {
                let frame_at = at + placed.at as u64;
                self.placed.push((header.lane, header.seq, frame_at));
                counts.add(placed.counts());
                self.recovered.note(header.lane, header.seq, header.term);
            } else if kind::is_understood(header.kind) {
                rolled |= placed.ends_segment();
            } else if header.critical {
                let (file, offset) = (segment.name.to_string(), at + placed.at as u64);
                return Err(OpenError::UnknownKind { file, offset, kind: header.kind });
            }
        }
        self.recovered.frames += counts.frames;
        self.directory.note(segment, self.placed.drain(..), counts);
        Ok(rolled)
    }

    /// Tells how far the walk has come, once a step.
    fn walked(&mut self, bytes: u32, file_len: u64) {
        let before = self.recovered.walked_bytes;
        self.recovered.walked_bytes += u64::from(bytes);
        let step = STEP_BYTES as u64;
        if before / step != self.recovered.walked_bytes / step {
            let left = self.segments.len() as u64 - self.recovered.passed_segments;
            (self.progress)(Progress {
                walked_bytes: self.recovered.walked_bytes,
                of_bytes: (left * file_len).max(self.recovered.walked_bytes),
            });
        }
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
            let mut window = Window::open(segment).map_err(failed("reading", &segment.name))?;
            each_sector(&mut window, from, &mut |_, sector| {
                if let Some(header) = header(sector, seed) {
                    durable = durable.max(header.durable);
                }
                false
            })
            .map_err(failed("reading", &segment.name))?;
            self.durable = durable;
        }
        Ok(())
    }
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
    for segment in directory.segments().iter().filter(|other| other.id >= end.segment.id) {
        // All that write to a segment use one file, so that a failed sync is seen.
        segment.hold(segment.file().map_err(failed("opening", &segment.name))?);
    }
    if !recovered.clean {
        recovered.torn = drop_tail(directory, &end)?;
        write_again(directory, durable, place)?;
        let putting = failed("writing", checkpoint::NAME);
        checkpoint.put(place, false).map_err(putting)?;
    }
    recovered.lanes.sort_unstable();
    directory.sum_up();
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
        let file = segment.file().map_err(failed("opening", &segment.name))?;
        let mut overwrite = |at: u64, bytes: &[u8]| {
            let behind = bytes.iter().rposition(|&byte| byte != 0).map_or(0, |last| last + 1);
            dropped_to = Some(at + behind as u64);
            write_full(&*file, zeros.get(..bytes.len()).unwrap_or(&zeros), at)?;
            Ok(ControlFlow::Continue(()))
        };
        let window = Window::open(segment);
        let done = window.and_then(|mut window| window.each_step(from, &mut overwrite));
        done.map_err(failed("overwriting the torn tail of", &segment.name))?;
        if let Some(to) = dropped_to {
            file.sync_data().map_err(failed("syncing", &segment.name))?;
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
        let file = segment.file().map_err(failed("opening", &segment.name))?;
        let mut step = |at: u64, bytes: &[u8]| {
            let left = usize::try_from(end.saturating_sub(at)).unwrap_or(usize::MAX);
            let bytes = bytes.get(..left.min(bytes.len())).unwrap_or(&[]);
            write_full(&*file, bytes, at)?;
            Ok(ControlFlow::Continue(()))
        };
        let window = Window::open(&segment);
        let done = window.and_then(|mut window| window.each_step(start, &mut step));
        done.map_err(failed("writing again", &segment.name))?;
        file.sync_data().map_err(failed("syncing", &segment.name))?;
    }
    Ok(())
}

impl Recovered {
    fn note(&mut self, lane: LaneId, seq: Seq, term: u64) {
        self.last_term = self.last_term.max(term);
        match self.lanes.iter_mut().find(|(known, _)| *known == lane) {
            Some((_, last)) => *last = (*last).max(seq),
            None => self.lanes.push((lane, seq)),
        }
    }
}
