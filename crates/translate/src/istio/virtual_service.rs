//! VirtualServices: drafts of routes, before any gateway or service is looked at.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::sync::Arc;

use limen_ir::matcher::Match;
use limen_resources::istio::{HttpMatch, HttpRoute, VirtualService};
use limen_resources::{AnyObject, Object};

use super::action::{Context, action};
use super::delegate::SourceRoute;
use super::{connection, cors, delegate, fault, headers, matching, names};
use crate::draft::{ActionDraft, Gate, GatewayRef, Reach, RouteDraft, RuleDraft, VirtualServiceDraft};
use crate::mesh::export_to;
use crate::messages::{At, route as messages};
use crate::settings::Settings;

/// What `object` says, with the objects that it delegates to in the order of its routes (`None`: not found).
pub(crate) fn draft(
    object: &Arc<Object<VirtualService>>,
    delegates: &[Option<Arc<Object<VirtualService>>>],
    settings: &Settings,
) -> VirtualServiceDraft {
    let spec = &object.spec;
    let mut problems = Vec::new();
    let namespace = &*object.key.namespace;
    let routes = delegate::resolve(object, delegates, settings, &mut problems);
    let routes = routes.iter().map(|source| route(source, settings)).collect();
    let hosts = spec.hosts.iter();
    VirtualServiceDraft {
        object: Arc::clone(object),
        hosts: hosts.map(|host| names::full_name(host, namespace, &settings.cluster_domain)).collect(),
        gateways: gateways(spec, namespace),
        reach: reach(
            export_to(&spec.export_to, &settings.mesh.virtual_service_export_to),
            namespace,
            &settings.workload_namespace,
        ),
        routes,
        tls: connection::tls(object, settings),
        tcp: connection::tcp(object, settings),
        problems,
    }
}

/// The Gateways that it hangs on. One that is named twice, be it with and without its namespace, is one: else it would have
/// all rules once for each time.
fn gateways(spec: &VirtualService, namespace: &str) -> Vec<GatewayRef> {
    let (mut refs, mut known) = (Vec::new(), BTreeSet::new());
    for (index, name) in spec.gateways.iter().enumerate().filter(|(_, name)| *name != "mesh") {
        let name = names::gateway_name(name, namespace);
        if known.insert(name.clone()) {
            refs.push(GatewayRef { name, field: format!("spec.gateways[{index}]") });
        }
    }
    refs
}

fn reach(export_to: &[String], own: &str, workload: &str) -> Option<Reach> {
    let to = |target: &str| export_to.iter().any(|export| export == target);
    if export_to.is_empty() || to("*") {
        Some(Reach::Public)
    } else if own == workload && (to(".") || to(own)) {
        Some(Reach::Private)
    } else {
        to(workload).then_some(Reach::Named)
    }
}

fn route(source: &SourceRoute<'_>, settings: &Settings) -> RouteDraft {
    let SourceRoute { route, object, field } = source;
    let route: &HttpRoute = route;
    let at = At::new(object, field);
    let mut problems = Vec::new();
    let context = Context {
        namespace: &object.key.namespace,
        cluster_domain: &settings.cluster_domain,
        default_retry: settings.mesh.retry.as_ref(),
        istio_default_retries: settings.istio_default_retries,
        at,
    };
    let mut action = action(route, context, field, &mut problems);
    let written = route.headers.as_ref();
    let (request, response) = (format!("{field}.headers.request"), format!("{field}.headers.response"));
    let ops = written.and_then(|headers| headers.request.as_ref());
    let mut request_headers = headers::request(ops, at, &request, &mut problems);
    let ops = written.and_then(|headers| headers.response.as_ref());
    let mut response_headers = headers::response(ops, at, &response, &mut problems);
    if let ActionDraft::Forward(forward) = &mut action
        && let [only] = &mut *forward.destinations
    {
        // The operations of a single destination follow the route's at the same level. Where it is single because
        // the others have no weight, they come before it.
        let (first, then) = (
            (&mut request_headers, &mut response_headers),
            (&mut only.request_headers, &mut only.response_headers),
        );
        let (first, then) = if route.route.len() == 1 { (first, then) } else { (then, first) };
        headers::overrule(first.0, then.0);
        headers::overrule(first.1, then.1);
    }
    let rules = match &*route.matches {
        [] => vec![everything(&route.name, field)],
        blocks => (0..).zip(blocks).map(|(index, block)| rule(source, index, block)).collect(),
    };
    let fault = route
        .fault
        .as_ref()
        .and_then(|written| fault::fault(written, at, &format!("{field}.fault"), &mut problems));
    let cors = route
        .cors_policy
        .as_ref()
        .map(|written| cors::cors(written, at, &format!("{field}.corsPolicy"), &mut problems));
    RouteDraft {
        object: AnyObject::VirtualService(Arc::clone(object)),
        field: field.clone(),
        fault,
        cors,
        action,
        request_headers,
        response_headers,
        rules,
        problems,
    }
}

fn everything(name: &str, field: &str) -> RuleDraft {
    RuleDraft {
        name: name.to_owned(),
        gate: Gate::default(),
        matches: Some(Match::any()),
        catch_all: true,
        field: field.to_owned(),
        problems: Vec::new(),
    }
}

fn rule(source: &SourceRoute<'_>, index: usize, block: &HttpMatch) -> RuleDraft {
    let field = format!("{}.match[{index}]", source.field);
    let mut problems = Vec::new();
    let matches = matching::conditions(block, At::new(source.object, &field), &field, &mut problems);
    let name = match &*block.name {
        "" => source.route.name.clone(),
        own => format!("{}.{own}", source.route.name),
    };
    let namespace = &source.object.key.namespace;
    if !block.stat_prefix.is_empty() {
        let field = format!("{field}.statPrefix");
        problems.push(messages::no_effect(
            At::new(source.object, &field),
            "statistics of single routes are not kept: requests are counted by service",
            "",
        ));
    }
    let gate = Gate {
        port: block.port,
        gateways: block.gateways.iter().map(|name| names::gateway_name(name, namespace)).collect(),
        source_labels: block.source_labels.clone(),
        source_namespace: block.source_namespace.clone(),
    };
    let catch_all = matches.as_ref().is_some_and(matching::is_catch_all);
    RuleDraft { name, gate, matches, catch_all, field, problems }
}

/// The delegates of a VirtualService in the order of the routes that name them.
pub(crate) fn delegate_keys(spec: &VirtualService, own: &str) -> Vec<(String, String)> {
    let named = spec.http.iter().filter_map(|route| route.delegate.as_ref());
    let key = |namespace: &str| if namespace.is_empty() { own.to_owned() } else { namespace.to_owned() };
    named.map(|delegate| (key(&delegate.namespace), delegate.name.clone())).collect()
}

/// A route of an object, borrowed.
pub(crate) fn own_route<'a>(
    object: &'a Arc<Object<VirtualService>>,
    index: usize,
    route: &'a HttpRoute,
) -> SourceRoute<'a> {
    SourceRoute { route: Cow::Borrowed(route), object, field: format!("spec.http[{index}]") }
}
