//! The one table of frame kinds. Numbers are never reused.
//!
//! | range | whose |
//! | --- | --- |
//! | `0x00` | no frame: padding |
//! | `0x01..=0x0f` | storage's own, below |
//! | `0x10..=0x7f` | the caller's; storage keeps them without looking inside |
//! | `0x80..=0xff` | never a kind |

use crate::limits::{CALLER_KIND_MAX, CALLER_KIND_MIN};

/// Says that everything before it is durable, and why it was written.
pub const SEAL: u8 = 0x01;
/// Reserved: everything of a lane from a seq on is void.
pub const TRUNCATE_SUFFIX: u8 = 0x02;
/// Reserved: a vote of the replicated log.
pub const VOTE: u8 = 0x03;
/// Reserved: everything of a lane below a seq is purged.
pub const PURGED_TO: u8 = 0x04;
/// Reserved: who takes part in the replicated log.
pub const MEMBERSHIP: u8 = 0x05;
/// Reserved: the folder was opened.
pub const OPENED: u8 = 0x06;

/// The lowest kind that is the caller's.
pub const CALLERS_FIRST: u8 = CALLER_KIND_MIN;
/// The highest kind that is the caller's.
pub const CALLERS_LAST: u8 = CALLER_KIND_MAX;

/// Whether a kind belongs to the caller.
#[must_use]
pub const fn is_callers(kind: u8) -> bool {
    kind >= CALLER_KIND_MIN && kind <= CALLER_KIND_MAX
}

/// Whether this version of storage knows what to do with one of its own kinds.
#[must_use]
pub const fn is_understood(kind: u8) -> bool {
    kind == SEAL
}
