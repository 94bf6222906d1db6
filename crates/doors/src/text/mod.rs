//! The text door, as specified in `docs/doors/text.md`.

mod command;
mod connection;
mod outlet;
mod publish;
pub(crate) mod refusal;
mod subscriptions;

pub(crate) use connection::serve;
