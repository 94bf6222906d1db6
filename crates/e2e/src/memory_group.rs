//! A control group that caps the memory of a process, page cache included. Only root can make one.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

const ROOT_V1: &str = "/sys/fs/cgroup/memory";
const ROOT_V2: &str = "/sys/fs/cgroup";

/// A group; removed when it is dropped, once its processes are gone.
#[derive(Debug)]
pub struct MemoryGroup {
    path: PathBuf,
}

/// Why no group can be made here; `None` if one can.
pub fn why_not() -> Option<String> {
    if !rustix::process::geteuid().is_root() {
        return Some("only root may cap memory".to_owned());
    }
    root().err().map(|error| format!("{error:#}"))
}

/// Where groups are made, and the file of the cap.
fn root() -> Result<(PathBuf, &'static str)> {
    let (v1, v2) = (Path::new(ROOT_V1), Path::new(ROOT_V2));
    if v1.join("memory.limit_in_bytes").exists() {
        return Ok((v1.to_owned(), "memory.limit_in_bytes"));
    }
    let controllers = fs::read_to_string(v2.join("cgroup.controllers"))
        .context("there is no memory controller under /sys/fs/cgroup")?;
    anyhow::ensure!(controllers.contains("memory"), "the memory controller is not there");
    // Where it is on already this changes nothing; where it can't be, the cap below fails.
    let _ = fs::write(v2.join("cgroup.subtree_control"), "+memory");
    Ok((v2.to_owned(), "memory.max"))
}

impl MemoryGroup {
    /// Makes a group with a cap, for a process that has just been started.
    pub fn new(bytes_max: u64, pid: u32) -> Result<Self> {
        let (root, cap) = root()?;
        let group = Self { path: root.join(format!("courant-{pid}")) };
        fs::create_dir(&group.path).with_context(|| group.path.display().to_string())?;
        fs::write(group.path.join(cap), bytes_max.to_string()).context("the cap")?;
        fs::write(group.path.join("cgroup.procs"), pid.to_string()).context("the process")?;
        Ok(group)
    }
}

impl Drop for MemoryGroup {
    fn drop(&mut self) {
        let _ = fs::remove_dir(&self.path);
    }
}
