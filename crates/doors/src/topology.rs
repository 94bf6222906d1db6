//! DECLARE, DELETE, BIND, UNBIND: what exists, and what leads where.

use crate::item;
use crate::option::{Carrying, text};
use crate::refusal::Refused;
use crate::words::Words;
use courant::{
    BindTo, ExchangeKind, ExchangeOptions, HeaderFilter, HeaderMode, Overflow, QueueOptions,
    Refusal, Topology, subscriber_queue,
};
use courant_wire::text::{Destination, DestinationKind, Key, Line, Options};

impl Words {
    pub(crate) async fn declare(
        &mut self,
        destination: &Destination<'_>,
        options: &Options<'_>,
    ) -> Result<(), Refused> {
        let kind = destination.kind;
        if kind == DestinationKind::Queue && destination.raw_name.raw().is_empty() {
            return self.declare_some_queue(options).await;
        }
        let mut buffer = Vec::new();
        let name = destination.name(&mut buffer)?;
        let subscriber = text(options, Key::Name)?;
        if options.yes_no(Key::Passive) == Some(true) {
            return self.inspect(kind, name, subscriber.as_deref(), options.req());
        }
        match (kind, subscriber) {
            (DestinationKind::Queue, _) => {
                let policies = queue_options(options);
                let declared = self.session.declare_queue(name, policies).await;
                declared.map_err(|refusal| self.queue_refused(refusal, name, &policies))?;
            }
            (DestinationKind::Topic, Some(subscriber)) => {
                let policies = queue_options(options);
                let session = &mut self.session;
                let declared = session.declare_subscriber(name, b"", &subscriber, policies).await;
                declared.map_err(|refusal| match refusal {
                    Refusal::NoSuchExchange => Refused::at(kind, refusal, name),
                    refusal => {
                        let queue = subscriber_queue(name, &subscriber);
                        self.queue_refused(refusal, &queue, &policies)
                    }
                })?;
            }
            (DestinationKind::Namespace, _) => {
                let declared = self.session.change(Topology::DeclareNamespace(name)).await;
                declared.map_err(|refusal| Refused::about(refusal, name))?;
            }
            (DestinationKind::Topic | DestinationKind::Exchange, _) => {
                let alternate = text(options, Key::Alternate)?;
                let exchange = exchange_options(kind, options, alternate.as_deref());
                let declared = self.session.change(Topology::DeclareExchange(name, exchange)).await;
                declared.map_err(|refusal| self.exchange_refused(refusal, name, exchange))?;
            }
        }
        self.write_ok(options.req());
        Ok(())
    }

    /// Makes a queue whose name the broker chooses.
    async fn declare_some_queue(&mut self, options: &Options<'_>) -> Result<(), Refused> {
        if options.get(Key::Passive).is_some() {
            return Err(Refused::about(Refusal::BadOption, "passive: without a name"));
        }
        let policies = queue_options(options);
        let declared = self.session.declare_queue("", policies).await;
        let name = declared.map_err(|refusal| Refused::about(refusal, "queue:"))?;
        Line::ok(&mut self.replies, options.req()).text("queue", name.as_bytes()).end();
        Ok(())
    }

    /// Why a queue was not declared; where it is there already, in what it differs.
    fn queue_refused(&self, refusal: Refusal, name: &str, policies: &QueueOptions) -> Refused {
        match refusal {
            Refusal::DeclaredOtherwise => {
                differs(name, self.session.queue_difference(name, policies))
            }
            refusal => Refused::about(refusal, name),
        }
    }

    /// The same of an exchange. The exchange that does not exist can only be the alternate.
    fn exchange_refused(
        &self,
        refusal: Refusal,
        name: &str,
        options: ExchangeOptions<'_>,
    ) -> Refused {
        match refusal {
            Refusal::DeclaredOtherwise => {
                differs(name, self.session.exchange_difference(name, options))
            }
            Refusal::NoSuchExchange => {
                Refused::about(refusal, options.alternate.unwrap_or_default())
            }
            refusal => Refused::about(refusal, name),
        }
    }

    /// Says how something that exists is doing.
    fn inspect(
        &mut self,
        kind: DestinationKind,
        name: &str,
        subscriber: Option<&str>,
        req: Option<&[u8]>,
    ) -> Result<(), Refused> {
        if kind != DestinationKind::Queue && subscriber.is_none() {
            let found = self.session.inspect_exchange(name);
            found.map_err(|refusal| Refused::at(kind, refusal, name))?;
            Line::ok(&mut self.replies, req).end();
            return Ok(());
        }
        let queue = subscriber.map(|subscriber| subscriber_queue(name, subscriber));
        let counts = self.session.inspect(queue.as_deref().unwrap_or(name));
        let counts = counts.map_err(|refusal| match (refusal, subscriber) {
            (Refusal::NoSuchQueue, Some(name)) => Refused::about(Refusal::NoSuchSubscriber, name),
            (refusal, _) => Refused::about(refusal, name),
        })?;
        item::counts(Line::ok(&mut self.replies, req), &counts).end();
        Ok(())
    }

    pub(crate) async fn delete(
        &mut self,
        destination: &Destination<'_>,
        options: &Options<'_>,
    ) -> Result<(), Refused> {
        let mut buffer = Vec::new();
        let name = destination.name(&mut buffer)?;
        let is_set = |key| options.yes_no(key) == Some(true);
        let (if_empty, if_unused) = (is_set(Key::IfEmpty), is_set(Key::IfUnused));
        let subscriber = text(options, Key::Name)?;
        let (kind, session) = (destination.kind, &mut self.session);
        let deleted = match &subscriber {
            Some(subscriber) => {
                session.delete_subscriber(name, subscriber, (if_empty, if_unused)).await
            }
            None if kind == DestinationKind::Queue => {
                session.change(Topology::DeleteQueue { name, if_empty, if_unused }).await
            }
            None => session.change(Topology::DeleteExchange { name, if_unused }).await,
        };
        deleted.map_err(|refusal| match (refusal, &subscriber) {
            (Refusal::NoSuchSubscriber, Some(subscriber)) => Refused::about(refusal, subscriber),
            (refusal, _) => Refused::at(kind, refusal, name),
        })?;
        self.write_ok(options.req());
        Ok(())
    }

    pub(crate) async fn bind(
        &mut self,
        (source, target): (&Destination<'_>, &Destination<'_>),
        options: &Options<'_>,
        is_bind: bool,
    ) -> Result<(), Refused> {
        let (mut source_buffer, mut target_buffer) = (Vec::new(), Vec::new());
        let exchange = source.name(&mut source_buffer)?;
        let name = target.name(&mut target_buffer)?;
        if source.kind == DestinationKind::Queue {
            let subject = "a queue as what a binding comes from";
            return Err(Refused::about(Refusal::BadOption, subject));
        }
        let to = match target.kind {
            DestinationKind::Queue => BindTo::Queue(name),
            _ => BindTo::Exchange(name),
        };
        let key = &binding_key(options)?[..];
        if let Some(kind) = self.session.exchange_kind(exchange, to)
            && !takes(kind, options)
        {
            return Err(Refused::about(Refusal::BadBinding, exchange));
        }
        let request = if is_bind {
            Topology::Bind { exchange, to, key }
        } else {
            Topology::Unbind { exchange, to, key }
        };
        let changed = self.session.change(request).await;
        changed.map_err(|refusal| {
            let is_source = self.session.inspect_exchange(exchange).is_err();
            match refusal {
                Refusal::NoSuchQueue | Refusal::QueueExclusive => Refused::about(refusal, name),
                Refusal::NoSuchExchange if !is_source => Refused::at(target.kind, refusal, name),
                refusal => Refused::at(source.kind, refusal, exchange),
            }
        })?;
        self.write_ok(options.req());
        Ok(())
    }
}

/// That something is there with another option.
fn differs(name: &str, option: Option<&str>) -> Refused {
    let refused = Refused::about(Refusal::DeclaredOtherwise, name);
    let Some(option) = option else { return refused };
    let sentence = format!(
        "{name} exists with another {option}; declare it with the same, or delete it first"
    );
    Refused { sentence, ..refused }
}

/// The policies of a queue.
fn queue_options(options: &Options<'_>) -> QueueOptions {
    let defaults = QueueOptions::default();
    let is_set = |key| options.yes_no(key) == Some(true);
    // The decoder looked that each is in its range.
    let number = |key| options.number(key);
    QueueOptions {
        durable: options.yes_no(Key::Durable).unwrap_or(defaults.durable),
        visibility_ms: number(Key::Visibility).unwrap_or(defaults.visibility_ms),
        exclusive: is_set(Key::Exclusive),
        auto_delete: is_set(Key::AutoDelete),
        max_length: number(Key::MaxLength),
        max_bytes: number(Key::MaxBytes),
        max_message_bytes: number(Key::MaxMessageBytes).and_then(|n| u32::try_from(n).ok()),
        overflow: match options.get(Key::Overflow).map(|word| word.raw()) {
            Some(b"block") => Overflow::Block,
            Some(b"drop-oldest") => Overflow::DropOldest,
            _ => Overflow::Reject,
        },
        message_ttl_ms: number(Key::MessageTtl),
        expires_ms: number(Key::Expires),
        max_attempts: number(Key::MaxAttempts).and_then(|n| u16::try_from(n).ok()),
    }
}

/// What an exchange is to be like; a topic is a fanout exchange.
fn exchange_options<'a>(
    kind: DestinationKind,
    options: &Options<'_>,
    alternate: Option<&'a str>,
) -> ExchangeOptions<'a> {
    let is_set = |key| options.yes_no(key) == Some(true);
    let word = options.get(Key::Kind).map(|word| word.raw());
    let kind = match kind {
        DestinationKind::Topic => ExchangeKind::Fanout,
        _ => word
            .and_then(|word| ExchangeKind::from_word(std::str::from_utf8(word).ok()?))
            .unwrap_or(ExchangeKind::Direct),
    };
    let (is_internal, auto_delete) = (is_set(Key::Internal), is_set(Key::AutoDelete));
    ExchangeOptions { kind, is_internal, auto_delete, alternate }
}

/// Whether what a binding says is of the kind of its exchange.
fn takes(kind: ExchangeKind, options: &Options<'_>) -> bool {
    let has_filter = options.get(Key::Match).is_some() || options.headers().next().is_some();
    let has_weight = options.get(Key::Weight).is_some();
    (!has_filter || kind == ExchangeKind::Headers) && (!has_weight || kind == ExchangeKind::Hash)
}

/// What a binding says, in bytes: its `key:`, its weight, or its filter of headers.
fn binding_key(options: &Options<'_>) -> Result<Vec<u8>, Refused> {
    if let Some(weight) = options.number(Key::Weight) {
        return Ok(weight.to_string().into_bytes());
    }
    let word = options.get(Key::Match);
    let given: Vec<_> = options.headers().collect();
    if word.is_none() && given.is_empty() {
        return Ok(text(options, Key::RoutingKey)?.unwrap_or_default().into_bytes());
    }
    let mut read = Vec::new();
    for header in &given {
        read.push(Carrying::read(header)?);
    }
    let word = word.and_then(|word| std::str::from_utf8(word.raw()).ok());
    let mode = word.and_then(HeaderMode::from_word).unwrap_or(HeaderMode::All);
    let headers = read.iter().map(Carrying::header).collect();
    let encoded = HeaderFilter { mode, headers }.encode();
    encoded.ok_or_else(|| Refused::about(Refusal::HeadersTooLarge, ""))
}
