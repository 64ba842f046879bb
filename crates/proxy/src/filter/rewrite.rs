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

    /// Rewrites a request's path and keeps the old one, with its query, in `x-envoy-original-path`.
    pub(crate) fn apply(&self, head: &mut RequestHead, scratch: &mut Vec<u8>) {
        // The head writes to its own buffer, so what comes from there must stand elsewhere meanwhile.
        scratch.clear();
        scratch.extend_from_slice(head.path_and_query());
        let original = scratch.len();
        self.write(head.path_and_query(), scratch);
        let (old, new) = scratch.split_at(original);
        head.fields.set(b"x-envoy-original-path", old);
        head.set_path(new);
    }
}

#[cfg(test)]
#[path = "rewrite_tests.rs"]
mod tests;
