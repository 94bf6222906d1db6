//! The binary door, as specified in `docs/doors/binary.md`.

mod command;
mod intake;
mod line;
mod live;
mod message;
mod outlet;
mod publish;
mod refusal;
mod settle;
mod talk;

pub(crate) use outlet::BinaryOutlet;
pub(crate) use refusal::write_refused;
pub(crate) use talk::Talk;
