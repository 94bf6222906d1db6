//! What goes wrong, and when.

use std::io;

/// What an operation is made to do instead of what was asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// A write or a change of a name fails with an I/O error; half of a write may have happened.
    FailedWrite,
    /// A write or a new name finds no room.
    NoSpace,
    /// Half of a write happens, and the next finds no room.
    ShortWrite,
    /// A sync fails, and what it should have made durable is kept or lost as if by a crash.
    FailedSync,
    /// The power is gone: this operation and all that follow fail.
    PowerLoss,
    /// Half of a write happens, and that is said.
    HalfWrite,
    /// A read fails with an I/O error, once. Reads are counted on their own.
    FailedRead,
}

impl Fault {
    /// All that a change can meet.
    pub const ALL: [Fault; 6] = [
        Fault::FailedWrite,
        Fault::NoSpace,
        Fault::ShortWrite,
        Fault::FailedSync,
        Fault::PowerLoss,
        Fault::HalfWrite,
    ];
}

/// What is asked of the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Action {
    Write,
    Sync,
    /// A name made, changed or removed.
    Folder,
    Read,
}

/// Counts operations and decides which of them fails.
#[derive(Debug, Default)]
pub(super) struct Faults {
    operations: u64,
    reads: u64,
    planned: Option<(u64, Fault)>,
    power_lost: bool,
    no_space_next: bool,
}

impl Faults {
    pub(super) fn plan(&mut self, operation: u64, fault: Fault) {
        let so_far = if fault == Fault::FailedRead { self.reads } else { self.operations };
        self.planned = Some((so_far + operation, fault));
    }

    pub(super) fn operations(&self) -> u64 {
        self.operations
    }

    pub(super) fn reads(&self) -> u64 {
        self.reads
    }

    /// Whether the planned fault is still to come.
    pub(super) fn is_planned(&self) -> bool {
        self.planned.is_some()
    }

    /// Nothing is planned any more; the power is back.
    pub(super) fn clear(&mut self) {
        *self = Faults { operations: self.operations, reads: self.reads, ..Faults::default() };
    }

    /// Counts an operation and gives the fault that it has to show.
    pub(super) fn begin(&mut self, action: Action) -> Option<Fault> {
        let count = if action == Action::Read { &mut self.reads } else { &mut self.operations };
        *count += 1;
        let count = *count;
        if self.power_lost {
            return Some(Fault::PowerLoss);
        }
        if self.no_space_next && action == Action::Write {
            self.no_space_next = false;
            return Some(Fault::NoSpace);
        }
        let (at, fault) = self.planned?;
        let fits = match fault {
            Fault::FailedWrite | Fault::NoSpace => {
                matches!(action, Action::Write | Action::Folder)
            }
            Fault::ShortWrite | Fault::HalfWrite => action == Action::Write,
            Fault::FailedSync => action == Action::Sync,
            Fault::FailedRead => action == Action::Read,
            Fault::PowerLoss => action != Action::Read,
        };
        if !fits || count < at {
            return None;
        }
        self.planned = None;
        self.power_lost = fault == Fault::PowerLoss;
        self.no_space_next = fault == Fault::ShortWrite;
        Some(fault)
    }
}

pub(super) fn gone() -> io::Error {
    io::Error::other("the power is gone")
}

pub(super) fn io_error() -> io::Error {
    io::Error::from_raw_os_error(5)
}

pub(super) fn no_space() -> io::Error {
    io::Error::from_raw_os_error(28)
}

/// The error by which a fault is told to whoever asked.
pub(super) fn told(fault: Fault) -> io::Error {
    match fault {
        Fault::NoSpace | Fault::ShortWrite => no_space(),
        Fault::PowerLoss => gone(),
        Fault::FailedWrite | Fault::FailedSync | Fault::FailedRead | Fault::HalfWrite => io_error(),
    }
}
