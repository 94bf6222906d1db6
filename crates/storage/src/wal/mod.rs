//! The log on disk.

use std::ops::ControlFlow;
use std::sync::Arc;

use crate::batch::{Batch, OpenBatch};
use crate::disk::Disk;
use crate::error::{AppendError, CloseError, OpenError, ReadError, ScanError, StartError};
use crate::frame::{Frame, LaneId, Offset, Seq};
use crate::limits;
use crate::store::{Listener, Store, Ticket, Urgency};

/// How a log is laid out and driven. All fields have defaults.
#[derive(Debug, Clone)]
pub struct WalOptions {
    /// Size of a segment.
    pub segment_bytes: u64,
    /// Zeros kept written ahead of the writing point by a thread; 0: no thread, no filling.
    pub fill_ahead_bytes: u64,
    /// Appends are refused as full above this many bytes that wait for their commit.
    pub in_flight_bytes_max: usize,
    /// Memory for the tail of the log.
    pub cache_bytes_max: usize,
    /// A seal is written when nothing was committed for this long.
    pub seal_delay_ms: u64,
}

impl Default for WalOptions {
    fn default() -> WalOptions {
        WalOptions {
            segment_bytes: limits::SEGMENT_BYTES,
            fill_ahead_bytes: limits::FILL_AHEAD_BYTES,
            in_flight_bytes_max: limits::IN_FLIGHT_BYTES_MAX,
            cache_bytes_max: limits::CACHE_BYTES_MAX,
            seal_delay_ms: limits::SEAL_DELAY_MS,
        }
    }
}

/// A torn tail that was dropped: written, never confirmed as durable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TornTail {
    /// The file.
    pub file: String,
    /// Where it began.
    pub offset: u64,
    /// How much of it was not zero.
    pub bytes: u64,
}

/// A body that is damaged; its header is intact, and the frame keeps its place in the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RottenBody {
    /// The file.
    pub file: String,
    /// Start of the frame.
    pub offset: u64,
    /// Its lane.
    pub lane: LaneId,
    /// Its seq.
    pub seq: Seq,
}

/// What was found at opening.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Recovered {
    /// The log was closed in order (a fresh folder counts as such).
    pub clean: bool,
    /// The last seq of each lane that has frames, by lane.
    pub lanes: Vec<(LaneId, Seq)>,
    /// The highest term of any frame.
    pub last_term: u64,
    /// The caller's frames.
    pub frames: u64,
    /// What was dropped from the end.
    pub torn: Option<TornTail>,
    /// Damaged bodies that were seen; those of the durable part are found when they are read.
    pub rotten_bodies: Vec<RottenBody>,
}

/// The log on disk.
pub struct Wal {}

impl Wal {
    /// Opens a folder, repairs a torn tail, and refuses what is rotten.
    pub fn open(_disk: Arc<dyn Disk>, _options: WalOptions) -> Result<(Wal, Recovered), OpenError> {
        Ok((Wal {}, Recovered::default()))
    }

    /// Opens a folder and shows every frame of the caller's, as [`Store::scan`] would, in the same
    /// single pass. When it fails, what was shown is void.
    pub fn open_visiting(
        disk: Arc<dyn Disk>,
        options: WalOptions,
        _visit: &mut dyn FnMut(Frame<'_>),
    ) -> Result<(Wal, Recovered), OpenError> {
        Wal::open(disk, options)
    }
}

impl Store for Wal {
    fn append(
        &self,
        _urgency: Urgency,
        _fill: &mut dyn FnMut(&mut OpenBatch),
    ) -> Result<Ticket, AppendError> {
        Err(AppendError::NotStarted)
    }
    fn committed(&self) -> Ticket {
        Ticket(0)
    }
    fn in_flight_bytes(&self) -> usize {
        0
    }
    fn cached(&self, _lane: LaneId, _seq: Seq) -> Option<(Arc<Batch>, Offset)> {
        None
    }
    fn read(&self, _lane: LaneId, _seq: Seq, _into: &mut Vec<u8>) -> Result<(), ReadError> {
        Err(ReadError::NotFound)
    }
    fn scan(&self, _visit: &mut dyn FnMut(Frame<'_>) -> ControlFlow<()>) -> Result<(), ScanError> {
        Ok(())
    }
    fn start(&self, _listener: Arc<dyn Listener>) -> Result<(), StartError> {
        Ok(())
    }
    fn close(&self) -> Result<(), CloseError> {
        Ok(())
    }
}
