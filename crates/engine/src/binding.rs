//! Admission of changes to exchanges and bindings, and the end of exchanges that nobody uses.
//!
//! A binding of a durable queue or of an exchange is a record; one of a transient queue is on the
//! floor. An exchange that goes with its last binding is looked at whenever a binding from it went,
//! and leaves by a record like any other.

use crate::access::Operation;
use crate::engine::Engine;
use crate::exchange::{BindTo, ExchangeKind, ExchangeOptions, ExchangeSpec, Target, bindable};
use crate::floor::SessionId;
use crate::limits::{BINDINGS_MAX, EXCHANGES_MAX};
use crate::name::{ExchangeId, NamespaceId};
use crate::record::Record;
use crate::refusal::Refusal;
use crate::topology::{Admission, Topology, valid};

impl Engine {
    pub(crate) fn declare_exchange<'a>(
        &mut self,
        namespace: NamespaceId,
        name: &'a str,
        options: ExchangeOptions<'_>,
    ) -> Result<Admission<'a>, Refusal> {
        let spec = self.spec_of(namespace, options)?;
        let same = |is: bool, then| if is { Ok(then) } else { Err(Refusal::DeclaredOtherwise) };
        if let Some(id) = self.find_exchange(namespace, name) {
            let there = self.ledger.exchanges.get(&id).map(|exchange| exchange.spec);
            return same(there == Some(spec), Admission::Done);
        }
        let key = (namespace, valid(name)?);
        if let Some((_, pending)) = self.floor.pending.exchanges.get(&key) {
            return same(*pending == spec, Admission::Pending);
        }
        if self.ledger.exchanges.len() + self.floor.pending.exchanges.len() >= EXCHANGES_MAX {
            return Err(Refusal::TooManyExchanges);
        }
        self.room_for_exchange(namespace)?;
        let pending = &mut self.floor.pending;
        let id = pending.next_exchange.max(self.ledger.next_exchange);
        if id == u32::MAX {
            return Err(Refusal::TooManyExchanges);
        }
        pending.next_exchange = id + 1;
        let id = ExchangeId(id);
        pending.exchanges.insert(key, (id, spec));
        Ok(Admission::Log(Record::ExchangeDeclared { id, namespace, name, spec }))
    }

    fn spec_of(
        &self,
        namespace: NamespaceId,
        options: ExchangeOptions<'_>,
    ) -> Result<ExchangeSpec, Refusal> {
        let ExchangeOptions { kind, is_internal, auto_delete, alternate } = options;
        let find = |name| self.find_exchange(namespace, name).ok_or(Refusal::NoSuchExchange);
        let alternate = alternate.map(find).transpose()?;
        Ok(ExchangeSpec { kind, is_internal, auto_delete, alternate })
    }

    /// The wire key of the first option by which an exchange that is there differs.
    pub fn exchange_difference(
        &self,
        session: SessionId,
        name: &str,
        options: ExchangeOptions<'_>,
    ) -> Option<&'static str> {
        let who = self.floor.sessions.get(session.0)?;
        who.allow(Operation::Configure, name).ok()?;
        let id = self.find_exchange(who.namespace, name)?;
        let there = self.ledger.exchanges.get(&id)?;
        let Ok(spec) = self.spec_of(who.namespace, options) else { return Some("alternate") };
        there.spec.differing(&spec)
    }

    /// How an exchange routes, for who may make this binding; `None` if it is not there, and for
    /// others.
    pub fn kind_of(
        &self,
        session: SessionId,
        exchange: &str,
        to: BindTo<'_>,
    ) -> Option<ExchangeKind> {
        let who = self.floor.sessions.get(session.0)?;
        let change = Topology::Bind { exchange, to, key: b"" };
        who.allow_change(&change, |name| self.is_own((session, who.namespace), name)).ok()?;
        let id = self.find_exchange(who.namespace, exchange)?;
        self.ledger.exchanges.get(&id).map(|there| there.spec.kind)
    }

    /// Where a live subscription listens: an exchange that routes by key alone, to many.
    pub fn live_place(
        &self,
        session: SessionId,
        name: &str,
        key: &[u8],
    ) -> Result<(ExchangeId, ExchangeKind), Refusal> {
        let id = self.exchange_of(session, Operation::Consume, name)?;
        let there = self.ledger.exchanges.get(&id).ok_or(Refusal::NoSuchExchange)?;
        let kind = there.spec.kind;
        match kind {
            ExchangeKind::Headers | ExchangeKind::Hash => Err(Refusal::NotSupported),
            _ if !bindable(kind, key) => Err(Refusal::BadBinding),
            _ => Ok((id, kind)),
        }
    }

    pub(crate) fn delete_exchange(
        &mut self,
        namespace: NamespaceId,
        name: &str,
        if_unused: bool,
    ) -> Result<Admission<'static>, Refusal> {
        let id = self.find_exchange(namespace, name).ok_or(Refusal::NoSuchExchange)?;
        if if_unused && self.is_bound(id) {
            return Err(Refusal::ExchangeInUse);
        }
        self.exchange_changed(id);
        self.floor.pending.gone_exchanges.insert(id);
        Ok(Admission::Log(Record::ExchangeDeleted { id }))
    }

    /// Whether a binding leads from an exchange, or is about to.
    fn is_bound(&self, id: ExchangeId) -> bool {
        self.ledger.bindings.count(id) + self.floor.bindings.count(id) > 0
            || self.floor.pending.will_have_bindings(id)
    }

    pub(crate) fn bind<'a>(
        &mut self,
        who: (SessionId, NamespaceId),
        exchange: &str,
        to: BindTo<'_>,
        key: &'a [u8],
    ) -> Result<Admission<'a>, Refusal> {
        let binding = self.found(who, (exchange, to, key))?;
        let (exchange, target, _) = binding;
        let kind = self.ledger.exchanges.get(&exchange).map(|there| there.spec.kind);
        let kind = kind.ok_or(Refusal::NoSuchExchange)?;
        if !bindable(kind, key) {
            return Err(Refusal::BadBinding);
        }
        let is_there = || {
            let both = [&self.ledger.bindings, &self.floor.bindings];
            both.into_iter().any(|bindings| bindings.has(exchange, key, target))
        };
        match self.floor.pending.is_bound(binding) {
            Some(true) => return Ok(Admission::Pending),
            None if is_there() => return Ok(Admission::Done),
            _ => {}
        }
        let there = self.ledger.bindings.count(exchange) + self.floor.bindings.count(exchange);
        if there + self.floor.pending.bindings.len() >= BINDINGS_MAX {
            return Err(Refusal::TooManyBindings);
        }
        self.room_for_binding(who.1)?;
        match target {
            Target::Queue(queue) if !queue.is_durable() => {
                self.floor.bindings.bind((exchange, who.1, kind), key, target);
                self.binding_changed(exchange, key);
                return Ok(Admission::Done);
            }
            _ => self.floor.pending.will_be_bound(binding, true),
        }
        Ok(Admission::Log(match target {
            Target::Queue(queue) => Record::Bound { exchange, queue, key },
            Target::Exchange(to) => Record::ExchangeBound { from: exchange, to, key },
        }))
    }

    /// Whether a queue that is not there yet could be bound to an exchange with that key.
    pub fn could_bind(
        &self,
        session: SessionId,
        exchange: &str,
        key: &[u8],
    ) -> Result<(), Refusal> {
        let namespace = self.floor.sessions.get(session.0).ok_or(Refusal::Closing)?.namespace;
        let found = self.find_exchange(namespace, exchange).ok_or(Refusal::NoSuchExchange)?;
        let there = self.ledger.exchanges.get(&found).ok_or(Refusal::NoSuchExchange)?;
        if !bindable(there.spec.kind, key) {
            return Err(Refusal::BadBinding);
        }
        self.room_for_binding(namespace)
    }

    pub(crate) fn unbind<'a>(
        &mut self,
        who: (SessionId, NamespaceId),
        exchange: &str,
        to: BindTo<'_>,
        key: &'a [u8],
    ) -> Result<Admission<'a>, Refusal> {
        let binding = self.found(who, (exchange, to, key))?;
        let (exchange, target, _) = binding;
        if let Target::Queue(queue) = target
            && !queue.is_durable()
        {
            if !self.floor.bindings.unbind(exchange, key, target) {
                return Err(Refusal::NoSuchBinding);
            }
            self.binding_changed(exchange, key);
            self.lost_binding(exchange);
            return Ok(Admission::Done);
        }
        let pending = self.floor.pending.is_bound(binding);
        if !pending.unwrap_or_else(|| self.ledger.bindings.has(exchange, key, target)) {
            return Err(Refusal::NoSuchBinding);
        }
        self.floor.pending.will_be_bound(binding, false);
        Ok(Admission::Log(match target {
            Target::Queue(queue) => Record::Unbound { exchange, queue, key },
            Target::Exchange(to) => Record::ExchangeUnbound { from: exchange, to, key },
        }))
    }

    /// The binding that names mean, whether it is there or not.
    fn found<'a>(
        &self,
        who: (SessionId, NamespaceId),
        (exchange, to, key): (&str, BindTo<'_>, &'a [u8]),
    ) -> Result<(ExchangeId, Target, &'a [u8]), Refusal> {
        let find = |name| self.find_exchange(who.1, name).ok_or(Refusal::NoSuchExchange);
        let exchange = find(exchange)?;
        let target = match to {
            BindTo::Exchange(name) => Target::Exchange(find(name)?),
            BindTo::Queue(name) => Target::Queue(self.find_open_queue(who, name)?),
        };
        Ok((exchange, target, key))
    }

    /// A binding from an exchange is gone: perhaps it was the last one.
    pub(crate) fn lost_binding(&mut self, exchange: ExchangeId) {
        if self.is_unused(exchange) {
            self.floor.unused_exchanges.insert(exchange);
        }
    }

    /// Whether an exchange goes because no binding leads from it any more.
    fn is_unused(&self, id: ExchangeId) -> bool {
        let there = self.ledger.exchanges.get(&id);
        there.is_some_and(|there| there.spec.auto_delete)
            && !self.floor.pending.gone_exchanges.contains(&id)
            && !self.is_bound(id)
    }

    /// Takes the next exchange that goes because no binding leads from it any more; its record is
    /// written now.
    pub(crate) fn take_unused_exchange(&mut self) -> Option<ExchangeId> {
        while let Some(id) = self.floor.unused_exchanges.pop_first() {
            if self.is_unused(id) {
                self.exchange_changed(id);
                self.floor.pending.gone_exchanges.insert(id);
                return Some(id);
            }
        }
        None
    }

    pub(crate) fn find_exchange(&self, namespace: NamespaceId, name: &str) -> Option<ExchangeId> {
        let id = *self.ledger.namespaces.get(&namespace)?.exchanges.get(name)?;
        (!self.floor.pending.gone_exchanges.contains(&id)).then_some(id)
    }
}
