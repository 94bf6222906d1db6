//! A disk in memory that loses, tears and damages what a real one may.
//!
//! What is written and what is durable are kept apart, for the contents of files and for the names
//! in the folder. [`SimDisk::crash`] keeps a legal subset of what was not synced, chosen by a seed:
//! each unit of 512 or 4,096 bytes on its own, the new length or an older one, each created,
//! renamed or removed name on its own; new space may show what stood there before. Handles from
//! before a crash fail for ever. [`Trace`] shows all such subsets of a recorded life.
//!
//! A failed sync is as bad as on Linux: what it should have made durable is lost with the next
//! crash, or a part of it, and until then reads as if it were there; every handle that was open is
//! told once.

mod contents;
mod dice;
mod fault;
mod mount;
mod trace;
mod vault;

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::disk::Disk;
use crate::sim::mount::{Mount, World};
use crate::sim::vault::Op;

pub use dice::Dice;
pub use fault::Fault;
pub use trace::{State, Trace};

/// A folder in memory; clones are the same folder.
#[derive(Debug, Clone, Default)]
pub struct SimDisk {
    world: Arc<Mutex<World>>,
}

impl SimDisk {
    /// An empty folder.
    #[must_use]
    pub fn new() -> SimDisk {
        SimDisk::default()
    }

    /// A folder with these files, all durable.
    #[must_use]
    pub fn of(files: BTreeMap<String, Vec<u8>>) -> SimDisk {
        SimDisk { world: Arc::new(Mutex::new(World::of(files))) }
    }

    fn world(&self) -> MutexGuard<'_, World> {
        self.world.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The folder as one process sees it, until the next crash or kill.
    #[must_use]
    pub fn mount(&self) -> Arc<dyn Disk> {
        Arc::new(Mount::new(&self.world))
    }

    /// Cuts the power: everything that was not synced is kept or lost as the seed says.
    pub fn crash(&self, seed: u64) {
        self.world().crash(seed);
    }

    /// Ends the process: nothing is lost, but handles and locks are gone.
    pub fn kill(&self) {
        self.world().restart();
    }

    /// The `operation`-th change from now on (of a failed read, the `operation`-th read), or the
    /// first after it that can, does `fault`.
    pub fn fail_at(&self, operation: u64, fault: Fault) {
        self.world().faults.plan(operation, fault);
    }

    /// Whether the fault that was asked for is still to come.
    #[must_use]
    pub fn fails_later(&self) -> bool {
        self.world().faults.is_planned()
    }

    /// The disk can't read these bytes of a file any more.
    pub fn fail_reads(&self, name: &str, range: Range<usize>) {
        let mut world = self.world();
        if let Some(file) = world.vault.get_mut(name) {
            file.broken.push(range);
        }
    }

    /// The disk has room for so many bytes, in blocks of 4 KiB; no limit at first.
    pub fn set_capacity(&self, bytes: Option<u64>) {
        self.world().capacity = bytes;
    }

    /// Others take so many bytes of the volume.
    pub fn set_taken(&self, bytes: u64) {
        self.world().taken = bytes;
    }

    /// Bytes that have a place on the disk, preallocated ones too.
    #[must_use]
    pub fn used_bytes(&self) -> u64 {
        self.world().vault.used_bytes()
    }

    /// Changes made so far.
    #[must_use]
    pub fn operations(&self) -> u64 {
        self.world().faults.operations()
    }

    /// Reads so far.
    #[must_use]
    pub fn reads(&self) -> u64 {
        self.world().faults.reads()
    }

    /// Begins to record what is done, until [`SimDisk::recorded`] or a crash.
    pub fn record(&self) {
        let mut world = self.world();
        world.recorded = Some((world.vault.clone(), Vec::new()));
    }

    /// Puts a number into the record: what is promised from here on.
    pub fn note(&self, number: u64) {
        self.world().perform(Op::Note(number));
    }

    /// Ends the recording.
    #[must_use]
    pub fn recorded(&self) -> Trace {
        let (base, ops) = self.world().recorded.take().unwrap_or_default();
        Trace { base, ops }
    }

    /// Names and lengths of all files.
    #[must_use]
    pub fn files(&self) -> Vec<(String, usize)> {
        let world = self.world();
        let len = |name: &String| world.vault.get(name).map_or(0, |file| file.current.len());
        world.vault.names.keys().map(|name| (name.clone(), len(name))).collect()
    }

    /// All files with their bytes.
    #[must_use]
    pub fn contents(&self) -> BTreeMap<String, Vec<u8>> {
        let names = self.files().into_iter().map(|(name, _)| name);
        names.map(|name| (name.clone(), self.bytes(&name))).collect()
    }

    /// The bytes of a file; empty if there is none.
    #[must_use]
    pub fn bytes(&self, name: &str) -> Vec<u8> {
        self.world().vault.get(name).map_or_else(Vec::new, |file| file.current.clone())
    }

    /// Changes what is stored, as rot does.
    pub fn damage(&self, name: &str, change: impl Fn(&mut Vec<u8>)) {
        if let Some(file) = self.world().vault.get_mut(name) {
            file.damage(change);
        }
    }

    /// Removes a file, as a careless hand does.
    pub fn lose(&self, name: &str) {
        self.world().vault.lose(name);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_was_synced_is_certain() {
        let (mut kept, mut lost) = (0, 0);
        for seed in 0..200 {
            let disk = SimDisk::new();
            let folder = disk.mount();
            let file = folder.create("a").unwrap();
            file.write_at(&[1; 1024], 0).unwrap();
            file.sync_all().unwrap();
            folder.sync_folder().unwrap();
            file.write_at(&[2; 1024], 512).unwrap();
            folder.create("b").unwrap();
            disk.crash(seed);
            assert!(file.len().is_err(), "a handle outlived the crash");
            assert!(folder.create("c").is_err(), "a process outlived the crash");
            let bytes = disk.bytes("a");
            assert!(bytes[..512].iter().all(|&byte| byte == 1));
            if bytes[512] == 2 {
                kept += 1;
            } else {
                lost += 1;
            }
            assert_eq!(disk.files().len(), disk.mount().list().unwrap().len());
        }
        assert!(kept > 20 && lost > 20, "{kept} kept, {lost} lost");
    }

    #[test]
    fn a_failed_sync_loses_what_still_can_be_read() {
        let (mut kept, mut lost) = (0, 0);
        for before in 0..50 {
            let disk = SimDisk::new();
            let folder = disk.mount();
            let file = folder.create("a").unwrap();
            folder.sync_folder().unwrap();
            (0..before).for_each(|_| drop(file.sync_data()));
            file.write_at(&[1; 512], 0).unwrap();
            disk.fail_at(1, Fault::FailedSync);
            assert!(file.sync_data().is_err());
            assert!(file.sync_data().is_ok());
            assert_eq!(disk.bytes("a"), [1; 512]);
            disk.crash(1);
            let is_kept = disk.bytes("a") == [1; 512];
            *(if is_kept { &mut kept } else { &mut lost }) += 1;
        }
        assert!(kept > 5 && lost > 5, "{kept} kept, {lost} lost");
    }

    #[test]
    fn a_trace_shows_what_a_power_loss_may_leave_and_nothing_else() {
        let disk = SimDisk::new();
        let folder = disk.mount();
        folder.create("old.segment").unwrap().write_at(&[7; 4096], 0).unwrap();
        let file = folder.create("a").unwrap();
        file.sync_all().unwrap();
        folder.sync_folder().unwrap();
        disk.record();
        file.write_at(&[1; 512], 0).unwrap();
        file.write_at(&[2; 1024], 512).unwrap();
        disk.note(5);
        file.sync_data().unwrap();
        disk.note(9);
        folder.rename("a", "b").unwrap();
        let mut seen = std::collections::BTreeSet::new();
        let shown = disk.recorded().states(3, 20, &mut |state| {
            let name = if state.disk.bytes("a").is_empty() { "b" } else { "a" };
            let bytes = state.disk.bytes(name);
            let sectors: Vec<u8> = bytes.chunks(512).map(|sector| sector[0]).collect();
            assert!(state.note < 9 || sectors == [1, 2, 2], "what was synced is gone: {state:?}");
            seen.insert((state.note, state.disk.files().len(), sectors));
            Ok::<(), ()>(())
        });
        let has = |note, sectors: &[u8]| seen.contains(&(note, 2, sectors.to_vec()));
        assert!(shown.unwrap() >= 12, "{seen:?}");
        assert!(has(0, &[]) && has(0, &[1]) && has(5, &[1, 2, 2]), "{seen:?}");
        assert!(has(5, &[0, 2, 2]) && has(5, &[1, 0, 0]) && has(5, &[1, 0, 2]), "{seen:?}");
        assert!(seen.iter().any(|(_, _, sectors)| sectors.contains(&7)), "nothing stale: {seen:?}");
    }

    #[test]
    fn a_disk_has_room_for_so_much_and_no_more() {
        let disk = SimDisk::new();
        let folder = disk.mount();
        disk.set_capacity(Some(4 * 4096));
        let file = folder.create("a").unwrap();
        file.allocate(2 * 4096).unwrap();
        assert_eq!(disk.used_bytes(), 2 * 4096);
        assert_eq!(file.write_at(&[1; 4 * 4096], 100).unwrap(), 4 * 4096 - 100);
        let other = folder.create("b").unwrap();
        let error = other.write_at(&[1], 0).unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::StorageFull);
        assert!(other.allocate(1).is_err());
        file.write_at(&[2; 100], 0).unwrap();
        // A file that is open keeps its space without a name.
        folder.remove("a").unwrap();
        assert!(other.write_at(&[1], 0).is_err());
        drop(file);
        assert_eq!(other.write_at(&[1], 0).unwrap(), 1);
    }

    #[test]
    fn a_read_fails_once_or_always() {
        let disk = SimDisk::new();
        let file = disk.mount().create("a").unwrap();
        file.write_at(&[1; 8192], 0).unwrap();
        disk.fail_at(2, Fault::FailedRead);
        let mut bytes = [0; 100];
        let mut read = |at| file.read_at(&mut bytes, at).is_ok();
        assert!(read(0) && !read(0) && read(0));
        disk.fail_reads("a", 4096..8192);
        assert!(read(0) && !read(4000) && !read(8191) && read(8192));
    }
}
