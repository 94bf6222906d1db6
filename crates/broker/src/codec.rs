//! Records ⇄ bytes, as drawn in `docs/format.md`. Little-endian throughout.
//!
//! To change a record: give it a new version (never change an old one), keep reading the old ones
//! here, draw the new form in `docs/format.md`, and add a fixture.

use courant_engine::record::{SeqRange, Targets};
use courant_engine::worker::{WorkerId, WorkerKind};
use courant_engine::{
    Cause, ExchangeId, ExchangeKind, ExchangeSpec, Lifetime, NEVER, NamespaceId, QueueId,
    QueueOptions, Record,
};
use courant_storage::limits;
use thiserror::Error;

/// A message went into queues.
pub(crate) const PUBLISHED: u8 = 0x10;
const SETTLED: u8 = 0x11;
const RETURNED: u8 = 0x12;
const OPENED: u8 = 0x20;
const BLOCK_RESERVED: u8 = 0x21;
const NAMESPACE_DECLARED: u8 = 0x22;
const EXCHANGE_DECLARED: u8 = 0x23;
const EXCHANGE_DELETED: u8 = 0x24;
const QUEUE_DECLARED: u8 = 0x25;
const QUEUE_DELETED: u8 = 0x26;
const CUT_SHORT: u8 = 0x29;
const BOUND: u8 = 0x27;
const UNBOUND: u8 = 0x28;
const EXCHANGE_BOUND: u8 = 0x2a;
const EXCHANGE_UNBOUND: u8 = 0x2b;
const WORKER_BEGUN: u8 = 0x2c;
const WORKER_ENDED: u8 = 0x2d;

/// A part of the root of a snapshot, in the state lane. Pages have a kind of the engine's.
pub(crate) const SNAPSHOT_ROOT: u8 = 0x32;

/// Version of every kind above, but of those in [`version`].
pub(crate) const VERSION: u8 = 1;

/// Bytes before the targets of a published record: flags, exchange, stamp.
const PUBLISHED_FIXED: usize = 2 + 4 + 8;
/// Flag of a published record: a deadline stands between stamp and targets.
const HAS_DEADLINE: u16 = 1;

/// What a published record takes beside its targets and its body, with its frame.
pub(crate) const PUBLISHED_BYTES_MAX: usize =
    PUBLISHED_FIXED + 8 + limits::FRAME_HEADER_BYTES + limits::FRAME_ALIGN_BYTES;

/// Why bytes are not a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum CodecError {
    /// The kind is unknown.
    #[error("unknown kind")]
    Kind,
    /// The version is newer than this program.
    #[error("unknown version")]
    Version,
    /// The length does not fit the kind.
    #[error("wrong length")]
    Length,
    /// A field has a value that its kind does not have.
    #[error("wrong value")]
    Value,
}

/// Room for the parts of a record that are decoded and not borrowed.
#[derive(Debug, Default)]
pub(crate) struct Scratch {
    ranges: Vec<SeqRange>,
    attempts: Vec<(u64, u16)>,
}

/// The kind of a record.
pub(crate) fn kind(record: &Record<'_>) -> u8 {
    match record {
        Record::Published { .. } => PUBLISHED,
        Record::Settled { .. } => SETTLED,
        Record::Returned { .. } => RETURNED,
        Record::Opened { .. } => OPENED,
        Record::CutShort { .. } => CUT_SHORT,
        Record::BlockReserved { .. } => BLOCK_RESERVED,
        Record::NamespaceDeclared { .. } => NAMESPACE_DECLARED,
        Record::ExchangeDeclared { .. } => EXCHANGE_DECLARED,
        Record::ExchangeDeleted { .. } => EXCHANGE_DELETED,
        Record::QueueDeclared { .. } => QUEUE_DECLARED,
        Record::QueueDeleted { .. } => QUEUE_DELETED,
        Record::Bound { .. } => BOUND,
        Record::Unbound { .. } => UNBOUND,
        Record::WorkerBegun { .. } => WORKER_BEGUN,
        Record::WorkerEnded { .. } => WORKER_ENDED,
        Record::ExchangeBound { .. } => EXCHANGE_BOUND,
        Record::ExchangeUnbound { .. } => EXCHANGE_UNBOUND,
    }
}

/// The version in which records of a kind are written. All up to it are read.
pub(crate) fn version(kind: u8) -> u8 {
    match kind {
        QUEUE_DECLARED | EXCHANGE_DECLARED => 2,
        _ => VERSION,
    }
}

/// The name of a kind, for people.
pub(crate) fn name(kind: u8) -> Option<&'static str> {
    Some(match kind {
        PUBLISHED => "published",
        SETTLED => "settled",
        RETURNED => "returned",
        OPENED => "opened",
        BLOCK_RESERVED => "block-reserved",
        NAMESPACE_DECLARED => "namespace-declared",
        EXCHANGE_DECLARED => "exchange-declared",
        EXCHANGE_DELETED => "exchange-deleted",
        QUEUE_DECLARED => "queue-declared",
        QUEUE_DELETED => "queue-deleted",
        CUT_SHORT => "cut-short",
        BOUND => "bound",
        UNBOUND => "unbound",
        WORKER_BEGUN => "worker-begun",
        WORKER_ENDED => "worker-ended",
        EXCHANGE_BOUND => "exchange-bound",
        EXCHANGE_UNBOUND => "exchange-unbound",
        _ => return None,
    })
}

/// Writes the head of a published record.
pub(crate) fn encode_published(
    out: &mut Vec<u8>,
    exchange: ExchangeId,
    lifetime: Lifetime,
    to: &[u8],
) {
    let Lifetime { admitted_ms, deadline_ms } = lifetime;
    let mut fixed = [0; PUBLISHED_FIXED];
    let flags = if deadline_ms == NEVER { 0 } else { HAS_DEADLINE };
    fixed[..2].copy_from_slice(&flags.to_le_bytes());
    fixed[2..6].copy_from_slice(&exchange.0.to_le_bytes());
    fixed[6..].copy_from_slice(&admitted_ms.to_le_bytes());
    out.extend_from_slice(&fixed);
    if deadline_ms != NEVER {
        out.extend_from_slice(&deadline_ms.to_le_bytes());
    }
    out.extend_from_slice(to);
}

/// Writes the head of any record but a published one.
pub(crate) fn encode(record: &Record<'_>, out: &mut Vec<u8>) {
    match *record {
        Record::Published { exchange, lifetime, targets, .. } => {
            encode_published(out, exchange, lifetime, targets.as_bytes());
        }
        Record::Settled { queue, cause, ranges } => {
            out.extend_from_slice(&queue.0.to_le_bytes());
            out.extend_from_slice(&u32::from(cause as u8).to_le_bytes());
            for (first, last) in ranges {
                out.extend_from_slice(&first.to_le_bytes());
                out.extend_from_slice(&last.to_le_bytes());
            }
        }
        Record::Returned { queue, attempts } => {
            out.extend_from_slice(&queue.0.to_le_bytes());
            for (seq, count) in attempts {
                out.extend_from_slice(&seq.to_le_bytes());
                out.extend_from_slice(&count.to_le_bytes());
            }
        }
        Record::Opened { term, block } => {
            out.extend_from_slice(&term.to_le_bytes());
            out.extend_from_slice(&block.to_le_bytes());
        }
        Record::CutShort { below } => out.extend_from_slice(&below.to_le_bytes()),
        Record::BlockReserved { block } => out.extend_from_slice(&block.to_le_bytes()),
        Record::NamespaceDeclared { id, name } => {
            out.extend_from_slice(&id.0.to_le_bytes());
            out.extend_from_slice(name.as_bytes());
        }
        Record::ExchangeDeclared { id, namespace, name, spec } => {
            out.extend_from_slice(&id.0.to_le_bytes());
            out.extend_from_slice(&namespace.0.to_le_bytes());
            out.push(spec.kind as u8);
            put_name(out, name);
            put_tags(out, spec.tags());
        }
        Record::ExchangeDeleted { id } => out.extend_from_slice(&id.0.to_le_bytes()),
        Record::QueueDeclared { id, namespace, name, options } => {
            out.extend_from_slice(&id.0.to_le_bytes());
            out.extend_from_slice(&namespace.0.to_le_bytes());
            put_name(out, name);
            put_tags(out, options.tags());
        }
        Record::WorkerBegun { id, kind, queue, below } => {
            out.extend_from_slice(&id.0.to_le_bytes());
            out.push(kind as u8);
            out.extend_from_slice(&queue.0.to_le_bytes());
            out.extend_from_slice(&below.to_le_bytes());
        }
        Record::WorkerEnded { id } => out.extend_from_slice(&id.0.to_le_bytes()),
        Record::QueueDeleted { id } => out.extend_from_slice(&id.0.to_le_bytes()),
        Record::Bound { exchange, queue, key } | Record::Unbound { exchange, queue, key } => {
            out.extend_from_slice(&exchange.0.to_le_bytes());
            out.extend_from_slice(&queue.0.to_le_bytes());
            out.extend_from_slice(key);
        }
        Record::ExchangeBound { from, to, key } | Record::ExchangeUnbound { from, to, key } => {
            out.extend_from_slice(&from.0.to_le_bytes());
            out.extend_from_slice(&to.0.to_le_bytes());
            out.extend_from_slice(key);
        }
    }
}

fn put_name(out: &mut Vec<u8>, name: &str) {
    // A name has at most 255 bytes.
    let len = u16::try_from(name.len()).unwrap_or(u16::MAX);
    out.extend_from_slice(&len.to_le_bytes());
    out.extend_from_slice(name.as_bytes());
}

fn put_tags(out: &mut Vec<u8>, tags: impl Iterator<Item = (u8, u64)>) {
    for (tag, value) in tags {
        out.push(tag);
        out.extend_from_slice(&value.to_le_bytes());
    }
}

/// Reads bytes from the front.
struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    fn take<const N: usize>(&mut self) -> Result<[u8; N], CodecError> {
        let (front, rest) = self.0.split_first_chunk::<N>().ok_or(CodecError::Length)?;
        self.0 = rest;
        Ok(*front)
    }

    fn u32(&mut self) -> Result<u32, CodecError> {
        self.take().map(u32::from_le_bytes)
    }

    fn u64(&mut self) -> Result<u64, CodecError> {
        self.take().map(u64::from_le_bytes)
    }

    /// A name behind its length.
    fn name(&mut self) -> Result<&'a str, CodecError> {
        let len = usize::from(u16::from_le_bytes(self.take()?));
        let (name, rest) = self.0.split_at_checked(len).ok_or(CodecError::Length)?;
        self.0 = rest;
        std::str::from_utf8(name).map_err(|_| CodecError::Value)
    }

    /// Tags and their values, to the end.
    fn tags(self) -> Result<impl Iterator<Item = (u8, u64)> + 'a, CodecError> {
        let (whole, rest) = self.0.as_chunks::<9>();
        if !rest.is_empty() {
            return Err(CodecError::Length);
        }
        let number = |[_, value @ ..]: &[u8; 9]| u64::from_le_bytes(*value);
        Ok(whole.iter().map(move |both| (both[0], number(both))))
    }

    fn text(self) -> Result<&'a str, CodecError> {
        std::str::from_utf8(self.0).map_err(|_| CodecError::Value)
    }
}

/// Reads a record. `seq` and `size` are what the log says of its frame.
pub(crate) fn decode<'a>(
    (kind, version): (u8, u8),
    (seq, size): (u64, u32),
    head: &'a [u8],
    scratch: &'a mut Scratch,
) -> Result<Record<'a>, CodecError> {
    if !(VERSION..=self::version(kind)).contains(&version) {
        return Err(CodecError::Version);
    }
    let mut fields = Fields(head);
    match kind {
        PUBLISHED => {
            let flags = u16::from_le_bytes(fields.take()?);
            if flags & !HAS_DEADLINE != 0 {
                return Err(CodecError::Value);
            }
            let exchange = ExchangeId(fields.u32()?);
            let admitted_ms = fields.u64()?;
            let deadline_ms = if flags & HAS_DEADLINE == 0 { NEVER } else { fields.u64()? };
            let lifetime = Lifetime { admitted_ms, deadline_ms };
            let targets = Targets::new(fields.0).ok_or(CodecError::Length)?;
            Ok(Record::Published { seq, size, lifetime, exchange, targets })
        }
        SETTLED => {
            let queue = QueueId(fields.u32()?);
            let number = u8::try_from(fields.u32()?).map_err(|_| CodecError::Value)?;
            let cause = Cause::from_number(number).ok_or(CodecError::Value)?;
            scratch.ranges.clear();
            while !fields.0.is_empty() {
                let range = (fields.u64()?, fields.u64()?);
                scratch.ranges.push(range);
            }
            Ok(Record::Settled { queue, cause, ranges: &scratch.ranges })
        }
        RETURNED => {
            let queue = QueueId(fields.u32()?);
            scratch.attempts.clear();
            while !fields.0.is_empty() {
                let attempt = (fields.u64()?, u16::from_le_bytes(fields.take()?));
                scratch.attempts.push(attempt);
            }
            Ok(Record::Returned { queue, attempts: &scratch.attempts })
        }
        _ => decode_topology((kind, version), fields),
    }
}

fn decode_topology(
    (kind, version): (u8, u8),
    mut fields: Fields<'_>,
) -> Result<Record<'_>, CodecError> {
    Ok(match kind {
        OPENED => Record::Opened { term: fields.u64()?, block: fields.u64()? },
        CUT_SHORT => Record::CutShort { below: fields.u64()? },
        BLOCK_RESERVED => Record::BlockReserved { block: fields.u64()? },
        NAMESPACE_DECLARED => {
            Record::NamespaceDeclared { id: NamespaceId(fields.u32()?), name: fields.text()? }
        }
        EXCHANGE_DECLARED => {
            let (id, namespace) = (ExchangeId(fields.u32()?), NamespaceId(fields.u32()?));
            let [kind] = fields.take()?;
            let kind = ExchangeKind::from_number(kind).ok_or(CodecError::Value)?;
            if version == VERSION {
                let (name, spec) = (fields.text()?, ExchangeSpec::of(kind));
                return Ok(Record::ExchangeDeclared { id, namespace, name, spec });
            }
            let name = fields.name()?;
            let spec = ExchangeSpec::from_tags(kind, fields.tags()?).ok_or(CodecError::Value)?;
            Record::ExchangeDeclared { id, namespace, name, spec }
        }
        EXCHANGE_DELETED => Record::ExchangeDeleted { id: ExchangeId(fields.u32()?) },
        QUEUE_DECLARED => {
            let (id, namespace) = (QueueId(fields.u32()?), NamespaceId(fields.u32()?));
            if version == VERSION {
                let visibility_ms = fields.u64()?;
                let options = QueueOptions { visibility_ms, ..QueueOptions::default() };
                return Ok(Record::QueueDeclared { id, namespace, name: fields.text()?, options });
            }
            let name = fields.name()?;
            let options = QueueOptions::from_tags(fields.tags()?).ok_or(CodecError::Value)?;
            Record::QueueDeclared { id, namespace, name, options }
        }
        WORKER_BEGUN => {
            let id = WorkerId(fields.u32()?);
            let [kind] = fields.take()?;
            let kind = WorkerKind::from_number(kind).ok_or(CodecError::Value)?;
            let (queue, below) = (QueueId(fields.u32()?), fields.u64()?);
            Record::WorkerBegun { id, kind, queue, below }
        }
        WORKER_ENDED => Record::WorkerEnded { id: WorkerId(fields.u32()?) },
        QUEUE_DELETED => Record::QueueDeleted { id: QueueId(fields.u32()?) },
        BOUND | UNBOUND => {
            let (exchange, queue) = (ExchangeId(fields.u32()?), QueueId(fields.u32()?));
            let key = fields.0;
            if kind == BOUND {
                Record::Bound { exchange, queue, key }
            } else {
                Record::Unbound { exchange, queue, key }
            }
        }
        EXCHANGE_BOUND | EXCHANGE_UNBOUND => {
            let (from, to) = (ExchangeId(fields.u32()?), ExchangeId(fields.u32()?));
            let key = fields.0;
            if kind == EXCHANGE_BOUND {
                Record::ExchangeBound { from, to, key }
            } else {
                Record::ExchangeUnbound { from, to, key }
            }
        }
        _ => return Err(CodecError::Kind),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use courant_engine::Overflow;

    #[test]
    fn a_queue_of_version_1_is_read() {
        let head = [&7u32.to_le_bytes()[..], &[0; 4], &30_000u64.to_le_bytes(), b"orders"].concat();
        let options = QueueOptions { visibility_ms: 30_000, ..QueueOptions::default() };
        let (id, namespace) = (QueueId(7), NamespaceId(0));
        let record = Record::QueueDeclared { id, namespace, name: "orders", options };
        let mut scratch = Scratch::default();
        assert_eq!(decode((QUEUE_DECLARED, 1), (1, 0), &head, &mut scratch), Ok(record));
    }

    #[test]
    fn a_policy_that_is_not_known_is_refused() {
        let (queue, tag) = ([7u8, 0, 0, 0, 0, 0, 0, 0, 1, 0, b'q'], [0; 8]);
        for (bytes, expected) in [
            ([&queue[..], &[200], &tag].concat(), CodecError::Value),
            ([&queue[..], &[3], &tag, &[3], &tag].concat(), CodecError::Value),
            ([&queue[..], &[3], &tag[..7]].concat(), CodecError::Length),
            ([&queue[..8], &[9, 0], b"short"].concat(), CodecError::Length),
        ] {
            let mut scratch = Scratch::default();
            let found = decode((QUEUE_DECLARED, 2), (1, 0), &bytes, &mut scratch);
            assert_eq!(found, Err(expected), "{bytes:?}");
        }
    }

    #[test]
    fn every_record_comes_back() {
        let targets: Vec<u8> = [7u32, 9].iter().flat_map(|id| id.to_le_bytes()).collect();
        let (queue, exchange, namespace) = (QueueId(7), ExchangeId(3), NamespaceId(0));
        let targets = Targets::new(&targets).expect("eight bytes");
        let lifetime = Lifetime { admitted_ms: 77, deadline_ms: NEVER };
        let mortal = Lifetime { deadline_ms: 99, ..lifetime };
        for record in [
            Record::Published { seq: 5, size: 11, lifetime, exchange, targets },
            Record::Published { seq: 5, size: 11, lifetime: mortal, exchange, targets },
            Record::Settled { queue, cause: Cause::Acked, ranges: &[(1, 4), (9, 9)] },
            Record::Returned { queue, attempts: &[(5, 2), (6, 65_535)] },
            Record::Opened { term: 4, block: 9 },
            Record::CutShort { below: 7 },
            Record::BlockReserved { block: 10 },
            Record::NamespaceDeclared { id: namespace, name: "n" },
            Record::ExchangeDeclared {
                id: exchange,
                namespace,
                name: "x",
                spec: ExchangeSpec::of(ExchangeKind::Direct),
            },
            Record::ExchangeDeclared {
                id: exchange,
                namespace,
                name: "größe",
                spec: ExchangeSpec {
                    kind: ExchangeKind::Hash,
                    is_internal: true,
                    auto_delete: true,
                    alternate: Some(ExchangeId(9)),
                },
            },
            Record::ExchangeDeleted { id: exchange },
            Record::QueueDeclared {
                id: queue,
                namespace,
                name: "größe",
                options: QueueOptions {
                    max_length: Some(1 << 40),
                    max_message_bytes: Some(9),
                    overflow: Overflow::DropOldest,
                    max_attempts: Some(3),
                    ..QueueOptions::default()
                },
            },
            Record::QueueDeleted { id: queue },
            Record::Bound { exchange, queue, key: b"k" },
            Record::Unbound { exchange, queue, key: b"" },
            Record::WorkerBegun { id: WorkerId(3), kind: WorkerKind::Purge, queue, below: 99 },
            Record::WorkerEnded { id: WorkerId(3) },
            Record::ExchangeBound { from: exchange, to: ExchangeId(4), key: b"a.#" },
            Record::ExchangeUnbound { from: exchange, to: ExchangeId(4), key: b"" },
        ] {
            let mut head = Vec::new();
            encode(&record, &mut head);
            let mut scratch = Scratch::default();
            let (kind, version) = (kind(&record), version(kind(&record)));
            let back = decode((kind, version), (5, 11), &head, &mut scratch);
            assert_eq!(back, Ok(record));
            let newer = decode((kind, version + 1), (5, 11), &head, &mut scratch);
            assert_eq!(newer, Err(CodecError::Version));
        }
        let mut scratch = Scratch::default();
        assert_eq!(decode((0x7f, VERSION), (1, 1), b"", &mut scratch), Err(CodecError::Kind));
        let cut = decode((SETTLED, VERSION), (1, 1), &[0, 0, 0, 0, 1, 0, 0, 0, 9], &mut scratch);
        assert_eq!(cut, Err(CodecError::Length));
    }

    #[test]
    fn old_forms_are_read() {
        let mut scratch = Scratch::default();
        let head = [3, 0, 0, 0, 0, 0, 0, 0, 2, b'x'];
        let (id, namespace, name) = (ExchangeId(3), NamespaceId(0), "x");
        let spec = ExchangeSpec::of(ExchangeKind::Fanout);
        let back = decode((EXCHANGE_DECLARED, 1), (5, 0), &head, &mut scratch);
        assert_eq!(back, Ok(Record::ExchangeDeclared { id, namespace, name, spec }));
        let newer = [3, 0, 0, 0, 0, 0, 0, 0, 2, 1, 0, b'x', 99, 1, 0, 0, 0, 0, 0, 0, 0];
        let back = decode((EXCHANGE_DECLARED, 2), (5, 0), &newer, &mut scratch);
        assert_eq!(back, Err(CodecError::Value), "an option of a newer version");
    }
}
