//! Everything that runs in the background is started here, under a name.

use crate::shard::Shard;
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

/// Runs what waits for a disk on a thread that may. A panic there goes on here.
pub(crate) async fn blocking<T: Send + 'static>(run: impl FnOnce() -> T + Send + 'static) -> T {
    match tokio::task::spawn_blocking(run).await {
        Ok(done) => done,
        Err(error) => std::panic::resume_unwind(error.into_panic()),
    }
}
