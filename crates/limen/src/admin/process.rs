//! What the process takes, under the names that Prometheus' own libraries use.

use std::fmt::Write;
use std::fs;

use crate::memory;

/// `getauxval(3)`: how many ticks of the clock a second has in `/proc`.
const AT_CLKTCK: usize = 17;
/// What it is on every machine but those that say otherwise.
const USUAL_TICKS: u64 = 100;

const CPU: &str = "process_cpu_seconds_total";
const RESIDENT: &str = "process_resident_memory_bytes";

/// What the system tells of the process; nothing where it tells nothing.
pub(super) fn render() -> String {
    let mut out = String::new();
    // Writing to a String cannot fail.
    if let Some(ticks) = fs::read_to_string("/proc/self/stat").ok().and_then(|stat| cpu_ticks(&stat)) {
        let per_second = ticks_per_second(&fs::read("/proc/self/auxv").unwrap_or_default());
        let seconds = ticks as f64 / per_second as f64;
        let _ = writeln!(out, "# HELP {CPU} Seconds of processor time, of user and system.");
        let _ = writeln!(out, "# TYPE {CPU} counter\n{CPU} {seconds}");
    }
    if let Some(bytes) = memory::resident() {
        let _ = writeln!(out, "# HELP {RESIDENT} Bytes of the process that are in memory.");
        let _ = writeln!(out, "# TYPE {RESIDENT} gauge\n{RESIDENT} {bytes}");
    }
    out
}

/// User and system time together (proc(5), `/proc/pid/stat`, fields 14 and 15). The name before may hold anything.
fn cpu_ticks(stat: &str) -> Option<u64> {
    let (_, rest) = stat.rsplit_once(')')?;
    let mut fields = rest.split_ascii_whitespace().skip(11);
    let mut ticks = || fields.next()?.parse::<u64>().ok();
    ticks()?.checked_add(ticks()?)
}

/// Pairs of words: what it is, and its value.
fn ticks_per_second(auxv: &[u8]) -> u64 {
    const WORD: usize = size_of::<usize>();
    let word = |bytes: &[u8]| bytes.try_into().map_or(0, usize::from_ne_bytes);
    let mut pairs = auxv.chunks_exact(2 * WORD).map(|pair| pair.split_at(WORD));
    let found = pairs.find(|(kind, _)| word(kind) == AT_CLKTCK).map(|(_, value)| word(value) as u64);
    found.filter(|ticks| *ticks > 0).unwrap_or(USUAL_TICKS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_found_behind_any_name() {
        let stat = "7 (a) b) S 1 7 7 0 -1 4194304 11 12 13 14 150 25 3 4 20 0 9 0 1 2";
        assert_eq!(cpu_ticks(stat), Some(175));
        assert_eq!(cpu_ticks("7 (a) S 1"), None);
    }

    #[test]
    fn the_clock_is_the_systems() {
        let words: Vec<u8> = [6, 4096, AT_CLKTCK, 250, 0, 0].iter().flat_map(|w| w.to_ne_bytes()).collect();
        assert_eq!((ticks_per_second(&words), ticks_per_second(&[])), (250, 100));
    }

    #[test]
    fn both_are_told_of_this_process() {
        let text = render();
        let value = |name: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default();
            line.trim().parse::<f64>().unwrap_or_default()
        };
        assert!(value(RESIDENT) > 1e6 && value(CPU) < 1e6, "{text}");
        assert!(text.contains("\nprocess_cpu_seconds_total "), "{text}");
    }
}
