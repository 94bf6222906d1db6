//! DEST: what a command publishes to or reads from, as a person types it.
//!
//! The form is that of the text protocol, `queue:NAME` or `topic:NAME`, escapes included, so that
//! what the broker prints can be typed back.

use std::fmt;

use courant_wire::text::DestinationKind;
use courant_wire::{Text, escape};

/// A queue or a topic, its name valid and without escapes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Destination {
    /// Queue or topic.
    pub(crate) kind: DestinationKind,
    /// The name, unescaped.
    pub(crate) name: String,
}

impl Destination {
    /// Parses what was typed; the error is a sentence for its author.
    pub(crate) fn parse(typed: &str) -> Result<Self, String> {
        const FORM: &str = "write queue:NAME or topic:NAME, for example queue:orders";
        let parsed = courant_wire::text::Destination::parse(typed.as_bytes());
        let Some(parsed) = parsed.filter(|parsed| parsed.kind != DestinationKind::Exchange) else {
            return Err(FORM.to_owned());
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
        let mut name = Vec::new();
        escape(&mut name, self.name.as_bytes());
        write!(formatter, "{}:{}", self.kind.name(), String::from_utf8_lossy(&name))
    }
}

/// Parses a name that stands alone, with the same escapes.
pub(crate) fn parse_name(typed: &str) -> Result<String, String> {
    let mut buffer = Vec::new();
    let name = Text::new(typed.as_bytes()).name(&mut buffer).map_err(|error| error.to_string())?;
    Ok(name.to_owned())
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
    fn what_is_no_destination_says_what_is() {
        for typed in ["orders", "", "queue:", "exchange:x", "Queue:x"] {
            assert!(Destination::parse(typed).unwrap_err().contains("queue:NAME"), "{typed}");
        }
        assert!(Destination::parse("queue:%zz").unwrap_err().contains("hexadecimal"));
        assert!(Destination::parse(&format!("queue:{}", "x".repeat(256))).is_err());
        assert!(Destination::parse("queue:a%0Ab").is_err());
    }
}
