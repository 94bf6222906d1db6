//! What a door knows of who is at the other end: for people who look at lists, nothing else.

use crate::outlet::Tag;
use std::net::IpAddr;
use std::sync::Arc;

/// The other end of a session.
#[derive(Clone)]
pub struct Client {
    /// What it calls itself; empty if it does not.
    pub id: Box<str>,
    /// The door it came through.
    pub door: &'static str,
    /// Where it came from; nowhere, if it is this process.
    pub source: Option<IpAddr>,
    /// What it calls its subscriptions.
    pub names: Arc<dyn SubscriptionNames>,
}

/// What a client calls its subscriptions.
pub trait SubscriptionNames: Send + Sync {
    /// The name of one. Does not wait.
    fn name_of(&self, tag: Tag) -> Option<Box<[u8]>>;
}

/// Nobody said anything.
struct NoNames;

impl SubscriptionNames for NoNames {
    fn name_of(&self, _: Tag) -> Option<Box<[u8]>> {
        None
    }
}

impl Default for Client {
    fn default() -> Self {
        Self { id: Box::default(), door: "embedded", source: None, names: Arc::new(NoNames) }
    }
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { id, door, source, .. } = self;
        f.debug_struct("Client")
            .field("id", id)
            .field("door", door)
            .field("source", source)
            .finish_non_exhaustive()
    }
}
