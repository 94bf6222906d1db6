//! The doors: one folder per protocol. Each translates and nothing more.
//!
//! Reading order: [`native`] (the listener and its limits), `source.rs` (who
//! may come how often), `socket.rs` and [`tls`] (what bytes go
//! through), then `text/`: `talk.rs` (what the
//! commands of a connection share), `connection.rs` (bytes in), `publish.rs` and `command.rs` (what
//! each command asks of the broker), `message.rs` and `outlet.rs` (bytes out), `refusal.rs` (what
//! can be wrong).

mod clock;
mod listener;
pub mod native;
mod socket;
mod source;
mod text;
pub mod tls;

pub use native::{Listening, NativeOptions};
pub use source::SourceCaps;
pub use tls::{Certificate, CertificateError};
