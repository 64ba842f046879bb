//! TLS of Gateway servers.

use limen_ir::tls::{Curve, TlsVersion};
use limen_resources::istio::{Server, ServerTls, TlsMode, TlsVersion as WrittenVersion};

use super::client_tls::{self, ClientPlan};
use super::gateway::ServerPlan;
use crate::messages::{At, gateway as messages};
use crate::report::Report;

/// How a server does its handshake, with certificates that are not looked up yet.
#[derive(Debug)]
pub(crate) struct TlsPlan {
    pub(crate) credentials: Vec<CredentialRef>,
    pub(crate) min_version: TlsVersion,
    pub(crate) max_version: TlsVersion,
    pub(crate) cipher_suites: Vec<String>,
    pub(crate) curves: Vec<Curve>,
    pub(crate) clients: Option<ClientPlan>,
    /// Istio's proxies tell each other of themselves first, where what is inside is not HTTP.
    pub(crate) peer_exchange: bool,
}

/// A certificate that a server names.
#[derive(Debug)]
pub(crate) struct CredentialRef {
    pub(crate) credential: Credential,
    pub(crate) field: String,
}

/// Where a certificate comes from.
#[derive(Debug)]
pub(crate) enum Credential {
    /// A reference as it is written.
    Secret(String),
    /// A Secret of this namespace and name.
    Of(String, String),
    /// Paths of the chain and of its key.
    Files(String, String),
    /// The workload's own.
    Identity,
}

/// How `server` does its handshake; `None` if it may not be done, which is said in `report`.
pub(crate) fn plan(plan: &ServerPlan, server: &Server, report: &mut Report) -> Option<TlsPlan> {
    let tls = server.tls.as_ref()?;
    let field = |part: &str| format!("{}{part}", plan.field);
    if tls.mode == TlsMode::IstioMutual {
        return Some(identity(plan.at(), &field(".tls"), tls, report));
    }
    let clients = client_tls::plan(plan.at(), &field(".tls"), tls, report).ok()?;
    let (min_version, max_version) = versions(plan.at(), &field(".tls"), tls, report)?;
    let suites = suites(plan.at(), &field(".tls.cipherSuites"), &tls.cipher_suites, report);
    let (min_version, cipher_suites) = match suites {
        Suites::Default => (min_version, Vec::new()),
        Suites::Chosen(chosen) => (min_version, chosen),
        // TLS 1.3 has suites of its own, which are not configured.
        Suites::NothingLeft if max_version == TlsVersion::V1_3 => (TlsVersion::V1_3, Vec::new()),
        Suites::NothingLeft => {
            let part = field(".tls.cipherSuites");
            report.problem(messages::no_suite_left(plan.at().field(&part)));
            return None;
        }
    };
    let curves = match curves(plan.at(), &field(".tls.ecdhCurves"), &tls.ecdh_curves, report) {
        Some(curves) => curves,
        None => {
            let part = field(".tls.ecdhCurves");
            report.problem(messages::no_suite_left(plan.at().field(&part)));
            return None;
        }
    };
    let credentials = credentials(&field(".tls"), tls);
    Some(TlsPlan {
        credentials,
        min_version,
        max_version,
        cipher_suites,
        curves,
        clients,
        peer_exchange: false,
    })
}

/// ISTIO_MUTUAL: the workload's identity, shown to and asked of everybody. Nothing of it is configured by the server.
fn identity(at: At<'_>, field: &str, tls: &ServerTls, report: &mut Report) -> TlsPlan {
    let part = |part: &str| format!("{field}.{part}");
    for (name, written) in [
        ("minProtocolVersion", tls.min_protocol_version != WrittenVersion::Auto),
        ("maxProtocolVersion", tls.max_protocol_version != WrittenVersion::Auto),
        ("cipherSuites", !tls.cipher_suites.is_empty()),
        ("ecdhCurves", !tls.ecdh_curves.is_empty()),
    ] {
        if written {
            let message = "mode ISTIO_MUTUAL has settings of its own, so the field has no effect";
            report.problem(messages::no_effect(at.field(&part(name)), message, "remove it"));
        }
    }
    TlsPlan {
        credentials: vec![CredentialRef { credential: Credential::Identity, field: part("mode") }],
        min_version: TlsVersion::V1_2,
        max_version: TlsVersion::V1_3,
        cipher_suites: Vec::new(),
        curves: Vec::new(),
        clients: Some(client_tls::mesh(field, tls)),
        peer_exchange: true,
    }
}

/// Curves that can be chosen, by the names that Istio takes. `None`: none of those written is one.
fn curves(at: At<'_>, field: &str, written: &[String], report: &mut Report) -> Option<Vec<Curve>> {
    let mut chosen = Vec::new();
    for (index, name) in written.iter().enumerate() {
        let curve = match &*name.to_ascii_uppercase() {
            "X25519MLKEM768" => Curve::X25519MlKem768,
            "X25519" => Curve::X25519,
            "P-256" | "PRIME256V1" | "SECP256R1" => Curve::P256,
            "P-384" | "SECP384R1" => Curve::P384,
            _ => {
                let place = format!("{field}[{index}]");
                report.problem(messages::unknown_curve(at.field(&place), name));
                continue;
            }
        };
        if !chosen.contains(&curve) {
            chosen.push(curve);
        }
    }
    (written.is_empty() || !chosen.is_empty()).then_some(chosen)
}

fn versions(
    at: At<'_>,
    field: &str,
    tls: &ServerTls,
    report: &mut Report,
) -> Option<(TlsVersion, TlsVersion)> {
    let lowest = format!("{field}.minProtocolVersion");
    let highest = format!("{field}.maxProtocolVersion");
    let weak = |version| matches!(version, WrittenVersion::V1_0 | WrittenVersion::V1_1);
    if weak(tls.max_protocol_version) {
        report.problem(messages::weak_version(at.field(&highest), tls.max_protocol_version.as_str()));
        report.problem(messages::no_suite_left(at.field(&highest)));
        return None;
    }
    if weak(tls.min_protocol_version) {
        report.problem(messages::weak_version(at.field(&lowest), tls.min_protocol_version.as_str()));
    }
    let min =
        if tls.min_protocol_version == WrittenVersion::V1_3 { TlsVersion::V1_3 } else { TlsVersion::V1_2 };
    let max =
        if tls.max_protocol_version == WrittenVersion::V1_2 { TlsVersion::V1_2 } else { TlsVersion::V1_3 };
    if min > max {
        report.problem(messages::no_suite_left(at.field(&lowest)));
        return None;
    }
    Some((min, max))
}

/// What is left of a list of suites.
enum Suites {
    Default,
    Chosen(Vec<String>),
    NothingLeft,
}

/// The suites that are offered: forward secrecy and authenticated encryption.
const OFFERED: &[&str] = &[
    "ECDHE-ECDSA-AES128-GCM-SHA256",
    "ECDHE-ECDSA-AES256-GCM-SHA384",
    "ECDHE-ECDSA-CHACHA20-POLY1305",
    "ECDHE-RSA-AES128-GCM-SHA256",
    "ECDHE-RSA-AES256-GCM-SHA384",
    "ECDHE-RSA-CHACHA20-POLY1305",
];

/// Those that Istio takes and that are not offered.
const WEAK: &[&str] = &[
    "AES128-GCM-SHA256",
    "AES128-SHA",
    "AES256-GCM-SHA384",
    "AES256-SHA",
    "DES-CBC3-SHA",
    "ECDHE-ECDSA-AES128-SHA",
    "ECDHE-ECDSA-AES256-SHA",
    "ECDHE-RSA-AES128-SHA",
    "ECDHE-RSA-AES256-SHA",
];

fn suites(at: At<'_>, field: &str, written: &[String], report: &mut Report) -> Suites {
    let mut chosen: Vec<String> = Vec::new();
    let mut refused = false;
    for (index, token) in written.iter().enumerate() {
        if token == "ALL" {
            return Suites::Default;
        }
        let place = format!("{field}[{index}]");
        // BoringSSL writes suites of equal preference as `[a|b]`.
        for suite in token.trim_matches(['[', ']']).split('|').filter(|suite| !suite.is_empty()) {
            if OFFERED.contains(&suite) {
                if !chosen.iter().any(|known| known == suite) {
                    chosen.push(suite.to_owned());
                }
                continue;
            }
            refused = true;
            report.problem(if WEAK.contains(&suite) {
                messages::weak_suite(at.field(&place), suite)
            } else {
                messages::unknown_suite(at.field(&place), suite)
            });
        }
    }
    match (chosen.is_empty(), refused) {
        (false, _) => Suites::Chosen(chosen),
        (true, true) => Suites::NothingLeft,
        (true, false) => Suites::Default,
    }
}

/// The reference that means the workload's own identity.
pub(crate) const BUILTIN: &str = "builtin://";

fn credentials(field: &str, tls: &ServerTls) -> Vec<CredentialRef> {
    let part = |part: &str| format!("{field}.{part}");
    let mut credentials = Vec::new();
    let mut secret = |name: &str, field: String| {
        let credential = match name {
            BUILTIN => Credential::Identity,
            name => Credential::Secret(name.to_owned()),
        };
        credentials.push(CredentialRef { credential, field });
    };
    if !tls.credential_name.is_empty() {
        secret(&tls.credential_name, part("credentialName"));
    }
    for (index, name) in tls.credential_names.iter().enumerate() {
        secret(name, part(&format!("credentialNames[{index}]")));
    }
    let mut files = |chain: &str, key: &str, field: String| {
        let credential = Credential::Files(chain.to_owned(), key.to_owned());
        credentials.push(CredentialRef { credential, field });
    };
    for (index, pair) in tls.tls_certificates.iter().enumerate() {
        files(&pair.server_certificate, &pair.private_key, part(&format!("tlsCertificates[{index}]")));
    }
    if !tls.server_certificate.is_empty() || !tls.private_key.is_empty() {
        files(&tls.server_certificate, &tls.private_key, part("serverCertificate"));
    }
    credentials
}
