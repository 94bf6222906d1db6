//! The walk of a check over all batches, behind damaged places too.
//!
//! Invariant: what is shown to the witness has an intact head, and is chained to the salt of its
//! segment: from the header of its batch, or to the header of the batch behind it.

use crate::frame::{FrameHeader, LaneId, Seq};
use crate::kind;
use crate::limits::{BATCH_HEADER_BYTES, FRAME_HEADER_BYTES, SECTOR_BYTES};
use crate::store::Damage;
use crate::wal::TornTail;
use crate::wal::chain::{self, BatchHeader};
use crate::wal::check::{
    CheckError, Checked, Gap, Layout, Listed, Outcome, Seen, SegmentSeen, Span, Witness, fault,
    place,
};
use crate::wal::index::SegmentIndex;
use crate::wal::reader::{self, Placed, Verdict, Window, is_zero};
use crate::wal::salvage;
use crate::wal::segment::{FIRST_BATCH_AT, Mark};
use crate::wal::stand::{Stand, There, each_sector, header, last_byte, reading};

/// A walk in progress.
pub(crate) struct Walk<'a> {
    layout: &'a Layout,
    witness: &'a mut dyn Witness,
    /// The furthest durable mark seen; complete once `looked_ahead`.
    durable: Mark,
    looked_ahead: bool,
    checked: Checked,
    indexes: Vec<SegmentIndex>,
    /// The last seq of every lane so far.
    lasts: Vec<(LaneId, Seq)>,
    /// Faults with loss.
    lossy: Vec<usize>,
    /// Gaps that wait for the next frame of their lane.
    open: Vec<(usize, LaneId)>,
}

/// How a segment, or a part of it, ended.
enum Flow {
    /// There is more.
    On,
    /// There is nothing more in this segment.
    Next,
    /// The log ends here.
    End(u64),
    /// The witness has seen enough.
    Stopped,
}

impl<'a> Walk<'a> {
    pub(crate) fn new(layout: &'a Layout, witness: &'a mut dyn Witness) -> Walk<'a> {
        let checked = Checked {
            faults: layout.faults.clone(),
            origins: layout.manifest.origins.clone(),
            ..Checked::default()
        };
        Walk {
            layout,
            witness,
            durable: layout.checkpoint.durable,
            looked_ahead: false,
            checked,
            indexes: Vec::new(),
            lasts: Vec::new(),
            lossy: Vec::new(),
            open: Vec::new(),
        }
    }

    /// Walks from the segment with that place in the list.
    pub(crate) fn run_from(
        mut self,
        first: usize,
    ) -> Result<(Checked, Vec<SegmentIndex>), CheckError> {
        let segments = self.layout.segments.get(first..).unwrap_or_default();
        let mut end: Option<Mark> = None;
        for listed in segments {
            self.checked.segments.push(SegmentSeen {
                file: listed.entry.name.clone(),
                id: listed.entry.id,
                generation: listed.entry.generation,
                file_bytes: listed.file_bytes,
                ..SegmentSeen::default()
            });
            self.indexes.push(SegmentIndex::default());
            if end.is_some() {
                continue;
            }
            match self.segment(listed)? {
                Flow::On | Flow::Next => {}
                Flow::End(offset) => end = Some(Mark { segment: listed.entry.id, offset }),
                Flow::Stopped => {
                    self.checked.stopped = true;
                    return Ok((self.checked, self.indexes));
                }
            }
        }
        let closed_at = self.layout.checkpoint.durable;
        self.checked.clean = self.layout.checkpoint.closed && end == Some(closed_at);
        if let Some(end) = end.filter(|_| !self.checked.clean) {
            self.checked.torn = self.torn(end)?;
        }
        Ok((self.checked, self.indexes))
    }

    fn segment(&mut self, listed: &Listed) -> Result<Flow, CheckError> {
        if let Some(fault) = listed.fault
            && (self.is_durable(listed, FIRST_BATCH_AT)? || !looks_unused(listed)?)
        {
            if let Some(fault) = self.checked.faults.get_mut(fault) {
                fault.at.bytes = listed.file_bytes;
            }
            self.lose(fault);
        }
        let (Some(file), Some(seed)) = (&listed.file, listed.seed) else { return Ok(Flow::On) };
        let window = Window::over(file.clone(), seed).map_err(reading(listed))?;
        let chain = Some(seed);
        let mut stand = Stand { listed, window, seed, at: FIRST_BATCH_AT, chain, is_full: false };
        self.witness.progress(FIRST_BATCH_AT);
        while !stand.is_full {
            let before = stand.at;
            match self.step(&mut stand)? {
                Flow::On => self.witness.progress(stand.at - before),
                Flow::Next => break,
                other => return Ok(other),
            }
        }
        self.witness.progress(listed.file_bytes.saturating_sub(stand.at));
        if let Some(seen) = self.checked.segments.last_mut() {
            seen.is_full = stand.is_full;
        }
        Ok(Flow::On)
    }

    /// One batch, or one place where none is.
    fn step(&mut self, stand: &mut Stand<'_>) -> Result<Flow, CheckError> {
        let at = stand.at;
        let (header, why) = match stand.there(at)? {
            There::Batch(header) => (Some(header), "a batch out of its order"),
            There::Nothing => (None, "nothing where a batch was"),
            There::Bad => (None, "no batch header"),
        };
        let Some(header) = header else {
            if !self.is_durable(stand.listed, at)? {
                return Ok(Flow::End(at));
            }
            return self.hole(stand, why);
        };
        let bytes = stand.bytes(at, header.len as usize)?;
        let is_short = bytes.len() < header.len as usize;
        let verdict = reader::verify(bytes, &header, header.prev);
        let is_in_order = stand.chain.is_none_or(|chain| chain == header.prev);
        let is_good = !is_short && is_in_order;
        if is_good && let Verdict::Intact { chain, rotten_bodies: false } = verdict {
            self.durable = self.durable.max(header.durable);
            stand.chain = Some(chain);
            return self.show(stand, &header, &[(BATCH_HEADER_BYTES, header.frames)]);
        }
        if !self.is_durable(stand.listed, at)? {
            return Ok(Flow::End(at));
        }
        if !is_in_order {
            let at = place(stand.name(), at, BATCH_HEADER_BYTES as u64, Damage::Batch);
            self.checked.faults.push(fault(at, why, stand.refused()));
            self.lose(self.checked.faults.len() - 1);
        }
        self.durable = self.durable.max(header.durable);
        match verdict {
            Verdict::Intact { chain, .. } if !is_short => {
                stand.chain = Some(chain);
                self.show(stand, &header, &[(BATCH_HEADER_BYTES, header.frames)])
            }
            Verdict::Bad { what, .. } => self.damaged(stand, &header, what),
            Verdict::Intact { .. } => self.damaged(stand, &header, "the file is too short"),
        }
    }

    /// A batch with an intact header, in which a head is bad or frames are not there.
    fn damaged(
        &mut self,
        stand: &mut Stand<'_>,
        header: &BatchHeader,
        why: &'static str,
    ) -> Result<Flow, CheckError> {
        let (at, len) = (stand.at, header.len as usize);
        let behind = match stand.there(at + u64::from(header.len))? {
            There::Batch(next) => Some(next.prev),
            _ => None,
        };
        let bytes = stand.bytes(at, len)?;
        let (good, bad_at) = good_front(bytes, header);
        let resumed = behind.and_then(|proof| {
            let from = salvage::resume(bytes, bad_at, proof)?;
            Some((from, count(bytes, from)))
        });
        let to = resumed.map_or(len, |(from, _)| from);
        let found = u64::from(good) + resumed.map_or(0, |(_, count)| u64::from(count));
        let lost = (bad_at, to, u64::from(header.frames).saturating_sub(found));
        stand.chain = resumed.and(behind);
        let flow = self.show_part(stand, (BATCH_HEADER_BYTES, good), len)?;
        if !matches!(flow, Flow::On) {
            return Ok(flow);
        }
        let (bad_at, to, frames) = lost;
        let place = place(stand.name(), at + bad_at as u64, (to - bad_at) as u64, Damage::Head);
        let mut fault = fault(place, why, stand.refused());
        fault.frames = Some(frames);
        self.checked.faults.push(fault);
        self.lose(self.checked.faults.len() - 1);
        let flow = match resumed {
            Some(part) => self.show_part(stand, part, len)?,
            None => Flow::On,
        };
        stand.at = at + u64::from(header.len);
        self.used(stand.at.min(stand.window.file_len()));
        Ok(flow)
    }

    /// A place where a batch should be and is not: goes on at the next intact header.
    fn hole(&mut self, stand: &mut Stand<'_>, why: &'static str) -> Result<Flow, CheckError> {
        let at = stand.at;
        let next = stand.next_header(at + SECTOR_BYTES as u64)?;
        let to = match &next {
            Some((to, _)) => *to,
            None => stand.last_byte(at)?.max(at),
        };
        let len = usize::try_from(to - at).unwrap_or(usize::MAX);
        let mut resumed = None;
        if let Some((_, header)) = &next {
            let bytes = stand.bytes(at, len)?;
            resumed = salvage::resume(bytes, BATCH_HEADER_BYTES, header.prev)
                .map(|from| (from, count(bytes, from)));
        }
        let bad = resumed.map_or(to - at, |(from, _)| from as u64);
        let place = place(stand.name(), at, bad, Damage::Batch);
        self.checked.faults.push(fault(place, why, stand.refused()));
        self.lose(self.checked.faults.len() - 1);
        stand.chain = next.as_ref().map(|(_, header)| header.prev);
        let flow = match resumed {
            Some(part) => self.show_part(stand, part, len)?,
            None => Flow::On,
        };
        let flow = if next.is_some() || matches!(flow, Flow::Stopped) { flow } else { Flow::Next };
        stand.at = to;
        self.used(to);
        Ok(flow)
    }

    /// Shows the whole of a batch and goes behind it.
    fn show(
        &mut self,
        stand: &mut Stand<'_>,
        header: &BatchHeader,
        parts: &[(usize, u32)],
    ) -> Result<Flow, CheckError> {
        for part in parts {
            let flow = self.show_part(stand, *part, header.len as usize)?;
            if !matches!(flow, Flow::On) {
                return Ok(flow);
            }
        }
        stand.at += u64::from(header.len);
        self.used(stand.at);
        Ok(Flow::On)
    }

    /// Shows so many frames from a place in the batch that the walk stands at.
    fn show_part(
        &mut self,
        stand: &mut Stand<'_>,
        (from, frames): (usize, u32),
        len: usize,
    ) -> Result<Flow, CheckError> {
        let (at, name) = (stand.at, stand.listed.entry.name.as_str());
        let bytes = stand.window.bytes(at, len).map_err(reading(stand.listed))?;
        let mut inside = from;
        for _ in 0..frames {
            let Some(placed) = placed(bytes, inside) else { break };
            inside += placed.header.padded_len();
            stand.is_full |= placed.ends_segment();
            let seen = Seen {
                file: name,
                offset: at + placed.at as u64,
                frame: placed.header.frame(placed.head, placed.body),
                body_is_intact: placed.body_is_intact(),
                header: placed.header,
            };
            self.note(&seen, &placed, stand.listed.is_passed);
            if self.witness.frame(&seen).is_break() {
                return Ok(Flow::Stopped);
            }
        }
        Ok(Flow::On)
    }

    fn note(&mut self, seen: &Seen<'_>, placed: &Placed<'_>, is_passed: bool) {
        let (lane, seq) = (seen.frame.lane, seen.frame.seq);
        if !kind::is_callers(seen.frame.kind) {
            return;
        }
        self.close_gaps(lane, seq);
        match self.lasts.iter_mut().find(|(known, _)| *known == lane) {
            Some((_, last)) => *last = seq,
            None => self.begin_lane(lane, seq),
        }
        if let Some(segment) = self.checked.segments.last_mut() {
            segment.note(lane, seq);
        }
        if let Some(index) = self.indexes.last_mut() {
            index.note(lane, seq, seen.offset);
        }
        if !seen.body_is_intact {
            let body_at = seen.offset + placed.header.headed_len() as u64;
            let bytes = u64::from(seen.frame.body_len);
            let at = place(seen.file, body_at, bytes, Damage::Body { lane, seq });
            let outcome = if is_passed { Outcome::Unseen } else { Outcome::Reported };
            let mut fault = fault(at, "a body with a bad checksum", outcome);
            fault.frames = Some(0);
            self.checked.faults.push(fault);
        }
    }

    /// Something is missing here: between the frames before and the next ones.
    fn lose(&mut self, fault: usize) {
        let Some(lost) = self.checked.faults.get_mut(fault) else { return };
        self.lossy.push(fault);
        for &(lane, above) in &self.lasts {
            lost.gaps.push(Gap { lane, above, below: None });
            self.open.push((fault, lane));
        }
    }

    fn close_gaps(&mut self, lane: LaneId, seq: Seq) {
        let faults = &mut self.checked.faults;
        self.open.retain(|&(fault, waits)| {
            if waits != lane {
                return true;
            }
            let gaps = faults.get_mut(fault).map(|fault| fault.gaps.iter_mut());
            if let Some(gap) = gaps.and_then(|mut gaps| gaps.find(|gap| gap.lane == lane)) {
                gap.below = Some(seq);
            }
            false
        });
    }

    /// The first frame of a lane: the beginning of it may be missing too.
    fn begin_lane(&mut self, lane: LaneId, seq: Seq) {
        self.lasts.push((lane, seq));
        for &fault in &self.lossy {
            if let Some(fault) = self.checked.faults.get_mut(fault) {
                fault.gaps.push(Gap { lane, above: Seq(0), below: Some(seq) });
            }
        }
    }

    fn used(&mut self, to: u64) {
        if let Some(segment) = self.checked.segments.last_mut() {
            segment.used_bytes = to;
        }
    }

    /// Whether what should stand at `at` is known to have been durable.
    fn is_durable(&mut self, listed: &Listed, at: u64) -> Result<bool, CheckError> {
        if listed.is_passed {
            return Ok(true);
        }
        let place = Mark { segment: listed.entry.id, offset: at };
        if place >= self.durable && !self.looked_ahead {
            self.looked_ahead = true;
            self.look_ahead(place)?;
        }
        Ok(place < self.durable)
    }

    /// Takes up the durable marks of all intact batch headers from `place` on.
    fn look_ahead(&mut self, place: Mark) -> Result<(), CheckError> {
        let segments = &self.layout.segments;
        for listed in segments.iter().filter(|listed| listed.entry.id >= place.segment) {
            let (Some(file), Some(seed)) = (&listed.file, listed.seed) else { continue };
            let here = listed.entry.id == place.segment;
            let from = if here { place.offset } else { FIRST_BATCH_AT };
            let mut window = Window::over(file.clone(), seed).map_err(reading(listed))?;
            let mut durable = self.durable;
            each_sector(&mut window, from, &mut |_, sector| {
                if let Some(header) = header(sector, seed) {
                    durable = durable.max(header.durable);
                }
                false
            })
            .map_err(reading(listed))?;
            self.durable = durable;
        }
        Ok(())
    }

    /// What stands behind the end of the log.
    fn torn(&self, end: Mark) -> Result<Option<TornTail>, CheckError> {
        let segments = &self.layout.segments;
        for listed in segments.iter().filter(|listed| listed.entry.id >= end.segment) {
            let Some(file) = &listed.file else { continue };
            let here = listed.entry.id == end.segment;
            let from = if here { end.offset } else { FIRST_BATCH_AT };
            let mut window = Window::over(file.clone(), 0).map_err(reading(listed))?;
            let last = last_byte(&mut window, from).map_err(reading(listed))?;
            if last > from {
                let (file, bytes) = (listed.entry.name.clone(), last - from);
                return Ok(Some(TornTail { file, offset: from, bytes }));
            }
        }
        Ok(None)
    }
}

impl SegmentSeen {
    fn note(&mut self, lane: LaneId, seq: Seq) {
        match self.lanes.iter_mut().find(|span| span.lane == lane) {
            Some(span) => {
                span.last = seq;
                span.frames += 1;
            }
            None => self.lanes.push(Span { lane, first: seq, last: seq, frames: 1 }),
        }
    }
}

/// Whether a segment with a damaged header was made and never written to.
fn looks_unused(listed: &Listed) -> Result<bool, CheckError> {
    let Some(file) = &listed.file else { return Ok(false) };
    let mut window = Window::over(file.clone(), 0).map_err(reading(listed))?;
    let start = window.bytes(0, SECTOR_BYTES).map_err(reading(listed))?;
    if is_zero(start) {
        return Ok(false);
    }
    let last = last_byte(&mut window, FIRST_BATCH_AT).map_err(reading(listed))?;
    Ok(last == FIRST_BATCH_AT)
}

/// The frames from the start of a batch that are good, and where they end.
fn good_front(bytes: &[u8], header: &BatchHeader) -> (u32, usize) {
    let (mut at, mut chain, mut good) = (BATCH_HEADER_BYTES, header.crc, 0);
    while good < header.frames {
        let Some(frame) = salvage::frame(bytes, at).filter(|frame| frame.prev == chain) else {
            break;
        };
        let rest = bytes.get(at..).unwrap_or_default();
        if !chain::head_is_intact(rest, &frame) {
            break;
        }
        (at, chain, good) = (at + frame.padded_len(), frame.header_crc, good + 1);
    }
    (good, at)
}

/// How many frames run from `from` to the end.
fn count(bytes: &[u8], mut from: usize) -> u32 {
    let mut count = 0;
    while !salvage::is_end(bytes, from)
        && let Some(frame) = salvage::frame(bytes, from)
    {
        count += 1;
        from += frame.padded_len();
    }
    count
}

fn placed(bytes: &[u8], at: usize) -> Option<Placed<'_>> {
    let rest = bytes.get(at..)?;
    let header = FrameHeader::decode(rest)?;
    let head = rest.get(FRAME_HEADER_BYTES..header.headed_len())?;
    let body = rest.get(header.headed_len()..header.len())?;
    Some(Placed { at, header, head, body })
}
