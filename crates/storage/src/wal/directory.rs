//! The set of segments: making the next one, and finding the segment and place of a frame.
//!
//! A segment is made in steps, each durable before the next: the file with its header, its name in
//! the folder, the manifest that lists it. Only then is anything written to it, so a file that no
//! manifest lists holds nothing.

use std::io;
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use crate::batch::Batch;
use crate::disk::{Disk, is_full, write_full};
use crate::error::Poison;
use crate::frame::{LaneId, Seq};
use crate::wal::WalOptions;
use crate::wal::defect::Defect;
use crate::wal::index::SegmentIndex;
use crate::wal::manifest::{self, Entry, Manifest};
use crate::wal::segment::{self, Segment, SegmentHeader};

/// All segments of a folder.
pub(crate) struct Directory {
    pub(crate) disk: Arc<dyn Disk>,
    pub(crate) options: WalOptions,
    listed: Mutex<Listed>,
    known: RwLock<Known>,
}

struct Listed {
    manifest: Manifest,
    /// Making a segment failed: it is not tried again.
    failed: Option<Poison>,
}

#[derive(Default)]
struct Known {
    segments: Vec<Indexed>,
    /// For each lane the segments that have frames of it, by the first seq there.
    lanes: Vec<(LaneId, Vec<(Seq, usize)>)>,
}

struct Indexed {
    segment: Arc<Segment>,
    index: SegmentIndex,
}

impl Directory {
    pub(crate) fn new(disk: Arc<dyn Disk>, options: WalOptions, manifest: Manifest) -> Directory {
        let listed = Listed { manifest, failed: None };
        let known = RwLock::new(Known::default());
        Directory { disk, options, listed: Mutex::new(listed), known }
    }

    /// Takes up a segment that the manifest lists; in the order of ids.
    pub(crate) fn add(&self, segment: Arc<Segment>) {
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        known.segments.push(Indexed { segment, index: SegmentIndex::default() });
    }

    /// All segments, by id.
    pub(crate) fn segments(&self) -> Vec<Arc<Segment>> {
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        known.segments.iter().map(|indexed| Arc::clone(&indexed.segment)).collect()
    }

    /// The segment after the one with `id`, if it is made already.
    pub(crate) fn after(&self, id: u64) -> Option<Arc<Segment>> {
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        let last = known.segments.last().filter(|last| last.segment.id > id)?;
        Some(Arc::clone(&last.segment))
    }

    /// The segment after the one with `id`; makes it if nobody did.
    pub(crate) fn prepare_after(&self, id: u64) -> Result<Arc<Segment>, Poison> {
        let mut listed = self.listed.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(next) = self.after(id) {
            return Ok(next);
        }
        if let Some(cause) = &listed.failed {
            return Err(cause.clone());
        }
        match self.make(&listed.manifest, id + 1) {
            Ok((manifest, segment)) => {
                listed.manifest = manifest;
                self.add(Arc::clone(&segment));
                Ok(segment)
            }
            Err(cause) => {
                listed.failed = Some(cause.clone());
                Err(cause)
            }
        }
    }

    fn make(&self, before: &Manifest, id: u64) -> Result<(Manifest, Arc<Segment>), Poison> {
        let header = SegmentHeader { id, generation: 1, salt: self.disk.entropy() };
        let name: Arc<str> = segment::file_name(id, header.generation).into();
        let file = self.disk.create_log(&name).map_err(folder("creating", &name))?;
        if self.options.fill_ahead_bytes > 0 {
            file.allocate(self.options.segment_bytes).map_err(written(&name, 0))?;
        }
        write_full(&*file, &header.encode(), 0).map_err(written(&name, 0))?;
        file.sync_all().map_err(synced(&name))?;
        self.sync_folder()?;
        let mut manifest = before.clone();
        manifest.generation += 1;
        let generation = header.generation;
        manifest.segments.push(Entry { id, generation, name: name.to_string() });
        self.replace_manifest(&manifest)?;
        Ok((manifest, Arc::new(Segment::new(&header, name, file))))
    }

    fn replace_manifest(&self, manifest: &Manifest) -> Result<(), Poison> {
        let name = manifest::NEW_NAME;
        let file = self.disk.create(name).map_err(folder("creating", name))?;
        write_full(&*file, &manifest.encode(), 0).map_err(written(name, 0))?;
        file.sync_all().map_err(synced(name))?;
        self.disk.rename(name, manifest::NAME).map_err(folder("renaming", name))?;
        self.sync_folder()
    }

    /// Makes what was created and renamed certain.
    pub(crate) fn sync_folder(&self) -> Result<(), Poison> {
        if Defect::SkippedDirectorySync.is_in(&self.options) {
            return Ok(());
        }
        self.disk.sync_folder().map_err(synced("the data folder"))
    }

    /// Lets frames of a segment be found, given in append order.
    pub(crate) fn note(&self, segment: &Segment, frames: impl Iterator<Item = (LaneId, Seq, u64)>) {
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        known.note(segment.id, frames);
    }

    /// Lets all frames of a batch that stands at `at` be found.
    pub(crate) fn note_batch(&self, segment: &Segment, batch: &Batch, at: u64) {
        let frames = batch.lanes().flat_map(|lane| {
            let place = move |&(seq, offset): &(Seq, crate::frame::Offset)| {
                (lane, seq, at + u64::from(offset.0))
            };
            batch.entries(lane).iter().map(place)
        });
        self.note(segment, frames);
    }

    /// The segment that may hold a frame, and where in it to begin to look.
    pub(crate) fn find(&self, lane: LaneId, seq: Seq) -> Option<(Arc<Segment>, u64)> {
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        let (_, firsts) = known.lanes.iter().find(|(known, _)| *known == lane)?;
        let above = firsts.partition_point(|&(first, _)| first <= seq);
        let &(_, place) = firsts.get(above.checked_sub(1)?)?;
        let indexed = known.segments.get(place)?;
        let from = indexed.index.find(lane, seq)?;
        Some((Arc::clone(&indexed.segment), from))
    }
}

impl Known {
    fn note(&mut self, segment: u64, frames: impl Iterator<Item = (LaneId, Seq, u64)>) {
        let Some(place) = self.segments.iter().rposition(|known| known.segment.id == segment)
        else {
            return;
        };
        let Some(indexed) = self.segments.get_mut(place) else { return };
        for (lane, seq, at) in frames {
            if indexed.index.note(lane, seq, at) {
                match self.lanes.iter_mut().find(|(known, _)| *known == lane) {
                    Some((_, firsts)) => firsts.push((seq, place)),
                    None => self.lanes.push((lane, vec![(seq, place)])),
                }
            }
        }
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

fn folder(what: &'static str, file: &str) -> impl FnOnce(io::Error) -> Poison {
    let file = Arc::from(file);
    move |error| {
        if is_full(&error) {
            return Poison::DiskFull { file, offset: 0 };
        }
        Poison::Folder { what, file, reason: error.to_string().into() }
    }
}
