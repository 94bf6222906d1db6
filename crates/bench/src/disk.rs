//! What the disk takes for one synced batch: the mean time of writing some bytes into a file that
//! was filled with zeros before, and syncing them.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::Instant;

use anyhow::Result;

const FILE_BYTES: usize = 64 << 20;
const BATCHES: usize = 200;

/// Seconds for one batch of that many bytes on the file system of `folder`, on average.
pub fn sync_seconds(folder: &Path, batch_bytes: usize) -> Result<f64> {
    let path = folder.join("sync-probe");
    let file = File::create(&path)?;
    let zeros = vec![0; 1 << 20];
    for at in (0..FILE_BYTES).step_by(zeros.len()) {
        file.write_all_at(&zeros, at as u64)?;
    }
    file.sync_all()?;
    let batch = vec![0x5a; batch_bytes];
    let room = FILE_BYTES / batch_bytes;
    let begun = Instant::now();
    for turn in 0..BATCHES {
        file.write_all_at(&batch, ((turn % room) * batch_bytes) as u64)?;
        file.sync_data()?;
    }
    let mean = begun.elapsed().as_secs_f64() / crate::report::float(BATCHES as u64);
    std::fs::remove_file(&path)?;
    Ok(mean)
}
