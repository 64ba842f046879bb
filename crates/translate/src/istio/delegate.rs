//! Delegation: a route of one VirtualService hands a part of its requests to the routes of another one.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

use limen_resources::istio::{HttpMatch, HttpRoute, StringMatch, VirtualService};
use limen_resources::{Object, Problem};

use super::names;
use super::virtual_service::own_route;
use crate::mesh::export_to;
use crate::messages::{At, route as messages};
use crate::settings::Settings;

/// An HTTP route and where it is written. Of a merged one that is the delegate.
pub(crate) struct SourceRoute<'a> {
    pub(crate) route: Cow<'a, HttpRoute>,
    pub(crate) object: &'a Arc<Object<VirtualService>>,
    pub(crate) field: String,
}

/// How many pairs of a match block of a VirtualService and one of a delegate are joined for it, where what has no match block
/// counts as one. Routes that name one delegate multiply: some hundred KiB of them could come to as many GiB.
const MOST_PAIRS: usize = 100_000;

/// The routes of `root` in order, with those of its delegates in the place of the routes that name them. `delegates`
/// has one entry for each such route.
pub(crate) fn resolve<'a>(
    root: &'a Arc<Object<VirtualService>>,
    delegates: &'a [Option<Arc<Object<VirtualService>>>],
    settings: &Settings,
    problems: &mut Vec<Problem>,
) -> Vec<SourceRoute<'a>> {
    let mut routes = Vec::with_capacity(root.spec.http.len());
    let mut delegates = delegates.iter();
    let (mut left, mut sizes) = (MOST_PAIRS, BTreeMap::new());
    for (index, route) in root.spec.http.iter().enumerate() {
        let Some(written) = &route.delegate else {
            routes.push(own_route(root, index, route));
            continue;
        };
        let field = format!("spec.http[{index}].delegate");
        let at = At::new(root, &field);
        match delegates.next().and_then(Option::as_ref) {
            None => {
                let name = &written.name;
                let namespace =
                    if written.namespace.is_empty() { &*root.key.namespace } else { &written.namespace };
                let message = format!("there is no VirtualService {namespace}/{name}");
                problems.push(messages::delegate(at, &message, "create it, without hosts and gateways"));
            }
            Some(delegate) => match objection(root, delegate, &settings.mesh.virtual_service_export_to) {
                Some((message, mend)) => problems.push(messages::delegate(at, &message, mend)),
                None => {
                    let size = sizes.entry(&delegate.key).or_insert_with(|| blocks(&delegate.spec.http));
                    match left.checked_sub(route.matches.len().max(1).saturating_mul(*size)) {
                        None => problems.push(too_many(at)),
                        Some(rest) => {
                            left = rest;
                            let route = shadows_named(route, root, &settings.cluster_domain);
                            merge_all(root, &route, delegate, &mut routes, problems);
                        }
                    }
                }
            },
        }
    }
    routes
}

/// The match blocks of routes; one that has none counts as one.
fn blocks(routes: &[HttpRoute]) -> usize {
    routes.iter().map(|route| route.matches.len().max(1)).sum()
}

fn too_many(at: At<'_>) -> Problem {
    let message = format!(
        "expected at most {MOST_PAIRS} pairs of a match block here and one of a delegate in all, and with this route there are more"
    );
    messages::delegate(at, &message, "delegate from fewer routes, or to fewer")
}

/// Why `delegate` cannot stand in for a route of `root`, and the mend.
fn objection(
    root: &Object<VirtualService>,
    delegate: &Object<VirtualService>,
    default_export_to: &[String],
) -> Option<(String, &'static str)> {
    let key = &delegate.key;
    let export_to = export_to(&delegate.spec.export_to, default_export_to).iter().map(String::as_str);
    if !delegate.spec.hosts.is_empty() {
        return Some((format!("{key} has hosts and so is no delegate"), "remove its hosts and gateways"));
    }
    if !names::exported(export_to, &key.namespace, &root.key.namespace) {
        let message = format!("{key} is not exported to namespace {}", root.key.namespace);
        return Some((message, "name that namespace in its exportTo"));
    }
    None
}

fn merge_all<'a>(
    root: &Object<VirtualService>,
    route: &HttpRoute,
    delegate: &'a Arc<Object<VirtualService>>,
    routes: &mut Vec<SourceRoute<'a>>,
    problems: &mut Vec<Problem>,
) {
    for (index, leaf) in delegate.spec.http.iter().enumerate() {
        let field = format!("spec.http[{index}]");
        let at = At::new(delegate, &field);
        if leaf.delegate.is_some() {
            problems.push(messages::delegate(
                at,
                "a delegate cannot delegate further",
                "write the routes here",
            ));
            continue;
        }
        let blocks = match_blocks(&qualified(&route.matches, root), &qualified(&leaf.matches, delegate));
        let Some(blocks) = blocks else {
            let message = format!("no match block of {} has room for what this route matches", root.key);
            problems.push(messages::delegate(
                at,
                &message,
                "match a part of what the delegating route matches",
            ));
            continue;
        };
        let route = Cow::Owned(merge(route, leaf, blocks));
        routes.push(SourceRoute { route, object: delegate, field });
    }
}

/// The delegate's own words; the root's fill what it leaves unsaid.
fn merge(root: &HttpRoute, leaf: &HttpRoute, matches: Vec<HttpMatch>) -> HttpRoute {
    HttpRoute {
        name: joined(&root.name, &leaf.name),
        matches,
        route: leaf.route.clone(),
        redirect: leaf.redirect.clone(),
        direct_response: leaf.direct_response.clone().or_else(|| root.direct_response.clone()),
        delegate: None,
        rewrite: leaf.rewrite.clone().or_else(|| root.rewrite.clone()),
        timeout: leaf.timeout.or(root.timeout),
        retries: leaf.retries.clone().or_else(|| root.retries.clone()),
        fault: leaf.fault.clone().or_else(|| root.fault.clone()),
        mirror: leaf.mirror.clone().or_else(|| root.mirror.clone()),
        mirrors: if leaf.mirrors.is_empty() { root.mirrors.clone() } else { leaf.mirrors.clone() },
        mirror_percent: leaf.mirror_percent.or(root.mirror_percent),
        mirror_percentage: leaf.mirror_percentage.clone().or_else(|| root.mirror_percentage.clone()),
        cors_policy: leaf.cors_policy.clone().or_else(|| root.cors_policy.clone()),
        headers: leaf.headers.clone().or_else(|| root.headers.clone()),
    }
}

fn joined(root: &str, leaf: &str) -> String {
    match (root, leaf) {
        ("", only) | (only, "") => only.to_owned(),
        (root, leaf) => format!("{root}-{leaf}"),
    }
}

/// With the names of gateways completed by the namespace of the object that wrote them.
fn qualified(blocks: &[HttpMatch], object: &Object<VirtualService>) -> Vec<HttpMatch> {
    let mut blocks = blocks.to_vec();
    for name in blocks.iter_mut().flat_map(|block| &mut block.gateways) {
        *name = names::gateway_name(name, &object.key.namespace);
    }
    blocks
}

/// With the mirrors' short names written out, as they are completed by the namespace of the object that wrote them.
fn shadows_named(route: &HttpRoute, root: &Object<VirtualService>, cluster_domain: &str) -> HttpRoute {
    let mut route = route.clone();
    let mirrors = route.mirrors.iter_mut().map(|mirror| &mut mirror.destination);
    for destination in route.mirror.iter_mut().chain(mirrors) {
        destination.host = names::full_name(&destination.host, &root.key.namespace, cluster_domain);
    }
    route
}

/// Every leaf block joined with every root block that has room for it; `None` if one finds none.
fn match_blocks(root: &[HttpMatch], leaf: &[HttpMatch]) -> Option<Vec<HttpMatch>> {
    if root.is_empty() || leaf.is_empty() {
        return Some(if root.is_empty() { leaf.to_vec() } else { root.to_vec() });
    }
    let mut blocks = Vec::new();
    for one in leaf {
        let before = blocks.len();
        blocks.extend(root.iter().filter(|other| !conflict(other, one)).map(|other| both(other, one)));
        if blocks.len() == before {
            return None;
        }
    }
    Some(blocks)
}

fn both(root: &HttpMatch, leaf: &HttpMatch) -> HttpMatch {
    let text = |leaf: &Option<StringMatch>, root: &Option<StringMatch>| leaf.clone().or_else(|| root.clone());
    HttpMatch {
        name: joined(&root.name, &leaf.name),
        uri: text(&leaf.uri, &root.uri),
        scheme: text(&leaf.scheme, &root.scheme),
        method: text(&leaf.method, &root.method),
        authority: text(&leaf.authority, &root.authority),
        headers: union(&root.headers, &leaf.headers),
        without_headers: union(&root.without_headers, &leaf.without_headers),
        query_params: union(&root.query_params, &leaf.query_params),
        ignore_uri_case: leaf.ignore_uri_case,
        port: if leaf.port == 0 { root.port } else { leaf.port },
        source_labels: union(&root.source_labels, &leaf.source_labels),
        source_namespace: or(&leaf.source_namespace, &root.source_namespace),
        gateways: if leaf.gateways.is_empty() { root.gateways.clone() } else { leaf.gateways.clone() },
        stat_prefix: or(&leaf.stat_prefix, &root.stat_prefix),
    }
}

fn or(first: &str, second: &str) -> String {
    if first.is_empty() { second.to_owned() } else { first.to_owned() }
}

fn union<V: Clone>(root: &BTreeMap<String, V>, leaf: &BTreeMap<String, V>) -> BTreeMap<String, V> {
    root.iter().chain(leaf).map(|(key, value)| (key.clone(), value.clone())).collect()
}

/// Does `leaf` ask for something outside of what `root` matches?
fn conflict(root: &HttpMatch, leaf: &HttpMatch) -> bool {
    let texts = [
        (&root.uri, &leaf.uri),
        (&root.scheme, &leaf.scheme),
        (&root.method, &leaf.method),
        (&root.authority, &leaf.authority),
    ];
    let maps = [
        (&root.headers, &leaf.headers),
        (&root.without_headers, &leaf.without_headers),
        (&root.query_params, &leaf.query_params),
    ];
    let outside = |root: Option<&StringMatch>, leaf: Option<&StringMatch>| match (root, leaf) {
        (Some(root), Some(leaf)) => text_conflict(root, leaf),
        _ => false,
    };
    let labels = &leaf.source_labels;
    texts.into_iter().any(|(root, leaf)| outside(root.as_ref(), leaf.as_ref()))
        || maps
            .into_iter()
            .any(|(root, leaf)| leaf.iter().any(|(key, asked)| outside(root.get(key), Some(asked))))
        || root.ignore_uri_case != leaf.ignore_uri_case
        || (root.port > 0 && leaf.port > 0 && root.port != leaf.port)
        || (!root.source_namespace.is_empty() && root.source_namespace != leaf.source_namespace)
        || labels.iter().any(|(key, value)| root.source_labels.get(key).is_some_and(|other| other != value))
        || (!root.gateways.is_empty() && leaf.gateways.iter().any(|name| !root.gateways.contains(name)))
}

fn text_conflict(root: &StringMatch, leaf: &StringMatch) -> bool {
    use StringMatch::{Exact, Prefix};
    match (root, leaf) {
        (Exact(root), Exact(leaf)) if !root.is_empty() => root != leaf,
        (Prefix(root), Prefix(leaf) | Exact(leaf)) if !root.is_empty() && !leaf.is_empty() => {
            !leaf.starts_with(&**root)
        }
        // Expressions are not compared, nor is anything with presence.
        _ => true,
    }
}

#[cfg(test)]
#[path = "delegate_tests.rs"]
mod tests;
