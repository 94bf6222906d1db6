//! What was found in a data folder, in words and as JSON.

use std::io::{self, Write};

use courant::inspect::{Damage, Fault, Gap, Outcome, RecordSeen, Report};
use courant::{MessageId, QueueOptions};
use serde_json::{Value, json};

use crate::item;

/// A message id as clients see it.
pub(crate) fn id(id: MessageId) -> String {
    courant_wire::MessageId { shard: id.shard, seq: id.seq }.to_string()
}

/// Bytes in a readable unit.
pub(crate) fn size(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["B", "KiB", "MiB", "GiB", "TiB"];
    let (mut tenths, mut unit) = (u128::from(bytes) * 10, 0);
    while tenths >= 10_240 && unit + 1 < UNITS.len() {
        tenths = (tenths + 512) / 1024;
        unit += 1;
    }
    let name = UNITS.get(unit).copied().unwrap_or_default();
    match unit {
        0 => format!("{bytes} {name}"),
        _ => format!("{}.{} {name}", tenths / 10, tenths % 10),
    }
}

/// A number with its noun.
pub(crate) fn plural(count: u64, one: &str, many: &str) -> String {
    format!("{count} {}", if count == 1 { one } else { many })
}

/// The policies of a queue that are not the usual ones, in the words of DECLARE.
pub(crate) fn policies(options: &QueueOptions) -> Vec<(&'static str, String)> {
    let usual = QueueOptions::default();
    let number = |number: u64| Some(number.to_string());
    let yes = |is_set: bool| is_set.then(|| "yes".to_owned());
    let policies = [
        ("durable", (!options.durable).then(|| "no".to_owned())),
        ("exclusive", yes(options.exclusive)),
        ("auto_delete", yes(options.auto_delete)),
        (
            "visibility",
            Some(options.visibility_ms).filter(|ms| *ms != usual.visibility_ms).and_then(number),
        ),
        ("expires", options.expires_ms.and_then(number)),
        ("max_length", options.max_length.and_then(number)),
        ("max_bytes", options.max_bytes.and_then(number)),
        ("max_message_bytes", options.max_message_bytes.map(u64::from).and_then(number)),
        ("message_ttl", options.message_ttl_ms.and_then(number)),
        ("max_attempts", options.max_attempts.map(u64::from).and_then(number)),
        (
            "overflow",
            (options.overflow != usual.overflow).then(|| options.overflow.word().to_owned()),
        ),
    ];
    policies.into_iter().filter_map(|(key, value)| Some((key, value?))).collect()
}

/// Writes to stdout. Nobody reading it is no error.
pub(crate) fn print(text: &str) -> anyhow::Result<()> {
    let mut out = io::stdout().lock();
    unless_left(out.write_all(text.as_bytes()).and_then(|()| out.flush()))
}

/// A reader that leaves has seen enough.
pub(crate) fn unless_left(written: io::Result<()>) -> anyhow::Result<()> {
    match written {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        other => Ok(other?),
    }
}

/// What a damaged place concerns, a line each.
pub(crate) fn concerned(report: &Report, fault: &Fault) -> Vec<String> {
    if let Damage::Body { lane, seq } = fault.at.what {
        if lane.0 & 0x8000 != 0 {
            return vec![format!("part {} of the state (a snapshot)", seq.0)];
        }
        let message = id(MessageId { shard: lane.0, seq: seq.0 });
        let queues = report.queues_of(fault);
        return vec![match queues.as_slice() {
            [] if report.unknown.is_some() => format!("message {message}"),
            [] => format!("message {message}, which no queue needs any more"),
            [one] => format!("message {message} of queue {one}"),
            many => format!("message {message} of queues {}", many.join(", ")),
        }];
    }
    if fault.gaps.is_empty() {
        return Vec::new();
    }
    let mut lines = Vec::new();
    if let Some(count) = fault.frames {
        lines.push(format!("{} missing", plural(count, "record is", "records are")));
    }
    lines.extend(fault.gaps.iter().map(gap));
    lines
}

fn gap(gap: &Gap) -> String {
    let shard = gap.lane.0 & 0x7fff;
    let of_state = gap.lane.0 != shard;
    let name = |seq: u64| {
        if of_state { seq.to_string() } else { id(MessageId { shard, seq }) }
    };
    let what = if of_state { "parts of the state" } else { "records and messages" };
    match (gap.above.0, gap.below) {
        (0, Some(below)) => format!("{what} before {} may be missing", name(below.0)),
        (above, Some(below)) => {
            format!("{what} between {} and {} may be missing", name(above), name(below.0))
        }
        (above, None) => format!("{what} after {} may be missing", name(above)),
    }
}

/// All of a report.
pub(crate) fn json(report: &Report) -> Value {
    let segments = report.log.segments.iter().zip(&report.live_bytes).map(|(segment, live)| {
        let lanes = segment.lanes.iter().map(|span| {
            json!({"lane": span.lane.0, "first_seq": span.first.0, "last_seq": span.last.0,
                "frames": span.frames})
        });
        json!({"file": segment.file, "id": segment.id, "generation": segment.generation,
            "file_bytes": segment.file_bytes, "used_bytes": segment.used_bytes,
            "live_bytes": live, "dead_bytes": segment.used_bytes.saturating_sub(*live),
            "full": segment.is_full, "lanes": lanes.collect::<Vec<_>>()})
    });
    let queues = report.queues.iter().map(|queue| {
        let policies = policies(&queue.options).into_iter();
        let policies = policies.map(|(key, value)| (key.to_owned(), item::json(key, &value)));
        json!({"name": queue.name, "messages": queue.ready, "bytes": queue.bytes,
            "policies": policies.collect::<Value>(),
            "oldest": queue.oldest.map(id), "lost": queue.lost_count,
            "lost_ids": queue.lost.iter().map(|lost| id(*lost)).collect::<Vec<_>>(),
            "unread": queue.unread})
    });
    let origins = report.log.origins.iter();
    let origins = origins.map(|(lane, seq)| json!({"lane": lane.0, "origin": seq.0}));
    let torn = report.log.torn.as_ref();
    let snapshot = report.snapshot.as_ref();
    json!({
        "whole": report.is_whole(),
        "closed": report.log.clean,
        "records": report.records,
        "messages": report.messages,
        "segments": segments.collect::<Vec<_>>(),
        "origins": origins.collect::<Vec<_>>(),
        "queues": queues.collect::<Vec<_>>(),
        "snapshot": snapshot.map(|snapshot| {
            json!({"pages": snapshot.pages, "covers": id(snapshot.covers)})
        }),
        "torn": torn.map(|torn| {
            json!({"file": torn.file, "offset": torn.offset, "bytes": torn.bytes})
        }),
        "damage": report.log.faults.iter().map(|fault| damage(report, fault)).collect::<Vec<_>>(),
        "unknown": report.unknown.as_ref().map(ToString::to_string),
    })
}

fn damage(report: &Report, fault: &Fault) -> Value {
    let what = match fault.at.what {
        Damage::Manifest => "manifest",
        Damage::Checkpoint => "checkpoint",
        Damage::Index => "index",
        Damage::Missing => "missing",
        Damage::Segment => "segment",
        Damage::Batch => "batch",
        Damage::Head => "head",
        Damage::Body { .. } => "body",
    };
    let outcome = match fault.outcome {
        Outcome::Mended => "mended",
        Outcome::Unseen => "unseen",
        Outcome::Reported => "parked",
        Outcome::Refused => "refused",
    };
    let message = match fault.at.what {
        Damage::Body { lane, seq } if lane.0 & 0x8000 == 0 => {
            Some(id(MessageId { shard: lane.0, seq: seq.0 }))
        }
        _ => None,
    };
    let gaps = fault.gaps.iter().map(|gap| {
        json!({"lane": gap.lane.0, "above_seq": gap.above.0,
            "below_seq": gap.below.map(|below| below.0)})
    });
    json!({"file": fault.at.file, "offset": fault.at.offset, "bytes": fault.at.bytes,
        "what": what, "why": fault.why, "at_start": outcome, "message": message,
        "queues": report.queues_of(fault), "missing_records": fault.frames,
        "gaps": gaps.collect::<Vec<_>>()})
}

/// One record as a line.
pub(crate) fn record_json(record: &RecordSeen) -> String {
    let fields = record.fields.iter();
    let fields = fields.map(|(name, value)| ((*name).to_owned(), Value::from(value.as_str())));
    json!({"file": record.file, "offset": record.offset, "kind": record.kind,
        "lane": record.lane, "seq": record.seq, "term": record.term,
        "fields": fields.collect::<serde_json::Map<_, _>>(),
        "body_bytes": record.body_bytes, "body_intact": record.body_is_intact})
    .to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_readable() {
        for (bytes, text) in [
            (0, "0 B"),
            (1023, "1023 B"),
            (1024, "1.0 KiB"),
            (1536, "1.5 KiB"),
            (64 << 20, "64.0 MiB"),
            (u64::MAX, "16777216.0 TiB"),
        ] {
            assert_eq!(size(bytes), text);
        }
    }
}
