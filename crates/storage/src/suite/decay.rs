//! Decay: in a folder that was closed in order, with origins, an index beside segments and segments
//! that were written again, one byte after another is changed, and one file after another is cut at
//! every length.
//!
//! The oracle: the folder is refused; or all that a scan has to show is shown, every body that is
//! needed reads as it was or as rotten, what is rotten was told at the opening or is found by the
//! scrubber, and nothing that is needed is said not to be there.

use std::collections::BTreeMap;

use crate::error::{OpenError, ReadError};
use crate::frame::{LaneId, Seq};
use crate::sim::{Dice, SimDisk};
use crate::store::Store;
use crate::suite::history::Expected;
use crate::suite::work::{End, Work};
use crate::suite::{Failure, cases, ensure};
use crate::wal::{Recovered, Wal, WalOptions};

/// Steps of the life that makes the folder.
const STEPS: u64 = 70;
/// All places of a file are tried up to this size, so many of them above it.
const ALL_BYTES: usize = 64 << 10;

/// What became of the damage.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    /// Bytes that were changed, one at a time.
    pub flips: u64,
    /// Lengths to which a file was cut.
    pub cuts: u64,
    /// Folders that were refused.
    pub refused: u64,
    /// Folders with bodies that were told as rotten by the opening.
    pub reported: u64,
    /// Folders with bodies that were found to be rotten only when they were read.
    pub found_by_reads: u64,
    /// Folders that had everything.
    pub whole: u64,
}

impl std::ops::AddAssign for Counts {
    fn add_assign(&mut self, other: Counts) {
        self.flips += other.flips;
        self.cuts += other.cuts;
        self.refused += other.refused;
        self.reported += other.reported;
        self.found_by_reads += other.found_by_reads;
        self.whole += other.whole;
    }
}

/// One folder, damaged at each of its places. Of them, only each `stride`-th is tried, beginning
/// with `first`.
pub fn run(seed: u64, first: usize, stride: usize) -> Result<Counts, Failure> {
    let case = format!("decay, COURANT_SEED={seed}");
    all(seed, first, stride).map_err(|what| Failure { case, what })
}

struct Folder {
    files: BTreeMap<String, Vec<u8>>,
    options: WalOptions,
    expected: Expected,
}

fn folder(seed: u64) -> Result<Folder, String> {
    let mut work = Work::new(seed, None);
    let done = work.run(STEPS).and_then(|()| work.close());
    match done {
        Ok(()) => {}
        Err(End::Failed) => return Err("the log failed on a sound disk".to_owned()),
        Err(End::Wrong(what)) => return Err(what),
    }
    let (files, expected) = (work.disk.contents(), work.history.expected());
    Ok(Folder { files, options: work.options(), expected })
}

fn all(seed: u64, first: usize, stride: usize) -> Result<Counts, String> {
    let folder = folder(seed)?;
    let mut dice = Dice::new(seed);
    let mut counts = Counts::default();
    for (name, bytes) in &folder.files {
        let step = stride * bytes.len().div_ceil(ALL_BYTES).max(1);
        for at in (first..bytes.len()).step_by(step) {
            let bit = dice.below(8);
            let what = format!("bit {bit} of byte {at} of {name} flipped");
            let changed = folder.with(name, |bytes| {
                if let Some(byte) = bytes.get_mut(at) {
                    *byte ^= 1 << bit;
                }
            });
            counts.flips += 1;
            folder.judge(&changed, &mut counts).map_err(|why| format!("{what}: {why}"))?;
            let what = format!("{name} cut to {at} of {}", bytes.len());
            let changed = folder.with(name, |bytes| bytes.truncate(at));
            counts.cuts += 1;
            folder.judge(&changed, &mut counts).map_err(|why| format!("{what}: {why}"))?;
        }
    }
    Ok(counts)
}

impl Folder {
    fn with(&self, name: &str, change: impl FnOnce(&mut Vec<u8>)) -> SimDisk {
        let mut files = self.files.clone();
        if let Some(bytes) = files.get_mut(name) {
            change(bytes);
        }
        SimDisk::of(files)
    }

    fn judge(&self, disk: &SimDisk, counts: &mut Counts) -> Result<(), String> {
        match Wal::open(disk.mount(), self.options.clone()) {
            Err(OpenError::Io { source, .. }) => return Err(source.to_string()),
            Err(_) => counts.refused += 1,
            Ok((wal, recovered)) => self.judge_opened(&wal, &recovered, counts)?,
        }
        Ok(())
    }

    fn judge_opened(
        &self,
        wal: &Wal,
        recovered: &Recovered,
        counts: &mut Counts,
    ) -> Result<(), String> {
        let reach = self.expected.reach(wal)?;
        let all = self.expected.appended.len();
        ensure!(reach == all, "{reach} of {all} frames are found, and nothing is said");
        let (mut reported, mut unseen) = (0, 0);
        for &((lane, seq, len), _) in &self.expected.appended {
            let is_needed =
                seq >= self.expected.origin(lane) || !self.expected.given_up.contains(&(lane, seq));
            match wal.read(LaneId(lane), Seq(seq), &mut Vec::new()) {
                Ok(()) => cases::reads(wal, lane, seq, len)?,
                Err(ReadError::NotFound) if !is_needed => {}
                Err(ReadError::Rotten { .. }) => {
                    let mut told = recovered.rotten_bodies.iter();
                    let is_told = told.any(|body| (body.lane.0, body.seq.0) == (lane, seq));
                    *(if is_told { &mut reported } else { &mut unseen }) += 1;
                }
                Err(error) => return Err(format!("{lane}/{seq}: {error}")),
            }
        }
        if unseen > 0 {
            let scrubbed = wal.scrub(u64::MAX).map_err(|error| error.to_string())?;
            ensure!(!scrubbed.damaged.is_empty(), "{unseen} rotten bodies, not seen by a scrub");
            counts.found_by_reads += 1;
        }
        counts.reported += u64::from(reported > 0);
        counts.whole += u64::from(reported + unseen == 0);
        Ok(())
    }
}
