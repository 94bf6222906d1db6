//! DEST: what a command is about, as a person types it.
//!
//! The form is that of the text protocol (`queue:NAME`, `topic:NAME`, `exchange:NAME`), escapes
//! included, so that what the broker prints can be typed back.

use std::fmt;

use courant_wire::text::DestinationKind;
use courant_wire::{Text, escape};

/// A queue, topic or exchange, its name valid and without escapes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Destination {
    /// What it is.
    pub(crate) kind: DestinationKind,
    /// The name, unescaped.
    pub(crate) name: String,
}

impl Destination {
    /// Parses a queue or a topic; the error is a sentence for its author.
    pub(crate) fn parse(typed: &str) -> Result<Self, String> {
        const FORM: &str = "write queue:NAME or topic:NAME, for example queue:orders";
        Self::among(typed, &[DestinationKind::Queue, DestinationKind::Topic], FORM)
    }

    /// Parses a queue.
    pub(crate) fn parse_queue(typed: &str) -> Result<Self, String> {
        const FORM: &str = "write queue:NAME, for example queue:orders";
        Self::among(typed, &[DestinationKind::Queue], FORM)
    }

    /// Parses what bindings lead from: an exchange or a topic.
    pub(crate) fn parse_source(typed: &str) -> Result<Self, String> {
        const FORM: &str = "write exchange:NAME or topic:NAME, for example exchange:logs";
        Self::among(typed, &[DestinationKind::Exchange, DestinationKind::Topic], FORM)
    }

    /// Parses what bindings lead to: a queue or an exchange.
    pub(crate) fn parse_target(typed: &str) -> Result<Self, String> {
        const FORM: &str = "write queue:NAME or exchange:NAME, for example queue:orders";
        Self::among(typed, &[DestinationKind::Queue, DestinationKind::Exchange], FORM)
    }

    /// Parses any of them.
    pub(crate) fn parse_any(typed: &str) -> Result<Self, String> {
        const FORM: &str =
            "write queue:NAME, topic:NAME or exchange:NAME, for example queue:orders";
        let all = [DestinationKind::Queue, DestinationKind::Topic, DestinationKind::Exchange];
        Self::among(typed, &all, FORM)
    }

    fn among(typed: &str, kinds: &[DestinationKind], form: &str) -> Result<Self, String> {
        let parsed = courant_wire::text::Destination::parse(typed.as_bytes());
        let Some(parsed) = parsed.filter(|parsed| kinds.contains(&parsed.kind)) else {
            return Err(form.to_owned());
        };
        let name = parsed.name(&mut Vec::new()).map_err(|error| error.to_string())?.to_owned();
        Ok(Self { kind: parsed.kind, name })
    }

    /// Whether it is a topic.
    pub(crate) fn is_topic(&self) -> bool {
        self.kind == DestinationKind::Topic
    }
}

impl fmt::Display for Destination {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}:{}", self.kind.name(), Escaped(&self.name))
    }
}

/// A name as it is typed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Escaped<'a>(pub(crate) &'a str);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut name = Vec::new();
        escape(&mut name, self.0.as_bytes());
        formatter.write_str(&String::from_utf8_lossy(&name))
    }
}

/// Parses a name that stands alone, with the same escapes.
pub(crate) fn parse_name(typed: &str) -> Result<String, String> {
    let mut buffer = Vec::new();
    let name = Text::new(typed.as_bytes()).name(&mut buffer).map_err(|error| error.to_string())?;
    Ok(name.to_owned())
}

/// As [`parse_name`], where the command says already what it names: `queue:` before it would
/// otherwise become a part of the name.
pub(crate) fn parse_bare_name(typed: &str) -> Result<String, String> {
    for kind in ["queue", "topic", "exchange", "namespace"] {
        if typed.strip_prefix(kind).is_some_and(|rest| rest.starts_with(':')) {
            return Err(format!("leave out \"{kind}:\", or write %3A for a colon of the name"));
        }
    }
    parse_name(typed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_printed_can_be_typed() {
        for (typed, printed) in [
            ("queue:orders", "queue:orders"),
            ("topic:a b", "topic:a%20b"),
            ("topic:a%20b", "topic:a%20b"),
            ("queue:a%25", "queue:a%25"),
            ("queue:größe", "queue:größe"),
        ] {
            let destination = Destination::parse(typed).unwrap();
            assert_eq!(destination.to_string(), printed);
            assert_eq!(Destination::parse(printed).unwrap(), destination);
        }
    }

    #[test]
    fn every_command_takes_its_kinds() {
        assert!(Destination::parse_any("exchange:x").is_ok());
        assert!(Destination::parse_source("queue:q").unwrap_err().contains("exchange:NAME"));
        assert!(Destination::parse_target("topic:t").unwrap_err().contains("queue:NAME"));
        assert!(Destination::parse_queue("topic:t").is_err());
        assert_eq!(parse_bare_name("a%20b").as_deref(), Ok("a b"));
        assert_eq!(parse_bare_name("queue%3Aa").as_deref(), Ok("queue:a"));
        assert!(parse_bare_name("queue:a").unwrap_err().contains("leave out"));
    }

    #[test]
    fn what_is_no_destination_says_what_is() {
        for typed in ["orders", "", "queue:", "exchange:x", "Queue:x"] {
            assert!(Destination::parse(typed).unwrap_err().contains("queue:NAME"), "{typed}");
        }
        assert!(Destination::parse("queue:%zz").unwrap_err().contains("hexadecimal"));
        assert!(Destination::parse(&format!("queue:{}", "x".repeat(256))).is_err());
        assert!(Destination::parse("queue:a%0Ab").is_err());
    }
}
