//! PEM, as far as it can be judged without cryptography.

use rustls_pki_types::pem::{PemObject, SectionKind, SliceIter};
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use thiserror::Error;

/// What is wrong with a text that should be PEM. Never repeats any of it.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum PemError {
    /// It has a BEGIN or END line without its partner, or is not base64 between them.
    #[error("the PEM is damaged: {0}")]
    Damaged(String),
    /// It has no section of the kind that is needed.
    #[error("found no {wanted} in it{}", found.as_ref().map(|kind| format!(", but {kind}")).unwrap_or_default())]
    Missing {
        /// What is needed.
        wanted: &'static str,
        /// What is there instead.
        found: Option<&'static str>,
    },
}

/// A certificate chain and its private key, decoded from PEM. Whether they belong together is not known here.
#[derive(Debug)]
pub struct PemPair {
    /// DER of the chain, leaf first; never empty.
    pub chain: Vec<CertificateDer<'static>>,
    /// DER of the key. Its Debug shows nothing of it.
    pub key: PrivateKeyDer<'static>,
}

/// Decodes the PEM of a server's chain and key. The error names which of the two it is about.
pub fn parse_pem_pair(certificate: &[u8], private_key: &[u8]) -> Result<PemPair, (PemPart, PemError)> {
    let chain = CertificateDer::pem_slice_iter(certificate)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| (PemPart::Certificate, damaged(&error)))?;
    if chain.is_empty() {
        return Err((PemPart::Certificate, missing("certificate", certificate)));
    }
    match PrivateKeyDer::from_pem_slice(private_key) {
        Ok(key) => Ok(PemPair { chain, key }),
        Err(rustls_pki_types::pem::Error::NoItemsFound) => {
            Err((PemPart::PrivateKey, missing("private key", private_key)))
        }
        Err(error) => Err((PemPart::PrivateKey, damaged(&error))),
    }
}

/// Which half of a pair.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PemPart {
    /// The chain.
    Certificate,
    /// The key.
    PrivateKey,
}

/// Does the text hold at least one certificate, and none that is damaged? Whether they can be used is not known here.
pub fn check_certificates(text: &[u8]) -> Result<(), PemError> {
    let mut found = false;
    for certificate in CertificateDer::pem_slice_iter(text) {
        certificate.map_err(|error| damaged(&error))?;
        found = true;
    }
    if found { Ok(()) } else { Err(missing("certificate", text)) }
}

/// Is the text made of whole PEM sections, at least one?
pub fn check_pem(text: &[u8]) -> Result<(), PemError> {
    let mut sections = 0_usize;
    for section in SliceIter::<(SectionKind, Vec<u8>)>::new(text) {
        section.map_err(|error| damaged(&error))?;
        sections += 1;
    }
    if sections == 0 { Err(PemError::Missing { wanted: "PEM section", found: None }) } else { Ok(()) }
}

fn missing(wanted: &'static str, text: &[u8]) -> PemError {
    let first = SliceIter::<(SectionKind, Vec<u8>)>::new(text).find_map(Result::ok);
    PemError::Missing { wanted, found: first.map(|(kind, _)| kind_name(kind)) }
}

fn kind_name(kind: SectionKind) -> &'static str {
    match kind {
        SectionKind::Certificate => "a certificate",
        SectionKind::PublicKey => "a public key",
        SectionKind::RsaPrivateKey | SectionKind::PrivateKey | SectionKind::EcPrivateKey => "a private key",
        SectionKind::Crl => "a revocation list",
        SectionKind::Csr => "a certificate request",
        _ => "another PEM section",
    }
}

/// The error in words, without the bytes that the library's errors carry.
fn damaged(error: &rustls_pki_types::pem::Error) -> PemError {
    use rustls_pki_types::pem::Error;
    PemError::Damaged(match error {
        Error::MissingSectionEnd { .. } => "an END line is missing".to_owned(),
        Error::IllegalSectionStart { .. } => "a BEGIN line is malformed".to_owned(),
        Error::Base64Decode(_) => "a section is not base64".to_owned(),
        Error::NoItemsFound => "it has no section".to_owned(),
        _ => "it cannot be read".to_owned(),
    })
}
