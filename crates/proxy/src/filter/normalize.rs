//! One spelling for a path, so that rules and upstreams cannot disagree on what it means (Istio's `BASE`).
//!
//! Dot segments are resolved, backslashes are slashes, percent-encoded unreserved characters are decoded (RFC 3986
//! 6.2.2). Slashes are not merged and `%2F` and `%5C` stay. The query is not touched; a fragment is dropped.

use limen_wire::head::RequestHead;

/// The path cannot be normalised and the request must be answered with 400: it contains `%00`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Refused;

/// Normalises a request's path. Paths that are as they should be, nearly all, are only looked at.
///
/// # Errors
/// [`Refused`], and the head is as it was.
pub(crate) fn normalize(head: &mut RequestHead, scratch: &mut Vec<u8>) -> Result<(), Refused> {
    let whole = head.path_and_query();
    if is_normal(whole) || !matches!(whole.first(), Some(b'/' | b'\\')) {
        return Ok(());
    }
    scratch.clear();
    let whole = &whole[..memchr::memchr(b'#', whole).unwrap_or(whole.len())];
    let (path, query) = whole.split_at(memchr::memchr(b'?', whole).unwrap_or(whole.len()));
    write_path(path, scratch)?;
    scratch.extend_from_slice(query);
    if scratch != head.path_and_query() {
        head.set_path(scratch);
    }
    Ok(())
}

/// Is there certainly nothing to do?
fn is_normal(whole: &[u8]) -> bool {
    let mut previous = 0;
    for byte in whole {
        match (previous, byte) {
            (_, b'\\' | b'%' | b'#') | (b'/', b'.') => return false,
            (_, b'?') => return memchr::memchr(b'#', whole).is_none(),
            _ => previous = *byte,
        }
    }
    true
}

/// Appends the normal form of a path that begins with a slash of either kind.
fn write_path(path: &[u8], to: &mut Vec<u8>) -> Result<(), Refused> {
    to.push(b'/');
    let mut segment = to.len();
    let mut rest = path.get(1..).unwrap_or_default();
    while let [byte, after @ ..] = rest {
        rest = after;
        match byte {
            b'/' | b'\\' => {
                if !resolve_dots(to, segment) {
                    to.push(b'/');
                }
                segment = to.len();
            }
            b'%' => match after {
                [high, low, after @ ..] if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() => {
                    match hex(*high) << 4 | hex(*low) {
                        0 => return Err(Refused),
                        plain if is_unreserved(plain) => to.push(plain),
                        _ => to.extend_from_slice(&[b'%', *high, *low]),
                    }
                    rest = after;
                }
                // Not an escape; left to the upstream as it stands (Envoy).
                _ => to.push(b'%'),
            },
            _ => to.push(*byte),
        }
    }
    resolve_dots(to, segment);
    Ok(())
}

/// If the last segment, which begins at `segment` after a slash, is `.` or `..`, removes what it says, leaving a slash
/// at the end. Above the root there is only the root.
fn resolve_dots(to: &mut Vec<u8>, segment: usize) -> bool {
    match to.get(segment..) {
        Some(b".") => to.truncate(segment),
        Some(b"..") => {
            let parent = to.get(..segment.saturating_sub(1)).and_then(|before| memchr::memrchr(b'/', before));
            to.truncate(parent.map_or(segment, |slash| slash + 1));
        }
        _ => return false,
    }
    true
}

fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~')
}

/// The value of a hexadecimal digit.
fn hex(digit: u8) -> u8 {
    (digit as char).to_digit(16).unwrap_or_default() as u8
}

#[cfg(test)]
mod tests {
    use super::*;

    fn normal(path: &str) -> String {
        let mut head = RequestHead::default();
        head.set_path(path.as_bytes());
        match normalize(&mut head, &mut vec![7; 3]) {
            Ok(()) => String::from_utf8_lossy(head.path_and_query()).into_owned(),
            Err(Refused) => "refused".to_owned(),
        }
    }

    #[test]
    fn normal_forms() {
        let table = [
            ("/", "/"),
            ("*", "*"),
            ("/a/b?x=/../%2e#", "/a/b?x=/../%2e"),
            ("/a/./b", "/a/b"),
            ("/a/../b", "/b"),
            ("/../../b", "/b"),
            ("/a/b/..", "/a/"),
            ("/a/b/.", "/a/b/"),
            ("/..", "/"),
            ("/a//../b", "/a/b"),
            ("/a//b///c", "/a//b///c"),
            ("/a/...", "/a/..."),
            ("/.well-known/a.b", "/.well-known/a.b"),
            ("/a\\b\\..\\c", "/a/c"),
            ("\\a", "/a"),
            ("/a/%2e%2E/b", "/b"),
            ("/a/.%2e/b", "/b"),
            ("/%61dmin%2Fx%5c%7e", "/admin%2Fx%5c~"),
            ("/a%252e%252e/b", "/a%252e%252e/b"),
            ("/a/%252e%252e/b", "/a/%252e%252e/b"),
            ("/100%", "/100%"),
            ("/%zz%4", "/%zz%4"),
            ("/a%00b", "refused"),
            ("/a#b/../?c", "/a"),
            ("/?a=%00", "/?a=%00"),
        ];
        for (path, expected) in table {
            assert_eq!(normal(path), expected, "{path}");
            assert_eq!(normal(&normal(path)), expected, "{path} again");
        }
    }
}
