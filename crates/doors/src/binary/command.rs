//! What each command but PUBLISH and SETTLE asks of the broker, waiting where it has to.

use super::live::LiveFrames;
use super::message::write_delivery;
use super::outlet::RUN_BYTES_MAX;
use super::refusal::write_refused;
use super::talk::Talk;
use crate::connection::Next;
use crate::refusal::Refused;
use crate::subscriptions::Subscription;
use courant::{Refusal, Settling, SubscribeOptions, Subscribed, Tag};
use courant_wire::binary::{Command, Get, Subscribe, reply};
use courant_wire::text::DestinationKind;
use courant_wire::validate_name;
use std::sync::Arc;

impl Talk {
    pub(super) async fn run_one(&mut self, req: u32, command: Command<'_>) -> Next {
        self.replies.clear();
        for tag in self.subscriptions.take_ended() {
            self.words.session.forget(tag);
        }
        let (is_subscribe, is_quit) =
            (matches!(command, Command::Subscribe(_)), command == Command::Quit);
        let done = match command {
            Command::Subscribe(subscribe) => self.subscribe(&subscribe).await,
            Command::Unsubscribe { sub } => self.unsubscribe(sub),
            Command::Credit { sub: 0, messages, bytes } => {
                let messages = (messages != 0).then_some(messages);
                self.words.session.set_credit(messages, (bytes != 0).then_some(bytes));
                Ok(())
            }
            Command::Credit { sub, messages, .. } => self.credit(sub, messages),
            Command::Get(get) => match self.get(&get).await {
                Ok(count) => {
                    if req != 0 {
                        reply::ok(&mut self.replies, req, count, b"");
                    }
                    self.send();
                    return Next::Go;
                }
                Err(refused) => Err(refused),
            },
            Command::Line { command } => match self.line(req, &command).await {
                Ok(()) => {
                    self.send();
                    return Next::Go;
                }
                Err(refused) => Err(refused),
            },
            Command::Connect { .. } => Err(Refused::about(Refusal::AlreadyConnected, "")),
            // PUBLISH, SETTLE and PING are the reader's; PONG has no reply.
            _ => Ok(()),
        };
        let mut next = if is_quit { Next::Close } else { Next::Go };
        match done {
            Ok(()) if req != 0 => reply::ok(&mut self.replies, req, 0, b""),
            Ok(()) => {}
            Err(refused) => {
                self.replies.clear();
                write_refused(&mut self.replies, &refused, req, (0, 0));
                if refused.closes {
                    next = Next::Close;
                }
            }
        }
        self.words.session.outbox().reply(&self.replies, None);
        self.replies.clear();
        if is_subscribe {
            self.words.session.begin_deliveries();
        }
        self.words.session.outbox().flush();
        next
    }

    fn send(&mut self) {
        self.words.session.outbox().reply(&self.replies, None);
        self.replies.clear();
        self.words.session.outbox().flush();
    }

    async fn subscribe(&mut self, wanted: &Subscribe<'_>) -> Result<(), Refused> {
        let name = wanted.destination.name()?;
        let (kind, key) = (wanted.destination.kind, wanted.destination.key);
        let sub_id = wanted.sub.to_string();
        if self.subscriptions.tag(sub_id.as_bytes()).is_some() {
            return Err(Refused::about(Refusal::SubscriptionExists, &sub_id));
        }
        let to = match kind {
            DestinationKind::Queue => Subscribed::Queue(name),
            _ if wanted.is_live => {
                Subscribed::Live(name, key, Arc::new(LiveFrames::new(wanted.sub)))
            }
            _ if wanted.subscriber.is_empty() => Subscribed::Topic(name, key),
            _ => Subscribed::Durable(name, key, validate_name(wanted.subscriber)?),
        };
        let defaults = SubscribeOptions::default();
        let options = SubscribeOptions {
            credit: wanted.credit.unwrap_or(defaults.credit),
            settling: settling(wanted.is_auto),
            visibility_ms: wanted.visibility,
            credit_bytes: wanted.credit_bytes,
        };
        let prefix = wanted.sub.to_be_bytes().to_vec();
        let subscription = Subscription::new((kind, name), sub_id.as_bytes(), prefix);
        let tag = self.next_tag;
        self.next_tag = tag.wrapping_add(1);
        self.subscriptions.add(tag, Arc::new(subscription));
        let subscribed = self.words.session.subscribe(to, tag, options).await;
        subscribed.map_err(|refusal| {
            self.subscriptions.remove(tag);
            Refused::at(kind, refusal, name)
        })
    }

    fn tag_of(&self, sub: u32) -> Result<(Tag, String), Refused> {
        let sub_id = sub.to_string();
        match self.subscriptions.tag(sub_id.as_bytes()) {
            Some(tag) => Ok((tag, sub_id)),
            None => Err(Refused::about(Refusal::NoSuchSubscription, &sub_id)),
        }
    }

    fn unsubscribe(&mut self, sub: u32) -> Result<(), Refused> {
        let (tag, sub_id) = self.tag_of(sub)?;
        let done = self.words.session.unsubscribe(tag);
        done.map_err(|refusal| Refused::about(refusal, &sub_id))?;
        self.subscriptions.leave(tag);
        Ok(())
    }

    fn credit(&mut self, sub: u32, more: u32) -> Result<(), Refused> {
        let (tag, sub_id) = self.tag_of(sub)?;
        let done = self.words.session.credit(tag, more);
        done.map_err(|refusal| Refused::about(refusal, &sub_id))
    }

    /// Adds what a queue has, and says how many messages that are.
    async fn get(&mut self, get: &Get<'_>) -> Result<u32, Refused> {
        let name = get.destination.name()?;
        if get.destination.kind != DestinationKind::Queue {
            return Err(Refused::about(Refusal::NotSupported, "GET from something not a queue"));
        }
        let mut count = 0;
        let mut open = reply::begin_deliver(&mut self.replies, 0);
        // More than waits for a client is not taken for it.
        while count < u32::from(get.count) && self.replies.len() < courant::limits::OUTBOX_BYTES_MAX
        {
            match self.words.session.claim(name, settling(get.is_auto), None).await {
                Ok(claimed) => {
                    let Some(message) = claimed.message() else { continue };
                    if open.body_bytes(&self.replies) >= RUN_BYTES_MAX {
                        open.end(&mut self.replies);
                        open = reply::begin_deliver(&mut self.replies, 0);
                    }
                    let is_plain = message.exchange.is_empty() && message.key == name.as_bytes();
                    write_delivery(&mut self.replies, &message, is_plain);
                    count += 1;
                }
                // What was taken is sent; what is wrong shows with the next GET.
                Err(_) if count > 0 => break,
                Err(refusal) => return Err(Refused::about(refusal, name)),
            }
        }
        open.end(&mut self.replies);
        Ok(count)
    }
}

fn settling(is_auto: bool) -> Settling {
    if is_auto { Settling::Auto } else { Settling::Manual }
}
