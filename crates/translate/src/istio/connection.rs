//! `tls` and `tcp` routes of VirtualServices: drafts, before any gateway or service is looked at.

use std::sync::Arc;

use limen_ir::policy::headers::HeaderOps;
use limen_resources::istio::{TcpMatch, TcpRoute, TlsMatch, TlsRoute, VirtualService, WeightedDestination};
use limen_resources::{Object, Problem};

use super::{action, names};
use crate::draft::{ConnectionMatch, ConnectionRouteDraft, DestinationDraft, Gate};
use crate::messages::{At, route as messages};
use crate::settings::Settings;

/// The `tls` routes.
pub(crate) fn tls(object: &Arc<Object<VirtualService>>, settings: &Settings) -> Vec<ConnectionRouteDraft> {
    let reader = Reader { object, settings };
    let routes = (0..).zip(&object.spec.tls);
    routes.map(|(index, route): (usize, _)| reader.tls(format!("spec.tls[{index}]"), route)).collect()
}

/// The `tcp` routes.
pub(crate) fn tcp(object: &Arc<Object<VirtualService>>, settings: &Settings) -> Vec<ConnectionRouteDraft> {
    let reader = Reader { object, settings };
    let routes = (0..).zip(&object.spec.tcp);
    routes.map(|(index, route): (usize, _)| reader.tcp(format!("spec.tcp[{index}]"), route)).collect()
}

struct Reader<'a> {
    object: &'a Arc<Object<VirtualService>>,
    settings: &'a Settings,
}

impl Reader<'_> {
    fn tls(&self, field: String, route: &TlsRoute) -> ConnectionRouteDraft {
        let mut problems = Vec::new();
        let blocks = (0..).zip(&route.matches);
        let matches = blocks.map(|(index, block): (usize, _)| {
            let TlsMatch { sni_hosts, destination_subnets, port, source_labels, gateways, source_namespace } =
                block;
            let field = format!("{field}.match[{index}]");
            self.ignored(&field, "destinationSubnets", !destination_subnets.is_empty(), &mut problems);
            self.ignored(&field, "sourceLabels", !source_labels.is_empty(), &mut problems);
            self.ignored(&field, "sourceNamespace", !source_namespace.is_empty(), &mut problems);
            ConnectionMatch { gate: self.gate(*port, gateways), sni_hosts: sni_hosts.clone(), field }
        });
        let matches = matches.collect();
        self.route(field, matches, &route.route, problems)
    }

    fn tcp(&self, field: String, route: &TcpRoute) -> ConnectionRouteDraft {
        let mut problems = Vec::new();
        let blocks = (0..).zip(&route.matches);
        let matches = blocks.map(|(index, block): (usize, _)| {
            let TcpMatch {
                destination_subnets,
                port,
                source_subnet,
                source_labels,
                gateways,
                source_namespace,
            } = block;
            let field = format!("{field}.match[{index}]");
            self.ignored(&field, "destinationSubnets", !destination_subnets.is_empty(), &mut problems);
            self.ignored(&field, "sourceSubnet", !source_subnet.is_empty(), &mut problems);
            self.ignored(&field, "sourceLabels", !source_labels.is_empty(), &mut problems);
            self.ignored(&field, "sourceNamespace", !source_namespace.is_empty(), &mut problems);
            ConnectionMatch { gate: self.gate(*port, gateways), sni_hosts: Vec::new(), field }
        });
        let matches = matches.collect();
        self.route(field, matches, &route.route, problems)
    }

    fn gate(&self, port: u32, gateways: &[String]) -> Gate {
        let namespace = &self.object.key.namespace;
        let gateways = gateways.iter().map(|name| names::gateway_name(name, namespace)).collect();
        Gate { port, gateways, ..Gate::default() }
    }

    /// A gateway looks at the port and at its own name only.
    fn ignored(&self, field: &str, part: &str, written: bool, problems: &mut Vec<Problem>) {
        if written {
            let field = format!("{field}.{part}");
            let message = "a gateway does not look at it for connections, as in Istio";
            let mend = "tell connections apart by port, gateways or, for TLS, sniHosts";
            problems.push(messages::no_effect(At::new(self.object, &field), message, mend));
        }
    }

    fn route(
        &self,
        field: String,
        matches: Vec<ConnectionMatch>,
        written: &[WeightedDestination],
        problems: Vec<Problem>,
    ) -> ConnectionRouteDraft {
        let several = written.len() > 1;
        let weighted = (0..).zip(written).filter(|(_, to)| !several || to.weight > 0);
        let destinations = weighted.map(|(index, to): (usize, _)| {
            let namespace = &self.object.key.namespace;
            DestinationDraft {
                host: action::host(&to.destination, namespace, &self.settings.cluster_domain),
                port: action::port(&to.destination),
                subset: to.destination.subset.clone(),
                weight: if several { to.weight } else { 1 },
                request_headers: HeaderOps::default(),
                response_headers: HeaderOps::default(),
                field: format!("{field}.route[{index}].destination"),
            }
        });
        let destinations = destinations.collect();
        ConnectionRouteDraft { field, matches, destinations, problems }
    }
}
