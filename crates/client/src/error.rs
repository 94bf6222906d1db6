//! What can go wrong, by operation.

use courant_wire::binary::{Refused, Retry};

/// What the broker refused, and why: see `docs/errors.md`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{number} {name}: {sentence}")]
pub struct Refusal {
    /// The stable number.
    pub number: u16,
    /// The stable name.
    pub name: String,
    /// For people.
    pub sentence: String,
    /// Whether asking again can help.
    pub retry: Retry,
}

impl Refusal {
    pub(crate) fn of(refused: &Refused<'_>) -> Self {
        Self {
            number: refused.number,
            name: refused.name.to_owned(),
            sentence: refused.sentence.to_owned(),
            retry: refused.retry,
        }
    }
}

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// The socket.
    #[error("no connection: {0}")]
    Io(#[from] std::io::Error),
    /// TLS cannot be set up.
    #[error("TLS cannot be set up: {0}")]
    Tls(#[from] TlsError),
    /// It took too long.
    #[error("the broker did not answer in time")]
    TimedOut,
    /// The broker does not let it in.
    #[error("the broker refused the connection: {0}")]
    Refused(Refusal),
    /// What answered is no broker of this protocol.
    #[error("the other end does not speak the binary protocol")]
    Protocol,
}

/// Why TLS cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// The host of the address.
    #[error("{0} is no name that a certificate could have")]
    Host(String),
    /// The file of what to trust.
    #[error("{file}: {error}")]
    Ca {
        /// The file.
        file: String,
        /// What is wrong with it.
        error: std::io::Error,
    },
    /// There is nothing to trust.
    #[error("there is no certificate in PEM to trust; name a file")]
    NoRoots,
    /// What rustls says.
    #[error("{0}")]
    Rustls(#[from] rustls::Error),
}

/// Why a message was not confirmed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PublishError {
    /// The broker refused it.
    #[error("{0}")]
    Refused(Refusal),
    /// The connection ended before the confirm, and it is not sent again as the publisher asked.
    /// The broker may have it.
    #[error("the connection ended before the confirm")]
    Unknown,
    /// It is larger than the broker takes.
    #[error("a payload has at most {bytes_max} bytes")]
    TooLarge {
        /// The limit.
        bytes_max: usize,
    },
    /// The client was closed.
    #[error("the client is closed")]
    Closed,
}

/// Why a command, a claim or a subscription was not carried out.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RequestError {
    /// The broker refused it.
    #[error("{0}")]
    Refused(Refusal),
    /// The connection ended before the answer. It may have been carried out.
    #[error("the connection ended before the answer")]
    Unknown,
    /// It does not fit on a line or into a frame, or has a line end in it.
    #[error("it cannot be said in a frame")]
    Unsayable,
    /// The answer is larger than the client keeps.
    #[error("the answer is too large; ask for less at a time")]
    AnswerTooLarge,
    /// The client was closed.
    #[error("the client is closed")]
    Closed,
}

/// Why a message was not settled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SettleError {
    /// The connection that it came over has ended: it comes again, with another handle.
    #[error("the message came over a connection that has ended; it comes again")]
    Stale,
    /// The client was closed.
    #[error("the client is closed")]
    Closed,
}

/// Why no message of a subscription follows.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EndOfSubscription {
    /// The broker ended it.
    #[error("the broker ended the subscription: {0}")]
    Cancelled(String),
    /// It was refused when it was made again after a disconnect.
    #[error("{0}")]
    Refused(Refusal),
    /// The client was closed.
    #[error("the client is closed")]
    Closed,
}
