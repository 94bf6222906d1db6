//! A listener that remembers everything and checks the contract of [`Listener`].

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::batch::Batch;
use crate::error::Poison;
use crate::frame::{LaneId, Seq};
use crate::store::{Listener, Ticket};

/// Far above what any step takes; only a hanging store waits so long.
const PATIENCE: Duration = Duration::from_secs(20);

#[derive(Debug, Default)]
struct Seen {
    written: Ticket,
    committed: Ticket,
    frames: Vec<(LaneId, Seq)>,
    rooms: u64,
    poison: Option<Poison>,
    breach: Option<String>,
    held: bool,
}

/// The listener of the suite.
#[derive(Debug, Default)]
pub struct Watch {
    seen: Mutex<Seen>,
    changed: Condvar,
}

impl Watch {
    /// One that has seen nothing.
    #[must_use]
    pub fn new() -> Arc<Watch> {
        Arc::default()
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until `until` holds; `Err` when it takes far too long or the contract was broken.
    fn wait(&self, what: &str, until: impl Fn(&Seen) -> bool) -> Result<(), String> {
        let seen = self.seen();
        let waiting = |seen: &mut Seen| !until(seen) && seen.breach.is_none();
        let (seen, _) = self
            .changed
            .wait_timeout_while(seen, PATIENCE, waiting)
            .unwrap_or_else(PoisonError::into_inner);
        match &seen.breach {
            Some(breach) => Err(breach.clone()),
            None if until(&seen) => Ok(()),
            None => Err(format!("waited in vain for {what}; seen: {:?}", seen.committed)),
        }
    }

    /// Waits until `ticket` is committed, or the store is poisoned.
    pub fn wait_committed(&self, ticket: Ticket) -> Result<(), String> {
        self.wait("a commit", |seen| seen.committed >= ticket || seen.poison.is_some())?;
        self.seen().poison.as_ref().map_or(Ok(()), |cause| Err(cause.to_string()))
    }

    /// Waits until `ticket` is written, or the store is poisoned.
    pub fn wait_written(&self, ticket: Ticket) -> Result<(), String> {
        self.wait("a write", |seen| seen.written >= ticket || seen.poison.is_some())?;
        self.seen().poison.as_ref().map_or(Ok(()), |cause| Err(cause.to_string()))
    }

    /// Waits until somebody was told that there is room.
    pub fn wait_room(&self) -> Result<(), String> {
        self.wait("room", |seen| seen.rooms > 0)
    }

    /// Waits for the poison and gives its cause.
    pub fn wait_poison(&self) -> Result<Poison, String> {
        self.wait("poison", |seen| seen.poison.is_some())?;
        self.seen().poison.clone().ok_or_else(|| "no poison".to_owned())
    }

    /// All frames committed so far, in the order in which they were told.
    #[must_use]
    pub fn frames(&self) -> Vec<(LaneId, Seq)> {
        self.seen().frames.clone()
    }

    /// The last ticket that was told as committed.
    #[must_use]
    pub fn committed(&self) -> Ticket {
        self.seen().committed
    }

    /// Why nothing is committed any more, if so.
    #[must_use]
    pub fn poison(&self) -> Option<Poison> {
        self.seen().poison.clone()
    }

    /// Keeps the log thread from going on after its next write.
    pub fn hold(&self) {
        self.seen().held = true;
    }

    /// Lets the log thread go on.
    pub fn release(&self) {
        self.seen().held = false;
        self.changed.notify_all();
    }

    /// What was wrong with the calls, if anything.
    pub fn breach(&self) -> Result<(), String> {
        self.seen().breach.clone().map_or(Ok(()), Err)
    }
}

impl Listener for Watch {
    fn written(&self, up_to: Ticket) {
        let mut seen = self.seen();
        if up_to < seen.written {
            seen.breach = Some(format!("written fell to {up_to:?}"));
        }
        seen.written = up_to;
        self.changed.notify_all();
        while seen.held {
            seen = self.changed.wait(seen).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn committed(&self, batches: &[Arc<Batch>], up_to: Ticket) {
        let mut seen = self.seen();
        for batch in batches {
            let before = seen.frames.len() as u64;
            seen.frames.extend(batch.frames().map(|(_, frame)| (frame.lane, frame.seq)));
            if batch.ticket().0 != before + batch.len() as u64 {
                let ticket = batch.ticket();
                seen.breach = Some(format!("{ticket:?} after {before} frames"));
            }
        }
        if up_to.0 != seen.frames.len() as u64 || up_to > seen.written {
            seen.breach = Some(format!("{up_to:?} committed, {:?} written", seen.written));
        }
        if seen.poison.is_some() {
            seen.breach = Some("a commit after the poison".to_owned());
        }
        seen.committed = up_to;
        self.changed.notify_all();
    }

    fn room(&self) {
        self.seen().rooms += 1;
        self.changed.notify_all();
    }

    fn poisoned(&self, cause: &Poison) {
        let mut seen = self.seen();
        if seen.poison.is_some() {
            seen.breach = Some("poisoned twice".to_owned());
        }
        seen.poison = Some(cause.clone());
        self.changed.notify_all();
    }
}
