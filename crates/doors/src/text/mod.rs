//! The text door, as specified in `docs/doors/text.md`.

mod command;
mod intake;
mod live;
mod message;
mod outlet;
mod publish;
mod refusal;
mod talk;

pub(crate) use outlet::TextOutlet;
pub(crate) use refusal::write_reply as write_refused;
pub(crate) use talk::Talk;
