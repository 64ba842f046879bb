//! Durations as Go writes them.

use std::fmt;

use serde::{Serialize, Serializer};

/// A span of time in whole milliseconds, written as in Go: `5s`, `1.5h`, `100ms`, `1m30s`, `0`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GoDuration {
    millis: u64,
}

impl GoDuration {
    /// So many milliseconds.
    pub const fn from_millis(millis: u64) -> GoDuration {
        GoDuration { millis }
    }

    /// The number of milliseconds; 0 is possible where the API gives it a meaning.
    pub const fn millis(self) -> u64 {
        self.millis
    }

    /// Reads a Go duration. Signs, missing units and parts of a millisecond are refused.
    pub fn parse(text: &str) -> Result<GoDuration, &'static str> {
        const NO_DURATION: &str = "expected a duration such as 5s, 1.5h or 100ms";
        const TOO_LONG: &str = "expected a duration of at most 292 years";
        let mut rest = match text {
            "0" => return Ok(GoDuration { millis: 0 }),
            "" => return Err(NO_DURATION),
            _ if text.starts_with('-') => return Err("expected a duration that is not negative"),
            _ => text,
        };
        let mut nanos = 0_u128;
        while !rest.is_empty() {
            let number_end = rest.find(|c: char| !c.is_ascii_digit() && c != '.').ok_or(NO_DURATION)?;
            let (number, tail) = rest.split_at(number_end);
            let unit_end = tail.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(tail.len());
            let (unit, tail) = tail.split_at(unit_end);
            nanos += scaled(number, unit_nanos(unit).ok_or(NO_DURATION)?).ok_or(NO_DURATION)?;
            if nanos > i64::MAX as u128 {
                return Err(TOO_LONG);
            }
            rest = tail;
        }
        if !nanos.is_multiple_of(1_000_000) {
            return Err("expected a duration of whole milliseconds");
        }
        let millis = u64::try_from(nanos / 1_000_000).map_err(|_| TOO_LONG)?;
        Ok(GoDuration { millis })
    }
}

fn unit_nanos(unit: &str) -> Option<u128> {
    Some(match unit {
        "ns" => 1,
        "us" | "µs" | "μs" => 1_000,
        "ms" => 1_000_000,
        "s" => 1_000_000_000,
        "m" => 60_000_000_000,
        "h" => 3_600_000_000_000,
        _ => return None,
    })
}

/// `number` may have a fraction; what is smaller than a nanosecond is cut off.
fn scaled(number: &str, unit: u128) -> Option<u128> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if whole.len() + fraction.len() == 0 || whole.len() > 19 || fraction.contains('.') {
        return None;
    }
    let whole = if whole.is_empty() { 0 } else { whole.parse::<u128>().ok()? };
    let fraction = fraction.get(..fraction.len().min(15))?;
    let part = if fraction.is_empty() { 0 } else { fraction.parse::<u128>().ok()? };
    Some(whole * unit + part * unit / 10_u128.pow(u32::try_from(fraction.len()).ok()?))
}

impl fmt::Display for GoDuration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.millis {
            millis if millis % 1_000 == 0 => write!(f, "{}s", millis / 1_000),
            millis => write!(f, "{millis}ms"),
        }
    }
}

impl Serialize for GoDuration {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::GoDuration;

    #[test]
    fn reads_what_go_reads() {
        for (text, millis) in [
            ("5s", 5_000),
            ("1.5h", 5_400_000),
            ("100ms", 100),
            ("1m30s", 90_000),
            (".5s", 500),
            ("0", 0),
            ("0s", 0),
        ] {
            assert_eq!(GoDuration::parse(text).map(GoDuration::millis), Ok(millis), "{text}");
        }
    }

    #[test]
    fn refuses_the_rest() {
        for text in [
            "",
            "5",
            "5 sec",
            "5 s",
            "s",
            "-1s",
            "1us",
            "1.5.5s",
            ".s",
            "1d",
            "99999999999999h",
            "5S",
            "+ 5s",
        ] {
            assert!(GoDuration::parse(text).is_err(), "{text}");
        }
    }
}
