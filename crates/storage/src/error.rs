//! One enum per operation. None of them is retried by this crate.

use std::io;
use std::sync::Arc;

use crate::limits;

/// Shaped in the trait, not built yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("this store does not support {what} yet")]
pub struct Unsupported {
    /// The operation.
    pub what: &'static str,
}

/// Why a store will never commit anything again. The cause is final: what was not committed may or
/// may not be found at the next opening.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Poison {
    /// A sync failed: what the operating system still holds is unknown, so it is never repeated.
    #[error("sync of {file} failed: {reason}")]
    Sync {
        /// The file, or the folder.
        file: Arc<str>,
        /// The operating system's words.
        reason: Arc<str>,
    },
    /// A write failed.
    #[error("write to {file} at {offset} failed: {reason}")]
    Write {
        /// The file.
        file: Arc<str>,
        /// Where it should have gone.
        offset: u64,
        /// The operating system's words.
        reason: Arc<str>,
    },
    /// No room is left on the disk.
    #[error("no room left on the disk for {file} at {offset}: free some space and start again")]
    DiskFull {
        /// The file.
        file: Arc<str>,
        /// Where it should have gone.
        offset: u64,
    },
    /// A file of the log could not be made, renamed or removed.
    #[error("{what} {file} failed: {reason}")]
    Folder {
        /// What was tried.
        what: &'static str,
        /// The file.
        file: Arc<str>,
        /// The operating system's words.
        reason: Arc<str>,
    },
    /// A thread of the store panicked, or a caller did while it held the open batch.
    #[error("a thread panicked while it held the log")]
    Panicked,
}

/// An append was refused; nothing of it was encoded.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AppendError {
    /// Too many bytes wait for their commit; [`Listener::room`](crate::Listener::room) follows.
    #[error("{in_flight_bytes} bytes wait to be committed, the limit is {limit_bytes}")]
    Full {
        /// Bytes that wait.
        in_flight_bytes: usize,
        /// The limit.
        limit_bytes: usize,
    },
    /// There is no certain room on the disk for messages;
    /// [`Listener::room`](crate::Listener::room) follows when there is.
    #[error("the disk is full")]
    DiskFull,
    /// Nothing is committed any more.
    #[error("the log is poisoned: {0}")]
    Poisoned(Poison),
    /// The store was closed.
    #[error("the log is closed")]
    Closed,
    /// The store was not started.
    #[error("the log is not started")]
    NotStarted,
}

/// A body could not be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The log has no such frame.
    #[error("no such frame in the log")]
    NotFound,
    /// The file does not hold what was written to it.
    #[error("{file} is rotten at {offset}")]
    Rotten {
        /// The file.
        file: String,
        /// Start of the frame in it.
        offset: u64,
    },
    /// The operating system refused.
    #[error("reading {file} at {offset} failed: {source}")]
    Io {
        /// The file.
        file: String,
        /// Where.
        offset: u64,
        /// Its words.
        source: io::Error,
    },
}

/// The frames could not be walked to their end.
#[derive(Debug, thiserror::Error)]
pub enum ScanError {
    /// The file does not hold what was written to it.
    #[error("{file} is rotten at {offset}")]
    Rotten {
        /// The file.
        file: String,
        /// Start of the batch or frame in it.
        offset: u64,
    },
    /// The operating system refused.
    #[error("reading {file} at {offset} failed: {source}")]
    Io {
        /// The file.
        file: String,
        /// Where.
        offset: u64,
        /// Its words.
        source: io::Error,
    },
}

/// The log thread was not started.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// It runs already, or has run.
    #[error("the log was started before")]
    Started,
    /// The operating system gave no thread.
    #[error("no thread for the log: {0}")]
    Thread(io::Error),
    /// The folder cannot be written to.
    #[error("the log cannot be written: {0}")]
    Poisoned(Poison),
}

/// The store was closed, and not everything is durable.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CloseError {
    /// What was in flight is lost.
    #[error("closed with loss of what was not committed: {0}")]
    Poisoned(Poison),
}

/// Origins were not raised, or space was not given back. Nothing that is needed is gone.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeepError {
    /// There is no room on the disk for what has to be written first.
    #[error("no room left on the disk for {file}")]
    DiskFull {
        /// The file.
        file: String,
    },
    /// A file does not hold what was written to it; it is kept as it is.
    #[error("{file} is rotten at {offset}")]
    Rotten {
        /// The file.
        file: String,
        /// Where.
        offset: u64,
    },
    /// Nothing is written any more.
    #[error("the log is poisoned: {0}")]
    Poisoned(Poison),
    /// The store was closed.
    #[error("the log is closed")]
    Closed,
    /// The operating system refused.
    #[error("{what} {file} failed: {reason}")]
    Io {
        /// What was tried.
        what: &'static str,
        /// The file.
        file: String,
        /// Its words.
        reason: String,
    },
}

/// A folder was not opened. Nothing in it was changed, except that a torn tail may be gone.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process has it.
    #[error(
        "the data folder is in use by another process: stop that one, or choose another folder"
    )]
    Locked,
    /// Written by a later version.
    #[error(
        "the data folder has format {found}, this version reads up to {known}: \
         use the version that wrote it"
    )]
    Newer {
        /// The folder's.
        found: u32,
        /// Ours.
        known: u32,
    },
    /// Holds files, and is not one of ours.
    #[error(
        "the folder holds {file} but no log: choose an empty folder, or bring back the manifest"
    )]
    Foreign {
        /// A file that should not be there.
        file: String,
    },
    /// Committed data is damaged. Nothing is cut away.
    #[error(
        "{file} is rotten at {offset}: {what}. What was committed there is damaged, and nothing \
         was changed. Restore the folder from a backup, or set the range aside with \
         `courant check DIR --quarantine`"
    )]
    Rotten {
        /// The file.
        file: String,
        /// Start of what is damaged.
        offset: u64,
        /// What it should have been.
        what: &'static str,
    },
    /// A file that the manifest lists is not there.
    #[error("{file} is missing: restore it from a backup")]
    Missing {
        /// The file.
        file: String,
    },
    /// A frame that must be understood, and is not.
    #[error("{file} holds a record of unknown kind {kind:#04x} at {offset}: use a newer version")]
    UnknownKind {
        /// The file.
        file: String,
        /// Start of the frame.
        offset: u64,
        /// The kind.
        kind: u8,
    },
    /// Options that contradict each other.
    #[error(
        "segments of {segment_bytes} bytes are too small, at least {}",
        limits::SEGMENT_BYTES_MIN
    )]
    SegmentTooSmall {
        /// What was asked for.
        segment_bytes: u64,
    },
    /// The operating system refused.
    #[error("{what} {file} failed: {source}")]
    Io {
        /// What was tried.
        what: &'static str,
        /// The file.
        file: String,
        /// Its words.
        source: io::Error,
    },
}
