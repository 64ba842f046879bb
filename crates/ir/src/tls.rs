//! TLS intent: what a server offers, certificates by id, keys that cannot be shown.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use serde::{Serialize, Serializer};
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use crate::origin::Origin;

/// How a TLS chain does its handshake.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize)]
pub struct ServerTls {
    /// Certificates in order of preference; one that is missing from the IR is skipped, and a chain left with none
    /// resets handshakes.
    pub certificates: Vec<CertificateId>,
    /// Lowest version.
    pub min_version: TlsVersion,
    /// Highest version.
    pub max_version: TlsVersion,
    /// Suites for TLS 1.2 by OpenSSL name, in order; empty: all that are offered by default.
    pub cipher_suites: Vec<String>,
    /// Groups of the key exchange, in order of preference; empty: all that are offered by default.
    pub curves: Vec<Curve>,
    /// ALPN protocols in order of preference. A client that asks for others only gets none, and is served.
    pub alpn: Vec<String>,
    /// What is asked of clients; `None`: no certificate is asked for.
    pub clients: Option<ClientPolicy>,
}

/// Which clients a chain lets in by their certificates.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize)]
pub struct ClientPolicy {
    /// Who is refused.
    pub demand: Demand,
    /// Who signs certificates of clients, and what is revoked. While the IR has none of that id every handshake is
    /// reset.
    pub authorities: CertificateId,
    /// Names (DNS, URI, IP address, email) of which the certificate must carry one exactly; empty: any will do.
    pub subject_alt_names: Vec<String>,
    /// Certificates and public keys of which the client's must be one; both empty: any will do.
    pub pinned: Pinned,
}

impl ClientPolicy {
    /// The policy of a chain that serves nobody: nothing in an IR has that id.
    pub fn nobody() -> ClientPolicy {
        ClientPolicy {
            demand: Demand::Valid,
            authorities: CertificateId("invalid://".to_owned()),
            subject_alt_names: Vec::new(),
            pinned: Pinned::default(),
        }
    }
}

/// What is demanded of clients that are asked for a certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Demand {
    /// One that holds.
    Valid,
    /// None, or one that holds.
    ValidOrNone,
    /// Nothing: one that does not hold counts as none.
    Nothing,
}

/// Certificates that are named one by one.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Serialize)]
pub struct Pinned {
    /// Of the DER of the public key with its algorithm (`SubjectPublicKeyInfo`).
    pub public_keys: Vec<Fingerprint>,
    /// Of the DER of the certificate.
    pub certificates: Vec<Fingerprint>,
}

impl Pinned {
    /// Is none named?
    pub fn is_empty(&self) -> bool {
        self.public_keys.is_empty() && self.certificates.is_empty()
    }
}

/// A SHA-256; shown in hexadecimal.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Fingerprint(pub [u8; 32]);

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for Fingerprint {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}

/// How a cluster's endpoints are spoken to in TLS.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ClientTls {
    /// The server name that is sent; `None`: the host of the request, without its port.
    pub sni: Option<String>,
    /// What is asked of the server's certificate; `None`: what it would take is missing, so no connection is made.
    pub trust: Option<Trust>,
    /// The gateway's own certificate; `None`: none is offered.
    pub identity: Option<Arc<Certificate>>,
    /// Between workloads of a mesh, where protocols go by names of their own; `None`: of another kind.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mesh: Option<MeshTls>,
}

/// Whom the TLS of a mesh is spoken with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum MeshTls {
    /// Every endpoint.
    Every,
    /// Endpoints that say they speak it; the others get clear text (Istio's automatic mutual TLS).
    Speakers,
}

/// Which servers are trusted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Trust {
    /// Any.
    Everybody,
    /// Those that authorities vouch for.
    Authorities {
        /// PEM of their certificates.
        authorities: Bundle,
        /// PEM of their revocation lists. If there are any, a certificate of which they say nothing is refused.
        revoked: Option<Bundle>,
        /// Which name the certificate must carry.
        names: TrustedNames,
    },
}

/// Names that a server's certificate must carry.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum TrustedNames {
    /// None in particular.
    Any,
    /// The server name that is sent.
    ServerName,
    /// One of these, exactly (DNS, URI, IP address).
    Listed(Vec<String>),
}

/// Certificates or revocation lists in PEM, shared; shown and compared by their SHA-256.
#[derive(Clone)]
pub struct Bundle {
    pem: Arc<str>,
    digest: [u8; 32],
}

impl Bundle {
    /// Takes the PEM text over.
    pub fn new(pem: Arc<str>) -> Bundle {
        let digest = Sha256::digest(pem.as_bytes()).into();
        Bundle { pem, digest }
    }

    /// The text.
    pub fn pem(&self) -> &str {
        &self.pem
    }
}

impl fmt::Debug for Bundle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("sha256:")?;
        self.digest.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl Serialize for Bundle {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(&format_args!("{self:?}"))
    }
}

impl PartialEq for Bundle {
    fn eq(&self, other: &Bundle) -> bool {
        self.digest == other.digest
    }
}

impl Eq for Bundle {}

/// Versions that can be offered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub enum TlsVersion {
    /// TLS 1.2.
    #[serde(rename = "1.2")]
    V1_2,
    /// TLS 1.3.
    #[serde(rename = "1.3")]
    V1_3,
}

/// Groups of the key exchange that can be offered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
pub enum Curve {
    /// X25519 together with ML-KEM-768.
    #[serde(rename = "X25519MLKEM768")]
    X25519MlKem768,
    /// X25519.
    #[serde(rename = "X25519")]
    X25519,
    /// NIST P-256.
    #[serde(rename = "P-256")]
    P256,
    /// NIST P-384.
    #[serde(rename = "P-384")]
    P384,
}

/// Names a certificate as istioctl does: `kubernetes://<secret>` or `file-cert:<cert>~<key>`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct CertificateId(pub String);

impl fmt::Display for CertificateId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A certificate chain with its private key. Whether the two belong together is seen when `proxy` compiles it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Certificate {
    /// Its id.
    pub id: CertificateId,
    /// PEM of the chain, leaf first.
    pub chain_pem: String,
    /// The key.
    pub key: PrivateKey,
    /// What its issuer says of its validity, for clients that ask.
    pub staple: Option<Staple>,
    /// The Secret or file.
    pub origin: Origin,
}

/// An OCSP response in DER, not looked into.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Staple(pub Vec<u8>);

impl Serialize for Staple {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(&format_args!("{} bytes", self.0.len()))
    }
}

/// Certificate authorities that are trusted to vouch for a peer. Whether they can be read is seen when `proxy` compiles
/// them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Authorities {
    /// Its id: `kubernetes://<secret>`, `configmap://<namespace>/<name>` or `file-root:<path>`.
    pub id: CertificateId,
    /// PEM of their certificates.
    pub pem: String,
    /// PEM of their revocation lists. If it is there, a certificate of which it says nothing is refused.
    pub crl_pem: Option<String>,
    /// The Secret, ConfigMap or file.
    pub origin: Origin,
}

/// A private key in PEM. It is wiped when dropped; Debug, Serialize, Eq and Hash use its SHA-256 only.
#[derive(Clone)]
pub struct PrivateKey {
    pem: Arc<Zeroizing<Vec<u8>>>,
    digest: [u8; 32],
}

impl PrivateKey {
    /// Takes the PEM text over.
    pub fn from_pem(pem: Vec<u8>) -> PrivateKey {
        let digest = Sha256::digest(&pem).into();
        PrivateKey { pem: Arc::new(Zeroizing::new(pem)), digest }
    }

    /// The key material. Only for building a signing key.
    pub fn expose_pem(&self) -> &[u8] {
        &self.pem
    }
}

impl fmt::Display for PrivateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("sha256:")?;
        self.digest.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for PrivateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for PrivateKey {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}

impl PartialEq for PrivateKey {
    fn eq(&self, other: &PrivateKey) -> bool {
        self.digest == other.digest
    }
}

impl Eq for PrivateKey {}

impl Hash for PrivateKey {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.digest.hash(state);
    }
}
