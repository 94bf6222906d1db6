//! What a connection subscribed to: names for the client, tags for the broker, and the bytes that
//! are the same for all deliveries of one subscription.

use courant::{SubscriptionNames, Tag};
use courant_wire::text::DestinationKind;
use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};

/// One subscription as its messages are written.
#[derive(Debug)]
pub(crate) struct Subscription {
    pub(crate) sub_id: Box<[u8]>,
    kind: DestinationKind,
    name: Box<[u8]>,
    /// What its messages begin with. In text `MSG destination sub_id:S msg_id:`, or for a live one
    /// `MSG destination [sub_id:S]`.
    pub(crate) prefix: Box<[u8]>,
}

impl Subscription {
    /// Describes a subscription to what has that kind and name.
    pub(crate) fn new(
        (kind, name): (DestinationKind, &str),
        sub_id: &[u8],
        prefix: Vec<u8>,
    ) -> Self {
        let (sub_id, name) = (Box::from(sub_id), Box::from(name.as_bytes()));
        Self { sub_id, kind, name, prefix: prefix.into() }
    }

    /// Whether a message came just as the destination says, so that neither exchange nor key
    /// need be told.
    pub(crate) fn is_plain(&self, exchange: &[u8], key: &[u8]) -> bool {
        match self.kind {
            DestinationKind::Queue => exchange.is_empty() && key == &*self.name,
            DestinationKind::Topic | DestinationKind::Exchange | DestinationKind::Namespace => {
                key.is_empty() && exchange == &*self.name
            }
        }
    }
}

/// Subscriptions that are remembered for a while after their end.
const LEFT_MAX: usize = 64;

#[derive(Debug, Default)]
struct Lists {
    by_tag: HashMap<Tag, Arc<Subscription>>,
    by_id: HashMap<Box<[u8]>, Tag>,
    /// Ended by the client, the last of them: deliveries may still be on their way.
    left: VecDeque<(Tag, Arc<Subscription>)>,
    /// Ended by the broker; the session is to forget them.
    ended: Vec<Tag>,
}

/// All subscriptions of a connection; shared by its reader and its outlet.
#[derive(Debug, Default)]
pub(crate) struct Subscriptions {
    lists: Mutex<Lists>,
}

impl Subscriptions {
    fn lists(&self) -> std::sync::MutexGuard<'_, Lists> {
        self.lists.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn add(&self, tag: Tag, subscription: Arc<Subscription>) {
        let mut lists = self.lists();
        lists.by_id.insert(subscription.sub_id.clone(), tag);
        lists.by_tag.insert(tag, subscription);
    }

    pub(crate) fn tag(&self, sub_id: &[u8]) -> Option<Tag> {
        self.lists().by_id.get(sub_id).copied()
    }

    pub(crate) fn get(&self, tag: Tag) -> Option<Arc<Subscription>> {
        let lists = self.lists();
        let left = || lists.left.iter().find(|(left, _)| *left == tag).map(|(_, gone)| gone);
        lists.by_tag.get(&tag).or_else(left).map(Arc::clone)
    }

    /// Removes a subscription that the client ended. What is on its way still finds it.
    pub(crate) fn leave(&self, tag: Tag) {
        if let Some(gone) = self.remove(tag) {
            let mut lists = self.lists();
            lists.left.truncate(LEFT_MAX - 1);
            lists.left.push_front((tag, gone));
        }
    }

    pub(crate) fn remove(&self, tag: Tag) -> Option<Arc<Subscription>> {
        let mut lists = self.lists();
        let gone = lists.by_tag.remove(&tag)?;
        lists.by_id.remove(&gone.sub_id);
        Some(gone)
    }

    /// Removes a subscription that the broker ended.
    pub(crate) fn end(&self, tag: Tag) -> Option<Arc<Subscription>> {
        let gone = self.remove(tag);
        self.lists().ended.push(tag);
        gone
    }

    /// Takes the tags that the broker ended.
    pub(crate) fn take_ended(&self) -> Vec<Tag> {
        std::mem::take(&mut self.lists().ended)
    }
}

impl SubscriptionNames for Subscriptions {
    fn name_of(&self, tag: Tag) -> Option<Box<[u8]>> {
        self.get(tag).map(|subscription| subscription.sub_id.clone())
    }
}
