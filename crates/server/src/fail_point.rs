//! Named steps on the way to the disk at which the process kills itself, or that it leaves out, for
//! tests from outside. No release has it.
//!
//! `COURANT_FAIL_POINT` is `ACTION STEP WHAT N`, such as `kill-after rename manifest 2`:
//!
//! | word | one of |
//! |---|---|
//! | action | `kill-before`, `kill-within` (half of a write), `kill-after`, `skip` (a sync) |
//! | step | `create`, `write`, `sync`, `set-len`, `rename`, `remove`, `sync-folder` |
//! | what | `segment`, `manifest`, `checkpoint`, `index`, `reserve`, `folder`, `any` |
//! | n | the how manieth of these steps, from 1; `skip` leaves out that one and all later ones |

use std::io;
use std::path::Path;
use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use courant::{Broker, OpenError, Options};
use courant_storage::{Disk, File, RealDisk, Space};

const VARIABLE: &str = "COURANT_FAIL_POINT";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Action {
    KillBefore,
    KillWithin,
    KillAfter,
    Skip,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Create,
    Write,
    Sync,
    SetLen,
    Rename,
    Remove,
    SyncFolder,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum What {
    Segment,
    Manifest,
    Checkpoint,
    Index,
    Reserve,
    Folder,
    Other,
}

/// Opens the folder on a disk with the fail point that the environment names.
pub(crate) async fn open(data: &Path, options: Options) -> Result<Broker, OpenError> {
    let data = data.to_owned();
    let open = move || {
        let point = std::env::var(VARIABLE).ok().map(|text| text.parse::<FailPoint>());
        let point = point.transpose().map_err(OpenError::Folder)?;
        let disk = RealDisk::new(data).map_err(OpenError::Folder)?;
        match point {
            None => Broker::open_disk(Arc::new(disk), options),
            Some(point) => {
                Broker::open_disk(Arc::new(FailingDisk { disk, point: Arc::new(point) }), options)
            }
        }
    };
    let opened = tokio::task::spawn_blocking(open).await;
    opened.unwrap_or_else(|panic| std::panic::resume_unwind(panic.into_panic()))
}

#[derive(Debug)]
struct FailPoint {
    action: Action,
    step: Step,
    what: Option<What>,
    n: u64,
    seen: AtomicU64,
}

impl FromStr for FailPoint {
    type Err = io::Error;

    fn from_str(text: &str) -> Result<Self, io::Error> {
        parse(text).ok_or_else(|| {
            let sentence = format!("{VARIABLE} is no fail point: {text:?}");
            io::Error::new(io::ErrorKind::InvalidInput, sentence)
        })
    }
}

fn parse(text: &str) -> Option<FailPoint> {
    let mut words = text.split_whitespace();
    let action = match words.next()? {
        "kill-before" => Action::KillBefore,
        "kill-within" => Action::KillWithin,
        "kill-after" => Action::KillAfter,
        "skip" => Action::Skip,
        _ => return None,
    };
    let step = match words.next()? {
        "create" => Step::Create,
        "write" => Step::Write,
        "sync" => Step::Sync,
        "set-len" => Step::SetLen,
        "rename" => Step::Rename,
        "remove" => Step::Remove,
        "sync-folder" => Step::SyncFolder,
        _ => return None,
    };
    let what = match words.next()? {
        "any" => None,
        "segment" => Some(What::Segment),
        "manifest" => Some(What::Manifest),
        "checkpoint" => Some(What::Checkpoint),
        "index" => Some(What::Index),
        "reserve" => Some(What::Reserve),
        "folder" => Some(What::Folder),
        _ => return None,
    };
    let n = words.next()?.parse().ok().filter(|n| *n > 0)?;
    let is_whole = words.next().is_none();
    is_whole.then_some(FailPoint { action, step, what, n, seen: AtomicU64::new(0) })
}

/// What a name stands for; an unfinished file is of the kind it will be.
fn what(name: &str) -> What {
    if name.contains(".segment") {
        What::Segment
    } else if name.contains(".index") {
        What::Index
    } else if name.starts_with("manifest") {
        What::Manifest
    } else if name.starts_with("checkpoint") {
        What::Checkpoint
    } else if name.starts_with("reserve") {
        What::Reserve
    } else {
        What::Other
    }
}

impl FailPoint {
    /// What is to happen at this step.
    fn at(&self, step: Step, what: What) -> Option<Action> {
        if step != self.step || self.what.is_some_and(|only| only != what) {
            return None;
        }
        let seen = self.seen.fetch_add(1, Ordering::SeqCst) + 1;
        let is_now = seen == self.n || (self.action == Action::Skip && seen > self.n);
        is_now.then_some(self.action)
    }

    fn around<T>(
        &self,
        step: Step,
        what: What,
        run: impl FnOnce() -> io::Result<T>,
    ) -> io::Result<T> {
        match self.at(step, what) {
            Some(Action::KillBefore | Action::KillWithin) => die(),
            Some(Action::KillAfter) => {
                let _ = run();
                die()
            }
            Some(Action::Skip) | None => run(),
        }
    }

    fn around_sync(
        &self,
        step: Step,
        what: What,
        run: impl Fn() -> io::Result<()>,
    ) -> io::Result<()> {
        match self.at(step, what) {
            Some(Action::Skip) => Ok(()),
            Some(Action::KillAfter) => {
                let _ = run();
                die()
            }
            Some(_) => die(),
            None => run(),
        }
    }
}

/// Ends the process as `kill -9` does.
fn die() -> ! {
    let _ = rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL);
    loop {
        std::thread::park();
    }
}

struct FailingDisk {
    disk: RealDisk,
    point: Arc<FailPoint>,
}

impl FailingDisk {
    fn wrap(&self, name: &str, file: io::Result<Arc<dyn File>>) -> io::Result<Arc<dyn File>> {
        let point = Arc::clone(&self.point);
        Ok(Arc::new(FailingFile { file: file?, what: what(name), point }))
    }
}

impl Disk for FailingDisk {
    fn open(&self, name: &str) -> io::Result<Arc<dyn File>> {
        self.wrap(name, self.disk.open(name))
    }

    fn create(&self, name: &str) -> io::Result<Arc<dyn File>> {
        let file = self.point.around(Step::Create, what(name), || self.disk.create(name));
        self.wrap(name, file)
    }

    fn open_log(&self, name: &str) -> io::Result<Arc<dyn File>> {
        self.wrap(name, self.disk.open_log(name))
    }

    fn create_log(&self, name: &str) -> io::Result<Arc<dyn File>> {
        let file = self.point.around(Step::Create, what(name), || self.disk.create_log(name));
        self.wrap(name, file)
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.point.around(Step::Rename, what(to), || self.disk.rename(from, to))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.point.around(Step::Remove, what(name), || self.disk.remove(name))
    }

    fn list(&self) -> io::Result<Vec<String>> {
        self.disk.list()
    }

    fn sync_folder(&self) -> io::Result<()> {
        self.point.around_sync(Step::SyncFolder, What::Folder, || self.disk.sync_folder())
    }

    fn lock(&self, name: &str) -> io::Result<Option<Box<dyn Send + Sync>>> {
        self.disk.lock(name)
    }

    fn entropy(&self) -> u64 {
        self.disk.entropy()
    }

    fn space(&self) -> io::Result<Option<Space>> {
        self.disk.space()
    }
}

struct FailingFile {
    file: Arc<dyn File>,
    what: What,
    point: Arc<FailPoint>,
}

impl File for FailingFile {
    fn read_at(&self, into: &mut [u8], offset: u64) -> io::Result<usize> {
        self.file.read_at(into, offset)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<usize> {
        match self.point.at(Step::Write, self.what) {
            Some(Action::KillBefore) => die(),
            Some(Action::KillWithin) => {
                let _ = self.file.write_at(&bytes[..bytes.len() / 2], offset);
                die()
            }
            Some(Action::KillAfter) => {
                let _ = self.file.write_at(bytes, offset);
                die()
            }
            Some(Action::Skip) | None => self.file.write_at(bytes, offset),
        }
    }

    fn sync_data(&self) -> io::Result<()> {
        self.point.around_sync(Step::Sync, self.what, || self.file.sync_data())
    }

    fn sync_all(&self) -> io::Result<()> {
        self.point.around_sync(Step::Sync, self.what, || self.file.sync_all())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.point.around(Step::SetLen, self.what, || self.file.set_len(len))
    }

    fn allocate(&self, len: u64) -> io::Result<()> {
        self.point.around(Step::SetLen, self.what, || self.file.allocate(len))
    }

    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fail_point_is_hit_once_and_a_skip_from_then_on() {
        let point: FailPoint = "kill-after rename manifest 2".parse().unwrap();
        let hits: Vec<_> = (0..4).map(|_| point.at(Step::Rename, what("manifest.2"))).collect();
        assert_eq!(hits, [None, Some(Action::KillAfter), None, None]);
        let point: FailPoint = "skip sync any 2".parse().unwrap();
        let hits: Vec<_> = (0..3).map(|_| point.at(Step::Sync, What::Segment)).collect();
        assert_eq!(hits, [None, Some(Action::Skip), Some(Action::Skip)]);
        assert_eq!(point.at(Step::Write, What::Segment), None);
    }

    #[test]
    fn what_is_no_fail_point_is_refused() {
        for text in ["", "kill sync any 1", "skip sync any", "skip sync any 0", "skip sync x 1"] {
            assert!(text.parse::<FailPoint>().is_err(), "{text}");
        }
    }
}
