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

/// Held by whoever uses a broker. When the last one goes, the reader ends and closes the log.
pub(crate) struct Keeper(pub(crate) Arc<Reader>);

impl Drop for Keeper {
    fn drop(&mut self) {
        self.0.close();
    }
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

    /// Puts a session on the list; `false` if nothing is read any more. The caller sees to it
    /// that it is there once.
    pub(crate) fn want(&self, outbox: &Arc<Outbox>) -> bool {
        let mut list = self.list.lock().unwrap_or_else(PoisonError::into_inner);
        if !list.is_closed {
            list.outboxes.push_back(Arc::clone(outbox));
            self.changed.notify_one();
        }
        !list.is_closed
    }

    /// Ends the thread.
    pub(crate) fn close(&self) {
        let mut list = self.list.lock().unwrap_or_else(PoisonError::into_inner);
        list.is_closed = true;
        self.changed.notify_all();
    }

    /// The next session, and whether its bodies are still read.
    fn next(&self) -> Option<(Arc<Outbox>, bool)> {
        let mut list = self.list.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            if let Some(outbox) = list.outboxes.pop_front() {
                return Some((outbox, !list.is_closed));
            }
            if list.is_closed {
                return None;
            }
            list = self.changed.wait(list).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn run(&self, store: &dyn Store, shard: u16) {
        let mut seqs = Vec::new();
        while let Some((outbox, is_read)) = self.next() {
            if !is_read {
                outbox.abandon();
                continue;
            }
            outbox.wanted(RUN_MAX, &mut seqs);
            let bodies = read(store, shard, &seqs);
            if outbox.supply(&bodies, seqs.len()) && !self.want(&outbox) {
                outbox.abandon();
            }
        }
        // Here and not on the log's own thread, which could not wait for itself.
        let _ = store.close();
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
        let (kind, version) = (codec::PUBLISHED, codec::VERSION);
        let meta = FrameMeta { kind, version, critical: true, lane, seq: Seq(seq), term: 0 };
        if let Some((cached, at)) = store.cached(lane, Seq(seq)) {
            batch.push(meta, &[], &[cached.body(at)]);
            continue;
        }
        body.clear();
        match store.read(lane, Seq(seq), &mut body) {
            Ok(()) => {
                batch.push(meta, &[], &[&body]);
            }
            Err(error) => tracing::error!(seq, %error, "a message cannot be read from the log"),
        }
    }
    batch.seal()
}
