//! `x-forwarded-client-cert`: what an upstream is told of the client's certificate.

use limen_wire::head::RequestHead;

use crate::observe::peer::Peer;

/// The field.
pub(crate) const NAME: &[u8] = b"x-forwarded-client-cert";

/// What becomes of the field (`forward_client_cert_details` of Envoy).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ForwardClientCert {
    /// Dropped.
    Sanitize,
    /// Passed on if the client has a certificate.
    ForwardOnly,
    /// Passed on with the client's certificate behind it, if it has one; else dropped.
    AppendForward,
    /// The client's certificate takes its place, if it has one; else dropped.
    SanitizeSet,
    /// Passed on.
    AlwaysForwardOnly,
}

impl ForwardClientCert {
    /// Does what the client sent stay?
    pub(crate) fn keeps(self, has_certificate: bool) -> bool {
        match self {
            ForwardClientCert::Sanitize | ForwardClientCert::SanitizeSet => false,
            ForwardClientCert::ForwardOnly | ForwardClientCert::AppendForward => has_certificate,
            ForwardClientCert::AlwaysForwardOnly => true,
        }
    }

    /// Is the client's certificate told?
    pub(crate) fn tells(self) -> bool {
        matches!(self, ForwardClientCert::AppendForward | ForwardClientCert::SanitizeSet)
    }
}

/// Adds what is known of the client's certificate behind what those before it were.
pub(crate) fn append(head: &mut RequestHead, element: &str, scratch: &mut Vec<u8>) {
    scratch.clear();
    for before in head.fields.get_all(NAME).filter(|before| !before.is_empty()) {
        scratch.extend_from_slice(before);
        scratch.push(b',');
    }
    scratch.extend_from_slice(element.as_bytes());
    head.fields.set(NAME, scratch);
}

/// One hop of the field: who spoke (`Hash`, `Cert`, `Subject`, `URI`, `DNS`) with whom (`By`: the URIs of the gateway's
/// own certificate).
pub(crate) fn element(peer: &Peer, own_uris: &[String]) -> String {
    let mut out = String::new();
    for uri in own_uris {
        pair(&mut out, "By", uri);
    }
    pair(&mut out, "Hash", &peer.fingerprint);
    quoted(&mut out, "Cert", &peer.pem);
    quoted(&mut out, "Subject", &peer.subject);
    // The key is there even if there is nothing to say.
    if peer.names.uris.is_empty() {
        pair(&mut out, "URI", "");
    }
    peer.names.uris.iter().for_each(|uri| pair(&mut out, "URI", uri));
    peer.names.dns.iter().for_each(|name| pair(&mut out, "DNS", name));
    out
}

fn key(out: &mut String, key: &str) {
    if !out.is_empty() {
        out.push(';');
    }
    out.push_str(key);
    out.push('=');
}

/// A value that is quoted where it could be taken for more than one. It came from a certificate: what no header field
/// may hold is left out.
fn pair(out: &mut String, name: &str, value: &str) {
    key(out, name);
    let quote = value.contains([',', ';', '"']);
    if quote {
        out.push('"');
    }
    for letter in value.chars().filter(|letter| matches!(letter, ' '..='~')) {
        if letter == '"' {
            out.push('\\');
        }
        out.push(letter);
    }
    if quote {
        out.push('"');
    }
}

/// A value that is always quoted, and already escaped.
fn quoted(out: &mut String, name: &str, value: &str) {
    key(out, name);
    out.push('"');
    out.push_str(value);
    out.push('"');
}

#[cfg(test)]
#[path = "client_cert_tests.rs"]
mod tests;
