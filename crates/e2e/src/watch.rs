//! What a broker uses while it works: memory of the process, sampled by a thread; bytes on disk.

use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

const PAUSE: Duration = Duration::from_millis(20);

/// Memory of a process, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Memory {
    /// All that is resident.
    pub resident: u64,
    /// Without pages of files.
    pub anonymous: u64,
}

/// What a process uses now; `None` once it is gone.
pub fn memory(pid: u32) -> Option<Memory> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let bytes = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name))?;
        line.split_whitespace().next()?.parse::<u64>().ok().map(|kib| kib * 1024)
    };
    Some(Memory { resident: bytes("VmRSS:")?, anonymous: bytes("RssAnon:")? })
}

#[derive(Debug, Default)]
struct Peak {
    resident: AtomicU64,
    anonymous: AtomicU64,
    is_over: AtomicBool,
}

/// Samples a process until it is dropped.
#[derive(Debug)]
pub struct Watch {
    peak: Arc<Peak>,
    thread: Option<JoinHandle<()>>,
}

impl Watch {
    /// Begins.
    pub fn start(pid: u32) -> Self {
        let peak = Arc::new(Peak::default());
        let shared = Arc::clone(&peak);
        let thread = std::thread::spawn(move || {
            while !shared.is_over.load(Ordering::SeqCst)
                && let Some(now) = memory(pid)
            {
                shared.resident.fetch_max(now.resident, Ordering::SeqCst);
                shared.anonymous.fetch_max(now.anonymous, Ordering::SeqCst);
                std::thread::sleep(PAUSE);
            }
        });
        Self { peak, thread: Some(thread) }
    }

    /// The most since the beginning or the last call.
    pub fn take_peak(&self) -> Memory {
        Memory {
            resident: self.peak.resident.swap(0, Ordering::SeqCst),
            anonymous: self.peak.anonymous.swap(0, Ordering::SeqCst),
        }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.peak.is_over.store(true, Ordering::SeqCst);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// What a data folder takes up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OnDisk {
    /// Bytes allocated, of all files.
    pub bytes: u64,
    /// Files of the log.
    pub segments: u64,
}

/// What a data folder takes up now; files that go meanwhile do not count.
pub fn on_disk(folder: &Path) -> OnDisk {
    let mut found = OnDisk::default();
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let Ok(metadata) = entry.metadata() else { continue };
        found.bytes += metadata.blocks() * 512;
        found.segments += u64::from(entry.file_name().to_string_lossy().ends_with(".segment"));
    }
    found
}

/// Asks until the answer is yes, but not longer than `within`; how long it took.
pub fn wait_until(within: Duration, mut is_so: impl FnMut() -> bool) -> Option<Duration> {
    let started = Instant::now();
    loop {
        if is_so() {
            return Some(started.elapsed());
        }
        if started.elapsed() > within {
            return None;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}
