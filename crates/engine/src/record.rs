//! The facts that go into the log. A record states an outcome; applying it decides nothing.

use crate::delivery::Cause;
use crate::exchange::ExchangeSpec;
use crate::lifetime::Lifetime;
use crate::name::{ExchangeId, NamespaceId, QueueId};
use crate::queue::QueueOptions;
use crate::worker::{WorkerId, WorkerKind};

/// Sequence numbers `first..=last` of one queue. Every message of the queue in between is meant.
pub type SeqRange = (u64, u64);

/// One fact. Borrowed, so that it can be read straight out of a batch of the log.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Record<'a> {
    /// The folder was opened (or a leader took over): a new term and a new block of numbers.
    Opened {
        /// Rises with every opening.
        term: u64,
        /// Sequence numbers from `block << 32` belong to this opening.
        block: u64,
    },
    /// The opening before ended without closing: messages below this number may have been handed
    /// over without a trace of it.
    CutShort {
        /// The first number of the opening that found out.
        below: u64,
    },
    /// Another block of numbers was reserved.
    BlockReserved {
        /// Sequence numbers from `block << 32`.
        block: u64,
    },
    /// A namespace exists.
    NamespaceDeclared {
        /// Its number.
        id: NamespaceId,
        /// Its name.
        name: &'a str,
    },
    /// An exchange exists.
    ExchangeDeclared {
        /// Its number.
        id: ExchangeId,
        /// Its namespace.
        namespace: NamespaceId,
        /// Its name.
        name: &'a str,
        /// How it routes.
        spec: ExchangeSpec,
    },
    /// An exchange is gone, with its bindings.
    ExchangeDeleted {
        /// Its number.
        id: ExchangeId,
    },
    /// A durable queue exists.
    QueueDeclared {
        /// Its number.
        id: QueueId,
        /// Its namespace.
        namespace: NamespaceId,
        /// Its name.
        name: &'a str,
        /// Its policies.
        options: QueueOptions,
    },
    /// A durable queue is gone, with its messages and bindings.
    QueueDeleted {
        /// Its number.
        id: QueueId,
    },
    /// An exchange routes messages with that key to that queue.
    Bound {
        /// From here.
        exchange: ExchangeId,
        /// To there.
        queue: QueueId,
        /// With this key.
        key: &'a [u8],
    },
    /// It does not any more.
    Unbound {
        /// From here.
        exchange: ExchangeId,
        /// To there.
        queue: QueueId,
        /// With this key.
        key: &'a [u8],
    },
    /// An exchange routes messages with that key to that exchange.
    ExchangeBound {
        /// From here.
        from: ExchangeId,
        /// To there.
        to: ExchangeId,
        /// With this key.
        key: &'a [u8],
    },
    /// It does not any more.
    ExchangeUnbound {
        /// From here.
        from: ExchangeId,
        /// To there.
        to: ExchangeId,
        /// With this key.
        key: &'a [u8],
    },
    /// A message was admitted into queues. Body and properties lie beside it in the log.
    Published {
        /// The message's number in its shard.
        seq: u64,
        /// Bytes of properties and body.
        size: u32,
        /// When it was admitted, and until when it is delivered.
        lifetime: Lifetime,
        /// The exchange it came through.
        exchange: ExchangeId,
        /// The queues it was routed to, 4 little-endian bytes each.
        targets: Targets<'a>,
    },
    /// Long work began.
    WorkerBegun {
        /// Names the worker.
        id: WorkerId,
        /// What it does.
        kind: WorkerKind,
        /// With which queue.
        queue: QueueId,
        /// To messages with lower numbers.
        below: u64,
    },
    /// Long work was done.
    WorkerEnded {
        /// Names the worker.
        id: WorkerId,
    },
    /// Messages left a queue for good.
    Settled {
        /// The queue.
        queue: QueueId,
        /// Why they left.
        cause: Cause,
        /// Which.
        ranges: &'a [SeqRange],
    },
    /// Messages went back into a queue after an attempt.
    Returned {
        /// The queue.
        queue: QueueId,
        /// Sequence number and attempts made so far.
        attempts: &'a [(u64, u16)],
    },
}

/// Queue numbers as they lie in a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Targets<'a>(&'a [u8]);

impl<'a> Targets<'a> {
    /// Takes bytes whose length is a multiple of four.
    pub fn new(bytes: &'a [u8]) -> Option<Self> {
        bytes.len().is_multiple_of(4).then_some(Self(bytes))
    }

    /// The bytes.
    pub fn as_bytes(self) -> &'a [u8] {
        self.0
    }

    /// The numbers.
    pub fn iter(self) -> impl ExactSizeIterator<Item = QueueId> + 'a {
        let (whole, _) = self.0.as_chunks::<4>();
        whole.iter().map(|bytes| QueueId(u32::from_le_bytes(*bytes)))
    }
}
