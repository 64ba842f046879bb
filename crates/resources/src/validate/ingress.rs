//! Kubernetes' rules for `Ingress` and `IngressClass`.

use super::path::SPEC;
use super::syntax::{is_dns_label, is_dns_name, is_ip};
use super::{Check, Path, Validate};
use crate::networking::{Ingress, IngressBackend, IngressClass, IngressPath, PathType, ServiceBackend};
use crate::object::Meta;

const LOWER_CASE: &str = "use lower-case letters, digits, `-` and dots";

impl Validate for Ingress {
    fn validate(&self, meta: &Meta, check: &mut Check<'_>) {
        if !self.class.is_empty() {
            let at = SPEC.field("ingressClassName");
            if !is_dns_name(&self.class) {
                check.error(
                    at,
                    format!("expected the name of an IngressClass, found {:?}", self.class),
                    LOWER_CASE,
                );
            }
            if let Some(other) = meta.annotations.get(Ingress::CLASS_ANNOTATION)
                && *other != self.class
            {
                let message =
                    format!("the annotation {} says {other:?}, and that counts", Ingress::CLASS_ANNOTATION);
                check.warn(at, message, "remove the annotation");
            }
        }
        if self.default_backend.is_none() && self.rules.is_empty() {
            check.error(SPEC, "expected rules or a defaultBackend", "write one of them");
        }
        if let Some(default) = &self.default_backend {
            backend(check, SPEC.field("defaultBackend"), default);
        }
        let list = SPEC.field("tls");
        for (index, tls) in self.tls.iter().enumerate() {
            let at = list.item(index);
            let hosts = at.field("hosts");
            tls.hosts.iter().enumerate().for_each(|(index, name)| host(check, hosts.item(index), name));
            if !tls.secret_name.is_empty() && !is_dns_name(&tls.secret_name) {
                let message = format!("expected the name of a Secret, found {:?}", tls.secret_name);
                check.error(at.field("secretName"), message, LOWER_CASE);
            }
        }
        let list = SPEC.field("rules");
        for (index, rule) in self.rules.iter().enumerate() {
            let at = list.item(index);
            if !rule.host.is_empty() {
                host(check, at.field("host"), &rule.host);
            }
            let Some(http) = &rule.http else { continue };
            let at = at.field("http");
            let paths = at.field("paths");
            if http.paths.is_empty() {
                check.error(paths, "expected at least one path", "write one, or remove http");
            }
            http.paths.iter().enumerate().for_each(|(index, one)| path(check, paths.item(index), one));
        }
    }
}

fn host(check: &mut Check<'_>, at: Path<'_>, host: &str) {
    if is_ip(host) {
        check.error(
            at,
            format!("expected a name, found the address {host}"),
            "leave the host out to take any",
        );
    } else if !is_dns_name(host.strip_prefix("*.").unwrap_or(host)) {
        let mend = match host.strip_prefix('*') {
            Some("") => "leave the host out to take any",
            Some(_) => "`*` stands for the first label only, such as *.example.com",
            None if host.contains([':', '/']) => "write the name only, without scheme, port and path",
            None => LOWER_CASE,
        };
        check.error(at, format!("expected a DNS name, found {host:?}"), mend);
    }
}

fn path(check: &mut Check<'_>, at: Path<'_>, path: &IngressPath) {
    let text = &*path.path;
    let field = at.field("path");
    let whole = matches!(path.path_type, Some(PathType::Exact | PathType::Prefix));
    let odd = ["//", "/./", "/../", "%2f", "%2F"].into_iter().find(|odd| text.contains(odd));
    let odd = odd.or_else(|| ["/..", "/."].into_iter().find(|odd| text.ends_with(odd)));
    if !text.starts_with('/') && (whole || !text.is_empty()) {
        check.error(field, format!("expected an absolute path, found {text:?}"), "begin it with `/`");
    } else if let Some(odd) = odd.filter(|_| whole) {
        check.error(field, format!("expected a path without `{odd}`, found {text:?}"), "write it without");
    }
    if path.path_type.is_none() && !check.wrote(&at.field("pathType").to_string()) {
        let mend = "write Exact, Prefix or ImplementationSpecific";
        check.error(at.field("pathType"), "expected a type of path", mend);
    }
    backend(check, at.field("backend"), &path.backend);
}

fn backend(check: &mut Check<'_>, at: Path<'_>, backend: &IngressBackend) {
    match (&backend.service, &backend.resource) {
        (Some(one), None) => service(check, at.field("service"), one),
        (None, Some(resource)) => {
            let at = at.field("resource");
            for (part, text) in [("kind", &resource.kind), ("name", &resource.name)] {
                if text.is_empty() {
                    check.error(at.field(part), format!("expected a {part}"), "write it");
                }
            }
        }
        (None, None) => {
            check.error(at, "expected a backend", "write service with name and port");
        }
        (Some(_), Some(_)) => {
            check.error(at, "service and resource exclude each other", "remove one of them");
        }
    }
}

fn service(check: &mut Check<'_>, at: Path<'_>, service: &ServiceBackend) {
    if !is_dns_label(&service.name) {
        let message = format!("expected the name of a Service, found {:?}", service.name);
        check.error(at.field("name"), message, "a Service of the same namespace, without domain");
    }
    let (port, field) = (&service.port, at.field("port"));
    match (&*port.name, port.number) {
        ("", 0) => check.error(field, "expected a port", "write number or name"),
        ("", _) => {}
        (name, 0) => {
            if !is_port_name(name) {
                let message = format!("expected the name of a port, found {name:?}");
                let mend = "up to 15 lower-case letters, digits and `-`; a number goes into number";
                check.error(field.field("name"), message, mend);
            }
        }
        _ => check.error(field, "name and number exclude each other", "remove one of them"),
    }
}

/// RFC 6335: at most 15 characters, of which one is a letter.
fn is_port_name(name: &str) -> bool {
    is_dns_label(name)
        && name.len() <= 15
        && !name.contains("--")
        && name.bytes().any(|byte| byte.is_ascii_alphabetic())
}

impl Validate for IngressClass {
    fn validate(&self, _: &Meta, check: &mut Check<'_>) {
        let (domain, rest) = self.controller.split_once('/').unwrap_or_default();
        if !is_dns_name(domain) || rest.is_empty() || self.controller.len() > 250 {
            let message = format!("expected a domain and a path, found {:?}", self.controller);
            check.error(SPEC.field("controller"), message, "write it, such as limen.dev/ingress-controller");
        }
        let Some(parameters) = &self.parameters else { return };
        let at = SPEC.field("parameters");
        for (part, text) in [("kind", &parameters.kind), ("name", &parameters.name)] {
            if text.is_empty() {
                check.error(at.field(part), format!("expected a {part}"), "write it");
            }
        }
        match (&*parameters.scope, parameters.namespace.is_empty()) {
            ("" | "Cluster", true) | ("Namespace", false) => {}
            ("" | "Cluster", false) => {
                check.error(
                    at.field("namespace"),
                    "a namespace needs scope Namespace",
                    "write scope: Namespace",
                );
            }
            ("Namespace", true) => check.error(at.field("namespace"), "expected a namespace", "write it"),
            (other, _) => {
                let message = format!("expected a scope, found {other:?}");
                check.error(at.field("scope"), message, "write Cluster or Namespace");
            }
        }
    }
}
