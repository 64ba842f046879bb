//! How much memory the process may use and does use: the limit of its control group, which kills what exceeds it, or one
//! that the user gave.

use std::fs;
use std::path::{Path, PathBuf};

use limen_proxy::limits::memory::MemoryLimit;
use limen_proxy::limits::used::Used;

use crate::settings::Size;

/// Where control groups are.
const CGROUPS: &str = "/sys/fs/cgroup";
/// A limit above this is none: version 1 has no word for that and says a number near `i64::MAX`.
const NO_LIMIT: u64 = 1 << 60;
/// Left of a control group's limit for what comes between two looks.
const LEAST_MARGIN: u64 = 16 << 20;

/// The limit that a setting means, with the reader of what is compared with it: the control group's own numbers where
/// the limit is the control group's, else the memory that the process holds.
pub(crate) fn limit(setting: Option<Size>) -> Option<MemoryLimit> {
    match setting {
        Some(Size::Off) => None,
        Some(Size::Bytes(max_bytes)) => Some(MemoryLimit { max_bytes, used: Used::new(resident) }),
        None => {
            let own = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
            let group = Group::find(Path::new(CGROUPS), &own)?;
            let max_bytes = less_margin(group.limit);
            Some(MemoryLimit { max_bytes, used: Used::new(move || group.used()) })
        }
    }
}

/// A twentieth less, at least 16 MiB, but no more than a quarter.
fn less_margin(limit: u64) -> u64 {
    limit - (limit / 20).max(LEAST_MARGIN).min(limit / 4)
}

/// Bytes of the process that are in memory.
pub(crate) fn resident() -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kibibytes: u64 = line.trim().trim_end_matches("kB").trim().parse().ok()?;
    kibibytes.checked_mul(1024)
}

/// A control group that limits memory.
#[derive(Debug, PartialEq, Eq)]
struct Group {
    limit: u64,
    usage: PathBuf,
    stat: PathBuf,
    /// Of `stat`: files in memory that can be dropped at once.
    droppable: &'static str,
}

impl Group {
    /// The group of the process, or one that holds it, with the lowest limit. `own` is `/proc/self/cgroup`.
    fn find(root: &Path, own: &str) -> Option<Group> {
        let groups = own.lines().filter_map(|line| {
            let (_, rest) = line.split_once(':')?;
            let (controllers, path) = rest.split_once(':')?;
            match controllers {
                "" => Some(Group::lowest(root, path, &["memory.max", "memory.current", "inactive_file "])),
                _ if controllers.split(',').any(|name| name == "memory") => {
                    let names = ["memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file "];
                    Some(Group::lowest(&root.join("memory"), path, &names))
                }
                _ => None,
            }
        });
        groups.flatten().min_by_key(|group| group.limit)
    }

    fn lowest(root: &Path, path: &str, names: &[&'static str; 3]) -> Option<Group> {
        let [limit, usage, droppable] = names;
        let own = root.join(path.trim_start_matches('/'));
        // Inside a container the path may be one of the host's: then the root is the container's group.
        let folders = own.ancestors().take_while(|folder| folder.starts_with(root));
        let groups = folders.filter_map(|folder| {
            let limit: u64 = fs::read_to_string(folder.join(limit)).ok()?.trim().parse().ok()?;
            let (usage, stat) = (folder.join(usage), folder.join("memory.stat"));
            (limit < NO_LIMIT).then_some(Group { limit, usage, stat, droppable })
        });
        groups.min_by_key(|group| group.limit)
    }

    /// Bytes that cannot be had back by dropping what files have in memory.
    fn used(&self) -> Option<u64> {
        let usage: u64 = fs::read_to_string(&self.usage).ok()?.trim().parse().ok()?;
        let stat = fs::read_to_string(&self.stat).unwrap_or_default();
        let droppable = stat.lines().find_map(|line| line.strip_prefix(self.droppable)?.trim().parse().ok());
        Some(usage.saturating_sub(droppable.unwrap_or(0)))
    }
}

#[cfg(test)]
#[path = "memory_tests.rs"]
mod tests;
