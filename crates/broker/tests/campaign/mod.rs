//! Crashes of a whole broker: sessions publish, consume and settle over a simulated disk, the power
//! goes at a seeded operation, and what comes out of the next opening is compared with what was
//! promised.
//!
//! The steps of a run: open (sometimes losing power in between); compare ([`oracle`]); work until a
//! fault or the end of the round ([`work`]); crash, kill or close; again.
//!
//! Failures are returned, not thrown, so that it can be asserted that a seeded defect causes one.

#![allow(dead_code, unreachable_pub, reason = "each test file uses its part")]

pub mod oracle;
pub mod power;
pub mod rot;
mod work;

use crate::client::{Client, below};
use courant::testing::{Defect, Testing, replayed_hash};
use courant::{BindTo, Broker, Options, QueueOptions, Refusal, Topology};
use courant_storage::sim::{Dice, Fault, SimDisk};
use oracle::Oracle;
use std::time::Duration;
use tokio::runtime::Runtime;

/// Queues that are kept, the last two of them of the topic.
pub const DURABLE: [&str; 4] = ["q0", "q1", "t/s0", "t/s1"];
/// A queue that goes with the broker.
pub const TRANSIENT: &str = "x";

/// Ends a case unless a condition holds.
macro_rules! ensure {
    ($condition:expr, $($what:tt)+) => {
        if !$condition {
            return Err(format!($($what)+));
        }
    };
}
pub(crate) use ensure;

/// What happened in one or more runs.
#[derive(Debug, Clone, Copy, Default)]
pub struct Counts {
    pub openings: u64,
    pub crashes: u64,
    pub poisoned: u64,
    pub closed: u64,
    pub published: u64,
    pub confirmed: u64,
    pub lost: u64,
    pub delivered: u64,
    pub acked: u64,
    pub synced_acks: u64,
    pub came_again: u64,
    pub snapshots: u64,
}

impl std::ops::AddAssign for Counts {
    fn add_assign(&mut self, other: Self) {
        self.openings += other.openings;
        self.crashes += other.crashes;
        self.poisoned += other.poisoned;
        self.closed += other.closed;
        self.published += other.published;
        self.confirmed += other.confirmed;
        self.lost += other.lost;
        self.delivered += other.delivered;
        self.acked += other.acked;
        self.synced_acks += other.synced_acks;
        self.came_again += other.came_again;
        self.snapshots += other.snapshots;
    }
}

/// Why a run did not hold.
#[derive(Debug)]
pub struct Failure {
    pub seed: u64,
    pub what: String,
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "COURANT_SEED={}: {}", self.seed, self.what)
    }
}

/// The seeds of a campaign: those of `COURANT_SEED`, or so many times `COURANT_RUNS`.
pub fn seeds(count: u64) -> std::ops::Range<u64> {
    let number = |name: &str| std::env::var(name).ok().and_then(|value| value.parse().ok());
    let runs = number("COURANT_RUNS").unwrap_or(1);
    number("COURANT_SEED").map_or(0..count * runs, |seed| seed..seed + 1)
}

/// Options of a small log.
pub fn options(dice: &mut Dice, defect: Option<Defect>) -> Options {
    let segment_bytes = [4_096, 16_384, 1 << 20][below(dice, 3)];
    let testing = Testing {
        defect,
        fill_ahead_bytes: Some(u64::from(segment_bytes < 1 << 20 && dice.chance(20))),
        seal_delay_ms: Some(if dice.chance(30) { 1 } else { 60_000 }),
    };
    // Mostly the bodies are read from disk again.
    let cache_bytes_max = if dice.chance(60) { 1 } else { 1 << 20 };
    Options { segment_bytes, cache_bytes_max, testing, ..Options::default() }
}

/// The same files on a disk of their own.
fn copy(disk: &SimDisk) -> Result<SimDisk, String> {
    let copied = SimDisk::new();
    let folder = copied.mount();
    for (name, _) in disk.files() {
        let file = folder.create(&name).map_err(|error| error.to_string())?;
        let bytes = disk.bytes(&name);
        file.write_at(&bytes, 0).map_err(|error| error.to_string())?;
        file.sync_all().map_err(|error| error.to_string())?;
    }
    folder.sync_folder().map_err(|error| error.to_string())?;
    Ok(copied)
}

/// One folder through several openings.
pub struct Run {
    pub(crate) disk: SimDisk,
    pub(crate) dice: Dice,
    pub(crate) oracle: Oracle,
    pub(crate) counts: Counts,
    /// What was promised at each note in the record of the disk, if there is one.
    pub(crate) notes: Option<Vec<Oracle>>,
    defect: Option<Defect>,
    runtime: Runtime,
}

/// A small runtime.
pub fn runtime() -> Result<Runtime, String> {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    builder.worker_threads(1).enable_all().build().map_err(|error| error.to_string())
}

/// One run with a seed.
pub fn run(seed: u64, defect: Option<Defect>) -> Result<Counts, Failure> {
    let failed = |what| Failure { seed, what };
    let mut run = Run::new(seed, defect).map_err(failed)?;
    (0..4).try_for_each(|round| run.round(round)).map_err(failed)?;
    Ok(run.counts)
}

impl Run {
    pub fn new(seed: u64, defect: Option<Defect>) -> Result<Self, String> {
        Ok(Self {
            disk: SimDisk::new(),
            dice: Dice::new(seed),
            oracle: Oracle::default(),
            counts: Counts::default(),
            notes: None,
            defect,
            runtime: runtime()?,
        })
    }

    fn round(&mut self, round: u64) -> Result<(), String> {
        if self.dice.chance(15) {
            // The power goes while the folder is being opened.
            self.disk.fail_at(self.dice.below(12) + 1, Fault::PowerLoss);
            drop(self.open());
            // Its own record may be in the log.
            self.oracle.closed_hash = None;
            self.disk.crash(self.dice.roll());
        }
        let left = copy(&self.disk)?;
        let (one, other) = (copy(&left)?, copy(&left)?);
        let hashes = (replayed_hash(one.mount()), replayed_hash(other.mount()));
        let (Ok(one), Ok(other)) = hashes else {
            return Err(format!("not replayed: {hashes:?}"));
        };
        ensure!(one == other, "two replays differ");
        if let Some(hash) = self.oracle.closed_hash.take() {
            ensure!(one == hash, "a replay differs from the ledger that was closed");
        }
        let broker = self.open()?;
        self.counts.openings += 1;
        let handle = self.runtime.handle().clone();
        handle.block_on(self.oracle.compare(&broker, &mut self.counts))?;
        handle.block_on(declare(&broker)).map_err(|refusal| refusal.to_string())?;
        if self.dice.chance(85) {
            let fault = [Fault::PowerLoss, Fault::PowerLoss, Fault::FailedSync, Fault::FailedWrite];
            let fault = fault[below(&mut self.dice, 4)];
            self.disk.fail_at(self.dice.below(50) + 1, fault);
        }
        handle.block_on(self.work(&broker, round))?;
        self.end(broker);
        Ok(())
    }

    fn open(&mut self) -> Result<Broker, String> {
        let options = options(&mut self.dice, self.defect);
        let _context = self.runtime.enter();
        Broker::open_disk(self.disk.mount(), options)
            .map_err(|error| format!("not opened: {error}"))
    }

    /// Ends the life of a broker in one of the ways in which it may.
    fn end(&mut self, broker: Broker) {
        self.counts.poisoned += u64::from(broker.is_poisoned());
        let way = self.dice.below(100);
        if way < 20 {
            let closed = self.runtime.block_on(broker.close());
            if closed.is_ok() {
                self.counts.closed += 1;
                self.oracle.all_confirmed();
                self.oracle.closed_hash = Some(broker.ledger_hash());
            }
        }
        if way < 40 {
            self.disk.kill();
        } else {
            self.counts.crashes += 1;
            self.disk.crash(self.dice.roll());
        }
        // Only now: a broker that is dropped commits what it can.
        drop(broker);
    }
}

/// Makes what a run needs. Nothing of it is lost later.
async fn declare(broker: &Broker) -> Result<(), Refusal> {
    let mut client = Client::new(broker);
    let session = &mut client.session;
    session.declare_topic("t").await?;
    for queue in DURABLE {
        session.declare_queue(queue, QueueOptions::default()).await?;
        if queue.starts_with("t/") {
            session
                .change(Topology::Bind { exchange: "t", to: BindTo::Queue(queue), key: b"" })
                .await?;
        }
    }
    let options = QueueOptions { durable: false, ..QueueOptions::default() };
    session.declare_queue(TRANSIENT, options).await.map(drop)
}

/// Whoever waits longer waits for ever.
pub async fn in_time<T>(what: &str, wait: impl Future<Output = T>) -> Result<T, String> {
    let waited = tokio::time::timeout(Duration::from_secs(5), wait).await;
    waited.map_err(|_| format!("it never ends: {what}"))
}
