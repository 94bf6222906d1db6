//! Claiming: one message of a queue without a subscription.

use crate::body::find;
use crate::outlet::Message;
use crate::reader;
use crate::session::Session;
use crate::shard::{Shard, flush};
use crate::stats::Stats;
use courant_engine::{Delivery, MessageId, Operation, Refusal, Settling};
use courant_storage::{Batch, Offset, ReadError, Seq};
use std::sync::Arc;
use std::time::Duration;

/// How long a claim waits for a part of its queue that is on disk.
const PAGE_PATIENCE: Duration = Duration::from_secs(10);

/// A message that was claimed without a subscription.
#[derive(Debug)]
pub struct Claimed {
    /// Names the message.
    pub id: MessageId,
    delivery: Delivery,
    batch: Arc<Batch>,
    at: Offset,
}

impl Claimed {
    /// The message as it is handed to a client.
    pub fn message(&self) -> Option<Message<'_>> {
        Message::new(self.id.shard, &self.delivery, self.batch.body(self.at))
    }
}

/// A delivery, and its body if that is in memory.
type Found = (Delivery, Option<(Arc<Batch>, Offset)>);

/// A claim whose body is being read, and is so long needed on disk. Ended by being dropped, also
/// with the caller's future; never with the shard's lock held.
struct Reading<'a> {
    shard: &'a Shard,
    seq: u64,
}

impl Drop for Reading<'_> {
    fn drop(&mut self) {
        self.shard.lock().end_claim(self.seq);
    }
}

impl Session {
    /// Claims one message of a queue without a subscription. One that turns out to be damaged is
    /// passed over.
    pub async fn claim(
        &mut self,
        queue: &str,
        settling: Settling,
        visibility_ms: Option<u64>,
    ) -> Result<Claimed, Refusal> {
        let shard = Arc::clone(&self.shard);
        loop {
            let loaded = shard.loaded.notified();
            let begun = self.begin_claim(queue, (settling, visibility_ms))?;
            let Some((delivery, found)) = begun else {
                let waited = tokio::time::timeout(PAGE_PATIENCE, loaded).await;
                waited.map_err(|_| Refusal::BodyUnreadable)?;
                continue;
            };
            Stats::add(&shard.stats.delivered, 1);
            let id = MessageId { shard: shard.number, seq: delivery.seq };
            if let Some((batch, at)) = found {
                return Ok(Claimed { id, delivery, batch, at });
            }
            let reading = Reading { shard: &shard, seq: delivery.seq };
            let read = {
                let shard = Arc::clone(&shard);
                move || reader::read(&*shard.store, shard.number, &[delivery])
            };
            let (batch, failed) = crate::worker::blocking(read).await;
            drop(reading);
            if let Some(at) = find(&batch, shard.number, delivery.seq) {
                return Ok(Claimed { id, delivery, batch, at });
            }
            shard.unreadable(Some(self.id), &failed);
            if failed.iter().any(|(_, error)| matches!(error, ReadError::Io { .. })) {
                return Err(Refusal::BodyUnreadable);
            }
        }
    }

    /// Takes a message, or nothing if a part of the queue has to be read first.
    fn begin_claim(
        &mut self,
        queue: &str,
        options: (Settling, Option<u64>),
    ) -> Result<Option<Found>, Refusal> {
        let shard = Arc::clone(&self.shard);
        let claimed = {
            let mut guard = shard.lock();
            let state = &mut *guard;
            let now_ms = shard.clock.now_ms();
            let id = state.engine.queue_of(self.id, Operation::Consume, queue)?;
            let effects = &mut state.effects;
            let claimed = state.engine.claim(self.id, id, options, now_ms, effects)?;
            let claimed = claimed.map(|delivery| {
                let found = if delivery.durable {
                    shard.store.cached(shard.lane(), Seq(delivery.seq))
                } else {
                    state.transient.find(delivery.seq).and_then(|batch| {
                        Some((Arc::clone(batch), find(batch, shard.number, delivery.seq)?))
                    })
                };
                if found.is_none() {
                    *state.claimed.entry(delivery.seq).or_default() += 1;
                }
                (delivery, found)
            });
            shard.hand_out(state, &mut self.touched);
            claimed
        };
        flush(&self.touched);
        self.touched.clear();
        Ok(claimed)
    }
}
