//! Path rewrites.

use limen_wire::head::RequestHead;

/// What becomes of a path; the query is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum PathRewrite {
    /// The first `matched` bytes, which the rule's prefix is as long as, are replaced. It is a string operation:
    /// prefix `/foo` with `/` turns `/foo/a` into `//a`; a rule without a path condition has the prefix `/`, so `/v2`
    /// turns `/a` into `/v2a` (Envoy).
    Prefix {
        /// Length of the matched prefix.
        matched: usize,
        /// What stands there instead.
        with: Box<[u8]>,
    },
    /// The whole path is replaced (exact and regex conditions).
    Whole(Box<[u8]>),
}

impl PathRewrite {
    /// Appends the new path with the old query. A path always begins with a slash, whatever was configured: anything
    /// else is no request target (RFC 9112 3.2.1).
    pub(crate) fn write(&self, path_and_query: &[u8], to: &mut Vec<u8>) {
        let path_end = memchr::memchr(b'?', path_and_query).unwrap_or(path_and_query.len());
        let (with, kept_from) = match self {
            PathRewrite::Prefix { matched, with } => (with, (*matched).min(path_end)),
            PathRewrite::Whole(with) => (with, path_end),
        };
        let (start, kept) = (to.len(), path_and_query.get(kept_from..).unwrap_or_default());
        to.extend_from_slice(with);
        to.extend_from_slice(kept);
        if to.get(start) != Some(&b'/') {
            to.truncate(start);
            to.push(b'/');
            to.extend_from_slice(with);
            to.extend_from_slice(kept);
        }
    }

    /// Rewrites a request's path.
    pub(crate) fn apply(&self, head: &mut RequestHead, scratch: &mut Vec<u8>) {
        replace(head, scratch, |path_and_query, to| self.write(path_and_query, to));
    }
}

/// Gives a request the path that `write` appends for the one with query that it is called with, and keeps the old one,
/// with its query, in `x-envoy-original-path`.
fn replace(head: &mut RequestHead, scratch: &mut Vec<u8>, write: impl FnOnce(&[u8], &mut Vec<u8>)) {
    // The head writes to its own buffer, so what comes from there must stand elsewhere meanwhile.
    scratch.clear();
    scratch.extend_from_slice(head.path_and_query());
    let original = scratch.len();
    write(head.path_and_query(), scratch);
    let (old, new) = scratch.split_at(original);
    head.fields.set(b"x-envoy-original-path", old);
    head.set_path(new);
}

/// The same with a path that `substitute` appends for the one without query that it is called with; the query is kept.
/// What it makes of a path may be no request target any more, as expressions can copy anything: it then becomes one.
pub(crate) fn substitute(
    head: &mut RequestHead,
    scratch: &mut Vec<u8>,
    substitute: impl FnOnce(&[u8], &mut Vec<u8>),
) {
    replace(head, scratch, |path_and_query, to| {
        let start = to.len();
        let path_end = memchr::memchr(b'?', path_and_query).unwrap_or(path_and_query.len());
        let (path, query) = path_and_query.split_at(path_end);
        substitute(path, to);
        if to.get(start) != Some(&b'/') {
            to.insert(start, b'/');
        }
        to.extend_from_slice(query);
    });
}

#[cfg(test)]
#[path = "rewrite_tests.rs"]
mod tests;
