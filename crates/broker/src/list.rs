//! Lists of what there is, a page at a time: see `crates/engine/src/list.rs`.

use crate::session::Session;
use courant_engine::{
    BindingPlace, ExchangeSpec, ListedBinding, Name, Part, QueueCounts, QueueOptions, Refusal,
};

impl Session {
    /// Queues behind a name, in order of names: at most `count`, and never more than 1,000.
    pub fn queues(
        &self,
        after: Option<&str>,
        count: usize,
    ) -> Result<Part<(QueueOptions, QueueCounts)>, Refusal> {
        self.shard.lock().engine.list_queues(self.id, after, count)
    }

    /// Namespaces that the user may enter, as [`Session::queues`].
    pub fn namespaces(&self, after: Option<&str>, count: usize) -> Result<Part<()>, Refusal> {
        self.shard.lock().engine.list_namespaces(self.id, after, count)
    }

    /// Bindings behind a place, as [`Session::queues`], in order of their exchanges' names.
    pub fn bindings(
        &self,
        after: Option<&BindingPlace>,
        count: usize,
    ) -> Result<(Vec<ListedBinding>, Option<BindingPlace>), Refusal> {
        self.shard.lock().engine.list_bindings(self.id, after, count)
    }

    /// Exchanges and topics behind a name, as [`Session::queues`], with the name of the alternate.
    pub fn exchanges(
        &self,
        after: Option<&str>,
        count: usize,
    ) -> Result<Part<(ExchangeSpec, Option<Name>)>, Refusal> {
        self.shard.lock().engine.list_exchanges(self.id, after, count)
    }
}
