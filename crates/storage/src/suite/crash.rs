//! Crashes: a log on a simulated disk loses power, is killed, or meets an error at a random moment,
//! again and again, and is compared with what was told as committed. A seed repeats every choice,
//! though not how the threads take turns: a rare failure may need its seed several times.
//!
//! The oracle: what is found after an opening is a prefix of what was appended, whole batches of
//! one append, no shorter than what was told as committed, with every body as it was.

use std::sync::Arc;

use crate::frame::{LaneId, Seq};
use crate::sim::{Dice, Fault, SimDisk};
use crate::store::{Store, Ticket, Urgency};
use crate::suite::{Failure, Watch, cases, ensure};
use crate::wal::{Defect, Wal, WalOptions};

/// The seed to be used instead of all others, from `COURANT_SEED`.
#[must_use]
pub fn seed_from_environment() -> Option<u64> {
    std::env::var("COURANT_SEED").ok()?.parse().ok()
}

/// What happened in a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    /// Openings after which everything was compared.
    pub openings: u64,
    /// Frames told as committed, all found.
    pub confirmed: u64,
    /// Frames found though nobody was told.
    pub unconfirmed: u64,
    /// Frames that were lost, and nobody was told that they were kept.
    pub lost: u64,
    /// Torn tails that were dropped.
    pub torn: u64,
    /// Errors that were injected and ended a log.
    pub poisoned: u64,
}

impl std::ops::AddAssign for Counts {
    fn add_assign(&mut self, other: Counts) {
        self.openings += other.openings;
        self.confirmed += other.confirmed;
        self.unconfirmed += other.unconfirmed;
        self.lost += other.lost;
        self.torn += other.torn;
        self.poisoned += other.poisoned;
    }
}

/// Small segments, so that a run has many; the rest by the dice.
pub(super) fn options(dice: &mut Dice, defect: Option<Defect>) -> WalOptions {
    let segments = [2_048, 4_096, 16_384, 1 << 20];
    let segment_bytes = segments.get(dice.below(4) as usize).copied().unwrap_or(4_096);
    let fills = segment_bytes < 1 << 20 && dice.chance(20);
    WalOptions {
        segment_bytes,
        fill_ahead_bytes: u64::from(fills),
        write_delay_ms: 0,
        sync_delay_ms: if dice.chance(20) { 1 } else { 60_000 },
        seal_delay_ms: if dice.chance(30) { 1 } else { 60_000 },
        defect,
        ..WalOptions::default()
    }
}

struct Run {
    disk: SimDisk,
    dice: Dice,
    defect: Option<Defect>,
    /// Everything appended that may still be found, in order, with the number of its append.
    appended: Vec<((u16, u64, usize), u64)>,
    /// So many of them were told as committed.
    confirmed: usize,
    next_seq: [u64; 3],
    appends: u64,
    counts: Counts,
}

/// One run: several openings, appends and ends of one folder.
pub fn run(seed: u64, defect: Option<Defect>) -> Result<Counts, Failure> {
    let mut run = Run::new(seed, defect);
    let rounds = (0..8).try_for_each(|_| run.round());
    rounds.map_err(|what| Failure { case: format!("crash, seed {seed}"), what })?;
    Ok(run.counts)
}

/// One run with one fault at one operation of a fixed workload, and a crash after it. Says also
/// whether the workload was long enough for the operation to happen.
pub fn run_fault(operation: u64, fault: Fault, seed: u64) -> Result<(Counts, bool), Failure> {
    let mut run = Run::new(seed, None);
    let case = || format!("crash, {fault:?} at operation {operation}, seed {seed}");
    let happened = run.fault(operation, fault).map_err(|what| Failure { case: case(), what })?;
    Ok((run.counts, happened))
}

impl Run {
    fn new(seed: u64, defect: Option<Defect>) -> Run {
        Run {
            disk: SimDisk::new(),
            dice: Dice::new(seed),
            defect,
            appended: Vec::new(),
            confirmed: 0,
            next_seq: [0; 3],
            appends: 0,
            counts: Counts::default(),
        }
    }

    fn fault(&mut self, operation: u64, fault: Fault) -> Result<bool, String> {
        let options = WalOptions {
            segment_bytes: 2_048,
            fill_ahead_bytes: 0,
            seal_delay_ms: 60_000,
            ..WalOptions::default()
        };
        self.disk.fail_at(operation, fault);
        let mut poisoned = false;
        if let Ok((wal, _)) = Wal::open(self.disk.mount(), options) {
            let watch = Watch::new();
            let started = wal.start(Arc::clone(&watch) as Arc<_>).is_ok();
            for len in (0..12).map(|step| step * 60) {
                self.next_seq[0] += 1;
                let frame = (0, self.next_seq[0], len);
                let appended = cases::append(&wal, Urgency::Now, &[frame]);
                if !started || appended.is_err() {
                    break;
                }
                self.appended.push((frame, self.next_seq[0]));
                let _ = watch.wait_committed(Ticket(self.next_seq[0]));
            }
            self.confirmed = watch.committed().0 as usize;
            if wal.close().is_ok() && started {
                self.confirmed = self.appended.len();
            }
            poisoned = watch.poison().is_some();
            self.counts.confirmed = self.confirmed as u64;
        }
        let happened = self.disk.operations() >= operation;
        if self.dice.chance(50) {
            self.disk.kill();
        } else {
            self.disk.crash(self.dice.roll());
        }
        let wal = self.open()?;
        self.compare(&wal)?;
        self.counts.poisoned += u64::from(poisoned);
        Ok(happened)
    }

    fn round(&mut self) -> Result<(), String> {
        // A crash may come while the folder is being opened.
        if self.dice.chance(15) {
            self.disk.fail_at(self.dice.below(12) + 1, Fault::PowerLoss);
            drop(self.open());
            self.disk.crash(self.dice.roll());
        }
        let wal = self.open()?;
        self.compare(&wal)?;
        let watch = Watch::new();
        if self.dice.chance(80) {
            let fault = Fault::ALL.get(self.dice.below(9) as usize).copied();
            let fault = fault.unwrap_or(Fault::PowerLoss);
            self.disk.fail_at(self.dice.below(60) + 1, fault);
        }
        let started = wal.start(Arc::clone(&watch) as Arc<_>).is_ok();
        let before = self.appended.len();
        if started {
            self.append_some(&wal, &watch);
        }
        self.confirmed = before + watch.committed().0 as usize;
        watch.breach()?;
        self.counts.confirmed += watch.committed().0;
        self.end(wal);
        self.counts.poisoned += u64::from(watch.poison().is_some());
        Ok(())
    }

    fn open(&mut self) -> Result<Wal, String> {
        let options = options(&mut self.dice, self.defect);
        let (wal, recovered) = Wal::open(self.disk.mount(), options)
            .map_err(|error| format!("not opened: {error}"))?;
        self.counts.torn += u64::from(recovered.torn.is_some());
        ensure!(recovered.rotten_bodies_count == 0, "rot where there is none: {recovered:?}");
        Ok(wal)
    }

    /// Compares what is found with what was appended; from then on it counts as confirmed.
    fn compare(&mut self, wal: &Wal) -> Result<(), String> {
        let found = cases::scanned(wal)?;
        let (len, confirmed) = (found.len(), self.confirmed);
        ensure!(len >= confirmed, "{confirmed} frames were confirmed, {len} are found");
        let is_prefix = self.appended.len() >= len
            && self.appended.iter().zip(&found).all(|((appended, _), found)| appended == found);
        ensure!(is_prefix, "what is found was never appended in this order");
        if let (Some(last), Some(first_lost)) =
            (len.checked_sub(1).and_then(|last| self.appended.get(last)), self.appended.get(len))
        {
            ensure!(last.1 != first_lost.1, "half of append {} is found", last.1);
        }
        for (lane, seq, len) in found {
            cases::reads(wal, lane, seq, len)?;
        }
        if let Some(&((lane, seq, _), _)) = self.appended.get(len) {
            let read = wal.read(LaneId(lane), Seq(seq), &mut Vec::new());
            ensure!(read.is_err(), "{lane}/{seq} is lost and can be read");
        }
        self.counts.openings += 1;
        self.counts.unconfirmed += (len - confirmed) as u64;
        self.counts.lost += (self.appended.len() - len) as u64;
        self.appended.truncate(len);
        self.confirmed = len;
        Ok(())
    }

    fn append_some(&mut self, wal: &Wal, watch: &Watch) {
        for _ in 0..self.dice.below(25) {
            self.appends += 1;
            let frames: Vec<_> = (0..=self.dice.below(4)).map(|_| self.frame()).collect();
            let urgency = if self.dice.chance(60) { Urgency::Now } else { Urgency::Soon };
            let appended = cases::append(wal, urgency, &frames);
            let ticket = appended.as_ref().copied().unwrap_or(Ticket(0));
            if appended.is_err() {
                return;
            }
            self.appended.extend(frames.into_iter().map(|frame| (frame, self.appends)));
            let waited = match (urgency, self.dice.chance(60)) {
                (Urgency::Now, true) => watch.wait_committed(ticket),
                // Several writes for one sync.
                (Urgency::Soon, true) => watch.wait_written(ticket),
                (_, false) => Ok(()),
            };
            if waited.is_err() {
                return;
            }
        }
    }

    fn frame(&mut self) -> (u16, u64, usize) {
        let lane = self.dice.below(3);
        let step = self.dice.below(3) + 1;
        let seq = self.next_seq.get_mut(lane as usize).map_or(0, |next| {
            *next += step;
            *next
        });
        let len = if self.dice.chance(5) { self.dice.below(6_000) } else { self.dice.below(400) };
        (lane as u16, seq, len as usize)
    }

    /// Ends the life of a log in one of the ways in which it may.
    fn end(&mut self, wal: Wal) {
        let way = self.dice.below(100);
        if way < 15 && wal.close().is_ok() {
            self.confirmed = self.appended.len();
        }
        if way < 35 {
            self.disk.kill();
        } else {
            self.disk.crash(self.dice.roll());
        }
        // Only now: a log that is dropped commits what it can.
        drop(wal);
    }
}
