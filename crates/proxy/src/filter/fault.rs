//! Injected faults: which of them befall a request.

use super::share::Share;

/// What is done to a share of the requests. Delay and abort are drawn apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Fault {
    /// Milliseconds to wait.
    pub(crate) delay: Option<(Share, u64)>,
    /// What to answer.
    pub(crate) abort: Option<(Share, AbortStatus)>,
}

/// The status of an injected answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum AbortStatus {
    /// 200 to 599.
    Http(u16),
    /// 0 to 16.
    Grpc(u8),
}

impl Fault {
    /// Milliseconds that the request has to wait, if any.
    pub(crate) fn delay(&self, random: u32) -> Option<u64> {
        self.delay.filter(|(share, _)| share.holds(random)).map(|(_, ms)| ms)
    }

    /// The answer that the request gets, if it gets one.
    pub(crate) fn abort(&self, random: u32) -> Option<AbortStatus> {
        self.abort.filter(|(share, _)| share.holds(random)).map(|(_, status)| status)
    }
}
