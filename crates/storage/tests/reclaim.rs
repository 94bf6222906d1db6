//! Space is given back and nothing that is needed goes with it: random appends over three lanes,
//! random deaths, random origins, crashes at any moment, against a naive model. `COURANT_SEED`
//! repeats one life, `COURANT_RUNS` multiplies their number.

#![expect(clippy::cast_possible_truncation, reason = "small numbers from dice")]

use std::collections::BTreeSet;
use std::ops::ControlFlow;
use std::sync::Arc;

use courant_storage::sim::{Dice, Fault, SimDisk};
use courant_storage::suite::Watch;
use courant_storage::suite::crash::seed_from_environment;
use courant_storage::{
    FrameMeta, KeepError, LaneId, Purpose, ReadError, Reclaimed, Seq, Store, Urgency, Wal,
    WalOptions,
};

const LANES: [u16; 3] = [0, 1, 0x8000];

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
struct Place {
    lane: u16,
    seq: u64,
}

fn body_of(place: Place, len: usize) -> Vec<u8> {
    let mut dice = Dice::new(place.seq ^ (u64::from(place.lane) << 40));
    (0..len).map(|_| dice.roll() as u8).collect()
}

struct Model {
    disk: SimDisk,
    dice: Dice,
    wal: Option<(Wal, Arc<Watch>)>,
    /// Everything that was confirmed, in order, with the length of its body.
    appended: Vec<(Place, usize)>,
    live: BTreeSet<Place>,
    /// By the number of the lane in `LANES`.
    origins: [u64; 3],
    next: [u64; 3],
    /// Lanes that had frames.
    used: BTreeSet<u16>,
    segment_bytes: u64,
    removed: u64,
    rewritten: u64,
    crashes: u64,
}

impl Model {
    fn new(seed: u64) -> Model {
        let mut dice = Dice::new(seed);
        let segment_bytes = [2_048, 8_192, 32_768][dice.below(3) as usize];
        Model {
            disk: SimDisk::new(),
            dice,
            wal: None,
            appended: Vec::new(),
            live: BTreeSet::new(),
            origins: [0; 3],
            next: [1, 1 << 33, 1],
            used: BTreeSet::new(),
            segment_bytes,
            removed: 0,
            rewritten: 0,
            crashes: 0,
        }
    }

    fn open(&mut self) {
        let options = WalOptions {
            segment_bytes: self.segment_bytes,
            fill_ahead_bytes: 0,
            write_delay_ms: 0,
            seal_delay_ms: 60_000,
            cache_bytes_max: 4_096,
            ..WalOptions::default()
        };
        let (wal, recovered) = Wal::open(self.disk.mount(), options).expect("it opens");
        for (lane, next) in LANES.iter().zip(self.next) {
            let last = recovered.lanes.iter().find(|(known, _)| known.0 == *lane);
            let next_found = last.map_or(1, |(_, seq)| seq.0 + 1);
            let is_used = self.used.contains(lane);
            assert!(if is_used { next_found == next } else { next_found <= next }, "lane {lane}");
        }
        let watch = Watch::new();
        wal.start(Arc::clone(&watch) as Arc<_>).expect("it starts");
        self.wal = Some((wal, watch));
    }

    fn wal(&self) -> &Wal {
        &self.wal.as_ref().expect("open").0
    }

    fn origin(&self, lane: u16) -> u64 {
        let at = LANES.iter().position(|known| *known == lane).expect("a lane");
        self.origins[at]
    }

    fn append(&mut self) {
        let mut frames = Vec::new();
        for _ in 0..=self.dice.below(6) {
            let at = self.dice.below(3) as usize;
            self.next[at] += if self.dice.chance(2) { 1 << 32 } else { self.dice.below(3) };
            let place = Place { lane: LANES[at], seq: self.next[at] };
            self.next[at] += 1;
            self.used.insert(place.lane);
            let len =
                if self.dice.chance(4) { self.dice.below(9_000) } else { self.dice.below(300) };
            frames.push((place, len as usize));
        }
        let (wal, watch) = self.wal.as_ref().expect("open");
        let ticket = wal.append(Urgency::Now, Purpose::Upkeep, &mut |open| {
            for &(place, len) in &frames {
                let meta = FrameMeta {
                    kind: 0x10,
                    version: 1,
                    critical: true,
                    lane: LaneId(place.lane),
                    seq: Seq(place.seq),
                    term: 5,
                };
                open.push(meta, &[&place.seq.to_le_bytes()], &[&body_of(place, len)]);
            }
        });
        watch.wait_committed(ticket.expect("it is taken")).expect("it is committed");
        self.live.extend(frames.iter().map(|(place, _)| *place));
        self.appended.extend(frames);
    }

    fn kill_some(&mut self) {
        let percent = [3, 30, 90, 100][self.dice.below(4) as usize];
        let (dice, origins) = (&mut self.dice, self.origins);
        self.live.retain(|place| {
            let at = LANES.iter().position(|known| *known == place.lane).expect("a lane");
            place.seq >= origins[at] || !dice.chance(percent)
        });
    }

    /// New origins; they hold for the model only if they hold on disk.
    fn raise(&mut self) -> Result<(), KeepError> {
        let mut origins = self.origins;
        let mut raised = Vec::new();
        for (at, lane) in LANES.iter().enumerate() {
            if self.dice.chance(70) {
                let span = self.next[at].saturating_sub(origins[at]);
                let step = if self.dice.chance(50) { span } else { self.dice.below(span + 1) };
                origins[at] += step;
                raised.push((LaneId(*lane), Seq(origins[at])));
            }
        }
        let done = self.wal().raise_origins(&raised);
        if done.is_ok() {
            self.origins = origins;
        }
        done
    }

    fn reclaim(&mut self) -> Result<Reclaimed, KeepError> {
        let mut living: Vec<(Place, usize)> =
            self.appended.iter().filter(|(place, _)| self.live.contains(place)).copied().collect();
        let again = living.first().copied();
        living.extend(again);
        if self.dice.chance(50) {
            living.reverse();
        }
        let done = self.wal().reclaim(&mut |see| {
            for (place, len) in &living {
                see(LaneId(place.lane), Seq(place.seq), *len as u32);
            }
            true
        });
        if let Ok(reclaimed) = &done {
            self.removed += reclaimed.removed_segments;
            self.rewritten += reclaimed.rewritten_segments;
        }
        done
    }

    /// Compares what is found with the model.
    fn compare(&mut self) {
        let mut found = Vec::new();
        self.wal()
            .scan(&mut |frame| {
                found.push(Place { lane: frame.lane.0, seq: frame.seq.0 });
                assert_eq!(frame.head, frame.seq.0.to_le_bytes());
                assert_eq!(
                    (frame.kind, frame.version, frame.critical, frame.term),
                    (16, 1, true, 5)
                );
                ControlFlow::Continue(())
            })
            .expect("it is scanned");
        let opened = self.appended.iter().map(|(place, _)| *place);
        let shown: Vec<Place> =
            opened.filter(|place| place.seq >= self.origin(place.lane)).collect();
        // What was appended since the opening is not shown by a scan.
        assert!(shown.starts_with(&found), "{found:?} of {shown:?}");
        for &(place, len) in &self.appended {
            let mut read = Vec::new();
            let outcome = self.wal().read(LaneId(place.lane), Seq(place.seq), &mut read);
            match outcome {
                Ok(()) => assert_eq!(read, body_of(place, len), "{place:?}"),
                Err(ReadError::NotFound) => {
                    let is_needed =
                        self.live.contains(&place) || place.seq >= self.origin(place.lane);
                    assert!(!is_needed, "{place:?} is needed and gone");
                }
                Err(error) => panic!("{place:?}: {error}"),
            }
        }
        // What is gone for ever is not asked for again.
        let (live, origins) = (&self.live, self.origins);
        self.appended.retain(|(place, _)| {
            let at = LANES.iter().position(|known| *known == place.lane).expect("a lane");
            live.contains(place) || place.seq >= origins[at] || place.seq % 64 == 0
        });
    }

    fn end(&mut self) {
        let (wal, _) = self.wal.take().expect("open");
        match self.dice.below(3) {
            0 => wal.close().expect("it closes"),
            1 => self.disk.kill(),
            _ => self.disk.crash(self.dice.roll()),
        }
        drop(wal);
    }

    /// Something fails somewhere in the upkeep, power mostly. The origins are those before or those
    /// after.
    fn upkeep_with_fault(&mut self) {
        let before = self.origins;
        let mut fault = Fault::PowerLoss;
        if self.dice.chance(50) {
            let faults = [&Fault::ALL[..], &[Fault::FailedRead]].concat();
            fault = faults[self.dice.below(faults.len() as u64) as usize];
        }
        self.disk.fail_at(self.dice.below(40) + 1, fault);
        let raised = self.raise();
        let _ = self.reclaim();
        let _ = self.reclaim();
        self.crashes += 1;
        if fault == Fault::PowerLoss || self.dice.chance(50) {
            self.disk.crash(self.dice.roll());
        } else {
            self.disk.kill();
        }
        drop(self.wal.take());
        self.open();
        if raised.is_err() {
            for (at, lane) in LANES.iter().enumerate() {
                let held = self.wal().origins().into_iter().find(|(known, _)| known.0 == *lane);
                let held = held.map_or(0, |(_, origin)| origin.0);
                assert!(held >= before[at], "an origin fell");
                self.origins[at] = held;
            }
        }
    }

    fn round(&mut self) {
        for _ in 0..self.dice.below(30) {
            self.append();
        }
        match self.dice.below(4) {
            0 => self.upkeep_with_fault(),
            1 => {
                self.end();
                self.open();
            }
            _ => {
                self.raise().expect("origins rise");
                self.kill_some();
                self.settle();
            }
        }
        self.kill_some();
        self.compare();
    }

    /// Reclaims until there is nothing more to be done, and looks at the bound.
    fn settle(&mut self) {
        let mut calls = 0;
        loop {
            let reclaimed = self.reclaim().expect("it reclaims");
            let changed = reclaimed.removed_segments + reclaimed.rewritten_segments;
            if changed == 0 && !reclaimed.more {
                // A header, a seal and half a sector for nothing in each file, twice.
                let files = self.disk.files().len() as u64;
                let bound = 2 * reclaimed.live_bytes + files * 3 * 1_024;
                let used = reclaimed.used_bytes;
                assert!(used <= bound, "{used} bytes used, {} live", reclaimed.live_bytes);
                return;
            }
            calls += 1;
            assert!(calls < 200, "it never ends: {reclaimed:?}");
        }
    }
}

#[test]
fn what_is_needed_stays_whatever_goes() {
    let runs = std::env::var("COURANT_RUNS").ok().and_then(|runs| runs.parse().ok()).unwrap_or(1);
    let seeds = seed_from_environment().map_or(0..150 * runs, |seed| seed..seed + 1);
    let (mut removed, mut rewritten, mut crashes) = (0, 0, 0);
    for seed in seeds {
        println!("COURANT_SEED={seed}");
        let mut model = Model::new(seed);
        model.open();
        for _ in 0..12 {
            model.round();
        }
        model.end();
        removed += model.removed;
        rewritten += model.rewritten;
        crashes += model.crashes;
    }
    println!("{removed} segments removed, {rewritten} rewritten, {crashes} faults in upkeep");
    if seed_from_environment().is_none() {
        assert!(removed > 1_000 && rewritten > 300 && crashes > 100);
    }
}

/// A log with six frames in each of its segments, and one of them that is needed.
fn sparse(disk: &SimDisk) -> (Wal, Vec<u64>) {
    let options = WalOptions {
        segment_bytes: 4_096,
        fill_ahead_bytes: 0,
        cache_bytes_max: 0,
        ..WalOptions::default()
    };
    let (wal, _) = Wal::open(disk.mount(), options).expect("it opens");
    let watch = Watch::new();
    wal.start(Arc::clone(&watch) as Arc<_>).expect("it starts");
    for seq in 1..=60 {
        let place = Place { lane: 0, seq };
        let (kind, version, critical, lane, term) = (0x10, 1, true, LaneId(0), 5);
        let meta = FrameMeta { kind, version, critical, lane, seq: Seq(seq), term };
        let ticket = wal.append(Urgency::Now, Purpose::Upkeep, &mut |open| {
            open.push(meta, &[], &[&body_of(place, 300)]);
        });
        watch.wait_committed(ticket.expect("it is taken")).expect("it is committed");
    }
    wal.raise_origins(&[(LaneId(0), Seq(61))]).expect("it rises");
    (wal, (1..=60).step_by(6).collect())
}

fn reclaim_all_but(wal: &Wal, live: &[u64]) -> Result<Reclaimed, KeepError> {
    wal.reclaim(&mut |see| {
        for seq in live {
            see(LaneId(0), Seq(*seq), 300);
        }
        true
    })
}

#[test]
fn a_list_that_half_found_room_lists_nothing_that_goes() {
    let mut doubts = 0;
    for first in 1.. {
        let disk = SimDisk::new();
        let (wal, live) = sparse(&disk);
        disk.fail_at(first, Fault::NoSpace);
        let outcome = reclaim_all_but(&wal, &live);
        if disk.fails_later() {
            break;
        }
        drop(wal);
        if !matches!(outcome, Err(KeepError::DiskFull { .. })) {
            continue;
        }
        doubts += 1;
        for second in 1..40 {
            let disk = SimDisk::new();
            let (wal, live) = sparse(&disk);
            disk.fail_at(first, Fault::NoSpace);
            let _ = reclaim_all_but(&wal, &live);
            disk.fail_at(second, Fault::PowerLoss);
            let _ = reclaim_all_but(&wal, &live);
            disk.crash(first * 100 + second);
            drop(wal);
            let opened = Wal::open(disk.mount(), WalOptions::default());
            let (wal, _) = opened.unwrap_or_else(|error| panic!("{first}, {second}: {error}"));
            for seq in live {
                let mut body = Vec::new();
                let read = wal.read(LaneId(0), Seq(seq), &mut body);
                assert!(read.is_ok(), "{first}, {second}: {seq} {read:?}");
                assert_eq!(body, body_of(Place { lane: 0, seq }, 300));
            }
        }
    }
    assert!(doubts > 3, "{doubts}");
}

#[test]
fn a_segment_that_cannot_be_read_keeps_no_other_from_being_written_again() {
    let disk = SimDisk::new();
    let (wal, live) = sparse(&disk);
    let segments: Vec<String> = disk.files().into_iter().map(|(name, _)| name).collect();
    let segments = segments.iter().filter(|name| name.ends_with(".segment"));
    let bad = segments.clone().next().expect("a segment");
    disk.fail_reads(bad, 1_024..1_536);
    // All of the second is needed, so the first has no neighbour that is written again with it.
    let live: Vec<u64> = live.into_iter().chain(8..=12).collect();
    let mut rewritten = 0;
    for _ in 0..10 {
        rewritten += reclaim_all_but(&wal, &live).map_or(0, |done| done.rewritten_segments);
    }
    assert!(rewritten > 0, "nothing was written again");
    for seq in live.into_iter().filter(|seq| *seq > 6) {
        wal.read(LaneId(0), Seq(seq), &mut Vec::new()).expect("it is there");
    }
}
