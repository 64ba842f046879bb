//! What the certificate of a peer says, in the words of access logs and of `x-forwarded-client-cert`.

use std::fmt::Write;
use std::net::IpAddr;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use sha1::Sha1;
use sha2::{Digest, Sha256};
use x509_parser::extensions::{GeneralName, ParsedExtension};
use x509_parser::prelude::{AttributeTypeAndValue, FromDer, X509Certificate, X509Name};

/// A certificate that a peer has shown.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Peer {
    /// As RFC 2253 writes it.
    pub subject: String,
    /// As RFC 2253 writes it.
    pub issuer: String,
    /// In hexadecimal.
    pub serial: String,
    /// SHA-256 of the DER, in hexadecimal.
    pub fingerprint: String,
    /// SHA-1 of the DER, in hexadecimal.
    pub short_fingerprint: String,
    /// PEM, made fit for a URL as Envoy does it.
    pub pem: String,
    /// Seconds since the Unix epoch.
    pub not_before: i64,
    /// Seconds since the Unix epoch.
    pub not_after: i64,
    /// Its names.
    pub names: AltNames,
    joined: [String; 4],
}

/// What access logs can say of a peer's certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PeerPart {
    /// The subject.
    Subject,
    /// The issuer.
    Issuer,
    /// The serial number.
    Serial,
    /// The SHA-256 of the DER.
    Fingerprint,
    /// The SHA-1 of the DER.
    ShortFingerprint,
    /// The PEM.
    Pem,
    /// URIs, with commas between them.
    Uris,
    /// Host names, with commas between them.
    Dns,
    /// Addresses, with commas between them.
    Ips,
    /// Mail addresses, with commas between them.
    Emails,
}

impl Peer {
    /// What a certificate in DER says; `None`: it cannot be read.
    pub fn read(der: &[u8]) -> Option<Peer> {
        let (_, certificate) = X509Certificate::from_der(der).ok()?;
        let serial = certificate.raw_serial();
        let names = alt_names(&certificate);
        let joined = [&names.uris, &names.dns, &names.ips, &names.emails].map(|names| names.join(","));
        let significant = serial.iter().position(|byte| *byte != 0).unwrap_or(serial.len());
        Some(Peer {
            subject: name(certificate.subject()),
            issuer: name(certificate.issuer()),
            serial: hex(serial.get(significant..).unwrap_or_default()),
            fingerprint: hex(&Sha256::digest(der)),
            short_fingerprint: hex(&Sha1::digest(der)),
            pem: url_pem(der),
            not_before: certificate.validity().not_before.timestamp(),
            not_after: certificate.validity().not_after.timestamp(),
            names,
            joined,
        })
    }

    /// What a certificate says who it is for, in one word: its first URI, else name of a host.
    pub fn principal(&self) -> &str {
        self.names.uris.first().or_else(|| self.names.dns.first()).map_or("", |name| name)
    }

    /// A part, as access logs show it; empty: there is none.
    pub fn part(&self, part: PeerPart) -> &str {
        let [uris, dns, ips, emails] = &self.joined;
        match part {
            PeerPart::Subject => &self.subject,
            PeerPart::Issuer => &self.issuer,
            PeerPart::Serial => &self.serial,
            PeerPart::Fingerprint => &self.fingerprint,
            PeerPart::ShortFingerprint => &self.short_fingerprint,
            PeerPart::Pem => &self.pem,
            PeerPart::Uris => uris,
            PeerPart::Dns => dns,
            PeerPart::Ips => ips,
            PeerPart::Emails => emails,
        }
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// PEM in which what means something in URLs or header fields is escaped.
fn url_pem(der: &[u8]) -> String {
    let mut out = String::from("-----BEGIN%20CERTIFICATE-----%0A");
    let text = STANDARD.encode(der);
    for (index, letter) in text.chars().enumerate() {
        if index > 0 && index % 64 == 0 {
            out.push_str("%0A");
        }
        match letter {
            '+' => out.push_str("%2B"),
            '/' => out.push_str("%2F"),
            '=' => out.push_str("%3D"),
            plain => out.push(plain),
        }
    }
    out.push_str("%0A-----END%20CERTIFICATE-----%0A");
    out
}

/// A distinguished name as RFC 2253 writes it: the most specific part first.
fn name(name: &X509Name<'_>) -> String {
    let mut out = String::new();
    let parts: Vec<_> = name.iter().collect();
    for (index, part) in parts.iter().rev().enumerate() {
        if index > 0 {
            out.push(',');
        }
        for (index, attribute) in part.iter().enumerate() {
            if index > 0 {
                out.push('+');
            }
            push_attribute(attribute, &mut out);
        }
    }
    out
}

fn push_attribute(attribute: &AttributeTypeAndValue<'_>, out: &mut String) {
    let oid = attribute.attr_type().to_id_string();
    let known = SHORT_NAMES.iter().find(|(known, _)| *known == oid).map(|(_, short)| *short);
    match (known, attribute.as_str()) {
        (Some(short), Ok(text)) => {
            out.push_str(short);
            out.push('=');
            push_escaped(text, out);
        }
        (known, _) => {
            let _ =
                write!(out, "{}=#{}", known.unwrap_or(&oid), hex(attribute.attr_value().data).to_uppercase());
        }
    }
}

/// What OpenSSL calls the attributes of names.
const SHORT_NAMES: &[(&str, &str)] = &[
    ("2.5.4.3", "CN"),
    ("2.5.4.4", "SN"),
    ("2.5.4.5", "serialNumber"),
    ("2.5.4.6", "C"),
    ("2.5.4.7", "L"),
    ("2.5.4.8", "ST"),
    ("2.5.4.9", "street"),
    ("2.5.4.10", "O"),
    ("2.5.4.11", "OU"),
    ("2.5.4.12", "title"),
    ("2.5.4.42", "GN"),
    ("2.5.4.43", "initials"),
    ("2.5.4.46", "dnQualifier"),
    ("0.9.2342.19200300.100.1.1", "UID"),
    ("0.9.2342.19200300.100.1.25", "DC"),
    ("1.2.840.113549.1.9.1", "emailAddress"),
];

/// RFC 2253 2.4; what is not printable ASCII becomes `\XX` for each byte.
fn push_escaped(text: &str, out: &mut String) {
    let last = text.len().saturating_sub(1);
    for (index, byte) in text.bytes().enumerate() {
        let at_edge = (byte == b' ' && (index == 0 || index == last)) || (byte == b'#' && index == 0);
        match byte {
            b',' | b'+' | b'"' | b'\\' | b'<' | b'>' | b';' => out.extend(['\\', char::from(byte)]),
            _ if at_edge => out.extend(['\\', char::from(byte)]),
            b' '..=b'~' => out.push(char::from(byte)),
            _ => {
                let _ = write!(out, "\\{byte:02X}");
            }
        }
    }
}

/// The names that a certificate is for, in its order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AltNames {
    /// Host names.
    pub dns: Vec<String>,
    /// URIs, such as SPIFFE ids.
    pub uris: Vec<String>,
    /// Addresses, as text.
    pub ips: Vec<String>,
    /// Mail addresses.
    pub emails: Vec<String>,
}

impl AltNames {
    /// Is this text one of them? Host names have no case; everything else must be the same to the letter.
    pub fn has(&self, name: &str) -> bool {
        self.dns.iter().any(|own| own.eq_ignore_ascii_case(name))
            || self.uris.iter().any(|own| own == name)
            || self.emails.iter().any(|own| own == name)
            || name.parse::<IpAddr>().is_ok_and(|ip| self.ips.iter().any(|own| *own == ip.to_string()))
    }
}

/// The names of a certificate in DER; `None`: it cannot be read.
pub fn subject_alt_names(der: &[u8]) -> Option<AltNames> {
    let (_, certificate) = X509Certificate::from_der(der).ok()?;
    Some(alt_names(&certificate))
}

fn alt_names(certificate: &X509Certificate<'_>) -> AltNames {
    let mut names = AltNames::default();
    for extension in certificate.extensions() {
        let ParsedExtension::SubjectAlternativeName(extension) = extension.parsed_extension() else {
            continue;
        };
        for name in &extension.general_names {
            match name {
                GeneralName::DNSName(name) => names.dns.push((*name).to_owned()),
                GeneralName::URI(name) => names.uris.push((*name).to_owned()),
                GeneralName::RFC822Name(name) => names.emails.push((*name).to_owned()),
                GeneralName::IPAddress(bytes) => names.ips.extend(ip(bytes).map(|ip| ip.to_string())),
                _ => {}
            }
        }
    }
    names
}

fn ip(bytes: &[u8]) -> Option<IpAddr> {
    <[u8; 4]>::try_from(bytes)
        .map(IpAddr::from)
        .or_else(|_| <[u8; 16]>::try_from(bytes).map(IpAddr::from))
        .ok()
}

#[cfg(test)]
#[path = "peer_tests.rs"]
mod tests;
