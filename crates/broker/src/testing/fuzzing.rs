//! What fuzz targets drive that is not public: records and roots past their checksums.
//!
//! Bytes of `apply_records`: frames of `kind u8 │ version u8 │ step u8 │ len u8 │ head`. A frame's
//! number is `step` and one above that of the one before; with the highest step, a block above.

use crate::codec::{self, Scratch};
use courant_engine::limits::SEQ_BLOCK;
use courant_engine::{Effects, Engine, Page};
use std::collections::BTreeMap;

/// Decodes and applies records as an opening does; what is no record is left out. A snapshot of
/// what came out, and each record written again, are the same. Panics otherwise.
pub fn apply_records(mut input: &[u8]) {
    let (mut engine, mut effects) = (Engine::default(), Effects::default());
    let (mut scratch, mut again) = (Scratch::default(), Scratch::default());
    let mut seq = 0_u64;
    while let Some((&[kind, version, step, len], rest)) = input.split_first_chunk() {
        let (head, rest) = rest.split_at(rest.len().min(usize::from(len)));
        input = rest;
        let step = u64::from(step);
        seq =
            if step == 255 { seq.saturating_add(SEQ_BLOCK) } else { seq.saturating_add(step + 1) };
        let frame = (seq, u32::from(len));
        let Ok(record) = codec::decode((kind, version), frame, head, &mut scratch) else {
            continue;
        };
        let mut written = Vec::new();
        codec::encode(&record, &mut written);
        let kind = codec::kind(&record);
        let kind = (kind, codec::version(kind));
        assert_eq!(codec::decode(kind, frame, &written, &mut again), Ok(record));
        engine.apply(&record, &mut effects);
        effects.clear();
    }
    check_snapshot(&mut engine);
}

/// Takes the root of a snapshot back, if it is one. It is the same when it is written again.
/// Panics otherwise.
pub fn restore_root(root: &[u8]) {
    let Ok(mut engine) = Engine::restore(root) else { return };
    let hash = engine.ledger().hash_with(|page, _| Err(page));
    let again = engine.snapshot(&mut (1 << 40));
    // Chunks that are on no page stand in new ones, so only a root without new pages is complete.
    if again.pages.is_empty() {
        let again = Engine::restore(&again.root).expect("a root that was just written");
        let same = again.ledger().hash_with(|page, _| Err(page));
        assert_eq!(format!("{same:?}"), format!("{hash:?}"));
    }
}

fn check_snapshot(engine: &mut Engine) {
    let hash = engine.ledger().hash();
    let snapshot = engine.snapshot(&mut 1);
    let encoded = |page: &Page| {
        let mut bytes = Vec::new();
        page.encode(&mut bytes);
        (page.number, bytes)
    };
    let pages: BTreeMap<u64, Vec<u8>> = snapshot.pages.iter().map(encoded).collect();
    let restored = Engine::restore(&snapshot.root).expect("a root that was just written");
    let load = |page, into: &mut Vec<u8>| match pages.get(&page) {
        Some(bytes) => {
            into.extend_from_slice(bytes);
            Ok(())
        }
        None => Err(page),
    };
    assert_eq!(restored.ledger().hash_with(load).ok(), Some(hash));
}
