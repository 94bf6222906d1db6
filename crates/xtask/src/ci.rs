//! `cargo xtask ci`: a table of steps, each timed. All run, a summary ends it, red if one is red.
//!
//! Read-only: no step writes a file of the tree. Profiles: see CONTRIBUTING.md.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use clap::Args;

use crate::process::{self, Outcome};
use crate::{counts, deny, forward, fuzz, packages, tidy, workspace};

/// Cycles of the kill -9 campaign in one check.
const KILL9_CYCLES: &str = "150";
/// Power cuts in one check.
const POWER_CUTS: &str = "10";

#[derive(Args)]
pub(crate) struct CiOptions {
    /// Stop at the first step that fails
    #[arg(long)]
    fail_fast: bool,
    /// Run these steps only
    #[arg(long, value_name = "STEP", value_delimiter = ',')]
    only: Vec<String>,
    /// Leave these steps out; the summary says so
    #[arg(long, value_name = "STEP", value_delimiter = ',')]
    skip: Vec<String>,
}

#[derive(Args)]
pub(crate) struct TestOptions {
    /// Handed to `cargo test`, such as `-p courant-storage` or a test's name
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    arguments: Vec<String>,
}

struct Step {
    name: &'static str,
    about: &'static str,
    run: fn(&Path) -> Result<Outcome>,
}

/// Quick steps first, so that a slip is known before the long ones begin.
const STEPS: &[Step] = &[
    Step { name: "packages", about: "programs that the tests use", run: |_| packages::install() },
    Step { name: "fmt", about: "formatting", run: fmt },
    Step { name: "tidy", about: "house rules", run: |_| tidy::run().map(passed) },
    Step { name: "clippy", about: "lints", run: clippy },
    Step {
        name: "test",
        about: "all tests, against the release binary",
        run: |root| test_all(root, &[]),
    },
    Step { name: "kill9", about: "kill -9 under load", run: kill9 },
    Step { name: "powercut", about: "power cuts under load", run: powercut },
    Step { name: "fulldisk", about: "a small disk filled and drained", run: fulldisk },
    Step { name: "backlog", about: "a long backlog: memory, disk, recovery", run: backlog },
    Step { name: "abuse", about: "bad consumers under a memory cap", run: abuse },
    Step { name: "scale", about: "many of everything", run: scale },
    Step { name: "fuzz", about: "a minute for every fuzz target", run: |_| fuzz::check() },
    Step { name: "doc", about: "documentation builds", run: doc },
    Step { name: "counts", about: "instructions per message", run: |_| counts::check() },
    Step { name: "deny", about: "dependencies", run: |_| deny::run() },
];

struct Report {
    name: &'static str,
    took: Duration,
    /// None: left out.
    result: Option<Result<Outcome>>,
}

/// Runs the steps and fails if one failed.
pub(crate) fn check(options: &CiOptions) -> Result<()> {
    for name in options.only.iter().chain(&options.skip) {
        if !STEPS.iter().any(|step| step.name == name) {
            let names: Vec<_> = STEPS.iter().map(|step| step.name).collect();
            bail!("no step `{name}`; the steps are {}", names.join(", "));
        }
    }
    let root = workspace::root()?;
    let mut reports = Vec::new();
    let mut stopped = false;
    for step in STEPS {
        let named = |names: &[String]| names.iter().any(|name| name == step.name);
        let wanted = (options.only.is_empty() || named(&options.only)) && !named(&options.skip);
        if !wanted || stopped {
            reports.push(Report { name: step.name, took: Duration::ZERO, result: None });
            continue;
        }
        let report = run_step(step, &root);
        stopped = options.fail_fast && matches!(report.result, Some(Err(_)));
        reports.push(report);
    }
    summary(&reports)
}

fn run_step(step: &Step, root: &Path) -> Report {
    eprintln!("\n== {}: {}", step.name, step.about);
    let start = Instant::now();
    let result = (step.run)(root);
    let took = start.elapsed();
    match &result {
        Ok(_) => eprintln!("== {}: passed in {:.1} s", step.name, took.as_secs_f64()),
        Err(error) => {
            eprintln!("== {}: FAILED in {:.1} s: {error:#}", step.name, took.as_secs_f64());
        }
    }
    Report { name: step.name, took, result: Some(result) }
}

fn summary(reports: &[Report]) -> Result<()> {
    eprintln!("\n== summary");
    let mut failed = Vec::new();
    for report in reports {
        let seconds = report.took.as_secs_f64();
        let verdict = match &report.result {
            None => "left out".to_owned(),
            Some(Ok(Outcome::Passed)) => "passed".to_owned(),
            Some(Ok(Outcome::PassedWith(note))) => format!("passed, but: {note}"),
            Some(Err(error)) => {
                failed.push(report.name);
                format!("FAILED: {error:#}")
            }
        };
        eprintln!("{:<10}{seconds:>8.1} s  {verdict}", report.name);
    }
    if failed.is_empty() {
        return Ok(());
    }
    bail!("failed: {}", failed.join(", "))
}

/// Installs, builds and runs the tests.
pub(crate) fn test(options: &TestOptions) -> Result<()> {
    packages::install()?;
    test_all(&workspace::root()?, &options.arguments)?;
    Ok(())
}

/// Writes: what clippy can repair by itself, generated pages, then the format.
pub(crate) fn fix() -> Result<()> {
    let root = workspace::root()?;
    process::run(process::cargo(&root).args([
        "clippy",
        "--workspace",
        "--all-targets",
        "--all-features",
        "--fix",
        "--allow-dirty",
        "--allow-staged",
    ]))?;
    // Generated pages are written by the tests that check them.
    let mut pages = process::cargo(&root);
    pages
        .args(["test", "-q", "-p", "courant-engine", "-p", "courant-server"])
        .env("COURANT_WRITE", "1");
    process::run(&mut pages)?;
    process::run(process::cargo(&root).args(["fmt", "--all"]))
}

fn passed((): ()) -> Outcome {
    Outcome::Passed
}

fn fmt(root: &Path) -> Result<Outcome> {
    process::run(process::cargo(root).args(["fmt", "--all", "--check"])).map(passed)
}

fn clippy(root: &Path) -> Result<Outcome> {
    let mut command = process::cargo(root);
    command.args(["clippy", "--locked", "--workspace", "--all-targets", "--all-features"]);
    process::run(command.args(["--", "-D", "warnings"])).map(passed)
}

fn test_all(root: &Path, arguments: &[String]) -> Result<Outcome> {
    let mut command = process::cargo(root);
    forward::binaries(root, &mut command)?;
    command.args(["test", "--locked", "--all-features"]);
    if !arguments.iter().any(|argument| argument == "-p" || argument == "--package") {
        command.args(["--workspace", "--no-fail-fast"]);
    }
    process::run(command.args(arguments)).map(passed)
}

fn kill9(_root: &Path) -> Result<Outcome> {
    campaign(&["kill9", "--cycles", KILL9_CYCLES])
}

fn powercut(_root: &Path) -> Result<Outcome> {
    campaign(&["powercut", "--cuts", POWER_CUTS])
}

fn fulldisk(_root: &Path) -> Result<Outcome> {
    campaign(&["fulldisk", "--cycles", "5"])
}

fn backlog(_root: &Path) -> Result<Outcome> {
    campaign(&["backlog", "--messages", "1000000"])
}

fn abuse(_root: &Path) -> Result<Outcome> {
    let size = ["--backlog-mib", "256", "--stalled", "50", "--never-acking", "50"];
    campaign(&[&["abuse", "--seconds", "5", "--any-latency"], &size[..]].concat())
}

fn scale(_root: &Path) -> Result<Outcome> {
    let size = ["--queues", "10000", "--bindings", "10000", "--messages", "50000"];
    let crowd = ["--subscribes", "2000", "--seconds", "3", "--connections", "2000"];
    campaign(&[&["scale", "--any-time"], &size[..], &crowd[..]].concat())
}

/// Runs a campaign; where the machine does not allow it, the summary says that it was not run.
fn campaign(arguments: &[&str]) -> Result<Outcome> {
    let words: Vec<_> = arguments.iter().map(|word| (*word).to_owned()).collect();
    if forward::run(&words)? {
        return Ok(Outcome::Passed);
    }
    Ok(Outcome::PassedWith(format!("`{}` was NOT run: this machine does not allow it", words[0])))
}

fn doc(root: &Path) -> Result<Outcome> {
    let mut command = process::cargo(root);
    command.env("RUSTDOCFLAGS", "-D warnings");
    command.args(["doc", "--locked", "--workspace", "--no-deps", "--all-features"]);
    process::run(&mut command).map(passed)
}
