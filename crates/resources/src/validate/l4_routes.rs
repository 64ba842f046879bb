//! What an API server would refuse in routes for connections and datagrams.

use super::api_routes::{backend, hostnames, parents};
use super::gateway_api::count;
use super::path::SPEC;
use super::{Check, Validate};
use crate::gateway_api::{L4RouteRule, ParentReference, TcpRoute, TlsRoute, UdpRoute};
use crate::object::Meta;

impl Validate for TlsRoute {
    fn validate(&self, _: &Meta, check: &mut Check<'_>) {
        count(check, SPEC.field("hostnames"), self.hostnames.len(), 1, 4096);
        hostnames(check, &self.hostnames);
        common(check, &self.parent_refs, &self.rules);
    }
}

impl Validate for TcpRoute {
    fn validate(&self, _: &Meta, check: &mut Check<'_>) {
        common(check, &self.parent_refs, &self.rules);
    }
}

impl Validate for UdpRoute {
    fn validate(&self, _: &Meta, check: &mut Check<'_>) {
        common(check, &self.parent_refs, &self.rules);
    }
}

fn common(check: &mut Check<'_>, parent_refs: &[ParentReference], rules: &[L4RouteRule]) {
    parents(check, parent_refs);
    let list = SPEC.field("rules");
    count(check, list, rules.len(), 1, 1);
    for (index, rule) in rules.iter().enumerate() {
        let at = list.item(index);
        let at = at.field("backendRefs");
        count(check, at, rule.backend_refs.len(), 1, 16);
        for (index, own) in rule.backend_refs.iter().enumerate() {
            backend(check, at.item(index), own);
        }
    }
}
