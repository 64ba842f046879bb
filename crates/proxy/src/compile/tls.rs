//! Certificates and handshake settings. The one place that names the crypto provider.
//!
//! Session tickets: each chain of each listener has keys of its own, kept from generation to generation as long as the
//! policy of the chain is the same, shared by all workers, rotated by rustls. A ticket is therefore refused by every
//! chain but the one (and the policy) that issued it.

use std::collections::BTreeMap;
use std::sync::Arc;

use limen_ir::listener::{Listener, TlsChain};
use limen_ir::tls::{Curve, Demand, ServerTls, Staple, TlsVersion};
use limen_ir::{Certificate, CertificateId, Ir};
use rustls::crypto::CryptoProvider;
use rustls::crypto::aws_lc_rs;
use rustls::server::{
    ClientHello, NoServerSessionStorage, ProducesTickets, ResolvesServerCert, ServerConfig,
    WebPkiClientVerifier,
};
use rustls::sign::CertifiedKey;
use rustls::version::{TLS12, TLS13};
use rustls::{NamedGroup, SupportedCipherSuite, SupportedProtocolVersion};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

use super::clients::{self, AuthorityMemo, Trusted};
use super::problem;
use crate::applied::{AppliedProblem, CERTIFICATE_REJECTED, TLS_NOT_SERVED};
use crate::observe::peer;
use crate::table::listeners::{Clients, Configs};

/// What was compiled, by certificate and by chain.
pub(crate) struct TlsMemo {
    provider: Arc<CryptoProvider>,
    certificates: BTreeMap<CertificateId, Loaded>,
    authorities: AuthorityMemo,
    chains: BTreeMap<ChainKey, CompiledChain>,
}

struct Loaded {
    source: Arc<Certificate>,
    /// The last pair that could be served, which may be older than `source`.
    good: Option<Arc<CertifiedKey>>,
    rejected: Option<String>,
}

/// Names of the listener and of the chain.
type ChainKey = (String, String);

/// How a chain does its handshake.
#[derive(Debug, Clone)]
pub(crate) struct Handshake {
    /// `None`: handshakes are reset.
    pub(crate) config: Option<Configs>,
    /// Whom it lets in.
    pub(crate) clients: Clients,
    /// URIs of the certificate.
    pub(crate) own_uris: Arc<[String]>,
}

struct CompiledChain {
    tls: ServerTls,
    keys: Vec<Arc<CertifiedKey>>,
    /// Who vouches for clients, if anybody does.
    trusted: Option<Arc<Trusted>>,
    handshake: Handshake,
    tickets: Arc<dyn ProducesTickets>,
    /// Why nothing can be offered, although all that it names is there.
    failed: Option<String>,
    used: bool,
}

impl TlsMemo {
    pub(crate) fn new() -> TlsMemo {
        TlsMemo {
            provider: Arc::new(provider()),
            certificates: BTreeMap::new(),
            authorities: AuthorityMemo::default(),
            chains: BTreeMap::new(),
        }
    }

    /// Loads the certificates and authorities of an IR. One that cannot be served leaves its last good version in place.
    pub(crate) fn certificates(&mut self, ir: &Ir, problems: &mut Vec<AppliedProblem>) {
        self.authorities.load(ir, problems);
        self.certificates.retain(|id, _| ir.certificates.contains_key(id));
        for (id, certificate) in &ir.certificates {
            let known = self.certificates.get(id);
            if !known.is_some_and(|loaded| {
                Arc::ptr_eq(&loaded.source, certificate) || loaded.source == *certificate
            }) {
                let last_good = known.and_then(|loaded| loaded.good.clone());
                let loaded = match load(certificate, &self.provider) {
                    Ok(key) => {
                        Loaded { source: certificate.clone(), good: Some(Arc::new(key)), rejected: None }
                    }
                    Err(why) => Loaded { source: certificate.clone(), good: last_good, rejected: Some(why) },
                };
                self.certificates.insert(id.clone(), loaded);
            }
            let Some(Loaded { rejected: Some(why), good, .. }) = self.certificates.get(id) else { continue };
            let still = if good.is_some() { "; the previous certificate is still served" } else { "" };
            problems.push(problem(
                CERTIFICATE_REJECTED,
                &certificate.origin,
                format!("{id} cannot be served: {why}{still}"),
                "store a certificate chain (leaf first) and the private key that belongs to its leaf",
            ));
        }
    }

    /// The handshake settings of a chain; a problem where there is nothing to offer.
    pub(crate) fn handshake(
        &mut self,
        listener: &Listener,
        chain: &TlsChain,
        problems: &mut Vec<AppliedProblem>,
    ) -> Handshake {
        let keys: Vec<_> =
            chain.tls.certificates.iter().filter_map(|id| self.certificates.get(id)?.good.clone()).collect();
        let wanted = chain.tls.clients.as_ref().map(|clients| &clients.authorities);
        let trusted = wanted.and_then(|id| self.authorities.get(id)).cloned();
        let key = (listener.name.clone(), chain.name.clone());
        // A ticket vouches for what was asked of the client when it was issued.
        let known = self.chains.remove(&key).filter(|known| {
            known.tls == chain.tls
                && known.trusted.as_ref().map(Arc::as_ptr) == trusted.as_ref().map(Arc::as_ptr)
        });
        let same_keys = |known: &CompiledChain| {
            known.keys.len() == keys.len() && known.keys.iter().zip(&keys).all(|(a, b)| Arc::ptr_eq(a, b))
        };
        let compiled = match known {
            Some(known) if same_keys(&known) => CompiledChain { used: true, ..known },
            known => {
                let tickets = match known {
                    Some(known) => known.tickets,
                    None => match aws_lc_rs::Ticketer::new() {
                        Ok(tickets) => tickets,
                        Err(_) => Arc::new(NoTickets),
                    },
                };
                let built = build(&chain.tls, &keys, (trusted.as_deref(), &tickets), &self.provider);
                let (handshake, failed) = match built {
                    Ok(handshake) => (handshake, None),
                    Err(why) => {
                        let clients = if wanted.is_some() { Clients::Nobody } else { Clients::Unasked };
                        (Handshake { config: None, clients, own_uris: Arc::default() }, Some(why))
                    }
                };
                let tls = chain.tls.clone();
                CompiledChain { tls, handshake, keys, trusted, tickets, failed, used: true }
            }
        };
        if let Some(why) = &compiled.failed {
            let mend = "allow TLS 1.2 with an ECDHE AES-GCM or CHACHA20 suite, or TLS 1.3";
            problems.push(not_served(chain, why, mend));
        } else if compiled.keys.is_empty() && self.any_rejected(chain) {
            let why = "none of its certificates can be used";
            problems.push(not_served(chain, why, "mend the certificate, see its own problem"));
        } else if compiled.trusted.is_none() && wanted.is_some_and(|id| self.authorities.rejected(id)) {
            let why = "the certificate authorities of its clients cannot be used";
            problems.push(not_served(chain, why, "mend the authorities, see their own problem"));
        }
        let handshake = compiled.handshake.clone();
        self.chains.insert(key, compiled);
        handshake
    }

    /// Is a certificate of the chain there, but of no use?
    fn any_rejected(&self, chain: &TlsChain) -> bool {
        let ids = chain.tls.certificates.iter();
        ids.filter_map(|id| self.certificates.get(id)).any(|loaded| loaded.rejected.is_some())
    }

    /// Forgets the chains that the generation just compiled did not use.
    pub(crate) fn sweep(&mut self) {
        self.chains.retain(|_, chain| std::mem::take(&mut chain.used));
    }
}

fn not_served(chain: &TlsChain, why: &str, mend: &str) -> AppliedProblem {
    problem(TLS_NOT_SERVED, &chain.origin, format!("the TLS server is not served: {why}"), mend)
}

/// What all handshakes, either side, are made with.
pub(super) fn provider() -> CryptoProvider {
    aws_lc_rs::default_provider()
}

pub(super) fn load(certificate: &Certificate, provider: &CryptoProvider) -> Result<CertifiedKey, String> {
    let chain = CertificateDer::pem_slice_iter(certificate.chain_pem.as_bytes())
        .collect::<Result<Vec<_>, _>>()
        .map_err(|_| "the certificate is not valid PEM".to_owned())?;
    if chain.is_empty() {
        return Err("there is no certificate in it".to_owned());
    }
    let key = PrivateKeyDer::from_pem_slice(certificate.key.expose_pem())
        // The parser's own words quote the text, which may be the key.
        .map_err(|_| "the private key is not valid PEM".to_owned())?;
    let mut certified = CertifiedKey::from_der(chain, key, provider).map_err(|error| match error {
        rustls::Error::InconsistentKeys(_) => "the private key does not belong to the certificate".to_owned(),
        error => format!("{error}"),
    })?;
    certified.ocsp = certificate.staple.as_ref().map(|Staple(der)| der.clone());
    Ok(certified)
}

fn build(
    tls: &ServerTls,
    keys: &[Arc<CertifiedKey>],
    (trusted, tickets): (Option<&Trusted>, &Arc<dyn ProducesTickets>),
    provider: &CryptoProvider,
) -> Result<Handshake, String> {
    let mut versions: Vec<&'static SupportedProtocolVersion> = Vec::new();
    if tls.max_version >= TlsVersion::V1_3 {
        versions.push(&TLS13);
    }
    if tls.min_version <= TlsVersion::V1_2 {
        versions.push(&TLS12);
    }
    let mut provider = provider.clone();
    if !tls.cipher_suites.is_empty() {
        provider.cipher_suites.retain(|suite| match suite {
            SupportedCipherSuite::Tls13(_) => true,
            SupportedCipherSuite::Tls12(_) => {
                tls.cipher_suites.iter().any(|name| *name == openssl_name(suite))
            }
        });
        let has_tls12 = provider.cipher_suites.iter().any(|s| matches!(s, SupportedCipherSuite::Tls12(_)));
        if !has_tls12 {
            versions.retain(|version| version.version != TLS12.version);
        }
    }
    if !tls.curves.is_empty() {
        let wanted: Vec<NamedGroup> = tls.curves.iter().copied().map(named_group).collect();
        provider.kx_groups.retain(|group| wanted.contains(&group.name()));
        provider.kx_groups.sort_by_key(|group| wanted.iter().position(|name| *name == group.name()));
    }
    if versions.is_empty() {
        return Err("its versions and cipher suites leave nothing that can be offered".to_owned());
    }
    let provider = Arc::new(provider);
    let clients = match (&tls.clients, trusted) {
        (None, _) => Clients::Unasked,
        (Some(_), None) => Clients::Nobody,
        (Some(policy), Some(trusted)) => {
            let verifier = clients::verifier(policy, trusted, &provider)?;
            let asked = policy.demand == Demand::Nothing;
            if asked { Clients::Asked(verifier) } else { Clients::Verified(verifier) }
        }
    };
    let verifier = match &clients {
        Clients::Unasked => WebPkiClientVerifier::no_client_auth(),
        Clients::Verified(verifier) => verifier.clone(),
        Clients::Asked(verifier) => Arc::new(clients::Asking { chain: verifier.clone() }),
        Clients::Nobody => return Ok(Handshake { config: None, clients, own_uris: Arc::default() }),
    };
    let builder = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&versions)
        .map_err(|error| error.to_string())?;
    let builder = builder.with_client_cert_verifier(verifier);
    let mut config = builder.with_cert_resolver(Arc::new(Keys(keys.to_vec())));
    config.alpn_protocols = tls.alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
    config.ticketer = tickets.clone();
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 1;
    // Without a certificate there is nothing to shake hands with.
    let config = (!keys.is_empty()).then(|| {
        let mut without_alpn = config.clone();
        without_alpn.alpn_protocols.clear();
        Configs { offering: Arc::new(config), without_alpn: Arc::new(without_alpn) }
    });
    // Several certificates of one server have the same names.
    let leaf = keys.first().and_then(|key| key.cert.first());
    let names = leaf.and_then(|leaf| peer::subject_alt_names(leaf)).unwrap_or_default();
    Ok(Handshake { config, clients, own_uris: names.uris.into() })
}

fn named_group(curve: Curve) -> NamedGroup {
    match curve {
        Curve::X25519MlKem768 => NamedGroup::X25519MLKEM768,
        Curve::X25519 => NamedGroup::X25519,
        Curve::P256 => NamedGroup::secp256r1,
        Curve::P384 => NamedGroup::secp384r1,
    }
}

/// The name that OpenSSL, and so Istio, has for a suite of TLS 1.2.
fn openssl_name(suite: &SupportedCipherSuite) -> &'static str {
    use rustls::CipherSuite as S;
    match suite.suite() {
        S::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256 => "ECDHE-ECDSA-AES128-GCM-SHA256",
        S::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384 => "ECDHE-ECDSA-AES256-GCM-SHA384",
        S::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256 => "ECDHE-ECDSA-CHACHA20-POLY1305",
        S::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256 => "ECDHE-RSA-AES128-GCM-SHA256",
        S::TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384 => "ECDHE-RSA-AES256-GCM-SHA384",
        S::TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256 => "ECDHE-RSA-CHACHA20-POLY1305",
        _ => "",
    }
}

/// The certificates of a chain: the first that the client can verify.
#[derive(Debug)]
struct Keys(Vec<Arc<CertifiedKey>>);

impl ResolvesServerCert for Keys {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let offered = hello.signature_schemes();
        self.0.iter().find(|key| key.key.choose_scheme(offered).is_some()).cloned()
    }
}

/// Stands in where the system gives no randomness for ticket keys: full handshakes only.
#[derive(Debug)]
struct NoTickets;

impl ProducesTickets for NoTickets {
    fn enabled(&self) -> bool {
        false
    }
    fn lifetime(&self) -> u32 {
        0
    }
    fn encrypt(&self, _plain: &[u8]) -> Option<Vec<u8>> {
        None
    }
    fn decrypt(&self, _cipher: &[u8]) -> Option<Vec<u8>> {
        None
    }
}

#[cfg(test)]
#[path = "tls_tests.rs"]
mod tests;
