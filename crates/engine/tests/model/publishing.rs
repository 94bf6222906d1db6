//! Publishing, against the way that the naive walk finds and the room that the queues have.

use super::choices::{HEADERS, KEYS, headers};
use super::log::Fact;
use super::op::To;
use super::queue::Queue;
use super::rig::{Entry, Rig};
use super::routing::Way;
use courant_engine::limits::{MESSAGE_BYTES_MAX, SEQ_BLOCK};
use courant_engine::{
    ExchangeId, Lifetime, NoRoom, Overflow, Publish, QueueId, Refusal, Route, SessionId,
};
use std::collections::BTreeSet;

/// Messages that a full queue is asked to take at a time: the model counts all that is in it for
/// each.
const LIMITED_MAX: u16 = 64;

/// What is said of messages.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Kind {
    pub(crate) durable: bool,
    pub(crate) size: u32,
    pub(crate) lifetime: Lifetime,
    pub(crate) headers: u8,
    /// Whether their publisher may be held.
    pub(crate) may_wait: bool,
}

impl Kind {
    /// The part of the size that is the body.
    fn body(self) -> u32 {
        self.size - self.size / 8
    }
}

impl Rig {
    pub(crate) fn publish(&mut self, session: u8, to: To, kind: Kind, times: u16) {
        let Some(session) = self.session(session) else { return };
        self.check_routes();
        let Some(route) = self.resolve(session, to, kind) else { return };
        if !kind.durable && self.log[self.applied..].iter().any(|e| e.publisher == Some(session)) {
            // What the shell does: a transient message waits for its own session's durable ones.
            self.commit(usize::MAX);
            self.expire_all();
            if !self.engine.is_current(&route) {
                return;
            }
        }
        let has_bound = |id: &QueueId| {
            let queue = &self.oracle.queues[id];
            queue.is_limited() && queue.options.overflow != Overflow::DropOldest
        };
        let overdue = |id: &QueueId| self.oracle.queues[id].overdue(self.now_ms);
        if route.is_limited
            && self.shelf.is_slow()
            && queues_of(&route).iter().any(|id| overdue(id) > 0)
        {
            // Who knows how much of what is overdue was seen.
            return;
        }
        let is_bounded = queues_of(&route).iter().any(has_bound);
        for _ in 0..if is_bounded { times.min(LIMITED_MAX) } else { times } {
            if !self.publish_one(session, &route, kind) {
                break;
            }
            if kind.lifetime.deadline_ms <= self.now_ms {
                self.expire_all();
            }
        }
        self.routes.push((session, to, self.name_of(to), route));
    }

    /// The route of a message, which is as expected.
    fn resolve(&mut self, session: SessionId, to: To, kind: Kind) -> Option<Route> {
        let name = self.name_of(to);
        let all = headers(HEADERS[usize::from(kind.headers) % HEADERS.len()]);
        let way = self.expect_way(session, (to, &name), kind.headers);
        let mut route = self.engine.resolve(session, publish_of(to, &name));
        if let Ok(found) = &route
            && found.needs_headers
        {
            assert!(way.as_ref().is_ok_and(|way| way.has_headers), "{to:?} looks at headers");
            route = self.engine.resolve_with(session, publish_of(to, &name), Some(&all));
            self.count("routes by headers", 1);
        } else if let Ok(way) = &way {
            assert!(!way.has_headers, "the route to {to:?} needs no headers");
        }
        match (route, way) {
            (Ok(route), Ok(way)) => {
                self.check_route(&route, &way, to);
                self.count("routes", 1);
                self.count("alternates and circles", u64::from(way.through.len() > 2));
                self.count("unroutable", u64::from(way.queues.is_empty()));
                Some(route)
            }
            (route, way) => {
                let refusal = way.expect_err("the engine refuses");
                assert_eq!(route.err(), Some(refusal));
                self.count(refusal.name(), 1);
                None
            }
        }
    }

    fn check_route(&self, route: &Route, way: &Way, to: To) {
        let queues = queues_of(route);
        assert_eq!(queues.len(), route.reach(), "a queue gets a message once");
        assert_eq!(queues, way.queues, "the route to {to:?}");
        let is_there =
            |id: &&ExchangeId| self.oracle.stays(courant_engine::exchange::Target::Exchange(**id));
        let through: BTreeSet<_> = route.through.iter().filter(is_there).copied().collect();
        assert_eq!(through, way.through, "exchanges on the way to {to:?}");
        let is_limited = way.queues.iter().any(|id| self.oracle.queues[id].is_limited());
        assert_eq!(route.is_limited, is_limited, "the route to {to:?}");
    }

    /// Publishes one message. Says whether another may be tried.
    fn publish_one(&mut self, session: SessionId, route: &Route, kind: Kind) -> bool {
        let Kind { durable, size, lifetime, may_wait, .. } = kind;
        let (queues, body) = (queues_of(route), kind.body());
        let expected = self.expect_room(&queues, (size, body), may_wait);
        let got = self.engine.find_room(route, (size, body), may_wait);
        assert_eq!(got, expected, "room for {size} bytes in {queues:?}");
        match got {
            Ok(()) => {}
            Err(NoRoom::Refused(refusal)) => {
                self.count(refusal.name(), 1);
                return false;
            }
            Err(NoRoom::Held) => {
                self.count("publishers held", 1);
                return false;
            }
        }
        let seq = match self.engine.admit(size) {
            Ok(seq) => seq,
            Err(refusal) => {
                assert_eq!(refusal, Refusal::MessageTooLarge);
                assert!(size > MESSAGE_BYTES_MAX);
                self.count(refusal.name(), 1);
                return false;
            }
        };
        assert!(size <= MESSAGE_BYTES_MAX && seq < (self.oracle.block + 1) * SEQ_BLOCK);
        self.note_number(seq);
        self.count("messages", 1);
        let durable_targets: Vec<QueueId> =
            queues.into_iter().filter(|queue| queue.is_durable()).collect();
        if durable && !durable_targets.is_empty() {
            self.engine.note_in_flight(size, &route.durable);
            if route.is_limited && !route.transient.is_empty() {
                self.engine.note_placing(size, route, false);
            }
            let (exchange, targets) = (route.exchange, route.durable.to_vec());
            let fact = Fact::Published { seq, size, lifetime, exchange, targets };
            let late = route.transient.to_vec();
            self.log.push(Entry { fact, late, publisher: Some(session) });
            return true;
        }
        if route.is_limited {
            self.engine.note_placing(size, route, true);
        }
        let mut reached = self.engine.place(seq, size, lifetime, &route.transient);
        reached += self.engine.place_durable(seq, size, lifetime, &route.durable);
        let mut expected = self.oracle.place(seq, size, lifetime, &route.transient);
        expected += self.oracle.place(seq, size, lifetime, &durable_targets);
        assert_eq!(reached, expected, "queues that {seq} reached");
        assert_eq!(reached as usize, route.reach());
        true
    }

    /// Messages and bytes that are on their way into a queue. Of a transient one without limits
    /// nobody asks.
    pub(crate) fn on_its_way(&self, queue: &Queue) -> (u64, u64) {
        let is_to = |entry: &&Entry| match &entry.fact {
            Fact::Published { targets, .. } if queue.id.is_durable() => {
                targets.chunks(4).any(|id| id == queue.id.0.to_le_bytes())
            }
            Fact::Published { .. } => queue.is_limited() && entry.late.contains(&queue.id),
            _ => false,
        };
        let size = |entry: &Entry| match entry.fact {
            Fact::Published { size, .. } => u64::from(size),
            _ => 0,
        };
        let all = self.log[self.applied..].iter().filter(is_to).map(size);
        all.fold((0, 0), |(count, bytes), size| (count + 1, bytes + size))
    }

    /// Whether one message more is more than a queue may hold.
    fn is_full(&self, queue: &Queue, size: u32) -> bool {
        let ((count, bytes), (coming, coming_bytes)) =
            (queue.load(self.now_ms), self.on_its_way(queue));
        queue.options.max_length.is_some_and(|most| count + coming + 1 > most)
            || queue
                .options
                .max_bytes
                .is_some_and(|most| bytes + coming_bytes + u64::from(size) > most)
    }

    /// What does not fit anywhere refuses the message everywhere; a queue that blocks holds its
    /// publisher, unless that is refused by another.
    fn expect_room(
        &mut self,
        queues: &BTreeSet<QueueId>,
        (size, body): (u32, u32),
        may_wait: bool,
    ) -> Result<(), NoRoom> {
        let limited = queues.iter().map(|id| &self.oracle.queues[id]);
        let limited: Vec<&Queue> = limited.filter(|queue| queue.is_limited()).collect();
        let is_too_large = |queue: &&Queue| {
            queue.options.max_message_bytes.is_some_and(|most| body > most)
                || queue.options.max_bytes.is_some_and(|most| u64::from(size) > most)
        };
        if limited.iter().any(is_too_large) {
            return Err(NoRoom::Refused(Refusal::MessageTooLargeForQueue));
        }
        let full = limited.into_iter().filter(|queue| {
            queue.options.overflow != Overflow::DropOldest && self.is_full(queue, size)
        });
        let full: Vec<&Queue> = full.collect();
        let blocks = |queue: &&Queue| queue.options.overflow == Overflow::Block && may_wait;
        if full.is_empty() {
            return Ok(());
        }
        if !full.iter().all(blocks) {
            return Err(NoRoom::Refused(Refusal::QueueFull));
        }
        let held: Vec<_> = full.iter().map(|queue| (queue.id, size)).collect();
        self.oracle.held.extend(held);
        Err(NoRoom::Held)
    }

    /// Who was held is told when there is room again.
    pub(crate) fn check_held(&mut self) {
        let has_room = |(id, size): &&(QueueId, u32)| {
            self.oracle.queues.get(id).is_none_or(|queue| !self.is_full(queue, *size))
        };
        let roomy: Vec<_> = self.oracle.held.iter().filter(has_room).copied().collect();
        if !self.shelf.is_slow() {
            assert_eq!(self.engine.has_new_room(), !roomy.is_empty(), "{:?}", self.oracle.held);
        } else if !self.engine.has_new_room() {
            return;
        }
        self.count("held publishers told", roomy.len() as u64);
        for held in roomy {
            self.oracle.held.remove(&held);
        }
    }

    /// A route that the engine calls current is what it would resolve to now.
    fn check_routes(&mut self) {
        let routes = std::mem::take(&mut self.routes);
        for (session, to, name, route) in routes.into_iter().rev().take(8).rev() {
            if self.engine.is_current(&route) && self.oracle.sessions.contains_key(&session) {
                match self.expect_way(session, (to, &name), 0) {
                    // Of these each message asks anew.
                    Ok(way) if way.has_headers => {}
                    Ok(way) => self.check_route(&route, &way, to),
                    Err(refusal) => panic!("a kept route to {to:?}: {refusal}"),
                }
                self.count("kept routes", 1);
                self.routes.push((session, to, name, route));
            }
        }
    }

    fn name_of(&self, to: To) -> String {
        match to {
            To::Queue(name) => self.queue_name(name),
            To::Topic(name) | To::Exchange(name, _) => Self::exchange_name(name),
        }
    }

    fn expect_way(
        &self,
        session: SessionId,
        (to, name): (To, &str),
        pick: u8,
    ) -> Result<Way, Refusal> {
        let namespace = self.oracle.sessions[&session].namespace;
        let (missing, key) = match to {
            To::Queue(_) => {
                let queue = self.find_queue(namespace, name).ok_or(Refusal::NoSuchQueue)?;
                let queues = BTreeSet::from([queue.id]);
                return Ok(Way { through: BTreeSet::new(), queues, has_headers: false });
            }
            To::Topic(_) => (Refusal::NoSuchTopic, ""),
            To::Exchange(_, key) => (Refusal::NoSuchExchange, key_of(key)),
        };
        let exchange = self.find_exchange(namespace, name).map_err(|_| missing)?;
        if exchange.spec.is_internal {
            return Err(Refusal::ExchangeInternal);
        }
        let all = headers(HEADERS[usize::from(pick) % HEADERS.len()]);
        Ok(self.oracle.walk(exchange.id, key.as_bytes(), &all))
    }
}

fn key_of(pick: u8) -> &'static str {
    KEYS[usize::from(pick) % KEYS.len()]
}

fn publish_of(to: To, name: &str) -> Publish<'_> {
    match to {
        To::Queue(_) => Publish::Queue(name),
        To::Topic(_) => Publish::Topic(name),
        To::Exchange(_, key) => Publish::Exchange(name, key_of(key).as_bytes()),
    }
}

/// All queues of a route.
fn queues_of(route: &Route) -> BTreeSet<QueueId> {
    let (whole, _) = route.durable.as_chunks::<4>();
    let durable = whole.iter().map(|bytes| QueueId(u32::from_le_bytes(*bytes)));
    durable.chain(route.transient.iter().copied()).collect()
}
