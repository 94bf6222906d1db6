//! A disk in memory that loses, tears and damages what a real one may.
//!
//! What is written and what is durable are kept apart, for the sectors of files and for the names
//! in the folder. [`SimDisk::crash`] keeps a legal subset of what was not synced, chosen by a seed:
//! each sector of 512 bytes on its own, the new length or the old one, each created, renamed or
//! removed name on its own. Handles from before a crash fail for ever.
//!
//! A failed sync is as bad as on Linux: what it should have made durable is lost with the next
//! crash, and until then reads as if it were there; every handle that was open is told once.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::disk::{Disk, File};
use crate::limits::SECTOR_BYTES;

/// A small generator of numbers from a seed (splitmix64).
#[derive(Debug, Clone)]
pub struct Dice(u64);

impl Dice {
    /// One for a seed.
    #[must_use]
    pub fn new(seed: u64) -> Dice {
        Dice(seed)
    }

    /// The next number.
    pub fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `bound`, which is at least 1.
    pub fn below(&mut self, bound: u64) -> u64 {
        self.roll() % bound.max(1)
    }

    /// True in `percent` of 100 cases.
    pub fn chance(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }
}

/// What an operation is made to do instead of what was asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// A write fails with an I/O error; half of it may have happened.
    FailedWrite,
    /// A write finds no room.
    NoSpace,
    /// Half of a write happens, and the next finds no room.
    ShortWrite,
    /// A sync fails, and what it should have made durable never will be.
    FailedSync,
    /// The power is gone: this operation and all that follow fail.
    PowerLoss,
}

impl Fault {
    /// All of them.
    pub const ALL: [Fault; 5] = [
        Fault::FailedWrite,
        Fault::NoSpace,
        Fault::ShortWrite,
        Fault::FailedSync,
        Fault::PowerLoss,
    ];
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Action {
    Write,
    Sync,
    Folder,
}

#[derive(Debug, Default)]
struct Contents {
    durable: Vec<u8>,
    current: Vec<u8>,
    /// Sectors of `current` that were written since the last sync.
    dirty: BTreeSet<usize>,
    /// It was emptied since the last sync.
    emptied: bool,
    /// Syncs that failed: each handle that was open then is told once.
    failed_syncs: u64,
}

#[derive(Debug, Clone)]
enum NameChange {
    Created { name: String, file: usize },
    Renamed { from: String, to: String },
    Removed { name: String },
}

#[derive(Debug, Default)]
struct World {
    files: Vec<Contents>,
    names: BTreeMap<String, usize>,
    durable_names: BTreeMap<String, usize>,
    changes: Vec<NameChange>,
    /// Rises with every crash.
    epoch: u64,
    locked: bool,
    operations: u64,
    fault: Option<(u64, Fault)>,
    power_lost: bool,
    no_space_next: bool,
    entropy: u64,
}

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

    fn world(&self) -> MutexGuard<'_, World> {
        self.world.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The folder as one process sees it, until the next crash or kill.
    #[must_use]
    pub fn mount(&self) -> Arc<dyn Disk> {
        Arc::new(Mount { world: Arc::clone(&self.world), epoch: self.world().epoch })
    }

    /// Cuts the power: everything that was not synced is kept or lost as the seed says.
    pub fn crash(&self, seed: u64) {
        let mut dice = Dice::new(seed);
        // Whole disks that lose nothing, or all, are as likely as mixtures.
        let odds = [0, 100, 50, 10, 90];
        let kept_percent = odds.get(seed as usize % odds.len()).copied().unwrap_or(50);
        let mut world = self.world();
        for file in &mut world.files {
            file.crash(&mut dice, kept_percent);
        }
        let mut names = std::mem::take(&mut world.durable_names);
        for change in std::mem::take(&mut world.changes) {
            if dice.chance(kept_percent) {
                change.apply(&mut names);
            }
        }
        world.names.clone_from(&names);
        world.durable_names = names;
        world.restart();
    }

    /// Ends the process: nothing is lost, but handles and locks are gone.
    pub fn kill(&self) {
        self.world().restart();
    }

    /// The `operation`-th change from now on, or the first after it that can, does `fault`.
    pub fn fail_at(&self, operation: u64, fault: Fault) {
        let mut world = self.world();
        let at = world.operations + operation;
        world.fault = Some((at, fault));
    }

    /// Changes made so far.
    #[must_use]
    pub fn operations(&self) -> u64 {
        self.world().operations
    }

    /// Names and lengths of all files.
    #[must_use]
    pub fn files(&self) -> Vec<(String, usize)> {
        let world = self.world();
        let len = |&file: &usize| world.files.get(file).map_or(0, |file| file.current.len());
        world.names.iter().map(|(name, file)| (name.clone(), len(file))).collect()
    }

    /// The bytes of a file; empty if there is none.
    #[must_use]
    pub fn bytes(&self, name: &str) -> Vec<u8> {
        let world = self.world();
        let file = world.names.get(name).and_then(|&file| world.files.get(file));
        file.map_or_else(Vec::new, |file| file.current.clone())
    }

    /// Changes what is stored, as rot does.
    pub fn damage(&self, name: &str, change: impl Fn(&mut Vec<u8>)) {
        let mut world = self.world();
        let file = world.names.get(name).copied();
        if let Some(file) = file.and_then(|file| world.files.get_mut(file)) {
            change(&mut file.current);
            file.durable.clone_from(&file.current);
            file.dirty.clear();
        }
    }

    /// Removes a file, as a careless hand does.
    pub fn lose(&self, name: &str) {
        let mut world = self.world();
        world.names.remove(name);
        world.durable_names.remove(name);
    }
}

impl Contents {
    fn write(&mut self, bytes: &[u8], offset: usize) {
        if self.current.len() < offset + bytes.len() {
            self.current.resize(offset + bytes.len(), 0);
        }
        if let Some(room) = self.current.get_mut(offset..offset + bytes.len()) {
            room.copy_from_slice(bytes);
        }
        self.dirty.extend(offset / SECTOR_BYTES..(offset + bytes.len()).div_ceil(SECTOR_BYTES));
    }

    fn make_durable(&mut self, sector: usize) {
        let from = sector * SECTOR_BYTES;
        let to = (from + SECTOR_BYTES).min(self.current.len());
        if self.durable.len() < to {
            self.durable.resize(to, 0);
        }
        if let (Some(old), Some(new)) = (self.durable.get_mut(from..to), self.current.get(from..to))
        {
            old.copy_from_slice(new);
        }
    }

    fn empty(&mut self) {
        self.current.clear();
        self.dirty.clear();
        self.emptied = true;
    }

    fn sync(&mut self) {
        if std::mem::take(&mut self.emptied) {
            self.durable.clear();
        }
        for sector in std::mem::take(&mut self.dirty) {
            self.make_durable(sector);
        }
        self.durable.resize(self.current.len(), 0);
    }

    fn crash(&mut self, dice: &mut Dice, kept_percent: u64) {
        let old_len = self.durable.len();
        for sector in std::mem::take(&mut self.dirty) {
            if dice.chance(kept_percent) {
                self.make_durable(sector);
            }
        }
        let len = if dice.chance(kept_percent) { self.current.len() } else { old_len };
        self.durable.resize(len, 0);
        self.current.clone_from(&self.durable);
        self.emptied = false;
    }
}

impl NameChange {
    fn apply(self, names: &mut BTreeMap<String, usize>) {
        match self {
            NameChange::Created { name, file } => {
                names.insert(name, file);
            }
            NameChange::Renamed { from, to } => {
                if let Some(file) = names.remove(&from) {
                    names.insert(to, file);
                }
            }
            NameChange::Removed { name } => {
                names.remove(&name);
            }
        }
    }
}

impl World {
    fn restart(&mut self) {
        self.epoch += 1;
        self.locked = false;
        self.fault = None;
        self.power_lost = false;
        self.no_space_next = false;
    }

    fn change(&mut self, change: NameChange) {
        change.clone().apply(&mut self.names);
        self.changes.push(change);
    }

    /// Counts an operation and gives the fault that it has to show.
    fn begin(&mut self, action: Action) -> Option<Fault> {
        self.operations += 1;
        if self.power_lost {
            return Some(Fault::PowerLoss);
        }
        if self.no_space_next && action == Action::Write {
            self.no_space_next = false;
            return Some(Fault::NoSpace);
        }
        let (_, fault) = self.fault.filter(|&(at, _)| self.operations >= at)?;
        let fits = match fault {
            Fault::FailedWrite | Fault::NoSpace | Fault::ShortWrite => action == Action::Write,
            Fault::FailedSync => action == Action::Sync,
            Fault::PowerLoss => true,
        };
        if !fits {
            return None;
        }
        self.fault = None;
        self.power_lost = fault == Fault::PowerLoss;
        self.no_space_next = fault == Fault::ShortWrite;
        Some(fault)
    }
}

fn gone() -> io::Error {
    io::Error::other("the power is gone")
}

struct SimFile {
    world: Arc<Mutex<World>>,
    epoch: u64,
    file: usize,
    /// Failed syncs that this handle knows of.
    told: AtomicU64,
}

impl SimFile {
    fn with<T>(&self, then: impl FnOnce(&mut World, usize) -> io::Result<T>) -> io::Result<T> {
        let mut world = self.world.lock().unwrap_or_else(PoisonError::into_inner);
        if world.epoch != self.epoch {
            return Err(gone());
        }
        then(&mut world, self.file)
    }

    fn sync(&self) -> io::Result<()> {
        self.with(|world, file| {
            let fault = world.begin(Action::Sync);
            let file = world.files.get_mut(file).ok_or_else(gone)?;
            match fault {
                None if self.told.swap(file.failed_syncs, Ordering::Relaxed)
                    < file.failed_syncs =>
                {
                    Err(io::Error::from_raw_os_error(EIO))
                }
                None => {
                    file.sync();
                    Ok(())
                }
                Some(Fault::FailedSync) => {
                    file.dirty.clear();
                    file.failed_syncs += 1;
                    self.told.store(file.failed_syncs, Ordering::Relaxed);
                    Err(io::Error::from_raw_os_error(EIO))
                }
                Some(_) => Err(gone()),
            }
        })
    }
}

const EIO: i32 = 5;
const ENOSPC: i32 = 28;

impl File for SimFile {
    fn read_at(&self, into: &mut [u8], offset: u64) -> io::Result<usize> {
        self.with(|world, file| {
            let file = world.files.get(file).ok_or_else(gone)?;
            let rest = file.current.get(offset as usize..).unwrap_or(&[]);
            let len = rest.len().min(into.len());
            if let (Some(into), Some(rest)) = (into.get_mut(..len), rest.get(..len)) {
                into.copy_from_slice(rest);
            }
            Ok(len)
        })
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<usize> {
        self.with(|world, file| {
            let fault = world.begin(Action::Write);
            let file = world.files.get_mut(file).ok_or_else(gone)?;
            let half = bytes.get(..bytes.len() / 2).unwrap_or(bytes);
            let offset = offset as usize;
            match fault {
                None => {
                    file.write(bytes, offset);
                    Ok(bytes.len())
                }
                Some(Fault::ShortWrite) => {
                    file.write(half, offset);
                    Ok(half.len().max(1))
                }
                Some(Fault::NoSpace) => Err(io::Error::from_raw_os_error(ENOSPC)),
                Some(Fault::FailedWrite) => {
                    file.write(half, offset);
                    Err(io::Error::from_raw_os_error(EIO))
                }
                Some(_) => {
                    file.write(bytes, offset);
                    Err(gone())
                }
            }
        })
    }

    fn sync_data(&self) -> io::Result<()> {
        self.sync()
    }

    fn sync_all(&self) -> io::Result<()> {
        self.sync()
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.with(|world, file| match world.begin(Action::Write) {
            None => {
                let file = world.files.get_mut(file).ok_or_else(gone)?;
                file.current.resize(len as usize, 0);
                Ok(())
            }
            Some(_) => Err(gone()),
        })
    }

    fn allocate(&self, len: u64) -> io::Result<()> {
        if self.len()? < len { self.set_len(len) } else { Ok(()) }
    }

    fn len(&self) -> io::Result<u64> {
        self.with(|world, file| {
            Ok(world.files.get(file).map_or(0, |file| file.current.len() as u64))
        })
    }
}

struct SimLock {
    world: Arc<Mutex<World>>,
    epoch: u64,
}

impl Drop for SimLock {
    fn drop(&mut self) {
        let mut world = self.world.lock().unwrap_or_else(PoisonError::into_inner);
        if world.epoch == self.epoch {
            world.locked = false;
        }
    }
}

/// A simulated disk as one process sees it: it ends with the next crash or kill.
struct Mount {
    world: Arc<Mutex<World>>,
    epoch: u64,
}

impl Mount {
    fn world(&self) -> io::Result<MutexGuard<'_, World>> {
        let world = self.world.lock().unwrap_or_else(PoisonError::into_inner);
        if world.epoch == self.epoch { Ok(world) } else { Err(gone()) }
    }

    fn handle(&self, world: &World, file: usize) -> Arc<dyn File> {
        let failed_syncs = world.files.get(file).map_or(0, |file| file.failed_syncs);
        let (world, told) = (Arc::clone(&self.world), AtomicU64::new(failed_syncs));
        Arc::new(SimFile { world, epoch: self.epoch, file, told })
    }

    fn name_change(&self, change: NameChange) -> io::Result<()> {
        let mut world = self.world()?;
        let fault = world.begin(Action::Folder);
        world.change(change);
        if fault.is_some() { Err(gone()) } else { Ok(()) }
    }
}

impl Disk for Mount {
    fn open(&self, name: &str) -> io::Result<Arc<dyn File>> {
        let world = self.world()?;
        let file = *world.names.get(name).ok_or(io::ErrorKind::NotFound)?;
        Ok(self.handle(&world, file))
    }

    fn create(&self, name: &str) -> io::Result<Arc<dyn File>> {
        let mut world = self.world()?;
        let fault = world.begin(Action::Folder);
        let file = if let Some(&file) = world.names.get(name) {
            // The same file, emptied: so do file systems, and the name needs no sync.
            if let Some(contents) = world.files.get_mut(file) {
                contents.empty();
            }
            file
        } else {
            let file = world.files.len();
            world.files.push(Contents::default());
            world.change(NameChange::Created { name: name.to_owned(), file });
            file
        };
        if fault.is_some() { Err(gone()) } else { Ok(self.handle(&world, file)) }
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.name_change(NameChange::Renamed { from: from.to_owned(), to: to.to_owned() })
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.name_change(NameChange::Removed { name: name.to_owned() })
    }

    fn list(&self) -> io::Result<Vec<String>> {
        Ok(self.world()?.names.keys().cloned().collect())
    }

    fn sync_folder(&self) -> io::Result<()> {
        let mut world = self.world()?;
        match world.begin(Action::Sync) {
            None => {
                let names = world.names.clone();
                world.durable_names = names;
                world.changes.clear();
                Ok(())
            }
            Some(Fault::FailedSync) => Err(io::Error::from_raw_os_error(EIO)),
            Some(_) => Err(gone()),
        }
    }

    fn lock(&self, _name: &str) -> io::Result<Option<Box<dyn Send + Sync>>> {
        let mut world = self.world()?;
        if std::mem::replace(&mut world.locked, true) {
            return Ok(None);
        }
        Ok(Some(Box::new(SimLock { world: Arc::clone(&self.world), epoch: self.epoch })))
    }

    fn entropy(&self) -> u64 {
        let mut world = self.world.lock().unwrap_or_else(PoisonError::into_inner);
        world.entropy += 1;
        Dice::new(world.entropy).roll()
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
        let disk = SimDisk::new();
        let folder = disk.mount();
        let file = folder.create("a").unwrap();
        folder.sync_folder().unwrap();
        file.write_at(&[1; 512], 0).unwrap();
        disk.fail_at(1, Fault::FailedSync);
        assert!(file.sync_data().is_err());
        assert!(file.sync_data().is_ok());
        assert_eq!(disk.bytes("a"), [1; 512]);
        disk.crash(1);
        assert!(disk.bytes("a").iter().all(|&byte| byte == 0));
    }
}
