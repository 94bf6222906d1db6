//! Where messages go: from the exchange of a destination to queues, over other exchanges.
//!
//! The walk is breadth first and enters every exchange once, so circles end; a queue gets a
//! message once, by however many ways it is reached. An exchange at which a message finds no
//! target hands it on to its alternate, which is entered once like any other.
//!
//! A route is found once for a destination and kept by whoever publishes there, until one of the
//! counters that it hangs on rises ([`generations`](crate::exchange::generations)). If the walk
//! comes to a headers exchange, it has to be found for each message again.

use crate::access::Operation;
use crate::engine::Engine;
use crate::exchange::generations::{Generations, Slots, slot_of_binding};
use crate::exchange::{Exchange, ExchangeKind, Target};
use crate::floor::SessionId;
use crate::limits::{ROUTE_EXCHANGES_MAX, TARGETS_MAX};
use crate::message::Header;
use crate::name::{ExchangeId, QueueId};
use crate::refusal::Refusal;
use std::sync::Arc;

/// Where a publisher wants a message to go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Publish<'a> {
    /// To one queue, through the default exchange.
    Queue(&'a str),
    /// To a topic.
    Topic(&'a str),
    /// To an exchange, with a routing key.
    Exchange(&'a str, &'a [u8]),
}

/// Where messages for one destination go, as long as nobody changes the topology.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Route {
    slots: Slots,
    version: u64,
    /// The exchange they come through first.
    pub exchange: ExchangeId,
    /// Every exchange they come through, that one first; none if they go to a queue by its name.
    pub through: Arc<[ExchangeId]>,
    /// Durable queues, as they stand in a record.
    pub durable: Arc<[u8]>,
    /// Transient queues.
    pub transient: Arc<[QueueId]>,
    /// Whether one of them has limits for what comes in.
    pub is_limited: bool,
    /// Where they go depends on their headers too: [`Engine::resolve_with`] says it of each.
    pub needs_headers: bool,
}

impl Route {
    /// How many queues a message reaches.
    pub fn reach(&self) -> usize {
        self.durable.len() / 4 + self.transient.len()
    }
}

/// How far a walk has come.
#[derive(Debug, Default)]
struct Walk {
    through: Vec<ExchangeId>,
    queues: Vec<QueueId>,
    needs_headers: bool,
}

impl Walk {
    fn enter(&mut self, exchange: ExchangeId) {
        if !self.through.contains(&exchange) {
            self.through.push(exchange);
        }
    }
}

impl Engine {
    /// Finds out where messages for a destination go, and whether the session may send them.
    pub fn resolve(&self, session: SessionId, to: Publish<'_>) -> Result<Route, Refusal> {
        self.resolve_with(session, to, None)
    }

    /// The same for a message with these headers.
    pub fn resolve_with(
        &self,
        session: SessionId,
        to: Publish<'_>,
        headers: Option<&[Header<'_>]>,
    ) -> Result<Route, Refusal> {
        let who = self.floor.sessions.get(session.0).ok_or(Refusal::Closing)?;
        let slots = self.slots(session, to);
        let (Publish::Queue(name) | Publish::Topic(name) | Publish::Exchange(name, _)) = to;
        who.allow(Operation::Publish, name)?;
        let found = |missing| self.find_exchange(who.namespace, name).ok_or(missing);
        let (exchange, walk) = match to {
            Publish::Queue(_) => {
                let queue = self.find_queue(who.namespace, name).ok_or(Refusal::NoSuchQueue)?;
                let walk = Walk { queues: vec![queue], ..Walk::default() };
                (ExchangeId::DEFAULT, walk)
            }
            Publish::Topic(_) => {
                let id = found(Refusal::NoSuchTopic)?;
                (id, self.walk(id, b"", headers)?)
            }
            Publish::Exchange(_, key) => {
                let id = found(Refusal::NoSuchExchange)?;
                (id, self.walk(id, key, headers)?)
            }
        };
        let queues = &self.floor.queues;
        let is_limited = |id| queues.get(id).is_some_and(|queue| queue.is_limited);
        let is_limited = walk.queues.iter().any(is_limited);
        let mut durable = Vec::new();
        for queue in walk.queues.iter().filter(|queue| queue.is_durable()) {
            durable.extend_from_slice(&queue.0.to_le_bytes());
        }
        let transient = walk.queues.iter().copied().filter(|queue| !queue.is_durable()).collect();
        Ok(Route {
            slots,
            version: self.floor.routes.at(slots),
            exchange,
            through: walk.through.into(),
            durable: durable.into(),
            transient,
            is_limited,
            needs_headers: walk.needs_headers,
        })
    }

    /// What a route to a destination hangs on, whether there is one or not.
    pub fn slots(&self, session: SessionId, to: Publish<'_>) -> Slots {
        let Some(who) = self.floor.sessions.get(session.0) else { return Slots::default() };
        let (name, key) = match to {
            Publish::Queue(name) => return Slots::of_name(who.namespace, name),
            Publish::Topic(name) => (name, &b""[..]),
            Publish::Exchange(name, key) => (name, key),
        };
        let found = self.find_exchange(who.namespace, name);
        match found.and_then(|id| self.ledger.exchanges.get(&id)) {
            Some(exchange) => Slots::of(exchange.id, exchange.spec.kind, key),
            None => Slots::of_name(who.namespace, name),
        }
    }

    /// The counters that routes hang on.
    pub fn generations(&self) -> &Generations {
        &self.floor.routes
    }

    /// Whether a route still holds.
    pub fn is_current(&self, route: &Route) -> bool {
        route.version == self.floor.routes.at(route.slots)
    }

    /// No kept route holds any more: what somebody may do has changed.
    pub fn forget_routes(&mut self) {
        self.floor.routes.raise_all();
    }

    fn walk(
        &self,
        first: ExchangeId,
        key: &[u8],
        headers: Option<&[Header<'_>]>,
    ) -> Result<Walk, Refusal> {
        if self.ledger.exchanges.get(&first).is_some_and(|there| there.spec.is_internal) {
            return Err(Refusal::ExchangeInternal);
        }
        let mut walk = Walk { through: vec![first], ..Walk::default() };
        let mut found = Vec::new();
        let mut at = 0;
        while let Some(id) = walk.through.get(at) {
            at += 1;
            let exchange = self.ledger.exchanges.get(id);
            let Some(exchange) = exchange.filter(|there| !self.is_going(there.id)) else {
                continue;
            };
            if exchange.spec.kind == ExchangeKind::Headers && headers.is_none() {
                walk.needs_headers = true;
                continue;
            }
            found.clear();
            self.find_targets(exchange, key, headers.unwrap_or_default(), &mut found);
            if found.is_empty()
                && let Some(alternate) = exchange.spec.alternate
            {
                walk.enter(alternate);
            }
            for target in &found {
                match target {
                    Target::Queue(queue) => walk.queues.push(*queue),
                    Target::Exchange(exchange) => walk.enter(*exchange),
                }
            }
            if walk.queues.len() > TARGETS_MAX {
                once(&mut walk.queues);
            }
            if walk.queues.len() > TARGETS_MAX || walk.through.len() > ROUTE_EXCHANGES_MAX {
                return Err(Refusal::TooManyTargets);
            }
        }
        once(&mut walk.queues);
        Ok(walk)
    }

    /// Where one exchange sends a message, but for what is about to go.
    fn find_targets(
        &self,
        exchange: &Exchange,
        key: &[u8],
        headers: &[Header<'_>],
        found: &mut Vec<Target>,
    ) {
        let pending = &self.floor.pending;
        let stays = |target: Target| match target {
            Target::Queue(id) => !pending.gone_queues.contains(&id),
            Target::Exchange(id) => !pending.gone_exchanges.contains(&id),
        };
        let both = [&self.ledger.bindings, &self.floor.bindings];
        let tables = both.into_iter().filter_map(|bindings| bindings.of(exchange.id));
        if exchange.spec.kind == ExchangeKind::Hash {
            let chosen = tables.filter_map(|table| table.choose(key, stays));
            let best = chosen.reduce(|best, next| if next.0.beats(best.0) { next } else { best });
            found.extend(best.map(|(_, target)| target));
            return;
        }
        for table in tables {
            table.find(key, headers, found);
        }
        if !pending.gone_queues.is_empty() || !pending.gone_exchanges.is_empty() {
            found.retain(|target| stays(*target));
        }
    }

    fn is_going(&self, exchange: ExchangeId) -> bool {
        self.floor.pending.gone_exchanges.contains(&exchange)
    }

    /// Routes that a binding is about have to be found again.
    pub(crate) fn binding_changed(&mut self, exchange: ExchangeId, key: &[u8]) {
        let Some(there) = self.ledger.exchanges.get(&exchange) else { return };
        if self.is_fed(exchange) {
            self.floor.routes.raise_all();
        } else {
            self.floor.routes.raise(slot_of_binding(exchange, there.spec.kind, key));
        }
    }

    /// Routes through an exchange have to be found again.
    pub(crate) fn exchange_changed(&mut self, exchange: ExchangeId) {
        if self.is_fed(exchange) {
            self.floor.routes.raise_all();
        } else {
            self.floor.routes.raise_exchange(exchange);
        }
    }

    /// Routes to a queue, and to what its name may mean, have to be found again.
    pub(crate) fn queue_changed(&mut self, id: QueueId) {
        if let Some(queue) = self.floor.queues.get(&id) {
            self.floor.routes.raise_name(queue.namespace, queue.name.as_str());
        }
        let target = Target::Queue(id);
        let both = [&self.ledger.bindings, &self.floor.bindings];
        let leading = both.into_iter().flat_map(|bindings| bindings.leading_to(target));
        let leading: Vec<_> = leading.map(|(exchange, key)| (exchange, key.clone())).collect();
        for (exchange, key) in leading {
            self.binding_changed(exchange, &key);
        }
    }

    /// Whether other exchanges send messages to that one.
    fn is_fed(&self, exchange: ExchangeId) -> bool {
        self.ledger.alternates.contains_key(&exchange)
            || self.ledger.bindings.leading_to(Target::Exchange(exchange)).next().is_some()
    }
}

fn once(queues: &mut Vec<QueueId>) {
    if queues.len() > 1 {
        queues.sort_unstable();
        queues.dedup();
    }
}
