//! What each command but PUB asks of the broker.
//!
//! Settles of one read are one batch ([`SettleBatch`]). What may have to wait (for a commit, for a
//! disk) is done by [`Talk::run_one`], which is async; everything before it is not.

use super::live::LiveFrames;
use super::talk::Talk;
use super::{message, refusal};
use crate::connection::Next;
use crate::option::text;
use crate::refusal::Refused;
use crate::subscriptions::Subscription;
use crate::words::check_options;
use courant::{Handle, Lease, Refusal, Selector, Settling, SubscribeOptions, Subscribed, Verdict};
use courant_wire::text::reply;
use courant_wire::text::{
    AckMode, Command, Destination, DestinationKind, Key, Line, Options, Settle, SubMode, Verb,
};
use std::sync::Arc;

/// Settles of one read that go to the broker together.
#[derive(Debug, Default)]
pub(crate) struct SettleBatch<'a> {
    verdicts: Vec<(Selector, Verdict)>,
    /// Verb, token, ordinal and number of verdicts of each command.
    asked: Vec<(Verb, Option<&'a [u8]>, u64, usize)>,
}

impl SettleBatch<'_> {
    pub(crate) fn is_empty(&self) -> bool {
        self.asked.is_empty()
    }
}

impl Talk {
    /// Adds a settle to the batch.
    pub(crate) fn add_settle<'a>(
        verb: Verb,
        settle: &Settle<'a>,
        ordinal: u64,
        batch: &mut SettleBatch<'a>,
    ) -> Result<(), Refused> {
        if let Some(key) = settle.options.first_unsupported() {
            return Err(Refused::about(Refusal::NotSupported, &format!("{}:", key.name())));
        }
        let verdict = match verb {
            Verb::Ack => Verdict::Ack,
            Verb::Nack if settle.options.yes_no(Key::Requeue) == Some(false) => Verdict::Reject,
            Verb::Nack => Verdict::Nack,
            Verb::Reject => Verdict::Reject,
            _ => Verdict::Extend(settle.options.number(Key::Ms)),
        };
        let before = batch.verdicts.len();
        let one = |handle: courant_wire::Handle| match handle.lease {
            Some(lease) => Selector::One(Handle { seq: handle.id.seq, lease: Lease(lease) }),
            None => Selector::Message(handle.id.seq),
        };
        batch.verdicts.extend(settle.handles().map(|handle| (one(handle), verdict)));
        if let Some(courant_wire::Handle { id, lease: Some(lease) }) = settle.upto() {
            let handle = Handle { seq: id.seq, lease: Lease(lease) };
            batch.verdicts.push((Selector::UpTo(handle), verdict));
        }
        let count = batch.verdicts.len() - before;
        batch.asked.push((verb, settle.options.req(), ordinal, count));
        Ok(())
    }

    /// Settles the batch and adds the replies.
    pub(crate) fn settle(&mut self, batch: &mut SettleBatch<'_>, is_synced: bool) {
        if batch.is_empty() {
            return;
        }
        self.settled.clear();
        self.words.session.settle(&batch.verdicts, &mut self.settled);
        let after = if is_synced {
            match self.words.session.settles_synced() {
                Ok(ticket) => Some((ticket, courant::Level::Committed)),
                Err(refusal) => {
                    self.settled.fill(Err(refusal));
                    None
                }
            }
        } else {
            None
        };
        self.words.replies.clear();
        let mut at = 0;
        for (verb, req, ordinal, count) in batch.asked.drain(..) {
            let results = self.settled.get(at..at + count).unwrap_or_default();
            let failed = results.iter().position(Result::is_err);
            match failed.and_then(|i| Some((i, results.get(i)?.err()?))) {
                Some((i, refusal)) => {
                    let subject = batch.verdicts.get(at + i).map(subject_of).unwrap_or_default();
                    let refused = Refused::about(refusal, &subject);
                    let command = (!self.words.is_verbose).then_some((verb, ordinal));
                    refusal::write_reply(&mut self.words.replies, &refused, req, command);
                }
                None => self.words.write_ok(req),
            }
            at += count;
        }
        batch.verdicts.clear();
        self.words.session.outbox().reply(&self.words.replies, after);
        self.words.replies.clear();
    }

    /// Does any other command, waiting where it has to. The reply is added.
    pub(super) async fn run_one(&mut self, command: &Command<'_>, ordinal: u64) -> Next {
        self.words.replies.clear();
        let (verb, req) = (command.verb(), command.req());
        for tag in self.subscriptions.take_ended() {
            self.words.session.forget(tag);
        }
        let done = self.carry_out(command).await;
        let done = done.map_err(|refused| self.words.naming_quota(refused));
        let mut next = if verb == Verb::Quit { Next::Close } else { Next::Go };
        if let Err(refused) = done {
            self.words.replies.clear();
            let command = (!self.words.is_verbose).then_some((verb, ordinal));
            refusal::write_reply(&mut self.words.replies, &refused, req, command);
            if refused.closes {
                next = Next::Close;
            }
        }
        self.words.session.outbox().reply(&self.words.replies, None);
        self.words.replies.clear();
        if verb == Verb::Sub {
            self.words.session.begin_deliveries();
        }
        self.words.session.outbox().flush();
        next
    }

    /// Does a command that is the connection's own, or one of [`Words`]. What there is to say is in
    /// the replies, unless it is refused.
    async fn carry_out(&mut self, command: &Command<'_>) -> Result<(), Refused> {
        let req = command.req();
        check_options(command)?;
        match command {
            Command::Subscribe { destination, options } => {
                self.subscribe(destination, options).await
            }
            Command::Unsubscribe { sub_id, .. } => self.unsubscribe(sub_id, req),
            Command::Credit { sub_id: Some(sub_id), n: Some(n), .. } => {
                self.credit(sub_id, *n, req)
            }
            Command::Credit { n, options, .. } => {
                self.words.session.set_credit(*n, options.number(Key::Bytes));
                self.words.write_ok(req);
                Ok(())
            }
            Command::Get { destination, options } => self.get(destination, options).await,
            Command::Quit { .. } => {
                Line::ok(&mut self.words.replies, req).end();
                Ok(())
            }
            Command::Connect { .. } => Err(Refused::about(Refusal::AlreadyConnected, "")),
            // PUB, settles and PING are the reader's; PONG has no reply.
            _ => self.words.carry_out(command).await,
        }
    }

    async fn subscribe(
        &mut self,
        destination: &Destination<'_>,
        options: &Options<'_>,
    ) -> Result<(), Refused> {
        let mut buffer = Vec::new();
        let name = destination.name(&mut buffer)?;
        let refused = |refusal| Refused::at(destination.kind, refusal, name);
        let given = options.token(Key::SubId);
        let chosen;
        let sub_id = if let Some(given) = given {
            if self.subscriptions.tag(given).is_some() {
                let given = String::from_utf8_lossy(given);
                return Err(Refused::about(Refusal::SubscriptionExists, &given));
            }
            given
        } else {
            chosen = self.choose_sub_id();
            chosen.as_bytes()
        };
        let is_live = options.sub_mode() == SubMode::Live;
        let key = text(options, Key::RoutingKey)?.unwrap_or_default();
        let durable = text(options, Key::Name)?;
        let prefix = prefix_of(destination, (sub_id, given.is_some()), is_live);
        let what = (destination.kind, name);
        let subscription = Arc::new(Subscription::new(what, sub_id, prefix));
        let to = match (destination.kind, &durable) {
            (DestinationKind::Queue, _) => Subscribed::Queue(name),
            (_, _) if is_live => {
                let format = Arc::new(LiveFrames(Arc::clone(&subscription)));
                Subscribed::Live(name, key.as_bytes(), format)
            }
            (_, Some(durable)) => Subscribed::Durable(name, key.as_bytes(), durable),
            (_, None) => Subscribed::Topic(name, key.as_bytes()),
        };
        let tag = self.next_tag;
        self.next_tag = self.next_tag.wrapping_add(1);
        self.subscriptions.add(tag, Arc::clone(&subscription));
        let subscribed = self.words.session.subscribe(to, tag, subscribe_options(options)).await;
        if let Err(refusal) = subscribed {
            self.subscriptions.remove(tag);
            return Err(refused(refusal));
        }
        if given.is_none() {
            Line::ok(&mut self.words.replies, options.req()).token("sub_id", sub_id).end();
        } else {
            self.words.write_ok(options.req());
        }
        Ok(())
    }

    fn choose_sub_id(&self) -> String {
        let mut number = u64::from(self.next_tag) + 1;
        loop {
            let name = format!("s{number}");
            if self.subscriptions.tag(name.as_bytes()).is_none() {
                return name;
            }
            number += 1;
        }
    }

    fn tag_of(&self, sub_id: &[u8]) -> Result<courant::Tag, Refused> {
        self.subscriptions.tag(sub_id).ok_or_else(|| {
            let name = String::from_utf8_lossy(sub_id);
            Refused::about(Refusal::NoSuchSubscription, &name)
        })
    }

    fn unsubscribe(&mut self, sub_id: &[u8], req: Option<&[u8]>) -> Result<(), Refused> {
        let tag = self.tag_of(sub_id)?;
        let name = String::from_utf8_lossy(sub_id).into_owned();
        self.words.session.unsubscribe(tag).map_err(|refusal| Refused::about(refusal, &name))?;
        self.subscriptions.leave(tag);
        self.words.write_ok(req);
        Ok(())
    }

    fn credit(&mut self, sub_id: &[u8], more: u32, req: Option<&[u8]>) -> Result<(), Refused> {
        let tag = self.tag_of(sub_id)?;
        let name = String::from_utf8_lossy(sub_id).into_owned();
        self.words.session.credit(tag, more).map_err(|refusal| Refused::about(refusal, &name))?;
        self.words.write_ok(req);
        Ok(())
    }

    async fn get(
        &mut self,
        destination: &Destination<'_>,
        options: &Options<'_>,
    ) -> Result<(), Refused> {
        let mut buffer = Vec::new();
        let name = destination.name(&mut buffer)?;
        if destination.kind != DestinationKind::Queue {
            return Err(Refused::about(Refusal::NotSupported, "GET from something not a queue"));
        }
        let settling = match options.ack_mode() {
            AckMode::Auto => Settling::Auto,
            AckMode::Manual => Settling::Manual,
        };
        let wanted = options.number(Key::Count).unwrap_or(1);
        let mut word = Vec::new();
        write_destination(&mut word, destination);
        let mut prefix = Vec::new();
        reply::msg_prefix(&mut prefix, &word, None, options.req());
        let mut count = 0;
        // More than waits for a client is not taken for it.
        while count < wanted && self.words.replies.len() < courant::limits::OUTBOX_BYTES_MAX {
            match self.words.session.claim(name, settling, None).await {
                Ok(claimed) => {
                    let Some(message) = claimed.message() else { continue };
                    let plain =
                        |exchange: &[u8], key: &[u8]| exchange.is_empty() && key == name.as_bytes();
                    message::write_message(&mut self.words.replies, &prefix, &message, plain);
                    count += 1;
                }
                // What was taken is sent; what is wrong shows with the next GET.
                Err(_) if count > 0 => break,
                Err(refusal) => return Err(Refused::about(refusal, name)),
            }
        }
        Line::ok(&mut self.words.replies, options.req()).number("count", count).end();
        Ok(())
    }
}

/// Writes a destination as it stood on its line.
fn write_destination(out: &mut Vec<u8>, destination: &Destination<'_>) {
    out.extend_from_slice(destination.kind.name().as_bytes());
    out.push(b':');
    out.extend_from_slice(destination.raw_name.raw());
}

/// What the messages of a subscription begin with. `is_given` says that the client chose its id.
fn prefix_of(
    destination: &Destination<'_>,
    (sub_id, is_given): (&[u8], bool),
    is_live: bool,
) -> Vec<u8> {
    let (mut word, mut prefix) = (Vec::new(), Vec::new());
    write_destination(&mut word, destination);
    if is_live {
        reply::live_prefix(&mut prefix, &word, is_given.then_some(sub_id));
    } else {
        reply::msg_prefix(&mut prefix, &word, Some(sub_id), None);
    }
    prefix
}

fn subscribe_options(options: &Options<'_>) -> SubscribeOptions {
    let defaults = SubscribeOptions::default();
    let credit = options.number(Key::Credit).and_then(|credit| u32::try_from(credit).ok());
    SubscribeOptions {
        credit: credit.unwrap_or(defaults.credit),
        settling: match options.ack_mode() {
            AckMode::Auto => Settling::Auto,
            AckMode::Manual => Settling::Manual,
        },
        visibility_ms: options.number(Key::Visibility),
        credit_bytes: options.number(Key::CreditBytes),
    }
}

fn subject_of((selector, _): &(Selector, Verdict)) -> String {
    let (seq, lease) = match selector {
        Selector::One(handle) | Selector::UpTo(handle) => (handle.seq, Some(handle.lease.0)),
        Selector::Message(seq) => (*seq, None),
    };
    courant_wire::Handle { id: courant_wire::MessageId { shard: 0, seq }, lease }.to_string()
}
