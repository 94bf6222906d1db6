//! What can be wrong, in one exhaustive place: the errors of the wire as refusals of the broker.

use crate::source::Source;
use courant::{Closes, Refusal};
use courant_wire::text::{DestinationKind, LoginError, WireError};
use courant_wire::{NameError, binary};

/// A refusal and what it says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refused {
    pub(crate) refusal: Refusal,
    pub(crate) sentence: String,
    pub(crate) closes: bool,
}

impl Refused {
    /// A refusal of the broker about something that can be named.
    pub(crate) fn about(refusal: Refusal, subject: &str) -> Self {
        let closes = refusal.closes() != Closes::Nothing;
        Self { refusal, sentence: refusal.explain(subject), closes }
    }
}

impl Refused {
    /// A refusal of the broker about a destination. The broker knows a topic as the exchange that
    /// it is; here it is called as the client called it.
    pub(crate) fn at(kind: DestinationKind, refusal: Refusal, name: &str) -> Self {
        match refusal {
            Refusal::NoSuchExchange if kind == DestinationKind::Topic => {
                Self::about(Refusal::NoSuchTopic, name)
            }
            refusal => Self::about(refusal, name),
        }
    }
}

impl Refused {
    /// A refusal because of where a connection comes from, which is named.
    pub(crate) fn from_source(refusal: Refusal, source: Source) -> Self {
        let sentence = format!("{} ({source}); {}", refusal.sentence(), refusal.remedy());
        Self { sentence, ..Self::about(refusal, "") }
    }
}

impl From<NameError> for Refused {
    fn from(error: NameError) -> Self {
        let refusal = Refusal::BadName;
        Self { refusal, sentence: error.to_string(), closes: false }
    }
}

impl From<&WireError> for Refused {
    fn from(error: &WireError) -> Self {
        let refusal = match error {
            WireError::LineTooLong { .. } => Refusal::LineTooLong,
            WireError::MissingSize | WireError::SizeNotNumber { .. } => Refusal::BadSize,
            WireError::BodyTooLarge { .. } => Refusal::MessageTooLarge,
            WireError::BodyUnterminated { .. } => Refusal::BodyNotEnded,
            WireError::UnknownVerb { .. } => Refusal::UnknownVerb,
            WireError::MissingDestination { .. }
            | WireError::MissingOption { .. }
            | WireError::UnknownList { .. } => Refusal::MissingField,
            WireError::BadValue { key, .. } if matches!(key.name(), "msg_id" | "upto") => {
                Refusal::BadHandle
            }
            WireError::BadDestination { .. }
            | WireError::UnexpectedWord { .. }
            | WireError::UnknownOption { .. }
            | WireError::RepeatedOption { .. }
            | WireError::BadValue { .. }
            | WireError::Conflict { .. }
            | WireError::BadEscape { .. }
            | WireError::ControlCharacter => Refusal::BadOption,
            WireError::TooManyHeaders { .. } | WireError::HeadersTooLarge { .. } => {
                Refusal::HeadersTooLarge
            }
            WireError::NotUtf8 => Refusal::NotUtf8,
            WireError::ConnectNotJson => Refusal::BadJson,
        };
        let closes = error.loses_framing() || refusal.closes() != Closes::Nothing;
        Self { refusal, sentence: error.to_string(), closes }
    }
}

impl From<&binary::WireError> for Refused {
    fn from(error: &binary::WireError) -> Self {
        use binary::WireError;
        let refusal = match error {
            WireError::FrameTooLarge { .. } => Refusal::FrameTooLarge,
            WireError::UnknownCommand { .. } => Refusal::UnknownVerb,
            WireError::TooShort { .. }
            | WireError::TooLong { .. }
            | WireError::UnknownFlags { .. }
            | WireError::BadNumber { .. }
            | WireError::Empty { .. }
            | WireError::TooMany { .. }
            | WireError::PropertiesTooShort
            | WireError::UnknownProperty { .. }
            | WireError::RepeatedProperty { .. }
            | WireError::BadProperty { .. } => Refusal::BadFrame,
            WireError::Conflict { .. } => Refusal::BadOption,
            WireError::PayloadTooLarge { .. } => Refusal::MessageTooLarge,
            WireError::NotUtf8 { .. } => Refusal::NotUtf8,
            WireError::TooManyHeaders { .. } | WireError::HeadersTooLarge { .. } => {
                Refusal::HeadersTooLarge
            }
            WireError::Version { .. } => Refusal::UnknownVersion,
            WireError::NotCarried { .. } => Refusal::NotSupported,
            // Where its frame ends is known, so nothing has to close.
            WireError::Line(error) => return Self { closes: false, ..Self::from(error) },
        };
        let closes = error.loses_framing() || refusal.closes() != Closes::Nothing;
        Self { refusal, sentence: error.to_string(), closes }
    }
}

impl From<&LoginError> for Refused {
    fn from(error: &LoginError) -> Self {
        let refusal = match error {
            LoginError::Syntax { .. } | LoginError::Field { .. } => Refusal::BadJson,
            LoginError::Version { .. } => Refusal::UnknownVersion,
            LoginError::Credentials => Refusal::BadCredentials,
        };
        Self { refusal, sentence: error.to_string(), closes: true }
    }
}
