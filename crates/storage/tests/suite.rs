//! Every store passes the one suite.

#![allow(clippy::unwrap_used, clippy::cast_possible_truncation, reason = "tests panic")]

use std::sync::Arc;

use courant_storage::memory::MemoryOptions;
use courant_storage::sim::SimDisk;
use courant_storage::suite::{Harness, run_all};
use courant_storage::{Disk, Memory, RealDisk, Store, Wal, WalOptions};

const IN_FLIGHT_BYTES_MAX: usize = 8 << 20;

struct OnDisk {
    disk: Arc<dyn Disk>,
    options: WalOptions,
    /// Keeps a folder of the operating system until the case is over.
    _folder: Option<tempfile::TempDir>,
}

impl Harness for OnDisk {
    fn open(&mut self) -> Result<Arc<dyn Store>, String> {
        let opened = Wal::open(Arc::clone(&self.disk), self.options.clone());
        Ok(Arc::new(opened.map_err(|error| error.to_string())?.0))
    }

    fn in_flight_bytes_max(&self) -> usize {
        self.options.in_flight_bytes_max
    }
}

fn options() -> WalOptions {
    WalOptions { in_flight_bytes_max: IN_FLIGHT_BYTES_MAX, ..WalOptions::default() }
}

struct InMemory {
    memory: Option<Arc<Memory>>,
}

impl Harness for InMemory {
    fn open(&mut self) -> Result<Arc<dyn Store>, String> {
        let next = match self.memory.take() {
            Some(before) => before.reopened(),
            None => Memory::bounded(MemoryOptions {
                in_flight_bytes_max: IN_FLIGHT_BYTES_MAX,
                ..MemoryOptions::default()
            }),
        };
        let next = Arc::new(next);
        self.memory = Some(Arc::clone(&next));
        Ok(next)
    }

    fn in_flight_bytes_max(&self) -> usize {
        IN_FLIGHT_BYTES_MAX
    }
}

#[test]
fn memory() {
    run_all(&|| Box::new(InMemory { memory: None })).unwrap();
}

#[test]
fn the_log_on_a_simulated_disk_with_small_segments() {
    let options = || WalOptions { segment_bytes: 8_192, fill_ahead_bytes: 0, ..options() };
    let fresh = || OnDisk { disk: SimDisk::new().mount(), options: options(), _folder: None };
    run_all(&|| Box::new(fresh())).unwrap();
}

#[test]
fn the_log_on_a_real_disk() {
    run_all(&|| {
        let folder = tempfile::tempdir().unwrap();
        let disk = Arc::new(RealDisk::new(folder.path().join("data")).unwrap());
        Box::new(OnDisk { disk, options: options(), _folder: Some(folder) })
    })
    .unwrap();
}

#[test]
fn the_log_on_a_real_disk_with_small_segments_that_are_filled_ahead() {
    run_all(&|| {
        let folder = tempfile::tempdir().unwrap();
        let disk = Arc::new(RealDisk::new(folder.path()).unwrap());
        let options = WalOptions { segment_bytes: 1 << 20, fill_ahead_bytes: 1 << 20, ..options() };
        Box::new(OnDisk { disk, options, _folder: Some(folder) })
    })
    .unwrap();
}
