//! Where an endpoint is, as workers know it: copied from hand to hand, so nothing is counted or allocated for it.

use std::collections::BTreeSet;
use std::fmt;
use std::net::SocketAddr;

use serde::Serialize;

/// Where something can be connected to. Shown as `ip:port`, `/path` or `@name`, as in Envoy's log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Address {
    /// An IP address and a port.
    Inet(SocketAddr),
    /// The path of a unix socket, or `@` and an abstract name.
    Unix(&'static str),
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Address::Inet(address) => address.fmt(f),
            Address::Unix(path) => f.write_str(path),
        }
    }
}

impl Serialize for Address {
    fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}

/// The paths of unix sockets that a configuration has ever named. What a request notes of one may outlive every table,
/// so each is kept for the life of the process: they are few, and none comes from a client.
#[derive(Debug, Default)]
pub(crate) struct Paths(BTreeSet<&'static str>);

impl Paths {
    /// The path, for good.
    pub(crate) fn keep(&mut self, path: &str) -> &'static str {
        if let Some(known) = self.0.get(path) {
            return known;
        }
        let kept: &'static str = Box::leak(Box::from(path));
        self.0.insert(kept);
        kept
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_kept_once() {
        let mut paths = Paths::default();
        let (first, other) = (paths.keep("/run/a.sock"), paths.keep("@b"));
        assert!(std::ptr::eq(first, paths.keep("/run/a.sock")));
        assert_eq!((first, other), ("/run/a.sock", "@b"));
    }

    #[test]
    fn one_costs_no_more_than_an_ip_address() {
        assert_eq!(size_of::<Option<Address>>(), size_of::<SocketAddr>());
    }
}
