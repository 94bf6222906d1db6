//! The text door, as specified in `docs/doors/text.md`.

mod command;
mod intake;
mod item;
mod listing;
mod live;
mod message;
mod outlet;
mod publish;
mod refusal;
mod talk;
mod topology;

pub(crate) use outlet::TextOutlet;
pub(crate) use refusal::write_reply as write_refused;
pub(crate) use talk::Talk;
