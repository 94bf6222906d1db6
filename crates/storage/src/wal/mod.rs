//! The log on disk: one sequence of segments for all lanes.
//!
//! From the bytes up: `segment` (one file), `chain` (batches and their checksums), `manifest` with
//! its `copies` and `checkpoint` (the small files beside), `index` and `summary` (its file),
//! `directory` (the set of segments), `handles` (open files), `reserve` (for a full disk),
//! `reader`, `reclaim` and `rewrite` (giving space back), `writer` (the log thread's end),
//! `filler`, `folder` and `recovery` (opening). A folder that is stopped is looked at by `check`,
//! with `walk`, `stand`, `stopped` and `salvage`, and put right by `quarantine`; `scrub` looks at
//! one that runs. `docs/format.md` draws the bytes.

mod chain;
mod check;
mod checkpoint;
mod copies;
mod defect;
mod directory;
mod filler;
mod folder;
mod handles;
mod index;
mod manifest;
mod quarantine;
mod reader;
mod reclaim;
mod recovery;
mod reserve;
mod rewrite;
mod salvage;
mod scrub;
mod segment;
mod stand;
mod stopped;
mod summary;
mod walk;
mod writer;

use std::ops::ControlFlow;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::batch::{Batch, OpenBatch};
use crate::disk::{Disk, Space};
use crate::error::{
    AppendError, CloseError, KeepError, OpenError, ReadError, ScanError, StartError,
};
use crate::frame::{Frame, FrameHeader, LaneId, Offset, Seq};
use crate::kind;
use crate::limits;
use crate::pipeline::{Pipeline, PipelineOptions};
use crate::store::{Listener, Living, Purpose, Reclaimed, Scrubbed, Store, Ticket, Urgency, Usage};
use crate::wal::directory::Directory;
use crate::wal::filler::Filler;
use crate::wal::segment::{Mark, Segment};
use crate::wal::writer::Writer;

pub use check::{
    Check, CheckError, Checked, Fault, Gap, Outcome, Seen, SegmentSeen, Span, Witness,
};
pub use defect::{Defect, UnknownDefect};
pub use quarantine::SetAside;

/// How a log is laid out and driven. All fields have defaults.
#[derive(Debug, Clone)]
pub struct WalOptions {
    /// Size of a segment; less on a small volume.
    pub segment_bytes: u64,
    /// Space held back for the log on a full disk; less on a small volume.
    pub reserve_bytes: u64,
    /// Zeros kept written ahead of the writing point by a thread; 0: no thread, no filling.
    pub fill_ahead_bytes: u64,
    /// Appends are refused as full above this many bytes that wait for their commit.
    pub in_flight_bytes_max: usize,
    /// Memory for the tail of the log.
    pub cache_bytes_max: usize,
    /// A `Soon` append is written at most this long after it was made.
    pub write_delay_ms: u64,
    /// A `Soon` append is synced at most this long after it was written.
    pub sync_delay_ms: u64,
    /// A seal is written when nothing was committed for this long.
    pub seal_delay_ms: u64,
    /// Known wrong behaviour, to show that the tests catch it.
    #[cfg(any(test, feature = "testing"))]
    pub defect: Option<Defect>,
}

impl Default for WalOptions {
    fn default() -> WalOptions {
        WalOptions {
            segment_bytes: limits::SEGMENT_BYTES,
            reserve_bytes: limits::RESERVE_BYTES,
            fill_ahead_bytes: limits::FILL_AHEAD_BYTES,
            in_flight_bytes_max: limits::IN_FLIGHT_BYTES_MAX,
            cache_bytes_max: limits::CACHE_BYTES_MAX,
            write_delay_ms: limits::WRITE_DELAY_MS,
            sync_delay_ms: limits::SYNC_DELAY_MS,
            seal_delay_ms: limits::SEAL_DELAY_MS,
            #[cfg(any(test, feature = "testing"))]
            defect: None,
        }
    }
}

/// A torn tail that was dropped: written, never confirmed as durable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TornTail {
    /// The file.
    pub file: String,
    /// Where it began.
    pub offset: u64,
    /// From there to the last byte that was not zero.
    pub bytes: u64,
}

/// A body that is damaged; its header is intact, and the frame keeps its place in the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RottenBody {
    /// The file.
    pub file: String,
    /// Start of the frame.
    pub offset: u64,
    /// Its lane.
    pub lane: LaneId,
    /// Its seq.
    pub seq: Seq,
}

/// How far an opening has come. Both are estimates that end up equal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// Bytes that were walked.
    pub walked_bytes: u64,
    /// Bytes that are to be walked.
    pub of_bytes: u64,
}

/// What was found at opening.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Recovered {
    /// The log was closed in order (a fresh folder counts as such).
    pub clean: bool,
    /// The last seq that each lane ever had, by lane; one below its origin if that is all that is
    /// known.
    pub lanes: Vec<(LaneId, Seq)>,
    /// The highest term of any frame, also of those that were given up.
    pub last_term: u64,
    /// The caller's frames, shown or not.
    pub frames: u64,
    /// Segments that were walked, all of their batches verified.
    pub walked_segments: u64,
    /// Segments that were passed over, because everything in them is below the origins.
    pub passed_segments: u64,
    /// Bytes of batches that were walked.
    pub walked_bytes: u64,
    /// A copy of the manifest that was damaged or not there, and was written again.
    pub mended: Option<String>,
    /// What was dropped from the end.
    pub torn: Option<TornTail>,
    /// Damaged bodies, the first thousand of them.
    pub rotten_bodies: Vec<RottenBody>,
    /// How many bodies are damaged.
    pub rotten_bodies_count: u64,
}

/// The log on disk.
pub struct Wal {
    directory: Arc<Directory>,
    pipeline: Pipeline,
    /// Until it goes to the log thread.
    writer: Mutex<Option<Writer>>,
    /// Where the log ended when it was opened.
    opened_end: Mark,
    scrubbing: Mutex<scrub::Cursor>,
    lock: Mutex<Option<Box<dyn Send + Sync>>>,
}

impl Wal {
    /// Opens a folder, repairs a torn tail, and refuses what is rotten.
    pub fn open(disk: Arc<dyn Disk>, options: WalOptions) -> Result<(Wal, Recovered), OpenError> {
        Wal::open_watched(disk, options, &mut |_| ())
    }

    /// As [`Wal::open`]; `progress` is told now and then how far it has come.
    pub fn open_watched(
        disk: Arc<dyn Disk>,
        options: WalOptions,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<(Wal, Recovered), OpenError> {
        let name = folder::LOCK_NAME;
        let lock = disk.lock(name).map_err(|source| OpenError::Io {
            what: "locking",
            file: name.to_owned(),
            source,
        })?;
        let lock = Mutex::new(Some(lock.ok_or(OpenError::Locked)?));
        let waits = PipelineOptions {
            in_flight_bytes_max: options.in_flight_bytes_max,
            cache_bytes_max: options.cache_bytes_max,
            write_delay: Duration::from_millis(options.write_delay_ms),
            sync_delay: Duration::from_millis(options.sync_delay_ms),
            seal_delay: Duration::from_millis(options.seal_delay_ms),
        };
        let opened = recovery::open(disk, options, progress)?;
        let opened_end = Mark { segment: opened.end.segment.id, offset: opened.end.offset };
        let directory = Arc::clone(&opened.directory);
        let pipeline = Pipeline::new(waits, Arc::clone(&directory.room));
        let writer = Writer::new(opened.directory, opened.checkpoint, opened.end);
        let writer = Mutex::new(Some(writer));
        Ok((
            Wal { directory, pipeline, writer, opened_end, scrubbing: Mutex::default(), lock },
            opened.recovered,
        ))
    }

    fn scan_segment(
        &self,
        segment: &Segment,
        visit: &mut dyn FnMut(Frame<'_>) -> ControlFlow<()>,
    ) -> Result<ControlFlow<()>, ScanError> {
        let origins = self.directory.origins();
        let end = self.opened_end;
        let to = if segment.id == end.segment { end.offset } else { u64::MAX };
        let mut flow = ControlFlow::Continue(());
        reader::each_batch(segment, to, &mut |_, bytes, header| {
            for placed in reader::frames(bytes, header) {
                let FrameHeader { kind, lane, seq, .. } = placed.header;
                let mut origins = origins.iter();
                let is_below = origins.any(|&(below, origin)| below == lane && seq < origin);
                if kind::is_callers(kind) && !is_below && visit(placed.without_body()).is_break() {
                    flow = ControlFlow::Break(());
                    break;
                }
            }
            flow
        })?;
        Ok(flow)
    }
}

impl Wal {
    /// A sync that failed beside the batches ends the log just as one of theirs.
    fn fail_with(&self, error: &KeepError) {
        if let KeepError::Poisoned(cause) = error {
            self.pipeline.fail(cause);
        }
    }
}

impl Store for Wal {
    fn append(
        &self,
        urgency: Urgency,
        purpose: Purpose,
        fill: &mut dyn FnMut(&mut OpenBatch),
    ) -> Result<Ticket, AppendError> {
        self.pipeline.append(urgency, purpose, fill)
    }

    fn committed(&self) -> Ticket {
        self.pipeline.committed()
    }

    fn in_flight_bytes(&self) -> usize {
        self.pipeline.in_flight_bytes()
    }

    fn cached(&self, lane: LaneId, seq: Seq) -> Option<(Arc<Batch>, Offset)> {
        self.pipeline.cached(lane, seq)
    }

    fn read(&self, lane: LaneId, seq: Seq, into: &mut Vec<u8>) -> Result<(), ReadError> {
        self.directory.read(lane, seq, into)
    }

    fn heads(
        &self,
        lane: LaneId,
        seqs: (Seq, Seq),
        visit: &mut dyn FnMut(Frame<'_>),
    ) -> Result<(), ReadError> {
        self.directory.heads(lane, seqs, visit)
    }

    fn scan(&self, visit: &mut dyn FnMut(Frame<'_>) -> ControlFlow<()>) -> Result<(), ScanError> {
        let passed = self.directory.below_origins();
        for segment in self.directory.segments() {
            if passed.iter().any(|below| below.segment.id == segment.id) {
                continue;
            }
            let is_in_use = segment.id <= self.opened_end.segment;
            if !is_in_use || self.scan_segment(&segment, visit)?.is_break() {
                break;
            }
        }
        Ok(())
    }

    fn origins(&self) -> Vec<(LaneId, Seq)> {
        self.directory.origins()
    }

    fn raise_origins(&self, origins: &[(LaneId, Seq)]) -> Result<(), KeepError> {
        let lock = self.lock.lock().unwrap_or_else(PoisonError::into_inner);
        if lock.is_none() {
            return Err(KeepError::Closed);
        }
        self.directory.raise_origins(origins).inspect_err(|error| self.fail_with(error))
    }

    fn reclaim(&self, living: &mut Living<'_>) -> Result<Reclaimed, KeepError> {
        let lock = self.lock.lock().unwrap_or_else(PoisonError::into_inner);
        if lock.is_none() {
            return Err(KeepError::Closed);
        }
        reclaim::reclaim(&self.directory, living).inspect_err(|error| self.fail_with(error))
    }

    fn scrub(&self, bytes: u64) -> Result<Scrubbed, ReadError> {
        let mut cursor = self.scrubbing.lock().unwrap_or_else(PoisonError::into_inner);
        scrub::scrub(&self.directory, &mut cursor, bytes)
    }

    fn usage(&self) -> Usage {
        let segments = self.directory.segments();
        Usage {
            files: segments.len() as u64,
            disk_bytes: segments.iter().map(|segment| segment.size()).sum(),
            appended_bytes: self.pipeline.committed_bytes(),
            is_full: self.directory.room.is_full(),
            left_bytes: self.directory.room.left_bytes(),
            segment_bytes: self.directory.options.segment_bytes,
        }
    }

    fn space(&self) -> Option<Space> {
        self.directory.disk.space().ok().flatten()
    }

    fn start(&self, listener: Arc<dyn Listener>) -> Result<(), StartError> {
        let mut writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        let mut writer = writer.take().ok_or(StartError::Started)?;
        writer.begin().map_err(StartError::Poisoned)?;
        let end = writer.end();
        let waker = self.pipeline.waker();
        let filler = Filler::start(writer.directory(), &end.segment, end.offset, waker);
        writer.fill_ahead(filler);
        self.pipeline.start(writer, listener)
    }

    fn close(&self) -> Result<(), CloseError> {
        let closed = self.pipeline.close();
        self.lock.lock().unwrap_or_else(PoisonError::into_inner).take();
        closed
    }
}
