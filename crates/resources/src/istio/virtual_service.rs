//! `VirtualService`: what a gateway does with the requests for some hosts.

use std::collections::BTreeMap;

use serde::Serialize;

use super::matching::{HttpMatch, StringMatch};
use crate::decode::{Cursor, Decode, camel, spec, words};
use crate::duration::GoDuration;
use crate::node::Node;

spec! {
    /// `networking.istio.io` `VirtualService`.
    pub struct VirtualService {
        /// Whom it is for; empty: a delegate of another one.
        "hosts" => hosts: Vec<String>,
        /// `name`, `namespace/name` or `mesh`; empty: `mesh`.
        "gateways" => gateways: Vec<String>,
        /// HTTP routes in order.
        "http" => http: Vec<HttpRoute>,
        /// Routes by SNI.
        "tls" => tls: Vec<TlsRoute>,
        /// Routes of plain TCP.
        "tcp" => tcp: Vec<TcpRoute>,
        /// `.`, `*` or namespaces; empty: the mesh's default.
        "exportTo" => export_to: Vec<String>,
    }
}

spec! {
    /// One HTTP rule.
    pub struct HttpRoute {
        /// Named in the access log.
        "name" => name: String,
        /// Any of them; empty: every request.
        "match" => matches: Vec<HttpMatch>,
        /// Where to, by weight.
        "route" => route: Vec<RouteDestination>,
        /// Answer with a redirect.
        "redirect" => redirect: Option<Redirect>,
        /// Answer with this.
        "directResponse" => direct_response: Option<DirectResponse>,
        /// Another VirtualService says more.
        "delegate" => delegate: Option<Delegate>,
        /// Change path or authority.
        "rewrite" => rewrite: Option<Rewrite>,
        /// For the whole route, retries included.
        "timeout" => timeout: Option<GoDuration>,
        /// Retry policy.
        "retries" => retries: Option<Retries>,
        /// Injected faults.
        "fault" => fault: Option<Fault>,
        /// One shadow destination.
        "mirror" => mirror: Option<Destination>,
        /// Several shadow destinations.
        "mirrors" => mirrors: Vec<Mirror>,
        /// Deprecated spelling of the mirrored share.
        "mirrorPercent" => mirror_percent: Option<u32>,
        /// The mirrored share.
        "mirrorPercentage" => mirror_percentage: Option<Percent>,
        /// Cross-origin rules.
        "corsPolicy" => cors_policy: Option<CorsPolicy>,
        /// Header operations.
        "headers" => headers: Option<Headers>,
    }
}

spec! {
    /// A destination of a rule.
    pub struct RouteDestination {
        /// Where to.
        "destination" => destination: Destination,
        /// Relative to the others; ignored where it stands alone.
        "weight" => weight: u32,
        /// Header operations for this destination.
        "headers" => headers: Option<Headers>,
    }
}

spec! {
    /// A service, or a part of it.
    pub struct Destination {
        /// Name of the service; a short name is looked for in the VirtualService's namespace.
        "host" => host: String,
        /// A subset that a DestinationRule names.
        "subset" => subset: String,
        /// Needed if the service has several ports.
        "port" => port: Option<super::PortNumber>,
    }
}

spec! {
    /// Operations on the headers of both ways.
    pub struct Headers {
        /// Before the request is sent on.
        "request" => request: Option<HeaderOperations>,
        /// Before the response is sent back.
        "response" => response: Option<HeaderOperations>,
    }
}

spec! {
    /// Operations on headers.
    pub struct HeaderOperations {
        /// Overwrite.
        "set" => set: BTreeMap<String, String>,
        /// Append.
        "add" => add: BTreeMap<String, String>,
        /// Remove.
        "remove" => remove: Vec<String>,
    }
}

spec! {
    /// A redirect.
    pub struct Redirect {
        /// The new path.
        "uri" => uri: String,
        /// The new prefix, for prefix matches.
        "prefixRewrite" => prefix_rewrite: String,
        /// The new host.
        "authority" => authority: String,
        /// The new port.
        "port" => port: Option<u16>,
        /// Where the new port comes from.
        "derivePort" => derive_port: Option<DerivePort>,
        /// `http` or `https`.
        "scheme" => scheme: String,
        /// Status code; 0: 301.
        "redirectCode" => redirect_code: u32,
    }
}

words! {
    /// Where the port of a redirect comes from.
    pub enum DerivePort {
        /// The default of the scheme.
        FromProtocolDefault = "FROM_PROTOCOL_DEFAULT",
        /// The port of the request.
        FromRequestPort = "FROM_REQUEST_PORT",
    }
}

spec! {
    /// An answer without a backend.
    pub struct DirectResponse {
        /// 200 to 600.
        "status" => status: u32,
        /// Its body.
        "body" => body: Option<Body>,
    }
}

/// The body of a direct response.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Body {
    /// As text.
    String(String),
    /// From base64.
    Bytes(Vec<u8>),
}

impl Default for Body {
    fn default() -> Body {
        Body::String(String::new())
    }
}

impl Decode for Body {
    fn decode(node: &Node, cursor: &mut Cursor<'_>) -> Body {
        let entries = cursor.entries(node);
        if entries.len() > 1 {
            cursor.wrong(node, "one of string, bytes", "keep one of them");
        }
        let mut body = Body::default();
        for entry in entries {
            let mut text = String::new();
            match &*camel(&entry.key) {
                "string" => {
                    cursor.field("string", entry, &mut text);
                    body = Body::String(text);
                }
                "bytes" => {
                    cursor.field("bytes", entry, &mut text);
                    match crate::core::from_base64(&text) {
                        Some(bytes) => body = Body::Bytes(bytes),
                        None => cursor.wrong(&entry.value, "base64", "encode it, or write it under `string`"),
                    }
                }
                _ => cursor.unknown(entry, &["string", "bytes"]),
            }
        }
        body
    }
}

spec! {
    /// The VirtualService that says more.
    pub struct Delegate {
        /// Its name.
        "name" => name: String,
        /// Its namespace; empty: this one's.
        "namespace" => namespace: String,
    }
}

spec! {
    /// What to change before a request is sent on.
    pub struct Rewrite {
        /// The new path, or the new prefix for a prefix match.
        "uri" => uri: String,
        /// The new authority.
        "authority" => authority: String,
        /// Change the path by a regular expression.
        "uriRegexRewrite" => uri_regex_rewrite: Option<RegexRewrite>,
    }
}

spec! {
    /// A substitution.
    pub struct RegexRewrite {
        /// RE2 expression.
        "match" => pattern: String,
        /// With `\1`, `\2` for groups.
        "rewrite" => rewrite: String,
    }
}

spec! {
    /// When and how often to try again.
    pub struct Retries {
        /// How often; 0 turns retries off.
        "attempts" => attempts: u32,
        /// For each try.
        "perTryTimeout" => per_try_timeout: Option<GoDuration>,
        /// Comma-separated conditions.
        "retryOn" => retry_on: String,
        /// Also in other localities.
        "retryRemoteLocalities" => retry_remote_localities: Option<bool>,
        /// Avoid hosts tried before; the default is true.
        "retryIgnorePreviousHosts" => retry_ignore_previous_hosts: Option<bool>,
        /// Base interval between tries.
        "backoff" => backoff: Option<GoDuration>,
    }
}

spec! {
    /// Injected faults.
    pub struct Fault {
        /// Wait first.
        "delay" => delay: Option<Delay>,
        /// Answer with an error.
        "abort" => abort: Option<Abort>,
    }
}

spec! {
    /// An injected wait.
    pub struct Delay {
        /// Deprecated share in percent.
        "percent" => percent: u32,
        /// How long.
        "fixedDelay" => fixed_delay: Option<GoDuration>,
        /// Refused, as in Istio.
        "exponentialDelay" => exponential_delay: Option<GoDuration>,
        /// Share of requests; absent: none.
        "percentage" => percentage: Option<Percent>,
    }
}

spec! {
    /// An injected error.
    pub struct Abort {
        /// 200 to 600.
        "httpStatus" => http_status: Option<u32>,
        /// Name or number.
        "grpcStatus" => grpc_status: String,
        /// Refused, as in Istio.
        "http2Error" => http2_error: String,
        /// Share of requests; absent: none.
        "percentage" => percentage: Option<Percent>,
    }
}

/// The statuses of gRPC by name; each stands at its number.
pub const GRPC_STATUS: [&str; 17] = [
    "OK",
    "CANCELLED",
    "UNKNOWN",
    "INVALID_ARGUMENT",
    "DEADLINE_EXCEEDED",
    "NOT_FOUND",
    "ALREADY_EXISTS",
    "PERMISSION_DENIED",
    "RESOURCE_EXHAUSTED",
    "FAILED_PRECONDITION",
    "ABORTED",
    "OUT_OF_RANGE",
    "UNIMPLEMENTED",
    "INTERNAL",
    "UNAVAILABLE",
    "DATA_LOSS",
    "UNAUTHENTICATED",
];

spec! {
    /// 0 to 100.
    pub struct Percent {
        /// The number.
        "value" => value: f64,
    }
}

spec! {
    /// A shadow destination.
    pub struct Mirror {
        /// Where to.
        "destination" => destination: Destination,
        /// Share of requests; absent: all.
        "percentage" => percentage: Option<Percent>,
    }
}

spec! {
    /// Cross-origin rules.
    pub struct CorsPolicy {
        /// Deprecated exact origins.
        "allowOrigin" => allow_origin: Vec<String>,
        /// Origins.
        "allowOrigins" => allow_origins: Vec<StringMatch>,
        /// Methods.
        "allowMethods" => allow_methods: Vec<String>,
        /// Request headers.
        "allowHeaders" => allow_headers: Vec<String>,
        /// Response headers that scripts may see.
        "exposeHeaders" => expose_headers: Vec<String>,
        /// How long a preflight may be remembered; whole seconds.
        "maxAge" => max_age: Option<GoDuration>,
        /// May credentials be sent?
        "allowCredentials" => allow_credentials: Option<bool>,
        /// What becomes of preflights that match no origin.
        "unmatchedPreflights" => unmatched_preflights: UnmatchedPreflights,
    }
}

words! {
    /// What becomes of preflights that match no origin.
    pub enum UnmatchedPreflights {
        /// The default, which is to forward.
        Unspecified = "UNSPECIFIED",
        /// Sent to the backend.
        Forward = "FORWARD",
        /// Answered 200 without CORS headers.
        Ignore = "IGNORE",
    }
}

spec! {
    /// One rule for TLS that is not terminated.
    pub struct TlsRoute {
        /// Any of them, at least one.
        "match" => matches: Vec<TlsMatch>,
        /// Where to, by weight.
        "route" => route: Vec<WeightedDestination>,
    }
}

spec! {
    /// Conditions on a TLS connection.
    pub struct TlsMatch {
        /// SNI names, at least one.
        "sniHosts" => sni_hosts: Vec<String>,
        /// Destination networks; not honoured by gateways.
        "destinationSubnets" => destination_subnets: Vec<String>,
        /// The declared port; 0: any.
        "port" => port: u32,
        /// Labels of the workload; not honoured by gateways.
        "sourceLabels" => source_labels: BTreeMap<String, String>,
        /// Restricts to these gateways.
        "gateways" => gateways: Vec<String>,
        /// Namespace of the workload; not honoured by gateways.
        "sourceNamespace" => source_namespace: String,
    }
}

spec! {
    /// One rule for TCP.
    pub struct TcpRoute {
        /// Any of them; empty: every connection.
        "match" => matches: Vec<TcpMatch>,
        /// Where to, by weight.
        "route" => route: Vec<WeightedDestination>,
    }
}

spec! {
    /// Conditions on a TCP connection.
    pub struct TcpMatch {
        /// Destination networks; not honoured by gateways.
        "destinationSubnets" => destination_subnets: Vec<String>,
        /// The declared port; 0: any.
        "port" => port: u32,
        /// Unused in Istio too.
        "sourceSubnet" => source_subnet: String,
        /// Labels of the workload; not honoured by gateways.
        "sourceLabels" => source_labels: BTreeMap<String, String>,
        /// Restricts to these gateways.
        "gateways" => gateways: Vec<String>,
        /// Namespace of the workload; not honoured by gateways.
        "sourceNamespace" => source_namespace: String,
    }
}

spec! {
    /// A destination of a TLS or TCP rule.
    pub struct WeightedDestination {
        /// Where to.
        "destination" => destination: Destination,
        /// Relative to the others.
        "weight" => weight: u32,
    }
}
