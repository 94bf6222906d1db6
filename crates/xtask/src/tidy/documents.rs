//! Documents: short enough to be read, with a title, and true about the tree they describe.

use std::collections::BTreeSet;

use super::Finding;
use crate::workspace::TreeFile;

/// (path, or its folder with a `/` at the end; lines at most)
const LINES_MAX: &[(&str, usize)] = &[
    ("README.md", 120),
    ("ARCHITECTURE.md", 300),
    ("STYLE.md", 150),
    ("CONTRIBUTING.md", 60),
    ("docs/concepts/", 100),
];

/// Documents whose paths in backticks must exist.
const GUIDES: &[&str] = &["ARCHITECTURE.md", "README.md", "CONTRIBUTING.md", "STYLE.md"];

/// Endings that make a word in backticks a file.
const ENDINGS: &[&str] = &[".rs", ".md", ".toml", ".proto", ".sh"];

/// Checks every document.
pub(super) fn check(files: &[TreeFile], documents: &[(String, String)]) -> Vec<Finding> {
    let paths: BTreeSet<&str> = files.iter().map(|file| file.path.as_str()).collect();
    let mut findings = Vec::new();
    for (path, text) in documents {
        title(path, text, &mut findings);
        length(path, text, &mut findings);
        links(path, text, &paths, &mut findings);
        if GUIDES.contains(&path.as_str()) {
            mentions(path, text, &paths, &mut findings);
        }
    }
    findings
}

fn title(path: &str, text: &str, findings: &mut Vec<Finding>) {
    let first = text.lines().find(|line| !line.trim().is_empty()).unwrap_or_default();
    if !first.starts_with("# ") {
        let message = "no title: begin with `# ` and what the page is about".to_owned();
        findings.push(Finding::new("title", path, 1, "", message));
    }
}

fn length(path: &str, text: &str, findings: &mut Vec<Finding>) {
    let row = LINES_MAX
        .iter()
        .find(|(name, _)| *name == path || (name.ends_with('/') && path.starts_with(name)));
    let lines = text.lines().count();
    if let Some((_, most)) = row.filter(|(_, most)| lines > *most) {
        let message = format!("{lines} lines, the limit is {most}: say less, or move a part out");
        findings.push(Finding::new("document-size", path, most + 1, "", message).amount(lines));
    }
}

fn links(path: &str, text: &str, paths: &BTreeSet<&str>, findings: &mut Vec<Finding>) {
    let folder = path.rsplit_once('/').map_or("", |(folder, _)| folder);
    for (number, line) in prose(text) {
        for rest in line.split("](").skip(1) {
            let Some((target, _)) = rest.split_once(')') else { continue };
            let target = target.split(['#', ' ']).next().unwrap_or_default();
            if target.is_empty() || target.contains("://") || target.starts_with("mailto:") {
                continue;
            }
            if !exists(&joined(folder, target), paths) {
                let message = format!("the link to `{target}` leads nowhere: correct or drop it");
                findings.push(Finding::new("link", path, number, target, message));
            }
        }
    }
}

fn mentions(path: &str, text: &str, paths: &BTreeSet<&str>, findings: &mut Vec<Finding>) {
    for (number, line) in prose(text) {
        for word in line.split('`').skip(1).step_by(2) {
            if names_a_path(word, paths) && !is_there(word, paths) {
                let message = format!(
                    "`{word}` is not in the tree: a guide that lies is worse than none; correct it"
                );
                findings.push(Finding::new("path", path, number, word, message));
            }
        }
    }
}

/// Lines outside fenced blocks, from 1.
fn prose(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut in_block = false;
    text.lines().enumerate().filter_map(move |(index, line)| {
        let is_fence = line.trim_start().starts_with("```");
        in_block ^= is_fence;
        (!in_block && !is_fence).then_some((index + 1, line))
    })
}

fn names_a_path(word: &str, paths: &BTreeSet<&str>) -> bool {
    let is_plain =
        !word.is_empty() && word.chars().all(|c| c.is_ascii_alphanumeric() || "._-/".contains(c));
    if !is_plain || word.starts_with('/') {
        return false;
    }
    let is_file = ENDINGS.iter().any(|ending| word.len() > ending.len() && word.ends_with(ending));
    let in_folder = word.split_once('/').is_some_and(|(top, _)| {
        let top = format!("{top}/");
        paths.iter().any(|path| path.starts_with(&top))
    });
    is_file || in_folder
}

/// A whole path, or the end of one: guides may say `wal/frame.rs`, or `engine/src`.
fn is_there(word: &str, paths: &BTreeSet<&str>) -> bool {
    let tail = format!("/{}", word.trim_end_matches('/'));
    exists(word, paths)
        || exists(&format!("crates{tail}"), paths)
        || paths.iter().any(|path| path.ends_with(&tail))
}

fn exists(path: &str, paths: &BTreeSet<&str>) -> bool {
    let path = path.trim_end_matches('/');
    let inside = format!("{path}/");
    path.is_empty()
        || paths.contains(path)
        || paths.iter().any(|candidate| candidate.starts_with(&inside))
}

fn joined(folder: &str, target: &str) -> String {
    let mut parts: Vec<&str> = folder.split('/').filter(|part| !part.is_empty()).collect();
    if target.starts_with('/') {
        parts.clear();
    }
    for part in target.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    parts.join("/")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules(path: &str, text: &str) -> Vec<(&'static str, usize)> {
        let names = ["README.md", "docs/format.md", "crates/storage/src/wal/frame.rs"];
        let files = names.map(|path| TreeFile { path: path.to_owned(), bytes: 1 });
        let found = check(&files, &[(path.to_owned(), text.to_owned())]);
        found.iter().map(|finding| (finding.rule, finding.line)).collect()
    }

    #[test]
    fn a_document_without_a_title_is_red() {
        assert_eq!(rules("docs/a.md", "Text.\n"), [("title", 1)]);
        assert_eq!(rules("docs/a.md", "\n# Text\n"), []);
    }

    #[test]
    fn a_document_that_is_too_long_is_red() {
        let text = |lines: usize| format!("# T\n{}", "x\n".repeat(lines - 1));
        assert_eq!(rules("README.md", &text(120)), []);
        assert_eq!(rules("README.md", &text(121)), [("document-size", 121)]);
        assert_eq!(rules("docs/concepts/a.md", &text(101)), [("document-size", 101)]);
    }

    #[test]
    fn a_path_in_a_guide_that_does_not_exist_is_red() {
        let text = |word: &str| format!("# T\n\nSee `{word}`.\n");
        for bad in ["crates/storage/src/gone.rs", "wal/gone.rs", "docs/gone", "GONE.md"] {
            assert_eq!(rules("ARCHITECTURE.md", &text(bad)), [("path", 3)], "{bad}");
        }
        for good in [
            "crates/storage/src/wal/frame.rs",
            "wal/frame.rs",
            "frame.rs",
            "storage/src",
            "docs/",
            "queue:orders",
            "/v1/queues",
            "a.b",
            "cargo xtask ci",
            ".rs",
        ] {
            assert_eq!(rules("ARCHITECTURE.md", &text(good)), [], "{good}");
        }
    }

    #[test]
    fn a_link_that_leads_nowhere_is_red() {
        assert_eq!(rules("docs/a.md", "# T\n[x](gone.md)\n"), [("link", 2)]);
        assert_eq!(
            rules("docs/a.md", "# T\n[x](format.md#y) [z](../README.md) [w](https://w)\n"),
            []
        );
    }
}
