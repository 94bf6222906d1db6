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
use std::sync::{Mutex, PoisonError};

use crate::limits::SECTOR_BYTES;

/// What memory has to be aligned to; enough for every disk there is.
const ALIGN_BYTES: usize = 4096;
/// Most bytes of one write.
const STAGING_BYTES: usize = 1 << 20;

/// The way around the page cache for one file.
pub(crate) struct Direct {
    file: fs::File,
    /// Made at the first write, because most open segments are only read.
    staging: Mutex<Vec<u8>>,
    /// The disk refused it once.
    is_refused: AtomicBool,
}

impl Direct {
    /// Opens a file that exists once more, to be written directly; `None` where that can't be.
    pub(crate) fn open(path: &Path) -> Option<Direct> {
        let flag = i32::try_from(rustix::fs::OFlags::DIRECT.bits()).ok()?;
        let file = fs::OpenOptions::new().write(true).custom_flags(flag).open(path).ok()?;
        Some(Direct { file, staging: Mutex::default(), is_refused: AtomicBool::new(false) })
    }

    /// Writes whole sectors and says how many bytes; `None` if they have to be written as usual.
    pub(crate) fn write_at(&self, bytes: &[u8], offset: u64) -> Option<io::Result<usize>> {
        let is_aligned = offset.is_multiple_of(SECTOR_BYTES as u64) && bytes.len() >= SECTOR_BYTES;
        if !is_aligned || self.is_refused.load(Ordering::Relaxed) {
            return None;
        }
        let len = (bytes.len() / SECTOR_BYTES * SECTOR_BYTES).min(STAGING_BYTES);
        let bytes = bytes.get(..len)?;
        let mut staging = self.staging.lock().unwrap_or_else(PoisonError::into_inner);
        if staging.len() < len + ALIGN_BYTES {
            staging.resize(len.next_multiple_of(ALIGN_BYTES) + ALIGN_BYTES, 0);
        }
        let start = staging.as_ptr().align_offset(ALIGN_BYTES);
        let room = staging.get_mut(start..)?.get_mut(..len)?;
        room.copy_from_slice(bytes);
        match self.file.write_at(room, offset) {
            Err(error) if error.raw_os_error() == Some(rustix::io::Errno::INVAL.raw_os_error()) => {
                self.is_refused.store(true, Ordering::Relaxed);
                None
            }
            written => Some(written),
        }
    }
}
