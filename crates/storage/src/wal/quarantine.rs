//! Setting damage aside, so that a folder opens with everything that is not damaged.
//!
//! 1. What is damaged is copied as it is into another folder, with a page that says what it is;
//!    both are synced.
//! 2. The checkpoint is overwritten: the log was not closed in order. So the next opening says that
//!    messages may have been delivered before.
//! 3. Every segment with a damaged place is written again, with all frames that the chain proves;
//!    a body that is rotten is copied too, and stays so.
//! 4. Both copies of the manifest are replaced. Until then the folder is as it was.
//! 5. The checkpoint states no more than the new segments hold, and the old files are removed.

use std::fmt::Write;
use std::io;
use std::ops::ControlFlow;
use std::sync::Arc;

use crate::disk::{Disk, read_full, write_full};
use crate::frame::{LaneId, Seq};
use crate::kind;
use crate::store::Damage;
use crate::wal::check::{Check, CheckError, Checked, Fault, Listed, Seen, failed};
use crate::wal::checkpoint::{self, CheckpointFile};
use crate::wal::copies::Copies;
use crate::wal::manifest::{self, Entry, Manifest};
use crate::wal::reader::Placed;
use crate::wal::rewrite::Output;
use crate::wal::segment::{self, Mark, SegmentHeader};
use crate::wal::summary;
use crate::wal::walk::Walk;

const STEP_BYTES: usize = 1 << 20;
/// The page that says what was set aside.
const PAGE_NAME: &str = "what-this-is.txt";

/// What was set aside.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SetAside {
    /// Files in the folder for it.
    pub files: Vec<String>,
    /// Bytes in them.
    pub bytes: u64,
    /// Segments that were written again.
    pub rewritten: Vec<String>,
    /// Segments that are gone, because nothing in them could be proven.
    pub removed: Vec<String>,
}

impl Check {
    /// Sets aside what `checked` found, into `aside`, an empty folder. `origins` are what is to
    /// hold where no copy of the manifest says so.
    ///
    /// # Errors
    /// The folder is as it was, or can be checked again.
    pub fn set_aside(
        self,
        checked: &Checked,
        aside: &dyn Disk,
        origins: &[(LaneId, Seq)],
    ) -> Result<SetAside, CheckError> {
        let mut set = SetAside::default();
        for (fault, number) in checked.faults.iter().zip(1..) {
            self.copy_aside(fault, aside, number, &mut set)?;
        }
        put_page(aside, checked)?;
        aside.sync_folder().map_err(failed("syncing", "the folder for it"))?;
        let mut statement = self.open_checkpoint()?;
        let durable = self.layout.checkpoint.durable;
        let putting = || failed("writing", checkpoint::NAME);
        // Both slots: the older one may be damaged too.
        for _ in 0..2 {
            statement.put(durable, false).map_err(|error| putting()(error))?;
        }
        let (manifest, ends) = self.write_again(checked, origins, &mut set)?;
        self.replace_manifest(&manifest)?;
        let durable = kept_mark(durable, &manifest, checked, &ends);
        for _ in 0..2 {
            statement.put(durable, false).map_err(|error| putting()(error))?;
        }
        for name in set.rewritten.iter().chain(&set.removed) {
            // What is left is removed by the next opening.
            let _ = self.disk.remove(name);
            let _ = self.disk.remove(&summary::name_beside(name));
        }
        self.disk.sync_folder().map_err(failed("syncing", "the folder"))?;
        Ok(set)
    }

    /// Copies one damaged range.
    fn copy_aside(
        &self,
        fault: &Fault,
        aside: &dyn Disk,
        number: u32,
        set: &mut SetAside,
    ) -> Result<(), CheckError> {
        let at = &fault.at;
        if at.bytes == 0 || matches!(at.what, Damage::Body { .. } | Damage::Missing) {
            return Ok(());
        }
        let name = format!("{number:04}-{}-{}", at.file, at.offset);
        let (reading, writing) = (|| failed("reading", &at.file), || failed("writing", &name));
        let from = match self.disk.open(&at.file) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            opened => opened.map_err(|error| reading()(error))?,
        };
        let to = aside.create(&name).map_err(|error| writing()(error))?;
        let (mut done, mut bytes) = (0, vec![0; STEP_BYTES]);
        while done < at.bytes {
            let left = usize::try_from(at.bytes - done).unwrap_or(STEP_BYTES);
            let step = bytes.get_mut(..left.min(STEP_BYTES)).unwrap_or_default();
            let read = read_full(&*from, step, at.offset + done);
            let read = read.map_err(|error| reading()(error))?;
            let step = step.get(..read).unwrap_or_default();
            write_full(&*to, step, done).map_err(|error| writing()(error))?;
            done += read as u64;
            if read == 0 {
                break;
            }
        }
        to.sync_all().map_err(|error| writing()(error))?;
        set.files.push(name.clone());
        set.bytes += done;
        Ok(())
    }

    fn open_checkpoint(&self) -> Result<CheckpointFile, CheckError> {
        let name = checkpoint::NAME;
        let opened = match self.disk.open(name) {
            Ok(file) => CheckpointFile::open(file).map_err(failed("reading", name))?,
            Err(_) => None,
        };
        if let Some(opened) = opened {
            return Ok(opened);
        }
        let file = self.disk.create(name).map_err(failed("creating", name))?;
        CheckpointFile::create(file).map_err(failed("writing", name))
    }

    /// Writes the damaged segments again and gives the list with the new ones.
    fn write_again(
        &self,
        checked: &Checked,
        origins: &[(LaneId, Seq)],
        set: &mut SetAside,
    ) -> Result<(Manifest, Vec<Mark>), CheckError> {
        let is_damaged = |listed: &&Listed| {
            let of_this = |fault: &&Fault| fault.at.file == listed.entry.name;
            let mut faults = checked.faults.iter().filter(of_this);
            faults.any(|fault| !matches!(fault.at.what, Damage::Body { .. } | Damage::Index))
        };
        let damaged: Vec<&Listed> = self.layout.segments.iter().filter(is_damaged).collect();
        let copier = Copier {
            disk: &self.disk,
            damaged: &damaged,
            output: None,
            done: Vec::new(),
            lasts: Vec::new(),
            outcome: Ok(()),
        };
        let done = copier.run(&self.layout)?;
        self.disk.sync_folder().map_err(failed("syncing", "the folder"))?;
        let mut manifest = self.layout.manifest.clone();
        if manifest.generation == 0 {
            manifest.origins = origins.to_vec();
            manifest.origins.sort_unstable();
        }
        manifest.generation += 1;
        for listed in damaged {
            let name = &listed.entry.name;
            let found = done.iter().find(|(entry, _)| entry.id == listed.entry.id);
            let place = manifest.segments.iter().position(|entry| entry.name == *name);
            match (found, place) {
                (Some((entry, _)), Some(place)) => {
                    if let Some(old) = manifest.segments.get_mut(place) {
                        *old = entry.clone();
                    }
                    set.rewritten.push(name.clone());
                }
                (None, Some(place)) => {
                    manifest.segments.remove(place);
                    set.removed.push(name.clone());
                }
                (_, None) => {}
            }
        }
        let ends = done.iter().map(|(entry, offset)| Mark { segment: entry.id, offset: *offset });
        Ok((manifest, ends.collect()))
    }

    fn replace_manifest(&self, manifest: &Manifest) -> Result<(), CheckError> {
        let mut copies = Copies::read(&*self.disk).map_or_else(|_| Copies::none(), |read| read.0);
        copies.replace(&*self.disk, manifest, false).map_err(|cause| CheckError::Io {
            what: "writing",
            file: manifest::NAMES[0].to_owned(),
            source: io::Error::other(cause.to_string()),
        })
    }
}

/// How far the log is durable now: what was written again is, with all before it. What is in a
/// segment that is gone does not count.
fn kept_mark(durable: Mark, manifest: &Manifest, checked: &Checked, ends: &[Mark]) -> Mark {
    let last = manifest.segments.iter().rfind(|entry| entry.id <= durable.segment);
    let id = last.map_or(0, |entry| entry.id);
    let end = ends.iter().copied().max().unwrap_or_default();
    let is_new = ends.iter().any(|end| end.segment == id);
    let kept = match checked.segments.iter().find(|segment| segment.id == id) {
        _ if is_new => Mark::default(),
        Some(_) if id == durable.segment => durable,
        Some(segment) => Mark { segment: id, offset: segment.used_bytes },
        None => Mark::default(),
    };
    kept.max(end)
}

fn put_page(aside: &dyn Disk, checked: &Checked) -> Result<(), CheckError> {
    let mut page = String::from(
        "Damaged parts of a data folder, as `courant check --quarantine` found them. They are\n\
         needed by nobody, unless somebody wants to find out what was in them.\n\n",
    );
    for (fault, number) in checked.faults.iter().zip(1u32..) {
        let at = &fault.at;
        let (file, offset, bytes) = (&at.file, at.offset, at.bytes);
        // Writing to a string does not fail.
        let _ =
            writeln!(page, "{number:04}  {file}, offset {offset}: {} ({bytes} bytes)", fault.why);
        for gap in &fault.gaps {
            let below = gap.below.map_or("the end".to_owned(), |below| below.0.to_string());
            let (lane, above) = (gap.lane.0, gap.above.0);
            let _ = writeln!(page, "      lane {lane}: what is between {above} and {below}");
        }
    }
    let writing = || failed("writing", PAGE_NAME);
    let file = aside.create(PAGE_NAME).map_err(|error| writing()(error))?;
    write_full(&*file, page.as_bytes(), 0).map_err(|error| writing()(error))?;
    file.sync_all().map_err(|error| writing()(error))
}

/// Copies what is good of damaged segments.
struct Copier<'a> {
    disk: &'a Arc<dyn Disk>,
    damaged: &'a [&'a Listed],
    /// The segment that is being written again.
    output: Option<(Entry, Output)>,
    /// With where they end.
    done: Vec<(Entry, u64)>,
    /// Seqs of a lane rise, whatever was found.
    lasts: Vec<(LaneId, Seq)>,
    outcome: Result<(), CheckError>,
}

impl Copier<'_> {
    fn run(mut self, layout: &crate::wal::check::Layout) -> Result<Vec<(Entry, u64)>, CheckError> {
        if self.damaged.is_empty() {
            return Ok(self.done);
        }
        let mut copy = |seen: &Seen<'_>| {
            self.outcome = self.copy(seen);
            if self.outcome.is_ok() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        };
        Walk::new(layout, &mut copy).run_from(0)?;
        self.outcome?;
        self.outcome = Ok(());
        self.finish()?;
        Ok(self.done)
    }

    fn copy(&mut self, seen: &Seen<'_>) -> Result<(), CheckError> {
        let (lane, seq) = (seen.frame.lane, seen.frame.seq);
        let is_callers = kind::is_callers(seen.frame.kind);
        if is_callers && !self.rises(lane, seq) {
            return Ok(());
        }
        let Some(listed) = self.damaged.iter().find(|of| of.entry.name == seen.file) else {
            return Ok(());
        };
        if self.output.as_ref().is_none_or(|(entry, _)| entry.id != listed.entry.id) {
            self.finish()?;
            self.begin(listed)?;
        }
        if !is_callers && kind::is_understood(seen.frame.kind) {
            return Ok(());
        }
        let Some((entry, output)) = &mut self.output else { return Ok(()) };
        let (header, head, body) = (seen.header, seen.frame.head, seen.frame.body);
        let placed = Placed { at: 0, header, head, body };
        output.push(&placed).map_err(failed("writing", &entry.name))
    }

    fn rises(&mut self, lane: LaneId, seq: Seq) -> bool {
        match self.lasts.iter_mut().find(|(known, _)| *known == lane) {
            Some((_, last)) if seq <= *last => return false,
            Some((_, last)) => *last = seq,
            None => self.lasts.push((lane, seq)),
        }
        true
    }

    fn begin(&mut self, listed: &Listed) -> Result<(), CheckError> {
        let Entry { id, generation, last, .. } = listed.entry;
        let generation = generation + 1;
        let header = SegmentHeader { id, generation, salt: self.disk.entropy() };
        let name = segment::file_name(id, generation);
        let file = self.disk.create_log(&name).map_err(failed("creating", &name))?;
        write_full(&*file, &header.encode(), 0).map_err(failed("writing", &name))?;
        let output = Output::new(file, &header);
        self.output = Some((Entry { id, generation, last, name }, output));
        Ok(())
    }

    fn finish(&mut self) -> Result<(), CheckError> {
        let Some((entry, mut output)) = self.output.take() else { return Ok(()) };
        output.seal().map_err(failed("writing", &entry.name))?;
        output.file.sync_all().map_err(failed("syncing", &entry.name))?;
        self.done.push((entry, output.at));
        Ok(())
    }
}
