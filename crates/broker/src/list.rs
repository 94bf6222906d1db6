//! Lists of what there is, a page at a time: see `crates/engine/src/list.rs`. Who is there is
//! listed by `roster.rs`.

use crate::session::Session;
use crate::stats::StatsSnapshot;
use crate::worker::WorkerReport;
use courant_engine::{
    BindTo, BindingPlace, ListedBinding, ListedExchange, ListedQueue, Operation, Part, Refusal,
    WorkerId,
};

impl Session {
    /// Queues behind a name, in order of names: at most `count`, and never more than 1,000.
    pub fn queues(&self, after: Option<&str>, count: usize) -> Result<Part<ListedQueue>, Refusal> {
        self.shard.lock().engine.list_queues(self.id, after, count)
    }

    /// One queue as [`Session::queues`] shows it.
    pub fn queue(&self, name: &str) -> Result<ListedQueue, Refusal> {
        self.shard.lock().engine.list_queue(self.id, name)
    }

    /// Namespaces that the user may enter, as [`Session::queues`].
    pub fn namespaces(&self, after: Option<&str>, count: usize) -> Result<Part<()>, Refusal> {
        self.shard.lock().engine.list_namespaces(self.id, after, count)
    }

    /// Bindings behind a place, as [`Session::queues`], in order of their exchanges' names. With
    /// `of` those of one queue or exchange.
    pub fn bindings(
        &self,
        of: Option<BindTo<'_>>,
        after: Option<&BindingPlace>,
        count: usize,
    ) -> Result<(Vec<ListedBinding>, Option<BindingPlace>), Refusal> {
        self.shard.lock().engine.list_bindings(self.id, of, after, count)
    }

    /// Exchanges and topics behind a name, as [`Session::queues`].
    pub fn exchanges(
        &self,
        after: Option<&str>,
        count: usize,
    ) -> Result<Part<ListedExchange>, Refusal> {
        self.shard.lock().engine.list_exchanges(self.id, after, count)
    }

    /// One exchange or topic as [`Session::exchanges`] shows it.
    pub fn exchange(&self, name: &str) -> Result<ListedExchange, Refusal> {
        self.shard.lock().engine.list_exchange(self.id, name)
    }

    /// Work that goes on in steps with queues of the namespace that the session may look at, as
    /// [`Session::queues`], in order of numbers; and behind which number it goes on.
    pub fn workers(
        &self,
        after: Option<u32>,
        count: usize,
    ) -> Result<(Vec<WorkerReport>, Option<u32>), Refusal> {
        let after = after.map(WorkerId);
        let (found, more) = self.shard.lock().engine.list_workers(self.id, after, count)?;
        Ok((found.into_iter().map(WorkerReport::from).collect(), more.map(|id| id.0)))
    }

    /// The broker's counters, for whoever may look at everything in its namespace.
    pub fn stats(&self) -> Result<StatsSnapshot, Refusal> {
        self.shard.lock().engine.allow_all(self.id, Operation::Inspect)?;
        Ok(self.shard.stats.snapshot())
    }
}
