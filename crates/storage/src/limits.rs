//! Every bound of this crate, and the relations between them.
//!
//! A caller of [`Store::append`](crate::Store::append) checks what it encodes against
//! [`HEAD_BYTES_MAX`] and [`BODY_BYTES_MAX`] before it asks for room; the log asserts them.

/// Batches begin at multiples of this, so that a later write never touches a sector that holds
/// committed data.
pub const SECTOR_BYTES: usize = 512;

/// Frames begin at multiples of this inside a batch.
pub const FRAME_ALIGN_BYTES: usize = 8;

/// Size of the fixed part of a frame.
pub const FRAME_HEADER_BYTES: usize = 40;

/// Size of the fixed part of a batch.
pub const BATCH_HEADER_BYTES: usize = 64;

/// Largest head of one frame.
pub const HEAD_BYTES_MAX: usize = 16 << 20;

/// Largest body of one frame (properties and payload of one message).
pub const BODY_BYTES_MAX: usize = 64 << 20;

/// Largest batch: what one append may add to an open batch that was just below its limit.
pub const BATCH_BYTES_MAX: usize = 1 << 30;

/// Frame versions are seven bits: the eighth says whether the kind is critical.
pub const FRAME_VERSION_MAX: u8 = 0x7f;

/// First and last kind number that belongs to the caller; see [`crate::kind`].
pub const CALLER_KIND_MIN: u8 = 0x10;
/// Last kind number that belongs to the caller.
pub const CALLER_KIND_MAX: u8 = 0x7f;

/// Default of [`WalOptions::in_flight_bytes_max`](crate::WalOptions::in_flight_bytes_max).
pub const IN_FLIGHT_BYTES_MAX: usize = 16 << 20;

/// Default of [`WalOptions::cache_bytes_max`](crate::WalOptions::cache_bytes_max).
pub const CACHE_BYTES_MAX: usize = 32 << 20;

/// Default of [`WalOptions::segment_bytes`](crate::WalOptions::segment_bytes).
pub const SEGMENT_BYTES: u64 = 64 << 20;

/// Smallest segment that makes sense: its header, one batch of one sector and a seal.
pub const SEGMENT_BYTES_MIN: u64 = 4 * SECTOR_BYTES as u64;

/// Default of [`WalOptions::fill_ahead_bytes`](crate::WalOptions::fill_ahead_bytes).
pub const FILL_AHEAD_BYTES: u64 = 16 << 20;

/// Default of [`WalOptions::reserve_bytes`](crate::WalOptions::reserve_bytes).
pub const RESERVE_BYTES: u64 = 32 << 20;

/// Smallest reserve of a small volume, if the option allows it.
pub const RESERVE_BYTES_MIN: u64 = 4 << 20;

/// A segment takes at most this part of a volume, and the reserve at most twice as much.
pub const SEGMENTS_PER_VOLUME: u64 = 16;

/// On a small volume segments are not made smaller than this.
pub const SEGMENT_BYTES_ON_SMALL_VOLUME: u64 = 1 << 20;

/// Largest append that is [`Purpose::Upkeep`](crate::Purpose::Upkeep): room for so much is made
/// sure of before it is asked for.
pub const UPKEEP_BYTES_MAX: u64 = (1 << 20) + (64 << 10);

/// Kept in the segment in use for what a restart writes, and for the seals of many of them.
pub const RESTART_BYTES: u64 = 64 << 10;

/// So many bytes may be appended after an opening though nothing else may.
pub const OPENING_BYTES: u64 = 4 << 10;

/// What two batches, and the seals around them, take beside their frames.
pub(crate) const FRAME_ROOM_BYTES_MAX: u64 = 4 << 10;

/// A full disk is looked at again after this many milliseconds.
pub const FULL_DISK_PAUSE_MS: u64 = 250;

/// One index entry is kept for each stretch of this many bytes of a segment.
pub const INDEX_STRETCH_BYTES: u32 = 4096;

/// Default: a `Soon` append is written at most this long after it was made.
pub const WRITE_DELAY_MS: u64 = 5;

/// Default: a `Soon` append is synced at most this long after it was written.
pub const SYNC_DELAY_MS: u64 = 50;

/// Default: a seal is written when nothing was committed for this long.
pub const SEAL_DELAY_MS: u64 = 50;

const _: () = {
    assert!(SECTOR_BYTES.is_multiple_of(FRAME_ALIGN_BYTES));
    assert!(BATCH_HEADER_BYTES.is_multiple_of(FRAME_ALIGN_BYTES));
    assert!(FRAME_HEADER_BYTES.is_multiple_of(FRAME_ALIGN_BYTES));
    assert!(BATCH_HEADER_BYTES + FRAME_HEADER_BYTES <= SECTOR_BYTES);
    assert!(HEAD_BYTES_MAX + BODY_BYTES_MAX + IN_FLIGHT_BYTES_MAX < BATCH_BYTES_MAX);
    assert!(BATCH_BYTES_MAX < u32::MAX as usize);
    assert!(CALLER_KIND_MIN < CALLER_KIND_MAX);
    assert!(OPENING_BYTES + FRAME_ROOM_BYTES_MAX < RESTART_BYTES);
    assert!(UPKEEP_BYTES_MAX <= RESERVE_BYTES / 4);
};
