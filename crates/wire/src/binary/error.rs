//! What can be wrong with a command: one variant for one fact. A door maps them to refusals.

use super::kind::CommandKind;
use super::properties::Tag;
use crate::text;

/// Why a command was not understood. Small, `Copy`, and holds nothing unprintable.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WireError {
    /// The length is above the limit. Framing is lost.
    #[error("a frame of {bytes} bytes is larger than the {bytes_max} allowed")]
    FrameTooLarge {
        /// The length in the frame.
        bytes: u32,
        /// The limit.
        bytes_max: usize,
    },
    /// No command has that number.
    #[error("there is no command {number:#04x}")]
    UnknownCommand {
        /// The first byte.
        number: u8,
    },
    /// The body ends within a field.
    #[error("the body of {command} ends before its last field does")]
    TooShort {
        /// The command.
        command: CommandKind,
    },
    /// Bytes stand behind the last field.
    #[error("the body of {command} goes on behind its last field")]
    TooLong {
        /// The command.
        command: CommandKind,
    },
    /// Flags that the command does not have.
    #[error("{command} has no flags {flags:#04x}")]
    UnknownFlags {
        /// The command.
        command: CommandKind,
        /// Those that it does not have.
        flags: u8,
    },
    /// A number that the field does not take.
    #[error("{command}: {value} is not valid as {field}")]
    BadNumber {
        /// The command.
        command: CommandKind,
        /// The field, as the specification calls it.
        field: &'static str,
        /// What stands there.
        value: u64,
    },
    /// A command that names nothing to act on.
    #[error("{command} needs at least one {what}")]
    Empty {
        /// The command.
        command: CommandKind,
        /// What there has to be.
        what: &'static str,
    },
    /// A command that names more than it may.
    #[error("{command} takes at most {most} {what}s")]
    TooMany {
        /// The command.
        command: CommandKind,
        /// What there is too much of.
        what: &'static str,
        /// The limit.
        most: usize,
    },
    /// Two things that exclude each other.
    #[error("{command}: {what} does not go with {other}")]
    Conflict {
        /// The command.
        command: CommandKind,
        /// The one.
        what: &'static str,
        /// The other.
        other: &'static str,
    },
    /// A payload larger than allowed.
    #[error("a payload of {bytes} bytes is larger than the {bytes_max} allowed")]
    PayloadTooLarge {
        /// Its length.
        bytes: usize,
        /// The limit.
        bytes_max: usize,
    },
    /// The properties end within one of them.
    #[error("the properties end before the last of them does")]
    PropertiesTooShort,
    /// A property that there is not, or not from clients.
    #[error("a client has no property with the tag {tag}")]
    UnknownProperty {
        /// The tag.
        tag: u8,
    },
    /// A property that may be there once is there twice.
    #[error("the property {tag} is given twice")]
    RepeatedProperty {
        /// The property.
        tag: Tag,
    },
    /// The value of a property has not the form that it needs.
    #[error("the value of the property {tag} is not valid")]
    BadProperty {
        /// The property.
        tag: Tag,
    },
    /// Text that is not UTF-8.
    #[error("the property {tag} is not valid UTF-8")]
    NotUtf8 {
        /// The property.
        tag: Tag,
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
    /// A version of the protocol that is not spoken here.
    #[error("this server speaks version 1 of the binary protocol, not {version}")]
    Version {
        /// What the client asked for.
        version: u8,
    },
    /// LINE with a command that has a frame of its own.
    #[error("LINE does not carry {verb}: it has a frame of its own")]
    NotCarried {
        /// The command on the line.
        verb: text::Verb,
    },
    /// What is wrong with the command that a LINE carries.
    #[error(transparent)]
    Line(text::WireError),
}

impl WireError {
    /// Whether it is no longer known where the next command begins, so that the connection has to
    /// close.
    pub fn loses_framing(&self) -> bool {
        matches!(self, Self::FrameTooLarge { .. })
    }
}
