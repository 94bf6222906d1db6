//! Every state in which a power loss may leave the disk, and an error at every operation, by seed.
//! `COURANT_SEED` repeats one of them, `COURANT_STATES` and `COURANT_RUNS` change their number.

#![allow(clippy::unwrap_used, clippy::cast_possible_truncation, reason = "tests panic")]
#![allow(clippy::print_stdout, reason = "what was counted, and how a defect was caught")]

use courant_storage::Defect;
use courant_storage::sim::Fault;
use courant_storage::suite::{Failure, crash, power};

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
            let counts = power::run_fault(seed, operation, fault, None);
            let counts = counts.unwrap_or_else(|failure| panic!("{failure}"));
            total += counts.unwrap_or_else(|| panic!("no operation {operation} for {fault:?}"));
        }
    }
    println!("{total:?}");
    assert!(total.faults == OPERATIONS * runs && total.failed > total.faults / 2, "{total:?}");
}

/// The first failure of the first few lives, of which a check has more.
fn caught(defect: Defect) -> Failure {
    let failure = (0..8).find_map(|seed| power::run(seed, Some(defect)).err());
    let failure = failure.unwrap_or_else(|| panic!("{defect:?} was not caught"));
    println!("{defect:?}: {failure}");
    failure
}

#[test]
fn a_confirm_before_the_sync_is_caught() {
    let failure = caught(Defect::ConfirmBeforeSync);
    assert!(failure.what.contains("frames were confirmed"), "{failure}");
}

#[test]
fn a_skipped_sync_of_the_folder_is_caught() {
    caught(Defect::SkippedDirectorySync);
}

#[test]
fn a_list_of_segments_that_is_not_synced_is_caught() {
    caught(Defect::MissingManifestSync);
}

#[test]
fn a_rewritten_segment_that_is_not_synced_is_caught() {
    caught(Defect::RewriteBeforeSync);
}

#[test]
fn a_checkpoint_ahead_of_the_log_is_caught() {
    let failure = caught(Defect::CheckpointAhead);
    assert!(failure.what.contains("not opened"), "{failure}");
}

#[test]
fn an_origin_of_the_wrong_lane_is_caught() {
    let failure = caught(Defect::LaneMixedUp);
    assert!(failure.what.contains("origin"), "{failure}");
}

#[test]
fn a_write_without_room_that_is_taken_as_done_is_caught() {
    let defect = Some(Defect::NoSpaceTakenAsWritten);
    let faulty = |operation| power::run_fault(0, operation, Fault::NoSpace, defect).err();
    let failure = (1..200).find_map(faulty).expect("it was not caught");
    println!("{defect:?}: {failure}");
}

#[test]
fn a_reserve_that_is_not_given_back_is_caught() {
    caught(Defect::ReserveNotReleased);
}
