//! Time: the only place that reads a clock.
//!
//! The engine's time is milliseconds since 1970 as they were at the opening, plus monotonic time
//! since: a step of the wall clock changes nothing.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// The engine's time.
#[derive(Debug)]
pub(crate) struct Clock {
    base_ms: u64,
    started: Instant,
}

impl Clock {
    /// Starts at the wall clock, but never before `floor_ms` (the last stamp in the log).
    pub(crate) fn start(floor_ms: u64) -> Self {
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let wall_ms = u64::try_from(wall.as_millis()).unwrap_or(u64::MAX);
        Self { base_ms: wall_ms.max(floor_ms), started: Instant::now() }
    }

    /// Milliseconds since 1970, never going back.
    pub(crate) fn now_ms(&self) -> u64 {
        let passed = u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.base_ms.saturating_add(passed)
    }
}

/// Measures how long something takes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Stopwatch(Instant);

impl Stopwatch {
    pub(crate) fn start() -> Self {
        Self(Instant::now())
    }

    /// Milliseconds since the start.
    pub(crate) fn passed_ms(&self) -> u64 {
        u64::try_from(self.0.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}
