//! Kills the real broker under load, again and again on the same data directory, and asks the
//! oracle whether everything that was promised held.
//!
//! One cycle:
//!
//! 1. with [`Plan::power`], the power is cut: what was not synced is forgotten, or a part of it;
//! 2. now and then, a start that is killed before it is ready;
//! 3. a start; publishers with windows, and consumers in several ways of settling;
//! 4. after 5 to 400 ms, SIGKILL, or at a named step on the way to the disk (a testing build kills
//!    itself there), or SIGTERM, after which even plain acks must hold;
//! 5. the clients read what is left in their sockets, and everybody stops.
//!
//! At the end everything is drained up to a marker that is published last: being FIFO, a queue has
//! given everything that it holds when the marker comes, so nothing depends on how long one waits.
//! Then an orderly stop, a restart, and a second marker, which must be all there is.
//!
//! The broker's instant of death is a matter of scheduling, so a seed repeats the plan of a
//! campaign, not its every interleaving.

pub mod choices;
mod directory;
pub mod drain;
pub mod ground;
pub mod load;
pub mod point;
pub mod report;
pub mod topology;

use std::fmt::Write as _;
use std::path::Path;

use clap::ValueEnum;
use indicatif::ProgressBar;

use crate::counts::Counts;
use crate::oracle::Fault;
use directory::Directory;
use ground::Wrong;
use point::Points;

/// What to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Plan {
    /// Starts under load, over all directories.
    pub cycles: u32,
    /// Governs every random choice.
    pub seed: u64,
    /// Publishers at once, in each directory.
    pub publishers: u32,
    /// Consumers that share one queue, in each directory; four more consume alone.
    pub consumers: u32,
    /// Data directories, and so brokers, at once.
    pub directories: u32,
    /// One run in so many ends by SIGTERM instead of SIGKILL.
    pub stops: u32,
    /// One run in so many ends at a named step; none if 0.
    pub points: u32,
    /// Whether the power is cut after each run.
    pub power: bool,
    /// What is wrong on purpose.
    pub wrong: Option<Wrong>,
}

impl Default for Plan {
    fn default() -> Self {
        Self {
            cycles: 100,
            seed: 1,
            publishers: 3,
            consumers: 3,
            directories: 2,
            stops: 10,
            points: 3,
            power: false,
            wrong: None,
        }
    }
}

impl Plan {
    /// The command that repeats it.
    pub fn replay(&self) -> String {
        let Self { cycles, seed, .. } = self;
        let mut line = if self.power {
            format!("cargo xtask powercut --cuts {cycles} --seed {seed}")
        } else {
            format!("cargo xtask kill9 --cycles {cycles} --seed {seed}")
        };
        let usual = Self::default();
        for (name, value, default) in [
            ("publishers", self.publishers, usual.publishers),
            ("consumers", self.consumers, usual.consumers),
            ("directories", self.directories, usual.directories),
            ("stops", self.stops, usual.stops),
            ("points", self.points, usual.points),
        ] {
            if value != default {
                let _ = write!(line, " --{name} {value}");
            }
        }
        if let Some(wrong) = self.wrong.and_then(|wrong| wrong.to_possible_value()) {
            let _ = write!(line, " --wrong {}", wrong.get_name());
        }
        line
    }
}

/// What came of it.
#[derive(Debug, Default)]
pub struct Outcome {
    /// All counts.
    pub counts: Counts,
    /// Named steps tried and reached.
    pub points: Points,
    /// The first faults, each with its directory.
    pub faults: Vec<(u32, Fault)>,
    /// What kept a directory from going to its end: a broker that did not start, say.
    pub failures: Vec<(u32, anyhow::Error)>,
}

impl Outcome {
    /// Whether everything held, and something was done.
    pub fn is_good(&self) -> bool {
        self.counts.faults() == 0 && self.failures.is_empty() && self.counts.confirmed > 0
    }
}

/// Runs the whole plan in sub-directories of `folder`.
pub fn run(plan: &Plan, folder: &Path, progress: &ProgressBar) -> Outcome {
    let mut outcome = Outcome::default();
    let shares: Vec<u32> = (0..plan.directories)
        .map(|index| (plan.cycles + plan.directories - 1 - index) / plan.directories)
        .collect();
    let results: Vec<_> = std::thread::scope(|scope| {
        let running: Vec<_> = (0u32..)
            .zip(shares)
            .map(|(index, cycles)| {
                scope.spawn(move || {
                    let directory = Directory::new(plan, index, folder);
                    (index, directory.map(|directory| directory.judge(cycles, progress)))
                })
            })
            .collect();
        running.into_iter().map(std::thread::ScopedJoinHandle::join).collect()
    });
    for result in results {
        let Ok((index, judged)) = result else {
            outcome.failures.push((u32::MAX, anyhow::anyhow!("the harness itself panicked")));
            continue;
        };
        match judged {
            Ok((oracle, points, result)) => {
                outcome.counts.add(oracle.counts());
                outcome.points.merge(&points);
                outcome.faults.extend(oracle.faults().iter().map(|fault| (index, fault.clone())));
                outcome.failures.extend(result.err().map(|error| (index, error)));
            }
            Err(error) => outcome.failures.push((index, error)),
        }
    }
    progress.finish_and_clear();
    outcome
}
