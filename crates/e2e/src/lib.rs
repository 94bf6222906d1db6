//! The real binary from outside: what its tests and campaigns need, and nothing of its insides.
//!
//! Only `courant_wire` is shared with it. Every wait has a deadline, every random choice comes from
//! a seed that is printed, and a missing binary is an error.
//!
//! Reading order: [`server`] starts and ends a broker, [`client`] speaks to it over a raw socket,
//! [`cli`] runs its command line; [`broker`] has all three for a test. [`stamp`] makes messages
//! that prove what they are, [`oracle`] judges what came out, [`counts`] are its numbers, and
//! [`campaign`] kills a broker under load again and again and asks the oracle.

pub mod abuse;
pub mod backlog;
pub mod binary;
pub mod broker;
pub mod campaign;
pub mod capture;
pub mod cli;
pub mod client;
pub mod counts;
pub mod figures;
pub mod fulldisk;
pub mod markdown;
pub mod memory_group;
pub mod oracle;
pub mod progress;
pub mod random;
pub mod scale;
pub mod server;
pub mod stamp;
pub mod traffic;
pub mod volume;
pub mod watch;
