//! Every Rust file is compiled: reached from a crate's target by `mod`, or it is dead.
//!
//! The same walk learns which whole files are test code: those that a test module declares.

use std::collections::{BTreeMap, BTreeSet};

use super::Finding;
use crate::source::SourceFile;
use crate::workspace::Manifest;

/// Walks the modules of every target; marks test files, reports the dead.
pub(super) fn check(sources: &mut [SourceFile], manifests: &[Manifest]) -> Vec<Finding> {
    let index: BTreeMap<String, usize> =
        sources.iter().enumerate().map(|(index, file)| (file.path.clone(), index)).collect();
    let mut reached = BTreeSet::new();
    let mut open: Vec<(usize, bool, bool)> = roots(&index, manifests)
        .into_iter()
        .map(|index| (index, true, sources[index].is_test))
        .collect();
    let mut shipped = BTreeSet::new();
    while let Some((at, is_root, is_test)) = open.pop() {
        let is_news = if is_test { reached.insert(at) } else { shipped.insert(at) };
        if !is_news {
            continue;
        }
        let source = &sources[at];
        for module in &source.modules {
            let found = places(source, is_root, module).into_iter().find_map(|p| index.get(&p));
            open.extend(found.map(|next| (*next, false, is_test || module.is_test)));
        }
        let folder = source.path.rsplit_once('/').map_or("", |(folder, _)| folder);
        for file in included(source) {
            let found = index.get(&normal(&format!("{folder}/{file}")));
            open.extend(found.map(|next| (*next, false, is_test)));
        }
    }
    let mut findings = Vec::new();
    for (at, source) in sources.iter_mut().enumerate() {
        if shipped.contains(&at) {
            continue;
        }
        if reached.contains(&at) {
            source.is_test = true;
        } else if source.path.starts_with("crates/") {
            let message = "no target reaches this file: declare it with `mod`, or delete it";
            findings.push(Finding::new("dead-file", &source.path, 1, "", message.to_owned()));
        }
    }
    findings
}

fn roots(index: &BTreeMap<String, usize>, manifests: &[Manifest]) -> Vec<usize> {
    let mut roots = BTreeSet::new();
    for manifest in manifests {
        let folder = format!("crates/{}", manifest.folder);
        for target in &manifest.targets {
            roots.extend(index.get(&normal(&format!("{folder}/{target}"))));
        }
        for (path, at) in index {
            let Some(rest) = path.strip_prefix(&format!("{folder}/")) else { continue };
            if is_target(rest) {
                roots.insert(at);
            }
        }
    }
    roots.into_iter().copied().collect()
}

/// Cargo's own rules for finding targets.
fn is_target(rest: &str) -> bool {
    let parts: Vec<_> = rest.split('/').collect();
    match parts.as_slice() {
        ["build.rs"] | ["src", "lib.rs" | "main.rs"] => true,
        ["src", "bin", rest @ ..] | ["tests" | "examples" | "benches", rest @ ..] => {
            matches!(rest, [_] | [_, "main.rs"])
        }
        _ => false,
    }
}

/// Where `mod x;` may be found.
fn places(source: &SourceFile, is_root: bool, module: &crate::source::ModuleFile) -> Vec<String> {
    let (folder, file) = source.path.rsplit_once('/').unwrap_or(("", &source.path));
    let stem = file.trim_end_matches(".rs");
    let own = if is_root || stem == "mod" { folder.to_owned() } else { format!("{folder}/{stem}") };
    let within = module.within.iter().flat_map(|name| ["/", name]).collect::<String>();
    if let Some(path) = &module.path {
        let base = if module.within.is_empty() { folder } else { &own };
        return vec![normal(&format!("{base}{within}/{path}"))];
    }
    let base = format!("{own}{within}/{}", module.name.trim_start_matches("r#"));
    vec![format!("{base}.rs"), format!("{base}/mod.rs")]
}

fn included(source: &SourceFile) -> Vec<String> {
    let windows = source.tokens.windows(4);
    let calls = windows.filter(|window| {
        window[0].text == "include" && window[1].text == "!" && window[2].text == "("
    });
    calls.map(|window| window[3].text.trim_matches('"').to_owned()).collect()
}

fn normal(path: &str) -> String {
    let mut parts = Vec::new();
    for part in path.split('/') {
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

    fn tree(files: &[(&str, &str)]) -> (Vec<SourceFile>, Vec<Finding>) {
        let parse = |(path, text): &(&str, &str)| SourceFile::parse(path, text).unwrap();
        let mut sources: Vec<_> = files.iter().map(parse).collect();
        let manifest = "[package]\nname = \"courant-a\"\n[[bin]]\npath = \"odd/start.rs\"\n";
        let manifests = [Manifest::parse("a", manifest).unwrap()];
        let findings = check(&mut sources, &manifests);
        (sources, findings)
    }

    #[test]
    fn a_file_that_nothing_declares_is_red() {
        let (_, found) = tree(&[("crates/a/src/lib.rs", ""), ("crates/a/src/lost.rs", "")]);
        assert_eq!(found[0].path, "crates/a/src/lost.rs");
    }

    #[test]
    fn declared_files_are_alive() {
        let (_, found) = tree(&[
            (
                "crates/a/src/lib.rs",
                "mod one; mod two; mod three { mod four; }\n#[path = \"x/y.rs\"] mod z;",
            ),
            ("crates/a/src/one.rs", "mod deep;"),
            ("crates/a/src/one/deep.rs", ""),
            ("crates/a/src/two/mod.rs", "mod deep;"),
            ("crates/a/src/two/deep.rs", ""),
            ("crates/a/src/three/four.rs", ""),
            ("crates/a/src/x/y.rs", "include!(\"z.rs\");"),
            ("crates/a/src/x/z.rs", ""),
            ("crates/a/src/bin/tool.rs", ""),
            ("crates/a/tests/suite/main.rs", "mod case;"),
            ("crates/a/tests/suite/case.rs", ""),
            ("crates/a/odd/start.rs", ""),
        ]);
        assert_eq!(found, []);
    }

    #[test]
    fn a_file_declared_by_a_test_module_is_test_code() {
        let (sources, _) = tree(&[
            ("crates/a/src/lib.rs", "#[cfg(any(test, feature = \"testing\"))] mod suite; mod b;"),
            ("crates/a/src/suite.rs", ""),
            ("crates/a/src/b.rs", ""),
        ]);
        let is_test: Vec<_> = sources.iter().map(|source| source.is_test).collect();
        assert_eq!(is_test, [false, true, false]);
    }
}
