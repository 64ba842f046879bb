//! Numbers, addresses and times as text, appended to a reused buffer.

use std::io::Write;
use std::net::{IpAddr, SocketAddr};

use crate::observe::text::{write_address, write_decimal, write_ip};

/// A decimal number.
pub(super) fn push_decimal(buffer: &mut Vec<u8>, number: u64) {
    write_decimal(number, buffer);
}

/// An address as clients know it: an IPv4 address that came over an IPv6 socket is printed as IPv4.
pub(super) fn push_ip(buffer: &mut Vec<u8>, ip: IpAddr) {
    write_ip(ip, buffer);
}

/// `ip:port`, or `[ip]:port`.
pub(super) fn push_socket(buffer: &mut Vec<u8>, address: SocketAddr) {
    write_address(address, buffer);
}

/// Milliseconds since the Unix epoch as ISO 8601 in UTC, such as `2024-02-29T12:00:00.000Z`.
pub(super) fn push_time(buffer: &mut Vec<u8>, epoch_ms: u64) {
    let (days, ms) = (epoch_ms / 86_400_000, epoch_ms % 86_400_000);
    let (year, month, day) = civil(days);
    let (hour, minute, second) = (ms / 3_600_000, ms / 60_000 % 60, ms / 1000 % 60);
    let ms = ms % 1000;
    push(buffer, format_args!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{ms:03}Z"));
}

/// Year, month and day of a number of days since 1970-01-01, counted in years that begin in March so that the leap
/// day is the last of its year.
fn civil(days: u64) -> (u64, u64, u64) {
    let days = days + 719_468;
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year + year / 4 - year / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    (era * 400 + year + u64::from(month < 3), month, day_of_year - (153 * shifted + 2) / 5 + 1)
}

fn push(buffer: &mut Vec<u8>, text: std::fmt::Arguments<'_>) {
    // Writing to a Vec cannot fail.
    let _ = buffer.write_fmt(text);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times() {
        let table = [
            (0, "1970-01-01T00:00:00.000Z"),
            (951_782_399_999, "2000-02-28T23:59:59.999Z"),
            (951_782_400_000, "2000-02-29T00:00:00.000Z"),
            (1_709_251_199_001, "2024-02-29T23:59:59.001Z"),
            (1_735_689_599_000, "2024-12-31T23:59:59.000Z"),
            (4_107_542_400_000, "2100-03-01T00:00:00.000Z"),
        ];
        for (ms, expected) in table {
            let mut buffer = Vec::new();
            push_time(&mut buffer, ms);
            assert_eq!(String::from_utf8_lossy(&buffer), expected);
        }
    }

    #[test]
    fn addresses() {
        let mut buffer = Vec::new();
        for address in ["[::ffff:192.0.2.1]:80", "[2001:db8::1]:443"] {
            let address: SocketAddr = address.parse().unwrap();
            push_socket(&mut buffer, address);
            buffer.push(b' ');
            push_ip(&mut buffer, address.ip());
            buffer.push(b' ');
        }
        assert_eq!(buffer, b"192.0.2.1:80 192.0.2.1 [2001:db8::1]:443 2001:db8::1 ");
    }
}
