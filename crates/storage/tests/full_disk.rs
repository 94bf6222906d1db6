//! A full disk: messages are refused before they are written, upkeep goes on, a restart needs no
//! free byte, and with space messages are admitted again.

#![allow(clippy::unwrap_used, clippy::cast_possible_truncation, reason = "tests panic")]

use std::sync::Arc;
use std::time::Duration;

use courant_storage::sim::{Fault, SimDisk};
use courant_storage::suite::Watch;
use courant_storage::{
    AppendError, FrameMeta, LaneId, Poison, Purpose, Seq, Store, Ticket, Urgency, Wal, WalOptions,
};

const BODY_BYTES: usize = 900;

fn options() -> WalOptions {
    WalOptions {
        segment_bytes: 64 << 10,
        reserve_bytes: 256 << 10,
        fill_ahead_bytes: 0,
        seal_delay_ms: 1,
        ..WalOptions::default()
    }
}

/// A log on a disk, with what was appended to it.
struct Log {
    wal: Wal,
    watch: Arc<Watch>,
    frames: u64,
}

fn meta(seq: u64) -> FrameMeta {
    let (lane, seq) = (LaneId(0), Seq(seq));
    FrameMeta { kind: 0x10, version: 0, critical: true, lane, seq, term: 1 }
}

fn body(seq: u64) -> Vec<u8> {
    seq.to_le_bytes().into_iter().cycle().take(BODY_BYTES).collect()
}

impl Log {
    fn open(disk: &SimDisk, options: WalOptions) -> Log {
        let (wal, recovered) = Wal::open(disk.mount(), options).unwrap();
        let watch = Watch::new();
        wal.start(Arc::clone(&watch) as Arc<_>).unwrap();
        let frames = recovered.lanes.first().map_or(0, |&(_, last)| last.0);
        Log { wal, watch, frames }
    }

    fn append(&mut self, purpose: Purpose) -> Result<Ticket, AppendError> {
        let seq = self.frames + 1;
        let body = body(seq);
        let ticket = self.wal.append(Urgency::Now, purpose, &mut |open| {
            open.push(meta(seq), &[], &[&body]);
        })?;
        self.frames = seq;
        Ok(ticket)
    }

    fn message(&mut self) -> Result<Ticket, AppendError> {
        self.append(Purpose::Messages { bytes: BODY_BYTES + 64 })
    }

    /// Appends and waits for the commit of each until one is refused for want of disk.
    fn fill(&mut self, purpose: Purpose) -> u64 {
        for done in 0..100_000 {
            match self.append(purpose) {
                Ok(ticket) => self.watch.wait_committed(ticket).unwrap(),
                Err(AppendError::DiskFull) => return done,
                Err(AppendError::Full { .. }) => self.watch.wait_room().unwrap(),
                Err(error) => panic!("{error}"),
            }
        }
        panic!("the disk is never full");
    }

    fn fill_with_messages(&mut self) -> u64 {
        self.fill(Purpose::Messages { bytes: BODY_BYTES + 64 })
    }

    /// Waits until a message is admitted.
    fn message_when_there_is_room(&mut self) {
        for _ in 0..1_000 {
            match self.message() {
                Ok(ticket) => return self.watch.wait_committed(ticket).unwrap(),
                Err(AppendError::DiskFull) => std::thread::sleep(Duration::from_millis(10)),
                Err(error) => panic!("{error}"),
            }
        }
        panic!("there is never room again");
    }

    fn has_all(&self) {
        for seq in 1..=self.frames {
            let mut read = Vec::new();
            self.wal.read(LaneId(0), Seq(seq), &mut read).unwrap();
            assert_eq!(read, body(seq), "{seq}");
        }
    }
}

fn full(capacity: u64) -> (SimDisk, Log) {
    let disk = SimDisk::new();
    disk.set_capacity(Some(capacity));
    let mut log = Log::open(&disk, options());
    let filled = log.fill_with_messages();
    assert!(filled * 1_000 > capacity / 2, "{filled} messages in {capacity} bytes");
    assert!(log.wal.usage().is_full);
    (disk, log)
}

#[test]
fn messages_are_refused_and_upkeep_goes_on_until_nothing_is_left() {
    let (disk, mut log) = full(2 << 20);
    let upkeep = log.fill(Purpose::Upkeep);
    assert!(upkeep * 1_000 > options().reserve_bytes / 5, "{upkeep} appends out of the reserve");
    assert_eq!(log.message(), Err(AppendError::DiskFull));
    assert_eq!(log.watch.poison(), None);
    log.has_all();
    let usage = log.wal.usage();
    assert!(usage.disk_bytes <= disk.used_bytes() && usage.disk_bytes > 1 << 20, "{usage:?}");
    assert!(usage.appended_bytes > log.frames * BODY_BYTES as u64, "{usage:?}");
    log.wal.close().unwrap();
}

#[test]
fn with_space_the_reserve_is_whole_first_and_messages_are_admitted_without_a_restart() {
    let (disk, mut log) = full(2 << 20);
    log.fill(Purpose::Upkeep);
    // Not enough for the reserve: upkeep goes on, messages do not.
    disk.set_capacity(Some((2 << 20) + (32 << 10)));
    for _ in 0..100 {
        assert_eq!(log.message(), Err(AppendError::DiskFull));
        std::thread::sleep(Duration::from_millis(5));
    }
    assert!(log.wal.usage().is_full);
    disk.set_capacity(Some(4 << 20));
    log.watch.wait_room().unwrap();
    log.message_when_there_is_room();
    log.has_all();
    assert!(log.fill_with_messages() > 1_000);
}

#[test]
fn a_full_folder_opens_with_no_byte_free_however_often() {
    let (disk, mut log) = full(2 << 20);
    log.fill(Purpose::Upkeep);
    disk.set_capacity(Some(disk.used_bytes()));
    for restart in 0..12 {
        if restart % 2 == 0 {
            log.wal.close().unwrap();
        }
        disk.kill();
        let frames = log.frames;
        log = Log::open(&disk, options());
        assert_eq!(log.frames, frames, "restart {restart}");
        assert!(log.wal.usage().is_full);
        // What an opening writes.
        let ticket = log.append(Purpose::Upkeep).unwrap();
        log.watch.wait_committed(ticket).unwrap();
        assert_eq!(log.message(), Err(AppendError::DiskFull));
        log.has_all();
    }
}

#[test]
fn a_message_larger_than_a_segment_is_for_a_disk_that_has_plenty() {
    let disk = SimDisk::new();
    disk.set_capacity(Some(4 << 20));
    let mut log = Log::open(&disk, options());
    let large = |log: &mut Log| -> Result<(), AppendError> {
        let (seq, body) = (log.frames + 1, vec![7; 1 << 20]);
        let purpose = Purpose::Messages { bytes: body.len() + 64 };
        let ticket = log.wal.append(Urgency::Now, purpose, &mut |open| {
            open.push(meta(seq), &[], &[&body]);
        })?;
        log.frames = seq;
        log.watch.wait_committed(ticket).unwrap();
        Ok(())
    };
    assert_eq!(large(&mut log), Ok(()));
    assert_eq!(large(&mut log), Ok(()));
    // While a segment is in the making its space is counted twice: what is refused then may find
    // room a moment later.
    let mut refused = 0;
    while refused < 20 {
        match large(&mut log) {
            Ok(()) => refused = 0,
            Err(error) => {
                assert_eq!(error, AppendError::DiskFull);
                refused += 1;
                std::thread::sleep(Duration::from_millis(5));
            }
        }
    }
    disk.set_capacity(Some(8 << 20));
    log.message_when_there_is_room();
    assert_eq!(log.watch.poison(), None);
}

#[test]
fn many_publishers_at_once_never_poison_a_disk_that_fills_up() {
    let disk = SimDisk::new();
    disk.set_capacity(Some(2 << 20));
    let log = Log::open(&disk, WalOptions { seal_delay_ms: 50, ..options() });
    let next = std::sync::Mutex::new(1);
    std::thread::scope(|scope| {
        for publisher in 0..4 {
            let (wal, next) = (&log.wal, &next);
            scope.spawn(move || {
                let len = [10, 700, 5_000, 30_000][publisher];
                let mut refused = 0;
                while refused < 20 {
                    let mut next = next.lock().unwrap();
                    let purpose = Purpose::Messages { bytes: len + 64 };
                    let appended = wal.append(Urgency::Now, purpose, &mut |open| {
                        open.push(meta(*next), &[], &[&vec![1; len]]);
                    });
                    match appended {
                        Ok(_) => *next += 1,
                        Err(AppendError::DiskFull) => refused += 1,
                        Err(AppendError::Full { .. }) => {}
                        Err(error) => panic!("{error}"),
                    }
                    drop(next);
                    std::thread::yield_now();
                }
            });
        }
    });
    let appended = *next.lock().unwrap() - 1;
    log.watch.wait_committed(Ticket(appended)).unwrap();
    assert_eq!(log.watch.poison(), None);
    disk.kill();
    assert_eq!(Log::open(&disk, options()).frames, appended);
}

#[test]
fn a_write_that_finds_no_space_takes_the_reserve_and_is_done_once_more() {
    for fault in [Fault::NoSpace, Fault::ShortWrite] {
        let disk = SimDisk::new();
        disk.set_capacity(Some(4 << 20));
        let options = || WalOptions { seal_delay_ms: 60_000, ..options() };
        let mut log = Log::open(&disk, options());
        for _ in 0..5 {
            log.message_when_there_is_room();
            disk.fail_at(1, fault);
            let ticket = log.message().unwrap();
            log.watch.wait_committed(ticket).unwrap();
            assert!(log.wal.usage().is_full, "the reserve is not whole");
        }
        assert_eq!(log.watch.poison(), None);
        disk.kill();
        Log::open(&disk, options()).has_all();
    }
}

#[test]
fn an_error_of_the_disk_is_poison_also_when_it_is_full() {
    let (disk, mut log) = full(2 << 20);
    disk.fail_at(1, Fault::FailedSync);
    let ticket = log.append(Purpose::Upkeep).unwrap();
    log.watch.wait_committed(ticket).unwrap_err();
    assert!(matches!(log.watch.poison(), Some(Poison::Sync { .. })), "{:?}", log.watch.poison());
}
