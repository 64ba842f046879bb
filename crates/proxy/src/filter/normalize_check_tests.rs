//! What must hold of the one spelling of any path; the tests and the fuzz target share it.

/// What is done with a path, apart from the query.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Policy {
    pub(crate) normalize: bool,
    pub(crate) merge_slashes: bool,
    /// Escaped slashes of both kinds become slashes; else they stay.
    pub(crate) decode_slashes: bool,
    pub(crate) reject_slashes: bool,
}

/// All that must hold of a path that `spell` gives its one spelling, or `None` if it refuses.
pub(crate) fn check(path: &[u8], policy: Policy, spell: impl Fn(&[u8]) -> Option<Vec<u8>>) {
    // Nothing else gets past the codecs.
    if !path.iter().all(u8::is_ascii_graphic) {
        return;
    }
    let spelt = spell(path);
    assert_eq!(spelt, plain(path, policy), "said plainly, {policy:?}: {}", String::from_utf8_lossy(path));
    let Some(spelt) = spelt else { return };
    assert_eq!(
        spell(&spelt).as_deref(),
        Some(&spelt[..]),
        "normal paths stay, {policy:?}: {}",
        String::from_utf8_lossy(path)
    );
    if policy.normalize && matches!(path.first(), Some(b'/' | b'\\')) {
        let end = spelt.iter().position(|byte| *byte == b'?').unwrap_or(spelt.len());
        let mut segments = spelt[..end].split(|byte| *byte == b'/');
        assert_eq!(segments.next(), Some(&b""[..]), "it begins with a slash");
        assert!(segments.all(|segment| segment != b"." && segment != b".."), "no way up");
        assert!(!spelt[..end].contains(&b'\\') && !spelt[..end].windows(3).any(|three| three == b"%00"));
    }
}

/// The same, step by step over lists.
fn plain(path: &[u8], policy: Policy) -> Option<Vec<u8>> {
    if !matches!(path.first(), Some(b'/' | b'\\')) {
        return Some(path.to_vec());
    }
    let whole = path.split(|byte| *byte == b'#').next().unwrap_or_default();
    let end = whole.iter().position(|byte| *byte == b'?').unwrap_or(whole.len());
    let (path, query) = whole.split_at(end);
    let mut path = path.to_vec();
    for (escape, slash) in [(b"%2f", b'/'), (b"%5c", b'\\')] {
        while let Some(at) = path.windows(3).position(|three| three.eq_ignore_ascii_case(escape)) {
            if policy.reject_slashes {
                return None;
            }
            if !policy.decode_slashes {
                break;
            }
            // Not a slash yet: two escapes do not make a third.
            path.splice(at..at + 3, [if slash == b'/' { 0xfe } else { 0xff }]);
        }
    }
    for byte in &mut path {
        *byte = match *byte {
            0xfe => b'/',
            0xff => b'\\',
            byte => byte,
        };
    }
    if policy.normalize {
        path = resolve(&unescape(&path)?);
    }
    if policy.merge_slashes {
        while let Some(at) = path.windows(2).position(|two| two == b"//") {
            path.remove(at);
        }
    }
    Some([&path[..], query].concat())
}

/// Escapes of unreserved characters are read (RFC 3986 6.2.2.2); `None`: there is a zero byte.
fn unescape(path: &[u8]) -> Option<Vec<u8>> {
    let (mut read, mut at) = (Vec::new(), 0);
    while let Some(byte) = path.get(at) {
        let digits = path
            .get(at + 1..at + 3)
            .filter(|digits| *byte == b'%' && digits.iter().all(u8::is_ascii_hexdigit));
        let value = digits.and_then(|digits| u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok());
        match value {
            Some(0) => return None,
            Some(value)
                if (value.is_ascii_alphanumeric() || b"-._~".contains(&value)) && !spells(&read, value) =>
            {
                read.push(value);
                at += 3;
            }
            Some(_) => {
                read.extend_from_slice(&path[at..at + 3]);
                at += 3;
            }
            None => {
                read.push(*byte);
                at += 1;
            }
        }
    }
    Some(read)
}

/// Would this byte be part of an escape that the text has not?
fn spells(read: &[u8], byte: u8) -> bool {
    let start = read.len().saturating_sub(2);
    let tail = &read[start..];
    let after = tail.iter().rposition(|byte| *byte == b'%').map(|at| &tail[at + 1..]);
    byte.is_ascii_hexdigit() && after.is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit))
}

/// Dot segments are resolved (RFC 3986 5.2.4), backslashes are slashes.
fn resolve(path: &[u8]) -> Vec<u8> {
    let mut out: Vec<&[u8]> = Vec::new();
    let segments: Vec<&[u8]> = path[1..].split(|byte| matches!(byte, b'/' | b'\\')).collect();
    for (at, segment) in segments.iter().enumerate() {
        let last = at + 1 == segments.len();
        match *segment {
            b"." => out.extend(last.then_some(&b""[..])),
            b".." => {
                out.pop();
                out.extend(last.then_some(&b""[..]));
            }
            segment => out.push(segment),
        }
    }
    [&b"/"[..], &out.join(&b'/')].concat()
}
