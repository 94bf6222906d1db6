//! Kills the real broker under load, again and again on the same data directory, and asks the
//! oracle whether everything that was promised held.
//!
//! One cycle:
//!
//! 1. now and then, a start that is killed before it is ready;
//! 2. a start; publishers with windows, and consumers in several ways of settling;
//! 3. after 5 to 400 ms, SIGKILL (now and then SIGTERM, after which even plain acks must hold);
//! 4. the clients read what is left in their sockets, and everybody stops.
//!
//! At the end everything is drained up to a marker that is published last: being FIFO, a queue has
//! given everything that it holds when the marker comes, so nothing depends on how long one waits.
//! Then an orderly stop, a restart, and a second marker, which must be all there is.
//!
//! The broker's instant of death is a matter of scheduling, so a seed repeats the plan of a
//! campaign, not its every interleaving.

pub mod drain;
pub mod load;
pub mod topology;

use std::fmt::Write as _;
use std::fs::OpenOptions;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result};

use crate::counts::Counts;
use crate::oracle::{Fault, Oracle};
use crate::random::Random;
use crate::server::Server;
use topology::Topology;

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
}

impl Default for Plan {
    fn default() -> Self {
        Self { cycles: 100, seed: 1, publishers: 3, consumers: 3, directories: 2, stops: 10 }
    }
}

impl Plan {
    /// The command that repeats it.
    pub fn replay(&self) -> String {
        let mut line = format!("cargo xtask kill9 --cycles {} --seed {}", self.cycles, self.seed);
        let usual = Self::default();
        for (name, value, default) in [
            ("publishers", self.publishers, usual.publishers),
            ("consumers", self.consumers, usual.consumers),
            ("directories", self.directories, usual.directories),
            ("stops", self.stops, usual.stops),
        ] {
            if value != default {
                let _ = write!(line, " --{name} {value}");
            }
        }
        line
    }
}

/// What came of it.
#[derive(Debug, Default)]
pub struct Outcome {
    /// All counts.
    pub counts: Counts,
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
pub fn run(plan: &Plan, folder: &Path) -> Outcome {
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
                    let result = directory.run(cycles);
                    (index, directory.oracle, result)
                })
            })
            .collect();
        running.into_iter().map(std::thread::ScopedJoinHandle::join).collect()
    });
    for result in results {
        let Ok((index, oracle, result)) = result else {
            outcome.failures.push((u32::MAX, anyhow::anyhow!("the harness itself panicked")));
            continue;
        };
        let oracle = oracle.into_inner().unwrap_or_else(PoisonError::into_inner);
        outcome.counts.add(oracle.counts());
        outcome.faults.extend(oracle.faults().iter().map(|fault| (index, fault.clone())));
        outcome.failures.extend(result.err().map(|error| (index, error)));
    }
    outcome
}

/// The campaign in one data directory.
#[derive(Debug)]
struct Directory {
    topology: Topology,
    oracle: Mutex<Oracle>,
    seed: u64,
    stops: u32,
    data: PathBuf,
    log: PathBuf,
}

impl Directory {
    fn new(plan: &Plan, index: u32, folder: &Path) -> Self {
        let topology = Topology::new(plan.publishers.max(1), plan.consumers.max(1));
        let oracle = Mutex::new(topology.oracle());
        let seed = Random::part(plan.seed, u64::from(index)).number();
        let data = folder.join(format!("data-{index}"));
        let log = folder.join(format!("data-{index}.log"));
        Self { topology, oracle, seed, stops: plan.stops.max(1), data, log }
    }

    /// Stops early once something is wrong, so that the traces are fresh. What is only not marked
    /// does not keep one from looking for worse.
    fn run(&self, cycles: u32) -> Result<()> {
        let first = self.start()?;
        drain::prepare(first.address()?, &self.topology)?;
        // What was declared is durable from its OK on.
        first.kill()?;
        for cycle in 0..cycles {
            let mut random = Random::part(self.seed, u64::from(cycle));
            self.cycle(&mut random).with_context(|| format!("cycle {cycle}"))?;
            let counts = self.oracle().counts().clone();
            if counts.faults() > counts.unmarked {
                return Ok(());
            }
        }
        self.drain()
    }

    fn cycle(&self, random: &mut Random) -> Result<()> {
        if random.one_in(8) {
            self.kill_opening(random)?;
        }
        let server = self.start()?;
        self.oracle().counts_mut().cycles += 1;
        let is_kill = !random.one_in(u64::from(self.stops));
        let after = Duration::from_micros(random.between(5_000, 400_000));
        let load =
            load::Load::new(&self.topology, &self.oracle, server.address()?, random.number());
        let ended = std::thread::scope(|scope| {
            load.start(scope);
            load.wait_started();
            std::thread::sleep(after);
            load.expect_end();
            self.end(server, is_kill)
        });
        let mut oracle = self.oracle();
        if ended? {
            oracle.counts_mut().stops += 1;
            oracle.stopped_cleanly();
        } else {
            oracle.counts_mut().kills += 1;
        }
        Ok(())
    }

    /// Starts a broker and kills it at once, before, while or shortly after it recovers.
    fn kill_opening(&self, random: &mut Random) -> Result<()> {
        let server = Server::spawn(&self.data)?;
        std::thread::sleep(Duration::from_micros(random.between(0, 30_000)));
        server.kill().context("killed while opening")?;
        let mut oracle = self.oracle();
        oracle.started();
        oracle.counts_mut().kills_opening += 1;
        Ok(())
    }

    fn start(&self) -> Result<Server> {
        let mut server = Server::spawn(&self.data)?;
        let elapsed = server.wait_ready()?;
        let mut oracle = self.oracle();
        oracle.started();
        let counts = oracle.counts_mut();
        counts.ready_max = counts.ready_max.max(elapsed);
        Ok(server)
    }

    /// Whether it was an orderly end. What the broker said goes to a file beside its data.
    fn end(&self, server: Server, is_kill: bool) -> Result<bool> {
        let mut log = OpenOptions::new().create(true).append(true).open(&self.log)?;
        let run = self.oracle().run();
        write!(log, "--- run {run}, is_kill {is_kill}\n{}", server.stderr())?;
        if is_kill {
            server.kill()?;
        } else {
            self.oracle().stopping();
            server.stop()?;
        }
        Ok(!is_kill)
    }

    fn drain(&self) -> Result<()> {
        let server = self.start()?;
        drain::run(server.address()?, &self.topology, &self.oracle).context("the drain")?;
        self.end(server, false)?;
        self.oracle().stopped_cleanly();
        let server = self.start()?;
        drain::run(server.address()?, &self.topology, &self.oracle).context("the second drain")?;
        self.end(server, false)?;
        self.oracle().finish();
        Ok(())
    }

    fn oracle(&self) -> MutexGuard<'_, Oracle> {
        self.oracle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
