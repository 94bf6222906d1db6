//! A refusal by the broker, as a person reads it: number, name, sentence, and what to type instead.

use std::fmt;

use courant_wire::text::{DestinationKind, Reply};

use crate::destination::Destination;

/// The broker said no.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Refused {
    number: u32,
    name: String,
    sentence: String,
    /// The command line that would help, where one is known.
    hint: Option<String>,
}

/// Refusals that answer no command: the broker ends the connection of its own accord.
const UNASKED: [&str; 3] = ["closing", "idle-timeout", "slow-reader"];

impl Refused {
    /// Takes a refusal out of a reply; `None` for any other. `destination` is what was asked for.
    pub(crate) fn from_reply(reply: &Reply<'_>, destination: Option<&Destination>) -> Option<Self> {
        let Reply::Err { number, name, sentence, .. } = reply else {
            return None;
        };
        let name = String::from_utf8_lossy(name).into_owned();
        let missing = destination.filter(|destination| {
            matches!(
                (name.as_str(), destination.kind),
                ("no-such-queue", DestinationKind::Queue)
                    | ("no-such-topic", DestinationKind::Topic)
            )
        });
        let hint = missing
            .map(|missing| format!("to declare it: courant pub {missing} \"a message\" --declare"));
        let sentence = String::from_utf8_lossy(sentence).into_owned();
        Some(Self { number: *number, name, sentence, hint })
    }

    /// Its number, which never changes its meaning.
    pub(crate) fn number(&self) -> u32 {
        self.number
    }

    /// Whether it answers no command. Answers to commands may still follow it.
    pub(crate) fn is_unasked(&self) -> bool {
        UNASKED.contains(&self.name.as_str())
    }
}

impl fmt::Display for Refused {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "refused: {} {}: {}", self.number, self.name, self.sentence)?;
        match &self.hint {
            Some(hint) => write!(formatter, "\n{hint}"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for Refused {}

#[cfg(test)]
mod tests {
    use courant_wire::Limits;
    use courant_wire::text::{DecodedReply, decode_reply};

    use super::*;

    fn refused(line: &str, destination: &str) -> String {
        let destination = Destination::parse(destination).unwrap();
        match decode_reply(line.as_bytes(), &Limits::DEFAULT) {
            DecodedReply::Reply { reply, .. } => {
                Refused::from_reply(&reply, Some(&destination)).unwrap().to_string()
            }
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_missing_queue_says_how_to_declare_it() {
        assert_eq!(
            refused("ERR 201 no-such-queue queue a b does not exist\n", "queue:a b"),
            "refused: 201 no-such-queue: queue a b does not exist\n\
             to declare it: courant pub queue:a%20b \"a message\" --declare"
        );
    }

    #[test]
    fn any_other_refusal_is_as_it_is() {
        assert_eq!(
            refused("ERR 700 log-poisoned the log is closed\n", "queue:a"),
            "refused: 700 log-poisoned: the log is closed"
        );
    }
}
