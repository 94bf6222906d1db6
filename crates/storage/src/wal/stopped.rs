//! A folder that is being checked, as a store that can only be read: so that its caller builds its
//! state from it with the code that it always uses.
//!
//! What [`Check::run`] saw is there, frames behind damage included; what is damaged is missing in
//! a scan, and rotten or not found in a read.

use std::io;
use std::ops::ControlFlow;
use std::sync::Arc;

use crate::batch::{Batch, OpenBatch};
use crate::disk::File;
use crate::error::{AppendError, CloseError, KeepError, ReadError, ScanError, StartError};
use crate::frame::{Frame, LaneId, Offset, Seq};
use crate::store::{Listener, Living, Purpose, Reclaimed, Store, Ticket, Urgency, Usage};
use crate::wal::check::{Check, CheckError, Seen};
use crate::wal::index::SegmentIndex;
use crate::wal::reader;
use crate::wal::segment::{FIRST_BATCH_AT, Segment, SegmentHeader};
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

    /// A segment of the list, if its frames can be read.
    fn segment(&self, at: usize) -> Option<(Segment, &Arc<dyn File>)> {
        let listed = self.layout.segments.get(at)?;
        let (id, generation) = (listed.entry.id, listed.entry.generation);
        let header = SegmentHeader { id, generation, salt: 0 };
        let name = listed.entry.name.as_str().into();
        let segment = Segment::new(&self.disk, &header, name).seeded(listed.seed?);
        Some((segment, listed.file.as_ref()?))
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
        let (segment, file) = self.segment(at).ok_or(ReadError::NotFound)?;
        reader::read_body(&segment, &**file, from, lane, seq, into)
    }

    fn heads(
        &self,
        lane: LaneId,
        (first, last): (Seq, Seq),
        visit: &mut dyn FnMut(Frame<'_>),
    ) -> Result<(), ReadError> {
        for (at, index) in self.indexes.iter().enumerate() {
            let mut spans = index.spans();
            let is_here = spans.any(|(of, low, high)| of == lane && low <= last && first <= high);
            let Some((segment, file)) = self.segment(at).filter(|_| is_here) else { continue };
            let from = index.find(lane, first).unwrap_or(FIRST_BATCH_AT);
            reader::heads(&segment, &**file, from, (lane, first, last), visit)?;
        }
        Ok(())
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
