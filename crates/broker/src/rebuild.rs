//! Pages of long queues that cannot be read are built again from the log.
//!
//! The frame of every living message of a chunk is in the log, and its head says to which queues it
//! went. So the numbers of the chunk are gone through, and what went to its queue is what the page
//! had; only frames of settled messages may have been given back. If none is missing, the bits of
//! the root say who is alive; otherwise all that are left are taken to be, and some are handed over
//! again, as `redelivered: maybe`. Nothing alive is lost.
//!
//! It costs a walk over that part of the log, so it is done only when a page turns out damaged:
//! while an opening replays, or when the queue needs the page. A new snapshot follows.

use crate::codec::{self, Scratch};
use crate::shard::{Shard, Touched, flush};
use courant_engine::{Cold, Effects, Engine, Lifetime, Record};
use courant_storage::{LaneId, ReadError, Seq, Store};
use std::sync::atomic::Ordering;

/// Number, size and lifetime of a message.
pub(crate) type Found = (u64, u32, Lifetime);

/// What the log has of a chunk.
fn found(store: &dyn Store, shard: u16, cold: &Cold) -> Result<Vec<Found>, ReadError> {
    let mut found = Vec::new();
    let mut scratch = Scratch::default();
    let seqs = (Seq(cold.first()), Seq(cold.last()));
    store.heads(LaneId(shard), seqs, &mut |frame| {
        let (kind, seq) = ((frame.kind, frame.version), (frame.seq.0, frame.body_len));
        let record = codec::decode(kind, seq, frame.head, &mut scratch);
        if let Ok(Record::Published { seq, size, lifetime, targets, .. }) = record
            && targets.iter().any(|queue| queue == cold.queue())
        {
            found.push((seq, size, lifetime));
        }
    })?;
    Ok(found)
}

fn take_in(engine: &mut Engine, page: u64, (found, why): (&[Found], &str), effects: &mut Effects) {
    let Some(rebuilt) = engine.rebuild_page(page, found, effects) else { return };
    let (queue, before, now) = (rebuilt.queue.as_str(), rebuilt.alive_before, rebuilt.alive);
    if rebuilt.is_known {
        tracing::warn!(queue, page, why, "a part of a queue was damaged: built again from the log");
    } else {
        tracing::error!(
            queue,
            page,
            why,
            before,
            now,
            "a part of a queue was damaged: built again from the log; messages may come again"
        );
    }
}

/// Builds a page again for an engine that nobody else uses.
pub(crate) fn rebuild(
    engine: &mut Engine,
    (store, shard): (&dyn Store, u16),
    (page, why): (u64, &str),
    effects: &mut Effects,
) -> Result<(), ReadError> {
    let Some(cold) = engine.cold(page) else { return Ok(()) };
    let found = found(store, shard, &cold)?;
    take_in(engine, page, (&found, why), effects);
    Ok(())
}

impl Shard {
    /// Builds the page of a chunk again, with the lock held only for the last step. Gives all that
    /// may be alive.
    pub(crate) fn rebuild(&self, cold: &Cold, why: &str) -> Result<Vec<Found>, ReadError> {
        let found = found(&*self.store, self.number, cold)?;
        let mut touched = Touched::new();
        {
            let mut guard = self.lock();
            let state = &mut *guard;
            take_in(&mut state.engine, cold.page, (&found, why), &mut state.effects);
            self.hand_out(state, &mut touched);
        }
        flush(&touched);
        self.is_mended.store(true, Ordering::Release);
        Ok(found)
    }
}
