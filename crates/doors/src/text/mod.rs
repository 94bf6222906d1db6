//! The text door, as specified in `docs/doors/text.md`.

mod command;
mod connection;
mod greeting;
mod hold;
mod item;
mod listing;
mod message;
mod outlet;
mod ping;
mod publish;
pub(crate) mod refusal;
mod subscriptions;
mod talk;
mod topology;

pub(crate) use connection::serve;
