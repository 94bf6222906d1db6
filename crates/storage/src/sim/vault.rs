//! All files and names, and the operations that change them: what is written and what is durable
//! are kept apart for both.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::sim::contents::{BLOCK_BYTES, Contents, FileOp, Kept};

/// Something that was done to the folder. A recorded sequence of them can be done again.
#[derive(Debug, Clone)]
pub(super) enum Op {
    File(usize, FileOp),
    Name(NameChange),
    SyncFolder,
    /// Nothing was done to the folder, but something was told to somebody.
    Note(u64),
}

#[derive(Debug, Clone)]
pub(super) enum NameChange {
    Created { name: String, file: usize },
    Renamed { from: String, to: String },
    Removed { name: String },
}

/// A folder with its history since the last syncs.
#[derive(Debug, Clone, Default)]
pub(super) struct Vault {
    pub(super) files: Vec<Contents>,
    pub(super) names: BTreeMap<String, usize>,
    durable_names: BTreeMap<String, usize>,
    changes: Vec<NameChange>,
}

impl Vault {
    /// Files that are durable as they are.
    pub(super) fn durable(files: BTreeMap<String, Vec<u8>>) -> Vault {
        let mut vault = Vault::default();
        for (at, (name, bytes)) in files.into_iter().enumerate() {
            vault.names.insert(name, at);
            vault.files.push(Contents::durable(bytes));
        }
        vault.durable_names = vault.names.clone();
        vault
    }

    pub(super) fn apply(&mut self, op: &Op) {
        match op {
            Op::File(file, op) => {
                if let Some(contents) = self.files.get_mut(*file) {
                    contents.apply(*file, op);
                }
            }
            Op::Name(change) => {
                if let NameChange::Created { file, .. } = change
                    && *file == self.files.len()
                {
                    self.files.push(Contents::default());
                }
                change.apply(&mut self.names);
                self.changes.push(change.clone());
            }
            Op::SyncFolder => {
                self.durable_names.clone_from(&self.names);
                self.changes.clear();
            }
            Op::Note(_) => {}
        }
    }

    pub(super) fn get(&self, name: &str) -> Option<&Contents> {
        self.names.get(name).and_then(|&file| self.files.get(file))
    }

    pub(super) fn get_mut(&mut self, name: &str) -> Option<&mut Contents> {
        self.names.get(name).and_then(|&file| self.files.get_mut(file))
    }

    /// A file is gone, for certain and at once.
    pub(super) fn lose(&mut self, name: &str) {
        self.names.remove(name);
        self.durable_names.remove(name);
    }

    /// The folder after a power loss.
    pub(super) fn settled(&self, kept: &Kept) -> BTreeMap<String, Vec<u8>> {
        let mut names = self.durable_names.clone();
        for (at, change) in self.changes.iter().enumerate() {
            if kept.keeps_name(at) {
                change.apply(&mut names);
            }
        }
        let settled = |file: usize| {
            self.files.get(file).map(|contents| contents.settled(file, kept)).unwrap_or_default()
        };
        names.into_iter().map(|(name, file)| (name, settled(file))).collect()
    }

    /// Bytes as they would be found where another file stood before: those of the oldest segment.
    pub(super) fn stale(&self) -> Option<Arc<[u8]>> {
        let is_log = |name: &&String| name.ends_with(".segment");
        let oldest = self.names.keys().find(is_log)?;
        self.get(oldest).map(|file| file.current.as_slice().into())
    }

    /// Every way in which just one change is missing.
    pub(super) fn without_one(&self) -> Vec<Kept> {
        let mut ways = Vec::new();
        for (file, contents) in self.files.iter().enumerate() {
            let changes = 0..contents.pending_count();
            ways.extend(changes.map(|change| Kept::Without { file, change }));
        }
        ways.extend((0..self.changes.len()).map(Kept::WithoutName));
        ways
    }

    /// Space taken: a file counts as long as it has a name or is open.
    pub(super) fn used_bytes(&self) -> u64 {
        let named: std::collections::BTreeSet<_> = self.names.values().copied().collect();
        let counts = self.files.iter().enumerate();
        let counts = counts.filter(|(file, contents)| contents.handles > 0 || named.contains(file));
        counts.map(|(_, contents)| (contents.block_count() * BLOCK_BYTES) as u64).sum()
    }
}

impl NameChange {
    fn apply(&self, names: &mut BTreeMap<String, usize>) {
        match self {
            NameChange::Created { name, file } => {
                names.insert(name.clone(), *file);
            }
            NameChange::Renamed { from, to } => {
                if let Some(file) = names.remove(from) {
                    names.insert(to.clone(), file);
                }
            }
            NameChange::Removed { name } => {
                names.remove(name);
            }
        }
    }
}
