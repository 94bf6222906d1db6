//! Opening: the log is read through and every record applied; then the opening writes its own.

use crate::codec::{self, CodecError, Scratch};
use crate::error::OpenError;
use courant_engine::{Effects, Engine, Record};
use courant_storage::{LaneId, Store};
use std::ops::ControlFlow;

/// What an opening found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Replayed {
    pub(crate) records: u64,
    pub(crate) messages: u64,
    pub(crate) last_stamp_ms: u64,
}

/// Applies everything a lane holds.
pub(crate) fn replay(store: &dyn Store, lane: LaneId) -> Result<(Engine, Replayed), OpenError> {
    let mut engine = Engine::default();
    let mut effects = Effects::default();
    let mut replayed = Replayed::default();
    let mut scratch = Scratch::default();
    let mut failed: Option<(u64, u8, CodecError)> = None;
    store.scan(&mut |frame| {
        if frame.lane != lane {
            return ControlFlow::Continue(());
        }
        let kind = (frame.kind, frame.version);
        let seq = (frame.seq.0, frame.body_len);
        match codec::decode(kind, seq, frame.head, &mut scratch) {
            Ok(record) => {
                replayed.records += 1;
                if let Record::Published { .. } = record {
                    replayed.messages += 1;
                    replayed.last_stamp_ms =
                        replayed.last_stamp_ms.max(codec::stamp(frame.head).unwrap_or(0));
                }
                engine.apply(&record, &mut effects);
                effects.clear();
                ControlFlow::Continue(())
            }
            // A kind that readers may skip says so itself.
            Err(CodecError::Kind) if !frame.critical => ControlFlow::Continue(()),
            Err(cause) => {
                failed = Some((frame.seq.0, frame.kind, cause));
                ControlFlow::Break(())
            }
        }
    })?;
    match failed {
        Some((seq, kind, cause)) => Err(OpenError::Record { seq, kind, cause }),
        None => Ok((engine, replayed)),
    }
}
