//! Messages of a gRPC call, counted as their bytes pass: a flag, a length of four bytes, then so many bytes (gRPC over
//! HTTP/2, Length-Prefixed-Message).

/// Counts the messages of one direction.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Messages {
    /// Messages that have begun: their prefix was seen whole.
    pub(crate) count: u64,
    /// Bytes of the prefix that were seen.
    prefix: u8,
    /// The length that they say so far.
    length: u32,
    /// Bytes of the message that are still to come.
    left: u32,
}

impl Messages {
    /// Takes the next bytes, cut anywhere.
    pub(crate) fn feed(&mut self, mut bytes: &[u8]) {
        loop {
            if self.left > 0 {
                let passed = bytes.len().min(self.left as usize);
                self.left -= passed as u32;
                bytes = bytes.get(passed..).unwrap_or_default();
            }
            let Some((byte, rest)) = bytes.split_first() else { return };
            bytes = rest;
            if self.prefix > 0 {
                self.length = self.length << 8 | u32::from(*byte);
            }
            self.prefix += 1;
            if self.prefix == 5 {
                self.count += 1;
                self.left = self.length;
                (self.prefix, self.length) = (0, 0);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Messages;

    fn message(length: usize) -> Vec<u8> {
        let mut message = vec![0];
        message.extend_from_slice(&(length as u32).to_be_bytes());
        message.resize(5 + length, 7);
        message
    }

    #[test]
    fn messages_are_counted_however_they_are_cut() {
        let body = [message(0), message(3), message(70_000), message(0), message(1)].concat();
        for size in [1, 2, 3, 5, 7, 4_096, body.len()] {
            let mut messages = Messages::default();
            body.chunks(size).for_each(|bytes| messages.feed(bytes));
            assert_eq!(messages, Messages { count: 5, ..Messages::default() }, "in parts of {size}");
        }
        let mut begun = Messages::default();
        begun.feed(&body[..5 + 4]);
        assert_eq!(begun.count, 1, "half of a prefix is no message");
    }
}
