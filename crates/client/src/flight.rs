//! Messages on their way to the broker, in their order: those that were not sent yet, and those
//! that were and are not answered. When the connection ends, the latter go before the former again.

use std::collections::VecDeque;

use courant_wire::binary::{PublishHead, request};

use crate::error::PublishError;
use crate::limits::{FRAME_BYTES_MAX, FRAME_MESSAGES_MAX};
use crate::publisher::{Confirm, Outgoing};

/// All of them; as many as there is room for in windows.
#[derive(Debug, Default)]
pub(crate) struct Flight {
    unsent: VecDeque<Outgoing>,
    frames: VecDeque<Frame>,
}

/// A PUBLISH that was sent.
#[derive(Debug)]
struct Frame {
    req: u32,
    messages: Vec<Option<Outgoing>>,
    /// How many of them are not answered.
    left: usize,
}

impl Flight {
    pub(crate) fn push(&mut self, outgoing: Outgoing) {
        self.unsent.push_back(outgoing);
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.unsent.is_empty() && self.frames.is_empty()
    }

    pub(crate) fn has_unsent(&self) -> bool {
        !self.unsent.is_empty()
    }

    /// Appends one PUBLISH with the next messages, as many of them as go to one destination in one
    /// way.
    pub(crate) fn send(&mut self, req: u32, out: &mut Vec<u8>) {
        let Some(first) = self.unsent.front() else { return };
        let head = PublishHead {
            destination: first.to.wire(),
            is_transient: first.is_transient,
            is_mandatory: false,
            confirm: first.level,
            has_properties: false,
        };
        let Ok(open) = request::begin_publish(out, req, &head) else {
            // invariant: names and keys were checked when the destination was made.
            drop(self.unsent.pop_front());
            return;
        };
        let mut count = 0;
        for next in self.unsent.iter().take(FRAME_MESSAGES_MAX) {
            let is_alike = next.level == first.level
                && next.is_transient == first.is_transient
                && next.to.is(&first.to);
            let has_room = open.body_bytes(out) + next.payload.len() <= FRAME_BYTES_MAX;
            if count > 0 && !(is_alike && has_room) {
                break;
            }
            request::message(out, &next.payload);
            count += 1;
        }
        open.end(out);
        let messages = self.unsent.drain(..count).map(Some).collect();
        self.frames.push_back(Frame { req, messages, left: count });
    }

    /// Answers `count` messages of the frame with that number from `index` on; all of it with
    /// `None`. Whether there is such a frame. `result` is given the place behind `index`.
    pub(crate) fn answer(
        &mut self,
        req: u32,
        range: Option<(u32, u32)>,
        result: impl Fn(u64) -> Result<Confirm, PublishError>,
    ) -> bool {
        // Nearly always the first.
        let Some(frame) = self.frames.iter_mut().find(|frame| frame.req == req) else {
            return false;
        };
        let place = |number: u32| usize::try_from(number).unwrap_or(usize::MAX);
        let (index, count) = match range {
            Some((index, count)) => (place(index), place(count)),
            None => (0, frame.messages.len()),
        };
        let messages = frame.messages.iter_mut().skip(index).take(count);
        for (behind, message) in (0..).zip(messages) {
            if let Some(message) = message.take() {
                frame.left -= 1;
                message.answer(result(behind));
            }
        }
        while self.frames.front().is_some_and(|frame| frame.left == 0) {
            self.frames.pop_front();
        }
        true
    }

    /// The connection has ended: what was not answered is to be sent again, or has failed.
    pub(crate) fn take_back(&mut self) {
        while let Some(frame) = self.frames.pop_back() {
            for message in frame.messages.into_iter().rev().flatten() {
                if message.is_sent_again {
                    self.unsent.push_front(message);
                } else {
                    message.answer(Err(PublishError::Unknown));
                }
            }
        }
    }
}
