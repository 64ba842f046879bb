//! HTTPRoutes and GRPCRoutes: what their rules say, before any listener is looked at.

use std::cmp::Reverse;
use std::sync::Arc;

use limen_ir::cluster::ClusterKey;
use limen_ir::matcher::{HeaderMatch, Match, PathMatch, QueryMatch, TextMatch};
use limen_ir::policy::external_auth::ExternalAuth;
use limen_ir::policy::headers::HeaderOps;
use limen_ir::policy::retry::{Retry, RetryOn, RetryPolicy};
use limen_ir::rare::Rare;
use limen_ir::route::{Action, Destination, Forward, Mirror, Reply, Rule};
use limen_ir::{Millis, Pattern};
use limen_resources::gateway_api::{
    GrpcMethodMatch, GrpcRoute, HttpBackendReference, HttpExternalAuth, HttpRoute, HttpRouteFilter,
    HttpRouteMatch, HttpRouteRetry, HttpRouteTimeouts, HttpValueMatch, PathMatchType, SessionPersistence,
    ValueMatchType,
};
use limen_resources::{AnyObject, Object};

use super::No;
use super::attach::RouteKind;
use super::backends::{self, Backend, Carries, Needed, Seen};
use super::drafts::{Route, Wrong};
use super::external_auth;
use super::filters::{self, Filters};
use super::grants::{Grants, Referrer};
use super::precedence::{PathRank, PathSort, Precedence};
use super::session;
use crate::index::{Index, origin};
use crate::istio::matching;
use crate::merge::NamedBy;
use crate::services::ServiceFacts;

/// A route for requests.
#[derive(Debug)]
pub(crate) struct HttpDraft {
    pub(crate) route: Route,
    /// One for each match of each rule, in order.
    pub(crate) rules: Vec<(Precedence, Arc<Rule>)>,
    pub(crate) wanted: Vec<Needed>,
    /// What its references led to.
    pub(crate) seen: Vec<Seen>,
}

/// A rule of either kind.
struct Written<'a> {
    name: &'a str,
    filters: &'a [HttpRouteFilter],
    backends: &'a [HttpBackendReference],
    timeouts: Option<&'a HttpRouteTimeouts>,
    retry: Option<&'a HttpRouteRetry>,
    session: Option<&'a SessionPersistence>,
    /// None: everything matches.
    matches: Vec<Result<Matched, No>>,
}

/// A match with its place among others.
struct Matched {
    matches: Match,
    rank: PathRank,
}

/// What an HTTPRoute says.
pub(crate) fn http(ground: (&Index<'_>, &Grants), object: &Arc<Object<HttpRoute>>) -> HttpDraft {
    let whole = AnyObject::HttpRoute(Arc::clone(object));
    let route = Route::new(whole, RouteKind::Http, object.spec.use_default_gateways);
    draft(ground, route, http_rules(&object.spec))
}

fn http_rules(route: &HttpRoute) -> Vec<Written<'_>> {
    let rules = route.rules.iter().map(|rule| Written {
        name: &rule.name,
        filters: &rule.filters,
        backends: &rule.backend_refs,
        timeouts: rule.timeouts.as_deref(),
        retry: rule.retry.as_deref(),
        session: rule.session_persistence.as_deref(),
        matches: rule.matches.iter().map(http_match).collect(),
    });
    rules.collect()
}

/// What a GRPCRoute says.
pub(crate) fn grpc(ground: (&Index<'_>, &Grants), object: &Arc<Object<GrpcRoute>>) -> HttpDraft {
    let whole = AnyObject::GrpcRoute(Arc::clone(object));
    let route = Route::new(whole, RouteKind::Grpc, object.spec.use_default_gateways);
    draft(ground, route, grpc_rules(&object.spec))
}

fn grpc_rules(route: &GrpcRoute) -> Vec<Written<'_>> {
    let rules = route.rules.iter().map(|rule| Written {
        name: &rule.name,
        filters: &rule.filters,
        backends: &rule.backend_refs,
        timeouts: None,
        retry: None,
        session: rule.session_persistence.as_deref(),
        matches: rule
            .matches
            .iter()
            .map(|own| {
                let (path, rank) = grpc_path(own.method.as_ref())?;
                let headers = headers(&own.headers)?;
                Ok(Matched { matches: Match { path, headers, ..Match::any() }, rank })
            })
            .collect(),
    });
    rules.collect()
}

fn draft(ground: (&Index<'_>, &Grants), route: Route, rules: Vec<Written<'_>>) -> HttpDraft {
    let mut made = HttpDraft { route, rules: Vec::new(), wanted: Vec::new(), seen: Vec::new() };
    let default = Written {
        name: "",
        filters: &[],
        backends: &[],
        timeouts: None,
        retry: None,
        session: None,
        matches: Vec::new(),
    };
    let rules = if rules.is_empty() { vec![default] } else { rules };
    let count = rules.len();
    let mut left_out = 0;
    for (number, rule) in rules.into_iter().enumerate() {
        left_out += usize::from(!made.rule(ground, number, rule));
    }
    made.route.refused = left_out == count;
    made.rules.sort_by(|a, b| a.0.cmp(&b.0));
    // There are many of them, and they stay.
    made.rules.shrink_to_fit();
    made.wanted.shrink_to_fit();
    made.seen.shrink_to_fit();
    made
}

impl HttpDraft {
    /// Adds a rule. Is any of it served as it is written?
    fn rule(&mut self, ground: (&Index<'_>, &Grants), number: usize, mut written: Written<'_>) -> bool {
        let field = format!("spec.rules[{number}]");
        let mut read = filters::filters(written.filters);
        let mut matches = Vec::new();
        for (at, own) in std::mem::take(&mut written.matches).into_iter().enumerate() {
            match own {
                Ok(own) => matches.push(Some(own)),
                Err(no) => {
                    self.drop_rule(number, format!("{field}.matches[{at}]"), no);
                    matches.push(None);
                }
            }
        }
        if matches.is_empty() {
            let rank = PathRank { sort: PathSort::Prefix, length: 0, method: 0 };
            let path = PathMatch::Segments(String::new());
            matches.push(Some(Matched { matches: Match { path, ..Match::any() }, rank }));
        }
        let (left, before) = (matches.iter().any(Option::is_some), self.route.dropped.len());
        let asked = (read.external_auth, written.timeouts);
        let external_auth = self.external_auth(ground, &field, asked).unwrap_or_else(|no| {
            read.instead = read.external_auth.map(|(place, _)| (place, 403, no));
            None
        });
        if let Some((place, _, no)) = &read.instead {
            self.drop_rule(number, format!("{field}.filters[{place}]"), no.clone());
        }
        let cors = read.cors.clone().map(Box::new);
        let (request_headers, response_headers) = (read.request.clone(), read.response.clone());
        let Made { action, folded } = self.action(ground, (&field, number), &written, read);
        let kept = |ops: HeaderOps| if folded { Rare::default() } else { Rare::new(ops) };
        let (request_headers, response_headers) = (kept(request_headers), kept(response_headers));
        for (at, own) in matches.into_iter().enumerate() {
            let Some(Matched { matches, rank }) = own else { continue };
            let precedence = Precedence {
                path: Reverse(rank),
                method: Reverse(matches.method.is_some()),
                headers: Reverse(matches.headers.len()),
                query: Reverse(matches.query.len()),
                place: (number, at),
            };
            let rule = Rule {
                name: written.name.to_owned(),
                matches,
                fault: None,
                cors: cors.clone(),
                external_auth: external_auth.clone(),
                action: action.clone(),
                request_headers: request_headers.clone(),
                response_headers: response_headers.clone(),
                origin: origin(self.route.key(), format!("{field}.matches[{at}]")),
            };
            self.rules.push((precedence, Arc::new(rule)));
        }
        left && self.route.dropped.len() == before
    }

    /// Notes that a rule is left out, for what stands at `field`.
    fn drop_rule(&mut self, number: usize, field: String, (reason, why): No) {
        let message = format!("Dropped Rule spec.rules[{number}]: {why}");
        self.route.dropped.push(Wrong { field, no: (reason, message) });
    }

    fn action(
        &mut self,
        ground: (&Index<'_>, &Grants),
        (field, number): (&str, usize),
        written: &Written<'_>,
        read: Filters<'_>,
    ) -> Made {
        let whole = |action| Made { action, folded: false };
        let mirrors = self.mirrors(ground, field, &read);
        let (mut destinations, right) = self.destinations(ground, field, written, &read);
        if let Err((field, no)) = right {
            self.drop_rule(number, field, no);
            return whole(reply(500, "unsupported_filter"));
        }
        if let Some((_, status, _)) = read.instead {
            return whole(reply(status, "unenforced_filter"));
        }
        if let Some(redirect) = read.redirect {
            return whole(Action::Redirect(redirect));
        }
        if destinations.is_empty() {
            destinations.push(destination(backends::nothing(), 1));
        }
        let (timeout, retry) = times(written.timeouts, written.retry);
        let session = match session::of_rule(self.route.key(), number, written.session) {
            Ok(session) => session.map(Box::new),
            Err(no) => {
                self.drop_rule(number, format!("{field}.sessionPersistence"), no);
                return whole(reply(500, "unsupported_session"));
            }
        };
        let forward = Forward {
            destinations,
            no_cluster_status: 500,
            path_rewrite: read.path_rewrite.map(Box::new),
            host_rewrite: read.host_rewrite,
            timeout,
            retry,
            hash: Vec::new(),
            session,
            mirrors,
        };
        Made { action: Action::Forward(forward), folded: true }
    }

    /// Those that have a share. Operations of the rule come before those of a backend.
    fn destinations(
        &mut self,
        ground: (&Index<'_>, &Grants),
        field: &str,
        rule: &Written<'_>,
        read: &Filters<'_>,
    ) -> (Vec<Destination>, Result<(), (String, No)>) {
        let mut destinations = Vec::new();
        let mut right = Ok(());
        for (at, written) in rule.backends.iter().enumerate() {
            let reference = written.reference();
            let field = format!("{field}.backendRefs[{at}]");
            let found = self.backend(ground, &field, &reference);
            let weight = reference.weight.unwrap_or(1);
            if weight == 0 {
                continue;
            }
            let own = filters::of_backend(&written.filters);
            let asked = (own.external_auth, rule.timeouts);
            let (external_auth, undecided) = match self.external_auth(ground, &field, asked) {
                Ok(external_auth) => (external_auth, Ok(())),
                Err(no) => (None, Err((own.external_auth.map_or(0, |(place, _)| place), no))),
            };
            let wrong = own.right.and(undecided);
            right = right.and(wrong.map_err(|(place, no)| (format!("{field}.filters[{place}]"), no)));
            let mut session = None;
            let cluster = match found {
                Some(Backend { cluster, service }) => {
                    session = ground.0.traffic.session(&service, cluster.port);
                    self.want(&cluster, service, field);
                    cluster
                }
                None => backends::nowhere(self.referrer(), &reference),
            };
            destinations.push(Destination {
                session,
                external_auth,
                request_headers: filters::one_after_the_other(&read.request, &own.request).into(),
                response_headers: filters::one_after_the_other(&own.response, &read.response).into(),
                instead: own.instead.map(Box::new),
                ..destination(cluster, weight)
            });
        }
        (destinations, right)
    }

    fn mirrors(&mut self, ground: (&Index<'_>, &Grants), field: &str, read: &Filters<'_>) -> Vec<Mirror> {
        let mut mirrors = Vec::new();
        for (place, mirror) in &read.mirrors {
            let field = format!("{field}.filters[{place}].requestMirror.backendRef");
            let found = self.backend(ground, &field, &mirror.backend_ref);
            if let (Some(Backend { cluster, service }), Some(share)) = (found, filters::share(mirror)) {
                self.want(&cluster, service, field);
                mirrors.push(Mirror { cluster, share });
            }
        }
        mirrors
    }

    /// Who is asked about the requests of a rule or of a backend, the one at `field`. Who cannot be asked refuses them all.
    ///
    /// # Errors
    /// What is written does not say how.
    fn external_auth(
        &mut self,
        ground: (&Index<'_>, &Grants),
        field: &str,
        (asked, timeouts): (Option<(usize, &HttpExternalAuth)>, Option<&HttpRouteTimeouts>),
    ) -> Result<Option<Arc<ExternalAuth>>, No> {
        let Some((place, written)) = asked else { return Ok(None) };
        let field = format!("{field}.filters[{place}].externalAuth.backendRef");
        let reference = &written.backend_ref;
        let found = self.backend_for(ground, &field, reference, external_auth::carries(written));
        let nowhere = || backends::nowhere(self.referrer(), reference);
        let policy = external_auth::policy((written, timeouts), found.as_ref(), nowhere);
        if let Some(Backend { cluster, service }) = found {
            self.want(&cluster, service, field);
        }
        policy.map(Some)
    }

    fn backend(
        &mut self,
        ground: (&Index<'_>, &Grants),
        field: &str,
        reference: &limen_resources::gateway_api::BackendReference,
    ) -> Option<Backend> {
        let calls = self.route.kind == RouteKind::Grpc;
        self.backend_for(ground, field, reference, if calls { Carries::Calls } else { Carries::Requests })
    }

    fn backend_for(
        &mut self,
        ground: (&Index<'_>, &Grants),
        field: &str,
        reference: &limen_resources::gateway_api::BackendReference,
        carries: Carries,
    ) -> Option<Backend> {
        let found = backends::backend(ground, self.referrer(), reference, carries);
        self.seen.push(Seen::new(ground.0, self.referrer(), reference));
        match found {
            Ok(backend) => Some(backend),
            Err(no) => {
                let wrong = || Box::new(Wrong { field: field.to_owned(), no });
                self.route.unresolved.get_or_insert_with(wrong);
                None
            }
        }
    }

    fn want(&mut self, cluster: &ClusterKey, service: Arc<ServiceFacts>, field: String) {
        let by = Arc::new(NamedBy::route(self.route.object.clone(), field));
        self.wanted.push(Needed { cluster: cluster.clone(), service, by });
    }

    fn referrer<'s>(&'s self) -> Referrer<'s> {
        Referrer { kind: self.route.kind.as_str(), namespace: &self.route.key().namespace }
    }
}

/// What a rule does.
struct Made {
    action: Action,
    /// The rule's operations on headers are among those of its destinations.
    folded: bool,
}

fn destination(cluster: ClusterKey, weight: u32) -> Destination {
    Destination {
        cluster,
        weight,
        request_headers: Rare::default(),
        response_headers: Rare::default(),
        session: None,
        external_auth: None,
        instead: None,
    }
}

fn reply(status: u16, details: &str) -> Action {
    Action::Reply(Reply { status, body: Arc::from(&b""[..]), details: details.to_owned() })
}

/// The first wait before a retry where nothing is written.
const BACKOFF_MS: u64 = 10;

/// The time for the whole request, and when and how long it is tried again.
fn times(timeouts: Option<&HttpRouteTimeouts>, retry: Option<&HttpRouteRetry>) -> (Option<Millis>, Retry) {
    let written =
        |time: Option<limen_resources::GoDuration>| time.and_then(|time| Millis::new(time.millis()));
    let whole = written(timeouts.and_then(|timeouts| timeouts.request));
    let each = written(timeouts.and_then(|timeouts| timeouts.backend_request));
    let Some(HttpRouteRetry { codes, attempts, backoff }) = retry else {
        // What fails without having been processed is tried once more within that time.
        return (whole.into_iter().chain(each).min(), Retry::Safe);
    };
    let mut status_codes = codes.clone();
    status_codes.sort_unstable();
    status_codes.dedup();
    let least = written(*backoff);
    let backoff = least.or(Millis::new(BACKOFF_MS)).unwrap_or_else(|| unreachable!());
    let policy = RetryPolicy {
        attempts: attempts.unwrap_or(1),
        per_try_timeout: each,
        on: RetryOn { reset: true, status_codes, ..RetryOn::default() },
        backoff,
        backoff_at_least: least.is_some(),
        avoid_previous: true,
        other_localities: false,
    };
    (whole, Retry::Policy(Box::new(policy)))
}

fn http_match(written: &HttpRouteMatch) -> Result<Matched, No> {
    let HttpRouteMatch { path, headers, query_params, method } = written;
    let value = path.as_ref().and_then(|path| path.value.as_deref()).unwrap_or("/");
    let length = value.chars().count();
    let (path, sort, length) = match path.as_ref().map(|path| path.match_type).unwrap_or_default() {
        PathMatchType::Exact => {
            (PathMatch::Exact { path: value.to_owned(), ignore_case: false }, PathSort::Exact, length)
        }
        PathMatchType::PathPrefix => {
            let segments = value.trim_end_matches('/').to_owned();
            let length = segments.chars().count();
            (PathMatch::Segments(segments), PathSort::Prefix, length)
        }
        PathMatchType::RegularExpression => (PathMatch::Regex(pattern(value)?), PathSort::Expression, length),
    };
    let mut query: Vec<QueryMatch> = Vec::new();
    for own in query_params {
        // Of two of one name the first counts.
        if query.iter().all(|known| known.name != own.name) {
            query.push(QueryMatch { name: own.name.clone(), value: Some(text(own)?) });
        }
    }
    let method = (!method.is_empty()).then(|| Box::new(TextMatch::Exact(method.clone())));
    Ok(Matched {
        matches: Match { path, method, headers: self::headers(headers)?, query, ..Match::any() },
        rank: PathRank { sort, length, method: 0 },
    })
}

fn headers(written: &[HttpValueMatch]) -> Result<Vec<HeaderMatch>, No> {
    let mut headers: Vec<HeaderMatch> = Vec::new();
    for own in written {
        let name = own.name.to_ascii_lowercase();
        if headers.iter().all(|known| known.name != name) {
            headers.push(HeaderMatch { name, value: Some(text(own)?), invert: false });
        }
    }
    Ok(headers)
}

fn text(written: &HttpValueMatch) -> Result<TextMatch, No> {
    Ok(match written.match_type {
        ValueMatchType::Exact => TextMatch::Exact(written.value.clone()),
        ValueMatchType::RegularExpression => TextMatch::Regex(pattern(&written.value)?),
    })
}

fn pattern(source: &str) -> Result<Pattern, No> {
    matching::pattern(source)
        .map_err(|error| ("UnsupportedValue", format!("the expression `{source}` is not valid: {error}")))
}

/// A call's path is `/service/method`.
fn grpc_path(method: Option<&GrpcMethodMatch>) -> Result<(PathMatch, PathRank), No> {
    let any = GrpcMethodMatch::default();
    let GrpcMethodMatch { match_type, service, method } = method.unwrap_or(&any);
    let length = service.chars().count();
    let named = method.chars().count();
    let prefix = |segments: String| {
        (PathMatch::Segments(segments), PathRank { sort: PathSort::Prefix, length, method: 0 })
    };
    let exact = *match_type == ValueMatchType::Exact;
    Ok(match (&**service, &**method) {
        ("", "") => prefix(String::new()),
        (service, "") if exact => prefix(format!("/{service}")),
        (service, method) if exact && !service.is_empty() => {
            let path = PathMatch::Exact { path: format!("/{service}/{method}"), ignore_case: false };
            (path, PathRank { sort: PathSort::Exact, length: length + named + 2, method: named })
        }
        (service, method) => {
            let part = |text: &str| match text {
                "" => "[^/]+".to_owned(),
                text if exact => text.replace('.', "\\."),
                text => format!("(?:{text})"),
            };
            let expression = pattern(&format!("/{}/{}", part(service), part(method)))?;
            // More of a service goes before more of a method, and both before what says nothing.
            let sort = if service.is_empty() { PathSort::Prefix } else { PathSort::Expression };
            (PathMatch::Regex(expression), PathRank { sort, length, method: named })
        }
    })
}
