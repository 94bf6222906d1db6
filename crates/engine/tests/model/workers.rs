//! What the broker does by itself, in steps: purging, dropping the oldest, and records for queues
//! and exchanges that nobody uses any more.

use super::log::Fact;
use super::oracle::{State, Worker};
use super::rig::Rig;
use courant_engine::limits::STEP_MESSAGES_MAX;
use courant_engine::{Cause, ExchangeId, QueueId, WorkerId, WorkerKind};
use std::collections::{BTreeMap, BTreeSet};

impl Rig {
    pub(crate) fn purge(&mut self, session: u8, name: u8) {
        let Some(session) = self.session(session) else { return };
        let who = (session, self.oracle.sessions[&session].namespace);
        let name = self.queue_name(name);
        let known: BTreeSet<WorkerId> = self.engine.workers().iter().map(|w| w.id).collect();
        let got = self.engine.admit_purge(session, &name);
        let queue = match self.find_open_queue(who, &name) {
            Ok(queue) => queue,
            Err(refusal) => {
                assert_eq!(got, Err(refusal));
                self.count(refusal.name(), 1);
                return;
            }
        };
        let (id, overdue) = (queue.id, queue.overdue(self.now_ms));
        let (ready, coming) = (queue.counts(0).ready - overdue, self.on_its_way(queue).0);
        let (said, record) = got.expect("the queue is open to the session");
        let unseen = if self.shelf.is_slow() { overdue } else { 0 };
        assert!((ready..=ready + unseen).contains(&said), "{said} of {ready} to be purged");
        let has_something = said + coming > 0;
        if let Some(record) = record {
            assert!(has_something && id.is_durable());
            let fact = Fact::of(&record);
            let Fact::WorkerBegun { kind: WorkerKind::Purge, queue, below, .. } = fact else {
                panic!("{fact:?} begins no purge");
            };
            assert!(queue == id && below > self.last_number, "{fact:?}");
            self.append(fact);
            self.count("purges", 1);
        } else if has_something {
            assert!(!id.is_durable(), "the purge of {id:?} has a record");
            let all = self.engine.workers();
            let new = all.iter().find(|w| !known.contains(&w.id)).expect("a worker was made");
            let below = self.last_number + 1;
            let worker = Worker { queue: id, below, is_over: false, is_unsure: false };
            self.oracle.workers.insert(new.id, worker);
            self.count("purges of transient queues", 1);
        }
    }

    pub(crate) fn work(&mut self, steps: u8) {
        for _ in 0..steps {
            self.expire_all();
            self.check_workers();
            let before = self.done();
            let more = self.engine.work(self.now_ms, &mut self.effects);
            self.shelf.note_wanted(&mut self.effects.wanted);
            let left = self.follow_work(&before);
            self.follow_freeing(left);
            let has_more = left == 0 || !self.oracle.remains.is_empty();
            assert_eq!(more, has_more, "whether there is more to do");
            let more = self.bring_at_once() || more;
            self.check_effects();
            if !more {
                break;
            }
        }
    }

    /// How much the workers with records have done.
    fn done(&self) -> BTreeMap<WorkerId, u64> {
        self.engine.workers().into_iter().map(|worker| (worker.id, worker.done)).collect()
    }

    /// Does to the model what the engine's step did. Says how much of a step is left.
    fn follow_work(&mut self, before: &BTreeMap<WorkerId, u64>) -> usize {
        let after = self.done();
        let mut left = STEP_MESSAGES_MAX;
        let all: Vec<_> = self.oracle.workers.keys().copied().collect();
        for id in all {
            let worker = self.oracle.workers[&id];
            if worker.is_over || left == 0 {
                continue;
            }
            // Those of transient queues are gone when they are done.
            let done = after.get(&id).map(|after| after - before.get(&id).unwrap_or(&0));
            let is_durable = worker.queue.is_durable();
            let mut taken = 0;
            while left > 0 && (!is_durable || Some(taken) != done) {
                let queue = &self.oracle.queues[&worker.queue];
                let next = queue.next(self.now_ms).filter(|seq| *seq < worker.below);
                let Some(seq) = next else { break };
                let message = self.oracle.queues.get_mut(&worker.queue).expect("there");
                message.messages.get_mut(&seq).expect("there").state = State::Open;
                self.oracle.leave(worker.queue, seq, Cause::Purged);
                (taken, left) = (taken + 1, left - 1);
            }
            self.count("messages purged", taken);
            if is_durable {
                assert_eq!(done, Some(taken), "{id:?} takes the oldest, and no newer ones");
            }
            if left > 0 {
                self.end_work(id, worker);
            }
        }
        left
    }

    /// What is left of a step frees bodies of long queues that are gone.
    fn follow_freeing(&mut self, left: usize) {
        let mut freed = self.effects.freed.clone();
        for seq in &self.oracle.expected.freed {
            let at = freed.iter().position(|other| other == seq);
            freed.swap_remove(at.expect("what was purged is freed"));
        }
        assert_eq!(freed.len(), left.min(self.oracle.remains.len()), "a step's worth is freed");
        self.count("bodies freed in steps", freed.len() as u64);
        for seq in freed {
            let at = self.oracle.remains.iter().position(|other| *other == seq);
            self.oracle.remains.swap_remove(at.expect("only what was left behind is freed"));
            self.oracle.expected.freed.push(seq);
        }
    }

    /// A worker had its turn: it is done if nothing is left for it.
    fn end_work(&mut self, id: WorkerId, worker: Worker) {
        let queue = &self.oracle.queues[&worker.queue];
        let has_more = queue.next(self.now_ms).is_some_and(|seq| seq < worker.below);
        let is_waiting =
            self.shelf.has_absent(worker.queue) || self.shelf.waiting().contains(&worker.queue);
        let unwritten = queue.messages.values().filter(|message| {
            matches!(message.state, State::Settling { is_written: false, .. })
                || message.is_overdue(self.now_ms)
        });
        let is_held_up = is_waiting || unwritten.count() >= STEP_MESSAGES_MAX;
        // One that was held up may have been done before what it leaves came back.
        assert!(!has_more || is_held_up || worker.is_unsure, "{id:?} leaves messages behind");
        let worker = self.oracle.workers.get_mut(&id).expect("there");
        worker.is_unsure = is_held_up;
        if !is_held_up {
            worker.is_over = true;
            if !worker.queue.is_durable() {
                self.oracle.workers.remove(&id);
            }
        }
    }

    pub(crate) fn check_workers(&self) {
        let told: Vec<_> = self.engine.workers().into_iter().map(|w| (w.id, w.queue)).collect();
        let name = |worker: &Worker| self.oracle.queues[&worker.queue].name.clone();
        let all = self.oracle.workers.iter();
        let expected: Vec<_> = all.map(|(id, worker)| (*id, name(worker))).collect();
        let told: Vec<_> = told.into_iter().map(|(id, name)| (id, name.to_string())).collect();
        assert_eq!(told, expected, "workers");
        let all = self.oracle.workers.values();
        if all.clone().all(|worker| !worker.is_unsure) {
            let is_busy = all.clone().any(|worker| !worker.is_over);
            assert_eq!(self.engine.has_work(), is_busy || !self.oracle.remains.is_empty());
        }
    }

    /// Queues that hold too many and drop the oldest do so.
    pub(crate) fn shed(&mut self) {
        while self.engine.shed(self.now_ms, &mut self.effects) || self.bring_at_once() {}
        let all: Vec<QueueId> =
            self.oracle.queues.values().filter(|queue| queue.has_arrivals).map(|q| q.id).collect();
        for id in all {
            let dropped = |left: courant_engine::Left| left.of(Cause::Overflow);
            let told = self.engine.counts(id).map_or(0, |counts| dropped(counts.left));
            let known = dropped(self.oracle.queues[&id].counts(0).left);
            for _ in known..told {
                let queue = self.oracle.queues.get_mut(&id).expect("just found");
                assert!(queue.has_too_many(self.now_ms), "{id:?} drops what it may hold");
                let seq = queue.next(self.now_ms).expect("only what is ready leaves");
                queue.messages.get_mut(&seq).expect("just found").state = State::Open;
                self.oracle.leave(id, seq, Cause::Overflow);
            }
            self.count("messages dropped for newer ones", told - known);
            let is_waiting = self.shelf.has_absent(id);
            let queue = self.oracle.queues.get_mut(&id).expect("just found");
            let drops = queue.options.overflow == courant_engine::Overflow::DropOldest;
            let has_ready = queue.next(self.now_ms).is_some();
            let could_drop = drops && has_ready && queue.has_too_many(self.now_ms);
            assert!(is_waiting || !could_drop, "{id:?} holds too many");
            // Otherwise only what comes makes it look again: what comes back does not.
            queue.has_arrivals = could_drop;
        }
    }

    /// Transient queues that nobody uses any more go.
    pub(crate) fn bury(&mut self) {
        self.engine.bury(&mut self.effects);
        let doomed = self.oracle.doomed.clone();
        for id in doomed.into_iter().filter(|id| !id.is_durable()) {
            self.oracle.remove_queue(id);
            self.count("unused transient queues gone", 1);
        }
    }

    /// The end of a worker is in the log once it is done.
    pub(crate) fn note_ended(&mut self, id: WorkerId) {
        let worker = self.oracle.workers.get_mut(&id).expect("it was begun");
        assert!(worker.is_over || worker.is_unsure, "{id:?} is not done");
        (worker.is_over, worker.is_unsure) = (true, false);
        self.count("workers done", 1);
    }

    /// Durable queues that nobody uses any more leave by a record, and so do exchanges.
    pub(crate) fn note_unused(&mut self, queues: &[QueueId], exchanges: &[ExchangeId]) {
        let mut expected = std::mem::take(&mut self.oracle.doomed);
        let mut queues = queues.to_vec();
        expected.sort_unstable();
        queues.sort_unstable();
        assert_eq!(queues, expected, "queues that go unused");
        self.count("unused queues gone", queues.len() as u64);
        let unused = self.oracle.exchanges.iter().filter(|there| {
            there.spec.auto_delete
                && (there.has_lost || there.had_lost && exchanges.contains(&there.id))
                && there.bindings.is_empty()
                && !there.is_going
                && !self.will_be_bound(there.id)
        });
        let unused: BTreeSet<ExchangeId> = unused.map(|there| there.id).collect();
        let told: BTreeSet<ExchangeId> = exchanges.iter().copied().collect();
        assert_eq!(told, unused, "exchanges that go unused");
        self.count("unused exchanges gone", unused.len() as u64);
        for exchange in self.oracle.exchanges.iter_mut().filter(|it| unused.contains(&it.id)) {
            exchange.is_going = true;
        }
    }
}
