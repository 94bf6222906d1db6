//! The handle that programs and doors hold.

use crate::access::{self, Access, Credentials, Gate, Revoked};
use crate::alarm::Watch;
use crate::budget::Budget;
use crate::clock::{Clock, Stopwatch};
use crate::embedded::EmbeddedSession;
use crate::error::{CloseError, OpenError};
use crate::keeper::Keeper;
use crate::local_log::LocalLog;
use crate::options::Options;
use crate::outbox::Outbox;
use crate::outlet::Outlet;
use crate::quota::Limits;
use crate::recovery::{self, Replayed};
use crate::session::Session;
use crate::shard::Shard;
use crate::snapshot;
use crate::stats::StatsSnapshot;
use crate::upkeep::{Bell, Bounds, Upkeep};
use crate::worker::{self, WorkerReport};
use courant_engine::{Principal, QueueCounts, Record, Refusal};
use courant_storage::{
    Disk, Memory, MemoryOptions, Progress, Purpose, RealDisk, Recovered, Store, Urgency, Wal,
    WalOptions,
};
use std::net::IpAddr;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

/// The number of the only shard of a node that stands alone.
const SHARD: u16 = 0;
/// An opening says how far it has come so often.
const PROGRESS_MS: u64 = 1_000;

/// What an opening found.
#[derive(Debug, Clone, Default)]
pub struct Opened {
    /// Records that were applied.
    pub records: u64,
    /// Messages among them.
    pub messages: u64,
    /// Messages that wait in queues.
    pub ready: u64,
    /// Whether it began with a snapshot, so that only records behind it were applied.
    pub has_snapshot: bool,
    /// How long it took.
    pub ms: u64,
    /// The term that began.
    pub term: u64,
    /// What the log says of its files; `None` for a broker in memory.
    pub log: Option<Recovered>,
}

struct Inner {
    shard: Arc<Shard>,
    keeper: Arc<Keeper>,
    reader_thread: Mutex<Option<JoinHandle<()>>>,
    #[cfg_attr(not(feature = "testing"), expect(dead_code, reason = "for tests"))]
    upkeep: Arc<Mutex<Upkeep>>,
    budget: Arc<Budget>,
    gate: Gate,
    limits: Mutex<Limits>,
    options: Options,
    opened: Opened,
}

/// A broker: a cheap handle.
#[derive(Clone)]
pub struct Broker {
    inner: Arc<Inner>,
}

impl std::fmt::Debug for Broker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Broker").field("opened", &self.inner.opened).finish_non_exhaustive()
    }
}

impl Broker {
    /// Opens a folder, making it if it does not exist, and recovers what is in it.
    ///
    /// # Errors
    /// A second process on the folder, a newer format and rot are refused, with what to do.
    pub async fn open(path: impl AsRef<Path>, options: Options) -> Result<Self, OpenError> {
        let path = path.as_ref().to_owned();
        let runtime = tokio::runtime::Handle::current();
        let open = move || {
            let _context = runtime.enter();
            let disk = RealDisk::new(path).map_err(OpenError::Folder)?;
            Self::open_disk(Arc::new(disk), options)
        };
        worker::blocking(open).await
    }

    /// Opens a log on any disk, within a tokio runtime. Waits for it: not for a network thread.
    pub fn open_disk(disk: Arc<dyn Disk>, options: Options) -> Result<Self, OpenError> {
        let wal = WalOptions {
            segment_bytes: options.segment_bytes,
            in_flight_bytes_max: options.in_flight_bytes_max,
            cache_bytes_max: options.cache_bytes_max,
            ..WalOptions::default()
        };
        #[cfg(feature = "testing")]
        let wal = options.testing.choose(wal);
        let (watch, mut told_ms) = (Stopwatch::start(), 0);
        let (wal, recovered) = Wal::open_watched(disk, wal, &mut |progress| {
            if watch.passed_ms() >= told_ms + PROGRESS_MS {
                told_ms = watch.passed_ms();
                let Progress { walked_bytes, of_bytes } = progress;
                tracing::info!(walked_bytes, of_bytes, "looking through the log");
            }
        })?;
        let store: Arc<dyn Store> = Arc::new(wal);
        Self::begin(&store, Some(recovered), options)
    }

    /// A broker that forgets everything when it is closed; to be made within a tokio runtime.
    pub fn in_memory(options: Options) -> Result<Self, OpenError> {
        let bounds = MemoryOptions {
            in_flight_bytes_max: options.in_flight_bytes_max,
            ..MemoryOptions::default()
        };
        let store: Arc<dyn Store> = Arc::new(Memory::bounded(bounds));
        Self::begin(&store, None, options)
    }

    fn begin(
        store: &Arc<dyn Store>,
        log: Option<Recovered>,
        options: Options,
    ) -> Result<Self, OpenError> {
        let watch = Stopwatch::start();
        #[cfg_attr(not(feature = "testing"), expect(unused_mut, reason = "for the switch"))]
        let (mut engine, replayed) = recovery::replay(&**store, SHARD, options.chunk_bytes_max)?;
        let opening = engine.opening();
        let first = Shard::first_seq(&opening);
        #[cfg(feature = "testing")]
        let (opening, first) = options.testing.opening(&mut engine).unwrap_or((opening, first));
        let clock = Clock::start(replayed.last_stamp_ms);
        let known = (engine, replayed.last_seq);
        let shard = Arc::new(Shard::new(SHARD, known, Arc::clone(store), clock));
        {
            let mut state = shard.lock();
            state.transient.bytes_max = options.transient_bytes_max;
            state.engine.set_quotas(options.limits.quotas());
        }
        #[cfg(feature = "testing")]
        {
            shard.lock().defect = options.testing.defect;
        }
        store.start(LocalLog::new(&shard))?;
        let ticket = shard.begin_term(&opening, first).map_err(|_| OpenError::Begin)?;
        shard.await_applied(ticket).map_err(|_| OpenError::Begin)?;
        if log.as_ref().is_some_and(|log| !log.clean) {
            let cut_short = Record::CutShort { below: first };
            let logged = shard.log(&mut shard.lock(), &cut_short);
            let applied = logged.and_then(|ticket| shard.await_applied(ticket));
            applied.map_err(|_| OpenError::Begin)?;
        }
        shard.park_rotten(log.as_ref().map_or(&[], |log| &log.rotten_bodies[..]));
        let ready = shard.lock().engine.queues().iter().map(|(_, _, counts)| counts.ready).sum();
        let term = shard.term.load(std::sync::atomic::Ordering::Relaxed);
        let Replayed { records, messages, has_snapshot, .. } = replayed;
        let ms = watch.passed_ms();
        let opened = Opened { records, messages, ready, has_snapshot, ms, term, log };
        Self::run(shard, &replayed, options, opened)
    }

    /// Starts what runs beside.
    fn run(
        shard: Arc<Shard>,
        replayed: &Replayed,
        options: Options,
        opened: Opened,
    ) -> Result<Self, OpenError> {
        shard.is_mended.store(replayed.is_mended, std::sync::atomic::Ordering::Release);
        let bell = Arc::new(Bell::default());
        let Options { segment_bytes, chunk_bytes_max, .. } = options;
        let bounds = Bounds { segment_bytes, chunk_bytes_max };
        let known = (replayed.next_page, replayed.bytes);
        let upkeep = Upkeep::new(Arc::clone(&shard), Arc::clone(&bell), bounds, known);
        let upkeep = Arc::new(Mutex::new(upkeep));
        let thread = Upkeep::start(Arc::clone(&upkeep))?;
        let budget = Budget::new(options.outboxes_bytes_max);
        shard.set_limits(&options.limits);
        let watch = Watch::new(Arc::clone(&shard), Arc::clone(&budget));
        let watch_thread = watch.start(Arc::clone(&bell))?;
        // The log is closed when nobody works on it any more.
        let last = move || drop((thread.join(), watch_thread.join()));
        let reader_thread = shard.reader.start(Arc::clone(&shard), last)?;
        worker::start_ticker(&shard);
        worker::start_worker(&shard);
        let keeper = Arc::new(Keeper::new(Arc::clone(&shard.reader), bell));
        let reader_thread = Mutex::new(Some(reader_thread));
        let gate = Gate::new().map_err(|_| OpenError::Randomness)?;
        let limits = Mutex::new(options.limits);
        let inner =
            Inner { shard, keeper, reader_thread, upkeep, budget, gate, limits, options, opened };
        Ok(Self { inner: Arc::new(inner) })
    }

    #[cfg(feature = "testing")]
    pub(crate) fn keep_up(&self) -> bool {
        if self.inner.options.testing.defect == Some(crate::testing::Defect::ChunkBitLost) {
            crate::testing::lose_bits(&mut self.inner.shard.lock().engine);
        }
        self.inner.upkeep.lock().unwrap_or_else(PoisonError::into_inner).force()
    }

    /// What the opening found.
    pub fn opened(&self) -> &Opened {
        &self.inner.opened
    }

    /// Finds out who somebody is that came from there; the network decides nothing but how often
    /// it may be wrong, and that nobody comes from elsewhere as long as no credential exists.
    pub async fn login(
        &self,
        credentials: &Credentials<'_>,
        source: IpAddr,
    ) -> Result<Arc<Principal>, Refusal> {
        let clock = &self.inner.shard.clock;
        self.inner.gate.login(credentials, source, || clock.now_ms()).await
    }

    /// Whether anybody may be asked for a credential.
    pub fn has_credentials(&self) -> bool {
        !self.inner.gate.access().is_empty()
    }

    /// Puts other users and roles in the place of those there are. When it returns, no session
    /// does anything any more that its user may not do now, and those whose credential is gone
    /// are being closed.
    pub fn set_access(&self, access: Access) -> Revoked {
        access::set(&self.inner.gate, &self.inner.shard, access)
    }

    /// Caps and quotas as they are now.
    pub fn limits(&self) -> Limits {
        *self.inner.limits.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts other caps and quotas in the place of those there are. What exists stays, also where
    /// it is more than they allow; what comes next is refused then.
    pub fn set_limits(&self, limits: Limits) {
        let mut there = self.inner.limits.lock().unwrap_or_else(PoisonError::into_inner);
        *there = limits;
        self.inner.shard.lock().engine.set_quotas(limits.quotas());
        self.inner.shard.set_limits(&limits);
    }

    /// Begins a session for a door. Whoever lost its credential since it logged in is refused.
    pub fn attach(
        &self,
        namespace: &str,
        principal: &Arc<Principal>,
        outlet: Box<dyn Outlet>,
    ) -> Result<Session, Refusal> {
        let shard = &self.inner.shard;
        let reader = Arc::clone(&shard.reader);
        let now_ms = shard.clock.now_ms();
        let (id, outbox, account) = {
            let mut state = shard.lock();
            let current = self.inner.gate.access().current(principal);
            let principal = current.ok_or(Refusal::AccessRevoked)?;
            if !principal.may_enter(namespace) {
                return Err(Refusal::NotAllowed);
            }
            let id = state.engine.attach(namespace, principal)?;
            let account = state.accounts.of(namespace);
            let memory = (&self.inner.budget, Arc::clone(&account));
            let alarms = Arc::clone(&shard.alarms);
            let outbox = Outbox::new(SHARD, outlet, (reader, alarms), memory, now_ms);
            outbox.belongs_to(Arc::downgrade(shard), id);
            state.join(id, Arc::clone(&outbox));
            (id, outbox, account)
        };
        let most = self.inner.options.in_flight_bytes_max;
        let keeper = Arc::clone(&self.inner.keeper);
        Ok(Session::new((Arc::clone(shard), keeper), id, (outbox, account), most))
    }

    /// Begins a session in this process, in the namespace `/`, without restrictions.
    pub fn session(&self, name: &str) -> Result<EmbeddedSession, Refusal> {
        self.session_as("/", &Arc::new(Principal::unrestricted(name)))
    }

    /// Begins a session in this process for somebody.
    pub fn session_as(
        &self,
        namespace: &str,
        principal: &Arc<Principal>,
    ) -> Result<EmbeddedSession, Refusal> {
        EmbeddedSession::begin(|outlet| self.attach(namespace, principal, outlet))
    }

    /// Counters since the opening.
    pub fn stats(&self) -> StatsSnapshot {
        self.inner.shard.stats.snapshot()
    }

    /// Work that goes on in steps, such as emptying a long queue.
    pub fn workers(&self) -> Vec<WorkerReport> {
        self.inner.shard.workers()
    }

    /// Every queue and how it is doing.
    pub fn queues(&self) -> Vec<(String, QueueCounts)> {
        let all = self.inner.shard.lock().engine.queues();
        all.into_iter().map(|(name, _, counts)| (name.to_string(), counts)).collect()
    }

    /// A hash of everything that the log determines, to compare a replay with. Reads the parts of
    /// queues that are not in memory: not for a network thread.
    pub fn ledger_hash(&self) -> u64 {
        let shard = &self.inner.shard;
        snapshot::hash(shard.lock().engine.ledger(), &*shard.store, SHARD)
    }

    /// Refuses new messages and waits until those in flight are confirmed, at most so long.
    pub async fn drain(&self, patience: std::time::Duration) {
        let shard = &self.inner.shard;
        shard.lock().is_closing = true;
        let pause = || tokio::time::sleep(std::time::Duration::from_millis(1));
        let drained = async {
            // Where there is no room for even this, there will be once what waits is written.
            let ticket = loop {
                match shard.append(Urgency::Now, Purpose::Upkeep, &mut |_| {}) {
                    Ok(ticket) => break ticket,
                    Err(Refusal::TooManyInFlight | Refusal::DiskFull) => pause().await,
                    Err(_) => return,
                }
            };
            while shard.lock().applied < ticket {
                pause().await;
            }
        };
        let _ = tokio::time::timeout(patience, drained).await;
    }

    /// Ends all sessions: their clients are told that the broker closes.
    pub fn end_sessions(&self) {
        self.inner.shard.close_sessions(Refusal::Closing);
    }

    /// Bytes that wait for clients that read slowly; what waits for others is not counted.
    pub fn outboxes_bytes(&self) -> usize {
        self.inner.budget.held()
    }

    /// Whether messages for durable queues are refused because the disk is full.
    pub fn is_full(&self) -> bool {
        self.inner.shard.store.usage().is_full
    }

    /// Whether the log failed: nothing is confirmed any more.
    pub fn is_poisoned(&self) -> bool {
        self.inner.shard.is_poisoned.load(std::sync::atomic::Ordering::Acquire)
    }

    /// Ends all sessions, writes and seals the log. Later publishes are refused.
    ///
    /// # Errors
    /// If the log could not be sealed; what was confirmed is safe all the same.
    pub async fn close(&self) -> Result<(), CloseError> {
        let inner = Arc::clone(&self.inner);
        let close = move || {
            inner.shard.close_sessions(Refusal::Closing);
            inner.keeper.close();
            let thread = inner.reader_thread.lock().unwrap_or_else(PoisonError::into_inner).take();
            if let Some(thread) = thread {
                let _ = thread.join();
            }
            inner.shard.store.close()
        };
        Ok(worker::blocking(close).await?)
    }
}
