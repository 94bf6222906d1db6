//! Which crate may depend on which, and what the pure leaves may depend on at all.
//!
//! Development dependencies follow the same arrows. The wall is only as good as what stands behind
//! it, so the leaves are also checked through the lock file, dependencies of dependencies included.

use std::collections::{BTreeMap, BTreeSet};

use super::Finding;
use crate::workspace::{Dependency, Manifest, TOOLS};

/// Crate → the crates it may name.
const ARROWS: &[(&str, &[&str])] = &[
    ("engine", &[]),
    ("storage", &[]),
    ("wire", &[]),
    ("broker", &["engine", "storage"]),
    ("doors", &["broker", "wire"]),
    ("cluster", &["broker", "storage"]),
    ("server", &["doors", "cluster", "broker", "storage"]),
    ("client", &["wire"]),
    ("bench", &["client", "wire"]),
    ("e2e", &["client", "wire", "forgetful"]),
    ("forgetful", &[]),
    ("sim", &["cluster", "broker", "engine", "storage", "wire"]),
    ("xtask", &[]),
];

/// Pure leaf → the only packages it may ship with.
const PURE: &[(&str, &[&str])] = &[
    ("engine", &["hashbrown", "foldhash", "thiserror"]),
    ("wire", &["memchr", "serde", "serde_json", "thiserror"]),
];

/// Leaf → what must not stand behind it, however far.
const NEVER_BEHIND: &[(&str, &[&str])] = &[
    ("engine", &["tokio", "mio", "rand", "rand_core", "getrandom", "libc", "rustix", "socket2"]),
    ("wire", &["tokio", "mio", "rustix", "socket2", "rand"]),
    ("storage", &["tokio", "mio", "socket2"]),
];

/// Features with faults and simulations in them: (crate, feature).
const TEST_FEATURES: &[(&str, &str)] = &[("storage", "testing")];

/// Checks every manifest.
pub(super) fn check(manifests: &[Manifest], lock: &BTreeMap<String, Vec<String>>) -> Vec<Finding> {
    let folders: BTreeMap<&str, &str> = manifests
        .iter()
        .map(|manifest| (manifest.package.as_str(), manifest.folder.as_str()))
        .collect();
    let mut findings = Vec::new();
    for manifest in manifests {
        let Some(allowed) = row(ARROWS, &manifest.folder) else {
            let message = "this crate is not in the table of arrows: say what it may depend on, in \
                           crates/xtask/src/tidy/arrows.rs";
            findings.push(at(manifest, 1, "arrow", &manifest.folder, message.to_owned()));
            continue;
        };
        for dependency in &manifest.dependencies {
            match folders.get(dependency.package.as_str()) {
                Some(target) => ours(manifest, dependency, target, allowed, &mut findings),
                None => theirs(manifest, dependency, lock, &mut findings),
            }
        }
    }
    findings
}

fn ours(
    manifest: &Manifest,
    dependency: &Dependency,
    target: &str,
    allowed: &[&str],
    findings: &mut Vec<Finding>,
) {
    let from = &manifest.folder;
    if !allowed.contains(&target) {
        let message = format!(
            "{from} must not depend on {target}: arrows go down ({from} → {}). Move the shared \
             part below both, or let {from} own a trait that a crate above fills",
            if allowed.is_empty() { "none of ours".to_owned() } else { allowed.join(", ") }
        );
        findings.push(at(manifest, dependency.line, "arrow", target, message));
    }
    let is_shipped = !TOOLS.contains(&from.as_str()) && !dependency.is_dev;
    for (_, feature) in TEST_FEATURES.iter().filter(|(name, _)| *name == target) {
        if is_shipped && dependency.features.iter().any(|named| named == feature) {
            let message = format!(
                "feature `{feature}` of {target} holds seeded defects and simulations: only \
                 [dev-dependencies] may turn it on"
            );
            findings.push(at(manifest, dependency.line, "test-feature", target, message));
        }
    }
}

fn theirs(
    manifest: &Manifest,
    dependency: &Dependency,
    lock: &BTreeMap<String, Vec<String>>,
    findings: &mut Vec<Finding>,
) {
    if dependency.is_dev {
        return;
    }
    let (from, package) = (&manifest.folder, &dependency.package);
    let allowed = row(PURE, from);
    if allowed.is_some_and(|allowed| !allowed.contains(&package.as_str())) {
        let message = format!(
            "{from} is a pure leaf: `{package}` is not on its list ({}). Do that work in a crate \
             above and hand in the result",
            allowed.unwrap_or_default().join(", ")
        );
        findings.push(at(manifest, dependency.line, "pure", package, message));
        return;
    }
    let behind = closure(package, lock);
    for never in row(NEVER_BEHIND, from).unwrap_or_default() {
        if behind.contains(never) {
            let message = format!(
                "`{package}` brings `{never}` into {from}: turn off the feature that needs it, or \
                 do without `{package}`"
            );
            findings.push(at(manifest, dependency.line, "pure", never, message));
        }
    }
}

fn closure<'a>(package: &'a str, lock: &'a BTreeMap<String, Vec<String>>) -> BTreeSet<&'a str> {
    let mut found = BTreeSet::from([package]);
    let mut open = vec![package];
    while let Some(name) = open.pop() {
        for next in lock.get(name).into_iter().flatten() {
            if found.insert(next) {
                open.push(next);
            }
        }
    }
    found
}

fn row<'a>(table: &'a [(&str, &'a [&'a str])], name: &str) -> Option<&'a [&'a str]> {
    table.iter().find(|(from, _)| *from == name).map(|(_, row)| *row)
}

fn at(
    manifest: &Manifest,
    line: usize,
    rule: &'static str,
    item: &str,
    message: String,
) -> Finding {
    Finding::new(rule, &format!("crates/{}/Cargo.toml", manifest.folder), line, item, message)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workspace;

    fn manifest(folder: &str, package: &str, rest: &str) -> Manifest {
        Manifest::parse(folder, &format!("[package]\nname = \"{package}\"\n{rest}")).unwrap()
    }

    fn rules(manifests: &[Manifest], lock: &str) -> Vec<(&'static str, usize)> {
        let found = check(manifests, &workspace::lock(lock).unwrap());
        found.iter().map(|finding| (finding.rule, finding.line)).collect()
    }

    fn two(from: &str, rest: &str) -> [Manifest; 2] {
        [manifest("storage", "courant-storage", ""), manifest(from, "courant-from", rest)]
    }

    #[test]
    fn an_arrow_that_goes_up_is_red_in_every_section() {
        for section in ["dependencies", "dev-dependencies", "build-dependencies"] {
            let bad = format!("[{section}]\ncourant-storage.workspace = true\n");
            assert_eq!(rules(&two("engine", &bad), ""), [("arrow", 4)], "{section}");
            assert_eq!(rules(&two("broker", &bad), ""), [], "{section}");
        }
    }

    #[test]
    fn a_rename_hides_nothing() {
        let bad = "[dependencies]\ns = { package = \"courant-storage\", path = \"../storage\" }\n";
        assert_eq!(rules(&two("doors", bad), ""), [("arrow", 4)]);
    }

    #[test]
    fn a_crate_without_a_row_is_red() {
        assert_eq!(rules(&[manifest("extras", "courant-extras", "")], ""), [("arrow", 1)]);
    }

    #[test]
    fn test_features_stay_in_dev_dependencies() {
        let line = "courant-storage = { workspace = true, features = [\"testing\"] }\n";
        let bad = format!("[dependencies]\n{line}");
        assert_eq!(rules(&two("broker", &bad), ""), [("test-feature", 4)]);
        let good = format!("[dev-dependencies]\n{line}");
        assert_eq!(rules(&two("broker", &good), ""), []);
    }

    #[test]
    fn a_pure_leaf_ships_with_its_list_only() {
        let bad = manifest("engine", "courant-engine", "[dependencies]\nrand = \"1\"\n");
        assert_eq!(rules(&[bad], ""), [("pure", 4)]);
        let test = manifest("engine", "courant-engine", "[dev-dependencies]\nrand = \"1\"\n");
        assert_eq!(rules(&[test], ""), []);
    }

    #[test]
    fn nothing_impure_stands_behind_a_leaf() {
        let leaf = manifest("engine", "courant-engine", "[dependencies]\nhashbrown = \"1\"\n");
        let lock = "[[package]]\nname = \"hashbrown\"\ndependencies = [\"ahash 0.8.1\"]\n\
                    [[package]]\nname = \"ahash\"\ndependencies = [\"getrandom\"]\n";
        assert_eq!(rules(&[leaf], lock), [("pure", 4)]);
    }
}
