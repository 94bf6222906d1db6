//! Folders with origins: what an opening passes over, and what damage does to what was given back.

#![allow(clippy::unwrap_used, clippy::cast_possible_truncation, reason = "tests panic")]

use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use courant_storage::sim::{Fault, SimDisk};
use courant_storage::suite::Watch;
use courant_storage::{
    AppendError, Disk, FrameMeta, KeepError, LaneId, Purpose, ReadError, RealDisk, Reclaimed, Seq,
    Store, Urgency, Wal, WalOptions,
};

const LANE: LaneId = LaneId(3);

/// A frame takes two sectors, header and seal of a segment another two.
fn options(per_segment: u64) -> WalOptions {
    WalOptions {
        segment_bytes: (per_segment + 1) * 1_024,
        fill_ahead_bytes: 0,
        seal_delay_ms: 60_000,
        cache_bytes_max: 0,
        ..WalOptions::default()
    }
}

fn body_of(seq: u64) -> Vec<u8> {
    seq.to_le_bytes().repeat(100)
}

fn append(wal: &Wal, watch: &Watch, seqs: std::ops::RangeInclusive<u64>) {
    for seq in seqs {
        let meta = FrameMeta {
            kind: 0x10,
            version: 0,
            critical: true,
            lane: LANE,
            seq: Seq(seq),
            term: 1,
        };
        let ticket = wal.append(Urgency::Now, Purpose::Upkeep, &mut |open| {
            open.push(meta, &[b"head"], &[&body_of(seq)]);
        });
        watch.wait_committed(ticket.unwrap()).unwrap();
    }
}

fn started(disk: Arc<dyn Disk>, per_segment: u64) -> (Wal, Arc<Watch>) {
    let (wal, _) = Wal::open(disk, options(per_segment)).unwrap();
    let watch = Watch::new();
    wal.start(Arc::clone(&watch) as Arc<_>).unwrap();
    (wal, watch)
}

/// Full segments below the origin, and one with a single frame at it.
fn filled(disk: &SimDisk, segments: u64, per_segment: u64) -> Wal {
    let (wal, watch) = started(disk.mount(), per_segment);
    let last = segments * per_segment + 1;
    append(&wal, &watch, 1..=last);
    wal.raise_origins(&[(LANE, Seq(last))]).unwrap();
    wal
}

fn reclaim(wal: &Wal, live: &[u64]) -> Result<Reclaimed, KeepError> {
    wal.reclaim(&mut |see| {
        for &seq in live {
            see(LANE, Seq(seq), 800);
        }
        true
    })
}

fn read(wal: &Wal, seq: u64) -> Result<Vec<u8>, ReadError> {
    let mut body = Vec::new();
    wal.read(LANE, Seq(seq), &mut body).map(|()| body)
}

fn names(disk: &SimDisk, suffix: &str) -> Vec<String> {
    let names = disk.files().into_iter().map(|(name, _)| name);
    names.filter(|name| name.ends_with(suffix)).collect()
}

#[test]
fn two_thousand_segments_open_without_being_walked() {
    let disk = SimDisk::new();
    filled(&disk, 2_000, 3).close().unwrap();
    let reads = disk.reads();
    let (wal, recovered) = Wal::open(disk.mount(), options(3)).unwrap();
    assert_eq!((recovered.walked_segments, recovered.passed_segments), (1, 2_000));
    assert_eq!((recovered.frames, recovered.lanes), (6_001, vec![(LANE, Seq(6_001))]));
    // A header and an index for each.
    assert!(disk.reads() - reads < 3 * 2_001, "{} reads", disk.reads() - reads);
    let mut shown = Vec::new();
    let visit = &mut |frame: courant_storage::Frame<'_>| {
        shown.push(frame.seq.0);
        ControlFlow::Continue(())
    };
    wal.scan(visit).unwrap();
    assert_eq!(shown, [6_001]);
    for seq in [1, 2_999, 6_000, 6_001] {
        assert_eq!(read(&wal, seq).unwrap(), body_of(seq));
    }
}

#[test]
fn an_index_that_is_damaged_or_lost_costs_a_walk_and_is_written_again() {
    let disk = SimDisk::new();
    filled(&disk, 6, 3).close().unwrap();
    let indexes = names(&disk, ".index");
    assert_eq!(indexes.len(), 6);
    disk.damage(&indexes[2], |bytes| bytes[70] ^= 1);
    disk.lose(&indexes[4]);
    let (wal, recovered) = Wal::open(disk.mount(), options(3)).unwrap();
    assert_eq!((recovered.walked_segments, recovered.passed_segments), (5, 2));
    assert!((1..=19).all(|seq| read(&wal, seq).unwrap() == body_of(seq)));
    drop(wal);
    let (_, recovered) = Wal::open(disk.mount(), options(3)).unwrap();
    assert_eq!((recovered.walked_segments, recovered.passed_segments), (1, 6));
}

#[test]
fn a_rotten_body_moves_and_stays_rotten() {
    let disk = SimDisk::new();
    let wal = filled(&disk, 8, 10);
    // The second frame of the first segment: behind the header and a batch of two sectors.
    disk.damage(&names(&disk, ".segment")[0], |bytes| bytes[512 + 1_024 + 64 + 60] ^= 1);
    let live = [2, 19, 34, 75];
    let reclaimed = reclaim(&wal, &live).unwrap();
    assert!(reclaimed.rewritten_segments >= 4, "{reclaimed:?}");
    assert!(matches!(read(&wal, 2), Err(ReadError::Rotten { .. })));
    for seq in [19, 34, 75, 81] {
        assert_eq!(read(&wal, seq).unwrap(), body_of(seq));
    }
    for seq in [1, 3, 20, 80] {
        assert!(matches!(read(&wal, seq), Err(ReadError::NotFound)), "{seq}");
    }
    wal.close().unwrap();
    let (wal, recovered) = Wal::open(disk.mount(), options(3)).unwrap();
    assert_eq!(recovered.lanes, [(LANE, Seq(81))]);
    assert!(matches!(read(&wal, 2), Err(ReadError::Rotten { .. })));
    assert_eq!(read(&wal, 34).unwrap(), body_of(34));
}

#[test]
fn a_segment_with_a_rotten_head_is_left_alone_until_nothing_in_it_lives() {
    let disk = SimDisk::new();
    let wal = filled(&disk, 8, 10);
    let rotten = names(&disk, ".segment")[3].clone();
    disk.damage(&rotten, |bytes| bytes[512 + 64 + 9] ^= 1);
    let live: Vec<u64> = (0..8).map(|segment| segment * 10 + 2).collect();
    let refused = reclaim(&wal, &live);
    assert!(matches!(&refused, Err(KeepError::Rotten { file, .. }) if *file == rotten));
    let before = disk.bytes(&rotten);
    // Known now, it does not hold up the others.
    assert!(reclaim(&wal, &live).unwrap().rewritten_segments > 0);
    assert!(disk.bytes(&rotten) == before);
    assert!(live.iter().all(|&seq| read(&wal, seq).unwrap() == body_of(seq)));
    let without: Vec<u64> = live.iter().copied().filter(|&seq| seq != 32).collect();
    reclaim(&wal, &without).unwrap();
    assert!(!names(&disk, ".segment").contains(&rotten));
}

#[test]
fn the_files_of_full_segments_are_not_all_held_open() {
    let folder = tempfile::tempdir().unwrap();
    let disk = || Arc::new(RealDisk::new(folder.path()).unwrap());
    let (wal, watch) = started(disk(), 3);
    append(&wal, &watch, 1..=300);
    wal.raise_origins(&[(LANE, Seq(300))]).unwrap();
    let open = || {
        let entries = std::fs::read_dir("/proc/self/fd").unwrap();
        let targets = entries.filter_map(|entry| std::fs::read_link(entry.unwrap().path()).ok());
        targets.filter(|target| target.starts_with(folder.path())).count()
    };
    let mut most = open();
    for seq in 1..=300 {
        assert_eq!(read(&wal, seq).unwrap(), body_of(seq));
        most = most.max(open());
    }
    assert!(most < 140, "{most} files of 100 segments are open");
    wal.close().unwrap();
    drop(wal);
    let (wal, recovered) = Wal::open(disk(), options(3)).unwrap();
    assert!(recovered.passed_segments > 95 && open() < 20, "{} open", open());
    assert_eq!(read(&wal, 150).unwrap(), body_of(150));
}

#[test]
fn what_lives_is_found_at_every_moment() {
    let disk = SimDisk::new();
    let (wal, watch) = started(disk.mount(), 10);
    append(&wal, &watch, 1..=900);
    wal.raise_origins(&[(LANE, Seq(900))]).unwrap();
    let is_done = AtomicBool::new(false);
    let mut rewritten = 0;
    thread::scope(|scope| {
        for start in 0..3 {
            let (wal, is_done) = (&wal, &is_done);
            scope.spawn(move || {
                let mut seq = start;
                while !is_done.load(Ordering::Relaxed) {
                    seq = (seq + 60) % 900;
                    assert_eq!(
                        read(wal, seq - seq % 60 + 60).unwrap(),
                        body_of(seq - seq % 60 + 60)
                    );
                }
            });
        }
        // Fewer and fewer live; those that are read live to the end.
        for step in [2, 4, 12, 60] {
            append(&wal, &watch, 900 + step..=900 + step);
            let live: Vec<u64> = (1..900).filter(|seq| seq % step == 0).collect();
            while rewritten_by(&wal, &live, &mut rewritten) {}
        }
        is_done.store(true, Ordering::Relaxed);
    });
    assert!(rewritten > 50, "{rewritten} segments were rewritten");
}

fn rewritten_by(wal: &Wal, live: &[u64], rewritten: &mut u64) -> bool {
    let reclaimed = reclaim(wal, live).unwrap();
    *rewritten += reclaimed.rewritten_segments;
    reclaimed.more || reclaimed.rewritten_segments > 0
}

#[test]
fn a_closed_store_keeps_its_hands_off_the_folder() {
    let disk = SimDisk::new();
    let wal = filled(&disk, 3, 3);
    wal.close().unwrap();
    assert_eq!(wal.raise_origins(&[(LANE, Seq(2))]), Err(KeepError::Closed));
    assert_eq!(reclaim(&wal, &[]), Err(KeepError::Closed));
}

#[test]
fn a_failed_sync_of_the_list_ends_the_log_at_once() {
    let disk = SimDisk::new();
    let (wal, watch) = started(disk.mount(), 4);
    append(&wal, &watch, 1..=9);
    disk.fail_at(1, Fault::FailedSync);
    let failed = wal.raise_origins(&[(LANE, Seq(9))]);
    assert!(matches!(failed, Err(KeepError::Poisoned(_))), "{failed:?}");
    let refused = wal.append(Urgency::Now, Purpose::Upkeep, &mut |_| {});
    assert!(matches!(refused, Err(AppendError::Poisoned(_))), "{refused:?}");
    watch.wait_poison().unwrap();
    assert!(wal.close().is_err());
}
