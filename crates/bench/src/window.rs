//! Flow control between threads: a sender waits while too much is on its way.
//!
//! Nobody spins: the sender parks, and a receiver that makes room unparks it.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::Thread;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

/// Nothing arriving for so long ends the run.
const STALLED_AFTER: Duration = Duration::from_secs(5);

/// What arrived, and who waits for it.
#[derive(Debug)]
pub struct Window {
    arrived: AtomicU64,
    is_waiting: AtomicBool,
    sender: Thread,
}

impl Window {
    /// A window for the current thread as the sender.
    #[must_use]
    pub fn mine() -> Window {
        Window {
            arrived: AtomicU64::new(0),
            is_waiting: AtomicBool::new(false),
            sender: std::thread::current(),
        }
    }

    /// Notes how much arrived in all.
    pub fn arrived(&self, in_all: u64) {
        self.arrived.store(in_all, Ordering::SeqCst);
        if self.is_waiting.swap(false, Ordering::SeqCst) {
            self.sender.unpark();
        }
    }

    /// Waits until at most `on_way` of `sent` have not arrived.
    ///
    /// # Errors
    /// If nothing arrives for long: something was lost.
    pub fn wait(&self, sent: u64, on_way: u64) -> Result<()> {
        let mut seen = self.arrived.load(Ordering::SeqCst);
        if sent.saturating_sub(seen) <= on_way {
            return Ok(());
        }
        let mut moved = Instant::now();
        loop {
            self.is_waiting.store(true, Ordering::SeqCst);
            let now = self.arrived.load(Ordering::SeqCst);
            if sent.saturating_sub(now) <= on_way {
                self.is_waiting.store(false, Ordering::SeqCst);
                return Ok(());
            }
            if now != seen {
                (seen, moved) = (now, Instant::now());
            } else if moved.elapsed() > STALLED_AFTER {
                bail!("{sent} sent, {now} arrived, and nothing more comes");
            }
            std::thread::park_timeout(Duration::from_millis(100));
        }
    }
}
