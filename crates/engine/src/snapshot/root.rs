//! The root of a snapshot: everything the ledger holds but the entries of long chunks, for which
//! it names pages. Little-endian, in this order, each list preceded by its length (u32):
//!
//! ```text
//!   version u32 (2) │ term u64 │ block u64 │ suspect below u64 │ last seq u64
//!   next namespace u32 │ next exchange u32 │ next queue u32
//!   namespaces:  id u32 │ name
//!   queues:      id u32 │ namespace u32 │ policies │ name │ attempts │ chunks
//!     policies:    tag u8, value u64: as in the record of the declaration
//!     attempts:    seq u64 │ attempts u16
//!     chunks:      1 u8 │ base u64 │ living entries: distance u32, size u32
//!               or 2 u8 │ base u64 │ paged                        every entry is alive
//!               or 3 u8 │ base u64 │ paged │ a bit per entry, in words of u64
//!               or 4 to 6 u8: as 1 to 3, where some entry has a deadline
//!       paged:     page u64 │ entries u32 │ last distance u32 │ alive u32 │ living bytes u64
//!       with deadlines: one u64 behind each living entry, all ones where there is none;
//!                  the earliest of all entries, u64, behind what is paged
//!   exchanges:   id u32 │ namespace u32 │ kind u8 │ name │ options │ bindings
//!     options:     tag u8 (1 internal, 2 auto-delete, 3 alternate) │ value u64
//!     bindings:    0 u8, queue u32, or 1 u8, exchange u32 │ length of the key u32 │ key
//!   of each namespace:  its exchanges: id u32, by name │ its queues: id u32, by name
//!   next worker u32 │ workers:  id u32 │ kind u8 (1 purge) │ queue u32 │ below u64
//!   name:  length u8 │ UTF-8
//! ```
//!
//! In version 1 the policies of a queue are durable u8 │ visibility u64, exchanges have no options,
//! bindings lead to queues only and lack the u8 before them, and there are no workers.
//!
//! Queues, exchanges, namespaces, chunks and what is in them stand in rising order. A chunk without
//! a living message does not stand there. Reading trusts nothing: a count is held against the bytes
//! that are left before anything is made of it.

use crate::exchange::{Exchange, ExchangeKind, ExchangeSpec, Table, Target};
use crate::ledger::Ledger;
use crate::lifetime::NEVER;
use crate::limits::CHUNK_ENTRIES;
use crate::name::{ExchangeId, Name, NamespaceId, QueueId};
use crate::queue::chunk::{Chunk, Columns, Entries, Kept};
use crate::queue::chunks::{Chunks, Place};
use crate::queue::{LedgerQueue, QueueOptions};
use crate::snapshot::bytes::{Bad, Input, put_count, put_u16, put_u32, put_u64};
use crate::snapshot::page::Page;
use crate::worker::{Task, WorkerId, WorkerKind};
use std::collections::BTreeMap;
use std::sync::Arc;

/// The version that is written; those before are read.
const VERSION: u32 = 2;
/// A chunk that still grows gets a page if it has more living messages than that.
const INLINE_MAX: usize = CHUNK_ENTRIES / 128;

const INLINE: u8 = 1;
const ALL_ALIVE: u8 = 2;
const WITH_BITS: u8 = 3;
/// Added to the three above if some entry has a deadline.
const WITH_DEADLINES: u8 = 3;

const TO_QUEUE: u8 = 0;
const TO_EXCHANGE: u8 = 1;

/// A page that a snapshot made: what it will be of once it is committed.
#[derive(Debug)]
pub(crate) struct Fresh {
    pub(crate) queue: QueueId,
    pub(crate) base: u64,
    pub(crate) page: u64,
    pub(crate) len: u32,
}

/// Pages that a root refers to, and those of them that are new.
#[derive(Debug)]
pub(crate) struct Paging<'a> {
    pub(crate) next_page: &'a mut u64,
    pub(crate) new: Vec<Page>,
    pub(crate) fresh: Vec<Fresh>,
    pub(crate) all: Vec<u64>,
}

pub(crate) fn encode(ledger: &Ledger, paging: &mut Paging<'_>, out: &mut Vec<u8>) {
    put_u32(out, VERSION);
    for number in [ledger.term, ledger.block, ledger.suspect_below, ledger.last_seq] {
        put_u64(out, number);
    }
    for number in [ledger.next_namespace, ledger.next_exchange, ledger.next_queue] {
        put_u32(out, number);
    }
    put_count(out, ledger.namespaces.len());
    for (id, space) in &ledger.namespaces {
        put_u32(out, id.0);
        put_name(out, &space.name);
    }
    let mut queues: Vec<&LedgerQueue> = ledger.queues.values().collect();
    queues.sort_unstable_by_key(|queue| queue.id);
    put_count(out, queues.len());
    for queue in queues {
        put_queue(queue, paging, out);
    }
    put_count(out, ledger.exchanges.len());
    for exchange in ledger.exchanges.values() {
        put_exchange(exchange, ledger.bindings.of(exchange.id), out);
    }
    for space in ledger.namespaces.values() {
        put_count(out, space.exchanges.len());
        space.exchanges.values().for_each(|id| put_u32(out, id.0));
        put_count(out, space.queues.len());
        space.queues.values().for_each(|id| put_u32(out, id.0));
    }
    put_u32(out, ledger.next_worker);
    put_count(out, ledger.workers.len());
    for (id, task) in &ledger.workers {
        put_u32(out, id.0);
        out.push(task.kind as u8);
        put_u32(out, task.queue.0);
        put_u64(out, task.below);
    }
}

fn put_name(out: &mut Vec<u8>, name: &Name) {
    let bytes = name.as_str().as_bytes();
    // A name has at most 255 bytes.
    out.push(u8::try_from(bytes.len()).unwrap_or(u8::MAX));
    out.extend_from_slice(bytes);
}

/// Policies: how many, then a tag and a value each.
fn put_tags(out: &mut Vec<u8>, tags: impl Iterator<Item = (u8, u64)>) {
    let count_at = out.len();
    put_count(out, 0);
    let mut count = 0u32;
    for (tag, value) in tags {
        out.push(tag);
        put_u64(out, value);
        count += 1;
    }
    out[count_at..count_at + 4].copy_from_slice(&count.to_le_bytes());
}

fn put_exchange(exchange: &Exchange, bindings: Option<&Table<Target>>, out: &mut Vec<u8>) {
    let Exchange { id, namespace, name, spec } = exchange;
    put_u32(out, id.0);
    put_u32(out, namespace.0);
    out.push(spec.kind as u8);
    put_name(out, name);
    put_tags(out, spec.tags());
    put_count(out, bindings.map_or(0, Table::len));
    for (key, target) in bindings.into_iter().flat_map(Table::iter) {
        match target {
            Target::Queue(id) => {
                out.push(TO_QUEUE);
                put_u32(out, id.0);
            }
            Target::Exchange(id) => {
                out.push(TO_EXCHANGE);
                put_u32(out, id.0);
            }
        }
        put_count(out, key.len());
        out.extend_from_slice(key);
    }
}

fn put_queue(queue: &LedgerQueue, paging: &mut Paging<'_>, out: &mut Vec<u8>) {
    put_u32(out, queue.id.0);
    put_u32(out, queue.namespace.0);
    put_tags(out, queue.options.tags());
    put_name(out, &queue.name);
    put_count(out, queue.attempts.len());
    for (seq, count) in &queue.attempts {
        put_u64(out, *seq);
        put_u16(out, *count);
    }
    let living = queue.chunks.places.iter().filter(|place| place.chunk.alive > 0);
    put_count(out, living.clone().count());
    for place in living {
        match &place.chunk.entries {
            Entries::Sparse(..) => put_inline(place, out),
            Entries::Growing(_) if place.chunk.alive as usize <= INLINE_MAX => {
                put_inline(place, out);
            }
            _ => put_paged(queue.id, place, paging, out),
        }
    }
}

fn put_inline(place: &Place, out: &mut Vec<u8>) {
    let chunk = &place.chunk;
    let entries = || {
        let mut from = 0;
        std::iter::from_fn(move || {
            let index = chunk.next_alive(from)?;
            from = index + 1;
            chunk.entry(index).map(|(delta, size)| (delta, size, chunk.deadline(index)))
        })
    };
    let first = entries().next().map_or(0, |(delta, ..)| delta);
    let has_deadlines = entries().any(|(.., deadline_ms)| deadline_ms != NEVER);
    out.push(INLINE + if has_deadlines { WITH_DEADLINES } else { 0 });
    put_u64(out, place.base + u64::from(first));
    put_u32(out, chunk.alive);
    for (delta, size, deadline_ms) in entries() {
        put_u32(out, delta - first);
        put_u32(out, size);
        if has_deadlines {
            put_u64(out, deadline_ms);
        }
    }
}

fn put_paged(queue: QueueId, place: &Place, paging: &mut Paging<'_>, out: &mut Vec<u8>) {
    let (chunk, base) = (&place.chunk, place.base);
    let len = chunk.len();
    let mut page = chunk.page;
    if chunk.page_len != len {
        let columns = match &chunk.entries {
            Entries::Whole(columns) => Arc::clone(columns),
            Entries::Growing(Columns { deltas, sizes, deadlines }) => {
                let (deltas, sizes) = (deltas.clone(), sizes.clone());
                Arc::new(Columns { deltas, sizes, deadlines: deadlines.clone() })
            }
            // Sparse ones stand in the root, cold ones have a page.
            Entries::Sparse(..) | Entries::Cold => return,
        };
        page = *paging.next_page;
        *paging.next_page += 1;
        paging.new.push(Page { number: page, queue, base, columns });
        paging.fresh.push(Fresh { queue, base, page, len });
    }
    paging.all.push(page);
    let tag = if chunk.alive == len { ALL_ALIVE } else { WITH_BITS };
    out.push(tag + if chunk.has_deadlines() { WITH_DEADLINES } else { 0 });
    put_u64(out, base);
    put_u64(out, page);
    put_u32(out, len);
    put_u32(out, chunk.last_delta());
    put_u32(out, chunk.alive);
    put_u64(out, chunk.bytes);
    if chunk.has_deadlines() {
        put_u64(out, chunk.earliest);
    }
    if chunk.alive != len {
        let words = (len as usize).div_ceil(64);
        chunk.bits[..words].iter().for_each(|word| put_u64(out, *word));
    }
}

/// Reads a root. `pages` gets the numbers of the pages it refers to.
pub(crate) fn decode(root: &[u8], pages: &mut Vec<u64>) -> Result<Ledger, Bad> {
    let mut input = Input::new(root);
    let version = input.u32()?;
    if !(1..=VERSION).contains(&version) {
        return Err(Bad { at: 0, what: "it has a version that this program does not know" });
    }
    let mut ledger = Ledger {
        term: input.u64()?,
        block: input.u64()?,
        suspect_below: input.u64()?,
        last_seq: input.u64()?,
        next_namespace: input.u32()?,
        next_exchange: input.u32()?,
        next_queue: input.u32()?,
        ..Ledger::default()
    };
    ledger.namespaces.clear();
    ledger.namespace_names.clear();
    for _ in 0..input.count(5)? {
        let id = NamespaceId(input.u32()?);
        let is_new = ledger.namespaces.last_key_value().is_none_or(|(last, _)| *last < id);
        if !is_new || id.0 >= ledger.next_namespace {
            return Err(input.bad("the number of a namespace"));
        }
        ledger.add_namespace(id, take_name(&mut input)?);
    }
    let mut last = None;
    for _ in 0..input.count(22)? {
        let queue = take_queue(&mut input, version, pages)?;
        let id = queue.id;
        let is_known = ledger.namespaces.contains_key(&queue.namespace);
        if last >= Some(id) || id.0 >= ledger.next_queue || !is_known {
            return Err(input.bad("the number of a queue or its namespace"));
        }
        last = Some(id);
        ledger.queues.insert(id, queue);
    }
    for _ in 0..input.count(14)? {
        take_exchange(&mut input, &mut ledger, version)?;
    }
    let is_there = |target| match target {
        Target::Queue(id) => ledger.queues.contains_key(&id),
        Target::Exchange(id) => ledger.exchanges.contains_key(&id),
    };
    let each = |(_, table): (_, &Table<Target>)| table.iter().all(|(_, to)| is_there(to));
    if !ledger.bindings.iter().all(each) {
        return Err(input.bad("a binding"));
    }
    take_names(&mut input, &mut ledger)?;
    if version > 1 {
        take_workers(&mut input, &mut ledger)?;
    }
    if input.left() > 0 {
        return Err(input.bad("it goes on behind its end"));
    }
    Ok(ledger)
}

fn take_name(input: &mut Input<'_>) -> Result<Name, Bad> {
    let len = usize::from(input.u8()?);
    let bytes = input.take(len)?;
    Name::new(bytes).map_err(|_| input.bad("something that is no name"))
}

/// What was begun and is not done.
fn take_workers(input: &mut Input<'_>, ledger: &mut Ledger) -> Result<(), Bad> {
    ledger.next_worker = input.u32()?;
    for _ in 0..input.count(17)? {
        let id = WorkerId(input.u32()?);
        let kind = WorkerKind::from_number(input.u8()?).ok_or(input.bad("the kind of a worker"))?;
        let (queue, below) = (QueueId(input.u32()?), input.u64()?);
        let is_new = ledger.workers.last_key_value().is_none_or(|(last, _)| *last < id);
        if !is_new || id.0 >= ledger.next_worker || !ledger.queues.contains_key(&queue) {
            return Err(input.bad("a worker"));
        }
        ledger.workers.insert(id, Task { kind, queue, below });
    }
    Ok(())
}

/// Which exchange and queue each name of a namespace means.
fn take_names(input: &mut Input<'_>, ledger: &mut Ledger) -> Result<(), Bad> {
    for (space_id, space) in &mut ledger.namespaces {
        for _ in 0..input.count(4)? {
            let id = ExchangeId(input.u32()?);
            let named = ledger.exchanges.get(&id).filter(|there| there.namespace == *space_id);
            let name = &named.ok_or(input.bad("an exchange that is not there"))?.name;
            space.exchanges.insert(name.clone(), id);
        }
        for _ in 0..input.count(4)? {
            let id = QueueId(input.u32()?);
            let named = ledger.queues.get(&id).filter(|there| there.namespace == *space_id);
            let name = &named.ok_or(input.bad("a queue that is not there"))?.name;
            space.queues.insert(name.clone(), id);
        }
    }
    Ok(())
}

fn take_exchange(input: &mut Input<'_>, ledger: &mut Ledger, version: u32) -> Result<(), Bad> {
    let (id, namespace) = (ExchangeId(input.u32()?), NamespaceId(input.u32()?));
    let is_new = ledger.exchanges.last_key_value().is_none_or(|(last, _)| *last < id);
    let is_known = ledger.namespaces.contains_key(&namespace);
    if !is_new || id.0 >= ledger.next_exchange || !is_known {
        return Err(input.bad("the number of an exchange or its namespace"));
    }
    let kind =
        ExchangeKind::from_number(input.u8()?).ok_or(input.bad("the kind of an exchange"))?;
    let name = take_name(input)?;
    let tags = if version > 1 { take_tags(input)? } else { Vec::new() };
    let spec =
        ExchangeSpec::from_tags(kind, tags).ok_or(input.bad("the options of an exchange"))?;
    ledger.add_exchange(Exchange { id, namespace, name, spec });
    for _ in 0..input.count(8)? {
        let to = if version > 1 { input.u8()? } else { TO_QUEUE };
        let target = match to {
            TO_QUEUE => Target::Queue(QueueId(input.u32()?)),
            TO_EXCHANGE => Target::Exchange(ExchangeId(input.u32()?)),
            _ => return Err(input.bad("a binding")),
        };
        let len = input.count(1)?;
        if !ledger.bind(id, input.take(len)?, target) {
            return Err(input.bad("a binding"));
        }
    }
    Ok(())
}

fn take_tags(input: &mut Input<'_>) -> Result<Vec<(u8, u64)>, Bad> {
    (0..input.count(9)?).map(|_| Ok((input.u8()?, input.u64()?))).collect()
}

fn take_options(input: &mut Input<'_>, version: u32) -> Result<QueueOptions, Bad> {
    if version == 1 {
        let durable = input.u8()? == 1;
        let options = QueueOptions { visibility_ms: input.u64()?, ..QueueOptions::default() };
        return if durable { Ok(options) } else { Err(input.bad("the policies of a queue")) };
    }
    let tags = take_tags(input)?;
    QueueOptions::from_tags(tags).ok_or(input.bad("the policies of a queue"))
}

fn take_queue(
    input: &mut Input<'_>,
    version: u32,
    pages: &mut Vec<u64>,
) -> Result<LedgerQueue, Bad> {
    let (id, namespace) = (QueueId(input.u32()?), NamespaceId(input.u32()?));
    let options = take_options(input, version)?;
    let name = take_name(input)?;
    let mut attempts = BTreeMap::new();
    for _ in 0..input.count(10)? {
        attempts.insert(input.u64()?, input.u16()?);
    }
    let mut chunks = Chunks::default();
    let mut previous = None;
    let count = input.count(21)?;
    for nth in 0..count {
        let tag = input.u8()?;
        let base = input.u64()?;
        let has_deadlines = tag > WITH_DEADLINES;
        let chunk = match tag - if has_deadlines { WITH_DEADLINES } else { 0 } {
            INLINE => take_inline(input, nth + 1 == count, has_deadlines)?,
            tag @ (ALL_ALIVE | WITH_BITS) => take_paged(input, tag, has_deadlines)?,
            _ => return Err(input.bad("the kind of a chunk")),
        };
        let last = base.checked_add(u64::from(chunk.last_delta()));
        if previous >= Some(base) || last.is_none() {
            return Err(input.bad("the numbers of a chunk"));
        }
        previous = last;
        if chunk.page != 0 {
            pages.push(chunk.page);
        }
        chunks.adopt(base, Box::new(chunk));
    }
    Ok(LedgerQueue { id, namespace, name, options, chunks, attempts })
}

/// A chunk whose entries stand in the root. The last of a queue goes on growing.
fn take_inline(input: &mut Input<'_>, is_last: bool, has_deadlines: bool) -> Result<Chunk, Bad> {
    let count = input.count(if has_deadlines { 16 } else { 8 })?;
    if count == 0 || count >= CHUNK_ENTRIES {
        return Err(input.bad("the entries of a chunk"));
    }
    let mut chunk = Chunk::growing(if is_last { count } else { 0 });
    let mut kept = Vec::with_capacity(count);
    let mut deadlines = Vec::new();
    for index in 0..count {
        let (delta, size) = (input.u32()?, input.u32()?);
        let deadline_ms = if has_deadlines { input.u64()? } else { NEVER };
        if kept.last().map_or(delta > 0, |last: &Kept| last.delta >= delta) {
            return Err(input.bad("the entries of a chunk"));
        }
        kept.push(Kept { index: u16::try_from(index).unwrap_or(0), delta, size });
        chunk.push(delta, size, deadline_ms);
        if has_deadlines {
            deadlines.push(deadline_ms);
        }
    }
    if has_deadlines != chunk.has_deadlines() {
        return Err(input.bad("the deadlines of a chunk"));
    }
    if !is_last {
        chunk.close();
        chunk.entries = Entries::Sparse(kept.into(), deadlines.into());
    }
    Ok(chunk)
}

fn take_paged(input: &mut Input<'_>, tag: u8, has_deadlines: bool) -> Result<Chunk, Bad> {
    let mut chunk = Chunk::growing(0);
    chunk.page = input.u64()?;
    chunk.len = input.u32()?;
    chunk.page_len = chunk.len;
    chunk.last_delta = input.u32()?;
    chunk.alive = input.u32()?;
    chunk.bytes = input.u64()?;
    chunk.earliest = if has_deadlines { input.u64()? } else { NEVER };
    chunk.entries = Entries::Cold;
    let len = chunk.len as usize;
    let fits = (1..=CHUNK_ENTRIES).contains(&len) && chunk.last_delta >= chunk.len - 1;
    if chunk.has_deadlines() != has_deadlines {
        return Err(input.bad("the deadlines of a chunk"));
    }
    if chunk.page == 0 || !fits || chunk.bytes > u64::from(chunk.alive) * u64::from(u32::MAX) {
        return Err(input.bad("the sums of a chunk"));
    }
    for (nth, word) in chunk.bits[..len.div_ceil(64)].iter_mut().enumerate() {
        let ends = (len - nth * 64).min(64);
        let all = u64::MAX >> (64 - ends);
        *word = if tag == ALL_ALIVE { all } else { input.u64()? };
        if *word & !all != 0 {
            return Err(input.bad("a bit behind the last entry"));
        }
    }
    let alive: u32 = chunk.bits.iter().map(|word| word.count_ones()).sum();
    if alive != chunk.alive || alive == 0 {
        return Err(input.bad("the bits of a chunk"));
    }
    Ok(chunk)
}
