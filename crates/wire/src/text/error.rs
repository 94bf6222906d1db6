//! What can be wrong with a command: one variant for one fact. A door maps them to refusals.

use super::option::Key;
use super::verb::Verb;
use crate::excerpt::Excerpt;

/// Why a command was not understood. Small, `Copy`, and holds nothing unprintable.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WireError {
    /// No line end within the limit. Framing is lost.
    #[error("the line is longer than {bytes_max} bytes")]
    LineTooLong {
        /// The limit.
        bytes_max: usize,
    },
    /// PUB without a size at its end. Framing is lost.
    #[error("PUB ends with the size of the body in bytes, as in: PUB queue:orders 5")]
    MissingSize,
    /// The last word of PUB is not a number. Framing is lost.
    #[error("the size of the body has to be a decimal number, not \"{word}\"")]
    SizeNotNumber {
        /// What stands there.
        word: Excerpt,
    },
    /// The size is above the limit. Framing is lost.
    #[error("a body of {bytes} bytes is larger than the {bytes_max} allowed")]
    BodyTooLarge {
        /// The size on the line; `u64::MAX` if it is larger still.
        bytes: u64,
        /// The limit.
        bytes_max: usize,
    },
    /// No line end after the body. Framing is lost.
    #[error("the body of {bytes} bytes is not followed by a line end; is the size right?")]
    BodyUnterminated {
        /// The size on the line.
        bytes: usize,
    },
    /// The first word is no verb.
    #[error("there is no command \"{verb}\"")]
    UnknownVerb {
        /// What stands there.
        verb: Excerpt,
    },
    /// The command needs a destination, or a second one.
    #[error("{verb} needs a destination, such as queue:orders or topic:events")]
    MissingDestination {
        /// The command.
        verb: Verb,
    },
    /// The destination is not `queue:`, `topic:` or `exchange:` and a name.
    #[error("\"{word}\" is no destination; write queue:NAME, topic:NAME or exchange:NAME")]
    BadDestination {
        /// What stands there.
        word: Excerpt,
    },
    /// LIST without a word that says what, or with one that names no list.
    #[error(
        "LIST needs queues, exchanges, bindings, subscriptions, sessions, workers or namespaces, \
         not \"{word}\""
    )]
    UnknownList {
        /// What stands there; may be empty.
        word: Excerpt,
    },
    /// A word that is neither `key:value` nor anything else this command takes.
    #[error("{verb} does not take \"{word}\"; options are written key:value")]
    UnexpectedWord {
        /// The command.
        verb: Verb,
        /// What stands there.
        word: Excerpt,
    },
    /// An option that no command, or not this one, has.
    #[error("{verb} has no option \"{key}\"")]
    UnknownOption {
        /// The command.
        verb: Verb,
        /// The word before the colon.
        key: Excerpt,
    },
    /// An option that may be given once was given twice.
    #[error("the option {key} is given twice")]
    RepeatedOption {
        /// The option.
        key: Key,
    },
    /// The value of an option has not the form that it needs.
    #[error("{key}:{value} is not valid: {key} takes {wants}")]
    BadValue {
        /// The option.
        key: Key,
        /// What stands there.
        value: Excerpt,
        /// What would be valid, in words.
        wants: &'static str,
    },
    /// The command needs an option that is not there.
    #[error("{verb} needs the option {key}")]
    MissingOption {
        /// The command.
        verb: Verb,
        /// The option.
        key: Key,
    },
    /// Two options, or an option and a kind of destination, that exclude each other.
    #[error("{verb}: the option {key} does not go with {other}")]
    Conflict {
        /// The command.
        verb: Verb,
        /// The option.
        key: Key,
        /// What it does not go with.
        other: &'static str,
    },
    /// More headers than allowed.
    #[error("a message has at most {headers_max} headers")]
    TooManyHeaders {
        /// The limit.
        headers_max: usize,
    },
    /// Headers larger than allowed, all together.
    #[error("the headers of a message have at most {bytes_max} bytes")]
    HeadersTooLarge {
        /// The limit.
        bytes_max: usize,
    },
    /// A `%` without two hexadecimal digits.
    #[error("in \"{word}\" a % is not followed by two hexadecimal digits")]
    BadEscape {
        /// The word.
        word: Excerpt,
    },
    /// The options are not valid UTF-8.
    #[error("a command has to be valid UTF-8; write other bytes as %XX")]
    NotUtf8,
    /// A control character among the options.
    #[error("a command has no control characters; write them as %XX")]
    ControlCharacter,
    /// CONNECT is followed by something that is no JSON object.
    #[error("CONNECT takes a JSON object, as in: CONNECT {{\"version\":\"1.0\"}}")]
    ConnectNotJson,
}

impl WireError {
    /// Whether it is no longer known where the next command begins, so that the connection has to
    /// close.
    pub fn loses_framing(&self) -> bool {
        matches!(
            self,
            Self::LineTooLong { .. }
                | Self::MissingSize
                | Self::SizeNotNumber { .. }
                | Self::BodyTooLarge { .. }
                | Self::BodyUnterminated { .. }
        )
    }
}
