//! Long work in small steps: emptying a queue.
//!
//! A worker begins with a record and ends with one ([`Record::WorkerBegun`], `WorkerEnded`), so one
//! that a crash cut short goes on at the next opening, with what is left. Between these it takes
//! ready messages with a number below its own, oldest first, at most a step's worth at a time; what
//! is handed over meanwhile stays. A worker for a transient queue has no records: it goes with it.
//!
//! Transient messages of a long queue that was deleted have left it at once; their bodies are freed
//! here, too, a step's worth at a time, after what the workers do.

use crate::access::Operation;
use crate::delivery::Cause;
use crate::effect::Effects;
use crate::engine::Engine;
use crate::floor::SessionId;
use crate::limits::STEP_MESSAGES_MAX;
use crate::list::LOOKED_AT_MAX;
use crate::name::{Name, QueueId};
use crate::queue::chunks::Chunks;
use crate::record::Record;
use crate::refusal::Refusal;
use crate::settle::{leave, note_settles};
use std::ops::Bound;

/// Names a worker. The top bit says that it is about a transient queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WorkerId(pub u32);

impl WorkerId {
    pub(crate) const TRANSIENT: u32 = 1 << 31;

    fn is_recorded(self) -> bool {
        self.0 < Self::TRANSIENT
    }
}

/// What a worker does. The numbers are part of the log's format.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum WorkerKind {
    /// Takes the ready messages out of a queue.
    Purge = 1,
}

impl WorkerKind {
    /// The kind with that number.
    pub fn from_number(number: u8) -> Option<Self> {
        (number == Self::Purge as u8).then_some(Self::Purge)
    }

    /// A word for people.
    pub fn word(self) -> &'static str {
        match self {
            Self::Purge => "purge",
        }
    }
}

/// What is to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Task {
    pub(crate) kind: WorkerKind,
    pub(crate) queue: QueueId,
    /// Messages with lower numbers are meant.
    pub(crate) below: u64,
}

/// A worker of this process.
#[derive(Debug)]
pub(crate) struct Worker {
    pub(crate) task: Task,
    /// Messages taken out in this opening.
    done: u64,
    /// Nothing is left; its record follows.
    is_over: bool,
}

impl Worker {
    pub(crate) fn new(task: Task) -> Self {
        Self { task, done: 0, is_over: false }
    }
}

/// How far a worker has come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Progress {
    /// Which.
    pub id: WorkerId,
    /// What it does.
    pub kind: WorkerKind,
    /// In which namespace.
    pub namespace: Name,
    /// With which queue.
    pub queue: Name,
    /// Messages it took out since the opening.
    pub done: u64,
    /// Messages that are ready in the queue now.
    pub ready: u64,
}

impl Engine {
    /// Decides to empty a queue of what is ready in it now. Says how many messages that are, and
    /// which record begins it, if one does.
    pub fn admit_purge(
        &mut self,
        session: SessionId,
        name: &str,
    ) -> Result<(u64, Option<Record<'static>>), Refusal> {
        let queue = self.queue_of(session, Operation::Consume, name)?;
        let ready = self.counts(queue).map_or(0, |counts| counts.ready);
        let in_flight = self.floor.queues.get(&queue).map_or(0, |queue| queue.in_flight);
        if ready + in_flight == 0 {
            return Ok((0, None));
        }
        let (kind, below) = (WorkerKind::Purge, self.floor.next_seq);
        let next = &mut self.floor.pending.next_worker;
        *next = (*next).max(self.ledger.next_worker);
        let number = *next;
        if number + 1 >= WorkerId::TRANSIENT {
            return Err(Refusal::TooManyQueues);
        }
        *next += 1;
        if queue.is_durable() {
            let id = WorkerId(number);
            return Ok((ready, Some(Record::WorkerBegun { id, kind, queue, below })));
        }
        let id = WorkerId(number | WorkerId::TRANSIENT);
        self.floor.workers.insert(id, Worker::new(Task { kind, queue, below }));
        Ok((ready, None))
    }

    /// Whether [`Self::work`] has something to do.
    pub fn has_work(&self) -> bool {
        self.floor.workers.values().any(|worker| !worker.is_over) || !self.floor.remains.is_empty()
    }

    /// Does a step of one worker. Says whether there may be more to do at once; if not, there may
    /// be once what is in [`Effects::wanted`] was installed, or settles were written.
    pub fn work(&mut self, now_ms: u64, effects: &mut Effects) -> bool {
        let Self { ledger, floor, .. } = self;
        let mut more = false;
        let (mut left, mut gone) = (STEP_MESSAGES_MAX, Vec::new());
        for (id, worker) in floor.workers.iter_mut().filter(|(_, worker)| !worker.is_over) {
            let Some(queue) = floor.queues.get_mut(&worker.task.queue) else {
                gone.push(*id);
                continue;
            };
            let from = ledger.queues.get(&queue.id);
            while left > 0 && queue.settling.len() < STEP_MESSAGES_MAX {
                let Some(taken) = queue.take(from, now_ms, effects) else {
                    worker.is_over = !queue.is_waiting(from);
                    break;
                };
                if taken.seq >= worker.task.below {
                    queue.put_back(&taken);
                    worker.is_over = true;
                    break;
                }
                leave(queue, &taken, Cause::Purged, &mut floor.with_settles, effects);
                worker.done += 1;
                left -= 1;
            }
            if !queue.settling.is_empty() {
                note_settles(queue, &mut floor.with_settles);
            }
            if worker.is_over {
                gone.push(*id);
            }
            more |= left == 0;
            if left == 0 {
                break;
            }
        }
        for id in gone {
            if id.is_recorded() {
                if let Some(worker) = floor.workers.get_mut(&id) {
                    worker.is_over = true;
                    floor.ended.push(id);
                }
            } else {
                floor.workers.remove(&id);
            }
        }
        more | free_remains(&mut floor.remains, left, effects)
    }

    /// Every worker and how far it has come.
    pub fn workers(&self) -> Vec<Progress> {
        self.floor.workers.iter().filter_map(|(id, worker)| self.progress(*id, worker)).collect()
    }

    /// Workers behind one, at most `count`, that are about queues which the session may look at.
    pub fn list_workers(
        &self,
        session: SessionId,
        after: Option<WorkerId>,
        count: usize,
    ) -> Result<(Vec<Progress>, Option<WorkerId>), Refusal> {
        let who = self.floor.sessions.get(session.0).ok_or(Refusal::Closing)?;
        let mut found = Vec::new();
        let mut last = None;
        let first = after.map_or(Bound::Unbounded, Bound::Excluded);
        let behind = self.floor.workers.range((first, Bound::Unbounded));
        for (looked_at, (id, worker)) in behind.enumerate() {
            if found.len() >= count.max(1) || looked_at >= LOOKED_AT_MAX {
                return Ok((found, last));
            }
            last = Some(*id);
            let queue = self.floor.queues.get(&worker.task.queue);
            let is_seen = queue.is_some_and(|queue| {
                queue.namespace == who.namespace
                    && who.allow_queue(session.0, Operation::Inspect, queue).is_ok()
            });
            found.extend(self.progress(*id, worker).filter(|_| is_seen));
        }
        Ok((found, None))
    }

    fn progress(&self, id: WorkerId, worker: &Worker) -> Option<Progress> {
        let Task { kind, queue, .. } = worker.task;
        let queue = self.floor.queues.get(&queue)?;
        let namespace = self.ledger.namespaces.get(&queue.namespace)?.name.clone();
        let ready = self.counts(queue.id).map_or(0, |counts| counts.ready);
        Some(Progress { id, kind, namespace, queue: queue.name.clone(), done: worker.done, ready })
    }
}

/// Frees the bodies of as many messages of queues that are gone. Says whether there are more.
fn free_remains(remains: &mut Vec<Chunks>, mut left: usize, effects: &mut Effects) -> bool {
    while left > 0
        && let Some(chunks) = remains.last_mut()
    {
        let step: Vec<_> = chunks.iter().take(left).collect();
        left -= step.len();
        for entry in &step {
            chunks.kill(entry.position);
            effects.freed.push(entry.seq);
        }
        if step.is_empty() || chunks.alive() == 0 {
            remains.pop();
        }
    }
    !remains.is_empty()
}
