//! How much memory there is, and how much this process takes.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;

/// The part of the memory there is that a broker may take before publishers have to wait, in
/// percent. The rest is for the page cache, and for what was begun before they wait.
pub const SHARE_PERCENT: u8 = 60;

/// Where control groups are, and how they name the memory that a group may take: version 2 and 1.
const GROUPS: [(&str, &str); 2] =
    [("/sys/fs/cgroup", "memory.max"), ("/sys/fs/cgroup/memory", "memory.limit_in_bytes")];

/// Bytes that this process may take: of the machine, or of its control group if that is less; found
/// once. As good as endless where nobody knows.
pub fn available_bytes() -> u64 {
    static FOUND: OnceLock<u64> = OnceLock::new();
    *FOUND.get_or_init(|| machine_bytes().min(group_bytes()))
}

/// A part of [`available_bytes`].
pub fn percent_bytes(percent: u8) -> u64 {
    available_bytes() / 100 * u64::from(percent)
}

/// Bytes of memory that this process has at hand; `None` where nobody knows.
pub(crate) fn resident_bytes() -> Option<u64> {
    kib(&std::fs::read_to_string("/proc/self/status").ok()?, "VmRSS:")
}

fn machine_bytes() -> u64 {
    let text = std::fs::read_to_string("/proc/meminfo").ok();
    text.and_then(|text| kib(&text, "MemTotal:")).unwrap_or(u64::MAX)
}

/// The number behind a word at the beginning of a line, which counts KiB.
fn kib(text: &str, word: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(word))?;
    line.split_whitespace().next()?.parse::<u64>().ok()?.checked_mul(1 << 10)
}

fn group_bytes() -> u64 {
    let groups = std::fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let bounds = GROUPS.iter().flat_map(|(root, file)| {
        folders(&groups, root).filter_map(move |folder| bound(&folder.join(file)))
    });
    bounds.min().unwrap_or(u64::MAX)
}

/// The folders of the groups that this process is in, and of all around them. Within a container
/// the path may be one of the outside: then the root is the one that counts.
fn folders<'a>(groups: &'a str, root: &'a str) -> impl Iterator<Item = PathBuf> + 'a {
    let paths = groups.lines().filter_map(|line| line.splitn(3, ':').nth(2));
    paths.flat_map(move |path| {
        let path = Path::new(path.trim_start_matches('/'));
        path.ancestors().map(|part| Path::new(root).join(part)).collect::<Vec<_>>()
    })
}

/// `max` is none.
fn bound(file: &Path) -> Option<u64> {
    std::fs::read_to_string(file).ok()?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_found_behind_their_words() {
        let text = "VmPeak:\t    1234 kB\nVmRSS:\t     567 kB\nRssAnon:\t 5 kB\n";
        assert_eq!(kib(text, "VmRSS:"), Some(567 << 10));
        assert_eq!(kib(text, "VmSwap:"), None);
    }

    #[test]
    fn groups_are_looked_at_up_to_the_root() {
        let found: Vec<_> = folders("0::/a/b\n", "/sys/fs/cgroup").collect();
        let expected = ["/sys/fs/cgroup/a/b", "/sys/fs/cgroup/a", "/sys/fs/cgroup/"];
        assert_eq!(found, expected.map(PathBuf::from));
    }

    #[test]
    fn this_process_takes_some_of_what_there_is() {
        let resident = resident_bytes().expect("a number");
        assert!(resident > 100 << 10 && resident < available_bytes());
        assert!(percent_bytes(SHARE_PERCENT) < available_bytes());
    }
}
