//! The folder: files by number, names for them, and what a cut leaves of both. No I/O.
//!
//! A name that was made, changed or removed is certain only after a sync of the folder; until then
//! a cut may leave the old state, the new one, or any part of several such changes. A file without
//! a name lives as long as somebody has it open.

use std::collections::{BTreeMap, HashSet};

use rustix::io::Errno;

use crate::contents::{Contents, FILE_BYTES_MAX};

/// What a file takes up is counted in these.
const BLOCK_BYTES: u64 = 4096;

/// How much of what was not synced a cut keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keep {
    /// Nothing: the harshest that a disk may do.
    Nothing,
    /// All, as after a `kill -9` alone.
    All,
    /// Each part with one chance in two.
    Some,
}

impl Keep {
    /// Whether one part is kept.
    pub(crate) fn takes(self, below: &mut dyn FnMut(u64) -> u64) -> bool {
        match self {
            Keep::Nothing => false,
            Keep::All => true,
            Keep::Some => below(2) == 0,
        }
    }
}

/// What a cut had to decide on, and what it kept of that.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Forgotten {
    /// Bytes written and not synced.
    pub bytes_unsynced: u64,
    /// Of these, the ones that are still there.
    pub bytes_kept: u64,
    /// Changes of names not synced.
    pub names_unsynced: u64,
    /// Of these, the ones that are still there.
    pub names_kept: u64,
}

impl Forgotten {
    /// Adds another cut.
    pub fn add(&mut self, other: &Self) {
        self.bytes_unsynced += other.bytes_unsynced;
        self.bytes_kept += other.bytes_kept;
        self.names_unsynced += other.names_unsynced;
        self.names_kept += other.names_kept;
    }
}

#[derive(Clone, Debug)]
enum NameChange {
    Link { name: String, file: u64 },
    Unlink { name: String },
    Rename { from: String, to: String, file: u64 },
}

#[derive(Debug, Default)]
struct Inode {
    contents: Contents,
    handles: u64,
}

/// The folder.
#[derive(Debug, Default)]
pub struct Volume {
    files: BTreeMap<u64, Inode>,
    names: BTreeMap<String, u64>,
    durable_names: BTreeMap<String, u64>,
    pending: Vec<NameChange>,
    last: u64,
    capacity: Option<u64>,
}

impl Volume {
    /// Number of the folder itself.
    pub const ROOT: u64 = 1;

    /// An empty folder; with a capacity in bytes, what is beyond it is refused.
    pub fn new(capacity: Option<u64>) -> Self {
        Self { last: Self::ROOT, capacity, ..Self::default() }
    }

    /// The file of a name.
    pub fn find(&self, name: &str) -> Option<u64> {
        self.names.get(name).copied()
    }

    /// Names and files, in the order of the names.
    pub fn names(&self) -> impl Iterator<Item = (&str, u64)> {
        self.names.iter().map(|(name, file)| (name.as_str(), *file))
    }

    /// The bytes of a file.
    pub fn bytes(&self, file: u64) -> Result<&[u8], Errno> {
        self.files.get(&file).map(|inode| inode.contents.bytes()).ok_or(Errno::NOENT)
    }

    /// (bytes in use, capacity)
    pub fn usage(&self) -> (u64, Option<u64>) {
        let used = self.files.values().map(|inode| blocks(inode.contents.bytes().len() as u64));
        (used.sum::<u64>() * BLOCK_BYTES, self.capacity)
    }

    /// Makes an empty file and opens it.
    pub fn create(&mut self, name: &str) -> u64 {
        self.last += 1;
        let file = self.last;
        self.files.insert(file, Inode { handles: 1, ..Inode::default() });
        self.names.insert(name.to_owned(), file);
        self.pending.push(NameChange::Link { name: name.to_owned(), file });
        file
    }

    /// Somebody has the file open.
    pub fn open(&mut self, file: u64) -> Result<(), Errno> {
        self.files.get_mut(&file).ok_or(Errno::NOENT)?.handles += 1;
        Ok(())
    }

    /// One of those has closed it.
    pub fn close(&mut self, file: u64) {
        if let Some(inode) = self.files.get_mut(&file) {
            inode.handles = inode.handles.saturating_sub(1);
            if inode.handles == 0 && !self.named().contains(&file) {
                self.files.remove(&file);
            }
        }
    }

    /// Writes.
    pub fn write(&mut self, file: u64, offset: u64, bytes: &[u8]) -> Result<(), Errno> {
        let end = offset.checked_add(bytes.len() as u64).ok_or(Errno::FBIG)?;
        self.grow(file, end)?;
        let inode = self.files.get_mut(&file).ok_or(Errno::NOENT)?;
        inode.contents.write(usize::try_from(offset).map_err(|_| Errno::FBIG)?, bytes);
        Ok(())
    }

    /// Cuts, or extends by zeros that are reserved.
    pub fn set_length(&mut self, file: u64, length: u64) -> Result<(), Errno> {
        self.grow(file, length)?;
        let inode = self.files.get_mut(&file).ok_or(Errno::NOENT)?;
        inode.contents.set_length(usize::try_from(length).map_err(|_| Errno::FBIG)?);
        Ok(())
    }

    /// Reserves space, without cutting.
    pub fn reserve(&mut self, file: u64, length: u64) -> Result<(), Errno> {
        if length > self.bytes(file)?.len() as u64 { self.set_length(file, length) } else { Ok(()) }
    }

    /// Removes a name.
    pub fn unlink(&mut self, name: &str) -> Result<(), Errno> {
        self.names.remove(name).ok_or(Errno::NOENT)?;
        self.pending.push(NameChange::Unlink { name: name.to_owned() });
        self.forget_unused();
        Ok(())
    }

    /// Gives a file another name, in the place of a file that had it.
    pub fn rename(&mut self, from: &str, to: &str) -> Result<(), Errno> {
        let file = self.names.remove(from).ok_or(Errno::NOENT)?;
        self.names.insert(to.to_owned(), file);
        let (from, to) = (from.to_owned(), to.to_owned());
        self.pending.push(NameChange::Rename { from, to, file });
        self.forget_unused();
        Ok(())
    }

    /// Names the changes of a file so far.
    pub fn mark(&self, file: u64) -> u64 {
        self.files.get(&file).map_or(0, |inode| inode.contents.mark())
    }

    /// The changes of a file before `mark` are certain from now on.
    pub fn sync_to(&mut self, file: u64, mark: u64) {
        if let Some(inode) = self.files.get_mut(&file) {
            inode.contents.sync_to(mark);
        }
    }

    /// The names are certain from now on.
    pub fn sync_names(&mut self) {
        self.durable_names.clone_from(&self.names);
        self.pending.clear();
        self.forget_unused();
    }

    /// The power fails while nobody works in the folder. `below(n)` gives a number below `n`.
    pub fn cut(&mut self, keep: Keep, tear: usize, below: &mut dyn FnMut(u64) -> u64) -> Forgotten {
        let mut forgotten = Forgotten::default();
        for change in std::mem::take(&mut self.pending) {
            forgotten.names_unsynced += 1;
            if keep.takes(below) {
                forgotten.names_kept += 1;
                self.keep_name(change);
            }
        }
        self.names.clone_from(&self.durable_names);
        for inode in self.files.values_mut() {
            inode.handles = 0;
            inode.contents.cut(keep, tear, below, &mut forgotten);
        }
        self.forget_unused();
        forgotten
    }

    fn keep_name(&mut self, change: NameChange) {
        match change {
            NameChange::Link { name, file } => {
                self.durable_names.insert(name, file);
            }
            NameChange::Unlink { name } => {
                self.durable_names.remove(&name);
            }
            NameChange::Rename { from, to, file } => {
                if self.durable_names.get(&from) == Some(&file) {
                    self.durable_names.remove(&from);
                }
                self.durable_names.insert(to, file);
            }
        }
    }

    fn grow(&self, file: u64, length: u64) -> Result<(), Errno> {
        let now = self.bytes(file)?.len() as u64;
        if length > FILE_BYTES_MAX {
            return Err(Errno::FBIG);
        }
        let more = blocks(length).saturating_sub(blocks(now)) * BLOCK_BYTES;
        match self.capacity {
            Some(capacity) if more > 0 && self.usage().0 + more > capacity => Err(Errno::NOSPC),
            _ => Ok(()),
        }
    }

    /// Removes the files without a name that nobody has open.
    fn forget_unused(&mut self) {
        let named = self.named();
        self.files.retain(|file, inode| inode.handles > 0 || named.contains(file));
    }

    /// The files that have a name, now or after a cut.
    fn named(&self) -> HashSet<u64> {
        let made = self.pending.iter().filter_map(|change| match change {
            NameChange::Link { file, .. } | NameChange::Rename { file, .. } => Some(file),
            NameChange::Unlink { .. } => None,
        });
        self.names.values().chain(self.durable_names.values()).chain(made).copied().collect()
    }
}

fn blocks(bytes: u64) -> u64 {
    bytes.div_ceil(BLOCK_BYTES)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cut(volume: &mut Volume, keep: Keep, mut choice: u64) -> Vec<(String, Vec<u8>)> {
        volume.cut(keep, 512, &mut |end| {
            choice = choice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (choice >> 33) % end
        });
        let names: Vec<_> = volume.names().map(|(name, file)| (name.to_owned(), file)).collect();
        let bytes = |file| volume.bytes(file).unwrap().to_vec();
        names.into_iter().map(|(name, file)| (name, bytes(file))).collect()
    }

    /// `manifest` is replaced by a file that was synced before the rename, and the folder after.
    fn replaced(is_file_synced: bool, is_folder_synced: bool) -> Volume {
        let mut volume = Volume::new(None);
        let old = volume.create("manifest");
        volume.write(old, 0, b"old").unwrap();
        volume.sync_to(old, volume.mark(old));
        volume.sync_names();
        let new = volume.create("manifest.new");
        volume.write(new, 0, b"new").unwrap();
        if is_file_synced {
            volume.sync_to(new, volume.mark(new));
        }
        volume.rename("manifest.new", "manifest").unwrap();
        if is_folder_synced {
            volume.sync_names();
        }
        volume
    }

    #[test]
    fn a_rename_is_certain_once_the_folder_was_synced() {
        let names = cut(&mut replaced(true, true), Keep::Nothing, 1);
        assert_eq!(names, [("manifest".to_owned(), b"new".to_vec())]);
        let names = cut(&mut replaced(true, false), Keep::Nothing, 1);
        assert_eq!(names, [("manifest".to_owned(), b"old".to_vec())]);
        let names = cut(&mut replaced(false, true), Keep::Nothing, 1);
        assert_eq!(names, [("manifest".to_owned(), Vec::new())], "the name came before the bytes");
        for choice in 0..100 {
            let names = cut(&mut replaced(true, false), Keep::Some, choice);
            let of =
                |name: &str| names.iter().find(|(named, _)| named == name).map(|(_, b)| &b[..]);
            assert!([Some(&b"old"[..]), Some(b"new")].contains(&of("manifest")), "{choice}");
        }
    }

    #[test]
    fn a_removed_file_may_come_back_until_the_folder_was_synced() {
        let mut volume = replaced(true, true);
        volume.unlink("manifest").unwrap();
        assert_eq!(volume.find("manifest"), None);
        assert_eq!(cut(&mut volume, Keep::Nothing, 1).len(), 1);
        volume.unlink("manifest").unwrap();
        volume.sync_names();
        assert_eq!(cut(&mut volume, Keep::Nothing, 1), []);
        assert_eq!(volume.usage().0, 0);
    }

    #[test]
    fn an_open_file_lives_without_a_name() {
        let mut volume = Volume::new(None);
        let file = volume.create("a");
        volume.write(file, 0, b"x").unwrap();
        volume.unlink("a").unwrap();
        volume.sync_names();
        assert_eq!(volume.bytes(file), Ok(&b"x"[..]));
        volume.close(file);
        assert!(volume.bytes(file).is_err());
    }

    #[test]
    fn a_full_volume_refuses_more_and_takes_what_was_reserved() {
        let mut volume = Volume::new(Some(64 << 10));
        let file = volume.create("a");
        volume.reserve(file, 48 << 10).unwrap();
        let other = volume.create("b");
        assert_eq!(volume.write(other, 0, &[1].repeat(17 << 10)), Err(Errno::NOSPC));
        volume.write(other, 0, &[1].repeat(16 << 10)).unwrap();
        volume.write(file, 4 << 10, &[2].repeat(44 << 10)).unwrap();
        assert_eq!(volume.write(file, 48 << 10, &[2]), Err(Errno::NOSPC));
        volume.set_length(file, 0).unwrap();
        volume.write(other, 16 << 10, &[1].repeat(40 << 10)).unwrap();
    }
}
