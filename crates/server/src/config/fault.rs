//! What can be wrong with a configuration. Each sentence says where, what, and what is right.

use std::fmt;
use std::path::PathBuf;

/// One thing that is wrong.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Fault {
    /// The file can't be read.
    #[error("cannot read {}: {reason}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        reason: std::io::Error,
    },
    /// The file is too long to be meant.
    #[error("{} is longer than {} bytes", path.display(), super::FILE_BYTES_MAX)]
    TooLong {
        /// The file.
        path: PathBuf,
    },
    /// The name of the file does not say what is in it.
    #[error("{}: the name has to end in .toml, .json, .yaml or .yml", path.display())]
    Extension {
        /// The file.
        path: PathBuf,
    },
    /// The file can't be parsed.
    #[error("{}: {reason}", path.display())]
    Syntax {
        /// The file.
        path: PathBuf,
        /// What its parser says, with line and column.
        reason: String,
    },
    /// A key that nobody knows.
    #[error("{place}: {key} is no known key{}", meant(nearest.as_deref()))]
    UnknownKey {
        /// The file.
        place: String,
        /// The key in full.
        key: String,
        /// The known key that looks most like it.
        nearest: Option<String>,
    },
    /// A value that its key does not take.
    #[error("{place}: {key} = {value}: allowed is {allowed}")]
    Value {
        /// Where it was set.
        place: String,
        /// The key in full.
        key: String,
        /// What was written there.
        value: String,
        /// What is right.
        allowed: String,
    },
    /// `${…}` in a value that leads nowhere.
    #[error("{}: {key}: {reason}", path.display())]
    Expansion {
        /// The file.
        path: PathBuf,
        /// The key in full.
        key: String,
        /// What is wrong.
        reason: String,
    },
    /// Options that don't go together.
    #[error("{key}: {reason}")]
    Conflict {
        /// The key in full.
        key: &'static str,
        /// What is wrong.
        reason: &'static str,
    },
    /// A certificate that can't be shown to anybody.
    #[error("tls.certificate: {0}")]
    Certificate(#[from] courant_doors::CertificateError),
    /// Users and roles that don't go together.
    #[error("{}: {reason}", path.display())]
    Access {
        /// The file.
        path: PathBuf,
        /// What is wrong, without any credential.
        reason: courant::AccessError,
    },
    /// A variable that is no text.
    #[error("environment {0}: the value is not UTF-8")]
    NotText(String),
}

impl Fault {
    /// A key that is none of `known`.
    pub(super) fn unknown<'a>(
        place: String,
        key: &str,
        known: impl Iterator<Item = &'a str>,
    ) -> Self {
        let nearest = nearest(key, known).map(str::to_owned);
        Self::UnknownKey { place, key: key.to_owned(), nearest }
    }
}

fn meant(nearest: Option<&str>) -> String {
    match nearest {
        Some(nearest) => format!("; did you mean {nearest}?"),
        None => "; docs/config.md has all of them".to_owned(),
    }
}

/// The known word that looks most like `word`, if one does.
pub(super) fn nearest<'a>(word: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    /// From here on two words look alike.
    const ALIKE: f64 = 0.75;
    let last = |key: &str| key.rsplit('.').next().unwrap_or_default().to_owned();
    let alike = |known: &str| {
        let whole = strsim::jaro_winkler(word, known);
        // The right name in the wrong section is as good.
        let part = strsim::normalized_damerau_levenshtein(&last(word), &last(known));
        whole.max(part)
    };
    let scored = known.map(|known| (alike(known), known)).filter(|(score, _)| *score >= ALIKE);
    scored.max_by(|a, b| a.0.total_cmp(&b.0)).map(|(_, known)| known)
}

/// Everything that is wrong, a line each.
#[derive(Debug)]
pub(crate) struct Faults(pub(crate) Vec<Fault>);

impl fmt::Display for Faults {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, fault) in self.0.iter().enumerate() {
            if index > 0 {
                formatter.write_str("\n")?;
            }
            write!(formatter, "{fault}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Faults {}
