//! Errors of opening and closing. Everything in between is a [`Refusal`](crate::Refusal).

use crate::codec::CodecError;
use thiserror::Error;

/// A folder was not opened.
#[derive(Debug, Error)]
pub enum OpenError {
    /// The system gives no random bytes.
    #[error("the system gives no random bytes")]
    Randomness,
    /// The folder could not be made or opened.
    #[error("the folder cannot be used: {0}")]
    Folder(#[source] std::io::Error),
    /// The log could not be opened.
    #[error(transparent)]
    Log(#[from] courant_storage::OpenError),
    /// The log could not be read through.
    #[error(transparent)]
    Scan(#[from] courant_storage::ScanError),
    /// The log thread could not be started.
    #[error(transparent)]
    Start(#[from] courant_storage::StartError),
    /// A record is not understood: a newer version wrote it, or this one has a bug.
    #[error(
        "record {seq} of kind {kind:#04x} is not understood: {cause}; use the version that wrote it"
    )]
    Record {
        /// The record's number.
        seq: u64,
        /// The record's kind.
        kind: u8,
        /// What is wrong with it.
        cause: CodecError,
    },
    /// The last snapshot, or a part of a queue that a record needs, could not be read.
    #[error(
        "the snapshot cannot be read: {0}. Restore the folder from a backup, or set the damage \
         aside with `courant check DIR --quarantine`"
    )]
    Snapshot(#[source] courant_storage::ReadError),
    /// What stands where the snapshot's root should be is no part of it.
    #[error("the snapshot that begins at {seq} of the state lane has a part that is none")]
    Root {
        /// Where the root begins.
        seq: u64,
    },
    /// The snapshot's root is not understood.
    #[error(transparent)]
    Restore(#[from] courant_engine::RestoreError),
    /// The first record could not be committed.
    #[error("the log does not take the opening's record")]
    Begin,
    /// A thread could not be started.
    #[error("a thread could not be started: {0}")]
    Thread(#[from] std::io::Error),
}

/// A broker did not close cleanly.
#[derive(Debug, Error)]
pub enum CloseError {
    /// The log could not be sealed.
    #[error(transparent)]
    Log(#[from] courant_storage::CloseError),
}
