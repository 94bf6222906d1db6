//! Where a walk stands in a segment, and what it sees from there.

use std::ops::ControlFlow;

use crate::limits::SECTOR_BYTES;
use crate::wal::chain::BatchHeader;
use crate::wal::check::{CheckError, Listed, Outcome, failed};
use crate::wal::reader::{Window, is_zero};

/// What may stand at a sector.
pub(crate) enum There {
    Nothing,
    Bad,
    Batch(BatchHeader),
}

/// The part of a segment that the walk stands in.
pub(crate) struct Stand<'a> {
    pub(crate) listed: &'a Listed,
    pub(crate) window: Window,
    pub(crate) seed: u32,
    pub(crate) at: u64,
    /// What the next batch has to have as `prev`, where it is known.
    pub(crate) chain: Option<u32>,
    pub(crate) is_full: bool,
}

impl Stand<'_> {
    pub(crate) fn name(&self) -> &str {
        &self.listed.entry.name
    }

    /// What an opening does about damage here.
    pub(crate) fn refused(&self) -> Outcome {
        if self.listed.is_passed { Outcome::Unseen } else { Outcome::Refused }
    }

    pub(crate) fn bytes(&mut self, at: u64, len: usize) -> Result<&[u8], CheckError> {
        self.window.bytes(at, len).map_err(reading(self.listed))
    }

    pub(crate) fn there(&mut self, at: u64) -> Result<There, CheckError> {
        let seed = self.seed;
        let sector = self.bytes(at, SECTOR_BYTES)?;
        Ok(match BatchHeader::decode(sector, seed) {
            Some(header) => There::Batch(header),
            None if is_zero(sector) => There::Nothing,
            None => There::Bad,
        })
    }

    /// The next intact batch header at or behind `from`.
    pub(crate) fn next_header(
        &mut self,
        from: u64,
    ) -> Result<Option<(u64, BatchHeader)>, CheckError> {
        let seed = self.seed;
        let mut found = None;
        each_sector(&mut self.window, from, &mut |at, sector| {
            found = header(sector, seed).map(|header| (at, header));
            found.is_some()
        })
        .map_err(reading(self.listed))?;
        Ok(found)
    }

    pub(crate) fn last_byte(&mut self, from: u64) -> Result<u64, CheckError> {
        last_byte(&mut self.window, from).map_err(reading(self.listed))
    }
}

pub(crate) fn reading(listed: &Listed) -> impl FnOnce(std::io::Error) -> CheckError + use<'_> {
    failed("reading", &listed.entry.name)
}

pub(crate) fn header(sector: &[u8], seed: u32) -> Option<BatchHeader> {
    BatchHeader::is_at(sector).then(|| BatchHeader::decode(sector, seed)).flatten()
}

/// Shows the sectors of a file that are not zeros, until `see` says that it is enough.
pub(crate) fn each_sector(
    window: &mut Window,
    from: u64,
    see: &mut dyn FnMut(u64, &[u8]) -> bool,
) -> std::io::Result<()> {
    window.each_step(from, &mut |at, bytes| {
        for (sector, number) in bytes.chunks(SECTOR_BYTES).zip(0u64..) {
            if see(at + number * SECTOR_BYTES as u64, sector) {
                return Ok(ControlFlow::Break(()));
            }
        }
        Ok(ControlFlow::Continue(()))
    })
}

/// Where the last byte that is not zero ends; `from` if there is none.
pub(crate) fn last_byte(window: &mut Window, from: u64) -> std::io::Result<u64> {
    let mut last = from;
    each_sector(window, from, &mut |at, sector| {
        if let Some(inside) = sector.iter().rposition(|&byte| byte != 0) {
            last = at + inside as u64 + 1;
        }
        false
    })?;
    Ok(last)
}
