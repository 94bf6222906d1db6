//! The one catalogue of refusals: every reason why Courant says no.
//!
//! A number, once given, keeps its meaning for ever and is never given again. Doors map all of
//! them in one exhaustive place. `docs/errors.md` is generated from this table.

use std::fmt::{self, Write as _};

/// What a refusal puts an end to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Closes {
    /// Only the request.
    Nothing,
    /// The session (a channel, where a protocol has those).
    Session,
    /// The connection.
    Connection,
}

/// Whether asking again can help.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Retry {
    /// The same request will always be refused.
    Never,
    /// After the request was changed.
    Changed,
    /// The same request, later.
    Later,
}

macro_rules! catalogue {
    ($($number:literal $variant:ident $name:literal $closes:ident $retry:ident $sentence:literal $todo:literal;)*) => {
        /// Why something was not done.
        #[allow(clippy::doc_markdown, reason = "the sentences are for clients")]
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        #[repr(u16)]
        pub enum Refusal { $(#[doc = $sentence] $variant = $number,)* }

        impl Refusal {
            /// The whole catalogue, in the order of the numbers.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// The stable number.
            pub fn number(self) -> u16 { self as u16 }

            /// The stable name.
            pub fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }

            /// What it puts an end to.
            pub fn closes(self) -> Closes {
                match self { $(Self::$variant => Closes::$closes,)* }
            }

            /// Whether asking again can help.
            pub fn retry(self) -> Retry {
                match self { $(Self::$variant => Retry::$retry,)* }
            }

            /// One sentence for people; `{}` stands for what the request was about.
            pub fn sentence(self) -> &'static str {
                match self { $(Self::$variant => $sentence,)* }
            }

            /// What to do about it; `{}` stands for what the request was about.
            pub fn remedy(self) -> &'static str {
                match self { $(Self::$variant => $todo,)* }
            }
        }
    };
}

catalogue! {
    100 LineTooLong "line-too-long" Connection Changed "the command line is longer than allowed" "keep the line within 4096 bytes; put data into the body";
    101 UnknownVerb "unknown-verb" Nothing Changed "there is no command {}" "see `docs/doors/text.md` for the commands";
    102 MissingField "missing-field" Nothing Changed "the command lacks {}" "add the missing field";
    103 BadOption "bad-option" Nothing Changed "the option {} is not understood here" "see `docs/doors/text.md` for the options of this command";
    104 BadSize "bad-size" Connection Changed "the size is not a whole number of bytes" "end the line with the size of the body";
    105 BodyNotEnded "body-not-ended" Connection Changed "the body is not followed by a line end: its size is wrong" "count bytes, not characters";
    106 BadJson "bad-json" Connection Changed "CONNECT takes one JSON object: {}" "for example CONNECT {\"version\":\"1.0\"}";
    107 BadHandle "bad-handle" Nothing Changed "{} is not a msg_id" "send back the msg_id that came with the message";
    108 NotConnected "not-connected" Connection Changed "the first command is CONNECT" "send CONNECT {\"version\":\"1.0\"} first";
    109 AlreadyConnected "already-connected" Nothing Never "the session is connected already" "send CONNECT once";
    110 UnknownVersion "unknown-version" Connection Changed "protocol version {} is not spoken here" "use version 1.0";
    111 HandshakeTimeout "handshake-timeout" Connection Later "no CONNECT came in time" "send CONNECT within 10 seconds";
    112 IdleTimeout "idle-timeout" Connection Later "nothing was heard for too long" "answer PING with PONG";
    113 NotSupported "not-supported" Nothing Never "{} is not supported by this version" "leave it out, or use a version that has it";
    114 HeadersTooLarge "headers-too-large" Nothing Changed "the headers are too many or too large" "keep to 256 headers and 64 KiB";
    115 CommandTimeout "command-timeout" Connection Later "a command was begun and not finished in time" "send a command whole";
    116 NotUtf8 "not-utf8" Nothing Changed "{} is not UTF-8" "send text as UTF-8";
    117 BadFrame "bad-frame" Nothing Changed "the frame is not as the specification says: {}" "see `docs/doors/binary.md` for the fields of each command";
    118 FrameTooLarge "frame-too-large" Connection Changed "the frame is larger than allowed" "keep a frame within 16 MiB and 128 KiB; send more messages in more frames";
    200 BadName "bad-name" Nothing Changed "{} is not a name" "a name has 1 to 255 bytes of UTF-8 without control characters";
    201 NoSuchQueue "no-such-queue" Nothing Changed "queue {} does not exist" "declare it first: DECLARE queue:{}";
    202 NoSuchTopic "no-such-topic" Nothing Changed "topic {} does not exist" "declare it first: DECLARE topic:{}";
    203 NoSuchExchange "no-such-exchange" Nothing Changed "exchange {} does not exist" "declare it first: DECLARE exchange:{}";
    204 NoSuchNamespace "no-such-namespace" Connection Changed "namespace {} does not exist" "use namespace / or declare it";
    205 DeclaredOtherwise "declared-otherwise" Nothing Changed "{} exists with other options" "declare it with the same options, or delete it first";
    206 QueueNotEmpty "queue-not-empty" Nothing Later "queue {} holds messages" "drain it, or delete it without if_empty";
    207 QueueInUse "queue-in-use" Nothing Later "queue {} has subscriptions" "end them, or delete it without if_unused";
    208 BadPolicy "bad-policy" Nothing Changed "a limit of {} is out of range" "see `docs/doors/text.md` for the ranges";
    209 NoSuchBinding "no-such-binding" Nothing Changed "there is no such binding" "look at the bindings of the exchange";
    210 ReservedName "reserved-name" Nothing Changed "the name {} is reserved" "choose a name that does not begin with $";
    211 QueueExclusive "queue-exclusive" Nothing Changed "queue {} belongs to another connection" "use another queue";
    212 BadBinding "bad-binding" Nothing Changed "{} is no binding for an exchange of this kind" "see `docs/doors/text.md` for what each kind of exchange takes";
    213 ExchangeInUse "exchange-in-use" Nothing Later "exchange {} has bindings" "end them, or delete it without if_unused";
    214 ExchangeInternal "exchange-internal" Nothing Changed "clients cannot publish to exchange {}: it is internal" "publish to an exchange that is bound to it";
    215 NoSuchSubscriber "no-such-subscriber" Nothing Changed "there is no subscriber {}" "declare it first: DECLARE topic:T name:{}";
    300 NotAllowed "not-allowed" Nothing Never "this user may not do that with {}" "ask for the permission";
    301 BadCredentials "bad-credentials" Connection Changed "user, password or token are not right" "check them";
    302 LockedOut "locked-out" Connection Later "too many wrong logins" "wait, then log in with the right password or token";
    303 CredentialsRequired "credentials-required" Connection Changed "this broker wants a user and a password, or a token" "send them with CONNECT";
    304 AccessRevoked "access-revoked" Connection Changed "the access of {} was revoked" "ask for new access";
    305 TlsRequired "tls-required" Connection Changed "this broker wants TLS here" "connect with TLS";
    400 MessageTooLarge "message-too-large" Nothing Changed "the message is larger than allowed" "send at most 16 MiB";
    401 TooManyTargets "too-many-targets" Nothing Changed "the message would reach too many queues" "split the exchange";
    402 NothingWaiting "nothing-waiting" Nothing Later "queue {} has no message ready" "ask again later, or subscribe";
    403 QueueFull "queue-full" Nothing Later "queue {} is full" "consume some of its messages, or raise its limits";
    404 MessageTooLargeForQueue "message-too-large-for-queue" Nothing Changed "the message is larger than queue {} takes" "send a smaller one, or raise max_message_bytes of the queue";
    500 NoSuchSubscription "no-such-subscription" Nothing Changed "there is no subscription {}" "subscribe first";
    501 SubscriptionExists "subscription-exists" Nothing Changed "the subscription {} exists already" "choose another sub_id";
    502 NotOpen "not-open" Nothing Never "{} is not an open delivery of this session" "it was settled, its deadline passed, or it belongs to another session";
    503 Ambiguous "ambiguous" Nothing Changed "{} is open more than once in this session" "use the whole msg_id of one delivery";
    600 TooManyConnections "too-many-connections" Connection Later "too many connections" "close some, or raise the limit";
    601 TooManySubscriptions "too-many-subscriptions" Nothing Changed "too many subscriptions in this session" "use more sessions";
    602 TooManyQueues "too-many-queues" Nothing Changed "too many queues" "delete some";
    603 TooManyDeliveries "too-many-deliveries" Nothing Later "too many open deliveries" "settle some";
    604 TooManyInFlight "too-many-in-flight" Nothing Later "too much is waiting to be written" "wait for confirms";
    605 TooManyExchanges "too-many-exchanges" Nothing Changed "too many exchanges" "delete some";
    606 TooManyBindings "too-many-bindings" Nothing Changed "too many bindings on {}" "remove some";
    607 SlowReader "slow-reader" Connection Later "the connection does not read what it is sent" "read faster, or ask for less credit";
    608 MemoryFull "memory-full" Nothing Later "transient messages fill the memory they may use" "consume some, or publish to durable queues";
    609 TooManySessions "too-many-sessions" Connection Later "too many sessions in this namespace, or of this user" "close some, or raise the limit";
    610 TooManyUnauthenticated "too-many-unauthenticated" Connection Later "too many connections from this source have not logged in" "log in sooner, or with fewer connections at a time";
    611 ConnectionMemory "connection-memory" Connection Later "the connection uses more memory than it may" "use more connections, or less on each";
    612 NamespaceQuota "namespace-quota" Nothing Later "the namespace has used up its quota of {}" "remove some of what is in it, or raise the quota";
    613 MemoryAlarm "memory-alarm" Nothing Later "memory is short: publishing is stopped until some is free" "consume messages, then publish again";
    700 LogPoisoned "log-poisoned" Nothing Later "the log cannot be written any more: nothing is confirmed" "look at the server's log, mend the disk, start again";
    701 Closing "closing" Connection Later "the broker is shutting down" "connect again later";
    702 BodyUnreadable "body-unreadable" Nothing Never "the message {} cannot be read from the log" "run courant check on the data folder";
    703 DiskFull "disk-full" Nothing Later "the disk is full: the message was not taken" "consume messages or free some space, then publish again";
}

impl Refusal {
    /// Sentence and remedy with the subject filled in.
    pub fn explain(self, subject: &str) -> String {
        let whole = format!("{}; {}", self.sentence(), self.remedy());
        whole.replace("{}", subject)
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}: {}", self.number(), self.name(), self.sentence())
    }
}

impl std::error::Error for Refusal {}

/// The page `docs/errors.md`, made from the catalogue.
pub fn page() -> String {
    let mut page = String::from(
        "# Refusals\n\nEvery reason why Courant says no. Generated from \
         `crates/engine/src/refusal.rs`; a number keeps its meaning for ever.\n\n\
         | number | name | closes | retry | sentence | what to do |\n|---|---|---|---|---|---|\n",
    );
    for refusal in Refusal::ALL {
        let _ = writeln!(
            page,
            "| {} | `{}` | {} | {} | {} | {} |",
            refusal.number(),
            refusal.name(),
            format!("{:?}", refusal.closes()).to_lowercase(),
            format!("{:?}", refusal.retry()).to_lowercase(),
            refusal.sentence(),
            refusal.remedy(),
        );
    }
    page
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_rise_and_names_differ() {
        for pair in Refusal::ALL.windows(2) {
            assert!(pair[0].number() < pair[1].number(), "{pair:?}");
        }
        let names: std::collections::BTreeSet<_> = Refusal::ALL.iter().map(|r| r.name()).collect();
        assert_eq!(names.len(), Refusal::ALL.len());
    }

    #[test]
    fn the_page_is_current() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/errors.md");
        if std::env::var_os("COURANT_WRITE").is_some() {
            std::fs::write(path, page()).expect("docs/errors.md is writable");
        }
        let there = std::fs::read_to_string(path).expect("docs/errors.md exists");
        assert_eq!(there, page(), "run `cargo xtask fix` to write docs/errors.md again");
    }
}
