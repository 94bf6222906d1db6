//! The output of a child process, read by a thread of its own so that the child never blocks on a
//! full pipe. Keeps the last bytes of a long output; lines can be waited for, with a deadline.

use std::io::Read;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

/// What is kept of an output; older bytes are dropped.
const KEPT_BYTES_MAX: usize = 4 << 20;

#[derive(Debug, Default)]
struct Captured {
    bytes: Vec<u8>,
    /// How far [`Capture::line`] has read.
    taken: usize,
    ended: bool,
}

/// One captured output.
#[derive(Clone, Debug)]
pub struct Capture {
    shared: Arc<(Mutex<Captured>, Condvar)>,
}

impl Capture {
    /// Begins to read `source` until it ends.
    pub fn start(mut source: impl Read + Send + 'static) -> Self {
        let capture = Self { shared: Arc::default() };
        let writer = capture.clone();
        std::thread::spawn(move || {
            let mut chunk = [0; 4096];
            while let Ok(count @ 1..) = source.read(&mut chunk) {
                writer.append(&chunk[..count]);
            }
            writer.lock().ended = true;
            writer.shared.1.notify_all();
        });
        capture
    }

    /// Everything read so far, bytes that are no UTF-8 replaced.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.lock().bytes).into_owned()
    }

    /// Everything read so far.
    pub fn bytes(&self) -> Vec<u8> {
        self.lock().bytes.clone()
    }

    /// The next line without its end; `None` after the last one of an output that has ended.
    pub fn line(&self, wait: Duration) -> Result<Option<String>> {
        let deadline = Instant::now() + wait;
        let mut captured = self.lock();
        loop {
            let rest = captured.bytes.get(captured.taken..).unwrap_or_default();
            let whole = rest.iter().position(|byte| *byte == b'\n');
            let length = whole.or(if captured.ended { Some(rest.len()) } else { None });
            if let Some(length) = length {
                if whole.is_none() && length == 0 {
                    return Ok(None);
                }
                let line = String::from_utf8_lossy(&rest[..length]).into_owned();
                captured.taken += length + usize::from(whole.is_some());
                return Ok(Some(line));
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                let seen = String::from_utf8_lossy(rest).into_owned();
                bail!("no line came within {wait:?}; since the last one: {seen:?}");
            }
            let waited = self.shared.1.wait_timeout(captured, left);
            captured = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Waits until the output ended, that is until nobody holds its other end.
    pub fn finish(&self, wait: Duration) -> Result<()> {
        let deadline = Instant::now() + wait;
        let mut captured = self.lock();
        while !captured.ended {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                bail!("the output did not end within {wait:?}");
            }
            let waited = self.shared.1.wait_timeout(captured, left);
            captured = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        Ok(())
    }

    fn append(&self, chunk: &[u8]) {
        let mut captured = self.lock();
        captured.bytes.extend_from_slice(chunk);
        let excess = captured.bytes.len().saturating_sub(KEPT_BYTES_MAX);
        if excess > 0 {
            captured.bytes.drain(..excess);
            captured.taken = captured.taken.saturating_sub(excess);
        }
        self.shared.1.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, Captured> {
        self.shared.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
