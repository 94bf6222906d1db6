//! Power losses: one life of a log is recorded, and every state in which it may have left the disk
//! at any moment is opened and compared with what had been promised by then.
//!
//! Some of the openings are recorded too, and cut in turn; some logs go on after their opening.

use crate::sim::{Dice, Fault, State};
use crate::store::{Store, Urgency};
use crate::suite::history::Expected;
use crate::suite::work::{Done, End, Work, options};
use crate::suite::{Failure, Watch, cases, ensure};
use crate::wal::{Defect, Wal};

/// Steps of one life.
const STEPS: u64 = 60;
/// One life of so many is on a small volume.
const SMALL_VOLUME_EVERY: u64 = 5;
/// Seeded subsets at each moment.
const SUBSETS: u64 = 2;

/// What happened in a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    /// States that were opened, each unlike the others of its life.
    pub states: u64,
    /// Openings that were cut.
    pub cut_openings: u64,
    /// Frames that had been told as committed, all found.
    pub confirmed: u64,
    /// Faults that happened.
    pub faults: u64,
    /// Faults that ended the log.
    pub failed: u64,
    /// What was done in the lives.
    pub done: Done,
}

impl std::ops::AddAssign for Counts {
    fn add_assign(&mut self, other: Counts) {
        self.states += other.states;
        self.cut_openings += other.cut_openings;
        self.confirmed += other.confirmed;
        self.faults += other.faults;
        self.failed += other.failed;
        self.done += other.done;
    }
}

/// One life, and all its power losses.
pub fn run(seed: u64, defect: Option<Defect>) -> Result<Counts, Failure> {
    let case = format!("power, COURANT_SEED={seed}");
    losses(seed, defect).map_err(|what| Failure { case, what })
}

fn losses(seed: u64, defect: Option<Defect>) -> Result<Counts, String> {
    let mut work = Work::new(seed, defect);
    if seed % SMALL_VOLUME_EVERY == 3 {
        work = work.on_small_volume();
    }
    work.disk.record();
    match work.run(STEPS) {
        Ok(()) => {}
        Err(End::Failed) => return Err("the log failed on a sound disk".to_owned()),
        Err(End::Wrong(what)) => return Err(what),
    }
    work.kill();
    let trace = work.disk.recorded();
    let notes = work.history.at_each_note();
    let mut counts = Counts { done: work.counts, ..Counts::default() };
    let mut dice = Dice::new(!seed);
    trace.states(seed, SUBSETS, &mut |state| {
        let Some(expected) = notes.get(state.note as usize) else { return Ok(()) };
        let (cut, kept) = (state.cut, state.kept.clone());
        let recovered = recover(&state, expected, defect, &mut dice, &mut counts);
        recovered.map_err(|what| format!("cut at {cut} of {}, {kept}: {what}", trace.len()))
    })?;
    Ok(counts)
}

/// Opens one state and compares.
fn recover(
    state: &State,
    expected: &Expected,
    defect: Option<Defect>,
    dice: &mut Dice,
    counts: &mut Counts,
) -> Result<(), String> {
    counts.states += 1;
    counts.confirmed += expected.confirmed as u64;
    let cuts_opening = dice.chance(5);
    if cuts_opening {
        state.disk.record();
    }
    let (wal, _) = Wal::open(state.disk.mount(), options(dice, defect))
        .map_err(|error| format!("not opened: {error}"))?;
    expected.judge(&wal)?;
    if !cuts_opening && dice.chance(10) {
        go_on(&wal)?;
    }
    drop(wal);
    if !cuts_opening {
        return Ok(());
    }
    counts.cut_openings += 1;
    state.disk.recorded().states(dice.roll(), 1, &mut |again| {
        counts.states += 1;
        let (wal, _) = Wal::open(again.disk.mount(), options(dice, defect))
            .map_err(|error| format!("the opening was cut at {}: {error}", again.cut))?;
        let judged = expected.judge(&wal);
        judged.map_err(|what| format!("the opening was cut at {}: {what}", again.cut))
    })?;
    Ok(())
}

/// The log takes another frame, and has it after another opening.
fn go_on(wal: &Wal) -> Result<(), String> {
    let watch = Watch::new();
    wal.start(watch.clone()).map_err(|error| error.to_string())?;
    let frame = (7, 1, 100);
    let ticket = cases::append(wal, Urgency::Now, &[frame]);
    watch.wait_committed(ticket.map_err(|error| error.to_string())?)?;
    wal.close().map_err(|error| error.to_string())?;
    ensure!(watch.frames().len() == 1, "committed: {:?}", watch.frames());
    cases::reads(wal, 7, 1, 100)
}

/// One life with a fault at one operation (or at one read), killed or crashed where it ends.
/// Gives nothing if the life was over before the fault.
pub fn run_fault(
    seed: u64,
    operation: u64,
    fault: Fault,
    defect: Option<Defect>,
) -> Result<Option<Counts>, Failure> {
    let case = format!("{fault:?} at operation {operation}, COURANT_SEED={seed}");
    one_fault(seed, (operation, fault), defect).map_err(|what| Failure { case, what })
}

fn one_fault(
    seed: u64,
    (operation, fault): (u64, Fault),
    defect: Option<Defect>,
) -> Result<Option<Counts>, String> {
    /// More than 2,000 operations.
    const STEPS: u64 = 600;
    let mut work = Work::new(seed, defect);
    work.fail_at(operation, fault);
    let ended = work.run(STEPS);
    let mut counts = Counts { done: work.counts, ..Counts::default() };
    match ended {
        Err(End::Wrong(what)) => return Err(what),
        Err(End::Failed) => counts.failed += 1,
        Ok(()) => {}
    }
    if work.kill() {
        return Ok(None);
    }
    counts.faults += 1;
    if work.dice.chance(50) {
        work.disk.crash(work.dice.roll());
    }
    work.disk.kill();
    let expected = work.history.expected();
    let (wal, _) = Wal::open(work.disk.mount(), work.options())
        .map_err(|error| format!("not opened: {error}"))?;
    expected.judge(&wal)?;
    go_on(&wal)?;
    Ok(Some(counts))
}
