//! The text protocol: lines a person can type, specified in `docs/doors/text.md`.
//!
//! Reading order: [`Verb`] and [`OPTIONS`] are the two tables that decide what may stand on a line,
//! [`decode`] reads commands, [`Line`] writes any line, [`reply`] and [`request`] write the common
//! ones fast, [`decode_reply`] is the client's side.

mod client;
mod command;
mod decode;
mod destination;
mod error;
mod frame;
mod line;
mod login;
mod option;
mod options;
pub mod reply;
pub mod request;
mod scan;
mod verb;

pub use client::{DecodedReply, Fields, Reply, ReplyError, decode_reply};
pub use command::{AckMode, Command, Confirm, Decoded, Listed, Publish, Settle, SubMode};
pub use decode::decode;
pub(crate) use decode::{decode_rest, split_verb};
pub use destination::{Destination, DestinationKind};
pub use error::WireError;
pub use line::Line;
pub use login::{Login, LoginError};
pub use option::{Form, HeaderForm, Key, OPTIONS, OptionSpec, Support};
pub use options::{Handles, HeaderField, Headers, Options};
pub use verb::Verb;
