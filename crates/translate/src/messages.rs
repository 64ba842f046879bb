//! The table of diagnostics that translation makes: code, level, words.
//!
//! Codes that Istio has keep their numbers; the others begin with `LIM01`. Every message says what happens to traffic,
//! every mend what to write.

use limen_resources::{AnyObject, Code, Kind, Level, Object, ObjectKey, Problem, Source, codes};

macro_rules! codes {
    ($($(#[$doc:meta])* $constant:ident = $id:literal $name:literal $level:ident;)*) => {
        $($(#[$doc])* const $constant: Code = Code { id: $id, name: $name, level: Level::$level };)*
        /// The codes that only translation reports.
        pub const CODES: &[Code] = &[$($constant),*];
    };
}

codes! {
    /// Istio's: a destination without port where the service has several.
    PORT_REQUIRED = "IST0112" "VirtualServiceDestinationPortSelectorRequired" Error;
    /// Istio's: a selector that no workload has.
    NO_WORKLOAD = "IST0127" "NoMatchingWorkloadsFound" Warning;
    /// Istio's: a host that the Gateway does not have.
    HOST_NOT_IN_GATEWAY = "IST0132" "VirtualServiceHostNotFoundInGateway" Warning;
    /// Istio's: a provider that there is not.
    INVALID_PROVIDER = "IST0157" "InvalidTelemetryProvider" Warning;
    /// Istio's: several Telemetries for a whole namespace.
    MULTIPLE_TELEMETRIES = "IST0160" "MultipleTelemetriesWithoutWorkloadSelectors" Error;
    /// Istio's: ServiceEntries that disagree on what a port speaks.
    CONFLICTING_PROTOCOL = "IST0177" "ConflictingServiceEntryProtocol" Warning;
    /// A field that is not served yet and without which traffic means something else.
    NOT_SERVED = "LIM0101" "FeatureNotServed" Error;
    /// A field that has no effect yet and without which traffic means the same.
    NO_EFFECT = "LIM0102" "FeatureWithoutEffect" Warning;
    /// A policy that can deny and is not enforced: what it selects answers 403.
    UNENFORCED_POLICY = "LIM0103" "PolicyNotEnforced" Error;
    /// The same, passed over by the user's will.
    IGNORED_POLICY = "LIM0104" "PolicyIgnored" Warning;
    /// A service or subset that routes name and that has no endpoint.
    NO_ENDPOINTS = "LIM0105" "NoEndpoints" Error;
    /// A port by name, which Istio's API reserves.
    PORT_BY_NAME = "LIM0106" "PortByName" Warning;
    /// TLS versions or suites that are not offered.
    WEAK_TLS = "LIM0107" "WeakTlsNotOffered" Warning;
    /// A credential that was found where only files may have it.
    CREDENTIAL_NAMESPACE = "LIM0108" "CredentialInGatewayNamespace" Warning;
    /// A mesh configuration that nothing asks.
    MESH_NOT_USED = "LIM0111" "MeshConfigNotUsed" Warning;
    /// An endpoint whose address cannot be used.
    BAD_ADDRESS = "LIM0109" "EndpointAddress" Error;
    /// A name that has no address, or for which DNS does not answer.
    UNRESOLVED_NAME = "LIM0110" "UnresolvedName" Error;
    /// A policy whose target another one has already.
    POLICY_CONFLICT = "LIM0122" "PolicyConflict" Warning;
    /// A route that hangs on no listener of a parent that it names.
    NOT_ATTACHED = "LIM0123" "RouteNotAttached" Error;
    /// A reference to another namespace that nobody there allows.
    NOT_PERMITTED = "LIM0124" "ReferenceNotPermitted" Error;
    /// A server for connections that no route leads from.
    NO_ROUTE = "LIM0120" "NoConnectionRoute" Warning;
    /// A route of connections that another one stands before.
    SHADOWED_ROUTE = "LIM0121" "ConnectionRouteShadowed" Warning;
    /// An object that a stage of translation fails with.
    NOT_TRANSLATED = "LIM0125" "ObjectNotTranslated" Error;
    /// An Ingress that nobody serves.
    NO_CLASS = "LIM0130" "IngressWithoutClass" Warning;
    /// A host that an older object has.
    HOST_CONFLICT = "LIM0131" "HostConflict" Error;
    /// A path or a certificate of a host that an older Ingress has.
    PATH_CONFLICT = "LIM0132" "IngressPathConflict" Warning;
    /// A certificate of an Ingress that the default one stands in for.
    DEFAULT_SHOWN = "LIM0133" "DefaultCertificateShown" Warning;
}

pub(crate) mod gateway_api;
pub(crate) mod ingress;
pub(crate) mod telemetry;

const NO_SPANS: &str = "no spans are sent";
const NOTHING_MIRRORED: &str = "nothing is mirrored there";

/// An object that a stage of translation failed with: `why`. `former`: it stays as it was before.
pub(crate) fn not_translated(at: At<'_>, why: &str, former: bool) -> Problem {
    let outcome = if former { "what it said before stays in force" } else { "it is left out" };
    let message = format!("translation fails with this object ({why}), which is a fault of Limen: {outcome}");
    at.say(NOT_TRANSLATED, message, "report it together with the object, and change or remove the object")
}

/// Translation fails whatever is left out.
pub(crate) fn nothing_translated(why: &str) -> Problem {
    let message =
        format!("translation fails ({why}), which is a fault of Limen: what was served before still is");
    Problem::new(NOT_TRANSLATED, message, "report it together with the last change, and undo that")
}

/// A field of an object, about which something is said.
#[derive(Clone, Copy)]
pub(crate) struct At<'a> {
    key: &'a ObjectKey,
    source: &'a Source,
    field: &'a str,
}

impl<'a> At<'a> {
    pub(crate) fn new<S>(object: &'a Object<S>, field: &'a str) -> At<'a> {
        At { key: &object.key, source: &object.source, field }
    }

    /// A field of an object of any kind.
    pub(crate) fn any(object: &'a AnyObject, field: &'a str) -> At<'a> {
        At { key: object.key(), source: object.source(), field }
    }

    /// A field of the object with this key and source.
    pub(crate) fn of(key: &'a ObjectKey, source: &'a Source, field: &'a str) -> At<'a> {
        At { key, source, field }
    }

    /// Another field of the same object.
    pub(crate) fn field<'b>(&self, field: &'b str) -> At<'b>
    where
        'a: 'b,
    {
        At { key: self.key, source: self.source, field }
    }

    /// Is it about a collector of spans?
    fn is_provider(&self) -> bool {
        ["extensionProviders", "defaultConfig.tracing", "metadata.annotations"]
            .iter()
            .any(|field| self.field.starts_with(field))
    }

    /// Is it a part of a mirror's destination?
    fn is_mirror(&self) -> bool {
        self.field.contains(".mirror") || self.field.contains(".requestMirror")
    }

    /// What becomes of what goes there, if nothing can.
    fn without(&self, flag: &str) -> String {
        if self.is_provider() {
            return NO_SPANS.to_owned();
        }
        if self.is_mirror() {
            return NOTHING_MIRRORED.to_owned();
        }
        // Whoever is to decide on requests and cannot be asked lets none in.
        if self.field.contains(".externalAuth") {
            return "requests answer 403 (flag UAEX)".to_owned();
        }
        let bytes = ["spec.tcp[", "spec.tls["].iter().any(|field| self.field.starts_with(field));
        let what = match self.key.kind {
            Kind::UdpRoute => "datagrams are dropped",
            Kind::TcpRoute | Kind::TlsRoute => "connections are closed",
            Kind::VirtualService if bytes => "connections are closed",
            _ => "requests answer 503",
        };
        format!("{what} (flag {flag})")
    }

    fn say(&self, code: Code, message: impl Into<String>, mend: impl Into<String>) -> Problem {
        Problem::new(code, message, mend).about(self.key, self.source, self.field)
    }
}

/// What is said of objects as wholes and of gateways.
pub(crate) mod gateway {
    use super::*;

    pub(crate) fn conflict(at: At<'_>, port: u16, why: &str) -> Problem {
        let message = format!("this server is not served: on port {port} {why}");
        at.say(
            codes::CONFLICTING_GATEWAYS,
            message,
            "give it another port or other hosts, or remove one of the two",
        )
    }

    pub(crate) fn beside_tls(at: At<'_>, port: u16, first: &str) -> Problem {
        let message = format!(
            "port {port} has TLS, too, by {first}, which comes first: this server gets the clients that begin without TLS \
             or ask for a name that no server has; were it older, the TLS would not be served"
        );
        at.say(codes::CONFLICTING_GATEWAYS, message, "give it a port of its own")
    }

    pub(crate) fn invalid(at: At<'_>, message: impl Into<String>, mend: impl Into<String>) -> Problem {
        at.say(codes::INVALID, message, mend)
    }

    pub(crate) fn protocol_not_served(at: At<'_>, protocol: &str) -> Problem {
        let message = format!("protocol {protocol} is not served: nothing listens for this server");
        at.say(NOT_SERVED, message, "write a protocol that has connections, such as TCP or HTTP")
    }

    /// A client policy that cannot be read lets nobody in.
    pub(crate) fn client_policy(at: At<'_>, why: &str, mend: &str) -> Problem {
        let message = format!("{why}: handshakes for the hosts of this server are reset");
        at.say(codes::INVALID, message, mend)
    }

    pub(crate) fn no_effect(at: At<'_>, message: &str, mend: &str) -> Problem {
        at.say(NO_EFFECT, message, mend)
    }

    pub(crate) fn bind_not_served(at: At<'_>, bind: &str) -> Problem {
        let message = format!("this server is not served: `{bind}` is no IP address");
        at.say(NOT_SERVED, message, "write an IP address, or leave `bind` out")
    }

    pub(crate) fn no_connection_route(at: At<'_>, kind: &str, what: &str) -> Problem {
        let message = format!("no VirtualService has a {kind} route for this server, so {what}");
        let mend = format!(
            "write a VirtualService with this Gateway in `gateways`, a host of the server in `hosts`, and a {kind} \
             route for the port"
        );
        at.say(NO_ROUTE, message, mend)
    }

    pub(crate) fn no_service_within(at: At<'_>) -> Problem {
        let message = "the gateway sees no service of the mesh within the hosts of this server, so its connections are closed";
        at.say(
            NO_ROUTE,
            message,
            "write hosts that services have, such as *.local, or export services to the gateway",
        )
    }

    pub(crate) fn selects_nothing(at: At<'_>, own: &str) -> Problem {
        let message = "the selector fits no gateway of this process, so nothing of this Gateway is served";
        at.say(NO_WORKLOAD, message, format!("select {own}, or start with --labels as the selector has them"))
    }

    pub(crate) fn no_labels(at: At<'_>) -> Problem {
        let message = "expected labels of nodes as a JSON object: no address of a node is told";
        at.say(NO_EFFECT, message, "write such as {\"edge\": \"yes\"}, or {} for all nodes")
    }

    pub(crate) fn kept_apart(at: At<'_>, instance: &str, own: &str) -> Problem {
        let message = format!(
            "the selector fits gateway {instance}, but that is a managed one (label \
             gateway.networking.k8s.io/gateway-name) and takes Gateways of its own namespace, {own}, only: nothing of \
             this Gateway is served"
        );
        at.say(NO_WORKLOAD, message, format!("move it to namespace {own}, or select another gateway"))
    }

    pub(crate) fn weak_version(at: At<'_>, version: &str) -> Problem {
        let message = format!("{version} is not offered: TLS 1.2 is the lowest version");
        at.say(WEAK_TLS, message, "write TLSV1_2 or leave the field out")
    }

    pub(crate) fn weak_suite(at: At<'_>, suite: &str) -> Problem {
        let message =
            format!("{suite} is not offered: it has no forward secrecy or no authenticated encryption");
        at.say(WEAK_TLS, message, "remove it; the ECDHE suites with GCM or CHACHA20 are offered")
    }

    pub(crate) fn unknown_suite(at: At<'_>, suite: &str) -> Problem {
        let message = format!("{suite} is no cipher suite that can be chosen, and is left out");
        at.say(codes::SCHEMA_WARNING, message, "write an OpenSSL name such as ECDHE-ECDSA-AES128-GCM-SHA256")
    }

    pub(crate) fn unknown_curve(at: At<'_>, curve: &str) -> Problem {
        let message = format!("{curve} is no curve that can be chosen, and is left out");
        at.say(codes::SCHEMA_WARNING, message, "write X25519MLKEM768, X25519, P-256 or P-384")
    }

    pub(crate) fn no_suite_left(at: At<'_>) -> Problem {
        let message =
            "nothing that may be offered is left: handshakes for the hosts of this server are reset";
        at.say(codes::INVALID, message, "allow TLS 1.2 with an ECDHE-GCM suite, or TLS 1.3")
    }
}

/// What is said of mesh configurations.
pub(crate) mod mesh {
    use super::*;

    pub(crate) fn no_expression(at: At<'_>, source: &str, error: &str) -> Problem {
        let message = format!("`{source}` chooses no statistic: it is no regular expression: {error}");
        at.say(codes::INVALID, message, "write it in RE2's syntax; it must match the whole name")
    }

    pub(crate) fn no_json_object(at: At<'_>) -> Problem {
        let message =
            "this is no JSON object, as accessLogEncoding JSON needs it: Istio's members are printed";
        at.say(codes::SCHEMA_WARNING, message, r#"write such as {"code": "%RESPONSE_CODE%"}"#)
    }

    pub(crate) fn not_used(at: At<'_>, root: &str, chosen: Option<&ObjectKey>) -> Problem {
        let message = match chosen {
            Some(chosen) => format!("has no effect: {chosen} is the mesh configuration"),
            None => {
                format!("has no effect: the mesh configuration is the ConfigMap `istio` of namespace {root}")
            }
        };
        at.say(MESH_NOT_USED, message, format!("remove it, or write metadata.namespace: {root}"))
    }
}

/// What is said of credentials.
pub(crate) mod credential {
    use super::*;

    pub(crate) fn not_found(at: At<'_>, name: &str, namespaces: &[&str]) -> Problem {
        let places = namespaces.join(" or ");
        let message =
            format!("there is no Secret `{name}` in namespace {places}: its certificate is not offered");
        at.say(
            codes::REFERENCE_NOT_FOUND,
            message,
            format!("create it: kubectl create secret tls {name} -n {}", namespaces.first().unwrap_or(&"")),
        )
    }

    pub(crate) fn unusable(at: At<'_>, what: &str, why: &str) -> Problem {
        let message = format!("{what} cannot be used: {why}; its certificate is not offered");
        at.say(
            codes::INVALID_CREDENTIAL,
            message,
            "it needs PEM of the chain (tls.crt or cert) and of its key (tls.key or key)",
        )
    }

    pub(crate) fn form_not_served(at: At<'_>, name: &str, why: &str) -> Problem {
        let message = format!("`{name}` {why}: its certificate is not offered");
        at.say(NOT_SERVED, message, "name a Secret of the gateway's namespace")
    }

    pub(crate) fn no_identity(at: At<'_>) -> Problem {
        let message =
            "this gateway has no identity in the mesh: handshakes for the hosts of this server are reset";
        let mend = "start with --identity-cert, --identity-key and --identity-ca";
        at.say(codes::INVALID_CREDENTIAL, message, mend)
    }

    pub(crate) fn gateway_namespace(at: At<'_>, name: &str, workload: &str, own: &str) -> Problem {
        let message = format!(
            "the Secret `{name}` stands in namespace {own}; in a cluster it is sought in {workload} only"
        );
        at.say(
            CREDENTIAL_NAMESPACE,
            message,
            format!("move it to namespace {workload}, or start with --workload-namespace {own}"),
        )
    }

    pub(crate) fn no_authority(at: At<'_>, names: &[&str], namespaces: &[&str]) -> Problem {
        let (name, place) = (names.first().unwrap_or(&""), namespaces.first().unwrap_or(&""));
        let message = format!(
            "there is no Secret `{}` in namespace {}: without the CA of clients handshakes for the hosts of this server are reset",
            names.join("` or `"),
            namespaces.join(" or ")
        );
        let mend =
            format!("create it: kubectl create secret generic {name} --from-file=ca.crt=FILE -n {place}");
        at.say(codes::REFERENCE_NOT_FOUND, message, mend)
    }

    pub(crate) fn no_authority_map(at: At<'_>, name: &str) -> Problem {
        let message = format!(
            "there is no ConfigMap {name}: without the CA of clients handshakes for the hosts of this server are reset"
        );
        at.say(codes::REFERENCE_NOT_FOUND, message, "create it, with the PEM of the CA under the key ca.crt")
    }

    pub(crate) fn authority(at: At<'_>, what: &str, why: &str) -> Problem {
        let message = format!(
            "{what} cannot be used: {why}; without the CA of clients handshakes for the hosts of this server are reset"
        );
        at.say(
            codes::INVALID_CREDENTIAL,
            message,
            "it needs the PEM of the CA under the key ca.crt or cacert",
        )
    }

    pub(crate) fn file(at: At<'_>, path: &str, why: &str) -> Problem {
        let message = format!("{path}: {why}; the certificate is not offered");
        at.say(codes::INVALID_CREDENTIAL, message, "put PEM there; the file is watched")
    }

    pub(crate) fn authority_file(at: At<'_>, path: &str, why: &str) -> Problem {
        let message = format!("{path}: {why}; without it handshakes for the hosts of this server are reset");
        at.say(codes::INVALID_CREDENTIAL, message, "put PEM there; the file is watched")
    }

    pub(crate) fn stale_file(at: At<'_>, path: &str, why: &str) -> Problem {
        let message = format!("{path}: {why}; what it held before is still used");
        at.say(codes::INVALID_CREDENTIAL, message, "put PEM there; the file is watched")
    }
}

/// What is said of routes.
pub(crate) mod route {
    use super::*;

    pub(crate) fn gateway_not_found(at: At<'_>, name: &str, nearest: Option<String>) -> Problem {
        let mend = match nearest {
            Some(nearest) => format!("write {nearest}, or create the Gateway"),
            None => "write namespace/name of a Gateway, or create it".to_owned(),
        };
        at.say(codes::REFERENCE_NOT_FOUND, format!("there is no Gateway {name}"), mend)
    }

    pub(crate) fn host_not_in_gateway(at: At<'_>, gateway: &str) -> Problem {
        let message = format!("no host of this VirtualService is served by Gateway {gateway}");
        at.say(
            HOST_NOT_IN_GATEWAY,
            message,
            "write a host that a server of the Gateway lists, or that its wildcard covers",
        )
    }

    pub(crate) fn invalid(at: At<'_>, message: impl Into<String>, mend: impl Into<String>) -> Problem {
        at.say(codes::INVALID, message, mend)
    }

    pub(crate) fn refused(at: At<'_>, message: &str, mend: &str) -> Problem {
        at.say(codes::INVALID, format!("{message}; requests that match answer 500"), mend)
    }

    pub(crate) fn regex(at: At<'_>, error: &str) -> Problem {
        let message = format!("the rule never matches, as its regular expression is not valid: {error}");
        at.say(codes::INVALID, message, "write it in RE2's syntax; it must match the whole text")
    }

    pub(crate) fn not_served(at: At<'_>, message: &str, mend: &str) -> Problem {
        at.say(NOT_SERVED, message, mend)
    }

    pub(crate) fn no_effect(at: At<'_>, message: &str, mend: &str) -> Problem {
        at.say(NO_EFFECT, message, mend)
    }

    pub(crate) fn unreachable(at: At<'_>) -> Problem {
        at.say(
            codes::UNREACHABLE_RULE,
            "no request reaches this rule: an earlier one matches everything",
            "move it up, or remove it",
        )
    }

    pub(crate) fn name_is_taken(at: At<'_>, name: &str, other: &str) -> Problem {
        let message = format!("server name `{name}` is taken by {other}, so this match is left out");
        at.say(SHADOWED_ROUTE, message, "ask for other names in sniHosts, or remove one of the two")
    }

    pub(crate) fn one_per_port(at: At<'_>, port: u16, first: &str) -> Problem {
        let message = format!("port {port} has one route for all connections, and {first} comes first");
        at.say(SHADOWED_ROUTE, message, "give the server a port of its own, or remove one of the two")
    }

    pub(crate) fn delegate(at: At<'_>, message: &str, mend: &str) -> Problem {
        at.say(codes::REFERENCE_NOT_FOUND, format!("{message}; the rule is left out"), mend)
    }
}

/// What is said of destinations.
pub(crate) mod destination {
    use super::*;

    pub(crate) fn unknown_host(at: At<'_>, host: &str, mend: String) -> Problem {
        let message = format!("no service `{host}` is known to the gateway: {}", at.without("NC"));
        at.say(codes::REFERENCE_NOT_FOUND, message, mend)
    }

    pub(crate) fn unknown_port(at: At<'_>, host: &str, port: &str, ports: &str) -> Problem {
        let message = format!("service `{host}` has no port {port}: {}", at.without("NC"));
        let mend = match ports {
            "" => "name another service: this one has no port for requests".to_owned(),
            ports => format!("write one of its ports: {ports}"),
        };
        at.say(codes::REFERENCE_NOT_FOUND, message, mend)
    }

    /// `has`: the service has the port that the Gateway declares.
    pub(crate) fn port_required(at: At<'_>, host: &str, declared: u16, has: bool, ports: &str) -> Problem {
        let mut message = format!("service `{host}` has several ports; the Gateway's, {declared}, is used");
        if !has {
            message.push_str(&format!(", which is none of them: {}", at.without("NC")));
        }
        at.say(PORT_REQUIRED, message, format!("write destination.port.number, one of {ports}"))
    }

    pub(crate) fn port_by_name(at: At<'_>, name: &str, number: u16) -> Problem {
        let message = format!("port name `{name}` is looked up here, but Istio's API reserves it");
        at.say(PORT_BY_NAME, message, format!("write number: {number}"))
    }

    pub(crate) fn unknown_subset(at: At<'_>, subset: &str, host: &str, known: &str) -> Problem {
        let message = format!(
            "no DestinationRule that the gateway sees defines subset `{subset}` of `{host}`: {}",
            at.without("NC")
        );
        at.say(codes::REFERENCE_NOT_FOUND, message, format!("define it, or write one that exists: {known}"))
    }

    pub(crate) fn no_endpoints(at: At<'_>, what: &str, mend: String) -> Problem {
        at.say(NO_ENDPOINTS, format!("{what} has no endpoint: {}", at.without("UH")), mend)
    }

    /// TLS that cannot begin; clear text is never sent instead.
    pub(crate) fn no_tls(at: At<'_>, why: &str, mend: &str) -> Problem {
        at.say(codes::INVALID_CREDENTIAL, format!("{why}: requests answer 503 (flag UF)"), mend)
    }

    pub(crate) fn no_passing_through(at: At<'_>) -> Problem {
        let message = "PASSTHROUGH sends a request on to where the client had sent it, and a gateway's clients send to \
                       the gateway: requests answer 503 (flag UH)";
        at.say(NO_ENDPOINTS, message, "write simple: LEAST_REQUEST, or remove it")
    }

    pub(crate) fn no_original_destination(at: At<'_>) -> Problem {
        let message = "resolution NONE sends a request on to where the client had sent it, and a gateway's clients send \
                       to the gateway: requests answer 503 (flag UH)";
        at.say(NO_ENDPOINTS, message, "write resolution: DNS, or STATIC with endpoints")
    }

    pub(crate) fn dynamic_dns(at: At<'_>) -> Problem {
        let message = "resolution DYNAMIC_DNS does not work behind a gateway: requests answer 503 (flag UH)";
        at.say(NO_ENDPOINTS, message, "write a ServiceEntry with resolution: DNS for each host")
    }

    pub(crate) fn unresolved(at: At<'_>, name: &str, error: &str, nothing_left: bool) -> Problem {
        let then =
            if nothing_left { "it has no endpoint" } else { "the addresses that it had are still used" };
        let message = format!("DNS does not answer for `{name}` ({error}): {then}");
        at.say(UNRESOLVED_NAME, message, "look at the DNS server; it is asked again until it answers")
    }

    pub(crate) fn no_address(at: At<'_>, name: &str, nothing_left: bool) -> Problem {
        let then = if nothing_left { "it has no endpoint" } else { "the address that it had is still used" };
        let message = format!("DNS has no address for `{name}`: {then}");
        at.say(UNRESOLVED_NAME, message, "correct the name, or the zone that should have it")
    }

    pub(crate) fn conflicting_protocol(at: At<'_>, host: &str, port: u16, first: &ObjectKey) -> Problem {
        let message = format!("{first} says that port {port} of `{host}` speaks something else, and counts");
        at.say(CONFLICTING_PROTOCOL, message, "write the same protocol in both")
    }

    pub(crate) fn waypoint(at: At<'_>) -> Problem {
        let message = "gateways are to send its requests to a waypoint, but there is no ambient mesh here: they go to \
                       its endpoints, past whatever the waypoint would enforce";
        at.say(NO_EFFECT, message, "remove the label, or keep the service from this gateway with exportTo")
    }

    pub(crate) fn unknown_node(at: At<'_>) -> Problem {
        let message = "only endpoints on the gateway's node should count, but which one that is is not known: all count";
        at.say(NO_EFFECT, message, "start with --node NAME")
    }

    pub(crate) fn address(at: At<'_>, address: &str) -> Problem {
        let message = format!("`{address}` is no IP address: the endpoint is left out");
        at.say(BAD_ADDRESS, message, "write an IP address, or a name in a ServiceEntry with resolution: DNS")
    }

    pub(crate) fn no_socket(at: At<'_>, address: &str, why: &str, mend: &str) -> Problem {
        let message = format!("{address:?} cannot be an endpoint ({why}): it is left out");
        at.say(BAD_ADDRESS, message, mend)
    }
}

/// What is said of policies that can deny.
pub(crate) mod policy {
    use super::*;

    pub(crate) fn unenforced(at: At<'_>) -> Problem {
        let kind = at.key.kind;
        let message = format!(
            "{kind} is not enforced yet, so every host that this one selects answers 403, and TCP is not served"
        );
        at.say(UNENFORCED_POLICY, message, format!("remove it, or serve without it: --ignore-policy {kind}"))
    }

    pub(crate) fn ignored(at: At<'_>) -> Problem {
        let message = format!("passed over, as --ignore-policy {} asks: it denies nothing", at.key.kind);
        at.say(IGNORED_POLICY, message, "")
    }
}
