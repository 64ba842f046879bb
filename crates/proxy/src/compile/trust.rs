//! Certificate authorities and what they revoked, from PEM: the same for clients that come in and for origins.

use rustls::RootCertStore;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, CertificateRevocationListDer};

/// The authorities in a bundle of certificates. What cannot be used among them is left out, as long as one can.
pub(super) fn authorities(pem: &str) -> Result<RootCertStore, String> {
    let certificates = CertificateDer::pem_slice_iter(pem.as_bytes())
        .collect::<Result<Vec<_>, _>>()
        .map_err(|_| "the CA is not valid PEM".to_owned())?;
    let mut roots = RootCertStore::empty();
    let (added, _) = roots.add_parsable_certificates(certificates);
    if added == 0 {
        return Err("there is no certificate of a CA in it".to_owned());
    }
    Ok(roots)
}

/// The revocation lists in a bundle of them; there must be one.
pub(super) fn revoked(pem: &str) -> Result<Vec<CertificateRevocationListDer<'static>>, String> {
    let lists = CertificateRevocationListDer::pem_slice_iter(pem.as_bytes())
        .collect::<Result<Vec<_>, _>>()
        .map_err(|_| "the revocation list is not valid PEM".to_owned())?;
    if lists.is_empty() {
        return Err("there is no revocation list where one is meant to be".to_owned());
    }
    Ok(lists)
}
