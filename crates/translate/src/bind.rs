//! A VirtualService on one server: which of its rules apply there, and which clusters they mean.

use std::sync::Arc;

use limen_ir::atoms::Port;
use limen_ir::cluster::ClusterKey;
use limen_ir::policy::hash::HashPolicy;
use limen_ir::policy::retry::Retry;
use limen_ir::route::{Action, Destination, Forward, Mirror, Redirect, RedirectPort, Rule};
use limen_resources::{AnyObject, Problem};

use crate::draft::{
    ActionDraft, DestinationDraft, Gate, MirrorDraft, PortChoice, RedirectDraft, RedirectPortDraft,
    RouteDraft, RuleDraft, VirtualServiceDraft,
};
use crate::index::{Index, origin};
use crate::istio::names;
use crate::messages::{At, destination as messages, route as route_messages};
use crate::services::{Found, ServiceFacts};
use crate::settings::{BackendOverride, GatewayInstance};

/// The server that a VirtualService is bound to.
#[derive(Clone, Copy)]
pub(crate) struct Site<'a> {
    /// `namespace/name`.
    pub(crate) gateway: &'a str,
    pub(crate) declared: Port,
    /// Clients come by https.
    pub(crate) https: bool,
    pub(crate) instance: &'a GatewayInstance,
    pub(crate) namespace: &'a str,
}

/// What a destination means here.
pub(crate) struct Target {
    pub(crate) meaning: Meaning,
    /// `None`: there is no such service or port, and so no cluster.
    pub(crate) service: Option<Arc<ServiceFacts>>,
    pub(crate) object: AnyObject,
    pub(crate) field: String,
    pub(crate) problem: Option<Problem>,
}

/// What of a destination shapes the rules that name it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Meaning {
    pub(crate) cluster: ClusterKey,
    /// What its requests are hashed by.
    pub(crate) hash: Option<HashPolicy>,
}

/// The rules of a VirtualService on a server.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Bound {
    pub(crate) rules: Vec<BoundRule>,
    /// Which destinations they use, counted through all routes of the draft.
    pub(crate) targets: Vec<usize>,
    pub(crate) problems: Vec<Problem>,
}

/// A rule in its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct BoundRule {
    pub(crate) rule: Arc<Rule>,
    pub(crate) catch_all: bool,
}

/// All destinations of a draft in order.
pub(crate) fn destinations(
    draft: &VirtualServiceDraft,
) -> impl Iterator<Item = (&RouteDraft, &DestinationDraft)> {
    draft.routes.iter().flat_map(|route| of_route(route).map(move |destination| (route, destination)))
}

/// The destinations of a route, then its mirrors.
pub(crate) fn of_route(route: &RouteDraft) -> impl Iterator<Item = &DestinationDraft> {
    let (destinations, mirrors): (&[DestinationDraft], &[MirrorDraft]) = match &route.action {
        ActionDraft::Forward(forward) => (&forward.destinations, &forward.mirrors),
        ActionDraft::Redirect(_) | ActionDraft::Reply(_) => (&[], &[]),
    };
    destinations.iter().chain(mirrors.iter().map(|mirror| &mirror.to))
}

/// What the destinations of a draft mean behind a server that declares `declared`.
/// for `workload`.
pub(crate) fn targets(
    draft: &VirtualServiceDraft,
    site: (Port, &GatewayInstance),
    index: &Index<'_>,
) -> Vec<Target> {
    destinations(draft).map(|(route, destination)| target(&route.object, destination, site, index)).collect()
}

/// What a destination that is written in `object` means behind a server that declares a port, for a workload.
pub(crate) fn target(
    object: &AnyObject,
    destination: &DestinationDraft,
    (declared, workload): (Port, &GatewayInstance),
    index: &Index<'_>,
) -> Target {
    let port = |number: u32| u16::try_from(number).unwrap_or_default();
    let found = index.services.find(&destination.host, &object.key().namespace);
    let (number, host, service, problem) = match found {
        None => {
            let number = match destination.port {
                PortChoice::Number(number) => port(number),
                PortChoice::Name(_) | PortChoice::Implied => declared.get(),
            };
            let mend = unknown_host_mend(destination, number, index);
            let part = if matches!(object, AnyObject::Ingress(_)) { "name" } else { "host" };
            let field = format!("{}.{part}", destination.field);
            let problem = messages::unknown_host(At::any(object, &field), &destination.host, mend);
            (number, &destination.host, None, Some(problem))
        }
        Some(Found { named, service }) => {
            let (number, problem) = port_of(object, destination, declared, named);
            let known = service.port(number).is_some();
            let problem = problem.or_else(|| {
                let field = format!("{}.port", destination.field);
                let (at, ports) = (At::any(object, &field), service.list_ports());
                (!known).then(|| messages::unknown_port(at, &service.host, &number.to_string(), &ports))
            });
            (number, &service.host, known.then(|| Arc::clone(service)), problem)
        }
    };
    let hash = service.as_ref().and_then(|service| hash(destination, service, number, workload, index));
    let cluster = match &service {
        Some(service) => index.services.cluster(service, number, &destination.subset),
        None => ClusterKey::new(number, &destination.subset, host),
    };
    Target {
        meaning: Meaning { cluster, hash },
        service,
        object: object.clone(),
        field: destination.field.clone(),
        problem,
    }
}

/// What requests to a destination are hashed by; `number` is the port that it means.
pub(crate) fn hash(
    destination: &DestinationDraft,
    service: &ServiceFacts,
    number: u16,
    workload: &GatewayInstance,
    index: &Index<'_>,
) -> Option<HashPolicy> {
    let named_port = (destination.port != PortChoice::Implied).then_some(number);
    let names = (&*service.host, &*service.namespace);
    index.rules.hash(names, &workload.labels, named_port, &destination.subset)
}

/// The port that a destination means, and what is to be said about how it says so.
fn port_of(
    object: &AnyObject,
    destination: &DestinationDraft,
    declared: Port,
    service: &ServiceFacts,
) -> (u16, Option<Problem>) {
    let field = |part: &str| format!("{}{part}", destination.field);
    match &destination.port {
        PortChoice::Number(number) => (u16::try_from(*number).unwrap_or_default(), None),
        PortChoice::Name(name) => {
            let field = field(".port.name");
            let at = At::any(object, &field);
            match service.ports.iter().find(|port| port.name == *name) {
                // Ingresses have names of ports in their API.
                Some(port) if matches!(object, AnyObject::Ingress(_)) => (port.number, None),
                Some(port) => (port.number, Some(messages::port_by_name(at, name, port.number))),
                None => (0, Some(messages::unknown_port(at, &service.host, name, &service.list_ports()))),
            }
        }
        PortChoice::Implied => match &*service.ports {
            [only] => (only.number, None),
            [] => (declared.get(), None),
            _ => {
                let field = field("");
                let (at, number) = (At::any(object, &field), declared.get());
                let (has, ports) = (service.port(number).is_some(), service.list_ports());
                (number, Some(messages::port_required(at, &service.host, number, has, &ports)))
            }
        },
    }
}

/// The nearest thing that the writer may have meant.
fn unknown_host_mend(destination: &DestinationDraft, port: u16, index: &Index<'_>) -> String {
    let host = &*destination.host;
    if index.services.knows(host) {
        return "it is an ExternalName Service, and there is no service of the name that it stands for"
            .to_owned();
    }
    let completed = format!("{host}.svc.{}", index.settings.cluster_domain);
    if index.services.knows(&completed) {
        return format!("write {completed}");
    }
    let suffix = format!(".svc.{}", index.settings.cluster_domain);
    let Some((name, namespace)) = host.strip_suffix(&suffix).and_then(|name| name.split_once('.')) else {
        return "add a ServiceEntry for it, or correct the name".to_owned();
    };
    let workload = index.settings.gateways.first();
    let rules = workload.and_then(|workload| index.rules.find(host, namespace, &workload.labels));
    let subset = rules.and_then(|rules| rules.subset(&destination.subset));
    let labels = subset.map(|(_, _, subset)| subset.labels.clone()).unwrap_or_default();
    let flag = BackendOverride::flag(index.settings, (name, namespace), port, &labels, &index.taken);
    format!("add the Service, correct the name, or start with {flag}")
}

/// The rules of `draft` at `site`, up to the first that matches everything. `meanings`: what each of its
/// destinations means there.
pub(crate) fn bind(draft: &VirtualServiceDraft, meanings: &[Meaning], site: Site<'_>) -> Bound {
    let mut bound = Bound::default();
    let mut rest = meanings;
    let mut offset = 0;
    let mut caught = None;
    for route in &draft.routes {
        let mut rules = route.rules.iter().filter(|rule| open(&rule.gate, site)).peekable();
        if let Some(gate) = caught {
            // Behind a condition on the gateway it may be reached elsewhere.
            if gate == &Gate::default() && rules.peek().is_some() {
                bound.problems.push(route_messages::unreachable(At::any(&route.object, &route.field)));
            }
            continue;
        }
        let (own, others) = rest.split_at_checked(of_route(route).count()).unwrap_or((rest, &[]));
        rest = others;
        let before = bound.rules.len();
        for draft in rules {
            bound.problems.extend(draft.problems.iter().cloned());
            let Some(rule) = rule(route, draft, own, site) else { continue };
            bound.rules.push(BoundRule { rule: Arc::new(rule), catch_all: draft.catch_all });
            if draft.catch_all {
                caught = Some(&draft.gate);
                break;
            }
        }
        if bound.rules.len() > before {
            bound.problems.extend(route.problems.iter().cloned());
            bound.targets.extend(offset..offset + own.len());
        }
        offset += own.len();
    }
    bound
}

/// Does a match block concern this gateway at all?
pub(crate) fn open(gate: &Gate, site: Site<'_>) -> bool {
    if gate.port != 0 && gate.port != u32::from(site.declared.get()) {
        return false;
    }
    if !gate.gateways.is_empty() {
        return gate.gateways.iter().any(|name| name == site.gateway);
    }
    let namespace = gate.source_namespace.is_empty() || gate.source_namespace == site.namespace;
    namespace && names::selects(&gate.source_labels, &site.instance.labels)
}

pub(crate) fn rule(
    route: &RouteDraft,
    draft: &RuleDraft,
    meanings: &[Meaning],
    site: Site<'_>,
) -> Option<Rule> {
    Some(Rule {
        name: draft.name.clone(),
        matches: draft.matches.clone()?,
        fault: route.fault.clone().map(Box::new),
        cors: route.cors.clone().map(Box::new),
        external_auth: None,
        action: action(&route.action, meanings, site),
        request_headers: route.request_headers.clone().into(),
        response_headers: route.response_headers.clone().into(),
        origin: origin(route.object.key(), draft.field.clone()),
    })
}

fn action(draft: &ActionDraft, meanings: &[Meaning], site: Site<'_>) -> Action {
    let forward = match draft {
        ActionDraft::Forward(forward) => forward,
        ActionDraft::Redirect(draft) => return Action::Redirect(redirect(draft, site)),
        ActionDraft::Reply(reply) => return Action::Reply(reply.clone()),
    };
    let (own, shadows) = meanings.split_at_checked(forward.destinations.len()).unwrap_or((meanings, &[]));
    let destinations = forward.destinations.iter().zip(own);
    let mirrors = forward.mirrors.iter().zip(shadows);
    let hash: Vec<_> = own.iter().filter_map(|meaning| meaning.hash.clone()).collect();
    let mut retry = forward.retry.clone();
    if let (Retry::Policy(policy), false, [_]) = (&mut retry, hash.is_empty(), own) {
        // The hash says where to, again and again.
        policy.avoid_previous = false;
    }
    Action::Forward(Forward {
        destinations: destinations
            .map(|(draft, meaning)| Destination {
                cluster: meaning.cluster.clone(),
                weight: draft.weight,
                request_headers: draft.request_headers.clone().into(),
                response_headers: draft.response_headers.clone().into(),
                session: None,
                external_auth: None,
                instead: None,
            })
            .collect(),
        no_cluster_status: 503,
        path_rewrite: forward.path_rewrite.clone().map(Box::new),
        host_rewrite: forward.host_rewrite.clone(),
        timeout: forward.timeout,
        retry,
        hash,
        session: None,
        mirrors: mirrors
            .map(|(draft, meaning)| Mirror { cluster: meaning.cluster.clone(), share: draft.share })
            .collect(),
    })
}

/// A port that is the scheme's own is not named, and then the request's stays where it has one (Envoy).
fn redirect(draft: &RedirectDraft, site: Site<'_>) -> Redirect {
    let https = draft.scheme.as_deref().map_or(site.https, |scheme| scheme == "https");
    let number = match draft.port {
        RedirectPortDraft::Unsaid => None,
        RedirectPortDraft::Fixed(number) => Some(number),
        RedirectPortDraft::Declared => Some(site.declared.get()),
    };
    let named = number.filter(|number| *number != if https { 443 } else { 80 });
    Redirect {
        code: draft.code,
        scheme: draft.scheme.clone(),
        authority: draft.authority.clone(),
        port: named.and_then(|number| Port::new(u32::from(number))).map(RedirectPort::Fixed),
        path: draft.path.clone(),
    }
}
