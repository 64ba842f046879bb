//! What Istio's names of clusters say: `outbound|port|subset|host`, and `outbound_.port_.subset_.host` where clients name
//! them by server name.

/// The parts of a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ClusterName<'a> {
    /// The service's port.
    pub(crate) port: &'a str,
    /// Empty: the whole service.
    pub(crate) subset: &'a str,
    /// The service.
    pub(crate) host: &'a str,
}

impl<'a> ClusterName<'a> {
    /// `None`: it is no name of that kind.
    pub(crate) fn parse(name: &'a str) -> Option<ClusterName<'a>> {
        ["|", "_."].into_iter().find_map(|between| {
            let rest = name.strip_prefix("outbound")?.strip_prefix(between)?;
            let mut parts = rest.splitn(3, between);
            let (port, subset, host) = (parts.next()?, parts.next()?, parts.next()?);
            // The second service of a host has its namespace behind it.
            Some(ClusterName { port, subset, host: host.split('@').next().unwrap_or(host) })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_have_the_same_parts() {
        let parts = |name| ClusterName::parse(name).map(|it| (it.port, it.subset, it.host));
        assert_eq!(parts("outbound|80|v1|a.b.svc"), Some(("80", "v1", "a.b.svc")));
        assert_eq!(parts("outbound|80||a.b.svc"), Some(("80", "", "a.b.svc")));
        assert_eq!(parts("outbound|80||a.b.svc@other"), Some(("80", "", "a.b.svc")));
        assert_eq!(parts("outbound_.80_.v1_.a.b.svc"), Some(("80", "v1", "a.b.svc")));
        assert_eq!(parts("outbound_.80_._.a.b.svc"), Some(("80", "", "a.b.svc")));
        for other in ["", "BlackHoleCluster", "inbound|80||", "outbound|80|", "outbound_80"] {
            assert_eq!(parts(other), None, "{other}");
        }
    }
}
