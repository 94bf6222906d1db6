//! What a message is, apart from its body and the place where that is kept.

/// Names one message for ever: the shard it was admitted in and its number there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MessageId {
    /// The shard that admitted it.
    pub shard: u16,
    /// Given at admission, increasing, from one counter for durable and transient messages.
    pub seq: u64,
}

/// A typed header value.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Value<'a> {
    /// Present without a value.
    Null,
    /// A truth value.
    Bool(bool),
    /// A signed whole number.
    Int(i64),
    /// A floating point number.
    Float(f64),
    /// Text.
    Text(&'a str),
    /// Bytes.
    Bytes(&'a [u8]),
    /// Milliseconds since 1970.
    Time(u64),
}

/// One header; a name may occur more than once, and the order is kept.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Header<'a> {
    /// The header's name.
    pub name: &'a str,
    /// The header's value.
    pub value: Value<'a>,
}

/// What a publisher says about a message beside its body. Everything is optional.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Properties<'a> {
    /// MIME type of the body.
    pub content_type: Option<&'a str>,
    /// Encoding of the body, such as `gzip`.
    pub content_encoding: Option<&'a str>,
    /// Typed, repeatable, ordered headers.
    pub headers: &'a [Header<'a>],
    /// Matches a reply to its request.
    pub correlation_id: Option<&'a [u8]>,
    /// Where a reply should go.
    pub reply_to: Option<&'a str>,
    /// 0 is the lowest; most protocols stop at 9.
    pub priority: Option<u8>,
    /// Milliseconds since 1970 after which the message is not delivered any more.
    pub deadline_ms: Option<u64>,
    /// Milliseconds since 1970 before which the message is not delivered.
    pub deliver_at_ms: Option<u64>,
    /// Messages with the same key within the window are one message.
    pub dedup_key: Option<&'a [u8]>,
    /// Messages with the same key are handled one after the other.
    pub ordering_key: Option<&'a [u8]>,
    /// The publisher's own time, milliseconds since 1970.
    pub timestamp_ms: Option<u64>,
    /// The publishing application.
    pub app_id: Option<&'a str>,
    /// The publishing user.
    pub user_id: Option<&'a str>,
    /// W3C `traceparent`.
    pub trace: Option<&'a str>,
    /// What one protocol must carry and no other understands: its number and its bytes.
    pub extension: Option<(u8, &'a [u8])>,
}

impl Properties<'static> {
    /// Nothing said beside the payload, as for most messages.
    pub const NONE: Self = Self {
        content_type: None,
        content_encoding: None,
        headers: &[],
        correlation_id: None,
        reply_to: None,
        priority: None,
        deadline_ms: None,
        deliver_at_ms: None,
        dedup_key: None,
        ordering_key: None,
        timestamp_ms: None,
        app_id: None,
        user_id: None,
        trace: None,
        extension: None,
    };
}

impl Properties<'_> {
    /// Whether nothing at all was said.
    pub fn is_empty(&self) -> bool {
        *self == Properties::NONE
    }
}
