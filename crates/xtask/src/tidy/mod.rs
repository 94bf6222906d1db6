//! The house rules of STYLE.md that a program can check.
//!
//! Each rule is a function from the tree to findings; `exceptions.rs` holds the one table of what
//! is let through, as a ratchet: an exception that nothing needs any more is a finding itself.

mod arrows;
mod calls;
mod documents;
mod exceptions;
mod modules;
mod names;
mod sizes;

use std::path::Path;

use anyhow::{Context, Result, bail};

use crate::source::SourceFile;
use crate::workspace::{self, Manifest, TreeFile};

/// One breach of one rule.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Finding {
    /// The rule's name, as in STYLE.md and in the table of exceptions.
    rule: &'static str,
    path: String,
    line: usize,
    /// What exactly: a function, a crate, a word. What an exception names.
    item: String,
    /// How much, where the rule is about an amount.
    amount: Option<usize>,
    /// What is wrong, and what to do instead.
    message: String,
}

impl Finding {
    fn new(rule: &'static str, path: &str, line: usize, item: &str, message: String) -> Self {
        let (path, item) = (path.to_owned(), item.to_owned());
        Self { rule, path, line, item, amount: None, message }
    }

    fn amount(mut self, amount: usize) -> Self {
        self.amount = Some(amount);
        self
    }
}

/// All that the rules look at.
struct Tree {
    files: Vec<TreeFile>,
    manifests: Vec<Manifest>,
    sources: Vec<SourceFile>,
    /// (path, text) of every Markdown file.
    documents: Vec<(String, String)>,
    lock: String,
}

/// Checks the workspace and prints what it finds; fails if there is anything.
pub(crate) fn run() -> Result<()> {
    let (findings, notes) = check(&workspace::root()?)?;
    for note in &notes {
        eprintln!("note: {note}");
    }
    for finding in &findings {
        eprintln!("{}:{}: [{}] {}", finding.path, finding.line, finding.rule, finding.message);
    }
    if findings.is_empty() {
        return Ok(());
    }
    bail!("{} house rules broken (STYLE.md says why they exist)", findings.len())
}

/// (findings, remarks that fail nothing)
fn check(root: &Path) -> Result<(Vec<Finding>, Vec<String>)> {
    let (mut tree, mut findings) = Tree::read(root)?;
    findings.extend(modules::check(&mut tree.sources, &tree.manifests));
    findings.extend(arrows::check(&tree.manifests, &workspace::lock(&tree.lock)?));
    findings.extend(names::check(&tree.files, &tree.sources));
    findings.extend(sizes::check(&tree.files, &tree.sources));
    findings.extend(calls::check(&tree.sources));
    findings.extend(documents::check(&tree.files, &tree.documents));
    let mut findings = exceptions::apply(exceptions::EXCEPTIONS, findings);
    findings.sort_by(|a, b| (&a.path, a.line, a.rule).cmp(&(&b.path, b.line, b.rule)));
    findings.dedup();
    Ok((findings, sizes::notes(&tree.sources)))
}

impl Tree {
    /// Reads the tree; a Rust file that does not parse is a finding, not an error.
    fn read(root: &Path) -> Result<(Self, Vec<Finding>)> {
        let files = workspace::files(root)?;
        let (mut sources, mut documents) = (Vec::new(), Vec::new());
        let mut findings = Vec::new();
        for file in &files {
            let is_source = has_extension(&file.path, "rs");
            if !is_source && !has_extension(&file.path, "md") {
                continue;
            }
            let text = std::fs::read_to_string(root.join(&file.path))
                .with_context(|| format!("cannot read {}", file.path))?;
            if !is_source {
                documents.push((file.path.clone(), text));
                continue;
            }
            match SourceFile::parse(&file.path, &text) {
                Ok(source) => sources.push(source),
                Err(error) => {
                    let message = format!("{error:#}: repair it first");
                    findings.push(Finding::new("parse", &file.path, 1, "", message));
                }
            }
        }
        let lock = std::fs::read_to_string(root.join("Cargo.lock")).context("no Cargo.lock")?;
        let manifests = workspace::manifests(root)?;
        Ok((Self { files, manifests, sources, documents, lock }, findings))
    }
}

fn has_extension(path: &str, extension: &str) -> bool {
    Path::new(path).extension().is_some_and(|found| found == extension)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The rules hold here and now: tidy is an ordinary test, too.
    #[test]
    fn the_workspace_is_tidy() {
        let (findings, _) = check(&workspace::root().unwrap()).unwrap();
        let lines: Vec<_> = findings
            .iter()
            .map(|f| format!("{}:{}: [{}] {}", f.path, f.line, f.rule, f.message))
            .collect();
        assert!(lines.is_empty(), "{}", lines.join("\n"));
    }
}
