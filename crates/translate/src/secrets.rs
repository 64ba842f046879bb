//! Credentials: from what servers name to PEM.

mod authorities;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use limen_ir::tls::{Authorities, Certificate, CertificateId, PrivateKey, Staple};
use limen_resources::core::{Secret, SecretBytes};
use limen_resources::{Kind, Object, ObjectKey};

use crate::index::{Index, origin};
use crate::istio::gateway::ServerPlan;
use crate::istio::server_tls::{Credential, CredentialRef};
use crate::memo::keep;
use crate::messages::{At, credential as messages};
use crate::report::Report;

/// Looks credentials up, and gathers those that were found.
pub(crate) struct Certificates<'a, 'i> {
    pub(crate) index: &'a Index<'i>,
    /// Of the run before, for sharing.
    pub(crate) last: &'a limen_ir::Ir,
    pub(crate) found: BTreeMap<CertificateId, Arc<Certificate>>,
    pub(crate) authorities: BTreeMap<CertificateId, Arc<Authorities>>,
    /// Files that were asked for.
    pub(crate) files: BTreeSet<String>,
    /// How often a file was asked for that nobody has looked for yet.
    pub(crate) unread: usize,
}

/// How the Gateway API's Gateways refer to a Secret.
pub(crate) const GATEWAY_API: &str = "kubernetes-gateway://";

/// A Secret that is sought: its name, and the namespaces to look into, one after the other.
struct Sought<'w> {
    name: &'w str,
    namespaces: Vec<&'w str>,
}

/// What became of a search.
enum Look<'s> {
    Found(&'s Object<Secret>),
    /// It was written there, but is not valid.
    Refused(String),
    Absent,
}

impl<'a, 'i> Certificates<'a, 'i> {
    pub(crate) fn new(index: &'a Index<'i>, last: &'a limen_ir::Ir) -> Certificates<'a, 'i> {
        let (found, authorities) = (BTreeMap::new(), BTreeMap::new());
        Certificates { index, last, found, authorities, files: BTreeSet::new(), unread: 0 }
    }

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
            Credential::Of(namespace, name) => self.secret_of((namespace, name), at, report),
            Credential::Files(chain, key) => {
                let id = CertificateId(format!("file-cert:{chain}~{key}"));
                self.pair_of_files(server, id, (chain, key), reference, report)
            }
            Credential::Identity => {
                let id = CertificateId("default".to_owned());
                let Some(files) = &self.index.settings.identity else {
                    report.problem(messages::no_identity(at));
                    return id;
                };
                self.pair_of_files(server, id, (&files.certificate, &files.key), reference, report)
            }
        }
    }

    /// The certificate of a Secret that a Gateway of the Gateway API names, and that has a certificate and key.
    pub(crate) fn of_gateway_api(&mut self, secret: &Object<Secret>) -> CertificateId {
        let id = CertificateId(format!("{GATEWAY_API}{}/{}", secret.key.namespace, secret.key.name));
        if let Some(pair) = secret.spec.server_pair().filter(|_| !self.found.contains_key(&id)) {
            let staple = secret.spec.ocsp_staple().map(|bytes| Staple(bytes.expose().to_vec()));
            self.take(&id, (pair.certificate, pair.private_key), staple, origin(&secret.key, String::new()));
        }
        id
    }

    /// Takes up who vouches for clients.
    pub(crate) fn vouch(&mut self, authorities: Authorities) {
        let id = authorities.id.clone();
        self.authorities.insert(id.clone(), keep(self.last.authorities.get(&id), authorities));
    }

    /// Where a Secret may stand that an object of the namespace `own` refers to. `Err`: the name of what it refers to
    /// instead, of which there is none.
    fn sought<'w>(
        &self,
        own: &'w str,
        written: &'w str,
        at: At<'_>,
        report: &mut Report,
    ) -> Result<Sought<'w>, CertificateId>
    where
        'a: 'w,
    {
        let workload = &*self.index.settings.workload_namespace;
        if let Some(plain) = written.strip_prefix(GATEWAY_API)
            && !plain.contains('/')
        {
            let why = "needs a namespace (kubernetes-gateway://namespace/name)";
            report.problem(messages::form_not_served(at, written, why));
            return Err(CertificateId(written.to_owned()));
        }
        // Without a provider of its own, an external source is a Secret, too.
        let plain = ["kubernetes://", "sds://", GATEWAY_API]
            .into_iter()
            .find_map(|scheme| written.strip_prefix(scheme));
        let plain = plain.unwrap_or(written);
        let (named, name) = match plain.split_once('/') {
            _ if plain.starts_with("invalid://") => {
                report.problem(messages::form_not_served(at, written, "never gives a certificate"));
                return Err(CertificateId(written.to_owned()));
            }
            _ if plain.contains("://") => {
                let why = "is a form of reference that is not served yet";
                report.problem(messages::form_not_served(at, written, why));
                return Err(CertificateId(written.to_owned()));
            }
            Some((namespace, name)) => (Some(namespace), name),
            None => (None, plain),
        };
        let from_files = self.index.settings.files && own != workload;
        let namespaces: Vec<&str> = match named {
            None if from_files => vec![workload, own],
            None => vec![workload],
            Some(namespace) if namespace == workload || (from_files && namespace == own) => vec![namespace],
            Some(_) => {
                let why = match written.starts_with(GATEWAY_API) {
                    true => {
                        "names another namespace than the gateway's, for which no ReferenceGrant is given"
                    }
                    false => "names another namespace than the gateway's, which is never allowed",
                };
                report.problem(messages::form_not_served(at, written, why));
                return Err(CertificateId(format!("kubernetes://{plain}")));
            }
        };
        Ok(Sought { name, namespaces })
    }

    fn look(&self, name: &str, namespaces: &[&str]) -> Look<'a> {
        let snapshot = self.index.snapshot;
        let sought = &self.index.sought;
        let found = namespaces.iter().find_map(|namespace| sought.secret(snapshot, namespace, name));
        if let Some(secret) = found {
            return Look::Found(secret);
        }
        let refused =
            namespaces.iter().find(|ns| self.index.refused(&ObjectKey::new(Kind::Secret, **ns, name)));
        refused.map_or(Look::Absent, |namespace| Look::Refused(format!("Secret {namespace}/{name}")))
    }

    /// The id of a Secret that was found, and a word about its place, where only files may have it.
    fn name(&self, secret: &Object<Secret>, at: At<'_>, report: &mut Report) -> CertificateId {
        let (namespace, name) = (&*secret.key.namespace, &*secret.key.name);
        let workload = &*self.index.settings.workload_namespace;
        if namespace == workload {
            return CertificateId(format!("kubernetes://{name}"));
        }
        report.problem(messages::gateway_namespace(at, name, workload, namespace));
        CertificateId(format!("kubernetes://{namespace}/{name}"))
    }

    fn secret(
        &mut self,
        server: &ServerPlan,
        written: &str,
        at: At<'_>,
        report: &mut Report,
    ) -> CertificateId {
        let sought = match self.sought(&server.object.key().namespace, written, at, report) {
            Ok(sought) => sought,
            Err(id) => return id,
        };
        match self.look(sought.name, &sought.namespaces) {
            Look::Found(secret) => {
                let id = self.name(secret, at, report);
                self.take_secret(secret, &id, at, report);
                return id;
            }
            Look::Refused(title) => {
                report.problem(messages::unusable(at, &title, "it is not valid, see its problem"));
            }
            Look::Absent => report.problem(messages::not_found(at, sought.name, &sought.namespaces)),
        }
        CertificateId(format!("kubernetes://{}", sought.name))
    }

    /// The Secret of this namespace and name.
    fn secret_of(
        &mut self,
        (namespace, name): (&str, &str),
        at: At<'_>,
        report: &mut Report,
    ) -> CertificateId {
        let id = CertificateId(format!("kubernetes://{namespace}/{name}"));
        match self.look(name, &[namespace]) {
            Look::Found(secret) => self.take_secret(secret, &id, at, report),
            Look::Refused(title) => {
                report.problem(messages::unusable(at, &title, "it is not valid, see its problem"));
            }
            Look::Absent => report.problem(messages::not_found(at, name, &[namespace])),
        }
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
        let staple = (pair.certificate_key == "tls.crt").then(|| secret.spec.ocsp_staple()).flatten();
        let staple = staple.map(|bytes| Staple(bytes.expose().to_vec()));
        if !self.take(id, (pair.certificate, pair.private_key), staple, origin) {
            report.problem(messages::unusable(at, &title, "its certificate is not text"));
        }
    }

    fn pair_of_files(
        &mut self,
        server: &ServerPlan,
        id: CertificateId,
        (chain, key): (&str, &str),
        reference: &CredentialRef,
        report: &mut Report,
    ) -> CertificateId {
        let at = server.at().field(&reference.field);
        let mut contents = Vec::new();
        for path in [chain, key] {
            if path.is_empty() {
                let why = "both the certificate and its key are needed";
                report.problem(messages::file(at, "(no path)", why));
                return id;
            }
            contents.extend(self.file(path, at, messages::file, report));
        }
        if let [certificate, private_key] = contents[..] {
            let origin = origin(server.object.key(), reference.field.clone());
            if !self.take(&id, (certificate, private_key), None, origin) {
                report.problem(messages::file(at, chain, "it is not text"));
            }
        }
        id
    }

    /// What a file holds; asks for it. `say` tells that there is nothing.
    fn file(
        &mut self,
        path: &str,
        at: At<'_>,
        say: impl Fn(At<'_>, &str, &str) -> limen_resources::Problem,
        report: &mut Report,
    ) -> Option<&'a SecretBytes> {
        self.files.insert(path.to_owned());
        if let Some(mounted) = self.mounted(path) {
            return Some(mounted);
        }
        let Some(state) = self.index.snapshot.file(path) else {
            // Who has not been looked for yet is not missing.
            self.unread += 1;
            return None;
        };
        match (&state.content, &state.error) {
            (Some(_), Some(why)) => report.problem(messages::stale_file(at, path, why)),
            (None, why) => report.problem(say(at, path, why.as_deref().unwrap_or("it is empty"))),
            (Some(_), None) => {}
        }
        state.content.as_ref()
    }

    /// The Secret that Istio's charts mount at such a path, if it stands in the files and the path does not exist.
    fn mounted(&self, path: &str) -> Option<&'a SecretBytes> {
        let (mount, key) = path.strip_prefix("/etc/istio/")?.split_once('/')?;
        let is_mount = MOUNTS.contains(&mount);
        let known = self.index.snapshot.file(path).is_none_or(|state| state.content.is_some());
        if !is_mount || known || !self.index.settings.files {
            return None;
        }
        let namespace = &self.index.settings.workload_namespace;
        let secret = self.index.snapshot.secrets().get(namespace, &format!("istio-{mount}"))?;
        secret.spec.data.get(key).filter(|bytes| !bytes.is_empty())
    }

    /// Whether the two belong together is seen where they are loaded. False: the chain is not text.
    fn take(
        &mut self,
        id: &CertificateId,
        (chain, key): (&SecretBytes, &SecretBytes),
        staple: Option<Staple>,
        origin: limen_ir::Origin,
    ) -> bool {
        let Ok(chain) = std::str::from_utf8(chain.expose()) else { return false };
        let key = PrivateKey::from_pem(key.expose().to_vec());
        let certificate = Certificate { id: id.clone(), chain_pem: without_keys(chain), key, staple, origin };
        self.found.insert(id.clone(), keep(self.last.certificates.get(id), certificate));
        true
    }
}

/// Folders below `/etc/istio` into which the charts of Istio's gateways mount Secrets named after them.
const MOUNTS: [&str; 4] =
    ["ingressgateway-certs", "ingressgateway-ca-certs", "egressgateway-certs", "egressgateway-ca-certs"];

/// PEM without the private keys that some keep beside their certificates: what goes into the IR is shown.
pub(crate) fn without_keys(pem: &str) -> String {
    let mut inside = false;
    let mut kept = String::with_capacity(pem.len());
    for line in pem.split_inclusive('\n') {
        let about_key = line.contains("PRIVATE KEY");
        inside |= about_key && line.contains("BEGIN");
        if !inside {
            kept.push_str(line);
        }
        inside &= !(about_key && line.contains("END"));
    }
    kept
}

/// Helm's releases and the tokens of accounts are Secrets, too.
pub(crate) fn holds_credentials(secret: &Object<Secret>) -> bool {
    !matches!(&*secret.spec.secret_type, "helm.sh/release.v1" | "kubernetes.io/service-account-token")
}
