//! Keeps zeros written ahead of the log, because a sync of blocks that were written before is
//! several times cheaper than one that has to note new blocks; and makes the next segment in time.
//!
//! How far ahead: twice what was written since the start, between [`AHEAD_BYTES_MIN`] and the
//! option, so that a log that is hardly used costs nothing.
//!
//! Zeros are written and synced through a handle of the filler's own: an error of its sync is thus
//! also reported to the log's own sync, and here only ends the filling. What a failed filling left
//! is overwritten by the log, which writes what it needs itself.

use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::{Builder, JoinHandle};

use crate::disk::write_full;
use crate::wal::directory::Directory;
use crate::wal::segment::Segment;

const AHEAD_BYTES_MIN: u64 = 1 << 20;
const STEP_BYTES: u64 = 1 << 20;

/// A running filler; dropping it ends and joins it.
pub(crate) struct Filler {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

struct Shared {
    directory: Arc<Directory>,
    progress: Mutex<Progress>,
    wake: Condvar,
}

struct Progress {
    segment: Arc<Segment>,
    /// The log stands here in `segment`.
    written_to: u64,
    /// Written since the start.
    written_bytes: u64,
    stopped: bool,
}

/// What is to be done next.
enum Task {
    Fill { segment: Arc<Segment>, up_to: u64 },
    Prepare { after: u64 },
}

impl Filler {
    /// Starts one at the end of the log; `None` if it is not wanted or there is no thread for it.
    pub(crate) fn start(
        directory: &Arc<Directory>,
        segment: &Arc<Segment>,
        written_to: u64,
    ) -> Option<Filler> {
        if directory.options.fill_ahead_bytes == 0 {
            return None;
        }
        let progress =
            Progress { segment: Arc::clone(segment), written_to, written_bytes: 0, stopped: false };
        let shared = Arc::new(Shared {
            directory: Arc::clone(directory),
            progress: Mutex::new(progress),
            wake: Condvar::new(),
        });
        let worker = Arc::clone(&shared);
        let thread = Builder::new().name("log-filler".into()).spawn(move || worker.run()).ok()?;
        Some(Filler { shared, thread: Some(thread) })
    }

    /// The log was written up to `written_to`.
    pub(crate) fn advance(&self, segment: &Arc<Segment>, written_to: u64) {
        let mut progress = self.shared.progress();
        if progress.segment.id != segment.id {
            progress.segment = Arc::clone(segment);
            progress.written_to = 0;
        }
        progress.written_bytes += written_to.saturating_sub(progress.written_to);
        progress.written_to = written_to;
        let idle = self.shared.task(&progress).is_none();
        drop(progress);
        if !idle {
            self.shared.wake.notify_one();
        }
    }
}

impl Drop for Filler {
    fn drop(&mut self) {
        self.shared.progress().stopped = true;
        self.shared.wake.notify_one();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Shared {
    fn progress(&self) -> std::sync::MutexGuard<'_, Progress> {
        self.progress.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn run(&self) {
        let zeros = vec![0; usize::try_from(STEP_BYTES).unwrap_or(0)];
        while let Some(task) = self.next() {
            let done = match task {
                Task::Fill { segment, up_to } => self.fill(&segment, up_to, &zeros),
                Task::Prepare { after } => self.directory.prepare_after(after).is_ok(),
            };
            if !done {
                return;
            }
        }
    }

    fn next(&self) -> Option<Task> {
        let mut progress = self.progress();
        loop {
            if progress.stopped {
                return None;
            }
            if let Some(task) = self.task(&progress) {
                return Some(task);
            }
            progress = self.wake.wait(progress).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// What is worth doing: a whole step at least, so that there is no trickle of small syncs.
    fn task(&self, progress: &Progress) -> Option<Task> {
        let options = &self.directory.options;
        let ahead_max = options.fill_ahead_bytes.max(AHEAD_BYTES_MIN);
        let ahead = (progress.written_bytes * 2).clamp(AHEAD_BYTES_MIN, ahead_max);
        let segment = &progress.segment;
        let up_to = (progress.written_to + ahead).min(options.segment_bytes);
        let taken = segment.taken();
        if taken + STEP_BYTES <= up_to || (taken < up_to && up_to == options.segment_bytes) {
            return Some(Task::Fill { segment: Arc::clone(segment), up_to });
        }
        if progress.written_to + ahead <= options.segment_bytes {
            return None;
        }
        match self.directory.after(segment.id) {
            None => Some(Task::Prepare { after: segment.id }),
            Some(next) => {
                let up_to = ahead.min(options.segment_bytes);
                (next.taken() + STEP_BYTES <= up_to).then_some(Task::Fill { segment: next, up_to })
            }
        }
    }

    fn fill(&self, segment: &Segment, up_to: u64, zeros: &[u8]) -> bool {
        let Ok(file) = self.directory.disk.open_log(&segment.name) else { return false };
        let Some((from, to)) = segment.claim_for_zeros(up_to, STEP_BYTES) else { return true };
        let len = usize::try_from(to - from).unwrap_or(0);
        let done = write_full(&*file, zeros.get(..len).unwrap_or(zeros), from);
        segment.filled();
        done.and_then(|()| file.sync_data()).is_ok()
    }
}
