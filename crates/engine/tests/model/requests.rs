//! Changes of topology, and publishing, each against what the model says must come of it.

use super::log::Fact;
use super::op::{Op, To};
use super::oracle::{Exchange, Oracle};
use super::queue::Queue;
use super::rig::{Entry, Rig};
use courant_engine::limits::SEQ_BLOCK;
use courant_engine::{
    Admission, BindTo, ExchangeId, ExchangeKind, ExchangeOptions, ExchangeSpec, Lifetime,
    NamespaceId, Publish, QueueId, QueueOptions, Refusal, Route, SessionId, Topology,
};

/// What must come of a request to change what exists.
#[derive(Debug, PartialEq, Eq)]
enum Outcome {
    Log,
    Done,
    Pending,
    Refused(Refusal),
}

const KEYS: [&[u8]; 3] = [b"", b"a", b"b"];

impl Rig {
    fn in_flight(&self) -> impl Iterator<Item = &Fact> {
        self.log[self.applied..].iter().map(|entry| &entry.fact)
    }

    fn find_queue(&self, namespace: NamespaceId, name: &str) -> Option<&Queue> {
        let is_going = |queue: &Queue| {
            self.in_flight().any(|fact| *fact == Fact::QueueDeleted { id: queue.id })
        };
        self.oracle
            .queues
            .values()
            .find(|queue| queue.namespace == namespace && queue.name == name && !is_going(queue))
    }

    fn find_exchange(&self, namespace: NamespaceId, name: &str) -> Option<&Exchange> {
        let is_going = |exchange: &Exchange| {
            self.in_flight().any(|fact| *fact == Fact::ExchangeDeleted { id: exchange.id })
        };
        self.oracle.exchanges.iter().find(|exchange| {
            exchange.namespace == namespace && exchange.name == name && !is_going(exchange)
        })
    }

    pub(crate) fn change_topology(&mut self, op: &Op) {
        let (Op::DeclareNamespace { session }
        | Op::DeclareQueue { session, .. }
        | Op::DeleteQueue { session, .. }
        | Op::DeclareExchange { session, .. }
        | Op::DeleteExchange { session, .. }
        | Op::Bind { session, .. }
        | Op::Unbind { session, .. }) = *op
        else {
            unreachable!("not a change of topology")
        };
        let Some(session) = self.session(session) else { return };
        let namespace = self.oracle.sessions[&session].namespace;
        let (queue, exchange) = names(op);
        let request = request_of(op, &queue, &exchange);
        let expected = self.expect(namespace, &request);
        let got = self.engine.admit_topology(session, request, &mut self.effects);
        let fact = match got {
            Ok(Admission::Log(record)) => {
                assert_eq!(expected, Outcome::Log, "{request:?}");
                Some(Fact::of(&record))
            }
            Ok(Admission::Done) => {
                assert_eq!(expected, Outcome::Done, "{request:?}");
                None
            }
            Ok(Admission::Pending) => {
                assert_eq!(expected, Outcome::Pending, "{request:?}");
                None
            }
            Err(refusal) => {
                assert_eq!(expected, Outcome::Refused(refusal), "{request:?}");
                None
            }
        };
        if let Some(fact) = fact {
            self.append(fact);
        } else if expected == Outcome::Done {
            self.follow_transient(namespace, &request);
        }
        self.count("changes of topology", 1);
    }

    fn expect(&self, namespace: NamespaceId, request: &Topology<'_>) -> Outcome {
        let declared = |is_same, then| {
            if is_same { then } else { Outcome::Refused(Refusal::DeclaredOtherwise) }
        };
        match *request {
            Topology::DeclareNamespace(name) => {
                if self.oracle.namespaces.iter().any(|(_, there)| there == name) {
                    return Outcome::Done;
                }
                let is_pending = |fact: &Fact| match fact {
                    Fact::NamespaceDeclared { name: there, .. } => there == name,
                    _ => false,
                };
                if self.in_flight().any(is_pending) { Outcome::Pending } else { Outcome::Log }
            }
            Topology::DeclareQueue(name, options) => {
                if let Some(queue) = self.find_queue(namespace, name) {
                    return declared(queue.options == options, Outcome::Done);
                }
                let pending = self.in_flight().find_map(|fact| match fact {
                    Fact::QueueDeclared { namespace: n, name: there, options, .. }
                        if there == name && *n == namespace =>
                    {
                        Some(*options)
                    }
                    _ => None,
                });
                match pending {
                    Some(there) => declared(there == options, Outcome::Pending),
                    None if options.durable => Outcome::Log,
                    None => Outcome::Done,
                }
            }
            Topology::DeclareExchange(name, options) => {
                let spec = ExchangeSpec::of(options.kind);
                if let Some(exchange) = self.find_exchange(namespace, name) {
                    return declared(exchange.spec == spec, Outcome::Done);
                }
                let pending = self.in_flight().find_map(|fact| match fact {
                    Fact::ExchangeDeclared { namespace: n, name: there, spec, .. }
                        if there == name && *n == namespace =>
                    {
                        Some(*spec)
                    }
                    _ => None,
                });
                pending.map_or(Outcome::Log, |there| declared(there == spec, Outcome::Pending))
            }
            Topology::DeleteExchange { name, .. } => match self.find_exchange(namespace, name) {
                Some(_) => Outcome::Log,
                None => Outcome::Refused(Refusal::NoSuchExchange),
            },
            Topology::DeleteQueue { name, if_empty, if_unused } => {
                self.expect_delete(namespace, name, if_empty, if_unused)
            }
            Topology::Bind { exchange, to: BindTo::Queue(queue), key } => {
                self.expect_bind(namespace, (exchange, queue, key), true)
            }
            Topology::Unbind { exchange, to: BindTo::Queue(queue), key } => {
                self.expect_bind(namespace, (exchange, queue, key), false)
            }
            _ => unreachable!("the model asks for no such thing yet"),
        }
    }

    fn expect_delete(
        &self,
        namespace: NamespaceId,
        name: &str,
        if_empty: bool,
        if_unused: bool,
    ) -> Outcome {
        let Some(queue) = self.find_queue(namespace, name) else {
            return Outcome::Refused(Refusal::NoSuchQueue);
        };
        let subscriptions = self.oracle.subscription_count(queue.id);
        let counts = queue.counts(subscriptions);
        let ready = if self.shelf.is_slow() {
            // Who knows how much of what is overdue was seen.
            self.engine.counts(queue.id).map_or(0, |counts| counts.ready)
        } else {
            counts.ready - queue.overdue(self.now_ms)
        };
        if if_empty && ready + counts.leased > 0 {
            return Outcome::Refused(Refusal::QueueNotEmpty);
        }
        if if_unused && subscriptions > 0 {
            return Outcome::Refused(Refusal::QueueInUse);
        }
        if queue.options.durable { Outcome::Log } else { Outcome::Done }
    }

    /// A binding is there if the last record about it says so, whether applied or in flight.
    fn expect_bind(
        &self,
        namespace: NamespaceId,
        (exchange, queue, key): (&str, &str, &[u8]),
        is_wanted: bool,
    ) -> Outcome {
        let Some(exchange) = self.find_exchange(namespace, exchange) else {
            return Outcome::Refused(Refusal::NoSuchExchange);
        };
        let Some(queue) = self.find_queue(namespace, queue) else {
            return Outcome::Refused(Refusal::NoSuchQueue);
        };
        let is_bound = exchange.bindings.iter().any(|(k, q)| k == key && *q == queue.id);
        let (exchange, queue, is_durable) = (exchange.id, queue.id, queue.options.durable);
        let key = key.to_vec();
        let bound = Fact::Bound { exchange, queue, key: key.clone() };
        let unbound = Fact::Unbound { exchange, queue, key };
        let last = self.in_flight().filter(|fact| **fact == bound || **fact == unbound).last();
        let will_be = last.map_or(is_bound, |fact| *fact == bound);
        match (is_wanted, will_be) {
            (false, false) => Outcome::Refused(Refusal::NoSuchBinding),
            (true, true) if last.is_some() => Outcome::Pending,
            (true, true) => Outcome::Done,
            _ if is_durable => Outcome::Log,
            _ => Outcome::Done,
        }
    }

    /// What is transient changed at once.
    fn follow_transient(&mut self, namespace: NamespaceId, request: &Topology<'_>) {
        match *request {
            Topology::DeclareQueue(name, options)
                if !options.durable && self.find_queue(namespace, name).is_none() =>
            {
                let listed = self.engine.queues();
                let is_new =
                    |id: &QueueId| !id.is_durable() && !self.oracle.queues.contains_key(id);
                let new = listed.iter().find(|(_, id, _)| is_new(id));
                let id = new.expect("the queue was made").1;
                let queue = Queue::new(id, namespace, name, options);
                self.oracle.queues.insert(id, queue);
            }
            Topology::DeleteQueue { name, .. } => {
                let id = self.find_queue(namespace, name).map(|queue| queue.id);
                self.oracle.remove_queue(id.expect("it was there"));
            }
            Topology::Bind { exchange, to: BindTo::Queue(queue), key }
            | Topology::Unbind { exchange, to: BindTo::Queue(queue), key } => {
                let exchange = self.find_exchange(namespace, exchange).expect("it is there").id;
                let queue = self.find_queue(namespace, queue).expect("it is there").id;
                if matches!(request, Topology::Bind { .. }) {
                    self.oracle.bind(exchange, queue, key);
                } else {
                    self.oracle.unbind(exchange, queue, key);
                }
            }
            _ => {}
        }
    }

    pub(crate) fn publish(&mut self, session: u8, to: To, what: (bool, u32, Lifetime), times: u16) {
        let durable = what.0;
        let Some(session) = self.session(session) else { return };
        self.check_routes();
        let route = self.engine.resolve(session, publish_of(to, &name_of(to)));
        let expected = self.expect_route(session, to);
        let route = match (route, expected) {
            (Ok(route), Ok(expected)) => {
                assert_eq!(targets_of(&route), expected, "the route to {to:?}");
                route
            }
            (route, expected) => {
                assert_eq!(route.err(), expected.err());
                return;
            }
        };
        if !durable && self.log[self.applied..].iter().any(|e| e.publisher == Some(session)) {
            // What the shell does: a transient message waits for its own session's durable ones.
            self.commit(usize::MAX);
            if !self.engine.is_current(&route) {
                return;
            }
        }
        for _ in 0..times {
            self.publish_one(session, &route, what);
        }
        self.routes.push((session, to, route));
    }

    fn publish_one(
        &mut self,
        session: SessionId,
        route: &Route,
        (durable, size, lifetime): (bool, u32, Lifetime),
    ) {
        let seq = self.engine.admit(size).expect("numbers are left");
        assert!(seq < (self.oracle.block + 1) * SEQ_BLOCK);
        self.note_number(seq);
        self.count("messages", 1);
        let durable_targets: Vec<QueueId> =
            targets_of(route).into_iter().filter(|queue| queue.is_durable()).collect();
        if durable && !durable_targets.is_empty() {
            let (exchange, targets) = (route.exchange, route.durable.to_vec());
            let fact = Fact::Published { seq, size, lifetime, exchange, targets };
            let late = route.transient.to_vec();
            self.log.push(Entry { fact, late, publisher: Some(session) });
            return;
        }
        let mut reached = self.engine.place(seq, size, lifetime, &route.transient);
        reached += self.engine.place_durable(seq, size, lifetime, &route.durable);
        let mut expected = self.oracle.place(seq, size, lifetime, &route.transient);
        expected += self.oracle.place(seq, size, lifetime, &durable_targets);
        assert_eq!(reached, expected, "queues that {seq} reached");
        assert_eq!(reached as usize, route.reach());
    }

    /// A route that the engine calls current is what it would resolve to now.
    fn check_routes(&mut self) {
        let routes = std::mem::take(&mut self.routes);
        for (session, to, route) in routes.into_iter().rev().take(8).rev() {
            if self.engine.is_current(&route) && self.oracle.sessions.contains_key(&session) {
                let expected = self.expect_route(session, to);
                assert_eq!(Ok(targets_of(&route)), expected, "a kept route to {to:?}");
                self.routes.push((session, to, route));
            }
        }
    }

    fn expect_route(&self, session: SessionId, to: To) -> Result<Vec<QueueId>, Refusal> {
        let namespace = self.oracle.sessions[&session].namespace;
        let name = name_of(to);
        let (missing, key) = match to {
            To::Queue(_) => {
                let queue = self.find_queue(namespace, &name).ok_or(Refusal::NoSuchQueue)?;
                return Ok(vec![queue.id]);
            }
            To::Topic(_) => (Refusal::NoSuchTopic, KEYS[0]),
            To::Exchange(_, key) => (Refusal::NoSuchExchange, KEYS[usize::from(key)]),
        };
        let exchange = self.find_exchange(namespace, &name).ok_or(missing)?;
        let mut targets: Vec<QueueId> = exchange
            .bindings
            .iter()
            .filter(|(k, _)| exchange.spec.kind == ExchangeKind::Fanout || k == key)
            .map(|(_, queue)| *queue)
            .filter(|id| !self.in_flight().any(|fact| *fact == Fact::QueueDeleted { id: *id }))
            .collect();
        targets.sort_unstable();
        targets.dedup();
        Ok(targets)
    }

    pub(crate) fn open_session_queue(&mut self, session: SessionId, exchange: u8, key: u8) {
        let namespace = self.oracle.sessions[&session].namespace;
        let Some(exchange) = self.find_exchange(namespace, &format!("x{exchange}")) else {
            return;
        };
        let exchange: ExchangeId = exchange.id;
        let key = KEYS[usize::from(key)];
        let id = self.engine.open_session_queue(session, exchange, key).expect("there is room");
        let listed = self.engine.queues();
        let name = &listed.iter().find(|(_, there, _)| *there == id).expect("it was made").0;
        let options = QueueOptions { durable: false, ..QueueOptions::default() };
        let mut queue = Queue::new(id, namespace, name.as_str(), options);
        queue.owner = Some(session);
        let oracle: &mut Oracle = &mut self.oracle;
        assert!(oracle.queues.insert(id, queue).is_none(), "{id:?} is in use");
        oracle.bind(exchange, id, key);
        oracle.sessions.get_mut(&session).expect("a session").owned.push(id);
    }
}

fn names(op: &Op) -> (String, String) {
    match *op {
        Op::DeclareQueue { name, .. } | Op::DeleteQueue { name, .. } => {
            (format!("q{name}"), String::new())
        }
        Op::DeclareExchange { name, .. } | Op::DeleteExchange { name, .. } => {
            (String::new(), format!("x{name}"))
        }
        Op::Bind { exchange, queue, .. } | Op::Unbind { exchange, queue, .. } => {
            (format!("q{queue}"), format!("x{exchange}"))
        }
        _ => (String::new(), String::new()),
    }
}

fn request_of<'a>(op: &Op, queue: &'a str, exchange: &'a str) -> Topology<'a> {
    match *op {
        Op::DeclareQueue { durable, visibility, ttl, .. } => {
            let visibility_ms = [300, 2_000, 30_000][usize::from(visibility)];
            let message_ttl_ms = [None, None, None, Some(200), Some(3_000)].get(usize::from(ttl));
            let message_ttl_ms = message_ttl_ms.copied().flatten();
            let options =
                QueueOptions { durable, visibility_ms, message_ttl_ms, ..QueueOptions::default() };
            Topology::DeclareQueue(queue, options)
        }
        Op::DeleteQueue { if_empty, if_unused, .. } => {
            Topology::DeleteQueue { name: queue, if_empty, if_unused }
        }
        Op::DeclareExchange { fanout, .. } => {
            let kind = if fanout { ExchangeKind::Fanout } else { ExchangeKind::Direct };
            Topology::DeclareExchange(exchange, ExchangeOptions::of(kind))
        }
        Op::DeleteExchange { .. } => Topology::DeleteExchange { name: exchange, if_unused: false },
        Op::Bind { key, .. } => {
            let (to, key) = (BindTo::Queue(queue), KEYS[usize::from(key)]);
            Topology::Bind { exchange, to, key }
        }
        Op::Unbind { key, .. } => {
            let (to, key) = (BindTo::Queue(queue), KEYS[usize::from(key)]);
            Topology::Unbind { exchange, to, key }
        }
        _ => Topology::DeclareNamespace("n0"),
    }
}

fn name_of(to: To) -> String {
    match to {
        To::Queue(name) => format!("q{name}"),
        To::Topic(name) | To::Exchange(name, _) => format!("x{name}"),
    }
}

fn publish_of(to: To, name: &str) -> Publish<'_> {
    match to {
        To::Queue(_) => Publish::Queue(name),
        To::Topic(_) => Publish::Topic(name),
        To::Exchange(_, key) => Publish::Exchange(name, KEYS[usize::from(key)]),
    }
}

/// All queues of a route, in the order of their numbers; one that is there twice stays twice.
fn targets_of(route: &Route) -> Vec<QueueId> {
    let durable = route.durable.chunks(4);
    let mut targets: Vec<QueueId> = durable
        .map(|bytes| QueueId(u32::from_le_bytes(bytes.try_into().expect("4 bytes"))))
        .chain(route.transient.iter().copied())
        .collect();
    targets.sort_unstable();
    targets
}
