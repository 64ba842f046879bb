//! BackendTLSPolicy: TLS towards the ports of Services, whatever routes lead there. What a DestinationRule says of TLS goes
//! before it.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use limen_ir::origin::Origin;
use limen_ir::tls::{Bundle, ClientTls, Trust, TrustedNames};
use limen_resources::core::check_certificates;
use limen_resources::gateway_api::{BackendTlsPolicy, BackendTlsValidation, LocalReference, PolicyTarget};
use limen_resources::{Kind, Object, ObjectKey, Problem, Snapshot, Source, Verdict};

use crate::index::{oldest_first, origin};
use crate::messages::{At, gateway_api as messages};
use crate::origin_tls::system_roots;
use crate::report::Report;
use crate::services::{PortFacts, ServiceFacts, ServiceSource};
use crate::settings::Settings;
use crate::sought::Sought;

type Policy = Arc<Object<BackendTlsPolicy>>;

/// The policies that are in force, by the Service's namespace and name, then by the name of the port; empty: all ports.
#[derive(Default)]
pub(crate) struct BackendTls {
    attached: BTreeMap<(String, String), BTreeMap<String, Attached>>,
    /// What is to be said of the policies whoever routes to their Services.
    pub(crate) problems: Vec<Problem>,
    judged: Vec<Judged>,
    /// Files that they need.
    pub(crate) files: BTreeSet<String>,
}

/// A policy in force for a Service or one of its ports.
pub(crate) struct Attached {
    policy: Policy,
    field: String,
    /// How the Service is spoken to. Without `trust` nobody can vouch for it, and no connection is made.
    pub(crate) tls: ClientTls,
}

impl Attached {
    /// What it is written in.
    pub(crate) fn origin(&self) -> Origin {
        origin(&self.policy.key, String::new())
    }

    /// The target that it is in force for.
    pub(crate) fn at(&self) -> At<'_> {
        At::new(&self.policy, &self.field)
    }
}

/// A condition that does not hold: its reason, and why.
type No = (&'static str, String);

/// What became of a policy.
struct Judged {
    policy: Policy,
    /// Its targets, those that are Services, and whether it is in force for them.
    targets: Vec<(Option<ObjectKey>, Result<(), No>)>,
    /// Is everything there that it refers to?
    resolved: Result<(), No>,
}

/// A Gateway, with the namespaces and names of the Services that it routes to.
pub(crate) type Routed<'g> = (&'g ObjectKey, BTreeSet<(&'g str, &'g str)>);

/// What the validation of a policy comes to.
pub(super) struct Validation {
    pub(super) tls: ClientTls,
    /// Why nobody vouches for the server, if so.
    pub(super) accepted: Result<(), No>,
    /// Which reference is wrong, if one is.
    pub(super) resolved: Result<(), No>,
}

impl BackendTls {
    /// Puts each policy in its place: the oldest for a place has it.
    pub(crate) fn new(snapshot: &Snapshot, settings: &Settings, sought: &Sought) -> BackendTls {
        let mut made = BackendTls::default();
        for policy in oldest_first(snapshot.backend_tls_policies()) {
            let BackendTls { problems, files, .. } = &mut made;
            let (key, source, field) = (&policy.key, &policy.source, "spec.validation");
            let mut reading = Reading { snapshot, sought, key, source, field, problems, files };
            let validation = reading.validation(&policy.spec.validation);
            let mut targets = Vec::new();
            for (at, target) in policy.spec.target_refs.iter().enumerate() {
                let field = format!("spec.targetRefs[{at}]");
                let accepted = made.attach((snapshot, settings), policy, (&field, target), &validation);
                let service =
                    || ObjectKey::new(Kind::Service, Arc::clone(&policy.key.namespace), &*target.name);
                targets.push((is_service(target).then(service), accepted));
            }
            let resolved = validation.resolved;
            made.judged.push(Judged { policy: Arc::clone(policy), targets, resolved });
            for option in policy.spec.options.keys() {
                let field = format!("spec.options.{option}");
                made.problems.push(messages::unknown_option(At::new(policy, &field), option));
            }
        }
        made
    }

    /// The policy for a port of a service: one for this port, else one for the whole.
    pub(crate) fn find(&self, service: &ServiceFacts, port: &PortFacts) -> Option<&Attached> {
        if self.attached.is_empty() || matches!(service.source, ServiceSource::Entries(_)) {
            return None;
        }
        let key = (service.namespace.clone(), service.flag_name().to_owned());
        let places = self.attached.get(&key)?;
        places.get(&port.name).or_else(|| places.get(""))
    }

    fn attach(
        &mut self,
        (snapshot, settings): (&Snapshot, &Settings),
        policy: &Policy,
        (field, target): (&str, &PolicyTarget),
        validation: &Validation,
    ) -> Result<(), No> {
        let PolicyTarget { group: _, kind, name, section_name } = target;
        let at = At::new(policy, field);
        if !is_service(target) {
            let why = format!("its target is of kind {kind}, and only Services can be");
            self.problems.push(messages::no_target(at, &why));
            return Err(("Invalid", why));
        }
        let namespace = &*policy.key.namespace;
        let service = snapshot.services().get(namespace, name);
        let by_flag =
            || settings.backends.iter().any(|own| own.service == *name && own.namespace == namespace);
        let has_port = |name: &str| {
            service.is_some_and(|service| service.spec.ports.iter().any(|port| port.name == name))
        };
        let why = if service.is_none() && !by_flag() {
            Some(format!("there is no Service {namespace}/{name}"))
        } else if !section_name.is_empty() && !has_port(section_name) {
            Some(format!("Service {namespace}/{name} has no port of the name {section_name}"))
        } else {
            None
        };
        if let Some(why) = why {
            self.problems.push(messages::no_target(at, &why));
            return Err(("TargetNotFound", why));
        }
        let places = self.attached.entry((namespace.to_owned(), name.clone())).or_default();
        if let Some(winner) = places.get(section_name) {
            let first = &winner.policy.key;
            self.problems.push(messages::conflicted(at, first));
            return Err((
                "Conflicted",
                format!("{first} has the same target and is older, or first by name"),
            ));
        }
        let (policy, tls) = (Arc::clone(policy), validation.tls.clone());
        places.insert(section_name.clone(), Attached { policy, field: field.to_owned(), tls });
        validation.accepted.clone()
    }

    /// Says what became of each policy: once for each Gateway that routes to a Service of it, else for each of its Services.
    pub(crate) fn conclude(&self, gateways: &[Routed<'_>], report: &mut Report) {
        for Judged { policy, targets, resolved } in &self.judged {
            let mut said = false;
            for (gateway, services) in gateways {
                let routed = |(service, _): &&(Option<ObjectKey>, _)| {
                    let names = service.as_ref().map(|service| (&*service.namespace, &*service.name));
                    names.is_some_and(|names| services.contains(&names))
                };
                let mut own = targets.iter().filter(routed).peekable();
                if own.peek().is_some() {
                    let accepted = own.map(|(_, accepted)| accepted.clone()).find(Result::is_err);
                    say(
                        policy,
                        Some(gateway),
                        (&accepted.unwrap_or(Ok(())), Some(resolved)),
                        IN_FORCE,
                        report,
                    );
                    said = true;
                }
            }
            for (service, accepted) in targets.iter().filter(|_| !said) {
                say(policy, service.as_ref(), (accepted, Some(resolved)), IN_FORCE, report);
            }
        }
    }
}

/// Where it is written which certificates are good, and what is to be said of that.
pub(super) struct Reading<'r> {
    pub(super) snapshot: &'r Snapshot,
    pub(super) sought: &'r Sought,
    pub(super) key: &'r ObjectKey,
    pub(super) source: &'r Source,
    /// The field.
    pub(super) field: &'r str,
    pub(super) problems: &'r mut Vec<Problem>,
    pub(super) files: &'r mut BTreeSet<String>,
}

impl Reading<'_> {
    /// Who vouches for the server, and under which names.
    pub(super) fn validation(&mut self, said: &BackendTlsValidation) -> Validation {
        let names = match &*said.subject_alt_names {
            [] => TrustedNames::ServerName,
            listed => TrustedNames::Listed(listed.iter().map(|name| name.name().to_owned()).collect()),
        };
        let (mut accepted, mut resolved) = (Ok(()), Ok(()));
        let authorities = if !said.ca_certificate_refs.is_empty() {
            let (pem, wrong) = self.authorities(said);
            if pem.is_none() {
                let why = "no reference leads to a certificate authority".to_owned();
                accepted = Err(("NoValidCACertificate", why));
            }
            resolved = wrong.map_or(Ok(()), Err);
            pem
        } else if said.well_known_ca_certificates == "System" {
            system_roots(self.snapshot, self.files).unwrap_or_else(|()| {
                let why = "this system has no list of public certificate authorities";
                self.say("wellKnownCACertificates", why);
                accepted = Err(("Invalid", why.to_owned()));
                None
            })
        } else {
            let why = format!("the authorities {} are not known", said.well_known_ca_certificates);
            self.say("wellKnownCACertificates", &why);
            accepted = Err(("Invalid", why));
            None
        };
        let trust = authorities.map(|authorities| Trust::Authorities { authorities, revoked: None, names });
        let tls = ClientTls { sni: Some(said.hostname.clone()), trust, identity: None, mesh: None };
        Validation { tls, accepted, resolved }
    }

    /// The certificates that the references lead to, and the first reference that is wrong.
    fn authorities(&mut self, said: &BackendTlsValidation) -> (Option<Bundle>, Option<No>) {
        let mut all = String::new();
        let mut first = None;
        for (at, reference) in said.ca_certificate_refs.iter().enumerate() {
            match certificates((self.snapshot, self.sought), &self.key.namespace, reference) {
                Ok(pem) => {
                    all.push_str(&pem);
                    all.push('\n');
                }
                Err((reason, why)) => {
                    self.say(&format!("caCertificateRefs[{at}]"), &why);
                    first.get_or_insert((reason, why));
                }
            }
        }
        ((!all.is_empty()).then(|| Bundle::new(all.into())), first)
    }

    fn say(&mut self, part: &str, why: &str) {
        let field = format!("{}.{part}", self.field);
        self.problems.push(messages::no_authority(At::of(self.key, self.source, &field), why));
    }
}

/// What is said of a policy that holds.
pub(super) const IN_FORCE: &str = "it is in force";

/// Says of a policy or a backend what it is to a Gateway, or to a Service. `fine`: what is said where it holds.
pub(super) fn say<S>(
    policy: &Object<S>,
    parent: Option<&ObjectKey>,
    (accepted, resolved): (&Result<(), No>, Option<&Result<(), No>>),
    fine: &str,
    report: &mut Report,
) {
    let resolved = resolved.map(|resolved| ("ResolvedRefs", "what it refers to is there", resolved));
    for (condition, fine, holds) in [("Accepted", fine, accepted)].into_iter().chain(resolved) {
        let (reason, message) = match holds {
            Ok(()) => (condition, Cow::Owned(fine.to_owned())),
            Err((reason, message)) => (*reason, Cow::Owned(message.clone())),
        };
        report.verdict(Verdict {
            parent: parent.cloned(),
            generation: policy.meta.generation,
            ..Verdict::new(policy.key.clone(), condition, holds.is_ok(), (reason, message))
        });
    }
}

fn is_service(target: &PolicyTarget) -> bool {
    target.group.is_empty() && target.kind == "Service"
}

/// PEM of the authorities that a reference leads to.
fn certificates(
    (snapshot, sought): (&Snapshot, &Sought),
    namespace: &str,
    reference: &LocalReference,
) -> Result<String, No> {
    let LocalReference { group, kind, name } = reference;
    let title = format!("{kind} {namespace}/{name}");
    let wrong = |why: String| ("InvalidCACertificateRef", why);
    let absent = || wrong(format!("there is no {title}"));
    let empty = || wrong(format!("{title} has no ca.crt"));
    let pem = match (group.as_str(), kind.as_str()) {
        ("", "ConfigMap") => {
            let map = sought.config_map(snapshot, namespace, name).ok_or_else(absent)?;
            map.spec.data.get("ca.crt").filter(|text| !text.is_empty()).cloned().ok_or_else(empty)?
        }
        ("", "Secret") => {
            let secret = sought.secret(snapshot, namespace, name).ok_or_else(absent)?;
            let bytes = secret.spec.first(&["ca.crt"]).ok_or_else(empty)?;
            String::from_utf8(bytes.expose().to_vec())
                .map_err(|_| wrong(format!("{title}: it is no text")))?
        }
        _ => return Err(("InvalidKind", format!("a {kind} holds no certificate authorities"))),
    };
    check_certificates(pem.as_bytes()).map_err(|error| wrong(format!("{title}: {error}")))?;
    Ok(pem)
}
