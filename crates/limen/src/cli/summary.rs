//! What `run` says when it serves.

use limen_resources::{Kind, Level};

use crate::boot::Running;
use crate::view::View;

/// Lines for people: what was read, where it is served, what to do next.
pub(super) fn lines(running: &Running, view: &View, named: &str) -> Vec<String> {
    let mut lines = vec![format!("limen {} serves {named}: {}", env!("CARGO_PKG_VERSION"), contents(view))];
    let objects: usize = counts(view).iter().map(|(_, count)| count).sum();
    if objects == 0 {
        lines.push(
            "  there is nothing to serve yet: put a Gateway and a VirtualService there, and they are live"
                .into(),
        );
        lines.push("  at once; `limen demo` shows a working set".into());
    } else if view.ir.listeners.is_empty() {
        lines.push(
            "  no port is served: no Gateway selects this gateway's labels or is of our class, and no Ingress is".into(),
        );
    }
    lines.extend(ports(view));
    let own = [
        ("admin", running.admin(), "/"),
        ("ready", running.readiness(), "/healthz/ready"),
        ("metrics", running.metrics(), "/stats/prometheus"),
    ];
    lines.extend(
        own.into_iter().filter_map(|(what, at, path)| Some(format!("  {what:<8} http://{}{path}", at?))),
    );
    lines.push(format!("  {}", problems(view)));
    lines
}

/// Where clients can connect.
fn ports(view: &View) -> Vec<String> {
    let line = |listener: &limen_proxy::BoundListener| {
        let scheme = match listener {
            _ if listener.tcp && listener.tls => "tls",
            _ if listener.tcp => "tcp",
            _ if listener.udp => "udp",
            _ if listener.tls => "https",
            _ => "http",
        };
        let note = listener.note.as_ref().map(|note| format!("  ({note})")).unwrap_or_default();
        Some(format!("  {scheme:<8} {}  declared port {}{note}", listener.bound?, listener.declared))
    };
    view.applied.listeners.iter().filter_map(line).collect()
}

fn counts(view: &View) -> Vec<(&'static str, usize)> {
    let snapshot = &view.snapshot;
    let policies = Kind::ALL.into_iter().filter(|kind| kind.can_deny());
    let mut counts = vec![
        ("Gateway", snapshot.gateways().len()),
        ("VirtualService", snapshot.virtual_services().len()),
        ("DestinationRule", snapshot.destination_rules().len()),
        ("ServiceEntry", snapshot.service_entries().len()),
        ("WorkloadEntry", snapshot.workload_entries().len()),
        (Kind::Ingress.as_str(), snapshot.ingresses().len()),
        (Kind::IngressClass.as_str(), snapshot.ingress_classes().len()),
        (Kind::GatewayClass.as_str(), snapshot.gateway_classes().len()),
        (Kind::ApiGateway.as_str(), snapshot.api_gateways().len()),
        (Kind::ListenerSet.as_str(), snapshot.listener_sets().len()),
        (Kind::HttpRoute.as_str(), snapshot.http_routes().len()),
        (Kind::GrpcRoute.as_str(), snapshot.grpc_routes().len()),
        (Kind::TlsRoute.as_str(), snapshot.tls_routes().len()),
        (Kind::TcpRoute.as_str(), snapshot.tcp_routes().len()),
        (Kind::UdpRoute.as_str(), snapshot.udp_routes().len()),
        ("Service", snapshot.services().len()),
        ("EndpointSlice", snapshot.endpoint_slices().len()),
        ("Pod", snapshot.pods().len()),
        ("Secret", snapshot.secrets().len()),
        ("ConfigMap", snapshot.config_maps().len()),
        ("Namespace", snapshot.namespaces().len()),
        ("Node", snapshot.nodes().len()),
    ];
    counts.extend(policies.map(|kind| (kind.as_str(), snapshot.policies_of(kind).count())));
    counts.retain(|(_, count)| *count > 0);
    counts
}

fn contents(view: &View) -> String {
    let files = match view.files {
        // A cluster has none.
        0 => None,
        files => Some(number(files, "file")),
    };
    let listed = |(kind, count): (&str, usize)| format!("{count} {kind}");
    let mut parts: Vec<String> = counts(view).into_iter().map(listed).collect();
    let unused: Vec<String> = view.unused.iter().map(|(kind, count)| listed((kind, *count))).collect();
    if !unused.is_empty() {
        parts.push(format!("and of no use here {}", unused.join(", ")));
    }
    match (files, parts.join(", ")) {
        (None, objects) if objects.is_empty() => "nothing".to_owned(),
        (None, objects) => objects,
        (Some(files), objects) if objects.is_empty() => files,
        (Some(files), objects) => format!("{files} with {objects}"),
    }
}

fn problems(view: &View) -> String {
    let problems = view.problems();
    let of = |level: Level| problems.iter().filter(|problem| problem.level == level).count();
    match (of(Level::Error), of(Level::Warning)) {
        (0, 0) => "no problems".to_owned(),
        (errors, warnings) => {
            format!("problems: {errors} errors, {warnings} warnings, told above and at /problems")
        }
    }
}

fn number(count: usize, noun: &str) -> String {
    match count {
        0 => format!("no {noun}s"),
        1 => format!("1 {noun}"),
        more => format!("{more} {noun}s"),
    }
}
