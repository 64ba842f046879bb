//! Who may come in: certificate authorities, what they revoked, and what else a client's certificate must be.

use std::collections::BTreeMap;
use std::sync::Arc;

use limen_ir::tls::{Authorities, ClientPolicy, Demand, Pinned};
use limen_ir::{CertificateId, Ir};
use rustls::crypto::CryptoProvider;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{ParsedCertificate, WebPkiClientVerifier};
use rustls::{CertificateError, DistinguishedName, Error, RootCertStore};
use rustls_pki_types::{CertificateDer, CertificateRevocationListDer, UnixTime};
use sha2::{Digest, Sha256};

use super::signatures::signatures_as_the_chain_says;
use super::{problem, trust};
use crate::applied::{AUTHORITIES_REJECTED, AppliedProblem};
use crate::observe::peer;

/// The authorities of an IR, read.
#[derive(Default)]
pub(crate) struct AuthorityMemo {
    loaded: BTreeMap<CertificateId, Loaded>,
}

struct Loaded {
    source: Arc<Authorities>,
    /// The last set that could be used, which may be older than `source`.
    good: Option<Arc<Trusted>>,
    rejected: Option<String>,
}

/// Authorities as the handshake needs them.
pub(crate) struct Trusted {
    roots: Arc<RootCertStore>,
    /// `None`: nothing is asked about revocation.
    revoked: Option<Vec<CertificateRevocationListDer<'static>>>,
}

impl AuthorityMemo {
    /// Reads the authorities of an IR. A set that cannot be used leaves its last good version in place.
    pub(crate) fn load(&mut self, ir: &Ir, problems: &mut Vec<AppliedProblem>) {
        self.loaded.retain(|id, _| ir.authorities.contains_key(id));
        for (id, source) in &ir.authorities {
            let known = self.loaded.get(id);
            if !known.is_some_and(|known| known.source == *source) {
                let last_good = known.and_then(|known| known.good.clone());
                let (good, rejected) = match read(source) {
                    Ok(trusted) => (Some(Arc::new(trusted)), None),
                    Err(why) => (last_good, Some(why)),
                };
                self.loaded.insert(id.clone(), Loaded { source: source.clone(), good, rejected });
            }
            let Some(Loaded { rejected: Some(why), good, .. }) = self.loaded.get(id) else { continue };
            let outcome = match good {
                Some(_) => "the previous one is still used",
                None => "handshakes that need it are reset",
            };
            problems.push(problem(
                AUTHORITIES_REJECTED,
                &source.origin,
                format!("{id} cannot be used: {why}; {outcome}"),
                "store PEM of certificates of CAs, and of their revocation lists if there are any",
            ));
        }
    }

    /// Are they there, but were never of any use?
    pub(crate) fn rejected(&self, id: &CertificateId) -> bool {
        self.loaded.get(id).is_some_and(|loaded| loaded.good.is_none())
    }

    /// The authorities of that id, if there are any.
    pub(crate) fn get(&self, id: &CertificateId) -> Option<&Arc<Trusted>> {
        self.loaded.get(id)?.good.as_ref()
    }
}

fn read(source: &Authorities) -> Result<Trusted, String> {
    let Authorities { id: _, pem, crl_pem, origin: _ } = source;
    let roots = trust::authorities(pem)?;
    let revoked = crl_pem.as_deref().map(trust::revoked).transpose()?;
    Ok(Trusted { roots: Arc::new(roots), revoked })
}

/// The verifier of a policy.
pub(crate) fn verifier(
    policy: &ClientPolicy,
    trusted: &Trusted,
    provider: &Arc<CryptoProvider>,
) -> Result<Arc<dyn ClientCertVerifier>, String> {
    let ClientPolicy { demand, authorities: _, subject_alt_names, pinned } = policy;
    let mut builder = WebPkiClientVerifier::builder_with_provider(trusted.roots.clone(), provider.clone());
    if let Some(revoked) = &trusted.revoked {
        // As BoringSSL does: a list that has run out says nothing, and what no list covers is not let in.
        builder = builder.with_crls(revoked.iter().cloned()).enforce_revocation_expiration();
    }
    if *demand != Demand::Valid {
        builder = builder.allow_unauthenticated();
    }
    let chain = builder.build().map_err(|error| error.to_string())?;
    if subject_alt_names.is_empty() && pinned.is_empty() {
        return Ok(chain);
    }
    Ok(Arc::new(Named { chain, names: subject_alt_names.clone(), pinned: pinned.clone() }))
}

/// Lets in those of the certificates that `chain` lets in that are among the named ones.
#[derive(Debug)]
struct Named {
    chain: Arc<dyn ClientCertVerifier>,
    names: Vec<String>,
    pinned: Pinned,
}

impl Named {
    fn has_name(&self, certificate: &CertificateDer<'_>) -> bool {
        self.names.is_empty()
            || peer::subject_alt_names(certificate)
                .is_some_and(|names| self.names.iter().any(|name| names.has(name)))
    }

    fn is_pinned(&self, certificate: &CertificateDer<'_>) -> Result<bool, Error> {
        if self.pinned.is_empty() {
            return Ok(true);
        }
        let hash = |bytes: &[u8]| <[u8; 32]>::from(Sha256::digest(bytes));
        let own = hash(certificate);
        if self.pinned.certificates.iter().any(|pinned| pinned.0 == own) {
            return Ok(true);
        }
        let key = hash(&ParsedCertificate::try_from(certificate)?.subject_public_key_info());
        Ok(self.pinned.public_keys.iter().any(|pinned| pinned.0 == key))
    }
}

/// Asks for a certificate as `chain` does, and lets in whoever shows one that is his. What it is worth is asked of `chain`.
#[derive(Debug)]
pub(crate) struct Asking {
    pub(crate) chain: Arc<dyn ClientCertVerifier>,
}

impl ClientCertVerifier for Asking {
    fn client_auth_mandatory(&self) -> bool {
        false
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.chain.root_hint_subjects()
    }

    fn verify_client_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        Ok(ClientCertVerified::assertion())
    }

    signatures_as_the_chain_says!();
}

impl ClientCertVerifier for Named {
    fn offer_client_auth(&self) -> bool {
        self.chain.offer_client_auth()
    }

    fn client_auth_mandatory(&self) -> bool {
        self.chain.client_auth_mandatory()
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.chain.root_hint_subjects()
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let verified = self.chain.verify_client_cert(end_entity, intermediates, now)?;
        if self.has_name(end_entity) && self.is_pinned(end_entity)? {
            return Ok(verified);
        }
        Err(Error::InvalidCertificate(CertificateError::ApplicationVerificationFailure))
    }

    signatures_as_the_chain_says!();
}

#[cfg(test)]
#[path = "clients_tests.rs"]
mod tests;
