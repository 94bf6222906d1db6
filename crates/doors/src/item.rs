//! What is said of a thing: the fields of its ITEM in a LIST, and of the OK of its STATS.

use crate::option;
use courant::{
    ExchangeKind, HeaderFilter, ListedBinding, ListedExchange, ListedQueue, Listening, Overflow,
    QueueCounts, QueueOptions, SessionId, SessionReport, Settling, SubscriptionReport, Target,
    WorkerReport,
};
use courant_wire::text::{Key, Line};

/// A queue: its counts, then its policies that are not the usual ones, then what left it.
pub(crate) fn queue<'o>(line: Line<'o>, queue: &ListedQueue) -> Line<'o> {
    let mut line = policies(counts(line, &queue.counts), &queue.options);
    if let Some(owner) = queue.owner {
        line = line.token("owner", session_word(owner).as_bytes());
    }
    for (cause, count) in queue.counts.left.iter() {
        let key = format!("left_{}", cause.word().replace('-', "_"));
        line = line.number(&key, count);
    }
    line
}

/// How a queue is doing.
pub(crate) fn counts<'o>(line: Line<'o>, counts: &QueueCounts) -> Line<'o> {
    line.number("ready", counts.ready)
        .number("open", counts.leased)
        .number("bytes", counts.bytes)
        .number("subscriptions", u64::from(counts.subscriptions))
}

/// An exchange or topic: its kind, how many bindings lead from it, and its options.
pub(crate) fn exchange<'o>(line: Line<'o>, exchange: &ListedExchange) -> Line<'o> {
    let mut line = line
        .token("kind", exchange.spec.kind.word().as_bytes())
        .number("bindings", exchange.bindings);
    for (key, is_set) in
        [(Key::Internal, exchange.spec.is_internal), (Key::AutoDelete, exchange.spec.auto_delete)]
    {
        if is_set {
            line = line.yes_no(key.name(), true);
        }
    }
    match &exchange.alternate {
        Some(alternate) => line.text("alternate", alternate.as_str().as_bytes()),
        None => line,
    }
}

/// A binding: its two ends, then what it says.
pub(crate) fn binding<'o>(line: Line<'o>, binding: &ListedBinding) -> Line<'o> {
    let word = match binding.target {
        Target::Queue(_) => "queue",
        Target::Exchange(_) => "exchange",
    };
    let line = line
        .text("from", binding.exchange.as_str().as_bytes())
        .text(word, binding.to.as_str().as_bytes());
    said_of(line, binding)
}

/// A session: who it is, and what it has.
pub(crate) fn session<'o>(line: Line<'o>, report: &SessionReport) -> Line<'o> {
    let SessionReport { listed, client, .. } = report;
    let mut line = line
        .token("session", session_word(listed.id).as_bytes())
        .token("door", client.door.as_bytes());
    // Without users nobody has a name.
    if !listed.user.is_empty() {
        line = line.text("user", listed.user.as_bytes());
    }
    if let Some(source) = client.source {
        line = line.text("source", source.to_string().as_bytes());
    }
    line = line
        .number("since", report.since_ms)
        .number("subscriptions", u64::from(listed.subscriptions) + u64::from(report.lives))
        .number("open", listed.open)
        .number("open_bytes", listed.open_bytes)
        .number("held_bytes", report.bytes);
    if listed.is_stalled {
        line = line.yes_no("stalled", true);
    }
    if client.id.is_empty() { line } else { line.text("client_id", client.id.as_bytes()) }
}

/// A subscription: whose, to what, and how much it has open.
pub(crate) fn subscription<'o>(line: Line<'o>, report: &SubscriptionReport) -> Line<'o> {
    let mut line = line.token("session", session_word(report.session).as_bytes());
    if let Some(name) = &report.name {
        line = line.token("sub_id", name);
    }
    let key = match &report.listening {
        Listening::Live(exchange, key) => {
            line = line.token("mode", b"live").text("exchange", exchange.as_str().as_bytes());
            &key[..]
        }
        Listening::Queue(listed) => {
            let (mode, kind, name, key) = match &listed.source {
                Some((exchange, key)) => ("session", "exchange", exchange, &key[..]),
                None => ("queue", "queue", &listed.queue, &b""[..]),
            };
            line = line
                .token("mode", mode.as_bytes())
                .text(kind, name.as_str().as_bytes())
                .number("credit", u64::from(listed.credit))
                .number("open", u64::from(listed.open))
                .number("open_bytes", listed.open_bytes);
            if let Some(bytes) = listed.credit_bytes {
                line = line.number("credit_bytes", bytes);
            }
            if listed.settling == Settling::Auto {
                line = line.token("ack", b"auto");
            }
            key
        }
    };
    if !key.is_empty() {
        line = line.text("key", key);
    }
    let id = report.client_id.as_bytes();
    if id.is_empty() { line } else { line.text("client_id", id) }
}

/// Long work: with what, and how far it is.
pub(crate) fn worker<'o>(line: Line<'o>, worker: &WorkerReport) -> Line<'o> {
    line.number("worker", u64::from(worker.id))
        .token("kind", worker.kind.as_bytes())
        .text("queue", worker.queue.as_bytes())
        .number("done", worker.done)
        .number("ready", worker.ready)
}

/// What a session is called in lists: its slot, and how many had it before.
fn session_word(id: SessionId) -> String {
    format!("{}.{}", id.0.index, id.0.generation)
}

/// What a binding says, in the words of BIND.
fn said_of<'o>(mut line: Line<'o>, binding: &ListedBinding) -> Line<'o> {
    match binding.kind {
        ExchangeKind::Headers => match HeaderFilter::decode(&binding.key) {
            Some(filter) => {
                line = line.token("match", filter.mode.word().as_bytes());
                option::headers(line, &filter.headers)
            }
            None => line,
        },
        ExchangeKind::Hash if !binding.key.is_empty() => line.token("weight", &binding.key),
        _ if binding.key.is_empty() => line,
        _ => line.text("key", &binding.key),
    }
}

/// The policies of a queue that are not the usual ones, with the keys of DECLARE.
fn policies<'o>(mut line: Line<'o>, policies: &QueueOptions) -> Line<'o> {
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
