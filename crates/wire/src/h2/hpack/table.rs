//! The static table and a dynamic one (RFC 7541 2.3).

use std::collections::VecDeque;

use crate::head::Known;

/// Appendix A; index 1 is the first.
#[rustfmt::skip]
pub(super) const STATIC: [(&[u8], &[u8]); 61] = [
    (b":authority", b""),
    (b":method", b"GET"),
    (b":method", b"POST"),
    (b":path", b"/"),
    (b":path", b"/index.html"),
    (b":scheme", b"http"),
    (b":scheme", b"https"),
    (b":status", b"200"),
    (b":status", b"204"),
    (b":status", b"206"),
    (b":status", b"304"),
    (b":status", b"400"),
    (b":status", b"404"),
    (b":status", b"500"),
    (b"accept-charset", b""),
    (b"accept-encoding", b"gzip, deflate"),
    (b"accept-language", b""),
    (b"accept-ranges", b""),
    (b"accept", b""),
    (b"access-control-allow-origin", b""),
    (b"age", b""),
    (b"allow", b""),
    (b"authorization", b""),
    (b"cache-control", b""),
    (b"content-disposition", b""),
    (b"content-encoding", b""),
    (b"content-language", b""),
    (b"content-length", b""),
    (b"content-location", b""),
    (b"content-range", b""),
    (b"content-type", b""),
    (b"cookie", b""),
    (b"date", b""),
    (b"etag", b""),
    (b"expect", b""),
    (b"expires", b""),
    (b"from", b""),
    (b"host", b""),
    (b"if-match", b""),
    (b"if-modified-since", b""),
    (b"if-none-match", b""),
    (b"if-range", b""),
    (b"if-unmodified-since", b""),
    (b"last-modified", b""),
    (b"link", b""),
    (b"location", b""),
    (b"max-forwards", b""),
    (b"proxy-authenticate", b""),
    (b"proxy-authorization", b""),
    (b"range", b""),
    (b"referer", b""),
    (b"refresh", b""),
    (b"retry-after", b""),
    (b"server", b""),
    (b"set-cookie", b""),
    (b"strict-transport-security", b""),
    (b"transfer-encoding", b""),
    (b"user-agent", b""),
    (b"vary", b""),
    (b"via", b""),
    (b"www-authenticate", b""),
];

/// One decoded field line.
#[derive(Debug, Clone, Copy)]
pub(in crate::h2) struct Line<'a> {
    /// What the name is.
    pub(in crate::h2) known: Known,
    /// Name and value are of the bytes that such things may have.
    pub(in crate::h2) sound: bool,
    pub(in crate::h2) name: &'a [u8],
    pub(in crate::h2) value: &'a [u8],
}

/// What an entry costs beside its bytes (RFC 7541 4.1).
pub(super) const OVERHEAD: usize = 32;

struct Entry {
    /// Where its bytes begin, counted from the first byte that the table ever held.
    start: usize,
    name: u32,
    value: u32,
    known: Known,
    sound: bool,
}

impl Entry {
    fn size(&self) -> usize {
        self.name as usize + self.value as usize + OVERHEAD
    }
}

/// A dynamic table: the newest entries that fit.
pub(super) struct Table {
    /// Names and values of the entries, oldest first; in front of them those of some that were evicted.
    bytes: Vec<u8>,
    /// Bytes that have been dropped from the front of `bytes`.
    dropped: usize,
    entries: VecDeque<Entry>,
    size: usize,
    max: usize,
    /// Entries ever inserted.
    inserted: u32,
}

impl Table {
    pub(super) fn new(max: usize) -> Table {
        Table { bytes: Vec::new(), dropped: 0, entries: VecDeque::new(), size: 0, max, inserted: 0 }
    }

    pub(super) fn max(&self) -> usize {
        self.max
    }

    /// How many entries have been inserted: the number of the newest.
    pub(super) fn inserted(&self) -> u32 {
        self.inserted
    }

    /// How old the entry of that number is; `None` if it has been evicted.
    pub(super) fn age(&self, number: u32) -> Option<usize> {
        let age = self.inserted.wrapping_sub(number) as usize;
        (age < self.entries.len()).then_some(age)
    }

    /// The entry of that age; 0 is the newest.
    pub(super) fn get(&self, age: usize) -> Option<Line<'_>> {
        let entry = self.entries.get(self.entries.len().checked_sub(age + 1)?)?;
        let start = entry.start - self.dropped;
        let (name, value) = self.bytes.get(start..)?.split_at_checked(entry.name as usize)?;
        let value = value.get(..entry.value as usize)?;
        Some(Line { known: entry.known, sound: entry.sound, name, value })
    }

    /// Changes the size, evicting what no longer fits.
    pub(super) fn set_max(&mut self, max: usize) {
        self.max = max;
        self.make_room(0);
    }

    /// Appends an entry; one larger than the table empties it (RFC 7541 4.4).
    pub(super) fn insert(&mut self, line: Line<'_>) {
        let size = line.name.len() + line.value.len() + OVERHEAD;
        self.make_room(size);
        if size > self.max {
            return;
        }
        let start = self.dropped + self.bytes.len();
        self.bytes.extend_from_slice(line.name);
        self.bytes.extend_from_slice(line.value);
        let (name, value) = (line.name.len() as u32, line.value.len() as u32);
        self.entries.push_back(Entry { start, name, value, known: line.known, sound: line.sound });
        self.size += size;
        self.inserted = self.inserted.wrapping_add(1);
    }

    /// Bytes that are held for names and values.
    #[cfg(test)]
    pub(super) fn held(&self) -> usize {
        self.bytes.len()
    }

    fn make_room(&mut self, size: usize) {
        while self.size + size > self.max {
            let Some(oldest) = self.entries.pop_front() else { break };
            self.size -= oldest.size();
        }
        let first = self.entries.front().map_or(self.dropped + self.bytes.len(), |entry| entry.start);
        let gone = first - self.dropped;
        if gone > 0 && gone >= self.bytes.len() / 2 {
            self.bytes.drain(..gone);
            self.dropped = first;
        }
    }
}
