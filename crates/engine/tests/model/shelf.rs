//! Snapshots, the pages they wrote, and an engine that has few of its chunks in memory.
//!
//! The shelf is what the log's state lane is outside: it keeps every page that the engine still
//! names, and nothing else. Pages that are wanted come at once, or when the run says so.

use super::oracle::State;
use super::rig::{Entry, Rig};
use courant_engine::limits::CHUNK_ENTRIES;
use courant_engine::{Cause, Effects, Engine, Handle, QueueId};
use std::collections::{BTreeMap, BTreeSet, VecDeque};

const CHUNK_BYTES: u64 = CHUNK_ENTRIES as u64 * 8;

/// A snapshot, and how many records it covers.
#[derive(Debug)]
struct Root {
    bytes: Vec<u8>,
    records: usize,
}

#[derive(Debug, Default)]
pub(crate) struct Shelf {
    pages: BTreeMap<u64, Vec<u8>>,
    next_page: u64,
    finished: Option<Root>,
    unfinished: Option<Root>,
    wanted: VecDeque<(u64, QueueId)>,
    is_slow: bool,
}

impl Shelf {
    pub(crate) fn load(&self, page: u64, out: &mut Vec<u8>) -> Result<(), u64> {
        out.extend_from_slice(self.pages.get(&page).ok_or(page)?);
        Ok(())
    }

    /// The queue whose entries a page holds: its first number.
    fn queue_of(&self, page: u64) -> QueueId {
        let bytes = self.pages.get(&page).unwrap_or_else(|| panic!("page {page} is gone"));
        QueueId(u32::from_le_bytes(bytes[..4].try_into().expect("4 bytes")))
    }

    pub(crate) fn note_wanted(&mut self, wanted: &mut Vec<u64>) {
        for page in wanted.drain(..) {
            let queue = self.queue_of(page);
            self.wanted.push_back((page, queue));
        }
    }

    /// Whether pages do not come by themselves.
    pub(crate) fn is_slow(&self) -> bool {
        self.is_slow
    }

    /// Whether a snapshot was finished.
    pub(crate) fn has_root(&self) -> bool {
        self.finished.is_some()
    }

    /// Queues that wait for a page.
    pub(crate) fn waiting(&self) -> BTreeSet<QueueId> {
        self.wanted.iter().map(|(_, queue)| *queue).collect()
    }

    /// Whether something of a queue may be missing because pages do not come.
    pub(crate) fn has_absent(&self, queue: QueueId) -> bool {
        self.is_slow && self.pages.values().any(|page| page[..4] == queue.0.to_le_bytes())
    }

    /// Keeps what the engine still names.
    fn reclaim(&mut self, engine: &Engine) {
        let mut named = BTreeSet::new();
        engine.pages(&mut |page| {
            named.insert(page);
        });
        self.pages.retain(|page, _| named.contains(page));
    }

    /// The engine as an opening finds it: from the last root, and the records after it.
    pub(crate) fn reopen(&mut self, log: &[Entry]) -> Engine {
        self.unfinished = None;
        self.wanted.clear();
        let mut engine = Engine::default();
        let mut from = 0;
        if let Some(root) = &self.finished {
            engine = Engine::restore(&root.bytes).expect("a root of our own");
            from = root.records;
        }
        self.reclaim(&engine);
        let mut effects = Effects::default();
        for entry in &log[from..] {
            let record = entry.fact.record();
            for page in engine.pages_for(&record) {
                let bytes = &self.pages[&page];
                engine.install_page(page, bytes, &mut effects).expect("a page of our own");
            }
            engine.apply(&record, &mut effects);
        }
        engine
    }
}

impl Rig {
    pub(crate) fn begin_snapshot(&mut self) {
        self.shelf.next_page += 1;
        let snapshot = self.engine.snapshot(&mut self.shelf.next_page);
        for page in &snapshot.pages {
            let mut bytes = Vec::new();
            page.encode(&mut bytes);
            assert!(self.shelf.pages.insert(page.number, bytes).is_none(), "a number came twice");
        }
        self.count("pages written", snapshot.pages.len() as u64);
        self.shelf.unfinished = Some(Root { bytes: snapshot.root, records: self.applied });
        self.shelf.reclaim(&self.engine);
    }

    pub(crate) fn end_snapshot(&mut self, is_committed: bool) {
        let Some(root) = self.shelf.unfinished.take() else { return };
        self.engine.snapshot_done(is_committed);
        if is_committed {
            self.shelf.finished = Some(root);
            self.count("snapshots", 1);
        }
        self.shelf.reclaim(&self.engine);
    }

    pub(crate) fn evict(&mut self, chunks: u64) {
        let before = self.engine.evict(u64::MAX);
        let after = self.engine.evict(chunks * CHUNK_BYTES);
        assert!(after <= before);
        self.count("chunks evicted", (before - after) / CHUNK_BYTES);
    }

    pub(crate) fn set_slow(&mut self, is_slow: bool) {
        self.shelf.is_slow = is_slow;
        if !is_slow {
            self.bring(usize::MAX);
        }
    }

    /// What was wanted comes, if pages come at once. Says whether something came.
    pub(crate) fn bring_at_once(&mut self) -> bool {
        self.shelf.note_wanted(&mut self.effects.wanted);
        !self.shelf.is_slow && self.bring(usize::MAX)
    }

    /// Some of the pages that were wanted come.
    pub(crate) fn bring(&mut self, most: usize) -> bool {
        let mut came = 0;
        while came < most {
            self.shelf.note_wanted(&mut self.effects.wanted);
            let Some((page, _)) = self.shelf.wanted.pop_front() else { break };
            came += 1;
            let Some(bytes) = self.shelf.pages.get(&page) else {
                assert!(self.engine.cold(page).is_none(), "page {page} is needed and gone");
                self.engine.page_missed(page);
                continue;
            };
            self.engine.install_page(page, bytes, &mut self.effects).expect("a page of our own");
        }
        self.count("pages read", came as u64);
        came > 0
    }

    /// A page could not be read. It is asked for again.
    pub(crate) fn miss(&mut self) {
        if let Some((page, _)) = self.shelf.wanted.pop_front() {
            self.engine.page_missed(page);
            self.count("pages missed", 1);
        }
    }

    /// The body of some durable message turns out to be damaged.
    pub(crate) fn corrupt(&mut self, queue: u8, which: u16) {
        let all: Vec<_> = self.oracle.queues.iter().collect();
        let Some((_, queue)) = all.get(usize::from(queue) % all.len().max(1)) else { return };
        let durable: Vec<u64> =
            queue.messages.iter().filter(|(_, m)| m.durable).map(|(seq, _)| *seq).collect();
        let Some(&seq) = durable.get(usize::from(which) % durable.len().max(1)) else { return };
        let is_overdue = |queue: &super::queue::Queue| {
            queue.messages.get(&seq).is_some_and(|message| message.is_overdue(self.now_ms))
        };
        if self.oracle.queues.values().any(is_overdue) {
            return;
        }
        self.engine.park_corrupt(seq, &mut self.effects);
        self.bring(usize::MAX);
        let once = self.effects.parked;
        self.engine.park_corrupt(seq, &mut self.effects);
        self.bring(usize::MAX);
        assert_eq!(self.effects.parked, once, "the same again changes nothing");
        let is_of = |queue: QueueId, handle: Handle| queue.is_durable() && handle.seq == seq;
        let open = self.oracle.open.iter().filter(|open| is_of(open.queue, open.handle));
        let open: Vec<(QueueId, Handle)> = open.map(|open| (open.queue, open.handle)).collect();
        let mut parked = 0;
        for (queue, handle) in open {
            parked += u64::from(self.oracle.queues.contains_key(&queue));
            self.oracle.close(handle, Some(Cause::Corrupt));
        }
        let has = |id: &&QueueId| {
            let message = self.oracle.queues[id].messages.get(&seq);
            message.is_some_and(|m| m.durable && m.state == State::Ready)
        };
        let ready: Vec<QueueId> = self.oracle.queues.keys().filter(has).copied().collect();
        for id in ready {
            parked += 1;
            self.oracle.leave(id, seq, Cause::Corrupt);
        }
        assert_eq!(self.effects.parked, parked, "queues that {seq} leaves as corrupt");
        self.count("corrupt", parked);
    }
}
