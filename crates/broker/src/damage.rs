//! What is done about parts of the log that cannot be read.
//!
//! A message whose body is damaged leaves its queues with the cause `corrupt`, and nobody gets it;
//! the others go on in their order. What the operating system would not read may come back: the
//! delivery returns to its queue after a while.

use crate::reader::Failed;
use crate::shard::{Shard, Touched, flush};
use crate::snapshot::state_lane;
use crate::stats::Stats;
use courant_engine::{Delivery, Handle, Lease, Selector, SessionId, Verdict};
use courant_storage::store::{Damage, Damaged};
use courant_storage::{ReadError, RottenBody};
use std::sync::atomic::Ordering;

/// When a delivery that could not be read goes back.
const GO_BACK_MS: u64 = 1_000;

impl Shard {
    /// Deals with deliveries whose bodies could not be read. None of them was handed over.
    pub(crate) fn unreadable(&self, session: Option<SessionId>, failed: &[Failed]) {
        for (deliveries, error) in failed {
            let Some(seq) = deliveries.first().map(|delivery| delivery.seq) else { continue };
            for _ in deliveries.iter().filter(|delivery| delivery.lease == Lease::NONE) {
                tracing::error!(seq, %error, "a message that settles itself cannot be read: lost");
                Stats::add(&self.stats.corrupt, 1);
            }
            match error {
                ReadError::Io { .. } => {
                    for delivery in deliveries {
                        self.go_back(session, delivery, error);
                    }
                }
                ReadError::Rotten { file, offset } => {
                    self.park(seq, &format!("{file}, offset {offset}"));
                }
                ReadError::NotFound => self.park(seq, "not in the log"),
            }
        }
    }

    /// Takes a message out of its queues, and says so.
    fn park(&self, seq: u64, place: &str) {
        let mut touched = Touched::new();
        let (queues, before, after) = {
            let mut guard = self.lock();
            let state = &mut *guard;
            let queues: Vec<_> =
                state.engine.queues_of(seq).iter().map(ToString::to_string).collect();
            let before = Stats::get(&self.stats.corrupt);
            state.engine.park_corrupt(seq, &mut state.effects);
            self.hand_out(state, &mut touched);
            (queues, before, Stats::get(&self.stats.corrupt))
        };
        flush(&touched);
        if after > before || !queues.is_empty() {
            let queues = queues.join(", ");
            tracing::error!(
                seq,
                queues,
                place,
                "a message is damaged: it left its queues as corrupt; run `courant check`"
            );
        } else {
            tracing::warn!(seq, place, "a message that no queue has any more cannot be read");
        }
    }

    /// Lets a delivery go back to its queue soon.
    fn go_back(&self, session: Option<SessionId>, delivery: &Delivery, error: &ReadError) {
        let Delivery { seq, lease, .. } = *delivery;
        if lease == Lease::NONE {
            return;
        }
        tracing::error!(seq, %error, "a message cannot be read now: it goes back to its queue");
        if let Some(session) = session {
            let mut guard = self.lock();
            let state = &mut *guard;
            let selector = Selector::One(Handle { seq, lease });
            let (now_ms, effects) = (self.clock.now_ms(), &mut state.effects);
            let soon = Verdict::Extend(Some(GO_BACK_MS));
            // Refused if it was given back meanwhile.
            let _ = state.engine.settle(session, selector, soon, now_ms, effects);
        }
    }

    /// Parks the messages that an opening found damaged.
    pub(crate) fn park_rotten(&self, bodies: &[RottenBody]) {
        for RottenBody { file, offset, lane, seq } in bodies {
            if *lane == self.lane() {
                self.park(seq.0, &format!("{file}, offset {offset}"));
            }
        }
    }

    /// Deals with what a look through the log found.
    pub(crate) fn found_damaged(&self, damaged: &[Damaged]) {
        for Damaged { file, offset, what, .. } in damaged {
            Stats::add(&self.stats.damaged, 1);
            match what {
                Damage::Body { lane, seq } if *lane == self.lane() => {
                    self.park(seq.0, &format!("{file}, offset {offset}"));
                }
                Damage::Body { lane, seq } if *lane == state_lane(self.number) => {
                    let seq = seq.0;
                    tracing::error!(file, offset, seq, "a part of the snapshot is damaged");
                    self.is_mended.store(true, Ordering::Release);
                }
                what => tracing::error!(
                    file,
                    offset,
                    ?what,
                    "the log is damaged: stop the broker and run `courant check`"
                ),
            }
        }
    }
}
