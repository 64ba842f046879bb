//! Known moments, every day of four hundred years, formats of users.

use super::{Civil, TimeCache, TimeFormat};

fn check(epoch_ms: u64, iso: &str, http: &str, log: &str) {
    let mut cache = TimeCache::default();
    let mut out = Vec::new();
    cache.write_iso(epoch_ms, &mut out);
    assert_eq!(String::from_utf8_lossy(&out), iso);
    assert_eq!(String::from_utf8_lossy(cache.http_date(epoch_ms)), http);
    assert_eq!(String::from_utf8_lossy(cache.common_log(epoch_ms)), log);
}

#[test]
fn known_moments() {
    check(0, "1970-01-01T00:00:00.000Z", "Thu, 01 Jan 1970 00:00:00 GMT", "01/Jan/1970:00:00:00 +0000");
    let text = ("2024-09-15T12:35:56.471Z", "Sun, 15 Sep 2024 12:35:56 GMT", "15/Sep/2024:12:35:56 +0000");
    check(1_726_403_756_471, text.0, text.1, text.2);
    let text = ("2000-02-29T23:59:59.999Z", "Tue, 29 Feb 2000 23:59:59 GMT", "29/Feb/2000:23:59:59 +0000");
    check(951_868_799_999, text.0, text.1, text.2);
    let text = ("9999-12-31T23:59:59.615Z", "Fri, 31 Dec 9999 23:59:59 GMT", "31/Dec/9999:23:59:59 +0000");
    check(u64::MAX, text.0, text.1, text.2);
}

#[test]
fn every_day_follows_the_day_before() {
    let (mut year, mut month, mut day, mut day_of_year) = (1970, 1, 1, 1);
    for number in 0..150_000_u64 {
        let civil = Civil::from_seconds(number * 86_400 + 43_200);
        assert_eq!((civil.year, civil.month, civil.day), (year, month, day), "day {number}");
        assert_eq!((civil.weekday, civil.day_of_year), (((number + 4) % 7) as u32, day_of_year));
        let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
        let length = [31, 28 + u32::from(leap), 31, 30, 31, 30, 31, 31, 30, 31, 30, 31][month as usize - 1];
        (day, day_of_year) = (day + 1, day_of_year + 1);
        if day > length {
            (month, day) = (month + 1, 1);
        }
        if month > 12 {
            (year, month, day_of_year) = (year + 1, 1, 1);
        }
    }
}

#[test]
fn formats_of_users() {
    let check = |format: &str, expected: &str| {
        let mut out = Vec::new();
        TimeCache::default().write_format(&TimeFormat::parse(format).unwrap(), 1_725_703_506_071, &mut out);
        assert_eq!(String::from_utf8_lossy(&out), expected, "{format}");
    };
    check("%Y/%m/%dT%H:%M:%S%z %s", "2024/09/07T10:05:06+0000 1725703506");
    check("%F %T.%3f %Z", "2024-09-07 10:05:06.071 UTC");
    check("%e|%k|%l %p %j %u %w %y %C", " 7|10|10 AM 251 6 6 24 20");
    check("%a %A %b %B %c 100%%", "Sat Saturday Sep September Sat Sep  7 10:05:06 2024 100%");
    check("%f %1f %E3S%Ez", "071000000 0 06.071+00:00");
    assert_eq!(TimeFormat::parse("%Y %Q").unwrap_err(), "%Q ".trim_end());
    assert_eq!(TimeFormat::parse("%").unwrap_err(), "%");
}
