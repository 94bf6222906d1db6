//! Rot: one thing in a folder at rest is changed, and the opening has to see it, or to find
//! everything as it was.
//!
//! The oracle: either the folder is refused; or every confirmed frame is found, and each body reads
//! as it was or as rotten, as the opening reported. Damage to bytes without meaning (padding, the
//! older slot of the checkpoint) is harmless. Behind the last seal damage cannot be told from a
//! torn write: there, and only there, the last append may be dropped, and is reported unless the
//! damage left nothing of it.

use std::sync::Arc;

use crate::error::ReadError;
use crate::frame::{LaneId, Seq};
use crate::limits::SECTOR_BYTES;
use crate::sim::{Dice, SimDisk};
use crate::store::{Store, Urgency};
use crate::suite::{Failure, Watch, cases, crash, ensure};
use crate::wal::{Defect, Recovered, Wal, WalOptions};

/// What became of the damage.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    /// Folders that were refused.
    pub refused: u64,
    /// Folders that were opened with rotten bodies.
    pub rotten_bodies: u64,
    /// Folders in which the unsealed last append was dropped.
    pub torn: u64,
    /// Folders in which everything was found.
    pub harmless: u64,
}

impl std::ops::AddAssign for Counts {
    fn add_assign(&mut self, other: Counts) {
        self.refused += other.refused;
        self.rotten_bodies += other.rotten_bodies;
        self.torn += other.torn;
        self.harmless += other.harmless;
    }
}

/// What was put into the folder before it was damaged.
struct Stored {
    frames: Vec<(u16, u64, usize)>,
    /// So many of them must be found whatever is damaged behind the last seal.
    sealed: usize,
    /// So many of them are below the checkpoint: whatever follows may be cut off without a trace.
    checkpointed: usize,
}

/// One folder, damaged in one way.
pub fn run(seed: u64, defect: Option<Defect>) -> Result<Counts, Failure> {
    let failed = |what| Failure { case: format!("rot, seed {seed}"), what };
    one(seed, defect).map_err(failed)
}

fn one(seed: u64, defect: Option<Defect>) -> Result<Counts, String> {
    let mut dice = Dice::new(seed);
    let disk = SimDisk::new();
    let mut options = crash::options(&mut dice, defect);
    options.seal_delay_ms = 60_000;
    let stored = fill(&disk, &options, &mut dice)?;
    let damage = damage(&disk, &mut dice);
    let opened = Wal::open(disk.mount(), options);
    let mut counts = Counts::default();
    match opened {
        Err(_) => counts.refused += 1,
        Ok((wal, recovered)) => {
            let judged = judge(&wal, &recovered, &stored, &mut counts, &damage);
            judged.map_err(|what| format!("{damage}: {what}"))?;
        }
    }
    Ok(counts)
}

fn fill(disk: &SimDisk, options: &WalOptions, dice: &mut Dice) -> Result<Stored, String> {
    let mut stored = Stored { frames: Vec::new(), sealed: 0, checkpointed: 0 };
    let mut seq = 0;
    for _ in 0..=dice.below(3) {
        let (wal, _) =
            Wal::open(disk.mount(), options.clone()).map_err(|error| error.to_string())?;
        stored.checkpointed = stored.frames.len();
        let watch = Watch::new();
        wal.start(Arc::clone(&watch) as Arc<_>).map_err(|error| error.to_string())?;
        for _ in 0..=dice.below(12) {
            stored.sealed = stored.frames.len();
            let frames: Vec<_> = (0..=dice.below(3))
                .map(|_| {
                    seq += 1;
                    (dice.below(2) as u16, seq, dice.below(900) as usize)
                })
                .collect();
            let ticket = cases::append(&wal, Urgency::Now, &frames);
            watch.wait_committed(ticket.map_err(|error| error.to_string())?)?;
            stored.frames.extend(frames);
        }
        if dice.chance(80) {
            wal.close().map_err(|error| error.to_string())?;
            stored.sealed = stored.frames.len();
            stored.checkpointed = stored.sealed;
        }
        // Without a close the last append has no seal behind it.
        disk.kill();
    }
    Ok(stored)
}

/// Changes one thing, and says what.
fn damage(disk: &SimDisk, dice: &mut Dice) -> String {
    let files = disk.files();
    let (name, len) =
        files.get(dice.below(files.len() as u64) as usize).cloned().unwrap_or_default();
    let at = dice.below(len as u64) as usize;
    let bit = dice.below(8);
    let (range, what) = match dice.below(100) {
        0..60 => (at..at, format!("bit {bit} of byte {at} of {name} flipped")),
        60..75 => (at..len, format!("{name} cut to {at} of {len}")),
        75..85 => (at..(at + 4096).min(len), format!("4096 bytes at {at} of {name} zeroed")),
        85..97 => {
            let from = at / SECTOR_BYTES * SECTOR_BYTES;
            let range = from..(from + SECTOR_BYTES).min(len);
            (range, format!("the sector at {from} of {name} zeroed"))
        }
        _ => {
            disk.lose(&name);
            return format!("{name} removed");
        }
    };
    let is_cut = what.contains(" cut to ");
    disk.damage(&name, |bytes| {
        if is_cut {
            bytes.truncate(range.start);
        } else if range.is_empty() {
            if let Some(byte) = bytes.get_mut(at) {
                *byte ^= 1 << bit;
            }
        } else if let Some(bytes) = bytes.get_mut(range.clone()) {
            bytes.fill(0);
        }
    });
    what
}

fn judge(
    wal: &Wal,
    recovered: &Recovered,
    stored: &Stored,
    counts: &mut Counts,
    damage: &str,
) -> Result<(), String> {
    let found = cases::scanned(wal)?;
    let all = stored.frames.len();
    let leaves_a_trace = damage.contains("flipped");
    let certain = if leaves_a_trace { stored.sealed } else { stored.checkpointed };
    ensure!(found.len() >= certain, "{} of {certain} sealed frames", found.len());
    ensure!(stored.frames.starts_with(&found), "frames that were never stored");
    let dropped = found.len() < all;
    let told = recovered.torn.is_some() || !leaves_a_trace;
    ensure!(!dropped || told, "the last append is gone without a word");
    let mut rotten = 0;
    for (lane, seq, len) in found {
        let read = wal.read(LaneId(lane), Seq(seq), &mut Vec::new());
        if matches!(read, Err(ReadError::Rotten { .. })) {
            rotten += 1;
            let reported = recovered.rotten_bodies.iter();
            let is_reported = reported.clone().any(|body| (body.lane.0, body.seq.0) == (lane, seq));
            ensure!(is_reported, "{lane}/{seq} is rotten and was not reported");
        } else {
            cases::reads(wal, lane, seq, len)?;
        }
    }
    ensure!(rotten == recovered.rotten_bodies_count, "{recovered:?}, and {rotten} are rotten");
    counts.rotten_bodies += u64::from(rotten > 0);
    counts.torn += u64::from(dropped);
    counts.harmless += u64::from(rotten == 0 && !dropped);
    Ok(())
}
