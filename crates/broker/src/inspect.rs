//! A data folder that no broker runs: is it whole, and what is in it.
//!
//! 1. Everything in the log is read and verified ([`courant_storage::Check`]).
//! 2. The state is built from what is good, by the code of an opening.
//! 3. What the state needs is held against what was found: so it is known which messages of which
//!    queues are damaged or missing, also those below the last snapshot.
//!
//! Nothing is changed.

use crate::codec::{self, Scratch};
use crate::error::OpenError;
use crate::rebuild::rebuild;
use crate::recovery;
use crate::snapshot::{self, state_lane};
use courant_engine::{
    Effects, Engine, ExchangeSpec, MessageId, NEVER, Page, QueueId, QueueOptions, Record,
};
use courant_storage::{
    Check, CheckError, Disk, Frame, LaneId, ReadError, RealDisk, Seen, Seq, Store, Witness,
};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;

pub use courant_storage::{CheckError as FolderError, Damage, Damaged, Fault, Gap, Outcome};
pub use courant_storage::{Checked, SegmentSeen, SetAside, Span};

const SHARD: u16 = 0;
/// Memory for the entries of long queues.
const CHUNK_BYTES_MAX: u64 = 64 << 20;
/// More damaged messages of one queue than this are only counted.
const LOST_MAX: usize = 100;

/// A stopped folder.
pub struct Inspection {
    check: Check,
    roots: Roots,
}

/// What was found.
#[derive(Debug)]
pub struct Report {
    /// What the log says of its files.
    pub log: Checked,
    /// Records, and messages among them.
    pub records: u64,
    /// Messages among them.
    pub messages: u64,
    /// Bytes of each segment that are still needed, in the order of `log.segments`.
    pub live_bytes: Vec<u64>,
    /// The queues, by name.
    pub queues: Vec<QueueSeen>,
    /// The last snapshot, if there is one.
    pub snapshot: Option<SnapshotSeen>,
    /// Why the state could not be built: nothing is known of queues then.
    pub unknown: Option<OpenError>,
}

/// A durable queue.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct QueueSeen {
    /// Its name.
    pub name: String,
    /// Its policies.
    pub options: QueueOptions,
    /// Messages in it.
    pub ready: u64,
    /// Bytes of their properties and bodies.
    pub bytes: u64,
    /// The oldest of them.
    pub oldest: Option<MessageId>,
    /// Messages whose bodies are damaged or not there, the first hundred of them.
    pub lost: Vec<MessageId>,
    /// How many these are.
    pub lost_count: u64,
    /// Why its messages could not be counted out.
    pub unread: Option<String>,
}

/// A snapshot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SnapshotSeen {
    /// Pages that it refers to.
    pub pages: u64,
    /// The last record that it covers.
    pub covers: MessageId,
}

/// One record of the log, decoded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordSeen {
    /// The segment's file.
    pub file: String,
    /// Start of its frame in it.
    pub offset: u64,
    /// What kind it is.
    pub kind: &'static str,
    /// Its lane: the shard, or for state the shard with the top bit set.
    pub lane: u16,
    /// Its number.
    pub seq: u64,
    /// The term in which it was written.
    pub term: u64,
    /// What it says.
    pub fields: Vec<(&'static str, String)>,
    /// Bytes of the body.
    pub body_bytes: u32,
    /// Whether the body is what was written.
    pub body_is_intact: bool,
}

/// Numbers, densely.
#[derive(Debug, Default)]
struct Seqs(BTreeMap<u64, Box<[u64; 64]>>);

impl Seqs {
    fn place(seq: u64) -> (u64, usize, u64) {
        let word = usize::try_from(seq / 64 % 64).unwrap_or(0);
        (seq / 4096, word, 1 << (seq % 64))
    }

    /// Says whether it was not there before.
    fn insert(&mut self, seq: u64) -> bool {
        let (page, word, bit) = Self::place(seq);
        let page = self.0.entry(page).or_insert_with(|| Box::new([0; 64]));
        let is_new = page[word] & bit == 0;
        page[word] |= bit;
        is_new
    }

    fn contains(&self, seq: u64) -> bool {
        let (page, word, bit) = Self::place(seq);
        self.0.get(&page).is_some_and(|page| page[word] & bit != 0)
    }
}

/// What is remembered of a walk.
struct Memo<'p> {
    progress: &'p mut dyn FnMut(u64),
    records: u64,
    messages: u64,
    /// Messages whose bodies are intact.
    whole: Seqs,
    /// Frames of the state lane, and how long their bodies are.
    state: BTreeMap<u64, u32>,
    roots: Roots,
}

/// Roots of snapshots that were met: where the log would begin if nobody said so.
#[derive(Debug, Default)]
struct Roots {
    /// First seq of the one being met, and which of its parts are intact, in whichever copy.
    open: Option<(u64, BTreeSet<u32>)>,
    /// First seq and covered seq of the newest that is complete.
    newest: Option<(u64, u64)>,
}

impl Roots {
    fn note(&mut self, seen: &Seen<'_>) {
        let Some((part, parts, covers)) = snapshot::part(seen.frame.head) else { return };
        let Some(first) = seen.frame.seq.0.checked_sub(u64::from(part)) else { return };
        if !seen.body_is_intact || parts == 0 {
            return;
        }
        let (_, found) = match &mut self.open {
            Some(open) if open.0 == first => open,
            open => open.insert((first, BTreeSet::new())),
        };
        found.insert(part % parts);
        if found.len() == parts as usize {
            self.newest = Some((first, covers));
        }
    }

    fn origins(&self) -> Vec<(LaneId, Seq)> {
        let both = |(first, covers): (u64, u64)| {
            [(LaneId(SHARD), Seq(covers + 1)), (state_lane(SHARD), Seq(first))]
        };
        self.newest.map_or(Vec::new(), |newest| both(newest).to_vec())
    }
}

impl Witness for Memo<'_> {
    fn frame(&mut self, seen: &Seen<'_>) -> ControlFlow<()> {
        let Frame { kind, lane, seq, body_len, .. } = seen.frame;
        if lane == state_lane(SHARD) {
            self.state.insert(seq.0, body_len);
            if kind == codec::SNAPSHOT_ROOT {
                self.roots.note(seen);
            }
        } else if lane == LaneId(SHARD) && codec::name(kind).is_some() {
            self.records += 1;
            if kind == codec::PUBLISHED {
                self.messages += 1;
                if seen.body_is_intact {
                    self.whole.insert(seq.0);
                }
            }
        }
        ControlFlow::Continue(())
    }

    fn progress(&mut self, bytes: u64) {
        (self.progress)(bytes);
    }
}

impl Inspection {
    /// Takes the lock of a folder that exists.
    pub fn begin(path: impl AsRef<Path>) -> Result<Self, CheckError> {
        let path = path.as_ref();
        let failed = |source| {
            let file = path.display().to_string();
            CheckError::Io { what: "opening", file, source }
        };
        if !path.metadata().map_err(failed)?.is_dir() {
            return Err(CheckError::Foreign);
        }
        Self::begin_on(&(Arc::new(RealDisk::new(path).map_err(failed)?) as Arc<dyn Disk>))
    }

    /// The same on any disk.
    pub fn begin_on(disk: &Arc<dyn Disk>) -> Result<Self, CheckError> {
        Ok(Self { check: Check::begin(disk)?, roots: Roots::default() })
    }

    /// Bytes that a run reads.
    pub fn bytes(&self) -> u64 {
        self.check.bytes()
    }

    /// Reads everything; `progress` is told how many bytes more were read.
    pub fn run(&mut self, progress: &mut dyn FnMut(u64)) -> Result<Report, CheckError> {
        let (whole, state) = (Seqs::default(), BTreeMap::new());
        let roots = Roots::default();
        let mut memo = Memo { progress, records: 0, messages: 0, whole, state, roots };
        let log = self.check.run(&mut memo)?;
        let Memo { records, messages, whole, state, roots, .. } = memo;
        self.roots = roots;
        let live_bytes = vec![0; log.segments.len()];
        let (queues, snapshot, unknown) = (Vec::new(), None, None);
        let mut report = Report { log, records, messages, live_bytes, queues, snapshot, unknown };
        match recovery::replay(&self.check, SHARD, CHUNK_BYTES_MAX) {
            Ok((mut engine, _)) => report.take_up(&mut engine, &self.check, (&whole, &state)),
            Err(error) => report.unknown = Some(error),
        }
        Ok(report)
    }

    /// Sets aside what a run found, into a folder that is made for it. The folder itself then holds
    /// all the rest.
    pub fn set_aside(self, report: &Report, into: &Path) -> Result<SetAside, CheckError> {
        let failed =
            |source| CheckError::Io { what: "making", file: into.display().to_string(), source };
        let aside = RealDisk::new(into).map_err(failed)?;
        self.set_aside_on(report, &aside)
    }

    /// The same on any disk.
    pub fn set_aside_on(self, report: &Report, aside: &dyn Disk) -> Result<SetAside, CheckError> {
        self.check.set_aside(&report.log, aside, &self.roots.origins())
    }

    /// Shows every record, until `see` breaks.
    pub fn records(
        &mut self,
        see: &mut dyn FnMut(RecordSeen) -> ControlFlow<()>,
    ) -> Result<(), CheckError> {
        let mut scratch = Scratch::default();
        self.check.run(&mut |seen: &Seen<'_>| see(decoded(seen, &mut scratch)))?;
        Ok(())
    }
}

impl Report {
    /// Whether nothing is damaged and nothing missing.
    pub fn is_whole(&self) -> bool {
        let is_whole = |queue: &QueueSeen| queue.lost_count == 0 && queue.unread.is_none();
        self.log.faults.is_empty() && self.unknown.is_none() && self.queues.iter().all(is_whole)
    }

    /// Whether there is damage that a broker does not get over by itself.
    pub fn needs_quarantine(&self) -> bool {
        let is_in_the_way = |fault: &Fault| {
            let is_body = matches!(fault.at.what, Damage::Body { .. });
            fault.outcome == Outcome::Refused || fault.outcome == Outcome::Unseen && !is_body
        };
        self.log.faults.iter().any(is_in_the_way)
    }

    /// The queues that a damaged body is in.
    pub fn queues_of(&self, fault: &Fault) -> Vec<&str> {
        let Damage::Body { lane, seq } = fault.at.what else { return Vec::new() };
        let id = MessageId { shard: lane.0, seq: seq.0 };
        let has = |queue: &&QueueSeen| queue.lost.contains(&id);
        self.queues.iter().filter(has).map(|queue| queue.name.as_str()).collect()
    }

    fn take_up(
        &mut self,
        engine: &mut Engine,
        check: &Check,
        (whole, state): (&Seqs, &BTreeMap<u64, u32>),
    ) {
        let ids: Vec<QueueId> = engine.queues().iter().map(|(_, id, _)| *id).collect();
        let unread: BTreeMap<QueueId, String> =
            ids.iter().filter_map(|id| Some((*id, mend(engine, check, *id).err()?))).collect();
        let engine = &*engine;
        let mut living = Living::new(&self.log);
        for (name, id, counts) in engine.queues() {
            let mut queue = QueueSeen {
                name: name.to_string(),
                options: engine.queue_options(id).unwrap_or_default(),
                ready: counts.ready,
                bytes: counts.bytes,
                unread: unread.get(&id).cloned(),
                ..QueueSeen::default()
            };
            living.count_out(engine, check, id, &mut queue, whole);
            self.queues.push(queue);
        }
        if unread.is_empty() {
            // The other copy of the root is there, and pages can be built again.
            for fault in &mut self.log.faults {
                if matches!(fault.at.what, Damage::Body { lane, .. } if lane == state_lane(SHARD)) {
                    fault.outcome = Outcome::Mended;
                }
            }
        }
        self.queues.sort_unstable_by(|one, other| one.name.cmp(&other.name));
        let origins = check.origins();
        let origin = |of| origins.iter().find(|(lane, _)| *lane == of).map(|(_, at)| at.0);
        let mut pages = 0;
        engine.pages(&mut |page| {
            pages += 1;
            living.note(state_lane(SHARD), page, state.get(&page).copied().unwrap_or(0));
        });
        if let Some(root) = origin(state_lane(SHARD)) {
            for (seq, bytes) in state.range(root..) {
                living.note(state_lane(SHARD), *seq, *bytes);
            }
            let covers = origin(LaneId(SHARD)).map_or(0, |seq| seq.saturating_sub(1));
            let covers = MessageId { shard: SHARD, seq: covers };
            self.snapshot = Some(SnapshotSeen { pages, covers });
        }
        self.live_bytes = living.bytes;
    }
}

/// Builds the pages of a queue again that cannot be read, as a broker would.
fn mend(engine: &mut Engine, check: &Check, id: QueueId) -> Result<(), String> {
    let mut before = None;
    loop {
        let mut at = 0;
        let mut load = |page, into: &mut Vec<u8>| {
            at = page;
            check.read(state_lane(SHARD), Seq(page), into)
        };
        let all = engine.each_of::<ReadError>(id, &mut load, &mut |_, _, _| ());
        let Err(why) = all.map_err(|error| error.to_string()) else { return Ok(()) };
        if before.replace(at) == Some(at) {
            return Err(why);
        }
        rebuild(engine, (check, SHARD), (at, &why), &mut Effects::default())
            .map_err(|error| error.to_string())?;
    }
}

/// What is still needed, by segment.
struct Living {
    bytes: Vec<u64>,
    /// By lane and first seq: the last seq, and which segment.
    places: BTreeMap<(u16, u64), (u64, usize)>,
    seqs: Seqs,
}

impl Living {
    fn new(log: &Checked) -> Self {
        let mut places = BTreeMap::new();
        for (at, segment) in log.segments.iter().enumerate() {
            for span in &segment.lanes {
                places.insert((span.lane.0, span.first.0), (span.last.0, at));
            }
        }
        Self { bytes: vec![0; log.segments.len()], places, seqs: Seqs::default() }
    }

    /// Looks at every message of a queue.
    fn count_out(
        &mut self,
        engine: &Engine,
        check: &Check,
        id: QueueId,
        queue: &mut QueueSeen,
        whole: &Seqs,
    ) {
        let lane = state_lane(SHARD);
        let mut load = |page, into: &mut Vec<u8>| check.read(lane, Seq(page), into);
        let all = engine.each_of::<ReadError>(id, &mut load, &mut |seq, size, _| {
            let message = MessageId { shard: SHARD, seq };
            queue.oldest.get_or_insert(message);
            if self.seqs.insert(seq) {
                self.note(LaneId(SHARD), seq, size);
            }
            if !whole.contains(seq) {
                queue.lost_count += 1;
                if queue.lost.len() < LOST_MAX {
                    queue.lost.push(message);
                }
            }
        });
        let unread = all.err().map(|error| error.to_string());
        queue.unread = queue.unread.take().or(unread);
    }

    /// A frame is needed: its segment has so many living bytes more.
    fn note(&mut self, LaneId(lane): LaneId, seq: u64, bytes: u32) {
        let below = self.places.range((lane, 0)..=(lane, seq)).next_back();
        if let Some((_, (_, at))) = below.filter(|(_, (last, _))| seq <= *last)
            && let Some(live) = self.bytes.get_mut(*at)
        {
            *live += u64::from(bytes);
        }
    }
}

/// A frame as a record for people.
fn decoded(seen: &Seen<'_>, scratch: &mut Scratch) -> RecordSeen {
    let Frame { kind, version, lane, seq, term, head, body_len, .. } = seen.frame;
    let mut fields = Vec::new();
    let name = match (kind, codec::name(kind)) {
        (courant_storage::kind::SEAL, _) => {
            let reasons = ["idle", "full", "closed"];
            let reason = head.first().and_then(|reason| reasons.get(usize::from(*reason)));
            fields.push(("reason", reason.copied().unwrap_or("unknown").to_owned()));
            "seal"
        }
        (Page::KIND, _) => "snapshot-page",
        (Page::KIND_WITH_DEADLINES, _) => "snapshot-page-with-deadlines",
        (codec::SNAPSHOT_ROOT, _) => "snapshot-root",
        (_, Some(name)) => {
            match codec::decode((kind, version), (seq.0, body_len), head, scratch) {
                Ok(record) => describe(&record, &mut fields),
                Err(cause) => fields.push(("not-understood", cause.to_string())),
            }
            name
        }
        _ => {
            fields.push(("kind", format!("{kind:#04x}")));
            "unknown"
        }
    };
    RecordSeen {
        file: seen.file.to_owned(),
        offset: seen.offset,
        kind: name,
        lane: lane.0,
        seq: seq.0,
        term,
        fields,
        body_bytes: body_len,
        body_is_intact: seen.body_is_intact,
    }
}

fn describe_exchange(
    spec: &ExchangeSpec,
    field: &mut impl FnMut(&'static str, &dyn std::fmt::Display),
) {
    if spec.is_internal {
        field("internal", &"yes");
    }
    if spec.auto_delete {
        field("auto-delete", &"yes");
    }
    if let Some(alternate) = spec.alternate {
        field("alternate", &alternate.0);
    }
}

fn describe(record: &Record<'_>, fields: &mut Vec<(&'static str, String)>) {
    let mut field = |name, value: &dyn std::fmt::Display| fields.push((name, value.to_string()));
    match *record {
        Record::Opened { term, block } => {
            field("term", &term);
            field("block", &block);
        }
        Record::CutShort { below } => field("below", &below),
        Record::BlockReserved { block } => field("block", &block),
        Record::NamespaceDeclared { id, name } => {
            field("namespace", &id.0);
            field("name", &name);
        }
        Record::ExchangeDeclared { id, namespace, name, spec } => {
            field("exchange", &id.0);
            field("namespace", &namespace.0);
            field("type", &spec.kind.word());
            field("name", &name);
            describe_exchange(&spec, &mut field);
        }
        Record::ExchangeDeleted { id } => field("exchange", &id.0),
        Record::QueueDeclared { id, namespace, name, options } => {
            field("queue", &id.0);
            field("namespace", &namespace.0);
            field("visibility-ms", &options.visibility_ms);
            field("name", &name);
        }
        Record::QueueDeleted { id } => field("queue", &id.0),
        Record::WorkerBegun { id, kind, queue, below } => {
            field("worker", &id.0);
            field("work", &kind.word());
            field("queue", &queue.0);
            field("below", &below);
        }
        Record::WorkerEnded { id } => field("worker", &id.0),
        Record::Bound { exchange, queue, key } | Record::Unbound { exchange, queue, key } => {
            field("exchange", &exchange.0);
            field("queue", &queue.0);
            field("key", &String::from_utf8_lossy(key));
        }
        Record::ExchangeBound { from, to, key } | Record::ExchangeUnbound { from, to, key } => {
            field("exchange", &from.0);
            field("to-exchange", &to.0);
            field("key", &String::from_utf8_lossy(key));
        }
        Record::Published { exchange, lifetime, targets, .. } => {
            field("exchange", &exchange.0);
            field("stamp-ms", &lifetime.admitted_ms);
            if lifetime.deadline_ms != NEVER {
                field("deadline-ms", &lifetime.deadline_ms);
            }
            field("queues", &list(targets.iter().map(|queue| queue.0.to_string())));
        }
        Record::Settled { queue, cause, ranges } => {
            field("queue", &queue.0);
            field("cause", &cause.word());
            field("messages", &list(ranges.iter().map(range)));
        }
        Record::Returned { queue, attempts } => {
            field("queue", &queue.0);
            let each = attempts.iter().map(|(seq, count)| format!("{seq}:{count}"));
            field("attempts", &list(each));
        }
    }
}

fn range((first, last): &(u64, u64)) -> String {
    if first == last { first.to_string() } else { format!("{first}..{last}") }
}

fn list(each: impl Iterator<Item = String>) -> String {
    let mut list = String::new();
    for (number, one) in each.enumerate() {
        let separator = if number == 0 { "" } else { "," };
        // Writing to a string does not fail.
        let _ = write!(list, "{separator}{one}");
    }
    list
}
