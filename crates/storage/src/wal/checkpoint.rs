//! How far the log is durable, in a file of its own.
//!
//! ```text
//!  0           8         12     16           24        32       40        44
//!  ┌───────────┬─────────┬──────┬────────────┬─────────┬────────┬─────────┬──── zeros to 512
//!  │ "courchk" │ version │ crc  │ generation │ segment │ offset │ closed  │
//!  └───────────┴─────────┴──────┴────────────┴─────────┴────────┴─────────┴────
//! ```
//!
//! Two such slots, at 0 and 4096, are overwritten in turn and synced: a crash tears at most the one
//! that is being written, and the other still holds the value before. The higher generation counts.

use std::io;
use std::sync::Arc;

use crate::checksum::crc32c;
use crate::disk::{File, read_full, write_full};
use crate::frame::{le_u32, le_u64};
use crate::limits::SECTOR_BYTES;
use crate::wal::segment::Mark;

/// The file.
pub(crate) const NAME: &str = "checkpoint";

const MAGIC: [u8; 8] = *b"courchk\0";
const VERSION: u32 = 1;
const CRC_AT: usize = 12;
const COVERED_FROM: usize = 16;
/// Far enough apart for disks with sectors of 4 KiB.
pub(crate) const SLOT_STRIDE: u64 = 4096;

/// What one slot says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Checkpoint {
    pub(crate) generation: u64,
    /// The log is durable up to here.
    pub(crate) durable: Mark,
    /// The log was closed in order, and ends here.
    pub(crate) closed: bool,
}

impl Checkpoint {
    fn encode(&self) -> [u8; SECTOR_BYTES] {
        let mut slot = [0; SECTOR_BYTES];
        slot[0..8].copy_from_slice(&MAGIC);
        slot[8..12].copy_from_slice(&VERSION.to_le_bytes());
        slot[16..24].copy_from_slice(&self.generation.to_le_bytes());
        slot[24..32].copy_from_slice(&self.durable.segment.to_le_bytes());
        slot[32..40].copy_from_slice(&self.durable.offset.to_le_bytes());
        slot[40..44].copy_from_slice(&u32::from(self.closed).to_le_bytes());
        let crc = crc32c(&slot[COVERED_FROM..]);
        slot[CRC_AT..COVERED_FROM].copy_from_slice(&crc.to_le_bytes());
        slot
    }

    fn decode(slot: &[u8; SECTOR_BYTES]) -> Option<Checkpoint> {
        let known = slot[0..8] == MAGIC && le_u32(slot, 8) == VERSION;
        if !known || crc32c(&slot[COVERED_FROM..]) != le_u32(slot, CRC_AT) {
            return None;
        }
        let durable = Mark { segment: le_u64(slot, 24), offset: le_u64(slot, 32) };
        let closed = le_u32(slot, 40) == 1;
        Some(Checkpoint { generation: le_u64(slot, 16), durable, closed })
    }
}

/// Both slots, as far as they are intact.
pub(crate) fn slots(file: &dyn File) -> io::Result<[Option<Checkpoint>; 2]> {
    let mut slots = [None; 2];
    for (slot, number) in slots.iter_mut().zip(0u64..) {
        let mut sector = [0; SECTOR_BYTES];
        read_full(file, &mut sector, number * SLOT_STRIDE)?;
        *slot = Checkpoint::decode(&sector);
    }
    Ok(slots)
}

/// The open file.
pub(crate) struct CheckpointFile {
    file: Arc<dyn File>,
    latest: Checkpoint,
}

impl CheckpointFile {
    /// Lays out both slots of a fresh file, and syncs them.
    pub(crate) fn create(file: Arc<dyn File>) -> io::Result<CheckpointFile> {
        let mut checkpoint = CheckpointFile { file, latest: Checkpoint::default() };
        checkpoint.put(Mark::default(), false)?;
        checkpoint.put(Mark::default(), true)?;
        Ok(checkpoint)
    }

    /// Reads the newest slot; `None` if neither is intact.
    pub(crate) fn open(file: Arc<dyn File>) -> io::Result<Option<CheckpointFile>> {
        let latest = slots(&*file)?.into_iter().flatten().max_by_key(|slot| slot.generation);
        Ok(latest.map(|latest| CheckpointFile { file, latest }))
    }

    pub(crate) fn latest(&self) -> Checkpoint {
        self.latest
    }

    /// States how far the log is durable; it must be so already.
    pub(crate) fn put(&mut self, durable: Mark, closed: bool) -> io::Result<()> {
        let generation = self.latest.generation + 1;
        let next = Checkpoint { generation, durable, closed };
        write_full(&*self.file, &next.encode(), generation % 2 * SLOT_STRIDE)?;
        self.file.sync_data()?;
        self.latest = next;
        Ok(())
    }
}
