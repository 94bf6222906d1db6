//! Who is there: lists of the sessions and subscriptions of a namespace, a page at a time.
//!
//! They stand in slots, and a page begins behind a slot: what stays while somebody pages through
//! is seen once, whatever comes and goes around it. A page looks at no more than
//! [`LOOKED_AT_MAX`] of them, give or take the subscriptions of one session.

use crate::access::Operation;
use crate::engine::Engine;
use crate::exchange::{BindTo, Key, Target};
use crate::floor::SessionId;
use crate::list::LOOKED_AT_MAX;
use crate::name::{ExchangeId, Name};
use crate::refusal::Refusal;
use crate::session::Session;
use crate::slab;
use crate::subscription::{Settling, Subscription, SubscriptionId};

/// A session as a list shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListedSession {
    /// Which.
    pub id: SessionId,
    /// Whose.
    pub user: String,
    /// Its subscriptions to queues.
    pub subscriptions: u32,
    /// Its open deliveries, those that it claimed without a subscription among them.
    pub open: u64,
    /// Their bytes.
    pub open_bytes: u64,
    /// Whether nothing is handed over to it because it reads too slowly.
    pub is_stalled: bool,
}

/// A subscription to a queue as a list shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListedSubscription {
    /// Which.
    pub id: SubscriptionId,
    /// Whose.
    pub session: SessionId,
    /// The queue.
    pub queue: Name,
    /// The exchange, and the key, whose messages its session gets through a queue of its own.
    pub source: Option<(Name, Key)>,
    /// Who settles.
    pub settling: Settling,
    /// Most open deliveries at a time.
    pub credit: u32,
    /// Most bytes of them.
    pub credit_bytes: Option<u64>,
    /// Open deliveries.
    pub open: u32,
    /// Their bytes.
    pub open_bytes: u64,
}

/// Part of a list of what stands in slots: behind which slot it goes on, if it does.
pub type Slots<T> = (Vec<T>, Option<u32>);

impl Engine {
    /// Sessions behind a slot, at most `count`: the one that asks, and for whoever may look at
    /// everything in its namespace the others there.
    pub fn list_sessions(
        &self,
        session: SessionId,
        after: Option<u32>,
        count: usize,
    ) -> Result<Slots<ListedSession>, Refusal> {
        let who = self.floor.sessions.get(session.0).ok_or(Refusal::Closing)?;
        let sees_all = who.allow_all(Operation::Inspect).is_ok();
        let mut found = Vec::new();
        let (mut last, mut looked_at) = (None, 0);
        for (key, there) in self.floor.sessions.slots_from(first_behind(after)) {
            if found.len() >= count.max(1) || looked_at >= LOOKED_AT_MAX {
                return Ok((found, last));
            }
            looked_at += 1;
            last = Some(key.index);
            let Some(there) = there.filter(|there| there.namespace == who.namespace) else {
                continue;
            };
            if sees_all || key == session.0 {
                looked_at += there.subscriptions.len();
                found.push(self.listed_session(SessionId(key), there));
            }
        }
        Ok((found, None))
    }

    fn listed_session(&self, id: SessionId, there: &Session) -> ListedSession {
        let user = there.principal.name.clone();
        let is_stalled = there.is_stalled;
        let mut listed =
            ListedSession { id, user, subscriptions: 0, open: 0, open_bytes: 0, is_stalled };
        for id in &there.subscriptions {
            if let Some(held) = self.floor.subscriptions.get(id.0) {
                listed.open += u64::from(held.credit.messages);
                listed.open_bytes += held.credit.bytes;
                listed.subscriptions += u32::from(!held.is_ended && there.claims != Some(*id));
            }
        }
        listed
    }

    /// Subscriptions to queues behind a slot, at most `count`, of the session's namespace: its own,
    /// and those to what it may look at. With `of` only those to that queue, or through that
    /// exchange.
    pub fn list_subscriptions(
        &self,
        session: SessionId,
        of: Option<BindTo<'_>>,
        after: Option<u32>,
        count: usize,
    ) -> Result<Slots<ListedSubscription>, Refusal> {
        let of = of.map(|of| self.target_of(session, of)).transpose()?;
        let mut found = Vec::new();
        let mut last = None;
        let slots = self.floor.subscriptions.slots_from(first_behind(after));
        for (looked_at, (key, there)) in slots.enumerate() {
            if found.len() >= count.max(1) || looked_at >= LOOKED_AT_MAX {
                return Ok((found, last));
            }
            last = Some(key.index);
            let there = there.filter(|there| !there.is_ended);
            found.extend(
                there.and_then(|there| self.listed_subscription((session, of), key, there)),
            );
        }
        Ok((found, None))
    }

    /// A subscription as it is shown to a session that may see it.
    fn listed_subscription(
        &self,
        (asking, of): (SessionId, Option<Target>),
        id: slab::Key,
        there: &Subscription,
    ) -> Option<ListedSubscription> {
        let id = SubscriptionId(id);
        let who = self.floor.sessions.get(asking.0)?;
        let owner = self.floor.sessions.get(there.session)?;
        if owner.namespace != who.namespace || owner.claims == Some(id) {
            return None;
        }
        let queue = self.floor.queues.get(&there.queue)?;
        let is_meant = match of {
            None => true,
            Some(Target::Queue(id)) => id == queue.id,
            Some(Target::Exchange(id)) => queue.source == Some(id),
        };
        let source = match queue.source {
            Some(exchange) => {
                let mut keys = self.floor.bindings.leading_to(Target::Queue(queue.id));
                let key = keys.next().map(|(_, key)| key.clone()).unwrap_or_default();
                Some((self.exchange_name(exchange)?.clone(), key))
            }
            None => None,
        };
        let named = source.as_ref().map_or(&queue.name, |(exchange, _)| exchange);
        let is_seen =
            there.session == asking.0 || who.allow(Operation::Inspect, named.as_str()).is_ok();
        (is_meant && is_seen).then(|| ListedSubscription {
            id,
            session: SessionId(there.session),
            queue: queue.name.clone(),
            source,
            settling: there.settling,
            credit: there.credit.messages_max,
            credit_bytes: Some(there.credit.bytes_max).filter(|bytes| *bytes != u64::MAX),
            open: there.credit.messages,
            open_bytes: there.credit.bytes,
        })
    }

    /// The exchange that a live subscription of `owner` listens to, if it is shown to a session.
    pub fn listed_live(
        &self,
        session: SessionId,
        owner: SessionId,
        exchange: ExchangeId,
    ) -> Option<&Name> {
        let who = self.floor.sessions.get(session.0)?;
        let there = self.ledger.exchanges.get(&exchange)?;
        let is_seen = there.namespace == who.namespace
            && (owner == session || who.allow(Operation::Inspect, there.name.as_str()).is_ok());
        is_seen.then_some(&there.name)
    }

    /// Whether the operation is permitted on everything in the session's namespace.
    pub fn allow_all(&self, session: SessionId, operation: Operation) -> Result<(), Refusal> {
        let who = self.floor.sessions.get(session.0).ok_or(Refusal::Closing)?;
        who.allow_all(operation)
    }

    /// What a list is to be about: a queue or an exchange that the session may look at.
    pub fn target_of(&self, session: SessionId, of: BindTo<'_>) -> Result<Target, Refusal> {
        match of {
            BindTo::Queue(name) => self.queue_seen(session, name).map(Target::Queue),
            BindTo::Exchange(name) => {
                self.exchange_of(session, Operation::Inspect, name).map(Target::Exchange)
            }
        }
    }
}

fn first_behind(after: Option<u32>) -> u32 {
    after.map_or(0, |slot| slot.saturating_add(1))
}
