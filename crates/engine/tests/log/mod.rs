//! Records that own what they name, so that a test can keep a log and replay it.

use courant_engine::record::{SeqRange, Targets};
use courant_engine::{
    Cause, ExchangeId, ExchangeSpec, Lifetime, NamespaceId, QueueId, QueueOptions, Record,
};
use courant_engine::{WorkerId, WorkerKind};

/// One [`Record`] with its own memory.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Fact {
    Opened { term: u64, block: u64 },
    CutShort { below: u64 },
    BlockReserved { block: u64 },
    NamespaceDeclared { id: NamespaceId, name: String },
    ExchangeDeclared { id: ExchangeId, namespace: NamespaceId, name: String, spec: ExchangeSpec },
    ExchangeDeleted { id: ExchangeId },
    QueueDeclared { id: QueueId, namespace: NamespaceId, name: String, options: QueueOptions },
    QueueDeleted { id: QueueId },
    Bound { exchange: ExchangeId, queue: QueueId, key: Vec<u8> },
    Unbound { exchange: ExchangeId, queue: QueueId, key: Vec<u8> },
    ExchangeBound { from: ExchangeId, to: ExchangeId, key: Vec<u8> },
    ExchangeUnbound { from: ExchangeId, to: ExchangeId, key: Vec<u8> },
    Published { seq: u64, size: u32, lifetime: Lifetime, exchange: ExchangeId, targets: Vec<u8> },
    WorkerBegun { id: WorkerId, kind: WorkerKind, queue: QueueId, below: u64 },
    WorkerEnded { id: WorkerId },
    Settled { queue: QueueId, cause: Cause, ranges: Vec<SeqRange> },
    Returned { queue: QueueId, attempts: Vec<(u64, u16)> },
}

impl Fact {
    pub(crate) fn of(record: &Record<'_>) -> Self {
        match *record {
            Record::Opened { term, block } => Self::Opened { term, block },
            Record::CutShort { below } => Self::CutShort { below },
            Record::BlockReserved { block } => Self::BlockReserved { block },
            Record::NamespaceDeclared { id, name } => {
                Self::NamespaceDeclared { id, name: name.to_owned() }
            }
            Record::ExchangeDeclared { id, namespace, name, spec } => {
                Self::ExchangeDeclared { id, namespace, name: name.to_owned(), spec }
            }
            Record::ExchangeDeleted { id } => Self::ExchangeDeleted { id },
            Record::QueueDeclared { id, namespace, name, options } => {
                Self::QueueDeclared { id, namespace, name: name.to_owned(), options }
            }
            Record::QueueDeleted { id } => Self::QueueDeleted { id },
            Record::Bound { exchange, queue, key } => {
                Self::Bound { exchange, queue, key: key.to_vec() }
            }
            Record::Unbound { exchange, queue, key } => {
                Self::Unbound { exchange, queue, key: key.to_vec() }
            }
            Record::ExchangeBound { from, to, key } => {
                Self::ExchangeBound { from, to, key: key.to_vec() }
            }
            Record::ExchangeUnbound { from, to, key } => {
                Self::ExchangeUnbound { from, to, key: key.to_vec() }
            }
            Record::Published { seq, size, lifetime, exchange, targets } => {
                let targets = targets.as_bytes().to_vec();
                Self::Published { seq, size, lifetime, exchange, targets }
            }
            Record::WorkerBegun { id, kind, queue, below } => {
                Self::WorkerBegun { id, kind, queue, below }
            }
            Record::WorkerEnded { id } => Self::WorkerEnded { id },
            Record::Settled { queue, cause, ranges } => {
                Self::Settled { queue, cause, ranges: ranges.to_vec() }
            }
            Record::Returned { queue, attempts } => {
                Self::Returned { queue, attempts: attempts.to_vec() }
            }
        }
    }

    pub(crate) fn record(&self) -> Record<'_> {
        match *self {
            Self::Opened { term, block } => Record::Opened { term, block },
            Self::CutShort { below } => Record::CutShort { below },
            Self::BlockReserved { block } => Record::BlockReserved { block },
            Self::NamespaceDeclared { id, ref name } => Record::NamespaceDeclared { id, name },
            Self::ExchangeDeclared { id, namespace, ref name, spec } => {
                Record::ExchangeDeclared { id, namespace, name, spec }
            }
            Self::ExchangeDeleted { id } => Record::ExchangeDeleted { id },
            Self::QueueDeclared { id, namespace, ref name, options } => {
                Record::QueueDeclared { id, namespace, name, options }
            }
            Self::QueueDeleted { id } => Record::QueueDeleted { id },
            Self::Bound { exchange, queue, ref key } => Record::Bound { exchange, queue, key },
            Self::Unbound { exchange, queue, ref key } => Record::Unbound { exchange, queue, key },
            Self::ExchangeBound { from, to, ref key } => Record::ExchangeBound { from, to, key },
            Self::ExchangeUnbound { from, to, ref key } => {
                Record::ExchangeUnbound { from, to, key }
            }
            Self::Published { seq, size, lifetime, exchange, ref targets } => {
                let targets = Targets::new(targets).expect("whole queue numbers");
                Record::Published { seq, size, lifetime, exchange, targets }
            }
            Self::WorkerBegun { id, kind, queue, below } => {
                Record::WorkerBegun { id, kind, queue, below }
            }
            Self::WorkerEnded { id } => Record::WorkerEnded { id },
            Self::Settled { queue, cause, ref ranges } => Record::Settled { queue, cause, ranges },
            Self::Returned { queue, ref attempts } => Record::Returned { queue, attempts },
        }
    }
}
