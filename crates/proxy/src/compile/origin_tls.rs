//! TLS towards origins: what is offered, and which certificates are good.

use std::sync::Arc;

use limen_ir::tls::{Bundle, Certificate, ClientTls, MeshTls, Trust, TrustedNames};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{ResolvesClientCert, WebPkiServerVerifier};
use rustls::crypto::CryptoProvider;
use rustls::sign::CertifiedKey;
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, Error, SignatureScheme};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};

use super::signatures::signatures_as_the_chain_says;
use super::{tls, trust};
use crate::observe::peer;
use crate::table::clusters::{Configs, OriginTls};

/// What a cluster's TLS comes to. What cannot be used leaves no configuration, so that no connection is made.
pub(super) fn compile(ir: &ClientTls) -> OriginTls {
    let ClientTls { sni, trust, identity, mesh } = ir;
    let name = sni.as_ref().map(|name| ServerName::try_from(name.clone()));
    let configs = match (trust, &name) {
        (None, _) => Err("TLS error: Secret is not supplied by SDS".to_owned()),
        (_, Some(Err(_))) => Err("TLS error: the server name is not valid".to_owned()),
        (Some(trust), _) => {
            configs(trust, identity.as_deref(), mesh.is_some()).map_err(|why| format!("TLS error: {why}"))
        }
    };
    let speakers_only = *mesh == Some(MeshTls::Speakers);
    OriginTls { name: name.and_then(Result::ok), configs: configs.map_err(Into::into), speakers_only }
}

/// `in_mesh`: protocols are offered by the names that sidecars tell the mesh's connections by, too.
fn configs(trust: &Trust, identity: Option<&Certificate>, in_mesh: bool) -> Result<Configs, String> {
    let provider = Arc::new(tls::provider());
    let verifier: Arc<dyn ServerCertVerifier> = match trust {
        Trust::Everybody => Arc::new(Everybody(provider.clone())),
        Trust::Authorities { authorities, revoked, names } => {
            let chain = chain(authorities, revoked.as_ref(), &provider)?;
            match names {
                TrustedNames::ServerName => chain,
                TrustedNames::Any => Arc::new(Named { chain, names: None }),
                TrustedNames::Listed(names) => Arc::new(Named { chain, names: Some(names.clone()) }),
            }
        }
    };
    let key = identity.map(|identity| tls::load(identity, &provider)).transpose()?;
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?
        .dangerous()
        .with_custom_certificate_verifier(verifier);
    let config = match key {
        None => builder.with_no_client_auth(),
        Some(key) => builder.with_client_cert_resolver(Arc::new(Identity(Arc::new(key)))),
    };
    let offering = |protocols: &[&str]| {
        let mut config = config.clone();
        config.alpn_protocols = protocols.iter().map(|protocol| protocol.as_bytes().to_vec()).collect();
        Arc::new(config)
    };
    Ok(if in_mesh {
        Configs {
            http1: offering(&["istio-http/1.1", "istio", "http/1.1"]),
            http2: offering(&["istio-h2", "istio", "h2"]),
            bytes: offering(&["istio"]),
        }
    } else {
        Configs { http1: offering(&[]), http2: offering(&["h2"]), bytes: offering(&[]) }
    })
}

fn chain(
    authorities: &Bundle,
    revoked: Option<&Bundle>,
    provider: &Arc<CryptoProvider>,
) -> Result<Arc<WebPkiServerVerifier>, String> {
    let roots = trust::authorities(authorities.pem())?;
    let mut builder = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider.clone());
    if let Some(revoked) = revoked {
        // As BoringSSL does: a list that has run out says nothing, and what no list covers is not trusted.
        builder = builder.with_crls(trust::revoked(revoked.pem())?).enforce_revocation_expiration();
    }
    builder.build().map_err(|error| error.to_string())
}

/// The gateway's own certificate, whichever authorities the origin names: it says what it wants where it refuses.
#[derive(Debug)]
struct Identity(Arc<CertifiedKey>);

impl ResolvesClientCert for Identity {
    fn resolve(&self, _hints: &[&[u8]], schemes: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        self.0.key.choose_scheme(schemes).map(|_| self.0.clone())
    }

    fn has_certs(&self) -> bool {
        true
    }
}

/// Trusts those whom authorities vouch for under whatever name; of `names`, if there are any, they must carry one.
#[derive(Debug)]
struct Named {
    chain: Arc<WebPkiServerVerifier>,
    names: Option<Vec<String>>,
}

impl ServerCertVerifier for Named {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        match self.chain.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now) {
            // The name is looked at last, when all else holds.
            Ok(_)
            | Err(Error::InvalidCertificate(
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
            )) => {}
            Err(error) => return Err(error),
        }
        match &self.names {
            Some(names) if !carries(end_entity, names) => {
                Err(Error::InvalidCertificate(CertificateError::NotValidForName))
            }
            _ => Ok(ServerCertVerified::assertion()),
        }
    }

    signatures_as_the_chain_says!();
}

/// Whether a certificate has one of these names, exactly.
fn carries(certificate: &CertificateDer<'_>, names: &[String]) -> bool {
    peer::subject_alt_names(certificate).is_some_and(|own| names.iter().any(|name| own.has(name)))
}

/// Trusts any certificate, as was asked for; that its holder has the key is still proven.
#[derive(Debug)]
struct Everybody(Arc<CryptoProvider>);

impl ServerCertVerifier for Everybody {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        rustls::crypto::verify_tls12_signature(message, cert, dss, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        rustls::crypto::verify_tls13_signature(message, cert, dss, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn in_the_mesh_protocols_are_offered_by_its_names_and_elsewhere_by_their_own() {
        let offered = |mesh| {
            let ir = ClientTls { sni: None, trust: Some(Trust::Everybody), identity: None, mesh };
            let Configs { http1, http2, bytes } = compile(&ir).configs.unwrap();
            [http1, http2, bytes].map(|config| {
                let names = config.alpn_protocols.iter().map(|name| String::from_utf8_lossy(name));
                names.collect::<Vec<_>>().join(",")
            })
        };
        assert_eq!(offered(None), ["", "h2", ""]);
        for mesh in [MeshTls::Every, MeshTls::Speakers] {
            assert_eq!(offered(Some(mesh)), ["istio-http/1.1,istio,http/1.1", "istio-h2,istio,h2", "istio"]);
        }
    }
}
