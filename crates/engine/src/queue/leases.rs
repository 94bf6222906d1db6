//! Open deliveries: slots that are reused, linked into one list per subscription in the order of
//! handing over, so that "all up to this one" and "give back everything" walk a list.

use crate::delivery::Lease;
use crate::limits::LEASES_MAX;
use crate::name::QueueId;
use crate::queue::Taken;
use crate::subscription::SubscriptionId;

const NIL: u32 = u32::MAX;

/// One open delivery.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Open {
    pub(crate) taken: Taken,
    pub(crate) queue: QueueId,
    pub(crate) subscription: SubscriptionId,
    pub(crate) deadline_ms: u64,
    pub(crate) lease: Lease,
    previous: u32,
    next: u32,
    generation: u32,
    is_live: bool,
}

/// First and last open delivery of one subscription.
#[derive(Debug, Clone, Copy)]
pub(crate) struct OpenList {
    first: u32,
    last: u32,
}

impl Default for OpenList {
    fn default() -> Self {
        Self { first: NIL, last: NIL }
    }
}

/// All open deliveries of a shard.
#[derive(Debug, Default)]
pub(crate) struct Leases {
    term: u64,
    slots: Vec<Open>,
    free: Vec<u32>,
}

impl Leases {
    pub(crate) fn begin_term(&mut self, term: u64) {
        self.term = term;
    }

    pub(crate) fn is_full(&self) -> bool {
        self.room() == 0
    }

    /// How many more may be opened.
    pub(crate) fn room(&self) -> usize {
        (LEASES_MAX as usize + self.free.len()).saturating_sub(self.slots.len())
    }

    /// Opens a delivery at the end of its subscription's list. The caller saw that there is room.
    #[inline]
    pub(crate) fn open(
        &mut self,
        list: &mut OpenList,
        taken: Taken,
        (queue, subscription, deadline_ms): (QueueId, SubscriptionId, u64),
    ) -> Lease {
        let slot = self.free.pop().unwrap_or(u32::try_from(self.slots.len()).unwrap_or(NIL));
        let generation = self.slots.get(slot as usize).map_or(1, |old| old.generation + 1);
        let lease = Lease::new(self.term, generation, slot);
        let open = Open {
            taken,
            queue,
            subscription,
            deadline_ms,
            lease,
            previous: list.last,
            next: NIL,
            generation: generation & 0xff_ffff,
            is_live: true,
        };
        if slot as usize == self.slots.len() {
            self.slots.push(open);
        } else {
            self.slots[slot as usize] = open;
        }
        match self.slots.get_mut(list.last as usize) {
            Some(last) => last.next = slot,
            None => list.first = slot,
        }
        list.last = slot;
        lease
    }

    /// The open delivery with that lease, of that message.
    pub(crate) fn get(&self, lease: Lease, seq: u64) -> Option<&Open> {
        let open = self.slots.get(lease.slot() as usize)?;
        (open.is_live && open.lease == lease && open.taken.seq == seq).then_some(open)
    }

    /// The open delivery with that lease.
    pub(crate) fn at(&self, lease: Lease) -> Option<&Open> {
        let open = self.slots.get(lease.slot() as usize)?;
        (open.is_live && open.lease == lease).then_some(open)
    }

    /// The open deliveries of a durable message, whoever has them.
    pub(crate) fn of_message(&self, seq: u64) -> impl Iterator<Item = (SubscriptionId, Lease)> {
        let is_of = move |open: &&Open| open.is_live && open.taken.seq == seq && open.taken.durable;
        self.slots.iter().filter(is_of).map(|open| (open.subscription, open.lease))
    }

    /// Gives the delivery a later deadline.
    pub(crate) fn extend(&mut self, lease: Lease, deadline_ms: u64) {
        if let Some(open) = self.slots.get_mut(lease.slot() as usize)
            && open.lease == lease
        {
            open.deadline_ms = deadline_ms;
        }
    }

    /// Closes a delivery and takes it out of its list.
    #[inline]
    pub(crate) fn close(&mut self, list: &mut OpenList, lease: Lease) -> Option<Open> {
        let slot = lease.slot();
        let open = *self.slots.get(slot as usize)?;
        if !open.is_live || open.lease != lease {
            return None;
        }
        self.slots[slot as usize].is_live = false;
        match self.slots.get_mut(open.previous as usize) {
            Some(previous) => previous.next = open.next,
            None => list.first = open.next,
        }
        match self.slots.get_mut(open.next as usize) {
            Some(next) => next.previous = open.previous,
            None => list.last = open.previous,
        }
        self.free.push(slot);
        Some(open)
    }

    /// The oldest open delivery of a list.
    pub(crate) fn first(&self, list: OpenList) -> Option<&Open> {
        self.slots.get(list.first as usize)
    }

    /// The open deliveries of a list, oldest first.
    pub(crate) fn iter(&self, list: OpenList) -> impl Iterator<Item = &Open> {
        let mut slot = list.first;
        std::iter::from_fn(move || {
            let open = self.slots.get(slot as usize)?;
            slot = open.next;
            Some(open)
        })
    }
}
