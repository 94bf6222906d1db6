//! The configuration: one table of options, four places to set them, one way to read them.
//!
//! 1. `options.rs` is the table. Flags of `courant serve`, `COURANT_…` variables, the keys of a
//!    file and `docs/config.md` are all made from it.
//! 2. [`load`] begins with the defaults, lays the file over them (`file.rs`, `expand.rs`), then the
//!    environment, then the flags. The later wins.
//! 3. Users and roles are two lists that only a file has (`people.rs`).
//! 4. What is wrong is gathered, not stopped at: each fault names the place, the key, the value and
//!    what is allowed (`fault.rs`). With one fault there is no configuration.
//!
//! A file is read only if it is named. It is at most [`FILE_BYTES_MAX`] long.

mod environment;
mod expand;
mod fault;
mod field;
mod file;
mod flags;
mod node;
mod options;
mod people;
pub(crate) mod polestar;
mod settings;

use std::fmt;
use std::path::{Path, PathBuf};

pub(crate) use environment::Environment;
pub(crate) use fault::{Fault, Faults};
pub(crate) use flags::Flags;
pub(crate) use options::{Change, OPTIONS, Row};
pub(crate) use settings::{LogFormat, Settings};

use courant::Access;
use node::Node;

/// Longest file of a configuration, and longest file that a value may be taken from.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// Where a value came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    /// Nobody said anything.
    Default,
    /// A file of the configuration.
    File(PathBuf),
    /// A variable of the environment.
    Variable(String),
    /// A flag of the command line.
    Flag(String),
}

impl fmt::Display for Origin {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => formatter.write_str("default"),
            Self::File(path) => write!(formatter, "{}", path.display()),
            Self::Variable(name) => write!(formatter, "environment {name}"),
            Self::Flag(name) => write!(formatter, "flag --{name}"),
        }
    }
}

/// Settings, and where each came from.
#[derive(Clone, Debug)]
pub(crate) struct Config {
    /// What is in force.
    pub(crate) settings: Settings,
    /// For each row of [`OPTIONS`].
    pub(crate) origins: Vec<Origin>,
}

/// What is read: the same places at the start and at each reload.
#[derive(Clone, Debug)]
pub(crate) struct Sources {
    /// What was typed.
    pub(crate) flags: Flags,
    /// The environment as it was at the start.
    pub(crate) environment: Environment,
}

impl Sources {
    /// The file that is named, if one is.
    pub(crate) fn file(&self) -> Option<PathBuf> {
        let named = self.environment.get(options::FILE_VARIABLE).map(PathBuf::from);
        self.flags.file.clone().or(named.filter(|path| !path.as_os_str().is_empty()))
    }

    /// Reads all of them.
    ///
    /// # Errors
    /// With everything that is wrong; nothing of it holds then.
    pub(crate) fn load(&self) -> Result<Config, Faults> {
        let mut load = Load::new(&self.environment);
        if let Some(path) = self.file() {
            load.file(&path);
        }
        load.variables();
        load.flags(&self.flags);
        load.end()
    }
}

/// Reads one file alone, over the defaults.
pub(crate) fn check(path: &Path, environment: &Environment) -> Result<Config, Faults> {
    let mut load = Load::new(environment);
    load.file(path);
    load.end()
}

/// A configuration on its way.
struct Load<'a> {
    environment: &'a Environment,
    config: Config,
    faults: Vec<Fault>,
    /// The file with users and roles, if one has them.
    access_from: Option<PathBuf>,
}

impl<'a> Load<'a> {
    fn new(environment: &'a Environment) -> Self {
        let origins = vec![Origin::Default; OPTIONS.len()];
        let config = Config { settings: Settings::default(), origins };
        Self { environment, config, faults: Vec::new(), access_from: None }
    }

    fn file(&mut self, path: &Path) {
        match file::read(path) {
            Ok(mut root) => {
                expand::all(&mut root, path, self.environment, &mut self.faults);
                self.table(path, "", &root);
            }
            Err(fault) => self.faults.push(fault),
        }
    }

    /// Takes every key of a table; what is below `prefix` has its keys in full.
    fn table(&mut self, path: &Path, prefix: &str, table: &[(String, Node)]) {
        for (name, node) in table {
            let key = if prefix.is_empty() { name.clone() } else { format!("{prefix}.{name}") };
            if people::LISTS.contains(&key.as_str()) {
                let access = &mut self.config.settings.access;
                people::take(access, &key, node, path, &mut self.faults);
                self.access_from = Some(path.to_owned());
                continue;
            }
            let found = OPTIONS.iter().position(|option| option.key == key);
            match (found, node) {
                (Some(index), Node::Null | Node::Table(_) | Node::List(_)) => {
                    let what = node.kind();
                    let origin = Origin::File(path.to_owned());
                    self.faults.push(OPTIONS[index].fault(&origin, what));
                }
                (Some(index), node) => {
                    self.set(index, &node.to_text(), Origin::File(path.to_owned()));
                }
                (None, Node::Table(inner)) if options::is_section(&key) => {
                    self.table(path, &key, inner);
                }
                (None, _) => {
                    let place = path.display().to_string();
                    self.faults.push(Fault::unknown(place, &key, options::known_keys()));
                }
            }
        }
    }

    fn variables(&mut self) {
        for (index, option) in OPTIONS.iter().enumerate() {
            let name = option.variable();
            match self.environment.text(&name) {
                Ok(Some(text)) => self.set(index, text, Origin::Variable(name)),
                Ok(None) => {}
                Err(fault) => self.faults.push(fault),
            }
        }
    }

    fn flags(&mut self, flags: &Flags) {
        for (index, text) in &flags.values {
            self.set(*index, text, Origin::Flag(OPTIONS[*index].flag()));
        }
    }

    fn set(&mut self, index: usize, text: &str, origin: Origin) {
        let option = &OPTIONS[index];
        if option.field.set(&mut self.config.settings, text).is_ok() {
            self.config.origins[index] = origin;
        } else {
            self.faults.push(option.fault(&origin, text));
        }
    }

    fn end(mut self) -> Result<Config, Faults> {
        if let Some((key, reason)) = self.config.settings.conflict() {
            self.faults.push(Fault::Conflict { key, reason });
        }
        if let Some(path) = self.access_from.take().filter(|_| self.faults.is_empty())
            && let Err(reason) = Access::new(self.config.settings.access.clone())
        {
            self.faults.push(Fault::Access { path, reason });
        }
        if self.faults.is_empty() { Ok(self.config) } else { Err(Faults(self.faults)) }
    }
}

#[cfg(test)]
mod tests;
