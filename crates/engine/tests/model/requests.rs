//! Changes of topology, each against what the model says must come of it.

use super::choices::{self, EXCHANGES, QUEUES, binding_key, exchange_variant, queue_variant};
use super::log::Fact;
use super::op::{End, Op};
use super::oracle::Exchange;
use super::queue::Queue;
use super::rig::Rig;
use super::routing::is_binding;
use courant_engine::exchange::Target;
use courant_engine::{
    Admission, BindTo, ExchangeId, ExchangeKind, ExchangeOptions, ExchangeSpec, NamespaceId,
    QueueId, QueueOptions, Refusal, SessionId, Topology,
};
use std::collections::{BTreeMap, BTreeSet};

/// What must come of a request to change what exists.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    Log,
    Done,
    Pending,
    Refused(Refusal),
}

/// From, to, and the key.
type Binding<'a> = (ExchangeId, Target, &'a [u8]);

/// Who asks, and where its names are.
pub(crate) type Who = (SessionId, NamespaceId);

impl Rig {
    pub(crate) fn in_flight(&self) -> impl DoubleEndedIterator<Item = &Fact> {
        self.log[self.applied..].iter().map(|entry| &entry.fact)
    }

    pub(crate) fn find_queue(&self, namespace: NamespaceId, name: &str) -> Option<&Queue> {
        let is_it =
            |queue: &&Queue| queue.namespace == namespace && queue.name == name && !queue.is_going;
        self.oracle.queues.values().find(is_it)
    }

    /// A queue that a declaration finds: also one that is to go, if its record is still to come.
    fn find_declared(&self, namespace: NamespaceId, name: &str) -> Option<&Queue> {
        let mut doomed = self.oracle.doomed.iter().map(|id| &self.oracle.queues[id]);
        let is_it = |queue: &&Queue| queue.namespace == namespace && queue.name == name;
        doomed.find(is_it).or_else(|| self.find_queue(namespace, name))
    }

    /// A queue that is not another session's.
    pub(crate) fn find_open_queue(&self, who: Who, name: &str) -> Result<&Queue, Refusal> {
        let queue = self.find_queue(who.1, name).ok_or(Refusal::NoSuchQueue)?;
        let is_foreign = queue.owner.is_some_and(|owner| owner != who.0);
        if is_foreign { Err(Refusal::QueueExclusive) } else { Ok(queue) }
    }

    pub(crate) fn find_exchange(
        &self,
        namespace: NamespaceId,
        name: &str,
    ) -> Result<&Exchange, Refusal> {
        let is_it = |exchange: &&Exchange| {
            exchange.namespace == namespace && exchange.name == name && !exchange.is_going
        };
        self.oracle.exchanges.iter().find(is_it).ok_or(Refusal::NoSuchExchange)
    }

    pub(crate) fn queue_name(&self, pick: u8) -> String {
        match pick {
            250 => String::new(),
            251 => "$mine".to_owned(),
            _ if pick < QUEUES => format!("q{pick}"),
            _ => {
                let given = self.given.get(usize::from(pick) % self.given.len().max(1));
                given.map_or_else(|| "$q.7.7".to_owned(), |(_, name)| name.clone())
            }
        }
    }

    pub(crate) fn exchange_name(pick: u8) -> String {
        match pick {
            250 => String::new(),
            251 => "$mine".to_owned(),
            _ => format!("x{}", pick % EXCHANGES),
        }
    }

    /// A key for bindings of that exchange.
    pub(crate) fn binding_key(&self, namespace: NamespaceId, exchange: &str, pick: u8) -> Vec<u8> {
        let kind = self.find_exchange(namespace, exchange).map(|there| there.spec.kind);
        binding_key(kind.unwrap_or(ExchangeKind::Direct), pick)
    }

    pub(crate) fn change_topology(&mut self, op: &Op) {
        let (Op::DeclareNamespace { session }
        | Op::DeclareQueue { session, .. }
        | Op::NameQueue { session, .. }
        | Op::DeleteQueue { session, .. }
        | Op::DeclareExchange { session, .. }
        | Op::DeleteExchange { session, .. }
        | Op::Bind { session, .. }
        | Op::Unbind { session, .. }) = *op
        else {
            unreachable!("not a change of topology")
        };
        let Some(session) = self.session(session) else { return };
        let who = (session, self.oracle.sessions[&session].namespace);
        match *op {
            Op::DeclareNamespace { .. } => self.ask(who, &Topology::DeclareNamespace("n0")),
            Op::DeclareQueue { name, durable, variant, .. } => {
                let options = queue_variant(name, variant, durable);
                self.ask(who, &Topology::DeclareQueue(&self.queue_name(name), options));
            }
            Op::NameQueue { durable, variant, .. } => {
                let name = self.engine.give_queue_name();
                assert!(self.given.iter().all(|(_, there)| *there != name), "{name} came twice");
                self.given.push((self.oracle.term, name.clone()));
                let options = queue_variant(1, variant, durable);
                self.ask(who, &Topology::DeclareQueue(&name, options));
            }
            Op::DeleteQueue { name, if_empty, if_unused, .. } => {
                let name = &self.queue_name(name);
                self.ask(who, &Topology::DeleteQueue { name, if_empty, if_unused });
            }
            Op::DeclareExchange { name, variant, .. } => {
                let (kind, is_internal, auto_delete, has_alternate) =
                    exchange_variant(name, variant);
                let alternate = Self::exchange_name(name.wrapping_add(1));
                let alternate = has_alternate.then_some(alternate.as_str());
                let options = ExchangeOptions { kind, is_internal, auto_delete, alternate };
                self.ask(who, &Topology::DeclareExchange(&Self::exchange_name(name), options));
            }
            Op::DeleteExchange { name, if_unused, .. } => {
                let name = &Self::exchange_name(name);
                self.ask(who, &Topology::DeleteExchange { name, if_unused });
            }
            Op::Bind { exchange, to, key, .. } => self.ask_to_bind(who, exchange, to, key, true),
            Op::Unbind { exchange, to, key, .. } => self.ask_to_bind(who, exchange, to, key, false),
            _ => unreachable!("not a change of topology"),
        }
    }

    fn ask_to_bind(&mut self, who: Who, exchange: u8, to: End, key: u8, is_wanted: bool) {
        let exchange = &Self::exchange_name(exchange);
        let mut key = self.binding_key(who.1, exchange, key);
        let target = match to {
            End::Queue(name) => self.queue_name(name),
            End::Exchange(name) => Self::exchange_name(name),
        };
        let to = match to {
            End::Queue(_) => BindTo::Queue(&target),
            End::Exchange(_) => BindTo::Exchange(&target),
        };
        if is_wanted {
            self.ask(who, &Topology::Bind { exchange, to, key: &key });
            return;
        }
        // Mostly one that is there.
        if let (Ok(there), Ok(target)) = (self.find_exchange(who.1, exchange), self.target(who, to))
            && let Some((bound, _)) = there.bindings.iter().find(|(_, to)| *to == target)
            && key.len() != 1
        {
            key.clone_from(bound);
        }
        self.ask(who, &Topology::Unbind { exchange, to, key: &key });
    }

    fn ask(&mut self, who: Who, request: &Topology<'_>) {
        let expected = self.expect(who, request);
        let got = self.engine.admit_topology(who.0, *request, &mut self.effects);
        let (got, fact) = match got {
            Ok(Admission::Log(record)) => (Outcome::Log, Some(Fact::of(&record))),
            Ok(Admission::Done) => (Outcome::Done, None),
            Ok(Admission::Pending) => (Outcome::Pending, None),
            Err(refusal) => (Outcome::Refused(refusal), None),
        };
        assert_eq!(got, expected, "{request:?}");
        if let Outcome::Refused(refusal) = got {
            self.count(refusal.name(), 1);
        } else {
            self.count(word_of(request), 1);
        }
        if let Topology::DeclareQueue(name, _) = *request
            && choices_are_used(&got)
        {
            self.note_declared(who.1, name);
        }
        if let Some(fact) = fact {
            self.note_going(&fact);
            self.append(fact);
        } else if got == Outcome::Done {
            self.follow_transient(who, request);
        } else if got == Outcome::Pending {
            self.count("waits for the same", 1);
        }
    }

    /// A declaration of a queue that is there uses it.
    fn note_declared(&mut self, namespace: NamespaceId, name: &str) {
        let id = self.find_declared(namespace, name).map(|queue| queue.id);
        if let Some(queue) = id.and_then(|id| self.oracle.queues.get_mut(&id)) {
            let is_pardoned = std::mem::take(&mut queue.is_going);
            queue.used_ms = Some(self.now_ms);
            self.oracle.doomed.retain(|doomed| *doomed != queue.id);
            self.count("queues declared while they go", u64::from(is_pardoned));
        }
    }

    /// What is to be deleted cannot be found from now on.
    fn note_going(&mut self, fact: &Fact) {
        match *fact {
            Fact::QueueDeleted { id } => {
                self.oracle.queues.get_mut(&id).expect("it is there").is_going = true;
            }
            Fact::ExchangeDeleted { id } => {
                let mut all = self.oracle.exchanges.iter_mut();
                all.find(|there| there.id == id).expect("it is there").is_going = true;
            }
            _ => {}
        }
    }

    fn expect(&self, who: Who, request: &Topology<'_>) -> Outcome {
        let outcome = match *request {
            Topology::DeclareNamespace(name) => Ok(self.expect_namespace(name)),
            Topology::DeclareQueue(name, options) => self.expect_queue(who, name, &options),
            Topology::DeclareExchange(name, options) => self.expect_exchange(who.1, name, options),
            Topology::DeleteExchange { name, if_unused } => {
                self.expect_exchange_gone(who.1, name, if_unused)
            }
            Topology::DeleteQueue { name, if_empty, if_unused } => {
                self.expect_queue_gone(who, name, if_empty, if_unused)
            }
            Topology::Bind { exchange, to, key } => {
                self.expect_binding(who, (exchange, to, key), true)
            }
            Topology::Unbind { exchange, to, key } => {
                self.expect_binding(who, (exchange, to, key), false)
            }
        };
        outcome.unwrap_or_else(Outcome::Refused)
    }

    fn expect_namespace(&self, name: &str) -> Outcome {
        if self.oracle.namespaces.iter().any(|(_, there)| there == name) {
            return Outcome::Done;
        }
        let is_it = |fact: &Fact| match fact {
            Fact::NamespaceDeclared { name: there, .. } => there == name,
            _ => false,
        };
        if self.in_flight().any(is_it) { Outcome::Pending } else { Outcome::Log }
    }

    fn expect_queue(
        &self,
        who: Who,
        name: &str,
        options: &QueueOptions,
    ) -> Result<Outcome, Refusal> {
        if name.is_empty() {
            return Err(Refusal::BadName);
        }
        if !choices::is_valid(options) {
            return Err(Refusal::BadPolicy);
        }
        if let Some(there) = self.find_declared(who.1, name) {
            if there.owner.is_some_and(|owner| owner != who.0) {
                return Err(Refusal::QueueExclusive);
            }
            return same(there.options == *options, Outcome::Done);
        }
        let is_given = self.given.contains(&(self.oracle.term, name.to_owned()));
        if name.starts_with('$') && !is_given {
            return Err(Refusal::ReservedName);
        }
        let pending = self.in_flight().find_map(|fact| match fact {
            Fact::QueueDeclared { namespace, name: there, options, .. } => {
                (there == name && *namespace == who.1).then_some(options)
            }
            _ => None,
        });
        if let Some(there) = pending {
            return same(there == options, Outcome::Pending);
        }
        self.expect_room_for_queue(who.1)?;
        Ok(if options.durable { Outcome::Log } else { Outcome::Done })
    }

    /// What is on its way counts as if it were there, and what goes until it is gone.
    fn expect_room_for_queue(&self, namespace: NamespaceId) -> Result<(), Refusal> {
        let coming = self.in_flight().filter(|fact| match fact {
            Fact::QueueDeclared { namespace: there, .. } => *there == namespace,
            _ => false,
        });
        let there = self.oracle.queues.values().filter(|queue| queue.namespace == namespace);
        within(self.quotas.queues_per_namespace_max, there.count() + coming.count())
    }

    fn expect_room_for_exchange(&self, namespace: NamespaceId) -> Result<(), Refusal> {
        let coming = self.in_flight().filter(|fact| match fact {
            Fact::ExchangeDeclared { namespace: there, .. } => *there == namespace,
            _ => false,
        });
        let there = self.oracle.exchanges.iter().filter(|there| there.namespace == namespace);
        within(self.quotas.exchanges_per_namespace_max, there.count() + coming.count())
    }

    fn expect_room_for_binding(&self, namespace: NamespaceId) -> Result<(), Refusal> {
        let exchanges = self.oracle.exchanges.iter().filter(|it| it.namespace == namespace);
        let mut all: BTreeSet<Binding<'_>> = BTreeSet::new();
        for exchange in exchanges {
            all.extend(exchange.bindings.iter().map(|(key, to)| (exchange.id, *to, &key[..])));
            let mut coming: BTreeMap<Binding<'_>, bool> = BTreeMap::new();
            coming.extend(self.in_flight().filter_map(binding_of));
            let here = coming.iter().filter(|((from, ..), is)| *from == exchange.id && **is);
            all.extend(here.map(|(binding, _)| *binding));
        }
        within(self.quotas.bindings_per_namespace_max, all.len())
    }

    fn expect_exchange(
        &self,
        namespace: NamespaceId,
        name: &str,
        options: ExchangeOptions<'_>,
    ) -> Result<Outcome, Refusal> {
        if name.is_empty() {
            return Err(Refusal::BadName);
        }
        if name.starts_with('$') {
            return Err(Refusal::ReservedName);
        }
        let ExchangeOptions { kind, is_internal, auto_delete, alternate } = options;
        let alternate = alternate.map(|name| self.find_exchange(namespace, name)).transpose()?;
        let alternate = alternate.map(|there| there.id);
        let spec = ExchangeSpec { kind, is_internal, auto_delete, alternate };
        if let Ok(exchange) = self.find_exchange(namespace, name) {
            return same(exchange.spec == spec, Outcome::Done);
        }
        let pending = self.in_flight().find_map(|fact| match fact {
            Fact::ExchangeDeclared { namespace: n, name: there, spec, .. } => {
                (there == name && *n == namespace).then_some(*spec)
            }
            _ => None,
        });
        if let Some(there) = pending {
            return same(there == spec, Outcome::Pending);
        }
        self.expect_room_for_exchange(namespace)?;
        Ok(Outcome::Log)
    }

    fn expect_exchange_gone(
        &self,
        namespace: NamespaceId,
        name: &str,
        if_unused: bool,
    ) -> Result<Outcome, Refusal> {
        if name.is_empty() {
            return Err(Refusal::BadName);
        }
        let exchange = self.find_exchange(namespace, name)?;
        let is_used = !exchange.bindings.is_empty() || self.will_be_bound(exchange.id);
        if if_unused && is_used { Err(Refusal::ExchangeInUse) } else { Ok(Outcome::Log) }
    }

    /// Whether a binding from an exchange is on its way.
    pub(crate) fn will_be_bound(&self, id: ExchangeId) -> bool {
        self.in_flight().filter_map(binding_of).any(|(binding, is_bound)| {
            let last = |fact: &Fact| {
                binding_of(fact)
                    .filter(|(other, _)| *other == binding)
                    .map(|(_, is_bound)| is_bound)
            };
            binding.0 == id && is_bound && self.in_flight().rev().find_map(last) == Some(true)
        })
    }

    fn expect_queue_gone(
        &self,
        who: Who,
        name: &str,
        if_empty: bool,
        if_unused: bool,
    ) -> Result<Outcome, Refusal> {
        if name.is_empty() {
            return Err(Refusal::BadName);
        }
        let queue = self.find_open_queue(who, name)?;
        let subscriptions = self.oracle.subscription_count(queue.id);
        let counts = queue.counts(subscriptions);
        let ready = if self.shelf.is_slow() {
            // Who knows how much of what is overdue was seen.
            self.engine.counts(queue.id).map_or(0, |counts| counts.ready)
        } else {
            counts.ready - queue.overdue(self.now_ms)
        };
        if if_empty && ready + counts.leased + self.on_its_way(queue).0 > 0 {
            return Err(Refusal::QueueNotEmpty);
        }
        if if_unused && subscriptions > 0 {
            return Err(Refusal::QueueInUse);
        }
        Ok(if queue.options.durable { Outcome::Log } else { Outcome::Done })
    }

    fn target(&self, who: Who, to: BindTo<'_>) -> Result<Target, Refusal> {
        match to {
            BindTo::Queue(name) => Ok(Target::Queue(self.find_open_queue(who, name)?.id)),
            BindTo::Exchange(name) => Ok(Target::Exchange(self.find_exchange(who.1, name)?.id)),
        }
    }

    /// A binding is there if the last record about it says so, whether applied or in flight.
    fn expect_binding(
        &self,
        who: Who,
        (exchange, to, key): (&str, BindTo<'_>, &[u8]),
        is_wanted: bool,
    ) -> Result<Outcome, Refusal> {
        let exchange = self.find_exchange(who.1, exchange)?;
        let to = self.target(who, to)?;
        if is_wanted && !is_binding(exchange.spec.kind, key) {
            return Err(Refusal::BadBinding);
        }
        let is_bound = exchange.bindings.iter().any(|(k, there)| k == key && *there == to);
        let is_transient = matches!(to, Target::Queue(queue) if !queue.is_durable());
        let about = |fact: &Fact| {
            binding_of(fact).filter(|(it, _)| *it == (exchange.id, to, key)).map(|(_, is)| is)
        };
        let last = self.in_flight().rev().find_map(about);
        match (is_wanted, last.unwrap_or(is_bound)) {
            (false, false) => Err(Refusal::NoSuchBinding),
            (true, true) if last.is_some() => Ok(Outcome::Pending),
            (true, true) => Ok(Outcome::Done),
            (false, true) if is_transient => Ok(Outcome::Done),
            (false, true) => Ok(Outcome::Log),
            (true, false) => {
                self.expect_room_for_binding(who.1)?;
                Ok(if is_transient { Outcome::Done } else { Outcome::Log })
            }
        }
    }

    /// What is transient changed at once.
    fn follow_transient(&mut self, who: Who, request: &Topology<'_>) {
        match *request {
            Topology::DeclareQueue(name, options)
                if !options.durable && self.find_queue(who.1, name).is_none() =>
            {
                let listed = self.engine.queues();
                let is_new =
                    |id: &QueueId| !id.is_durable() && !self.oracle.queues.contains_key(id);
                let new = listed.iter().find(|(_, id, _)| is_new(id));
                let id = new.expect("the queue was made").1;
                let mut queue = Queue::new(id, who.1, name, options);
                if options.exclusive {
                    queue.owner = Some(who.0);
                    self.oracle.sessions.get_mut(&who.0).expect("a session").owned.push(id);
                    self.count("exclusive queues", 1);
                }
                self.oracle.queues.insert(id, queue);
            }
            Topology::DeleteQueue { name, .. } => {
                let id = self.find_queue(who.1, name).map(|queue| queue.id);
                self.oracle.remove_queue(id.expect("it was there"));
            }
            Topology::Bind { exchange, to, key } => {
                let to = self.target(who, to).expect("it is there");
                let exchange = self.find_exchange(who.1, exchange).expect("it is there").id;
                self.oracle.bind(exchange, to, key);
            }
            Topology::Unbind { exchange, to, key } => {
                let to = self.target(who, to).expect("it is there");
                let exchange = self.find_exchange(who.1, exchange).expect("it is there").id;
                self.oracle.unbind(exchange, to, key);
            }
            _ => {}
        }
    }

    /// Asking for a queue, and for what it differs in.
    pub(crate) fn look(&mut self, session: u8, name: u8, variant: u8) {
        let Some(session) = self.session(session) else { return };
        let who = (session, self.oracle.sessions[&session].namespace);
        let (options, name) = (queue_variant(name, variant, true), self.queue_name(name));
        let expected = self.find_open_queue(who, &name).map(|queue| queue.id);
        let got = self.engine.queue_of(session, courant_engine::Operation::Inspect, &name);
        assert_eq!(got, expected, "{name}");
        if let Err(refusal) = got {
            self.count(refusal.name(), 1);
        }
        let differing = self.engine.queue_difference(session, &name, &options);
        if let Some(there) = self.find_queue(who.1, &name) {
            assert_eq!(differing.is_none(), there.options == options, "{name}: {differing:?}");
            self.count("looks", 1);
        }
    }

    /// Asking where a live subscription would listen.
    pub(crate) fn listen(&mut self, session: u8, exchange: u8, key: u8) {
        let Some(session) = self.session(session) else { return };
        let namespace = self.oracle.sessions[&session].namespace;
        let name = Self::exchange_name(exchange);
        let key = self.binding_key(namespace, &name, key);
        let expected = self.find_exchange(namespace, &name).and_then(|there| {
            let kind = there.spec.kind;
            match kind {
                ExchangeKind::Headers | ExchangeKind::Hash => Err(Refusal::NotSupported),
                _ if !is_binding(kind, &key) => Err(Refusal::BadBinding),
                _ => Ok((there.id, kind)),
            }
        });
        let got = self.engine.live_place(session, &name, &key);
        assert_eq!(got, expected, "{name}");
        self.count(got.map_or_else(Refusal::name, |_| "listens"), 1);
    }

    pub(crate) fn open_session_queue(&mut self, session: SessionId, exchange: u8, key: u8) -> bool {
        let namespace = self.oracle.sessions[&session].namespace;
        let name = Self::exchange_name(exchange);
        let Ok(there) = self.find_exchange(namespace, &name) else { return false };
        let (exchange, kind) = (there.id, there.spec.kind);
        let key = &self.binding_key(namespace, &name, key);
        let got = self.engine.open_session_queue(session, exchange, key);
        if !is_binding(kind, key) {
            assert_eq!(got, Err(Refusal::BadBinding));
            return false;
        }
        let has_room = self.expect_room_for_queue(namespace);
        if let Err(refusal) = has_room.and_then(|()| self.expect_room_for_binding(namespace)) {
            assert_eq!(got, Err(refusal));
            self.count("session queues beyond a quota", 1);
            return false;
        }
        let id = got.expect("there is room");
        let listed = self.engine.queues();
        let name = &listed.iter().find(|(_, there, _)| *there == id).expect("it was made").0;
        let options = QueueOptions { durable: false, ..QueueOptions::default() };
        let mut queue = Queue::new(id, namespace, name.as_str(), options);
        queue.owner = Some(session);
        queue.source = Some(exchange);
        assert!(self.oracle.queues.insert(id, queue).is_none(), "{id:?} is in use");
        self.oracle.bind(exchange, Target::Queue(id), key);
        self.oracle.sessions.get_mut(&session).expect("a session").owned.push(id);
        self.count("session queues", 1);
        true
    }
}

fn within(most: usize, there: usize) -> Result<(), Refusal> {
    if there < most { Ok(()) } else { Err(Refusal::NamespaceQuota) }
}

fn same(is: bool, then: Outcome) -> Result<Outcome, Refusal> {
    if is { Ok(then) } else { Err(Refusal::DeclaredOtherwise) }
}

/// Whether a declaration came as far as to the queue that is there.
fn choices_are_used(outcome: &Outcome) -> bool {
    matches!(outcome, Outcome::Done | Outcome::Refused(Refusal::DeclaredOtherwise))
}

/// The binding that a record is about, and whether it makes it.
fn binding_of(fact: &Fact) -> Option<(Binding<'_>, bool)> {
    match fact {
        Fact::Bound { exchange, queue, key } => {
            Some(((*exchange, Target::Queue(*queue), key), true))
        }
        Fact::Unbound { exchange, queue, key } => {
            Some(((*exchange, Target::Queue(*queue), key), false))
        }
        Fact::ExchangeBound { from, to, key } => Some(((*from, Target::Exchange(*to), key), true)),
        Fact::ExchangeUnbound { from, to, key } => {
            Some(((*from, Target::Exchange(*to), key), false))
        }
        _ => None,
    }
}

fn word_of(request: &Topology<'_>) -> &'static str {
    match request {
        Topology::DeclareNamespace(_) => "namespaces declared",
        Topology::DeclareQueue(..) => "queues declared",
        Topology::DeclareExchange(..) => "exchanges declared",
        Topology::DeleteExchange { .. } => "exchanges deleted",
        Topology::DeleteQueue { .. } => "queues deleted",
        Topology::Bind { to: BindTo::Queue(_), .. } => "queues bound",
        Topology::Bind { .. } => "exchanges bound",
        Topology::Unbind { to: BindTo::Queue(_), .. } => "queues unbound",
        Topology::Unbind { .. } => "exchanges unbound",
    }
}
