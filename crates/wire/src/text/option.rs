//! The one table of options: which verbs take them, what form their values have, what the broker
//! does with them, and the sentence that the specification says of them.

use super::verb::Verb;
use crate::limits::MS_MAX;

/// The form of an option's value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// UTF-8, `%XX` escaped; may be any bytes after unescaping.
    Text,
    /// As [`Form::Text`], and a valid name after unescaping (checked where it is looked up).
    Name,
    /// 1 to 64 printable ASCII characters, taken as they are, never unescaped.
    Token,
    /// A decimal number of at least and at most this.
    Number(u64, u64),
    /// One of these words.
    Word(&'static [&'static str]),
    /// A message id or a delivery's handle.
    Handle,
    /// `NAME=VALUE`, `NAME` and text `%XX` escaped; a `=` in NAME is `%3D`.
    Header(HeaderForm),
}

/// The type of a header's value: each has a key of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HeaderForm {
    /// `h:` text.
    Text,
    /// `hi:` a whole number, signed, of 64 bits.
    Int,
    /// `hb:` yes or no.
    Bool,
    /// `hn:` present, without a value.
    Null,
}

impl HeaderForm {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Text, Self::Int, Self::Bool, Self::Null];

    /// The key of such a header.
    pub const fn key(self) -> &'static str {
        match self {
            Self::Text => "h",
            Self::Int => "hi",
            Self::Bool => "hb",
            Self::Null => "hn",
        }
    }

    /// Whether `value` is one of this type, as it stands on a line.
    pub(crate) fn takes(self, value: &[u8]) -> bool {
        match self {
            Self::Text => true,
            Self::Int => std::str::from_utf8(value).is_ok_and(|text| text.parse::<i64>().is_ok()),
            Self::Bool => matches!(value, b"yes" | b"no"),
            Self::Null => value.is_empty(),
        }
    }
}

/// What becomes of an option that is well formed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Support {
    /// The broker acts on it.
    Acts,
    /// The broker carries it to the consumer and does not look at it.
    Carried,
    /// The broker refuses it for now, by name; it never ignores it.
    Refused,
}

impl Support {
    /// The word for it in the specification.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Acts => "acts",
            Self::Carried => "carried",
            Self::Refused => "refused",
        }
    }
}

/// One row of [`OPTIONS`].
#[derive(Clone, Copy, Debug)]
pub struct OptionSpec {
    /// The option.
    pub key: Key,
    /// The word before the colon.
    pub name: &'static str,
    verbs: u32,
    /// The form of its value.
    pub form: Form,
    /// Its value in words, for refusals and for the specification.
    pub wants: &'static str,
    /// Whether it may be given more than once.
    pub repeats: bool,
    /// What becomes of it.
    pub support: Support,
}

impl OptionSpec {
    /// Whether `verb` takes it.
    pub const fn is_for(&self, verb: Verb) -> bool {
        self.verbs & verb.bit() != 0
    }

    const fn repeated(mut self) -> Self {
        self.repeats = true;
        self
    }

    const fn carried(mut self) -> Self {
        self.support = Support::Carried;
        self
    }

    const fn refused(mut self) -> Self {
        self.support = Support::Refused;
        self
    }
}

const fn row(
    key: Key,
    name: &'static str,
    verbs: u32,
    form: Form,
    wants: &'static str,
) -> OptionSpec {
    OptionSpec { key, name, verbs, form, wants, repeats: false, support: Support::Acts }
}

const PUB: u32 = Verb::Pub.bit();
const SUB: u32 = Verb::Sub.bit();
const GET: u32 = Verb::Get.bit();
const NACK: u32 = Verb::Nack.bit();
const DECLARE: u32 = Verb::Declare.bit();
const DELETE: u32 = Verb::Delete.bit();
const BINDS: u32 = Verb::Bind.bit() | Verb::Unbind.bit();
const CREDIT: u32 = Verb::Credit.bit();
const LIST: u32 = Verb::List.bit();
const SETTLES: u32 = Verb::Ack.bit() | NACK | Verb::Reject.bit();
const SUB_ID: u32 = SUB | Verb::Unsub.bit() | CREDIT;

const ANY: u64 = u64::MAX;
const U32: u64 = 0xffff_ffff;
const YES_NO: Form = Form::Word(&["yes", "no"]);
const CONFIRMS: Form = Form::Word(&["memory", "written", "committed", "synced"]);
const MODES: Form = Form::Word(&["session", "live"]);
const ACKS: Form = Form::Word(&["manual", "auto"]);
const KINDS: Form = Form::Word(&["direct", "fanout", "topic", "headers", "hash"]);
const OVERFLOWS: Form = Form::Word(&["reject", "block", "drop-oldest"]);
const MATCHES: Form = Form::Word(&["any", "all", "any-with-x", "all-with-x"]);
const WORD: &str = "text, %XX escaped";
const MS: &str = "milliseconds";
const COUNT: &str = "a number of messages from 1";
const BYTES: &str = "a number of bytes from 1";

macro_rules! keys {
    ($($key:ident: $spec:expr;)*) => {
        /// The name of an option.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[allow(missing_docs)]
        pub enum Key { $($key,)* }

        /// Every option of every command.
        pub const OPTIONS: &[OptionSpec] = &[$({
            let spec: OptionSpec = $spec;
            assert!(spec.key as usize == Key::$key as usize);
            spec
        },)*];
    };
}

use Key as K;
keys! {
    Req: row(K::Req, "req", !Verb::Pong.bit(), Form::Token, "a token of 1 to 64 characters");
    MsgId: row(
        K::MsgId, "msg_id", SETTLES | Verb::Extend.bit(), Form::Handle, "the msg_id of a MSG",
    ).repeated();
    Confirm: row(
        K::Confirm, "confirm", PUB | SETTLES, CONFIRMS,
        "memory, written or committed for PUB, synced for ACK, NACK and REJECT",
    );
    RoutingKey: row(
        K::RoutingKey, "key", PUB | SUB | BINDS, Form::Text, "a routing key, %XX escaped",
    );
    Header: row(
        K::Header, "h", PUB | BINDS, Form::Header(HeaderForm::Text), "NAME=VALUE, each %XX escaped",
    ).repeated().carried();
    Durable: row(K::Durable, "durable", PUB | DECLARE, YES_NO, "yes or no");
    ContentType: row(K::ContentType, "content_type", PUB, Form::Text, WORD).carried();
    ContentEncoding: row(K::ContentEncoding, "content_encoding", PUB, Form::Text, WORD).carried();
    CorrelationId: row(K::CorrelationId, "correlation_id", PUB, Form::Text, WORD).carried();
    ReplyTo: row(K::ReplyTo, "reply_to", PUB, Form::Text, WORD).carried();
    AppId: row(K::AppId, "app_id", PUB, Form::Text, WORD).carried();
    Timestamp: row(
        K::Timestamp, "timestamp", PUB, Form::Number(0, ANY), "milliseconds since 1970",
    ).carried();
    Ttl: row(K::Ttl, "ttl", PUB, Form::Number(1, MS_MAX), MS);
    Priority: row(
        K::Priority, "priority", PUB, Form::Number(0, 9), "a number from 0 to 9",
    ).refused();
    DelayMs: row(K::DelayMs, "delay", PUB | NACK, Form::Number(0, MS_MAX), MS).refused();
    DeliverAt: row(
        K::DeliverAt, "deliver_at", PUB, Form::Number(0, ANY), "milliseconds since 1970",
    ).refused();
    Dedup: row(K::Dedup, "dedup", PUB, Form::Text, WORD).refused();
    Ordering: row(K::Ordering, "ordering", PUB, Form::Text, WORD).refused();
    SubId: row(K::SubId, "sub_id", SUB_ID, Form::Token, "a token of 1 to 64 characters");
    Mode: row(K::Mode, "mode", SUB, MODES, "session or live");
    Name: row(
        K::Name, "name", SUB | DECLARE | DELETE, Form::Name, "the name of a durable subscriber",
    );
    Credit: row(K::Credit, "credit", SUB, Form::Number(0, U32), "a number of messages");
    Ack: row(K::Ack, "ack", SUB | GET, ACKS, "manual or auto");
    Visibility: row(K::Visibility, "visibility", SUB | DECLARE, Form::Number(1, MS_MAX), MS);
    N: row(K::N, "n", CREDIT, Form::Number(1, U32), COUNT);
    Upto: row(K::Upto, "upto", Verb::Ack.bit(), Form::Handle, "the msg_id of a MSG");
    Requeue: row(K::Requeue, "requeue", NACK, YES_NO, "yes or no");
    Reason: row(K::Reason, "reason", NACK | Verb::Reject.bit(), Form::Text, WORD);
    Ms: row(K::Ms, "ms", Verb::Extend.bit(), Form::Number(1, MS_MAX), MS);
    Passive: row(K::Passive, "passive", DECLARE, YES_NO, "yes or no");
    Kind: row(K::Kind, "kind", DECLARE, KINDS, "direct, fanout, topic, headers or hash");
    IfEmpty: row(K::IfEmpty, "if_empty", DELETE, YES_NO, "yes or no");
    IfUnused: row(K::IfUnused, "if_unused", DELETE, YES_NO, "yes or no");
    Count: row(K::Count, "count", GET | LIST, Form::Number(1, 1024), "a number from 1 to 1024");
    HeaderInt: row(
        K::HeaderInt, "hi", PUB | BINDS, Form::Header(HeaderForm::Int), "NAME=a whole number",
    ).repeated().carried();
    HeaderBool: row(
        K::HeaderBool, "hb", PUB | BINDS, Form::Header(HeaderForm::Bool), "NAME=yes or NAME=no",
    ).repeated().carried();
    HeaderNull: row(
        K::HeaderNull, "hn", PUB | BINDS, Form::Header(HeaderForm::Null), "NAME=",
    ).repeated().carried();
    Mandatory: row(K::Mandatory, "mandatory", PUB, YES_NO, "yes or no");
    Weight: row(
        K::Weight, "weight", BINDS, Form::Number(1, 1000), "a number from 1 to 1000",
    );
    Match: row(
        K::Match, "match", BINDS, MATCHES, "any, all, any-with-x or all-with-x",
    );
    MaxLength: row(K::MaxLength, "max_length", DECLARE, Form::Number(1, ANY), COUNT);
    MaxBytes: row(K::MaxBytes, "max_bytes", DECLARE, Form::Number(1, ANY), BYTES);
    MaxMessageBytes: row(
        K::MaxMessageBytes, "max_message_bytes", DECLARE, Form::Number(1, U32), BYTES,
    );
    Overflow: row(
        K::Overflow, "overflow", DECLARE, OVERFLOWS, "reject, block or drop-oldest",
    );
    MessageTtl: row(
        K::MessageTtl, "message_ttl", DECLARE, Form::Number(1, MS_MAX), MS,
    );
    Expires: row(K::Expires, "expires", DECLARE, Form::Number(1, MS_MAX), MS);
    MaxAttempts: row(
        K::MaxAttempts, "max_attempts", DECLARE, Form::Number(1, 0xffff),
        "a number from 1 to 65535",
    );
    Exclusive: row(K::Exclusive, "exclusive", DECLARE, YES_NO, "yes or no");
    AutoDelete: row(K::AutoDelete, "auto_delete", DECLARE, YES_NO, "yes or no");
    Internal: row(K::Internal, "internal", DECLARE, YES_NO, "yes or no");
    Alternate: row(
        K::Alternate, "alternate", DECLARE, Form::Name, "the name of an exchange",
    );
    CreditBytes: row(
        K::CreditBytes, "credit_bytes", SUB, Form::Number(1, ANY), BYTES,
    );
    Bytes: row(K::Bytes, "bytes", CREDIT, Form::Number(1, ANY), BYTES);
    After: row(K::After, "after", LIST, Form::Text, WORD);
}

// A set of keys is a u64.
const _: () = assert!(OPTIONS.len() <= 64);

impl Key {
    /// The row of the table.
    pub fn spec(self) -> &'static OptionSpec {
        // The table has a row per key, in order; its macro asserts it.
        OPTIONS.get(self as usize).unwrap_or(const { &row(K::Req, "", 0, Form::Text, "") })
    }

    /// The word before the colon.
    pub fn name(self) -> &'static str {
        self.spec().name
    }

    /// The key that `word` names; keys are lower case.
    pub fn parse(word: &[u8]) -> Option<Self> {
        OPTIONS.iter().find(|spec| spec.name.as_bytes() == word).map(|spec| spec.key)
    }

    /// A set of one.
    pub(crate) const fn bit(self) -> u64 {
        1 << self as u64
    }
}

impl std::fmt::Display for Key {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(self.name())
    }
}
