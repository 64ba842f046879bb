//! Dates for the access log and the `date` field: UTC, Gregorian, no leap seconds, without a calendar library.

/// The last second that prints with a four-digit year, 9999-12-31T23:59:59Z. Later times print as this one.
const LAST_SECOND: u64 = 253_402_300_799;
const WEEKDAYS: [&str; 7] = ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"];
const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];

/// A second of UTC taken apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Civil {
    /// 1970 to 9999.
    pub year: u32,
    /// 1 to 12.
    pub month: u32,
    /// 1 to 31.
    pub day: u32,
    /// 0 to 23.
    pub hour: u32,
    /// 0 to 59.
    pub minute: u32,
    /// 0 to 59.
    pub second: u32,
    /// 0 is Sunday.
    pub weekday: u32,
    /// 1 to 366.
    pub day_of_year: u32,
}

impl Civil {
    /// Takes seconds since the epoch apart.
    pub fn from_seconds(seconds: u64) -> Civil {
        let seconds = seconds.min(LAST_SECOND);
        let (days, rest) = ((seconds / 86_400) as u32, (seconds % 86_400) as u32);
        // Years that begin in March put the leap day last, so that month lengths follow one formula.
        let shifted = days + 719_468;
        let (era, day_of_era) = (shifted / 146_097, shifted % 146_097);
        let year_of_era =
            (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
        let day_from_march = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let month_from_march = (5 * day_from_march + 2) / 153;
        let day = day_from_march - (153 * month_from_march + 2) / 5 + 1;
        let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
        let year = era * 400 + year_of_era + u32::from(month <= 2);
        let leap = year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
        let day_of_year =
            if month > 2 { day_from_march + 60 + u32::from(leap) } else { day_from_march - 305 };
        Civil {
            year,
            month,
            day,
            hour: rest / 3_600,
            minute: rest / 60 % 60,
            second: rest % 60,
            weekday: (days + 4) % 7,
            day_of_year,
        }
    }

    fn weekday_name(&self) -> &'static str {
        WEEKDAYS[self.weekday as usize % 7]
    }

    fn month_name(&self) -> &'static str {
        MONTHS[(self.month as usize + 11) % 12]
    }
}

/// Writes `value` in `to.len()` digits, zeros in front, higher digits cut off.
fn digits(to: &mut [u8], mut value: u32) {
    for digit in to.iter_mut().rev() {
        *digit = b'0' + (value % 10) as u8;
        value /= 10;
    }
}

/// The texts of one second, kept until another second is asked for. Each worker has its own, and one for each use:
/// log lines tell when requests began, `date` tells the present, and one cache for both would be rebuilt each time.
#[derive(Debug, Clone)]
pub struct TimeCache {
    second: u64,
    civil: Civil,
    iso: [u8; 20],
    http: [u8; 29],
    common_log: [u8; 26],
}

impl Default for TimeCache {
    fn default() -> TimeCache {
        let mut cache = TimeCache {
            second: 0,
            civil: Civil::from_seconds(0),
            iso: *b"0000-00-00T00:00:00.",
            http: *b"Thu, 00 Jan 0000 00:00:00 GMT",
            common_log: *b"00/Jan/0000:00:00:00 +0000",
        };
        cache.fill(0);
        cache
    }
}

impl TimeCache {
    #[inline]
    fn at(&mut self, second: u64) -> &TimeCache {
        if self.second != second {
            self.fill(second);
        }
        self
    }

    #[cold]
    fn fill(&mut self, second: u64) {
        let civil = Civil::from_seconds(second);
        let (weekday, month) = (&civil.weekday_name().as_bytes()[..3], &civil.month_name().as_bytes()[..3]);
        digits(&mut self.iso[..4], civil.year);
        digits(&mut self.iso[5..7], civil.month);
        digits(&mut self.iso[8..10], civil.day);
        self.http[..3].copy_from_slice(weekday);
        digits(&mut self.http[5..7], civil.day);
        self.http[8..11].copy_from_slice(month);
        digits(&mut self.http[12..16], civil.year);
        digits(&mut self.common_log[..2], civil.day);
        self.common_log[3..6].copy_from_slice(month);
        digits(&mut self.common_log[7..11], civil.year);
        for text in [&mut self.iso[11..19], &mut self.http[17..25], &mut self.common_log[12..20]] {
            digits(&mut text[..2], civil.hour);
            digits(&mut text[3..5], civil.minute);
            digits(&mut text[6..8], civil.second);
        }
        self.second = second;
        self.civil = civil;
    }

    /// Appends ISO 8601 with milliseconds, `2024-09-15T12:35:56.471Z`.
    pub fn write_iso(&mut self, epoch_ms: u64, out: &mut Vec<u8>) {
        let mut text = *b"0000-00-00T00:00:00.000Z";
        text[..20].copy_from_slice(&self.at(epoch_ms / 1_000).iso);
        digits(&mut text[20..23], (epoch_ms % 1_000) as u32);
        out.extend_from_slice(&text);
    }

    /// The `date` field's form (RFC 9110 5.6.7), `Sun, 15 Sep 2024 12:35:56 GMT`.
    pub fn http_date(&mut self, epoch_ms: u64) -> &[u8; 29] {
        &self.at(epoch_ms / 1_000).http
    }

    /// The common log format's form, `15/Sep/2024:12:35:56 +0000`.
    pub fn common_log(&mut self, epoch_ms: u64) -> &[u8; 26] {
        &self.at(epoch_ms / 1_000).common_log
    }

    /// Appends the time in a format of the user's.
    pub fn write_format(&mut self, format: &TimeFormat, epoch_ms: u64, out: &mut Vec<u8>) {
        let at = self.at(epoch_ms / 1_000);
        for part in &format.parts {
            part.write(&at.civil, epoch_ms, out);
        }
    }
}

/// A parsed `%START_TIME(...)%` format.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TimeFormat {
    parts: Vec<TimePart>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum TimePart {
    Literal(Vec<u8>),
    /// A `strftime` conversion with a number: which, how many digits, padded with.
    Number(char, usize, u8),
    WeekdayName {
        short: bool,
    },
    MonthName {
        short: bool,
    },
    AmPm,
    /// Seconds since the epoch.
    Epoch,
    /// That many digits of the second's fraction.
    Fraction(usize),
}

impl TimeFormat {
    /// Parses `strftime` conversions and Envoy's `%f`, `%1f` to `%9f`, `%E1S`-like fractions and `%Ez`. The error is the
    /// conversion that is not known.
    pub fn parse(text: &str) -> Result<TimeFormat, String> {
        let mut format = TimeFormat { parts: Vec::new() };
        let mut rest = text;
        while let Some(at) = rest.find('%') {
            format.literal(&rest[..at]);
            let conversion = &rest[at + 1..];
            let length = format.conversion(conversion).ok_or_else(|| {
                let unknown: String = conversion.chars().take(2).collect();
                format!("%{unknown}")
            })?;
            rest = &conversion[length..];
        }
        format.literal(rest);
        Ok(format)
    }

    fn literal(&mut self, text: &str) {
        match self.parts.last_mut() {
            _ if text.is_empty() => {}
            Some(TimePart::Literal(before)) => before.extend_from_slice(text.as_bytes()),
            _ => self.parts.push(TimePart::Literal(text.as_bytes().to_vec())),
        }
    }

    /// Takes the conversion at the beginning of `text`, which follows a percent sign; returns how long it was.
    fn conversion(&mut self, text: &str) -> Option<usize> {
        let mut chars = text.chars();
        match (chars.next()?, chars.next(), chars.next()) {
            (digit @ '1'..='9', Some('f'), _) => {
                self.parts.push(TimePart::Fraction(digit as usize - '0' as usize));
                Some(2)
            }
            ('E', Some(digit @ '1'..='9'), Some('S')) => {
                self.compound("%S.")?;
                self.parts.push(TimePart::Fraction(digit as usize - '0' as usize));
                Some(3)
            }
            ('E', Some('z'), _) => {
                self.literal("+00:00");
                Some(2)
            }
            (letter, ..) => self.single(letter).map(|()| letter.len_utf8()),
        }
    }

    fn compound(&mut self, text: &str) -> Option<()> {
        let parts = TimeFormat::parse(text).ok()?.parts;
        for part in parts {
            match part {
                TimePart::Literal(text) => self.literal(&String::from_utf8(text).ok()?),
                other => self.parts.push(other),
            }
        }
        Some(())
    }

    fn single(&mut self, letter: char) -> Option<()> {
        match letter {
            'Y' => self.parts.push(TimePart::Number(letter, 4, b'0')),
            'm' | 'd' | 'H' | 'I' | 'M' | 'S' | 'y' | 'C' => {
                self.parts.push(TimePart::Number(letter, 2, b'0'));
            }
            'e' | 'k' | 'l' => self.parts.push(TimePart::Number(letter, 2, b' ')),
            'j' => self.parts.push(TimePart::Number(letter, 3, b'0')),
            'u' | 'w' => self.parts.push(TimePart::Number(letter, 1, b'0')),
            'f' => self.parts.push(TimePart::Fraction(9)),
            's' => self.parts.push(TimePart::Epoch),
            'a' => self.parts.push(TimePart::WeekdayName { short: true }),
            'A' => self.parts.push(TimePart::WeekdayName { short: false }),
            'b' | 'h' => self.parts.push(TimePart::MonthName { short: true }),
            'B' => self.parts.push(TimePart::MonthName { short: false }),
            'p' => self.parts.push(TimePart::AmPm),
            'F' => self.compound("%Y-%m-%d")?,
            'T' => self.compound("%H:%M:%S")?,
            'R' => self.compound("%H:%M")?,
            'D' => self.compound("%m/%d/%y")?,
            'c' => self.compound("%a %b %e %H:%M:%S %Y")?,
            'z' => self.literal("+0000"),
            'Z' => self.literal("UTC"),
            '%' => self.literal("%"),
            _ => return None,
        }
        Some(())
    }
}

impl TimePart {
    fn write(&self, civil: &Civil, epoch_ms: u64, out: &mut Vec<u8>) {
        let name = |name: &'static str, short: bool| if short { &name[..3] } else { name };
        match self {
            TimePart::Literal(text) => out.extend_from_slice(text),
            TimePart::Number(letter, width, pad) => {
                let value = number(*letter, civil);
                let mut text = [b'0'; 4];
                digits(&mut text, value);
                let text = &mut text[4 - width.min(&4)..];
                let last = text.len().saturating_sub(1);
                text[..last].iter_mut().take_while(|digit| **digit == b'0').for_each(|digit| *digit = *pad);
                out.extend_from_slice(text);
            }
            TimePart::WeekdayName { short } => {
                out.extend_from_slice(name(civil.weekday_name(), *short).as_bytes());
            }
            TimePart::MonthName { short } => {
                out.extend_from_slice(name(civil.month_name(), *short).as_bytes())
            }
            TimePart::AmPm => out.extend_from_slice(if civil.hour < 12 { b"AM" } else { b"PM" }),
            TimePart::Epoch => super::escape::write_decimal(epoch_ms / 1_000, out),
            TimePart::Fraction(width) => {
                let mut text = *b"000000000";
                digits(&mut text[..3], (epoch_ms % 1_000) as u32);
                out.extend_from_slice(&text[..(*width).min(9)]);
            }
        }
    }
}

fn number(letter: char, civil: &Civil) -> u32 {
    match letter {
        'Y' => civil.year,
        'y' => civil.year % 100,
        'C' => civil.year / 100,
        'm' => civil.month,
        'd' | 'e' => civil.day,
        'H' | 'k' => civil.hour,
        'I' | 'l' => (civil.hour + 11) % 12 + 1,
        'M' => civil.minute,
        'S' => civil.second,
        'j' => civil.day_of_year,
        'u' => (civil.weekday + 6) % 7 + 1,
        _ => civil.weekday,
    }
}

#[cfg(test)]
#[path = "time_tests.rs"]
mod tests;
