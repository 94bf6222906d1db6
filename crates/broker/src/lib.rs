//! Courant, embeddable: the shell around the engine, and all that a door can see.
//!
//! [`Broker::open`] opens a folder (or [`Broker::in_memory`] none), [`Broker::session`] begins a
//! session in this process, [`Broker::attach`] begins one for a door that brings its own
//! [`Outlet`]. Everything runs on the caller's tokio runtime, apart from the log's own thread and
//! one thread that reads bodies back from disk.
//!
//! What is promised: a publish that was confirmed as [`Level::Committed`] is on disk; no consumer
//! of a queue ever sees a message that a crash can take back. Live subscriptions see messages at
//! once and at most once. What a slow one misses, and what consumers reject, is counted
//! ([`StatsSnapshot`]).
//!
//! Reading order: `broker.rs`, `session.rs`, `shard.rs`, `outbox.rs`, `local_log.rs`,
//! `recovery.rs`.

pub mod access;
mod account;
mod alarm;
mod body;
mod broker;
mod budget;
mod claim;
mod client;
mod clock;
mod codec;
mod confirm;
mod counters;
mod damage;
mod deferral;
mod embedded;
mod envelope;
mod error;
mod flight;
mod hold;
mod inbox;
pub mod inspect;
mod keeper;
mod list;
mod live;
mod local_log;
pub mod memory;
mod options;
mod outbox;
mod outlet;
mod pipe;
mod publish;
mod purge;
mod quota;
mod reader;
mod rebuild;
mod recovery;
mod roster;
mod router;
mod session;
mod shard;
mod snapshot;
mod stats;
mod subscriber;
#[cfg(feature = "testing")]
pub mod testing;
mod transient;
mod upkeep;
mod worker;

pub use access::{Access, AccessError, AccessOptions, Credentials, RoleOptions, UserOptions};
pub use alarm::Alarm;
pub use broker::{Broker, Opened};
pub use claim::Claimed;
pub use client::{Client, SubscriptionNames};
pub use confirm::{Confirm, Level};
pub use courant_engine::Topology;
pub use courant_engine::access::Pattern;
pub use courant_engine::exchange::Target;
pub use courant_engine::{
    BindTo, Cause, Closes, ExchangeKind, ExchangeOptions, Handle, Header, HeaderFilter, HeaderMode,
    Lease, MessageId, Overflow, Properties, QueueCounts, QueueOptions, Refusal, Retry, Selector,
    Settling, SubscribeOptions, Value, Verdict,
};
pub use courant_engine::{
    BindingPlace, ExchangeId, ListedBinding, ListedExchange, ListedQueue, ListedSession,
    ListedSubscription, Name, QueueId, SessionId,
};
pub use courant_engine::{Grant, Operation, Operations, Principal};
pub use embedded::{Delivered, EmbeddedSession, Subscription};
pub use error::{CloseError, OpenError};
pub use options::Options;
pub use outbox::Outbox;
pub use outlet::{Flush, LiveFormat, LiveMessage, Message, Outlet, Tag};
pub use publish::{DestinationId, Outgoing, Published, Room};
pub use quota::Limits;
pub use roster::{Listening, SessionReport, SubscriptionPlace, SubscriptionReport};
pub use session::{Destination, Session, Subscribed};
pub use stats::{Stats, StatsSnapshot};
pub use subscriber::subscriber_queue;
pub use worker::WorkerReport;

pub use courant_storage::Ticket;

/// Limits that doors and their options have to agree with.
pub mod limits {
    pub use courant_engine::limits::{
        CREDIT_DEFAULT, CREDIT_MAX, MESSAGE_BYTES_MAX, NAME_BYTES_MAX, SUBSCRIPTIONS_MAX,
        VISIBILITY_MS_DEFAULT, VISIBILITY_MS_MAX, VISIBILITY_MS_MIN,
    };
    /// Bytes that wait for one connection before its deliveries stop and its commands wait.
    pub const OUTBOX_BYTES_MAX: usize = 1 << 20;
    /// The same when all connections together hold what they may.
    pub const OUTBOX_BYTES_MIN: usize = 64 << 10;
    /// Bytes that may wait for all connections together, unless the options say otherwise.
    pub const OUTBOXES_BYTES_MAX: usize = 32 << 20;
    /// Bytes that long queues take in memory, unless the options say otherwise.
    pub const CHUNK_BYTES_MAX: u64 = 32 << 20;
    /// Bytes of transient messages before more are refused, unless the options say otherwise.
    pub const TRANSIENT_BYTES_MAX: usize = 128 << 20;
    /// Sessions of one namespace or user, unless the options say otherwise.
    pub const SESSIONS_MAX: usize = 100_000;
    /// Bindings in one namespace, unless the options say otherwise.
    pub const BINDINGS_PER_NAMESPACE_MAX: usize = 10_000_000;
    /// Bytes held for one connection, unless the options say otherwise.
    pub const MEMORY_PER_CONNECTION_MAX_BYTES: u64 = 64 << 20;
    /// Bytes held for a namespace, unless the options say otherwise.
    pub const MEMORY_PER_NAMESPACE_MAX_BYTES: u64 = 1 << 40;
    /// Destinations whose route one session remembers.
    pub const ROUTES_MAX: usize = 1024;
}
