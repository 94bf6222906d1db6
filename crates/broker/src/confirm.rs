//! What a publisher is told.

use courant_engine::MessageId;

/// How far a message has come when it is confirmed. A higher level includes the lower ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Level {
    /// The broker has it in memory.
    Memory,
    /// The operating system has it.
    Written,
    /// It is on disk: synced here, on a quorum in a cluster.
    Committed,
}

impl Level {
    /// The word for it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Memory => "memory",
            Self::Written => "written",
            Self::Committed => "committed",
        }
    }
}

/// What a confirm states.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Confirm {
    /// The message.
    pub id: MessageId,
    /// How far it has come.
    pub level: Level,
    /// How many queues it reached.
    pub queues: u32,
}
