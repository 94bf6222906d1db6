//! Power cuts of the real binary: that nothing is lost, and that the harness would see it.
//!
//! `COURANT_SEED` takes a printed seed back; the campaign program (`cargo xtask powercut`) takes
//! any number of cuts. Where a folder that forgets can't be mounted, that is said on stderr.

use std::io::Write;

use courant_e2e::campaign::ground::Wrong;
use courant_e2e::campaign::{self, Outcome, Plan, report};
use courant_e2e::random::seed;
use courant_forgetful::mount::why_not;
use indicatif::ProgressBar;

fn cut(plan: &Plan) -> Option<Outcome> {
    let mut stderr = std::io::stderr();
    if let Some(why) = why_not() {
        let _ = writeln!(stderr, "NOT TESTED: no power was cut: {why}");
        return None;
    }
    let folder = tempfile::tempdir().expect("a temporary directory");
    let outcome = campaign::run(plan, folder.path(), &ProgressBar::hidden());
    let _ = writeln!(stderr, "{}\n{}", plan.replay(), outcome.counts);
    Some(outcome)
}

#[test]
fn nothing_confirmed_is_lost_in_ten_power_cuts() {
    let plan = Plan { cycles: 10, seed: seed(), power: true, ..Plan::default() };
    let Some(outcome) = cut(&plan) else { return };
    let _ = report::explain(&outcome, &mut std::io::stdout().lock());
    assert!(outcome.is_good(), "repeat with: {}", plan.replay());
}

/// A sync left out, by the broker or by the disk, is seen: mostly within ten cuts, so that the test
/// above would be red. What a cut finds unsynced is chance; a run ends with the first thing seen.
#[test]
fn a_sync_that_is_left_out_is_seen() {
    for wrong in [Wrong::SegmentSyncs, Wrong::AllSyncs, Wrong::NameSyncs] {
        let wrong = Some(wrong);
        let plan = Plan { cycles: 60, seed: seed(), power: true, wrong, ..Plan::default() };
        let Some(outcome) = cut(&plan) else { return };
        let ends_early = |error: &anyhow::Error| format!("{error:#}").contains("cannot open");
        let is_refused = outcome.failures.iter().any(|(_, error)| ends_early(error));
        let is_seen = is_refused || outcome.counts.faults() > 0;
        assert!(is_seen, "not seen: {}; {:?}", plan.replay(), outcome.failures);
    }
}
