//! Group commit: one open batch that everybody appends to, one log thread that makes it durable.
//!
//! The thread, in steps:
//! 1. Sleep until there is something to do: an urgent append; a `Soon` append that waited
//!    its write delay; something written that waited its sync delay; an idle log to seal.
//! 2. Swap the open batch with an empty one. From here on no lock is held.
//! 3. Let the sink write it, tell the listener, and, if anybody waits, sync. All that arrives
//!    meanwhile is in the next batch.
//! 4. After the sync: into the tail, `committed` rises, the listener is told.
//!
//! Invariants: batches reach the sink in append order; `committed` only rises, and only after the
//! sink synced; after a poison nothing is committed and every append is refused; what is admitted
//! has room on the disk ([`Room`]).

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, RwLock};
use std::thread::{Builder, JoinHandle};
use std::time::{Duration, Instant};

use crate::batch::{Batch, OpenBatch};
use crate::error::{AppendError, CloseError, Poison, StartError};
use crate::frame::{LaneId, Offset, Seq};
use crate::limits::OPENING_BYTES;
use crate::room::{Lack, Room};
use crate::store::{Listener, Purpose, Ticket, Urgency};
use crate::tail::Tail;

/// What makes batches durable. All calls come from the log thread.
pub(crate) trait Sink: Send + 'static {
    /// Completes the batch (checksums, padding) and writes it behind all before.
    fn write(&mut self, batch: &mut OpenBatch) -> Result<(), Poison>;

    /// Makes all that was written durable.
    fn sync(&mut self) -> Result<(), Poison>;

    /// `batches` are durable: lets them be found by a read.
    fn committed(&mut self, batches: &[Arc<Batch>]);

    /// Seals what is durable, so that damage to it can never be taken for a torn tail.
    fn seal(&mut self, closing: bool) -> Result<(), Poison>;
}

/// Bounds and delays of a pipeline.
#[derive(Debug, Clone, Copy)]
pub(crate) struct PipelineOptions {
    pub(crate) in_flight_bytes_max: usize,
    pub(crate) cache_bytes_max: usize,
    /// How long a `Soon` append waits to be written, and then to be synced.
    pub(crate) write_delay: Duration,
    pub(crate) sync_delay: Duration,
    pub(crate) seal_delay: Duration,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Phase {
    Opened,
    Running,
    Closing,
    Closed,
    Poisoned(Poison),
}

/// Appends were refused, and nobody was told yet that there is room.
#[derive(Default)]
struct Refused {
    /// As full: until something is committed.
    for_now: bool,
    /// Until there is room on the disk.
    of_disk: bool,
}

struct Intake {
    open: OpenBatch,
    phase: Phase,
    /// Frames appended: the ticket of the last append.
    appended: u64,
    /// Somebody waits for the commit of all that was appended.
    urgent: bool,
    refused: Refused,
    /// Frames that the log thread took and is writing.
    writing_bytes: usize,
    appended_bytes: u64,
    /// The log thread waits for `wake`.
    asleep: bool,
}

/// Wakes the log thread, to tell that a full disk has room.
pub(crate) type Waker = Box<dyn Fn() + Send + Sync>;

struct Shared {
    options: PipelineOptions,
    room: Arc<Room>,
    intake: Mutex<Intake>,
    wake: Condvar,
    committed: AtomicU64,
    in_flight_bytes: AtomicUsize,
    committed_bytes: AtomicU64,
    tail: RwLock<Tail>,
}

/// The way from an append to its commit; shared by every store.
pub(crate) struct Pipeline {
    shared: Arc<Shared>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Pipeline {
    pub(crate) fn new(options: PipelineOptions, room: Arc<Room>) -> Pipeline {
        let intake = Intake {
            open: OpenBatch::new(),
            phase: Phase::Opened,
            appended: 0,
            urgent: false,
            refused: Refused::default(),
            writing_bytes: 0,
            appended_bytes: 0,
            asleep: false,
        };
        let shared = Shared {
            options,
            room,
            intake: Mutex::new(intake),
            wake: Condvar::new(),
            committed: AtomicU64::new(0),
            in_flight_bytes: AtomicUsize::new(0),
            committed_bytes: AtomicU64::new(0),
            tail: RwLock::new(Tail::new(options.cache_bytes_max)),
        };
        Pipeline { shared: Arc::new(shared), thread: Mutex::new(None) }
    }

    pub(crate) fn start(
        &self,
        sink: impl Sink,
        listener: Arc<dyn Listener>,
    ) -> Result<(), StartError> {
        let mut thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner);
        {
            let mut intake = self.shared.intake();
            if intake.phase != Phase::Opened {
                return Err(StartError::Started);
            }
            intake.phase = Phase::Running;
        }
        let shared = Arc::clone(&self.shared);
        let worker = move || LogThread::new(shared, sink, listener).run();
        *thread = Some(Builder::new().name("log".into()).spawn(worker).map_err(|error| {
            self.shared.intake().phase = Phase::Opened;
            StartError::Thread(error)
        })?);
        Ok(())
    }

    pub(crate) fn append(
        &self,
        urgency: Urgency,
        purpose: Purpose,
        fill: &mut dyn FnMut(&mut OpenBatch),
    ) -> Result<Ticket, AppendError> {
        let shared = &*self.shared;
        let mut intake =
            shared.intake.lock().map_err(|_| AppendError::Poisoned(Poison::Panicked))?;
        match &intake.phase {
            Phase::Running => {}
            Phase::Opened => return Err(AppendError::NotStarted),
            Phase::Closing | Phase::Closed => return Err(AppendError::Closed),
            Phase::Poisoned(cause) => return Err(AppendError::Poisoned(cause.clone())),
        }
        let in_flight_bytes = shared.in_flight_bytes.load(Ordering::Acquire);
        // Publishers at full speed keep it full: upkeep must not have to win a race against them.
        let ahead =
            if purpose == Purpose::Upkeep { shared.options.in_flight_bytes_max / 4 } else { 0 };
        let limit_bytes = shared.options.in_flight_bytes_max + ahead;
        if in_flight_bytes >= limit_bytes {
            intake.refused.for_now = true;
            return Err(AppendError::Full { in_flight_bytes, limit_bytes });
        }
        let is_opening = intake.appended_bytes < OPENING_BYTES;
        match shared.room.check(purpose, intake.waiting_bytes(), is_opening) {
            Ok(()) => {}
            Err(Lack::ForNow) => {
                intake.refused.for_now = true;
                return Err(AppendError::Full { in_flight_bytes, limit_bytes });
            }
            Err(Lack::OfDisk) => {
                intake.refused.of_disk = true;
                return Err(AppendError::DiskFull);
            }
        }
        let was_empty = intake.open.is_empty();
        let (frames, bytes) = (intake.open.len(), intake.open.len_bytes());
        fill(&mut intake.open);
        intake.appended += (intake.open.len() - frames) as u64;
        let added = intake.open.len_bytes() - bytes;
        shared.in_flight_bytes.fetch_add(added, Ordering::AcqRel);
        intake.appended_bytes += added as u64;
        let ticket = Ticket(intake.appended);
        let now_urgent = urgency == Urgency::Now && !intake.urgent;
        intake.urgent |= now_urgent;
        let wakes = intake.asleep && (now_urgent || was_empty);
        intake.asleep &= !wakes;
        drop(intake);
        if wakes {
            shared.wake.notify_one();
        }
        Ok(ticket)
    }

    /// Something beside the batches could not be made durable: appends are refused from now on, and
    /// the log thread ends and tells the listener.
    pub(crate) fn fail(&self, cause: &Poison) {
        {
            let mut intake = self.shared.intake();
            if !matches!(intake.phase, Phase::Running | Phase::Closing) {
                return;
            }
            intake.phase = Phase::Poisoned(cause.clone());
            intake.asleep = false;
        }
        self.shared.wake.notify_one();
    }

    pub(crate) fn committed(&self) -> Ticket {
        Ticket(self.shared.committed.load(Ordering::Acquire))
    }

    pub(crate) fn in_flight_bytes(&self) -> usize {
        self.shared.in_flight_bytes.load(Ordering::Acquire)
    }

    /// Bytes of frames committed since the start.
    pub(crate) fn committed_bytes(&self) -> u64 {
        self.shared.committed_bytes.load(Ordering::Acquire)
    }

    /// For whoever finds room on a full disk.
    pub(crate) fn waker(&self) -> Waker {
        let shared = Arc::downgrade(&self.shared);
        Box::new(move || {
            let Some(shared) = shared.upgrade() else { return };
            // Under the lock: who was refused before has said so.
            shared.intake().asleep = false;
            shared.wake.notify_one();
        })
    }

    pub(crate) fn cached(&self, lane: LaneId, seq: Seq) -> Option<(Arc<Batch>, Offset)> {
        self.shared.tail.read().unwrap_or_else(PoisonError::into_inner).find(lane, seq)
    }

    /// Commits, seals and joins; a pipeline that was never started is only marked as closed.
    pub(crate) fn close(&self) -> Result<(), CloseError> {
        let mut thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner);
        {
            let mut intake = self.shared.intake();
            match intake.phase {
                Phase::Running => intake.phase = Phase::Closing,
                Phase::Opened => intake.phase = Phase::Closed,
                Phase::Closing | Phase::Closed | Phase::Poisoned(_) => {}
            }
            intake.asleep = false;
        }
        self.shared.wake.notify_one();
        if let Some(thread) = thread.take()
            && thread.join().is_err()
        {
            return Err(CloseError::Poisoned(Poison::Panicked));
        }
        match &self.shared.intake().phase {
            Phase::Poisoned(cause) => Err(CloseError::Poisoned(cause.clone())),
            _ => Ok(()),
        }
    }
}

impl Drop for Pipeline {
    fn drop(&mut self) {
        let _ = self.close();
    }
}

impl Intake {
    /// Frames that are not in the file yet.
    fn waiting_bytes(&self) -> usize {
        self.writing_bytes + self.open.len_bytes()
    }

    /// Whether somebody who was refused is to be told of room. After a refusal as full that is with
    /// a commit, unless there is nothing left to commit.
    fn takes_room(&mut self, room: &Room, is_idle: bool) -> bool {
        let of_disk = self.refused.of_disk && !room.is_full();
        let for_now = self.refused.for_now && is_idle && self.open.is_empty();
        self.refused.of_disk &= !of_disk;
        self.refused.for_now &= !for_now;
        of_disk || for_now
    }
}

impl Shared {
    /// The intake, also after a panic: whoever only looks at the phase may have it.
    fn intake(&self) -> MutexGuard<'_, Intake> {
        self.intake.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn poison(&self, cause: &Poison) {
        self.intake().phase = Phase::Poisoned(cause.clone());
    }
}

/// What the log thread does next.
enum Step {
    /// Write this batch, and sync if somebody waits for it.
    Write {
        batch: OpenBatch,
        ticket: Ticket,
        sync: bool,
    },
    Sync,
    /// Tell that there is room.
    Room,
    Seal,
    Close,
    Fail(Poison),
}

struct LogThread<S> {
    shared: Arc<Shared>,
    sink: S,
    listener: Arc<dyn Listener>,
    /// Written and not yet synced, in append order.
    unsynced: Vec<Arc<Batch>>,
    /// Since when the open batch was seen with `Soon` frames only.
    soon_since: Option<Instant>,
    unsynced_since: Option<Instant>,
    /// Since when there is something that no seal covers.
    unsealed_since: Option<Instant>,
    /// Allocations to be used again.
    spares: Vec<OpenBatch>,
}

/// A batch with a larger allocation than this is not kept for another use unless it was needed.
const SPARE_BYTES_MAX: usize = 4 << 20;
/// A smaller batch moves to an allocation of its own size, so that the tail holds no air.
const COMPACT_BYTES_MAX: usize = 64 << 10;
const SPARES_MAX: usize = 4;

impl<S: Sink> LogThread<S> {
    fn new(shared: Arc<Shared>, sink: S, listener: Arc<dyn Listener>) -> LogThread<S> {
        LogThread {
            shared,
            sink,
            listener,
            unsynced: Vec::new(),
            soon_since: None,
            unsynced_since: None,
            unsealed_since: None,
            spares: Vec::new(),
        }
    }

    fn run(mut self) {
        let mut guard = PanicGuard { shared: Arc::clone(&self.shared), armed: true };
        loop {
            let outcome = match self.next_step() {
                Step::Write { batch, ticket, sync } => self.write(batch, ticket, sync),
                Step::Sync => self.sync(),
                Step::Room => {
                    self.listener.room();
                    Ok(())
                }
                Step::Seal => {
                    self.unsealed_since = None;
                    self.sink.seal(false)
                }
                Step::Close => match self.sink.seal(true) {
                    Ok(()) => {
                        self.shared.intake().phase = Phase::Closed;
                        break;
                    }
                    failed => failed,
                },
                Step::Fail(cause) => Err(cause),
            };
            if let Err(cause) = outcome {
                self.shared.poison(&cause);
                self.listener.poisoned(&cause);
                break;
            }
        }
        guard.armed = false;
    }

    /// Waits for something to do. A clock is read here and nowhere on the appenders' side.
    fn next_step(&mut self) -> Step {
        let shared = Arc::clone(&self.shared);
        let Ok(mut intake) = shared.intake.lock() else { return Step::Fail(Poison::Panicked) };
        loop {
            let now = Instant::now();
            if let Some(step) = self.due(&mut intake, now) {
                return step;
            }
            if !intake.open.is_empty() {
                self.soon_since.get_or_insert(now);
            }
            intake.asleep = true;
            let waited = match self.deadline() {
                None => shared.wake.wait(intake),
                Some(deadline) => shared
                    .wake
                    .wait_timeout(intake, deadline.saturating_duration_since(now))
                    .map(|(intake, _)| intake)
                    .map_err(|error| PoisonError::new(error.into_inner().0)),
            };
            let Ok(awake) = waited else { return Step::Fail(Poison::Panicked) };
            intake = awake;
            intake.asleep = false;
        }
    }

    /// The step that is due at `now`, if any.
    fn due(&mut self, intake: &mut Intake, now: Instant) -> Option<Step> {
        let past = |since: Option<Instant>, delay: Duration| {
            since.is_some_and(|since| now.duration_since(since) >= delay)
        };
        intake.writing_bytes = 0;
        if let Phase::Poisoned(cause) = &intake.phase {
            return Some(Step::Fail(cause.clone()));
        }
        if intake.takes_room(&self.shared.room, self.unsynced.is_empty()) {
            return Some(Step::Room);
        }
        let closing = intake.phase == Phase::Closing;
        let waited_for = intake.urgent || intake.refused.for_now || closing;
        if !intake.open.is_empty() {
            if !waited_for && !past(self.soon_since, self.shared.options.write_delay) {
                return None;
            }
            let empty = self.spares.pop().unwrap_or_default();
            let batch = std::mem::replace(&mut intake.open, empty);
            intake.writing_bytes = batch.len_bytes();
            intake.urgent = false;
            self.soon_since = None;
            let ticket = Ticket(intake.appended);
            return Some(Step::Write { batch, ticket, sync: waited_for });
        }
        if !self.unsynced.is_empty() {
            let due = waited_for || past(self.unsynced_since, self.shared.options.sync_delay);
            intake.urgent = false;
            return due.then_some(Step::Sync);
        }
        intake.urgent = false;
        if closing {
            return Some(Step::Close);
        }
        past(self.unsealed_since, self.shared.options.seal_delay).then_some(Step::Seal)
    }

    fn deadline(&self) -> Option<Instant> {
        let after = |since: Option<Instant>, delay| since.map(|since| since + delay);
        let write = after(self.soon_since, self.shared.options.write_delay);
        let sync = after(self.unsynced_since, self.shared.options.sync_delay);
        let seal = after(self.unsealed_since, self.shared.options.seal_delay);
        [write, sync.or(seal)].into_iter().flatten().min()
    }

    fn write(&mut self, mut batch: OpenBatch, ticket: Ticket, sync: bool) -> Result<(), Poison> {
        self.sink.write(&mut batch)?;
        let batch = self.compact(batch).into_batch(ticket);
        self.unsynced.push(Arc::new(batch));
        self.listener.written(ticket);
        if sync {
            return self.sync();
        }
        self.unsynced_since.get_or_insert_with(Instant::now);
        Ok(())
    }

    fn sync(&mut self) -> Result<(), Poison> {
        self.sink.sync()?;
        self.sink.committed(&self.unsynced);
        self.unsynced_since = None;
        let Some(up_to) = self.unsynced.last().map(|batch| batch.ticket()) else { return Ok(()) };
        self.keep_tail();
        self.shared.committed.store(up_to.0, Ordering::Release);
        self.listener.committed(&self.unsynced, up_to);
        let bytes = self.unsynced.iter().map(|batch| batch.frames_len_bytes()).sum();
        self.shared.committed_bytes.fetch_add(bytes as u64, Ordering::AcqRel);
        self.unsynced.clear();
        self.unsealed_since = Some(Instant::now());
        self.give_room(bytes);
        Ok(())
    }

    fn keep_tail(&mut self) {
        let spares = &mut self.spares;
        let mut tail = self.shared.tail.write().unwrap_or_else(PoisonError::into_inner);
        for batch in &self.unsynced {
            tail.push(batch, |evicted| {
                if spares.len() < SPARES_MAX
                    && let Ok(batch) = Arc::try_unwrap(evicted)
                    && batch.capacity_bytes() <= SPARE_BYTES_MAX
                {
                    spares.push(OpenBatch::recycle(batch));
                }
            });
        }
    }

    fn give_room(&self, bytes: usize) {
        let before = self.shared.in_flight_bytes.fetch_sub(bytes, Ordering::AcqRel);
        let low = self.shared.options.in_flight_bytes_max / 2;
        if before - bytes <= low && std::mem::take(&mut self.shared.intake().refused.for_now) {
            self.listener.room();
        }
    }

    fn compact(&mut self, mut batch: OpenBatch) -> OpenBatch {
        let wasteful = batch.capacity_bytes() > 2 * batch.bytes_mut().len();
        if !wasteful || batch.bytes_mut().len() > COMPACT_BYTES_MAX {
            return batch;
        }
        let small = batch.compacted();
        if self.spares.len() < SPARES_MAX && batch.capacity_bytes() <= SPARE_BYTES_MAX {
            batch.clear();
            self.spares.push(batch);
        }
        small
    }
}

/// Poisons the pipeline when the log thread unwinds, so that nobody waits for it.
struct PanicGuard {
    shared: Arc<Shared>,
    armed: bool,
}

impl Drop for PanicGuard {
    fn drop(&mut self) {
        if self.armed {
            self.shared.poison(&Poison::Panicked);
        }
    }
}
