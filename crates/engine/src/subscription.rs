//! A consumer's claim on a queue, with credit.

use crate::credit::Credit;
use crate::limits::{CREDIT_DEFAULT, CREDIT_MAX};
use crate::name::QueueId;
use crate::queue::leases::OpenList;
use crate::session::Session;
use crate::slab::Key;
use std::collections::BTreeSet;

/// Names a subscription within its shard.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SubscriptionId(pub Key);

/// How the messages of a subscription are settled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Settling {
    /// The client settles each delivery.
    #[default]
    Manual,
    /// Handing over settles.
    Auto,
}

/// What a subscriber may choose.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SubscribeOptions {
    /// Most open deliveries at a time.
    pub credit: u32,
    /// Most bytes of open deliveries at a time; one that is larger comes alone. `None`: no bound.
    pub credit_bytes: Option<u64>,
    /// Who settles.
    pub settling: Settling,
    /// How long a delivery may stay unsettled; `None` means what the queue says.
    pub visibility_ms: Option<u64>,
}

impl Default for SubscribeOptions {
    fn default() -> Self {
        Self {
            credit: CREDIT_DEFAULT,
            credit_bytes: None,
            settling: Settling::Manual,
            visibility_ms: None,
        }
    }
}

impl SubscribeOptions {
    /// Whether every choice is within its range.
    pub fn is_valid(&self) -> bool {
        use crate::limits::{VISIBILITY_MS_MAX, VISIBILITY_MS_MIN};
        self.credit <= CREDIT_MAX
            && self
                .visibility_ms
                .is_none_or(|ms| (VISIBILITY_MS_MIN..=VISIBILITY_MS_MAX).contains(&ms))
    }
}

/// Its part in the credit of its session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Share {
    /// The session has no bounds.
    Uncounted,
    /// What it opens counts.
    Counted,
    /// The same, and it waits in the session for room.
    Starved,
}

#[derive(Debug)]
pub(crate) struct Subscription {
    pub(crate) session: Key,
    pub(crate) queue: QueueId,
    pub(crate) settling: Settling,
    pub(crate) visibility_ms: u64,
    pub(crate) credit: Credit,
    pub(crate) open: OpenList,
    /// Whether it is in its queue's turns.
    pub(crate) has_turn: bool,
    /// Whether what it has open counts for its session.
    pub(crate) share: Share,
    /// Ended by its session; stays until its open deliveries are settled.
    pub(crate) is_ended: bool,
    /// When the floor will look at its deadlines next.
    pub(crate) alarm_ms: Option<u64>,
}

impl Subscription {
    /// Sees to it that the floor looks at the deadlines no later than that.
    pub(crate) fn set_alarm(
        &mut self,
        id: SubscriptionId,
        deadline_ms: u64,
        alarms: &mut BTreeSet<(u64, SubscriptionId)>,
    ) {
        if self.alarm_ms.is_none_or(|alarm| alarm > deadline_ms) {
            if let Some(alarm) = self.alarm_ms.replace(deadline_ms) {
                alarms.remove(&(alarm, id));
            }
            alarms.insert((deadline_ms, id));
        }
    }

    #[inline]
    pub(crate) fn is_counted(&self) -> bool {
        self.share != Share::Uncounted
    }

    /// Whether its session has no room for what it would open.
    #[inline]
    pub(crate) fn is_without_room(&self, session: &Session) -> bool {
        self.is_counted() && self.settling == Settling::Manual && !session.credit.has_room()
    }

    /// Whether it takes messages of any size: no bytes are counted for it.
    pub(crate) fn has_any_size(&self, session: &Session) -> bool {
        self.credit.bytes_max == u64::MAX
            && (!self.is_counted() || session.credit.bytes_max == u64::MAX)
    }

    pub(crate) fn has_credit(&self) -> bool {
        !self.is_ended
            && (self.settling == Settling::Auto && self.credit.messages_max > 0
                || self.credit.has_room())
    }
}
