//! LIST and PURGE. What is said of each thing is in `item.rs`.

use crate::item;
use crate::option::text;
use crate::refusal::Refused;
use crate::words::Words;
use courant::{
    BindTo, BindingPlace, ExchangeId, Name, QueueId, Refusal, SubscriptionPlace, Target,
};
use courant_wire::text::{Destination, DestinationKind, Key, Line, Listed, Options, reply};

/// Things of a list that come at a time, where the client does not say.
const COUNT_DEFAULT: u64 = 100;

/// How many came, and what the list goes on behind.
type Came = (usize, Option<String>);

/// Which part of a list is asked for.
struct Wanted<'a> {
    after: Option<&'a str>,
    count: usize,
    /// Of what alone.
    of: Option<BindTo<'a>>,
}

impl Words {
    pub(crate) fn list(
        &mut self,
        what: Listed,
        of: Option<&Destination<'_>>,
        options: &Options<'_>,
    ) -> Result<(), Refused> {
        let after = text(options, Key::After)?;
        let count = options.number(Key::Count).unwrap_or(COUNT_DEFAULT);
        let count = usize::try_from(count).unwrap_or(usize::MAX);
        let mut buffer = Vec::new();
        let of = match of {
            Some(of) => Some((of.kind, of.name(&mut buffer)?)),
            None => None,
        };
        let wanted = Wanted {
            after: after.as_deref(),
            count,
            of: of.map(|(kind, name)| match kind {
                DestinationKind::Queue => BindTo::Queue(name),
                _ => BindTo::Exchange(name),
            }),
        };
        let listed = match what {
            Listed::Queues => self.list_queues(&wanted),
            Listed::Exchanges => self.list_exchanges(&wanted),
            Listed::Bindings => self.list_bindings(&wanted),
            Listed::Subscriptions => self.list_subscriptions(&wanted),
            Listed::Sessions => self.list_sessions(&wanted),
            Listed::Workers => self.list_workers(&wanted),
            Listed::Namespaces => self.list_namespaces(&wanted),
        };
        let (came, more) = listed.map_err(|refusal| match (refusal, of) {
            (Refusal::BadOption, _) => Refused::about(refusal, "after:"),
            (_, Some((kind, name))) => Refused::at(kind, refusal, name),
            _ => Refused::about(refusal, what.name()),
        })?;
        let mut line = Line::ok(&mut self.replies, options.req()).number("count", came as u64);
        if let Some(after) = more {
            line = line.yes_no("more", true).text("after", after.as_bytes());
        }
        line.end();
        Ok(())
    }

    fn list_queues(&mut self, wanted: &Wanted<'_>) -> Result<Came, Refusal> {
        let part = self.session.queues(wanted.after, wanted.count)?;
        for (name, queue) in &part.items {
            let line = reply::item(&mut self.replies).text("queue", name.as_str().as_bytes());
            item::queue(line, queue).end();
        }
        Ok((part.items.len(), part.more.map(|name| name.to_string())))
    }

    fn list_exchanges(&mut self, wanted: &Wanted<'_>) -> Result<Came, Refusal> {
        let part = self.session.exchanges(wanted.after, wanted.count)?;
        for (name, exchange) in &part.items {
            let line = reply::item(&mut self.replies).text("exchange", name.as_str().as_bytes());
            item::exchange(line, exchange).end();
        }
        Ok((part.items.len(), part.more.map(|name| name.to_string())))
    }

    fn list_namespaces(&mut self, wanted: &Wanted<'_>) -> Result<Came, Refusal> {
        let part = self.session.namespaces(wanted.after, wanted.count)?;
        for (name, ()) in &part.items {
            reply::item(&mut self.replies).text("namespace", name.as_str().as_bytes()).end();
        }
        Ok((part.items.len(), part.more.map(|name| name.to_string())))
    }

    fn list_bindings(&mut self, wanted: &Wanted<'_>) -> Result<Came, Refusal> {
        let after = read(wanted.after, read_place)?;
        let (bindings, more) = self.session.bindings(wanted.of, after.as_ref(), wanted.count)?;
        for binding in &bindings {
            item::binding(reply::item(&mut self.replies), binding).end();
        }
        Ok((bindings.len(), more.map(|place| write_place(&place))))
    }

    fn list_subscriptions(&mut self, wanted: &Wanted<'_>) -> Result<Came, Refusal> {
        let after = read(wanted.after, read_subscription_place)?;
        let (found, more) = self.session.subscriptions(wanted.of, after, wanted.count)?;
        for subscription in &found {
            item::subscription(reply::item(&mut self.replies), subscription).end();
        }
        Ok((found.len(), more.map(write_subscription_place)))
    }

    fn list_sessions(&mut self, wanted: &Wanted<'_>) -> Result<Came, Refusal> {
        let after = read(wanted.after, |text| text.parse().ok())?;
        let (sessions, more) = self.session.sessions(after, wanted.count)?;
        for session in &sessions {
            item::session(reply::item(&mut self.replies), session).end();
        }
        Ok((sessions.len(), more.map(|slot| slot.to_string())))
    }

    fn list_workers(&mut self, wanted: &Wanted<'_>) -> Result<Came, Refusal> {
        let after = read(wanted.after, |text| text.parse().ok())?;
        let (workers, more) = self.session.workers(after, wanted.count)?;
        for worker in &workers {
            item::worker(reply::item(&mut self.replies), worker).end();
        }
        Ok((workers.len(), more.map(|number| number.to_string())))
    }

    pub(crate) async fn purge(
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

/// Reads a mark that this door gave.
fn read<T>(mark: Option<&str>, read: impl FnOnce(&str) -> Option<T>) -> Result<Option<T>, Refusal> {
    mark.map(|mark| read(mark).ok_or(Refusal::BadOption)).transpose()
}

/// A place in the list of subscriptions: the slot of one to a queue, or `l` and the number of a
/// live one.
fn write_subscription_place(place: SubscriptionPlace) -> String {
    match place {
        SubscriptionPlace::Queue(slot) => slot.to_string(),
        SubscriptionPlace::Lives => "l".to_owned(),
        SubscriptionPlace::Live(number) => format!("l{number}"),
    }
}

fn read_subscription_place(text: &str) -> Option<SubscriptionPlace> {
    match text.strip_prefix('l') {
        None => text.parse().ok().map(SubscriptionPlace::Queue),
        Some("") => Some(SubscriptionPlace::Lives),
        Some(number) => number.parse().ok().map(SubscriptionPlace::Live),
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
