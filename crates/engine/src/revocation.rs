//! What a session may do changes while it goes on.
//!
//! The new principal counts at once: routes are found again. A subscription that it may not have
//! ends with [`Cause::NotAllowed`], and what it holds open goes back, as does what the session
//! claimed from a queue that it may not consume any more: nobody else waits for the deadline of
//! somebody who was shut out.

use crate::access::{Operation, Principal};
use crate::delivery::{Cause, Lease, Outcome};
use crate::effect::{Cancelled, Effects};
use crate::engine::Engine;
use crate::floor::SessionId;
use crate::limits::STEP_MESSAGES_MAX;
use crate::name::{ExchangeId, QueueId};
use crate::subscription::SubscriptionId;
use std::sync::Arc;

impl Engine {
    /// Every session and whose it is.
    pub fn principals(&self) -> Vec<(SessionId, Arc<Principal>)> {
        let all = self.floor.sessions.iter();
        all.map(|(key, session)| (SessionId(key), Arc::clone(&session.principal))).collect()
    }

    /// Puts another principal in a session's place and takes back what that one may not have, a
    /// step's worth of messages at a time. Says whether there is more to take back: call it again.
    pub fn set_principal(
        &mut self,
        id: SessionId,
        principal: Arc<Principal>,
        effects: &mut Effects,
    ) -> bool {
        let Some(who) = self.floor.sessions.get_mut(id.0) else { return false };
        let before = std::mem::replace(&mut who.principal, principal);
        let now = Arc::clone(&who.principal);
        let (claims, subscriptions) = (who.claims, who.subscriptions.clone());
        self.floor.change_user(&before.name, &now.name);
        self.forget_routes();
        let mut left = STEP_MESSAGES_MAX;
        for subscription in subscriptions {
            left = if claims == Some(subscription) {
                self.revoke_claims(id, subscription, left, effects)
            } else {
                self.revoke(id, subscription, left, effects)
            };
            if left == 0 {
                return true;
            }
        }
        false
    }

    /// Whether a session may consume a queue; what it consumes from an exchange through a queue of
    /// its own, it consumes from the exchange.
    fn may_consume(&self, id: SessionId, queue: QueueId) -> bool {
        let Some(who) = self.floor.sessions.get(id.0) else { return false };
        let Some(there) = self.floor.queues.get(&queue) else { return true };
        match there.source {
            Some(exchange) => self.may_consume_from(id, exchange),
            None => who.allow_queue(id.0, Operation::Consume, there).is_ok(),
        }
    }

    /// Whether a session may consume from an exchange that exists.
    pub fn may_consume_from(&self, id: SessionId, exchange: ExchangeId) -> bool {
        let Some(who) = self.floor.sessions.get(id.0) else { return false };
        let name = self.exchange_name(exchange);
        name.is_none_or(|name| who.allow(Operation::Consume, name.as_str()).is_ok())
    }

    /// Ends a subscription that is not allowed. Says how many of `most` messages are left.
    fn revoke(
        &mut self,
        session: SessionId,
        id: SubscriptionId,
        most: usize,
        effects: &mut Effects,
    ) -> usize {
        let Some(subscription) = self.floor.subscriptions.get(id.0) else { return most };
        let (queue, is_ended) = (subscription.queue, subscription.is_ended);
        if self.may_consume(session, queue) {
            return most;
        }
        if !is_ended {
            let cause = Cause::NotAllowed;
            effects.cancelled.push(Cancelled { session: session.0, subscription: id, cause });
            let _ = self.unsubscribe(session, id);
        }
        let left = self.give_back(id, most, effects);
        if left > 0 {
            self.forget_subscription(session, id);
            if self.floor.queues.get(&queue).is_some_and(|queue| queue.source.is_some()) {
                self.close_session_queue(session, queue, effects);
            }
        }
        left
    }

    /// Gives back what was claimed from queues that are not allowed.
    fn revoke_claims(
        &mut self,
        session: SessionId,
        id: SubscriptionId,
        most: usize,
        effects: &mut Effects,
    ) -> usize {
        let Some(claims) = self.floor.subscriptions.get(id.0) else { return most };
        let mut revoked: Vec<Lease> = Vec::new();
        for open in self.floor.leases.iter(claims.open) {
            if revoked.len() < most && !self.may_consume(session, open.queue) {
                revoked.push(open.lease);
            }
        }
        let left = most - revoked.len();
        for lease in revoked {
            self.close((id, lease), Outcome::Ready, effects);
        }
        left
    }
}
