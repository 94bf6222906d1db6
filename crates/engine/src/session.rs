//! What one connection holds and must give back.

use crate::access::{Operation, Principal};
use crate::credit::Credit;
use crate::exchange::BindTo;
use crate::name::{Name, NamespaceId, QueueId};
use crate::queue::FloorQueue;
use crate::refusal::Refusal;
use crate::slab::Key;
use crate::subscription::SubscriptionId;
use crate::topology::{GIVEN, Topology};
use std::sync::Arc;

#[derive(Debug)]
pub(crate) struct Session {
    pub(crate) namespace: NamespaceId,
    pub(crate) namespace_name: Name,
    pub(crate) principal: Arc<Principal>,
    pub(crate) subscriptions: Vec<SubscriptionId>,
    /// What all its subscriptions together may have open.
    pub(crate) credit: Credit,
    /// Whether that is bounded; it is counted only then.
    pub(crate) is_counted: bool,
    /// Those that wait for room in it.
    pub(crate) starved: Vec<SubscriptionId>,
    /// Holds what was claimed without a subscription; made at the first claim.
    pub(crate) claims: Option<SubscriptionId>,
    /// Transient queues that go with the session.
    pub(crate) owned: Vec<QueueId>,
    /// Its reader is too slow: nothing is handed over until it has caught up.
    pub(crate) is_stalled: bool,
}

impl Session {
    /// Whether any of the operations on that name is permitted.
    pub(crate) fn allow_one(&self, operations: &[Operation], name: &str) -> Result<(), Refusal> {
        let allowed = |operation: &Operation| self.allow(*operation, name);
        operations.iter().map(allowed).find(Result::is_ok).unwrap_or(Err(Refusal::NotAllowed))
    }

    /// Whether a change of topology is permitted, and about names that clients may give. `is_own`
    /// knows the queues that the session was given for itself: those need no grant.
    pub(crate) fn allow_change(
        &self,
        request: &Topology<'_>,
        is_own: impl Fn(&str) -> bool,
    ) -> Result<(), Refusal> {
        match *request {
            Topology::DeclareNamespace(name) => {
                if !self.principal.may_make(name) {
                    return Err(Refusal::NotAllowed);
                }
                check_name(name)
            }
            Topology::DeclareExchange(name, options) => {
                self.allow(Operation::Configure, name)?;
                if let Some(alternate) = options.alternate {
                    // What comes to the one goes to the other.
                    self.allow_one(&[Operation::Publish, Operation::Configure], alternate)?;
                }
                check_name(name)
            }
            // A queue of its own under a name that the broker gave needs no grant.
            Topology::DeclareQueue(name, options)
                if options.exclusive && name.starts_with(GIVEN) =>
            {
                Ok(())
            }
            Topology::DeleteQueue { name, .. } if is_own(name) => Ok(()),
            // Names that the broker gave begin with `$`: the engine looks closer.
            Topology::DeleteExchange { name, .. }
            | Topology::DeclareQueue(name, _)
            | Topology::DeleteQueue { name, .. } => {
                self.allow(Operation::Configure, name)?;
                Name::check(name.as_bytes()).map_err(|_| Refusal::BadName).map(drop)
            }
            Topology::Bind { exchange, to, .. } | Topology::Unbind { exchange, to, .. } => {
                let (BindTo::Queue(to) | BindTo::Exchange(to)) = to;
                // Whoever may take all that comes through an exchange may have it in a queue.
                self.allow_one(&[Operation::Consume, Operation::Configure], exchange)?;
                if is_own(to) { Ok(()) } else { self.allow(Operation::Configure, to) }
            }
        }
    }

    /// Whether the operation on that queue is permitted. A queue that the session (its key is `id`)
    /// was given for itself, under a name that nobody chose, needs no grant.
    pub(crate) fn allow_queue(
        &self,
        id: Key,
        operation: Operation,
        queue: &FloorQueue,
    ) -> Result<(), Refusal> {
        let name = queue.name.as_str();
        if queue.owner == Some(id) && name.starts_with('$') {
            return Ok(());
        }
        self.allow(operation, name)
    }

    pub(crate) fn allow(&self, operation: Operation, name: &str) -> Result<(), Refusal> {
        if self.principal.may(operation, &self.namespace_name, name) {
            Ok(())
        } else {
            Err(Refusal::NotAllowed)
        }
    }

    /// Whether the operation is permitted on everything in its namespace.
    pub(crate) fn allow_all(&self, operation: Operation) -> Result<(), Refusal> {
        let may = self.principal.may_with_all(operation, self.namespace_name.as_str());
        if may { Ok(()) } else { Err(Refusal::NotAllowed) }
    }
}

/// Whether a client may give that name to something.
pub(crate) fn check_name(name: &str) -> Result<(), Refusal> {
    Name::check(name.as_bytes()).map_err(|_| Refusal::BadName)?;
    if name.starts_with('$') { Err(Refusal::ReservedName) } else { Ok(()) }
}
