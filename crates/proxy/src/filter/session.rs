//! The note by which a client's session is known again: an endpoint, and when it began.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use limen_wire::head::RequestHead;

use super::hash::sent;
use crate::address::Address;

/// How a rule keeps clients at their endpoints.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Session {
    /// Of the cookie or header.
    pub(crate) name: Box<str>,
    /// What follows the value of a cookie; `None`: it is a header.
    pub(crate) cookie: Option<Box<str>>,
    /// Seconds; `None`: without end.
    pub(crate) lasts_s: Option<u64>,
}

/// A session that a client goes on with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Kept {
    /// Its endpoint.
    pub(crate) address: Address,
    /// Seconds since the Unix epoch.
    pub(crate) began_s: u64,
}

/// More bytes than this no note has.
const MOST: usize = 256;

impl Session {
    /// What the client's note says, if the session is not over: where, as [`Address`] shows it, and since when. Whether
    /// there is such an endpoint is for others to see: notes come from clients.
    pub(crate) fn noted(&self, head: &RequestHead, now_s: u64) -> Option<(String, u64)> {
        let note = match &self.cookie {
            Some(_) => sent(head, self.name.as_bytes())?,
            None => head.fields.get_all(self.name.as_bytes()).next()?,
        };
        let read = URL_SAFE_NO_PAD.decode(Some(note).filter(|note| note.len() <= MOST)?).ok()?;
        let read = String::from_utf8(read).ok()?;
        let (began, address) = read.split_once(' ')?;
        let began_s: u64 = began.parse().ok()?;
        let over = self.lasts_s.is_some_and(|lasts| now_s.saturating_sub(began_s) >= lasts);
        (began_s <= now_s && !over).then(|| (address.to_owned(), began_s))
    }

    /// A note for a client: the value of a header, or a whole cookie. `https`: it is not to be sent in clear text.
    pub(crate) fn note(&self, kept: Kept, https: bool) -> String {
        let token = URL_SAFE_NO_PAD.encode(format!("{} {}", kept.began_s, kept.address));
        let Some(rest) = &self.cookie else { return token };
        let secure = if https { "; Secure" } else { "" };
        format!("{}={token}{rest}{secure}", self.name)
    }
}

#[cfg(test)]
#[path = "session_tests.rs"]
mod tests;
