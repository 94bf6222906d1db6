//! What files there are in a folder, and which of them are needed: the part of an opening that
//! looks at no batch.

use std::collections::HashSet;
use std::io;
use std::sync::Arc;

use crate::disk::{Disk, read_full};
use crate::error::OpenError;
use crate::limits::SECTOR_BYTES;
use crate::wal::chain::BatchHeader;
use crate::wal::checkpoint::{self, CheckpointFile};
use crate::wal::manifest::{self, Manifest};
use crate::wal::segment::{self, FILE_SUFFIX, HeaderFault, Segment, SegmentHeader};
use crate::wal::{reserve, summary};

/// The lock on the folder.
pub(crate) const LOCK_NAME: &str = "lock";

/// Turns an error of the operating system into the reason for not opening.
pub(crate) fn failed(what: &'static str, file: &str) -> impl FnOnce(io::Error) -> OpenError {
    let file = file.to_owned();
    move |source| match source.kind() {
        io::ErrorKind::NotFound => OpenError::Missing { file },
        _ => OpenError::Io { what, file, source },
    }
}

/// A file that does not hold what was written to it.
pub(crate) fn rotten(file: &str, offset: u64, what: &'static str) -> OpenError {
    OpenError::Rotten { file: file.to_owned(), offset, what }
}

/// Refuses a folder without a manifest that holds what is not ours.
pub(crate) fn refuse_foreign(names: &[String]) -> Result<(), OpenError> {
    let ours = [LOCK_NAME, checkpoint::NAME, manifest::NEW_NAME, reserve::NAME];
    let is_ours = |name: &&String| {
        ours.contains(&name.as_str())
            || name.ends_with(FILE_SUFFIX)
            || name.ends_with(summary::SUFFIX)
    };
    match names.iter().find(|name| !is_ours(name)) {
        Some(file) => Err(OpenError::Foreign { file: file.clone() }),
        None => Ok(()),
    }
}

/// Opens the checkpoint of a folder that has a manifest.
pub(crate) fn open_checkpoint(disk: &dyn Disk) -> Result<CheckpointFile, OpenError> {
    let name = checkpoint::NAME;
    let file = disk.open(name).map_err(failed("opening", name))?;
    let opened = CheckpointFile::open(file).map_err(failed("reading", name))?;
    opened.ok_or_else(|| rotten(name, 0, "the statement how far the log is durable"))
}

/// Opens a segment that the manifest lists, as far as its header.
pub(crate) fn open_segment(
    disk: &Arc<dyn Disk>,
    entry: &manifest::Entry,
) -> Result<Arc<Segment>, OpenError> {
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
    let segment = Segment::new(disk, &header, name.as_str().into());
    segment.state_size(file.len().map_err(failed("reading", name))?);
    Ok(Arc::new(segment.standing_for(entry.last)))
}

/// Files that a crash left behind: segments before a manifest listed them, or after none did any
/// more. What is above all that is listed was never written to; if it was, the manifest is not what
/// it should be.
pub(crate) fn leftovers<'a>(
    disk: &dyn Disk,
    manifest: &Manifest,
    names: &'a [String],
) -> Result<Vec<&'a str>, OpenError> {
    let listed_to = manifest.segments.last().map_or(0, |entry| entry.last);
    let listed = |entry: &manifest::Entry| [entry.name.clone(), summary::name_beside(&entry.name)];
    let listed: HashSet<String> = manifest.segments.iter().flat_map(listed).collect();
    let mut leftovers = Vec::new();
    for name in names.iter().filter(|name| !listed.contains(*name)) {
        if name.ends_with(summary::SUFFIX) {
            leftovers.push(name.as_str());
        }
        if !name.ends_with(FILE_SUFFIX) {
            continue;
        }
        let id = segment::parse_name(name).map_or(u64::MAX, |(id, _)| id);
        if id > listed_to && holds_batch(disk, name)? {
            let file = manifest::NAMES[0];
            return Err(rotten(file, 0, "a list without a segment that is in use"));
        }
        leftovers.push(name);
    }
    Ok(leftovers)
}

fn holds_batch(disk: &dyn Disk, name: &str) -> Result<bool, OpenError> {
    let file = disk.open(name).map_err(failed("opening", name))?;
    let mut sectors = [0; 2 * SECTOR_BYTES];
    read_full(&*file, &mut sectors, 0).map_err(failed("reading", name))?;
    let (first, second) = sectors.split_at(SECTOR_BYTES);
    Ok(SegmentHeader::decode(first)
        .is_ok_and(|(_, seed)| BatchHeader::decode(second, seed).is_some()))
}
