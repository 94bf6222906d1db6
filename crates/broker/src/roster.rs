//! Who is there: sessions and subscriptions, a page at a time: see `crates/engine/src/roster.rs`.
//!
//! Subscriptions to queues come first, in the order of their slots, then live ones, in the order in
//! which they began. What only a door knows is asked for once the shard's lock is free.

use crate::client::Client;
use crate::outbox::Outbox;
use crate::outlet::Tag;
use crate::router::{ListedLive, LiveId};
use crate::session::Session;
use courant_engine::exchange::{Key, Target};
use courant_engine::{BindTo, ListedSession, ListedSubscription, Name, Refusal, SessionId};
use std::sync::Arc;

/// Live subscriptions that one page looks at.
const LOOKED_AT_MAX: usize = 1000;

/// A session, and who it is.
#[derive(Debug, Clone)]
pub struct SessionReport {
    /// What it has.
    pub listed: ListedSession,
    /// Who is at the other end.
    pub client: Client,
    /// When it began, in milliseconds since 1970.
    pub since_ms: u64,
    /// Its live subscriptions.
    pub lives: u32,
    /// Bytes on their way to it.
    pub bytes: u64,
}

/// What a subscription listens to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Listening {
    /// A queue.
    Queue(ListedSubscription),
    /// An exchange, with a key or pattern, straight to the connection.
    Live(Name, Key),
}

/// A subscription, and whose it is.
#[derive(Debug, Clone)]
pub struct SubscriptionReport {
    /// What its client calls it, if it does.
    pub name: Option<Box<[u8]>>,
    /// Its session.
    pub session: SessionId,
    /// What its client calls itself; may be empty.
    pub client_id: Box<str>,
    /// What it listens to.
    pub listening: Listening,
}

/// A place in the list of subscriptions: behind it the list goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SubscriptionPlace {
    /// A slot of those to queues.
    Queue(u32),
    /// The number of a live one.
    Live(u64),
    /// Before the first live one.
    Lives,
}

/// What was found under the lock.
type Found = (SessionId, Arc<Outbox>, Tag, Listening);

impl Session {
    /// Sessions behind a slot, at most `count` and never more than 1,000: this one, and for
    /// whoever may look at everything in its namespace the others there.
    pub fn sessions(
        &self,
        after: Option<u32>,
        count: usize,
    ) -> Result<(Vec<SessionReport>, Option<u32>), Refusal> {
        let state = self.shard.lock();
        let (found, more) = state.engine.list_sessions(self.id, after, count)?;
        let reports = found.into_iter().filter_map(|listed| {
            let outbox = state.outbox_of(listed.id)?;
            let (client, since_ms) = (outbox.client.clone(), outbox.since_ms);
            let bytes = outbox.pressure() as u64;
            Some(SessionReport { listed, client, since_ms, lives: outbox.lives(), bytes })
        });
        Ok((reports.collect(), more))
    }

    /// Subscriptions behind a place, at most `count` and never more than 1,000: its own, and those
    /// to what it may look at. With `of` those of one queue or exchange.
    pub fn subscriptions(
        &self,
        of: Option<BindTo<'_>>,
        after: Option<SubscriptionPlace>,
        count: usize,
    ) -> Result<(Vec<SubscriptionReport>, Option<SubscriptionPlace>), Refusal> {
        let (found, more) = match after {
            None => self.listed_on_queues(of, None, count)?,
            Some(SubscriptionPlace::Queue(slot)) => self.listed_on_queues(of, Some(slot), count)?,
            Some(SubscriptionPlace::Lives) => self.listed_lives(of, None, count)?,
            Some(SubscriptionPlace::Live(id)) => self.listed_lives(of, Some(LiveId(id)), count)?,
        };
        let report = |(session, outbox, tag, listening): Found| {
            let Client { id, names, .. } = &outbox.client;
            let (name, client_id) = (names.name_of(tag), id.clone());
            SubscriptionReport { name, session, client_id, listening }
        };
        Ok((found.into_iter().map(report).collect(), more))
    }

    fn listed_on_queues(
        &self,
        of: Option<BindTo<'_>>,
        after: Option<u32>,
        count: usize,
    ) -> Result<(Vec<Found>, Option<SubscriptionPlace>), Refusal> {
        let state = self.shard.lock();
        let (listed, more) = state.engine.list_subscriptions(self.id, of, after, count)?;
        let found = listed.into_iter().filter_map(|listed| {
            let outbox = state.outbox_of(listed.session)?;
            Some((listed.session, outbox, state.tag_of(listed.id), Listening::Queue(listed)))
        });
        let next = if matches!(of, Some(BindTo::Queue(_))) {
            None
        } else {
            (!self.shard.router.behind(None, 1).is_empty()).then_some(SubscriptionPlace::Lives)
        };
        Ok((found.collect(), more.map(SubscriptionPlace::Queue).or(next)))
    }

    fn listed_lives(
        &self,
        of: Option<BindTo<'_>>,
        after: Option<LiveId>,
        count: usize,
    ) -> Result<(Vec<Found>, Option<SubscriptionPlace>), Refusal> {
        let looked_at = self.shard.router.behind(after, LOOKED_AT_MAX);
        let state = self.shard.lock();
        let of = of.map(|of| state.engine.target_of(self.id, of)).transpose()?;
        let mut found = Vec::new();
        let mut last = None;
        let is_cut = looked_at.len() == LOOKED_AT_MAX;
        for ListedLive { id, exchange, key, target } in looked_at {
            if found.len() >= count.max(1) {
                return Ok((found, last));
            }
            last = Some(SubscriptionPlace::Live(id.0));
            if of.is_none_or(|of| of == Target::Exchange(exchange))
                && let Some(owner) = target.outbox.session()
                && let Some(name) = state.engine.listed_live(self.id, owner, exchange)
            {
                let listening = Listening::Live(name.clone(), key);
                found.push((owner, Arc::clone(&target.outbox), target.tag, listening));
            }
        }
        Ok((found, last.filter(|_| is_cut)))
    }
}
