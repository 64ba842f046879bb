//! A certificate authority of the test's own, and clients that trust only it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, CertifiedIssuer, DistinguishedName,
    DnType, ExtendedKeyUsagePurpose, IsCa, KeyIdMethod, KeyPair, PKCS_RSA_SHA256, PublicKeyData,
    RevokedCertParams, SanType, SerialNumber, date_time_ymd,
};
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::server::WebPkiClientVerifier;
use rustls::{ClientConfig, RootCertStore, ServerConfig, SupportedProtocolVersion};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// Serial numbers of clients' certificates.
static SERIAL: AtomicU64 = AtomicU64::new(1000);

/// A certificate authority that lives as long as a test.
pub struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
}

/// A certificate with its key, both as PEM.
#[derive(Debug, Clone)]
pub struct Pair {
    /// The certificate.
    pub certificate: String,
    /// The private key.
    pub key: String,
}

impl Pair {
    /// DER of the certificate.
    pub fn der(&self) -> CertificateDer<'static> {
        CertificateDer::from_pem_slice(self.certificate.as_bytes()).unwrap()
    }
}

/// A client's certificate.
pub struct Issued {
    /// It and its key.
    pub pair: Pair,
    /// DER of the certificate.
    pub der: Vec<u8>,
    /// DER of its public key.
    pub public_key: Vec<u8>,
    /// Its serial number.
    pub serial: u64,
}

impl Default for Authority {
    fn default() -> Authority {
        Authority::new()
    }
}

impl Authority {
    /// Makes a new one.
    pub fn new() -> Authority {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, "limen test authority");
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        Authority { issuer }
    }

    /// Issues a certificate for DNS names; the first is its common name.
    pub fn issue(&self, names: &[&str]) -> Pair {
        self.issue_for(names, KeyPair::generate().unwrap(), |_| ())
    }

    /// The same with an RSA key.
    pub fn issue_rsa(&self, names: &[&str]) -> Pair {
        self.issue_for(names, KeyPair::generate_for(&PKCS_RSA_SHA256).unwrap(), |_| ())
    }

    /// The same, but it ended long ago.
    pub fn issue_expired(&self, names: &[&str]) -> Pair {
        self.issue_for(names, KeyPair::generate().unwrap(), |params| {
            params.not_before = date_time_ymd(2001, 1, 1);
            params.not_after = date_time_ymd(2002, 1, 1);
        })
    }

    fn issue_for(&self, names: &[&str], key: KeyPair, change: impl FnOnce(&mut CertificateParams)) -> Pair {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut params = CertificateParams::new(names.clone()).unwrap();
        change(&mut params);
        params.distinguished_name.push(DnType::CommonName, names[0].clone());
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        Pair { certificate: certificate.pem(), key: key.serialize_pem() }
    }

    /// A server with a certificate for DNS names, which takes any protocol.
    pub fn server(&self, names: &[&str]) -> Arc<ServerConfig> {
        Arc::new(self.serving(names, ServerConfig::builder().with_no_client_auth()))
    }

    /// An HTTP server, which speaks HTTP/2 to those who ask for it; `clients`: only those with a certificate may come in.
    pub fn http_server(&self, names: &[&str], clients: bool) -> Arc<ServerConfig> {
        let builder = ServerConfig::builder();
        let mut config = if clients {
            let verifier = WebPkiClientVerifier::builder(Arc::new(self.roots())).build().unwrap();
            self.serving(names, builder.with_client_cert_verifier(verifier))
        } else {
            self.serving(names, builder.with_no_client_auth())
        };
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Arc::new(config)
    }

    fn serving(
        &self,
        names: &[&str],
        builder: rustls::ConfigBuilder<ServerConfig, rustls::server::WantsServerCert>,
    ) -> ServerConfig {
        let pair = self.issue(names);
        let certificate = CertificateDer::from_pem_slice(pair.certificate.as_bytes()).unwrap();
        let key = PrivateKeyDer::from_pem_slice(pair.key.as_bytes()).unwrap();
        builder.with_single_cert(vec![certificate], key).unwrap()
    }

    fn roots(&self) -> RootCertStore {
        let mut roots = RootCertStore::empty();
        roots.add(self.issuer.der().clone()).unwrap();
        roots
    }

    /// Issues a certificate for a client: its common name, and names of any kind, as they look.
    pub fn issue_client(&self, common_name: &str, names: &[String]) -> Issued {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::default();
        let serial = SERIAL.fetch_add(1, Ordering::Relaxed);
        params.serial_number = Some(SerialNumber::from(serial));
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::OrganizationName, "Limen, tests");
        params.distinguished_name.push(DnType::CommonName, common_name);
        params.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ClientAuth, ExtendedKeyUsagePurpose::ServerAuth];
        params.subject_alt_names = names.iter().map(|name| kind_of_name(name)).collect();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        Issued {
            pair: Pair { certificate: certificate.pem(), key: key.serialize_pem() },
            der: certificate.der().to_vec(),
            public_key: key.subject_public_key_info(),
            serial,
        }
    }

    /// PEM of its own certificate.
    pub fn certificate(&self) -> String {
        self.issuer.pem()
    }

    /// PEM of a revocation list with these serial numbers.
    pub fn revoke(&self, serials: &[u64]) -> String {
        let revoked = |serial: &u64| RevokedCertParams {
            serial_number: SerialNumber::from(*serial),
            revocation_time: date_time_ymd(2024, 1, 1),
            reason_code: None,
            invalidity_date: None,
        };
        let list = CertificateRevocationListParams {
            this_update: date_time_ymd(2024, 1, 1),
            next_update: date_time_ymd(2100, 1, 1),
            crl_number: SerialNumber::from(1),
            issuing_distribution_point: None,
            revoked_certs: serials.iter().map(revoked).collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        list.signed_by(&self.issuer).unwrap().pem().unwrap()
    }

    /// A client that trusts this authority and offers one protocol (such as `h2`), or none at all if
    /// that is empty.
    pub fn client(&self, alpn: &str) -> Arc<ClientConfig> {
        self.client_with(None, alpn)
    }

    /// The same with algorithms of its own.
    pub fn client_of(&self, provider: CryptoProvider, alpn: &str) -> Arc<ClientConfig> {
        let mut config = self.client_offering(provider, rustls::DEFAULT_VERSIONS, None);
        config.alpn_protocols = vec![alpn.as_bytes().to_vec()];
        Arc::new(config)
    }

    /// The same with a certificate of its own.
    pub fn client_with(&self, own: Option<&Pair>, alpn: &str) -> Arc<ClientConfig> {
        let mut config = self.client_offering(aws_lc_rs::default_provider(), rustls::DEFAULT_VERSIONS, own);
        config.alpn_protocols = if alpn.is_empty() { Vec::new() } else { vec![alpn.as_bytes().to_vec()] };
        Arc::new(config)
    }

    /// A client with these algorithms and versions, perhaps with a certificate, that asks for no protocol.
    pub fn client_offering(
        &self,
        provider: CryptoProvider,
        versions: &[&'static SupportedProtocolVersion],
        own: Option<&Pair>,
    ) -> ClientConfig {
        let builder =
            ClientConfig::builder_with_provider(Arc::new(provider)).with_protocol_versions(versions);
        let builder = builder.unwrap().with_root_certificates(self.roots());
        match own {
            None => builder.with_no_client_auth(),
            Some(pair) => {
                let chain = CertificateDer::pem_slice_iter(pair.certificate.as_bytes());
                let key = PrivateKeyDer::from_pem_slice(pair.key.as_bytes()).unwrap();
                builder.with_client_auth_cert(chain.map(Result::unwrap).collect(), key).unwrap()
            }
        }
    }

    /// Connects with a server name.
    ///
    /// # Errors
    /// The handshake failed: the text of the error.
    pub async fn connect(
        &self,
        to: SocketAddr,
        name: &str,
        alpn: &str,
    ) -> Result<TlsStream<TcpStream>, String> {
        connect_with(self.client(alpn), to, name).await
    }
}

/// Connects with a server name as a client that may do so again.
///
/// # Errors
/// The handshake failed: the text of the error.
pub async fn connect_with(
    config: Arc<ClientConfig>,
    to: SocketAddr,
    name: &str,
) -> Result<TlsStream<TcpStream>, String> {
    let stream = TcpStream::connect(to).await.map_err(|error| error.to_string())?;
    handshake(config, stream, name).await
}

/// Does the handshake with a server name on a connection; an IP address is none and is not sent.
///
/// # Errors
/// The handshake failed: the text of the error.
pub async fn handshake(
    config: Arc<ClientConfig>,
    stream: TcpStream,
    name: &str,
) -> Result<TlsStream<TcpStream>, String> {
    let name = ServerName::try_from(name.to_owned()).map_err(|error| error.to_string())?;
    TlsConnector::from(config).connect(name, stream).await.map_err(|error| error.to_string())
}

fn kind_of_name(name: &str) -> SanType {
    let text = || name.try_into().unwrap();
    match name.parse() {
        Ok(ip) => SanType::IpAddress(ip),
        Err(_) if name.contains("://") => SanType::URI(text()),
        Err(_) if name.contains('@') => SanType::Rfc822Name(text()),
        Err(_) => SanType::DnsName(text()),
    }
}

/// The server's own certificate of a connection.
pub fn peer_certificate(stream: &TlsStream<TcpStream>) -> CertificateDer<'static> {
    let (_, connection) = stream.get_ref();
    connection.peer_certificates().and_then(|chain| chain.first()).unwrap().clone().into_owned()
}

/// Base64, as the `data` of a Secret wants it.
pub fn base64(bytes: impl AsRef<[u8]>) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::new();
    for group in bytes.as_ref().chunks(3) {
        let bits = group.iter().fold(0u32, |bits, b| bits << 8 | u32::from(*b)) << (8 * (3 - group.len()));
        for digit in 0..4 {
            let six = (bits >> (18 - 6 * digit)) & 63;
            out.push(if digit <= group.len() { DIGITS[six as usize] as char } else { '=' });
        }
    }
    out
}
