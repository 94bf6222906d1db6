//! Every bound of the client, with the relations between them asserted when this is compiled.

use std::time::Duration;

use courant_wire::BATCH_MAX;

/// What handles ask of the connection's task and it has not taken yet.
pub(crate) const ASKS_MAX: usize = 1024;
/// What the task takes of it at a time.
pub(crate) const ASKS_TAKEN_MAX: usize = 256;
/// Commands, claims and subscriptions that wait for an answer.
pub(crate) const REQUESTS_MAX: usize = 1024;
/// Bytes that wait for the socket before nothing more is encoded.
pub(crate) const OUT_BYTES_MAX: usize = 256 * 1024;
/// Messages of one frame.
pub(crate) const FRAME_MESSAGES_MAX: usize = 1024;
/// Bytes of one frame with more than one message.
pub(crate) const FRAME_BYTES_MAX: usize = 64 * 1024;
/// Bytes that are read at a time.
pub(crate) const READ_BYTES: usize = 64 * 1024;
/// Bytes of ITEMs that one command may be answered with.
pub(crate) const ITEM_BYTES_MAX: usize = 16 * 1024 * 1024;
/// Messages of one claim.
pub(crate) const CLAIM_MAX: u16 = 1024;
/// Events that a listener may be behind.
pub(crate) const EVENTS_MAX: usize = 256;
/// Messages of a live subscription that wait for their reader.
pub(crate) const LIVE_MAX: usize = 8192;
/// Bytes of their payloads. A larger one waits alone.
pub(crate) const LIVE_BYTES_MAX: usize = 32 * 1024 * 1024;
/// Bytes of payloads that may be open in a subscription that does not say how many.
pub(crate) const CREDIT_BYTES: u64 = 32 * 1024 * 1024;

/// Between two looks at whether the broker still says something.
pub(crate) const TICK: Duration = Duration::from_secs(10);
/// Looks without a word, the first of which asks by a PING, after which the connection is given up.
pub(crate) const SILENT_TICKS_MAX: u32 = 3;
/// For a connection to be made and let in.
pub(crate) const CONNECT_WITHIN: Duration = Duration::from_secs(10);
/// The first pause before a connection is made again; it doubles.
pub(crate) const PAUSE_MIN: Duration = Duration::from_millis(50);
/// The longest.
pub(crate) const PAUSE_MAX: Duration = Duration::from_secs(5);

const _: () = {
    assert!(FRAME_MESSAGES_MAX <= BATCH_MAX);
    assert!(ASKS_TAKEN_MAX <= ASKS_MAX && ASKS_TAKEN_MAX <= BATCH_MAX);
    assert!(FRAME_BYTES_MAX <= OUT_BYTES_MAX);
};
