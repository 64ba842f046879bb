//! Which certificates a Gateway server asks of its clients.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use limen_ir::tls::{Fingerprint, Pinned};
use limen_resources::istio::{ServerTls, TlsMode};

use super::server_tls::BUILTIN;
use crate::messages::{At, gateway as messages};
use crate::report::Report;

/// What is asked of clients, with authorities that are not looked up yet.
#[derive(Debug)]
pub(crate) struct ClientPlan {
    pub(crate) required: bool,
    pub(crate) authority: AuthorityRef,
    pub(crate) subject_alt_names: Vec<String>,
    pub(crate) pinned: Pinned,
}

/// Authorities that a server names.
#[derive(Debug)]
pub(crate) struct AuthorityRef {
    pub(crate) authority: Authority,
    pub(crate) field: String,
    /// A revocation list in a file, and the field that names it.
    pub(crate) crl: Option<(String, String)>,
}

/// Where authorities come from.
#[derive(Debug)]
pub(crate) enum Authority {
    /// The reference to the certificate: they stand beside it.
    BesideCertificate(String),
    /// A reference of their own.
    Named(String),
    /// A path.
    File(String),
    /// The CAs of the mesh.
    Mesh,
}

/// What `tls` asks of clients; `Ok(None)`: nothing. `Err`: it cannot be read, so nobody may come in.
pub(crate) fn plan(
    at: At<'_>,
    field: &str,
    tls: &ServerTls,
    report: &mut Report,
) -> Result<Option<ClientPlan>, ()> {
    let part = |part: &str| format!("{field}.{part}");
    let from_secret = !tls.credential_name.is_empty() || !tls.credential_names.is_empty();
    let no_effect = |name: &str, message: &str, mend: &str, report: &mut Report| {
        report.problem(messages::no_effect(at.field(&part(name)), message, mend));
    };
    if tls.mode == TlsMode::Simple {
        for (name, _) in client_fields(tls).into_iter().filter(|(_, written)| *written) {
            if name == "subjectAltNames" && from_secret {
                // Envoy refuses the whole listener that Istio makes of it.
                let why = "mode SIMPLE asks for no client certificate that could carry a name";
                let mend = "write mode: MUTUAL, or remove subjectAltNames";
                report.problem(messages::client_policy(at.field(&part(name)), why, mend));
                return Err(());
            }
            let message = "mode SIMPLE asks for no client certificate, so the field has no effect";
            no_effect(name, message, "write mode: MUTUAL, or remove it", report);
        }
        return Ok(None);
    }
    if tls.insecure_skip_verify {
        let message = "certificates of clients are verified all the same";
        no_effect("insecureSkipVerify", message, "remove it", report);
    }
    let authority = authority(tls);
    if from_secret && !tls.ca_certificates.is_empty() {
        let message = "the CA comes from the credential, so the path has no effect";
        no_effect("caCertificates", message, "remove it, or write caCertCredentialName", report);
    }
    let Some((authority, name)) = authority else {
        let mend = "write credentialName, caCertCredentialName or caCertificates";
        report.problem(messages::client_policy(at.field(field), "no CA of clients is named", mend));
        return Err(());
    };
    let crl = (!tls.ca_crl.is_empty()).then(|| (tls.ca_crl.clone(), part("caCrl")));
    Ok(Some(ClientPlan {
        required: tls.mode == TlsMode::Mutual,
        authority: AuthorityRef { authority, field: part(name), crl },
        subject_alt_names: tls.subject_alt_names.clone(),
        pinned: pinned(at, field, tls, report)?,
    }))
}

/// Everybody shows an identity of the mesh.
pub(crate) fn mesh(field: &str, tls: &ServerTls) -> ClientPlan {
    let part = |part: &str| format!("{field}.{part}");
    let crl = (!tls.ca_crl.is_empty()).then(|| (tls.ca_crl.clone(), part("caCrl")));
    ClientPlan {
        required: true,
        authority: AuthorityRef { authority: Authority::Mesh, field: part("mode"), crl },
        subject_alt_names: tls.subject_alt_names.clone(),
        pinned: Pinned::default(),
    }
}

/// The fields that say something about clients, and whether they are written.
fn client_fields(tls: &ServerTls) -> [(&'static str, bool); 6] {
    [
        ("subjectAltNames", !tls.subject_alt_names.is_empty()),
        ("verifyCertificateSpki", !tls.verify_certificate_spki.is_empty()),
        ("verifyCertificateHash", !tls.verify_certificate_hash.is_empty()),
        ("caCertCredentialName", !tls.ca_cert_credential_name.is_empty()),
        ("caCrl", !tls.ca_crl.is_empty()),
        ("insecureSkipVerify", tls.insecure_skip_verify),
    ]
}

/// Where the authorities come from, and the field that says so.
fn authority(tls: &ServerTls) -> Option<(Authority, &'static str)> {
    let first = tls.credential_names.first();
    let beside = |written: &String| match &**written {
        BUILTIN => Authority::Mesh,
        written => Authority::BesideCertificate(written.to_owned()),
    };
    Some(if !tls.ca_cert_credential_name.is_empty() {
        (Authority::Named(tls.ca_cert_credential_name.clone()), "caCertCredentialName")
    } else if !tls.credential_name.is_empty() {
        (beside(&tls.credential_name), "credentialName")
    } else if let Some(first) = first {
        (beside(first), "credentialNames[0]")
    } else if !tls.ca_certificates.is_empty() {
        (Authority::File(tls.ca_certificates.clone()), "caCertificates")
    } else {
        return None;
    })
}

fn pinned(at: At<'_>, field: &str, tls: &ServerTls, report: &mut Report) -> Result<Pinned, ()> {
    let mut read = |name: &str, written: &[String], parse: fn(&str) -> Option<[u8; 32]>, form: &str| {
        let mut fingerprints = Vec::new();
        for (index, text) in written.iter().enumerate() {
            let Some(digest) = parse(text) else {
                let why = format!("{text:?} is no SHA-256");
                let place = format!("{field}.{name}[{index}]");
                report.problem(messages::client_policy(at.field(&place), &why, form));
                return Err(());
            };
            fingerprints.push(Fingerprint(digest));
        }
        Ok(fingerprints)
    };
    let (keys, certificates) = (&tls.verify_certificate_spki, &tls.verify_certificate_hash);
    Ok(Pinned {
        public_keys: read("verifyCertificateSpki", keys, base64_digest, "write 44 characters of base64")?,
        certificates: read(
            "verifyCertificateHash",
            certificates,
            hex_digest,
            "write 64 hexadecimal digits; colons may stand between them",
        )?,
    })
}

fn base64_digest(text: &str) -> Option<[u8; 32]> {
    STANDARD.decode(text).ok()?.try_into().ok()
}

/// As OpenSSL prints it, with colons, or without.
fn hex_digest(text: &str) -> Option<[u8; 32]> {
    let digits: Vec<u8> = text.bytes().filter(|byte| *byte != b':').collect();
    let mut digest = [0; 32];
    if digits.len() != 2 * digest.len() {
        return None;
    }
    for (byte, pair) in digest.iter_mut().zip(digits.chunks(2)) {
        let pair = std::str::from_utf8(pair).ok().filter(|pair| !pair.starts_with('+'))?;
        *byte = u8::from_str_radix(pair, 16).ok()?;
    }
    Some(digest)
}
