//! Deadlines: a message that nobody holds leaves its queue when its time is over, wherever it
//! stands.
//!
//! ```text
//!   timers of the shard    (when, queue)                 one for each queue that has any dues
//!   dues of a queue        (when, half, chunk)           one for each chunk that has any
//!   a chunk                a deadline for each entry     looked through when it is due
//! ```
//!
//! A step takes the first queue that is due, of it the first chunk, and looks through that for
//! messages whose time is over and that nobody holds: they are settled with [`Cause::Expired`]
//! where they stand, as those with a damaged body are (`corrupt.rs`). Then the chunk is due at its
//! next deadline. A chunk that is not in memory is asked for, a few at a time, and is due again
//! once it is there ([`Loads`]).
//!
//! Who holds a message keeps it; if it comes back after its deadline, its chunk is due at once.
//! Nothing is handed over after its deadline, however far behind the steps are: taking looks too.
//!
//! Invariants: a chunk with a living deadline is due no later than that, or a message with it is
//! held or being settled, or the chunk is in the loads. A chunk stands in the dues of its queue
//! under its `due`, unless that is [`NEVER`]. Dues of chunks that are gone are dropped when they
//! come up, or when they are half of all.

use crate::delivery::Cause;
use crate::disuse::Disuse;
use crate::effect::Effects;
use crate::engine::Engine;
use crate::floor::Floor;
use crate::ledger::Ledger;
use crate::lifetime::NEVER;
use crate::limits::CHUNK_ENTRIES;
use crate::name::QueueId;
use crate::queue::chunks::{Chunks, Entry, Place, Position, split};
use crate::queue::{FloorQueue, LedgerQueue};
use crate::settle::note_settles;
use std::collections::{BTreeSet, VecDeque};

/// Chunks that are loaded at a time because they are due.
const LOADS_MAX: usize = 8;
/// Dues that are not worth looking through for chunks that are gone.
const STALE_MAX: usize = 64;
/// Looking through so many entries costs a step as much as expiring one.
const LOOKS: usize = 64;

/// Where the messages of a chunk are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Half {
    Durable,
    Transient,
}

/// When each queue of the shard has to be looked at.
pub(crate) type Timers = BTreeSet<(u64, QueueId)>;

/// Chunks that are due and not in memory, by queue and first message.
#[derive(Debug, Default)]
pub(crate) struct Loads {
    /// Those whose page was asked for.
    asked: Vec<((QueueId, u64), u64)>,
    waiting: VecDeque<(QueueId, u64)>,
}

impl Loads {
    /// A page could not be had: it is asked for again.
    pub(crate) fn missed(&mut self, page: u64) {
        for (chunk, _) in self.asked.extract_if(.., |(_, asked)| *asked == page) {
            self.waiting.push_back(chunk);
        }
    }
}

/// When each chunk of a queue has to be looked at.
#[derive(Debug)]
pub(crate) struct Dues {
    /// Its own time is up then.
    pub(crate) disuse: Disuse,
    chunks: BTreeSet<(u64, Half, u64)>,
    /// Under which the queue stands in the timers of the shard; [`NEVER`] if it does not.
    timer: u64,
    is_used: bool,
}

impl Dues {
    pub(crate) fn new() -> Self {
        Self { disuse: Disuse::new(), chunks: BTreeSet::new(), timer: NEVER, is_used: false }
    }

    /// Whether the queue never had a deadline.
    #[inline]
    pub(crate) fn is_unused(&self) -> bool {
        !self.is_used
    }

    /// Sees to it that a chunk is looked at no later than that.
    fn look(&mut self, half: Half, place: &mut Place, at_ms: u64) {
        if at_ms < place.chunk.due {
            self.chunks.remove(&(place.chunk.due, half, place.number));
            self.chunks.insert((at_ms, half, place.number));
            place.chunk.due = at_ms;
            self.is_used = true;
        }
    }

    /// Brings the timer of the queue in line.
    pub(crate) fn set_timer(&mut self, id: QueueId, timers: &mut Timers) {
        let first = self.chunks.first().map_or(NEVER, |(at_ms, ..)| *at_ms);
        let first = first.min(self.disuse.look_ms);
        if first != self.timer {
            self.stop(id, timers);
            self.timer = first;
            if first != NEVER {
                timers.insert((first, id));
            }
        }
    }

    /// Takes the queue out of the timers.
    pub(crate) fn stop(&mut self, id: QueueId, timers: &mut Timers) {
        if self.timer != NEVER {
            timers.remove(&(self.timer, id));
            self.timer = NEVER;
        }
    }
}

/// Notes the deadline of a message that was just added to the durable half.
#[cold]
pub(crate) fn note_durable(
    ledger: &mut Ledger,
    queue: &mut FloorQueue,
    at_ms: u64,
    timers: &mut Timers,
) {
    let Some(there) = ledger.queues.get_mut(&queue.id) else { return };
    if let Some(place) = there.chunks.places.back_mut() {
        queue.dues.look(Half::Durable, place, at_ms);
        tidy(queue, Some(&there.chunks));
        queue.dues.set_timer(queue.id, timers);
    }
}

/// The same for the transient half.
#[cold]
pub(crate) fn note_transient(queue: &mut FloorQueue, at_ms: u64, timers: &mut Timers) {
    if let Some(place) = queue.transient.places.back_mut() {
        queue.dues.look(Half::Transient, place, at_ms);
        tidy(queue, None);
        queue.dues.set_timer(queue.id, timers);
    }
}

/// A message came back: its deadline may be over.
pub(crate) fn note_returned(
    ledger: &mut Ledger,
    queue: &mut FloorQueue,
    (position, durable): (Position, bool),
    timers: &mut Timers,
) {
    let (number, index) = split(position);
    let half = if durable { Half::Durable } else { Half::Transient };
    let there = ledger.queues.get_mut(&queue.id).map(|there| &mut there.chunks);
    let chunks = half.of(there, &mut queue.transient);
    let Some(place) = chunks.and_then(|chunks| chunks.place_mut(number)) else { return };
    let at_ms = place.chunk.deadline(index);
    queue.dues.look(half, place, at_ms);
    queue.dues.set_timer(queue.id, timers);
}

/// Notes the deadlines of a chunk that was taken from a snapshot or a page.
pub(crate) fn note_chunk(queue: &mut FloorQueue, place: &mut Place, timers: &mut Timers) {
    let at_ms = place.chunk.earliest;
    queue.dues.look(Half::Durable, place, at_ms);
    queue.dues.set_timer(queue.id, timers);
}

/// Drops dues of chunks that are gone, if those may be many.
fn tidy(queue: &mut FloorQueue, durable: Option<&Chunks>) {
    let transient = &queue.transient;
    let there = durable.map_or(0, |chunks| chunks.places.len()) + transient.places.len();
    if queue.dues.chunks.len() > 2 * there + STALE_MAX {
        queue.dues.chunks.retain(|(_, half, number)| match half {
            Half::Durable => durable.is_none_or(|chunks| chunks.place(*number).is_some()),
            Half::Transient => transient.place(*number).is_some(),
        });
    }
}

impl Engine {
    /// Lets messages expire, for what is left of a step. Says whether there may be more that is
    /// due.
    pub(crate) fn expire_messages(
        &mut self,
        now_ms: u64,
        left: &mut usize,
        effects: &mut Effects,
    ) -> bool {
        while let Some(&(due, id)) = self.floor.timers.first()
            && due <= now_ms
        {
            if *left == 0 {
                return true;
            }
            let Self { ledger, floor, .. } = self;
            let Some(queue) = floor.queues.get_mut(&id) else {
                floor.timers.pop_first();
                continue;
            };
            if queue.is_disused(now_ms) {
                queue.dues.set_timer(id, &mut floor.timers);
                *left -= 1;
                self.doom(id);
                continue;
            }
            let ledger = ledger.queues.get_mut(&id);
            look_through(ledger, queue, (now_ms, left), &mut floor.loads, effects);
            queue.dues.set_timer(id, &mut floor.timers);
            if !queue.settling.is_empty() {
                note_settles(queue, &mut floor.with_settles);
            }
            Floor::mark(&mut floor.dirty, queue);
        }
        self.load_due(effects);
        false
    }

    /// Asks for the next chunks that are due and not in memory.
    pub(crate) fn load_due(&mut self, effects: &mut Effects) {
        let Self { ledger, floor, .. } = self;
        let loads = &mut floor.loads;
        if loads.asked.is_empty() && loads.waiting.is_empty() {
            return;
        }
        let mut page_of = |(id, base): (QueueId, u64)| {
            let place = ledger.queues.get_mut(&id)?.chunks.find(base)?;
            place.chunk.is_cold().then_some(place.chunk.page)
        };
        loads.asked.retain(|(chunk, page)| page_of(*chunk) == Some(*page));
        while loads.asked.len() < LOADS_MAX
            && let Some(chunk) = loads.waiting.pop_front()
        {
            if let Some(page) = page_of(chunk) {
                loads.asked.push((chunk, page));
                effects.wanted.push(page);
            }
        }
    }
}

/// Looks through the first chunk of a queue that is due.
fn look_through(
    ledger: Option<&mut LedgerQueue>,
    queue: &mut FloorQueue,
    (now_ms, left): (u64, &mut usize),
    loads: &mut Loads,
    effects: &mut Effects,
) {
    *left -= 1;
    if queue.dues.chunks.first().is_none_or(|(due, ..)| *due > now_ms) {
        return;
    }
    let Some((_, half, number)) = queue.dues.chunks.pop_first() else { return };
    let mut durable = ledger.map(|ledger| &mut ledger.chunks);
    let chunks = half.of(durable.as_deref_mut(), &mut queue.transient);
    let Some(place) = chunks.and_then(|chunks| chunks.place_mut(number)) else { return };
    place.chunk.due = NEVER;
    if place.chunk.is_cold() {
        loads.waiting.push_back((queue.id, place.base));
        return;
    }
    let mut free = Vec::new();
    let (looked, mut next_ms) = place.each_due(now_ms, &mut |due| free.push(due));
    *left = left.saturating_sub(looked / LOOKS);
    free.retain(|due| queue.is_free(half, *due));
    if free.len() > *left {
        // The others with the next step.
        free.truncate(*left);
        next_ms = now_ms;
    }
    let chunks = half.of(durable, &mut queue.transient);
    if let Some(place) = chunks.and_then(|chunks| chunks.place_mut(number)) {
        queue.dues.look(half, place, next_ms);
    }
    *left -= free.len();
    effects.expired += free.len() as u64;
    for due in free {
        queue.expire(half, due, effects);
    }
}

impl Half {
    fn of<'a>(
        self,
        durable: Option<&'a mut Chunks>,
        transient: &'a mut Chunks,
    ) -> Option<&'a mut Chunks> {
        match self {
            Self::Durable => durable,
            Self::Transient => Some(transient),
        }
    }
}

impl Place {
    /// Shows place and number of living messages whose deadline is over. Says how many living ones
    /// there are, and the first deadline that is to come.
    fn each_due(&self, now_ms: u64, see: &mut dyn FnMut(Entry)) -> (usize, u64) {
        let (mut looked, mut next_ms) = (0, NEVER);
        let mut next = self.chunk.next_alive(0);
        while let Some(index) = next {
            looked += 1;
            let at_ms = self.chunk.deadline(index);
            if at_ms > now_ms {
                next_ms = next_ms.min(at_ms);
            } else if let Some((delta, size)) = self.chunk.entry(index) {
                let position = Position(self.number * CHUNK_ENTRIES as u64 + index as u64);
                see(Entry { position, seq: self.base + u64::from(delta), size });
            }
            next = self.chunk.next_alive(index + 1);
        }
        (looked, next_ms)
    }
}

impl FloorQueue {
    /// Whether nobody holds a living message, and nobody settles it.
    fn is_free(&self, half: Half, Entry { position, seq, .. }: Entry) -> bool {
        let is_back =
            || self.returned.get(&seq).is_some_and(|back| back.durable == (half == Half::Durable));
        match half {
            Half::Durable if position >= self.ledger_cursor => !self.parked.contains(&seq),
            Half::Transient if self.is_ahead(position) => true,
            _ => is_back(),
        }
    }

    /// Takes out a message that is free.
    fn expire(&mut self, half: Half, entry: Entry, effects: &mut Effects) {
        let Entry { position, seq, size } = entry;
        self.count_left(Cause::Expired);
        self.returned.remove(&seq);
        match half {
            Half::Durable => {
                if position >= self.ledger_cursor {
                    self.parked.insert(seq);
                }
                self.settle(position, (seq, size), Cause::Expired);
            }
            Half::Transient => {
                self.transient.kill(position);
                effects.freed.push(seq);
            }
        }
    }
}
