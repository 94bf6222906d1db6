//! Seeded defects: known wrong behaviour behind a switch, so that it can be shown that the tests
//! catch it. Without the feature `testing` there is no switch.

use crate::wal::WalOptions;

/// One known wrong behaviour.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Defect {
    /// Commits are told before the sync, which happens with the next write.
    ConfirmBeforeSync,
    /// The folder is not synced after files were made or renamed.
    SkippedDirectorySync,
    /// Rot is taken for a torn tail: the log is cut at any bad checksum.
    TruncateAtBadChecksum,
    /// The list of segments is replaced without a sync.
    MissingManifestSync,
    /// A write that found no room is taken for done.
    NoSpaceTakenAsWritten,
    /// A segment that was written again is not synced before the old one is removed.
    RewriteBeforeSync,
    /// The checkpoint says that a batch is durable before it is.
    CheckpointAhead,
    /// The origin of a lane of state is taken for that of the lane of its messages.
    LaneMixedUp,
    /// The reserve is not given back when the disk is full.
    ReserveNotReleased,
}

impl Defect {
    /// All of them.
    pub const ALL: [Defect; 9] = [
        Defect::ConfirmBeforeSync,
        Defect::SkippedDirectorySync,
        Defect::TruncateAtBadChecksum,
        Defect::MissingManifestSync,
        Defect::NoSpaceTakenAsWritten,
        Defect::RewriteBeforeSync,
        Defect::CheckpointAhead,
        Defect::LaneMixedUp,
        Defect::ReserveNotReleased,
    ];

    /// The name by which it is asked for.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Defect::ConfirmBeforeSync => "confirm-before-sync",
            Defect::SkippedDirectorySync => "skipped-directory-sync",
            Defect::TruncateAtBadChecksum => "truncate-at-bad-checksum",
            Defect::MissingManifestSync => "missing-manifest-sync",
            Defect::NoSpaceTakenAsWritten => "no-space-taken-as-written",
            Defect::RewriteBeforeSync => "rewrite-before-sync",
            Defect::CheckpointAhead => "checkpoint-ahead",
            Defect::LaneMixedUp => "lane-mixed-up",
            Defect::ReserveNotReleased => "reserve-not-released",
        }
    }

    #[cfg(any(test, feature = "testing"))]
    pub(crate) fn is_in(self, options: &WalOptions) -> bool {
        options.defect == Some(self)
    }

    #[cfg(not(any(test, feature = "testing")))]
    #[expect(clippy::unused_self, reason = "the same shape with and without the switch")]
    pub(crate) fn is_in(self, _options: &WalOptions) -> bool {
        false
    }
}

/// No defect has this name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("no defect is called {name:?}")]
pub struct UnknownDefect {
    /// What was asked for.
    pub name: String,
}

impl std::str::FromStr for Defect {
    type Err = UnknownDefect;

    fn from_str(name: &str) -> Result<Defect, UnknownDefect> {
        let found = Defect::ALL.into_iter().find(|defect| defect.name() == name);
        found.ok_or_else(|| UnknownDefect { name: name.to_owned() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_defect_is_found_by_its_name() {
        for defect in Defect::ALL {
            assert_eq!(defect.name().parse(), Ok(defect));
        }
        assert!("none".parse::<Defect>().is_err());
    }
}
