//! The thread that reads back from the log's files: bodies, and pages of long queues; so that no
//! network thread and nobody who holds a shard's lock ever waits for a disk.
//!
//! Bounds: a session is on the list at most once; at most [`RUN_MAX`] bodies or about 1 MiB are
//! read for it before the next session's turn. A queue asks for one page at a time.

use crate::codec;
use crate::outbox::Outbox;
use crate::shard::{Shard, Touched, flush};
use crate::snapshot::{fetch, state_lane};
use crate::stats::Stats;
use crate::worker;
use courant_engine::Delivery;
use courant_storage::{Batch, FrameMeta, LaneId, OpenBatch, ReadError, Seq, Store};
use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

const RUN_MAX: usize = 256;
/// An error of the operating system may pass: how often and how soon it is tried again.
const TRIES: u32 = 3;
const TRY_PAUSE: Duration = Duration::from_millis(20);

#[derive(Default)]
struct List {
    outboxes: VecDeque<Arc<Outbox>>,
    pages: VecDeque<u64>,
    /// Pages that could not be read; they are asked for again later.
    missed: Vec<u64>,
    is_closed: bool,
}

enum Work {
    Page(u64),
    Bodies(Arc<Outbox>),
    /// Nothing is read any more.
    Abandon(Arc<Outbox>),
}

/// The list of what is to be read.
#[derive(Default)]
pub(crate) struct Reader {
    list: Mutex<List>,
    changed: Condvar,
}

impl Reader {
    fn list(&self) -> MutexGuard<'_, List> {
        self.list.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Starts the thread. `last` runs at its end.
    pub(crate) fn start(
        self: &Arc<Self>,
        shard: Arc<Shard>,
        last: impl FnOnce() + Send + 'static,
    ) -> std::io::Result<JoinHandle<()>> {
        let this = Arc::clone(self);
        worker::thread("courant-reader", move || {
            this.run(&shard);
            last();
            // Here and not on the log's own thread, which could not wait for itself.
            let _ = shard.store.close();
        })
    }

    /// Puts a session on the list; `false` if nothing is read any more. The caller sees to it
    /// that it is there once.
    pub(crate) fn want(&self, outbox: &Arc<Outbox>) -> bool {
        let mut list = self.list();
        if !list.is_closed {
            list.outboxes.push_back(Arc::clone(outbox));
            self.changed.notify_one();
        }
        !list.is_closed
    }

    /// Has a page of a long queue read. May be called with the shard's lock held.
    pub(crate) fn want_page(&self, page: u64) {
        let mut list = self.list();
        if !list.is_closed && !list.pages.contains(&page) {
            list.pages.push_back(page);
            self.changed.notify_one();
        }
    }

    /// Takes the pages that could not be read.
    pub(crate) fn take_missed(&self) -> Vec<u64> {
        std::mem::take(&mut self.list().missed)
    }

    /// Ends the thread.
    pub(crate) fn close(&self) {
        let mut list = self.list();
        list.is_closed = true;
        self.changed.notify_all();
    }

    fn next(&self) -> Option<Work> {
        let mut list = self.list();
        loop {
            if list.is_closed {
                return list.outboxes.pop_front().map(Work::Abandon);
            }
            // Pages first: whole queues wait for them.
            if let Some(page) = list.pages.pop_front() {
                return Some(Work::Page(page));
            }
            if let Some(outbox) = list.outboxes.pop_front() {
                return Some(Work::Bodies(outbox));
            }
            list = self.changed.wait(list).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn run(&self, shard: &Shard) {
        let mut wanted = Vec::new();
        while let Some(work) = self.next() {
            match work {
                Work::Page(page) => self.load(shard, page),
                Work::Abandon(outbox) => outbox.abandon(),
                Work::Bodies(outbox) => {
                    outbox.wanted(RUN_MAX, &mut wanted);
                    let (bodies, failed) = read(&*shard.store, shard.number, &wanted);
                    let again = outbox.supply(&bodies, wanted.len());
                    shard.unreadable(outbox.session(), &failed);
                    if again && !self.want(&outbox) {
                        outbox.abandon();
                    }
                }
            }
        }
    }

    /// Reads a page and gives it to the engine; one that is damaged is built again.
    fn load(&self, shard: &Shard, page: u64) {
        match Self::bring(shard, page) {
            Ok(()) => Stats::add(&shard.stats.pages_loaded, 1),
            Err(error) => {
                tracing::error!(
                    page,
                    %error,
                    "a part of a queue cannot be read: its consumers wait"
                );
                self.list().missed.push(page);
            }
        }
        shard.loaded.notify_waiters();
        shard.work.notify_one();
    }

    fn bring(shard: &Shard, page: u64) -> Result<(), ReadError> {
        let mut bytes = Vec::new();
        let lane = state_lane(shard.number);
        let why = match patiently(|| fetch(&*shard.store, lane, page, &mut bytes)) {
            Ok(()) => {
                let mut touched = Touched::new();
                let installed = {
                    let mut guard = shard.lock();
                    let state = &mut *guard;
                    let installed = state.engine.install_page(page, &bytes, &mut state.effects);
                    shard.hand_out(state, &mut touched);
                    installed
                };
                flush(&touched);
                match installed {
                    Ok(()) => return Ok(()),
                    Err(error) => error.to_string(),
                }
            }
            Err(error @ ReadError::Io { .. }) => return Err(error),
            Err(error) => error.to_string(),
        };
        let cold = shard.lock().engine.cold(page);
        cold.map_or(Ok(()), |cold| patiently(|| shard.rebuild(&cold, &why).map(drop)))
    }
}

/// Tries again what the operating system refused.
fn patiently(mut read: impl FnMut() -> Result<(), ReadError>) -> Result<(), ReadError> {
    let mut tried = 1;
    loop {
        match read() {
            Err(ReadError::Io { .. }) if tried < TRIES => std::thread::sleep(TRY_PAUSE),
            done => return done,
        }
        tried += 1;
    }
}

/// Deliveries of one message that could not be read, and why.
pub(crate) type Failed = (Vec<Delivery>, ReadError);

/// Reads bodies into a batch of their own, each once. Those that cannot be read are left out, and
/// all their deliveries given with the reason: nothing wrong is ever handed over.
pub(crate) fn read(
    store: &dyn Store,
    shard: u16,
    wanted: &[Delivery],
) -> (Arc<Batch>, Vec<Failed>) {
    let mut batch = OpenBatch::new();
    let mut failed = Vec::new();
    let mut body = Vec::new();
    let mut sorted = wanted.to_vec();
    sorted.sort_unstable_by_key(|delivery| delivery.seq);
    for same in sorted.chunk_by(|one, other| one.seq == other.seq) {
        let Some(Delivery { seq, .. }) = same.first().copied() else { continue };
        let lane = LaneId(shard);
        body.clear();
        match patiently(|| fetch(store, lane, seq, &mut body)) {
            Ok(()) => {
                let (kind, version) = (codec::PUBLISHED, codec::VERSION);
                let meta =
                    FrameMeta { kind, version, critical: true, lane, seq: Seq(seq), term: 0 };
                batch.push(meta, &[], &[&body]);
            }
            Err(error) => failed.push((same.to_vec(), error)),
        }
    }
    (batch.seal(), failed)
}
