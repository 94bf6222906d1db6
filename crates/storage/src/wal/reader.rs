//! Reading: whole batches in order, for recovery and scans, and one body by its place.

use std::io;
use std::ops::{ControlFlow, Range};
use std::sync::Arc;

use crate::disk::{File, read_full};
use crate::error::{ReadError, ScanError};
use crate::frame::{Frame, FrameHeader, LaneId, Seq};
use crate::limits::{
    BATCH_HEADER_BYTES, BODY_BYTES_MAX, FRAME_HEADER_BYTES, HEAD_BYTES_MAX, INDEX_STRETCH_BYTES,
    SECTOR_BYTES,
};
use crate::wal::chain::{self, BatchHeader};
use crate::wal::index::Counts;
use crate::wal::segment::{FIRST_BATCH_AT, Segment};
use crate::wal::writer::SealReason;

/// A window reads so much at once, and so long is a step through a file.
pub(crate) const STEP_BYTES: usize = 1 << 20;
/// A stretch of the index and the header of what stands behind it.
const READ_BYTES: usize = 8 << 10;

/// What stands at a place where a batch could begin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Found {
    /// A batch whose header verifies and that is there in full length.
    Batch(BatchHeader),
    /// A sector of zeros, or the end of the file.
    Nothing,
    /// Neither.
    Bad(&'static str),
}

/// A window that moves over a segment, so that it is read once and in large pieces.
pub(crate) struct Window {
    file: Arc<dyn File>,
    seed: u32,
    bytes: Vec<u8>,
    start: u64,
    held: usize,
    file_len: u64,
}

impl Window {
    pub(crate) fn open(segment: &Segment) -> io::Result<Window> {
        Window::over(segment.file()?, segment.seed)
    }

    /// A window over a segment of which no more than its seed is known.
    pub(crate) fn over(file: Arc<dyn File>, seed: u32) -> io::Result<Window> {
        let file_len = file.len()?;
        Ok(Window { file, seed, bytes: Vec::new(), start: 0, held: 0, file_len })
    }

    pub(crate) fn file_len(&self) -> u64 {
        self.file_len
    }

    /// `len` bytes at `at`, or as many as the file has.
    pub(crate) fn bytes(&mut self, at: u64, len: usize) -> io::Result<&[u8]> {
        let there = self.file_len.saturating_sub(at);
        let len = usize::try_from(there).map_or(len, |there| len.min(there));
        let inside = at >= self.start && at + len as u64 <= self.start + self.held as u64;
        if !inside {
            let wanted = usize::try_from(there).unwrap_or(usize::MAX).min(len.max(STEP_BYTES));
            self.bytes.resize(wanted, 0);
            self.held = read_full(&*self.file, &mut self.bytes, at)?;
            self.start = at;
        }
        let from = usize::try_from(at - self.start).unwrap_or(usize::MAX);
        let to = from.saturating_add(len).min(self.held);
        Ok(self.bytes.get(from..to).unwrap_or(&[]))
    }

    /// Shows the file from `from` to its end in steps of whole sectors, until `see` breaks; steps
    /// of zeros are left out.
    pub(crate) fn each_step(&mut self, from: u64, see: &mut SeeStep<'_>) -> io::Result<()> {
        let mut at = from;
        while at < self.file_len {
            let bytes = self.bytes(at, STEP_BYTES)?;
            if bytes.is_empty() || !is_zero(bytes) && see(at, bytes)?.is_break() {
                break;
            }
            at += bytes.len() as u64;
        }
        Ok(())
    }

    /// What stands at `at`. The batch is then at hand through [`Window::bytes`].
    pub(crate) fn batch(&mut self, at: u64) -> io::Result<Found> {
        let seed = self.seed;
        let sector = self.bytes(at, SECTOR_BYTES)?;
        if is_zero(sector) {
            return Ok(Found::Nothing);
        }
        let Some(header) = BatchHeader::decode(sector, seed) else {
            return Ok(Found::Bad("no batch header"));
        };
        let len = header.len as usize;
        if self.bytes(at, len)?.len() < len {
            return Ok(Found::Bad("a batch that the file is too short for"));
        }
        Ok(Found::Batch(header))
    }
}

/// Takes a step: its place, its bytes.
type SeeStep<'a> = dyn FnMut(u64, &[u8]) -> io::Result<ControlFlow<()>> + 'a;

/// Whether there is no bit set.
pub(crate) fn is_zero(bytes: &[u8]) -> bool {
    let (chunks, rest) = bytes.as_chunks::<64>();
    let any = |chunk: &[u8; 64]| chunk.iter().fold(0, |any, byte| any | byte) != 0;
    !chunks.iter().any(any) && rest.iter().all(|&byte| byte == 0)
}

/// A frame in the bytes of its batch.
pub(crate) struct Placed<'a> {
    /// Distance from the start of the batch.
    pub(crate) at: usize,
    pub(crate) header: FrameHeader,
    pub(crate) head: &'a [u8],
    pub(crate) body: &'a [u8],
}

impl<'a> Placed<'a> {
    /// As a scan shows it.
    pub(crate) fn without_body(&self) -> Frame<'a> {
        self.header.frame(self.head, &[])
    }

    /// Whether this is the seal behind which nothing follows in its segment.
    pub(crate) fn ends_segment(&self) -> bool {
        let reason = self.head.first();
        self.header.kind == crate::kind::SEAL && reason == Some(&(SealReason::Roll as u8))
    }

    /// What it adds to the sums of a segment.
    pub(crate) fn counts(&self) -> Counts {
        Counts {
            frames: 1,
            frames_bytes: self.header.padded_len() as u64,
            bodies_bytes: u64::from(self.header.body_len),
            last_term: self.header.term,
        }
    }

    pub(crate) fn body_is_intact(&self) -> bool {
        crate::checksum::crc32c(self.body) == self.header.body_crc
    }
}

/// The frames of a batch whose header was verified; ends early where the lengths do not add up.
pub(crate) fn frames<'a>(
    bytes: &'a [u8],
    header: &BatchHeader,
) -> impl Iterator<Item = Placed<'a>> + use<'a> {
    let mut at = BATCH_HEADER_BYTES;
    (0..header.frames).map_while(move |_| {
        let rest = bytes.get(at..)?;
        let header = FrameHeader::decode(rest)?;
        let head = rest.get(FRAME_HEADER_BYTES..header.headed_len())?;
        let body = rest.get(header.headed_len()..header.len())?;
        let placed = Placed { at, header, head, body };
        at += header.padded_len();
        Some(placed)
    })
}

/// What the frames of a batch turned out to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// All heads are intact; some bodies may not be.
    Intact { chain: u32, rotten_bodies: bool },
    /// A head is not what was written; its distance from the start of the batch.
    Bad { at: usize, what: &'static str },
}

/// Verifies all frames of a batch.
pub(crate) fn verify(bytes: &[u8], header: &BatchHeader, prev: u32) -> Verdict {
    if header.prev != prev {
        return Verdict::Bad { at: 0, what: "a batch out of its order" };
    }
    let (mut chain, mut rotten_bodies, mut seen, mut behind) = (header.crc, false, 0, 0);
    for placed in frames(bytes, header) {
        let intact = bytes.get(placed.at..);
        if !intact.is_some_and(|bytes| chain::head_is_intact(bytes, &placed.header)) {
            return Verdict::Bad { at: placed.at, what: "a frame with a bad checksum" };
        }
        if placed.header.prev != chain {
            return Verdict::Bad { at: placed.at, what: "a frame out of its order" };
        }
        chain = placed.header.header_crc;
        rotten_bodies |= !placed.body_is_intact();
        behind = placed.at + placed.header.padded_len();
        seen += 1;
    }
    if seen == header.frames {
        return Verdict::Intact { chain, rotten_bodies };
    }
    Verdict::Bad { at: behind, what: "a batch with fewer frames than its header says" }
}

/// Takes a batch: its place, its bytes, its header.
type SeeBatch<'a> = dyn FnMut(u64, &[u8], &BatchHeader) -> ControlFlow<()> + 'a;

/// Shows the batches of a segment that end at or before `to`, each with its place, until `see`
/// breaks or a seal says that nothing follows. Everything but the bodies is verified.
pub(crate) fn each_batch(
    segment: &Segment,
    to: u64,
    see: &mut SeeBatch<'_>,
) -> Result<(), ScanError> {
    let file = || segment.name.to_string();
    let failed = |offset| move |source| ScanError::Io { file: file(), offset, source };
    let bad = |offset| Err(ScanError::Rotten { file: file(), offset });
    let (mut at, mut chain) = (FIRST_BATCH_AT, segment.seed);
    let mut window = Window::open(segment).map_err(failed(at))?;
    while at < to {
        let Found::Batch(header) = window.batch(at).map_err(failed(at))? else {
            return bad(at);
        };
        let bytes = window.bytes(at, header.len as usize).map_err(failed(at))?;
        match verify(bytes, &header, chain) {
            Verdict::Intact { chain: behind, .. } => chain = behind,
            Verdict::Bad { at: inside, .. } => return bad(at + inside as u64),
        }
        if see(at, bytes, &header).is_break()
            || frames(bytes, &header).any(|placed| placed.ends_segment())
        {
            break;
        }
        at += u64::from(header.len);
    }
    Ok(())
}

/// Appends the body of the frame of `lane` with `seq` to `into`, looking from `from` on.
///
/// A damaged place on the way does not hide what stands behind it: the search goes on at the next
/// batch, and only if it finds nothing there, it was the damaged place that was looked for.
pub(crate) fn read_body(
    segment: &Segment,
    file: &dyn File,
    from: u64,
    lane: LaneId,
    seq: Seq,
    into: &mut Vec<u8>,
) -> Result<(), ReadError> {
    let mut walk = BodyWalk { segment, file, window: Vec::new(), held: 0..0 };
    let mut at = from;
    let (mut damaged, mut lost) = (None, false);
    while at < from + u64::from(INDEX_STRETCH_BYTES) {
        match walk.step(at, lost)? {
            Step::Skip { to } => (at, lost) = (to, false),
            Step::End => break,
            Step::Damaged => {
                damaged.get_or_insert(at);
                lost = true;
                at = (at + 1).next_multiple_of(SECTOR_BYTES as u64);
            }
            Step::Frame(header) if header.lane == lane && header.seq >= seq => {
                // Behind a higher seq the log may be in the middle of a write: look no further.
                if header.seq == seq {
                    return copy_body(segment, file, at, &header, into);
                }
                break;
            }
            Step::Frame(header) => at += header.padded_len() as u64,
        }
    }
    Err(damaged.map_or(ReadError::NotFound, |at| rotten(segment, at)))
}

/// Shows the frames of a lane with seqs in a range, looking from `from` on, behind damaged places
/// too.
pub(crate) fn heads(
    segment: &Segment,
    file: &dyn File,
    from: u64,
    (lane, first, last): (LaneId, Seq, Seq),
    visit: &mut dyn FnMut(Frame<'_>),
) -> Result<(), ReadError> {
    let end = file.len().map_err(|source| unreadable(segment, from, source))?;
    let mut walk = BodyWalk { segment, file, window: Vec::new(), held: 0..0 };
    let (mut at, mut lost) = (from, false);
    while at < end {
        match walk.step(at, lost)? {
            Step::Skip { to } => (at, lost) = (to, false),
            Step::End => break,
            Step::Damaged => {
                lost = true;
                at = (at + 1).next_multiple_of(SECTOR_BYTES as u64);
            }
            Step::Frame(header) => {
                if header.lane == lane && header.seq > last {
                    break;
                }
                if header.lane == lane && header.seq >= first {
                    let headed = walk.bytes(at, header.headed_len())?;
                    let head = headed.get(FRAME_HEADER_BYTES..header.headed_len());
                    visit(header.frame(head.unwrap_or_default(), &[]));
                }
                // Behind the last one the log may be in the middle of a write.
                if header.lane == lane && header.seq == last {
                    break;
                }
                at += header.padded_len() as u64;
            }
        }
    }
    Ok(())
}

/// What stands on the way to a body.
enum Step {
    /// Nothing that counts.
    Skip {
        to: u64,
    },
    /// The end of the log.
    End,
    Damaged,
    /// A frame of the caller's with an intact head.
    Frame(FrameHeader),
}

struct BodyWalk<'s> {
    segment: &'s Segment,
    file: &'s dyn File,
    window: Vec<u8>,
    held: Range<u64>,
}

impl BodyWalk<'_> {
    /// Looks at one place; when `lost`, only a batch is good enough to go on from.
    fn step(&mut self, at: u64, lost: bool) -> Result<Step, ReadError> {
        let starts_sector = at.is_multiple_of(SECTOR_BYTES as u64);
        let seed = self.segment.seed;
        let sealed_at = self.segment.sealed_at().unwrap_or(0);
        let rest = self.bytes(at, FRAME_HEADER_BYTES)?;
        // In front of its last seal a full segment has neither an end nor a sector of zeros.
        let is_cut = at + (rest.len() as u64) < sealed_at && rest.len() < FRAME_HEADER_BYTES;
        if is_cut || starts_sector && at < sealed_at && is_zero(rest) {
            return Ok(Step::Damaged);
        }
        if starts_sector && BatchHeader::is_at(rest) {
            let rest = self.bytes(at, BATCH_HEADER_BYTES)?;
            let intact = BatchHeader::decode(rest, seed).is_some();
            let to = at + BATCH_HEADER_BYTES as u64;
            return Ok(if intact { Step::Skip { to } } else { Step::Damaged });
        }
        if lost {
            return Ok(Step::Damaged);
        }
        if rest.first_chunk::<8>().is_none_or(|start| *start == [0; 8]) {
            // Padding: the next batch begins on the next sector, if there is one.
            let to = at.next_multiple_of(SECTOR_BYTES as u64);
            return Ok(if starts_sector { Step::End } else { Step::Skip { to } });
        }
        let Some(header) = FrameHeader::decode(rest) else { return Ok(Step::Damaged) };
        if header.head_len as usize > HEAD_BYTES_MAX || header.body_len as usize > BODY_BYTES_MAX {
            return Ok(Step::Damaged);
        }
        let headed = self.bytes(at, header.headed_len())?;
        Ok(match chain::head_is_intact(headed, &header) {
            false => Step::Damaged,
            true if crate::kind::is_callers(header.kind) => Step::Frame(header),
            true => Step::Skip { to: at + header.padded_len() as u64 },
        })
    }

    /// At least `len` bytes at `at`, as far as the file has them.
    fn bytes(&mut self, at: u64, len: usize) -> Result<&[u8], ReadError> {
        if at < self.held.start || at + len as u64 > self.held.end {
            self.window.resize(len.max(READ_BYTES), 0);
            let read = read_full(self.file, &mut self.window, at);
            let read = read.map_err(|source| unreadable(self.segment, at, source))?;
            self.window.truncate(read);
            self.held = at..at + read as u64;
        }
        let from = usize::try_from(at - self.held.start).unwrap_or(usize::MAX);
        Ok(self.window.get(from..).unwrap_or(&[]))
    }
}

fn copy_body(
    segment: &Segment,
    file: &dyn File,
    at: u64,
    header: &FrameHeader,
    into: &mut Vec<u8>,
) -> Result<(), ReadError> {
    let before = into.len();
    let body_len = header.body_len as usize;
    into.resize(before + body_len, 0);
    let room = into.get_mut(before..).unwrap_or_default();
    let outcome = match read_full(file, room, at + header.headed_len() as u64) {
        Ok(read) if read == body_len && crate::checksum::crc32c(room) == header.body_crc => Ok(()),
        Ok(_) => Err(rotten(segment, at)),
        Err(source) => Err(unreadable(segment, at, source)),
    };
    if outcome.is_err() {
        into.truncate(before);
    }
    outcome
}

fn rotten(segment: &Segment, offset: u64) -> ReadError {
    ReadError::Rotten { file: segment.name.to_string(), offset }
}

pub(crate) fn unreadable(segment: &Segment, offset: u64, source: io::Error) -> ReadError {
    ReadError::Io { file: segment.name.to_string(), offset, source }
}
