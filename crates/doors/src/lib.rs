//! The doors: one folder per protocol. Each translates and nothing more.
//!
//! Reading order: [`native`] (the listener and its limits), then `text/`: `connection.rs` (bytes
//! in), `command.rs` (what each command asks of the broker), `outlet.rs` (bytes out),
//! `refusal.rs` (what can be wrong).

mod clock;
mod listener;
pub mod native;
mod text;
pub use native::{Listening, NativeOptions};
