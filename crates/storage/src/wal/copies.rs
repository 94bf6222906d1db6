//! The two equal copies of the manifest: damage to either file alone costs nothing.
//!
//! Replacing, in steps:
//! 1. Both files get room for the longer manifest, while their contents are untouched: a full disk
//!    is noticed before anything is overwritten, and a replacement that is no longer needs no room.
//! 2. The copy that does not count, or the one whose replacing failed, is overwritten in place and
//!    synced; then the other.
//!
//! So at every moment one copy is intact, and the older of two intact ones lists nothing that was
//! removed, because files are removed only after both were replaced. A copy that is not there yet
//! is made beside and renamed: no crash leaves a name without its contents.

use std::io;
use std::sync::Arc;

use crate::disk::{Disk, File, read_full, write_full};
use crate::error::{OpenError, Poison};
use crate::wal::directory::{folder, synced, written};
use crate::wal::manifest::{FORMAT_VERSION, Manifest, ManifestFault, NAMES, NEW_NAME};

/// Room grows in steps of this many bytes.
const STEP_BYTES: usize = 16 << 10;
/// What both may have to grow by.
pub(crate) const ROOM_BYTES: u64 = 2 * STEP_BYTES as u64;
/// A larger file is not a manifest: two million segments.
const FILE_BYTES_MAX: u64 = 128 << 20;

/// The files of the two copies, as far as they are there.
pub(crate) struct Copies {
    files: [Option<Arc<dyn File>>; 2],
    /// The one to be written first: the other one holds the manifest that counts.
    first: usize,
}

/// What was read, of which copy.
type Found = (Result<Manifest, ManifestFault>, usize);

impl Copies {
    /// No file is there yet.
    pub(crate) fn none() -> Copies {
        Copies { files: [None, None], first: 0 }
    }

    /// Reads both; the intact one with the higher generation counts. Gives also the name of a copy
    /// that is not there or damaged.
    pub(crate) fn read(
        disk: &dyn Disk,
    ) -> Result<(Copies, Manifest, Option<&'static str>), OpenError> {
        let mut copies = Copies::none();
        let mut found: Vec<Found> = Vec::new();
        for (at, (name, slot)) in NAMES.iter().zip(&mut copies.files).enumerate() {
            let io = |source| OpenError::Io { what: "reading", file: (*name).to_owned(), source };
            match disk.open(name) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(io(error)),
                Ok(file) => {
                    found.push((Manifest::decode(&contents(&*file).map_err(io)?), at));
                    *slot = Some(file);
                }
            }
        }
        let lost =
            (0..NAMES.len()).find(|&at| !found.iter().any(|(read, of)| *of == at && read.is_ok()));
        let intact = found.iter().filter_map(|(read, at)| Some((read.as_ref().ok()?, *at)));
        let Some((manifest, at)) = intact.max_by_key(|(manifest, _)| manifest.generation) else {
            return Err(refused(&found));
        };
        copies.first = NAMES.len() - 1 - at;
        Ok((copies, manifest.clone(), lost.and_then(|at| NAMES.get(at).copied())))
    }

    /// Replaces both, durably. After an error one of them at least is as before.
    pub(crate) fn replace(
        &mut self,
        disk: &dyn Disk,
        manifest: &Manifest,
        skips_sync: bool,
    ) -> Result<(), Poison> {
        let bytes = manifest.encode();
        for (name, file) in NAMES.iter().zip(&self.files) {
            if let Some(file) = file {
                grow(&**file, bytes.len()).map_err(written(name, 0))?;
            }
        }
        for at in [self.first, NAMES.len() - 1 - self.first] {
            let (Some(name), Some(slot)) = (NAMES.get(at), self.files.get_mut(at)) else {
                continue;
            };
            self.first = at;
            match slot {
                Some(file) => {
                    write_full(&**file, &bytes, 0).map_err(written(name, 0))?;
                    if !skips_sync {
                        file.sync_all().map_err(synced(name))?;
                    }
                }
                None => *slot = Some(make(disk, name, &bytes)?),
            }
        }
        Ok(())
    }
}

fn refused(found: &[Found]) -> OpenError {
    let newer = found.iter().find_map(|(read, _)| match read {
        Err(ManifestFault::Newer(version)) => Some(*version),
        _ => None,
    });
    match newer {
        Some(found) => OpenError::Newer { found, known: FORMAT_VERSION },
        None => {
            OpenError::Rotten { file: NAMES[0].to_owned(), offset: 0, what: "the list of segments" }
        }
    }
}

fn contents(file: &dyn File) -> io::Result<Vec<u8>> {
    let len = file.len()?.min(FILE_BYTES_MAX);
    let mut bytes = vec![0; usize::try_from(len).unwrap_or(0)];
    let read = read_full(file, &mut bytes, 0)?;
    bytes.truncate(read);
    Ok(bytes)
}

/// Makes room behind the contents.
fn grow(file: &dyn File, wanted: usize) -> io::Result<()> {
    let (len, wanted) = (file.len()?, wanted.next_multiple_of(STEP_BYTES) as u64);
    if len >= wanted {
        return Ok(());
    }
    file.allocate(wanted)
}

fn make(disk: &dyn Disk, name: &str, bytes: &[u8]) -> Result<Arc<dyn File>, Poison> {
    let file = disk.create(NEW_NAME).map_err(folder("creating", NEW_NAME))?;
    write_full(&*file, bytes, 0).map_err(written(NEW_NAME, 0))?;
    grow(&*file, bytes.len()).map_err(written(NEW_NAME, 0))?;
    file.sync_all().map_err(synced(NEW_NAME))?;
    disk.rename(NEW_NAME, name).map_err(folder("renaming", NEW_NAME))?;
    disk.sync_folder().map_err(synced("the data folder"))?;
    Ok(file)
}
