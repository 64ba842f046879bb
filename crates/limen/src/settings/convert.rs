//! What each stage is told of the settings.

use std::net::{IpAddr, Ipv4Addr, UdpSocket};
use std::num::NonZeroUsize;
use std::time::Duration;

use limen_proxy::limits::descriptors::DescriptorLimit;
use limen_proxy::observe::{AccessLogConfig, LogTarget, SourceLabels};
use limen_translate::{BackendOverride, GatewayApiSettings, GatewayInstance, IdentityFiles, IngressSettings};

use crate::{descriptors, memory};

use super::{
    AccessLog, AtMost, Backend, GatewayIdentity, Http10, IstioIngress, Limits, Meaning, Settings, Size,
    SniHostMismatch,
};

impl Meaning {
    /// What translation is told.
    pub(crate) fn translation(&self) -> limen_translate::Settings {
        limen_translate::Settings {
            gateways: self.gateways(),
            namespace: self.namespace.clone(),
            workload_namespace: self.workload_namespace.clone(),
            node: self.node.clone(),
            locality: self.locality.clone(),
            revision: self.revision.clone(),
            port_map: self.map_port.iter().map(|map| (map.declared, map.bound)).collect(),
            backends: self.backend.iter().map(|backend| self.backend_override(backend)).collect(),
            ignored_policies: self.ignore_policy.iter().copied().collect(),
            identity: self.identity(),
            ingress: self.ingress(),
            gateway_api: GatewayApiSettings {
                controller: self.gateway_controller.clone(),
                addresses: self.gateway_addresses.clone(),
                only: self.deploying.only_gateway.clone(),
                deployer: self.deploying.deployer(self),
            },
            shared_hosts: self.shared_hosts,
            istio_default_retries: self.istio_default_retries,
            files: true,
            ..limen_translate::Settings::default()
        }
    }

    fn ingress(&self) -> IngressSettings {
        let istio = self.istio_ingress.map(|which| match which {
            IstioIngress::Off => limen_translate::IstioIngress::Off,
            IstioIngress::Strict => limen_translate::IstioIngress::Strict,
            IstioIngress::Default => limen_translate::IstioIngress::Default,
        });
        IngressSettings {
            class: self.ingress_class.clone(),
            istio,
            default_certificate: self.ingress_default_certificate.clone(),
        }
    }

    /// The workload's identity; clap wants all of its files or none.
    fn identity(&self) -> Option<IdentityFiles> {
        let text = |path: &std::path::PathBuf| path.to_string_lossy().into_owned();
        Some(IdentityFiles {
            certificate: self.identity_cert.as_ref().map(text)?,
            key: self.identity_key.as_ref().map(text)?,
            authorities: self.identity_ca.as_ref().map(text)?,
        })
    }

    /// The gateways that were named, or the one that `--workload` and `--labels` describe.
    fn gateways(&self) -> Vec<GatewayInstance> {
        let instance = |GatewayIdentity { name, labels, bind }: &GatewayIdentity| GatewayInstance {
            name: name.clone(),
            labels: labels.clone(),
            bind: bind.unwrap_or(self.bind),
        };
        if self.gateway.is_empty() {
            let (name, labels) = (self.workload.clone(), self.labels.clone());
            return vec![GatewayInstance { name, labels, bind: self.bind }];
        }
        self.gateway.iter().map(instance).collect()
    }

    fn backend_override(&self, backend: &Backend) -> BackendOverride {
        let Backend { service, namespace, port, labels, address } = backend.clone();
        let namespace = namespace.unwrap_or_else(|| self.namespace.clone());
        BackendOverride { service, namespace, port, labels, address }
    }
}

impl Settings {
    /// What the data plane is told.
    pub(crate) fn proxy(&self) -> limen_proxy::Config {
        let descriptors = descriptors::limit(self.limits.max_file_descriptors);
        limen_proxy::Config {
            workers: self.serving.workers.map(NonZeroUsize::get),
            strict_ports: self.serving.strict_ports,
            access_log: self.access_log(),
            access_log_by_mesh: self.serving.access_log.is_none() && self.serving.access_log_format.is_none(),
            access_log_placed: self.serving.access_log_file.is_some(),
            drain: self.serving.drain,
            drain_delay: self.serving.drain_delay.unwrap_or_default(),
            limits: self.limits.proxy(descriptors.as_ref()),
            memory: memory::limit(self.limits.max_memory),
            descriptors,
            misdirected_is_404: self.serving.sni_host_mismatch == SniHostMismatch::NotFound,
            http10: self.serving.http10 == Http10::Serve,
            hostname: hostname(),
            own: self.source_labels(),
            address: address(),
            in_mesh: self.meaning.identity().is_some(),
        }
    }

    fn access_log(&self) -> AccessLogConfig {
        match (self.serving.access_log.unwrap_or(AccessLog::Text), &self.serving.access_log_format) {
            (AccessLog::Off, _) => AccessLogConfig::Off,
            (AccessLog::Json, _) => AccessLogConfig::istio_json(),
            (AccessLog::Nginx, _) => AccessLogConfig::NginxUpstreamInfo,
            (AccessLog::Text, None) => AccessLogConfig::default(),
            (AccessLog::Text, Some(format)) => {
                AccessLogConfig::Text { format: format.clone(), omit_empty: false }
            }
        }
    }

    /// Where the access log goes.
    pub(crate) fn log_target(&self) -> LogTarget {
        self.serving.access_log_file.clone().map_or(LogTarget::Stdout, LogTarget::File)
    }

    /// Who the metrics say that we are.
    pub(crate) fn source_labels(&self) -> SourceLabels {
        let label = |names: &[&str]| names.iter().find_map(|name| self.meaning.labels.get(*name)).cloned();
        let app = label(&["app"]).unwrap_or_default();
        SourceLabels {
            workload: self.meaning.workload.clone(),
            namespace: self.meaning.workload_namespace.clone(),
            canonical_service: label(&["service.istio.io/canonical-name", "app.kubernetes.io/name", "app"])
                .unwrap_or_else(|| self.meaning.workload.clone()),
            canonical_revision: label(&[
                "service.istio.io/canonical-revision",
                "app.kubernetes.io/version",
                "version",
            ])
            .unwrap_or_else(|| "latest".to_owned()),
            app,
            version: label(&["version"]).unwrap_or_default(),
            cluster: limen_translate::Settings::default().cluster_id,
            tag: env!("CARGO_PKG_VERSION").to_owned(),
            ..SourceLabels::default()
        }
    }
}

impl Limits {
    fn proxy(&self, descriptors: Option<&DescriptorLimit>) -> limen_proxy::Limits {
        // `parse::timeout` allows no time that has no milliseconds.
        let millis = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        let number = |most: Option<AtMost>| most.map_or(u32::MAX, AtMost::number);
        let by_descriptors = descriptors.map_or(u32::MAX, |limit| DescriptorLimit::connections(limit.max));
        limen_proxy::Limits {
            max_head_bytes: self.max_header_bytes as usize,
            max_fields: self.max_headers as usize,
            head_timeout_ms: millis(self.header_timeout),
            idle_timeout_ms: millis(self.idle_timeout),
            handshake_timeout_ms: millis(self.handshake_timeout),
            request_timeout_ms: self.request_timeout.map(millis),
            stream_idle_timeout_ms: self.stream_idle_timeout.map(millis),
            stall_timeout_ms: millis(self.stall_timeout),
            half_close_timeout_ms: millis(self.half_close_timeout),
            max_body_bytes: self.max_body_bytes.map_or(u64::MAX, Size::bytes),
            max_streams: self.max_streams.get(),
            max_connection_requests: number(self.max_connection_requests),
            stream_window: self.stream_window,
            connection_window: self.connection_window,
            max_unwritten_bytes: self.write_buffer as usize,
            h2_credit: self.http2_credit,
            replay_bytes: self.replay_buffer as usize,
            max_connections: self.max_connections.map_or(by_descriptors, AtMost::number),
            max_listener_connections: number(self.max_listener_connections),
            max_client_connections: number(self.max_client_connections),
            max_pending_requests: self.max_pending_requests.number(),
            max_udp_flows: self.max_udp_flows.get(),
        }
    }
}

/// This machine's name, as `%HOSTNAME%` in access logs says it: of the environment (which Kubernetes sets), or the
/// kernel's; empty if neither tells.
fn hostname() -> String {
    let named = std::env::var("HOSTNAME").ok().filter(|name| !name.is_empty());
    let kernel = || std::fs::read_to_string("/proc/sys/kernel/hostname").map(|name| name.trim().to_owned());
    named.unwrap_or_else(|| kernel().unwrap_or_default())
}

/// This machine's address, as its peers see it: of the environment (which Istio's gateways have it in), or that from
/// which the system would send to others, or the loopback's (Istio).
fn address() -> IpAddr {
    let named = std::env::var("INSTANCE_IP").ok().and_then(|address| address.parse().ok());
    let route = || {
        let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).ok()?;
        // Nothing is sent: it is an address of documents (RFC 5737), and a datagram socket only looks for the way.
        socket.connect((Ipv4Addr::new(192, 0, 2, 1), 9)).ok()?;
        Some(socket.local_addr().ok()?.ip())
    };
    named.or_else(route).unwrap_or(Ipv4Addr::LOCALHOST.into())
}
