//! `HTTPRoute`: which requests go where.

use super::external_auth::HttpExternalAuth;
use super::route::{BackendReference, DefaultScope, ParentReference};
use crate::decode::{spec, words};
use crate::duration::GoDuration;

spec! {
    /// `gateway.networking.k8s.io` `HTTPRoute`.
    pub struct HttpRoute {
        /// What it attaches to.
        "parentRefs" => parent_refs: Vec<ParentReference>,
        /// Names, some with `*.` before them; none: those of the listeners.
        "hostnames" => hostnames: Vec<String>,
        /// What is done with which requests; none: everything answers 500.
        "rules" => rules: Vec<HttpRouteRule>,
        /// To which Gateways it attaches that it does not name.
        "useDefaultGateways" => use_default_gateways: DefaultScope,
    }
}

spec! {
    /// Requests, and what is done with them.
    pub struct HttpRouteRule {
        /// Unique in the route; may be empty.
        "name" => name: String,
        /// Any of them; none: every request.
        "matches" => matches: Vec<HttpRouteMatch>,
        /// What is changed on the way, or done instead.
        "filters" => filters: Vec<HttpRouteFilter>,
        /// Where they go.
        "backendRefs" => backend_refs: Vec<HttpBackendReference>,
        /// How long they may take.
        "timeouts" => timeouts: Option<Box<HttpRouteTimeouts>>,
        /// When they are tried again.
        "retry" => retry: Option<Box<HttpRouteRetry>>,
        /// How those of one client stay at one endpoint.
        "sessionPersistence" => session_persistence: Option<Box<SessionPersistence>>,
    }
}

spec! {
    /// What is asked of a request. All of it must hold.
    pub struct HttpRouteMatch {
        /// Of the path; absent: nothing.
        "path" => path: Option<HttpPathMatch>,
        /// Of header fields.
        "headers" => headers: Vec<HttpValueMatch>,
        /// Of query parameters.
        "queryParams" => query_params: Vec<HttpValueMatch>,
        /// The method; empty: any.
        "method" => method: String,
    }
}

spec! {
    /// What is asked of the path.
    pub struct HttpPathMatch {
        /// How `value` is meant.
        "type" => match_type: PathMatchType,
        /// Absent: `/`.
        "value" => value: Option<String>,
    }
}

words! {
    /// How the value of a path match is meant.
    pub enum PathMatchType {
        /// Its elements are the first ones of the path's.
        PathPrefix = "PathPrefix",
        /// It is the path.
        Exact = "Exact",
        /// It is a regular expression that the whole path matches.
        RegularExpression = "RegularExpression",
    }
}

spec! {
    /// What is asked of a header field or a query parameter.
    pub struct HttpValueMatch {
        /// How `value` is meant.
        "type" => match_type: ValueMatchType,
        /// The name.
        "name" => name: String,
        /// The value.
        "value" => value: String,
    }
}

words! {
    /// How a value is compared.
    pub enum ValueMatchType {
        /// It is the same.
        Exact = "Exact",
        /// The whole value matches the expression.
        RegularExpression = "RegularExpression",
    }
}

spec! {
    /// A backend, and what is changed on the way to it.
    pub struct HttpBackendReference {
        /// API group; empty: Kubernetes' own.
        "group" => group: String,
        /// Kind; empty: `Service`.
        "kind" => kind: String,
        /// Name.
        "name" => name: String,
        /// Namespace; empty: that of the route.
        "namespace" => namespace: String,
        /// Port of the Service.
        "port" => port: Option<u16>,
        /// Share among all of the rule; absent: 1.
        "weight" => weight: Option<u32>,
        /// What is changed for this one only.
        "filters" => filters: Vec<HttpRouteFilter>,
    }
}

impl HttpBackendReference {
    /// Without its filters.
    pub fn reference(&self) -> BackendReference {
        let HttpBackendReference { group, kind, name, namespace, port, weight, filters: _ } = self;
        BackendReference {
            group: group.clone(),
            kind: kind.clone(),
            name: name.clone(),
            namespace: namespace.clone(),
            port: *port,
            weight: *weight,
        }
    }
}

spec! {
    /// Something that is changed, or done instead: of `filter_type` says which field is read.
    pub struct HttpRouteFilter {
        /// Which of them.
        "type" => filter_type: FilterType,
        /// Of the request.
        "requestHeaderModifier" => request_header_modifier: Option<HeaderModifier>,
        /// Of the response.
        "responseHeaderModifier" => response_header_modifier: Option<HeaderModifier>,
        /// A copy goes elsewhere.
        "requestMirror" => request_mirror: Option<RequestMirror>,
        /// The answer is a redirect.
        "requestRedirect" => request_redirect: Option<RequestRedirect>,
        /// Host and path change.
        "urlRewrite" => url_rewrite: Option<UrlRewrite>,
        /// What scripts of other origins are told.
        "cors" => cors: Option<HttpCors>,
        /// Somebody else decides.
        "externalAuth" => external_auth: Option<HttpExternalAuth>,
        /// An object of another API.
        "extensionRef" => extension_ref: Option<super::LocalReference>,
    }
}

words! {
    /// The kinds of filters.
    pub enum FilterType {
        /// Header fields of the request.
        RequestHeaderModifier = "RequestHeaderModifier",
        /// Header fields of the response.
        ResponseHeaderModifier = "ResponseHeaderModifier",
        /// A copy.
        RequestMirror = "RequestMirror",
        /// A redirect.
        RequestRedirect = "RequestRedirect",
        /// Host and path.
        UrlRewrite = "URLRewrite",
        /// Cross-origin rules.
        Cors = "CORS",
        /// Somebody else decides.
        ExternalAuth = "ExternalAuth",
        /// Another API.
        ExtensionRef = "ExtensionRef",
    }
}

spec! {
    /// Operations on header fields.
    pub struct HeaderModifier {
        /// Replace what there is.
        "set" => set: Vec<HttpHeader>,
        /// Come behind what there is.
        "add" => add: Vec<HttpHeader>,
        /// Names to drop.
        "remove" => remove: Vec<String>,
    }
}

spec! {
    /// A header field.
    pub struct HttpHeader {
        /// Name.
        "name" => name: String,
        /// Value.
        "value" => value: String,
    }
}

spec! {
    /// Where copies go.
    pub struct RequestMirror {
        /// To one of its endpoints.
        "backendRef" => backend_ref: BackendReference,
        /// Of the requests; absent: all.
        "percent" => percent: Option<u32>,
        /// The same, as a fraction.
        "fraction" => fraction: Option<Fraction>,
    }
}

spec! {
    /// A fraction.
    pub struct Fraction {
        /// Above.
        "numerator" => numerator: u32,
        /// Below; absent: 100.
        "denominator" => denominator: Option<u32>,
    }
}

spec! {
    /// A redirect; what is absent is as in the request.
    pub struct RequestRedirect {
        /// `http` or `https`.
        "scheme" => scheme: String,
        /// Host.
        "hostname" => hostname: String,
        /// Path.
        "path" => path: Option<PathModifier>,
        /// Port.
        "port" => port: Option<u16>,
        /// 301, 302 (also if absent), 303, 307 or 308.
        "statusCode" => status_code: Option<u16>,
    }
}

spec! {
    /// Another host and path.
    pub struct UrlRewrite {
        /// Host.
        "hostname" => hostname: String,
        /// Path.
        "path" => path: Option<PathModifier>,
    }
}

spec! {
    /// Another path.
    pub struct PathModifier {
        /// Which of the two.
        "type" => modifier_type: PathModifierType,
        /// The whole path.
        "replaceFullPath" => replace_full_path: Option<String>,
        /// What the rule's prefix becomes.
        "replacePrefixMatch" => replace_prefix_match: Option<String>,
    }
}

words! {
    /// What of the path is replaced.
    pub enum PathModifierType {
        /// All of it.
        ReplaceFullPath = "ReplaceFullPath",
        /// What the rule's prefix matched.
        ReplacePrefixMatch = "ReplacePrefixMatch",
    }
}

spec! {
    /// Cross-origin rules.
    pub struct HttpCors {
        /// `*`, or origins in which the host may have a wildcard.
        "allowOrigins" => allow_origins: Vec<String>,
        /// Credentials may be sent.
        "allowCredentials" => allow_credentials: bool,
        /// Methods, or `*`.
        "allowMethods" => allow_methods: Vec<String>,
        /// Header names, or `*`.
        "allowHeaders" => allow_headers: Vec<String>,
        /// Names of response headers that scripts may see.
        "exposeHeaders" => expose_headers: Vec<String>,
        /// Seconds for which a preflight is remembered; absent: 5.
        "maxAge" => max_age: Option<u32>,
    }
}

spec! {
    /// How long requests may take; 0: as long as they like.
    pub struct HttpRouteTimeouts {
        /// The whole request.
        "request" => request: Option<GoDuration>,
        /// Each attempt.
        "backendRequest" => backend_request: Option<GoDuration>,
    }
}

spec! {
    /// When a request is tried again.
    pub struct HttpRouteRetry {
        /// Statuses of answers that are not good enough.
        "codes" => codes: Vec<u16>,
        /// How often; absent: once.
        "attempts" => attempts: Option<u32>,
        /// The least wait before.
        "backoff" => backoff: Option<GoDuration>,
    }
}

spec! {
    /// How the requests of one client stay at one endpoint.
    pub struct SessionPersistence {
        /// Name of the cookie or header; empty: the implementation's.
        "sessionName" => session_name: String,
        /// How long a session lasts.
        "absoluteTimeout" => absolute_timeout: Option<GoDuration>,
        /// Where it is kept: `Cookie` (also if empty) or `Header`.
        "type" => persistence_type: String,
        /// For cookies.
        "cookieConfig" => cookie_config: Option<CookieConfig>,
    }
    also ["idleTimeout"]
}

spec! {
    /// How a session's cookie is written.
    pub struct CookieConfig {
        /// `Session` (also if empty) or `Permanent`.
        "lifetimeType" => lifetime_type: String,
    }
}
