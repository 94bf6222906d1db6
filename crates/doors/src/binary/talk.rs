//! A connection after CONNECT: what its commands share.

use super::publish::LastDestination;
use crate::subscriptions::Subscriptions;
use crate::words::Words;
use courant::{Refusal, Session, Tag};
use std::sync::Arc;

/// The state of one connection's talk with the broker.
#[derive(Debug)]
pub(crate) struct Talk {
    /// The session, and what is said in lines.
    pub(super) words: Words,
    pub(super) subscriptions: Arc<Subscriptions>,
    pub(super) next_tag: Tag,
    pub(super) last_destination: Option<LastDestination>,
    /// Replies of one batch.
    pub(super) replies: Vec<u8>,
    /// Results of one batch of settles.
    pub(super) settled: Vec<Result<u32, Refusal>>,
    /// How many messages of the PUBLISH that comes next are published already: the others found no
    /// room.
    pub(super) published: usize,
}

impl Talk {
    pub(crate) fn new(session: Session, subscriptions: Arc<Subscriptions>) -> Self {
        Self {
            words: Words::new(session),
            subscriptions,
            next_tag: 0,
            last_destination: None,
            replies: Vec::new(),
            settled: Vec::new(),
            published: 0,
        }
    }
}
