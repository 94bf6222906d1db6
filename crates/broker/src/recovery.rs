//! Opening: the last snapshot is taken back, then every record behind it is applied; then the
//! opening writes its own.
//!
//! Chunks of queues stay on the disk until a record or a consumer needs them: an opening takes as
//! long as what changed since the snapshot.

use crate::clock::Stopwatch;
use crate::codec::{self, CodecError, Scratch};
use crate::error::OpenError;
use crate::rebuild::rebuild;
use crate::snapshot::{self, fetch, state_lane};
use courant_engine::{Effects, Engine, Record};
use courant_storage::{Frame, LaneId, ReadError, Store};
use std::ops::ControlFlow;

/// Pages that are taken in before chunks leave memory again.
const INSTALLS_MAX: u32 = 256;
/// Records between two looks at the clock.
const RECORDS_PER_LOOK: u64 = 1 << 14;
const PROGRESS_MS: u64 = 1_000;

/// What an opening found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Replayed {
    pub(crate) records: u64,
    pub(crate) messages: u64,
    /// Bytes of what was applied.
    pub(crate) bytes: u64,
    pub(crate) last_stamp_ms: u64,
    /// The last record of the data lane.
    pub(crate) last_seq: u64,
    /// The next free seq of the state lane.
    pub(crate) next_page: u64,
    /// Whether there was a snapshot.
    pub(crate) has_snapshot: bool,
    /// Parts of it were damaged.
    pub(crate) is_mended: bool,
}

/// Rebuilds the engine of a shard from what its lanes hold. Entries of chunks take no more than
/// `entries_bytes_max`.
pub(crate) fn replay(
    store: &dyn Store,
    shard: u16,
    entries_bytes_max: u64,
) -> Result<(Engine, Replayed), OpenError> {
    let mut replay = Replay::begin(store, shard, entries_bytes_max)?;
    let mut failed = None;
    store.scan(&mut |frame| match replay.take(&frame) {
        Ok(()) => ControlFlow::Continue(()),
        Err(error) => {
            failed = Some(error);
            ControlFlow::Break(())
        }
    })?;
    if let Some(error) = failed {
        return Err(error);
    }
    replay.engine.evict(entries_bytes_max);
    Ok((replay.engine, replay.replayed))
}

struct Replay<'s> {
    store: &'s dyn Store,
    shard: u16,
    entries_bytes_max: u64,
    engine: Engine,
    effects: Effects,
    scratch: Scratch,
    page: Vec<u8>,
    installs: u32,
    replayed: Replayed,
    watch: Stopwatch,
}

impl<'s> Replay<'s> {
    fn begin(store: &'s dyn Store, shard: u16, entries_bytes_max: u64) -> Result<Self, OpenError> {
        let mut replayed = Replayed { next_page: 1, ..Replayed::default() };
        let engine = match snapshot::read_root(store, shard)? {
            Some(root) => {
                replayed.has_snapshot = true;
                replayed.is_mended = root.is_damaged;
                replayed.last_stamp_ms = root.stamp_ms;
                replayed.next_page = root.next_seq;
                let origin = store.origins().into_iter().find(|(lane, _)| *lane == LaneId(shard));
                replayed.last_seq = origin.map_or(0, |(_, seq)| seq.0.saturating_sub(1));
                Engine::restore(&root.bytes)?
            }
            None => Engine::default(),
        };
        let (effects, scratch, page) = (Effects::default(), Scratch::default(), Vec::new());
        let (installs, watch) = (0, Stopwatch::start());
        Ok(Self {
            store,
            shard,
            entries_bytes_max,
            engine,
            effects,
            scratch,
            page,
            installs,
            replayed,
            watch,
        })
    }

    fn take(&mut self, frame: &Frame<'_>) -> Result<(), OpenError> {
        let replayed = &mut self.replayed;
        if frame.lane == state_lane(self.shard) {
            replayed.next_page = replayed.next_page.max(frame.seq.0.saturating_add(1));
        }
        if frame.lane != LaneId(self.shard) {
            return Ok(());
        }
        let kind = (frame.kind, frame.version);
        let seq = (frame.seq.0, frame.body_len);
        let mut scratch = std::mem::take(&mut self.scratch);
        let record = match codec::decode(kind, seq, frame.head, &mut scratch) {
            Ok(record) => record,
            // A kind that readers may skip says so itself.
            Err(CodecError::Kind) if !frame.critical => return Ok(()),
            Err(cause) => {
                return Err(OpenError::Record { seq: frame.seq.0, kind: frame.kind, cause });
            }
        };
        replayed.records += 1;
        replayed.bytes += u64::from(frame.body_len) + frame.head.len() as u64;
        replayed.last_seq = replayed.last_seq.max(frame.seq.0);
        if let Record::Published { lifetime, .. } = record {
            replayed.messages += 1;
            replayed.last_stamp_ms = replayed.last_stamp_ms.max(lifetime.admitted_ms);
        }
        for page in self.engine.pages_for(&record) {
            self.install(page)?;
        }
        self.engine.apply(&record, &mut self.effects);
        drop(self.engine.take_remains());
        self.effects.clear();
        self.scratch = scratch;
        if self.installs > INSTALLS_MAX {
            self.installs = 0;
            self.engine.evict(self.entries_bytes_max);
        }
        self.tell_progress();
        Ok(())
    }

    /// Brings a page, or what it had.
    fn install(&mut self, page: u64) -> Result<(), OpenError> {
        self.installs += 1;
        self.page.clear();
        let why = match fetch(self.store, state_lane(self.shard), page, &mut self.page) {
            Ok(()) => match self.engine.install_page(page, &self.page, &mut self.effects) {
                Ok(()) => return Ok(()),
                Err(error) => error.to_string(),
            },
            Err(error @ ReadError::Io { .. }) => return Err(OpenError::Snapshot(error)),
            Err(error) => error.to_string(),
        };
        self.replayed.is_mended = true;
        let log = (self.store, self.shard);
        rebuild(&mut self.engine, log, (page, &why), &mut self.effects).map_err(OpenError::Snapshot)
    }

    fn tell_progress(&mut self) {
        let Replayed { records, messages, .. } = self.replayed;
        if records.is_multiple_of(RECORDS_PER_LOOK) && self.watch.passed_ms() >= PROGRESS_MS {
            self.watch = Stopwatch::start();
            tracing::info!(records, messages, "reading the log");
        }
    }
}
