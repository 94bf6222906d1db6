//! Snapshots of the ledger: a *root* and *pages*, made under the shard's lock, written without it.
//!
//! A page holds the entries of one chunk ([`page`]), which never change once the chunk is whole;
//! so a snapshot makes a page for each chunk that grew since its last one, and shares the entries
//! of whole ones instead of copying them. All the rest, and who is alive, stands in the root
//! (`root.rs`). It costs O(queues + chunks), not O(messages).
//!
//! Steps: [`Engine::snapshot`] → the shell writes the pages, then the root → both are committed →
//! [`Engine::snapshot_done`]. Only then do chunks know their pages, and may their entries leave
//! memory. A snapshot that was not finished leaves no trace; the numbers it gave are void.

pub(crate) mod bytes;
pub mod page;
mod root;

use crate::engine::Engine;
use crate::expiry::note_chunk;
use crate::floor::Floor;
use crate::queue::FloorQueue;
use crate::worker::Worker;
use page::Page;
use root::{Fresh, Paging};
use thiserror::Error;

/// The ledger as it was, in writing.
#[derive(Debug)]
pub struct Snapshot {
    /// What is to be written before the root.
    pub pages: Vec<Page>,
    /// The root: [`Engine::restore`] takes it back.
    pub root: Vec<u8>,
}

/// Bytes are not the root of a snapshot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("the root of a snapshot makes no sense at byte {at}: {what}")]
pub struct RestoreError {
    /// Where.
    pub at: usize,
    /// What is wrong there.
    pub what: &'static str,
}

/// What snapshots left behind.
#[derive(Debug, Default)]
pub(crate) struct Snapshots {
    /// Pages that the last finished one refers to.
    finished: Vec<u64>,
    /// Pages that the one being written refers to, and those of them that are new.
    unfinished: Vec<u64>,
    fresh: Vec<Fresh>,
    /// Bytes of the last root: the next one is about as long.
    root_bytes: usize,
}

impl Engine {
    /// A snapshot of the ledger as it is now. New pages get numbers from `next_page` on. One that
    /// was not finished before is given up.
    pub fn snapshot(&mut self, next_page: &mut u64) -> Snapshot {
        let mut root =
            Vec::with_capacity(self.snapshots.root_bytes + self.snapshots.root_bytes / 8);
        let all = Vec::with_capacity(self.snapshots.finished.len());
        let mut paging = Paging { next_page, new: Vec::new(), fresh: Vec::new(), all };
        root::encode(&self.ledger, &mut paging, &mut root);
        self.snapshots.root_bytes = root.len();
        self.snapshots.unfinished = paging.all;
        self.snapshots.fresh = paging.fresh;
        Snapshot { pages: paging.new, root }
    }

    /// Says of the last snapshot whether its pages and root are committed. If not, the next one
    /// makes the same pages again, under other numbers.
    pub fn snapshot_done(&mut self, is_committed: bool) {
        let fresh = std::mem::take(&mut self.snapshots.fresh);
        let unfinished = std::mem::take(&mut self.snapshots.unfinished);
        if !is_committed {
            return;
        }
        self.snapshots.finished = unfinished;
        for Fresh { queue, base, page, len } in fresh {
            if let Some(queue) = self.ledger.queues.get_mut(&queue)
                && let Some(place) = queue.chunks.find(base)
            {
                place.chunk.page = page;
                place.chunk.page_len = len;
            }
        }
    }

    /// Shows the number of every page that the last finished snapshot refers to, and the one that
    /// is being written.
    pub fn pages(&self, see: &mut dyn FnMut(u64)) {
        let Snapshots { finished, unfinished, .. } = &self.snapshots;
        finished.iter().chain(unfinished).for_each(|page| see(*page));
    }

    /// The engine as a snapshot describes it. Chunks stay out of memory until they are needed:
    /// before a record is replayed, [`Self::pages_for`] says which are.
    pub fn restore(root: &[u8]) -> Result<Self, RestoreError> {
        let mut engine = Self::default();
        let snapshots = &mut engine.snapshots;
        snapshots.root_bytes = root.len();
        engine.ledger = root::decode(root, &mut snapshots.finished)
            .map_err(|bad| RestoreError { at: bad.at, what: bad.what })?;
        let (ledger, floor) = (&mut engine.ledger, &mut engine.floor);
        floor.routes.raise_all();
        floor.leases.begin_term(ledger.term);
        for (id, task) in &ledger.workers {
            floor.workers.insert(*id, Worker::new(*task));
        }
        for (id, queue) in &mut ledger.queues {
            let name = queue.name.clone();
            let mut there = FloorQueue::new(*id, queue.namespace, name, queue.options);
            there.watch_use(&mut floor.timers);
            for place in &mut queue.chunks.places {
                note_chunk(&mut there, place, &mut floor.timers);
            }
            // What made it too long may be in here, and what made it shorter lost.
            Floor::note_over(&mut floor.over, &mut there);
            floor.add_queue(there);
        }
        Ok(engine)
    }
}
