//! What shipped code must not call, or not there: panics, clocks, tasks, unbounded channels, and
//! one door out of another.
//!
//! Found by the path or the tokens as written, in macros too. A call that is right in spite of the
//! panic rule says so: `// invariant: why it can't happen`, on its line or alone on the one above.

use std::collections::BTreeSet;

use super::Finding;
use crate::source::{PathUse, SourceFile};
use crate::workspace::TOOLS;

/// The only file name that reads clocks.
const CLOCK_FILE: &str = "clock.rs";

/// File names at home with tasks and threads: background jobs, and accept loops.
const SPAWN_FILES: &[&str] = &["worker.rs", "listener.rs"];

const SPAWNS: &[&[&str]] = &[
    &["thread", "spawn"],
    &["thread", "Builder"],
    &["tokio", "spawn"],
    &["task", "spawn"],
    &["task", "spawn_local"],
    &["task", "spawn_blocking"],
];

const CLOCKS: &[&[&str]] = &[&["Instant", "now"], &["SystemTime", "now"]];

const UNBOUNDED: &[&[&str]] = &[
    &["unbounded"],
    &["unbounded_channel"],
    &["UnboundedSender"],
    &["UnboundedReceiver"],
    &["std", "sync", "mpsc", "channel"],
];

const PANICS: &[(&str, &[&str])] = &[
    ("unwrap", &[".", "unwrap", "("]),
    ("unwrap_err", &[".", "unwrap_err", "("]),
    ("expect", &[".", "expect", "("]),
    ("expect_err", &[".", "expect_err", "("]),
    ("panic", &["panic", "!"]),
];

/// Checks every file of the shipped crates.
pub(super) fn check(sources: &[SourceFile]) -> Vec<Finding> {
    let doors = doors(sources);
    let mut findings = Vec::new();
    for source in sources {
        let is_tool = TOOLS.contains(&source.crate_folder());
        if source.path.starts_with("crates/") && !is_tool && !source.is_test {
            panics(source, &mut findings);
            clocks(source, &mut findings);
            spawns(source, &mut findings);
            unbounded(source, &mut findings);
            siblings(source, &doors, &mut findings);
        }
    }
    // An import is seen twice: as tokens, and as a tree.
    let mut once = Vec::new();
    for finding in findings {
        if !once.contains(&finding) {
            once.push(finding);
        }
    }
    once
}

fn panics(source: &SourceFile, findings: &mut Vec<Finding>) {
    for (name, tokens) in PANICS {
        for line in source.find(tokens) {
            if !source.in_test(line) && !source.has_remark(line, "invariant") {
                let message = format!(
                    "`{name}` outside tests: return an error, or say `// invariant: why it can't \
                     happen` on this line or the one above"
                );
                findings.push(Finding::new("panic", &source.path, line, name, message));
            }
        }
    }
}

fn clocks(source: &SourceFile, findings: &mut Vec<Finding>) {
    if source.file_name() == CLOCK_FILE {
        return;
    }
    let reads = matching(source, CLOCKS).map(|path| path.line);
    let elapsed = source.find(&[".", "elapsed", "("]);
    for line in reads.chain(elapsed).filter(|line| !source.in_test(*line)) {
        let message = "a clock is read here: take the time as an argument, or from the trait in \
                       clock.rs, so that tests and replays own it";
        findings.push(Finding::new("clock", &source.path, line, "", message.to_owned()));
    }
}

fn spawns(source: &SourceFile, findings: &mut Vec<Finding>) {
    if SPAWN_FILES.contains(&source.file_name()) {
        return;
    }
    for path in matching(source, SPAWNS) {
        let message = format!(
            "`{}` outside {}: a task or thread without an owner is lost work; give it a name and a \
             status there",
            path.segments.join("::"),
            SPAWN_FILES.join(" and ")
        );
        findings.push(Finding::new("spawn", &source.path, path.line, "", message));
    }
}

fn unbounded(source: &SourceFile, findings: &mut Vec<Finding>) {
    let uses_std = source.paths.iter().any(|path| path.has(&["std", "sync", "mpsc"]));
    let named = matching(source, UNBOUNDED);
    let through_std = source
        .paths
        .iter()
        .filter(|path| uses_std && path.has(&["mpsc", "channel"]) && !source.in_test(path.line));
    for path in named.chain(through_std) {
        let message = "a channel without a bound grows until the process is killed: use a bounded \
                       one, sized by limits.rs, and decide what happens when it is full";
        findings.push(Finding::new("unbounded", &source.path, path.line, "", message.to_owned()));
    }
}

fn matching<'a>(
    source: &'a SourceFile,
    patterns: &'a [&'a [&'a str]],
) -> impl Iterator<Item = &'a PathUse> {
    source.paths.iter().filter(|path| {
        !source.in_test(path.line) && patterns.iter().any(|pattern| path.has(pattern))
    })
}

/// The doors: folders in the sources of `crates/doors`.
fn doors(sources: &[SourceFile]) -> BTreeSet<String> {
    sources.iter().filter_map(door).map(str::to_owned).collect()
}

fn door(source: &SourceFile) -> Option<&str> {
    let rest = source.path.strip_prefix("crates/doors/src/")?;
    rest.split_once('/').map(|(door, _)| door)
}

fn siblings(source: &SourceFile, doors: &BTreeSet<String>, findings: &mut Vec<Finding>) {
    let Some(own) = door(source) else { return };
    for path in &source.paths {
        let mut segments = path.segments.iter().skip_while(|segment| *segment == "super");
        let first = segments.next().map(String::as_str);
        let from_above = path.segments.first().is_some_and(|segment| segment == "super");
        let target = match first {
            Some("crate" | "courant_doors") => segments.next().map(String::as_str),
            _ if from_above => first,
            _ => None,
        };
        if let Some(target) = target.filter(|target| *target != own && doors.contains(*target)) {
            let message = format!(
                "door `{own}` uses door `{target}`: doors do not know one another. What both need \
                 belongs beside them, or below in broker or wire"
            );
            findings.push(Finding::new("door", &source.path, path.line, target, message));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules(path: &str, text: &str) -> Vec<(&'static str, usize)> {
        let source = SourceFile::parse(path, text).unwrap();
        check(&[source]).iter().map(|finding| (finding.rule, finding.line)).collect()
    }

    const PLAIN: &str = "crates/broker/src/a.rs";

    #[test]
    fn panics_are_red_unless_they_say_why_not() {
        assert_eq!(rules(PLAIN, "fn f() {\n    x.unwrap();\n}"), [("panic", 2)]);
        assert_eq!(rules(PLAIN, "fn f() { x.expect(\"y\"); }"), [("panic", 1)]);
        assert_eq!(rules(PLAIN, "fn f() { m!(panic!(\"y\")); }"), [("panic", 1)]);
        let said = "fn f() {\n    x.expect(\"y\"); // invariant: checked above\n}";
        assert_eq!(rules(PLAIN, said), []);
        let above = "fn f() {\n    // invariant: checked above\n    x.expect(\"y\");\n}";
        assert_eq!(rules(PLAIN, above), []);
        assert_eq!(rules(PLAIN, "#[cfg(test)]\nmod tests { fn f() { x.unwrap(); } }"), []);
        assert_eq!(rules("crates/bench/src/a.rs", "fn f() { x.unwrap(); }"), []);
    }

    #[test]
    fn clocks_are_red_outside_their_file() {
        let text = "fn f() { let t = std::time::Instant::now(); }";
        assert_eq!(rules(PLAIN, text), [("clock", 1)]);
        assert_eq!(rules("crates/broker/src/clock.rs", text), []);
        assert_eq!(rules(PLAIN, "fn f(t: T) { t.elapsed(); }"), [("clock", 1)]);
        assert_eq!(rules(PLAIN, "fn f() { SystemTime::now(); }"), [("clock", 1)]);
    }

    #[test]
    fn tasks_and_threads_are_red_outside_their_files() {
        assert_eq!(rules(PLAIN, "fn f() { tokio::spawn(g()); }"), [("spawn", 1)]);
        assert_eq!(rules(PLAIN, "use std::thread::{self, spawn};"), [("spawn", 1)]);
        assert_eq!(rules(PLAIN, "fn f() { thread::Builder::new(); }"), [("spawn", 1)]);
        assert_eq!(rules("crates/broker/src/worker.rs", "fn f() { tokio::spawn(g()); }"), []);
    }

    #[test]
    fn channels_without_a_bound_are_red() {
        assert_eq!(rules(PLAIN, "use tokio::sync::mpsc::unbounded_channel;"), [("unbounded", 1)]);
        let through = "use std::sync::mpsc;\nfn f() { mpsc::channel(); }";
        assert_eq!(rules(PLAIN, through), [("unbounded", 2)]);
        let tokio = "use tokio::sync::mpsc;\nfn f() { mpsc::channel(8); }";
        assert_eq!(rules(PLAIN, tokio), []);
    }

    #[test]
    fn a_door_that_uses_a_sibling_is_red() {
        let text = SourceFile::parse("crates/doors/src/text/mod.rs", "").unwrap();
        let bad = "use crate::{listener, text::session};\nfn f() { super::super::text::g(); }";
        let http = SourceFile::parse("crates/doors/src/http/routes.rs", bad).unwrap();
        let found = check(&[text, http]);
        let lines: Vec<_> = found.iter().map(|finding| (finding.rule, finding.line)).collect();
        assert_eq!(lines, [("door", 2), ("door", 1)]);
    }
}
