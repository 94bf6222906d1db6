//! The folder through the operating system: that a process finds what it expects of a folder, and
//! that a cut takes what was not synced.

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use courant_forgetful::mount::{Mount, Syncs, why_not};
use courant_forgetful::{Forgotten, Keep};
use rustix::fs::{FallocateFlags, fallocate};

struct Point(PathBuf);

impl Point {
    /// `None`, and a loud word, where nothing can be mounted.
    fn new(name: &str) -> Option<Self> {
        if let Some(why) = why_not() {
            let _ = writeln!(std::io::stderr(), "NOT TESTED: {name}: {why}");
            return None;
        }
        let point = std::env::temp_dir().join(format!("forgetful-{}-{name}", std::process::id()));
        Some(Self(point))
    }
}

impl Drop for Point {
    fn drop(&mut self) {
        let _ = fs::remove_dir(&self.0);
    }
}

fn synced(path: &Path, bytes: &[u8]) -> File {
    let mut file = File::create(path).expect("a file");
    file.write_all(bytes).expect("a write");
    file.sync_data().expect("a sync");
    file
}

fn nothing(mount: &mut Mount) -> Forgotten {
    mount.cut(Keep::Nothing, 512, &mut |_| 0).expect("a cut")
}

#[test]
fn what_was_not_synced_is_gone() {
    let Some(point) = Point::new("gone") else { return };
    let mut mount = Mount::new(&point.0, None).unwrap();
    let file = |name: &str| point.0.join(name);
    let mut log = synced(&file("log"), b"synced ");
    File::open(&point.0).unwrap().sync_all().unwrap();
    log.write_all(b"not").unwrap();
    synced(&file("nameless"), b"x");
    drop(log);
    assert_eq!(fs::read(file("log")).unwrap(), b"synced not");
    let forgotten = nothing(&mut mount);
    assert_eq!((forgotten.bytes_unsynced, forgotten.names_unsynced), (3, 1));
    assert_eq!(fs::read(file("log")).unwrap(), b"synced ");
    assert!(!file("nameless").exists());
    // Goes on as a folder does.
    fs::rename(file("log"), file("log.old")).unwrap();
    let names: Vec<_> = fs::read_dir(&point.0).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert_eq!(names, ["log.old"]);
    fs::remove_file(file("log.old")).unwrap();
    nothing(&mut mount);
    assert_eq!(fs::read(file("log")).unwrap(), b"synced ");
}

#[test]
fn it_is_the_folder_that_a_log_needs() {
    let Some(point) = Point::new("needs") else { return };
    let _mount = Mount::new(&point.0, Some(1 << 20)).unwrap();
    let path = point.0.join("log");
    let file = OpenOptions::new().read(true).write(true).create_new(true).open(&path).unwrap();
    assert!(file.try_lock().is_ok());
    let other = OpenOptions::new().read(true).write(true).open(&path).unwrap();
    assert!(other.try_lock().is_err(), "a lock holds");
    fallocate(&file, FallocateFlags::empty(), 0, 512 << 10).unwrap();
    assert_eq!(file.metadata().unwrap().len(), 512 << 10);
    let direct = i32::try_from(rustix::fs::OFlags::DIRECT.bits()).unwrap();
    let direct = OpenOptions::new().write(true).custom_flags(direct).open(&path);
    if let Ok(direct) = direct {
        let buffer = vec![7u8; 8192];
        let start = buffer.as_ptr().align_offset(4096);
        direct.write_at(&buffer[start..start + 4096], 4096).unwrap();
        let mut read = [0; 4];
        file.read_exact_at(&mut read, 4096).unwrap();
        assert_eq!(read, [7; 4]);
    }
    let full = fallocate(&file, FallocateFlags::empty(), 0, 2 << 20);
    assert_eq!(full, Err(rustix::io::Errno::NOSPC));
    fs::remove_file(&path).unwrap();
    file.write_all_at(b"lives without a name", 0).unwrap();
    let space = rustix::fs::statvfs(&point.0).unwrap();
    assert_eq!(space.f_blocks * space.f_frsize, 1 << 20);
}

#[test]
fn a_held_sync_holds_only_itself() {
    let Some(point) = Point::new("held") else { return };
    let mount = Mount::new(&point.0, None).unwrap();
    let path = point.0.join("log");
    let file = synced(&path, b"a");
    mount.set_syncs(Syncs::Held);
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| file.sync_data());
        while mount.held() == 0 {
            std::thread::yield_now();
        }
        fs::write(point.0.join("other"), b"goes on").unwrap();
        assert_eq!(fs::read(point.0.join("other")).unwrap(), b"goes on");
        assert!(!waiting.is_finished());
        mount.set_syncs(Syncs::Kept);
        waiting.join().unwrap().unwrap();
    });
}
