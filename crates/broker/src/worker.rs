//! Everything that runs in the background is started here, under a name.

use crate::shard::Shard;
use courant_engine::Progress;
use std::sync::{Arc, Weak};
use std::thread::JoinHandle;
use std::time::Duration;

/// How often deadlines are looked at.
const TICK: Duration = Duration::from_millis(50);

/// Starts a thread of its own for work that waits for disks.
pub(crate) fn thread(
    name: &str,
    run: impl FnOnce() + Send + 'static,
) -> std::io::Result<JoinHandle<()>> {
    std::thread::Builder::new().name(name.to_owned()).spawn(run)
}

/// Starts the task that looks at deadlines; it ends with the shard.
pub(crate) fn start_ticker(shard: &Arc<Shard>) {
    let shard: Weak<Shard> = Arc::downgrade(shard);
    tokio::spawn(async move {
        let mut ticks = tokio::time::interval(TICK);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            let Some(shard) = shard.upgrade() else { return };
            shard.tick();
        }
    });
}

/// Work that is done in steps, and how far it has come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WorkerReport {
    /// Its number.
    pub id: u32,
    /// What it does: `purge`.
    pub kind: &'static str,
    /// In which namespace.
    pub namespace: String,
    /// With which queue.
    pub queue: String,
    /// Messages it has dealt with since the opening.
    pub done: u64,
    /// Messages that are ready in the queue now.
    pub ready: u64,
}

impl From<Progress> for WorkerReport {
    fn from(worker: Progress) -> Self {
        Self {
            id: worker.id.0,
            kind: worker.kind.word(),
            namespace: worker.namespace.to_string(),
            queue: worker.queue.to_string(),
            done: worker.done,
            ready: worker.ready,
        }
    }
}

/// Starts the task that does long work, a step at a time; it ends with the shard.
pub(crate) fn start_worker(shard: &Arc<Shard>) {
    let work = Arc::clone(&shard.work);
    let shard: Weak<Shard> = Arc::downgrade(shard);
    tokio::spawn(async move {
        loop {
            // The clock covers what waits for settles to be written.
            let _ = tokio::time::timeout(TICK, work.notified()).await;
            while shard.upgrade().is_some_and(|shard| shard.work_step()) {
                tokio::task::yield_now().await;
            }
            if shard.strong_count() == 0 {
                return;
            }
        }
    });
}

/// Runs what waits for a disk on a thread that may. A panic there goes on here.
pub(crate) async fn blocking<T: Send + 'static>(run: impl FnOnce() -> T + Send + 'static) -> T {
    match tokio::task::spawn_blocking(run).await {
        Ok(done) => done,
        Err(error) => std::panic::resume_unwind(error.into_panic()),
    }
}
