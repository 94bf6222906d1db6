//! Emptying queues: begun by a session, done by a task of the shard in small steps.

use crate::codec;
use crate::session::Session;
use crate::shard::{Shard, Touched, flush};
use crate::worker::WorkerReport;
use courant_engine::Refusal;
use courant_storage::{Purpose, Ticket, Urgency};
use std::sync::Arc;

impl Session {
    /// Empties a queue of what is ready in it now, and says how many messages that are, once it is
    /// certain to be done: it goes on after this returns, and after a crash. What is handed over
    /// stays.
    pub async fn purge(&mut self, queue: &str) -> Result<u64, Refusal> {
        let (ready, ticket) = loop {
            match self.begin_purge(queue) {
                Err(Refusal::TooManyInFlight) => self.log_room().await,
                begun => break begun?,
            }
        };
        if let Some(ticket) = ticket {
            self.outbox.committed(ticket).await?;
        }
        self.shard.work.notify_one();
        Ok(ready)
    }

    /// Admits it and writes its record, or neither.
    fn begin_purge(&mut self, queue: &str) -> Result<(u64, Option<Ticket>), Refusal> {
        let shard = Arc::clone(&self.shard);
        let mut guard = shard.lock();
        let state = &mut *guard;
        let mut begun = Ok((0, false));
        let ticket = shard.append(Urgency::Now, Purpose::Upkeep, &mut |open| {
            begun = state.engine.admit_purge(self.id, queue).map(|(ready, record)| {
                if let Some(record) = &record {
                    let meta = shard.meta(codec::kind(record), state.engine.number());
                    open.push_with(meta, |out| codec::encode(record, out), |_| {});
                }
                (ready, record.is_some())
            });
        })?;
        let (ready, has_to_wait) = begun?;
        if has_to_wait {
            state.wait(ticket, &self.outbox);
        }
        Ok((ready, has_to_wait.then_some(ticket)))
    }
}

impl Shard {
    /// Does a step of what workers have to do. Says whether there is more to do at once.
    pub(crate) fn work_step(&self) -> bool {
        let mut touched = Touched::new();
        let more = {
            let mut guard = self.lock();
            let state = &mut *guard;
            if !state.engine.has_work() {
                return false;
            }
            let more = state.engine.work(self.clock.now_ms(), &mut state.effects);
            self.hand_out(state, &mut touched);
            more
        };
        flush(&touched);
        more
    }

    /// Every worker and how far it has come.
    pub(crate) fn workers(&self) -> Vec<WorkerReport> {
        let all = self.lock().engine.workers();
        all.into_iter().map(WorkerReport::from).collect()
    }
}
