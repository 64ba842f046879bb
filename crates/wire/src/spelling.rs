//! How names of fields were spelt, for peers of HTTP/1 that care though they may not (RFC 9110 5.1).

/// Names as they stood on the wire, each with a line feed behind it; `None`: that is not of interest.
#[derive(Debug, Clone, Default)]
pub(crate) struct Spelling(Option<Vec<u8>>);

impl Spelling {
    /// Whether spellings are of interest.
    pub(crate) fn keep(&mut self, keep: bool) {
        if keep != self.0.is_some() {
            self.0 = keep.then(Vec::new);
        }
    }

    /// Forgets them, keeps the memory.
    pub(crate) fn clear(&mut self) {
        if let Some(spelt) = &mut self.0 {
            spelt.clear();
        }
    }

    /// Remembers these names, if they are of interest.
    pub(crate) fn remember<'n>(&mut self, names: impl Iterator<Item = &'n [u8]>) {
        if let Some(spelt) = &mut self.0 {
            for name in names {
                spelt.extend_from_slice(name);
                spelt.push(b'\n');
            }
        }
    }

    /// Gives the names in a head, its first line included, the spelling that was remembered.
    pub(crate) fn restore(&self, head: &mut [u8]) {
        let Some(spelt) = self.0.as_ref().filter(|spelt| !spelt.is_empty()) else { return };
        for line in head.split_mut(|byte| *byte == b'\n').skip(1) {
            let name = line.split_mut(|byte| *byte == b':').next().unwrap_or_default();
            let known = spelt.split(|byte| *byte == b'\n').find(|known| known.eq_ignore_ascii_case(name));
            if let Some(known) = known {
                name.copy_from_slice(known);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_get_their_spelling_back_and_values_stay() {
        let mut spelling = Spelling::default();
        let restored = |spelling: &Spelling, head: &str| {
            let mut bytes = head.as_bytes().to_vec();
            spelling.restore(&mut bytes);
            String::from_utf8(bytes).unwrap_or_default()
        };
        let head = "GET /x-a HTTP/1.1\r\nx-a: x-a\r\nb: http://x-a\r\nx-ab: 1\r\n\r\n";
        spelling.remember([&b"X-A"[..]].into_iter());
        assert_eq!(restored(&spelling, head), head, "not of interest");
        spelling.keep(true);
        spelling.remember([&b"X-A"[..], b"B", b"", b"X-a"].into_iter());
        let expected = "GET /x-a HTTP/1.1\r\nX-A: x-a\r\nB: http://x-a\r\nx-ab: 1\r\n\r\n";
        assert_eq!(restored(&spelling, head), expected);
        spelling.clear();
        assert_eq!(restored(&spelling, head), head);
    }
}
