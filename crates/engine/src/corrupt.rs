//! Messages whose body cannot be read any more: they leave their queues, and nobody gets them.
//!
//! Where a message is decides how: a delivery of it is closed (settling it later is refused), one
//! that came back is taken out, one that was never handed over is settled where it stands and the
//! cursor passes over it. In a chunk that is not in memory it is found when the page comes.

use crate::delivery::{Cause, Outcome};
use crate::effect::Effects;
use crate::engine::Engine;
use crate::name::{Name, QueueId};
use crate::queue::chunks::{Entry, Next};
use crate::queue::{FloorQueue, LedgerQueue};
use crate::settle::note_settles;

impl Engine {
    /// Takes a message whose body is damaged out of every durable queue, with the cause
    /// [`Cause::Corrupt`]; the records follow from [`Self::write_settles`]. Asks for the pages it
    /// needs. The same message again changes nothing.
    pub fn park_corrupt(&mut self, seq: u64, effects: &mut Effects) {
        self.floor.corrupt.insert(seq);
        let open: Vec<_> = self.floor.leases.of_message(seq).collect();
        for lease in open {
            effects.parked += u64::from(self.close(lease, Outcome::Gone(Cause::Corrupt), effects));
        }
        for queue in self.floor.queues.values_mut() {
            if queue.returned.get(&seq).is_some_and(|back| back.durable)
                && let Some(back) = queue.returned.remove(&seq)
            {
                queue.settle(back.position, (seq, back.size), Cause::Corrupt);
                queue.count_left(Cause::Corrupt);
                note_settles(queue, &mut self.floor.with_settles);
                effects.parked += 1;
            }
            let Some(ledger) = self.ledger.queues.get(&queue.id) else { continue };
            match ledger.chunks.at_or_after(seq) {
                Next::Entry(entry) if entry.seq == seq => {
                    effects.parked += u64::from(park(queue, &entry));
                    note_settles(queue, &mut self.floor.with_settles);
                }
                Next::Cold(absent) if absent.seq_min <= seq => effects.wanted.push(absent.page),
                _ => {}
            }
        }
    }

    /// Names of the durable queues that have a message, as far as their chunks are in memory.
    pub fn queues_of(&self, seq: u64) -> Vec<Name> {
        let has = |queue: &&LedgerQueue| match queue.chunks.at_or_after(seq) {
            Next::Entry(entry) => entry.seq == seq,
            _ => false,
        };
        self.ledger.queues.values().filter(has).map(|queue| queue.name.clone()).collect()
    }

    /// Parks what is known to be corrupt and stands in a chunk that was just read.
    pub(crate) fn park_known(&mut self, id: QueueId, base: u64, effects: &mut Effects) {
        if self.floor.corrupt.is_empty() {
            return;
        }
        let Some(ledger) = self.ledger.queues.get_mut(&id) else { return };
        let Some(queue) = self.floor.queues.get_mut(&id) else { return };
        let Some(last) = ledger.chunks.find(base).map(|place| place.last()) else { return };
        for seq in self.floor.corrupt.range(base..=last) {
            if let Next::Entry(entry) = ledger.chunks.at_or_after(*seq)
                && entry.seq == *seq
            {
                effects.parked += u64::from(park(queue, &entry));
                note_settles(queue, &mut self.floor.with_settles);
            }
        }
    }
}

/// Settles a living message that was never handed over in this opening; says whether it did.
fn park(queue: &mut FloorQueue, entry: &Entry) -> bool {
    let Entry { position, seq, size } = *entry;
    let is_ahead = position >= queue.ledger_cursor && queue.parked.insert(seq);
    if is_ahead {
        queue.settle(position, (seq, size), Cause::Corrupt);
        queue.count_left(Cause::Corrupt);
    }
    is_ahead
}
