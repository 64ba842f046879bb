//! An authority, the certificates that are served in turn, and clients that trust them.

use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::client::Resumption;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};
use tokio_rustls::TlsConnector;

use crate::work::{FLIP, Tls, guarded};

/// A certificate with its key as PEM, and as it is seen in a handshake.
pub(crate) struct Pair {
    pub(crate) certificate: String,
    pub(crate) key: String,
    pub(crate) der: CertificateDer<'static>,
}

/// So many certificates for the same names, and clients that trust them.
pub(crate) fn issue(count: usize) -> Result<(Vec<Pair>, Tls), String> {
    let say = |error: rcgen::Error| error.to_string();
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = CertifiedIssuer::self_signed(params, KeyPair::generate().map_err(say)?).map_err(say)?;
    let mut pairs = Vec::new();
    for _ in 0..count {
        let key = KeyPair::generate().map_err(say)?;
        let params = CertificateParams::new(vec!["*.example.com".to_owned()]).map_err(say)?;
        let certificate = params.signed_by(&key, &authority).map_err(say)?;
        let der = CertificateDer::from_pem_slice(certificate.pem().as_bytes()).map_err(|e| e.to_string())?;
        pairs.push(Pair { certificate: certificate.pem(), key: key.serialize_pem(), der });
    }
    let mut roots = RootCertStore::empty();
    roots.add(authority.der().clone()).map_err(|error| error.to_string())?;
    let client = |alpn: &[u8], again: bool| {
        let mut config = ClientConfig::builder().with_root_certificates(roots.clone()).with_no_client_auth();
        config.alpn_protocols = vec![alpn.to_vec()];
        if !again {
            config.resumption = Resumption::disabled();
        }
        Arc::new(config)
    };
    let tls =
        Tls { h1: client(b"http/1.1", true), h2: client(b"h2", true), anew: client(b"http/1.1", false) };
    Ok((pairs, tls))
}

/// The certificate that is served now.
pub(crate) async fn served(tls: &Tls, to: std::net::SocketAddr) -> Result<CertificateDer<'static>, String> {
    guarded("a handshake", async {
        let stream = tokio::net::TcpStream::connect(to).await.map_err(|error| error.to_string())?;
        let name = FLIP.try_into().map_err(|_| "no name".to_owned())?;
        let stream = TlsConnector::from(tls.anew.clone()).connect(name, stream).await;
        let stream = stream.map_err(|error| format!("handshake: {error}"))?;
        let chain = stream.get_ref().1.peer_certificates().unwrap_or_default();
        Ok(chain.first().ok_or("no certificate")?.clone().into_owned())
    })
    .await
}
