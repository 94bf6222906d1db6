//! Switches for tests, behind the feature `testing`: seeded defects, small logs, and the hash of a
//! replay. The server never has them.

mod fuzzing;
mod gate;

use crate::broker::Broker;
use crate::codec;
use crate::error::OpenError;
use crate::options::Options;
use crate::recovery;
use crate::snapshot;
use courant_engine::limits::SEQ_BLOCK;
use courant_engine::{Cause, Effects, Engine, LiveCursor, Record};
use courant_storage::{Disk, Wal, WalOptions};
use std::sync::Arc;

/// Names of all kinds of records that a broker writes.
pub fn record_kinds() -> Vec<&'static str> {
    let mut kinds: Vec<_> = (0..=u8::MAX).filter_map(codec::name).collect();
    kinds.extend(["snapshot-page", "snapshot-page-with-deadlines", "snapshot-root"]);
    kinds
}

pub use fuzzing::{apply_records, restore_root};
pub use gate::Gate;

/// Known wrong behaviour, to show that the tests catch it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Defect {
    /// One of the log's.
    Log(courant_storage::Defect),
    /// An opening goes on in the block of numbers of the one before, behind the last number in the
    /// log: what the one before gave to transient messages is given again.
    ReusedBlock,
    /// Before a snapshot a message is settled that nobody settled.
    ChunkBitLost,
    /// How often messages were handed over is not written to the log.
    AttemptLost,
}

/// What tests may choose beside the options.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Testing {
    /// What is to be wrong.
    pub defect: Option<Defect>,
    /// Zeros kept written ahead of the log; `None` means what the log says.
    pub fill_ahead_bytes: Option<u64>,
    /// When an idle log is sealed; `None` means what the log says.
    pub seal_delay_ms: Option<u64>,
}

impl Testing {
    /// The options of the log with these choices.
    pub(crate) fn choose(self, mut wal: WalOptions) -> WalOptions {
        if let Some(Defect::Log(defect)) = self.defect {
            wal.defect = Some(defect);
        }
        wal.fill_ahead_bytes = self.fill_ahead_bytes.unwrap_or(wal.fill_ahead_bytes);
        wal.seal_delay_ms = self.seal_delay_ms.unwrap_or(wal.seal_delay_ms);
        wal
    }

    /// The record that begins an opening and its number, as they are with the defect.
    pub(crate) fn opening(self, engine: &mut Engine) -> Option<(Record<'static>, u64)> {
        let Record::Opened { term, block } = engine.opening() else { return None };
        if self.defect != Some(Defect::ReusedBlock) || block == 1 {
            return None;
        }
        let block = block - 1;
        let seq = engine.number().max(block * SEQ_BLOCK);
        Some((Record::Opened { term, block }, seq))
    }
}

/// Settles the first living message of every queue without a word.
pub(crate) fn lose_bits(engine: &mut Engine) {
    let mut seqs = Vec::new();
    let _ = engine.living(&mut LiveCursor::default(), &mut |seq, _| seqs.push(seq));
    let Some(&seq) = seqs.first() else { return };
    for (_, queue, _) in engine.queues() {
        let (cause, ranges) = (Cause::Acked, &[(seq, seq)]);
        engine.apply(&Record::Settled { queue, cause, ranges }, &mut Effects::default());
    }
}

/// The ledger's hash after a replay of what is on a disk, which is changed as by an opening.
pub fn replayed_hash(disk: Arc<dyn Disk>) -> Result<u64, OpenError> {
    let options = WalOptions { fill_ahead_bytes: 0, ..WalOptions::default() };
    let (wal, _) = Wal::open(disk, options)?;
    let (engine, _) = recovery::replay(&wal, 0, u64::MAX)?;
    Ok(snapshot::hash(engine.ledger(), &wal, 0))
}

/// Makes a snapshot now and gives back all space that can be; says whether the snapshot was
/// finished. Waits for the disk.
pub fn keep_up(broker: &Broker) -> bool {
    broker.keep_up()
}

/// A broker on a simulated disk whose syncs wait while the gate is shut; within a tokio runtime, on
/// a thread that may wait.
pub fn gated(options: Options) -> Result<(Broker, Arc<Gate>), OpenError> {
    let gate = Arc::new(Gate::default());
    let disk = courant_storage::sim::SimDisk::new().mount();
    let disk = gate::GatedDisk { disk, gate: Arc::clone(&gate) };
    Ok((Broker::open_disk(Arc::new(disk), options)?, gate))
}
