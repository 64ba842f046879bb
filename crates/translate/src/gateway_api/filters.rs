//! Filters of rules and of backends.

use limen_ir::Share;
use limen_ir::atoms::Port;
use limen_ir::matcher::TextMatch;
use limen_ir::policy::cors::{Cors, UnmatchedPreflights};
use limen_ir::policy::headers::{HeaderOps, HeaderValue, ValuePart};
use limen_ir::policy::rewrite::PathRewrite;
use limen_ir::route::{Instead, Redirect, RedirectPath, RedirectPort};
use limen_resources::gateway_api::{
    FilterType, HeaderModifier, HttpCors, HttpExternalAuth, HttpHeader, HttpRouteFilter, PathModifier,
    RequestMirror, RequestRedirect, UrlRewrite,
};

use super::No;
use crate::istio::matching;

/// What the filters of a rule come to.
#[derive(Debug, Default)]
pub(crate) struct Filters<'a> {
    pub(crate) request: HeaderOps,
    pub(crate) response: HeaderOps,
    pub(crate) redirect: Option<Redirect>,
    pub(crate) host_rewrite: Option<String>,
    pub(crate) path_rewrite: Option<PathRewrite>,
    pub(crate) cors: Option<Cors>,
    /// With their places in the list.
    pub(crate) mirrors: Vec<(usize, &'a RequestMirror)>,
    /// With its place in the list.
    pub(crate) external_auth: Option<(usize, &'a HttpExternalAuth)>,
    /// What stands in for the rule: the place in the list of what it is for, the status of the answer, and why.
    pub(crate) instead: Option<(usize, u16, No)>,
}

/// Reads the filters of a rule.
pub(crate) fn filters(written: &[HttpRouteFilter]) -> Filters<'_> {
    let mut read = Filters::default();
    for (place, filter) in written.iter().enumerate() {
        if let Some(ops) = filter.request_header_modifier.as_ref().map(header_ops) {
            read.request = ops;
        }
        if let Some(ops) = filter.response_header_modifier.as_ref().map(header_ops) {
            read.response = ops;
        }
        read.mirrors.extend(filter.request_mirror.iter().map(|mirror| (place, mirror)));
        if let Some(written) = &filter.request_redirect {
            read.redirect = Some(redirect(written));
        }
        if let Some(UrlRewrite { hostname, path }) = &filter.url_rewrite {
            read.host_rewrite = (!hostname.is_empty()).then(|| hostname.clone());
            read.path_rewrite = path.as_ref().map(path_rewrite);
        }
        if let Some(written) = &filter.cors {
            read.cors = Some(cors(written));
        }
        if let Some(written) = &filter.external_auth {
            read.external_auth = Some((place, written));
        }
        // Nothing that may deny is passed over.
        if filter.filter_type == FilterType::ExtensionRef {
            let why = "no filters of other APIs are known".to_owned();
            read.instead.get_or_insert((place, 500, ("UnsupportedValue", why)));
        }
    }
    read
}

/// What the filters of a backend come to.
#[derive(Debug)]
pub(crate) struct OfBackend<'a> {
    pub(crate) request: HeaderOps,
    pub(crate) response: HeaderOps,
    /// With its place in the list.
    pub(crate) external_auth: Option<(usize, &'a HttpExternalAuth)>,
    pub(crate) instead: Option<Instead>,
    /// What is not served of them, and its place in the list.
    pub(crate) right: Result<(), (usize, No)>,
}

/// Reads the filters of a backend.
pub(crate) fn of_backend(written: &[HttpRouteFilter]) -> OfBackend<'_> {
    let read = filters(written);
    let served = |filter: &FilterType| {
        matches!(
            filter,
            FilterType::RequestHeaderModifier
                | FilterType::ResponseHeaderModifier
                | FilterType::UrlRewrite
                | FilterType::RequestRedirect
                | FilterType::ExternalAuth
        )
    };
    let right = match written.iter().enumerate().find(|(_, filter)| !served(&filter.filter_type)) {
        None => Ok(()),
        Some((place, filter)) => {
            let why = format!("a backend cannot have a filter of type {}", filter.filter_type.as_str());
            Err((place, ("UnsupportedValue", why)))
        }
    };
    let instead = match (read.redirect, read.host_rewrite, read.path_rewrite) {
        (Some(redirect), _, _) => Some(Instead::Redirect(redirect)),
        (None, None, None) => None,
        (None, host, path) => Some(Instead::Rewrite { host, path }),
    };
    let Filters { request, response, external_auth, .. } = read;
    OfBackend { request, response, external_auth, instead, right }
}

fn header_ops(modifier: &HeaderModifier) -> HeaderOps {
    let HeaderModifier { set, add, remove } = modifier;
    let values = |headers: &[HttpHeader]| {
        let value = |HttpHeader { name, value }: &HttpHeader| HeaderValue {
            name: name.to_ascii_lowercase(),
            value: vec![ValuePart::Literal(value.clone())],
        };
        headers.iter().map(value).collect()
    };
    let remove = remove.iter().map(|name| name.to_ascii_lowercase()).collect();
    HeaderOps { remove, set: values(set), add: values(add) }
}

/// Operations that come to the same as `first` and then `then`.
pub(crate) fn one_after_the_other(first: &HeaderOps, then: &HeaderOps) -> HeaderOps {
    let HeaderOps { mut remove, mut set, mut add } = first.clone();
    let written = |name: &str| then.remove.iter().any(|own| own == name) || has(&then.set, name);
    set.retain(|header| !written(&header.name));
    add.retain(|header| !written(&header.name));
    remove.extend(then.remove.iter().cloned());
    set.extend(then.set.iter().cloned());
    add.extend(then.add.iter().cloned());
    HeaderOps { remove, set, add }
}

fn has(headers: &[HeaderValue], name: &str) -> bool {
    headers.iter().any(|header| header.name == name)
}

/// Without a port of its own it names that of its scheme, and without a scheme that of the listener.
fn redirect(written: &RequestRedirect) -> Redirect {
    let RequestRedirect { scheme, hostname, path, port, status_code } = written;
    let given = |text: &str| (!text.is_empty()).then(|| text.to_owned());
    let port = match port.and_then(|port| Port::new(u32::from(port))) {
        Some(port) => RedirectPort::Fixed(port),
        None if !scheme.is_empty() => RedirectPort::SchemeDefault,
        None => RedirectPort::Declared,
    };
    let path = path.as_ref().map(|path| match path_rewrite(path) {
        PathRewrite::Matched(with) => RedirectPath::Prefix(with),
        PathRewrite::Whole(with) => RedirectPath::Full(with),
        PathRewrite::Found { .. } => unreachable!("the API has no expressions there"),
    });
    Redirect {
        code: status_code.unwrap_or(302),
        scheme: given(scheme),
        authority: given(hostname),
        port: Some(port),
        path,
    }
}

/// What stands for a prefix is taken without a slash at its end, as the prefix itself is.
fn path_rewrite(written: &PathModifier) -> PathRewrite {
    match (&written.replace_prefix_match, &written.replace_full_path) {
        (Some(with), _) => PathRewrite::Matched(with.trim_end_matches('/').to_owned()),
        (None, with) => PathRewrite::Whole(with.clone().unwrap_or_default()),
    }
}

/// Of the requests; `None`: of none.
pub(crate) fn share(mirror: &RequestMirror) -> Option<Share> {
    match (&mirror.fraction, mirror.percent) {
        (Some(fraction), _) => {
            let below = f64::from(fraction.denominator.unwrap_or(100).max(1));
            Share::percent(f64::from(fraction.numerator) * 100.0 / below)
        }
        (None, Some(percent)) => Share::percent(f64::from(percent)),
        (None, None) => Some(Share::ALL),
    }
}

/// How long a preflight is remembered where nothing is written, in seconds.
const DEFAULT_MAX_AGE: u32 = 5;

fn cors(written: &HttpCors) -> Cors {
    let HttpCors { allow_origins, allow_credentials, allow_methods, allow_headers, expose_headers, max_age } =
        written;
    // Browsers need no permission for GET, HEAD and POST (the Fetch standard, "CORS-safelisted method"), so what is
    // written is said as it is.
    let joined = |names: &[String]| (!names.is_empty()).then(|| names.join(", "));
    // With credentials a star is a name like any other to browsers, so it means nothing.
    let exposed: Vec<String> =
        expose_headers.iter().filter(|name| !(*allow_credentials && *name == "*")).cloned().collect();
    Cors {
        origins: allow_origins.iter().filter_map(|origin| self::origin(origin)).collect(),
        allow_methods: joined(allow_methods),
        allow_headers: joined(allow_headers),
        expose_headers: joined(&exposed),
        max_age: Some(u64::from(max_age.unwrap_or(DEFAULT_MAX_AGE))),
        allow_credentials: *allow_credentials,
        unmatched_preflights: UnmatchedPreflights::Ignore,
    }
}

/// `*`, or scheme and host, in which a star stands for any number of labels. Clients leave a scheme's own port out.
fn origin(written: &str) -> Option<TextMatch> {
    if written == "*" {
        return Some(TextMatch::Regex(matching::pattern(".*").ok()?));
    }
    let (scheme, host) = written.split_once("://")?;
    let own_port = if scheme == "https" { ":443" } else { ":80" };
    let host = host.strip_suffix(own_port).unwrap_or(host);
    if !host.contains('*') {
        return Some(TextMatch::Exact(format!("{scheme}://{host}")));
    }
    let (before, rest) = host.split_once('*')?;
    let any = if rest.is_empty() && before.is_empty() { "[^/]+" } else { "[^/:]+" };
    let source = format!("{}://{}{any}{}", escape(scheme), escape(before), escape(rest));
    matching::pattern(&source).ok().map(TextMatch::Regex)
}

fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for letter in text.chars() {
        if !letter.is_ascii_alphanumeric() {
            escaped.push('\\');
        }
        escaped.push(letter);
    }
    escaped
}
