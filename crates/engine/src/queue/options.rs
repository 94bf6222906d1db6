//! The policies of a queue: what they are, which values they take, how they stand in a record.
//!
//! In a record and in a root the policies are tags with a number each, in rising order, only those
//! that are set ([`QueueOptions::tags`]). A tag that is not known was written by a newer version.

use crate::limits::{
    MAX_ATTEMPTS_MAX, MESSAGE_BYTES_MAX, QUEUE_BYTES_MAX, QUEUE_LENGTH_MAX, TTL_MS_MAX,
    UNUSED_MS_MIN, VISIBILITY_MS_DEFAULT, VISIBILITY_MS_MAX, VISIBILITY_MS_MIN,
};

/// What happens to a message that a full queue has no room for. The numbers are part of the log's
/// format.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[repr(u8)]
pub enum Overflow {
    /// It is refused.
    #[default]
    Reject = 1,
    /// Its publisher is held for a while; then it is refused.
    Block = 2,
    /// It is taken, and the oldest ready messages leave.
    DropOldest = 3,
}

impl Overflow {
    /// The choice with that number.
    pub fn from_number(number: u8) -> Option<Self> {
        Some(match number {
            1 => Self::Reject,
            2 => Self::Block,
            3 => Self::DropOldest,
            _ => return None,
        })
    }

    /// Its word in the protocols.
    pub fn word(self) -> &'static str {
        match self {
            Self::Reject => "reject",
            Self::Block => "block",
            Self::DropOldest => "drop-oldest",
        }
    }
}

/// The policies of a queue. `None` means no limit, or that it is off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QueueOptions {
    /// Whether queue and messages outlive the process.
    pub durable: bool,
    /// How long a delivery may stay unsettled before it goes back.
    pub visibility_ms: u64,
    /// Whether only the session that declares it may use it, and it goes with that session. Never
    /// with `durable`.
    pub exclusive: bool,
    /// Whether it goes when its last subscription ends; not before there was one.
    pub auto_delete: bool,
    /// Most messages in it: ready, handed over, and on their way into it.
    pub max_length: Option<u64>,
    /// Most bytes of properties and bodies of the same.
    pub max_bytes: Option<u64>,
    /// Most bytes of the body of one message.
    pub max_message_bytes: Option<u32>,
    /// What happens when `max_length` or `max_bytes` is reached.
    pub overflow: Overflow,
    /// How long a message may stay in it, in milliseconds; the earlier of this and the message's
    /// own deadline counts.
    pub message_ttl_ms: Option<u64>,
    /// After so many milliseconds without a subscription, claim or declaration it goes.
    pub expires_ms: Option<u64>,
    /// After so many hand-overs a message leaves instead of going back.
    pub max_attempts: Option<u16>,
}

impl Default for QueueOptions {
    fn default() -> Self {
        Self {
            durable: true,
            visibility_ms: VISIBILITY_MS_DEFAULT,
            exclusive: false,
            auto_delete: false,
            max_length: None,
            max_bytes: None,
            max_message_bytes: None,
            overflow: Overflow::Reject,
            message_ttl_ms: None,
            expires_ms: None,
            max_attempts: None,
        }
    }
}

const VISIBILITY: u8 = 1;
const AUTO_DELETE: u8 = 2;
const MAX_LENGTH: u8 = 3;
const MAX_BYTES: u8 = 4;
const MAX_MESSAGE_BYTES: u8 = 5;
const OVERFLOW: u8 = 6;
const MESSAGE_TTL: u8 = 7;
const EXPIRES: u8 = 8;
const MAX_ATTEMPTS: u8 = 9;

impl QueueOptions {
    /// Whether every policy is within its range, and they go together.
    pub fn is_valid(&self) -> bool {
        let within = |value: Option<u64>, min, max| value.is_none_or(|n| (min..=max).contains(&n));
        (VISIBILITY_MS_MIN..=VISIBILITY_MS_MAX).contains(&self.visibility_ms)
            && !(self.exclusive && self.durable)
            && within(self.max_length, 1, QUEUE_LENGTH_MAX)
            && within(self.max_bytes, 1, QUEUE_BYTES_MAX)
            && within(self.max_message_bytes.map(u64::from), 1, u64::from(MESSAGE_BYTES_MAX))
            && within(self.message_ttl_ms, 1, TTL_MS_MAX)
            && within(self.expires_ms, UNUSED_MS_MIN, TTL_MS_MAX)
            && within(self.max_attempts.map(u64::from), 1, u64::from(MAX_ATTEMPTS_MAX))
    }

    /// Whether a message may not find room in it, or may be too large for it.
    pub fn has_limits(&self) -> bool {
        self.max_length.is_some() || self.max_bytes.is_some() || self.max_message_bytes.is_some()
    }

    /// The word for the first policy in which the two differ, as the text protocol has it.
    pub fn differing(&self, other: &Self) -> Option<&'static str> {
        let same = [
            (self.durable == other.durable, "durable"),
            (self.exclusive == other.exclusive, "exclusive"),
            (self.auto_delete == other.auto_delete, "auto_delete"),
            (self.visibility_ms == other.visibility_ms, "visibility"),
            (self.max_length == other.max_length, "max_length"),
            (self.max_bytes == other.max_bytes, "max_bytes"),
            (self.max_message_bytes == other.max_message_bytes, "max_message_bytes"),
            (self.overflow == other.overflow, "overflow"),
            (self.message_ttl_ms == other.message_ttl_ms, "message_ttl"),
            (self.expires_ms == other.expires_ms, "expires"),
            (self.max_attempts == other.max_attempts, "max_attempts"),
        ];
        same.iter().find(|(is_same, _)| !is_same).map(|(_, word)| *word)
    }

    /// The policies of a durable queue as they stand in a record: tags that rise, and their values.
    pub fn tags(&self) -> impl Iterator<Item = (u8, u64)> {
        [
            (VISIBILITY, Some(self.visibility_ms)),
            (AUTO_DELETE, self.auto_delete.then_some(1)),
            (MAX_LENGTH, self.max_length),
            (MAX_BYTES, self.max_bytes),
            (MAX_MESSAGE_BYTES, self.max_message_bytes.map(u64::from)),
            (OVERFLOW, (self.overflow != Overflow::Reject).then_some(self.overflow as u64)),
            (MESSAGE_TTL, self.message_ttl_ms),
            (EXPIRES, self.expires_ms),
            (MAX_ATTEMPTS, self.max_attempts.map(u64::from)),
        ]
        .into_iter()
        .filter_map(|(tag, value)| Some((tag, value?)))
    }

    /// The policies that such tags stand for; `None` if one is not known, does not rise, or has a
    /// value that is none.
    pub fn from_tags(tags: impl IntoIterator<Item = (u8, u64)>) -> Option<Self> {
        let mut options = Self::default();
        let mut last = 0;
        for (tag, value) in tags {
            if tag <= last {
                return None;
            }
            last = tag;
            match tag {
                VISIBILITY => options.visibility_ms = value,
                AUTO_DELETE if value == 1 => options.auto_delete = true,
                MAX_LENGTH => options.max_length = Some(value),
                MAX_BYTES => options.max_bytes = Some(value),
                MAX_MESSAGE_BYTES => options.max_message_bytes = Some(value.try_into().ok()?),
                OVERFLOW => options.overflow = Overflow::from_number(value.try_into().ok()?)?,
                MESSAGE_TTL => options.message_ttl_ms = Some(value),
                EXPIRES => options.expires_ms = Some(value),
                MAX_ATTEMPTS => options.max_attempts = Some(value.try_into().ok()?),
                _ => return None,
            }
        }
        Some(options)
    }
}
