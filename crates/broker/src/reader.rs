//! The thread that reads bodies back from the log's files, so that no network thread and nobody
//! who holds a shard's lock ever waits for a disk.
//!
//! Bounds: a session is on the list at most once; at most [`RUN_MAX`] bodies or about 1 MiB are
//! read for it before the next session's turn.

use crate::codec;
use crate::outbox::Outbox;
use courant_storage::{Batch, FrameMeta, LaneId, OpenBatch, Seq, Store};
use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, PoisonError};

const RUN_MAX: usize = 256;

#[derive(Default)]
struct List {
    outboxes: VecDeque<Arc<Outbox>>,
    is_closed: bool,
}

/// The list of sessions that wait for bodies.
#[derive(Default)]
pub(crate) struct Reader {
    list: Mutex<List>,
    changed: Condvar,
}

impl Reader {
    /// Starts the thread.
    pub(crate) fn start(
        store: Arc<dyn Store>,
        shard: u16,
    ) -> std::io::Result<(Arc<Self>, std::thread::JoinHandle<()>)> {
        let reader = Arc::new(Self::default());
        let this = Arc::clone(&reader);
        let run = move || this.run(&*store, shard);
        let thread = crate::worker::thread("courant-reader", run)?;
        Ok((reader, thread))
    }

    /// Puts a session on the list. The caller sees to it that it is there once.
    pub(crate) fn want(&self, outbox: &Arc<Outbox>) {
        let mut list = self.list.lock().unwrap_or_else(PoisonError::into_inner);
        if !list.is_closed {
            list.outboxes.push_back(Arc::clone(outbox));
            self.changed.notify_one();
        }
    }

    /// Ends the thread.
    pub(crate) fn close(&self) {
        let mut list = self.list.lock().unwrap_or_else(PoisonError::into_inner);
        list.is_closed = true;
        list.outboxes.clear();
        self.changed.notify_all();
    }

    fn next(&self) -> Option<Arc<Outbox>> {
        let mut list = self.list.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            if list.is_closed {
                return None;
            }
            if let Some(outbox) = list.outboxes.pop_front() {
                return Some(outbox);
            }
            list = self.changed.wait(list).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn run(&self, store: &dyn Store, shard: u16) {
        let mut seqs = Vec::new();
        while let Some(outbox) = self.next() {
            outbox.wanted(RUN_MAX, &mut seqs);
            let bodies = read(store, shard, &seqs);
            if outbox.supply(&bodies, seqs.len()) {
                self.want(&outbox);
            }
        }
    }
}

/// Reads bodies into a batch of their own. One that cannot be read is reported and left out: its
/// delivery stays open, nothing wrong is ever handed over.
pub(crate) fn read(store: &dyn Store, shard: u16, seqs: &[u64]) -> Arc<Batch> {
    let mut batch = OpenBatch::new();
    let mut body = Vec::new();
    let mut sorted = seqs.to_vec();
    sorted.sort_unstable();
    sorted.dedup();
    for seq in sorted {
        let lane = LaneId(shard);
        body.clear();
        match store.read(lane, Seq(seq), &mut body) {
            Ok(()) => {
                let (kind, version) = (codec::PUBLISHED, codec::VERSION);
                let meta =
                    FrameMeta { kind, version, critical: true, lane, seq: Seq(seq), term: 0 };
                batch.push(meta, &[], &[&body]);
            }
            Err(error) => tracing::error!(seq, %error, "a message cannot be read from the log"),
        }
    }
    batch.seal()
}
