//! Writing segments again, with only what is needed of them.
//!
//! A frame is copied as it is, with its seq, its term and the checksum of its body: a body that
//! was rotten before stays so. Only its place in the chain changes. The new file is complete,
//! sealed and synced, and its name is certain, before it is given back; until a manifest lists it,
//! it is nothing.

use std::io;
use std::ops::ControlFlow;
use std::sync::Arc;

use crate::batch::small;
use crate::disk::{File, is_full, write_full};
use crate::error::{KeepError, ScanError};
use crate::frame::FrameHeader;
use crate::kind;
use crate::limits::{BATCH_HEADER_BYTES, FRAME_ALIGN_BYTES, SECTOR_BYTES};
use crate::wal::chain::{self, Bodies};
use crate::wal::defect::Defect;
use crate::wal::directory::{Directory, synced};
use crate::wal::index::SegmentIndex;
use crate::wal::reader::{self, Placed};
use crate::wal::reclaim::{Census, Part};
use crate::wal::segment::{self, FIRST_BATCH_AT, Mark, Segment, SegmentHeader};
use crate::wal::summary;
use crate::wal::writer::SealReason;

/// A batch of a segment that is written again is closed at this size.
pub(crate) const BATCH_BYTES: usize = 1 << 20;

/// A new segment that no manifest lists yet.
pub(crate) struct Rewritten {
    pub(crate) segment: Arc<Segment>,
    pub(crate) index: SegmentIndex,
    /// Where it ends.
    pub(crate) end: u64,
    /// Its index is beside it.
    pub(crate) summed_up: bool,
}

/// Writes what is needed of some neighbours into one new segment, which stands for all of their
/// ids. On an error nothing of it is left.
pub(crate) fn rewrite(
    directory: &Directory,
    parts: &[&Part],
    census: &Census,
) -> Result<Rewritten, KeepError> {
    let ids = parts.first().zip(parts.last());
    let (id, last) = ids.map_or((0, 0), |(one, other)| (one.segment().id, other.segment().last));
    let generations = parts.iter().map(|part| part.segment().generation);
    let generation = directory.generation_above(generations.max().unwrap_or(0));
    let header = SegmentHeader { id, generation, salt: directory.disk.entropy() };
    let name = segment::file_name(id, generation);
    let written = write(directory, &header, &name, parts, census);
    let (index, end) = written.inspect_err(|_| {
        let _ = directory.disk.remove(&name);
    })?;
    directory.sync_folder().map_err(|cause| directory.poison(cause))?;
    let segment = Segment::new(&directory.disk, &header, name.as_str().into()).standing_for(last);
    segment.seal(end);
    segment.state_size(end);
    let summed_up = summary::write(&*directory.disk, &segment, &index, end);
    Ok(Rewritten { segment: Arc::new(segment), index, end, summed_up })
}

fn write(
    directory: &Directory,
    header: &SegmentHeader,
    name: &str,
    parts: &[&Part],
    census: &Census,
) -> Result<(SegmentIndex, u64), KeepError> {
    let file = directory.disk.create_log(name).map_err(failed("creating", name))?;
    let writing = || failed("writing", name);
    write_full(&*file, &header.encode(), 0).map_err(|error| writing()(error))?;
    let mut output = Output::new(file, header);
    for part in parts {
        copy(part, census, &mut output)?.map_err(|error| writing()(error))?;
    }
    output.seal().map_err(|error| writing()(error))?;
    let skips_sync = Defect::RewriteBeforeSync.is_in(&directory.options);
    let synced_all = if skips_sync { Ok(()) } else { output.file.sync_all() };
    match synced_all {
        // Nothing of it is in use: it is given up, and what it was made of is still there.
        Err(error) if is_full(&error) => return Err(writing()(error)),
        done => done.map_err(|error| directory.poison(synced(name)(error)))?,
    }
    Ok((output.index, output.at))
}

/// Copies what is needed of a segment. The inner error is that of the output.
fn copy(part: &Part, census: &Census, output: &mut Output) -> Result<io::Result<()>, KeepError> {
    let segment = part.segment();
    let mut outcome = Ok(());
    let walked = reader::each_batch(segment, part.end, &mut |_, bytes, header| {
        for placed in reader::frames(bytes, header) {
            let FrameHeader { kind, lane, seq, .. } = placed.header;
            let is_kept = if kind::is_callers(kind) {
                census.is_live(lane, seq)
            } else {
                !kind::is_understood(kind)
            };
            if is_kept {
                outcome = output.push(&placed);
            }
            if outcome.is_err() {
                return ControlFlow::Break(());
            }
        }
        ControlFlow::Continue(())
    });
    match walked {
        Ok(()) => Ok(outcome),
        Err(ScanError::Io { file, source, .. }) => {
            // It would keep all others from being written again.
            segment.mark_damaged();
            Err(failed("reading", &file)(source))
        }
        Err(ScanError::Rotten { file, offset }) => {
            segment.mark_damaged();
            Err(KeepError::Rotten { file, offset })
        }
    }
}

fn failed(what: &'static str, file: &str) -> impl FnOnce(io::Error) -> KeepError {
    let file = file.to_owned();
    move |error| {
        if is_full(&error) {
            return KeepError::DiskFull { file };
        }
        KeepError::Io { what, file, reason: error.to_string() }
    }
}

/// The new file, while it is being written.
pub(crate) struct Output {
    pub(crate) file: Arc<dyn File>,
    seed: u32,
    /// The durable mark of its batches: nothing in front of it depends on them.
    start: Mark,
    chain: u32,
    /// Where the next batch begins.
    pub(crate) at: u64,
    /// The open batch.
    bytes: Vec<u8>,
    frames: u32,
    index: SegmentIndex,
}

impl Output {
    pub(crate) fn new(file: Arc<dyn File>, header: &SegmentHeader) -> Output {
        let seed = header.seed();
        Output {
            file,
            seed,
            start: Mark { segment: header.id, offset: FIRST_BATCH_AT },
            chain: seed,
            at: FIRST_BATCH_AT,
            bytes: vec![0; BATCH_HEADER_BYTES],
            frames: 0,
            index: SegmentIndex::default(),
        }
    }

    pub(crate) fn push(&mut self, placed: &Placed<'_>) -> io::Result<()> {
        let FrameHeader { kind, lane, seq, .. } = placed.header;
        if kind::is_callers(kind) {
            self.index.note(lane, seq, self.at + self.bytes.len() as u64);
            self.index.counts.add(placed.counts());
        }
        self.bytes.extend(placed.header.encode());
        self.bytes.extend(placed.head);
        self.bytes.extend(placed.body);
        self.bytes.resize(self.bytes.len().next_multiple_of(FRAME_ALIGN_BYTES), 0);
        self.frames += 1;
        if self.bytes.len() >= BATCH_BYTES { self.flush() } else { Ok(()) }
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.frames == 0 {
            return Ok(());
        }
        self.bytes.resize(self.bytes.len().next_multiple_of(SECTOR_BYTES), 0);
        let (bytes, frames) = (&mut self.bytes, self.frames);
        let (start, before, seed) = (self.start, self.chain, self.seed);
        self.chain = chain::complete_with(Bodies::Kept, bytes, frames, start, before, seed);
        write_full(&*self.file, bytes, self.at)?;
        self.at += bytes.len() as u64;
        self.bytes.truncate(BATCH_HEADER_BYTES);
        self.bytes.fill(0);
        self.frames = 0;
        Ok(())
    }

    /// Ends the file with a seal that says that nothing follows.
    pub(crate) fn seal(&mut self) -> io::Result<()> {
        self.flush()?;
        let (meta, head) = SealReason::Roll.frame();
        let header = FrameHeader::unsealed(meta, small(head.len()), 0);
        self.push(&Placed { at: 0, header, head: &head, body: &[] })?;
        self.flush()
    }
}
