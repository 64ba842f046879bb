//! What an API server would refuse in routes of the Gateway API.

use super::gateway_api::{LOWER_CASE, count, named};
use super::path::SPEC;
use super::syntax::{is_dns_name, is_ip, is_token};
use super::{Check, Path, Validate};
use crate::duration::GoDuration;
use crate::gateway_api::{
    BackendReference, FilterType, GrpcRoute, HeaderModifier, HttpBackendReference, HttpPathMatch, HttpRoute,
    HttpRouteFilter, HttpRouteMatch, HttpRouteRule, HttpValueMatch, ParentReference, PathMatchType,
    PathModifier, PathModifierType, RequestMirror,
};
use crate::object::Meta;

const METHODS: [&str; 9] = ["GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH"];

impl Validate for HttpRoute {
    fn validate(&self, _: &Meta, check: &mut Check<'_>) {
        common(check, &self.parent_refs, &self.hostnames, self.rules.len());
        let list = SPEC.field("rules");
        let total: usize = self.rules.iter().map(|rule| rule.matches.len()).sum();
        if total > 128 {
            let message = format!("expected 128 matches at the most in all rules together, found {total}");
            check.error(list, message, "make two routes of it");
        }
        for (index, rule) in self.rules.iter().enumerate() {
            http_rule(check, list.item(index), rule);
        }
    }
}

impl Validate for GrpcRoute {
    fn validate(&self, _: &Meta, check: &mut Check<'_>) {
        common(check, &self.parent_refs, &self.hostnames, self.rules.len());
        let list = SPEC.field("rules");
        for (index, rule) in self.rules.iter().enumerate() {
            let at = list.item(index);
            let matches = at.field("matches");
            count(check, matches, rule.matches.len(), 0, 64);
            for (index, own) in rule.matches.iter().enumerate() {
                let at = matches.item(index);
                values(check, at.field("headers"), &own.headers, true);
                let empty = |method: &crate::gateway_api::GrpcMethodMatch| {
                    method.service.is_empty() && method.method.is_empty()
                };
                if own.method.as_ref().is_some_and(empty) {
                    check.error(at.field("method"), "expected a service or a method", "write one of the two");
                }
            }
            filters(check, at, &rule.filters, false);
            backends(check, at.field("backendRefs"), &rule.backend_refs, false);
        }
    }
}

/// What all routes for requests have.
fn common(check: &mut Check<'_>, parents: &[ParentReference], hostnames: &[String], rules: usize) {
    self::parents(check, parents);
    count(check, SPEC.field("hostnames"), hostnames.len(), 0, 16);
    self::hostnames(check, hostnames);
    count(check, SPEC.field("rules"), rules, 0, 16);
}

/// The parentRefs of a route of any kind.
pub(super) fn parents(check: &mut Check<'_>, parents: &[ParentReference]) {
    let parent_refs = SPEC.field("parentRefs");
    count(check, parent_refs, parents.len(), 0, 32);
    for (index, parent) in parents.iter().enumerate() {
        let at = parent_refs.item(index);
        named(check, at, (parent.group(), parent.kind(), &parent.name));
        let before = parents.get(..index).unwrap_or_default();
        let place = |parent: &ParentReference| {
            let own = (parent.group().to_owned(), parent.kind().to_owned());
            let name = (parent.namespace.clone(), parent.name.clone());
            (own, name, parent.section_name.clone(), parent.port)
        };
        if before.iter().any(|other| place(other) == place(parent)) {
            check.error(at, "the same parent stands there twice", "remove one, or write sectionName");
        }
    }
}

/// The names of a route that has any.
pub(super) fn hostnames(check: &mut Check<'_>, hostnames: &[String]) {
    let names = SPEC.field("hostnames");
    for (index, name) in hostnames.iter().enumerate() {
        if name.is_empty() {
            check.error(names.item(index), "expected a host name", LOWER_CASE);
        }
        hostname(check, names.item(index), name);
    }
}

/// A name in lower case, with `*.` before it or not; empty is any.
pub(super) fn hostname(check: &mut Check<'_>, at: Path<'_>, name: &str) {
    let plain = name.strip_prefix("*.").unwrap_or(name);
    if !name.is_empty() && (!is_dns_name(plain) || is_ip(name)) {
        let message = format!("expected a host name without port, found {name:?}");
        check.error(at, message, LOWER_CASE);
    }
}

fn http_rule(check: &mut Check<'_>, at: Path<'_>, rule: &HttpRouteRule) {
    let matches = at.field("matches");
    count(check, matches, rule.matches.len(), 0, 64);
    for (index, own) in rule.matches.iter().enumerate() {
        http_match(check, matches.item(index), own);
    }
    let only_prefix = match &*rule.matches {
        [] => true,
        [only] => only.path.as_ref().is_none_or(|path| path.match_type == PathMatchType::PathPrefix),
        _ => false,
    };
    filters(check, at, &rule.filters, only_prefix);
    backends(check, at.field("backendRefs"), &rule.backend_refs, only_prefix);
    let redirects = rule.filters.iter().any(|filter| filter.filter_type == FilterType::RequestRedirect);
    if redirects && !rule.backend_refs.is_empty() {
        let message = "a rule that redirects has no backends";
        check.error(at.field("backendRefs"), message, "remove them, or the filter");
    }
    if let Some(timeouts) = &rule.timeouts
        && let (Some(request), Some(backend)) = (timeouts.request, timeouts.backend_request)
        && request != GoDuration::default()
        && backend > request
    {
        let message = "an attempt may not take longer than the request";
        let at = at.field("timeouts");
        check.error(at.field("backendRequest"), message, "write a shorter one");
    }
    if let Some(retry) = &rule.retry {
        let at = at.field("retry");
        for (index, code) in retry.codes.iter().enumerate() {
            if !(400..600).contains(code) {
                let message = format!("expected a status from 400 to 599, found {code}");
                check.error(at.field("codes").item(index), message, "remove it");
            }
        }
        if retry.attempts == Some(0) {
            check.error(at.field("attempts"), "expected 1 or more", "remove retry to have none");
        }
    }
}

fn http_match(check: &mut Check<'_>, at: Path<'_>, own: &HttpRouteMatch) {
    if let Some(path) = &own.path {
        self::path(check, at.field("path"), path);
    }
    values(check, at.field("headers"), &own.headers, true);
    values(check, at.field("queryParams"), &own.query_params, false);
    if !own.method.is_empty() && !METHODS.contains(&&*own.method) {
        let message = format!("expected one of {}, found {:?}", METHODS.join(", "), own.method);
        check.error(at.field("method"), message, "write it in upper case");
    }
}

fn path(check: &mut Check<'_>, at: Path<'_>, path: &HttpPathMatch) {
    let value = path.value.as_deref().unwrap_or("/");
    if value.len() > 1024 {
        check.error(at.field("value"), "expected 1024 characters at the most", "write a shorter one");
    }
    if path.match_type == PathMatchType::RegularExpression {
        return;
    }
    let lower = value.to_ascii_lowercase();
    let bad = ["//", "/./", "/../", "%2f", "#"].iter().find(|part| lower.contains(**part));
    let bad = bad.or_else(|| ["/..", "/."].iter().find(|end| value.ends_with(**end)));
    let known = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=:@/%".contains(&byte);
    if !value.starts_with('/') {
        let message = format!("expected a path that begins with a slash, found {value:?}");
        check.error(at.field("value"), message, "write /");
    } else if let Some(bad) = bad {
        let message = format!("no path that is looked at has {bad:?}");
        check.error(at.field("value"), message, "write the path as it is after normalization");
    } else if !value.bytes().all(known) {
        let message = format!("{value:?} has characters that no path has");
        check.error(at.field("value"), message, "write them as %XX");
    }
}

fn values(check: &mut Check<'_>, at: Path<'_>, values: &[HttpValueMatch], header: bool) {
    count(check, at, values.len(), 0, 16);
    for (index, own) in values.iter().enumerate() {
        let right = if header { is_token(&own.name) } else { !own.name.is_empty() };
        if !right {
            let message = format!("expected a name, found {:?}", own.name);
            check.error(at.item(index).field("name"), message, "write one without spaces");
        }
    }
}

fn filters(check: &mut Check<'_>, at: Path<'_>, filters: &[HttpRouteFilter], only_prefix: bool) {
    let list = at.field("filters");
    count(check, list, filters.len(), 0, 16);
    let has = |kind: FilterType| filters.iter().filter(|filter| filter.filter_type == kind).count();
    for kind in [
        FilterType::RequestHeaderModifier,
        FilterType::ResponseHeaderModifier,
        FilterType::RequestRedirect,
        FilterType::UrlRewrite,
        FilterType::Cors,
        FilterType::ExternalAuth,
    ] {
        if has(kind) > 1 {
            check.error(list, format!("{} stands there twice", kind.as_str()), "make one of them");
        }
    }
    if has(FilterType::RequestRedirect) > 0 && has(FilterType::UrlRewrite) > 0 {
        check.error(list, "RequestRedirect and URLRewrite exclude one another", "remove one of the two");
    }
    for (index, filter) in filters.iter().enumerate() {
        self::filter(check, list.item(index), filter, only_prefix);
    }
}

fn filter(check: &mut Check<'_>, at: Path<'_>, filter: &HttpRouteFilter, only_prefix: bool) {
    let HttpRouteFilter {
        filter_type,
        request_header_modifier,
        response_header_modifier,
        request_mirror,
        request_redirect,
        url_rewrite,
        cors,
        external_auth,
        extension_ref,
    } = filter;
    let fields = [
        (FilterType::RequestHeaderModifier, "requestHeaderModifier", request_header_modifier.is_some()),
        (FilterType::ResponseHeaderModifier, "responseHeaderModifier", response_header_modifier.is_some()),
        (FilterType::RequestMirror, "requestMirror", request_mirror.is_some()),
        (FilterType::RequestRedirect, "requestRedirect", request_redirect.is_some()),
        (FilterType::UrlRewrite, "urlRewrite", url_rewrite.is_some()),
        (FilterType::Cors, "cors", cors.is_some()),
        (FilterType::ExternalAuth, "externalAuth", external_auth.is_some()),
        (FilterType::ExtensionRef, "extensionRef", extension_ref.is_some()),
    ];
    for (kind, field, written) in fields {
        if (kind == *filter_type) != written {
            let message = format!(
                "a filter of type {} {} {field}",
                filter_type.as_str(),
                if written { "has no" } else { "needs" }
            );
            check.error(at.field(field), message, "write the type and the field of that name");
        }
    }
    for (field, modifier) in [
        ("requestHeaderModifier", request_header_modifier),
        ("responseHeaderModifier", response_header_modifier),
    ] {
        if let Some(modifier) = modifier {
            modified(check, at.field(field), modifier);
        }
    }
    if let Some(own) = external_auth {
        super::external_auth::external_auth(check, at.field("externalAuth"), own);
    }
    if let Some(mirror) = request_mirror {
        self::mirror(check, at.field("requestMirror"), mirror);
    }
    let redirect = request_redirect.as_ref().map(|redirect| ("requestRedirect", &redirect.path));
    let rewrite = url_rewrite.as_ref().map(|rewrite| ("urlRewrite", &rewrite.path));
    for (field, path) in redirect.into_iter().chain(rewrite) {
        let at = at.field(field);
        if let Some(path) = path {
            path_modifier(check, at.field("path"), path, only_prefix);
        }
    }
    if let Some(redirect) = request_redirect {
        let at = at.field("requestRedirect");
        if !matches!(&*redirect.scheme, "" | "http" | "https") {
            check.error(at.field("scheme"), "expected http or https", "write one of the two");
        }
        if !matches!(redirect.status_code, None | Some(301 | 302 | 303 | 307 | 308)) {
            check.error(at.field("statusCode"), "expected 301, 302, 303, 307 or 308", "write one of them");
        }
    }
    let hosts = [
        request_redirect.as_ref().map(|redirect| ("requestRedirect", &redirect.hostname)),
        url_rewrite.as_ref().map(|rewrite| ("urlRewrite", &rewrite.hostname)),
    ];
    for (field, host) in hosts.into_iter().flatten().filter(|(_, host)| !host.is_empty()) {
        if !is_dns_name(host) {
            let at = at.field(field);
            check.error(at.field("hostname"), format!("expected a host name, found {host:?}"), LOWER_CASE);
        }
    }
}

fn modified(check: &mut Check<'_>, at: Path<'_>, modifier: &HeaderModifier) {
    for (field, headers) in [("set", &modifier.set), ("add", &modifier.add)] {
        let list = at.field(field);
        count(check, list, headers.len(), 0, 16);
        for (index, header) in headers.iter().enumerate() {
            let at = list.item(index);
            if !is_token(&header.name) {
                let message = format!("expected the name of a header field, found {:?}", header.name);
                check.error(at.field("name"), message, "write one without spaces");
            }
            if header.value.bytes().any(|byte| matches!(byte, b'\r' | b'\n' | 0)) {
                check.error(at.field("value"), "a field has one line", "remove the line break");
            }
        }
    }
    for (index, name) in modifier.remove.iter().enumerate() {
        if !is_token(name) {
            let message = format!("expected the name of a header field, found {name:?}");
            check.error(at.field("remove").item(index), message, "write one without spaces");
        }
    }
}

fn mirror(check: &mut Check<'_>, at: Path<'_>, mirror: &RequestMirror) {
    backend(check, at.field("backendRef"), &mirror.backend_ref);
    if mirror.percent.is_some() && mirror.fraction.is_some() {
        check.error(at, "percent and fraction exclude one another", "remove one of the two");
    }
    if mirror.percent.is_some_and(|percent| percent > 100) {
        check.error(at.field("percent"), "expected 0 to 100", "write a share of the requests");
    }
    if let Some(fraction) = &mirror.fraction {
        let below = fraction.denominator.unwrap_or(100);
        if below == 0 || fraction.numerator > below {
            check.error(at.field("fraction"), "expected 1 at the most", "write a larger denominator");
        }
    }
}

fn path_modifier(check: &mut Check<'_>, at: Path<'_>, path: &PathModifier, only_prefix: bool) {
    let prefix = path.modifier_type == PathModifierType::ReplacePrefixMatch;
    if prefix != path.replace_prefix_match.is_some() || prefix == path.replace_full_path.is_some() {
        check.error(at, "expected the field that the type names, and no other", "write that one");
    }
    if prefix && !only_prefix {
        let message = "only a rule with one match, of type PathPrefix, has a prefix that can be replaced";
        check.error(at.field("replacePrefixMatch"), message, "make a rule of each match");
    }
    let with = path.replace_full_path.as_ref().or(path.replace_prefix_match.as_ref());
    if with.is_some_and(|with| with.bytes().any(|byte| byte <= b' ' || byte == 0x7f || byte == b'#')) {
        check.error(at, "no path has spaces, control characters or #", "write them as %XX");
    }
}

fn backends(check: &mut Check<'_>, at: Path<'_>, refs: &[HttpBackendReference], only_prefix: bool) {
    count(check, at, refs.len(), 0, 16);
    for (index, own) in refs.iter().enumerate() {
        let at = at.item(index);
        backend(check, at, &own.reference());
        filters(check, at, &own.filters, only_prefix);
    }
}

/// Where a route of any kind leads to.
pub(super) fn backend(check: &mut Check<'_>, at: Path<'_>, own: &BackendReference) {
    let kind = if own.kind.is_empty() { "Service" } else { &own.kind };
    named(check, at, (&own.group, kind, &own.name));
    if own.group.is_empty() && kind == "Service" && own.port.unwrap_or_default() == 0 {
        check.error(at.field("port"), "expected the port of the Service", "write it");
    }
    if own.weight.is_some_and(|weight| weight > 1_000_000) {
        check.error(at.field("weight"), "expected 1000000 at the most", "write smaller ones");
    }
}
