//! Every byte of a folder changed in turn, every file cut at every length. `COURANT_SEED` chooses
//! another folder, `COURANT_STRIDE` leaves places out.

#![allow(clippy::print_stdout, reason = "what was counted")]

use courant_storage::suite::{crash, decay};

#[test]
fn every_changed_byte_and_every_cut_is_found_or_does_not_matter() {
    let stride = std::env::var("COURANT_STRIDE").ok().and_then(|stride| stride.parse().ok());
    let stride: usize = stride.unwrap_or(1);
    let seed = crash::seed_from_environment().unwrap_or(0);
    let total = std::thread::scope(|scope| {
        let half = |first| decay::run(seed, first, stride * 2).unwrap_or_else(|f| panic!("{f}"));
        let other = scope.spawn(move || half(stride));
        let mut total = half(0);
        total += other.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        total
    });
    println!("{total:?}");
    if crash::seed_from_environment().is_some() {
        return;
    }
    let every_kind = [total.refused, total.reported, total.found_by_reads, total.whole];
    assert!(every_kind.iter().all(|&count| count > 0), "{total:?}");
}
