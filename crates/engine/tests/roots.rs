//! Roots and pages as bytes: pinned, and read without trust.
//!
//! `COURANT_WRITE=1` writes the pinned file again.

use courant_engine::record::Targets;
use courant_engine::{
    Cause, Effects, Engine, ExchangeId, ExchangeKind, ExchangeSpec, Lifetime, NamespaceId,
    Overflow, QueueId, QueueOptions, Record,
};
use courant_engine::{WorkerId, WorkerKind};
use proptest::prelude::*;
use std::fmt::Write as _;
use std::path::PathBuf;

/// An engine with something of everything that a root can say.
fn full_engine() -> Engine {
    let (mut engine, mut effects) = (first_engine(), Effects::default());
    let options = QueueOptions {
        auto_delete: true,
        max_length: Some(1 << 33),
        max_bytes: Some(1 << 40),
        max_message_bytes: Some(70_000),
        overflow: Overflow::DropOldest,
        message_ttl_ms: Some(60_000),
        expires_ms: Some(3_600_000),
        max_attempts: Some(5),
        ..QueueOptions::default()
    };
    let (id, namespace) = (QueueId(3), NamespaceId(0));
    engine.apply(&Record::QueueDeclared { id, namespace, name: "limited", options }, &mut effects);
    for number in [4, 6] {
        let (id, kind, below) = (WorkerId(number), WorkerKind::Purge, 1 << 40);
        engine.apply(&Record::WorkerBegun { id, kind, queue: QueueId(3), below }, &mut effects);
    }
    engine.apply(&Record::WorkerEnded { id: WorkerId(4) }, &mut effects);
    let (from, to, key) = (ExchangeId(1), ExchangeId(2), &b"eu"[..]);
    let spec = ExchangeSpec {
        kind: ExchangeKind::Topic,
        is_internal: true,
        auto_delete: true,
        alternate: Some(from),
    };
    let name = "inner";
    engine.apply(&Record::ExchangeDeclared { id: to, namespace, name, spec }, &mut effects);
    engine.apply(&Record::ExchangeBound { from, to, key }, &mut effects);
    engine.apply(&Record::Bound { exchange: to, queue: id, key: b"*.eu.#" }, &mut effects);
    assert_eq!(effects.noops, 0);
    engine
}

/// What version 1 could say.
fn first_engine() -> Engine {
    let (mut engine, mut effects) = (Engine::default(), Effects::default());
    let options = QueueOptions { visibility_ms: 30_000, ..QueueOptions::default() };
    let (space, x, a, b, c) = (NamespaceId(1), ExchangeId(1), QueueId(0), QueueId(1), QueueId(2));
    let mut records = vec![
        Record::Opened { term: 3, block: 2 },
        Record::CutShort { below: 2 << 32 },
        Record::NamespaceDeclared { id: space, name: "größe" },
        Record::QueueDeclared { id: a, namespace: NamespaceId(0), name: "orders", options },
        Record::QueueDeclared { id: b, namespace: space, name: "orders", options },
        Record::QueueDeclared { id: c, namespace: space, name: "gone", options },
        Record::ExchangeDeclared {
            id: x,
            namespace: space,
            name: "events",
            spec: ExchangeSpec::of(ExchangeKind::Direct),
        },
        Record::Bound { exchange: x, queue: b, key: b"eu" },
        Record::Bound { exchange: x, queue: c, key: b"eu" },
        Record::QueueDeleted { id: c },
    ];
    let targets = [0, 0, 0, 0, 1, 0, 0, 0];
    let lifetime = Lifetime::default();
    let first = (2 << 32) + 1;
    for n in 0..4096 + 4096 + 40 {
        let both = if n < 20 { &targets[..] } else { &targets[..4] };
        let targets = Targets::new(both).expect("whole numbers");
        let exchange = ExchangeId::DEFAULT;
        let size = u32::try_from(n % 1000).expect("small");
        records.push(Record::Published { seq: first + n * 2, size, lifetime, exchange, targets });
    }
    let attempts = [(first + 4, 2), (first + 8, 1)];
    records.push(Record::Returned { queue: b, attempts: &attempts });
    let one = [(first + 100, first + 300)];
    let all = [(first + 8192, first + 16_200)];
    records.push(Record::Settled { queue: a, cause: Cause::Acked, ranges: &one });
    records.push(Record::Settled { queue: a, cause: Cause::Rejected, ranges: &all });
    for record in &records {
        engine.apply(record, &mut effects);
    }
    assert_eq!(effects.noops, 0);
    engine
}

fn written(engine: &mut Engine) -> (Vec<u8>, Vec<Vec<u8>>) {
    let snapshot = engine.snapshot(&mut 100);
    let encode = |page: &courant_engine::Page| {
        let mut bytes = Vec::new();
        page.encode(&mut bytes);
        bytes
    };
    (snapshot.root, snapshot.pages.iter().map(encode).collect())
}

fn hex(bytes: &[u8]) -> String {
    let mut text = String::new();
    for line in bytes.chunks(32) {
        for byte in line {
            write!(text, "{byte:02x}").expect("text has room");
        }
        text.push('\n');
    }
    text
}

#[test]
fn the_bytes_are_those_of_every_version() {
    let mut engine = full_engine();
    let (root, pages) = written(&mut engine);
    assert_eq!(pages.len(), 2);
    let mut text = format!("root\n{}", hex(&root));
    for page in &pages {
        // Distances and sizes are plain; the beginning and the length say enough.
        let _ = writeln!(text, "page of {} bytes\n{}", page.len(), hex(&page[..64]).trim_end());
    }
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/roots.hex");
    if std::env::var_os("COURANT_WRITE").is_some() {
        std::fs::write(&path, &text).expect("the folder can be written");
    }
    let pinned = std::fs::read_to_string(&path).expect("the pinned bytes are there");
    assert_eq!(text, pinned, "the bytes changed: folders of before have the others");
    let there = Engine::restore(&root).expect("its own root");
    let load = |page: u64, out: &mut Vec<u8>| {
        let nth = usize::try_from(page - 100).expect("small");
        out.extend_from_slice(&pages[nth]);
        Ok::<(), ()>(())
    };
    assert_eq!(there.ledger().hash_with(load).expect("its pages"), engine.ledger().hash());
}

/// A folder of version 1 has such a root: it says what it said then.
#[test]
fn a_root_of_version_1_is_read() {
    let text = include_str!("roots_v1.hex");
    let digits: String = text.lines().collect();
    let root: Vec<u8> = (0..digits.len() / 2)
        .map(|at| u8::from_str_radix(&digits[at * 2..at * 2 + 2], 16).expect("digits"))
        .collect();
    assert_eq!(root[..4], [1, 0, 0, 0]);
    let mut engine = first_engine();
    let (_, pages) = written(&mut engine);
    assert_eq!(read(&root, &pages), Some(engine.ledger().hash()));
}

/// What a root and its pages come to; `None` if something was refused.
fn read(root: &[u8], pages: &[Vec<u8>]) -> Option<u64> {
    let engine = Engine::restore(root).ok()?;
    let load = |page: u64, out: &mut Vec<u8>| {
        let nth = usize::try_from(page.checked_sub(100).ok_or(())?).map_err(|_| ())?;
        out.extend_from_slice(pages.get(nth).ok_or(())?);
        Ok::<(), ()>(())
    };
    engine.ledger().hash_with(load).ok()
}

#[test]
fn every_flipped_bit_is_refused_or_seen() {
    let mut engine = full_engine();
    let (root, mut pages) = written(&mut engine);
    let whole = engine.ledger().hash();
    let mut changed = root.clone();
    for bit in 0..root.len() * 8 {
        changed[bit / 8] ^= 1 << (bit % 8);
        assert_ne!(read(&changed, &pages), Some(whole), "bit {bit} of the root says nothing");
        changed[bit / 8] ^= 1 << (bit % 8);
    }
    for len in 0..root.len() {
        assert_eq!(read(&root[..len], &pages), None, "a root of {len} bytes");
    }
    for bit in (0..pages[0].len() * 8).step_by(61) {
        pages[0][bit / 8] ^= 1 << (bit % 8);
        let is_dead = read(&root, &pages) == Some(whole);
        pages[0][bit / 8] ^= 1 << (bit % 8);
        // Entries of dead messages say nothing any more: they alone may change unseen.
        let entry = (bit / 8).checked_sub(16).map(|at| at / 4 % 4096);
        let may_be = entry.is_some_and(|entry| (50..=150).contains(&entry));
        assert!(!is_dead || may_be, "bit {bit} of a page says nothing");
    }
}

#[test]
fn a_page_of_another_length_or_chunk_is_refused() {
    let mut engine = full_engine();
    let (root, pages) = written(&mut engine);
    for len in (0..pages[0].len()).step_by(7) {
        assert_eq!(read(&root, &[pages[0][..len].to_vec(), pages[1].clone()]), None);
    }
    assert_eq!(read(&root, &[pages[1].clone(), pages[0].clone()]), None);
}

proptest! {
    #[test]
    fn no_bytes_do_harm(
        edits in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..8),
        cut in any::<prop::sample::Index>(),
        noise in prop::collection::vec(any::<u8>(), 0..400),
    ) {
        let _ = Engine::restore(&noise);
        let mut engine = Engine::default();
        let mut effects = Effects::default();
        let options = QueueOptions::default();
        let (id, namespace) = (QueueId(0), NamespaceId::DEFAULT);
        engine.apply(&Record::QueueDeclared { id, namespace, name: "q", options }, &mut effects);
        let lifetime = Lifetime::default();
        for seq in 1..50 {
            let targets = Targets::new(&[0; 4]).expect("one queue");
            let exchange = ExchangeId::DEFAULT;
            let record = Record::Published { seq, size: 9, lifetime, exchange, targets };
            engine.apply(&record, &mut effects);
        }
        let (mut root, mut pages) = written(&mut engine);
        let mut versioned = root[..4].to_vec();
        versioned.extend_from_slice(&noise);
        let _ = Engine::restore(&versioned);
        for (at, byte) in edits {
            if byte % 2 == 0 {
                let at = at.index(root.len());
                root[at] = byte;
            } else {
                let at = at.index(pages[0].len());
                pages[0][at] = byte;
            }
        }
        let _ = read(&root, &pages);
        root.truncate(cut.index(root.len() + 1));
        let _ = read(&root, &pages);
        let mut engine = Engine::restore(&written(&mut engine).0).expect("its own root");
        let _ = engine.install_page(100, &pages[0], &mut effects);
        let _ = engine.install_page(100, &noise, &mut effects);
    }
}

/// Two queues whose messages have deadlines: one of them in a page, one in the root.
#[test]
fn deadlines_stand_in_roots_and_pages() {
    let (mut engine, mut effects) = (Engine::default(), Effects::default());
    let (namespace, options) = (NamespaceId::DEFAULT, QueueOptions::default());
    for (id, name) in [(QueueId(0), "long"), (QueueId(1), "short")] {
        engine.apply(&Record::QueueDeclared { id, namespace, name, options }, &mut effects);
    }
    for seq in 1..200 {
        let targets = if seq < 9 { &[0, 0, 0, 0, 1, 0, 0, 0][..] } else { &[0; 4] };
        let targets = Targets::new(targets).expect("whole numbers");
        let deadline_ms = if seq % 3 == 0 { u64::MAX } else { 1_000 + seq };
        let lifetime = Lifetime { admitted_ms: 5, deadline_ms };
        let exchange = ExchangeId::DEFAULT;
        let record = Record::Published { seq, size: 9, lifetime, exchange, targets };
        engine.apply(&record, &mut effects);
    }
    let (root, pages) = written(&mut engine);
    assert_eq!(pages.len(), 1);
    assert_eq!(pages[0].len(), 16 + 199 * 16);
    let whole = Some(engine.ledger().hash());
    assert_eq!(read(&root, &pages), whole);
    let there = Engine::restore(&root).expect("its own root");
    assert_eq!(there.next_alarm_ms(), Some(1_001), "both are looked at in time");
    for bit in 0..root.len() * 8 {
        let mut changed = root.clone();
        changed[bit / 8] ^= 1 << (bit % 8);
        assert_ne!(read(&changed, &pages), whole, "bit {bit} of the root says nothing");
    }
    for bit in (0..pages[0].len() * 8).step_by(7) {
        let mut changed = pages.clone();
        changed[0][bit / 8] ^= 1 << (bit % 8);
        assert_ne!(read(&root, &changed), whole, "bit {bit} of the page says nothing");
    }
}
