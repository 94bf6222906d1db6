//! What a check says of a folder, and what an opening then does: the same, whatever is damaged.

#![allow(clippy::unwrap_used, clippy::cast_possible_truncation, reason = "tests panic")]

use std::ops::ControlFlow;
use std::sync::Arc;

use courant_storage::sim::{Dice, SimDisk};
use courant_storage::suite::Watch;
use courant_storage::suite::crash::seed_from_environment;
use courant_storage::{
    Check, CheckError, Checked, Damage, FrameMeta, Gap, LaneId, OpenError, Outcome, Purpose,
    ReadError, Seen, Seq, Store, Urgency, Wal, WalOptions,
};

/// (lane, seq, bytes of the body).
type Stored = (u16, u64, usize);

fn options(segment_bytes: u64) -> WalOptions {
    let seal_delay_ms = 60_000;
    WalOptions { segment_bytes, fill_ahead_bytes: 0, seal_delay_ms, ..WalOptions::default() }
}

fn body(lane: u16, seq: u64, len: usize) -> Vec<u8> {
    let mut dice = Dice::new(seq * 65_536 + u64::from(lane));
    (0..len).map(|_| dice.roll() as u8).collect()
}

fn append(wal: &Wal, watch: &Watch, frames: &[Stored]) {
    let purpose = Purpose::Upkeep;
    let ticket = wal.append(Urgency::Now, purpose, &mut |open| {
        for &(lane, seq, len) in frames {
            let (lane_id, critical) = (LaneId(lane), true);
            let meta = FrameMeta {
                kind: 0x10,
                version: 1,
                critical,
                lane: lane_id,
                seq: Seq(seq),
                term: 1,
            };
            open.push(meta, &[b"head"], &[&body(lane, seq, len)]);
        }
    });
    watch.wait_committed(ticket.unwrap()).unwrap();
}

/// A folder with small segments, and what is in it.
struct Filled {
    disk: SimDisk,
    options: WalOptions,
    stored: Vec<Stored>,
    /// So many of them are below the checkpoint: what is cut off behind them leaves no trace.
    checkpointed: usize,
}

fn filled(dice: &mut Dice) -> Filled {
    let disk = SimDisk::new();
    let options = options([4096, 16_384, 65_536][dice.below(3) as usize]);
    let (mut stored, mut seq, mut checkpointed) = (Vec::new(), 0, 0);
    for _ in 0..=dice.below(2) {
        let (wal, _) = Wal::open(disk.mount(), options.clone()).unwrap();
        checkpointed = stored.len();
        let watch = Watch::new();
        wal.start(Arc::clone(&watch) as Arc<_>).unwrap();
        for _ in 0..=dice.below(12) {
            let frames: Vec<Stored> = (0..=dice.below(5))
                .map(|_| {
                    seq += 1 + dice.below(3);
                    (dice.below(3) as u16, seq, dice.below(900) as usize)
                })
                .collect();
            append(&wal, &watch, &frames);
            stored.extend(frames);
        }
        if dice.chance(40) {
            let below = Seq(dice.below(seq + 2));
            wal.raise_origins(&[0, 1, 2].map(|lane| (LaneId(lane), below))).unwrap();
        }
        if dice.chance(70) {
            wal.close().unwrap();
            checkpointed = stored.len();
        }
        disk.kill();
    }
    Filled { disk, options, stored, checkpointed }
}

/// Changes one thing, and says what.
fn damage(disk: &SimDisk, dice: &mut Dice) -> String {
    let files: Vec<_> = disk.files().into_iter().filter(|(_, len)| *len > 0).collect();
    let (name, len) = files[dice.below(files.len() as u64) as usize].clone();
    let at = dice.below(len as u64) as usize;
    let bit = dice.below(8);
    let sector = at / 512 * 512;
    match dice.below(100) {
        0..60 => {
            disk.damage(&name, |bytes| bytes[at] ^= 1 << bit);
            format!("bit {bit} of byte {at} of {name} flipped")
        }
        60..70 => {
            disk.damage(&name, |bytes| bytes.truncate(at));
            format!("{name} cut to {at} of {len}")
        }
        70..85 => {
            disk.damage(&name, |bytes| bytes[sector..len.min(sector + 4096)].fill(0));
            format!("4096 bytes at {sector} of {name} zeroed")
        }
        85..97 => {
            disk.damage(&name, |bytes| bytes[sector..len.min(sector + 512)].fill(0xa5));
            format!("the sector at {sector} of {name} overwritten")
        }
        _ => {
            disk.lose(&name);
            format!("{name} removed")
        }
    }
}

/// (lane, seq, whether the body is intact).
type Shown = (u16, u64, bool);

/// `None` if the folder seems to be of a later version.
fn check_of(disk: &SimDisk) -> Option<(Checked, Vec<Shown>)> {
    let mut seen = Vec::new();
    let mut check = match Check::begin(&disk.mount()) {
        Err(CheckError::Newer { .. }) => return None,
        check => check.unwrap(),
    };
    let checked = check.run(&mut |frame: &Seen<'_>| {
        if frame.frame.kind >= 0x10 {
            seen.push((frame.frame.lane.0, frame.frame.seq.0, frame.body_is_intact));
            let whole = body(frame.frame.lane.0, frame.frame.seq.0, frame.frame.body.len());
            assert!(!frame.body_is_intact || frame.frame.body == whole, "a wrong body");
        }
        ControlFlow::Continue(())
    });
    Some((checked.unwrap(), seen))
}

fn covers(gap: &Gap, lane: u16, seq: u64) -> bool {
    gap.lane == LaneId(lane)
        && gap.above < Seq(seq)
        && gap.below.is_none_or(|below| Seq(seq) < below)
}

/// What is not shown is in a gap that some fault names, unless it is the torn end.
fn no_silent_loss(checked: &Checked, seen: &[Shown], stored: &[Stored]) {
    let mut missing: Vec<_> = stored.to_vec();
    missing.retain(|&(lane, seq, _)| !seen.iter().any(|&(l, s, _)| (l, s) == (lane, seq)));
    if checked.torn.is_some() {
        return;
    }
    for (lane, seq, _) in missing {
        let is_told = checked.faults.iter().any(|fault| {
            let gaps = fault.gaps.iter();
            gaps.clone().any(|gap| covers(gap, lane, seq))
                || fault.outcome != Outcome::Mended && !seen.iter().any(|&(l, ..)| l == lane)
        });
        assert!(is_told, "{lane}/{seq} is gone without a word: {checked:#?}");
    }
}

/// Nothing else is said than what the opening then does.
fn opening_agrees(disk: &SimDisk, options: WalOptions, checked: &Checked) {
    let worst = checked.faults.iter().map(|fault| fault.outcome).max();
    match Wal::open(disk.mount(), options) {
        Err(OpenError::Rotten { file, offset, .. }) => {
            assert_eq!(worst, Some(Outcome::Refused), "{file} at {offset}");
            let is_named = checked.faults.iter().any(|fault| fault.at.file == file);
            assert!(is_named, "{file} at {offset} is not among {:#?}", checked.faults);
        }
        Err(OpenError::Missing { file }) => {
            assert!(checked.faults.iter().any(|fault| fault.at.file == file));
        }
        Err(other) => assert_eq!(worst, Some(Outcome::Refused), "{other}"),
        Ok((wal, recovered)) => {
            assert_ne!(worst, Some(Outcome::Refused), "it opens: {:#?}", checked.faults);
            assert_eq!(recovered.clean, checked.clean);
            assert_eq!(recovered.torn, checked.torn);
            let told = checked.faults.iter().filter(|fault| fault.outcome == Outcome::Reported);
            let bodies = told.filter_map(|fault| match fault.at.what {
                Damage::Body { lane, seq } => Some((lane, seq)),
                _ => None,
            });
            let found = recovered.rotten_bodies.iter().map(|body| (body.lane, body.seq));
            assert!(bodies.clone().eq(found), "{:#?}", checked.faults);
            for (lane, seq) in bodies {
                let read = wal.read(lane, seq, &mut Vec::new());
                assert!(matches!(read, Err(ReadError::Rotten { .. })));
            }
        }
    }
}

fn rounds() -> Vec<u64> {
    seed_from_environment().map_or_else(|| (0..400).collect(), |seed| vec![seed])
}

#[test]
fn a_check_says_what_an_opening_does() {
    for seed in rounds() {
        println!("COURANT_SEED={seed}");
        let mut dice = Dice::new(seed);
        let Filled { disk, options, stored, checkpointed } = filled(&mut dice);
        println!("{}", damage(&disk, &mut dice));
        let before: Vec<_> = disk.files().iter().map(|(name, _)| disk.bytes(name)).collect();
        let Some((checked, seen)) = check_of(&disk) else {
            let opened = Wal::open(disk.mount(), options);
            assert!(matches!(opened, Err(OpenError::Newer { .. })));
            continue;
        };
        let after: Vec<_> = disk.files().iter().map(|(name, _)| disk.bytes(name)).collect();
        assert_eq!(before, after, "a check changes nothing");
        let is_stored =
            |&(lane, seq, _): &Shown| stored.iter().any(|&(l, s, _)| (l, s) == (lane, seq));
        assert!(seen.iter().all(is_stored), "frames that were never stored");
        no_silent_loss(&checked, &seen, &stored[..checkpointed]);
        opening_agrees(&disk, options, &checked);
    }
}

/// What a check shows is there after quarantine, and the folder opens.
fn quarantine_keeps(disk: &SimDisk, options: &WalOptions, seed: u64) {
    let mut seen = Vec::new();
    let Ok(mut check) = Check::begin(&disk.mount()) else { return };
    let origins = check.origins();
    let checked = check.run(&mut |frame: &Seen<'_>| {
        if frame.frame.kind >= 0x10 {
            let (lane, seq) = (frame.frame.lane.0, frame.frame.seq.0);
            seen.push((lane, seq, frame.frame.body.len(), frame.body_is_intact));
        }
        ControlFlow::Continue(())
    });
    let checked = checked.unwrap();
    let aside = SimDisk::new();
    let set = check.set_aside(&checked, &*aside.mount(), &origins).unwrap();
    for name in &set.files {
        assert!(aside.files().iter().any(|(file, _)| file == name));
    }
    // Everything of it is durable.
    disk.crash(seed * 5);
    let (again, _) = check_of(disk).unwrap();
    let is_left = |fault: &courant_storage::Fault| {
        matches!(fault.at.what, Damage::Body { .. } | Damage::Index)
    };
    assert!(again.faults.iter().all(is_left), "{:#?}", again.faults);
    let (wal, recovered) = Wal::open(disk.mount(), options.clone()).unwrap();
    assert!(!recovered.clean, "what was acked may come again");
    let mut found = Vec::new();
    wal.scan(&mut |frame| {
        found.push((frame.lane.0, frame.seq.0));
        ControlFlow::Continue(())
    })
    .unwrap();
    for (lane, seq, len, is_intact) in seen {
        let origin = origins.iter().find(|(of, _)| of.0 == lane).map_or(0, |(_, seq)| seq.0);
        assert!(seq < origin || found.contains(&(lane, seq)), "{lane}/{seq} is not there");
        let mut bytes = Vec::new();
        match wal.read(LaneId(lane), Seq(seq), &mut bytes) {
            Ok(()) => assert!(is_intact && bytes == body(lane, seq, len), "{lane}/{seq}"),
            Err(error) => assert!(!is_intact, "{lane}/{seq}: {error}"),
        }
    }
}

#[test]
fn quarantine_keeps_all_that_a_check_shows() {
    for seed in rounds() {
        println!("COURANT_SEED={seed}");
        let mut dice = Dice::new(seed ^ 0x7777);
        let Filled { disk, options, .. } = filled(&mut dice);
        for _ in 0..=dice.below(3) {
            println!("{}", damage(&disk, &mut dice));
        }
        quarantine_keeps(&disk, &options, seed);
    }
}

/// A scrub of a folder that runs finds in its full segments what a check finds when it is stopped.
#[test]
fn a_scrub_finds_what_a_check_finds_in_full_segments() {
    let mut found_any = 0;
    for seed in rounds() {
        println!("COURANT_SEED={seed}");
        let mut dice = Dice::new(seed ^ 0x3333);
        let Filled { disk, options, .. } = filled(&mut dice);
        let (wal, _) = Wal::open(disk.mount(), options).unwrap();
        let (before, _) = {
            let copy = SimDisk::new();
            copy_of(&disk, &copy);
            check_of(&copy).unwrap()
        };
        let full: Vec<_> =
            before.segments.iter().filter(|segment| segment.is_full).map(|s| &s.file).collect();
        if full.is_empty() {
            continue;
        }
        let name = full[dice.below(full.len() as u64) as usize].clone();
        let at = 512 + dice.below(disk.bytes(&name).len() as u64 - 512) as usize;
        disk.damage(&name, |bytes| bytes[at] ^= 1);
        let (mut scrubbed, mut calls) = (Vec::new(), 0);
        loop {
            let part = wal.scrub(1 + dice.below(3000)).unwrap();
            scrubbed.extend(part.damaged);
            calls += 1;
            if part.wrapped {
                break;
            }
            assert!(calls < 1000, "it never ends");
        }
        let copy = SimDisk::new();
        copy_of(&disk, &copy);
        let (checked, _) = check_of(&copy).unwrap();
        let places = |what: &Damage| match *what {
            Damage::Body { lane, seq } => (2, lane.0, seq.0),
            Damage::Head => (1, 0, 0),
            _ => (0, 0, 0),
        };
        let faults = checked.faults.iter().map(|fault| places(&fault.at.what));
        assert!(
            faults.eq(scrubbed.iter().map(|damaged| places(&damaged.what))),
            "byte {at} of {name}: {scrubbed:#?} {:#?}",
            checked.faults
        );
        found_any += scrubbed.len();
    }
    assert!(found_any > 0 || rounds().len() == 1);
}

/// The same files, for somebody who takes the lock too.
fn copy_of(disk: &SimDisk, copy: &SimDisk) {
    let mount = copy.mount();
    for (name, _) in disk.files() {
        let file = mount.create(&name).unwrap();
        let bytes = disk.bytes(&name);
        let mut done = 0;
        while done < bytes.len() {
            done += file.write_at(&bytes[done..], done as u64).unwrap();
        }
    }
}

/// One flipped bit in a head costs one frame, not the rest of its batch.
#[test]
fn frames_behind_a_bad_head_are_shown() {
    let disk = SimDisk::new();
    let (wal, _) = Wal::open(disk.mount(), options(65_536)).unwrap();
    let watch = Watch::new();
    wal.start(Arc::clone(&watch) as Arc<_>).unwrap();
    append(&wal, &watch, &[(0, 1, 40), (0, 2, 40), (0, 3, 40), (0, 4, 40), (0, 5, 40)]);
    append(&wal, &watch, &[(0, 6, 40)]);
    wal.close().unwrap();
    disk.kill();
    let (name, _) = disk.files().into_iter().find(|(name, _)| name.ends_with(".segment")).unwrap();
    // Each frame takes 40 + 4 + 40 bytes, padded to 88; the third one's seq.
    let frame_at = 512 + 64 + 2 * 88;
    disk.damage(&name, |bytes| bytes[frame_at + 16] ^= 8);
    let (checked, seen) = check_of(&disk).unwrap();
    let seqs: Vec<u64> = seen.iter().map(|&(_, seq, _)| seq).collect();
    assert_eq!(seqs, [1, 2, 4, 5, 6]);
    let [fault] = &checked.faults[..] else { panic!("{:#?}", checked.faults) };
    assert_eq!((fault.at.offset, fault.at.bytes), (frame_at as u64, 88));
    assert_eq!((fault.at.what, fault.frames), (Damage::Head, Some(1)));
    let gap = Gap { lane: LaneId(0), above: Seq(2), below: Some(Seq(4)) };
    assert_eq!(fault.gaps, [gap]);
}
