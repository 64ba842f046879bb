//! Gateways that get instances of their own: a Deployment and a Service is made for each, in the namespace of this
//! process, and what is asked for to scale it. This one binds nothing for them.
//!
//! They do not stand in the namespace of the Gateway: their Pods have the rights of a gateway, and whoever may make Pods
//! there, or execute something in them, is not to get those.

mod merge;
mod objects;
mod parameters;
mod scaling;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use limen_resources::core::{HorizontalPodAutoscaler, IntOrString, ScaleTarget, Service};
use limen_resources::gateway_api::{Gateway, Listener};
use limen_resources::{Facts, Kind, Level, Made, Meta, Now, Object, ObjectKey, Verdict};
use serde_json::Value;

use super::gateways::OwnGateway;
use super::infrastructure::{self, CONTROLLER, MANAGER, has};
use super::status::{self, Said};
use super::{No, classes, listener_sets};
use crate::index::Index;
use crate::istio::addresses;
use crate::messages::{At, gateway_api as messages};
use crate::report::Report;
use crate::settings::Deployer;
use objects::{GATEWAY, Ports};
pub(super) use parameters::Parameters;

/// What may be made for a Gateway.
const KINDS: [Kind; 4] =
    [Kind::Deployment, Kind::Service, Kind::HorizontalPodAutoscaler, Kind::PodDisruptionBudget];

/// What there is to do about Gateways with instances of their own.
#[derive(Debug, Default)]
pub(crate) struct Deployed {
    /// What is made for them.
    pub(crate) made: Vec<Made>,
    /// Which group of instances serves each of them, and each ListenerSet that hangs on one.
    pub(crate) elsewhere: BTreeMap<ObjectKey, String>,
}

/// Sees to what is made for each such Gateway, and that what was made for others goes.
pub(crate) fn deployed(index: &Index<'_>, report: &mut Report) -> Deployed {
    let mut deployed = Deployed::default();
    let Some(deployer) = &index.settings.gateway_api.deployer else { return deployed };
    let classes = classes::deployed(index, deployer, report);
    let mut gateways: Vec<_> = index.snapshot.api_gateways().iter().collect();
    gateways.retain(|gateway| classes.contains_key(&*gateway.spec.gateway_class_name));
    gateways.sort_by_key(|gateway| status::age(gateway));
    let own: Vec<_> = gateways.iter().map(|gateway| unbound(gateway)).collect();
    let sets = listener_sets::listener_sets(index, &own);
    let (mut wanted, mut bearing, mut taken) = (BTreeSet::new(), Vec::new(), BTreeSet::new());
    for (number, gateway) in gateways.into_iter().enumerate() {
        let own = sets.iter().filter(|set| set.gateway == number);
        let allowed = own.clone().filter(|set| set.allowed.is_ok());
        let more = allowed.flat_map(|set| &set.object.spec.listeners);
        let listeners: Vec<&Listener> = gateway.spec.listeners.iter().chain(more).collect();
        let name = objects::name(gateway);
        let class = classes.get(&*gateway.spec.gateway_class_name).and_then(Option::as_ref);
        let made = Making { index, deployer, gateway, name: &name };
        let ports = Ports::of(&listeners);
        let parameters = Parameters::of_gateway(index, gateway);
        let mut waits = Ok(());
        match (class, &parameters) {
            (Some(class), Ok(parameters)) => {
                let both = [class, parameters];
                let external = free(objects::external(gateway, both), &ports, &mut taken);
                for (key, content) in made.made((&ports, &external), both) {
                    wanted.insert(key.clone());
                    match made.change(key, content) {
                        Ok(change) => deployed.made.extend(change),
                        Err(key) => waits = Err(made.somebody_elses(&key, report)),
                    }
                }
            }
            // What was made before goes on as it is.
            _ => wanted.extend(KINDS.map(|kind| made.key(kind))),
        }
        made.say(&parameters.map(|_| ()), waits, report);
        bearing.push((&**gateway, ports.numbers()));
        let keys = own.map(|set| set.object.key.clone()).chain([gateway.key.clone()]);
        deployed.elsewhere.extend(keys.map(|key| (key, name.clone())));
    }
    deployed.made.extend(stale(index, deployer, &wanted));
    // Whoever looks for what a Gateway asks for beside it finds it there, too.
    let beside = infrastructure::made_for(index, &deployer.controller, bearing.into_iter());
    deployed.made.extend(beside);
    deployed
}

/// A place at which traffic arrives.
type Place = (IpAddr, (u16, &'static str));

/// The external addresses at which no older Gateway takes what comes to any of these ports.
fn free(asked: BTreeSet<IpAddr>, ports: &Ports, taken: &mut BTreeSet<Place>) -> Vec<IpAddr> {
    let numbers = ports.numbers();
    let places = |address: IpAddr| numbers.iter().map(move |port| (address, *port));
    let free = |address: &IpAddr| places(*address).all(|place| !taken.contains(&place));
    let free: Vec<IpAddr> = asked.into_iter().filter(free).collect();
    taken.extend(free.iter().flat_map(|address| places(*address)));
    free
}

/// As a Gateway of ours that is not bound here.
fn unbound<'a>(object: &'a Arc<Object<Gateway>>) -> OwnGateway<'a> {
    let (accepted, parameters, addressed) = (Ok(()), Ok(()), Ok(()));
    OwnGateway { object, binds: Vec::new(), addresses: Vec::new(), accepted, parameters, addressed }
}

/// What is made for one Gateway.
struct Making<'m, 'a> {
    index: &'m Index<'a>,
    deployer: &'m Deployer,
    gateway: &'a Object<Gateway>,
    name: &'m str,
}

impl Making<'_, '_> {
    fn key(&self, kind: Kind) -> ObjectKey {
        ObjectKey::new(kind, &*self.index.settings.workload_namespace, self.name)
    }

    fn made(&self, reached: (&Ports, &[IpAddr]), parameters: [&Parameters; 2]) -> Vec<(ObjectKey, Value)> {
        let ground = (&*self.index.settings.workload_namespace, self.deployer);
        let contents = objects::objects(ground, (self.gateway, self.name), reached, parameters);
        contents.into_iter().map(|(kind, content)| (self.key(kind), content)).collect()
    }

    /// What is to be done so that an object holds this, if anything. An error: it is somebody else's.
    fn change(&self, key: ObjectKey, content: Value) -> Result<Option<Made>, ObjectKey> {
        let (snapshot, deployer) = (self.index.snapshot, self.deployer);
        let (namespace, name) = (&*key.namespace, &*key.name);
        let by_generation = |known: Option<&Meta>| {
            let generation =
                |known: &Meta| has(known, &content).then(|| known.generation.unwrap_or_default());
            now(deployer, known.map(|known| (known, generation(known))))
        };
        let now = match key.kind {
            Kind::Deployment => {
                by_generation(snapshot.deployments().get(namespace, name).map(|known| &known.meta))
            }
            Kind::PodDisruptionBudget => {
                by_generation(snapshot.pod_disruption_budgets().get(namespace, name).map(|known| &known.meta))
            }
            Kind::HorizontalPodAutoscaler => {
                let known = snapshot.horizontal_pod_autoscalers().get(namespace, name);
                if known.is_some_and(|known| has(&known.meta, &content) && scales(&known.spec, &content)) {
                    return Ok(None);
                }
                now(deployer, known.map(|known| (&known.meta, None)))
            }
            _ => {
                let known = snapshot.services().get(namespace, name);
                if known.is_some_and(|known| has(&known.meta, &content) && leads(&known.spec, &content)) {
                    return Ok(None);
                }
                now(deployer, known.map(|known| (&known.meta, None)))
            }
        };
        match now {
            Some(now) => Ok(Some(Made { key, owner: None, content: Some(content), now })),
            None => Err(key),
        }
    }

    fn somebody_elses(&self, key: &ObjectKey, report: &mut Report) -> No {
        report.problem(messages::somebody_elses(At::new(self.gateway, "metadata.name"), key));
        ("Invalid", format!("{key}, which is to be made for it, is somebody else's"))
    }

    /// What there is to be said of the Gateway as long as its instances do not speak. `waits`: why nothing can be made.
    fn say(&self, parameters: &Result<(), No>, waits: Result<(), No>, report: &mut Report) {
        let said = Said::of(self.gateway);
        match parameters {
            Ok(()) => report.verdict(Verdict {
                generation: said.generation,
                ..Verdict::new(said.key.clone(), "Accepted", false, ("Pending", "its own instances judge it"))
            }),
            no => said.whole(report, ("Accepted", ""), no, "spec.infrastructure.parametersRef"),
        }
        let service = self.key(Kind::Service);
        let service = self.index.snapshot.services().get(&service.namespace, &service.name);
        let made = service.filter(|service| ours(self.deployer, &service.meta));
        let addresses = made.map(|service| addresses::of_made(self.index, service, report));
        let none = "none of the instances that are made for it is there".to_owned();
        let (reason, message) = waits.err().unwrap_or(("Pending", none));
        let verdict = Verdict::new(said.key.clone(), Verdict::PROGRAMMED, false, (reason, message));
        let facts = Facts { addresses: addresses.unwrap_or_default(), ..Facts::default() };
        report.verdict(Verdict { generation: said.generation, ..verdict }.with_facts(facts));
    }
}

/// How an object is known. `known`: its metadata, and its generation if it was made of what it is to be made of. `None`:
/// it is somebody else's.
fn now(deployer: &Deployer, known: Option<(&Meta, Option<u64>)>) -> Option<Now> {
    match known {
        None => Some(Now::Absent),
        Some((meta, _)) if !ours(deployer, meta) => None,
        Some((_, Some(generation))) => Some(Now::Made(generation)),
        Some((_, None)) => Some(Now::Changed),
    }
}

/// Was it made here?
fn ours(deployer: &Deployer, meta: &Meta) -> bool {
    let by = |of: &BTreeMap<String, String>, name: &str, value: &str| {
        of.get(name).is_some_and(|written| written == value)
    };
    by(&meta.labels, MANAGER, "limen") && by(&meta.annotations, CONTROLLER, &deployer.controller)
}

/// Does an autoscaler scale what it is to scale, as far? It has no generation to tell of a change.
fn scales(known: &HorizontalPodAutoscaler, content: &Value) -> bool {
    let HorizontalPodAutoscaler { scale_target_ref: ScaleTarget { kind, name }, min_replicas, max_replicas } =
        known;
    let text =
        |field: &str| content.pointer(&format!("/spec/scaleTargetRef/{field}")).and_then(Value::as_str);
    let count = |field: &str| content.pointer(&format!("/spec/{field}")).and_then(Value::as_u64);
    text("kind") == Some(kind)
        && text("name") == Some(name)
        && count("minReplicas").unwrap_or(1) == u64::from(min_replicas.unwrap_or(1))
        && count("maxReplicas") == Some(u64::from(*max_replicas))
}

/// Does a Service lead where it is to lead? What else it says has no generation to tell of a change.
fn leads(known: &Service, content: &Value) -> bool {
    let text = |pointer: &str| content.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
    let selector = content.pointer("/spec/selector").and_then(Value::as_object);
    let selected = selector.is_some_and(|selector| {
        selector.len() == known.selector.len()
            && selector
                .iter()
                .all(|(name, value)| known.selector.get(name).map(String::as_str) == value.as_str())
    });
    let ports =
        content.pointer("/spec/ports").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let same = ports.len() == known.ports.len()
        && ports.iter().zip(&known.ports).all(|(wanted, known)| {
            let number = |field: &str| wanted.get(field).and_then(Value::as_u64);
            let text = |field: &str| wanted.get(field).and_then(Value::as_str).unwrap_or_default();
            let target = match &known.target_port {
                None => Some(u64::from(known.port)),
                Some(IntOrString::Int(port)) => Some(u64::from(*port)),
                Some(IntOrString::String(_)) => None,
            };
            number("port") == Some(u64::from(known.port))
                && number("targetPort") == target
                && (text("name"), text("protocol")) == (&*known.name, &*known.protocol)
        });
    let external = content.pointer("/spec/externalIPs").and_then(Value::as_array);
    let found = external.is_none_or(|asked| {
        asked.iter().all(|asked| known.external_ips.iter().any(|known| asked.as_str() == Some(known)))
    });
    text("/spec/type") == known.service_type && selected && same && found
}

/// What was made for Gateways that are not such any more.
fn stale(index: &Index<'_>, deployer: &Deployer, wanted: &BTreeSet<ObjectKey>) -> Vec<Made> {
    let namespace = &*index.settings.workload_namespace;
    let snapshot = index.snapshot;
    let deployments = snapshot.deployments().in_namespace(namespace);
    let services = snapshot.services().in_namespace(namespace);
    let autoscalers = snapshot.horizontal_pod_autoscalers().in_namespace(namespace);
    let budgets = snapshot.pod_disruption_budgets().in_namespace(namespace);
    let all = deployments
        .map(|object| (&object.key, &object.meta))
        .chain(services.map(|object| (&object.key, &object.meta)))
        .chain(autoscalers.map(|object| (&object.key, &object.meta)))
        .chain(budgets.map(|object| (&object.key, &object.meta)));
    // A Gateway that cannot be read is there all the same.
    let unread = |meta: &Meta| {
        let of = meta.annotations.get(GATEWAY).map(String::as_str).unwrap_or_default();
        index.snapshot.problems().filter(|problem| problem.level == Level::Error).any(|problem| {
            let object = problem.object.as_ref().filter(|key| key.kind == Kind::ApiGateway);
            object.is_some_and(|key| format!("{}/{}", key.namespace, key.name) == of)
        })
    };
    let gone = all.filter(|(key, meta)| ours(deployer, meta) && !wanted.contains(*key) && !unread(meta));
    let gone = gone.map(|(key, _)| key.clone());
    gone.map(|key| Made { key, owner: None, content: None, now: Now::Changed }).collect()
}
