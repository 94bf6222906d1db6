//! The engine against a naive model: the same operations, the same log, restarts in between.
//!
//! `COURANT_SEED` gives the seed of a run and `COURANT_OPS` the number of its operations; both are
//! printed. A run that fails is shrunk to a short list of operations, which is printed too.

#[path = "../log/mod.rs"]
mod log;

mod choices;
mod consumers;
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
const OPS_DEFAULT: usize = 60_000;

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
    agree(ops_total, CASE_OPS, draw::any_op());
}

#[test]
fn long_queues_that_are_hardly_in_memory_do_what_the_naive_model_does() {
    // The same work, whatever the size of a chunk.
    let ops_total = number_from("COURANT_OPS").unwrap_or(OPS_DEFAULT) * 64 / CHUNK_ENTRIES;
    agree(ops_total, CASE_OPS / 5, draw::deep_op());
}

fn agree(ops_total: usize, case_ops: usize, any_op: impl Strategy<Value = Op>) {
    let seed = number_from("COURANT_SEED").unwrap_or_else(|| RandomState::new().hash_one(0));
    eprintln!("COURANT_SEED={seed}, {ops_total} operations");
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &bytes);
    let mut runner = TestRunner::new_with_rng(Config::default(), rng);
    let mut left = ops_total;
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
    eprintln!("{ops_total} operations: {seen:?}");
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
