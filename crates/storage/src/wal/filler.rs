//! Keeps zeros written ahead of the log, because a sync of blocks that were written before is
//! several times cheaper than one that has to note new blocks; and makes the next segment in time.
//!
//! When the disk is full it tries again, every [`FULL_DISK_PAUSE_MS`]: first the reserve is made
//! whole, then the next segment; then messages are admitted again.
//!
//! How far ahead: twice what was written since the start, between [`AHEAD_BYTES_MIN`] and the
//! option, so that a log that is hardly used costs nothing.
//!
//! Zeros are written and synced through a handle of the filler's own: an error of its sync is thus
//! also reported to the log's own sync, and here only ends the filling. What a failed filling left
//! is overwritten by the log, which writes what it needs itself.

use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::{Builder, JoinHandle};
use std::time::Duration;

use crate::disk::write_full;
use crate::error::Poison;
use crate::limits::FULL_DISK_PAUSE_MS;
use crate::pipeline::Waker;
use crate::wal::directory::{Directory, folder, synced, written};
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
    /// Tells the log thread that there is room.
    wake_log: Waker,
    progress: Mutex<Progress>,
    wake: Condvar,
}

struct Progress {
    segment: Arc<Segment>,
    /// The log stands here in `segment`.
    written_to: u64,
    /// Written since the start.
    written_bytes: u64,
    /// Zeros are wanted, and there was space for them so far.
    fills: bool,
    /// The thread waits for a full disk.
    pauses: bool,
    stopped: bool,
}

/// What is to be done next.
enum Task {
    Regain { after: u64 },
    Fill { segment: Arc<Segment>, up_to: u64 },
    Prepare { after: u64 },
}

impl Filler {
    /// Starts one at the end of the log; `None` if it has nothing to do or there is no thread for
    /// it.
    pub(crate) fn start(
        directory: &Arc<Directory>,
        segment: &Arc<Segment>,
        written_to: u64,
        wake_log: Waker,
    ) -> Option<Filler> {
        if directory.options.fill_ahead_bytes == 0 && !directory.is_bounded() {
            return None;
        }
        let progress = Progress {
            segment: Arc::clone(segment),
            written_to,
            written_bytes: 0,
            fills: directory.options.fill_ahead_bytes > 0,
            pauses: false,
            stopped: false,
        };
        let shared = Arc::new(Shared {
            directory: Arc::clone(directory),
            wake_log,
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
        let begins_to_pause = self.shared.is_full() && !progress.pauses;
        let wakes = begins_to_pause || self.shared.task(&progress).is_some();
        drop(progress);
        if wakes {
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

impl Progress {
    fn is_worth_filling(&self, segment: &Segment, end: u64) -> bool {
        let (taken, up_to) = (segment.taken(), end.min(segment.size()));
        let is_last = up_to == segment.size() && taken < up_to;
        self.fills && (taken + STEP_BYTES <= up_to || is_last)
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
                Task::Fill { segment, up_to } => match self.fill(&segment, up_to, &zeros) {
                    Err(Poison::DiskFull { .. }) => {
                        self.progress().fills = false;
                        Ok(())
                    }
                    filled => filled,
                },
                Task::Prepare { after } => self.prepare(after),
                Task::Regain { after } => {
                    self.regain(after);
                    Ok(())
                }
            };
            if done.is_err() {
                return;
            }
        }
    }

    fn is_full(&self) -> bool {
        self.directory.room.is_full()
    }

    fn prepare(&self, after: u64) -> Result<(), Poison> {
        let room = &self.directory.room;
        match self.directory.prepare_after(after) {
            Err(Poison::DiskFull { .. }) if room.is_bounded() => room.state_tight(true),
            made => {
                made?;
                room.state_tight(false);
            }
        }
        Ok(())
    }

    /// What a full disk has to have before messages are admitted again. An error of any kind leaves
    /// it as it is: the log meets it itself, or it passes.
    fn regain(&self, after: u64) {
        let is_whole = self.directory.reserve.regain().is_ok_and(|is_whole| is_whole);
        if is_whole && self.prepare(after).is_ok() && !self.is_full() {
            (self.wake_log)();
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
            if !self.is_full() {
                progress = self.wake.wait(progress).unwrap_or_else(PoisonError::into_inner);
                continue;
            }
            progress.pauses = true;
            let pause = Duration::from_millis(FULL_DISK_PAUSE_MS);
            let waited = self.wake.wait_timeout(progress, pause);
            progress = waited.unwrap_or_else(PoisonError::into_inner).0;
            progress.pauses = false;
            if !progress.stopped && self.is_full() {
                return Some(Task::Regain { after: progress.segment.id });
            }
        }
    }

    /// What is worth doing: a whole step at least, so that there is no trickle of small syncs.
    fn task(&self, progress: &Progress) -> Option<Task> {
        let options = &self.directory.options;
        let ahead_max = options.fill_ahead_bytes.max(AHEAD_BYTES_MIN);
        let ahead = (progress.written_bytes * 2).clamp(AHEAD_BYTES_MIN, ahead_max);
        let segment = &progress.segment;
        let end = progress.written_to + ahead;
        if progress.is_worth_filling(segment, end) {
            return Some(Task::Fill {
                segment: Arc::clone(segment),
                up_to: end.min(segment.size()),
            });
        }
        if end <= segment.size() {
            return None;
        }
        match self.directory.after(segment.id) {
            // A full disk is not asked all the time.
            None => (!self.is_full()).then_some(Task::Prepare { after: segment.id }),
            Some(next) => progress
                .is_worth_filling(&next, ahead)
                .then(|| Task::Fill { up_to: ahead.min(next.size()), segment: next }),
        }
    }

    fn fill(&self, segment: &Segment, up_to: u64, zeros: &[u8]) -> Result<(), Poison> {
        let name = &segment.name;
        let file = self.directory.disk.open_log(name).map_err(folder("opening", name))?;
        let Some((from, to)) = segment.claim_for_zeros(up_to, STEP_BYTES) else { return Ok(()) };
        let len = usize::try_from(to - from).unwrap_or(0);
        let done = write_full(&*file, zeros.get(..len).unwrap_or(zeros), from);
        segment.filled();
        done.map_err(written(name, from))?;
        file.sync_data().map_err(synced(name))
    }
}
