//! One shard: an engine behind a lock, not a task.
//!
//! Whoever brings a batch takes the lock once, admits or applies, moves what follows into
//! outboxes, lets go, and then gives the outboxes' bytes to their sockets. The lock is never held
//! across an await or any I/O.
//!
//! A durable message: [`State::admit_batch`] numbers it and encodes it into the log's open batch;
//! the log thread writes and syncs, then calls [`Shard::apply`] with the same bytes: one code path
//! for live traffic and for recovery.

use crate::account::{Accounts, MemoryBounds};
use crate::alarm::Alarms;
use crate::body::{Placed, Source, find};
use crate::clock::Clock;
use crate::codec::{self, Scratch};
use crate::confirm::Level;
use crate::counters::Counters;
use crate::deferral::{Deferrals, Deferred};
use crate::outbox::Outbox;
use crate::outlet::Tag;
use crate::quota::Limits;
use crate::reader::Reader;
use crate::router::Router;
use crate::stats::Stats;
use crate::transient::Transient;
use courant_engine::limits::SEQ_BLOCK;
use courant_engine::{Delivery, Effects, Engine, Record, Refusal, SessionId, SubscriptionId};
use courant_storage::kind::CALLERS_FIRST;
use courant_storage::{
    AppendError, Batch, FrameMeta, LaneId, OpenBatch, Purpose, Seq, Store, Ticket, Urgency,
};
use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::Notify;

/// Records that are applied before the lock is let go for others.
const APPLY_STEP: usize = 1024;

/// Steps of what is due in one tick: the rest comes with the next one.
const STEPS_MAX: usize = 64;

/// Outboxes that got something and are to be flushed once no lock is held.
pub(crate) type Touched = Vec<Arc<Outbox>>;

/// What is behind the lock.
pub(crate) struct State {
    pub(crate) engine: Engine,
    pub(crate) effects: Effects,
    pub(crate) transient: Transient,
    pub(crate) deferrals: Deferrals,
    pub(crate) accounts: Accounts,
    /// No message is admitted any more.
    pub(crate) is_closing: bool,
    /// Up to here records are applied.
    pub(crate) applied: Ticket,
    /// The number of the last one of them.
    pub(crate) applied_seq: u64,
    /// Records by which space may have become free.
    pub(crate) freeing: u64,
    /// Messages that were claimed and whose bodies are being read, and how often.
    pub(crate) claimed: BTreeMap<u64, u32>,
    /// Who waits for which ticket, in order.
    waiting: VecDeque<(Ticket, Arc<Outbox>)>,
    waiting_written: VecDeque<(Ticket, Arc<Outbox>)>,
    outboxes: Vec<Option<Arc<Outbox>>>,
    tags: Vec<Tag>,
    /// The batch that the last body came from.
    recent: Option<Arc<Batch>>,
    placed: Vec<Placed>,
    scratch: Scratch,
    #[cfg(feature = "testing")]
    pub(crate) defect: Option<crate::testing::Defect>,
}

/// One shard.
pub(crate) struct Shard {
    pub(crate) number: u16,
    state: Mutex<State>,
    pub(crate) store: Arc<dyn Store>,
    pub(crate) clock: Clock,
    pub(crate) router: Router,
    pub(crate) stats: Stats,
    pub(crate) alarms: Arc<Alarms>,
    pub(crate) memory_bounds: MemoryBounds,
    /// What kept routes hang on, as the engine counts it.
    pub(crate) routes: Counters,
    pub(crate) term: AtomicU64,
    pub(crate) is_poisoned: AtomicBool,
    /// A part of the snapshot was damaged: the next one is due.
    pub(crate) is_mended: AtomicBool,
    /// The log has room again.
    pub(crate) room: Notify,
    /// A queue for which a publisher waits has room again, or is gone; and how often that was so.
    pub(crate) queue_room: Notify,
    pub(crate) rooms: AtomicU64,
    /// A worker may have something to do.
    pub(crate) work: Arc<Notify>,
    /// A page of a long queue was read.
    pub(crate) loaded: Notify,
    pub(crate) reader: Arc<Reader>,
}

impl Shard {
    /// `applied_seq` is the last record that the engine knows.
    pub(crate) fn new(
        number: u16,
        (engine, applied_seq): (Engine, u64),
        store: Arc<dyn Store>,
        clock: Clock,
    ) -> Self {
        let term = engine.ledger().term();
        let routes = Counters::default();
        routes.follow(engine.generations());
        let state = State {
            engine,
            effects: Effects::default(),
            transient: Transient::default(),
            deferrals: Deferrals::default(),
            accounts: Accounts::default(),
            is_closing: false,
            applied: Ticket::default(),
            applied_seq,
            freeing: 0,
            claimed: BTreeMap::new(),
            waiting: VecDeque::new(),
            waiting_written: VecDeque::new(),
            outboxes: Vec::new(),
            tags: Vec::new(),
            recent: None,
            placed: Vec::new(),
            scratch: Scratch::default(),
            #[cfg(feature = "testing")]
            defect: None,
        };
        Self {
            number,
            state: Mutex::new(state),
            store,
            clock,
            router: Router::default(),
            stats: Stats::default(),
            alarms: Arc::default(),
            memory_bounds: MemoryBounds::default(),
            routes,
            term: AtomicU64::new(term),
            is_poisoned: AtomicBool::new(false),
            is_mended: AtomicBool::new(false),
            room: Notify::new(),
            queue_room: Notify::new(),
            rooms: AtomicU64::new(0),
            work: Arc::default(),
            loaded: Notify::new(),
            reader: Arc::default(),
        }
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, State> {
        // A panic under this lock is a bug in the engine; the process reports it and goes on
        // refusing rather than hanging every connection.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn lane(&self) -> LaneId {
        LaneId(self.number)
    }

    /// What a frame of that kind needs beside its contents.
    pub(crate) fn meta(&self, kind: u8, seq: u64) -> FrameMeta {
        let term = self.term.load(Ordering::Relaxed);
        let (version, lane) = (codec::version(kind), self.lane());
        FrameMeta { kind, version, critical: true, lane, seq: Seq(seq), term }
    }

    /// Appends to the log, with refusals as clients read them.
    pub(crate) fn append(
        &self,
        urgency: Urgency,
        purpose: Purpose,
        fill: &mut dyn FnMut(&mut OpenBatch),
    ) -> Result<Ticket, Refusal> {
        self.store.append(urgency, purpose, fill).map_err(|error| match error {
            AppendError::Full { .. } => Refusal::TooManyInFlight,
            AppendError::DiskFull => Refusal::DiskFull,
            AppendError::Poisoned(_) => Refusal::LogPoisoned,
            AppendError::Closed | AppendError::NotStarted => Refusal::Closing,
        })
    }

    /// The number of the record that begins an opening: the first of its block.
    pub(crate) fn first_seq(opening: &Record<'_>) -> u64 {
        let Record::Opened { block, .. } = *opening else { return 0 };
        block * SEQ_BLOCK
    }

    /// Writes the record that begins an opening.
    pub(crate) fn begin_term(&self, opening: &Record<'_>, seq: u64) -> Result<Ticket, Refusal> {
        let Record::Opened { term, .. } = *opening else { return Err(Refusal::Closing) };
        self.term.store(term, Ordering::Relaxed);
        self.append(Urgency::Now, Purpose::Upkeep, &mut |open| {
            let meta = self.meta(codec::kind(opening), seq);
            open.push_with(meta, |out| codec::encode(opening, out), |_| {});
        })
    }

    /// Waits, while nobody else uses the shard yet, until a ticket is applied.
    pub(crate) fn await_applied(&self, ticket: Ticket) -> Result<(), Refusal> {
        while self.lock().applied < ticket {
            if self.is_poisoned.load(Ordering::Acquire) {
                return Err(Refusal::LogPoisoned);
            }
            std::thread::sleep(std::time::Duration::from_micros(200));
        }
        Ok(())
    }

    /// Writes one record that is no message.
    pub(crate) fn log(&self, state: &mut State, record: &Record<'_>) -> Result<Ticket, Refusal> {
        self.append(Urgency::Now, Purpose::Upkeep, &mut |open| {
            let seq = state.engine.number();
            let meta = self.meta(codec::kind(record), seq);
            open.push_with(meta, |out| codec::encode(record, out), |_| {});
        })
    }

    /// Writes the records for what was settled. If the log has no room they stay where they are
    /// and are written with the next ones.
    pub(crate) fn log_settles(
        &self,
        state: &mut State,
        urgency: Urgency,
    ) -> Result<Ticket, Refusal> {
        #[cfg(feature = "testing")]
        let forgets = state.defect == Some(crate::testing::Defect::AttemptLost);
        self.append(urgency, Purpose::Upkeep, &mut |open| {
            state.engine.write_settles(|seq, record| {
                #[cfg(feature = "testing")]
                if forgets && matches!(record, Record::Returned { .. }) {
                    return;
                }
                let meta = self.meta(codec::kind(record), seq);
                open.push_with(meta, |out| codec::encode(record, out), |_| {});
            });
        })
    }

    /// Applies a committed batch, in steps.
    pub(crate) fn apply(&self, batch: &Arc<Batch>, touched: &mut Touched) {
        let mut frames = batch
            .frames()
            .filter(|(_, frame)| frame.lane == self.lane() && frame.kind >= CALLERS_FIRST);
        let mut is_done = false;
        while !is_done {
            let mut guard = self.lock();
            let state = &mut *guard;
            state.recent = Some(Arc::clone(batch));
            for _ in 0..APPLY_STEP {
                let Some((_, frame)) = frames.next() else {
                    is_done = true;
                    break;
                };
                while let Some(message) = state.deferrals.pop_before(frame.seq.0) {
                    state.place(&message);
                }
                state.applied_seq = frame.seq.0;
                let size = frame.body_len;
                let (kind, seq) = ((frame.kind, frame.version), (frame.seq.0, size));
                match codec::decode(kind, seq, frame.head, &mut state.scratch) {
                    Ok(record) => {
                        state.engine.apply(&record, &mut state.effects);
                        self.follow(&record, touched);
                        state.freeing += u64::from(frees_space(&record));
                    }
                    // This process wrote it a moment ago.
                    Err(error) => unreachable!("a record of our own is not understood: {error}"),
                }
            }
            self.hand_out(state, touched);
        }
        Stats::add(&self.stats.batches_committed, 1);
    }

    /// What a record means outside the engine.
    fn follow(&self, record: &Record<'_>, touched: &mut Touched) {
        if let Record::ExchangeDeleted { id } = *record {
            for target in self.router.remove_exchange(id) {
                target.outbox.cancel(target.tag, courant_engine::Cause::QueueDeleted);
                touch(touched, &target.outbox);
            }
        }
    }

    /// Notes that everything up to the ticket is applied: confirms go out, and transient messages
    /// that waited are placed.
    pub(crate) fn commit(&self, up_to: Ticket, touched: &mut Touched) {
        let mut guard = self.lock();
        let state = &mut *guard;
        state.applied = up_to;
        for message in state.deferrals.take_reached(up_to) {
            state.place(&message);
        }
        while let Some((ticket, _)) = state.waiting.front()
            && *ticket <= up_to
        {
            if let Some((ticket, outbox)) = state.waiting.pop_front() {
                outbox.note(ticket, Level::Committed);
                touch(touched, &outbox);
            }
        }
        self.hand_out(state, touched);
    }

    /// Notes that everything up to the ticket was written.
    pub(crate) fn written(&self, up_to: Ticket, touched: &mut Touched) {
        let mut state = self.lock();
        while let Some((ticket, _)) = state.waiting_written.front()
            && *ticket <= up_to
        {
            if let Some((ticket, outbox)) = state.waiting_written.pop_front() {
                outbox.note(ticket, Level::Written);
                touch(touched, &outbox);
            }
        }
    }

    /// Lets the engine hand over, moves what follows into outboxes, and shows which routes hold.
    /// Called with the lock held, last.
    pub(crate) fn hand_out(&self, state: &mut State, touched: &mut Touched) {
        let now_ms = self.clock.now_ms();
        state.engine.bury(&mut state.effects);
        loop {
            let more = state.engine.dispatch(now_ms, &mut state.effects);
            let more = more || state.engine.shed(now_ms, &mut state.effects);
            state.move_effects(self, touched);
            if !more {
                break;
            }
        }
        if state.engine.has_new_room() {
            self.tell_room();
        }
        if state.engine.has_settles() {
            // What is refused here stays in the engine and goes with the next one.
            let _ = self.log_settles(state, Urgency::Soon);
        }
        self.routes.follow(state.engine.generations());
    }

    /// A client that was too slow caught up.
    pub(crate) fn resume(&self, session: SessionId) {
        let mut touched = Touched::new();
        {
            let mut guard = self.lock();
            guard.engine.set_stalled(session, false);
            self.hand_out(&mut guard, &mut touched);
        }
        flush(&touched);
    }

    /// Puts other bounds for memory and disk in the place of those there are.
    pub(crate) fn set_limits(&self, limits: &Limits) {
        self.memory_bounds
            .set(limits.memory_per_connection_max_bytes, limits.memory_per_namespace_max_bytes);
        self.alarms.set_marks(limits.memory_max_bytes, limits.disk_free_min_bytes);
    }

    /// Closes a connection for which more is held than may be; `more` is what its outbox does not
    /// know of. Says whether it was.
    pub(crate) fn look_at_memory(&self, outbox: &Outbox, more: usize) -> bool {
        let held = outbox.pressure().saturating_add(more);
        let is_over = held as u64 > self.memory_bounds.connection_max_bytes();
        if is_over && outbox.close(Refusal::ConnectionMemory) {
            Stats::add(&self.stats.memory_closed, 1);
        }
        is_over
    }

    /// What has to be done from time to time: deadlines, settles that found no room.
    pub(crate) fn tick(&self) {
        let mut touched = Touched::new();
        for _ in 0..STEPS_MAX {
            let mut guard = self.lock();
            let state = &mut *guard;
            let more = state.engine.expire(self.clock.now_ms(), &mut state.effects);
            self.hand_out(state, &mut touched);
            // What the log has no room for waits in the engine, and not ever more of it.
            if !more || state.engine.has_settles() {
                break;
            }
        }
        {
            let mut guard = self.lock();
            let state = &mut *guard;
            if let Some(record) = state.engine.reservation()
                && self.log(state, &record).is_err()
            {
                state.engine.forget_reservation();
            }
            self.hand_out(state, &mut touched);
        }
        flush(&touched);
    }

    /// The log failed: whoever waits for a commit will not get it.
    pub(crate) fn poison(&self) {
        self.is_poisoned.store(true, Ordering::Release);
        let waiting: Vec<_> = {
            let mut state = self.lock();
            state.waiting_written.clear();
            let waiting: Vec<_> = state.waiting.drain(..).map(|(_, outbox)| outbox).collect();
            state.stall(&waiting);
            waiting
        };
        for outbox in &waiting {
            outbox.close(Refusal::LogPoisoned);
        }
        flush(&waiting);
        self.room.notify_waiters();
        self.tell_room();
    }

    /// Ends every session, because the broker ends.
    pub(crate) fn close_sessions(&self, refusal: Refusal) {
        let all: Vec<_> = {
            let mut state = self.lock();
            state.engine.begin_close();
            let all = state.outboxes();
            state.stall(&all);
            all
        };
        for outbox in &all {
            outbox.close(refusal);
        }
        flush(&all);
    }
}

impl State {
    /// Registers who gets what a session is sent.
    pub(crate) fn join(&mut self, session: SessionId, outbox: Arc<Outbox>) {
        let index = session.0.index as usize;
        if self.outboxes.len() <= index {
            self.outboxes.resize(index + 1, None);
        }
        self.outboxes[index] = Some(outbox);
    }

    /// Sees to it that nothing more is handed over to sessions that end.
    fn stall(&mut self, outboxes: &[Arc<Outbox>]) {
        for session in outboxes.iter().filter_map(|outbox| outbox.session()) {
            self.engine.set_stalled(session, true);
        }
    }

    /// The body of a message that was claimed is not needed any more.
    pub(crate) fn end_claim(&mut self, seq: u64) {
        if let Some(count) = self.claimed.get_mut(&seq) {
            *count -= 1;
            if *count == 0 {
                self.claimed.remove(&seq);
            }
        }
    }

    /// Everybody who is sent something.
    pub(crate) fn outboxes(&self) -> Vec<Arc<Outbox>> {
        self.outboxes.iter().flatten().cloned().collect()
    }

    /// What a session is sent.
    pub(crate) fn outbox_of(&self, session: SessionId) -> Option<Arc<Outbox>> {
        let outbox = self.outboxes.get(session.0.index as usize)?.as_ref()?;
        (outbox.session() == Some(session)).then(|| Arc::clone(outbox))
    }

    pub(crate) fn leave(&mut self, session: SessionId) {
        if let Some(outbox) = self.outboxes.get_mut(session.0.index as usize) {
            *outbox = None;
        }
    }

    /// Registers a door's number for a subscription.
    pub(crate) fn tag(&mut self, subscription: SubscriptionId, tag: Tag) {
        let index = subscription.0.index as usize;
        if self.tags.len() <= index {
            self.tags.resize(index + 1, 0);
        }
        self.tags[index] = tag;
    }

    /// A door's number for a subscription.
    pub(crate) fn tag_of(&self, subscription: SubscriptionId) -> Tag {
        self.tags.get(subscription.0.index as usize).copied().unwrap_or_default()
    }

    /// Notes that an outbox waits for a ticket, which may be committed already.
    pub(crate) fn wait(&mut self, ticket: Ticket, outbox: &Arc<Outbox>) {
        if ticket <= self.applied {
            outbox.note(ticket, Level::Committed);
            return;
        }
        if !self
            .waiting
            .back()
            .is_some_and(|(last, who)| *last == ticket && Arc::ptr_eq(who, outbox))
        {
            self.waiting.push_back((ticket, Arc::clone(outbox)));
        }
    }

    /// Notes that an outbox wants to know when a ticket is written.
    pub(crate) fn wait_written(&mut self, ticket: Ticket, outbox: &Arc<Outbox>) {
        self.waiting_written.push_back((ticket, Arc::clone(outbox)));
    }

    /// Puts a transient message into its queues.
    pub(crate) fn place(&mut self, message: &Deferred) {
        let Deferred { seq, size, lifetime, transient, durable } = message;
        let mut reached = u64::from(self.engine.place(*seq, *size, *lifetime, transient));
        if let Some(durable) = durable {
            reached += u64::from(self.engine.place_durable(*seq, *size, *lifetime, durable));
        }
        if reached < message.copies() {
            self.transient.release(*seq, message.copies() - reached);
        }
    }

    /// Moves what the engine asked for into outboxes, with the bodies that are in memory.
    fn move_effects(&mut self, shard: &Shard, touched: &mut Touched) {
        let Self { effects, outboxes, tags, transient, recent, placed, .. } = self;
        for run in &effects.runs {
            let Some(Some(outbox)) = outboxes.get(run.session.index as usize) else { continue };
            let tag = tags.get(run.subscription.0.index as usize).copied().unwrap_or_default();
            let mut left = &effects.deliveries[run.start as usize..run.end as usize];
            Stats::add(&shard.stats.delivered, left.len() as u64);
            while let Some(first) = left.first() {
                let batch = if first.durable {
                    cached(shard, recent, first.seq)
                } else {
                    transient.find(first.seq).cloned()
                };
                placed.clear();
                let source = if let Some(batch) = batch {
                    while let Some((delivery, rest)) = left.split_first()
                        && delivery.durable == first.durable
                        && let Some(at) = find(&batch, shard.number, delivery.seq)
                    {
                        placed.push(Placed { delivery: *delivery, at: Some(at) });
                        left = rest;
                    }
                    Source::Memory(batch)
                } else {
                    while let Some((delivery, rest)) = left.split_first()
                        && (placed.is_empty() || is_cold(shard, delivery))
                    {
                        placed.push(Placed { delivery: *delivery, at: None });
                        left = rest;
                    }
                    Source::Disk
                };
                outbox.deliver(tag, source, placed);
            }
            if outbox.is_congested() || outbox.is_closed() {
                shard.look_at_memory(outbox, 0);
                self.engine.set_stalled(SessionId(run.session), true);
                outbox.stall();
            }
            touch(touched, outbox);
        }
        for cancelled in &effects.cancelled {
            let tag = tags.get(cancelled.subscription.0.index as usize).copied();
            if let Some(Some(outbox)) = outboxes.get(cancelled.session.index as usize) {
                outbox.cancel(tag.unwrap_or_default(), cancelled.cause);
                touch(touched, outbox);
            }
        }
        for seq in effects.freed.drain(..) {
            transient.free(seq);
        }
        for page in effects.wanted.drain(..) {
            shard.reader.want_page(page);
        }
        for (cause, count) in effects.left.drain(..) {
            shard.stats.note_left(cause, count);
        }
        if effects.parked > 0 {
            Stats::add(&shard.stats.corrupt, effects.parked);
        }
        if effects.expired > 0 {
            Stats::add(&shard.stats.expired, effects.expired);
        }
        if effects.noops > 0 {
            Stats::add(&shard.stats.noops, effects.noops);
        }
        effects.clear();
    }
}

fn frees_space(record: &Record<'_>) -> bool {
    matches!(record, Record::Settled { .. } | Record::QueueDeleted { .. })
}

/// Whether a body is in the log's files only.
fn is_cold(shard: &Shard, delivery: &Delivery) -> bool {
    delivery.durable && shard.store.cached(shard.lane(), Seq(delivery.seq)).is_none()
}

/// The batch in memory that holds a durable message.
fn cached(shard: &Shard, recent: &mut Option<Arc<Batch>>, seq: u64) -> Option<Arc<Batch>> {
    if let Some(batch) = recent
        && find(batch, shard.number, seq).is_some()
    {
        return Some(Arc::clone(batch));
    }
    let (batch, _) = shard.store.cached(shard.lane(), Seq(seq))?;
    *recent = Some(Arc::clone(&batch));
    Some(batch)
}

/// Notes an outbox to be flushed. Twice in a row is noted once; more often does no harm.
pub(crate) fn touch(touched: &mut Touched, outbox: &Arc<Outbox>) {
    if !touched.last().is_some_and(|last| Arc::ptr_eq(last, outbox)) {
        touched.push(Arc::clone(outbox));
    }
}

/// Flushes what was noted. Called with no lock held.
pub(crate) fn flush(touched: &[Arc<Outbox>]) {
    for outbox in touched {
        outbox.flush();
    }
}
