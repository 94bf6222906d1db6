//! The types that an option may have: how each is read from text, shown, and described.
//!
//! All values pass through here as text, from wherever they come: a number in a file and the same
//! digits in a flag can't mean two things. [`Field::text`] is the one way a value is shown, so that
//! two spellings of one value compare as equal.

use std::net::{SocketAddr, ToSocketAddrs};
use std::path::PathBuf;
use std::time::Duration;

use tracing_subscriber::filter::LevelFilter;

use super::settings::{LogFormat, Settings};

/// The type of an option, its bounds, and where its value is kept.
#[derive(Clone, Copy)]
pub(crate) enum Field {
    /// A folder or a file.
    Path(fn(&mut Settings) -> &mut PathBuf),
    /// A file, or none.
    MaybePath(fn(&mut Settings) -> &mut Option<PathBuf>),
    /// Yes or no.
    Switch(fn(&mut Settings) -> &mut bool),
    /// A host and a port.
    Address(fn(&mut Settings) -> &mut SocketAddr),
    /// A size with a unit: `64 MiB`.
    Bytes(fn(&mut Settings) -> &mut u64, u64, u64),
    /// A number of things.
    Count(fn(&mut Settings) -> &mut u64, u64, u64),
    /// A time with a unit: `10s`.
    Time(fn(&mut Settings) -> &mut Duration, Duration, Duration),
    /// How much is logged.
    Level(fn(&mut Settings) -> &mut LevelFilter),
    /// How it is logged.
    Format(fn(&mut Settings) -> &mut LogFormat),
}

/// The text is no value of this type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Wrong;

const LEVELS: &[&str] = &["off", "error", "warn", "info", "debug", "trace"];
const FORMATS: &[&str] = &["human", "json"];

impl Field {
    /// Takes a value from text.
    pub(crate) fn set(self, to: &mut Settings, text: &str) -> Result<(), Wrong> {
        match self {
            Self::Path(at) => {
                *at(to) = Some(text).filter(|text| !text.is_empty()).ok_or(Wrong)?.into();
            }
            Self::MaybePath(at) => {
                *at(to) = Some(text).filter(|text| !text.is_empty()).map(PathBuf::from);
            }
            Self::Switch(at) => *at(to) = switch(text).ok_or(Wrong)?,
            Self::Address(at) => *at(to) = address(text).ok_or(Wrong)?,
            Self::Bytes(at, least, most) => *at(to) = within(bytes(text), &least, &most)?,
            Self::Count(at, least, most) => *at(to) = within(text.parse().ok(), &least, &most)?,
            Self::Time(at, least, most) => *at(to) = within(time(text), &least, &most)?,
            Self::Level(at) => {
                let is_level = LEVELS.contains(&text);
                *at(to) = text.parse().ok().filter(|_| is_level).ok_or(Wrong)?;
            }
            Self::Format(at) => {
                *at(to) = match text {
                    "human" => LogFormat::Human,
                    "json" => LogFormat::Json,
                    _ => return Err(Wrong),
                }
            }
        }
        Ok(())
    }

    /// The value as text that [`Field::set`] takes back. `from` is not changed.
    pub(crate) fn text(self, from: &mut Settings) -> String {
        match self {
            Self::Path(at) => at(from).display().to_string(),
            Self::MaybePath(at) => {
                at(from).as_ref().map_or_else(String::new, |path| path.display().to_string())
            }
            Self::Switch(at) => if *at(from) { "yes" } else { "no" }.to_owned(),
            Self::Address(at) => at(from).to_string(),
            Self::Bytes(at, ..) => bytes_text(*at(from)),
            Self::Count(at, ..) => at(from).to_string(),
            Self::Time(at, ..) => time_text(*at(from)),
            Self::Level(at) => at(from).to_string(),
            Self::Format(at) => match at(from) {
                LogFormat::Human => "human".to_owned(),
                LogFormat::Json => "json".to_owned(),
            },
        }
    }

    /// What is allowed, as the end of a sentence.
    pub(crate) fn allowed(self) -> String {
        match self {
            Self::Path(_) => "a path".to_owned(),
            Self::MaybePath(_) => "a path, or nothing".to_owned(),
            Self::Switch(_) => "yes or no".to_owned(),
            Self::Address(_) => "HOST:PORT".to_owned(),
            Self::Bytes(_, least, most) => {
                format!("a size from {} to {}, as in 64 MiB", bytes_text(least), bytes_text(most))
            }
            Self::Count(_, least, most) => format!("a number from {least} to {most}"),
            Self::Time(_, least, most) => {
                format!("a time from {} to {}, as in 10s", time_text(least), time_text(most))
            }
            Self::Level(_) => one_of(LEVELS),
            Self::Format(_) => one_of(FORMATS),
        }
    }

    /// The word that stands for a value in a help.
    pub(crate) fn value_name(self) -> &'static str {
        match self {
            Self::Path(_) | Self::MaybePath(_) => "PATH",
            Self::Switch(_) => "yes|no",
            Self::Address(_) => "ADDR",
            Self::Bytes(..) => "SIZE",
            Self::Count(..) => "NUMBER",
            Self::Time(..) => "TIME",
            Self::Level(_) => "LEVEL",
            Self::Format(_) => "FORMAT",
        }
    }
}

fn one_of(words: &[&str]) -> String {
    match words.split_last() {
        Some((last, others)) => format!("{} or {last}", others.join(", ")),
        None => String::new(),
    }
}

fn within<T: PartialOrd>(value: Option<T>, least: &T, most: &T) -> Result<T, Wrong> {
    value.filter(|value| least <= value && value <= most).ok_or(Wrong)
}

/// As people write it, and as files have it.
fn switch(text: &str) -> Option<bool> {
    match text {
        "yes" | "true" => Some(true),
        "no" | "false" => Some(false),
        _ => None,
    }
}

/// The first address of a name counts.
fn address(text: &str) -> Option<SocketAddr> {
    text.to_socket_addrs().ok()?.next()
}

/// Binary units, the largest first.
const SIZES: &[(&str, u64)] =
    &[("TiB", 1 << 40), ("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10), ("B", 1)];

/// `64 MiB`, `64MiB`, or bytes without a unit.
fn bytes(text: &str) -> Option<u64> {
    let (number, unit) = number_and_unit(text)?;
    let factor = match unit {
        "" => 1,
        unit => SIZES.iter().find(|(name, _)| *name == unit)?.1,
    };
    number.checked_mul(factor)
}

/// In the largest unit that leaves no rest.
fn bytes_text(bytes: u64) -> String {
    let fits = SIZES.iter().find(|(_, factor)| bytes > 0 && bytes.is_multiple_of(*factor));
    let (unit, factor) = fits.copied().unwrap_or(("B", 1));
    format!("{} {unit}", bytes / factor)
}

/// Units of time in milliseconds, the largest first.
const TIMES: &[(&str, u64)] = &[("h", 3_600_000), ("m", 60_000), ("s", 1000), ("ms", 1)];

/// `500ms`, `10s`, `5m` or `1h`. A number without a unit is a guess, and none.
fn time(text: &str) -> Option<Duration> {
    let (number, unit) = number_and_unit(text)?;
    let factor = TIMES.iter().find(|(name, _)| *name == unit)?.1;
    number.checked_mul(factor).map(Duration::from_millis)
}

fn time_text(time: Duration) -> String {
    let ms = u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
    let fits = TIMES.iter().find(|(_, factor)| ms > 0 && ms.is_multiple_of(*factor));
    let (unit, factor) = fits.copied().unwrap_or(("ms", 1));
    format!("{}{unit}", ms / factor)
}

fn number_and_unit(text: &str) -> Option<(u64, &str)> {
    let end = text.find(|letter: char| !letter.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    Some((number.parse().ok()?, unit.trim_start_matches(' ')))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_and_shown() {
        for (text, number, shown) in [
            ("0", 0, "0 B"),
            ("1000", 1000, "1000 B"),
            ("64 MiB", 64 << 20, "64 MiB"),
            ("64MiB", 64 << 20, "64 MiB"),
            ("65536 KiB", 64 << 20, "64 MiB"),
            ("3 GiB", 3 << 30, "3 GiB"),
        ] {
            assert_eq!(bytes(text), Some(number), "{text}");
            assert_eq!(bytes_text(number), shown);
            assert_eq!(bytes(shown), Some(number), "{shown}");
        }
        for text in ["", "MiB", "-1", "1.5 MiB", "64 MB", "64 mib", "99999999 TiB", "1 MiB "] {
            assert_eq!(bytes(text), None, "{text}");
        }
    }

    #[test]
    fn times_have_a_unit() {
        for (text, ms, shown) in [
            ("0ms", 0, "0ms"),
            ("1500ms", 1500, "1500ms"),
            ("10s", 10_000, "10s"),
            ("10 s", 10_000, "10s"),
            ("300s", 300_000, "5m"),
            ("2h", 7_200_000, "2h"),
        ] {
            assert_eq!(time(text), Some(Duration::from_millis(ms)), "{text}");
            assert_eq!(time_text(Duration::from_millis(ms)), shown);
        }
        for text in ["", "10", "s", "1.5s", "10 sec", "-1s", "99999999999999999h"] {
            assert_eq!(time(text), None, "{text}");
        }
    }

    #[test]
    fn addresses_may_be_names() {
        assert_eq!(address("127.0.0.1:0").map(|address| address.port()), Some(0));
        assert_eq!(address("localhost:7530").map(|address| address.port()), Some(7530));
        assert_eq!(address("127.0.0.1"), None);
    }
}
