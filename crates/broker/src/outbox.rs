//! One per session: what is on its way to a client.
//!
//! Two locks. The *inbox* (`inbox.rs`) is pushed to by anybody with news, often with the shard's
//! lock held; only descriptors and bytes move there. The *pipe* (`pipe.rs`) is held by whoever
//! flushes: it encodes through the door's [`Outlet`] and gives bytes to the socket, with no other
//! lock held. Who finds the pipe taken leaves: its holder looks at the inbox again before it goes.
//!
//! Order: items leave in the order of pushing. Replies leave in the order of their requests, and
//! those that wait for a commit hold back the later ones, but not deliveries. A delivery whose
//! body must be read from disk holds its place: later deliveries wait behind it.
//!
//! Bounds: deliveries stop when as many bytes wait as the outbox's share of the common budget
//! allows (`budget.rs`), those that are still on disk among them (the engine is told that the
//! session is stalled), live frames are dropped and counted, and doors stop reading commands.

use crate::account::Account;
use crate::alarm::Alarms;
use crate::body::{Placed, Source};
use crate::budget::{Budget, Share};
use crate::client::Client;
use crate::confirm::Level;
use crate::inbox::{Inbox, Item, Queue, Span};
use crate::limits::OUTBOX_BYTES_MIN;
use crate::outlet::{Flush, Outlet, Tag};
use crate::pipe::Pipe;
use crate::reader::Reader;
use crate::shard::Shard;
use crate::stats::Stats;
use courant_engine::{Cause, Delivery, Refusal, SessionId};
use courant_storage::{Batch, Ticket};
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::time::Duration;
use tokio::sync::Notify;

/// A client that takes nothing for so long is closed.
const WRITE_PATIENCE: Duration = Duration::from_secs(30);

/// What is on its way to one client.
pub struct Outbox {
    shard_number: u16,
    inbox: Mutex<Inbox>,
    pipe: Mutex<Pipe>,
    /// Bytes in the inbox, of bodies where it holds deliveries.
    queued: AtomicUsize,
    /// Bytes that the outlet holds.
    held: AtomicUsize,
    share: Share,
    /// Something was pushed since the pipe's holder looked last.
    is_dirty: AtomicBool,
    is_stalled: AtomicBool,
    /// Somebody tells the engine that the client caught up.
    is_resuming: AtomicBool,
    is_closed: AtomicBool,
    is_gone: AtomicBool,
    /// Its client is told of alarms.
    is_publisher: AtomicBool,
    alarms: Arc<Alarms>,
    news: Notify,
    /// Somebody waits for the client to take what there is.
    has_waiters: AtomicBool,
    runtime: tokio::runtime::Handle,
    reader: Arc<Reader>,
    owner: OnceLock<(Weak<Shard>, SessionId)>,
    pub(crate) client: Client,
    /// When it came, in milliseconds since 1970.
    pub(crate) since_ms: u64,
    /// How many live subscriptions lead here.
    lives: AtomicU32,
}

impl std::fmt::Debug for Outbox {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Outbox").field("pressure", &self.pressure()).finish_non_exhaustive()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // A panic while holding it was reported by the thread that panicked.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Outbox {
    pub(crate) fn new(
        shard_number: u16,
        outlet: Box<dyn Outlet>,
        (reader, alarms): (Arc<Reader>, Arc<Alarms>),
        (budget, account): (&Arc<Budget>, Arc<Account>),
        since_ms: u64,
    ) -> Arc<Self> {
        let client = outlet.client();
        Arc::new(Self {
            shard_number,
            inbox: Mutex::default(),
            pipe: Mutex::new(Pipe::new(outlet)),
            queued: AtomicUsize::new(0),
            held: AtomicUsize::new(0),
            share: Share::new(budget, account),
            is_dirty: AtomicBool::new(false),
            is_stalled: AtomicBool::new(false),
            is_resuming: AtomicBool::new(false),
            is_closed: AtomicBool::new(false),
            is_gone: AtomicBool::new(false),
            is_publisher: AtomicBool::new(false),
            alarms,
            news: Notify::new(),
            has_waiters: AtomicBool::new(false),
            runtime: tokio::runtime::Handle::current(),
            reader,
            owner: OnceLock::new(),
            client,
            since_ms,
            lives: AtomicU32::new(0),
        })
    }

    pub(crate) fn belongs_to(&self, shard: Weak<Shard>, session: SessionId) {
        let _ = self.owner.set((shard, session));
    }

    /// Whose it is, once that is known.
    pub(crate) fn session(&self) -> Option<SessionId> {
        self.owner.get().map(|(_, session)| *session)
    }

    /// Counts a live subscription that came or went.
    pub(crate) fn count_live(&self, comes: bool) {
        if comes {
            self.lives.fetch_add(1, Ordering::Relaxed);
        } else {
            self.lives.fetch_sub(1, Ordering::Relaxed);
        }
    }

    /// How many live subscriptions lead here.
    pub(crate) fn lives(&self) -> u32 {
        self.lives.load(Ordering::Relaxed)
    }

    fn mark(&self) {
        self.is_dirty.store(true, Ordering::SeqCst);
    }

    /// Bytes on their way to the client.
    pub fn pressure(&self) -> usize {
        self.queued.load(Ordering::SeqCst) + self.held.load(Ordering::SeqCst)
    }

    /// Whether so much waits that nothing should be added that can wait elsewhere.
    pub fn is_congested(&self) -> bool {
        let pressure = self.pressure();
        pressure > OUTBOX_BYTES_MIN && pressure > self.share.allowance()
    }

    /// Whether the client is gone or was closed.
    pub fn is_closed(&self) -> bool {
        self.is_closed.load(Ordering::Acquire)
    }

    /// Is ready when the client caught up, or is gone.
    pub async fn drained(&self) {
        loop {
            let news = self.news.notified();
            self.has_waiters.store(true, Ordering::SeqCst);
            if !self.is_congested() || self.is_closed() {
                return;
            }
            news.await;
        }
    }

    /// Is ready when the client is gone or was closed.
    pub async fn closed(&self) {
        loop {
            let news = self.news.notified();
            if self.is_closed() {
                return;
            }
            news.await;
        }
    }

    /// Is ready when the client has everything, or is gone.
    pub async fn emptied(&self) {
        loop {
            let news = self.news.notified();
            self.has_waiters.store(true, Ordering::SeqCst);
            if self.pressure() == 0 || self.is_gone.load(Ordering::Acquire) {
                return;
            }
            news.await;
        }
    }

    /// Adds replies in the door's own form: to go out after all replies before them, and not
    /// before the ticket has reached the level.
    pub fn reply(&self, bytes: &[u8], after: Option<(Ticket, Level)>) {
        if bytes.is_empty() {
            return;
        }
        let mut inbox = lock(&self.inbox);
        self.queued.fetch_add(bytes.len(), Ordering::Relaxed);
        let (after, level) = after.unwrap_or((Ticket(0), Level::Memory));
        if inbox.spans.is_empty() && inbox.reached(after, level) {
            inbox.push_bytes(bytes);
            self.mark();
            return;
        }
        inbox.span_bytes.extend(bytes);
        match inbox.spans.back_mut() {
            Some(last) if last.after == after && last.level == level => last.bytes += bytes.len(),
            _ => inbox.spans.push_back(Span { after, level, bytes: bytes.len() }),
        }
    }

    /// Adds bytes that belong to no request, such as pings.
    pub fn notice(&self, bytes: &[u8]) {
        let mut inbox = lock(&self.inbox);
        self.queued.fetch_add(bytes.len(), Ordering::Relaxed);
        inbox.push_bytes(bytes);
        drop(inbox);
        self.mark();
    }

    /// Adds live frames, unless the client is too slow; says whether they were added.
    pub(crate) fn live(&self, frames: &[u8]) -> bool {
        if self.is_congested() || self.is_closed() {
            return false;
        }
        self.notice(frames);
        true
    }

    /// Adds deliveries, unless the session ends: then they stay open and go back with it. Called
    /// with the shard's lock held.
    pub(crate) fn deliver(&self, tag: Tag, source: Source, run: &[Placed]) {
        let bytes: usize = run.iter().map(|placed| placed.delivery.size as usize).sum();
        let mut inbox = lock(&self.inbox);
        if inbox.failed.is_some() {
            return;
        }
        self.queued.fetch_add(bytes, Ordering::SeqCst);
        inbox.queue.deliveries.extend(run);
        inbox.queue.items.push_back(Item::Run(tag, source, run.len()));
        drop(inbox);
        self.share.count(|| self.pressure());
        self.mark();
    }

    pub(crate) fn cancel(&self, tag: Tag, cause: Cause) {
        lock(&self.inbox).queue.items.push_back(Item::Cancelled(tag, cause));
        self.mark();
    }

    /// From here on the client is told of alarms.
    pub(crate) fn begin_publishing(&self) {
        self.is_publisher.store(true, Ordering::SeqCst);
    }

    /// Tells a client that publishes of alarms that came on since, or that all are off. Says
    /// whether there was anything to tell.
    pub(crate) fn tell_alarms(&self) -> bool {
        if !self.is_publisher.load(Ordering::SeqCst) {
            return false;
        }
        let mut guard = lock(&self.inbox);
        let inbox = &mut *guard;
        let on = self.alarms.on();
        let before = inbox.queue.items.len();
        if on.is_empty() {
            if !inbox.told.is_empty() {
                inbox.queue.items.push_back(Item::Unblocked);
            }
            inbox.told = on;
        } else {
            inbox.queue.items.extend(on.without(inbox.told).map(Item::Blocked));
            inbox.told = inbox.told.and(on);
        }
        let has_news = inbox.queue.items.len() > before;
        drop(guard);
        if has_news {
            self.mark();
        }
        has_news
    }

    /// Ends the session after everything that was added before. Says whether it had not ended.
    pub fn close(&self, refusal: Refusal) -> bool {
        let mut inbox = lock(&self.inbox);
        let is_first = inbox.failed.is_none();
        if is_first {
            inbox.failed = Some(refusal);
            inbox.queue.items.push_back(Item::Refused(refusal));
        }
        drop(inbox);
        self.mark();
        self.is_closed.store(true, Ordering::Release);
        self.news.notify_waiters();
        is_first
    }

    pub(crate) fn note(&self, ticket: Ticket, level: Level) {
        let mut inbox = lock(&self.inbox);
        match level {
            Level::Committed => inbox.committed = inbox.committed.max(ticket),
            _ => inbox.written = inbox.written.max(ticket),
        }
        inbox.release_replies();
        drop(inbox);
        self.mark();
        self.news.notify_waiters();
    }

    /// Waits until a ticket of this session is committed.
    pub async fn committed(&self, ticket: Ticket) -> Result<(), Refusal> {
        loop {
            let news = self.news.notified();
            {
                let inbox = lock(&self.inbox);
                if inbox.committed >= ticket {
                    return Ok(());
                }
                if let Some(refusal) = inbox.failed {
                    return Err(refusal);
                }
            }
            news.await;
        }
    }

    /// Encodes what is in the inbox and gives it to the client. Never waits, not even for the
    /// lock: whoever holds the pipe does it.
    pub fn flush(self: &Arc<Self>) {
        loop {
            let Ok(mut pipe) = self.pipe.try_lock() else { return };
            self.drain(&mut pipe);
            drop(pipe);
            if self.has_waiters.swap(false, Ordering::SeqCst) {
                self.news.notify_waiters();
            }
            if !self.wake_owner() && !self.is_dirty.load(Ordering::SeqCst) {
                return;
            }
        }
    }

    fn drain(self: &Arc<Self>, pipe: &mut Pipe) {
        while self.is_dirty.swap(false, Ordering::SeqCst) {
            let committed = {
                let mut inbox = lock(&self.inbox);
                std::mem::swap(&mut inbox.queue, &mut pipe.queue);
                self.queued.store(inbox.span_bytes.len(), Ordering::Relaxed);
                inbox.committed
            };
            pipe.outlet.committed(committed);
            pipe.encode(self.shard_number);
            pipe.queue.shrink();
        }
        self.push_out(pipe);
        let wants_reader = !pipe.waiting.items.is_empty() && !pipe.has_reader;
        if wants_reader && pipe.outlet.held_bytes() <= self.share.allowance() && !pipe.is_gone {
            pipe.has_reader = self.reader.want(self);
            if !pipe.has_reader {
                pipe.abandon();
                self.push_out(pipe);
            }
        }
        self.hold(pipe);
    }

    /// Notes what the pipe holds.
    fn hold(&self, pipe: &Pipe) {
        self.held.store(pipe.outlet.held_bytes() + pipe.waiting_bytes, Ordering::SeqCst);
        self.share.count(|| self.pressure());
    }

    /// Notes that nobody is there any more.
    fn lose(&self, pipe: &mut Pipe) {
        pipe.is_gone = true;
        pipe.waiting = Queue::default();
        pipe.waiting_bytes = 0;
        self.is_gone.store(true, Ordering::Release);
        self.is_closed.store(true, Ordering::Release);
        self.news.notify_waiters();
    }

    fn push_out(self: &Arc<Self>, pipe: &mut Pipe) {
        if pipe.has_writer || pipe.is_gone {
            return;
        }
        match pipe.outlet.flush() {
            Flush::Done => {}
            Flush::Gone => self.lose(pipe),
            Flush::Blocked => {
                pipe.has_writer = true;
                let writable = pipe.outlet.writable();
                let this = Arc::clone(self);
                // The writer exists only while the socket is full.
                self.runtime.spawn(async move { this.write_when_ready(writable).await });
            }
        }
    }

    async fn write_when_ready(
        self: Arc<Self>,
        mut writable: std::pin::Pin<Box<dyn Future<Output = ()> + Send>>,
    ) {
        loop {
            if tokio::time::timeout(WRITE_PATIENCE, writable).await.is_err() {
                if self.close(Refusal::SlowReader)
                    && let Some(shard) = self.owner.get().and_then(|(shard, _)| shard.upgrade())
                {
                    Stats::add(&shard.stats.slow_closed, 1);
                }
                self.lose(&mut lock(&self.pipe));
                return;
            }
            {
                let mut pipe = lock(&self.pipe);
                match pipe.outlet.flush() {
                    Flush::Blocked => {
                        self.hold(&pipe);
                        writable = pipe.outlet.writable();
                        continue;
                    }
                    Flush::Gone => self.lose(&mut pipe),
                    Flush::Done => {}
                }
                pipe.has_writer = false;
            }
            self.flush();
            return;
        }
    }

    /// Tells the engine that this client caught up, once it has; says whether there is more to
    /// flush. That may fill this outbox again and flush it: whoever does so finds `is_resuming`
    /// and leaves the rest to this loop, so that a long backlog needs no deep stack.
    fn wake_owner(&self) -> bool {
        if !self.share.is_low(self.pressure())
            || self.is_closed()
            || !self.is_stalled.load(Ordering::SeqCst)
        {
            return false;
        }
        if self.is_resuming.swap(true, Ordering::SeqCst) {
            return false;
        }
        self.is_stalled.store(false, Ordering::SeqCst);
        if let Some((shard, session)) = self.owner.get()
            && let Some(shard) = shard.upgrade()
        {
            shard.resume(*session);
        }
        self.is_resuming.store(false, Ordering::SeqCst);
        true
    }

    /// Notes that the engine holds deliveries back. Called with the shard's lock held.
    pub(crate) fn stall(&self) {
        self.is_stalled.store(true, Ordering::SeqCst);
    }

    /// The next deliveries whose bodies are to be read from disk.
    pub(crate) fn wanted(&self, most: usize, wanted: &mut Vec<Delivery>) {
        wanted.clear();
        let pipe = lock(&self.pipe);
        pipe.wanted((most, self.share.allowance()), wanted);
    }

    /// Sends the deliveries that [`Self::wanted`] named, with the bodies that were read; one that
    /// could not be read is left out. Says whether the reader should come back.
    pub(crate) fn supply(self: &Arc<Self>, bodies: &Batch, count: usize) -> bool {
        let mut pipe = lock(&self.pipe);
        pipe.supply(self.shard_number, bodies, count);
        let more = !pipe.waiting.items.is_empty();
        let again = more && pipe.outlet.held_bytes() <= self.share.allowance() && !pipe.is_gone;
        pipe.has_reader = again;
        self.push_out(&mut pipe);
        self.hold(&pipe);
        drop(pipe);
        self.flush();
        again
    }

    /// Shows the durable messages that wait here: their bodies are still needed.
    pub(crate) fn needed(self: &Arc<Self>, see: &mut dyn FnMut(u64, u32)) {
        let pipe = lock(&self.pipe);
        let inbox = lock(&self.inbox);
        let waiting = pipe.waiting.deliveries.iter().chain(&inbox.queue.deliveries);
        for placed in waiting.filter(|placed| placed.delivery.durable) {
            see(placed.delivery.seq, placed.delivery.size);
        }
        drop((pipe, inbox));
        // Whoever found the pipe taken left it to us.
        self.flush();
    }

    /// Nothing is read any more: sends what needs no reading, such as the reason why.
    pub(crate) fn abandon(self: &Arc<Self>) {
        let mut pipe = lock(&self.pipe);
        pipe.has_reader = false;
        pipe.abandon();
        self.push_out(&mut pipe);
        self.hold(&pipe);
        drop(pipe);
        self.flush();
    }
}
