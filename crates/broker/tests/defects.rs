//! Seeded defects: each is caught by the suite that is clean without it (`crash.rs` runs the same
//! seeds).

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "tests panic and print the failure")]

mod campaign;
mod client;

use campaign::{Failure, rot};
use courant::testing::Defect;

const SEEDS: u64 = 150;

/// The first failure of a campaign with a defect.
fn caught(defect: Defect) -> Failure {
    let failure = (0..SEEDS).find_map(|seed| campaign::run(seed, Some(defect)).err());
    let failure = failure.unwrap_or_else(|| panic!("{defect:?} was not caught"));
    println!("{defect:?}: {failure}");
    failure
}

#[test]
fn a_confirm_before_the_sync_is_caught() {
    let failure = caught(Defect::Log(courant_storage::Defect::ConfirmBeforeSync));
    // A snapshot that counts may be what was not there.
    let is_it = ["confirmed and not found", "after its ack was synced", "Snapshot(NotFound)"];
    assert!(is_it.iter().any(|why| failure.what.contains(why)), "{failure}");
}

#[test]
fn a_skipped_sync_of_the_folder_is_caught() {
    caught(Defect::Log(courant_storage::Defect::SkippedDirectorySync));
}

#[test]
fn an_id_that_is_used_twice_is_caught() {
    let failure = caught(Defect::ReusedBlock);
    // The second message of a number goes nowhere, if nobody sees both.
    let is_it = ["was given to two messages", "it never ends"];
    assert!(is_it.iter().any(|why| failure.what.contains(why)), "{failure}");
}

#[test]
fn a_cut_at_a_bad_checksum_is_caught() {
    let defect = Defect::Log(courant_storage::Defect::TruncateAtBadChecksum);
    let failure = (0..SEEDS).find_map(|seed| rot::run(seed, Some(defect)).err());
    let failure = failure.expect("the cut was not caught");
    println!("{defect:?}: {failure}");
    assert!(failure.what.contains("confirmed messages are there"), "{failure}");
}

#[test]
fn a_lost_bit_of_a_chunk_is_caught() {
    let failure = caught(Defect::ChunkBitLost);
    let is_it = ["not found", "a replay differs", "was found in some"];
    assert!(is_it.iter().any(|why| failure.what.contains(why)), "{failure}");
}

#[test]
fn a_lost_count_of_attempts_is_caught() {
    let failure = caught(Defect::AttemptLost);
    assert!(failure.what.contains(" is at "), "{failure}");
}
