//! What an opening says about the folder it finds.

#![allow(clippy::unwrap_used, clippy::cast_possible_truncation, reason = "tests panic")]

use std::sync::Arc;

use courant_storage::sim::SimDisk;
use courant_storage::suite::Watch;
use courant_storage::{
    FrameMeta, LaneId, OpenError, Purpose, RealDisk, Recovered, Seq, Store, Ticket, TornTail,
    Urgency, Wal, WalOptions,
};

fn options() -> WalOptions {
    WalOptions { fill_ahead_bytes: 0, seal_delay_ms: 60_000, ..WalOptions::default() }
}

fn open(disk: &SimDisk) -> Result<(Wal, Recovered), OpenError> {
    Wal::open(disk.mount(), options())
}

fn append(wal: &Wal, urgency: Urgency, seq: u64, body: &[u8]) -> Ticket {
    let meta = FrameMeta {
        kind: 0x10,
        version: 0,
        critical: true,
        lane: LaneId(4),
        seq: Seq(seq),
        term: seq * 2,
    };
    wal.append(urgency, Purpose::Upkeep, &mut |open| {
        open.push(meta, &[b"head"], &[body]);
    })
    .unwrap()
}

/// A folder with frames 1 to `count`, each committed on its own, then killed.
fn filled(count: u64) -> SimDisk {
    let disk = SimDisk::new();
    let (wal, _) = open(&disk).unwrap();
    let watch = Watch::new();
    wal.start(Arc::clone(&watch) as Arc<_>).unwrap();
    for seq in 1..=count {
        watch.wait_committed(append(&wal, Urgency::Now, seq, b"body")).unwrap();
    }
    disk.kill();
    disk
}

fn segment(disk: &SimDisk) -> String {
    let mut names = disk.files().into_iter().map(|(name, _)| name);
    names.rfind(|name| name.ends_with(".segment")).unwrap()
}

#[test]
fn a_clean_end_and_an_unclean_one_are_told_apart() {
    let disk = filled(3);
    let (wal, recovered) = open(&disk).unwrap();
    let expected = Recovered {
        clean: false,
        lanes: vec![(LaneId(4), Seq(3))],
        last_term: 6,
        frames: 3,
        walked_segments: 1,
        walked_bytes: 3 * 512,
        ..Recovered::default()
    };
    assert_eq!(recovered, expected);
    wal.start(Watch::new()).unwrap();
    wal.close().unwrap();
    let (wal, recovered) = open(&disk).unwrap();
    assert_eq!(recovered, Recovered { clean: true, ..expected.clone() });
    // Once it was started, something may have been written.
    wal.start(Watch::new()).unwrap();
    disk.kill();
    drop(wal);
    assert_eq!(open(&disk).unwrap().1, expected);
}

#[test]
fn a_torn_tail_is_dropped_exactly_and_reported() {
    let disk = filled(3);
    let name = segment(&disk);
    // A header sector and three batches of a sector each; then half a batch that was never synced.
    disk.damage(&name, |bytes| {
        assert_eq!(bytes.len(), 4 * 512);
        bytes.extend([0xab; 100]);
    });
    let (wal, recovered) = open(&disk).unwrap();
    assert_eq!(recovered.frames, 3);
    assert_eq!(recovered.torn, Some(TornTail { file: name.clone(), offset: 2048, bytes: 100 }));
    assert!(disk.bytes(&name)[2048..].iter().all(|&byte| byte == 0), "it could come back to life");
    drop(wal);
    assert_eq!(open(&disk).unwrap().1.torn, None);
}

#[test]
fn a_bad_batch_before_a_good_one_is_rot_and_nothing_is_changed() {
    let disk = filled(3);
    let name = segment(&disk);
    disk.damage(&name, |bytes| bytes[1024 + 64 + 41] ^= 1);
    let before = disk.bytes(&name);
    match open(&disk) {
        Err(OpenError::Rotten { file, offset, .. }) => {
            assert_eq!((file, offset), (name.clone(), 1024 + 64));
        }
        other => panic!("opened as {:?}", other.map(|(_, recovered)| recovered)),
    }
    assert_eq!(disk.bytes(&name), before);
}

#[test]
fn a_batch_that_moved_is_rot_though_its_checksums_are_right() {
    let disk = filled(4);
    disk.damage(&segment(&disk), |bytes| bytes.copy_within(1024..1536, 1536));
    let opened = open(&disk).map(|(_, recovered)| recovered);
    assert!(matches!(opened, Err(OpenError::Rotten { offset: 1536, .. })), "{opened:?}");
}

#[test]
fn a_rotten_body_is_listed_and_the_others_are_read() {
    let disk = filled(3);
    disk.damage(&segment(&disk), |bytes| bytes[1024 + 64 + 44] ^= 1);
    let (wal, recovered) = open(&disk).unwrap();
    assert_eq!(recovered.frames, 3);
    let seqs: Vec<Seq> = recovered.rotten_bodies.iter().map(|body| body.seq).collect();
    assert_eq!(seqs, [Seq(2)]);
    let mut body = Vec::new();
    let error = wal.read(LaneId(4), Seq(2), &mut body).unwrap_err();
    assert!(error.to_string().ends_with("is rotten at 1088"), "{error}");
    wal.read(LaneId(4), Seq(3), &mut body).unwrap();
    assert_eq!(body, b"body");
}

#[test]
fn one_process_at_a_time() {
    let folder = tempfile::tempdir().unwrap();
    let disk = || Arc::new(RealDisk::new(folder.path()).unwrap());
    let (wal, _) = Wal::open(disk(), options()).unwrap();
    assert!(matches!(Wal::open(disk(), options()), Err(OpenError::Locked)));
    wal.close().unwrap();
    Wal::open(disk(), options()).unwrap();
}

#[test]
fn a_newer_folder_a_foreign_one_and_a_wrong_size_are_refused() {
    let disk = filled(1);
    disk.damage("manifest", |bytes| bytes[8] = 9);
    disk.damage("manifest.2", |bytes| bytes[8] = 9);
    assert!(matches!(open(&disk), Err(OpenError::Newer { found: 9, known: 2 })));
    let disk = SimDisk::new();
    disk.mount().create("holiday.jpg").unwrap();
    assert!(matches!(open(&disk), Err(OpenError::Foreign { .. })));
    let small = WalOptions { segment_bytes: 100, ..options() };
    let refused = Wal::open(SimDisk::new().mount(), small);
    assert!(matches!(refused, Err(OpenError::SegmentTooSmall { .. })));
}

#[test]
fn one_copy_of_the_manifest_is_mended_by_the_other() {
    type Harm = fn(&SimDisk, &str);
    let harms: [Harm; 3] = [
        |disk, name| disk.lose(name),
        |disk, name| disk.damage(name, |bytes| bytes[8] = 9),
        |disk, name| disk.damage(name, |bytes| bytes.truncate(70)),
    ];
    for harm in harms {
        for name in ["manifest", "manifest.2"] {
            let disk = filled(2);
            harm(&disk, name);
            let recovered = open(&disk).unwrap().1;
            assert_eq!((recovered.frames, recovered.mended.as_deref()), (2, Some(name)));
            assert_eq!(open(&disk).unwrap().1.mended, None);
        }
    }
}

#[test]
fn a_lost_manifest_checkpoint_or_segment_is_refused() {
    let disk = filled(2);
    disk.lose("manifest");
    disk.lose("manifest.2");
    assert!(matches!(open(&disk), Err(OpenError::Rotten { .. })));
    let disk = filled(2);
    disk.lose("checkpoint");
    assert!(matches!(open(&disk), Err(OpenError::Missing { .. })));
    let disk = filled(2);
    disk.lose(&segment(&disk));
    assert!(matches!(open(&disk), Err(OpenError::Missing { .. })));
}

/// A list as it was before the log came to its second segment, and none of the later files.
#[test]
fn a_list_without_a_segment_is_refused_and_nothing_is_made() {
    let disk = SimDisk::new();
    let small = || WalOptions { segment_bytes: 2_048, ..options() };
    let (wal, _) = Wal::open(disk.mount(), small()).unwrap();
    let lists = ["manifest", "manifest.2"];
    let old = lists.map(|name| disk.bytes(name));
    let watch = Watch::new();
    wal.start(Arc::clone(&watch) as Arc<_>).unwrap();
    for seq in 1..=20 {
        watch.wait_committed(append(&wal, Urgency::Now, seq, b"body")).unwrap();
    }
    disk.kill();
    drop(wal);
    let segments = || disk.contents().into_keys().filter(|name| name.ends_with(".segment"));
    segments().skip(1).for_each(|name| disk.lose(&name));
    for (name, old) in lists.iter().zip(&old) {
        disk.damage(name, |bytes| bytes.clone_from(old));
    }
    let opened = Wal::open(disk.mount(), small());
    assert!(matches!(&opened, Err(OpenError::Rotten { what, .. }) if what.contains("a list")));
    assert_eq!(segments().count(), 1);
}
