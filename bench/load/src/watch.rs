//! What the gateway says of itself over time: counters never go back, memory stays what it was.

use std::collections::HashMap;

/// Whether counters only ever grew.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    seen: HashMap<String, f64>,
    /// The first ones that went back.
    pub(crate) back: Vec<String>,
    pub(crate) scrapes: u64,
}

/// The values of a metric with this name, summed.
pub(crate) fn metric(text: &str, name: &str) -> f64 {
    let own = text.lines().filter(|line| line.split(['{', ' ']).next() == Some(name));
    own.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum()
}

impl Counters {
    /// Compares with what was seen before. A series that is gone and comes back must go on where it was.
    pub(crate) fn look(&mut self, text: &str) {
        self.scrapes += 1;
        let mut grows = false;
        for line in text.lines() {
            if let Some(kind) = line.strip_prefix("# TYPE ") {
                grows = kind.ends_with(" counter") || kind.ends_with(" histogram");
            }
            if !grows || line.starts_with('#') {
                continue;
            }
            let Some((series, value)) = line.rsplit_once(' ') else { continue };
            let Ok(value) = value.parse::<f64>() else { continue };
            match self.seen.get_mut(series) {
                Some(before) if value < *before => {
                    if self.back.len() < 5 {
                        self.back.push(format!("{series}: {before} then {value}"));
                    }
                }
                Some(before) => *before = value,
                None => {
                    self.seen.insert(series.to_owned(), value);
                }
            }
        }
    }

    /// How many series there were.
    pub(crate) fn series(&self) -> usize {
        self.seen.len()
    }
}

/// Memory, once a second.
#[derive(Debug, Default)]
pub(crate) struct Memory(Vec<u64>);

impl Memory {
    pub(crate) fn add(&mut self, kib: u64) {
        self.0.push(kib);
    }

    /// One in ten of them.
    pub(crate) fn text(&self) -> String {
        self.0.iter().step_by(10).map(u64::to_string).collect::<Vec<_>>().join(" ")
    }

    /// The medians of the first and of the last third of what came after the warm-up, in KiB.
    pub(crate) fn thirds(&self, warm_up: usize) -> (u64, u64) {
        let after = self.0.get(warm_up..).filter(|after| after.len() >= 3).unwrap_or(&self.0);
        let third = (after.len() / 3).max(1).min(after.len());
        let median = |part: &[u64]| {
            let mut part = part.to_vec();
            part.sort_unstable();
            part.get(part.len() / 2).copied().unwrap_or(0)
        };
        (median(&after[..third]), median(&after[after.len() - third..]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_counter_that_goes_back_is_found_even_after_it_was_away() {
        let text = |value: u32, gauge: u32| {
            format!("# TYPE a counter\na{{x=\"1\"}} {value}\n# TYPE b gauge\nb {gauge}\n")
        };
        let mut counters = Counters::default();
        for (said, back) in
            [(text(5, 9), 0), (text(7, 3), 0), (String::new(), 0), (text(8, 1), 0), (text(6, 1), 1)]
        {
            counters.look(&said);
            assert_eq!(counters.back.len(), back, "{said}");
        }
    }

    #[test]
    fn memory_is_compared_after_the_warm_up() {
        let mut memory = Memory::default();
        [1, 1, 10, 11, 12, 50, 50, 50, 20, 21, 22].into_iter().for_each(|kib| memory.add(kib));
        assert_eq!(memory.thirds(2), (11, 21));
    }
}
