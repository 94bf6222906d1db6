//! The doors: one folder per protocol. Each translates and nothing more.
//!
//! Reading order: [`native`] (the listener and its limits), `source.rs` (who
//! may come how often), `socket.rs` and [`tls`] (what bytes go through), `greeting.rs` (who it is),
//! `connection.rs` (bytes in, whatever the protocol), `hold.rs` and `ping.rs` (what is done while
//! something waits), `refusal.rs` (what can be wrong), `sending.rs` (what goes out), `words.rs`
//! (what is said in words, also in binary). Then `text/` and `binary/`: `talk.rs` (what the
//! commands of a connection share), `intake.rs` (bytes to commands), `publish.rs` and `command.rs`
//! (what each command asks of the broker), `message.rs` and `outlet.rs` (bytes out).

mod binary;
mod clock;
mod connection;
mod greeting;
mod hold;
mod item;
mod listener;
mod listing;
pub mod native;
mod option;
mod ping;
mod refusal;
mod sending;
mod socket;
mod source;
mod subscriptions;
mod text;
pub mod tls;
mod topology;
mod words;

pub use native::{Listening, NativeOptions};
pub use source::SourceCaps;
pub use tls::{Certificate, CertificateError};
