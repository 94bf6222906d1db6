//! The engine against a naive model: the same operations, the same log, restarts in between.
//!
//! A run takes a few seeds, each of which is printed; `COURANT_SEED` gives one, to run it alone,
//! and `COURANT_OPS` the number of operations over all of them. A run that fails is shrunk to a
//! short list of operations, which is printed too. What happened how often is printed at the end,
//! and what never did fails the run.

#[path = "../log/mod.rs"]
mod log;

mod choices;
mod consumers;
mod coverage;
mod draw;
mod op;
mod oracle;
mod publishing;
mod queue;
mod requests;
mod rig;
mod routing;
mod shelf;
mod workers;

use courant_engine::limits::CHUNK_ENTRIES;
use op::Op;
use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use rig::Rig;
use std::collections::BTreeMap;
use std::hash::{BuildHasher, RandomState};
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Operations of one case; a run has as many cases as its number of operations asks for.
const CASE_OPS: usize = 2_000;
/// Operations of a run, over all its seeds.
const OPS_DEFAULT: usize = 200_000;
const SEEDS: u64 = 4;

fn number_from<N: std::str::FromStr>(name: &str) -> Option<N> {
    let text = std::env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name} is a whole number, not {text}")))
}

fn run(ops: &[Op]) -> BTreeMap<&'static str, u64> {
    let mut rig = Rig::new();
    for op in ops {
        rig.run(op);
    }
    rig.seen
}

fn fails(ops: &[Op]) -> bool {
    catch_unwind(AssertUnwindSafe(|| run(ops))).is_err()
}

/// Leaves out operations, in ever smaller pieces, as long as the run still fails.
fn shrink(mut ops: Vec<Op>) -> Vec<Op> {
    let mut tries = 3_000;
    let mut piece = ops.len() / 2;
    while piece > 0 && tries > 0 {
        let mut at = 0;
        while at < ops.len() && tries > 0 {
            let mut fewer = ops.clone();
            fewer.drain(at..ops.len().min(at + piece));
            tries -= 1;
            if fails(&fewer) {
                ops = fewer;
            } else {
                at += piece;
            }
        }
        piece /= 2;
    }
    ops
}

#[test]
fn the_engine_does_what_the_naive_model_does() {
    let ops_total = number_from("COURANT_OPS").unwrap_or(OPS_DEFAULT);
    agree((ops_total, CASE_OPS), coverage::EVERYTHING, draw::any_op);
}

#[test]
fn long_queues_that_are_hardly_in_memory_do_what_the_naive_model_does() {
    // The same work, whatever the size of a chunk.
    let ops_total = number_from("COURANT_OPS").unwrap_or(OPS_DEFAULT) * 64 / CHUNK_ENTRIES;
    // Whole chunks come and go often enough only where they are small.
    let expected = if CHUNK_ENTRIES < 1000 { coverage::DEEP } else { &[] };
    agree((ops_total, CASE_OPS / 5), expected, draw::deep_op);
}

/// Runs operations from a few seeds, and sees to it that everything happened that is expected to.
fn agree<S: Strategy<Value = Op>>(
    (ops_total, case_ops): (usize, usize),
    expected: &[&str],
    any_op: impl Fn() -> S,
) {
    let given = number_from("COURANT_SEED");
    let first = given.unwrap_or_else(|| RandomState::new().hash_one(0) / 2);
    let seeds = if given.is_some() { first..first + 1 } else { first..first + SEEDS };
    let ops = ops_total / usize::try_from(SEEDS).expect("few");
    let mut seen = BTreeMap::new();
    for seed in seeds {
        eprintln!("COURANT_SEED={seed}, {ops} operations");
        for (what, count) in run_seed(seed, (ops, case_ops), any_op()) {
            *seen.entry(what).or_insert(0) += count;
        }
    }
    eprintln!("{seen:#?}");
    if given.is_none() && ops_total >= 64 * OPS_DEFAULT / CHUNK_ENTRIES.max(64) {
        let missing: Vec<_> =
            expected.iter().filter(|what| seen.get(*what).copied().unwrap_or(0) == 0).collect();
        assert!(missing.is_empty(), "never happened, from seed {first} on: {missing:?}");
    }
}

fn run_seed(
    seed: u64,
    (mut left, case_ops): (usize, usize),
    any_op: impl Strategy<Value = Op>,
) -> BTreeMap<&'static str, u64> {
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &bytes);
    let mut runner = TestRunner::new_with_rng(Config::default(), rng);
    let mut seen = BTreeMap::new();
    while left > 0 {
        let case: Vec<Op> = (0..left.min(case_ops))
            .map(|_| any_op.new_tree(&mut runner).expect("an operation").current())
            .collect();
        left -= case.len();
        match catch_unwind(AssertUnwindSafe(|| run(&case))) {
            Ok(counts) => {
                for (what, count) in counts {
                    *seen.entry(what).or_insert(0) += count;
                }
            }
            Err(_) => report(seed, case),
        }
    }
    seen
}

fn report(seed: u64, case: Vec<Op>) -> ! {
    let loud = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| {}));
    let short = shrink(case);
    std::panic::set_hook(loud);
    let list: Vec<String> = short.iter().map(|op| format!("{op:?}")).collect();
    let list = format!("{} operations:\n{}", list.len(), list.join("\n"));
    eprintln!("COURANT_SEED={seed} fails with {list}");
    run(&short);
    panic!("the failure did not come again");
}
