//! Instructions per message on the hot paths: a number that does not depend on the machine's mood.
//!
//! The program `counts` of `courant-bench` runs one path for a number of messages. It is run under
//! callgrind twice, with N and 2N messages; the difference divided by N leaves out start-up and
//! warm-up. The result is compared with `crates/bench/counts.toml`: growth above 5 % fails until
//! the file is changed, with a reason; shrinkage above 5 % asks for the file to be tightened.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail, ensure};
use clap::Args;

use crate::process::{self, Outcome};
use crate::workspace;

const FILE: &str = "crates/bench/counts.toml";
const TOLERANCE: f64 = 0.05;
const MESSAGES: u64 = 20_000;

#[derive(Args)]
pub(crate) struct CountsOptions {
    /// Compare with crates/bench/counts.toml (the default)
    #[arg(long, conflicts_with = "write")]
    check: bool,
    /// Write crates/bench/counts.toml; needs --reason where a path grew
    #[arg(long)]
    write: bool,
    /// Why the new figures are right
    #[arg(long, requires = "write")]
    reason: Option<String>,
}

/// What the file says about one path.
#[derive(Clone, Debug, PartialEq)]
struct Count {
    instructions: f64,
    reason: String,
}

type Counts = BTreeMap<String, Count>;

/// The command line's entry.
pub(crate) fn run(options: &CountsOptions) -> Result<()> {
    if options.write {
        return write(options.reason.as_deref());
    }
    check().map(|outcome| outcome.print("counts"))
}

/// Measures every path and compares.
pub(crate) fn check() -> Result<Outcome> {
    let root = workspace::root()?;
    let text = std::fs::read_to_string(root.join(FILE))
        .with_context(|| format!("no {FILE}: make it with `cargo xtask counts --write`"))?;
    let (arch, known) = parse(&text)?;
    if arch != std::env::consts::ARCH {
        return Ok(Outcome::PassedWith(format!(
            "instruction counts were NOT compared: {FILE} is for {arch}, this is {}",
            std::env::consts::ARCH
        )));
    }
    let (faults, notes) = compare(&known, &measure_all(&root)?);
    for line in faults.iter().chain(&notes) {
        eprintln!("{line}");
    }
    ensure!(faults.is_empty(), "{} of the hot paths differ from {FILE}", faults.len());
    if notes.is_empty() { Ok(Outcome::Passed) } else { Ok(Outcome::PassedWith(notes.join("; "))) }
}

fn write(reason: Option<&str>) -> Result<()> {
    let root = workspace::root()?;
    let path = root.join(FILE);
    let known = match std::fs::read_to_string(&path) {
        Ok(text) => parse(&text)?.1,
        Err(_) => Counts::new(),
    };
    let counts = merge(&known, &measure_all(&root)?, reason)?;
    std::fs::write(&path, render(std::env::consts::ARCH, &counts))
        .with_context(|| format!("cannot write {FILE}"))
}

/// (what fails, what is only worth a remark)
fn compare(known: &Counts, measured: &BTreeMap<String, f64>) -> (Vec<String>, Vec<String>) {
    let (mut faults, mut notes) = (Vec::new(), Vec::new());
    for (path, &now) in measured {
        let Some(count) = known.get(path) else {
            faults.push(format!(
                "{path}: {now:.1} instructions, not in {FILE}: run `cargo xtask counts --write`"
            ));
            continue;
        };
        let before = count.instructions;
        let percent = (now / before - 1.0) * 100.0;
        let line = format!("{path}: {before:.1} → {now:.1} instructions ({percent:+.1} %)");
        if now > before * (1.0 + TOLERANCE) {
            faults.push(format!(
                "{line}: make it cheaper, or `cargo xtask counts --write --reason '…'`"
            ));
        } else if now < before * (1.0 - TOLERANCE) {
            notes.push(format!("{line}: keep the gain with `cargo xtask counts --write`"));
        }
    }
    for path in known.keys().filter(|path| !measured.contains_key(*path)) {
        faults.push(format!("{path}: in {FILE}, but the program no longer has it: remove it"));
    }
    (faults, notes)
}

/// New figures where they are lower, or where a reason is given for a path that is new or grew.
fn merge(known: &Counts, measured: &BTreeMap<String, f64>, reason: Option<&str>) -> Result<Counts> {
    let mut counts = Counts::new();
    for (path, &now) in measured {
        let count = match (known.get(path), reason) {
            (None, reason) => Count {
                instructions: now,
                reason: reason.unwrap_or("first measurement").to_owned(),
            },
            (Some(old), Some(reason)) if now > old.instructions => {
                Count { instructions: now, reason: reason.to_owned() }
            }
            (Some(old), None) if now > old.instructions * (1.0 + TOLERANCE) => {
                bail!("{path} grew from {:.1} to {now:.1}: give --reason", old.instructions);
            }
            // Growth within the tolerance is not written, or it would creep.
            (Some(old), _) => Count { instructions: now.min(old.instructions), ..old.clone() },
        };
        counts.insert(path.clone(), count);
    }
    Ok(counts)
}

fn parse(text: &str) -> Result<(String, Counts)> {
    let table: toml::Table = text.parse().with_context(|| format!("{FILE} is not TOML"))?;
    let arch = table.get("arch").and_then(toml::Value::as_str);
    let arch = arch.with_context(|| format!("{FILE} has no `arch`"))?.to_owned();
    let mut counts = Counts::new();
    for (path, entry) in table.get("paths").and_then(toml::Value::as_table).into_iter().flatten() {
        let figure = entry.get("instructions");
        let instructions = figure
            .and_then(|value| value.as_float().or_else(|| value.as_integer().map(as_float)))
            .filter(|figure| *figure > 0.0)
            .with_context(|| format!("{FILE}: `{path}` needs `instructions` above zero"))?;
        let reason = entry.get("reason").and_then(toml::Value::as_str).unwrap_or_default().trim();
        ensure!(!reason.is_empty(), "{FILE}: `{path}` has no `reason`");
        counts.insert(path.clone(), Count { instructions, reason: reason.to_owned() });
    }
    Ok((arch, counts))
}

fn render(arch: &str, counts: &Counts) -> String {
    let mut text = format!(
        "# Instructions per message on the hot paths, written by `cargo xtask counts --write`.\n\
         # CI fails when a path grows by more than 5 %, unless this file says why.\n\
         arch = \"{arch}\"\n"
    );
    for (path, count) in counts {
        let reason = toml::Value::String(count.reason.clone());
        let _ = write!(
            text,
            "\n[paths.\"{path}\"]\ninstructions = {:.1}\nreason = {reason}\n",
            count.instructions
        );
    }
    text
}

fn measure_all(root: &Path) -> Result<BTreeMap<String, f64>> {
    ensure!(
        process::is_installed("valgrind"),
        "valgrind is missing: `cargo xtask test` installs it, or apt-get install valgrind"
    );
    let program = program(root)?;
    let listed = process::output(Command::new(&program).arg("--list"))?;
    let mut measured = BTreeMap::new();
    for path in listed.lines().filter_map(|line| line.split_whitespace().next()) {
        let once = instructions(&program, path, MESSAGES)?;
        let twice = instructions(&program, path, 2 * MESSAGES)?;
        let difference = twice.checked_sub(once);
        let difference =
            difference.with_context(|| format!("{path}: more messages took fewer instructions"))?;
        let per_message = count_as_float(difference) / count_as_float(MESSAGES);
        eprintln!("{path:<32} {per_message:>10.1} instructions a message");
        measured.insert(path.to_owned(), per_message);
    }
    ensure!(!measured.is_empty(), "`counts --list` named no path");
    Ok(measured)
}

fn program(root: &Path) -> Result<PathBuf> {
    process::release_binary(root, "courant-bench", "counts").context(
        "the program that runs the hot paths (package courant-bench, binary `counts`) is not there",
    )
}

fn instructions(program: &Path, path: &str, messages: u64) -> Result<u64> {
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
        .arg(program)
        .args(["--path", path, "--messages", &messages.to_string()])
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .output()
        .context("cannot start valgrind")?;
    let log = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "`counts --path {path}` failed under valgrind:\n{log}");
    collected(&log).with_context(|| format!("callgrind gave no count for `{path}`:\n{log}"))
}

/// The figure in callgrind's closing line `==1== Collected : 123456`.
fn collected(log: &str) -> Option<u64> {
    let line = log.lines().rev().find(|line| line.contains("Collected :"))?;
    line.rsplit(':').next()?.split_whitespace().next()?.parse().ok()
}

#[allow(clippy::cast_precision_loss, reason = "a figure for people, shown with one decimal")]
fn count_as_float(count: u64) -> f64 {
    count as f64
}

#[allow(clippy::cast_precision_loss, reason = "a figure for people, shown with one decimal")]
fn as_float(count: i64) -> f64 {
    count as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "arch = \"x86_64\"\n[paths.live]\ninstructions = 100\nreason = \"first\"\n";

    fn measured(figure: f64) -> BTreeMap<String, f64> {
        BTreeMap::from([("live".to_owned(), figure)])
    }

    #[test]
    fn growth_fails_shrinkage_is_noted_and_noise_is_neither() {
        let (_, known) = parse(GOOD).unwrap();
        assert_eq!(compare(&known, &measured(104.9)), (vec![], vec![]));
        assert_eq!(compare(&known, &measured(105.1)).0.len(), 1);
        let (faults, notes) = compare(&known, &measured(94.0));
        assert_eq!((faults.len(), notes.len()), (0, 1));
    }

    #[test]
    fn a_path_on_one_side_only_fails() {
        let (_, known) = parse(GOOD).unwrap();
        assert_eq!(compare(&known, &BTreeMap::new()).0.len(), 1);
        assert_eq!(compare(&Counts::new(), &measured(1.0)).0.len(), 1);
    }

    #[test]
    fn writing_growth_needs_a_reason_and_keeps_the_old_one_otherwise() {
        let (_, known) = parse(GOOD).unwrap();
        assert!(merge(&known, &measured(120.0), None).is_err());
        let grown = merge(&known, &measured(120.0), Some("headers")).unwrap();
        assert_eq!(grown["live"].reason, "headers");
        let kept = merge(&known, &measured(90.0), Some("unused")).unwrap();
        assert_eq!(kept["live"], Count { instructions: 90.0, reason: "first".to_owned() });
        assert_eq!(merge(&known, &measured(104.0), None).unwrap(), known);
    }

    #[test]
    fn the_file_reads_back_as_written() {
        let (arch, known) = parse(GOOD).unwrap();
        assert_eq!(parse(&render(&arch, &known)).unwrap(), (arch, known));
    }

    #[test]
    fn a_figure_without_a_reason_is_refused() {
        assert!(parse("arch = \"x\"\n[paths.live]\ninstructions = 1\nreason = \" \"\n").is_err());
        assert!(parse("arch = \"x\"\n[paths.live]\ninstructions = 0\nreason = \"r\"\n").is_err());
    }

    #[test]
    fn the_count_is_found_in_callgrinds_closing_lines() {
        let log = "==7== Events    : Ir\n==7== Collected : 1234567\n==7== \n";
        assert_eq!(collected(log), Some(1_234_567));
        assert_eq!(collected("==7== I refs: 12"), None);
    }
}
