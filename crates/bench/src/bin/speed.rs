//! Starts the real binary and measures it; see `docs/performance.md`. `rivals` is the same beside
//! other brokers.

use std::io::Write as _;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Result;
use clap::{Parser, ValueEnum};
use courant_bench::dialect::{BINARY, COURANT, Dialect};
use courant_bench::live::LiveOptions;
use courant_bench::queue::QueueOptions;
use courant_bench::report::{Report, float};
use courant_bench::server::{Server, binary};
use courant_bench::{disk, engine, latency, live, queue, route};

/// A batch of a thousand messages of 256 bytes, as it goes to the disk.
const SYNC_BYTES: usize = 300_000;
const ENGINE_MESSAGES: u64 = 4_000_000;
/// Credit that never runs out: publishers are the narrower limit.
const CREDIT_WIDE: u32 = 65_535;
const RATES: [u64; 2] = [5_000, 50_000];

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Workload {
    /// Live path, 16 bytes, --pubs to --subs
    Live,
    /// Live path, 1 to 100 and 100 to 1
    Fan,
    /// Durable queue, 256 bytes, 1,000 in flight: confirm, deliver, acknowledge
    Durable,
    /// Durable with a credit of --credit, so that acknowledgements drive the deliveries
    DurableTight,
    /// Transient queue, 16 bytes: deliver, acknowledge
    Transient,
    /// Transient with a credit of --credit
    TransientTight,
    /// Transient queue, 16 bytes, settled as it is sent
    TransientAuto,
    /// Live path at 5,000 and 50,000 messages a second
    Latency,
    /// The engine alone, in this process
    Engine,
    /// Routing alone, in this process: 100,000 patterns beside one
    Route,
    /// All of them
    All,
}

/// Measure a broker's speed
#[derive(Debug, Parser)]
struct Arguments {
    /// What to measure
    #[arg(required = true)]
    workloads: Vec<Workload>,
    /// How long each load lasts
    #[arg(long, default_value_t = 5.0)]
    seconds: f64,
    /// How often each is run; the median and the range are shown
    #[arg(long, default_value_t = 3)]
    repeat: usize,
    /// Publishers of `live`
    #[arg(long, default_value_t = 1)]
    pubs: usize,
    /// Subscribers of `live`
    #[arg(long, default_value_t = 1)]
    subs: usize,
    /// Delivered bytes on their way to a subscriber of `live`
    #[arg(long, default_value_t = 1 << 20)]
    window: u64,
    /// Bytes of one write of `live`
    #[arg(long)]
    chunk: Option<usize>,
    /// The consumer's credit of `durable-tight` and `transient-tight`
    #[arg(long, default_value_t = 2_000)]
    credit: u32,
    /// Where data folders are made: its file system is measured too
    #[arg(long, default_value_os_t = std::env::temp_dir())]
    folder: PathBuf,
    /// Print JSON and no table
    #[arg(long)]
    json: bool,
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let mut bench = Bench { arguments, report: Report::default() };
    for turn in 0..bench.arguments.repeat {
        bench.remark_load(turn);
        bench.run()?;
    }
    bench.remark_load(bench.arguments.repeat);
    let mut out = std::io::stdout().lock();
    if bench.arguments.json {
        writeln!(out, "{:#}", bench.report.json())?;
    } else {
        write!(out, "{}", bench.report.table())?;
    }
    Ok(())
}

struct Bench {
    arguments: Arguments,
    report: Report,
}

impl Bench {
    fn wants(&self, workload: Workload) -> bool {
        let wanted = &self.arguments.workloads;
        wanted.contains(&workload) || wanted.contains(&Workload::All)
    }

    /// Other work on the machine spoils figures: the reader must see it.
    fn remark_load(&mut self, turn: usize) {
        let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
        let load = load.split(' ').next().unwrap_or_default().to_owned();
        self.report.remark(format!("load average before turn {turn}: {load}"));
    }

    fn duration(&self) -> Duration {
        Duration::from_secs_f64(self.arguments.seconds)
    }

    fn server(&self) -> Result<Server> {
        Server::start(&binary()?, &self.arguments.folder)
    }

    fn run(&mut self) -> Result<()> {
        if self.wants(Workload::Live) {
            let (pubs, subs) = (self.arguments.pubs, self.arguments.subs);
            let server = self.server()?;
            self.live(&server, &COURANT, (pubs, subs))?;
            let server = self.server()?;
            self.live(&server, &BINARY, (pubs, subs))?;
        }
        if self.wants(Workload::Fan) {
            for shape in [(1, 100), (100, 1)] {
                let server = self.server()?;
                self.live(&server, &COURANT, shape)?;
            }
        }
        if self.wants(Workload::Durable) {
            self.durable("durable 256 B", CREDIT_WIDE)?;
            self.durable(&format!("{} durable 256 B", BINARY.name), CREDIT_WIDE)?;
        }
        if self.wants(Workload::DurableTight) {
            let credit = self.arguments.credit;
            self.durable(&format!("durable 256 B, credit {credit}"), credit)?;
        }
        if self.wants(Workload::Transient) {
            self.transient("transient 16 B", true, CREDIT_WIDE)?;
            self.transient(&format!("{} transient 16 B", BINARY.name), true, CREDIT_WIDE)?;
        }
        if self.wants(Workload::TransientTight) {
            let credit = self.arguments.credit;
            self.transient(&format!("transient 16 B, credit {credit}"), true, credit)?;
        }
        if self.wants(Workload::TransientAuto) {
            self.transient("transient 16 B, auto", false, CREDIT_WIDE)?;
        }
        if self.wants(Workload::Latency) {
            let server = self.server()?;
            self.latency(&server, &COURANT)?;
        }
        if self.wants(Workload::Engine) {
            for (name, is_durable) in [("engine transient", false), ("engine durable", true)] {
                let spent = engine::nanoseconds(is_durable, ENGINE_MESSAGES)?;
                self.report.add(name, ("time", "ns/msg", 1), spent);
            }
        }
        if self.wants(Workload::Route) {
            self.route()?;
        }
        Ok(())
    }

    fn route(&mut self) -> Result<()> {
        for (name, patterns) in [("route, 1 pattern", 1), ("route, 100,000 patterns", 100_000)] {
            let costs = route::costs(patterns)?;
            self.report.add(name, ("find", "ns", 1), costs.cold);
            self.report.add(name, ("keep", "ns", 1), costs.kept);
            self.report.add(name, ("session queue", "ns", 1), costs.session_queue);
        }
        let (first, last) = route::ends(100_000)?;
        self.report.add("100,000 bound queues go", ("first 1,000", "ns", 1), first);
        self.report.add("100,000 bound queues go", ("last 1,000", "ns", 1), last);
        Ok(())
    }

    fn live(
        &mut self,
        server: &Server,
        dialect: &Dialect,
        (pubs, subs): (usize, usize),
    ) -> Result<()> {
        let mut options = LiveOptions::new(pubs, subs, self.duration());
        options.window_bytes = self.arguments.window;
        options.chunk_bytes = self.arguments.chunk.unwrap_or(options.chunk_bytes);
        let costs = live::run(server, dialect, &options)?;
        self.report.add_costs(&format!("{} live {pubs}→{subs}", dialect.name), &costs);
        Ok(())
    }

    fn durable(&mut self, name: &str, credit: u32) -> Result<()> {
        let sync = disk::sync_seconds(&self.arguments.folder, SYNC_BYTES)?;
        let server = self.server()?;
        let durable = QueueOptions::durable(credit, self.duration());
        let is_binary = name.starts_with(BINARY.name);
        let run = queue::run(&server, &QueueOptions { is_binary, ..durable })?;
        self.report.add_costs(name, &run.costs);
        let confirmed = run.confirmed_per_second.unwrap_or_default();
        self.report.add(name, ("confirmed", "msg/s", 0), confirmed);
        self.report.add(name, ("per batch", "msg", 1), run.messages_per_batch);
        self.report.add(name, ("fdatasync of 300 KB", "µs", 0), sync * 1e6);
        let goal = (0.8 * 1000.0 / (1.5 * sync)).min(500_000.0);
        self.report.add(name, ("confirmed, goal", "msg/s", 0), goal);
        Ok(())
    }

    fn transient(&mut self, name: &str, acks: bool, credit: u32) -> Result<()> {
        let server = self.server()?;
        let options = QueueOptions {
            is_binary: name.starts_with(BINARY.name),
            is_durable: false,
            acks,
            body_bytes: 16,
            in_flight: 0,
            credit,
            duration: self.duration(),
        };
        let run = queue::run(&server, &options)?;
        self.report.add_costs(name, &run.costs);
        Ok(())
    }

    fn latency(&mut self, server: &Server, dialect: &Dialect) -> Result<()> {
        for rate in RATES {
            let run = latency::run(server, dialect, rate, self.duration())?;
            let name = format!("{} latency at {rate}/s", dialect.name);
            let us = |ns: u64| float(ns) / 1e3;
            let at = |q: f64| us(run.latency_ns.value_at_quantile(q));
            self.report.add(&name, ("p50", "µs", 1), at(0.5));
            self.report.add(&name, ("p99", "µs", 1), at(0.99));
            self.report.add(&name, ("max", "µs", 0), us(run.latency_ns.max()));
            let late = |q: f64| us(run.late_ns.value_at_quantile(q));
            self.report.add(&name, ("sender late p50", "µs", 1), late(0.5));
            self.report.add(&name, ("sender late p99", "µs", 1), late(0.99));
            self.report.add(&name, ("broker CPU", "µs/msg", 2), run.broker_ns / 1e3);
        }
        Ok(())
    }
}
