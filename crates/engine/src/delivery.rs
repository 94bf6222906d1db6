//! The life of one delivery.
//!
//! ```text
//!            ┌────────── nack, deadline, give back ──────────┐
//!            ▼                                               │
//!   ready ──────► leased ── extend ──► leased                │
//!                   │ └──────────────────────────────────────┘
//!                   └── ack, reject, queue deleted ──► gone
//! ```
//!
//! [`outcome`] is that picture as a table: what each verdict on a leased delivery does.

/// What becomes of a message when a verdict on its delivery arrives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It leaves the queue for good.
    Gone(Cause),
    /// It is ready again, with one attempt more.
    Ready,
    /// It stays leased, with a later deadline.
    Leased,
}

/// What a client says of its delivery.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It was handled.
    Ack,
    /// It was not handled and goes back to its place in the queue.
    Nack,
    /// It cannot be handled by anybody.
    Reject,
    /// It needs that many milliseconds more, from now; `None`: as many as its queue says.
    Extend(Option<u64>),
}

/// Why a message left a queue, or a subscription ended. The numbers are part of the log's format.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Cause {
    /// A consumer handled it.
    Acked = 1,
    /// A consumer rejected it.
    Rejected = 2,
    /// Its queue was deleted.
    QueueDeleted = 3,
    /// It was purged.
    Purged = 4,
    /// Its time to live passed.
    Expired = 5,
    /// Its session ended.
    SessionEnded = 6,
    /// Its body in the log is damaged.
    Corrupt = 7,
    /// Its queue was full.
    Overflow = 8,
    /// It was handed over as often as its queue allows.
    MaxAttempts = 9,
    /// The permission to consume was revoked.
    NotAllowed = 10,
    /// Its queue was deleted because nobody used it.
    Unused = 11,
}

impl Cause {
    /// How many there are; their numbers begin with 1.
    pub const COUNT: usize = 11;

    /// The cause with that number.
    pub fn from_number(number: u8) -> Option<Self> {
        Some(match number {
            1 => Self::Acked,
            2 => Self::Rejected,
            3 => Self::QueueDeleted,
            4 => Self::Purged,
            5 => Self::Expired,
            6 => Self::SessionEnded,
            7 => Self::Corrupt,
            8 => Self::Overflow,
            9 => Self::MaxAttempts,
            10 => Self::NotAllowed,
            11 => Self::Unused,
            _ => return None,
        })
    }

    /// A word for people and logs.
    pub fn word(self) -> &'static str {
        match self {
            Self::Acked => "acked",
            Self::Rejected => "rejected",
            Self::QueueDeleted => "queue-deleted",
            Self::Purged => "purged",
            Self::Expired => "expired",
            Self::SessionEnded => "session-ended",
            Self::Corrupt => "corrupt",
            Self::Overflow => "overflow",
            Self::MaxAttempts => "max-attempts",
            Self::NotAllowed => "not-allowed",
            Self::Unused => "unused",
        }
    }
}

/// What each verdict does to a leased delivery.
pub fn outcome(verdict: Verdict) -> Outcome {
    match verdict {
        Verdict::Ack => Outcome::Gone(Cause::Acked),
        Verdict::Reject => Outcome::Gone(Cause::Rejected),
        Verdict::Nack => Outcome::Ready,
        Verdict::Extend(_) => Outcome::Leased,
    }
}

/// The number of one handing-over: the opening's term (16 bits), the generation of the slot (24)
/// and the slot (24). Together with the message's number it never names two deliveries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Lease(pub u64);

impl Lease {
    /// Stands where nothing has to be settled.
    pub const NONE: Self = Self(0);
    const SLOT_BITS: u32 = 24;
    const MASK: u64 = (1 << Self::SLOT_BITS) - 1;

    pub(crate) fn new(term: u64, generation: u32, slot: u32) -> Self {
        Self(
            (term & 0xffff) << 48
                | (u64::from(generation) & Self::MASK) << Self::SLOT_BITS
                | u64::from(slot) & Self::MASK,
        )
    }

    pub(crate) fn slot(self) -> u32 {
        // The mask leaves 24 bits.
        u32::try_from(self.0 & Self::MASK).unwrap_or(u32::MAX)
    }
}

/// What a client settles a delivery by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Handle {
    /// The message's number in its shard.
    pub seq: u64,
    /// The delivery's number.
    pub lease: Lease,
}

/// Which open deliveries of a session a verdict is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Selector {
    /// Exactly this one.
    One(Handle),
    /// This one and all of its subscription that were handed over before it.
    UpTo(Handle),
    /// The only open delivery of that message in this session.
    Message(u64),
}
