//! LIST and PURGE.

use super::message;
use super::publish::text;
use super::refusal::Refused;
use super::talk::Talk;
use courant::{
    BindingPlace, ExchangeId, ExchangeKind, HeaderFilter, ListedBinding, Name, Overflow, QueueId,
    QueueOptions, Refusal, Target,
};
use courant_wire::text::{Destination, DestinationKind, Key, Line, Listed, Options, reply};

/// Things of a list that come at a time, where the client does not say.
const COUNT_DEFAULT: u64 = 100;

impl Talk {
    pub(super) fn list(&mut self, what: Listed, options: &Options<'_>) -> Result<(), Refused> {
        let after = text(options, Key::After)?;
        let count = options.number(Key::Count).unwrap_or(COUNT_DEFAULT);
        let count = usize::try_from(count).unwrap_or(usize::MAX);
        let refused = |refusal| Refused::about(refusal, what.name());
        let (came, more) = match what {
            Listed::Queues => {
                let part = self.session.queues(after.as_deref(), count).map_err(refused)?;
                for (name, (policies, counts)) in &part.items {
                    let mut line = reply::item(&mut self.replies)
                        .text("queue", name.as_str().as_bytes())
                        .number("ready", counts.ready)
                        .number("open", counts.leased)
                        .number("bytes", counts.bytes)
                        .number("subscriptions", u64::from(counts.subscriptions));
                    line = write_policies(line, policies);
                    line.end();
                }
                (part.items.len(), part.more)
            }
            Listed::Exchanges => {
                let part = self.session.exchanges(after.as_deref(), count).map_err(refused)?;
                for (name, (spec, alternate)) in &part.items {
                    let mut line = reply::item(&mut self.replies)
                        .text("exchange", name.as_str().as_bytes())
                        .token("kind", spec.kind.word().as_bytes());
                    if let Some(alternate) = alternate {
                        line = line.text("alternate", alternate.as_str().as_bytes());
                    }
                    line.end();
                }
                (part.items.len(), part.more)
            }
            Listed::Namespaces => {
                let part = self.session.namespaces(after.as_deref(), count).map_err(refused)?;
                for (name, ()) in &part.items {
                    let name = name.as_str().as_bytes();
                    reply::item(&mut self.replies).text("namespace", name).end();
                }
                (part.items.len(), part.more)
            }
            Listed::Bindings => return self.list_bindings(after.as_deref(), count, options.req()),
            Listed::Workers => {
                let mut workers = self.broker.workers();
                workers.retain(|worker| self.session.inspect(&worker.queue).is_ok());
                for worker in &workers {
                    reply::item(&mut self.replies)
                        .number("worker", u64::from(worker.id))
                        .token("kind", worker.kind.as_bytes())
                        .text("queue", worker.queue.as_bytes())
                        .number("done", worker.done)
                        .number("ready", worker.ready)
                        .end();
                }
                (workers.len(), None)
            }
            _ => {
                let what = format!("LIST {}", what.name());
                return Err(Refused::about(Refusal::NotSupported, &what));
            }
        };
        let mut line = Line::ok(&mut self.replies, options.req()).number("count", came as u64);
        if let Some(name) = more {
            line = line.yes_no("more", true).text("after", name.as_str().as_bytes());
        }
        line.end();
        Ok(())
    }

    fn list_bindings(
        &mut self,
        after: Option<&str>,
        count: usize,
        req: Option<&[u8]>,
    ) -> Result<(), Refused> {
        let bad = || Refused::about(Refusal::BadOption, "after:");
        let after = after.map(|after| read_place(after).ok_or_else(bad)).transpose()?;
        let listed = self.session.bindings(after.as_ref(), count);
        let (bindings, more) = listed.map_err(|refusal| Refused::about(refusal, "bindings"))?;
        for binding in &bindings {
            let word = match binding.target {
                Target::Queue(_) => "queue",
                Target::Exchange(_) => "exchange",
            };
            let line = reply::item(&mut self.replies)
                .text("from", binding.exchange.as_str().as_bytes())
                .text(word, binding.to.as_str().as_bytes());
            said_of(line, binding).end();
        }
        let count = bindings.len() as u64;
        let mut line = Line::ok(&mut self.replies, req).number("count", count);
        if let Some(place) = more {
            line = line.yes_no("more", true).text("after", write_place(&place).as_bytes());
        }
        line.end();
        Ok(())
    }

    pub(super) async fn purge(
        &mut self,
        destination: &Destination<'_>,
        req: Option<&[u8]>,
    ) -> Result<(), Refused> {
        let mut buffer = Vec::new();
        let name = destination.name(&mut buffer)?;
        if destination.kind != DestinationKind::Queue {
            return Err(Refused::about(Refusal::BadOption, "anything but a queue"));
        }
        let purged = self.session.purge(name).await;
        let messages = purged.map_err(|refusal| Refused::about(refusal, name))?;
        Line::ok(&mut self.replies, req).number("messages", messages).end();
        Ok(())
    }
}

/// What a binding says, in the words of BIND.
fn said_of<'o>(mut line: Line<'o>, binding: &ListedBinding) -> Line<'o> {
    match binding.kind {
        ExchangeKind::Headers => match HeaderFilter::decode(&binding.key) {
            Some(filter) => {
                line = line.token("match", filter.mode.word().as_bytes());
                message::headers(line, &filter.headers)
            }
            None => line,
        },
        ExchangeKind::Hash if !binding.key.is_empty() => line.token("weight", &binding.key),
        _ if binding.key.is_empty() => line,
        _ => line.text("key", &binding.key),
    }
}

/// A place in the list of bindings as a client gives it back: the exchange, the key and what it
/// leads to, split by line ends, which no name has. An exchange alone is behind all of it.
fn write_place(place: &BindingPlace) -> String {
    let Some((key, target)) = &place.at else { return place.exchange.to_string() };
    let hex: String = key.iter().fold(String::new(), |hex, byte| hex + &format!("{byte:02x}"));
    let (word, number) = match target {
        Target::Queue(id) => ("q", id.0),
        Target::Exchange(id) => ("e", id.0),
    };
    format!("{}\n{hex}\n{word}{number}", place.exchange)
}

fn read_place(text: &str) -> Option<BindingPlace> {
    let mut parts = text.split('\n');
    let exchange = Name::new(parts.next()?.as_bytes()).ok()?;
    let Some(hex) = parts.next() else { return Some(BindingPlace { exchange, at: None }) };
    let (pairs, []) = hex.as_bytes().as_chunks::<2>() else { return None };
    let mut key = Vec::new();
    for pair in pairs {
        key.push(u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?);
    }
    let target = parts.next()?;
    let target = if let Some(number) = target.strip_prefix('q') {
        Target::Queue(QueueId(number.parse().ok()?))
    } else {
        Target::Exchange(ExchangeId(target.strip_prefix('e')?.parse().ok()?))
    };
    Some(BindingPlace { exchange, at: Some((key.into(), target)) })
}

/// Adds the policies of a queue that are not the usual ones, with the keys of DECLARE.
fn write_policies<'o>(mut line: Line<'o>, policies: &QueueOptions) -> Line<'o> {
    let usual = QueueOptions::default();
    if !policies.durable {
        line = line.yes_no("durable", false);
    }
    for (key, is_set) in
        [(Key::Exclusive, policies.exclusive), (Key::AutoDelete, policies.auto_delete)]
    {
        if is_set {
            line = line.yes_no(key.name(), true);
        }
    }
    let visibility = Some(policies.visibility_ms).filter(|ms| *ms != usual.visibility_ms);
    for (key, number) in [
        (Key::Visibility, visibility),
        (Key::Expires, policies.expires_ms),
        (Key::MaxLength, policies.max_length),
        (Key::MaxBytes, policies.max_bytes),
        (Key::MaxMessageBytes, policies.max_message_bytes.map(u64::from)),
        (Key::MessageTtl, policies.message_ttl_ms),
        (Key::MaxAttempts, policies.max_attempts.map(u64::from)),
    ] {
        if let Some(number) = number {
            line = line.number(key.name(), number);
        }
    }
    match policies.overflow {
        Overflow::Reject => line,
        Overflow::Block => line.token("overflow", b"block"),
        Overflow::DropOldest => line.token("overflow", b"drop-oldest"),
    }
}
