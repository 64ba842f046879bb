//! Certificates: from what servers name to PEM.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use limen_ir::tls::{Certificate, CertificateId, PrivateKey};
use limen_resources::core::{Secret, SecretBytes};
use limen_resources::{Kind, Object, ObjectKey};

use crate::index::{Index, origin};
use crate::istio::gateway::ServerPlan;
use crate::istio::server_tls::{Credential, CredentialRef};
use crate::memo::keep;
use crate::messages::{At, credential as messages};
use crate::report::Report;

/// Looks certificates up, and gathers those that were found.
pub(crate) struct Certificates<'a, 'i> {
    pub(crate) index: &'a Index<'i>,
    /// Of the run before, for sharing.
    pub(crate) last: &'a BTreeMap<CertificateId, Arc<Certificate>>,
    pub(crate) found: BTreeMap<CertificateId, Arc<Certificate>>,
    /// Files that were asked for.
    pub(crate) files: BTreeSet<String>,
}

impl Certificates<'_, '_> {
    /// The name of the certificate that a server refers to; whether there is one is seen by looking it up.
    pub(crate) fn resolve(
        &mut self,
        server: &ServerPlan,
        reference: &CredentialRef,
        report: &mut Report,
    ) -> CertificateId {
        let at = server.at().field(&reference.field);
        match &reference.credential {
            Credential::Secret(name) => self.secret(server, name, at, report),
            Credential::Files(chain, key) => self.pair_of_files(server, (chain, key), reference, report),
        }
    }

    fn secret(
        &mut self,
        server: &ServerPlan,
        written: &str,
        at: At<'_>,
        report: &mut Report,
    ) -> CertificateId {
        let own = &*server.gateway.key.namespace;
        let workload = &*self.index.settings.workload_namespace;
        let plain = written.strip_prefix("kubernetes://").unwrap_or(written);
        let id = |name: &str| CertificateId(format!("kubernetes://{name}"));
        let (named, name) = match plain.split_once('/') {
            _ if plain.contains("://") => {
                report.problem(messages::form_not_served(
                    at,
                    written,
                    "is a form of reference that is not served yet",
                ));
                return CertificateId(written.to_owned());
            }
            Some((namespace, name)) => (Some(namespace), name),
            None => (None, plain),
        };
        let from_files = self.index.settings.files && own != workload;
        let sought: Vec<&str> = match named {
            None if from_files => vec![workload, own],
            None => vec![workload],
            Some(namespace) if namespace == workload || (from_files && namespace == own) => vec![namespace],
            Some(_) => {
                let why = "names another namespace than the gateway's, which is never allowed";
                report.problem(messages::form_not_served(at, written, why));
                return id(plain);
            }
        };
        let found = sought.iter().find_map(|namespace| self.index.snapshot.secrets().get(namespace, name));
        let Some(secret) = found else {
            let refused =
                sought.iter().find(|ns| self.index.refused(&ObjectKey::new(Kind::Secret, **ns, name)));
            report.problem(match refused {
                Some(ns) => {
                    messages::unusable(at, &format!("Secret {ns}/{name}"), "it is not valid, see its problem")
                }
                None => messages::not_found(at, name, &sought),
            });
            return id(name);
        };
        let namespace = &*secret.key.namespace;
        if namespace == workload {
            let id = id(name);
            self.take_secret(secret, &id, at, report);
            return id;
        }
        report.problem(messages::gateway_namespace(at, name, workload, namespace));
        let id = id(&format!("{namespace}/{name}"));
        self.take_secret(secret, &id, at, report);
        id
    }

    fn take_secret(&mut self, secret: &Object<Secret>, id: &CertificateId, at: At<'_>, report: &mut Report) {
        if self.found.contains_key(id) {
            return;
        }
        let title = secret.key.to_string();
        if !holds_credentials(secret) {
            let why = format!("it is of type {}", secret.spec.secret_type);
            report.problem(messages::unusable(at, &title, &why));
            return;
        }
        let Some(pair) = secret.spec.server_pair() else {
            report.problem(messages::unusable(at, &title, "it has no certificate with a key"));
            return;
        };
        let origin = origin(&secret.key, String::new());
        if !self.take(id, pair.certificate, pair.private_key, origin) {
            report.problem(messages::unusable(at, &title, "its certificate is not text"));
        }
    }

    fn pair_of_files(
        &mut self,
        server: &ServerPlan,
        (chain, key): (&str, &str),
        reference: &CredentialRef,
        report: &mut Report,
    ) -> CertificateId {
        let id = CertificateId(format!("file-cert:{chain}~{key}"));
        let at = server.at().field(&reference.field);
        let mut contents = Vec::new();
        for path in [chain, key] {
            if path.is_empty() {
                report.problem(messages::file(
                    at,
                    "(no path)",
                    "both the certificate and its key are needed",
                ));
                return id;
            }
            self.files.insert(path.to_owned());
            // Who has not been looked for yet is not missing.
            let Some(state) = self.index.snapshot.file(path) else { continue };
            match (&state.content, &state.error) {
                (Some(_), Some(why)) => report.problem(messages::stale_file(at, path, why)),
                (None, why) => {
                    report.problem(messages::file(at, path, why.as_deref().unwrap_or("it is empty")));
                }
                (Some(_), None) => {}
            }
            contents.extend(&state.content);
        }
        if let [certificate, private_key] = contents[..] {
            let origin = origin(&server.gateway.key, reference.field.clone());
            if !self.take(&id, certificate, private_key, origin) {
                report.problem(messages::file(at, chain, "it is not text"));
            }
        }
        id
    }

    /// Whether the two belong together is seen where they are loaded. False: the chain is not text.
    fn take(
        &mut self,
        id: &CertificateId,
        chain: &SecretBytes,
        key: &SecretBytes,
        origin: limen_ir::Origin,
    ) -> bool {
        let Ok(chain) = std::str::from_utf8(chain.expose()) else { return false };
        let key = PrivateKey::from_pem(key.expose().to_vec());
        let certificate = Certificate { id: id.clone(), chain_pem: chain.to_owned(), key, origin };
        self.found.insert(id.clone(), keep(self.last.get(id), certificate));
        true
    }
}

/// Helm's releases and the tokens of accounts are Secrets, too.
fn holds_credentials(secret: &Object<Secret>) -> bool {
    !matches!(&*secret.spec.secret_type, "helm.sh/release.v1" | "kubernetes.io/service-account-token")
}
