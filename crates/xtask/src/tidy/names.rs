//! Names of files and of things: a file is a noun, and one word stands for one idea.

use super::Finding;
use crate::source::SourceFile;
use crate::workspace::{TOOLS, TreeFile};

/// Names for a bag of things that have no name.
const BAGS: &[&str] = &["util", "common", "helper", "manager", "misc", "base", "types"];

/// (word, the word of the glossary). Words that other protocols use are at home in their doors.
const WORDS: &[(&str, &str)] = &[
    ("vhost", "namespace"),
    ("tenant", "namespace"),
    ("partition", "shard"),
    ("receipt", "handle"),
    ("mailbox", "queue"),
    ("util", "the noun it is about"),
    ("utils", "the noun it is about"),
    ("helper", "the noun it is about"),
    ("helpers", "the noun it is about"),
    ("manager", "the noun it manages"),
    ("misc", "the noun it is about"),
];

/// Folders that speak the words of somebody else's protocol.
const FOREIGN: &[&str] = &["amqp", "mqtt", "grpc", "http", "nats", "rivals", "sql"];

/// Checks file names, then declared names in shipped crates.
pub(super) fn check(files: &[TreeFile], sources: &[SourceFile]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for file in files {
        file_name(&file.path, &mut findings);
    }
    for source in sources {
        let is_foreign = source.path.split('/').any(|part| FOREIGN.contains(&part));
        if !is_foreign && !TOOLS.contains(&source.crate_folder()) && !source.is_test {
            words(source, &mut findings);
        }
    }
    findings
}

fn file_name(path: &str, findings: &mut Vec<Finding>) {
    for part in path.split('/') {
        let stem = part.split('.').find(|stem| !stem.is_empty()).unwrap_or_default();
        let is_bag =
            |word: &str| BAGS.iter().any(|bag| word == *bag || word.strip_suffix('s') == Some(bag));
        let mut words = stem.split(['_', '-']);
        if let Some(word) = words.find(|word| is_bag(&word.to_lowercase())) {
            let message = format!(
                "`{word}` names a bag, not a thing: name the file for the one thing it defines"
            );
            findings.push(Finding::new("file-name", path, 1, word, message));
        }
    }
}

fn words(source: &SourceFile, findings: &mut Vec<Finding>) {
    for name in &source.names {
        if source.in_test(name.line) {
            continue;
        }
        let parts = split(&name.text);
        for (word, instead) in WORDS {
            if parts.iter().any(|part| part == word) {
                let message = format!("`{}`: say {instead}, not {word}", name.text);
                findings.push(Finding::new("word", &source.path, name.line, &name.text, message));
            }
        }
    }
}

/// `OpenBatch`, `open_batch` and `OPEN_BATCH` are `open`, `batch`.
fn split(name: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut after_lower = false;
    for letter in name.chars() {
        if letter == '_' || (letter.is_uppercase() && after_lower) {
            words.push(String::new());
        }
        after_lower = letter.is_lowercase() || letter.is_numeric();
        if let Some(word) = words.last_mut().filter(|_| letter != '_') {
            word.extend(letter.to_lowercase());
        }
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file_rules(path: &str) -> usize {
        check(&[TreeFile { path: path.to_owned(), bytes: 1 }], &[]).len()
    }

    fn word_lines(path: &str, text: &str) -> Vec<usize> {
        let source = SourceFile::parse(path, text).unwrap();
        check(&[], &[source]).iter().map(|finding| finding.line).collect()
    }

    #[test]
    fn bags_are_red_as_files_folders_and_suffixes() {
        assert_eq!(file_rules("crates/engine/src/util.rs"), 1);
        assert_eq!(file_rules("crates/engine/src/queue_helpers.rs"), 1);
        assert_eq!(file_rules("crates/e2e/tests/common/mod.rs"), 1);
        assert_eq!(file_rules("crates/engine/src/queue.rs"), 0);
        assert_eq!(file_rules("crates/wire/src/type.rs"), 0);
    }

    #[test]
    fn words_outside_the_glossary_are_red_where_declared() {
        let path = "crates/engine/src/a.rs";
        assert_eq!(word_lines(path, "struct A {\n    mailbox: u8,\n}"), [2]);
        assert_eq!(word_lines(path, "struct VhostName;"), [1]);
        assert_eq!(word_lines(path, "fn f(x: u8) {\n    let my_tenant = x;\n}"), [2]);
        assert!(word_lines(path, "fn f(x: Error) { x.mailbox(); }").is_empty());
        assert!(word_lines("crates/doors/src/amqp/a.rs", "struct VhostName;").is_empty());
    }

    #[test]
    fn names_are_split_at_case_and_underscore() {
        assert_eq!(split("OpenBatch"), ["open", "batch"]);
        assert_eq!(split("LEASE_MS_MAX"), ["lease", "ms", "max"]);
    }
}
