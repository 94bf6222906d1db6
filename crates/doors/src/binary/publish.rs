//! PUBLISH: consecutive frames of one read become one batch.
//!
//! Where the broker has no room for all of a batch, what it took is answered, and the frame of the
//! first message that found none is read again later, as if it began with that message.

use super::message::{read_headers, read_properties, write_properties};
use super::refusal::write_refused;
use super::talk::Talk;
use crate::refusal::Refused;
use courant::{
    Destination, DestinationId, Level, Outbox, Outgoing, Properties, Published, Refusal, Room,
    Ticket,
};
use courant_wire::binary::{self, Confirmed, OpenFrame, Publish, PublishHead, reply};
use courant_wire::text::{Confirm, DestinationKind};
use courant_wire::{BATCH_MAX, MessageId};

/// The last destination of a connection.
#[derive(Debug)]
pub(super) struct LastDestination {
    kind: DestinationKind,
    name: Box<[u8]>,
    key: Box<[u8]>,
    id: DestinationId,
}

/// Messages of one read that go to the broker together.
#[derive(Debug, Default)]
pub(super) struct PublishBatch<'a> {
    messages: Vec<Outgoing<'a>>,
    /// Places of messages with properties, and those.
    said: Vec<(usize, binary::Properties<'a>)>,
    frames: Vec<Frame<'a>>,
}

/// The messages of one frame in a batch.
#[derive(Debug)]
struct Frame<'a> {
    req: u32,
    /// Where it begins in what was read.
    start: usize,
    /// The place of the first in the frame: those before it are published.
    first: usize,
    /// How many there are, from there on.
    count: usize,
    head: PublishHead<'a>,
}

impl PublishBatch<'_> {
    pub(super) fn is_empty(&self) -> bool {
        self.messages.is_empty()
    }

    /// Whether it should be published before more is added.
    pub(super) fn is_full(&self) -> bool {
        self.messages.len() >= BATCH_MAX
    }

    /// The frame of the message with that place in the batch, and its place in the frame.
    fn find(&self, place: usize) -> Option<(&Frame<'_>, usize)> {
        let mut left = place;
        for frame in &self.frames {
            if left < frame.count {
                return Some((frame, frame.first + left));
            }
            left -= frame.count;
        }
        None
    }
}

impl Talk {
    /// Adds the messages of a frame that begins at `start`.
    pub(super) fn add<'a>(
        &mut self,
        (req, start): (u32, usize),
        publish: Publish<'a>,
        batch: &mut PublishBatch<'a>,
    ) -> Result<(), Refused> {
        let Publish { head, messages } = publish;
        let to = self.find(&head.destination)?;
        let first = std::mem::take(&mut self.published);
        let level = match head.confirm {
            Confirm::Committed => Level::Committed,
            Confirm::Written => Level::Written,
            Confirm::Memory => Level::Memory,
        };
        let (properties, is_durable) = (&Properties::NONE, !head.is_transient);
        let before = batch.messages.len();
        for binary::Message { properties: said, payload } in messages.skip(first) {
            if !said.is_empty() {
                batch.said.push((batch.messages.len(), said));
            }
            batch.messages.push(Outgoing { to, properties, payload, level, is_durable });
        }
        let count = batch.messages.len() - before;
        batch.frames.push(Frame { req, start, first, count, head });
        Ok(())
    }

    /// The number of a destination: that of the last one if it is the same.
    fn find(&mut self, wanted: &binary::Destination<'_>) -> Result<DestinationId, Refused> {
        let binary::Destination { kind, raw_name, key } = *wanted;
        if let Some(last) = &self.last_destination
            && last.kind == kind
            && *last.name == *raw_name
            && *last.key == *key
        {
            return Ok(last.id);
        }
        let name = wanted.name()?;
        let to = match kind {
            DestinationKind::Queue => Destination::Queue(name),
            DestinationKind::Topic if key.is_empty() => Destination::Topic(name),
            // A topic with a key is the exchange that it is a name for.
            _ => Destination::Exchange(name, key),
        };
        let id = self.words.session.destination(to);
        let (name, key) = (Box::from(raw_name), Box::from(key));
        self.last_destination = Some(LastDestination { kind, name, key, id });
        Ok(id)
    }

    /// Publishes the batch and adds the replies. If there was no room for all of it, says where the
    /// frame begins that has to be read again.
    pub(super) fn publish(&mut self, batch: &mut PublishBatch<'_>) -> Result<(), usize> {
        if batch.is_empty() {
            return Ok(());
        }
        let wants_ids = batch.frames.iter().any(|frame| frame.req != 0);
        let published = if batch.said.is_empty() {
            self.words.session.publish(&batch.messages, wants_ids)
        } else {
            self.publish_said(batch, wants_ids)
        };
        self.answer(batch);
        if published.is_err()
            && let Some((frame, place)) = batch.find(self.words.session.outcomes().len())
        {
            self.published = place;
            return Err(frame.start);
        }
        batch.messages.clear();
        batch.said.clear();
        batch.frames.clear();
        if self.words.session.forget_destinations() {
            self.last_destination = None;
        }
        Ok(())
    }

    /// Publishes a batch with properties.
    fn publish_said(&mut self, batch: &PublishBatch<'_>, wants_ids: bool) -> Result<(), Room> {
        let session = &mut self.words.session;
        let (mut headers, mut ends) = (Vec::new(), Vec::new());
        for (_, said) in &batch.said {
            read_headers(said, &mut headers);
            ends.push(headers.len());
        }
        let mut start = 0;
        let mut all = Vec::with_capacity(ends.len());
        for ((_, said), end) in batch.said.iter().zip(ends) {
            let own = headers.get(start..end).unwrap_or_default();
            all.push(read_properties(said, own, || session.now_ms()));
            start = end;
        }
        let mut messages: Vec<Outgoing<'_>> = batch.messages.clone();
        for ((place, _), properties) in batch.said.iter().zip(&all) {
            if let Some(message) = messages.get_mut(*place) {
                message.properties = properties;
            }
        }
        session.publish(&messages, wants_ids)
    }

    /// Adds what became of the messages that were published.
    fn answer(&mut self, batch: &PublishBatch<'_>) {
        self.replies.clear();
        let session = &self.words.session;
        let mut answers = Answers {
            outbox: session.outbox(),
            out: &mut self.replies,
            confirm: None,
            after: None,
        };
        let mut outcomes = session.outcomes();
        let mut place = 0;
        for frame in &batch.frames {
            let (mut own, rest) = outcomes.split_at(frame.count.min(outcomes.len()));
            outcomes = rest;
            let mut index = frame.first;
            while let Some(first) = own.first() {
                let count = run(own);
                match first {
                    Ok(published) => {
                        if published.is_unroutable && frame.head.is_mandatory {
                            answers.returned(frame, index, batch, place..place + count);
                        }
                        if frame.req != 0 {
                            answers.confirmed(frame.req, (index, count), published);
                        }
                    }
                    Err(refusal) => answers.refused(frame, (index, count), *refusal),
                }
                index += count;
                place += count;
                own = own.get(count..).unwrap_or_default();
            }
        }
        answers.send();
    }
}

/// How many outcomes at the beginning can be told as one: the same, with ids that follow each
/// other.
fn run(outcomes: &[Result<Published, Refusal>]) -> usize {
    let Some(first) = outcomes.first() else { return 0 };
    let is_same = |(place, outcome): (u64, &Result<Published, Refusal>)| match (first, outcome) {
        (Ok(first), Ok(other)) => {
            let id = first.id.map(|id| courant::MessageId { seq: id.seq + place, ..id });
            Published { id, ..*first } == *other
        }
        (Err(first), Err(other)) => first == other,
        _ => false,
    };
    (0..).zip(outcomes).take_while(|each| is_same(*each)).count()
}

/// Replies to a batch on their way into the outbox.
struct Answers<'o> {
    outbox: &'o Outbox,
    out: &'o mut Vec<u8>,
    /// A CONFIRM at the end of `out` that gets more entries.
    confirm: Option<OpenFrame>,
    /// What `out` waits for.
    after: Option<(Ticket, Level)>,
}

impl Answers<'_> {
    fn confirmed(&mut self, req: u32, (index, count): (usize, usize), published: &Published) {
        let after = published.after.map(|ticket| (ticket, published.level));
        if after != self.after {
            self.send();
            self.after = after;
        }
        let level = match published.level {
            Level::Memory => Confirm::Memory,
            Level::Written => Confirm::Written,
            Level::Committed => Confirm::Committed,
        };
        let id = published.id.map(|id| MessageId { shard: id.shard, seq: id.seq });
        let (index, count, queues) = (short(index), short(count), published.queues);
        let out = &mut *self.out;
        self.confirm.get_or_insert_with(|| reply::begin_confirm(out));
        reply::confirmed(self.out, &Confirmed { req, index, count, level, queues, id });
    }

    fn refused(&mut self, frame: &Frame<'_>, (index, count): (usize, usize), refusal: Refusal) {
        self.end_confirm();
        let binary::Destination { kind, raw_name, .. } = frame.head.destination;
        let refused = Refused::at(kind, refusal, &String::from_utf8_lossy(raw_name));
        write_refused(self.out, &refused, frame.req, (short(index), short(count)));
    }

    /// Gives back messages that reached nobody: those of the batch in that range, the first of
    /// which has that place in its frame.
    fn returned(
        &mut self,
        frame: &Frame<'_>,
        index: usize,
        batch: &PublishBatch<'_>,
        places: std::ops::Range<usize>,
    ) {
        self.end_confirm();
        let binary::Destination { raw_name, key, .. } = frame.head.destination;
        for (index, place) in (index..).zip(places) {
            let Some(message) = batch.messages.get(place) else { return };
            let said = batch.said.binary_search_by_key(&place, |(place, _)| *place);
            let said = said.ok().and_then(|at| batch.said.get(at)).map(|(_, said)| *said);
            let mut headers = Vec::new();
            let said = said.unwrap_or_default();
            read_headers(&said, &mut headers);
            let properties = read_properties(&said, &headers, || 0);
            let (req, index, reason) = (frame.req, short(index), "unroutable");
            let returned = reply::Returned { req, index, reason, exchange: raw_name, key };
            let said = |out: &mut Vec<u8>| write_properties(out, &properties);
            reply::returned(self.out, &returned, said, message.payload);
        }
    }

    fn end_confirm(&mut self) {
        if let Some(confirm) = self.confirm.take() {
            confirm.end(self.out);
        }
    }

    fn send(&mut self) {
        self.end_confirm();
        self.outbox.reply(self.out, self.after);
        self.out.clear();
        self.after = None;
    }
}

/// A place or a count of a frame: there are at most [`BATCH_MAX`].
fn short(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}
