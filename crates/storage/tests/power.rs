//! Every state in which a power loss may leave the disk, and an error at every operation, by seed.
//! `COURANT_SEED` repeats one of them, `COURANT_STATES` and `COURANT_RUNS` change their number.

#![allow(clippy::unwrap_used, clippy::cast_possible_truncation, reason = "tests panic")]

use courant_storage::sim::Fault;
use courant_storage::suite::{crash, power};

/// States of one check.
const STATES: u64 = 40_000;
/// Operations of the life in which each of them fails once.
const OPERATIONS: u64 = 2_000;

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

#[test]
fn what_was_promised_is_found_in_every_state_that_a_power_loss_may_leave() {
    let mut total = power::Counts::default();
    if let Some(seed) = crash::seed_from_environment() {
        total = power::run(seed, None).unwrap();
        println!("{total:?}");
        return;
    }
    let states = number("COURANT_STATES").unwrap_or(STATES);
    let mut seeds = 0..;
    while total.states < states {
        total += power::run(seeds.next().unwrap(), None).unwrap_or_else(|f| panic!("{f}"));
    }
    println!("{} lives: {total:?}", seeds.start);
}

#[test]
fn no_error_at_any_operation_of_a_long_life_loses_what_was_promised() {
    let runs = number("COURANT_RUNS").unwrap_or(1);
    let faults = [&Fault::ALL[..], &[Fault::FailedRead]].concat();
    let mut total = power::Counts::default();
    for run in 0..runs {
        for operation in 1..=OPERATIONS {
            let fault = faults[((operation + run) % faults.len() as u64) as usize];
            // There are fewer reads than changes.
            let operation = if fault == Fault::FailedRead { operation / 3 } else { operation };
            let seed = crash::seed_from_environment().unwrap_or(run);
            let counts = power::run_fault(seed, operation, fault);
            let counts = counts.unwrap_or_else(|failure| panic!("{failure}"));
            total += counts.unwrap_or_else(|| panic!("no operation {operation} for {fault:?}"));
        }
    }
    println!("{total:?}");
    assert!(total.faults == OPERATIONS * runs && total.failed > total.faults / 2, "{total:?}");
}
