//! Power losses under a broker: one life is recorded, states in which it may have left the disk are
//! opened, and what comes out is compared with what had been promised by then.
//!
//! There are far more states than can be opened with a whole broker: the dice choose.

use super::oracle::Oracle;
use super::{Counts, Failure, Run, declare};
use courant::Broker;
use courant::testing::Defect;
use courant_storage::sim::{Dice, State};

/// About so many states of one life are opened.
const STATES: u64 = 60;
/// Seeded subsets at each moment.
const SUBSETS: u64 = 2;

/// One life, and some of its power losses. Gives also the number of states.
pub fn run(seed: u64, defect: Option<Defect>) -> Result<(Counts, u64), Failure> {
    one(seed, defect).map_err(|what| Failure { seed, what })
}

fn one(seed: u64, defect: Option<Defect>) -> Result<(Counts, u64), String> {
    let mut run = Run::new(seed, defect)?;
    run.notes = Some(vec![Oracle::default()]);
    run.disk.record();
    for round in 0..2 {
        let broker = run.open()?;
        let handle = run.runtime.handle().clone();
        handle.block_on(run.oracle.compare(&broker, &mut run.counts))?;
        run.note();
        handle.block_on(declare(&broker)).map_err(|refusal| refusal.to_string())?;
        run.note();
        handle.block_on(run.work(&broker, round))?;
        run.note();
        handle.block_on(broker.close()).map_err(|error| error.to_string())?;
        run.oracle.all_confirmed();
        run.note();
        drop(broker);
        run.disk.kill();
    }
    let trace = run.disk.recorded();
    let notes = run.notes.take().unwrap_or_default();
    let mut all = 0;
    trace.states(seed, SUBSETS, &mut |_| {
        all += 1;
        Ok::<(), String>(())
    })?;
    let mut dice = Dice::new(!seed);
    let mut opened = 0;
    trace.states(seed, SUBSETS, &mut |state| {
        if dice.below(all) >= STATES {
            return Ok(());
        }
        opened += 1;
        let what = format!("cut at {} of {}, {}", state.cut, trace.len(), state.kept);
        recover(&mut run, &state, &notes).map_err(|why| format!("{what}: {why}"))
    })?;
    Ok((run.counts, opened))
}

fn recover(run: &mut Run, state: &State, notes: &[Oracle]) -> Result<(), String> {
    let at = usize::try_from(state.note).unwrap_or(0);
    let (Some(promised), Some(later)) = (notes.get(at), notes.get(at + 1).or(notes.last())) else {
        return Err(format!("no note {at}"));
    };
    let mut oracle = promised.at_most(later);
    let options = super::options(&mut run.dice, run.defect);
    let context = run.runtime.enter();
    let broker = Broker::open_disk(state.disk.mount(), options)
        .map_err(|error| format!("not opened: {error}"))?;
    drop(context);
    run.counts.openings += 1;
    let compared = run.runtime.block_on(oracle.compare(&broker, &mut run.counts));
    state.disk.kill();
    compared
}

impl Run {
    /// Puts what is promised now into the record.
    pub(super) fn note(&mut self) {
        let Some(notes) = &mut self.notes else { return };
        notes.push(self.oracle.clone());
        self.disk.note(notes.len() as u64 - 1);
    }
}
