//! Who gets the spans of a gateway: from what the mesh's providers say to a cluster and what is spoken to it.

use std::net::Ipv6Addr;
use std::sync::Arc;

use limen_ir::Millis;
use limen_ir::cluster::ClusterKey;
use limen_ir::origin::Origin;
use limen_ir::tracing::{Collector, HeaderSource, SpanProtocol};
use limen_resources::core::Pod;
use limen_resources::istio::{
    DatadogProvider, ExtensionProvider, MeshConfig, OpenTelemetryProvider, OtlpGrpc, OtlpHttp,
    ProviderHeader, ProxyTracing, SkyWalkingProvider, TraceContext, TracerAddress, ZipkinProvider,
};
use limen_resources::{AnyObject, GoDuration, Object};

use crate::index::{Index, origin};
use crate::istio::names;
use crate::merge::{NamedBy, OwnTls, Wanted, WantedClusters};
use crate::mesh::ProxyTraced;
use crate::messages::{At, telemetry as messages};
use crate::report::Report;
use crate::services::ServiceFacts;

const ZIPKIN_PATH: &str = "/api/v2/spans";
const DATADOG_PATH: &str = "/v0.4/traces";
const OTLP_CALL: &str = "/opentelemetry.proto.collector.trace.v1.TraceService/Export";
const SKYWALKING_CALL: &str = "/skywalking.v3.TraceSegmentReportService/collect";
/// How long a sending may take, in milliseconds, where nobody says it.
const TIMEOUT_MS: u64 = 5_000;
/// The same of OTLP.
const OTLP_TIMEOUT_MS: u64 = 3_000;
/// The field that SkyWalking's backend reads a token in.
const TOKEN: &str = "authentication";

/// Finds collectors.
pub(super) struct Collectors<'a, 'r> {
    pub(super) index: &'a Index<'a>,
    /// Their services are added.
    pub(super) wanted: &'r mut WantedClusters,
    pub(super) report: &'r mut Report,
}

/// How a collector is spoken to.
struct Manner {
    protocol: SpanProtocol,
    path: String,
    timeout: Option<Millis>,
    headers: Vec<(String, HeaderSource)>,
}

impl Manner {
    fn plain(protocol: SpanProtocol, path: &str) -> Manner {
        Manner { protocol, path: path.to_owned(), timeout: Millis::new(TIMEOUT_MS), headers: Vec::new() }
    }
}

impl Collectors<'_, '_> {
    /// The collector that a provider is, and how much of a URL its spans may hold; 0: it does not say.
    pub(super) fn of_provider(
        &mut self,
        config: &Arc<Object<MeshConfig>>,
        at: &str,
        provider: &ExtensionProvider,
        number: usize,
    ) -> Option<(Collector, u32)> {
        let (kind, name) = (provider.kind().unwrap_or("nothing"), &provider.name);
        let (manner, service, longest) = if let Some(zipkin) = &provider.zipkin {
            let ZipkinProvider { service, port, max_tag_length, .. } = zipkin;
            (zipkin_manner(zipkin), (service, port), *max_tag_length)
        } else if let Some(otel) = &provider.opentelemetry {
            self.say_ignored(config, at, otel);
            (otlp_manner(otel), (&otel.service, &otel.port), otel.max_tag_length)
        } else if let Some(DatadogProvider { service, port, max_tag_length }) = &provider.datadog {
            (Manner::plain(SpanProtocol::Datadog, DATADOG_PATH), (service, port), *max_tag_length)
        } else if let Some(SkyWalkingProvider { service, port, access_token }) = &provider.skywalking {
            let token = Some(access_token).filter(|token| !token.is_empty());
            let token = token.map(|token| (TOKEN.to_owned(), HeaderSource::Literal(token.clone())));
            let plain = Manner::plain(SpanProtocol::SkyWalking, SKYWALKING_CALL);
            (Manner { headers: token.into_iter().collect(), ..plain }, (service, port), 0)
        } else {
            let at = At::new(config, at);
            self.report.problem(match kind {
                "lightstep" | "opencensus" => messages::retired(at, name, kind),
                "stackdriver" => messages::span_kind(at, name, kind),
                _ => messages::no_span_provider(at, name, kind),
            });
            return None;
        };
        let (cluster, authority) = self.cluster(config, &format!("{at}.{kind}"), service, number)?;
        let Manner { protocol, path, timeout, headers } = manner;
        Some((Collector { cluster, authority, protocol, path, timeout: timeout?, headers }, longest))
    }

    /// The collector that a gateway's own options name, and where they do.
    pub(super) fn of_proxy(&mut self, traced: &Traced<'_>, number: usize) -> Option<(Collector, Origin)> {
        let ProxyTracing { zipkin, datadog, tls_settings, .. } = traced.said;
        let (manner, address, part) = match (zipkin, datadog) {
            (Some(TracerAddress { address }), _) => {
                let protocol = SpanProtocol::Zipkin { w3c: false };
                (Manner::plain(protocol, ZIPKIN_PATH), address, "zipkin.address")
            }
            (None, Some(TracerAddress { address })) => {
                (Manner::plain(SpanProtocol::Datadog, DATADOG_PATH), address, "datadog.address")
            }
            (None, None) => {
                self.say_unserved(traced);
                return None;
            }
        };
        let by = traced.named(part);
        let Some((host, port)) = host_and_port(address) else {
            self.report.problem(messages::tracer_address(by.at(), address));
            return None;
        };
        let service = self.at_address(&host, port, &by, traced.origin(part));
        // No host of a route has a colon: what is said here of TLS is said of this cluster only.
        let key = ClusterKey::new(port, "", &format!("{host}:{port}"));
        let tls = tls_settings.clone().map(|said| OwnTls { said, field: traced.field("tlsSettings") });
        self.wanted.add_wanted(
            key.clone(),
            Wanted { service, by: Arc::new(by), instance: number, tls, identity: None },
        );
        let Manner { protocol, path, timeout, headers } = manner;
        let authority = address.to_ascii_lowercase();
        let collector = Collector { cluster: key, authority, protocol, path, timeout: timeout?, headers };
        Some((collector, traced.origin(part)))
    }

    fn say_unserved(&mut self, traced: &Traced<'_>) {
        let ProxyTracing { lightstep, open_census_agent, stackdriver, .. } = traced.said;
        for (said, kind) in [(lightstep, "lightstep"), (open_census_agent, "openCensusAgent")] {
            if said.is_some() {
                self.report.problem(messages::retired_tracer(traced.named(kind).at(), kind));
            }
        }
        if stackdriver.is_some() {
            let kind = "stackdriver";
            self.report.problem(messages::unserved_tracer(traced.named(kind).at(), kind));
        }
    }

    /// The service that an address names, as the gateway's own Pod would find it; else what DNS says.
    fn at_address(&self, host: &str, port: u16, by: &NamedBy, origin: Origin) -> Arc<ServiceFacts> {
        let settings = self.index.settings;
        let (own, domain) = (&settings.workload_namespace, &settings.cluster_domain);
        let in_full = names::full_name(host, own, domain);
        let found = [in_full, format!("{host}.svc.{domain}"), format!("{host}.{domain}")]
            .iter()
            .find_map(|name| self.index.services.find(name, own))
            .filter(|found| found.service.port(port).is_some());
        match found {
            Some(found) => Arc::clone(found.service),
            None => Arc::new(ServiceFacts::at_address(host.to_owned(), own, by.clone(), origin)),
        }
    }

    fn say_ignored(&mut self, config: &Arc<Object<MeshConfig>>, at: &str, provider: &OpenTelemetryProvider) {
        for (written, field) in [
            (&provider.resource_detectors, "resourceDetectors"),
            (&provider.dynatrace_sampler, "dynatraceSampler"),
            (&provider.service_attribute_enrichment, "serviceAttributeEnrichment"),
        ] {
            if written.is_some() {
                let field = format!("{at}.opentelemetry.{field}");
                self.report.problem(messages::ignored(At::new(config, &field)));
            }
        }
    }

    /// The cluster of a collector, which is wanted from now on, and what its requests call it.
    fn cluster(
        &mut self,
        config: &Arc<Object<MeshConfig>>,
        at: &str,
        (service, port): (&String, &u32),
        number: usize,
    ) -> Option<(ClusterKey, String)> {
        let field = format!("{at}.service");
        let (namespace, host) =
            service.split_once('/').unwrap_or((&self.index.settings.root_namespace, service));
        let found = self.index.services.find(&host.to_ascii_lowercase(), namespace);
        let port_number = u16::try_from(*port).unwrap_or_default();
        let found = found.filter(|found| found.service.port(port_number).is_some());
        let Some(found) = found else {
            self.report.problem(messages::span_service(At::new(config, &field), service, *port));
            return None;
        };
        let key = self.index.services.cluster(found.service, port_number, "");
        let by = NamedBy::other(AnyObject::MeshConfig(Arc::clone(config)), field);
        let authority = format!("{}:{port_number}", key.host);
        self.wanted.add(key.clone(), Arc::clone(found.service), number, by);
        Some((key, authority))
    }
}

/// What a gateway's own options say of tracing.
pub(super) struct Traced<'a> {
    said: &'a ProxyTracing,
    by: By<'a>,
}

/// Who says it.
enum By<'a> {
    Mesh(&'a Arc<Object<MeshConfig>>),
    /// In its annotation.
    Pod(&'a Arc<Object<Pod>>),
}

impl<'a> Traced<'a> {
    /// `config`: that of the mesh, which says it unless a Pod does.
    pub(super) fn new(options: &'a ProxyTraced, config: Option<&'a Arc<Object<MeshConfig>>>) -> Option<Self> {
        let by = match &options.pod {
            Some(pod) => By::Pod(pod),
            None => By::Mesh(config?),
        };
        Some(Traced { said: &options.said, by })
    }

    /// A field as it is found in what is written: annotations are looked at as a whole.
    fn field(&self, part: &str) -> String {
        match self.by {
            By::Mesh(_) => format!("defaultConfig.tracing.{part}"),
            By::Pod(_) => "metadata.annotations".to_owned(),
        }
    }

    fn named(&self, part: &str) -> NamedBy {
        match self.by {
            By::Mesh(config) => NamedBy::other(AnyObject::MeshConfig(Arc::clone(config)), self.field(part)),
            By::Pod(pod) => NamedBy::other(AnyObject::Pod(Arc::clone(pod)), self.field(part)),
        }
    }

    fn origin(&self, part: &str) -> Origin {
        match self.by {
            By::Mesh(config) => origin(&config.key, self.field(part)),
            By::Pod(pod) => origin(&pod.key, self.field(part)),
        }
    }
}

/// Host, lower case and without brackets, and port.
fn host_and_port(address: &str) -> Option<(String, u16)> {
    let (host, port) = address.rsplit_once(':')?;
    let port = port.parse().ok().filter(|port| *port > 0)?;
    let host = match host.strip_prefix('[') {
        Some(rest) => rest.strip_suffix(']').filter(|ip| ip.parse::<Ipv6Addr>().is_ok())?,
        None => host.trim_end_matches('.'),
    };
    let sound = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_' | b':');
    (!host.is_empty() && host.bytes().all(sound)).then(|| (host.to_ascii_lowercase(), port))
}

fn zipkin_manner(provider: &ZipkinProvider) -> Manner {
    let ZipkinProvider { path, timeout, headers, trace_context, .. } = provider;
    Manner {
        protocol: SpanProtocol::Zipkin { w3c: *trace_context == TraceContext::B3WithW3c },
        path: or(path, ZIPKIN_PATH),
        timeout: millis(*timeout, TIMEOUT_MS),
        headers: self::headers(headers),
    }
}

/// Over gRPC, unless HTTP is asked for.
fn otlp_manner(provider: &OpenTelemetryProvider) -> Manner {
    if let Some(OtlpHttp { path, timeout, headers }) = &provider.http {
        return Manner {
            protocol: SpanProtocol::Otlp,
            path: or(path, "/v1/traces"),
            timeout: millis(*timeout, OTLP_TIMEOUT_MS),
            headers: self::headers(headers),
        };
    }
    let OtlpGrpc { timeout, initial_metadata } = provider.grpc.clone().unwrap_or_default();
    Manner {
        protocol: SpanProtocol::OtlpGrpc,
        path: OTLP_CALL.to_owned(),
        timeout: millis(timeout, OTLP_TIMEOUT_MS),
        headers: headers(&initial_metadata),
    }
}

fn millis(written: Option<GoDuration>, default: u64) -> Option<Millis> {
    Millis::new(written.map_or(default, |written| written.millis())).or(Millis::new(default))
}

fn or(written: &str, default: &str) -> String {
    match written {
        "" => default.to_owned(),
        path if path.starts_with('/') => path.to_owned(),
        path => format!("/{path}"),
    }
}

fn headers(written: &[ProviderHeader]) -> Vec<(String, HeaderSource)> {
    let source = |ProviderHeader { name, value, env_name }: &ProviderHeader| {
        let source = match &**env_name {
            "" => HeaderSource::Literal(value.clone()),
            env_name => HeaderSource::Environment(env_name.to_owned()),
        };
        (name.clone(), source)
    };
    written.iter().map(source).collect()
}
