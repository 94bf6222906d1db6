//! Bodies of transient messages: batches in memory, each kept while a queue needs one of its
//! messages.

use crate::account::Account;
use courant_storage::{Batch, LaneId};
use std::collections::VecDeque;
use std::sync::Arc;

/// Fewer places than this are not worth looking at.
const UNNEEDED_MAX: usize = 256;

/// What one queue needs to remember one message.
const COPY_BYTES: usize = 16;

fn cost(copies: u64) -> usize {
    usize::try_from(copies).unwrap_or(usize::MAX).saturating_mul(COPY_BYTES)
}

#[derive(Debug)]
struct Kept {
    first: u64,
    last: u64,
    /// `None` once nobody needs it.
    batch: Option<Arc<Batch>>,
    /// Messages times queues that still need them.
    copies: u64,
    /// Whose memory it is, and how much of it was counted there.
    account: Arc<Account>,
    counted: usize,
}

/// All batches of one shard, in the order of their numbers.
#[derive(Debug, Default)]
pub(crate) struct Transient {
    kept: VecDeque<Kept>,
    /// Of `kept`, so many that nobody needs any more.
    unneeded: usize,
    /// Of the batches, and what the queues need to remember them.
    bytes: usize,
    pub(crate) bytes_max: usize,
}

impl Transient {
    /// Keeps a batch until that many copies were freed.
    pub(crate) fn keep(
        &mut self,
        shard: u16,
        batch: Arc<Batch>,
        (copies, account): (u64, &Arc<Account>),
    ) {
        let Some((first, last)) = batch.span(LaneId(shard)) else { return };
        if copies > 0 {
            let counted = batch.len_bytes() + cost(copies);
            self.bytes += counted;
            account.add(counted);
            let (first, last, batch) = (first.0, last.0, Some(batch));
            let account = Arc::clone(account);
            self.kept.push_back(Kept { first, last, batch, copies, account, counted });
        }
    }

    /// What all of them take.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    fn index(&self, seq: u64) -> Option<usize> {
        let at = self.kept.partition_point(|kept| kept.last < seq);
        (self.kept.get(at)?.first <= seq).then_some(at)
    }

    /// The batch that holds a message.
    pub(crate) fn find(&self, seq: u64) -> Option<&Arc<Batch>> {
        self.kept.get(self.index(seq)?)?.batch.as_ref()
    }

    /// One queue less needs the message.
    pub(crate) fn free(&mut self, seq: u64) {
        self.release(seq, 1);
    }

    /// That many queues less need the message.
    pub(crate) fn release(&mut self, seq: u64, copies: u64) {
        let Some(at) = self.index(seq) else { return };
        let Some(kept) = self.kept.get_mut(at) else { return };
        let copies = copies.min(kept.copies);
        kept.copies -= copies;
        self.bytes -= cost(copies);
        if kept.copies == 0
            && let Some(batch) = kept.batch.take()
        {
            self.bytes -= batch.len_bytes();
            kept.account.remove(kept.counted);
            self.unneeded += 1;
        }
        while self.kept.pop_front_if(|kept| kept.batch.is_none()).is_some() {
            self.unneeded -= 1;
        }
        // One that nobody consumes does not keep the places of all behind it.
        if self.unneeded > UNNEEDED_MAX && self.unneeded > self.kept.len() / 2 {
            self.kept.retain(|kept| kept.batch.is_some());
            self.unneeded = 0;
        }
    }

    /// Whether no more may be kept.
    pub(crate) fn is_full(&self) -> bool {
        self.bytes > self.bytes_max
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use courant_storage::{FrameMeta, OpenBatch, Seq};

    #[test]
    fn one_that_stays_does_not_keep_the_places_of_others() {
        let mut transient = Transient::default();
        let account = Arc::new(Account::default());
        for seq in 0..10_000 {
            let (kind, version, lane) = (0x10, 1, LaneId(0));
            let mut open = OpenBatch::new();
            let meta = FrameMeta { kind, version, critical: true, lane, seq: Seq(seq), term: 1 };
            open.push(meta, &[], &[b"body"]);
            transient.keep(0, open.seal(), (1, &account));
            if seq % 1_000 > 0 {
                transient.free(seq);
            }
            assert!(transient.kept.len() < 3 * UNNEEDED_MAX, "{} places", transient.kept.len());
        }
        for seq in 0..10_000 {
            assert_eq!(transient.find(seq).is_some(), seq % 1_000 == 0);
            transient.free(seq);
        }
        assert_eq!((transient.kept.len(), transient.bytes, transient.unneeded), (0, 0, 0));
        assert_eq!(account.held(), 0);
    }
}
