//! What a connection subscribed to: names for the client, tags for the broker, and the part of a
//! MSG that is the same for all deliveries of one subscription.

use courant::{LiveFormat, LiveMessage, SubscriptionNames, Tag};
use courant_wire::text::reply;
use courant_wire::text::{Destination, DestinationKind, Line};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

/// One subscription as this door writes its messages.
#[derive(Debug)]
pub(crate) struct Subscription {
    pub(crate) sub_id: Box<[u8]>,
    kind: DestinationKind,
    name: Box<[u8]>,
    /// `MSG destination sub_id:S msg_id:`, or for a live one `MSG destination [sub_id:S]`.
    pub(crate) prefix: Box<[u8]>,
}

impl Subscription {
    /// Describes a subscription. `destination` is as it stood on the line.
    pub(crate) fn new(
        destination: &Destination<'_>,
        name: &str,
        (sub_id, is_given): (&[u8], bool),
        is_live: bool,
    ) -> Self {
        let mut word = Vec::new();
        write_destination(&mut word, destination);
        let mut prefix = Vec::new();
        if is_live {
            reply::live_prefix(&mut prefix, &word, is_given.then_some(sub_id));
        } else {
            reply::msg_prefix(&mut prefix, &word, Some(sub_id), None);
        }
        let (sub_id, name) = (Box::from(sub_id), Box::from(name.as_bytes()));
        Self { sub_id, kind: destination.kind, name, prefix: prefix.into() }
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

/// Writes a destination as it stood on its line.
pub(crate) fn write_destination(out: &mut Vec<u8>, destination: &Destination<'_>) {
    out.extend_from_slice(destination.kind.name().as_bytes());
    out.push(b':');
    out.extend_from_slice(destination.raw_name.raw());
}

/// A live subscription's frames.
#[derive(Debug)]
pub(crate) struct LiveFrames(pub(crate) Arc<Subscription>);

/// The number of this door among live formats.
const DOOR: u8 = 1;

impl LiveFormat for LiveFrames {
    fn door(&self) -> u8 {
        DOOR
    }

    fn prefix(&self) -> &[u8] {
        &self.0.prefix
    }

    fn encode(&self, out: &mut Vec<u8>, message: &LiveMessage<'_>) {
        if message.properties.is_empty() && message.key.is_empty() {
            reply::live_msg(out, &self.0.prefix, message.payload);
            return;
        }
        let mut line = Line::new(out, &self.0.prefix);
        if !message.key.is_empty() {
            line = line.text("key", message.key);
        }
        super::message::properties(line, message.properties).end_with_body(message.payload);
    }
}

#[derive(Debug, Default)]
struct Lists {
    by_tag: HashMap<Tag, Arc<Subscription>>,
    by_id: HashMap<Box<[u8]>, Tag>,
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
        self.lists().by_tag.get(&tag).map(Arc::clone)
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
