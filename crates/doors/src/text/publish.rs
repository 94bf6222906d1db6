//! PUB: consecutive ones of one read become one batch.

use super::refusal;
use super::talk::Talk;
use crate::option::{Carrying, not_text, text};
use crate::refusal::Refused;
use courant::{
    DestinationId, Header, Level, Outgoing, Properties, Published, Refusal, Room, Ticket,
};
use courant_wire::text::reply::{self, Returned};
use courant_wire::text::{Confirm, Destination, DestinationKind, Key, Options, Publish, Verb};

/// Messages of one read that go to the broker together.
#[derive(Debug, Default)]
pub(crate) struct PublishBatch<'a> {
    messages: Vec<Outgoing<'a>>,
    /// Token and ordinal of each.
    asked: Vec<(Option<&'a [u8]>, u64)>,
    /// Where each ends in what was read; nothing for one that stands alone.
    ends: Vec<usize>,
    /// End and ordinal of the last that was published of a batch that found no room.
    done: Option<(usize, u64)>,
    wants_ids: bool,
    /// What to say of a message that reaches nobody, where that was asked; it is alone then.
    returned: Option<Returned<'a>>,
}

impl PublishBatch<'_> {
    pub(crate) fn is_empty(&self) -> bool {
        self.messages.is_empty()
    }

    /// The message added last ends there.
    pub(crate) fn note_end(&mut self, at: usize) {
        if self.ends.len() < self.messages.len() {
            self.ends.push(at);
        }
    }

    /// How far it was published, if only in part.
    pub(crate) fn done(&self) -> Option<(usize, u64)> {
        self.done
    }

    /// Forgets the first messages, which are published.
    fn forget(&mut self, count: usize) {
        if count > 0 {
            self.done = self
                .ends
                .get(count - 1)
                .zip(self.asked.get(count - 1))
                .map(|(end, (_, ordinal))| (*end, *ordinal));
        }
        self.messages.drain(..count.min(self.messages.len()));
        self.asked.drain(..count.min(self.asked.len()));
        self.ends.drain(..count.min(self.ends.len()));
    }
}

impl Talk {
    /// Adds a message with nothing but `req:` to the batch.
    pub(crate) fn add_plain<'a>(
        &mut self,
        publish: &Publish<'a>,
        ordinal: u64,
        batch: &mut PublishBatch<'a>,
    ) -> Result<(), Refused> {
        let to = self.find(&publish.destination)?;
        let req = publish.options.req();
        batch.wants_ids |= self.words.is_verbose || req.is_some();
        batch.messages.push(Outgoing {
            to,
            properties: &Properties::NONE,
            payload: publish.body,
            level: Level::Committed,
            is_durable: true,
        });
        batch.asked.push((req, ordinal));
        Ok(())
    }

    /// The number of a destination: that of the last one if it is written the same.
    fn find(&mut self, destination: &Destination<'_>) -> Result<DestinationId, Refused> {
        let raw = destination.raw_name.raw();
        if let Some((kind, word, id)) = &self.last_destination.word
            && *kind == destination.kind
            && word == raw
        {
            return Ok(*id);
        }
        let mut buffer = Vec::new();
        let name = destination.name(&mut buffer)?;
        let id = self.words.session.destination(to(destination.kind, name, b""));
        self.last_destination.word = Some((destination.kind, raw.to_vec(), id));
        Ok(id)
    }

    /// Publishes the batch and adds the replies. What found no room stays in it.
    pub(crate) fn publish(&mut self, batch: &mut PublishBatch<'_>) -> Result<(), Room> {
        if batch.is_empty() {
            return Ok(());
        }
        let published = self.words.session.publish(&batch.messages, batch.wants_ids);
        let count = self.words.session.outcomes().len();
        self.words.replies.clear();
        let mut after = None;
        for (at, (req, ordinal)) in batch.asked.iter().enumerate() {
            let Some(outcome) = self.words.session.outcomes().get(at).copied() else { break };
            let wanted = outcome.ok().and_then(|p| p.after.map(|ticket| (ticket, p.level)));
            if wanted != after {
                self.send_replies(after);
                after = wanted;
            }
            if outcome.is_ok_and(|published| published.is_unroutable)
                && let (Some(returned), Some(message)) = (&batch.returned, batch.messages.get(at))
            {
                reply::returned(&mut self.words.replies, returned, message.payload);
            }
            self.write_outcome(outcome, *req, *ordinal);
        }
        self.send_replies(after);
        batch.forget(count);
        published?;
        (batch.wants_ids, batch.done) = (false, None);
        if self.words.session.forget_destinations() {
            self.last_destination.word = None;
        }
        Ok(())
    }

    fn send_replies(&mut self, after: Option<(Ticket, Level)>) {
        self.words.session.outbox().reply(&self.words.replies, after);
        self.words.replies.clear();
    }

    fn write_outcome(
        &mut self,
        outcome: Result<Published, Refusal>,
        req: Option<&[u8]>,
        ordinal: u64,
    ) {
        match outcome {
            Ok(published) => {
                if self.words.is_verbose || req.is_some() {
                    write_published(&mut self.words.replies, req, &published);
                }
            }
            Err(refusal) => {
                let subject = self.last_destination.name();
                let refused = Refused::about(refusal, &subject);
                let command = (!self.words.is_verbose).then_some((Verb::Pub, ordinal));
                refusal::write_reply(&mut self.words.replies, &refused, req, command);
            }
        }
    }

    /// Publishes a message with options of any kind, alone.
    pub(crate) fn publish_with_options(
        &mut self,
        publish: &Publish<'_>,
        ordinal: u64,
    ) -> Result<Result<(), Room>, Refused> {
        let options = &publish.options;
        if let Some(key) = options.first_unsupported() {
            return Err(Refused::about(Refusal::NotSupported, &format!("{}:", key.name())));
        }
        let mut buffer = Vec::new();
        let name = publish.destination.name(&mut buffer)?;
        let key = text(options, Key::RoutingKey)?.unwrap_or_default();
        let kind = match publish.destination.kind {
            // A topic with a key is the exchange that it is a name for.
            DestinationKind::Topic if !key.is_empty() => DestinationKind::Exchange,
            kind => kind,
        };
        let mut carried = Carried::read(options)?;
        let ttl_ms = options.number(Key::Ttl);
        carried.deadline_ms = ttl_ms.map(|ms| self.words.session.now_ms().saturating_add(ms));
        let headers = carried.headers();
        let properties = carried.properties(&headers);
        let id = self.words.session.destination(to(kind, name, key.as_bytes()));
        let level = match options.confirm() {
            Some(Confirm::Memory) => Level::Memory,
            Some(Confirm::Written) => Level::Written,
            Some(Confirm::Committed) | None => Level::Committed,
        };
        let is_durable = options.yes_no(Key::Durable).unwrap_or(true);
        let payload = publish.body;
        self.last_destination.word = Some((kind, name.as_bytes().to_vec(), id));
        let is_mandatory = options.yes_no(Key::Mandatory) == Some(true);
        let (exchange, req) = (name.as_bytes(), options.req());
        let returned = Returned { exchange, key: key.as_bytes(), reason: "unroutable", req };
        let mut batch = PublishBatch {
            messages: vec![Outgoing {
                to: id,
                properties: &properties,
                payload,
                level,
                is_durable,
            }],
            asked: vec![(options.req(), ordinal)],
            ends: Vec::new(),
            done: None,
            wants_ids: self.words.is_verbose || options.req().is_some(),
            returned: is_mandatory.then_some(returned),
        };
        let done = self.publish(&mut batch);
        // What was remembered is the unescaped name: the next plain PUB looks its own up.
        self.last_destination.word = None;
        Ok(done)
    }
}

fn to<'a>(kind: DestinationKind, name: &'a str, key: &'a [u8]) -> courant::Destination<'a> {
    match kind {
        DestinationKind::Queue => courant::Destination::Queue(name),
        DestinationKind::Topic => courant::Destination::Topic(name),
        DestinationKind::Exchange | DestinationKind::Namespace => {
            courant::Destination::Exchange(name, key)
        }
    }
}

fn write_published(out: &mut Vec<u8>, req: Option<&[u8]>, published: &Published) {
    let Some(id) = published.id else {
        match req {
            Some(req) => reply::ok_req(out, req),
            None => reply::ok(out),
        }
        return;
    };
    let level = match published.level {
        Level::Memory => Confirm::Memory,
        Level::Written => Confirm::Written,
        Level::Committed => Confirm::Committed,
    };
    let id = courant_wire::MessageId { shard: id.shard, seq: id.seq };
    let queues = published.queues;
    reply::published(out, req, &reply::Published { id, level, queues, duplicates: None });
}

/// The options that travel with a message, unescaped.
#[derive(Debug, Default)]
struct Carried {
    headers: Vec<Carrying>,
    content_type: Option<String>,
    content_encoding: Option<String>,
    correlation_id: Option<Vec<u8>>,
    reply_to: Option<String>,
    app_id: Option<String>,
    timestamp_ms: Option<u64>,
    deadline_ms: Option<u64>,
}

impl Carried {
    fn read(options: &Options<'_>) -> Result<Self, Refused> {
        let mut headers = Vec::new();
        for header in options.headers() {
            headers.push(Carrying::read(&header)?);
        }
        let mut buffer = Vec::new();
        let correlation_id = match options.get(Key::CorrelationId) {
            Some(value) => {
                Some(value.bytes(&mut buffer).map_err(|_| not_text("correlation_id"))?.to_vec())
            }
            None => None,
        };
        Ok(Self {
            headers,
            content_type: text(options, Key::ContentType)?,
            content_encoding: text(options, Key::ContentEncoding)?,
            correlation_id,
            reply_to: text(options, Key::ReplyTo)?,
            app_id: text(options, Key::AppId)?,
            timestamp_ms: options.number(Key::Timestamp),
            deadline_ms: None,
        })
    }

    fn headers(&self) -> Vec<Header<'_>> {
        self.headers.iter().map(Carrying::header).collect()
    }

    fn properties<'a>(&'a self, headers: &'a [Header<'a>]) -> Properties<'a> {
        Properties {
            headers,
            content_type: self.content_type.as_deref(),
            content_encoding: self.content_encoding.as_deref(),
            correlation_id: self.correlation_id.as_deref(),
            reply_to: self.reply_to.as_deref(),
            app_id: self.app_id.as_deref(),
            timestamp_ms: self.timestamp_ms,
            deadline_ms: self.deadline_ms,
            ..Properties::default()
        }
    }
}
