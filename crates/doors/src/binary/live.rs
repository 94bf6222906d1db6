//! Messages of live subscriptions.

use super::message::write_properties;
use courant::{LiveFormat, LiveMessage};
use courant_wire::binary::reply;

/// The number of this door among live formats.
const DOOR: u8 = 2;

/// The frames of a live subscription: they are the same for all that have its number.
#[derive(Debug)]
pub(super) struct LiveFrames {
    sub: u32,
    prefix: [u8; 4],
}

impl LiveFrames {
    pub(super) fn new(sub: u32) -> Self {
        Self { sub, prefix: sub.to_be_bytes() }
    }
}

impl LiveFormat for LiveFrames {
    fn door(&self) -> u8 {
        DOOR
    }

    fn prefix(&self) -> &[u8] {
        &self.prefix
    }

    fn encode(&self, out: &mut Vec<u8>, message: &LiveMessage<'_>) {
        let LiveMessage { key, properties, payload } = *message;
        if properties.is_empty() && key.is_empty() {
            reply::live(out, self.sub, payload);
        } else {
            let said = |out: &mut Vec<u8>| write_properties(out, properties);
            reply::live_more(out, self.sub, key, said, payload);
        }
    }
}
