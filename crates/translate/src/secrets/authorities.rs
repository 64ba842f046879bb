//! Who vouches for clients: from what servers name to the PEM of certificate authorities and what they revoked.

use limen_ir::tls::{Authorities, CertificateId};
use limen_resources::Object;
use limen_resources::core::{ConfigMap, Secret};

use super::{Certificates, Look, holds_credentials, without_keys};
use crate::index::origin;
use crate::istio::client_tls::{Authority, AuthorityRef};
use crate::istio::gateway::ServerPlan;
use crate::memo::keep;
use crate::messages::{At, credential as messages};
use crate::report::Report;

/// How a ConfigMap is referred to.
const CONFIG_MAP: &str = "configmap://";

/// What Istio calls the CAs of the mesh.
const MESH: &str = "ROOTCA";

/// What was read.
struct Read {
    id: CertificateId,
    pem: Option<String>,
    crl_pem: Option<String>,
    origin: limen_ir::Origin,
}

impl Certificates<'_, '_> {
    /// The name of the authorities that a server refers to; whether there are any is seen by looking them up.
    pub(crate) fn authorities(
        &mut self,
        server: &ServerPlan,
        reference: &AuthorityRef,
        report: &mut Report,
    ) -> CertificateId {
        let at = server.at().field(&reference.field);
        let read = match &reference.authority {
            Authority::BesideCertificate(written) => self.beside(server, written, at, report),
            Authority::Named(written) => match written.strip_prefix(CONFIG_MAP) {
                Some(name) => self.config_map(server, name, at, report),
                None => self.named(server, written, at, report),
            },
            Authority::File(path) => {
                let id = CertificateId(format!("file-root:{path}"));
                self.authority_file(server, id, path, reference, report)
            }
            // That there is none has been said of the certificate.
            Authority::Mesh => match &self.index.settings.identity {
                None => Err(CertificateId(MESH.to_owned())),
                Some(files) => {
                    let id = CertificateId(MESH.to_owned());
                    self.authority_file(server, id, &files.authorities, reference, report)
                }
            },
        };
        let Read { mut id, pem, mut crl_pem, origin } = match read {
            Ok(read) => read,
            Err(id) => return id,
        };
        let Some(pem) = pem else { return id };
        if let Some((path, field)) = &reference.crl {
            // With a list of its own it is another set of authorities.
            id = CertificateId(format!("{id}~{path}"));
            let at = server.at().field(field);
            let Some(bytes) = self.file(path, at, messages::authority_file, report) else { return id };
            let Some(more) = text(bytes.expose()) else {
                report.problem(messages::authority_file(at, path, "it is not text"));
                return id;
            };
            crl_pem = Some(crl_pem.map_or(more.clone(), |known| format!("{known}\n{more}")));
        }
        let made = Authorities { id: id.clone(), pem, crl_pem, origin };
        self.authorities.insert(id.clone(), keep(self.last.authorities.get(&id), made));
        id
    }

    /// `<name>-cacert`, and only where there is no such Secret `<name>` itself.
    fn beside(
        &self,
        server: &ServerPlan,
        written: &str,
        at: At<'_>,
        report: &mut Report,
    ) -> Result<Read, CertificateId> {
        // What is wrong with the reference has been said when the certificate was sought.
        let own = &*server.object.key().namespace;
        let sought = self.sought(own, written, at, &mut Report::default())?;
        let apart = format!("{}-cacert", sought.name);
        let names = [&*apart, sought.name];
        for name in names {
            match self.look(name, &sought.namespaces) {
                Look::Absent => {}
                found => return self.read_secret(found, name, at, report),
            }
        }
        report.problem(messages::no_authority(at, &names, &sought.namespaces));
        Err(CertificateId(format!("kubernetes://{apart}")))
    }

    fn named(
        &self,
        server: &ServerPlan,
        written: &str,
        at: At<'_>,
        report: &mut Report,
    ) -> Result<Read, CertificateId> {
        let sought = self.sought(&server.object.key().namespace, written, at, report)?;
        match self.look(sought.name, &sought.namespaces) {
            Look::Absent => {
                report.problem(messages::no_authority(at, &[sought.name], &sought.namespaces));
                Err(CertificateId(format!("kubernetes://{}", sought.name)))
            }
            found => self.read_secret(found, sought.name, at, report),
        }
    }

    fn read_secret(
        &self,
        found: Look<'_>,
        name: &str,
        at: At<'_>,
        report: &mut Report,
    ) -> Result<Read, CertificateId> {
        let secret = match found {
            Look::Found(secret) => secret,
            Look::Refused(title) => {
                report.problem(messages::authority(at, &title, "it is not valid, see its problem"));
                return Err(CertificateId(format!("kubernetes://{name}")));
            }
            Look::Absent => return Err(CertificateId(format!("kubernetes://{name}"))),
        };
        let id = self.name(secret, at, report);
        let (pem, crl_pem) = match pem_of(secret) {
            Ok((pem, crl_pem)) => (Some(pem), crl_pem),
            Err(why) => {
                report.problem(messages::authority(at, &secret.key.to_string(), &why));
                (None, None)
            }
        };
        Ok(Read { id, pem, crl_pem, origin: origin(&secret.key, String::new()) })
    }

    fn config_map(
        &self,
        server: &ServerPlan,
        name: &str,
        at: At<'_>,
        report: &mut Report,
    ) -> Result<Read, CertificateId> {
        let id = CertificateId(format!("{CONFIG_MAP}{name}"));
        let own = &*server.object.key().namespace;
        let (namespace, short) = name.split_once('/').unwrap_or((own, name));
        let Some(map) = self.index.sought.config_map(self.index.snapshot, namespace, short) else {
            report.problem(messages::no_authority_map(at, &format!("{namespace}/{short}")));
            return Err(id);
        };
        let map: &Object<ConfigMap> = map;
        let value = |key: &str| map.spec.data.get(key).filter(|text| !text.is_empty()).cloned();
        let pem = value("ca.crt").or_else(|| value("cacert"));
        if pem.is_none() {
            report.problem(messages::authority(at, &map.key.to_string(), "it has no ca.crt"));
        }
        Ok(Read { id, pem, crl_pem: value("ca.crl"), origin: origin(&map.key, String::new()) })
    }

    fn authority_file(
        &mut self,
        server: &ServerPlan,
        id: CertificateId,
        path: &str,
        reference: &AuthorityRef,
        report: &mut Report,
    ) -> Result<Read, CertificateId> {
        let at = server.at().field(&reference.field);
        let pem = self.file(path, at, messages::authority_file, report).map(|bytes| text(bytes.expose()));
        if pem == Some(None) {
            report.problem(messages::authority_file(at, path, "it is not text"));
        }
        let origin = origin(server.object.key(), reference.field.clone());
        Ok(Read { id, pem: pem.flatten(), crl_pem: None, origin })
    }
}

/// Certificates and revocation lists of a Secret.
fn pem_of(secret: &Object<Secret>) -> Result<(String, Option<String>), String> {
    if !holds_credentials(secret) {
        return Err(format!("it is of type {}", secret.spec.secret_type));
    }
    let bytes = secret.spec.authorities().ok_or("it has neither ca.crt nor cacert")?;
    let pem = text(bytes.certificates.expose()).ok_or("its CA is not text")?;
    let crl = match bytes.revocations {
        Some(bytes) => Some(text(bytes.expose()).ok_or("its revocation list is not text")?),
        None => None,
    };
    Ok((pem, crl))
}

fn text(bytes: &[u8]) -> Option<String> {
    std::str::from_utf8(bytes).ok().map(without_keys)
}
