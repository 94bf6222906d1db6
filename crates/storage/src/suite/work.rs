//! A life of a log, by seed: appends of all kinds, origins that rise, frames that are given up,
//! space that is given back, a disk that fills up, closings, kills and openings.

use std::sync::Arc;

use crate::error::{AppendError, KeepError};
use crate::frame::{LaneId, Seq};
use crate::sim::{Dice, Fault, SimDisk};
use crate::store::{Purpose, Store, Ticket, Urgency};
use crate::suite::history::{Event, Expected, History, Shown, Teller};
use crate::suite::{Watch, cases, ensure};
use crate::wal::{Defect, Wal, WalOptions};

/// Two lanes of messages and one of state.
const LANES: [u16; 3] = [0, 1, STATE];
const STATE: u16 = 0x8000;

/// A small volume.
const VOLUME_BYTES: u64 = 1 << 20;

/// A log at work.
pub(super) struct Work {
    pub(super) disk: SimDisk,
    pub(super) dice: Dice,
    pub(super) history: Arc<History>,
    defect: Option<Defect>,
    next_seq: [u64; LANES.len()],
    open: Option<Open>,
    /// The fault that is to come, and at which operation of all (or read, for a failed read).
    fault: Option<(u64, Fault)>,
    /// Size of the volume, if it ends.
    volume: Option<u64>,
    pub(super) counts: Done,
}

/// What was done, to see that a workload is worth its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Done {
    /// Appends that were accepted.
    pub appends: u64,
    /// Appends that were refused because the disk is full.
    pub full: u64,
    /// Appends for upkeep that were accepted after that.
    pub kept_up: u64,
    /// Origins that were raised.
    pub raised: u64,
    /// Segments that were removed.
    pub removed: u64,
    /// Segments that were rewritten.
    pub rewritten: u64,
    /// Openings.
    pub openings: u64,
}

impl std::ops::AddAssign for Done {
    fn add_assign(&mut self, other: Done) {
        self.appends += other.appends;
        self.full += other.full;
        self.kept_up += other.kept_up;
        self.raised += other.raised;
        self.removed += other.removed;
        self.rewritten += other.rewritten;
        self.openings += other.openings;
    }
}

struct Open {
    wal: Wal,
    watch: Arc<Watch>,
}

/// Why a workload ended early: the log, or the oracle.
pub(super) enum End {
    /// It is poisoned or could not be opened, and said so.
    Failed,
    Wrong(String),
}

impl From<String> for End {
    fn from(what: String) -> End {
        End::Wrong(what)
    }
}

/// Small segments, so that a life has many of them.
pub(super) fn options(dice: &mut Dice, defect: Option<Defect>) -> WalOptions {
    let segments = [2_048, 4_096, 16_384];
    WalOptions {
        segment_bytes: segments.get(dice.below(3) as usize).copied().unwrap_or(4_096),
        fill_ahead_bytes: 0,
        write_delay_ms: 0,
        sync_delay_ms: 60_000,
        seal_delay_ms: if dice.chance(20) { 1 } else { 60_000 },
        defect,
        ..WalOptions::default()
    }
}

impl Work {
    pub(super) fn new(seed: u64, defect: Option<Defect>) -> Work {
        let disk = SimDisk::new();
        let history = History::new(&disk);
        let (next_seq, counts) = ([0; LANES.len()], Done::default());
        let (dice, open, fault, volume) = (Dice::new(seed), None, None, None);
        Work { disk, dice, history, defect, next_seq, open, fault, volume, counts }
    }

    /// On a small volume, which fills up.
    pub(super) fn on_small_volume(self) -> Work {
        self.disk.set_capacity(Some(VOLUME_BYTES));
        Work { volume: Some(VOLUME_BYTES), ..self }
    }

    /// Has one fault at an operation, also when the log is killed and opened before that.
    pub(super) fn fail_at(&mut self, operation: u64, fault: Fault) {
        self.disk.fail_at(operation, fault);
        self.fault = Some((operation, fault));
    }

    /// So many steps, each of which the dice choose; open at the end if nothing failed.
    pub(super) fn run(&mut self, steps: u64) -> Result<(), End> {
        for _ in 0..steps {
            if self.open.is_none() {
                self.open()?;
            }
            match self.dice.below(100) {
                0..62 => self.append()?,
                62..70 => self.give_up(),
                70..77 => self.raise_origins()?,
                77..87 => self.reclaim()?,
                87..96 => self.change_room(),
                96..98 => self.close()?,
                _ => drop(self.kill()),
            }
        }
        Ok(())
    }

    /// Ends the life of the log without a word. Says whether the fault is still to come.
    pub(super) fn kill(&mut self) -> bool {
        let fails_later = self.disk.fails_later();
        self.disk.kill();
        self.open = None;
        if let Some((at, fault)) = self.fault.filter(|_| fails_later) {
            let is_read = fault == Fault::FailedRead;
            let so_far = if is_read { self.disk.reads() } else { self.disk.operations() };
            self.disk.fail_at(at.saturating_sub(so_far), fault);
        }
        fails_later
    }

    /// Of a log on this disk.
    pub(super) fn options(&mut self) -> WalOptions {
        let options = options(&mut self.dice, self.defect);
        if self.volume.is_none() {
            return options;
        }
        WalOptions { segment_bytes: 64 << 10, reserve_bytes: 256 << 10, ..options }
    }

    fn open(&mut self) -> Result<(), End> {
        let options = self.options();
        let Ok((wal, _)) = Wal::open(self.disk.mount(), options) else { return Err(End::Failed) };
        let expected = self.history.expected();
        let len = match (expected.reach(&wal), self.fault) {
            (Err(_), Some((_, Fault::FailedRead))) if !self.disk.fails_later() => {
                expected.reach(&wal)?
            }
            // Whatever writes beside the log has met it.
            (Err(_), Some((_, Fault::PowerLoss))) if !self.disk.fails_later() => {
                return Err(End::Failed);
            }
            (reach, _) => reach?,
        };
        self.history.push(Event::Opened(len));
        self.counts.openings += 1;
        let watch = Watch::new();
        let teller = Teller { watch: Arc::clone(&watch), history: Arc::clone(&self.history) };
        wal.start(Arc::new(teller)).map_err(|_| End::Failed)?;
        self.open = Some(Open { wal, watch });
        Ok(())
    }

    fn append(&mut self) -> Result<(), End> {
        let frames: Vec<Shown> = (0..=self.dice.below(4)).map(|_| self.frame()).collect();
        let Some(Open { wal, watch }) = &self.open else { return Ok(()) };
        let urgency = if self.dice.chance(75) { Urgency::Now } else { Urgency::Soon };
        self.history.push(Event::Appended(frames.clone()));
        let ticket = match cases::append(wal, urgency, &frames) {
            Ok(ticket) => ticket,
            Err(AppendError::DiskFull | AppendError::Full { .. }) => {
                self.history.push(Event::Refused);
                self.counts.full += 1;
                return self.keep_up();
            }
            Err(_) => return Err(End::Failed),
        };
        self.counts.appends += 1;
        if urgency == Urgency::Now || self.dice.chance(50) {
            self.wait(urgency, ticket)?;
        }
        Ok(watch.breach()?)
    }

    /// What makes room in the end is written though the disk is full: out of the reserve.
    fn keep_up(&mut self) -> Result<(), End> {
        const FRAME_BYTES: usize = 8_000;
        let Some(Open { wal, .. }) = &self.open else { return Ok(()) };
        let Some(next) = self.next_seq.last_mut() else { return Ok(()) };
        let frames: Vec<Shown> = (1..4).map(|step| (STATE, *next + step, FRAME_BYTES)).collect();
        *next += 3;
        self.history.push(Event::Appended(frames.clone()));
        match cases::append_for(wal, Urgency::Now, Purpose::Upkeep, &frames) {
            Ok(ticket) => {
                self.counts.kept_up += 1;
                self.wait(Urgency::Now, ticket)
            }
            // The reserve ends too.
            Err(AppendError::DiskFull | AppendError::Full { .. }) => {
                self.history.push(Event::Refused);
                Ok(())
            }
            Err(_) => Err(End::Failed),
        }
    }

    fn wait(&self, urgency: Urgency, ticket: Ticket) -> Result<(), End> {
        let Some(Open { watch, .. }) = &self.open else { return Ok(()) };
        let waited = match urgency {
            Urgency::Now => watch.wait_committed(ticket),
            // Several writes for one sync.
            Urgency::Soon => watch.wait_written(ticket),
        };
        match waited {
            Err(_) if watch.poison().is_some() => Err(End::Failed),
            waited => Ok(waited?),
        }
    }

    fn frame(&mut self) -> Shown {
        let lane = self.dice.below(LANES.len() as u64) as usize;
        let step = self.dice.below(3) + 1;
        let seq = self.next_seq.get_mut(lane).map_or(0, |next| {
            *next += step;
            *next
        });
        let len = if self.dice.chance(4) { self.dice.below(6_000) } else { self.dice.below(400) };
        let len = if self.volume.is_some() { len.min(400) * 24 } else { len };
        (LANES.get(lane).copied().unwrap_or(0), seq, len as usize)
    }

    /// Somebody stops to need about a third of everything below the origins, or all of it.
    fn give_up(&mut self) {
        let percent = if self.dice.chance(30) { 95 } else { 35 };
        let living: Vec<_> = self.history.expected().living().collect();
        let given_up = living
            .into_iter()
            .filter(|_| self.dice.chance(percent))
            .map(|(lane, seq, _)| (lane, seq));
        let given_up = given_up.collect();
        self.history.push(Event::GivenUp(given_up));
    }

    fn raise_origins(&mut self) -> Result<(), End> {
        let expected = self.history.expected();
        let mut origins = Vec::new();
        for lane in LANES {
            let last = last_confirmed(&expected, lane);
            let origin = expected.origin(lane);
            if self.dice.chance(70) && origin <= last {
                let above = if self.dice.chance(60) { last + 1 - origin } else { 1 };
                origins.push((lane, last + 1 - self.dice.below(above)));
            }
        }
        let Some(Open { wal, .. }) = &self.open else { return Ok(()) };
        self.history.push(Event::OriginsAsked(origins.clone()));
        let asked: Vec<_> = origins.iter().map(|&(lane, seq)| (LaneId(lane), Seq(seq))).collect();
        match wal.raise_origins(&asked) {
            Ok(()) => {
                self.history.push(Event::OriginsTold(origins));
                self.counts.raised += 1;
                Ok(())
            }
            Err(KeepError::DiskFull { .. }) => Ok(()),
            Err(_) => Err(End::Failed),
        }
    }

    fn reclaim(&mut self) -> Result<(), End> {
        let expected = self.history.expected();
        let Some(Open { wal, .. }) = &self.open else { return Ok(()) };
        for _ in 0..20 {
            let reclaimed = wal.reclaim(&mut |see| {
                for (lane, seq, len) in expected.living() {
                    see(LaneId(lane), Seq(seq), len as u32);
                }
                true
            });
            let reclaimed = match reclaimed {
                Ok(reclaimed) => reclaimed,
                Err(KeepError::DiskFull { .. }) => return Ok(()),
                Err(_) => return Err(End::Failed),
            };
            self.counts.removed += reclaimed.removed_segments;
            self.counts.rewritten += reclaimed.rewritten_segments;
            if !reclaimed.more {
                return Ok(());
            }
        }
        Err(End::Wrong("space is given back for ever".to_owned()))
    }

    /// Somebody else takes most of a small volume, or gives it back.
    fn change_room(&mut self) {
        let room = self.dice.below(24) * 1_024;
        let is_short = self.volume.is_some() && self.dice.chance(60);
        let free = self.volume.unwrap_or(0).saturating_sub(self.disk.used_bytes());
        self.disk.set_taken(if is_short { free.saturating_sub(room) } else { 0 });
    }

    /// Closes the log in order, if it is open.
    pub(super) fn close(&mut self) -> Result<(), End> {
        let Some(Open { wal, watch }) = self.open.take() else { return Ok(()) };
        wal.close().map_err(|_| End::Failed)?;
        self.history.push(Event::Closed);
        let all = self.history.expected();
        ensure_told(&watch, &all)?;
        self.kill();
        Ok(())
    }
}

fn ensure_told(watch: &Watch, all: &Expected) -> Result<(), String> {
    watch.breach()?;
    ensure!(all.confirmed == all.appended.len(), "closed, and {} are not told", all.confirmed);
    Ok(())
}

/// The last seq of a lane that was told as committed.
fn last_confirmed(expected: &Expected, lane: u16) -> u64 {
    let confirmed = expected.appended.iter().take(expected.confirmed);
    confirmed
        .filter(|((of, ..), _)| *of == lane)
        .map(|&((_, seq, _), _)| seq)
        .next_back()
        .unwrap_or(0)
}
