//! Courant's engine: a deterministic state machine for exchanges, queues and deliveries.
//!
//! It takes requests and the time, and gives records and effects. It has no clock, no I/O, no
//! threads and no randomness, so that the same records always lead to the same state: after a
//! restart, on a follower, and in a newer version.
//!
//! Reading order: [`name`] and [`message`] (the nouns), [`record`] (the facts that are logged),
//! [`ledger`] (the half of the state that follows from records alone), [`floor`] (the half that
//! belongs to this process: leases, credit, subscriptions, transient messages), [`engine`] (where
//! requests are admitted and records applied), [`delivery`] (the life of one delivery),
//! [`snapshot`] (the ledger in writing).

pub mod access;
mod binding;
mod cold;
mod corrupt;
mod credit;
pub mod delivery;
mod dispatch;
mod disuse;
pub mod effect;
pub mod engine;
pub mod exchange;
mod expiry;
pub mod floor;
pub mod ledger;
pub mod lifetime;
pub mod limits;
mod list;
pub mod living;
pub mod message;
pub mod name;
pub mod queue;
mod quota;
pub mod record;
pub mod refusal;
mod revocation;
mod room;
mod roster;
mod route;
pub mod session;
mod settle;
pub mod slab;
pub mod snapshot;
pub mod subscription;
mod topology;
pub mod worker;

/// The model once more, with small chunks.
#[cfg(test)]
#[path = "../tests/model/main.rs"]
mod model;
#[cfg(test)]
extern crate self as courant_engine;

pub use access::{Grant, Operation, Operations, Principal};
pub use cold::Rebuilt;
pub use delivery::{Cause, Handle, Lease, Selector, Verdict};
pub use effect::{Cancelled, Delivery, DeliveryRun, Effects};
pub use engine::Engine;
pub use exchange::headers::{HeaderFilter, HeaderMode};
pub use exchange::{BindTo, ExchangeKind, ExchangeOptions, ExchangeSpec};
pub use floor::SessionId;
pub use lifetime::{Lifetime, NEVER};
pub use list::{BindingPlace, ListedBinding, ListedExchange, ListedQueue, Part};
pub use living::{LiveCursor, Living};
pub use message::{Header, MessageId, Properties, Value};
pub use name::{ExchangeId, Name, NameError, NamespaceId, QueueId};
pub use queue::{Left, Overflow, QueueCounts, QueueOptions};
pub use quota::Quotas;
pub use record::Record;
pub use refusal::{Closes, Refusal, Retry};
pub use room::NoRoom;
pub use roster::{ListedSession, ListedSubscription, Slots};
pub use route::{Publish, Route};
pub use snapshot::page::{Cold, LoadError, Page, PageError};
pub use snapshot::{RestoreError, Snapshot};
pub use subscription::{Settling, SubscribeOptions, SubscriptionId};
pub use topology::{Admission, Topology};
pub use worker::{Progress, WorkerId, WorkerKind};
