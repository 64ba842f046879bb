//! The demo's certificate, made when it starts and gone when it ends.

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose};

/// A server certificate and the authority that signed it, in PEM.
pub(crate) struct Certificate {
    /// The authority's certificate, for `curl --cacert`.
    pub(crate) authority: String,
    /// The server's certificate.
    pub(crate) chain: String,
    /// The server's private key.
    pub(crate) key: String,
}

impl Certificate {
    /// Makes a certificate for `host`.
    pub(crate) fn make(host: &str) -> Result<Certificate, rcgen::Error> {
        let mut authority = CertificateParams::new(Vec::new())?;
        authority.distinguished_name.push(DnType::CommonName, "limen demo");
        authority.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        authority.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::DigitalSignature];
        let authority_key = KeyPair::generate()?;
        let signed_authority = authority.self_signed(&authority_key)?;
        let issuer = Issuer::new(authority, authority_key);

        let mut server = CertificateParams::new(vec![host.to_owned()])?;
        server.distinguished_name.push(DnType::CommonName, host);
        server.use_authority_key_identifier_extension = true;
        let key = KeyPair::generate()?;
        let certificate = server.signed_by(&key, &issuer)?;
        Ok(Certificate {
            authority: signed_authority.pem(),
            chain: certificate.pem(),
            key: key.serialize_pem(),
        })
    }
}
