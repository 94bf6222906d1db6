//! `cargo xtask fuzz`: builds the targets of `fuzz/` with coverage, runs them two at a time, from
//! the corpus that is kept in the tree.
//!
//! The compiler is that of the workspace: the coverage passes of LLVM are all that is needed. What
//! a run finds stays in the target directory; `--keep` brings what reaches new code into the tree.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Mutex;

use anyhow::{Context, Result, bail, ensure};
use clap::Args;

use crate::process::{self, Outcome};
use crate::workspace;

const PLATFORM: &str = "x86_64-unknown-linux-gnu";
const COVERAGE: &[&str] = &[
    "-Cpasses=sancov-module",
    "-Cllvm-args=-sanitizer-coverage-level=4",
    "-Cllvm-args=-sanitizer-coverage-inline-8bit-counters",
    "-Cllvm-args=-sanitizer-coverage-pc-table",
    "-Cllvm-args=-sanitizer-coverage-trace-compares",
    "--cfg=fuzzing",
];
/// How long each target runs in a check, in seconds.
const CHECK_SECONDS: u32 = 60;
/// Targets at a time.
const AT_ONCE: usize = 2;
/// Bytes of an input.
const INPUT_BYTES_MAX: u32 = 4096;
/// The same of one that is kept in the tree.
const KEPT_BYTES_MAX: u32 = 1024;
/// One input may take so long and so much; more of either is a finding.
const BOUNDS: &[&str] = &["-timeout=10", "-rss_limit_mb=1024", "-malloc_limit_mb=256"];

#[derive(Args)]
pub(crate) struct FuzzOptions {
    /// Run these targets only
    #[arg(value_name = "TARGET")]
    targets: Vec<String>,
    /// How long each target runs
    #[arg(long, default_value_t = CHECK_SECONDS)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..))]
    seconds: u32,
    /// The seed; without it every run chooses another and prints it
    #[arg(long)]
    seed: Option<u32>,
    /// Add inputs that reach new code to `fuzz/corpus`
    #[arg(long)]
    keep: bool,
    /// Run one target on the input in this file and nothing else
    #[arg(long, value_name = "FILE")]
    repeat: Option<PathBuf>,
}

/// Where the parts are.
struct Fuzz {
    /// `fuzz/` in the tree.
    folder: PathBuf,
    /// What runs leave behind.
    found: PathBuf,
    binaries: PathBuf,
}

/// As a step of the check: a minute for every target.
pub(crate) fn check() -> Result<Outcome> {
    let (targets, seed, keep, repeat) = (Vec::new(), None, false, None);
    run(&FuzzOptions { targets, seconds: CHECK_SECONDS, seed, keep, repeat })?;
    Ok(Outcome::Passed)
}

/// Builds and runs the targets; fails if one found something.
pub(crate) fn run(options: &FuzzOptions) -> Result<()> {
    let root = workspace::root()?;
    let targets = chosen(&root, &options.targets)?;
    let fuzz = build(&root)?;
    if let Some(file) = &options.repeat {
        let [target] = targets.as_slice() else { bail!("name the target of --repeat") };
        return process::run(fuzz.command(target).arg(file));
    }
    let waiting = Mutex::new(targets.iter());
    let failed = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                while let Some(target) = next(&waiting) {
                    if let Err(error) = fuzz.run(target, options) {
                        eprintln!("{target}: {error:#}");
                        failed.lock().map(|mut failed| failed.push(target.clone())).ok();
                    }
                }
            });
        }
    });
    let failed = failed.into_inner().unwrap_or_default();
    ensure!(failed.is_empty(), "targets that found something: {}", failed.join(", "));
    Ok(())
}

fn next<'t>(waiting: &Mutex<std::slice::Iter<'t, String>>) -> Option<&'t String> {
    waiting.lock().ok()?.next()
}

/// The names of the targets, which are those of their files.
fn chosen(root: &Path, named: &[String]) -> Result<Vec<String>> {
    let mut all = Vec::new();
    for entry in std::fs::read_dir(root.join("fuzz/fuzz_targets")).context("no fuzz targets")? {
        let path = entry?.path();
        all.extend(path.file_stem().map(|stem| stem.to_string_lossy().into_owned()));
    }
    all.sort();
    if let Some(unknown) = named.iter().find(|name| !all.contains(name)) {
        bail!("no target `{unknown}`; there are {}", all.join(", "));
    }
    Ok(if named.is_empty() { all } else { named.to_vec() })
}

/// A platform is named so that build scripts and macros are built without coverage.
fn build(root: &Path) -> Result<Fuzz> {
    let folder = root.join("fuzz");
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or(root.join("target"), PathBuf::from);
    let found = root.join(target).join("fuzz");
    let mut cargo = process::cargo(&folder);
    cargo.env("RUSTFLAGS", COVERAGE.join(" ")).env("CARGO_TARGET_DIR", &found);
    cargo.args(["build", "--release", "--locked", "--target", PLATFORM]);
    process::run(&mut cargo)?;
    let binaries = found.join(PLATFORM).join("release");
    Ok(Fuzz { folder, found, binaries })
}

impl Fuzz {
    fn command(&self, target: &str) -> Command {
        let mut command = Command::new(self.binaries.join(target));
        command.args(BOUNDS);
        command
    }

    fn run(&self, target: &str, options: &FuzzOptions) -> Result<()> {
        let kept = self.folder.join("corpus").join(target);
        let new = self.found.join("corpus").join(target);
        let findings = self.found.join("findings").join(target);
        for folder in [&kept, &new, &findings] {
            std::fs::create_dir_all(folder).with_context(|| folder.display().to_string())?;
        }
        let mut command = self.command(target);
        command.arg(format!("-max_total_time={}", options.seconds));
        command.arg(format!("-max_len={INPUT_BYTES_MAX}"));
        command.arg(format!("-seed={}", options.seed.unwrap_or(0)));
        command.arg(format!("-artifact_prefix={}/", findings.display()));
        command.args(["-print_final_stats=1", "-verbosity=1"]).args([&new, &kept]);
        let output = command.stdin(Stdio::null()).output().context("the target does not start")?;
        let said = String::from_utf8_lossy(&output.stderr);
        if !output.status.success() {
            let tail: Vec<_> = said.lines().rev().take(40).collect();
            let tail: Vec<_> = tail.into_iter().rev().collect();
            bail!(
                "{}\n{}\nrepeat: cargo xtask fuzz {target} --repeat FILE, the FILE as above",
                output.status,
                tail.join("\n")
            );
        }
        eprintln!("{}", summary(target, &said));
        if options.keep {
            let mut merge = self.command(target);
            // New code, not how often it was run: else the corpus would be thousands of files.
            merge.args(["-merge=1", "-use_counters=0"]);
            merge.arg(format!("-max_len={KEPT_BYTES_MAX}"));
            let output = merge.args([&kept, &new]).output()?;
            ensure!(output.status.success(), "merging ended with {}", output.status);
        }
        Ok(())
    }
}

/// `text: 123 inputs run, coverage 45, corpus 6`
fn summary(target: &str, said: &str) -> String {
    let last = said.lines().rfind(|line| line.contains(" cov: ")).unwrap_or_default();
    let word = |name: &str| {
        let mut words = last.split_whitespace().skip_while(|word| *word != name);
        words.nth(1).unwrap_or("?").to_owned()
    };
    let runs = said.lines().find_map(|line| line.strip_prefix("stat::number_of_executed_units:"));
    let seed = said.lines().find_map(|line| line.strip_prefix("INFO: Seed: "));
    format!(
        "{target:<9} {} inputs run, coverage {}, corpus {}, seed {}",
        runs.unwrap_or("?").trim(),
        word("cov:"),
        word("corp:"),
        seed.unwrap_or("?")
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_summary_takes_the_last_line_with_coverage() {
        let said = "INFO: Seed: 7\n#1 INITED cov: 3 ft: 4 corp: 5/6b\n\
                    #9 DONE   cov: 30 ft: 40 corp: 50/60b\nstat::number_of_executed_units: 99\n";
        let expected = "text      99 inputs run, coverage 30, corpus 50/60b, seed 7";
        assert_eq!(summary("text", said), expected);
    }

    #[test]
    fn every_target_is_built() {
        let root = workspace::root().unwrap();
        let manifest = std::fs::read_to_string(root.join("fuzz/Cargo.toml")).unwrap();
        let manifest: toml::Table = manifest.parse().unwrap();
        let built = manifest["bin"].as_array().unwrap().iter();
        let mut built: Vec<_> = built.map(|bin| bin["name"].as_str().unwrap().to_owned()).collect();
        built.sort();
        assert_eq!(built, chosen(&root, &[]).unwrap());
    }
}
