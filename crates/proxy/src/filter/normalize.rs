//! One spelling for a path, so that rules and upstreams cannot disagree on what it means.
//!
//! By default (Istio's `BASE`) dot segments are resolved, backslashes are slashes, percent-encoded unreserved characters
//! are decoded (RFC 3986 6.2.2); slashes are not merged and `%2F` and `%5C` stay. The query is not touched; a fragment
//! is dropped.

use limen_wire::head::RequestHead;

use crate::filter::policy::{EscapedSlashes, PathPolicy};

/// What becomes of a request whose path has its one spelling now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Spelt {
    /// It goes on.
    Fine,
    /// The client is to come again with the new path.
    Anew,
}

/// The path must not be served and the request is answered with 400: it contains `%00`, or escaped slashes that the
/// policy refuses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Refused;

/// Normalises a request's path. Paths that are as they should be, nearly all, are only looked at.
///
/// # Errors
/// [`Refused`], and the head is as it was.
pub(crate) fn normalize(
    head: &mut RequestHead,
    policy: PathPolicy,
    scratch: &mut Vec<u8>,
) -> Result<Spelt, Refused> {
    let whole = head.path_and_query();
    if is_normal(whole, policy.merge_slashes) || !matches!(whole.first(), Some(b'/' | b'\\')) {
        return Ok(Spelt::Fine);
    }
    scratch.clear();
    let whole = &whole[..memchr::memchr(b'#', whole).unwrap_or(whole.len())];
    let (path, query) = whole.split_at(memchr::memchr(b'?', whole).unwrap_or(whole.len()));
    let plain = match policy.escaped_slashes {
        EscapedSlashes::Keep => None,
        EscapedSlashes::Reject if escaped_slash(path).is_some() => return Err(Refused),
        _ => without_escaped_slashes(path),
    };
    let path = plain.as_deref().unwrap_or(path);
    if policy.normalize {
        write_path(path, scratch)?;
    } else {
        scratch.extend_from_slice(path);
    }
    if policy.merge_slashes {
        // After the rest, which may have brought slashes together.
        scratch.dedup_by(|next, before| (*next, *before) == (b'/', b'/'));
    }
    scratch.extend_from_slice(query);
    if scratch != head.path_and_query() {
        head.set_path(scratch);
    }
    let anew = plain.is_some() && policy.escaped_slashes == EscapedSlashes::Redirect;
    Ok(if anew { Spelt::Anew } else { Spelt::Fine })
}

/// Where the first escaped slash of either kind stands, and what it stands for.
fn escaped_slash(path: &[u8]) -> Option<(usize, u8)> {
    memchr::memchr_iter(b'%', path).find_map(|at| match path.get(at + 1..at + 3)? {
        [b'2', b'F' | b'f'] => Some((at, b'/')),
        [b'5', b'C' | b'c'] => Some((at, b'\\')),
        _ => None,
    })
}

/// The path with its escaped slashes read, if it has any.
fn without_escaped_slashes(path: &[u8]) -> Option<Vec<u8>> {
    let mut rest = path;
    let mut plain = Vec::new();
    while let Some((at, slash)) = escaped_slash(rest) {
        plain.extend_from_slice(&rest[..at]);
        plain.push(slash);
        rest = &rest[at + 3..];
    }
    (rest.len() < path.len()).then(|| {
        plain.extend_from_slice(rest);
        plain
    })
}

/// Is there certainly nothing to do?
fn is_normal(whole: &[u8], merge_slashes: bool) -> bool {
    let mut previous = 0;
    for byte in whole {
        match (previous, byte) {
            (_, b'\\' | b'%' | b'#') | (b'/', b'.') => return false,
            (b'/', b'/') if merge_slashes => return false,
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
                        plain if is_unreserved(plain) && !makes_escape(to, plain) => to.push(plain),
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

/// Would the byte, read out of an escape, be a digit of another, which the text has not? `%2%66` must not become `%2f`:
/// what is done with escaped slashes has been done by then.
fn makes_escape(before: &[u8], byte: u8) -> bool {
    byte.is_ascii_hexdigit()
        && match before {
            [.., b'%'] => true,
            [.., b'%', digit] => digit.is_ascii_hexdigit(),
            _ => false,
        }
}

/// The value of a hexadecimal digit.
fn hex(digit: u8) -> u8 {
    (digit as char).to_digit(16).unwrap_or_default() as u8
}

#[cfg(test)]
#[path = "normalize_tests.rs"]
mod tests;
