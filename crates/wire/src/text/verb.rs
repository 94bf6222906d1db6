//! The verbs of commands, in one table.

/// The first word of a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs)]
pub enum Verb {
    Connect,
    Pub,
    Sub,
    Unsub,
    Ack,
    Nack,
    Reject,
    Extend,
    Credit,
    Ping,
    Pong,
    Declare,
    Delete,
    Bind,
    Unbind,
    Get,
    Purge,
    List,
    Stats,
    Quit,
}

impl Verb {
    /// Every verb, the most frequent first.
    pub const ALL: [Self; 20] = [
        Self::Pub,
        Self::Ack,
        Self::Nack,
        Self::Ping,
        Self::Pong,
        Self::Credit,
        Self::Sub,
        Self::Unsub,
        Self::Reject,
        Self::Extend,
        Self::Get,
        Self::Connect,
        Self::Declare,
        Self::Delete,
        Self::Bind,
        Self::Unbind,
        Self::Purge,
        Self::List,
        Self::Stats,
        Self::Quit,
    ];

    /// The verb in upper case.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Connect => "CONNECT",
            Self::Pub => "PUB",
            Self::Sub => "SUB",
            Self::Unsub => "UNSUB",
            Self::Ack => "ACK",
            Self::Nack => "NACK",
            Self::Reject => "REJECT",
            Self::Extend => "EXTEND",
            Self::Credit => "CREDIT",
            Self::Ping => "PING",
            Self::Pong => "PONG",
            Self::Declare => "DECLARE",
            Self::Delete => "DELETE",
            Self::Bind => "BIND",
            Self::Unbind => "UNBIND",
            Self::Get => "GET",
            Self::Purge => "PURGE",
            Self::List => "LIST",
            Self::Stats => "STATS",
            Self::Quit => "QUIT",
        }
    }

    /// The verb that `word` names, in any case.
    pub fn parse(word: &[u8]) -> Option<Self> {
        Self::ALL.into_iter().find(|verb| verb.name().as_bytes().eq_ignore_ascii_case(word))
    }

    /// A set of one.
    pub(crate) const fn bit(self) -> u32 {
        1 << self as u32
    }
}

impl std::fmt::Display for Verb {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(self.name())
    }
}
