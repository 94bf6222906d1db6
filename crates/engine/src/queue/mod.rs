//! A queue: what the ledger knows of it, and what the floor does.
//!
//! The order of delivery is the order of sequence numbers over three sources: messages that came
//! back, durable messages not handed over yet, transient messages not handed over yet. The floor
//! keeps one cursor for each of the last two; what lies before a cursor and is alive is leased,
//! being settled, or in `returned`. A transient message that arrives behind younger ones (it waited
//! for a commit) is in `returned` from the beginning, so that the heads of all three rise. Chunks
//! before the durable cursor and the one it is in are always in memory once they were reached;
//! those ahead of it may be cold.

pub(crate) mod chunk;
pub mod chunks;
pub mod leases;
pub mod left;
pub mod options;

use crate::delivery::Cause;
use crate::effect::Effects;
use crate::expiry::Dues;
use crate::lifetime::NEVER;
use crate::limits::STEP_MESSAGES_MAX;
use crate::name::{Name, NamespaceId, QueueId};
use crate::record::SeqRange;
use crate::subscription::SubscriptionId;
pub use left::Left;
pub use options::{Overflow, QueueOptions};

use chunks::{Chunks, Entry, Next, Position, split};
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// Numbers that say how a queue is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct QueueCounts {
    /// Messages that wait for a consumer.
    pub ready: u64,
    /// Messages that are handed over and not settled.
    pub leased: u64,
    /// Bytes of properties and bodies of all that is ready, leased, or settled without that being
    /// committed yet.
    pub bytes: u64,
    /// Subscriptions.
    pub subscriptions: u32,
    /// What left it otherwise than by being handled.
    pub left: Left,
}

/// What follows from records alone.
#[derive(Debug)]
pub struct LedgerQueue {
    pub(crate) id: QueueId,
    pub(crate) namespace: NamespaceId,
    pub(crate) name: Name,
    pub(crate) options: QueueOptions,
    pub(crate) chunks: Chunks,
    /// Attempts of the few messages that came back at least once.
    pub(crate) attempts: BTreeMap<u64, u16>,
}

impl LedgerQueue {
    /// Removes every message in a range of numbers; says how many. Of chunks that are not in
    /// memory, those that lie in the range as a whole.
    pub(crate) fn settle(&mut self, (first, last): (u64, u64)) -> u64 {
        let mut gone = 0;
        if first > last {
            return 0;
        }
        let mut next = self.chunks.at_or_after(first);
        loop {
            match next {
                Next::Entry(entry) if entry.seq <= last => {
                    if let Some((killed, has_later)) = self.chunks.kill_up_to(entry.position, last)
                    {
                        gone += killed;
                        if has_later {
                            break;
                        }
                    } else {
                        self.chunks.kill(entry.position);
                        gone += 1;
                    }
                    next = self.chunks.next(Position(entry.position.0 + 1));
                }
                Next::Cold(absent) => {
                    let dropped = self.chunks.drop_cold(absent.position, (first, last));
                    if dropped == 0 {
                        break;
                    }
                    gone += dropped;
                    next = self.chunks.next(absent.position);
                }
                _ => break,
            }
        }
        if gone > 0 && !self.attempts.is_empty() {
            self.attempts.extract_if(first..=last, |_, _| true).for_each(drop);
        }
        gone
    }
}

/// A message that left its place at the head and came back.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Returned {
    pub(crate) position: Position,
    pub(crate) size: u32,
    pub(crate) attempts: u16,
    pub(crate) durable: bool,
}

/// A message taken from the head.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Taken {
    pub(crate) seq: u64,
    pub(crate) position: Position,
    pub(crate) size: u32,
    pub(crate) attempts: u16,
    pub(crate) durable: bool,
}

/// What belongs to this process.
#[expect(clippy::struct_excessive_bools, reason = "each is about another list")]
#[derive(Debug)]
pub(crate) struct FloorQueue {
    pub(crate) id: QueueId,
    pub(crate) namespace: NamespaceId,
    pub(crate) name: Name,
    pub(crate) options: QueueOptions,
    /// The session that alone may use it and with which it goes.
    pub(crate) owner: Option<crate::slab::Key>,
    /// The exchange whose messages its session gets through it.
    pub(crate) source: Option<crate::name::ExchangeId>,
    pub(crate) transient: Chunks,
    /// The highest number in `transient` so far.
    newest_transient: u64,
    /// Places in `transient`, not before its cursor, of messages that came behind younger ones.
    late: BTreeSet<Position>,
    pub(crate) ledger_cursor: Position,
    transient_cursor: Position,
    pub(crate) returned: BTreeMap<u64, Returned>,
    /// Durable messages that were settled and whose record is not in the log yet.
    pub(crate) settling: Vec<(Position, u64, Cause)>,
    /// Durable messages that were settled and whose record is not applied yet.
    pub(crate) settling_count: u64,
    /// Their bytes.
    pub(crate) settling_bytes: u64,
    /// Those of them that were never handed over: the cursor passes over them.
    pub(crate) parked: BTreeSet<u64>,
    /// When its chunks have messages whose deadline may be over.
    pub(crate) dues: Dues,
    /// The page that was asked for last; 0 if it arrived.
    pub(crate) asked: u64,
    /// Number of the chunk that the last durable message came from.
    chunk: u64,
    pub(crate) leased: u64,
    /// Durable messages that were admitted and are not applied yet.
    pub(crate) in_flight: u64,
    /// Their bytes, and those of transient ones that were not placed yet.
    pub(crate) in_flight_bytes: u64,
    /// Whether its policies limit what comes in.
    pub(crate) is_limited: bool,
    /// Whether it is among those that may hold too many.
    pub(crate) is_over: bool,
    /// What left it otherwise than by being handled; made when the first does.
    left: Option<Box<Left>>,
    pub(crate) subscriptions: Vec<SubscriptionId>,
    /// Subscriptions with credit, in the order of their turns.
    pub(crate) turns: VecDeque<SubscriptionId>,
    pub(crate) is_dirty: bool,
    pub(crate) has_settles: bool,
}

impl FloorQueue {
    pub(crate) fn new(
        id: QueueId,
        namespace: NamespaceId,
        name: Name,
        options: QueueOptions,
    ) -> Self {
        Self {
            id,
            namespace,
            name,
            options,
            owner: None,
            source: None,
            transient: Chunks::default(),
            newest_transient: 0,
            late: BTreeSet::new(),
            ledger_cursor: Position::default(),
            transient_cursor: Position::default(),
            returned: BTreeMap::new(),
            settling: Vec::new(),
            settling_count: 0,
            settling_bytes: 0,
            parked: BTreeSet::new(),
            dues: Dues::new(),
            asked: 0,
            chunk: u64::MAX,
            leased: 0,
            in_flight: 0,
            in_flight_bytes: 0,
            is_limited: options.has_limits(),
            is_over: false,
            left: None,
            subscriptions: Vec::new(),
            turns: VecDeque::new(),
            is_dirty: false,
            has_settles: false,
        }
    }

    /// Adds a transient message, which may be older than some that are there.
    #[inline]
    pub(crate) fn push_transient(&mut self, seq: u64, size: u32, deadline_ms: u64) {
        let position = self.transient.push(seq, size, deadline_ms);
        if seq < self.newest_transient {
            self.late.insert(position);
            self.returned.insert(seq, Returned { position, size, attempts: 0, durable: false });
        }
        self.newest_transient = self.newest_transient.max(seq);
    }

    /// The oldest transient message that was not handed over and is not in `returned`.
    #[inline]
    fn next_transient(&mut self) -> Option<Entry> {
        // Chunks of transient messages are never cold.
        while let Next::Entry(entry) = self.transient.next(self.transient_cursor) {
            while self.late.first().is_some_and(|late| *late < entry.position) {
                self.late.pop_first();
            }
            if self.late.first() != Some(&entry.position) {
                return Some(entry);
            }
            self.transient_cursor = Position(entry.position.0 + 1);
        }
        None
    }

    /// Whether a transient message was never handed over and is not in `returned`.
    pub(crate) fn is_ahead(&self, position: Position) -> bool {
        position >= self.transient_cursor && !self.late.contains(&position)
    }

    /// Takes the message with the lowest number that nobody holds and whose deadline is to come. If
    /// it is not in memory there is none until its page is, which is asked for. Those whose time is
    /// over leave; after a step's worth of them there is none until the floor took the others out.
    #[inline]
    pub(crate) fn take(
        &mut self,
        ledger: Option<&LedgerQueue>,
        now_ms: u64,
        effects: &mut Effects,
    ) -> Option<Taken> {
        if self.dues.is_unused() {
            return self.take_next(ledger, &mut effects.wanted);
        }
        self.take_in_time(ledger, now_ms, effects)
    }

    /// Takes messages that have neither deadline nor past, as long as `hand` wants more: of one
    /// half while the other has none, and of the chunk where its cursor is. What is not so simple,
    /// and what comes behind, is [taken](Self::take) one by one.
    #[inline]
    pub(crate) fn take_run(
        &mut self,
        ledger: Option<&LedgerQueue>,
        mut hand: impl FnMut(Taken) -> bool,
    ) {
        if !self.dues.is_unused() || !self.returned.is_empty() {
            return;
        }
        let (chunks, cursor, durable) = match ledger.filter(|queue| queue.chunks.alive() > 0) {
            None if self.late.is_empty() => (&self.transient, &mut self.transient_cursor, false),
            Some(queue)
                if self.transient.alive() == 0
                    && self.parked.is_empty()
                    && queue.attempts.is_empty()
                    && split(self.ledger_cursor).0 == self.chunk =>
            {
                (&queue.chunks, &mut self.ledger_cursor, true)
            }
            _ => return,
        };
        chunks.run(cursor, |Entry { seq, position, size }| {
            hand(Taken { seq, position, size, attempts: 0, durable })
        });
    }

    #[inline(never)]
    fn take_in_time(
        &mut self,
        ledger: Option<&LedgerQueue>,
        now_ms: u64,
        effects: &mut Effects,
    ) -> Option<Taken> {
        for _ in 0..STEP_MESSAGES_MAX {
            let taken = self.take_next(ledger, &mut effects.wanted)?;
            let deadline_ms = if taken.durable {
                ledger.map_or(NEVER, |ledger| ledger.chunks.deadline(taken.position))
            } else {
                self.transient.deadline(taken.position)
            };
            if deadline_ms > now_ms {
                return Some(taken);
            }
            effects.expired += 1;
            self.count_left(Cause::Expired);
            if taken.durable {
                self.settle(taken.position, (taken.seq, taken.size), Cause::Expired);
            } else {
                self.transient.kill(taken.position);
                effects.freed.push(taken.seq);
            }
        }
        None
    }

    #[expect(clippy::inline_always, reason = "on the way of every message")]
    #[inline(always)]
    fn take_next(&mut self, ledger: Option<&LedgerQueue>, wanted: &mut Vec<u64>) -> Option<Taken> {
        let durable = self.next_durable(ledger);
        let transient = self.next_transient();
        let durable_seq = match durable {
            Next::Entry(entry) => entry.seq,
            Next::Cold(absent) => absent.seq_min,
            Next::None => u64::MAX,
        };
        let transient_seq = transient.map_or(u64::MAX, |entry| entry.seq);
        if let Some((&seq, _)) = self.returned.first_key_value()
            && seq < durable_seq.min(transient_seq)
        {
            let (seq, back) = self.returned.pop_first()?;
            return Some(Taken {
                seq,
                position: back.position,
                size: back.size,
                attempts: back.attempts,
                durable: back.durable,
            });
        }
        let (entry, is_durable) = match (durable, transient) {
            (Next::Entry(entry), _) if durable_seq < transient_seq => {
                self.ledger_cursor = Position(entry.position.0 + 1);
                (entry, true)
            }
            (Next::Cold(absent), _) if durable_seq <= transient_seq => {
                self.ask(absent.page, wanted);
                return None;
            }
            (_, Some(entry)) => {
                self.transient_cursor = Position(entry.position.0 + 1);
                (entry, false)
            }
            _ => return None,
        };
        let mut attempts = 0;
        if is_durable && let Some(queue) = ledger {
            if !queue.attempts.is_empty() {
                attempts = queue.attempts.get(&entry.seq).copied().unwrap_or(0);
            }
            self.look_ahead(queue, entry.position, wanted);
        }
        let Entry { seq, position, size } = entry;
        Some(Taken { seq, position, size, attempts, durable: is_durable })
    }

    /// Whether the next durable message is not in memory.
    pub(crate) fn is_waiting(&self, ledger: Option<&LedgerQueue>) -> bool {
        let next = ledger.map(|queue| queue.chunks.next(self.ledger_cursor));
        matches!(next, Some(Next::Cold(_)))
    }

    /// What comes next of the ledger, without what is parked.
    #[inline]
    fn next_durable(&mut self, ledger: Option<&LedgerQueue>) -> Next {
        let Some(queue) = ledger else { return Next::None };
        loop {
            let next = queue.chunks.next(self.ledger_cursor);
            match next {
                Next::Entry(entry) if !self.parked.is_empty() && self.parked.remove(&entry.seq) => {
                    self.ledger_cursor = Position(entry.position.0 + 1);
                }
                _ => return next,
            }
        }
    }

    /// On entering a chunk, asks for the one behind it.
    fn look_ahead(&mut self, queue: &LedgerQueue, position: Position, wanted: &mut Vec<u64>) {
        let (chunk, _) = split(position);
        if chunk != self.chunk {
            self.chunk = chunk;
            if let Some(page) = queue.chunks.cold_behind(position) {
                self.ask(page, wanted);
            }
        }
    }

    fn ask(&mut self, page: u64, wanted: &mut Vec<u64>) {
        if self.asked != page {
            self.asked = page;
            wanted.push(page);
        }
    }

    /// Puts a message that was taken back where its number belongs.
    pub(crate) fn put_back(&mut self, taken: &Taken) {
        let Taken { position, size, attempts, durable, .. } = *taken;
        self.returned.insert(taken.seq, Returned { position, size, attempts, durable });
    }

    /// Notes that a durable message left; its record follows.
    pub(crate) fn settle(&mut self, position: Position, (seq, size): (u64, u32), cause: Cause) {
        self.settling.push((position, seq, cause));
        self.settling_count += 1;
        self.settling_bytes += u64::from(size);
    }

    /// Counts what leaves otherwise than by being handled.
    pub(crate) fn count_left(&mut self, cause: Cause) {
        self.left.get_or_insert_default().add(cause, 1);
    }

    /// A record took that much out of the ledger.
    pub(crate) fn settled(&mut self, count: u64, bytes: u64) {
        self.settling_count = self.settling_count.saturating_sub(count);
        self.settling_bytes = self.settling_bytes.saturating_sub(bytes);
    }

    /// What was parked is gone.
    pub(crate) fn forget_parked(&mut self, ranges: &[SeqRange]) {
        for &(first, last) in ranges.iter().filter(|(first, last)| first <= last) {
            self.parked.extract_if(first..=last, |_| true).for_each(drop);
        }
    }

    pub(crate) fn counts(&self, ledger: Option<&LedgerQueue>) -> QueueCounts {
        let (alive, bytes) = ledger.map_or((0, 0), |q| (q.chunks.alive(), q.chunks.bytes()));
        let present = alive.saturating_sub(self.settling_count) + self.transient.alive();
        QueueCounts {
            ready: present.saturating_sub(self.leased),
            leased: self.leased,
            bytes: bytes + self.transient.bytes(),
            subscriptions: u32::try_from(self.subscriptions.len()).unwrap_or(u32::MAX),
            left: self.left.as_deref().copied().unwrap_or_default(),
        }
    }
}
