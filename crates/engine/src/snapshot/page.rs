//! Pages: the entries of one chunk, written once, read when they are needed again.
//!
//! ```text
//!   queue u32 │ count u32 │ base u64 │ count × distance u32 │ count × size u32
//!                                    │ count × deadline u64, if the chunk has any
//! ```
//!
//! Little-endian. `base` is the number of the first message, distances from it rise strictly; a
//! deadline of all ones is none. Who was alive, and whether there are deadlines, stands in the root
//! of the snapshot, not here; the kind of the page's frame says the latter too.

use crate::lifetime::NEVER;
use crate::limits::CHUNK_ENTRIES;
use crate::name::QueueId;
use crate::queue::chunk::{Bits, Chunk, Columns, next_bit};
use crate::snapshot::bytes::{Input, put_count, put_u32, put_u64};
use std::sync::Arc;
use thiserror::Error;

/// Bytes before the columns.
const HEAD_BYTES: usize = 16;

/// The entries of one chunk, to be written under a number.
#[derive(Debug)]
pub struct Page {
    /// Its number, which is its seq in the state lane.
    pub number: u64,
    pub(crate) queue: QueueId,
    pub(crate) base: u64,
    pub(crate) columns: Arc<Columns>,
}

impl Page {
    /// The kind of its frame in the log.
    pub const KIND: u8 = 0x30;
    /// The same for a page with deadlines.
    pub const KIND_WITH_DEADLINES: u8 = 0x31;

    /// Its kind.
    pub fn kind(&self) -> u8 {
        if self.columns.deadlines.is_empty() { Self::KIND } else { Self::KIND_WITH_DEADLINES }
    }

    /// How many bytes it has.
    pub fn size(&self) -> usize {
        HEAD_BYTES + self.columns.deltas.len() * 8 + self.columns.deadlines.len() * 8
    }

    /// Appends its bytes.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let Columns { deltas, sizes, deadlines } = &*self.columns;
        out.reserve(self.size());
        put_u32(out, self.queue.0);
        put_count(out, deltas.len());
        put_u64(out, self.base);
        for number in deltas.iter().chain(sizes) {
            put_u32(out, *number);
        }
        for deadline_ms in deadlines {
            put_u64(out, *deadline_ms);
        }
    }
}

/// Why bytes are not the page that was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum PageError {
    /// It has too few or too many bytes.
    #[error("a page of {count} entries has {found} bytes")]
    Length {
        /// Entries it says it has.
        count: u64,
        /// Bytes there are.
        found: u64,
    },
    /// Its entries are of another chunk.
    #[error(
        "the page is of queue {queue} from message {base} on, and not the one that was asked for"
    )]
    Another {
        /// The queue it says it is of.
        queue: u32,
        /// The first message it says it has.
        base: u64,
    },
    /// Its entries are not in order, or do not add up to what the snapshot says.
    #[error("the entries of the page of queue {queue} from message {base} on do not fit together")]
    Entries {
        /// The queue it says it is of.
        queue: u32,
        /// The first message it says it has.
        base: u64,
    },
}

/// A page could not be had.
#[derive(Debug, Error)]
pub enum LoadError<E> {
    /// Whoever loads pages could not read it.
    #[error("{0}")]
    Unreadable(E),
    /// It is not the page that was asked for.
    #[error("page {page}: {cause}")]
    Page {
        /// Its number.
        page: u64,
        /// What is wrong with it.
        cause: PageError,
    },
}

/// Which chunk a page says it is of: the queue and the first message.
pub(crate) fn owner(bytes: &[u8]) -> Option<(QueueId, u64)> {
    let mut input = Input::new(bytes);
    let queue = QueueId(input.u32().ok()?);
    input.u32().ok()?;
    Some((queue, input.u64().ok()?))
}

/// What a chunk that is not in memory expects of its page.
#[derive(Debug, Clone)]
pub struct Cold {
    /// The number of the page.
    pub page: u64,
    queue: QueueId,
    base: u64,
    len: u32,
    last_delta: u32,
    bytes: u64,
    earliest: u64,
    bits: Bits,
}

impl Cold {
    pub(crate) fn new(queue: QueueId, base: u64, chunk: &Chunk) -> Self {
        let Chunk { page, len, last_delta, bytes, earliest, bits, .. } = *chunk;
        Self { page, queue, base, len, last_delta, bytes, earliest, bits }
    }

    /// The queue.
    pub fn queue(&self) -> QueueId {
        self.queue
    }

    /// The number of the first message of the chunk.
    pub fn first(&self) -> u64 {
        self.base
    }

    /// The number of its last message.
    pub fn last(&self) -> u64 {
        self.base + u64::from(self.last_delta)
    }

    /// Shows number, size and deadline of every living message.
    pub fn decode(
        &self,
        bytes: &[u8],
        see: &mut dyn FnMut(u64, u32, u64),
    ) -> Result<(), PageError> {
        let columns = self.columns(bytes)?;
        let mut next = next_bit(&self.bits, 0);
        while let Some(index) = next {
            let deadline_ms = columns.deadlines.get(index).copied().unwrap_or(NEVER);
            let seq = self.base + u64::from(columns.deltas[index]);
            see(seq, columns.sizes[index], deadline_ms);
            next = next_bit(&self.bits, index + 1);
        }
        Ok(())
    }

    /// The columns that a page holds, if it is the right one and makes sense.
    pub(crate) fn columns(&self, bytes: &[u8]) -> Result<Columns, PageError> {
        let short = |count| PageError::Length { count, found: bytes.len() as u64 };
        let mut input = Input::new(bytes);
        let (Ok(queue), Ok(count), Ok(base)) = (input.u32(), input.u32(), input.u64()) else {
            return Err(short(0));
        };
        let each = if self.earliest == NEVER { 8 } else { 16 };
        if count as usize > CHUNK_ENTRIES || input.left() != count as usize * each {
            return Err(short(u64::from(count)));
        }
        if (QueueId(queue), base) != (self.queue, self.base) || count != self.len {
            return Err(PageError::Another { queue, base });
        }
        let (plain, deadlines) = bytes[HEAD_BYTES..].split_at(count as usize * 8);
        let (numbers, _) = plain.as_chunks::<4>();
        let (deltas, sizes) = numbers.split_at(count as usize);
        let column =
            |half: &[[u8; 4]]| half.iter().map(|bytes| u32::from_le_bytes(*bytes)).collect();
        let (deadlines, _) = deadlines.as_chunks::<8>();
        let deadlines = deadlines.iter().map(|bytes| u64::from_le_bytes(*bytes)).collect();
        let columns = Columns { deltas: column(deltas), sizes: column(sizes), deadlines };
        let is_rising = columns.deltas.is_sorted_by(|a, b| a < b);
        let is_last = columns.deltas.last() == Some(&self.last_delta);
        let is_earliest = columns.earliest() == self.earliest;
        if is_rising && is_last && is_earliest && self.sum(&columns) == self.bytes {
            Ok(columns)
        } else {
            Err(PageError::Entries { queue, base })
        }
    }

    fn sum(&self, columns: &Columns) -> u64 {
        let mut sum = 0;
        let mut next = next_bit(&self.bits, 0);
        while let Some(index) = next {
            // No bit is set behind the last entry: the root was checked for that.
            sum += u64::from(columns.sizes.get(index).copied().unwrap_or(0));
            next = next_bit(&self.bits, index + 1);
        }
        sum
    }
}
