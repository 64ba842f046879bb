//! What a Gateway asks of clients: who vouches for their certificates, on which of its ports.

use limen_ir::tls::{Authorities, CertificateId, ClientPolicy, Demand, Pinned};
use limen_resources::Object;
use limen_resources::core::check_certificates;
use limen_resources::gateway_api::{FrontendValidation, FrontendValidationMode, Gateway, ObjectReference};

use super::No;
use super::grants::Grants;
use super::listeners::referrer;
use crate::index::{Index, origin};
use crate::secrets::Certificates;

/// What holds for the clients of a listener.
pub(crate) struct Clients {
    /// `None`: nobody can be let in, as there is nobody who vouches.
    pub(crate) policy: Option<ClientPolicy>,
    /// What is wrong with the first reference that is.
    pub(crate) resolved: Result<(), No>,
}

/// What a Gateway asks of clients of a port: what is said of that port, else what is said of all.
pub(crate) fn validation(gateway: &Gateway, port: u16) -> Option<&FrontendValidation> {
    let frontend = gateway.tls.as_ref()?.frontend.as_ref()?;
    let own = frontend.per_port.iter().find(|own| own.port == port);
    own.map_or(&frontend.default, |own| &own.tls).validation.as_ref()
}

/// Are clients let in anywhere that nobody vouches for, though certificates are looked at?
pub(crate) fn insecure(gateway: &Gateway) -> bool {
    let frontend = gateway.tls.as_ref().and_then(|tls| tls.frontend.as_ref());
    let all = frontend.into_iter().flat_map(|frontend| {
        let ports = frontend.per_port.iter().map(|own| &own.tls);
        std::iter::once(&frontend.default).chain(ports).filter_map(|config| config.validation.as_ref())
    });
    all.into_iter().any(|said| said.mode == FrontendValidationMode::AllowInsecureFallback)
}

/// What `said` comes to.
pub(crate) fn clients(
    (index, grants): (&Index<'_>, &Grants),
    gateway: &Object<Gateway>,
    said: &FrontendValidation,
    certificates: &mut Certificates<'_, '_>,
) -> Clients {
    let (mut pem, mut names) = (String::new(), Vec::new());
    let mut resolved = Ok(());
    for reference in &said.ca_certificate_refs {
        match authority((index, grants), gateway, reference) {
            Ok((name, text)) => {
                names.push(name);
                pem.push_str(&text);
                pem.push('\n');
            }
            Err(no) => resolved = resolved.and(Err(no)),
        }
    }
    if names.is_empty() {
        return Clients { policy: None, resolved };
    }
    let id = CertificateId(format!("configmap://{}", names.join("+")));
    let origin = origin(&gateway.key, "spec.tls.frontend".to_owned());
    certificates.vouch(Authorities { id: id.clone(), pem, crl_pem: None, origin });
    let policy = ClientPolicy {
        demand: match said.mode {
            FrontendValidationMode::AllowValidOnly => Demand::Valid,
            FrontendValidationMode::AllowInsecureFallback => Demand::Nothing,
        },
        authorities: id,
        subject_alt_names: Vec::new(),
        pinned: Pinned::default(),
    };
    Clients { policy: Some(policy), resolved }
}

/// Name and PEM of the authorities that a reference leads to.
fn authority(
    (index, grants): (&Index<'_>, &Grants),
    gateway: &Object<Gateway>,
    reference: &ObjectReference,
) -> Result<(String, String), No> {
    let ObjectReference { group, kind, name, namespace } = reference;
    let kind = if kind.is_empty() { "ConfigMap" } else { kind };
    let namespace = if namespace.is_empty() { &*gateway.key.namespace } else { namespace };
    let title = format!("{kind} {namespace}/{name}");
    if !group.is_empty() || kind != "ConfigMap" {
        return Err(("InvalidCACertificateKind", format!("a {kind} holds no certificate authorities")));
    }
    if !grants.allow(referrer(&gateway.key), ("", kind), (namespace, name)) {
        let why = format!("no ReferenceGrant allows {} to refer to {title}", gateway.key);
        return Err(("RefNotPermitted", why));
    }
    let wrong = |why: String| ("InvalidCACertificateRef", why);
    let map = index.sought.config_map(index.snapshot, namespace, name);
    let map = map.ok_or_else(|| wrong(format!("there is no {title}")))?;
    let text = map.spec.data.get("ca.crt").filter(|text| !text.is_empty());
    let text = text.ok_or_else(|| wrong(format!("{title} has no ca.crt")))?;
    check_certificates(text.as_bytes()).map_err(|error| wrong(format!("{title}: {error}")))?;
    Ok((format!("{namespace}/{name}"), text.clone()))
}
