//! The cases that hold for every store.

use std::ops::ControlFlow;
use std::sync::Arc;

use crate::batch::OpenBatch;
use crate::error::{AppendError, ReadError, StartError};
use crate::frame::{Frame, FrameMeta, LaneId, Seq};
use crate::kind;
use crate::sim::Dice;
use crate::store::{Purpose, Store, Ticket, Urgency};
use crate::suite::{Harness, Watch, ensure};

type Case = fn(&mut dyn Harness) -> Result<(), String>;

/// Every case with its name.
pub(super) const CASES: &[(&str, Case)] = &[
    ("commits come in append order, each frame once", commit_order),
    ("threads append to lanes of their own", many_threads),
    ("a lazy append is committed by itself, and by an urgent empty one", lazy),
    ("a committed body is found in memory and in the store", bodies),
    ("a scan shows all that was committed, in order, without bodies", scan),
    ("a store goes on after it was opened again", reopen),
    ("frames of every size", sizes),
    ("a full store refuses, and says when there is room", full),
    ("closing commits everything and refuses what comes after", close),
    ("a store that was not started refuses", not_started),
    ("what is shaped and not built says so", unsupported),
    ("what is below an origin is not shown, and what lives there stays", origins),
    ("random appends and openings agree with a model", random),
];

pub(super) fn meta(lane: u16, seq: u64) -> FrameMeta {
    FrameMeta {
        kind: kind::CALLERS_FIRST + 1,
        version: 1,
        critical: true,
        lane: LaneId(lane),
        seq: Seq(seq),
        term: 3,
    }
}

/// More than a frame of the suite takes beside its body.
const FRAME_ROOM_BYTES: usize = 64;

/// A body that nobody else has.
pub(super) fn body_of(lane: u16, seq: u64, len: usize) -> Vec<u8> {
    let mut dice = Dice::new(seq ^ (u64::from(lane) << 48));
    let mut body = Vec::with_capacity(len + 8);
    while body.len() < len {
        body.extend(dice.roll().to_le_bytes());
    }
    body.truncate(len);
    body
}

pub(super) fn head_of(lane: u16, seq: u64) -> [u8; 10] {
    let mut head = [0; 10];
    let (first, rest) = head.split_at_mut(2);
    first.copy_from_slice(&lane.to_le_bytes());
    rest.copy_from_slice(&seq.to_le_bytes());
    head
}

pub(super) fn append(
    store: &dyn Store,
    urgency: Urgency,
    frames: &[(u16, u64, usize)],
) -> Result<Ticket, AppendError> {
    let bytes = frames.iter().map(|&(_, _, len)| len + FRAME_ROOM_BYTES).sum();
    append_for(store, urgency, Purpose::Messages { bytes }, frames)
}

pub(super) fn append_for(
    store: &dyn Store,
    urgency: Urgency,
    purpose: Purpose,
    frames: &[(u16, u64, usize)],
) -> Result<Ticket, AppendError> {
    store.append(urgency, purpose, &mut |open| {
        for &(lane, seq, len) in frames {
            let head = head_of(lane, seq);
            let (first, rest) = head.split_at(3);
            let body = body_of(lane, seq, len);
            open.push(meta(lane, seq), &[first, rest], &[&body]);
        }
    })
}

fn started(harness: &mut dyn Harness) -> Result<(Arc<dyn Store>, Arc<Watch>), String> {
    let store = harness.open()?;
    let watch = Watch::new();
    store.start(Arc::clone(&watch) as Arc<_>).map_err(|error| error.to_string())?;
    Ok((store, watch))
}

fn appended(
    store: &dyn Store,
    urgency: Urgency,
    frames: &[(u16, u64, usize)],
) -> Result<Ticket, String> {
    append(store, urgency, frames).map_err(|error| error.to_string())
}

fn closed(store: &dyn Store) -> Result<(), String> {
    store.close().map_err(|error| error.to_string())
}

/// Lane, seq and length of the body of every frame that a scan shows; checks the rest.
pub(super) fn scanned(store: &dyn Store) -> Result<Vec<(u16, u64, usize)>, String> {
    let mut frames = Vec::new();
    let mut breach = None;
    let mut visit = |frame: Frame<'_>| {
        let (lane, seq) = (frame.lane.0, frame.seq.0);
        let expected = meta(lane, seq);
        let same = (frame.kind, frame.version, frame.critical, frame.term)
            == (expected.kind, expected.version, expected.critical, expected.term);
        if !same || frame.head != head_of(lane, seq) || !frame.body.is_empty() {
            breach = Some(format!("a scan shows {frame:?}"));
        }
        frames.push((lane, seq, frame.body_len as usize));
        ControlFlow::Continue(())
    };
    store.scan(&mut visit).map_err(|error| error.to_string())?;
    breach.map_or(Ok(frames), Err)
}

pub(super) fn reads(store: &dyn Store, lane: u16, seq: u64, len: usize) -> Result<(), String> {
    let mut body = b"before".to_vec();
    let read = store.read(LaneId(lane), Seq(seq), &mut body);
    read.map_err(|error| format!("reading {lane}/{seq}: {error}"))?;
    ensure!(body.starts_with(b"before"), "a read does not append");
    let same = body.get(6..) == Some(&body_of(lane, seq, len));
    ensure!(same, "{lane}/{seq} reads as another body");
    Ok(())
}

fn commit_order(harness: &mut dyn Harness) -> Result<(), String> {
    let (store, watch) = started(harness)?;
    let mut expected = Vec::new();
    let mut last = Ticket(0);
    for round in 1..200_u64 {
        let frames: Vec<_> =
            (0..round % 5).map(|i| ((i % 3) as u16, round * 10 + i, i as usize * 40)).collect();
        let ticket = appended(&*store, Urgency::Now, &frames)?;
        ensure!(ticket.0 == last.0 + frames.len() as u64, "{ticket:?} after {last:?}");
        expected.extend(frames.iter().map(|&(lane, seq, _)| (LaneId(lane), Seq(seq))));
        last = ticket;
    }
    watch.wait_committed(last)?;
    ensure!(watch.frames() == expected, "frames were told in another order");
    ensure!(store.committed() == last, "{:?} is not {last:?}", store.committed());
    closed(&*store)?;
    ensure!(store.in_flight_bytes() == 0, "{} bytes in flight", store.in_flight_bytes());
    watch.breach()
}

fn many_threads(harness: &mut dyn Harness) -> Result<(), String> {
    const EACH: u64 = 300;
    let (store, watch) = started(harness)?;
    let store = &*store;
    let outcomes: Vec<Result<Ticket, String>> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..4_u16)
            .map(|lane| {
                scope.spawn(move || {
                    let mut last = Ticket(0);
                    for seq in 1..=EACH {
                        last = appended(store, Urgency::Now, &[(lane, seq, 30)])?;
                    }
                    Ok(last)
                })
            })
            .collect();
        let joined = threads.into_iter().map(std::thread::ScopedJoinHandle::join);
        joined.map(|outcome| outcome.unwrap_or(Err("a panic".to_owned()))).collect()
    });
    for outcome in outcomes {
        watch.wait_committed(outcome?)?;
    }
    for lane in 0..4 {
        let seqs = watch.frames().into_iter().filter(|&(of, _)| of == LaneId(lane));
        ensure!(seqs.map(|(_, seq)| seq.0).eq(1..=EACH), "lane {lane} is out of order");
        reads(store, lane, EACH / 2, 30)?;
    }
    closed(store)?;
    watch.breach()
}

fn lazy(harness: &mut dyn Harness) -> Result<(), String> {
    let (store, watch) = started(harness)?;
    let ticket = appended(&*store, Urgency::Soon, &[(0, 1, 10)])?;
    watch.wait_committed(ticket)?;
    appended(&*store, Urgency::Soon, &[(0, 2, 10)])?;
    let ticket = appended(&*store, Urgency::Now, &[])?;
    ensure!(ticket == Ticket(2), "an empty append gives {ticket:?}");
    watch.wait_committed(ticket)?;
    closed(&*store)?;
    watch.breach()
}

fn bodies(harness: &mut dyn Harness) -> Result<(), String> {
    let (store, watch) = started(harness)?;
    ensure!(store.cached(LaneId(0), Seq(5)).is_none(), "found before it was appended");
    let ticket = appended(&*store, Urgency::Now, &[(0, 5, 100), (1, 5, 7), (0, 9, 0)])?;
    watch.wait_committed(ticket)?;
    for (lane, seq, len) in [(0, 5, 100), (1, 5, 7), (0, 9, 0)] {
        let found = store.cached(LaneId(lane), Seq(seq));
        let (batch, at) = found.ok_or_else(|| format!("{lane}/{seq} is not in memory"))?;
        ensure!(batch.body(at) == body_of(lane, seq, len), "{lane}/{seq}: another body in memory");
        ensure!(batch.frame(at).head == head_of(lane, seq), "{lane}/{seq}: another head");
        let (first, last) = batch.span(LaneId(lane)).ok_or("a batch without its own lane")?;
        ensure!(first <= Seq(seq) && Seq(seq) <= last, "{lane}/{seq} outside of its span");
        ensure!(batch.find(LaneId(lane), Seq(seq)) == Some(at), "found at another place");
        reads(&*store, lane, seq, len)?;
    }
    for (lane, seq) in [(0, 4), (0, 6), (0, 10), (1, 9), (2, 5)] {
        ensure!(store.cached(LaneId(lane), Seq(seq)).is_none(), "{lane}/{seq} is in memory");
        let read = store.read(LaneId(lane), Seq(seq), &mut Vec::new());
        ensure!(matches!(read, Err(ReadError::NotFound)), "{lane}/{seq} was read: {read:?}");
    }
    closed(&*store)
}

fn scan(harness: &mut dyn Harness) -> Result<(), String> {
    let (store, watch) = started(harness)?;
    let mut expected = Vec::new();
    for seq in 1..300_u64 {
        let frames = [((seq % 3) as u16, seq, (seq * 7 % 500) as usize)];
        expected.extend(frames);
        let ticket = appended(&*store, Urgency::Now, &frames)?;
        if seq % 10 == 0 {
            watch.wait_committed(ticket)?;
        }
    }
    closed(&*store)?;
    let store = harness.open()?;
    ensure!(scanned(&*store)? == expected, "a scan shows something else");
    let mut shown = 0;
    let outcome = store.scan(&mut |_| {
        shown += 1;
        if shown == 7 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
    ensure!(outcome.is_ok() && shown == 7, "a scan went on to {shown}: {outcome:?}");
    closed(&*store)
}

fn reopen(harness: &mut dyn Harness) -> Result<(), String> {
    let mut expected = Vec::new();
    for opening in 0..4_u64 {
        let store = harness.open()?;
        ensure!(scanned(&*store)? == expected, "opening {opening} shows something else");
        let watch = Watch::new();
        store.start(Arc::clone(&watch) as Arc<_>).map_err(|error| error.to_string())?;
        // Each opening has its own block of seqs.
        let block = opening << 32;
        for seq in block + 1..block + 50 {
            let frame = ((seq % 2) as u16, seq, 60);
            expected.push(frame);
            watch.wait_committed(appended(&*store, Urgency::Now, &[frame])?)?;
        }
        for &(lane, seq, len) in &expected {
            reads(&*store, lane, seq, len)?;
        }
        // Across openings, and of one lane only.
        let (first, last) = (7, block + 40);
        let mut heads = Vec::new();
        let mut see = |frame: Frame<'_>| heads.push((frame.seq.0, frame.body_len));
        let shown = store.heads(LaneId(1), (Seq(first), Seq(last)), &mut see);
        let in_range =
            |&&(lane, seq, _): &&(u16, u64, usize)| lane == 1 && seq >= first && seq <= last;
        let wanted: Vec<_> =
            expected.iter().filter(in_range).map(|&(_, seq, _)| (seq, 60)).collect();
        ensure!(shown.is_ok() && heads == wanted, "heads from {first} to {last}: {heads:?}");
        closed(&*store)?;
    }
    Ok(())
}

fn sizes(harness: &mut dyn Harness) -> Result<(), String> {
    let sizes = [0, 1, 7, 8, 9, 403, 404, 405, 512, 4_096, 100_000, 3_000_000, 5];
    let (store, watch) = started(harness)?;
    let frames: Vec<_> = (1..).zip(sizes).map(|(seq, len)| (0, seq, len)).collect();
    for frame in &frames {
        watch.wait_committed(appended(&*store, Urgency::Now, &[*frame])?)?;
    }
    let again: Vec<_> = (100..).zip(sizes).map(|(seq, len)| (1, seq, len)).collect();
    watch.wait_committed(appended(&*store, Urgency::Now, &again)?)?;
    closed(&*store)?;
    let store = harness.open()?;
    let all = [frames, again].concat();
    ensure!(scanned(&*store)? == all, "a scan shows other sizes");
    for (lane, seq, len) in all {
        reads(&*store, lane, seq, len)?;
    }
    closed(&*store)
}

fn full(harness: &mut dyn Harness) -> Result<(), String> {
    let limit = harness.in_flight_bytes_max();
    let (store, watch) = started(harness)?;
    watch.hold();
    let mut last = Ticket(0);
    let mut seq = 0;
    let refusal = loop {
        seq += 1;
        match append(&*store, Urgency::Now, &[(0, seq, 1_000)]) {
            Ok(ticket) => last = ticket,
            Err(refusal) => break refusal,
        }
        ensure!(seq < 2 * limit as u64, "never full");
    };
    let is_full = matches!(
        refusal,
        AppendError::Full { in_flight_bytes, limit_bytes }
            if limit_bytes == limit && in_flight_bytes >= limit
    );
    ensure!(is_full, "refused with {refusal}");
    ensure!(store.in_flight_bytes() >= limit, "full with {}", store.in_flight_bytes());
    watch.release();
    watch.wait_room()?;
    watch.wait_committed(last)?;
    watch.wait_committed(appended(&*store, Urgency::Now, &[(0, seq, 1_000)])?)?;
    closed(&*store)?;
    watch.breach()
}

fn close(harness: &mut dyn Harness) -> Result<(), String> {
    let (store, watch) = started(harness)?;
    let ticket = appended(&*store, Urgency::Soon, &[(0, 1, 10), (0, 2, 20)])?;
    closed(&*store)?;
    ensure!(watch.committed() == ticket, "closed with {:?}", watch.committed());
    let refused = append(&*store, Urgency::Now, &[(0, 3, 10)]);
    ensure!(refused == Err(AppendError::Closed), "after closing: {refused:?}");
    closed(&*store)?;
    let store = harness.open()?;
    ensure!(scanned(&*store)? == [(0, 1, 10), (0, 2, 20)], "closing lost something");
    closed(&*store)
}

fn not_started(harness: &mut dyn Harness) -> Result<(), String> {
    let store = harness.open()?;
    let refused = append(&*store, Urgency::Now, &[(0, 3, 10)]);
    ensure!(refused == Err(AppendError::NotStarted), "before the start: {refused:?}");
    store.start(Watch::new()).map_err(|error| error.to_string())?;
    let again = store.start(Watch::new());
    ensure!(matches!(again, Err(StartError::Started)), "started twice: {again:?}");
    closed(&*store)?;
    let again = store.start(Watch::new());
    ensure!(matches!(again, Err(StartError::Started)), "started after closing: {again:?}");
    Ok(())
}

fn unsupported(harness: &mut dyn Harness) -> Result<(), String> {
    let store = harness.open()?;
    let open = {
        let mut open = OpenBatch::new();
        open.push(meta(0, 1), &[], &[]);
        open.seal()
    };
    let frame = open.frames().next().map(|(_, frame)| frame).ok_or("no frame")?;
    let refusals =
        [store.truncate_suffix(LaneId(0), Seq(1)).is_err(), store.install(frame).is_err()];
    ensure!(refusals == [true; 2], "something is built: give it cases of its own: {refusals:?}");
    closed(&*store)
}

fn origins(harness: &mut dyn Harness) -> Result<(), String> {
    let (store, watch) = started(harness)?;
    let size = 3_000;
    for seq in 1..=40 {
        let frames = [(0, seq, size), (1, seq, 20)];
        watch.wait_committed(appended(&*store, Urgency::Now, &frames)?)?;
    }
    ensure!(store.origins().is_empty(), "origins from nowhere: {:?}", store.origins());
    let raise = |store: &dyn Store, origins: &[(u16, u64)]| {
        let origins: Vec<_> = origins.iter().map(|&(lane, at)| (LaneId(lane), Seq(at))).collect();
        store.raise_origins(&origins).map_err(|error| error.to_string())
    };
    raise(&*store, &[(1, 35)])?;
    raise(&*store, &[(0, 31), (1, 30)])?;
    let expected = [(LaneId(0), Seq(31)), (LaneId(1), Seq(35))];
    ensure!(store.origins() == expected, "an origin fell: {:?}", store.origins());
    let gave_up = store.reclaim(&mut |_| false).map_err(|error| error.to_string())?;
    ensure!(gave_up.freed_bytes == 0, "reclaimed though it gave up");
    for _ in 0..10 {
        let reclaimed = store.reclaim(&mut |see| {
            see(LaneId(0), Seq(7), 3_000);
            see(LaneId(0), Seq(7), 3_000);
            true
        });
        let _ = reclaimed.map_err(|error| error.to_string())?;
    }
    closed(&*store)?;
    let store = harness.open()?;
    ensure!(store.origins() == expected, "origins are lost: {:?}", store.origins());
    let mut shown: Vec<_> = (31..=40).map(|seq| (0, seq, size)).collect();
    shown.extend((35..=40).map(|seq| (1, seq, 20)));
    let mut found = scanned(&*store)?;
    found.sort_unstable();
    ensure!(found == shown, "a scan shows {found:?}");
    for (lane, seq, len) in shown.into_iter().chain([(0, 7, size)]) {
        reads(&*store, lane, seq, len)?;
    }
    // How much goes is the store's choice; what it does not find it must not make up.
    for seq in (1..=30).filter(|&seq| seq != 7) {
        match store.read(LaneId(0), Seq(seq), &mut Vec::new()) {
            Err(ReadError::NotFound) => {}
            _ => reads(&*store, 0, seq, size)?,
        }
    }
    closed(&*store)
}

fn random(harness: &mut dyn Harness) -> Result<(), String> {
    let seed = crate::suite::crash::seed_from_environment().unwrap_or(0x0c0a_47a9);
    let seeded = |what: String| format!("seed {seed}: {what}");
    let mut dice = Dice::new(seed);
    let mut model: Vec<(u16, u64, usize)> = Vec::new();
    let mut next = [1_u64; 4];
    for _ in 0..6 {
        let (store, watch) = started(harness).map_err(seeded)?;
        let mut last = Ticket(0);
        for _ in 0..dice.below(60) {
            let frames: Vec<_> = (0..dice.below(12))
                .map(|_| {
                    let lane = dice.below(4);
                    let step = if dice.chance(3) { dice.below(1 << 34) } else { dice.below(9) };
                    let len = if dice.chance(5) { dice.below(9_000) } else { dice.below(300) };
                    let seq = next.get_mut(lane as usize).map_or(0, |next| {
                        *next += step + 1;
                        *next
                    });
                    (lane as u16, seq, len as usize)
                })
                .collect();
            let urgency = if dice.chance(70) { Urgency::Now } else { Urgency::Soon };
            last = appended(&*store, urgency, &frames).map_err(seeded)?;
            model.extend(frames);
        }
        watch.wait_committed(last).map_err(seeded)?;
        closed(&*store).map_err(seeded)?;
        watch.breach().map_err(seeded)?;
        let store = harness.open().map_err(seeded)?;
        let same = scanned(&*store).map_err(seeded)? == model;
        ensure!(same, "seed {seed}: a scan shows something else");
        for &(lane, seq, len) in &model {
            reads(&*store, lane, seq, len).map_err(seeded)?;
        }
        closed(&*store).map_err(seeded)?;
    }
    Ok(())
}
