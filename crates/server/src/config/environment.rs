//! The environment, read once at the start: a process must not look at it while threads run.

use std::collections::BTreeMap;
use std::ffi::OsString;

use super::fault::Fault;
use super::options;

/// What all our variables begin with.
pub(super) const PREFIX: &str = "COURANT_";

/// Variables with our prefix that are no options of the broker: clients and tests have them.
const OTHERS: &[&str] = &[
    "COURANT_ADDR",
    "COURANT_BIN",
    "COURANT_CA",
    "COURANT_CONFIG",
    "COURANT_FAIL_POINT",
    "COURANT_NAMESPACE",
    "COURANT_PASSWORD",
    "COURANT_SEED",
    "COURANT_TESTING_BIN",
    "COURANT_TLS",
    "COURANT_TOKEN",
    "COURANT_USER",
    "COURANT_WRITE",
];

/// Variables by name.
#[derive(Clone, Debug, Default)]
pub(crate) struct Environment(BTreeMap<OsString, OsString>);

impl Environment {
    /// That of this process.
    pub(crate) fn read() -> Self {
        Self(std::env::vars_os().collect())
    }

    /// Made up.
    #[cfg(test)]
    pub(crate) fn of(variables: &[(&str, &str)]) -> Self {
        Self(variables.iter().map(|(name, value)| (name.into(), value.into())).collect())
    }

    /// The value as it is.
    pub(super) fn get(&self, name: &str) -> Option<&OsString> {
        self.0.get(std::ffi::OsStr::new(name))
    }

    /// The value as text.
    pub(super) fn text(&self, name: &str) -> Result<Option<&str>, Fault> {
        let value = self.get(name).map(|value| value.to_str());
        value.map(|value| value.ok_or_else(|| Fault::NotText(name.to_owned()))).transpose()
    }

    /// Variables with our prefix that nobody knows and that look like a slip, each with the one
    /// that was meant. They are no faults: others, such as a cluster's service discovery, make
    /// variables with any prefix.
    pub(crate) fn slips(&self) -> Vec<(String, String)> {
        let known: Vec<String> = options::OPTIONS.iter().map(options::Row::variable).collect();
        let names = self.0.keys().filter_map(|name| name.to_str());
        let names = names.filter(|name| name.starts_with(PREFIX) && !OTHERS.contains(name));
        let unknown = names.filter(|name| !known.iter().any(|known| known == name));
        let with_nearest = unknown.filter_map(|name| {
            let nearest = super::fault::nearest(name, known.iter().map(String::as_str))?;
            Some((name.to_owned(), nearest.to_owned()))
        });
        with_nearest.collect()
    }
}
