//! An engine, its log and the naive model side by side. After every operation the effects, the
//! counts and the records of the engine are what the model expects; after a restart, the order
//! and the attempts of everything that was kept.

use super::log::Fact;
use super::op::Op;
use super::oracle::{Oracle, Worker};
use super::publishing::Kind;
use super::shelf::Shelf;
use courant_engine::ledger::Ledger;
use courant_engine::limits::{MESSAGE_BYTES_MAX, SEQ_BLOCK};
use courant_engine::{
    Cause, Effects, Engine, ExchangeId, Lifetime, NEVER, NamespaceId, Principal, QueueId, Quotas,
    Record, Refusal, Route, SessionId, Settling, SubscribeOptions,
};
use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

/// One record of the log, with what the shell does at its commit.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) fact: Fact,
    /// Transient queues that get their copy of a durable message at its commit.
    pub(crate) late: Vec<QueueId>,
    pub(crate) publisher: Option<SessionId>,
}

pub(crate) struct Rig {
    pub(crate) engine: Engine,
    pub(crate) oracle: Oracle,
    pub(crate) log: Vec<Entry>,
    pub(crate) applied: usize,
    pub(crate) now_ms: u64,
    pub(crate) effects: Effects,
    /// The highest number given out so far, in any opening.
    pub(crate) last_number: u64,
    pub(crate) leases: HashSet<u64>,
    pub(crate) routes: Vec<(SessionId, super::op::To, String, Route)>,
    pub(crate) seen: BTreeMap<&'static str, u64>,
    pub(crate) shelf: Shelf,
    /// Names that the broker gave to queues, and in which term.
    pub(crate) given: Vec<(u64, String)>,
    pub(crate) quotas: Quotas,
    steps: u64,
}

impl Rig {
    pub(crate) fn new() -> Self {
        let mut rig = Self {
            engine: Engine::default(),
            oracle: Oracle::new(),
            log: Vec::new(),
            applied: 0,
            now_ms: 1_000_000,
            effects: Effects::default(),
            last_number: 0,
            leases: HashSet::new(),
            routes: Vec::new(),
            seen: BTreeMap::new(),
            shelf: Shelf::default(),
            given: Vec::new(),
            quotas: Quotas::NONE,
            steps: 0,
        };
        rig.oracle.now_ms = rig.now_ms;
        rig.open();
        rig
    }

    fn open(&mut self) {
        let opening = Fact::of(&self.engine.opening());
        self.log.push(Entry { fact: opening, late: Vec::new(), publisher: None });
        self.commit(usize::MAX);
    }

    pub(crate) fn count(&mut self, what: &'static str, times: u64) {
        *self.seen.entry(what).or_default() += times;
    }

    pub(crate) fn run(&mut self, op: &Op) {
        self.steps += 1;
        self.count(super::coverage::word_of(op), 1);
        match *op {
            Op::Attach { namespace } => self.attach(namespace),
            Op::Quota { pick } => {
                self.quotas = super::choices::quotas(pick);
                self.engine.set_quotas(self.quotas);
            }
            Op::Detach { session, mixed } => self.detach(session, mixed),
            Op::Dispatch => {
                while self.dispatch() {}
                self.shed();
            }
            Op::Look { session, name, variant } => self.look(session, name, variant),
            Op::Listen { session, exchange, key } => self.listen(session, exchange, key),
            Op::Purge { session, name } => self.purge(session, name),
            Op::Work { steps } => self.work(steps),
            Op::Wait { ms } => self.wait(u64::from(ms)),
            Op::WriteSettles => self.write_settles(),
            Op::Commit { most } => {
                self.commit(if most > 200 { usize::MAX } else { usize::from(most % 8) });
            }
            Op::Jump => self.jump(),
            Op::Restart { keep } => self.restart(usize::from(keep)),
            Op::Snapshot => self.begin_snapshot(),
            Op::EndSnapshot { is_committed } => self.end_snapshot(is_committed),
            Op::Evict { chunks } => self.evict(u64::from(chunks)),
            Op::Slow { is_slow } => self.set_slow(is_slow),
            Op::Bring { most } => {
                self.bring(usize::from(most));
            }
            Op::Miss => self.miss(),
            Op::Corrupt { queue, which } => self.corrupt(queue, which),
            Op::Replay { cut } => self.check_replay(usize::from(cut)),
            Op::Publish { session, to, durable, size, times, ttl, headers, may_wait } => {
                let is_huge = size >= u8::MAX - 1 && times < 4;
                let size = if is_huge { MESSAGE_BYTES_MAX + 1 } else { u32::from(size) };
                let deadline_ms = ttl.map_or(NEVER, |ttl| self.now_ms + u64::from(ttl));
                let lifetime = Lifetime { admitted_ms: self.now_ms, deadline_ms };
                let kind = Kind { durable, size, lifetime, headers, may_wait };
                self.publish(session, to, kind, times);
            }
            Op::Subscribe { .. }
            | Op::Unsubscribe { .. }
            | Op::SetCredit { .. }
            | Op::Credit { .. }
            | Op::Stall { .. }
            | Op::Settle { .. }
            | Op::Claim { .. }
            | Op::SessionQueue { .. }
            | Op::CloseSessionQueue { .. } => self.consume(op),
            _ => self.change_topology(op),
        }
        self.bring_at_once();
        self.expire_all();
        self.check_effects();
        self.check_held();
        let total: usize = self.oracle.queues.values().map(|queue| queue.messages.len()).sum();
        if total < 300 || self.steps.is_multiple_of(32) {
            self.check_counts();
        }
    }

    pub(crate) fn session(&self, pick: u8) -> Option<SessionId> {
        let sessions: Vec<SessionId> = self.oracle.sessions.keys().copied().collect();
        sessions.get(usize::from(pick) % sessions.len().max(1)).copied()
    }

    fn attach(&mut self, namespace: u8) {
        if self.oracle.sessions.len() >= 6 {
            return;
        }
        let name = if namespace == 0 { "n0" } else { "/" };
        let expected = self.expect_session(name);
        match self.engine.attach(name, Arc::new(Principal::unrestricted("model"))) {
            Ok(id) => self.oracle.begin_session(id, expected.expect("it is let in")),
            Err(refusal) => {
                assert_eq!(expected, Err(refusal));
                self.count(refusal.name(), 1);
            }
        }
    }

    /// The namespace of a session that begins.
    fn expect_session(&self, name: &str) -> Result<NamespaceId, Refusal> {
        let there = self.oracle.namespaces.iter().find(|(_, there)| there == name);
        let namespace = there.ok_or(Refusal::NoSuchNamespace)?.0;
        let all = self.oracle.sessions.values();
        let here = all.clone().filter(|session| session.namespace == namespace);
        let is_full = here.count() >= self.quotas.sessions_per_namespace_max
            || all.count() >= self.quotas.sessions_per_user_max;
        if is_full { Err(Refusal::TooManySessions) } else { Ok(namespace) }
    }

    /// Puts a record that is not a message into the log.
    pub(crate) fn append(&mut self, fact: Fact) {
        let number = self.engine.number();
        self.note_number(number);
        self.log.push(Entry { fact, late: Vec::new(), publisher: None });
    }

    pub(crate) fn note_number(&mut self, number: u64) {
        assert!(number > self.last_number, "number {number} after {}", self.last_number);
        self.last_number = number;
    }

    /// Commits and applies the next records of the log.
    pub(crate) fn commit(&mut self, most: usize) {
        let end = self.log.len().min(self.applied.saturating_add(most));
        while self.applied < end {
            let Entry { fact, late, .. } = &self.log[self.applied];
            self.engine.apply(&fact.record(), &mut self.effects);
            self.oracle.apply(fact);
            if let (Fact::Published { seq, size, lifetime, .. }, false) = (fact, late.is_empty()) {
                let reached = self.engine.place(*seq, *size, *lifetime, late);
                assert_eq!(reached, self.oracle.place(*seq, *size, *lifetime, late));
            }
            self.applied += 1;
            self.count("records applied", 1);
            self.check_effects();
        }
    }

    /// As if very many numbers had been used: the next block has to be reserved, and queues have
    /// gaps that do not fit 32 bits.
    fn jump(&mut self) {
        if let Some(record) = self.engine.reservation() {
            let fact = Fact::of(&record);
            self.append(fact);
        }
        self.commit(usize::MAX);
        let seq = self.last_number + (1 << 31) + 7;
        if seq + (1 << 20) > (self.oracle.block + 1) * SEQ_BLOCK {
            return;
        }
        let (exchange, targets) = (ExchangeId::DEFAULT, Vec::new());
        let fact =
            Fact::Published { seq, size: 0, lifetime: Lifetime::default(), exchange, targets };
        self.note_number(seq);
        self.log.push(Entry { fact, late: Vec::new(), publisher: None });
        self.commit(usize::MAX);
        self.count("jumps", 1);
    }

    /// The process ends and starts again with what was committed, and perhaps with some of what
    /// was written and not committed.
    fn restart(&mut self, keep: usize) {
        let in_flight = self.log.len() - self.applied;
        let end =
            self.applied + if keep.is_multiple_of(2) { in_flight } else { keep % (in_flight + 1) };
        self.log.truncate(end);
        let stale = self.oracle.open.iter().map(|open| open.handle);
        let mut stale: Vec<_> = stale.chain(self.oracle.stale.iter().copied()).collect();
        stale.truncate(64);
        self.count("restarts from a snapshot", u64::from(self.shelf.has_root()));
        let work = u64::from(!self.oracle.workers.is_empty());
        self.count("restarts with work left", work);
        self.engine = self.shelf.reopen(&self.log);
        self.engine.set_quotas(self.quotas);
        self.oracle = Oracle::replay(self.log.iter().map(|entry| &entry.fact));
        self.oracle.stale = stale;
        self.oracle.now_ms = self.now_ms;
        self.routes.clear();
        self.effects.clear();
        self.applied = self.log.len();
        self.check_order();
        self.check_replay(keep * 97);
        self.open();
        if keep.is_multiple_of(3) {
            // It was not closed: who knows what was handed over.
            self.append(Fact::CutShort { below: self.last_number + 1 });
            self.commit(usize::MAX);
            self.count("restarts cut short", 1);
        }
        for _ in 0..3 {
            self.attach(1);
        }
        self.count("restarts", 1);
    }

    /// Everything the log left behind comes out in the order and with the attempts it states.
    fn check_order(&mut self) {
        let mut probe = Engine::default();
        let mut effects = Effects::default();
        for entry in &self.log {
            probe.apply(&entry.fact.record(), &mut effects);
        }
        probe.apply(&probe.opening(), &mut effects);
        let session = probe.attach("/", Arc::new(Principal::unrestricted("probe")));
        let session = session.expect("the namespace / exists");
        for (id, queue) in &self.oracle.queues {
            effects.clear();
            let settling = Settling::Auto;
            let options = SubscribeOptions { credit: 1, settling, ..SubscribeOptions::default() };
            let there = probe.subscribe(session, *id, options).expect("the queue is there");
            while probe.dispatch(0, &mut effects) {}
            let out: Vec<_> =
                effects.deliveries.iter().map(|d| (d.seq, d.size, d.attempt)).collect();
            let expected: Vec<_> =
                queue.messages.iter().map(|(seq, m)| (*seq, m.size, m.noted + 1)).collect();
            assert_eq!(out, expected, "{id:?} after a restart");
            probe.unsubscribe(session, there).expect("it was begun");
        }
    }

    /// The same records lead to the same ledger: whole, in two pieces, and with a prefix twice.
    fn check_replay(&mut self, cut: usize) {
        let log = &self.log[..self.applied];
        let cut = cut % (log.len() + 1);
        let mut whole = Ledger::default();
        let mut pieces = Ledger::default();
        let mut twice = Engine::default();
        let mut effects = Effects::default();
        let apply = |ledger: &mut Ledger, part: &[Entry]| {
            part.iter().filter(|entry| ledger.apply(&entry.fact.record()) == 0).count() as u64
        };
        apply(&mut whole, log);
        apply(&mut pieces, &log[..cut]);
        let half = pieces.hash();
        apply(&mut pieces, &log[cut..]);
        for part in [&log[..cut], &log[..cut], &log[cut..]] {
            for entry in part {
                twice.apply(&entry.fact.record(), &mut effects);
            }
        }
        let live = self.engine.ledger().hash_with(|page, out| self.shelf.load(page, out));
        let live = live.expect("every page is there");
        assert_eq!(whole.hash(), live, "a replay gives another ledger");
        assert_eq!(pieces.hash(), live, "a replay in two pieces gives another ledger");
        assert_eq!(twice.ledger().hash(), live, "a prefix applied twice changes the ledger");
        let mut again = Ledger::default();
        apply(&mut again, &log[..cut]);
        assert_eq!(again.hash(), half);
        let messages = |e: &&Entry| matches!(e.fact, Fact::Published { .. } | Fact::Settled { .. });
        let gone = log[..cut].iter().filter(messages).count() as u64;
        assert!(apply(&mut again, &log[..cut]) >= gone, "what is gone is a no-op");
        assert_eq!(again.hash(), half);
        self.count("replays", 1);
    }

    /// The records of what was settled and came back: all of it, once, and nothing else.
    pub(crate) fn write_settles(&mut self) {
        let mut facts: Vec<(u64, Fact)> = Vec::new();
        if self.oracle.has_unwritten() {
            assert!(self.engine.has_settles());
        }
        self.engine.write_settles(|number, record: &Record<'_>| {
            facts.push((number, Fact::of(record)));
        });
        assert!(!self.engine.has_settles());
        let mut returned = Vec::new();
        let (mut queues, mut exchanges) = (Vec::new(), Vec::new());
        for (number, fact) in facts {
            self.note_number(number);
            match &fact {
                Fact::Settled { queue, cause, ranges } => {
                    self.oracle.note_written(*queue, *cause, ranges);
                }
                Fact::Returned { queue, attempts } => {
                    returned.extend(attempts.iter().map(|(seq, count)| (*queue, *seq, *count)));
                }
                Fact::WorkerEnded { id } => self.note_ended(*id),
                Fact::QueueDeleted { id } => queues.push(*id),
                Fact::ExchangeDeleted { id } => exchanges.push(*id),
                other => panic!("{other:?} is not about settling"),
            }
            self.log.push(Entry { fact, late: Vec::new(), publisher: None });
        }
        let is_done = |worker: &Worker| worker.is_over && worker.queue.is_durable();
        let done = self.oracle.workers.iter().filter(|(_, worker)| is_done(worker));
        for (id, _) in done {
            let ended = Fact::WorkerEnded { id: *id };
            assert!(self.in_flight().any(|fact| *fact == ended), "{id:?} is done without a record");
        }
        self.note_unused(&queues, &exchanges);
        assert!(!self.oracle.has_unwritten(), "a settled message has no record");
        self.oracle.returned.sort_unstable();
        assert_eq!(returned, self.oracle.returned);
        self.oracle.returned.clear();
    }

    pub(crate) fn check_effects(&mut self) {
        let expected = &mut self.oracle.expected;
        expected.freed.sort_unstable();
        expected.cancelled.sort_unstable();
        self.effects.freed.sort_unstable();
        let cancelled = &self.effects.cancelled;
        let mut cancelled: Vec<_> =
            cancelled.iter().map(|c| (SessionId(c.session), c.subscription)).collect();
        cancelled.sort_unstable();
        assert_eq!(self.effects.freed, expected.freed, "bodies freed");
        let mut left: BTreeMap<Cause, u64> = BTreeMap::new();
        // Of what is damaged another counter tells.
        for (cause, count) in self.effects.left.iter().filter(|(c, _)| *c != Cause::Corrupt) {
            *left.entry(*cause).or_default() += count;
        }
        if let Some(count) = left.get_mut(&Cause::QueueDeleted) {
            let sure = expected.left.get(&Cause::QueueDeleted).copied().unwrap_or(0);
            *count -= count.saturating_sub(sure).min(expected.overdue);
        }
        left.retain(|_, count| *count > 0);
        for (cause, count) in &left {
            *self.seen.entry(cause.word()).or_default() += count;
        }
        assert_eq!(left, expected.left, "messages that left unhandled");
        assert_eq!(cancelled, expected.cancelled, "subscriptions cancelled");
        assert_eq!(self.effects.noops, expected.noops, "records about nothing");
        self.shelf.note_wanted(&mut self.effects.wanted);
        self.effects.clear();
        *expected = super::oracle::Expected::default();
    }

    /// Whatever is due leaves, as far as it is in memory.
    pub(crate) fn expire_all(&mut self) {
        loop {
            while self.engine.expire(self.now_ms, &mut self.effects) {}
            if !self.bring_at_once() {
                break;
            }
        }
        self.expect_returns();
        self.oracle.expire_transient();
        self.oracle.expire_queues();
        self.bury();
        let expired = std::mem::take(&mut self.oracle.expired);
        self.count("messages expired", expired);
        let next = self.engine.next_alarm_ms();
        assert!(next.is_none_or(|next| next > self.now_ms), "an alarm is left behind");
    }

    fn check_counts(&self) {
        let is_slow = self.shelf.is_slow();
        let counts: Vec<_> = self
            .engine
            .queues()
            .into_iter()
            .map(|(name, id, mut counts)| {
                if let Some(queue) = self.oracle.queues.get(&id) {
                    let (ready, overdue) = (queue.counts(0).ready, queue.overdue(self.now_ms));
                    let left = (counts.ready + overdue).saturating_sub(ready);
                    let may_be = if is_slow { overdue } else { 0 };
                    assert!(left <= may_be, "{left} of {overdue} overdue are left in {id:?}");
                    counts.ready += overdue - left;
                }
                // What expires does so at one of several moments.
                let left = counts.left.iter().filter(|(cause, _)| *cause != Cause::Expired);
                counts.left = left.collect();
                (name.to_string(), id, counts)
            })
            .collect();
        let expected: Vec<_> = self
            .oracle
            .queues
            .iter()
            .map(|(id, queue)| {
                assert_eq!(*id, queue.id);
                let subscriptions = self.oracle.subscription_count(*id);
                (queue.name.clone(), *id, queue.counts(subscriptions))
            })
            .collect();
        assert_eq!(counts, expected);
        assert_eq!(self.oracle.term, self.engine.opening_term());
    }
}

trait OpeningTerm {
    fn opening_term(&self) -> u64;
}

impl OpeningTerm for Engine {
    fn opening_term(&self) -> u64 {
        match self.opening() {
            Record::Opened { term, .. } => term - 1,
            _ => unreachable!("an opening opens"),
        }
    }
}
