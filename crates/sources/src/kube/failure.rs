//! What may go wrong between an API server and us.

use std::time::Duration;

use kube::core::Status;

/// Why something was not told.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Failure {
    /// 410: what was known is too old to be told what came after it.
    Gone,
    /// The server said no.
    Refused {
        /// The HTTP status.
        code: u16,
        /// Its words.
        message: String,
        /// The time after which it wants to be asked again.
        after: Option<Duration>,
    },
    /// It did not say anything that could be understood.
    Silent(String),
}

impl Failure {
    /// The server stays silent for so long.
    pub(crate) fn slow(wait: Duration) -> Failure {
        Failure::Silent(format!("no answer within {} s", wait.as_secs()))
    }

    /// What the server said instead of an object or a list.
    pub(crate) fn of(status: Status) -> Failure {
        let Status { code, message, details, .. } = status;
        let seconds = details.map_or(0, |details| details.retry_after_seconds);
        match code {
            410 => Failure::Gone,
            code => Failure::Refused {
                code,
                message,
                after: (seconds > 0).then(|| Duration::from_secs(seconds.into())),
            },
        }
    }

    /// When it wants to be asked again, if it said so.
    pub(crate) fn after(&self) -> Option<Duration> {
        match self {
            Failure::Refused { after, .. } => *after,
            Failure::Gone | Failure::Silent(_) => None,
        }
    }
}

impl From<kube::Error> for Failure {
    fn from(error: kube::Error) -> Failure {
        match error {
            kube::Error::Api(status) => Failure::of(*status),
            error => Failure::Silent(deepest(&error)),
        }
    }
}

/// What an error says at its root: what wraps it says the same in other words.
fn deepest(error: &dyn std::error::Error) -> String {
    let mut root = error;
    while let Some(source) = root.source() {
        root = source;
    }
    root.to_string()
}
