//! What a data directory lies on: a folder of this machine, or one that forgets what was not synced
//! when the power fails.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use anyhow::{Context, Result};
use courant_forgetful::mount::Syncs;
use courant_forgetful::{Forgotten, Keep, Mount};

use crate::random::Random;

/// Something wrong on purpose, to see that a campaign finds it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Wrong {
    /// The disk answers every sync and does nothing.
    AllSyncs,
    /// The disk does so for names only.
    NameSyncs,
    /// The broker leaves out the syncs of segments.
    SegmentSyncs,
    /// The broker leaves out the syncs of manifests.
    ManifestSyncs,
    /// The broker leaves out the syncs of the folder.
    FolderSyncs,
}

impl Wrong {
    /// What the disk does.
    fn syncs(self) -> Syncs {
        match self {
            Self::AllSyncs => Syncs::Ignored,
            Self::NameSyncs => Syncs::NamesIgnored,
            _ => Syncs::Kept,
        }
    }

    /// What a testing build of the broker does: its fail point.
    pub fn fail_point(self) -> Option<&'static str> {
        match self {
            Self::AllSyncs | Self::NameSyncs => None,
            Self::SegmentSyncs => Some("skip sync segment 6"),
            Self::ManifestSyncs => Some("skip sync manifest 1"),
            Self::FolderSyncs => Some("skip sync-folder folder 1"),
        }
    }
}

/// One of the two.
#[derive(Debug)]
pub enum Ground {
    /// A folder.
    Folder(PathBuf),
    /// A mounted folder whose power can fail.
    Forgetful(Mutex<Mount>),
}

impl Ground {
    /// A folder at `path`; one that forgets if its power is to be cut.
    pub fn new(path: &Path, power: bool) -> Result<Self> {
        if !power {
            return Ok(Self::Folder(path.to_owned()));
        }
        let mount = Mount::new(path, None)
            .with_context(|| format!("{} cannot be mounted", path.display()))?;
        Ok(Self::Forgetful(Mutex::new(mount)))
    }

    /// From now on it does what is wrong on purpose, if that is its part.
    pub fn set_wrong(&self, wrong: Wrong) {
        if let Self::Forgetful(mount) = self {
            mount.lock().unwrap_or_else(PoisonError::into_inner).set_syncs(wrong.syncs());
        }
    }

    /// Cuts the power, where it can be cut.
    pub fn lose_power(&self, random: &mut Random) -> Result<Option<Forgotten>> {
        let Self::Forgetful(mount) = self else { return Ok(None) };
        let mut mount = mount.lock().unwrap_or_else(PoisonError::into_inner);
        let keep = match random.below(4) {
            0 => Keep::Nothing,
            1 => Keep::All,
            _ => Keep::Some,
        };
        let tear = if random.one_in(2) { 512 } else { 4096 };
        let forgotten = mount.cut(keep, tear, &mut |end| random.below(end)).context("a cut")?;
        Ok(Some(forgotten))
    }

    /// Leaves a copy of what can't be kept as it is.
    pub fn keep(&self, copy: &Path) -> Result<()> {
        if let Self::Forgetful(mount) = self {
            mount.lock().unwrap_or_else(PoisonError::into_inner).copy_to(copy)?;
        }
        Ok(())
    }
}
