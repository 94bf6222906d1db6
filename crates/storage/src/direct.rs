//! Files of the operating system that are written around the page cache.
//!
//! What the log writes is not read back through the file as long as it is in the tail, and a page
//! of the cache costs several times what its write does. So sectors go straight to the disk
//! (`O_DIRECT`), through a buffer with the alignment that this wants; everything else, and every
//! file system that does not know it, is written as usual. The kernel keeps both views of the file
//! the same.

use std::fs;
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use crate::limits::SECTOR_BYTES;

/// What memory has to be aligned to; enough for every disk there is.
const ALIGN_BYTES: usize = 4096;
/// Most bytes of one write.
const STAGING_BYTES: usize = 1 << 20;
/// The log and its filler.
const SPARES_MAX: usize = 2;

/// Aligned buffers of one folder: as many as write at a time, kept for the next write.
#[derive(Debug, Default)]
pub(crate) struct Staging(Mutex<Vec<Vec<u8>>>);

impl Staging {
    fn take(&self) -> Vec<u8> {
        let spare = self.0.lock().unwrap_or_else(PoisonError::into_inner).pop();
        spare.unwrap_or_else(|| vec![0; STAGING_BYTES + ALIGN_BYTES])
    }

    fn give(&self, buffer: Vec<u8>) {
        let mut spares = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if spares.len() < SPARES_MAX {
            spares.push(buffer);
        }
    }
}

/// The way around the page cache for one file.
pub(crate) struct Direct {
    file: fs::File,
    staging: Arc<Staging>,
    /// The disk refused it once.
    is_refused: AtomicBool,
}

impl Direct {
    /// Opens a file that exists once more, to be written directly; `None` where that can't be.
    pub(crate) fn open(path: &Path, staging: &Arc<Staging>) -> Option<Direct> {
        let flag = i32::try_from(rustix::fs::OFlags::DIRECT.bits()).ok()?;
        let file = fs::OpenOptions::new().write(true).custom_flags(flag).open(path).ok()?;
        let staging = Arc::clone(staging);
        Some(Direct { file, staging, is_refused: AtomicBool::new(false) })
    }

    /// Writes whole sectors and says how many bytes; `None` if they have to be written as usual.
    pub(crate) fn write_at(&self, bytes: &[u8], offset: u64) -> Option<io::Result<usize>> {
        let is_aligned = offset.is_multiple_of(SECTOR_BYTES as u64) && bytes.len() >= SECTOR_BYTES;
        if !is_aligned || self.is_refused.load(Ordering::Relaxed) {
            return None;
        }
        let len = (bytes.len() / SECTOR_BYTES * SECTOR_BYTES).min(STAGING_BYTES);
        let mut buffer = self.staging.take();
        let written = self.write_from(&mut buffer, bytes.get(..len)?, offset);
        self.staging.give(buffer);
        match written {
            Err(error) if error.raw_os_error() == Some(rustix::io::Errno::INVAL.raw_os_error()) => {
                self.is_refused.store(true, Ordering::Relaxed);
                None
            }
            written => Some(written),
        }
    }

    fn write_from(&self, buffer: &mut [u8], bytes: &[u8], offset: u64) -> io::Result<usize> {
        let start = buffer.as_ptr().align_offset(ALIGN_BYTES);
        let room = buffer.get_mut(start..).and_then(|room| room.get_mut(..bytes.len()));
        let room = room.ok_or(io::ErrorKind::InvalidInput)?;
        room.copy_from_slice(bytes);
        self.file.write_at(room, offset)
    }
}
