//! Small, and measured: columns, lines of a function, code lines of a file, bytes of a blob.

use super::{Finding, has_extension};
use crate::source::SourceFile;
use crate::workspace::TreeFile;

const COLUMNS_MAX: usize = 100;
const FUNCTION_LINES_MAX: usize = 70;
const FILE_LINES_NORM: usize = 400;
const FILE_LINES_MAX: usize = 800;
const BLOB_BYTES_MAX: u64 = 256 * 1024;

/// Checks every file.
pub(super) fn check(files: &[TreeFile], sources: &[SourceFile]) -> Vec<Finding> {
    let mut findings: Vec<_> = files.iter().filter_map(blob).collect();
    for source in sources.iter().filter(|source| !is_generated(source)) {
        columns(source, &mut findings);
        functions(source, &mut findings);
        let lines = source.code_lines();
        if lines > FILE_LINES_MAX {
            let message = format!(
                "{lines} code lines, the limit is {FILE_LINES_MAX}: split it by noun into a folder"
            );
            findings.push(Finding::new("file-size", &source.path, 1, "", message).amount(lines));
        }
    }
    findings
}

/// Files above the norm, which is not yet a breach.
pub(super) fn notes(sources: &[SourceFile]) -> Vec<String> {
    let sized = sources.iter().map(|source| (source.code_lines(), &source.path));
    let mut above: Vec<_> = sized.filter(|(lines, _)| *lines > FILE_LINES_NORM).collect();
    above.sort_unstable_by(|a, b| b.cmp(a));
    let note = |(lines, path)| format!("{path}: {lines} code lines, the norm is {FILE_LINES_NORM}");
    above.into_iter().map(note).collect()
}

fn blob(file: &TreeFile) -> Option<Finding> {
    let is_big = file.bytes > BLOB_BYTES_MAX;
    is_big.then(|| {
        let message = format!(
            "{} KiB, the limit is {}: a repository keeps it for ever; generate it, or shrink it",
            file.bytes / 1024,
            BLOB_BYTES_MAX / 1024
        );
        let amount = usize::try_from(file.bytes).unwrap_or(usize::MAX);
        Finding::new("blob", &file.path, 1, "", message).amount(amount)
    })
}

fn columns(source: &SourceFile, findings: &mut Vec<Finding>) {
    for (index, line) in source.lines.iter().enumerate() {
        let columns = line.chars().count();
        // An address can't be broken.
        if columns > COLUMNS_MAX && !line.contains("https://") {
            let message = format!("{columns} columns, the limit is {COLUMNS_MAX}: break the line");
            findings.push(
                Finding::new("columns", &source.path, index + 1, "", message).amount(columns),
            );
        }
    }
}

fn functions(source: &SourceFile, findings: &mut Vec<Finding>) {
    for function in source.functions.iter().filter(|found| found.lines > FUNCTION_LINES_MAX) {
        let message = format!(
            "fn {} has {} lines, the limit is {FUNCTION_LINES_MAX}: keep the branching here and \
             move straight-line parts into functions with a name",
            function.name, function.lines
        );
        let finding =
            Finding::new("function-size", &source.path, function.line, &function.name, message);
        findings.push(finding.amount(function.lines));
    }
}

fn is_generated(source: &SourceFile) -> bool {
    has_extension(&source.path, "rs")
        && source.lines.iter().take(3).any(|line| line.contains("@generated"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules(text: &str) -> Vec<(&'static str, usize)> {
        let source = SourceFile::parse("crates/engine/src/a.rs", text).unwrap();
        check(&[], &[source]).iter().map(|finding| (finding.rule, finding.line)).collect()
    }

    #[test]
    fn the_101st_column_is_red_and_counted_in_characters() {
        assert_eq!(rules(&format!("// {}", "é".repeat(97))), []);
        assert_eq!(rules(&format!("\n// {}", "é".repeat(98))), [("columns", 2)]);
    }

    #[test]
    fn the_71st_line_of_a_function_is_red() {
        let body = |lines: usize| format!("\nfn f() {{\n{}}}\n", "    g();\n".repeat(lines - 2));
        assert_eq!(rules(&body(70)), []);
        assert_eq!(rules(&body(71)), [("function-size", 2)]);
        let method = format!("struct A;\nimpl A {{{}}}", body(71));
        assert_eq!(rules(&method), [("function-size", 3)]);
    }

    #[test]
    fn the_801st_code_line_is_red_and_tests_do_not_count() {
        let code = "const A: u8 = 0;\n".repeat(800);
        let tests = format!("#[cfg(test)]\nmod tests {{\n{code}}}\n");
        assert_eq!(rules(&format!("{code}\n// why\n{tests}")), []);
        assert_eq!(rules(&format!("{code}const B: u8 = 0;\n")), [("file-size", 1)]);
    }

    #[test]
    fn a_file_above_the_norm_is_noted() {
        let text = "const A: u8 = 0;\n".repeat(401);
        let source = SourceFile::parse("crates/engine/src/a.rs", &text).unwrap();
        assert_eq!(notes(&[source]).len(), 1);
    }

    #[test]
    fn a_big_blob_is_red() {
        let file = |bytes| TreeFile { path: "docs/film.gif".to_owned(), bytes };
        assert_eq!(check(&[file(BLOB_BYTES_MAX)], &[]).len(), 0);
        assert_eq!(check(&[file(BLOB_BYTES_MAX + 1)], &[]).len(), 1);
    }
}
