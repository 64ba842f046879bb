//! XBackendTrafficPolicies: how often requests to a backend are tried again, and how clients stay at its endpoints. The
//! oldest policy for a backend has it; what DestinationRules and rules of routes say goes before it.

use std::collections::BTreeMap;
use std::sync::Arc;

use limen_ir::Millis;
use limen_ir::cluster::RetryLimit;
use limen_ir::policy::session::Session;
use limen_resources::gateway_api::{
    LocalReference, RequestRate, RetryConstraint, RetryConstraintBudget, X_GROUP, XBackendTrafficPolicy,
};
use limen_resources::{Kind, Object, ObjectKey, Problem, Snapshot};

use super::backend_tls::{IN_FORCE, say};
use super::{No, session};
use crate::index::oldest_first;
use crate::messages::{At, gateway_api as messages};
use crate::report::Report;
use crate::services::{ServiceFacts, ServiceSource};
use crate::settings::Settings;

type Policy = Arc<Object<XBackendTrafficPolicy>>;

/// The policies in force, by the Service or XBackend.
#[derive(Default)]
pub(crate) struct Traffic {
    attached: BTreeMap<ObjectKey, Policy>,
    /// What is to be said of them whoever routes to their backends.
    pub(crate) problems: Vec<Problem>,
    judged: Vec<Judged>,
}

/// What became of a policy.
struct Judged {
    policy: Policy,
    /// Its targets, those that are backends, and whether it is in force for them.
    targets: Vec<(Option<ObjectKey>, Result<(), No>)>,
}

/// The backends that each Gateway routes to, and what goes there.
pub(crate) type Routed<'g> = BTreeMap<(ObjectKey, &'g ObjectKey), Carried>;

/// What goes to a backend: only requests have sessions and are tried again.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Carried {
    pub(crate) requests: bool,
    pub(crate) others: bool,
}

/// The object that policies mean by a backend.
pub(crate) fn target_of(service: &ServiceFacts) -> Option<ObjectKey> {
    match &service.source {
        ServiceSource::XBackend(object) => Some(object.key.clone()),
        ServiceSource::Entries(_) | ServiceSource::Address(_) => None,
        ServiceSource::Kubernetes(_) | ServiceSource::Outside(_) | ServiceSource::Backend => {
            Some(ObjectKey::new(Kind::Service, &*service.namespace, service.flag_name()))
        }
    }
}

/// Why a policy is not in force for what goes to a backend.
const NO_REQUESTS: &str = "connections and datagrams have no sessions and are not tried again";

/// What is usual of a constraint.
const PERCENT: u32 = 20;
const INTERVAL_MS: u64 = 10_000;
const LEAST: u32 = 10;
const LEAST_PER_MS: u64 = 1_000;

impl Traffic {
    pub(crate) fn new(snapshot: &Snapshot, settings: &Settings) -> Traffic {
        let mut made = Traffic::default();
        for policy in oldest_first(snapshot.x_backend_traffic_policies()) {
            // The name of the note is that of the backend, which makes no difference to whether it is right.
            let own = policy.spec.session_persistence.as_ref();
            let right = own.map_or(Ok(()), |own| session::session(own, String::new).map(|_| ()));
            let right = right.map_err(|(_, why)| ("Invalid", why));
            if let Err((reason, why)) = &right {
                let at = At::new(policy, "spec.sessionPersistence");
                made.problems.push(messages::condition(at, "Accepted", reason, why));
            }
            let mut targets = Vec::new();
            for (at, target) in policy.spec.target_refs.iter().enumerate() {
                let field = format!("spec.targetRefs[{at}]");
                let key = key_of(policy, target);
                let accepted = match (&key, &right) {
                    (_, Err(no)) => Err(no.clone()),
                    (None, Ok(())) => {
                        let kind = &target.kind;
                        let why =
                            format!("its target is of kind {kind}, and only Services and XBackends can be");
                        made.problems.push(messages::no_target(At::new(policy, &field), &why));
                        Err(("Invalid", why))
                    }
                    (Some(key), Ok(())) => made.attach((snapshot, settings), policy, &field, key),
                };
                targets.push((key, accepted));
            }
            made.judged.push(Judged { policy: Arc::clone(policy), targets });
        }
        made
    }

    fn attach(
        &mut self,
        (snapshot, settings): (&Snapshot, &Settings),
        policy: &Policy,
        field: &str,
        key: &ObjectKey,
    ) -> Result<(), No> {
        let (namespace, name) = (&*key.namespace, &*key.name);
        let at = At::new(policy, field);
        let there = match key.kind {
            Kind::XBackend => snapshot.x_backends().get(namespace, name).is_some(),
            _ => {
                let by_flag = |own: &crate::settings::BackendOverride| {
                    own.service == name && own.namespace == namespace
                };
                snapshot.services().get(namespace, name).is_some() || settings.backends.iter().any(by_flag)
            }
        };
        if !there {
            let why = format!("there is no {key}");
            self.problems.push(messages::no_target(at, &why));
            return Err(("TargetNotFound", why));
        }
        if let Some(first) = self.attached.get(key) {
            self.problems.push(messages::conflicted(at, &first.key));
            let why = format!("{} has the same target and is older, or first by name", first.key);
            return Err(("Conflicted", why));
        }
        self.attached.insert(key.clone(), Arc::clone(policy));
        Ok(())
    }

    /// The policy for a service.
    pub(crate) fn find(&self, service: &ServiceFacts) -> Option<&Policy> {
        if self.attached.is_empty() {
            return None;
        }
        self.attached.get(&target_of(service)?)
    }

    /// How many of the requests to a service may be tried again.
    pub(crate) fn retries(&self, service: &ServiceFacts) -> Option<RetryLimit> {
        let RetryConstraint { budget, min_retry_rate } =
            self.find(service)?.spec.retry_constraint.as_ref()?;
        let RetryConstraintBudget { percent, interval } = budget;
        let RequestRate { count, interval: per } = min_retry_rate;
        let millis = |time: &Option<limen_resources::GoDuration>, usual| {
            Millis::new(time.map_or(usual, |time| time.millis()))
        };
        Some(RetryLimit::Rate {
            share: percent.unwrap_or(PERCENT).min(100) * 10_000,
            over: millis(interval, INTERVAL_MS)?,
            at_least: count.unwrap_or(LEAST),
            per: millis(per, LEAST_PER_MS)?,
        })
    }

    /// How clients stay at the endpoints of a port of a service.
    pub(crate) fn session(&self, service: &ServiceFacts, port: u16) -> Option<Arc<Session>> {
        let written = self.find(service)?.spec.session_persistence.as_ref()?;
        // Ports have other endpoints each, so each needs a note of its own.
        let name = || format!("limen-session-{}-{}-{port}", service.namespace, service.name);
        session::session(written, name).ok().map(Arc::new)
    }

    /// Says what became of each policy: once for each Gateway that routes to a backend of it, else for each of its backends.
    /// For connections and datagrams it says nothing that could be in force.
    pub(crate) fn conclude(&self, routed: &Routed<'_>, report: &mut Report) {
        for Judged { policy, targets } in &self.judged {
            let mut gateways: BTreeMap<&ObjectKey, (Result<(), No>, Carried)> = BTreeMap::new();
            for (at, (target, accepted)) in targets.iter().enumerate() {
                let meant = routed.iter().filter(|((backend, _), _)| target.as_ref() == Some(backend));
                for ((backend, gateway), carried) in meant {
                    let (said, all) = gateways.entry(gateway).or_insert((Ok(()), Carried::default()));
                    let accepted = match accepted {
                        Ok(()) if !carried.requests => {
                            let field = format!("spec.targetRefs[{at}]");
                            let why = format!("{gateway} sends no requests to {backend}: {NO_REQUESTS}");
                            report.problem(messages::no_requests(At::new(policy, &field), &why));
                            Err(("Invalid", why))
                        }
                        other => other.clone(),
                    };
                    all.others |= carried.others;
                    if said.is_ok() {
                        *said = accepted;
                    }
                }
            }
            for (gateway, (accepted, carried)) in &gateways {
                let fine = match carried.others {
                    true => format!("it is in force for requests: {NO_REQUESTS}"),
                    false => IN_FORCE.to_owned(),
                };
                say(policy, Some(gateway), (accepted, None), &fine, report);
            }
            for (target, accepted) in targets.iter().filter(|_| gateways.is_empty()) {
                say(policy, target.as_ref(), (accepted, None), IN_FORCE, report);
            }
        }
    }
}

fn key_of(policy: &Policy, target: &LocalReference) -> Option<ObjectKey> {
    let kind = match (&*target.group, &*target.kind) {
        ("", "Service") => Kind::Service,
        (X_GROUP, "XBackend") => Kind::XBackend,
        _ => return None,
    };
    Some(ObjectKey::new(kind, Arc::clone(&policy.key.namespace), &*target.name))
}
