//! Chunks whose entries are not in memory: what needs them, how they come back, how they leave.
//!
//! Handing over asks for the page of a chunk one chunk ahead ([`Effects::wanted`]). Settling never
//! needs one: whatever is leased lies before its queue's cursor, and what lies there stays in
//! memory. Replaying has no cursor yet, and asks [`Engine::pages_for`] first.

use crate::effect::Effects;
use crate::engine::Engine;
use crate::expiry::note_chunk;
use crate::floor::Floor;
use crate::ledger::Ledger;
use crate::lifetime::Lifetime;
use crate::limits::CHUNK_ENTRIES;
use crate::name::{Name, QueueId};
use crate::queue::LedgerQueue;
use crate::queue::chunk::{Columns, Entries};
use crate::queue::chunks::{Next, Place, split};
use crate::record::Record;
use crate::snapshot::page::{self, Cold, LoadError, PageError};
use std::sync::Arc;

/// Bytes that the entries of a whole chunk take.
const CHUNK_BYTES: u64 = CHUNK_ENTRIES as u64 * 8;

/// A chunk that was built again without its page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rebuilt {
    /// The queue.
    pub queue: Name,
    /// Living messages that the chunk had.
    pub alive_before: u32,
    /// Messages that are taken to be alive now.
    pub alive: u32,
    /// Whether it is known that these are the same.
    pub is_known: bool,
}

impl LedgerQueue {
    /// Shows number, size and deadline of every living message in order; pages of cold chunks come
    /// from `load`.
    pub(crate) fn each<E>(
        &self,
        load: &mut impl FnMut(u64, &mut Vec<u8>) -> Result<(), E>,
        see: &mut dyn FnMut(u64, u32, u64),
    ) -> Result<(), LoadError<E>> {
        let mut bytes = Vec::new();
        for place in &self.chunks.places {
            let chunk = &place.chunk;
            if chunk.is_cold() {
                bytes.clear();
                load(chunk.page, &mut bytes).map_err(LoadError::Unreadable)?;
                Cold::new(self.id, place.base, chunk)
                    .decode(&bytes, see)
                    .map_err(|cause| LoadError::Page { page: chunk.page, cause })?;
            } else {
                place.show(see);
            }
        }
        Ok(())
    }
}

impl Ledger {
    /// Takes a page in. Says which chunk it was for; `None` if nobody needs it any more.
    fn install(&mut self, page: u64, bytes: &[u8]) -> Result<Option<(QueueId, u64)>, PageError> {
        let Some((id, base)) = page::owner(bytes) else {
            return Err(PageError::Length { count: 0, found: bytes.len() as u64 });
        };
        let Some(queue) = self.queues.get_mut(&id) else { return Ok(None) };
        let Some(place) = queue.chunks.find(base) else { return Ok(None) };
        if !place.chunk.is_cold() || place.chunk.page != page {
            return Ok(None);
        }
        let columns: Columns = Cold::new(id, base, &place.chunk).columns(bytes)?;
        place.chunk.entries = Entries::Whole(Arc::new(columns));
        place.chunk.thin();
        self.large.insert(id);
        Ok(Some((id, base)))
    }
}

impl Engine {
    /// Takes in a page that was wanted. Its queue is handed over from again. A page that nobody
    /// needs any more is passed over.
    pub fn install_page(
        &mut self,
        page: u64,
        bytes: &[u8],
        effects: &mut Effects,
    ) -> Result<(), PageError> {
        let Some((id, base)) = self.ledger.install(page, bytes)? else { return Ok(()) };
        self.park_known(id, base, effects);
        self.note_deadlines(id, base);
        let Some(queue) = self.floor.queues.get_mut(&id) else { return Ok(()) };
        if queue.asked == page {
            queue.asked = 0;
        }
        Floor::mark(&mut self.floor.dirty, queue);
        Floor::note_over(&mut self.floor.over, queue);
        self.load_due(effects);
        Ok(())
    }

    /// Sees to it that the deadlines of a chunk that came into memory are looked at.
    fn note_deadlines(&mut self, id: QueueId, base: u64) {
        let Self { ledger, floor, .. } = self;
        if let Some(queue) = floor.queues.get_mut(&id)
            && let Some(ledger) = ledger.queues.get_mut(&id)
            && let Some(place) = ledger.chunks.find(base)
        {
            note_chunk(queue, place, &mut floor.timers);
        }
    }

    /// What the chunk whose page has that number expects of it; `None` if nobody needs it.
    pub fn cold(&self, page: u64) -> Option<Cold> {
        self.ledger.queues.values().find_map(|queue| {
            let is_it = |place: &&Place| place.chunk.is_cold() && place.chunk.page == page;
            let place = queue.chunks.places.iter().find(is_it)?;
            Some(Cold::new(queue.id, place.base, &place.chunk))
        })
    }

    /// Takes in what the log has instead of a page that cannot be read: number, size and lifetime
    /// of every message that went to the queue and has a number of the chunk, rising. If these are
    /// as many as the chunk had, it is known who is alive; otherwise all of them are taken to be,
    /// so that some may be handed over again. The next snapshot writes a new page.
    pub fn rebuild_page(
        &mut self,
        page: u64,
        found: &[(u64, u32, Lifetime)],
        effects: &mut Effects,
    ) -> Option<Rebuilt> {
        let cold = self.cold(page)?;
        let (id, base, last) = (cold.queue(), cold.first(), cold.last());
        let queue = self.ledger.queues.get_mut(&id)?;
        let chunk = &queue.chunks.find(base)?.chunk;
        let (alive_before, mut bits, len) = (chunk.alive, chunk.bits, chunk.len as usize);
        let ttl_ms = queue.options.message_ttl_ms;
        let mut columns = Columns::default();
        for (seq, size, lifetime) in found.iter().filter(|(seq, ..)| (base..=last).contains(seq)) {
            let delta = u32::try_from(seq - base).unwrap_or(u32::MAX);
            if columns.deltas.len() < len && columns.deltas.last() < Some(&delta) {
                columns.deltas.push(delta);
                columns.sizes.push(*size);
                columns.note_deadline(lifetime.until_ms(ttl_ms));
            }
        }
        let count = columns.deltas.len();
        let is_known = count == len;
        if !is_known {
            bits.fill(0);
            (0..count).for_each(|index| bits[index / 64] |= 1 << (index % 64));
            // They may have been handed over before.
            self.ledger.suspect_below = self.ledger.suspect_below.max(last + 1);
        }
        queue.chunks.renew(base, columns, &bits);
        self.ledger.large.insert(id);
        self.page_missed(page);
        self.park_known(id, base, effects);
        self.note_deadlines(id, base);
        let name = self.ledger.queues.get(&id)?.name.clone();
        let alive = bits.iter().map(|word| word.count_ones()).sum();
        Some(Rebuilt { queue: name, alive_before, alive, is_known })
    }

    /// A page that was wanted could not be had: it will be asked for again by the next step that
    /// needs it.
    pub fn page_missed(&mut self, page: u64) {
        self.floor.loads.missed(page);
        for queue in self.floor.queues.values_mut().filter(|queue| queue.asked == page) {
            queue.asked = 0;
            Floor::mark(&mut self.floor.dirty, queue);
            Floor::note_over(&mut self.floor.over, queue);
        }
    }

    /// Pages that have to be installed before a record is replayed. Live records need none.
    pub fn pages_for(&self, record: &Record<'_>) -> Vec<u64> {
        let mut pages = Vec::new();
        match *record {
            Record::Settled { queue, ranges, .. } => {
                if let Some(queue) = self.ledger.queues.get(&queue) {
                    for range in ranges {
                        queue.pages_cut(*range, &mut pages);
                    }
                }
            }
            Record::Returned { queue, attempts } => {
                if let Some(queue) = self.ledger.queues.get(&queue) {
                    for (seq, _) in attempts {
                        queue.page_with(*seq, &mut pages);
                    }
                }
            }
            _ => {}
        }
        pages
    }

    /// Lets entries leave memory until those of whole chunks take no more than that, farthest from
    /// the next message first. Says how many bytes they take now.
    pub fn evict(&mut self, entries_bytes_max: u64) -> u64 {
        let Self { ledger, floor, .. } = self;
        let mut bytes = 0;
        let mut far = Vec::new();
        ledger.large.retain(|id| {
            let Some(queue) = ledger.queues.get(id) else { return false };
            let Some(there) = floor.queues.get(id) else { return false };
            let (number, _) = split(there.ledger_cursor);
            let near = queue.chunks.slot(number) + 1;
            let mut has_whole = false;
            for (slot, place) in queue.chunks.places.iter().enumerate() {
                if !matches!(place.chunk.entries, Entries::Whole(_)) {
                    continue;
                }
                has_whole = true;
                bytes += CHUNK_BYTES;
                let is_parked = there.parked.range(place.base..=place.last()).next().is_some();
                if slot > near && place.chunk.is_evictable() && !is_parked {
                    far.push((slot - near, *id, place.base));
                }
            }
            has_whole
        });
        far.sort_unstable();
        while bytes > entries_bytes_max
            && let Some((_, id, base)) = far.pop()
        {
            if let Some(queue) = ledger.queues.get_mut(&id)
                && let Some(place) = queue.chunks.find(base)
                && place.chunk.cool()
            {
                bytes -= CHUNK_BYTES;
            }
        }
        bytes
    }
}

impl LedgerQueue {
    /// The page of the cold chunk that may have a message.
    fn page_with(&self, seq: u64, pages: &mut Vec<u64>) {
        if let Next::Cold(absent) = self.chunks.at_or_after(seq)
            && absent.seq_min <= seq
            && pages.last() != Some(&absent.page)
        {
            pages.push(absent.page);
        }
    }

    /// Pages of cold chunks that have some of their numbers in a range, and some not.
    fn pages_cut(&self, (first, last): (u64, u64), pages: &mut Vec<u64>) {
        let from = self.chunks.slot_of(first);
        for place in self.chunks.places.range(from.min(self.chunks.places.len())..) {
            if place.base > last {
                break;
            }
            let is_within = first <= place.base && place.last() <= last;
            if place.chunk.is_cold() && !is_within && pages.last() != Some(&place.chunk.page) {
                pages.push(place.chunk.page);
            }
        }
    }
}
