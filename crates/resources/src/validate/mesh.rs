//! Rules for the mesh configuration and for what proxies are told.

use super::http_route::retries;
use super::path::{Path, SPEC};
use super::syntax::{check_duration, is_dns_label};
use super::{Check, Validate, traffic_policy};
use crate::decode::Unknown;
use crate::istio::{ConnectionSettings, MeshConfig, ProxyConfig, ProxyOptions};
use crate::object::Meta;

/// Istio allows from 1 ms to 1 h.
const LONGEST_CONNECT_MS: u64 = 3_600_000;
/// HTTP/2's own default, below which no window may be.
const LEAST_WINDOW: i32 = 65_535;

impl Validate for MeshConfig {
    const UNKNOWN: Unknown = Unknown::Warn;

    fn validate(&self, _: &Meta, check: &mut Check<'_>) {
        let at = Path::root("connectTimeout");
        check_duration(check, at, self.connect_timeout);
        if self.connect_timeout.is_some_and(|timeout| timeout.millis() > LONGEST_CONNECT_MS) {
            check.error(
                at,
                "expected a duration from 1ms to 1h",
                "write connectTimeout: 10s, which is the default",
            );
        }
        check_duration(check, Path::root("dnsRefreshRate"), self.dns_refresh_rate);
        if let Some(keepalive) = &self.tcp_keepalive {
            let at = Path::root("tcpKeepalive");
            check_duration(check, at.field("time"), keepalive.time);
            check_duration(check, at.field("interval"), keepalive.interval);
        }
        for (name, export_to) in [
            ("defaultServiceExportTo", &self.default_service_export_to),
            ("defaultVirtualServiceExportTo", &self.default_virtual_service_export_to),
            ("defaultDestinationRuleExportTo", &self.default_destination_rule_export_to),
        ] {
            export(check, Path::root(name), export_to);
        }
        if let Some(policy) = &self.default_traffic_policy {
            traffic_policy::defaults(check, Path::root("defaultTrafficPolicy"), policy);
        }
        if let Some(locality) = &self.locality_lb_setting {
            traffic_policy::locality(check, Path::root("localityLbSetting"), locality);
        }
        if let Some(policy) = &self.default_http_retry_policy {
            retries(check, Path::root("defaultHttpRetryPolicy"), policy);
        }
        if !self.root_namespace.is_empty() && !is_dns_label(&self.root_namespace) {
            let message = format!("expected a namespace, found {:?}", self.root_namespace);
            check.error("rootNamespace", message, "write rootNamespace: istio-system, for example");
        }
        let settings = self.default_config.as_ref().and_then(|options| options.connection_settings.as_ref());
        if let Some(settings) = settings {
            connection_settings(check, Path::root("defaultConfig").field("connectionSettings"), settings);
        }
    }
}

fn export(check: &mut Check<'_>, at: Path<'_>, export_to: &[String]) {
    for (index, target) in export_to.iter().enumerate() {
        if !matches!(&**target, "." | "*" | "~") && !is_dns_label(target) {
            let message = format!("expected `.`, `*`, `~` or a namespace, found {target:?}");
            check.error(at.item(index), message, "write `*` for all namespaces, `.` for the object's own");
        }
    }
}

impl Validate for ProxyConfig {
    fn validate(&self, _: &Meta, check: &mut Check<'_>) {
        if self.concurrency.is_some_and(|threads| threads < 0) {
            check.error(
                SPEC.field("concurrency"),
                "expected 0 or more threads",
                "write 0 for one thread a core",
            );
        }
        let image = self.image.as_ref().map_or("", |image| &image.image_type);
        if !matches!(image, "" | "default" | "debug" | "distroless") {
            let image_at = SPEC.field("image");
            let message = format!("expected a type of image, found {image:?}");
            check.error(image_at.field("imageType"), message, "write default, debug or distroless");
        }
    }
}

impl Validate for ProxyOptions {
    const UNKNOWN: Unknown = Unknown::Warn;

    fn validate(&self, _: &Meta, check: &mut Check<'_>) {
        if let Some(settings) = &self.connection_settings {
            connection_settings(check, Path::root("connectionSettings"), settings);
        }
    }
}

fn connection_settings(check: &mut Check<'_>, at: Path<'_>, settings: &ConnectionSettings) {
    let least = |check: &mut Check<'_>, name, number: Option<i32>, least: i32| {
        if let Some(number) = number.filter(|number| *number < least) {
            check.error(
                at.field(name),
                format!("expected {least} or more, found {number}"),
                "leave the field out for its default",
            );
        }
    };
    least(check, "listenerPerConnectionBufferLimitBytes", settings.listener_buffer_bytes, 0);
    least(check, "clusterPerConnectionBufferLimitBytes", settings.cluster_buffer_bytes, 0);
    least(check, "httpMaxConcurrentStreams", settings.http_max_concurrent_streams, 1);
    least(check, "http2InitialStreamWindowSize", settings.http2_initial_stream_window_size, LEAST_WINDOW);
    least(
        check,
        "http2InitialConnectionWindowSize",
        settings.http2_initial_connection_window_size,
        LEAST_WINDOW,
    );
    least(check, "globalDownstreamConnectionLimit", settings.global_connection_limit, 1);
    least(check, "listenerConnectionLimit", settings.listener_connection_limit, 1);
}
