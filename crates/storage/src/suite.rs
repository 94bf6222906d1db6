//! The tests that every store must pass. Cases return an error instead of panicking, so that it can
//! be asserted that a seeded defect makes them fail.
//!
//! A new implementation adds a [`Harness`] and no tests. [`crash`], [`power`], [`rot`] and
//! [`decay`] are for a [`Wal`](crate::Wal) on a simulated disk.

mod cases;
pub mod crash;
pub mod decay;
mod history;
pub mod power;
pub mod rot;
mod watch;
mod work;

use std::sync::Arc;

use crate::store::Store;

pub use watch::Watch;

/// A case that did not hold.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{case}: {what}")]
pub struct Failure {
    /// The case, with its seed if it has one.
    pub case: String,
    /// What was seen.
    pub what: String,
}

/// A place for one store, which can be opened again and again on the same contents.
pub trait Harness {
    /// Opens the store; the one from before was closed.
    fn open(&mut self) -> Result<Arc<dyn Store>, String>;

    /// Bytes in flight at which the store refuses.
    fn in_flight_bytes_max(&self) -> usize;
}

/// Runs every case, each on a fresh harness; stops at the first that does not hold.
pub fn run_all(fresh: &dyn Fn() -> Box<dyn Harness>) -> Result<(), Failure> {
    for (case, run) in cases::CASES {
        run(&mut *fresh()).map_err(|what| Failure { case: (*case).to_owned(), what })?;
    }
    Ok(())
}

/// Ends a case unless a condition holds.
macro_rules! ensure {
    ($condition:expr, $($what:tt)+) => {
        if !$condition {
            return Err(format!($($what)+));
        }
    };
}
pub(crate) use ensure;
