//! Histograms: one with a single writer for requests, one that anyone may write for everything rare.

use std::fmt::Write;
use std::sync::atomic::{AtomicU64, Ordering};

use super::names::{Kind, Metric};

/// Upper bounds of Envoy's default buckets, in thousandths of the unit (milliseconds or bytes) so that they are whole.
const BOUNDS: [u64; 19] = [
    500,
    1_000,
    5_000,
    10_000,
    25_000,
    50_000,
    100_000,
    250_000,
    500_000,
    1_000_000,
    2_500_000,
    5_000_000,
    10_000_000,
    30_000_000,
    60_000_000,
    300_000_000,
    600_000_000,
    1_800_000_000,
    3_600_000_000,
];

/// How the bounds print.
const BOUND_TEXTS: [&str; 20] = [
    "0.5", "1", "5", "10", "25", "50", "100", "250", "500", "1000", "2500", "5000", "10000", "30000",
    "60000", "300000", "600000", "1800000", "3600000", "+Inf",
];

/// Adds to a number that this thread alone writes: no read-modify-write, so no bus lock.
pub(super) fn add(to: &AtomicU64, amount: u64) {
    to.store(to.load(Ordering::Relaxed).wrapping_add(amount), Ordering::Relaxed);
}

/// A histogram that one thread writes and any thread reads.
#[derive(Debug, Default)]
pub(super) struct Histogram {
    buckets: [AtomicU64; BOUNDS.len() + 1],
    sum: AtomicU64,
}

impl Histogram {
    /// Counts a value given in thousandths of the unit, and adds `amount` to the sum, in whatever the sum is kept in.
    pub(super) fn record(&self, thousandths: u64, amount: u64) {
        let bucket = BOUNDS.iter().take_while(|bound| **bound < thousandths).count();
        if let Some(bucket) = self.buckets.get(bucket) {
            add(bucket, 1);
        }
        add(&self.sum, amount);
    }

    /// Adds what is counted here to `totals`.
    pub(super) fn read(&self, totals: &mut HistogramTotals) {
        for (total, bucket) in totals.buckets.iter_mut().zip(&self.buckets) {
            *total += bucket.load(Ordering::Relaxed);
        }
        totals.sum += self.sum.load(Ordering::Relaxed);
    }
}

/// What several histograms counted together.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct HistogramTotals {
    /// Not cumulative.
    pub(super) buckets: [u64; BOUNDS.len() + 1],
    pub(super) sum: u64,
}

impl HistogramTotals {
    /// How many values were counted.
    pub(super) fn count(&self) -> u64 {
        self.buckets.iter().sum()
    }

    /// Appends the lines of one series. `divisor` turns the sum into the unit.
    pub(super) fn render(&self, metric: Metric, labels: &str, divisor: u64, out: &mut String) {
        let mut cumulated = 0;
        for (count, bound) in self.buckets.iter().zip(BOUND_TEXTS) {
            cumulated += count;
            push_all(out, &[metric.name, "_bucket{", labels, ",le=\"", bound, "\"} "]);
            push_number(out, cumulated);
            out.push('\n');
        }
        push_all(out, &[metric.name, "_sum{", labels, "} "]);
        push_number(out, self.sum / divisor);
        if !self.sum.is_multiple_of(divisor) {
            // Writing to a String cannot fail.
            let _ = write!(out, ".{:03}", self.sum % divisor);
        }
        push_all(out, &["\n", metric.name, "_count{", labels, "} "]);
        push_number(out, cumulated);
        out.push('\n');
    }
}

fn push_all(out: &mut String, parts: &[&str]) {
    parts.iter().for_each(|part| out.push_str(part));
}

fn push_number(out: &mut String, number: u64) {
    let _ = write!(out, "{number}");
}

/// A histogram that any thread may write, for what happens rarely (a change of configuration, not a request).
#[derive(Debug)]
pub struct SharedHistogram {
    metric: Metric,
    bounds: Vec<f64>,
    buckets: Vec<AtomicU64>,
    /// The bits of an `f64`.
    sum: AtomicU64,
}

impl SharedHistogram {
    /// `bounds` are upper bounds in the metric's unit; they are sorted, and values that are not finite dropped.
    pub(super) fn new(name: &'static str, help: &'static str, bounds: &[f64]) -> SharedHistogram {
        let mut bounds: Vec<f64> = bounds.iter().copied().filter(|bound| bound.is_finite()).collect();
        bounds.sort_by(f64::total_cmp);
        bounds.dedup();
        let buckets = (0..=bounds.len()).map(|_| AtomicU64::new(0)).collect();
        let metric = Metric { name, kind: Kind::Histogram, unit: "", help };
        SharedHistogram { metric, bounds, buckets, sum: AtomicU64::new(0.0_f64.to_bits()) }
    }

    /// Its row, as in the table of names.
    pub fn metric(&self) -> Metric {
        self.metric
    }

    /// Counts a value in the metric's unit. Values that are no number are ignored.
    pub fn observe(&self, value: f64) {
        if value.is_nan() {
            return;
        }
        let index = self.bounds.partition_point(|bound| *bound < value);
        if let Some(bucket) = self.buckets.get(index) {
            bucket.fetch_add(1, Ordering::Relaxed);
        }
        let add = |bits| Some((f64::from_bits(bits) + value).to_bits());
        // The closure never says None, so this cannot fail.
        let _ = self.sum.fetch_update(Ordering::Relaxed, Ordering::Relaxed, add);
    }

    pub(super) fn render(&self, out: &mut String) {
        let name = self.metric.name;
        let mut cumulated = 0;
        for (index, bucket) in self.buckets.iter().enumerate() {
            cumulated += bucket.load(Ordering::Relaxed);
            let _ = match self.bounds.get(index) {
                Some(bound) => writeln!(out, "{name}_bucket{{le=\"{bound}\"}} {cumulated}"),
                None => writeln!(out, "{name}_bucket{{le=\"+Inf\"}} {cumulated}"),
            };
        }
        let sum = f64::from_bits(self.sum.load(Ordering::Relaxed));
        let _ = writeln!(out, "{name}_sum {sum}\n{name}_count {cumulated}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_on_a_bound_is_below_it() {
        for (index, bound) in BOUNDS.iter().enumerate() {
            let histogram = Histogram::default();
            histogram.record(*bound, 1);
            histogram.record(*bound + 1, 2);
            let mut totals = HistogramTotals::default();
            histogram.read(&mut totals);
            assert_eq!((totals.buckets[index], totals.buckets[index + 1], totals.sum), (1, 1, 3));
            let text: f64 = BOUND_TEXTS[index].parse().unwrap();
            assert_eq!(text * 1_000.0, *bound as f64);
        }
    }

    #[test]
    fn a_shared_histogram_renders_cumulated_counts() {
        let histogram = SharedHistogram::new("limen_x_seconds", "X.", &[0.5, 0.1, f64::INFINITY]);
        [0.1, 0.25, 7.0, f64::NAN].into_iter().for_each(|value| histogram.observe(value));
        let mut out = String::new();
        histogram.render(&mut out);
        let expected = "limen_x_seconds_bucket{le=\"0.1\"} 1\nlimen_x_seconds_bucket{le=\"0.5\"} 2\n\
            limen_x_seconds_bucket{le=\"+Inf\"} 3\nlimen_x_seconds_sum 7.35\nlimen_x_seconds_count 3\n";
        assert_eq!(out, expected);
    }
}
