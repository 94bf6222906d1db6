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

#[cfg(test)]
#[allow(clippy::indexing_slicing, clippy::unwrap_used, reason = "tests panic")]
mod tests {
    use super::*;
    use crate::destination::Destination;
    use crate::publisher::test_outgoing;
    use courant_wire::Limits;
    use courant_wire::binary::{Command, Decoded, decode};
    use courant_wire::text::Confirm as Level;

    fn push(flight: &mut Flight, queue: &str, payload: &str, is_sent_again: bool) -> Told {
        let to = Destination::queue(queue).unwrap();
        let (outgoing, told) = test_outgoing(&to, payload, is_sent_again);
        flight.push(outgoing);
        told
    }

    type Told = tokio::sync::oneshot::Receiver<Result<Confirm, PublishError>>;

    /// Sends all; the queue and the payloads of each frame.
    fn frames(flight: &mut Flight, first_req: u32) -> Vec<(String, Vec<String>)> {
        let mut frames = Vec::new();
        let mut out = Vec::new();
        while flight.has_unsent() {
            out.clear();
            flight.send(first_req + u32::try_from(frames.len()).unwrap(), &mut out);
            let Decoded::Command { command: Command::Publish(publish), consumed, .. } =
                decode(&out, &Limits::DEFAULT)
            else {
                panic!("{out:?}")
            };
            assert_eq!(consumed, out.len());
            let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
            let payloads = publish.messages.map(|message| text(message.payload)).collect();
            frames.push((text(publish.head.destination.raw_name), payloads));
        }
        frames
    }

    #[allow(clippy::unnecessary_wraps, reason = "it is the result of an answer")]
    fn confirm(behind: u64) -> Result<Confirm, PublishError> {
        let id = Some(courant_wire::MessageId { shard: 0, seq: 10 + behind });
        Ok(Confirm { id, level: Level::Committed, queues: 1 })
    }

    fn strings(all: &[&str]) -> Vec<String> {
        all.iter().map(|one| (*one).to_owned()).collect()
    }

    #[test]
    fn what_was_not_confirmed_goes_again_in_its_order_before_the_rest() {
        let mut flight = Flight::default();
        let mut told: Vec<_> = ["a", "b", "c"].map(|one| push(&mut flight, "q", one, true)).into();
        told.push(push(&mut flight, "other", "d", true));
        let first = frames(&mut flight, 1);
        assert_eq!(first[0], ("q".to_owned(), strings(&["a", "b", "c"])));
        assert_eq!(first[1], ("other".to_owned(), strings(&["d"])));
        assert!(flight.answer(1, Some((1, 1)), confirm));
        assert_eq!(told[1].try_recv().unwrap(), confirm(0));
        told.push(push(&mut flight, "other", "e", true));
        flight.take_back();
        assert!(!flight.answer(1, Some((0, 1)), confirm), "of another connection");
        let again = frames(&mut flight, 3);
        assert_eq!(again[0], ("q".to_owned(), strings(&["a", "c"])));
        assert_eq!(again[1], ("other".to_owned(), strings(&["d", "e"])));
        assert!(flight.answer(3, Some((0, 2)), confirm) && flight.answer(4, None, confirm));
        assert!(flight.is_empty());
        assert_eq!(told[2].try_recv().unwrap(), confirm(1));
    }

    #[test]
    fn what_is_not_to_be_sent_again_fails_if_it_was_sent() {
        let mut flight = Flight::default();
        let mut sent = push(&mut flight, "q", "sent", false);
        frames(&mut flight, 1);
        let mut unsent = push(&mut flight, "q", "unsent", false);
        flight.take_back();
        assert_eq!(sent.try_recv().unwrap(), Err(PublishError::Unknown));
        assert_eq!(frames(&mut flight, 2), [("q".to_owned(), strings(&["unsent"]))]);
        unsent.try_recv().unwrap_err();
        drop(flight);
        assert_eq!(unsent.try_recv().unwrap(), Err(PublishError::Closed));
    }

    #[test]
    fn a_frame_has_so_many_messages_and_bytes_and_a_larger_one_goes_alone() {
        let mut flight = Flight::default();
        let half = "x".repeat(FRAME_BYTES_MAX / 2);
        let large = "y".repeat(2 * FRAME_BYTES_MAX);
        let mut told = vec![push(&mut flight, "q", &large, true)];
        told.extend([&half, &half].map(|one| push(&mut flight, "q", one, true)));
        let sizes = |frames: Vec<(String, Vec<String>)>| -> Vec<usize> {
            frames.iter().map(|(_, messages)| messages.len()).collect()
        };
        assert_eq!(sizes(frames(&mut flight, 1)), [1, 1, 1]);
        told.extend((0..=FRAME_MESSAGES_MAX).map(|_| push(&mut flight, "q", "z", true)));
        assert_eq!(sizes(frames(&mut flight, 4)), [FRAME_MESSAGES_MAX, 1]);
    }
}
