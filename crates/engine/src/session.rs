//! What one connection holds and must give back.

use crate::access::{Operation, Principal};
use crate::name::{Name, NamespaceId, QueueId};
use crate::refusal::Refusal;
use crate::subscription::SubscriptionId;
use std::sync::Arc;

#[derive(Debug)]
pub(crate) struct Session {
    pub(crate) namespace: NamespaceId,
    pub(crate) namespace_name: Name,
    pub(crate) principal: Arc<Principal>,
    pub(crate) subscriptions: Vec<SubscriptionId>,
    /// Holds what was claimed without a subscription; made at the first claim.
    pub(crate) claims: Option<SubscriptionId>,
    /// Transient queues that go with the session.
    pub(crate) owned: Vec<QueueId>,
    /// Its reader is too slow: nothing is handed over until it has caught up.
    pub(crate) is_stalled: bool,
}

impl Session {
    pub(crate) fn allow(&self, operation: Operation, name: &str) -> Result<(), Refusal> {
        if self.principal.may(operation, &self.namespace_name, name) {
            Ok(())
        } else {
            Err(Refusal::NotAllowed)
        }
    }
}
