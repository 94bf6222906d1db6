//! A simulated disk whose syncs wait while its gate is shut: what is in flight stays so as long as
//! a test wants.

use courant_storage::disk::{Disk, File};
use std::io;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};

/// Lets syncs pass, or not.
#[derive(Debug, Default)]
pub struct Gate {
    is_shut: Mutex<bool>,
    is_reader_shut: Mutex<bool>,
    /// So many reads of bodies fail.
    failing_reads: AtomicU32,
    changed: Condvar,
}

impl Gate {
    /// Syncs wait from now on.
    pub fn shut(&self) {
        *self.is_shut.lock().unwrap_or_else(PoisonError::into_inner) = true;
    }

    /// Syncs pass again.
    pub fn open(&self) {
        *self.is_shut.lock().unwrap_or_else(PoisonError::into_inner) = false;
        self.changed.notify_all();
    }

    /// Bodies are not read back from now on.
    pub fn shut_reader(&self) {
        *self.is_reader_shut.lock().unwrap_or_else(PoisonError::into_inner) = true;
    }

    /// They are again.
    pub fn open_reader(&self) {
        *self.is_reader_shut.lock().unwrap_or_else(PoisonError::into_inner) = false;
        self.changed.notify_all();
    }

    /// The next so many reads of bodies fail with an I/O error.
    pub fn fail_reads(&self, count: u32) {
        self.failing_reads.store(count, Ordering::SeqCst);
    }

    fn fails_read(&self) -> bool {
        let one_less = |count: u32| count.checked_sub(1);
        self.failing_reads.fetch_update(Ordering::SeqCst, Ordering::SeqCst, one_less).is_ok()
    }

    fn pass(&self, is_shut: &Mutex<bool>) {
        let is_shut = is_shut.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = self.changed.wait_while(is_shut, |is_shut| *is_shut);
        drop(waited.unwrap_or_else(PoisonError::into_inner));
    }
}

/// A disk behind a gate.
pub(super) struct GatedDisk {
    pub(super) disk: Arc<dyn Disk>,
    pub(super) gate: Arc<Gate>,
}

struct GatedFile {
    file: Arc<dyn File>,
    gate: Arc<Gate>,
}

impl GatedDisk {
    fn gated(&self, file: Arc<dyn File>) -> Arc<dyn File> {
        Arc::new(GatedFile { file, gate: Arc::clone(&self.gate) })
    }
}

impl Disk for GatedDisk {
    fn open(&self, name: &str) -> io::Result<Arc<dyn File>> {
        self.disk.open(name).map(|file| self.gated(file))
    }

    fn create(&self, name: &str) -> io::Result<Arc<dyn File>> {
        self.disk.create(name).map(|file| self.gated(file))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.disk.rename(from, to)
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.disk.remove(name)
    }

    fn list(&self) -> io::Result<Vec<String>> {
        self.disk.list()
    }

    fn sync_folder(&self) -> io::Result<()> {
        self.disk.sync_folder()
    }

    fn lock(&self, name: &str) -> io::Result<Option<Box<dyn Send + Sync>>> {
        self.disk.lock(name)
    }

    fn entropy(&self) -> u64 {
        self.disk.entropy()
    }
}

impl File for GatedFile {
    fn read_at(&self, into: &mut [u8], offset: u64) -> io::Result<usize> {
        if std::thread::current().name() == Some("courant-reader") {
            self.gate.pass(&self.gate.is_reader_shut);
            if self.gate.fails_read() {
                return Err(io::Error::from_raw_os_error(5));
            }
        }
        self.file.read_at(into, offset)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<usize> {
        self.file.write_at(bytes, offset)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.gate.pass(&self.gate.is_shut);
        self.file.sync_data()
    }

    fn sync_all(&self) -> io::Result<()> {
        self.gate.pass(&self.gate.is_shut);
        self.file.sync_all()
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.file.set_len(len)
    }

    fn allocate(&self, len: u64) -> io::Result<()> {
        self.file.allocate(len)
    }

    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }
}
