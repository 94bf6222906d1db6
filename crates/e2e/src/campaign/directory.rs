//! The campaign in one data directory: its cycles, then its drain.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use indicatif::ProgressBar;

use super::ground::{Ground, Wrong};
use super::point::{Point, Points};
use super::topology::Topology;
use super::{Plan, drain, load};
use crate::oracle::Oracle;
use crate::random::Random;
use crate::server::{Launch, Server};

/// Small ones, so that segments end, are given back and are rewritten within a cycle.
const SEGMENTS_BYTES: [u64; 4] = [64 << 10, 256 << 10, 1 << 20, 4 << 20];

/// How long a named step is waited for.
const POINT_WITHIN: Duration = Duration::from_secs(2);

/// How a run of the broker is to end.
#[derive(Debug)]
enum End {
    /// SIGKILL, so long after the load began.
    Kill(Duration),
    /// SIGTERM, so long after the load began.
    Stop(Duration),
    /// By itself at a named step; by SIGKILL if that is not reached in time.
    Point(Point, Duration),
}

impl End {
    fn choose(plan: &Plan, random: &mut Random) -> Self {
        let short = Duration::from_micros(random.between(5_000, 400_000));
        // Space is given back a second after it became free, or later.
        let is_long = random.one_in(8);
        let after = if is_long { short + Duration::from_secs(random.between(1, 3)) } else { short };
        if random.one_in(u64::from(plan.stops.max(1))) {
            return Self::Stop(after);
        }
        if plan.points > 0 && random.one_in(u64::from(plan.points)) {
            return Self::Point(Point::choose(random), POINT_WITHIN);
        }
        Self::Kill(after)
    }
}

/// One data directory and what is known of it.
#[derive(Debug)]
pub(super) struct Directory {
    plan: Plan,
    topology: Topology,
    oracle: Mutex<Oracle>,
    points: Mutex<Points>,
    seed: u64,
    ground: Ground,
    data: PathBuf,
    log: PathBuf,
}

impl Directory {
    pub(super) fn new(plan: &Plan, index: u32, folder: &Path) -> Result<Self> {
        let topology = Topology::new(plan.publishers.max(1), plan.consumers.max(1));
        let oracle = Mutex::new(topology.oracle());
        let seed = Random::part(plan.seed, u64::from(index)).number();
        let data = folder.join(format!("data-{index}"));
        let log = folder.join(format!("data-{index}.log"));
        let ground = Ground::new(&data, plan.power)?;
        let points = Mutex::default();
        Ok(Self { plan: *plan, topology, oracle, points, seed, ground, data, log })
    }

    /// What became known, and whether it went to its end.
    pub(super) fn judge(self, cycles: u32, progress: &ProgressBar) -> (Oracle, Points, Result<()>) {
        let result = self.run(cycles, progress);
        if result.is_err() || self.oracle().counts().faults() > 0 {
            let _ = self.ground.keep(&self.data.with_extension("copy"));
        }
        let oracle = self.oracle.into_inner().unwrap_or_else(PoisonError::into_inner);
        let points = self.points.into_inner().unwrap_or_else(PoisonError::into_inner);
        (oracle, points, result)
    }

    /// Stops early once something is wrong, so that the traces are fresh. What is only not marked
    /// does not keep one from looking for worse.
    fn run(&self, cycles: u32, progress: &ProgressBar) -> Result<()> {
        let first = self.start(&Launch::new(&self.data)?)?;
        drain::prepare(first.address()?, &self.topology)?;
        // What was declared is durable from its OK on.
        first.kill()?;
        if let Some(wrong) = self.plan.wrong {
            self.ground.set_wrong(wrong);
        }
        for cycle in 0..cycles {
            let mut random = Random::part(self.seed, u64::from(cycle));
            self.cycle(&mut random).with_context(|| format!("cycle {cycle}"))?;
            progress.inc(1);
            let counts = self.oracle().counts().clone();
            if counts.faults() > counts.unmarked {
                return Ok(());
            }
        }
        self.drain()
    }

    fn cycle(&self, random: &mut Random) -> Result<()> {
        self.lose_power(random)?;
        if random.one_in(8) {
            self.kill_opening(random)?;
            self.lose_power(random)?;
        }
        self.oracle().counts_mut().cycles += 1;
        let size = usize::try_from(random.below(SEGMENTS_BYTES.len() as u64)).unwrap_or(0);
        let segments = SEGMENTS_BYTES[size];
        match End::choose(&self.plan, random) {
            End::Kill(after) => {
                let server = self.start(&self.launch()?.segments(segments))?;
                self.load(server, random.number(), false, |server| {
                    std::thread::sleep(after);
                    Ok((server, false))
                })
            }
            End::Stop(after) => {
                let server = self.start(&self.launch()?.segments(segments))?;
                self.load(server, random.number(), false, |server| {
                    std::thread::sleep(after);
                    Ok((server, true))
                })
            }
            End::Point(point, after) => self.die_at(&point, after, segments, random.number()),
        }
    }

    /// A run of a testing build that kills itself.
    fn die_at(&self, point: &Point, after: Duration, segments: u64, seed: u64) -> Result<()> {
        let launch = Launch::testing(&self.data)?.segments(segments);
        let mut server = launch.with("COURANT_FAIL_POINT", point).spawn()?;
        let ready = server.wait_ready();
        self.oracle().started();
        if let Err(error) = ready {
            if !server.was_killed() {
                return Err(error.context(format!("at {point}")));
            }
            self.reached(point, true);
            self.oracle().counts_mut().kills_opening += 1;
            return self.log_end(&server, point);
        }
        let mut is_reached = false;
        let ended = self.load(server, seed, true, |mut server| {
            is_reached = server.wait_end(after);
            if is_reached && !server.was_killed() {
                bail!("it ended by itself, and not by the kill {point}:\n{}", server.stderr());
            }
            Ok((server, false))
        });
        self.reached(point, is_reached);
        ended.with_context(|| format!("at {point}"))
    }

    fn reached(&self, point: &Point, is_reached: bool) {
        self.points.lock().unwrap_or_else(PoisonError::into_inner).add(point, is_reached);
        self.oracle().counts_mut().kills_named += u64::from(is_reached);
    }

    /// Load on a broker until `wait` returns; it says whether the end is to be an orderly one.
    /// With `is_end_near` the broker may end before.
    fn load(
        &self,
        server: Server,
        seed: u64,
        is_end_near: bool,
        wait: impl FnOnce(Server) -> Result<(Server, bool)>,
    ) -> Result<()> {
        let load = load::Load::new(&self.topology, &self.oracle, server.address()?, seed);
        if is_end_near {
            load.expect_end();
        }
        let is_stop = std::thread::scope(|scope| {
            load.start(scope);
            load.wait_started();
            let waited = wait(server);
            if matches!(waited, Ok((_, true))) {
                load.leave_shared();
            }
            load.expect_end();
            waited.and_then(|(server, is_stop)| self.end(server, is_stop))
        })?;
        let mut oracle = self.oracle();
        if is_stop {
            oracle.counts_mut().stops += 1;
            oracle.stopped_cleanly();
        } else {
            oracle.counts_mut().kills += 1;
        }
        Ok(())
    }

    /// Starts a broker and kills it at once, before, while or shortly after it recovers.
    fn kill_opening(&self, random: &mut Random) -> Result<()> {
        let server = self.launch()?.segments(SEGMENTS_BYTES[1]).spawn()?;
        std::thread::sleep(Duration::from_micros(random.between(0, 30_000)));
        server.kill().context("killed while opening")?;
        let mut oracle = self.oracle();
        oracle.started();
        oracle.counts_mut().kills_opening += 1;
        Ok(())
    }

    fn lose_power(&self, random: &mut Random) -> Result<()> {
        if let Some(forgotten) = self.ground.lose_power(random)? {
            let mut oracle = self.oracle();
            let counts = oracle.counts_mut();
            counts.cuts += 1;
            counts.bytes_forgotten += forgotten.bytes_unsynced - forgotten.bytes_kept;
            counts.names_forgotten += forgotten.names_unsynced - forgotten.names_kept;
        }
        Ok(())
    }

    /// What is started where nothing is to happen on its way to the disk, but for what is wrong on
    /// purpose.
    fn launch(&self) -> Result<Launch> {
        match self.plan.wrong.and_then(Wrong::fail_point) {
            None => Launch::new(&self.data),
            Some(point) => Ok(Launch::testing(&self.data)?.with("COURANT_FAIL_POINT", &point)),
        }
    }

    fn start(&self, launch: &Launch) -> Result<Server> {
        let mut server = launch.spawn()?;
        let elapsed = server.wait_ready()?;
        let mut oracle = self.oracle();
        oracle.started();
        let counts = oracle.counts_mut();
        counts.ready_max = counts.ready_max.max(elapsed);
        Ok(server)
    }

    /// Ends it, and says whether that was an orderly end.
    fn end(&self, mut server: Server, is_stop: bool) -> Result<bool> {
        self.log_end(&server, if is_stop { &"stopped" } else { &"killed" })?;
        if is_stop {
            server.stop()?;
        } else if !server.was_killed() {
            server.kill()?;
        }
        Ok(is_stop)
    }

    /// What the broker said goes to a file beside its data.
    fn log_end(&self, server: &Server, how: &dyn std::fmt::Display) -> Result<()> {
        let mut log = OpenOptions::new().create(true).append(true).open(&self.log)?;
        let said = server.stderr();
        let run = {
            let mut oracle = self.oracle();
            let counts = oracle.counts_mut();
            counts.snapshots += said.matches(": snapshot pages=").count() as u64;
            counts.reclaims += said.matches(": space given back ").count() as u64;
            oracle.run()
        };
        write!(log, "--- run {run}, {how}\n{said}")?;
        Ok(())
    }

    fn drain(&self) -> Result<()> {
        let launch = self.launch()?.segments(SEGMENTS_BYTES[3]);
        for what in ["the drain", "the second drain"] {
            let server = self.start(&launch)?;
            drain::run(server.address()?, &self.topology, &self.oracle).context(what)?;
            self.end(server, true)?;
            self.oracle().stopped_cleanly();
        }
        self.oracle().finish();
        Ok(())
    }

    fn oracle(&self) -> MutexGuard<'_, Oracle> {
        self.oracle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
