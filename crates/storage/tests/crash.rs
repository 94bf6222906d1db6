//! Crashes, errors and seeded defects, by seed. `COURANT_SEED` repeats one of them, `COURANT_RUNS`
//! multiplies their number.

#![allow(clippy::unwrap_used, clippy::cast_possible_truncation, reason = "tests panic")]

use courant_storage::sim::Fault;
use courant_storage::suite::{Failure, crash, rot};
use courant_storage::wal::Defect;

const CRASH_SEEDS: u64 = 1_000;
const ROT_SEEDS: u64 = 3_000;

fn seeds(count: u64) -> std::ops::Range<u64> {
    let runs = std::env::var("COURANT_RUNS").ok().and_then(|runs| runs.parse().ok()).unwrap_or(1);
    crash::seed_from_environment().map_or(0..count * runs, |seed| seed..seed + 1)
}

fn crashes(count: u64, defect: Option<Defect>) -> Result<crash::Counts, Failure> {
    let mut total = crash::Counts::default();
    for seed in seeds(count) {
        total += crash::run(seed, defect)?;
    }
    Ok(total)
}

fn rots(count: u64, defect: Option<Defect>) -> Result<rot::Counts, Failure> {
    let mut total = rot::Counts::default();
    for seed in seeds(count) {
        total += rot::run(seed, defect)?;
    }
    Ok(total)
}

#[test]
fn what_was_committed_is_found_after_every_crash() {
    let counts = crashes(CRASH_SEEDS, None).unwrap();
    println!("{counts:?}");
    if crash::seed_from_environment().is_none() {
        let every_kind = [counts.unconfirmed, counts.lost, counts.torn, counts.poisoned];
        assert!(every_kind.iter().all(|&count| count > CRASH_SEEDS / 10), "{counts:?}");
    }
}

#[test]
fn no_error_at_any_operation_loses_what_was_committed() {
    let mut total = crash::Counts::default();
    for fault in Fault::ALL {
        for operation in 1.. {
            let mut any_happened = false;
            for seed in 0..4 {
                let (counts, happened) = crash::run_fault(operation, fault, seed).unwrap();
                total += counts;
                any_happened |= happened;
            }
            if !any_happened {
                assert!(operation > 50, "{operation} operations only");
                break;
            }
        }
    }
    println!("{total:?}");
    assert!(total.poisoned > 1_000 && total.lost > 100, "{total:?}");
}

#[test]
fn rot_is_refused_or_reported_and_never_taken_for_a_torn_tail() {
    let counts = rots(ROT_SEEDS, None).unwrap();
    println!("{counts:?}");
    if crash::seed_from_environment().is_none() {
        let every_kind = [counts.refused, counts.rotten_bodies, counts.torn, counts.harmless];
        assert!(every_kind.iter().all(|&count| count > ROT_SEEDS / 500), "{counts:?}");
    }
}

#[test]
fn a_confirm_before_the_sync_is_caught() {
    let failure = crashes(200, Some(Defect::ConfirmBeforeSync)).unwrap_err();
    assert!(failure.what.contains("confirmed"), "{failure}");
}

#[test]
fn a_skipped_sync_of_the_folder_is_caught() {
    crashes(200, Some(Defect::SkippedDirectorySync)).unwrap_err();
}

#[test]
fn a_cut_at_a_bad_checksum_is_caught() {
    let failure = rots(1_000, Some(Defect::TruncateAtBadChecksum)).unwrap_err();
    assert!(failure.what.contains("sealed frames"), "{failure}");
}
