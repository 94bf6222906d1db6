//! A recorded life of a folder, and every state in which a power loss may have left it.
//!
//! For each moment, that is behind each operation: everything kept; nothing kept that was not
//! synced; each single unsynced change missing; and seeded subsets, with writes torn at 512 or
//! 4,096 bytes and new space that shows old bytes. States that were shown before are passed over.

use std::collections::HashSet;
use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher};

use crate::sim::contents::Kept;
use crate::sim::vault::{Op, Vault};
use crate::sim::{Dice, SimDisk};

/// What was done to a folder, in order.
#[derive(Debug, Clone)]
pub struct Trace {
    pub(super) base: Vault,
    pub(super) ops: Vec<Op>,
}

/// One state in which a power loss may have left a folder.
#[derive(Debug)]
pub struct State {
    /// So many operations had been begun.
    pub cut: usize,
    /// What was kept, for whoever reads a failure.
    pub kept: String,
    /// The last note before the cut; 0 if there was none.
    pub note: u64,
    /// The folder.
    pub disk: SimDisk,
}

impl Trace {
    /// Operations and notes.
    #[must_use]
    pub fn len(&self) -> usize {
        self.ops.len()
    }

    /// Whether nothing was done.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ops.is_empty()
    }

    /// Shows the states until `see` fails, and gives their number. `subsets` is how many seeded
    /// subsets there are at each moment.
    pub fn states<E>(
        &self,
        seed: u64,
        subsets: u64,
        see: &mut dyn FnMut(State) -> Result<(), E>,
    ) -> Result<u64, E> {
        let mut vault = self.base.clone();
        let (mut note, mut shown) = (0, HashSet::new());
        for cut in 0..=self.ops.len() {
            let mut ways = vec![Kept::All];
            let singles = vault.without_one();
            if !singles.is_empty() {
                ways.push(Kept::None);
                ways.extend(sample(singles, seed ^ cut as u64));
                let stale = vault.stale();
                ways.extend((0..subsets).map(|subset| {
                    let seed = seed ^ ((cut as u64) << 20) ^ subset;
                    Kept::torn(seed, stale.clone())
                }));
            }
            for kept in ways {
                let files = vault.settled(&kept);
                let mut hasher = DefaultHasher::new();
                (&files, note).hash(&mut hasher);
                if shown.insert(hasher.finish()) {
                    let disk = SimDisk::of(files);
                    see(State { cut, kept: kept.to_string(), note, disk })?;
                }
            }
            if let Some(op) = self.ops.get(cut) {
                vault.apply(op);
                if let Op::Note(told) = op {
                    note = *told;
                }
            }
        }
        Ok(shown.len() as u64)
    }
}

/// The last few ways, in which the newest changes are missing, and a few of the others.
fn sample(mut ways: Vec<Kept>, seed: u64) -> Vec<Kept> {
    const LAST: usize = 4;
    const OTHERS: usize = 4;
    let mut dice = Dice::new(seed);
    while ways.len() > LAST + OTHERS {
        ways.remove(dice.below((ways.len() - LAST) as u64) as usize);
    }
    ways
}

impl std::fmt::Display for Kept {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Kept::All => write!(f, "all kept"),
            Kept::None => write!(f, "nothing kept"),
            Kept::Without { file, change } => write!(f, "change {change} of file {file} missing"),
            Kept::WithoutName(change) => write!(f, "change {change} of the names missing"),
            Kept::Torn { unit_bytes, percent, stale, .. } => {
                let stale = if stale.is_some() { ", old bytes in new space" } else { "" };
                write!(f, "{percent} of 100 kept, torn at {unit_bytes}{stale}")
            }
        }
    }
}
