//! What the broker says, and what is done about it.

use std::sync::atomic::Ordering;

use bytes::{Buf, Bytes};
use courant_wire::binary::{DecodedReply, Refused, Reply, decode_reply, request};
use courant_wire::{Limits, MessageId};

use crate::error::{PublishError, Refusal, RequestError};
use crate::event::Event;
use crate::limits::ITEM_BYTES_MAX;
use crate::link::{Link, Lost};
use crate::message::Delivered;
use crate::publisher::Confirm;
use crate::requests::Waiting;
use crate::worker::{End, Worker, give_back};

/// The number of what a queue had none of: an empty claim is no fault.
const NOTHING_READY: u16 = 402;

impl Worker {
    /// Takes all whole frames that were read.
    pub(crate) fn take_replies(&mut self, link: &mut Link) -> Result<(), Lost> {
        let input = std::mem::take(&mut link.input);
        let mut rest: &[u8] = &input;
        while !rest.is_empty() {
            self.silent_ticks = 0;
            let consumed = match decode_reply(rest, &Limits::DEFAULT) {
                DecodedReply::Incomplete { .. } => break,
                DecodedReply::Malformed { .. } => return Err(Lost::Protocol("a bad frame")),
                DecodedReply::Reply { reply, consumed } => {
                    let frame = rest.get(..consumed).unwrap_or_default();
                    self.take_reply(reply, frame, &mut link.out)?;
                    consumed
                }
            };
            rest = rest.get(consumed..).unwrap_or_default();
        }
        // Once for all that was read together.
        while let Some((sub, messages)) = self.live_lost.pop_first() {
            self.tell(Event::LiveLost { sub, messages });
        }
        let taken = input.len() - rest.len();
        link.input = input;
        link.input.advance(taken);
        Ok(())
    }

    fn take_reply(
        &mut self,
        reply: Reply<'_>,
        frame: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<(), Lost> {
        match reply {
            Reply::Deliver { .. } | Reply::Live { .. } => self.delivered(frame, out)?,
            Reply::Confirm(confirms) => {
                for confirmed in confirms {
                    let result = |behind| {
                        let id = confirmed.id.map(|id| MessageId { seq: id.seq + behind, ..id });
                        Ok(Confirm { id, level: confirmed.level, queues: confirmed.queues })
                    };
                    let range = Some((confirmed.index, confirmed.count));
                    if !self.flight.answer(confirmed.req, range, result) {
                        return Err(Lost::Protocol("a confirm of nothing"));
                    }
                }
            }
            Reply::Ok { req, fields, .. } => self.answered(req, fields.raw()),
            Reply::Item { req, fields } => self.requests.item(req, fields.raw()),
            Reply::Ping => request::pong(out),
            Reply::Cancel { sub, reason } => {
                self.subscriptions.cancelled(sub, reason);
                self.tell(Event::Cancelled { sub, reason: reason.to_owned() });
            }
            Reply::Blocked { reason } => {
                self.is_blocked = true;
                self.tell(Event::Blocked { reason: reason.to_owned() });
            }
            Reply::Unblocked => {
                self.is_blocked = false;
                self.tell(Event::Unblocked);
            }
            Reply::Refused(refused) => self.refused(&refused),
            Reply::Pong { .. } | Reply::Return { .. } | Reply::Unknown { .. } => {}
        }
        Ok(())
    }

    /// Messages. They are kept longer than the read buffer: one copy for all of the frame.
    fn delivered(&mut self, frame: &[u8], out: &mut Vec<u8>) -> Result<(), Lost> {
        let epoch = self.shared.epoch.load(Ordering::Acquire);
        let frame = Bytes::copy_from_slice(frame);
        let DecodedReply::Reply { reply, .. } = decode_reply(&frame, &Limits::DEFAULT) else {
            return Err(Lost::Protocol("a bad frame"));
        };
        match reply {
            Reply::Deliver { sub, deliveries } => {
                let messages = deliveries.map(|delivery| Delivered::of(&frame, &delivery, epoch));
                match self.subscriptions.inbox(sub) {
                    Some(inbox) => give_back(inbox.add(messages), out),
                    None if sub == 0 => {
                        if !self.requests.claimed(messages) {
                            return Err(Lost::Protocol("messages that nobody asked for"));
                        }
                    }
                    // It was on its way when the subscription ended.
                    None => give_back(messages, out),
                }
            }
            Reply::Live { sub, key, properties, payload } => {
                let message = Delivered::live(&frame, (key, &properties, payload), epoch);
                let Some(inbox) = self.subscriptions.inbox(sub) else { return Ok(()) };
                if !inbox.add(std::iter::once(message)).is_empty() && !inbox.is_left() {
                    *self.live_lost.entry(sub).or_default() += 1;
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// An OK.
    fn answered(&mut self, req: u32, fields: &[u8]) {
        if let End::Quitting(quit, answer) = &mut self.end
            && *quit == req
        {
            if let Some(answer) = answer.take() {
                // Whoever does not wait any more need not be told.
                let _ = answer.send(());
            }
            self.end = End::Quit;
            return;
        }
        // Whoever does not wait any more need not be told.
        match self.requests.take(req) {
            Some(Waiting::Subscribe(sub)) => self.subscriptions.made(sub),
            Some(Waiting::Claim { answer, taken }) => drop(answer.send(Ok(taken))),
            Some(Waiting::Line { answer, mut so_far, bytes }) => {
                so_far.fields = String::from_utf8_lossy(fields).into_owned();
                let is_whole = bytes <= ITEM_BYTES_MAX;
                let result = is_whole.then_some(so_far).ok_or(RequestError::AnswerTooLarge);
                drop(answer.send(result));
            }
            None => {}
        }
    }

    fn refused(&mut self, refused: &Refused<'_>) {
        let refusal = Refusal::of(refused);
        let range = (refused.count > 0).then_some((refused.index, refused.count));
        let result = |_| Err(PublishError::Refused(refusal.clone()));
        if refused.req != 0 && self.flight.answer(refused.req, range, result) {
            return;
        }
        // Whoever does not wait any more need not be told.
        match self.requests.take(refused.req) {
            Some(Waiting::Subscribe(sub)) => self.subscriptions.refused(sub, refusal),
            Some(Waiting::Claim { answer, taken }) if refused.number == NOTHING_READY => {
                drop(answer.send(Ok(taken)));
            }
            Some(Waiting::Claim { answer, .. }) => {
                drop(answer.send(Err(RequestError::Refused(refusal))));
            }
            Some(Waiting::Line { answer, .. }) => {
                drop(answer.send(Err(RequestError::Refused(refusal))));
            }
            None => self.tell(Event::Refused(refusal)),
        }
    }
}
