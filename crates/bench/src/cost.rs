//! What a process used: processor time in nanoseconds, and memory.
//!
//! The time is the sum over the threads that are alive (nanoseconds), or that of the whole process
//! with threads that ended (ticks of 10 ms), whichever is more: the first is finer, the second
//! misses nothing.

use std::collections::BTreeMap;
use std::fs;

use anyhow::{Context, Result};

/// Nanoseconds in a tick of `/proc/PID/stat`.
const TICK_NS: u64 = 10_000_000;

/// What a process used since its start.
#[derive(Debug, Clone, Default)]
pub struct Usage {
    threads_ns: u64,
    process_ns: u64,
    /// Nanoseconds by name of the thread.
    by_thread: BTreeMap<String, u64>,
}

impl Usage {
    /// Of a process, now.
    pub fn of(pid: u32) -> Result<Usage> {
        let mut usage = Usage { process_ns: process_ns(pid)?, ..Usage::default() };
        for task in fs::read_dir(format!("/proc/{pid}/task"))? {
            let folder = task?.path();
            // A thread may end between the listing and the reading.
            let Ok(line) = fs::read_to_string(folder.join("schedstat")) else { continue };
            let spent = line.split_whitespace().next().and_then(|word| word.parse().ok());
            let name = fs::read_to_string(folder.join("comm")).unwrap_or_default();
            let spent: u64 = spent.context("no time in schedstat")?;
            *usage.by_thread.entry(name.trim().to_owned()).or_default() += spent;
            usage.threads_ns += spent;
        }
        Ok(usage)
    }

    /// Of a process and all that it started, now.
    pub fn of_tree(pid: u32) -> Result<Usage> {
        let mut usage = Usage::of(pid)?;
        for child in descendants(pid)? {
            // A child may end between the listing and the reading.
            let Ok(more) = Usage::of(child) else { continue };
            usage.threads_ns += more.threads_ns;
            usage.process_ns += more.process_ns;
            for (name, spent) in more.by_thread {
                *usage.by_thread.entry(name).or_default() += spent;
            }
        }
        Ok(usage)
    }

    /// Nanoseconds of processor time since an earlier reading.
    #[must_use]
    pub fn cpu_ns_since(&self, earlier: &Usage) -> u64 {
        let threads = self.threads_ns.saturating_sub(earlier.threads_ns);
        let process = self.process_ns.saturating_sub(earlier.process_ns);
        // Both are rounded down to a tick.
        threads.max(process.saturating_sub(TICK_NS))
    }

    /// The same by name of the thread, the busiest first.
    #[must_use]
    pub fn by_thread_since(&self, earlier: &Usage) -> Vec<(String, u64)> {
        let mut spent: Vec<(String, u64)> = self
            .by_thread
            .iter()
            .map(|(name, now)| {
                let before = earlier.by_thread.get(name).copied().unwrap_or_default();
                (name.clone(), now.saturating_sub(before))
            })
            .collect();
        spent.sort_by_key(|(_, ns)| std::cmp::Reverse(*ns));
        spent
    }
}

/// The processes that a process started, and those that they started.
fn descendants(pid: u32) -> Result<Vec<u32>> {
    let mut parents: Vec<(u32, u32)> = Vec::new();
    for entry in fs::read_dir("/proc")? {
        let entry = entry?;
        let Some(child) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else {
            continue;
        };
        let stat = fs::read_to_string(entry.path().join("stat")).unwrap_or_default();
        let parent = stat.rsplit_once(") ").and_then(|(_, fields)| fields.split(' ').nth(1));
        if let Some(parent) = parent.and_then(|field| field.parse().ok()) {
            parents.push((child, parent));
        }
    }
    let mut found: Vec<u32> = vec![pid];
    let mut at = 0;
    while let Some(&parent) = found.get(at) {
        found.extend(parents.iter().filter(|(_, of)| *of == parent).map(|(child, _)| *child));
        at += 1;
    }
    found.remove(0);
    Ok(found)
}

/// User and system time of a process, threads that ended included.
fn process_ns(pid: u32) -> Result<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    let (_, fields) = stat.rsplit_once(") ").context("no name in stat")?;
    let ticks = |at: usize| fields.split(' ').nth(at).and_then(|field| field.parse::<u64>().ok());
    let (user, system) = ticks(11).zip(ticks(12)).context("no times in stat")?;
    Ok((user + system) * TICK_NS)
}

/// The most memory that a process had resident, in KiB.
pub fn rss_peak_kib(pid: u32) -> Result<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let figure = line.and_then(|line| line.split_whitespace().next()?.parse().ok());
    figure.context("no VmHWM in status")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_is_seen() {
        let pid = std::process::id();
        let before = Usage::of(pid).unwrap();
        let mut sum = 0u64;
        let mut spent = 0;
        while spent < 30_000_000 {
            for n in 0..1_000_000u64 {
                sum = std::hint::black_box(sum.wrapping_add(n));
            }
            spent = Usage::of(pid).unwrap().cpu_ns_since(&before);
        }
        assert!(spent < 60_000_000_000, "{spent}");
        assert!(rss_peak_kib(pid).unwrap() > 100);
    }

    #[test]
    fn children_belong_to_the_tree() {
        let mut child = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        let found = descendants(std::process::id()).unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(found.contains(&child.id()), "{found:?}");
    }
}
