//! Codecs only: bytes to typed frames and back.
//!
//! No I/O, no clock, no domain types. Every decoder works on a slice that somebody else owns,
//! borrows from it, allocates nothing, never reads past it, and never panics, whatever the bytes
//! are. Every encoder appends to a `Vec<u8>` of the caller. Bounds are in [`limits`] and are
//! checked before a size that a stranger wrote is believed.
//!
//! Reading order: [`limits`], [`id`], [`mod@escape`], then [`text`], then [`binary`]. They are
//! specified in `docs/doors/text.md` and `docs/doors/binary.md`.

#![forbid(unsafe_code)]
#![deny(clippy::indexing_slicing, clippy::cast_possible_truncation)]

pub mod binary;
mod decimal;
pub mod escape;
pub mod excerpt;
pub mod id;
pub mod limits;
pub mod text;

pub use escape::{NameError, Text, escape, unescape_into, validate_name};
pub use excerpt::Excerpt;
pub use id::{Handle, IdError, MessageId};
pub use limits::{BATCH_MAX, Limits};
