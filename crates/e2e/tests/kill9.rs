//! `kill -9` under load, 30 cycles against the real binary in two data directories at once.
//!
//! `COURANT_SEED` takes a printed seed back; the campaign program (`cargo xtask kill9`) takes any
//! number of cycles.

use std::io::Write;

use courant_e2e::campaign::{self, Plan, report};
use courant_e2e::random::seed;
use indicatif::ProgressBar;

#[test]
fn nothing_confirmed_is_lost_in_thirty_kills() {
    let plan = Plan { cycles: 30, seed: seed(), ..Plan::default() };
    let folder = tempfile::tempdir().expect("a temporary directory");
    let outcome = campaign::run(&plan, folder.path(), &ProgressBar::hidden());
    // Straight to stderr, which the test runner does not hold back: the counts are always shown.
    let _ = writeln!(std::io::stderr(), "{}\n{}", plan.replay(), outcome.counts);
    if !outcome.is_good() {
        let _ = report::explain(&outcome, &mut std::io::stdout().lock());
        let kept = folder.keep();
        panic!("data kept in {}; repeat with: {}", kept.display(), plan.replay());
    }
    assert_eq!(outcome.counts.cycles, 30);
}
