//! Fill and drain, on a small volume, through the real binary.
//!
//! One cycle: publish until messages are refused as `disk-full`; in one of three the rest of the
//! volume is filled by a file, and the broker is ended and started with no byte free; everything
//! that was confirmed is taken, in order and whole, and acked, while the disk is full; then the
//! file goes, and messages have to be taken again without a restart.

use std::fmt::Write as _;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use indicatif::ProgressBar;

use crate::client::{Client, ClientError, Refused};
use crate::figures::Figures;
use crate::random::Random;
use crate::server::{Launch, Server};
use crate::traffic::{Consumer, Publisher, number_of};
use crate::volume::{Kind, Volume};
use crate::watch::wait_until;

const QUEUE: &str = "queue:full";
const DISK_FULL: u32 = 703;
/// Messages published at a time.
const BURST: u64 = 200;
/// Bursts of refusals after which the disk counts as full, and the pause between them.
const DRY_BURSTS: u32 = 4;
const DRY_PAUSE: Duration = Duration::from_millis(300);
/// How long messages may be refused after all was drained and room was made.
const ROOM_WITHIN: Duration = Duration::from_secs(20);
const CREDIT: u32 = 1000;

/// What to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Plan {
    /// Times to fill and drain.
    pub cycles: u32,
    /// Governs every random choice.
    pub seed: u64,
    /// Size of the volume.
    pub volume_bytes: u64,
    /// What it is made of.
    pub kind: Kind,
}

impl Plan {
    /// The command that repeats it.
    pub fn replay(&self) -> String {
        let Self { cycles, seed, volume_bytes, .. } = self;
        let mut line = format!("cargo xtask fulldisk --cycles {cycles} --seed {seed}");
        let _ = write!(line, " --volume-mib {}", volume_bytes >> 20);
        match self.kind {
            Kind::Tmpfs => {}
            Kind::Ext4 => line.push_str(" --on ext4"),
            Kind::Forgetful => line.push_str(" --on forgetful"),
        }
        line
    }
}

#[derive(Debug, Default)]
struct Counts {
    confirmed: u64,
    refused: u64,
    delivered: u64,
    restarts: u64,
    ready_max: Duration,
    room_max: Duration,
    fill_bytes_min: Option<u64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// No answer came: it may be there or not.
    Open,
    Confirmed,
    Refused,
}

struct Cycles<'a> {
    plan: &'a Plan,
    volume: Volume,
    server: Option<Server>,
    /// Number of the first message of this cycle, and what became of each.
    base: u64,
    states: Vec<State>,
    counts: Counts,
}

/// Does all of it on a volume in `folder`.
pub fn run(plan: &Plan, folder: &Path, progress: &ProgressBar) -> Result<Figures> {
    let volume = Volume::new(plan.kind, plan.volume_bytes, folder)?;
    let server = Some(Launch::new(&volume.data())?.start()?);
    let counts = Counts::default();
    let mut cycles = Cycles { plan, volume, server, base: 0, states: Vec::new(), counts };
    Client::connect(cycles.server()?.address()?)?.line(&format!("DECLARE {QUEUE}"))?;
    for cycle in 0..plan.cycles {
        let mut random = Random::part(plan.seed, u64::from(cycle));
        let said =
            |cycles: &Cycles<'_>| cycles.server.as_ref().map_or_else(String::new, Server::stderr);
        let outcome = cycles.cycle(&mut random);
        outcome.with_context(|| format!("cycle {cycle}; the broker said:\n{}", said(&cycles)))?;
        progress.inc(1);
    }
    if let Some(server) = cycles.server.take() {
        server.stop()?;
    }
    progress.finish_and_clear();
    Ok(cycles.figures())
}

impl Cycles<'_> {
    fn server(&self) -> Result<&Server> {
        self.server.as_ref().context("the broker does not run")
    }

    fn cycle(&mut self, random: &mut Random) -> Result<()> {
        let body_bytes = [64, 256, 4096, 100_000][usize::try_from(random.below(4))?];
        self.base += self.states.len() as u64;
        self.states.clear();
        self.wait_for_room(body_bytes)?;
        self.fill(body_bytes)?;
        let is_crammed = random.one_in(3);
        if is_crammed {
            self.volume.fill()?;
            self.restart(random.one_in(2))?;
        }
        self.drain()?;
        if is_crammed {
            self.volume.make_room()?;
        }
        Ok(())
    }

    /// Publishes single messages until one is taken.
    fn wait_for_room(&mut self, body_bytes: usize) -> Result<()> {
        let address = self.server()?.address()?;
        let mut publisher = Publisher::new(address, QUEUE, body_bytes)?.starting_at(self.base);
        let mut failed = None;
        let states = &mut self.states;
        let took = wait_until(ROOM_WITHIN, || {
            let mut answer = |_, answer| states.push(state(&answer, &mut failed));
            let sent = publisher.publish(1, &mut answer);
            let sent = sent.and_then(|()| publisher.finish(&mut answer));
            failed = failed.take().or(sent.err().map(|error| error.to_string()));
            failed.is_some() || states.last() == Some(&State::Confirmed)
        });
        if let Some(failed) = failed {
            bail!("while waiting for room: {failed}");
        }
        let took = took.with_context(|| format!("no room again within {ROOM_WITHIN:?}"))?;
        self.counts.room_max = self.counts.room_max.max(took);
        Ok(())
    }

    fn fill(&mut self, body_bytes: usize) -> Result<()> {
        let address = self.server()?.address()?;
        let first = self.base + self.states.len() as u64;
        let mut publisher = Publisher::new(address, QUEUE, body_bytes)?.starting_at(first);
        let most = 2 * self.plan.volume_bytes / body_bytes as u64;
        let mut failed = None;
        let states = &mut self.states;
        let mut dry = 0;
        while dry < DRY_BURSTS && publisher.sent() - first <= most {
            let before = states.len();
            let mut answer = |_, answer| states.push(state(&answer, &mut failed));
            publisher.publish(BURST, &mut answer)?;
            publisher.finish(&mut answer)?;
            if states[before..].contains(&State::Confirmed) {
                dry = 0;
            } else {
                dry += 1;
                // Space that was in use until just now is given back in the background.
                std::thread::sleep(DRY_PAUSE);
            }
        }
        if let Some(failed) = failed {
            bail!("while filling: {failed}");
        }
        let refused = self.states.iter().filter(|state| **state == State::Refused).count() as u64;
        ensure!(refused > 0, "twice the volume was published and nothing refused");
        let confirmed =
            self.states.iter().filter(|state| **state == State::Confirmed).count() as u64;
        let bytes = confirmed * body_bytes as u64;
        let least = self.counts.fill_bytes_min.get_or_insert(bytes);
        *least = bytes.min(*least);
        self.counts.confirmed += confirmed;
        self.counts.refused += refused;
        Ok(())
    }

    fn restart(&mut self, is_kill: bool) -> Result<()> {
        let server = self.server.take().context("the broker does not run")?;
        if is_kill {
            server.kill()?;
        } else {
            server.stop().context("an orderly stop on a full disk")?;
        }
        let mut server = Launch::new(&self.volume.data())?.spawn()?;
        let took = server.wait_ready().context("a start with no byte free")?;
        self.counts.ready_max = self.counts.ready_max.max(took);
        self.counts.restarts += 1;
        self.server = Some(server);
        Ok(())
    }

    /// Takes everything that was confirmed, in order, and nothing that was refused.
    fn drain(&mut self) -> Result<()> {
        let mut consumer = Consumer::new(self.server()?.address()?, QUEUE, CREDIT)?;
        let mut next = 0;
        while let Some(at) = self.states[next..].iter().position(|s| *s == State::Confirmed) {
            let expected = self.base + (next + at) as u64;
            let message = consumer.take().with_context(|| format!("message {expected}"))?;
            let number = number_of(&message.body).context("a body that is not whole")?;
            let index = usize::try_from(number.wrapping_sub(self.base))?;
            let state = self.states.get(index).copied();
            let is_right = number == expected || (number < expected && state == Some(State::Open));
            ensure!(is_right, "{number} ({state:?}) came instead of {expected}");
            next = index + 1;
            self.counts.delivered += 1;
            consumer.ack(message.handle.context("a delivery without msg_id")?)?;
        }
        consumer.finish()?;
        Ok(())
    }

    fn figures(&self) -> Figures {
        let counts = &self.counts;
        let mut figures = Figures::default();
        figures.count("cycles", u64::from(self.plan.cycles), None);
        figures.count("confirmed", counts.confirmed, None);
        figures.count("refused as disk-full", counts.refused, None);
        figures.count("taken", counts.delivered, None);
        figures.bytes("bodies that filled it (least)", counts.fill_bytes_min.unwrap_or(0), None);
        figures.count("restarts with no byte free", counts.restarts, None);
        figures.time("slowest of these", counts.ready_max, None);
        figures.time("until messages were taken again (most)", counts.room_max, Some(ROOM_WITHIN));
        figures
    }
}

/// Anything but disk-full is a failure.
fn state(answer: &Result<(), Refused>, failed: &mut Option<String>) -> State {
    match answer {
        Ok(()) => State::Confirmed,
        Err(refused) if refused.number == DISK_FULL => State::Refused,
        Err(refused) => {
            failed.get_or_insert_with(|| ClientError::Refused(refused.clone()).to_string());
            State::Refused
        }
    }
}
