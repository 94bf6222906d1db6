//! The set of segments: making the next one, and finding the segment and place of a frame.
//!
//! A segment is made in steps, each durable before the next: the file with its header, its name in
//! the folder, the manifest that lists it. Only then is anything written to it, so a file that no
//! manifest lists holds nothing.

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use crate::batch::Batch;
use crate::disk::{Disk, File, Space, is_full, write_full};
use crate::error::{KeepError, Poison, ReadError};
use crate::frame::{Frame, LaneId, Seq};
use crate::limits::{
    RESERVE_BYTES_MIN, SECTOR_BYTES, SEGMENT_BYTES_ON_SMALL_VOLUME, SEGMENTS_PER_VOLUME,
};
use crate::room::Room;
use crate::wal::WalOptions;
use crate::wal::copies::{self, Copies};
use crate::wal::defect::Defect;
use crate::wal::handles::Handles;
use crate::wal::index::{Counts, SegmentIndex};
use crate::wal::manifest::{Entry, Manifest};
use crate::wal::reader;
use crate::wal::reclaim::Part;
use crate::wal::reserve::{Need, Reserve};
use crate::wal::rewrite::Rewritten;
use crate::wal::segment::{self, Segment, SegmentHeader};
use crate::wal::summary;

/// Of a segment that was not rewritten.
const GENERATION: u64 = 1;

/// All segments of a folder.
pub(crate) struct Directory {
    pub(crate) disk: Arc<dyn Disk>,
    /// With sizes that fit the volume.
    pub(crate) options: WalOptions,
    pub(crate) room: Arc<Room>,
    pub(crate) reserve: Reserve,
    listed: Mutex<Listed>,
    known: RwLock<Known>,
    handles: Handles,
}

struct Listed {
    manifest: Manifest,
    copies: Copies,
    /// A segment that is whole, and found no room in the list: to be listed as it is, because
    /// nobody knows how far that got.
    unlisted: Option<Arc<Segment>>,
    /// Segments that were written again and found no room in the list: one copy may name them, so
    /// their files stay until both copies were replaced.
    doubtful: Vec<Arc<str>>,
    /// How many of those there were: no file name is used again.
    doubts: u64,
    /// Changing the list failed: it is not tried again.
    failed: Option<Poison>,
}

#[derive(Default)]
struct Known {
    /// By id.
    segments: Vec<Indexed>,
    /// For each lane the segments that have frames of it, by the first seq there.
    lanes: Vec<(LaneId, Vec<(Seq, u64)>)>,
    origins: Vec<(LaneId, Seq)>,
}

/// A segment and what is known of it.
#[derive(Clone)]
pub(crate) struct Indexed {
    pub(crate) segment: Arc<Segment>,
    pub(crate) index: Arc<SegmentIndex>,
    /// Full, and all its frames are in the index.
    pub(crate) complete: bool,
    /// The file of its index is beside it.
    pub(crate) summed_up: bool,
}

impl Directory {
    pub(crate) fn new(
        disk: Arc<dyn Disk>,
        options: WalOptions,
        manifest: Manifest,
        copies: Copies,
    ) -> Directory {
        let known = Known { origins: manifest.origins.clone(), ..Known::default() };
        let (unlisted, doubtful, doubts, failed) = (None, Vec::new(), 0, None);
        let listed = Listed { manifest, copies, unlisted, doubtful, doubts, failed };
        let listed = Mutex::new(listed);
        // A volume that can't be asked shows the same trouble at the first write.
        let volume = disk.space().ok().flatten();
        let options = volume.map_or(options.clone(), |volume| options.on(volume));
        let room = Arc::new(match volume {
            None => Room::endless(),
            Some(_) => Room::on(Arc::clone(&disk), options.segment_bytes, options.reserve_bytes),
        });
        let held = if volume.is_some() { options.reserve_bytes } else { 0 };
        let reserve = Reserve::new(Arc::clone(&disk), Arc::clone(&room), held)
            .stuck(Defect::ReserveNotReleased.is_in(&options));
        let (known, handles) = (RwLock::new(known), Handles::default());
        Directory { disk, options, room, reserve, listed, known, handles }
    }

    /// Whether the volume has an end that is known.
    pub(crate) fn is_bounded(&self) -> bool {
        self.room.is_bounded()
    }

    fn known(&self) -> RwLockReadGuard<'_, Known> {
        self.known.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn known_mut(&self) -> RwLockWriteGuard<'_, Known> {
        self.known.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes up a segment that the manifest lists; in the order of ids.
    pub(crate) fn add(&self, segment: Arc<Segment>) {
        let index = Arc::default();
        let indexed = Indexed { segment, index, complete: false, summed_up: false };
        self.known_mut().segments.push(indexed);
    }

    /// Takes over the index of a full segment, instead of a walk; in the order of ids.
    pub(crate) fn add_index(&self, segment: &Segment, index: SegmentIndex) {
        self.known_mut().set_index(segment.id, index);
    }

    /// States that a segment is full and all its frames were noted.
    pub(crate) fn complete(&self, segment: &Segment) {
        let mut known = self.known_mut();
        if let Some(indexed) = known.place(segment.id).and_then(|at| known.segments.get_mut(at)) {
            indexed.complete = true;
        }
    }

    /// All segments, by id.
    pub(crate) fn segments(&self) -> Vec<Arc<Segment>> {
        self.known().segments.iter().map(|indexed| Arc::clone(&indexed.segment)).collect()
    }

    /// The segments that are full and have no frame that is not below its lane's origin, by id.
    pub(crate) fn below_origins(&self) -> Vec<Indexed> {
        let known = self.known();
        let below = |indexed: &&Indexed| indexed.complete && known.is_below(&indexed.index);
        known.segments.iter().filter(below).cloned().collect()
    }

    /// The origins, by lane.
    pub(crate) fn origins(&self) -> Vec<(LaneId, Seq)> {
        self.known().origins.clone()
    }

    /// The segment after the one with `id`, if it is made already.
    pub(crate) fn after(&self, id: u64) -> Option<Arc<Segment>> {
        let known = self.known();
        let last = known.segments.last().filter(|last| last.segment.id > id)?;
        Some(Arc::clone(&last.segment))
    }

    fn listed(&self) -> MutexGuard<'_, Listed> {
        self.listed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The segment after the one with `id`; makes it if nobody did. A full disk is no reason not to
    /// try again.
    pub(crate) fn prepare_after(&self, id: u64) -> Result<Arc<Segment>, Poison> {
        self.prepare(id, self.options.segment_bytes)
    }

    /// As [`Directory::prepare_after`], on a full disk: of `bytes`, or a piece of the reserve if
    /// that is more, with all of the reserve if it has to be.
    pub(crate) fn prepare_from_reserve(&self, id: u64, bytes: u64) -> Result<Arc<Segment>, Poison> {
        let least = bytes.next_multiple_of(SECTOR_BYTES as u64);
        let piece = self.reserve.piece_bytes().next_multiple_of(SECTOR_BYTES as u64).max(least);
        let mut attempt = (Need::Log, piece);
        loop {
            let (need, bytes) = attempt;
            let is_given = self.reserve.give(bytes + self.reserve.margin_bytes(), need);
            attempt = match (self.prepare(id, bytes), need) {
                (Err(Poison::DiskFull { .. }), _) if is_given => attempt,
                (Err(Poison::DiskFull { .. }), Need::Log) => (Need::Anything, piece),
                (Err(Poison::DiskFull { .. }), _) if bytes > least => (need, least),
                (made, _) => return made,
            };
        }
    }

    fn prepare(&self, id: u64, bytes: u64) -> Result<Arc<Segment>, Poison> {
        let mut listed = self.listed();
        if let Some(next) = self.after(id) {
            return Ok(next);
        }
        if let Some(cause) = &listed.failed {
            return Err(cause.clone());
        }
        let made = self.make(&mut listed, id + 1, bytes);
        match &made {
            Ok(segment) => {
                self.add(Arc::clone(segment));
                self.room.state_next(segment.id, segment.room());
            }
            Err(Poison::DiskFull { .. }) => {}
            Err(cause) => listed.failed = Some(cause.clone()),
        }
        made
    }

    fn make(&self, listed: &mut Listed, id: u64, bytes: u64) -> Result<Arc<Segment>, Poison> {
        let unlisted = listed.unlisted.take().filter(|segment| segment.id == id);
        let segment = unlisted.map_or_else(|| self.make_file(id, bytes), Ok)?;
        let mut manifest = listed.manifest.clone();
        manifest.segments.push(Entry::of(&segment));
        if let Err(cause) = self.replace(listed, manifest) {
            listed.unlisted = Some(segment);
            return Err(cause);
        }
        Ok(segment)
    }

    /// A file with its header, all of its space and its name in the folder; or nothing.
    fn make_file(&self, id: u64, bytes: u64) -> Result<Arc<Segment>, Poison> {
        let header = SegmentHeader { id, generation: GENERATION, salt: self.disk.entropy() };
        let name: Arc<str> = segment::file_name(id, header.generation).into();
        let made = self.lay_out(&header, &name, bytes);
        if matches!(made, Err(Poison::DiskFull { .. })) {
            // What it has is needed elsewhere; if even that fails, it is emptied at the next try.
            let _ = self.disk.remove(&name);
        }
        let file = made?;
        self.sync_folder()?;
        let segment = Segment::new(&self.disk, &header, name);
        segment.hold(file);
        segment.state_size(bytes);
        Ok(Arc::new(segment))
    }

    fn lay_out(
        &self,
        header: &SegmentHeader,
        name: &str,
        bytes: u64,
    ) -> Result<Arc<dyn File>, Poison> {
        let file = self.disk.create_log(name).map_err(folder("creating", name))?;
        if self.options.fill_ahead_bytes > 0 || self.is_bounded() {
            file.allocate(bytes).map_err(written(name, 0))?;
        }
        write_full(&*file, &header.encode(), 0).map_err(written(name, 0))?;
        match file.sync_all() {
            // Nothing of it is in use yet: space that was missing only now is missing space.
            Err(error) if is_full(&error) => Err(written(name, 0)(error)),
            done => done.map_err(synced(name)),
        }?;
        Ok(file)
    }

    /// Makes a manifest the one that counts, in both copies. A longer one needs room, which the
    /// reserve has at last.
    fn replace(&self, listed: &mut Listed, mut manifest: Manifest) -> Result<(), Poison> {
        manifest.generation += 1;
        let copies = &mut listed.copies;
        let skips_sync = Defect::MissingManifestSync.is_in(&self.options);
        let replace = || copies.replace(&*self.disk, &manifest, skips_sync);
        let replaced = self.reserve.lend(copies::ROOM_BYTES, Need::Anything, replace);
        if replaced.is_err() {
            // One copy may hold it by now: what comes next is newer than that.
            listed.manifest.generation = manifest.generation;
            return replaced;
        }
        listed.manifest = manifest;
        for name in listed.doubtful.drain(..) {
            let _ = self.disk.remove(&name);
            let _ = self.disk.remove(&summary::name_beside(&name));
        }
        Ok(())
    }

    /// The generation of a segment that is made of others with the highest of theirs.
    pub(crate) fn generation_above(&self, highest: u64) -> u64 {
        highest + 1 + self.listed().doubts
    }

    /// Changes the manifest durably. `change` says whether there is something to be changed.
    pub(crate) fn change(
        &self,
        change: impl FnOnce(&mut Manifest) -> bool,
    ) -> Result<(), KeepError> {
        let mut listed = self.listed();
        if let Some(cause) = &listed.failed {
            return Err(KeepError::Poisoned(cause.clone()));
        }
        let mut manifest = listed.manifest.clone();
        if !change(&mut manifest) {
            return Ok(());
        }
        let replaced = self.replace(&mut listed, manifest);
        if let Err(cause) = replaced {
            if let Poison::DiskFull { file, .. } = cause {
                return Err(KeepError::DiskFull { file: file.to_string() });
            }
            listed.failed = Some(cause.clone());
            return Err(KeepError::Poisoned(cause));
        }
        self.known_mut().origins.clone_from(&listed.manifest.origins);
        Ok(())
    }

    /// Raises the origins of lanes, durably, and lets the segments that are now below all of them
    /// be passed over by the next opening.
    pub(crate) fn raise_origins(&self, origins: &[(LaneId, Seq)]) -> Result<(), KeepError> {
        self.change(|manifest| {
            let mut changed = false;
            for &(mut lane, origin) in origins {
                if Defect::LaneMixedUp.is_in(&self.options) {
                    lane.0 &= 0x7fff;
                }
                changed |= manifest.raise(lane, origin);
            }
            changed
        })?;
        self.sum_up();
        Ok(())
    }

    /// Nothing is changed any more in the list.
    pub(crate) fn poison(&self, cause: Poison) -> KeepError {
        self.listed().failed.get_or_insert(cause.clone());
        KeepError::Poisoned(cause)
    }

    /// Whether no segment stands between two.
    pub(crate) fn are_neighbours(&self, one: &Segment, next: &Segment) -> bool {
        let known = self.known();
        known.place(one.id).zip(known.place(next.id)).is_some_and(|(one, next)| one + 1 == next)
    }

    /// Puts a segment in the place of its parts, or nothing, and removes their files. After an
    /// error all files are kept: it is not known which list counts.
    pub(crate) fn swap(&self, parts: &[&Part], by: Option<Rewritten>) -> Result<(), KeepError> {
        let is_part = |id: u64| parts.iter().any(|part| part.segment().id == id);
        let changed = self.change(|manifest| {
            let terms = parts.iter().map(|part| part.indexed.index.counts.last_term);
            manifest.term = terms.fold(manifest.term, u64::max);
            manifest.segments.retain(|entry| !is_part(entry.id));
            if let Some(Rewritten { segment, .. }) = &by {
                let at = manifest.segments.partition_point(|entry| entry.id < segment.id);
                manifest.segments.insert(at, Entry::of(segment));
            }
            !parts.is_empty()
        });
        if let (Err(_), Some(Rewritten { segment, .. })) = (&changed, &by) {
            let mut listed = self.listed();
            listed.doubtful.push(Arc::clone(&segment.name));
            listed.doubts += 1;
        }
        changed?;
        self.known_mut().swap(&is_part, by);
        for part in parts {
            let name = &part.segment().name;
            // What can't be removed now is no longer listed, and goes at the next opening.
            let _ = self.disk.remove(name);
            let _ = self.disk.remove(&summary::name_beside(name));
            self.handles.forget(part.segment());
        }
        // Until this is certain, a file system may have to keep the space.
        if parts.is_empty() { Ok(()) } else { self.sync_folder().map_err(|it| self.poison(it)) }
    }

    /// Writes the index beside every segment that is below all origins and has none, and cuts off
    /// the room that it did not use.
    pub(crate) fn sum_up(&self) {
        for Indexed { segment, index, .. } in
            self.below_origins().iter().filter(|indexed| !indexed.summed_up)
        {
            let Some(end) = segment.sealed_at() else { continue };
            segment.trim(end);
            if summary::write(&*self.disk, segment, index, end) {
                let mut known = self.known_mut();
                let place = known.place(segment.id);
                if let Some(indexed) = place.and_then(|at| known.segments.get_mut(at)) {
                    indexed.summed_up = true;
                }
            }
        }
    }

    /// Makes what was created and renamed certain.
    pub(crate) fn sync_folder(&self) -> Result<(), Poison> {
        if Defect::SkippedDirectorySync.is_in(&self.options) {
            return Ok(());
        }
        self.disk.sync_folder().map_err(synced("the data folder"))
    }

    /// Lets frames of a segment be found, given in append order. When they are the first of it, all
    /// frames of the segment before were noted.
    pub(crate) fn note(
        &self,
        segment: &Segment,
        frames: impl Iterator<Item = (LaneId, Seq, u64)>,
        counts: Counts,
    ) {
        self.known_mut().note(segment.id, frames, counts);
    }

    /// Lets all frames of a batch that stands at `at` be found.
    pub(crate) fn note_batch(&self, segment: &Segment, batch: &Batch, at: u64) {
        let frames = batch.lanes().flat_map(|lane| {
            let place = move |&(seq, offset): &(Seq, crate::frame::Offset)| {
                (lane, seq, at + u64::from(offset.0))
            };
            batch.entries(lane).iter().map(place)
        });
        let lasts = batch.lanes().filter_map(|lane| batch.entries(lane).last());
        let counts = Counts {
            frames: batch.len() as u64,
            frames_bytes: batch.frames_len_bytes() as u64,
            bodies_bytes: batch.bodies_len_bytes() as u64,
            last_term: lasts.map(|&(_, at)| batch.frame(at).term).max().unwrap_or(0),
        };
        self.note(segment, frames, counts);
    }

    /// The segment that may hold a frame, and where in it to begin to look.
    pub(crate) fn find(&self, lane: LaneId, seq: Seq) -> Option<(Arc<Segment>, u64)> {
        let known = self.known();
        let (_, firsts) = known.lanes.iter().find(|(known, _)| *known == lane)?;
        let above = firsts.partition_point(|&(first, _)| first <= seq);
        let &(_, id) = firsts.get(above.checked_sub(1)?)?;
        let indexed = known.segments.get(known.place(id)?)?;
        let from = indexed.index.find(lane, seq)?;
        Some((Arc::clone(&indexed.segment), from))
    }

    /// Reads the body of a frame. A segment that is removed meanwhile was written again before.
    pub(crate) fn read(&self, lane: LaneId, seq: Seq, into: &mut Vec<u8>) -> Result<(), ReadError> {
        loop {
            let (segment, from) = self.find(lane, seq).ok_or(ReadError::NotFound)?;
            match self.handles.file(&segment) {
                Ok(file) => return reader::read_body(&segment, &*file, from, lane, seq, into),
                Err(_) if !self.has(&segment) => {}
                Err(error) => return Err(reader::unreadable(&segment, from, error)),
            }
        }
    }

    /// Shows the frames of a lane in a range of seqs, segment by segment. One that is removed
    /// meanwhile was written again before, and is looked for again.
    pub(crate) fn heads(
        &self,
        lane: LaneId,
        (first, last): (Seq, Seq),
        visit: &mut dyn FnMut(Frame<'_>),
    ) -> Result<(), ReadError> {
        let mut next = first;
        while let Some((segment, from, end)) = self.next_with(lane, next).filter(|_| next <= last) {
            match self.handles.file(&segment) {
                Ok(file) => {
                    let upper = last.min(end);
                    reader::heads(&segment, &*file, from, (lane, next, upper), visit)?;
                    next = Seq(end.0.saturating_add(1));
                }
                Err(_) if !self.has(&segment) => {}
                Err(error) => return Err(reader::unreadable(&segment, from, error)),
            }
        }
        Ok(())
    }

    /// The first segment with a frame of a lane at or above a seq, where in it to begin to look,
    /// and the last seq it has.
    fn next_with(&self, lane: LaneId, seq: Seq) -> Option<(Arc<Segment>, u64, Seq)> {
        let known = self.known();
        let with = |indexed: &Indexed| {
            let (_, _, last) = indexed.index.spans().find(|(of, _, _)| *of == lane)?;
            let from = indexed.index.find(lane, seq).unwrap_or(segment::FIRST_BATCH_AT);
            (last >= seq).then(|| (Arc::clone(&indexed.segment), from, last))
        };
        known.segments.iter().find_map(with)
    }

    fn has(&self, segment: &Arc<Segment>) -> bool {
        self.known().segments.iter().any(|indexed| Arc::ptr_eq(&indexed.segment, segment))
    }
}

impl Known {
    /// Where a segment stands in the list.
    fn place(&self, id: u64) -> Option<usize> {
        self.segments.binary_search_by_key(&id, |known| known.segment.id).ok()
    }

    fn swap(&mut self, is_part: &dyn Fn(u64) -> bool, by: Option<Rewritten>) {
        self.segments.retain(|known| !is_part(known.segment.id));
        for (_, firsts) in &mut self.lanes {
            firsts.retain(|&(_, id)| !is_part(id));
        }
        let Some(Rewritten { segment, index, summed_up, .. }) = by else { return };
        for (lane, first, _) in index.spans() {
            if let Some((_, firsts)) = self.lanes.iter_mut().find(|(known, _)| *known == lane) {
                let at = firsts.partition_point(|&(other, _)| other < first);
                firsts.insert(at, (first, segment.id));
            }
        }
        let at = self.segments.partition_point(|known| known.segment.id < segment.id);
        let index = Arc::new(index);
        self.segments.insert(at, Indexed { segment, index, complete: true, summed_up });
    }

    fn is_below(&self, index: &SegmentIndex) -> bool {
        index.spans().all(|(lane, _, last)| {
            self.origins.iter().any(|&(known, origin)| known == lane && last < origin)
        })
    }

    fn set_index(&mut self, id: u64, index: SegmentIndex) {
        for (lane, first, _) in index.spans() {
            self.note_first(lane, first, id);
        }
        let Some(at) = self.place(id) else { return };
        if let Some(indexed) = self.segments.get_mut(at) {
            indexed.index = Arc::new(index);
            (indexed.complete, indexed.summed_up) = (true, true);
        }
    }

    fn note_first(&mut self, lane: LaneId, first: Seq, segment: u64) {
        match self.lanes.iter_mut().find(|(known, _)| *known == lane) {
            Some((_, firsts)) => firsts.push((first, segment)),
            None => self.lanes.push((lane, vec![(first, segment)])),
        }
    }

    fn note(
        &mut self,
        segment: u64,
        frames: impl Iterator<Item = (LaneId, Seq, u64)>,
        counts: Counts,
    ) {
        let Some(at) = self.segments.iter().rposition(|known| known.segment.id == segment) else {
            return;
        };
        let before = at.checked_sub(1).and_then(|before| self.segments.get_mut(before));
        if let Some(before) = before.filter(|before| !before.complete) {
            before.complete = true;
            before.segment.release();
        }
        let Some(indexed) = self.segments.get_mut(at) else { return };
        let index = Arc::make_mut(&mut indexed.index);
        index.counts.add(counts);
        let mut firsts = Vec::new();
        for (lane, seq, at) in frames {
            if index.note(lane, seq, at) {
                firsts.push((lane, seq));
            }
        }
        for (lane, first) in firsts {
            self.note_first(lane, first, segment);
        }
    }
}

impl WalOptions {
    /// With the sizes that a small volume has room for.
    fn on(mut self, volume: Space) -> WalOptions {
        let share = volume.total / SEGMENTS_PER_VOLUME;
        self.segment_bytes = self.segment_bytes.min(share.max(SEGMENT_BYTES_ON_SMALL_VOLUME));
        self.reserve_bytes = self.reserve_bytes.min((2 * share).max(RESERVE_BYTES_MIN));
        self
    }
}

/// Turns an error of a write into the cause of a poison.
pub(crate) fn written(file: &str, offset: u64) -> impl FnOnce(io::Error) -> Poison {
    let file = Arc::from(file);
    move |error| {
        if is_full(&error) {
            return Poison::DiskFull { file, offset };
        }
        Poison::Write { file, offset, reason: error.to_string().into() }
    }
}

/// Turns an error of a sync into the cause of a poison.
pub(crate) fn synced(file: &str) -> impl FnOnce(io::Error) -> Poison {
    let file = Arc::from(file);
    move |error| Poison::Sync { file, reason: error.to_string().into() }
}

pub(crate) fn folder(what: &'static str, file: &str) -> impl FnOnce(io::Error) -> Poison {
    let file = Arc::from(file);
    move |error| {
        if is_full(&error) {
            return Poison::DiskFull { file, offset: 0 };
        }
        Poison::Folder { what, file, reason: error.to_string().into() }
    }
}
