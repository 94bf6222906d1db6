//! The one way to files: a flat folder behind a trait, so that faults can be injected.
//!
//! Names are chosen by this crate and never by a client. A file made, renamed or removed is certain
//! to be so after a crash only once [`Disk::sync_folder`] has returned.

use std::fs;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::direct::{Direct, Staging};

/// A flat folder of files.
pub trait Disk: Send + Sync {
    /// Opens a file that exists.
    fn open(&self, name: &str) -> io::Result<Arc<dyn File>>;

    /// Makes a file, or empties the one of that name.
    fn create(&self, name: &str) -> io::Result<Arc<dyn File>>;

    /// As [`Disk::open`], for a file that is written in whole sectors and seldom read: it may be
    /// written around the page cache.
    fn open_log(&self, name: &str) -> io::Result<Arc<dyn File>> {
        self.open(name)
    }

    /// As [`Disk::create`], for such a file.
    fn create_log(&self, name: &str) -> io::Result<Arc<dyn File>> {
        self.create(name)
    }

    /// Gives a file another name, in the place of a file that had it.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;

    /// Removes a file.
    fn remove(&self, name: &str) -> io::Result<()>;

    /// Names of all files, in no order.
    fn list(&self) -> io::Result<Vec<String>>;

    /// Makes all that was created, renamed and removed certain.
    fn sync_folder(&self) -> io::Result<()>;

    /// Takes the folder for this process alone until the guard is dropped; `None` if another has
    /// it.
    fn lock(&self, name: &str) -> io::Result<Option<Box<dyn Send + Sync>>>;

    /// A number that nobody can guess.
    fn entropy(&self) -> u64;

    /// How much room the volume of the folder has; `None` if nobody knows, which is taken as
    /// without end.
    fn space(&self) -> io::Result<Option<Space>> {
        Ok(None)
    }
}

/// The room on a volume, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Space {
    /// Of the volume.
    pub total: u64,
    /// What this process may still take.
    pub available: u64,
}

/// One file; all offsets are in bytes.
pub trait File: Send + Sync {
    /// Reads up to `into.len()` bytes; fewer mean the end of the file, or an interruption.
    fn read_at(&self, into: &mut [u8], offset: u64) -> io::Result<usize>;

    /// Writes up to `bytes.len()` bytes and says how many.
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<usize>;

    /// Makes the contents certain, and what is needed to read them.
    fn sync_data(&self) -> io::Result<()>;

    /// Makes the contents and everything else about the file certain.
    fn sync_all(&self) -> io::Result<()>;

    /// Cuts or extends.
    fn set_len(&self, len: u64) -> io::Result<()>;

    /// Makes sure of the space up to `len` and extends the file to it; what is new reads as zeros.
    /// Where the file system can't promise space, zeros are written. When it fails, the length is
    /// anything between the old one and `len`.
    fn allocate(&self, len: u64) -> io::Result<()>;

    /// Length.
    fn len(&self) -> io::Result<u64>;

    /// Whether it has no contents.
    fn is_empty(&self) -> io::Result<bool> {
        Ok(self.len()? == 0)
    }
}

/// Writes all of `bytes`, in as many steps as the file takes.
pub(crate) fn write_full(file: &dyn File, mut bytes: &[u8], mut offset: u64) -> io::Result<()> {
    while !bytes.is_empty() {
        match file.write_at(bytes, offset) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(written) => {
                bytes = bytes.get(written..).unwrap_or(&[]);
                offset += written as u64;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Extends the file to `len` with zeros that are written.
fn write_zeros(file: &dyn File, len: u64) -> io::Result<()> {
    const STEP_BYTES: usize = 1 << 20;
    let mut at = file.len()?;
    let zeros = vec![0; STEP_BYTES];
    while at < len {
        let step = usize::try_from(len - at).unwrap_or(STEP_BYTES).min(STEP_BYTES);
        write_full(file, zeros.get(..step).unwrap_or(&zeros), at)?;
        at += step as u64;
    }
    Ok(())
}

/// Whether an operation failed because the disk, or the share of it for this user, is full.
pub(crate) fn is_full(error: &io::Error) -> bool {
    use io::ErrorKind::{QuotaExceeded, StorageFull, WriteZero};
    matches!(error.kind(), StorageFull | QuotaExceeded | WriteZero)
}

/// Reads until `into` is full or the file ends, and says how much was read.
pub(crate) fn read_full(file: &dyn File, into: &mut [u8], offset: u64) -> io::Result<usize> {
    let mut done = 0;
    while let Some(room) = into.get_mut(done..).filter(|room| !room.is_empty()) {
        match file.read_at(room, offset + done as u64) {
            Ok(0) => break,
            Ok(read) => done += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(done)
}

/// A folder of the operating system.
#[derive(Debug)]
pub struct RealDisk {
    folder: PathBuf,
    handle: fs::File,
    staging: Arc<Staging>,
}

impl RealDisk {
    /// Opens a folder and makes it if it is not there, with its parents.
    pub fn new(path: impl AsRef<Path>) -> io::Result<RealDisk> {
        let folder = std::path::absolute(path)?;
        let missing: Vec<&Path> = folder.ancestors().take_while(|above| !above.is_dir()).collect();
        fs::create_dir_all(&folder)?;
        for made in missing {
            if let Some(parent) = made.parent() {
                fs::File::open(parent)?.sync_all()?;
            }
        }
        let handle = fs::File::open(&folder)?;
        Ok(RealDisk { folder, handle, staging: Arc::default() })
    }
}

impl RealDisk {
    fn opened(&self, name: &str) -> io::Result<fs::File> {
        fs::OpenOptions::new().read(true).write(true).open(self.folder.join(name))
    }

    fn direct(&self, name: &str) -> Option<Direct> {
        Direct::open(&self.folder.join(name), &self.staging)
    }

    fn created(&self, name: &str) -> io::Result<fs::File> {
        let mut options = fs::OpenOptions::new();
        options.read(true).write(true).create(true).truncate(true);
        options.open(self.folder.join(name))
    }
}

impl Disk for RealDisk {
    fn open(&self, name: &str) -> io::Result<Arc<dyn File>> {
        Ok(Arc::new(RealFile { file: self.opened(name)?, direct: None }))
    }

    fn create(&self, name: &str) -> io::Result<Arc<dyn File>> {
        Ok(Arc::new(RealFile { file: self.created(name)?, direct: None }))
    }

    fn open_log(&self, name: &str) -> io::Result<Arc<dyn File>> {
        let file = self.opened(name)?;
        Ok(Arc::new(RealFile { file, direct: self.direct(name) }))
    }

    fn create_log(&self, name: &str) -> io::Result<Arc<dyn File>> {
        let file = self.created(name)?;
        Ok(Arc::new(RealFile { file, direct: self.direct(name) }))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        fs::rename(self.folder.join(from), self.folder.join(to))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        fs::remove_file(self.folder.join(name))
    }

    fn list(&self) -> io::Result<Vec<String>> {
        let names = fs::read_dir(&self.folder)?
            .map(|entry| entry.map(|entry| entry.file_name().to_string_lossy().into_owned()));
        names.collect()
    }

    fn sync_folder(&self) -> io::Result<()> {
        self.handle.sync_all()
    }

    fn lock(&self, name: &str) -> io::Result<Option<Box<dyn Send + Sync>>> {
        let mut options = fs::OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false);
        let file = options.open(self.folder.join(name))?;
        match file.try_lock() {
            Ok(()) => Ok(Some(Box::new(file))),
            Err(fs::TryLockError::WouldBlock) => Ok(None),
            Err(fs::TryLockError::Error(error)) => Err(error),
        }
    }

    fn entropy(&self) -> u64 {
        use std::hash::{BuildHasher, RandomState};
        RandomState::new().hash_one(std::process::id())
    }

    fn space(&self) -> io::Result<Option<Space>> {
        let volume = rustix::fs::fstatvfs(&self.handle)?;
        let total = volume.f_blocks.saturating_mul(volume.f_frsize);
        let available = volume.f_bavail.saturating_mul(volume.f_frsize);
        Ok((total > 0).then_some(Space { total, available }))
    }
}

struct RealFile {
    file: fs::File,
    direct: Option<Direct>,
}

impl File for RealFile {
    fn read_at(&self, into: &mut [u8], offset: u64) -> io::Result<usize> {
        self.file.read_at(into, offset)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<usize> {
        let direct = self.direct.as_ref().and_then(|direct| direct.write_at(bytes, offset));
        direct.unwrap_or_else(|| self.file.write_at(bytes, offset))
    }

    fn sync_data(&self) -> io::Result<()> {
        self.file.sync_data()
    }

    fn sync_all(&self) -> io::Result<()> {
        self.file.sync_all()
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.file.set_len(len)
    }

    fn allocate(&self, len: u64) -> io::Result<()> {
        use rustix::fs::{FallocateFlags, fallocate};
        use rustix::io::Errno;
        loop {
            match fallocate(&self.file, FallocateFlags::empty(), 0, len) {
                Err(Errno::INTR) => {}
                Err(Errno::OPNOTSUPP | Errno::NOSYS) => return write_zeros(self, len),
                other => return Ok(other?),
            }
        }
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.file.metadata()?.len())
    }
}
