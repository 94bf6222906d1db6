//! A folder of every version of the format opens for ever. `docs/format.md` says how to add one.

#![allow(clippy::unwrap_used, clippy::cast_possible_truncation, reason = "tests panic")]

use std::collections::BTreeMap;
use std::fs;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use courant_storage::sim::SimDisk;
use courant_storage::suite::Watch;
use courant_storage::{FrameMeta, LaneId, Purpose, RealDisk, Seq, Store, Urgency, Wal, WalOptions};

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures")
}

fn options() -> WalOptions {
    WalOptions {
        segment_bytes: 2_048,
        fill_ahead_bytes: 0,
        seal_delay_ms: 60_000,
        ..WalOptions::default()
    }
}

/// What every fixture holds: seq, lane and body.
fn contents() -> Vec<(u16, u64, Vec<u8>)> {
    let frame = |seq: u64| {
        let byte = u8::try_from(seq % 251).unwrap();
        ((seq % 2) as u16, seq + ((seq / 5) << 32), vec![byte; seq as usize * 37 % 700])
    };
    (1..=12).map(frame).collect()
}

/// The files of a folder with `contents`, written by this version.
fn written() -> BTreeMap<String, Vec<u8>> {
    let disk = SimDisk::new();
    let (wal, _) = Wal::open(disk.mount(), options()).unwrap();
    let watch = Watch::new();
    wal.start(Arc::clone(&watch) as Arc<_>).unwrap();
    for (lane, seq, body) in contents() {
        let meta = FrameMeta {
            kind: 0x10,
            version: 1,
            critical: seq % 3 == 0,
            lane: LaneId(lane),
            seq: Seq(seq),
            term: 7,
        };
        let ticket = wal.append(Urgency::Now, Purpose::Upkeep, &mut |open| {
            open.push(meta, &[&seq.to_le_bytes()], &[&body]);
        });
        watch.wait_committed(ticket.unwrap()).unwrap();
    }
    wal.close().unwrap();
    let bytes = |(name, _): (String, usize)| {
        let bytes = disk.bytes(&name);
        (name, bytes)
    };
    disk.files().into_iter().map(bytes).collect()
}

fn check(folder: &Path) {
    let copy = tempfile::tempdir().unwrap();
    for entry in fs::read_dir(folder).unwrap() {
        let entry = entry.unwrap();
        fs::copy(entry.path(), copy.path().join(entry.file_name())).unwrap();
    }
    let disk = Arc::new(RealDisk::new(copy.path()).unwrap());
    let (wal, recovered) = Wal::open(disk, options()).unwrap();
    assert!(recovered.clean && recovered.last_term == 7, "{recovered:?}");
    let expected = contents();
    let mut seen = Vec::new();
    wal.scan(&mut |frame| {
        assert_eq!(frame.head, frame.seq.0.to_le_bytes());
        assert_eq!(frame.critical, frame.seq.0 % 3 == 0);
        seen.push((frame.lane.0, frame.seq.0));
        ControlFlow::Continue(())
    })
    .unwrap();
    assert!(seen.iter().copied().eq(expected.iter().map(|&(lane, seq, _)| (lane, seq))));
    for (lane, seq, body) in expected {
        let mut read = Vec::new();
        wal.read(LaneId(lane), Seq(seq), &mut read).unwrap();
        assert_eq!(read, body);
    }
}

#[test]
fn a_folder_of_every_version_opens() {
    let mut count = 0;
    for entry in fs::read_dir(fixtures()).unwrap() {
        check(&entry.unwrap().path());
        count += 1;
    }
    assert!(count >= 2);
}

/// Whoever sees this fail has changed the format: `docs/format.md` says what to do.
#[test]
fn this_version_still_writes_the_bytes_of_the_newest_fixture() {
    for (name, bytes) in written() {
        let kept = fs::read(fixtures().join("v2").join(&name)).unwrap();
        assert!(kept == bytes, "{name} is written differently");
    }
}

/// Writes the fixture of a new version where it is asked for: once, to be committed and never
/// written again.
#[test]
fn write_the_fixture() {
    if std::env::var_os("COURANT_WRITE_FIXTURE").is_none() {
        return;
    }
    let folder = fixtures().join("v2");
    fs::create_dir_all(&folder).unwrap();
    for (name, bytes) in written() {
        let path = folder.join(name);
        assert!(!path.exists(), "a fixture is never overwritten");
        fs::write(path, bytes).unwrap();
    }
}
