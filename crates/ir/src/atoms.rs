//! Small values that are right if they exist.

use std::fmt;
use std::num::NonZeroU16;

use serde::{Serialize, Serializer};

/// A TCP port, 1 to 65535.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct Port(NonZeroU16);

impl Port {
    /// `None` for 0 and for numbers over 65535.
    pub fn new(number: u32) -> Option<Port> {
        u16::try_from(number).ok().and_then(NonZeroU16::new).map(Port)
    }

    /// The number.
    pub fn get(self) -> u16 {
        self.0.get()
    }
}

impl fmt::Display for Port {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A span of time in milliseconds, at least 1. Serialised as a number of milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct Millis(u64);

impl Millis {
    /// `None` for 0, which APIs use for "no limit" and which is said with an `Option` here.
    pub fn new(ms: u64) -> Option<Millis> {
        (ms > 0).then_some(Millis(ms))
    }

    /// The number of milliseconds.
    pub const fn get(self) -> u64 {
        self.0
    }

    /// As a [`std::time::Duration`].
    pub const fn duration(self) -> std::time::Duration {
        std::time::Duration::from_millis(self.0)
    }
}

/// A share of the requests in millionths, more than none. Serialised as the number of millionths.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct Share(u32);

impl Share {
    /// Every request.
    pub const ALL: Share = Share(1_000_000);

    /// `None` for none at all, for less than a millionth, and for what is no number; over 100 counts as 100.
    pub fn percent(percent: f64) -> Option<Share> {
        let millionths = (percent * 10_000.0).round();
        (millionths >= 1.0).then(|| Share(millionths.min(1_000_000.0) as u32))
    }

    /// 1 to 1 000 000.
    pub const fn millionths(self) -> u32 {
        self.0
    }
}

/// Which host names something serves. Names are lower case, without port and without trailing dot.
///
/// The APIs disagree on what `*.example.com` means, so the kinds of wildcard are told apart here.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum HostPattern {
    /// This name only.
    Exact(String),
    /// One label before this suffix (stored without `*.`): Kubernetes Ingress.
    OneLabel(String),
    /// Any number of labels, at least one, before this suffix (stored without `*.`): Istio and the Gateway API.
    AnyDepth(String),
    /// Every name.
    Any,
}

impl HostPattern {
    /// Istio's meaning of a host string: `*`, `*.suffix` at any depth, or a name. Lower-cases.
    pub fn istio(host: &str) -> HostPattern {
        let host = host.to_ascii_lowercase();
        match host.strip_prefix("*.") {
            _ if host == "*" => HostPattern::Any,
            Some(suffix) => HostPattern::AnyDepth(suffix.to_owned()),
            None => HostPattern::Exact(host),
        }
    }

    /// Does this pattern cover `name` (lower case, no port)?
    pub fn covers(&self, name: &str) -> bool {
        match self {
            HostPattern::Any => true,
            HostPattern::Exact(own) => own == name,
            HostPattern::AnyDepth(suffix) => label_prefix(name, suffix).is_some(),
            HostPattern::OneLabel(suffix) => label_prefix(name, suffix).is_some_and(|p| !p.contains('.')),
        }
    }
}

/// What stands before `.suffix` in `name`, if anything does.
fn label_prefix<'a>(name: &'a str, suffix: &str) -> Option<&'a str> {
    name.strip_suffix(suffix)?.strip_suffix('.').filter(|p| !p.is_empty())
}

impl fmt::Display for HostPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            HostPattern::Exact(name) => f.write_str(name),
            HostPattern::OneLabel(suffix) => write!(f, "?.{suffix}"),
            HostPattern::AnyDepth(suffix) => write!(f, "*.{suffix}"),
            HostPattern::Any => f.write_str("*"),
        }
    }
}

impl Serialize for HostPattern {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}

/// A regular expression in RE2's syntax that was seen to compile within the size limit; matched against the whole text.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct Pattern(String);

impl Pattern {
    /// The caller has compiled `source` and seen it valid (the parser lives in `translate`, the engine in `proxy`).
    pub fn checked(source: String) -> Pattern {
        Pattern(source)
    }

    /// The expression as written, without anchors.
    pub fn source(&self) -> &str {
        &self.0
    }
}
