//! A connection after CONNECT: what its commands share.

use crate::subscriptions::Subscriptions;
use crate::words::Words;
use courant::{DestinationId, Refusal, Session, Tag};
use courant_wire::text::DestinationKind;
use std::sync::Arc;

/// The state of one connection's talk with the broker.
#[derive(Debug)]
pub(crate) struct Talk {
    /// The session, and replies of one batch.
    pub(crate) words: Words,
    pub(crate) subscriptions: Arc<Subscriptions>,
    pub(crate) next_tag: Tag,
    pub(crate) last_destination: LastDestination,
    /// Results of one batch of settles.
    pub(crate) settled: Vec<Result<u32, Refusal>>,
    /// Commands so far.
    pub(crate) ordinal: u64,
}

/// The last destination of a connection, as it stood on its line.
#[derive(Debug, Default)]
pub(crate) struct LastDestination {
    pub(crate) word: Option<(DestinationKind, Vec<u8>, DestinationId)>,
}

impl Talk {
    pub(crate) fn new(session: Session, subscriptions: Arc<Subscriptions>) -> Self {
        Self {
            words: Words::new(session),
            subscriptions,
            next_tag: 0,
            last_destination: LastDestination::default(),
            settled: Vec::new(),
            ordinal: 0,
        }
    }
}

impl LastDestination {
    /// Its name, for people.
    pub(crate) fn name(&self) -> String {
        match &self.word {
            Some((_, name, _)) => String::from_utf8_lossy(name).into_owned(),
            None => String::new(),
        }
    }
}
