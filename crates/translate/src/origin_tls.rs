//! TLS towards services: from what a DestinationRule says to certificates in PEM.

use std::collections::BTreeSet;
use std::sync::Arc;

use limen_ir::cluster::ClusterKey;
use limen_ir::tls::{
    Bundle, Certificate, CertificateId, ClientTls, MeshTls, PrivateKey, Trust, TrustedNames,
};
use limen_resources::core::{Secret, SecretBytes};
use limen_resources::istio::{ClientTls as Said, ClientTlsMode};
use limen_resources::{Object, Snapshot};

use crate::index::{Index, origin};
use crate::istio::destination_rule::Block;
use crate::messages::destination as messages;
use crate::report::Report;
use crate::secrets::without_keys;
use crate::settings::IdentityFiles;

/// Where systems keep the certificates of public authorities.
const SYSTEM_ROOTS: [&str; 4] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
];

/// Reads one block. What is missing is said, and leaves a cluster that no connection is made to.
pub(crate) struct OriginTls<'a, 'i> {
    pub(crate) index: &'a Index<'i>,
    pub(crate) block: &'a Block<'a, Said>,
    /// Files that were asked for.
    pub(crate) files: &'a mut BTreeSet<String>,
    pub(crate) report: &'a mut Report,
}

impl OriginTls<'_, '_> {
    /// `service_names`: those that the service itself says its certificate carries. `None`: clear text.
    pub(crate) fn read(mut self, key: &ClusterKey, service_names: &[String]) -> Option<ClientTls> {
        let said = self.block.said;
        if said.mode == ClientTlsMode::Disable {
            return None;
        }
        let sni = (!said.sni.is_empty()).then(|| said.sni.clone());
        if said.mode == ClientTlsMode::IstioMutual {
            return Some(self.in_the_mesh(key, MeshTls::Every));
        }
        let nothing = ClientTls { sni: sni.clone(), trust: None, identity: None, mesh: None };
        let identity = match said.mode {
            ClientTlsMode::Mutual => match self.identity() {
                Some(identity) => Some(Arc::new(identity)),
                None => return Some(nothing),
            },
            _ => None,
        };
        Some(ClientTls { sni, trust: self.trust(service_names), identity, mesh: None })
    }

    /// With the workload's own identity. The server name says which cluster is meant (Istio).
    pub(crate) fn in_the_mesh(&mut self, key: &ClusterKey, whom: MeshTls) -> ClientTls {
        let said = &self.block.said.sni;
        let named = || key.with(|name| name.by_server_name = true).to_string();
        let sni = Some(if said.is_empty() { named() } else { said.clone() });
        let (trust, identity) = self.own_mesh().unzip();
        ClientTls { sni, trust, identity: identity.map(Arc::new), mesh: Some(whom) }
    }

    /// Peers are those of the same authority.
    fn own_mesh(&mut self) -> Option<(Trust, Certificate)> {
        let said = self.block.said;
        let Some(IdentityFiles { certificate, key, authorities }) = &self.index.settings.identity else {
            let why = "the gateway has no identity in a mesh";
            self.say("mode", why, "start with --identity-cert, --identity-key and --identity-ca");
            return None;
        };
        let identity = self.pair_of_files(certificate, key)?;
        let names = match &*said.subject_alt_names {
            [] => TrustedNames::Any,
            names => TrustedNames::Listed(names.to_vec()),
        };
        let trust = Trust::Authorities { authorities: self.file("mode", authorities)?, revoked: None, names };
        Some((trust, identity))
    }

    fn pair_of_files(&mut self, certificate: &str, key: &str) -> Option<Certificate> {
        let id = CertificateId(format!("file-cert:{certificate}~{key}"));
        let chain = self.file("clientCertificate", certificate)?;
        let key = self.file("privateKey", key)?;
        let at = origin(self.block.key, self.block.field.clone());
        let key = PrivateKey::from_pem(key.pem().as_bytes().to_vec());
        Some(Certificate { id, chain_pem: without_keys(chain.pem()), key, staple: None, origin: at })
    }

    fn trust(&mut self, service_names: &[String]) -> Option<Trust> {
        let said = self.block.said;
        if said.insecure_skip_verify == Some(true) {
            return Some(Trust::Everybody);
        }
        let names = match (&*said.subject_alt_names, service_names) {
            ([], []) if said.sni.is_empty() => TrustedNames::ServerName,
            ([], []) => TrustedNames::Any,
            ([], names) | (names, _) => TrustedNames::Listed(names.to_vec()),
        };
        let (authorities, listed) = if !said.credential_name.is_empty() {
            self.authorities_of_secret()?
        } else if !said.ca_certificates.is_empty() {
            (self.file("caCertificates", &said.ca_certificates)?, None)
        } else {
            (self.system_roots()?, None)
        };
        let revoked = match (&*said.ca_crl, listed) {
            ("", listed) => listed,
            (path, _) => Some(self.file("caCrl", path)?),
        };
        Some(Trust::Authorities { authorities, revoked, names })
    }

    fn identity(&mut self) -> Option<Certificate> {
        let said = self.block.said;
        if said.credential_name.is_empty() {
            return self.pair_of_files(&said.client_certificate, &said.private_key);
        }
        let name = said.credential_name.strip_prefix("kubernetes://").unwrap_or(&said.credential_name);
        let Some(secret) = self.secret(name) else {
            self.say(
                "credentialName",
                &format!("there is no Secret `{name}`"),
                "create it, of type kubernetes.io/tls",
            );
            return None;
        };
        let pair = secret.spec.server_pair().and_then(|pair| {
            let chain = std::str::from_utf8(pair.certificate.expose()).ok()?;
            Some((without_keys(chain), PrivateKey::from_pem(pair.private_key.expose().to_vec())))
        });
        let Some((chain_pem, key)) = pair else {
            let why = format!("{} has no certificate with a key", secret.key);
            self.say("credentialName", &why, "it needs tls.crt and tls.key");
            return None;
        };
        let id = CertificateId(format!("kubernetes://{name}"));
        Some(Certificate { id, chain_pem, key, staple: None, origin: origin(&secret.key, String::new()) })
    }

    /// CAs stand in a Secret of their own, `<name>-cacert`, or beside the certificate.
    fn authorities_of_secret(&mut self) -> Option<(Bundle, Option<Bundle>)> {
        let said = &self.block.said.credential_name;
        let name = said.strip_prefix("kubernetes://").unwrap_or(said);
        let found = [format!("{name}-cacert"), name.to_owned()].iter().find_map(|name| {
            let secret = self.secret(name)?;
            Some((
                text(secret.spec.first(&["cacert", "ca.crt"])?)?,
                secret.spec.first(&["crl", "ca.crl"]).and_then(text),
            ))
        });
        if found.is_none() {
            let why = format!("neither Secret `{name}-cacert` nor `{name}` holds a CA");
            self.say("credentialName", &why, "put its PEM under the key ca.crt or cacert");
        }
        found
    }

    fn secret(&self, name: &str) -> Option<Arc<Object<Secret>>> {
        let own = &*self.block.key.namespace;
        let workload = &*self.index.settings.workload_namespace;
        let find = |namespace| self.index.sought.secret(self.index.snapshot, namespace, name);
        let beside = || self.index.settings.files.then(|| find(own)).flatten();
        find(workload).or_else(beside).cloned()
    }

    fn file(&mut self, part: &str, path: &str) -> Option<Bundle> {
        self.files.insert(path.to_owned());
        // What has not been looked for yet is not missing.
        let state = self.index.snapshot.file(path)?;
        let found = state.content.as_ref().and_then(text);
        if found.is_none() {
            let why = format!("{path}: {}", state.error.as_deref().unwrap_or("it holds no text"));
            self.say(part, &why, "put PEM there; the file is watched");
        }
        found
    }

    fn system_roots(&mut self) -> Option<Bundle> {
        system_roots(self.index.snapshot, self.files).unwrap_or_else(|()| {
            let why = "this system has no list of public certificate authorities";
            self.say("mode", why, "install ca-certificates, or write caCertificates");
            None
        })
    }

    fn say(&mut self, part: &str, why: &str, mend: &str) {
        let field = format!("{}.{part}", self.block.field);
        self.report.problem(messages::no_tls(self.block.at(&field), why, mend));
    }
}

/// The public authorities that the system knows; `None`: their list is still to be read. `Err`: it has none.
pub(crate) fn system_roots(snapshot: &Snapshot, files: &mut BTreeSet<String>) -> Result<Option<Bundle>, ()> {
    files.extend(SYSTEM_ROOTS.map(str::to_owned));
    let states = SYSTEM_ROOTS.map(|path| snapshot.file(path));
    let found = states.iter().flatten().find_map(|state| text(state.content.as_ref()?));
    if found.is_none() && states.iter().all(Option::is_some) { Err(()) } else { Ok(found) }
}

fn text(bytes: &SecretBytes) -> Option<Bundle> {
    let text = std::str::from_utf8(bytes.expose()).ok().filter(|text| !text.is_empty())?;
    Some(Bundle::new(text.into()))
}
