//! Credit: how much may be open at a time, by messages and by bytes.
//!
//! A tree of two levels: what a subscription opens counts for its session too, and a message is
//! handed over only if both have room for it. One that is larger than all the bytes there may be
//! goes where nothing else is open, so that nothing is stuck. What settles itself when it is handed
//! over opens nothing, and what is claimed without a subscription counts for no session. A session
//! counts from when it is first given a bound: most never are.
//!
//! A subscription that its session has no room for is *starved*: it waits in the session, and gets
//! its turn again when something of the session is settled. One that has no room itself gets it
//! when something of its own is. Until then others may take the message that did not fit.

use crate::engine::Engine;
use crate::floor::{Floor, SessionId};
use crate::session::Session;
use crate::slab::Key;
use crate::subscription::{Share, Subscription, SubscriptionId};

/// What is open, and what may be.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Credit {
    pub(crate) messages_max: u32,
    pub(crate) bytes_max: u64,
    pub(crate) messages: u32,
    pub(crate) bytes: u64,
}

impl Credit {
    /// So much may be open; `None` means no bound.
    pub(crate) fn new(messages_max: Option<u32>, bytes_max: Option<u64>) -> Self {
        let mut credit = Self { messages_max: 0, bytes_max: 0, messages: 0, bytes: 0 };
        credit.set(messages_max, bytes_max);
        credit
    }

    fn set(&mut self, messages_max: Option<u32>, bytes_max: Option<u64>) {
        self.messages_max = messages_max.unwrap_or(u32::MAX);
        self.bytes_max = bytes_max.unwrap_or(u64::MAX);
    }

    /// Whether there is room for some message.
    #[inline]
    pub(crate) fn has_room(&self) -> bool {
        self.messages < self.messages_max && (self.bytes < self.bytes_max || self.messages == 0)
    }

    /// How many messages there is room for, if they have no bytes.
    #[inline]
    pub(crate) fn room(&self) -> u32 {
        if self.has_room() { self.messages_max - self.messages } else { 0 }
    }

    /// Whether a message fits behind others that are about to be opened.
    #[inline]
    pub(crate) fn fits(&self, (messages, bytes): (u32, u64), size: u32) -> bool {
        let before = self.bytes + bytes;
        self.bytes_max == u64::MAX
            || self.messages + messages == 0
            || before < self.bytes_max && before + u64::from(size) <= self.bytes_max
    }

    #[inline]
    pub(crate) fn open(&mut self, messages: u32, bytes: u64) {
        self.messages += messages;
        self.bytes += bytes;
    }

    #[inline]
    pub(crate) fn close(&mut self, messages: u32, bytes: u64) {
        self.messages = self.messages.saturating_sub(messages);
        self.bytes = self.bytes.saturating_sub(bytes);
    }
}

impl Session {
    /// A subscription lost its turn because there is no room here.
    pub(crate) fn starve(&mut self, id: SubscriptionId, subscription: &mut Subscription) {
        if subscription.share != Share::Starved {
            subscription.share = Share::Starved;
            self.starved.push(id);
        }
    }
}

impl Engine {
    /// Lets so much of a session be open at a time, over all its subscriptions; `None` means no
    /// bound. What is open stays so.
    pub fn set_credit(&mut self, session: SessionId, messages: Option<u32>, bytes: Option<u64>) {
        let Some(who) = self.floor.sessions.get_mut(session.0) else { return };
        who.credit.set(messages, bytes);
        if !who.is_counted {
            who.is_counted = true;
            let claims = who.claims;
            for id in who.subscriptions.iter().filter(|id| claims != Some(**id)) {
                if let Some(subscription) = self.floor.subscriptions.get_mut(id.0) {
                    subscription.share = Share::Counted;
                    who.credit.open(subscription.credit.messages, subscription.credit.bytes);
                }
            }
        }
        self.floor.feed(session.0);
    }
}

impl Floor {
    /// Gives the starved subscriptions of a session their turns, in the order in which they lost
    /// them, if there is room.
    pub(crate) fn feed(&mut self, session: Key) {
        let Some(who) = self.sessions.get_mut(session) else { return };
        if who.starved.is_empty() || !who.credit.has_room() {
            return;
        }
        for id in std::mem::take(&mut who.starved) {
            if let Some(subscription) = self.subscriptions.get_mut(id.0) {
                subscription.share = Share::Counted;
                self.offer_turn(id);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn behind_the_last_byte_not_even_nothing_fits() {
        let mut credit = Credit::new(None, Some(278));
        assert!(credit.fits((0, 0), 300) && credit.fits((1, 141), 137));
        assert!(!credit.fits((1, 141), 138) && !credit.fits((2, 278), 0));
        credit.open(2, 278);
        assert!(!credit.has_room() && !credit.fits((0, 0), 0));
    }
}
