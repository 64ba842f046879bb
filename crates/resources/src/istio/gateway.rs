//! `Gateway`: which ports a gateway workload opens, for which hosts, with which TLS.

use std::collections::BTreeMap;

use crate::decode::{spec, words};

spec! {
    /// `networking.istio.io` `Gateway`.
    pub struct Gateway {
        /// Labels of the workloads that it configures; empty: all of them.
        "selector" => selector: BTreeMap<String, String>,
        /// The servers, at least one.
        "servers" => servers: Vec<Server>,
    }
}

spec! {
    /// One port with its hosts.
    pub struct Server {
        /// What is listened on.
        "port" => port: ServerPort,
        /// An IP address or a `unix://` path; empty: every address.
        "bind" => bind: String,
        /// `[namespace/]host`, at least one.
        "hosts" => hosts: Vec<String>,
        /// TLS; required for HTTPS and TLS.
        "tls" => tls: Option<ServerTls>,
        /// Not implemented in Istio either.
        "defaultEndpoint" => default_endpoint: String,
        /// A name for statistics.
        "name" => name: String,
    }
}

spec! {
    /// A declared port.
    pub struct ServerPort {
        /// 1 to 65535, or 0 with a unix bind.
        "number" => number: u16,
        /// HTTP, HTTPS, TLS, …; case does not count.
        "protocol" => protocol: String,
        /// Unique within the Gateway.
        "name" => name: String,
        /// Deprecated; refused when set.
        "targetPort" => target_port: Option<u32>,
    }
}

spec! {
    /// TLS of a server.
    pub struct ServerTls {
        /// Answer every plain request with a redirect to https.
        "httpsRedirect" => https_redirect: bool,
        /// How the handshake is done.
        "mode" => mode: TlsMode,
        /// Path of the certificate chain.
        "serverCertificate" => server_certificate: String,
        /// Path of the private key.
        "privateKey" => private_key: String,
        /// Path of the CAs for client certificates.
        "caCertificates" => ca_certificates: String,
        /// Path of a revocation list.
        "caCrl" => ca_crl: String,
        /// Reference to a Secret.
        "credentialName" => credential_name: String,
        /// One or two references.
        "credentialNames" => credential_names: Vec<String>,
        /// A Secret or ConfigMap with the client CA only.
        "caCertCredentialName" => ca_cert_credential_name: String,
        /// Up to two pairs of files.
        "tlsCertificates" => tls_certificates: Vec<TlsCertificate>,
        /// Names of which a client certificate must carry one.
        "subjectAltNames" => subject_alt_names: Vec<String>,
        /// Base64 SHA-256 of accepted public keys.
        "verifyCertificateSpki" => verify_certificate_spki: Vec<String>,
        /// Hex SHA-256 of accepted certificates.
        "verifyCertificateHash" => verify_certificate_hash: Vec<String>,
        /// Lowest version.
        "minProtocolVersion" => min_protocol_version: TlsVersion,
        /// Highest version.
        "maxProtocolVersion" => max_protocol_version: TlsVersion,
        /// OpenSSL names of suites up to TLS 1.2.
        "cipherSuites" => cipher_suites: Vec<String>,
        /// Ask for a client certificate but accept one that does not verify.
        "insecureSkipVerify" => insecure_skip_verify: bool,
        /// Key exchange groups in order.
        "ecdhCurves" => ecdh_curves: Vec<String>,
    }
}

spec! {
    /// Files of one certificate.
    pub struct TlsCertificate {
        /// Path of the chain.
        "serverCertificate" => server_certificate: String,
        /// Path of the key.
        "privateKey" => private_key: String,
        /// Ignored here, as in Istio.
        "caCertificates" => ca_certificates: String,
    }
}

words! {
    /// How a server does TLS.
    pub enum TlsMode {
        /// Handed on by SNI, undecrypted.
        Passthrough = "PASSTHROUGH",
        /// Terminated; no client certificate.
        Simple = "SIMPLE",
        /// Terminated; client certificate required.
        Mutual = "MUTUAL",
        /// Handed on by an SNI that names the service.
        AutoPassthrough = "AUTO_PASSTHROUGH",
        /// Terminated with the mesh's identity.
        IstioMutual = "ISTIO_MUTUAL",
        /// Terminated; a client certificate is verified if there is one.
        OptionalMutual = "OPTIONAL_MUTUAL",
    }
}

words! {
    /// A TLS version, or the default.
    pub enum TlsVersion {
        /// The default.
        Auto = "TLS_AUTO",
        /// TLS 1.0.
        V1_0 = "TLSV1_0",
        /// TLS 1.1.
        V1_1 = "TLSV1_1",
        /// TLS 1.2.
        V1_2 = "TLSV1_2",
        /// TLS 1.3.
        V1_3 = "TLSV1_3",
    }
}
