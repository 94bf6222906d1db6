//! What keeps the log short: snapshots, giving space back, letting long queues leave memory,
//! looking for damage. One thread; everything that it does waits for disks, nothing waits for it.
//!
//! A pass, every 250 ms:
//! 1. A snapshot, if one is due: enough was appended since the last one, or a little and some time
//!    passed, or something was settled and it is quiet, or the disk is full, or a part of the last
//!    one turned out damaged.
//! 2. Space is given back, if something was settled or a snapshot was made since it was looked
//!    last: never more than a fiftieth of the time, unless that were rarer than every 20 s.
//! 3. Chunks of long queues leave memory.
//! 4. Where nothing happens, the log is read through for damage.
//!
//! The shard's lock is held for one step of each at a time.

use crate::clock::Stopwatch;
use crate::shard::{Shard, Touched, flush};
use crate::snapshot::{Writing, fetch, state_lane};
use crate::stats::Stats;
use crate::worker;
use courant_engine::{Cold, LiveCursor, Living};
use courant_storage::{AppendError, LaneId, Purpose, ReadError, Reclaimed, Seq, Ticket, Urgency};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

const PASS: Duration = Duration::from_millis(250);
/// How soon it is looked again whether something is committed, or has room.
const LOOK: Duration = Duration::from_millis(2);
/// Appended bytes after which a snapshot is due at once.
const DUE_BYTES: u64 = 256 << 20;
/// The same in segments, where those are small.
const DUE_SEGMENTS: u64 = 4;
/// Appended bytes and time after which one is due.
const DUE_SLOW_BYTES: u64 = 16 << 20;
const DUE_SLOW_MS: u64 = 20_000;
/// A pause between two looks for free space is so many times as long as the look.
const PAUSE_FACTOR: u64 = 50;
const PAUSE_MS: u64 = 1_000;
/// After a look that wrote gigabytes again, or on a busy machine, space that became free meanwhile
/// would else be kept for minutes.
const PAUSE_MS_MAX: u64 = 20_000;
/// What a page of a snapshot counts for: the entries of a chunk.
const PAGE_BYTES: u32 = 32 << 10;
/// Bytes that are looked through for damage in a second in which nothing else happens.
const SCRUB_BYTES: u64 = 8 << 20;
const SCRUB_MS: u64 = 1_000;
/// After all was looked through, it begins again so much later.
const SCRUB_REST_MS: u64 = 24 * 3_600_000;
/// When pages that could not be read are asked for again.
const MISSED_MS: u64 = 10_000;

/// Ends the thread, and lets it be woken for that.
#[derive(Debug, Default)]
pub(crate) struct Bell {
    is_closing: Mutex<bool>,
    rung: Condvar,
}

impl Bell {
    pub(crate) fn close(&self) {
        *self.is_closing.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.rung.notify_all();
    }

    /// Waits; says whether the broker closes.
    pub(crate) fn wait(&self, at_most: Duration) -> bool {
        let is_closing = self.is_closing.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = self.rung.wait_timeout_while(is_closing, at_most, |is_closing| !*is_closing);
        *waited.unwrap_or_else(PoisonError::into_inner).0
    }
}

/// Why something was not finished.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct GivenUp;

/// How large things may get.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bounds {
    pub(crate) segment_bytes: u64,
    pub(crate) chunk_bytes_max: u64,
}

/// What the thread knows.
pub(crate) struct Upkeep {
    shard: Arc<Shard>,
    bell: Arc<Bell>,
    bounds: Bounds,
    /// The next free seq of the state lane.
    next_page: u64,
    /// What had been appended, and freed, at the last snapshot of this opening.
    appended: u64,
    freeing: Option<u64>,
    since_snapshot: Stopwatch,
    /// What had been freed when space was given back last; `None`: it has to be looked.
    reclaimed_at: Option<u64>,
    since_reclaim: Stopwatch,
    reclaim_pause_ms: u64,
    since_scrub: Stopwatch,
    scrub_pause_ms: u64,
    /// What had happened when it was last looked whether something does.
    activity: u64,
    since_missed: Stopwatch,
}

impl Upkeep {
    /// `replayed_bytes` are behind the last snapshot already.
    pub(crate) fn new(
        shard: Arc<Shard>,
        bell: Arc<Bell>,
        bounds: Bounds,
        (next_page, replayed_bytes): (u64, u64),
    ) -> Self {
        let now = Stopwatch::start();
        Self {
            shard,
            bell,
            bounds,
            next_page,
            appended: 0_u64.wrapping_sub(replayed_bytes),
            freeing: None,
            since_snapshot: now,
            reclaimed_at: None,
            since_reclaim: now,
            reclaim_pause_ms: PAUSE_MS,
            since_scrub: now,
            scrub_pause_ms: SCRUB_MS,
            activity: 0,
            since_missed: now,
        }
    }

    /// Starts the thread.
    pub(crate) fn start(upkeep: Arc<Mutex<Self>>) -> std::io::Result<JoinHandle<()>> {
        let bell = {
            let this = upkeep.lock().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(&this.bell)
        };
        worker::thread("courant-upkeep", move || {
            while !bell.wait(PASS) {
                upkeep.lock().unwrap_or_else(PoisonError::into_inner).pass();
            }
        })
    }

    fn pass(&mut self) {
        if self.shard.is_poisoned.load(Ordering::Acquire) {
            return;
        }
        let remains = self.shard.lock().engine.take_remains();
        drop(remains);
        if self.is_snapshot_due() {
            // What was given up is tried again with the next pass.
            let _ = self.snapshot();
        }
        if self.is_reclaim_due() {
            self.reclaim();
        }
        self.evict();
        self.scrub();
        self.ask_again();
    }

    fn freeing_now(&self) -> u64 {
        self.shard.lock().freeing
    }

    /// Whether a snapshot would let space be given back.
    fn would_free(&self) -> bool {
        self.freeing != Some(self.freeing_now())
    }

    fn is_snapshot_due(&self) -> bool {
        if self.shard.is_mended.load(Ordering::Acquire) {
            return true;
        }
        let usage = self.shard.store.usage();
        let appended = usage.appended_bytes.wrapping_sub(self.appended);
        if appended == 0 {
            return false;
        }
        let passed_ms = self.since_snapshot.passed_ms();
        if usage.is_full && passed_ms < PAUSE_MS {
            return false;
        }
        // On a small volume segments are smaller than what was asked for.
        let segment_bytes = match usage.segment_bytes {
            0 => self.bounds.segment_bytes,
            bytes => bytes,
        };
        appended >= DUE_BYTES.min(DUE_SEGMENTS * segment_bytes)
            || appended >= DUE_SLOW_BYTES && passed_ms >= DUE_SLOW_MS
            || usage.is_full && self.would_free()
            || usage.disk_bytes > 2 * segment_bytes && passed_ms >= DUE_SLOW_MS && self.would_free()
    }

    /// Makes a snapshot and lets it count.
    fn snapshot(&mut self) -> Result<(), GivenUp> {
        let watch = Stopwatch::start();
        let shard = Arc::clone(&self.shard);
        let usage = shard.store.usage();
        let is_mended = shard.is_mended.swap(false, Ordering::AcqRel);
        let (made, freeing) = {
            let mut state = shard.lock();
            let made = state.engine.snapshot(&mut self.next_page);
            ((made, state.applied_seq), state.freeing)
        };
        let term = shard.term.load(Ordering::Relaxed);
        let stamp_ms = shard.clock.now_ms();
        let mut writing = Writing::new((shard.number, term, stamp_ms), made, &mut self.next_page);
        let is_done = self.write(&mut writing).and_then(|()| self.raise(&writing)).is_ok();
        shard.lock().engine.snapshot_done(is_done);
        self.since_snapshot = Stopwatch::start();
        if !is_done {
            shard.is_mended.fetch_or(is_mended, Ordering::AcqRel);
            return Err(GivenUp);
        }
        (self.appended, self.freeing) = (usage.appended_bytes, Some(freeing));
        self.reclaimed_at = None;
        Stats::add(&shard.stats.snapshots, 1);
        let ((pages, root_bytes), ms) = (writing.size(), watch.passed_ms());
        tracing::info!(pages, root_bytes, covers = writing.covers, ms, "snapshot");
        Ok(())
    }

    /// Appends all of a snapshot, piece by piece, and waits until it is committed. On a full disk
    /// it takes no more than half of what is left: the rest is for settling, which makes the next
    /// snapshot smaller, until it fits.
    fn write(&self, writing: &mut Writing) -> Result<(), GivenUp> {
        let store = &self.shard.store;
        while !writing.is_done() {
            let left = store.usage().left_bytes.map(|bytes| bytes / 2);
            if left.is_some_and(|bytes| bytes < writing.left_bytes()) {
                tracing::info!("a snapshot has to wait: the disk is full, and settling goes first");
                return Err(GivenUp);
            }
            let mut append = |open: &mut _| writing.append(open);
            match store.append(Urgency::Soon, Purpose::Upkeep, &mut append) {
                Ok(ticket) => self.await_committed(ticket)?,
                Err(AppendError::Full { .. }) => self.look_again()?,
                Err(error) => {
                    tracing::warn!(%error, "a snapshot was not finished");
                    return Err(GivenUp);
                }
            }
        }
        Ok(())
    }

    fn look_again(&self) -> Result<(), GivenUp> {
        let is_over = self.bell.wait(LOOK) || self.shard.is_poisoned.load(Ordering::Acquire);
        if is_over { Err(GivenUp) } else { Ok(()) }
    }

    fn await_committed(&self, ticket: Ticket) -> Result<(), GivenUp> {
        while self.shard.store.committed() < ticket {
            self.look_again()?;
        }
        Ok(())
    }

    /// From here on the snapshot counts.
    fn raise(&self, writing: &Writing) -> Result<(), GivenUp> {
        let shard = &self.shard;
        let origins = [
            (shard.lane(), Seq(writing.covers.saturating_add(1))),
            (state_lane(shard.number), Seq(writing.root_seq)),
        ];
        shard.store.raise_origins(&origins).map_err(|error| {
            tracing::error!(%error, "a snapshot was written and could not be made to count");
            GivenUp
        })
    }

    fn is_reclaim_due(&self) -> bool {
        let pause_ms = if self.shard.store.usage().is_full { 0 } else { self.reclaim_pause_ms };
        self.since_reclaim.passed_ms() >= pause_ms && self.reclaimed_at != Some(self.freeing_now())
    }

    /// Gives back the space of what is not needed any more.
    fn reclaim(&mut self) {
        let watch = Stopwatch::start();
        let freeing = self.freeing_now();
        let mut total = Reclaimed::default();
        let done = loop {
            let shard = &*self.shard;
            let done = shard.store.reclaim(&mut |see| self.show_living(see));
            let Ok(part) = done else { break done };
            total.removed_segments += part.removed_segments;
            total.rewritten_segments += part.rewritten_segments;
            total.freed_bytes += part.freed_bytes;
            (total.live_bytes, total.used_bytes) = (part.live_bytes, part.used_bytes);
            if !part.more || self.bell.wait(Duration::ZERO) {
                break Ok(part);
            }
        };
        self.reclaim_pause_ms = (watch.passed_ms() * PAUSE_FACTOR).clamp(PAUSE_MS, PAUSE_MS_MAX);
        self.since_reclaim = Stopwatch::start();
        match done {
            Ok(_) => self.reclaimed_at = Some(freeing),
            Err(error) => tracing::error!(%error, "the log could not give space back"),
        }
        let Reclaimed { removed_segments, rewritten_segments, freed_bytes, .. } = total;
        let Reclaimed { live_bytes, used_bytes, .. } = total;
        Stats::add(&self.shard.stats.segments_removed, removed_segments);
        Stats::add(&self.shard.stats.segments_rewritten, rewritten_segments);
        if removed_segments + rewritten_segments > 0 {
            let (removed, rewritten, ms) =
                (removed_segments, rewritten_segments, watch.passed_ms());
            tracing::info!(
                removed,
                rewritten,
                freed_bytes,
                live_bytes,
                used_bytes,
                ms,
                "space given back"
            );
        }
    }

    /// Shows everything that is needed. First what is in queues, then what is on its way to
    /// clients: a message goes from there to here, never back.
    fn show_living(&self, see: &mut dyn FnMut(LaneId, Seq, u32)) -> bool {
        let shard = &*self.shard;
        let (data, state_lane) = (shard.lane(), state_lane(shard.number));
        let mut cursor = LiveCursor::default();
        let mut page = Vec::new();
        loop {
            if self.bell.wait(Duration::ZERO) {
                return false;
            }
            let mut see = |seq, size| see(data, Seq(seq), size);
            let living = shard.lock().engine.living(&mut cursor, &mut see);
            match living {
                Living::Done => break,
                Living::More => {}
                Living::Cold(cold) => {
                    if let Err(error) = self.show_cold(&cold, &mut page, &mut see) {
                        let page = cold.page;
                        tracing::error!(
                            page,
                            %error,
                            "no space is given back: a part of a queue cannot be read"
                        );
                        return false;
                    }
                }
            }
        }
        let outboxes = {
            let guard = shard.lock();
            guard.engine.pages(&mut |page| see(state_lane, Seq(page), PAGE_BYTES));
            guard.claimed.keys().for_each(|seq| see(data, Seq(*seq), 0));
            guard.outboxes()
        };
        for outbox in outboxes {
            outbox.needed(&mut |seq, size| see(data, Seq(seq), size));
        }
        true
    }

    /// Shows what a chunk has that is not in memory; without its page, all that may be alive.
    fn show_cold(
        &self,
        cold: &Cold,
        page: &mut Vec<u8>,
        see: &mut dyn FnMut(u64, u32),
    ) -> Result<(), ReadError> {
        let shard = &*self.shard;
        page.clear();
        let why = match fetch(&*shard.store, state_lane(shard.number), cold.page, page) {
            Ok(()) => match cold.decode(page, &mut |seq, size, _| see(seq, size)) {
                Ok(()) => return Ok(()),
                Err(error) => error.to_string(),
            },
            Err(error @ ReadError::Io { .. }) => return Err(error),
            Err(error) => error.to_string(),
        };
        let found = shard.rebuild(cold, &why)?;
        for (seq, size, _) in found {
            see(seq, size);
        }
        Ok(())
    }

    fn evict(&self) {
        let left = self.shard.lock().engine.evict(self.bounds.chunk_bytes_max);
        Stats::set(&self.shard.stats.chunk_bytes, left);
    }

    /// Looks through a part of the log for damage, if nothing else happens.
    fn scrub(&mut self) {
        if self.since_scrub.passed_ms() < self.scrub_pause_ms {
            return;
        }
        self.since_scrub = Stopwatch::start();
        self.scrub_pause_ms = SCRUB_MS;
        let stats = &self.shard.stats;
        let activity = Stats::get(&stats.published)
            .wrapping_add(Stats::get(&stats.delivered))
            .wrapping_add(Stats::get(&stats.settled));
        if std::mem::replace(&mut self.activity, activity) != activity {
            return;
        }
        match self.shard.store.scrub(SCRUB_BYTES) {
            Ok(scrubbed) => {
                self.shard.found_damaged(&scrubbed.damaged);
                if scrubbed.wrapped {
                    self.scrub_pause_ms = SCRUB_REST_MS;
                }
            }
            Err(error) => {
                tracing::error!(%error, "the log cannot be read");
                self.scrub_pause_ms = MISSED_MS;
            }
        }
    }

    /// Asks again for pages that could not be read.
    fn ask_again(&mut self) {
        if self.since_missed.passed_ms() < MISSED_MS {
            return;
        }
        self.since_missed = Stopwatch::start();
        let missed = self.shard.reader.take_missed();
        if missed.is_empty() {
            return;
        }
        let mut touched = Touched::new();
        {
            let mut guard = self.shard.lock();
            let state = &mut *guard;
            for page in missed {
                state.engine.page_missed(page);
            }
            self.shard.hand_out(state, &mut touched);
        }
        flush(&touched);
    }
}

#[cfg(feature = "testing")]
impl Upkeep {
    /// Makes a snapshot now, and gives back all space that can be.
    pub(crate) fn force(&mut self) -> bool {
        let is_done = self.snapshot().is_ok();
        self.reclaim();
        self.evict();
        is_done
    }
}
