//! The tree as the rules see it: the files that git would commit, and the manifests of the crates.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

/// Crates that are never shipped: they measure, test or build, so some rules leave them alone.
pub(crate) const TOOLS: &[&str] = &["bench", "e2e", "forgetful", "sim", "xtask"];

/// A file that is, or could be, committed.
#[derive(Debug)]
pub(crate) struct TreeFile {
    /// From the root, with `/`.
    pub(crate) path: String,
    pub(crate) bytes: u64,
}

/// One dependency in a manifest.
#[derive(Debug)]
pub(crate) struct Dependency {
    /// The package, even if it is renamed.
    pub(crate) package: String,
    pub(crate) is_dev: bool,
    pub(crate) features: Vec<String>,
    /// Line in the manifest.
    pub(crate) line: usize,
}

/// One crate of the workspace.
#[derive(Debug)]
pub(crate) struct Manifest {
    /// The name of its folder in `crates/`, which is its name in the rules.
    pub(crate) folder: String,
    pub(crate) package: String,
    pub(crate) dependencies: Vec<Dependency>,
    /// Files named by `path =` of a target, from the folder.
    pub(crate) targets: Vec<String>,
}

/// The root of the workspace: the nearest folder above whose manifest has `[workspace]`.
pub(crate) fn root() -> Result<PathBuf> {
    let start = std::env::current_dir().context("no current folder")?;
    let here = start.ancestors().find(|folder| is_root(folder));
    let built = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().find(|folder| is_root(folder));
    here.or(built).map(Path::to_path_buf).context("not in the workspace: no Cargo.toml above")
}

fn is_root(folder: &Path) -> bool {
    std::fs::read_to_string(folder.join("Cargo.toml"))
        .is_ok_and(|text| text.lines().any(|line| line.trim() == "[workspace]"))
}

/// All files git tracks or would track; without git, all files outside `target`.
pub(crate) fn files(root: &Path) -> Result<Vec<TreeFile>> {
    let mut paths = match git_files(root) {
        Some(paths) => paths,
        None => walked_files(root)?,
    };
    paths.sort();
    paths.dedup();
    let mut files = Vec::new();
    for path in paths {
        // Tracked and deleted, or replaced by a folder: not in the tree any more.
        let Ok(metadata) = std::fs::symlink_metadata(root.join(&path)) else { continue };
        if metadata.is_file() {
            files.push(TreeFile { path, bytes: metadata.len() });
        }
    }
    Ok(files)
}

fn git_files(root: &Path) -> Option<Vec<String>> {
    let output = Command::new("git")
        .current_dir(root)
        .args(["ls-files", "--cached", "--others", "--exclude-standard", "-z"])
        .stderr(Stdio::null())
        .output()
        .ok()?;
    let text = String::from_utf8(output.stdout).ok().filter(|_| output.status.success())?;
    Some(text.split('\0').filter(|path| !path.is_empty()).map(str::to_owned).collect())
}

fn walked_files(root: &Path) -> Result<Vec<String>> {
    let mut found = Vec::new();
    let mut folders = vec![root.to_path_buf()];
    while let Some(folder) = folders.pop() {
        let entries = std::fs::read_dir(&folder)
            .with_context(|| format!("cannot list {}", folder.display()))?;
        for entry in entries {
            let entry = entry?;
            let name = entry.file_name();
            if entry.file_type()?.is_dir() {
                if name != "target" && name != ".git" {
                    folders.push(entry.path());
                }
            } else if let Ok(path) = entry.path().strip_prefix(root) {
                found.push(path.to_string_lossy().replace('\\', "/"));
            }
        }
    }
    Ok(found)
}

/// The manifests of `crates/*`, by folder.
pub(crate) fn manifests(root: &Path) -> Result<Vec<Manifest>> {
    let folder = root.join("crates");
    let entries = std::fs::read_dir(&folder).with_context(|| format!("no {}", folder.display()))?;
    let mut manifests = Vec::new();
    for entry in entries {
        let entry = entry?;
        let path = entry.path().join("Cargo.toml");
        if let Ok(text) = std::fs::read_to_string(&path) {
            let name = entry.file_name().to_string_lossy().into_owned();
            manifests.push(Manifest::parse(&name, &text)?);
        }
    }
    manifests.sort_by(|a, b| a.folder.cmp(&b.folder));
    Ok(manifests)
}

impl Manifest {
    /// Reads what the rules need from a manifest's text.
    pub(crate) fn parse(folder: &str, text: &str) -> Result<Self> {
        let table: toml::Table =
            text.parse().with_context(|| format!("crates/{folder}/Cargo.toml is not TOML"))?;
        let package = table.get("package").and_then(|package| package.get("name"));
        let Some(package) = package.and_then(toml::Value::as_str) else {
            bail!("crates/{folder}/Cargo.toml names no package");
        };
        let mut dependencies = Vec::new();
        collect(&table, text, &mut dependencies);
        for target in table.get("target").and_then(toml::Value::as_table).into_iter().flatten() {
            if let Some(table) = target.1.as_table() {
                collect(table, text, &mut dependencies);
            }
        }
        Ok(Self {
            folder: folder.to_owned(),
            package: package.to_owned(),
            dependencies,
            targets: target_paths(&table),
        })
    }
}

fn collect(table: &toml::Table, text: &str, into: &mut Vec<Dependency>) {
    for (section, is_dev) in
        [("dependencies", false), ("build-dependencies", false), ("dev-dependencies", true)]
    {
        let entries = table.get(section).and_then(toml::Value::as_table);
        for (name, value) in entries.into_iter().flatten() {
            let package = value.get("package").and_then(toml::Value::as_str).unwrap_or(name);
            let features = value.get("features").and_then(toml::Value::as_array);
            let features = features.into_iter().flatten().filter_map(toml::Value::as_str);
            into.push(Dependency {
                package: package.to_owned(),
                is_dev,
                features: features.map(str::to_owned).collect(),
                line: line_of(text, section, name),
            });
        }
    }
}

fn line_of(text: &str, section: &str, name: &str) -> usize {
    let mut in_section = false;
    for (index, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.starts_with('[') {
            in_section = line.contains(section)
                && (section != "dependencies" || !line.contains("-dependencies"));
        }
        let rest = line.strip_prefix(name).unwrap_or_default();
        if in_section && rest.starts_with([' ', '.', '=']) {
            return index + 1;
        }
    }
    1
}

fn target_paths(table: &toml::Table) -> Vec<String> {
    let mut paths = Vec::new();
    for section in ["lib", "bin", "test", "example", "bench"] {
        let targets = match table.get(section) {
            Some(toml::Value::Array(targets)) => targets.as_slice(),
            Some(target) => std::slice::from_ref(target),
            None => &[],
        };
        for target in targets {
            paths.extend(target.get("path").and_then(toml::Value::as_str).map(str::to_owned));
        }
    }
    paths
}

/// The packages that each package of the lock file names, by name; versions taken together.
pub(crate) fn lock(text: &str) -> Result<BTreeMap<String, Vec<String>>> {
    let table: toml::Table = text.parse().context("Cargo.lock is not TOML")?;
    let mut packages = BTreeMap::<String, Vec<String>>::new();
    for package in table.get("package").and_then(toml::Value::as_array).into_iter().flatten() {
        let Some(name) = package.get("name").and_then(toml::Value::as_str) else { continue };
        let named = package.get("dependencies").and_then(toml::Value::as_array);
        let named = named.into_iter().flatten().filter_map(toml::Value::as_str);
        let named = named.filter_map(|entry| entry.split(' ').next()).map(str::to_owned);
        packages.entry(name.to_owned()).or_default().extend(named);
    }
    Ok(packages)
}
