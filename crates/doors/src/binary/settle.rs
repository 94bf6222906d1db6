//! SETTLE: the handles of one read go to the broker together.

use super::refusal::write_refused;
use super::talk::Talk;
use crate::refusal::Refused;
use courant::{Handle, Lease, Level, Selector, Verdict};
use courant_wire::BATCH_MAX;
use courant_wire::binary::{self, Settle, reply};

/// Settles of one read that go to the broker together.
#[derive(Debug, Default)]
pub(super) struct SettleBatch {
    verdicts: Vec<(Selector, Verdict)>,
    /// The req of each frame, and how many handles it has.
    frames: Vec<(u32, usize)>,
}

impl SettleBatch {
    pub(super) fn is_empty(&self) -> bool {
        self.frames.is_empty()
    }

    /// Whether it should be settled before more is added.
    pub(super) fn is_full(&self) -> bool {
        self.verdicts.len() >= BATCH_MAX
    }

    /// Adds the handles of a frame.
    pub(super) fn add(&mut self, req: u32, settle: &Settle<'_>) {
        let verdict = match settle.verdict {
            binary::Verdict::Ack => Verdict::Ack,
            binary::Verdict::Nack => Verdict::Nack,
            binary::Verdict::Reject => Verdict::Reject,
            binary::Verdict::Extend { milliseconds } => Verdict::Extend(milliseconds),
        };
        let handles = settle.handles.clone();
        self.frames.push((req, handles.len()));
        self.verdicts.extend(handles.map(|handle| {
            // One without a lease is not open.
            let lease = handle.lease.map_or(Lease::NONE, Lease);
            let handle = Handle { seq: handle.id.seq, lease };
            let one = if settle.is_upto { Selector::UpTo(handle) } else { Selector::One(handle) };
            (one, verdict)
        }));
    }
}

impl Talk {
    /// Settles the batch and adds the replies.
    pub(super) fn settle(&mut self, batch: &mut SettleBatch, is_synced: bool) {
        if batch.is_empty() {
            return;
        }
        let (session, settled) = (&mut self.words.session, &mut self.settled);
        settled.clear();
        session.settle(&batch.verdicts, settled);
        let mut after = None;
        if is_synced {
            match session.settles_synced() {
                Ok(ticket) => after = Some((ticket, Level::Committed)),
                Err(refusal) => settled.fill(Err(refusal)),
            }
        }
        self.replies.clear();
        let mut left = &settled[..];
        for (req, count) in batch.frames.drain(..) {
            let (own, rest) = left.split_at(count.min(left.len()));
            left = rest;
            let mut done = 0;
            for (index, result) in (0..).zip(own) {
                match result {
                    Ok(count) => done += count,
                    Err(refusal) => {
                        let refused = Refused::about(*refusal, "this delivery");
                        write_refused(&mut self.replies, &refused, req, (index, 1));
                    }
                }
            }
            if req != 0 {
                reply::ok(&mut self.replies, req, done, b"");
            }
        }
        batch.verdicts.clear();
        self.words.session.outbox().reply(&self.replies, after);
        self.replies.clear();
    }
}
