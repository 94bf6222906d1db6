//! Commands as they were read: borrowed from the input, every option checked against the table.

use super::destination::Destination;
use super::error::WireError;
use super::options::{Handles, Options};
use super::verb::Verb;
use crate::id::Handle;

/// What the beginning of some input is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Decoded<'a> {
    /// A whole command, body included.
    Command {
        /// The command.
        command: Command<'a>,
        /// The bytes it took, its last line end included; never more than were given.
        consumed: usize,
    },
    /// An empty line (or one of spaces). It is no command: it has no reply and no ordinal.
    Blank {
        /// The bytes it took.
        consumed: usize,
    },
    /// More bytes are needed.
    Incomplete {
        /// The bytes needed in all, those given included, as far as is known: the line, the body
        /// and the shortest line end. Zero while the end of the line has not been seen. It is below
        /// the limits, but it is the client's word: let a buffer grow as bytes arrive.
        wanted: usize,
    },
    /// Not a command that can be carried out.
    Refused {
        /// What is wrong.
        error: WireError,
        /// The bytes to skip, body included, after which the next command begins; `None` where that
        /// is not known and the connection has to close.
        consumed: Option<usize>,
        /// The first word as it was typed; may be empty, of any bytes, and as long as a line.
        verb: &'a [u8],
        /// The token of a valid `req:`, to be echoed.
        req: Option<&'a [u8]>,
    },
}

/// A command.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Command<'a> {
    /// `CONNECT [options] [json]`
    Connect {
        /// The JSON object, not yet parsed (see [`super::Login::parse`]); empty if there is none.
        json: &'a [u8],
        /// `req` only.
        options: Options<'a>,
    },
    /// `PUB destination [options] size`, and the body.
    Publish(Publish<'a>),
    /// `SUB destination [options]`
    Subscribe {
        /// What to subscribe to.
        destination: Destination<'a>,
        /// All of SUB.
        options: Options<'a>,
    },
    /// `UNSUB sub_id:ID`
    Unsubscribe {
        /// The subscription.
        sub_id: &'a [u8],
        /// `req` only.
        options: Options<'a>,
    },
    /// `ACK msg_id:H… [upto:H] [confirm:synced]`
    Ack(Settle<'a>),
    /// `NACK msg_id:H… [requeue:yes] [reason:…]`
    Nack(Settle<'a>),
    /// `REJECT msg_id:H… [reason:…]`
    Reject(Settle<'a>),
    /// `EXTEND msg_id:H… [ms:N]`
    Extend(Settle<'a>),
    /// `CREDIT sub_id:ID n:N`, or `CREDIT [n:N] [bytes:N]` for the session's own
    Credit {
        /// The subscription; none is the session.
        sub_id: Option<&'a [u8]>,
        /// Messages to add to the subscription's credit, or those that may be open in the session;
        /// at least one.
        n: Option<u32>,
        /// `bytes` of the session, and `req`.
        options: Options<'a>,
    },
    /// `PING`
    Ping {
        /// `req` only.
        options: Options<'a>,
    },
    /// `PONG`, the answer to the server's PING; has no reply.
    Pong,
    /// `DECLARE destination [options]`
    Declare {
        /// What to make.
        destination: Destination<'a>,
        /// All of DECLARE.
        options: Options<'a>,
    },
    /// `DELETE destination [options]`
    Delete {
        /// What to delete.
        destination: Destination<'a>,
        /// All of DELETE.
        options: Options<'a>,
    },
    /// `BIND source target [key:K]`
    Bind {
        /// The exchange or topic messages come from.
        source: Destination<'a>,
        /// The queue or exchange they go to.
        target: Destination<'a>,
        /// `key` and `req`.
        options: Options<'a>,
    },
    /// `UNBIND source target [key:K]`
    Unbind {
        /// As of BIND.
        source: Destination<'a>,
        /// As of BIND.
        target: Destination<'a>,
        /// `key` and `req`.
        options: Options<'a>,
    },
    /// `GET destination [options]`
    Get {
        /// The queue.
        destination: Destination<'a>,
        /// All of GET.
        options: Options<'a>,
    },
    /// `PURGE queue:Q`
    Purge {
        /// The queue.
        destination: Destination<'a>,
        /// `req` only.
        options: Options<'a>,
    },
    /// `LIST queues|… [destination] [after:NAME] [count:N]`
    List {
        /// What.
        what: Listed,
        /// Of what alone; bindings and subscriptions only.
        of: Option<Destination<'a>>,
        /// All of LIST.
        options: Options<'a>,
    },
    /// `STATS [destination]`
    Stats {
        /// What to show; everything if there is none.
        destination: Option<Destination<'a>>,
        /// `req` only.
        options: Options<'a>,
    },
    /// `QUIT`
    Quit {
        /// `req` only.
        options: Options<'a>,
    },
}

impl<'a> Command<'a> {
    /// Its verb.
    pub fn verb(&self) -> Verb {
        match self {
            Self::Connect { .. } => Verb::Connect,
            Self::Publish(_) => Verb::Pub,
            Self::Subscribe { .. } => Verb::Sub,
            Self::Unsubscribe { .. } => Verb::Unsub,
            Self::Ack(_) => Verb::Ack,
            Self::Nack(_) => Verb::Nack,
            Self::Reject(_) => Verb::Reject,
            Self::Extend(_) => Verb::Extend,
            Self::Credit { .. } => Verb::Credit,
            Self::Ping { .. } => Verb::Ping,
            Self::Pong => Verb::Pong,
            Self::Declare { .. } => Verb::Declare,
            Self::Delete { .. } => Verb::Delete,
            Self::Bind { .. } => Verb::Bind,
            Self::Unbind { .. } => Verb::Unbind,
            Self::Get { .. } => Verb::Get,
            Self::Purge { .. } => Verb::Purge,
            Self::List { .. } => Verb::List,
            Self::Stats { .. } => Verb::Stats,
            Self::Quit { .. } => Verb::Quit,
        }
    }

    /// Its options.
    pub fn options(&self) -> Options<'a> {
        match self {
            Self::Publish(publish) => publish.options,
            Self::Ack(settle)
            | Self::Nack(settle)
            | Self::Reject(settle)
            | Self::Extend(settle) => settle.options,
            Self::Pong => Options::EMPTY,
            Self::Connect { options, .. }
            | Self::Subscribe { options, .. }
            | Self::Unsubscribe { options, .. }
            | Self::Credit { options, .. }
            | Self::Ping { options }
            | Self::Declare { options, .. }
            | Self::Delete { options, .. }
            | Self::Bind { options, .. }
            | Self::Unbind { options, .. }
            | Self::Get { options, .. }
            | Self::Purge { options, .. }
            | Self::List { options, .. }
            | Self::Stats { options, .. }
            | Self::Quit { options } => *options,
        }
    }

    /// The token of `req:`, to be echoed in the reply.
    pub fn req(&self) -> Option<&'a [u8]> {
        self.options().req()
    }
}

/// What LIST lists.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs)]
pub enum Listed {
    Queues,
    Exchanges,
    Bindings,
    Subscriptions,
    Sessions,
    Workers,
    Namespaces,
}

impl Listed {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::Queues,
        Self::Exchanges,
        Self::Bindings,
        Self::Subscriptions,
        Self::Sessions,
        Self::Workers,
        Self::Namespaces,
    ];

    /// The word on the line.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Queues => "queues",
            Self::Exchanges => "exchanges",
            Self::Bindings => "bindings",
            Self::Subscriptions => "subscriptions",
            Self::Sessions => "sessions",
            Self::Workers => "workers",
            Self::Namespaces => "namespaces",
        }
    }

    /// The list that `word` names.
    pub fn parse(word: &[u8]) -> Option<Self> {
        Self::ALL.into_iter().find(|list| list.name().as_bytes() == word)
    }
}

/// A message to publish.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Publish<'a> {
    /// Where to.
    pub destination: Destination<'a>,
    /// All of PUB.
    pub options: Options<'a>,
    /// The body.
    pub body: &'a [u8],
}

/// Deliveries to settle or extend.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Settle<'a> {
    /// Set where the line is nothing but one `msg_id:`; the options are then empty.
    pub(crate) single: Option<Handle>,
    /// All of the verb.
    pub options: Options<'a>,
}

impl<'a> Settle<'a> {
    /// The deliveries of `msg_id:`, in the order of the line; none if there is only `upto:`.
    #[inline]
    pub fn handles(&self) -> Handles<'a> {
        Handles::new(self.single, self.options)
    }

    /// The delivery of `upto:`: it and all before it, of the same subscription.
    pub fn upto(&self) -> Option<Handle> {
        self.options.upto()
    }
}

/// The level a publisher waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Confirm {
    /// In the memory of the server.
    Memory,
    /// Written to the log, not yet synced.
    Written,
    /// Synced; in a cluster, on a quorum.
    Committed,
}

impl Confirm {
    /// The word on the line.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Memory => "memory",
            Self::Written => "written",
            Self::Committed => "committed",
        }
    }

    /// The level that `word` names.
    pub fn parse(word: &[u8]) -> Option<Self> {
        [Self::Memory, Self::Written, Self::Committed]
            .into_iter()
            .find(|level| level.name().as_bytes() == word)
    }
}

/// Who acknowledges.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AckMode {
    /// The client.
    Manual,
    /// The server, by sending.
    Auto,
}

/// How a subscription gets its messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SubMode {
    /// Through a queue.
    Session,
    /// Straight to the connection, at most once.
    Live,
}
