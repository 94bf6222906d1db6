//! The same workloads on Courant and on other brokers, in one run; see `docs/performance.md`.
//!
//! A round measures every broker once with every workload, one behind the other, each started for
//! it and stopped after: a machine that is disturbed for some time disturbs all of them.

use std::io::Write as _;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use clap::{Parser, ValueEnum};
use courant_bench::binary_queue::BINARY_QUEUE;
use courant_bench::contest::{Contest, Measure};
use courant_bench::dialect::{BINARY, COURANT, Dialect};
use courant_bench::live::LiveOptions;
use courant_bench::peer::{PEERS, Peer};
use courant_bench::queue::QueueOptions;
use courant_bench::report::float;
use courant_bench::server::{Server, binary};
use courant_bench::{durable, latency, live, queue};

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Workload {
    /// Live path, 16 bytes, 1 publisher, 1 subscriber
    Live,
    /// The same to 100 subscribers
    FanOut,
    /// The same from 100 publishers
    FanIn,
    /// Live path at 5,000 and 50,000 messages a second
    Latency,
    /// Durable queue, 256 bytes, 1,000 in flight: confirm, deliver, acknowledge
    Durable,
}

/// Measure Courant and other brokers under the same load
#[derive(Debug, Parser)]
struct Arguments {
    /// What to measure; all if none is named
    workloads: Vec<Workload>,
    /// How long each load lasts
    #[arg(long, default_value_t = 3.0)]
    seconds: f64,
    /// How often each is run; the median and the range are shown
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// The other brokers; all that are known if none is named
    #[arg(long, value_delimiter = ',')]
    peers: Vec<String>,
    /// Where data folders are made: its file system is measured too
    #[arg(long, default_value_os_t = std::env::temp_dir())]
    folder: PathBuf,
    /// Print JSON and no table
    #[arg(long)]
    json: bool,
}

fn main() -> Result<()> {
    let mut arguments = Arguments::parse();
    if arguments.workloads.is_empty() {
        arguments.workloads = Workload::value_variants().to_vec();
    }
    for name in &arguments.peers {
        ensure!(PEERS.iter().any(|peer| peer.dialect.name == name), "no peer is called {name}");
    }
    let mut run = Run::new(arguments)?;
    for round in 0..run.arguments.rounds {
        run.round(round);
    }
    run.remark_load(run.arguments.rounds);
    let mut out = std::io::stdout().lock();
    if run.arguments.json {
        writeln!(out, "{:#}", run.contest.json())?;
    } else {
        write!(out, "{}", run.contest.table())?;
    }
    ensure!(!run.has_own_failed, "courant itself failed a workload");
    Ok(())
}

/// One that takes part.
#[derive(Clone, Copy)]
enum Broker {
    /// Ourselves, through one of our doors.
    Own(&'static Dialect),
    Peer(&'static Peer),
}

impl Broker {
    fn dialect(self) -> &'static Dialect {
        match self {
            Broker::Own(dialect) => dialect,
            Broker::Peer(peer) => &peer.dialect,
        }
    }
}

struct Run {
    arguments: Arguments,
    brokers: Vec<Broker>,
    contest: Contest,
    has_own_failed: bool,
}

impl Run {
    fn new(arguments: Arguments) -> Result<Run> {
        let version = std::process::Command::new(binary()?).arg("--version").output()?;
        let version = String::from_utf8_lossy(&version.stdout).trim().to_owned();
        let mut brokers = vec![Broker::Own(&COURANT), Broker::Own(&BINARY)];
        let mut names = vec![(COURANT.name.to_owned(), version.clone())];
        names.push((BINARY.name.to_owned(), version));
        for peer in PEERS {
            let name = peer.dialect.name.to_owned();
            let is_wanted = arguments.peers.is_empty() || arguments.peers.contains(&name);
            let version = match peer.is_installed() {
                _ if !is_wanted => "NOT measured: not asked for".to_owned(),
                false => "NOT measured: not installed".to_owned(),
                true => peer.version().unwrap_or_else(|error| format!("unknown: {error:#}")),
            };
            brokers.push(Broker::Peer(peer));
            names.push((name, version));
        }
        Ok(Run { arguments, brokers, contest: Contest::new(names), has_own_failed: false })
    }

    /// Other work on the machine spoils figures: the reader must see it.
    fn remark_load(&mut self, round: usize) {
        let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
        let load = load.split(' ').next().unwrap_or_default();
        self.contest.remark(format!("load average before round {round}: {load}"));
    }

    /// Every workload on every broker.
    fn round(&mut self, round: usize) {
        self.remark_load(round);
        for workload in self.arguments.workloads.clone() {
            for at in 0..self.brokers.len() {
                if !self.takes_part(at) {
                    continue;
                }
                if let Err(error) = self.measure(at, workload) {
                    let name = self.brokers[at].dialect().name;
                    self.has_own_failed |= matches!(self.brokers[at], Broker::Own(_));
                    self.contest.remark(format!(
                        "NOT measured in round {round}: {name}, {workload:?}: {error:#}"
                    ));
                }
            }
        }
    }

    fn takes_part(&self, at: usize) -> bool {
        let wanted = &self.arguments.peers;
        let Broker::Peer(peer) = self.brokers[at] else { return true };
        let is_wanted = wanted.is_empty() || wanted.iter().any(|name| name == peer.dialect.name);
        is_wanted && peer.is_installed()
    }

    fn start(&self, at: usize, is_durable: bool) -> Result<Server> {
        let folder = &self.arguments.folder;
        match self.brokers[at] {
            Broker::Own(_) => Server::start(&binary()?, folder),
            Broker::Peer(peer) => peer.start(folder, is_durable),
        }
    }

    fn measure(&mut self, at: usize, workload: Workload) -> Result<()> {
        let dialect = self.brokers[at].dialect();
        let server = self.start(at, workload == Workload::Durable)?;
        match workload {
            Workload::Live => self.live(at, &server, dialect, ("live 16 B, 1→1", 1, 1)),
            Workload::FanOut => self.live(at, &server, dialect, ("live 16 B, 1→100", 1, 100)),
            Workload::FanIn => self.live(at, &server, dialect, ("live 16 B, 100→1", 100, 1)),
            Workload::Latency => {
                self.latency(at, &server, dialect, ("latency at 5,000/s", 5_000))?;
                self.latency(at, &server, dialect, ("latency at 50,000/s", 50_000))
            }
            Workload::Durable => self.durable(at, &server),
        }
    }

    fn live(
        &mut self,
        at: usize,
        server: &Server,
        dialect: &Dialect,
        (name, publishers, subscribers): (&'static str, usize, usize),
    ) -> Result<()> {
        let options = LiveOptions::new(publishers, subscribers, self.duration());
        let costs = live::run(server, dialect, &options)?;
        let messages = float(costs.messages);
        self.contest.add(at, name, RATE, messages / costs.seconds);
        self.contest.add(at, name, PER_CPU_SECOND, messages / float(costs.broker_ns) * 1e9);
        Ok(())
    }

    fn latency(
        &mut self,
        at: usize,
        server: &Server,
        dialect: &Dialect,
        (name, rate): (&'static str, u64),
    ) -> Result<()> {
        let run = latency::run(server, dialect, rate, self.duration())
            .with_context(|| format!("at {rate} a second"))?;
        let us = |quantile: f64| float(run.latency_ns.value_at_quantile(quantile)) / 1e3;
        self.contest.add(at, name, P50, us(0.5));
        self.contest.add(at, name, P99, us(0.99));
        self.contest.add(at, name, CPU, run.broker_ns / 1e3);
        Ok(())
    }

    fn durable(&mut self, at: usize, server: &Server) -> Result<()> {
        let (costs, confirmed) = match self.brokers[at] {
            Broker::Own(door) if door.name == BINARY.name => {
                durable::run(server, &BINARY_QUEUE, self.duration())?
            }
            Broker::Own(_) => {
                let run = queue::run(server, &QueueOptions::durable(CREDIT, self.duration()))?;
                (run.costs, run.confirmed_per_second.unwrap_or_default())
            }
            Broker::Peer(peer) => {
                let kept = peer.durable.context("it keeps no messages in this protocol")?;
                durable::run(server, &kept, self.duration())?
            }
        };
        let (name, messages) = ("durable 256 B", float(costs.messages));
        self.contest.add(at, name, CONFIRMED, confirmed);
        self.contest.add(at, name, RATE, messages / costs.seconds);
        self.contest.add(at, name, PER_CPU_SECOND, messages / float(costs.broker_ns) * 1e9);
        Ok(())
    }

    fn duration(&self) -> Duration {
        Duration::from_secs_f64(self.arguments.seconds)
    }
}

/// Credit that never runs out.
const CREDIT: u32 = 65_535;

const CONFIRMED: Measure =
    Measure { name: "confirmed", unit: "msg/s", decimals: 0, more_is_better: true };
const RATE: Measure =
    Measure { name: "delivered", unit: "msg/s", decimals: 0, more_is_better: true };
const PER_CPU_SECOND: Measure =
    Measure { name: "deliveries per CPU second", unit: "msg/s", decimals: 0, more_is_better: true };
const P50: Measure = Measure { name: "p50", unit: "µs", decimals: 1, more_is_better: false };
const P99: Measure = Measure { name: "p99", unit: "µs", decimals: 1, more_is_better: false };
const CPU: Measure =
    Measure { name: "broker CPU", unit: "µs/msg", decimals: 2, more_is_better: false };
