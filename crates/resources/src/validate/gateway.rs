//! Rules for `Gateway`.

use std::collections::BTreeSet;

use super::path::SPEC;
use super::syntax::{
    check_port, host_mend, is_dns_label, is_host_name, is_ip, is_protocol, is_unix_address, is_wildcard_host,
};
use super::{Check, Path, Validate};
use crate::istio::{Gateway, Server, ServerTls, TlsMode, TlsVersion};
use crate::object::Meta;

impl Validate for Gateway {
    fn validate(&self, _: &Meta, check: &mut Check<'_>) {
        let list = SPEC.field("servers");
        if self.servers.is_empty() {
            check.error(list, "expected at least one server", "write port and hosts below `servers:`");
        }
        let mut names = BTreeSet::new();
        for (index, server) in self.servers.iter().enumerate() {
            let at = list.item(index);
            self::server(check, at, server);
            if !server.port.name.is_empty() && !names.insert(&server.port.name) {
                let message = format!("the port name {:?} stands there twice", server.port.name);
                check.error(at.field("port").field("name"), message, "give each server its own port name");
            }
        }
    }
}

fn server(check: &mut Check<'_>, at: Path<'_>, server: &Server) {
    let port = at.field("port");
    let unix = server.bind.starts_with("unix://");
    if unix {
        if server.port.number != 0 {
            check.error(
                port.field("number"),
                "expected 0 with a unix bind",
                "write 0, or bind to an IP address",
            );
        }
        if !is_unix_address(&server.bind) {
            let message = format!("expected the absolute path of a socket, found {:?}", server.bind);
            check.error(at.field("bind"), message, "write unix:///path/to/socket or unix://@name");
        }
    } else {
        check_port(check, port.field("number"), u32::from(server.port.number));
        if !server.bind.is_empty() && !is_ip(&server.bind) {
            let message = format!("expected an IP address, found {:?}", server.bind);
            check.error(at.field("bind"), message, "leave it out to listen on every address");
        }
    }
    if server.port.name.is_empty() {
        check.error(port.field("name"), "expected a name", "name the port, such as `http` or `https`");
    }
    if server.port.protocol.is_empty() || !is_protocol(&server.port.protocol) {
        let message = format!("expected a protocol, found {:?}", server.port.protocol);
        check.error(
            port.field("protocol"),
            message,
            "write HTTP, HTTPS, HTTP2, GRPC, GRPC-WEB, TLS, TCP or MONGO",
        );
    }
    if server.port.target_port.is_some() {
        check.error(
            port.field("targetPort"),
            "targetPort is not possible here",
            "remove it; the port is `number`",
        );
    }
    if server.hosts.is_empty() {
        check.error(at.field("hosts"), "expected at least one host", "write `- \"*\"` for any host");
    }
    for (index, host) in server.hosts.iter().enumerate() {
        server_host(check, at.field("hosts").item(index), host);
    }
    server_protocol_and_tls(check, at, server);
}

/// `[namespace/]host`.
fn server_host(check: &mut Check<'_>, at: Path<'_>, text: &str) {
    let host = match text.split_once('/') {
        Some(_) if text.contains("://") => text,
        Some((namespace, host)) => {
            if !matches!(namespace, "*" | ".") && !is_dns_label(namespace) {
                let message = format!("expected a namespace, `.` or `*` before the `/`, found {namespace:?}");
                check.error(at, message, "write namespace/host, or the host alone");
                return;
            }
            host
        }
        None => text,
    };
    if host == "*" || is_ip(host) {
        return;
    }
    if !is_wildcard_host(host) {
        check.error(at, format!("expected a host, found {text:?}"), host_mend(host));
    } else if is_host_name(host) && !host.contains('.') {
        let mend =
            format!("write it in full, such as {host}.default.svc.cluster.local or {host}.example.com");
        check.error(at, format!("{host:?} is a short name, which means nothing to a gateway"), mend);
    }
}

fn server_protocol_and_tls(check: &mut Check<'_>, at: Path<'_>, server: &Server) {
    let protocol = server.port.protocol.to_ascii_uppercase();
    let field = at.field("tls");
    match (protocol.as_str(), &server.tls) {
        ("HTTPS" | "TLS", None) => {
            let mend = "write mode: SIMPLE and credentialName below `tls:`, or mode: PASSTHROUGH";
            check.error(field, format!("protocol {protocol} needs tls"), mend);
        }
        ("HTTPS" | "TLS", Some(tls)) => server_tls(check, field, tls),
        ("HTTP" | "HTTP2" | "HTTP_PROXY" | "GRPC" | "GRPC-WEB", Some(tls)) => {
            plain_http_tls(check, field, tls, &protocol)
        }
        (_, Some(_)) if is_protocol(&protocol) => {
            let mend = "remove tls, or write protocol: TLS";
            check.error(field, format!("protocol {protocol} has no tls"), mend);
        }
        _ => {}
    }
    if server.tls.as_ref().is_some_and(|tls| tls.https_redirect) && protocol != "HTTP" {
        check.warn(
            field.field("httpsRedirect"),
            "httpsRedirect means something with protocol HTTP only",
            "remove it",
        );
    }
}

/// A server of plain HTTP can redirect to https and nothing else.
fn plain_http_tls(check: &mut Check<'_>, at: Path<'_>, tls: &ServerTls, protocol: &str) {
    let passthrough = matches!(tls.mode, TlsMode::Passthrough | TlsMode::AutoPassthrough);
    let files = [&tls.server_certificate, &tls.private_key, &tls.ca_certificates];
    if !passthrough || files.iter().any(|file| !file.is_empty()) {
        let mend = "write protocol: HTTPS to terminate TLS, or remove tls; httpsRedirect may stay";
        check.error(at, format!("protocol {protocol} has no tls"), mend);
    } else if !tls.credential_name.is_empty() || !tls.credential_names.is_empty() {
        check.warn(
            at.field("credentialName"),
            format!("protocol {protocol} has no certificate"),
            "write protocol: HTTPS",
        );
    }
}

fn server_tls(check: &mut Check<'_>, at: Path<'_>, tls: &ServerTls) {
    certificate_sources(check, at, tls);
    match tls.mode {
        TlsMode::Simple | TlsMode::Mutual | TlsMode::OptionalMutual => terminating(check, at, tls),
        TlsMode::IstioMutual => {
            if has_certificate(tls) || !tls.ca_certificates.is_empty() {
                let mend = "remove the certificates, or write mode: MUTUAL";
                check.error(at, "mode ISTIO_MUTUAL brings its own certificates", mend);
            }
        }
        TlsMode::Passthrough | TlsMode::AutoPassthrough => {
            if has_certificate(tls) || !tls.ca_certificates.is_empty() {
                let message = format!("mode {} uses no certificate", tls.mode.as_str());
                check.warn(
                    at,
                    message,
                    "write mode: SIMPLE to terminate TLS here, or remove the certificates",
                );
            }
        }
    }
    versions(check, at, tls);
}

fn has_certificate(tls: &ServerTls) -> bool {
    let files =
        !tls.server_certificate.is_empty() || !tls.private_key.is_empty() || !tls.tls_certificates.is_empty();
    files || has_credential(tls)
}

fn has_credential(tls: &ServerTls) -> bool {
    !tls.credential_name.is_empty() || !tls.credential_names.is_empty()
}

/// At most one way to give certificates.
fn certificate_sources(check: &mut Check<'_>, at: Path<'_>, tls: &ServerTls) {
    let ways = [
        (!tls.server_certificate.is_empty() || !tls.private_key.is_empty(), "serverCertificate"),
        (!tls.credential_name.is_empty(), "credentialName"),
        (!tls.credential_names.is_empty(), "credentialNames"),
        (!tls.tls_certificates.is_empty(), "tlsCertificates"),
    ];
    let given: Vec<&str> = ways.iter().filter(|(given, _)| *given).map(|(_, name)| *name).collect();
    if given.len() > 1 {
        check.error(
            at,
            format!("expected one source of certificates, found {}", given.join(" and ")),
            "keep one",
        );
    }
    if tls.credential_names.len() > 2 {
        check.error(at.field("credentialNames"), "expected at most 2", "one for RSA and one for ECDSA");
    }
    if tls.tls_certificates.len() > 2 {
        check.error(at.field("tlsCertificates"), "expected at most 2", "one for RSA and one for ECDSA");
    }
    for (index, name) in tls.credential_names.iter().enumerate() {
        if name.is_empty() {
            check.error(
                at.field("credentialNames").item(index),
                "expected the name of a Secret",
                "write its name, or remove the item",
            );
        }
    }
    for (index, pair) in tls.tls_certificates.iter().enumerate() {
        let list = at.field("tlsCertificates");
        file_pair(check, list.item(index), &pair.server_certificate, &pair.private_key);
    }
}

fn file_pair(check: &mut Check<'_>, at: Path<'_>, certificate: &str, key: &str) {
    let mend = "write the paths of both files, or credentialName: NAME of a Secret";
    if certificate.is_empty() {
        check.error(at.field("serverCertificate"), "expected the path of a certificate", mend);
    }
    if key.is_empty() {
        check.error(at.field("privateKey"), "expected the path of a private key", mend);
    }
}

/// SIMPLE, MUTUAL and OPTIONAL_MUTUAL.
fn terminating(check: &mut Check<'_>, at: Path<'_>, tls: &ServerTls) {
    let mode = tls.mode.as_str();
    if !has_certificate(tls) {
        let message = format!("mode {mode} needs a certificate");
        check.error(
            at,
            message,
            "write credentialName: NAME of a Secret, or serverCertificate and privateKey",
        );
    } else if !has_credential(tls) && tls.tls_certificates.is_empty() {
        file_pair(check, at, &tls.server_certificate, &tls.private_key);
    }
    let from_secret = has_credential(tls);
    if from_secret && !tls.ca_crl.is_empty() {
        let mend = "put the list into the Secret, under ca.crl";
        check.warn(at.field("caCrl"), "beside a Secret the file has no effect", mend);
    }
    if tls.mode == TlsMode::Simple {
        let message = "mode SIMPLE asks for no client certificate";
        if !tls.subject_alt_names.is_empty() {
            let mend = "write mode: MUTUAL, or remove subjectAltNames";
            // Istio passes over them beside files, and beside a Secret makes a listener that Envoy refuses.
            match from_secret {
                true => check.error(at.field("subjectAltNames"), message, mend),
                false => check.warn(at.field("subjectAltNames"), message, mend),
            }
        }
        if !tls.ca_crl.is_empty() && !from_secret {
            let mend = "write mode: MUTUAL, or remove caCrl";
            check.error(at.field("caCrl"), message, mend);
        }
    } else if !from_secret && tls.ca_certificates.is_empty() && tls.ca_cert_credential_name.is_empty() {
        let mend = "write the path of the CAs that sign client certificates";
        check.error(at.field("caCertificates"), format!("mode {mode} needs the CAs of clients"), mend);
    }
}

fn versions(check: &mut Check<'_>, at: Path<'_>, tls: &ServerTls) {
    let (min, max) = (tls.min_protocol_version, tls.max_protocol_version);
    if min != TlsVersion::Auto && max != TlsVersion::Auto && min > max {
        check.error(at.field("minProtocolVersion"), "expected at most maxProtocolVersion", "swap the two");
    }
    if matches!(min, TlsVersion::V1_0 | TlsVersion::V1_1) {
        let message = format!("{} is not offered; TLS 1.2 is the lowest", min.as_str());
        check.warn(at.field("minProtocolVersion"), message, "write TLSV1_2");
    }
    if matches!(max, TlsVersion::V1_0 | TlsVersion::V1_1) {
        let message = format!("{} is not offered, so that no client can connect", max.as_str());
        check.warn(at.field("maxProtocolVersion"), message, "write TLSV1_2 or TLSV1_3");
    }
}
