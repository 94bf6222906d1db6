//! A folder that is being checked, as a store that can only be read: so that its caller builds its
//! state from it with the code that it always uses.
//!
//! What [`Check::run`] saw is there, frames behind damage included; what is damaged is missing in
//! a scan, and rotten or not found in a read.

use std::io;
use std::ops::ControlFlow;
use std::sync::Arc;

use crate::batch::{Batch, OpenBatch};
use crate::error::{AppendError, CloseError, KeepError, ReadError, ScanError, StartError};
use crate::frame::{Frame, LaneId, Offset, Seq};
use crate::store::{Listener, Living, Purpose, Reclaimed, Store, Ticket, Urgency, Usage};
use crate::wal::check::{Check, CheckError, Seen};
use crate::wal::index::SegmentIndex;
use crate::wal::reader;
use crate::wal::segment::{Segment, SegmentHeader};
use crate::wal::walk::Walk;

impl Check {
    /// The segment that may hold a frame, and where in it to begin to look.
    fn find(&self, lane: LaneId, seq: Seq) -> Option<(usize, u64)> {
        let found = self.indexes.iter().enumerate().rev().find_map(|(at, index)| {
            let is_here = index.spans().any(|(of, first, _)| of == lane && first <= seq);
            is_here.then_some((at, index))
        });
        let (at, index) = found?;
        Some((at, index.find(lane, seq)?))
    }
}

impl Store for Check {
    fn append(
        &self,
        _: Urgency,
        _: Purpose,
        _: &mut dyn FnMut(&mut OpenBatch),
    ) -> Result<Ticket, AppendError> {
        Err(AppendError::NotStarted)
    }

    fn committed(&self) -> Ticket {
        Ticket::default()
    }

    fn in_flight_bytes(&self) -> usize {
        0
    }

    fn cached(&self, _: LaneId, _: Seq) -> Option<(Arc<Batch>, Offset)> {
        None
    }

    fn read(&self, lane: LaneId, seq: Seq, into: &mut Vec<u8>) -> Result<(), ReadError> {
        let (at, from) = self.find(lane, seq).ok_or(ReadError::NotFound)?;
        let listed = self.layout.segments.get(at).ok_or(ReadError::NotFound)?;
        let (Some(file), Some(seed)) = (&listed.file, listed.seed) else {
            return Err(ReadError::NotFound);
        };
        let (id, generation) = (listed.entry.id, listed.entry.generation);
        let header = SegmentHeader { id, generation, salt: 0 };
        let name = listed.entry.name.as_str().into();
        let segment = Segment::new(&self.disk, &header, name).seeded(seed);
        reader::read_body(&segment, &**file, from, lane, seq, into)
    }

    fn scan(&self, visit: &mut dyn FnMut(Frame<'_>) -> ControlFlow<()>) -> Result<(), ScanError> {
        let origins = &self.layout.manifest.origins;
        let is_below = |lane: LaneId, seq: Seq| {
            origins.iter().any(|&(below, origin)| below == lane && seq < origin)
        };
        let mut show = |seen: &Seen<'_>| {
            let Frame { kind, lane, seq, .. } = seen.frame;
            if !crate::kind::is_callers(kind) || is_below(lane, seq) {
                return ControlFlow::Continue(());
            }
            visit(Frame { body: &[], ..seen.frame })
        };
        let is_needed =
            |index: &SegmentIndex| index.spans().any(|(lane, _, last)| !is_below(lane, last));
        let first = self.indexes.iter().position(is_needed).unwrap_or(self.indexes.len());
        let walked = Walk::new(&self.layout, &mut show).run_from(first);
        walked.map(|_| ()).map_err(|error| {
            let (file, source) = match error {
                CheckError::Io { file, source, .. } => (file, source),
                other => (String::new(), io::Error::other(other.to_string())),
            };
            ScanError::Io { file, offset: 0, source }
        })
    }

    fn start(&self, _: Arc<dyn Listener>) -> Result<(), StartError> {
        Err(StartError::Started)
    }

    fn close(&self) -> Result<(), CloseError> {
        Ok(())
    }

    fn origins(&self) -> Vec<(LaneId, Seq)> {
        self.layout.manifest.origins.clone()
    }

    fn raise_origins(&self, _: &[(LaneId, Seq)]) -> Result<(), KeepError> {
        Err(KeepError::Closed)
    }

    fn reclaim(&self, _: &mut Living<'_>) -> Result<Reclaimed, KeepError> {
        Err(KeepError::Closed)
    }

    fn usage(&self) -> Usage {
        Usage::default()
    }
}
