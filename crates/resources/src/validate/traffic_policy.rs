//! Rules for the traffic policies of a `DestinationRule`.

mod balancing;

pub(super) use balancing::locality;

use super::syntax::{check_duration, check_port, is_host_name, is_ip};
use super::{Check, Path};
use crate::code::codes;
use crate::duration::GoDuration;
use crate::istio::{
    ClientTls, ClientTlsMode, ConnectionPool, DefaultTrafficPolicy, H2UpgradePolicy, LoadBalancer,
    OutlierDetection, PortTrafficPolicy, TrafficPolicy, Tunnel,
};

/// What a policy for a service and one for a port have in common.
struct Common<'a> {
    load_balancer: Option<&'a LoadBalancer>,
    connection_pool: Option<&'a ConnectionPool>,
    outlier_detection: Option<&'a OutlierDetection>,
    tls: Option<&'a ClientTls>,
}

pub(super) fn check(check: &mut Check<'_>, at: Path<'_>, policy: &TrafficPolicy) {
    if *policy == TrafficPolicy::default() {
        check.error(
            at,
            "expected at least one setting",
            "write loadBalancer, connectionPool, … or remove it",
        );
    }
    if policy.tunnel.is_some() && policy.proxy_protocol.is_some() {
        check.error(at.field("proxyProtocol"), "tunnel and proxyProtocol cannot stand together", "keep one");
    }
    common(
        check,
        at,
        Common {
            load_balancer: policy.load_balancer.as_ref(),
            connection_pool: policy.connection_pool.as_ref(),
            outlier_detection: policy.outlier_detection.as_ref(),
            tls: policy.tls.as_ref(),
        },
    );
    if policy.port_level_settings.len() > 4096 {
        check.error(
            at.field("portLevelSettings"),
            "expected at most 4096 ports",
            "write those that differ only",
        );
    }
    for (index, port) in policy.port_level_settings.iter().enumerate() {
        port_policy(check, at.field("portLevelSettings").item(index), port);
    }
    if let Some(tunnel) = &policy.tunnel {
        self::tunnel(check, at.field("tunnel"), tunnel);
    }
    if let Some(budget) = &policy.retry_budget {
        percent(check, at.field("retryBudget").field("percent"), budget.percent.unwrap_or(20.0));
    }
}

/// What the mesh says where no rule does.
pub(super) fn defaults(check: &mut Check<'_>, at: Path<'_>, policy: &DefaultTrafficPolicy) {
    let DefaultTrafficPolicy { connection_pool, outlier_detection } = policy;
    let (connection_pool, outlier_detection) = (connection_pool.as_ref(), outlier_detection.as_ref());
    common(check, at, Common { load_balancer: None, connection_pool, outlier_detection, tls: None });
}

fn port_policy(check: &mut Check<'_>, at: Path<'_>, policy: &PortTrafficPolicy) {
    match &policy.port {
        Some(port) => check_port(check, at.field("port").field("number"), port.number),
        None => check.error(at.field("port"), "expected a port", "write port: {number: 80}, for example"),
    }
    if *policy == (PortTrafficPolicy { port: policy.port.clone(), ..PortTrafficPolicy::default() }) {
        check.error(
            at,
            "expected at least one setting",
            "write loadBalancer, connectionPool, … or remove it",
        );
    }
    common(
        check,
        at,
        Common {
            load_balancer: policy.load_balancer.as_ref(),
            connection_pool: policy.connection_pool.as_ref(),
            outlier_detection: policy.outlier_detection.as_ref(),
            tls: policy.tls.as_ref(),
        },
    );
}

fn common(check: &mut Check<'_>, at: Path<'_>, policy: Common<'_>) {
    if let Some(load_balancer) = policy.load_balancer {
        balancing::check(check, at.field("loadBalancer"), load_balancer);
        let locality = load_balancer.locality_lb_setting.as_ref();
        if locality.is_some_and(|locality| !locality.failover.is_empty())
            && policy.outlier_detection.is_none()
        {
            let message = "failover happens only to endpoints that outlierDetection finds unhealthy";
            let list = at.field("loadBalancer");
            check.warn(
                list.field("localityLbSetting").field("failover"),
                message,
                "write outlierDetection too",
            );
        }
    }
    if let Some(pool) = policy.connection_pool {
        connection_pool(check, at.field("connectionPool"), pool);
    }
    if let Some(outlier) = policy.outlier_detection {
        outlier_detection(check, at.field("outlierDetection"), outlier);
    }
    if let Some(tls) = policy.tls {
        client_tls(check, at.field("tls"), tls);
    }
}

/// A share from 0 to 100.
fn percent(check: &mut Check<'_>, at: Path<'_>, value: f64) {
    if !(0.0..=100.0).contains(&value) {
        check.error(at, format!("expected 0 to 100, found {value}"), "it counts in percent");
    }
}

/// Istio's limits are signed 32-bit numbers.
fn limit(check: &mut Check<'_>, at: Path<'_>, value: u32) {
    if i32::try_from(value).is_err() {
        check.error(at, format!("expected at most {}, found {value}", i32::MAX), "leave it out for no limit");
    }
}

fn connection_pool(check: &mut Check<'_>, at: Path<'_>, pool: &ConnectionPool) {
    if pool.tcp.is_none() && pool.http.is_none() {
        check.error(at, "expected tcp or http", "write one of them, or remove connectionPool");
    }
    if let Some(tcp) = &pool.tcp {
        let at = at.field("tcp");
        limit(check, at.field("maxConnections"), tcp.max_connections);
        check_duration(check, at.field("connectTimeout"), tcp.connect_timeout);
        check_duration(check, at.field("maxConnectionDuration"), tcp.max_connection_duration);
        if let Some(keepalive) = &tcp.tcp_keepalive {
            let at = at.field("tcpKeepalive");
            check_duration(check, at.field("time"), keepalive.time);
            check_duration(check, at.field("interval"), keepalive.interval);
        }
    }
    let Some(http) = &pool.http else { return };
    let at = at.field("http");
    for (name, value) in [
        ("http1MaxPendingRequests", http.http1_max_pending_requests),
        ("http2MaxRequests", http.http2_max_requests),
        ("maxRequestsPerConnection", http.max_requests_per_connection),
        ("maxRetries", http.max_retries),
        ("maxConcurrentStreams", http.max_concurrent_streams),
    ] {
        limit(check, at.field(name), value);
    }
    check_duration(check, at.field("idleTimeout"), http.idle_timeout);
    if http.h2_upgrade_policy == H2UpgradePolicy::Upgrade && http.use_client_protocol {
        let message = "useClientProtocol and h2UpgradePolicy UPGRADE cannot stand together";
        check.error(at.field("useClientProtocol"), message, "keep one of them");
    }
    if let Some(keepalive) = &http.http2_keep_alive {
        let at = at.field("http2KeepAlive");
        for (name, duration) in [("interval", keepalive.interval), ("timeout", keepalive.timeout)] {
            if duration.is_none_or(|duration| duration == GoDuration::default()) {
                check.error(
                    at.field(name),
                    "expected a duration of at least 1ms",
                    "both interval and timeout are needed",
                );
            }
        }
    }
}

fn outlier_detection(check: &mut Check<'_>, at: Path<'_>, outlier: &OutlierDetection) {
    check_duration(check, at.field("interval"), outlier.interval);
    check_duration(check, at.field("baseEjectionTime"), outlier.base_ejection_time);
    percent(check, at.field("maxEjectionPercent"), f64::from(outlier.max_ejection_percent));
    percent(check, at.field("minHealthPercent"), f64::from(outlier.min_health_percent));
    if outlier.consecutive_errors > 0 {
        let at = at.field("consecutiveErrors");
        check.report(codes::DEPRECATED, at, "consecutiveErrors has no effect", "write consecutive5xxErrors");
    }
    if outlier.consecutive_local_origin_failures.is_some() && !outlier.split_external_local_origin_errors {
        let message = "consecutiveLocalOriginFailures needs splitExternalLocalOriginErrors";
        check.error(
            at.field("consecutiveLocalOriginFailures"),
            message,
            "write splitExternalLocalOriginErrors: true",
        );
    }
    for (index, status) in outlier.outlier_detection_http_error_codes.iter().enumerate() {
        if !(100..=599).contains(status) {
            let list = at.field("outlierDetectionHttpErrorCodes");
            check.error(
                list.item(index),
                format!("expected a status from 100 to 599, found {status}"),
                "write 503, for example",
            );
        }
    }
}

fn client_tls(check: &mut Check<'_>, at: Path<'_>, tls: &ClientTls) {
    let files = [
        ("clientCertificate", &tls.client_certificate),
        ("privateKey", &tls.private_key),
        ("caCertificates", &tls.ca_certificates),
    ];
    if !tls.credential_name.is_empty() {
        for (name, _) in files.iter().filter(|(_, path)| !path.is_empty()) {
            check.error(
                at.field(name),
                format!("{name} and credentialName cannot stand together"),
                "keep one",
            );
        }
        if !tls.ca_crl.is_empty() {
            check.error(
                at.field("caCrl"),
                "caCrl and credentialName cannot stand together",
                "put it into the Secret",
            );
        }
    }
    match tls.mode {
        ClientTlsMode::IstioMutual => {
            let given = files.iter().find(|(_, path)| !path.is_empty()).map(|(name, _)| *name);
            if let Some(name) = given.or((!tls.credential_name.is_empty()).then_some("credentialName")) {
                check.error(
                    at.field(name),
                    "mode ISTIO_MUTUAL brings its own certificates",
                    "write mode: MUTUAL",
                );
            }
        }
        ClientTlsMode::Mutual if tls.credential_name.is_empty() => {
            for (name, path) in files.iter().take(2) {
                if path.is_empty() {
                    let message = format!("mode MUTUAL needs {name}");
                    check.error(at.field(name), message, "write both paths, or credentialName");
                }
            }
        }
        _ => {}
    }
    if tls.insecure_skip_verify == Some(true) {
        let by_secret = tls.mode == ClientTlsMode::Simple && !tls.credential_name.is_empty();
        let unused = [
            (!tls.ca_certificates.is_empty(), "caCertificates"),
            (!tls.subject_alt_names.is_empty(), "subjectAltNames"),
            (by_secret, "credentialName"),
        ];
        for (_, name) in unused.iter().filter(|(given, _)| *given) {
            let message = format!("insecureSkipVerify would ignore {name}");
            check.error(at.field("insecureSkipVerify"), message, format!("remove it, or remove {name}"));
        }
    }
}

fn tunnel(check: &mut Check<'_>, at: Path<'_>, tunnel: &Tunnel) {
    if !matches!(tunnel.protocol.as_str(), "" | "CONNECT" | "POST") {
        let message = format!("expected CONNECT or POST, found {:?}", tunnel.protocol);
        check.error(at.field("protocol"), message, "write CONNECT, or leave it out");
    }
    if !is_ip(&tunnel.target_host) && !is_host_name(&tunnel.target_host) {
        let message = format!("expected an address or a name, found {:?}", tunnel.target_host);
        check.error(at.field("targetHost"), message, "write 192.0.2.1 or name.example.com");
    }
    check_port(check, at.field("targetPort"), tunnel.target_port);
}
