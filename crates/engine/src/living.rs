//! Which messages live: what reclaiming space has to keep. Shown in steps, so that the shard's lock
//! is held briefly.

use crate::engine::Engine;
use crate::limits::CHUNK_ENTRIES;
use crate::name::QueueId;
use crate::snapshot::page::{Cold, LoadError};

/// How far a round through all living messages has come.
#[derive(Debug, Default)]
pub struct LiveCursor {
    /// Queues that are still to be shown; `None` before the first step.
    queues: Option<Vec<QueueId>>,
    /// In the last of them, chunks that begin below are shown already.
    base: u64,
}

/// What a step of the round came to.
#[derive(Debug)]
pub enum Living {
    /// There is more to show.
    More,
    /// A chunk is not in memory: its page says which messages live, [`Cold::decode`] shows them.
    /// Then there is more.
    Cold(Box<Cold>),
    /// All was shown.
    Done,
}

impl Engine {
    /// Shows number and size of living durable messages, about a chunk's worth, and moves the
    /// cursor on. Every message that lives from the first step to the last is shown; one that is
    /// in several queues is shown for each.
    pub fn living(&self, cursor: &mut LiveCursor, see: &mut dyn FnMut(u64, u32)) -> Living {
        let all = &self.ledger.queues;
        let queues = cursor.queues.get_or_insert_with(|| all.keys().copied().collect());
        let mut left = CHUNK_ENTRIES;
        while let Some(id) = queues.last() {
            let places = all.get(id).map(|queue| &queue.chunks.places);
            let from = places.map(|places| places.partition_point(|p| p.base < cursor.base));
            let next = places.zip(from).and_then(|(places, from)| places.get(from));
            let Some(place) = next else {
                queues.pop();
                cursor.base = 0;
                left = left.saturating_sub(1);
                if left == 0 {
                    return Living::More;
                }
                continue;
            };
            if place.chunk.is_cold() {
                cursor.base = place.base + 1;
                return Living::Cold(Box::new(Cold::new(*id, place.base, &place.chunk)));
            }
            let alive = place.chunk.alive as usize;
            if alive > left {
                return Living::More;
            }
            cursor.base = place.base + 1;
            left -= alive;
            place.show(&mut |seq, size, _| see(seq, size));
            if left == 0 {
                return Living::More;
            }
        }
        Living::Done
    }

    /// Shows number, size and deadline of every living durable message of one queue in order; pages
    /// of cold chunks come from `load`.
    pub fn each_of<E>(
        &self,
        queue: QueueId,
        load: &mut impl FnMut(u64, &mut Vec<u8>) -> Result<(), E>,
        see: &mut dyn FnMut(u64, u32, u64),
    ) -> Result<(), LoadError<E>> {
        self.ledger.queues.get(&queue).map_or(Ok(()), |queue| queue.each(load, see))
    }
}
