//! Messages of live subscriptions.

use super::message::properties;
use crate::subscriptions::Subscription;
use courant::{LiveFormat, LiveMessage};
use courant_wire::text::{Line, reply};
use std::sync::Arc;

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
        properties(line, message.properties).end_with_body(message.payload);
    }
}
