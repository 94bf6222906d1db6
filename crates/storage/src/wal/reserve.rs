//! Space that is held back in a file, to be given to the log when the disk is full: so it can be
//! drained, and opened, with no byte free.
//!
//! The file is preallocated and never read or written. It is given back from its end, a piece at a
//! time and only when a piece is needed, so that nobody else on the volume can take the rest
//! meanwhile. It is made whole again before anything else is done with new space.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use crate::disk::{Disk, File, is_full};
use crate::error::Poison;
use crate::room::{Room, floor_bytes, margin_bytes, piece_bytes};
use crate::wal::directory::{folder, written};

/// The file.
pub(crate) const NAME: &str = "reserve";

/// Who asks for a part of the reserve, and so how much of it has to be left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Need {
    /// Rewriting of sparse segments, which can wait: a half is left.
    Rewriting,
    /// The next segment of the log: what replacing the list of segments takes is left.
    Log,
    /// The list of segments, or the log with what it can't be without.
    Anything,
}

/// The reserve of a folder.
pub(crate) struct Reserve {
    disk: Arc<dyn Disk>,
    room: Arc<Room>,
    whole_bytes: u64,
    held: Mutex<Held>,
    /// Taken while a part of it is lent: whoever would make it whole again meanwhile would take
    /// away what was just given.
    lending: Mutex<()>,
    /// Only a defect keeps it all.
    is_stuck: bool,
}

#[derive(Default)]
struct Held {
    file: Option<Arc<dyn File>>,
    bytes: u64,
}

impl Reserve {
    /// A reserve that is not made yet; of 0 bytes: none.
    pub(crate) fn new(disk: Arc<dyn Disk>, room: Arc<Room>, whole_bytes: u64) -> Reserve {
        let (held, lending) = (Mutex::default(), Mutex::default());
        Reserve { disk, room, whole_bytes, held, lending, is_stuck: false }
    }

    /// The same, which gives nothing back if it is a defect.
    pub(crate) fn stuck(self, is_stuck: bool) -> Reserve {
        Reserve { is_stuck, ..self }
    }

    /// Takes up the file, or makes it, as far as there is space.
    pub(crate) fn open(&self) -> Result<(), Poison> {
        if self.whole_bytes == 0 {
            return Ok(());
        }
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        let opened = match self.disk.open(NAME) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => self.disk.create(NAME),
            opened => opened,
        };
        match opened {
            Err(error) if is_full(&error) => return Ok(()),
            opened => held.file = Some(opened.map_err(folder("opening", NAME))?),
        }
        let Some(file) = &held.file else { return Ok(()) };
        // A copy of a folder may have a hole there: what is thought to be held is made sure of.
        let found = file.len().map_err(written(NAME, 0))?;
        let len = found.min(self.whole_bytes);
        if len < found {
            file.set_len(len).map_err(written(NAME, len))?;
        }
        let made_sure = if len > 0 { file.allocate(len) } else { Ok(()) };
        held.bytes = match made_sure {
            Err(error) if is_full(&error) => 0,
            made_sure => made_sure.map(|()| len).map_err(written(NAME, 0))?,
        };
        drop(held);
        self.regain().map(|_| ())
    }

    /// Takes back what was given away, as far as there is space. Says whether it is whole.
    pub(crate) fn regain(&self) -> Result<bool, Poison> {
        let Ok(_none_is_lent) = self.lending.try_lock() else { return Ok(false) };
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        if held.bytes == self.whole_bytes {
            self.room.state_reserve(held.bytes);
            return Ok(true);
        }
        if held.file.is_none() {
            match self.disk.create(NAME) {
                Err(error) if is_full(&error) => return Ok(false),
                made => held.file = Some(made.map_err(folder("creating", NAME))?),
            }
        }
        let Some(file) = held.file.clone() else { return Ok(false) };
        let step = piece_bytes(self.whole_bytes).max(1);
        while held.bytes < self.whole_bytes {
            let wanted = (held.bytes + step).min(self.whole_bytes);
            match file.allocate(wanted) {
                Err(error) if is_full(&error) => {
                    file.set_len(held.bytes).map_err(written(NAME, held.bytes))?;
                    break;
                }
                allocated => allocated.map_err(written(NAME, held.bytes))?,
            }
            held.bytes = wanted;
        }
        self.room.state_reserve(held.bytes);
        Ok(held.bytes == self.whole_bytes)
    }

    /// Gives `bytes` back to the file system, or fewer if that is all there is; `false`: none.
    pub(crate) fn give(&self, bytes: u64, need: Need) -> bool {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        let left = match need {
            Need::Rewriting => self.whole_bytes / 2,
            Need::Log => floor_bytes(self.whole_bytes),
            Need::Anything => 0,
        };
        let to = held.bytes.saturating_sub(bytes).max(left);
        let Some(file) = held.file.as_ref().filter(|_| to < held.bytes) else { return false };
        if self.is_stuck {
            return false;
        }
        // The space may be free only once the file system has noted it: so it is synced. What
        // that says about this file is of no interest to the log.
        let given = file.set_len(to).is_ok() && file.sync_all().is_ok();
        if given {
            held.bytes = to;
            self.room.state_reserve(to);
        }
        given
    }

    /// Does what needs new space; if there is none, once more with `bytes` of the reserve.
    pub(crate) fn lend<T>(
        &self,
        bytes: u64,
        need: Need,
        mut act: impl FnMut() -> Result<T, Poison>,
    ) -> Result<T, Poison> {
        let full = match act() {
            Err(full @ Poison::DiskFull { .. }) => full,
            done => return done,
        };
        let _lent = self.lending.lock().unwrap_or_else(PoisonError::into_inner);
        if self.give(bytes + self.margin_bytes(), need) { act() } else { Err(full) }
    }

    /// Bytes for one segment of the log, if not more is needed.
    pub(crate) fn piece_bytes(&self) -> u64 {
        piece_bytes(self.whole_bytes)
    }

    /// What the file system may take beside the bytes of a file.
    pub(crate) fn margin_bytes(&self) -> u64 {
        margin_bytes(self.whole_bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sim::SimDisk;

    #[test]
    fn what_is_lent_is_not_taken_back_before_it_is_used() {
        let disk = SimDisk::new();
        disk.set_capacity(Some(1 << 20));
        let room = Arc::new(Room::on(disk.mount(), 64 << 10, 256 << 10));
        let reserve = Reserve::new(disk.mount(), room, 256 << 10);
        reserve.open().unwrap();
        let mut acts = 0;
        let lent = reserve.lend(4 << 10, Need::Anything, || {
            acts += 1;
            if acts == 1 {
                return Err(Poison::DiskFull { file: "a".into(), offset: 0 });
            }
            assert!(!reserve.regain()?, "it was taken back");
            Ok(())
        });
        assert_eq!(lent, Ok(()));
        assert_eq!(reserve.regain(), Ok(true));
    }
}
