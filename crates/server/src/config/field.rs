//! The types that an option may have: how each is read from text, shown, and described.
//!
//! All values pass through here as text, from wherever they come: a number in a file and the same
//! digits in a flag can't mean two things. [`Field::text`] is the one way a value is shown, so that
//! two spellings of one value compare as equal.

use std::net::{SocketAddr, ToSocketAddrs};
use std::path::PathBuf;
use std::time::Duration;

use tracing_subscriber::filter::LevelFilter;

use super::settings::{LogFormat, Settings, Share};
use crate::quantity::{bytes, bytes_text, time, time_text};

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
    /// A size, or a part of the memory there is: `60%`.
    Share(fn(&mut Settings) -> &mut Share, u64, u64),
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
            Self::Share(at, least, most) => *at(to) = share(text, (least, most)).ok_or(Wrong)?,
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
            Self::Share(at, ..) => match *at(from) {
                Share::Bytes(bytes) => bytes_text(bytes),
                Share::Percent(percent) => format!("{percent}%"),
            },
            Self::Count(at, ..) => at(from).to_string(),
            Self::Time(at, ..) => time_text(*at(from)),
            Self::Level(at) => at(from).to_string(),
            Self::Format(at) => match at(from) {
                LogFormat::Human => "human".to_owned(),
                LogFormat::Json => "json".to_owned(),
            },
        }
    }

    /// What a part comes to on this machine, in bytes.
    pub(crate) fn part_bytes(self, from: &mut Settings) -> Option<u64> {
        let Self::Share(at, ..) = self else { return None };
        Some(*at(from)).filter(|share| matches!(share, Share::Percent(_))).map(Share::bytes)
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
            Self::Share(_, least, most) => {
                let (least, most) = (bytes_text(least), bytes_text(most));
                format!("a size from {least} to {most}, or a part of the memory there is: 60%")
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
            Self::Bytes(..) | Self::Share(..) => "SIZE",
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

fn share(text: &str, (least, most): (u64, u64)) -> Option<Share> {
    if let Some(percent) = text.strip_suffix('%') {
        let percent = percent.parse().ok().filter(|percent| (1..=100).contains(percent));
        return percent.map(Share::Percent);
    }
    within(bytes(text), &least, &most).ok().map(Share::Bytes)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_of_the_memory_is_a_size_too() {
        assert_eq!(share("60%", (1, 9)), Some(Share::Percent(60)));
        assert_eq!(share("4 KiB", (1, 4096)), Some(Share::Bytes(4096)));
        for text in ["0%", "101%", "%", "-1%", "60 %", "4097", "0"] {
            assert_eq!(share(text, (1, 4096)), None, "{text}");
        }
        let half = Share::Percent(50).bytes();
        assert!(half > 1 << 20 && half < courant::memory::available_bytes());
    }

    #[test]
    fn addresses_may_be_names() {
        assert_eq!(address("127.0.0.1:0").map(|address| address.port()), Some(0));
        assert_eq!(address("localhost:7530").map(|address| address.port()), Some(7530));
        assert_eq!(address("127.0.0.1"), None);
    }
}
