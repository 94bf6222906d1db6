//! What happens when the log of this node commits: the same bytes that went to disk are applied.
//!
//! Runs on the log's own thread. Committed means synced here; in a cluster another implementation
//! of the listener will say that a quorum has it.

use crate::shard::{Shard, flush};
use courant_storage::{Batch, Listener, Poison, Ticket};
use std::sync::{Arc, Weak};

/// Tells one shard what its log says.
pub(crate) struct LocalLog {
    shard: Weak<Shard>,
}

impl LocalLog {
    pub(crate) fn new(shard: &Arc<Shard>) -> Arc<Self> {
        Arc::new(Self { shard: Arc::downgrade(shard) })
    }
}

impl Listener for LocalLog {
    fn written(&self, up_to: Ticket) {
        if let Some(shard) = self.shard.upgrade() {
            let mut touched = Vec::new();
            shard.written(up_to, &mut touched);
            flush(&touched);
        }
    }

    fn committed(&self, batches: &[Arc<Batch>], up_to: Ticket) {
        if let Some(shard) = self.shard.upgrade() {
            let _guard = PanicGuard(&shard);
            let mut touched = Vec::new();
            for batch in batches {
                shard.apply(batch, &mut touched);
            }
            shard.commit(up_to, &mut touched);
            flush(&touched);
        }
    }

    fn room(&self) {
        if let Some(shard) = self.shard.upgrade() {
            shard.room.notify_waiters();
        }
    }

    fn poisoned(&self, cause: &Poison) {
        tracing::error!(%cause, "the log is poisoned: nothing is confirmed any more");
        if let Some(shard) = self.shard.upgrade() {
            shard.poison();
        }
    }
}

/// A panic while records are applied ends the log thread: whoever waits for it is told.
struct PanicGuard<'a>(&'a Shard);

impl Drop for PanicGuard<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.poison();
        }
    }
}
