//! What rustls' verifiers have in common, whoever they verify: signatures of a handshake are checked as the chain that a
//! verifier wraps (`self.chain`) checks them.

/// The methods of `ClientCertVerifier` and of `ServerCertVerifier` that are about signatures.
macro_rules! signatures_as_the_chain_says {
    () => {
        fn verify_tls12_signature(
            &self,
            message: &[u8],
            cert: &rustls_pki_types::CertificateDer<'_>,
            dss: &rustls::DigitallySignedStruct,
        ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
            self.chain.verify_tls12_signature(message, cert, dss)
        }

        fn verify_tls13_signature(
            &self,
            message: &[u8],
            cert: &rustls_pki_types::CertificateDer<'_>,
            dss: &rustls::DigitallySignedStruct,
        ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
            self.chain.verify_tls13_signature(message, cert, dss)
        }

        fn supported_verify_schemes(&self) -> Vec<rustls::SignatureScheme> {
            self.chain.supported_verify_schemes()
        }
    };
}

pub(super) use signatures_as_the_chain_says;
