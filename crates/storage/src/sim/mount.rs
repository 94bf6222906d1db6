//! The folder as one process sees it: every operation may meet a fault, and is recorded.

use std::collections::BTreeMap;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::disk::{Disk, File, Space};
use crate::sim::Dice;
use crate::sim::contents::{BLOCK_BYTES, FileOp, Kept};
use crate::sim::fault::{Action, Fault, Faults, gone, io_error, no_space, told};
use crate::sim::vault::{NameChange, Op, Vault};

/// All there is.
#[derive(Debug, Default)]
pub(super) struct World {
    pub(super) vault: Vault,
    pub(super) faults: Faults,
    pub(super) capacity: Option<u64>,
    /// What others have on the same volume.
    pub(super) taken: u64,
    pub(super) recorded: Option<(Vault, Vec<Op>)>,
    /// Rises with every crash.
    epoch: u64,
    locked: bool,
    entropy: u64,
}

impl World {
    pub(super) fn of(files: BTreeMap<String, Vec<u8>>) -> World {
        World { vault: Vault::durable(files), ..World::default() }
    }

    pub(super) fn crash(&mut self, seed: u64) {
        let kept = Kept::torn(seed, self.vault.stale());
        self.vault = Vault::durable(self.vault.settled(&kept));
        self.recorded = None;
        self.restart();
    }

    pub(super) fn restart(&mut self) {
        self.epoch += 1;
        self.locked = false;
        self.faults.clear();
        self.vault.files.iter_mut().for_each(|file| file.handles = 0);
    }

    pub(super) fn perform(&mut self, op: Op) {
        self.vault.apply(&op);
        if let Some((_, ops)) = &mut self.recorded {
            ops.push(op);
        }
    }

    /// How many of `len` bytes at `offset` find room.
    fn room(&self, file: usize, offset: usize, len: usize) -> usize {
        let (Some(capacity), Some(contents)) = (self.capacity, self.vault.files.get(file)) else {
            return len;
        };
        let free =
            capacity.saturating_sub(self.vault.used_bytes() + self.taken) / BLOCK_BYTES as u64;
        let fits = |len: &usize| contents.new_blocks(offset, *len) as u64 <= free;
        if fits(&len) {
            return len;
        }
        let first = BLOCK_BYTES - offset % BLOCK_BYTES;
        (0..len).step_by(BLOCK_BYTES).map(|at| at + first).take_while(fits).last().unwrap_or(0)
    }
}

/// A simulated disk as one process sees it: it ends with the next crash or kill.
pub(super) struct Mount {
    pub(super) world: Arc<Mutex<World>>,
    epoch: u64,
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
            let fault = world.faults.begin(Action::Sync);
            let contents = world.vault.files.get_mut(file).ok_or_else(gone)?;
            let failed = contents.failed_syncs;
            match fault {
                None if self.told.swap(failed, Ordering::Relaxed) < failed => Err(io_error()),
                None => {
                    world.perform(Op::File(file, FileOp::Sync));
                    Ok(())
                }
                Some(Fault::FailedSync) => {
                    self.told.store(failed + 1, Ordering::Relaxed);
                    let seed = world.faults.operations();
                    world.perform(Op::File(file, FileOp::FailedSync { seed }));
                    Err(io_error())
                }
                Some(other) => Err(told(other)),
            }
        })
    }
}

impl Drop for SimFile {
    fn drop(&mut self) {
        let _ = self.with(|world, file| {
            let contents = world.vault.files.get_mut(file).ok_or_else(gone)?;
            contents.handles = contents.handles.saturating_sub(1);
            Ok(())
        });
    }
}

impl File for SimFile {
    fn read_at(&self, into: &mut [u8], offset: u64) -> io::Result<usize> {
        self.with(|world, file| {
            if let Some(fault) = world.faults.begin(Action::Read) {
                return Err(told(fault));
            }
            let file = world.vault.files.get(file).ok_or_else(gone)?;
            let wanted = offset as usize..offset as usize + into.len();
            if file.broken.iter().any(|bad| bad.start < wanted.end && wanted.start < bad.end) {
                return Err(io_error());
            }
            let rest = file.current.get(wanted.start..).unwrap_or(&[]);
            let len = rest.len().min(into.len());
            if let (Some(into), Some(rest)) = (into.get_mut(..len), rest.get(..len)) {
                into.copy_from_slice(rest);
            }
            Ok(len)
        })
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<usize> {
        self.with(|world, file| {
            let offset = offset as usize;
            let half = bytes.len() / 2;
            let (len, failed) = match world.faults.begin(Action::Write) {
                None => match world.room(file, offset, bytes.len()) {
                    0 if !bytes.is_empty() => (0, Some(Fault::NoSpace)),
                    len => (len, None),
                },
                Some(Fault::ShortWrite | Fault::HalfWrite) => (half.max(1), None),
                Some(Fault::NoSpace) => (0, Some(Fault::NoSpace)),
                Some(Fault::FailedWrite) => (half, Some(Fault::FailedWrite)),
                Some(other) => (bytes.len(), Some(other)),
            };
            let written = bytes.get(..len).unwrap_or(bytes);
            if !written.is_empty() {
                world.perform(Op::File(file, FileOp::Write { offset, bytes: written.into() }));
            }
            failed.map_or(Ok(written.len()), |fault| Err(told(fault)))
        })
    }

    fn sync_data(&self) -> io::Result<()> {
        self.sync()
    }

    fn sync_all(&self) -> io::Result<()> {
        self.sync()
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.with(|world, file| match world.faults.begin(Action::Write) {
            None => {
                world.perform(Op::File(file, FileOp::Resize { len: len as usize }));
                Ok(())
            }
            Some(fault) => Err(told(fault)),
        })
    }

    fn allocate(&self, len: u64) -> io::Result<()> {
        self.with(|world, file| {
            if let Some(fault) = world.faults.begin(Action::Write) {
                return Err(told(fault));
            }
            if world.room(file, 0, len as usize) < len as usize {
                return Err(no_space());
            }
            world.perform(Op::File(file, FileOp::Allocate { len: len as usize }));
            Ok(())
        })
    }

    fn len(&self) -> io::Result<u64> {
        self.with(|world, file| {
            Ok(world.vault.files.get(file).map_or(0, |file| file.current.len() as u64))
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

impl Mount {
    pub(super) fn new(world: &Arc<Mutex<World>>) -> Mount {
        let epoch = world.lock().unwrap_or_else(PoisonError::into_inner).epoch;
        Mount { world: Arc::clone(world), epoch }
    }

    fn world(&self) -> io::Result<MutexGuard<'_, World>> {
        let world = self.world.lock().unwrap_or_else(PoisonError::into_inner);
        if world.epoch == self.epoch { Ok(world) } else { Err(gone()) }
    }

    fn handle(&self, world: &mut World, file: usize) -> io::Result<Arc<dyn File>> {
        let contents = world.vault.files.get_mut(file).ok_or_else(gone)?;
        contents.handles += 1;
        let told = AtomicU64::new(contents.failed_syncs);
        let world = Arc::clone(&self.world);
        Ok(Arc::new(SimFile { world, epoch: self.epoch, file, told }))
    }

    /// Changes a name, unless an error is due. Power may go behind the change.
    fn name_change(&self, change: NameChange) -> io::Result<()> {
        let mut world = self.world()?;
        let fault = world.faults.begin(Action::Folder);
        if fault.is_none() || fault == Some(Fault::PowerLoss) {
            world.perform(Op::Name(change));
        }
        fault.map_or(Ok(()), |fault| Err(told(fault)))
    }
}

impl Disk for Mount {
    fn open(&self, name: &str) -> io::Result<Arc<dyn File>> {
        let mut world = self.world()?;
        let file = *world.vault.names.get(name).ok_or(io::ErrorKind::NotFound)?;
        self.handle(&mut world, file)
    }

    fn create(&self, name: &str) -> io::Result<Arc<dyn File>> {
        let mut world = self.world()?;
        if let Some(fault) = world.faults.begin(Action::Folder)
            && fault != Fault::PowerLoss
        {
            return Err(told(fault));
        }
        let file = if let Some(&file) = world.vault.names.get(name) {
            // The same file, emptied: so do file systems, and the name needs no sync.
            world.perform(Op::File(file, FileOp::Resize { len: 0 }));
            file
        } else {
            let file = world.vault.files.len();
            world.perform(Op::Name(NameChange::Created { name: name.to_owned(), file }));
            file
        };
        self.handle(&mut world, file)
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.name_change(NameChange::Renamed { from: from.to_owned(), to: to.to_owned() })
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.name_change(NameChange::Removed { name: name.to_owned() })
    }

    fn list(&self) -> io::Result<Vec<String>> {
        Ok(self.world()?.vault.names.keys().cloned().collect())
    }

    fn sync_folder(&self) -> io::Result<()> {
        let mut world = self.world()?;
        match world.faults.begin(Action::Sync) {
            None => {
                world.perform(Op::SyncFolder);
                Ok(())
            }
            Some(fault) => Err(told(fault)),
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

    fn space(&self) -> io::Result<Option<Space>> {
        let world = self.world()?;
        let used = world.vault.used_bytes() + world.taken;
        let space = |total: u64| Space { total, available: total.saturating_sub(used) };
        Ok(world.capacity.map(space))
    }
}
