//! Crashes of a whole broker, by seed. `COURANT_SEED` repeats one of them, `COURANT_RUNS`
//! multiplies their number.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "tests panic and print counts")]

mod campaign;
mod client;

use campaign::{Counts, power, rot, run, seeds};

const CRASH_SEEDS: u64 = 400;
const ROT_SEEDS: u64 = 300;
const POWER_SEEDS: u64 = 20;

#[test]
fn what_was_promised_is_kept_through_every_crash() {
    let mut total = Counts::default();
    for seed in seeds(CRASH_SEEDS) {
        total += run(seed, None).unwrap_or_else(|failure| panic!("{failure}"));
    }
    println!("{total:?}");
    if std::env::var_os("COURANT_SEED").is_none() {
        let every_kind = [
            total.crashes,
            total.poisoned,
            total.closed,
            total.lost,
            total.synced_acks,
            total.came_again,
        ];
        assert!(every_kind.iter().all(|count| *count > CRASH_SEEDS / 10), "{total:?}");
    }
}

#[test]
fn rot_is_refused_or_reported_and_the_rest_comes() {
    let mut total = rot::Counts::default();
    for seed in seeds(ROT_SEEDS) {
        total += rot::run(seed, None).unwrap_or_else(|failure| panic!("{failure}"));
    }
    println!("{total:?}");
    if std::env::var_os("COURANT_SEED").is_none() {
        let every_kind = [total.refused, total.rotten, total.harmless];
        assert!(every_kind.iter().all(|count| *count > ROT_SEEDS / 100), "{total:?}");
    }
}

#[test]
fn what_was_promised_comes_out_of_the_states_that_a_power_loss_may_leave() {
    let (mut total, mut states) = (Counts::default(), 0);
    for seed in seeds(POWER_SEEDS) {
        let (counts, opened) = power::run(seed, None).unwrap_or_else(|failure| panic!("{failure}"));
        total += counts;
        states += opened;
    }
    println!("{states} states, {total:?}");
}
