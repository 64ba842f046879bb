//! What became of Gateways: a server that serves nobody is not programmed, whichever stage found that out.

use std::collections::{BTreeMap, BTreeSet};

use limen_ir::origin::Origin;
use limen_resources::istio::Gateway;
use limen_resources::{Facts, GatewayAddress, Object, ObjectKey, Verdict};

use super::addresses;
use super::gateway::ServerPlan;
use crate::index::Index;
use crate::messages::{At, gateway as messages};
use crate::report::Report;

/// Of each Gateway that a gateway of this process takes up, what became of its servers.
#[derive(Debug, Default)]
pub(crate) struct Programmed {
    selected: BTreeMap<ObjectKey, Outcome>,
    /// Those that a managed gateway of another namespace would have taken up, and its name.
    apart: BTreeMap<ObjectKey, String>,
    /// The gateways of this process that answer 403 to everything, by number, and the policy that closes them.
    closed: BTreeMap<usize, String>,
}

/// Servers by number.
#[derive(Debug, Default)]
struct Outcome {
    /// The gateways of this process that take it up, by number.
    instances: BTreeSet<usize>,
    refused: BTreeSet<usize>,
    waiting: BTreeSet<usize>,
}

impl Outcome {
    /// Those of its gateways, of which `all` are by number.
    fn addresses(&self, all: &[Vec<GatewayAddress>]) -> Vec<GatewayAddress> {
        let own = self.instances.iter().filter_map(|number| all.get(*number)).flatten();
        let mut addresses: Vec<GatewayAddress> = Vec::new();
        for address in own {
            if !addresses.contains(address) {
                addresses.push(address.clone());
            }
        }
        addresses
    }
}

impl Programmed {
    /// A gateway of this process takes it up.
    pub(crate) fn select(&mut self, gateway: &Object<Gateway>, instance: usize) {
        self.selected.entry(gateway.key.clone()).or_default().instances.insert(instance);
    }

    /// A managed gateway of this process leaves it alone, as it is of another namespace.
    pub(crate) fn keep_apart(&mut self, gateway: &Object<Gateway>, instance: &str) {
        self.apart.insert(gateway.key.clone(), instance.to_owned());
    }

    /// A gateway of this process answers 403 to everything, for a policy that is not enforced yet.
    pub(crate) fn close(&mut self, instance: usize, policy: &Origin) {
        let Origin { kind, namespace, name, field: _ } = policy;
        self.closed.insert(instance, format!("{kind} {namespace}/{name}"));
    }

    /// The policy that closes the gateway with this number, if there is one.
    pub(crate) fn closed(&self, instance: usize) -> Option<&str> {
        self.closed.get(&instance).map(String::as_str)
    }

    /// The parts of an object that are not served, by their numbers in the list `of`, if there are any.
    pub(crate) fn refused(&self, key: &ObjectKey, of: &str) -> Option<String> {
        let outcome = self.selected.get(key)?;
        let all: BTreeSet<usize> = outcome.refused.union(&outcome.waiting).copied().collect();
        let fields = all.iter().map(|number| format!("{of}[{number}]"));
        (!all.is_empty()).then(|| fields.collect::<Vec<_>>().join(", "))
    }

    /// The policy that closes a gateway which takes up this Gateway, if there is one.
    fn closed_by(&self, outcome: &Outcome) -> Option<&str> {
        outcome.instances.iter().find_map(|number| self.closed.get(number)).map(String::as_str)
    }

    /// A server is not served, or its clients are turned away.
    pub(crate) fn refuse(&mut self, server: &ServerPlan) {
        self.refuse_of(server.object.key(), server.number);
    }

    /// The same, for a server that did not come so far as to be planned.
    pub(crate) fn refuse_number(&mut self, gateway: &Object<Gateway>, number: usize) {
        self.refuse_of(&gateway.key, number);
    }

    fn refuse_of(&mut self, key: &ObjectKey, number: usize) {
        self.selected.entry(key.clone()).or_default().refused.insert(number);
    }

    /// A server turns clients away only until the files that it names are read.
    pub(crate) fn wait(&mut self, server: &ServerPlan) {
        self.selected.entry(server.object.key().clone()).or_default().waiting.insert(server.number);
    }

    /// Says what became of each Gateway.
    pub(crate) fn conclude(&self, index: &Index<'_>, report: &mut Report) {
        let instances = index.settings.gateways.iter();
        let addresses: Vec<_> =
            instances.map(|instance| addresses::addresses(index, instance, report)).collect();
        for gateway in &index.gateways {
            let outcome = self.selected.get(&gateway.key);
            let apart = self.apart.get(&gateway.key).filter(|_| outcome.is_none());
            let (status, reason, message) = match outcome {
                None if apart.is_some() => {
                    let message = "the gateway that its selector fits is managed, and of another namespace";
                    (false, "OtherNamespace", message.to_owned())
                }
                None => (false, "NotSelected", "its selector fits no gateway of this process".to_owned()),
                Some(Outcome { refused, .. }) if !refused.is_empty() => {
                    (false, "ServersNotServed", format!("not served: {}; see the problems", fields(refused)))
                }
                Some(Outcome { waiting, .. }) if !waiting.is_empty() => {
                    let message = format!("the files of {} are still to be read", fields(waiting));
                    (false, "Pending", message)
                }
                Some(outcome) if self.closed_by(outcome).is_some() => {
                    let policy = self.closed_by(outcome).unwrap_or_default();
                    let message = format!("every request is answered 403: {policy} is not enforced yet");
                    (false, "ClosedByPolicy", message)
                }
                Some(_) => (true, "Programmed", "all its servers are served".to_owned()),
            };
            if let Some(instance) = apart {
                let at = At::new(gateway, "spec.selector");
                report.problem(messages::kept_apart(at, instance, &index.settings.workload_namespace));
            } else if outcome.is_none() && index.settings.files {
                say_unselected(gateway, index, report);
            }
            let found = outcome.map(|outcome| outcome.addresses(&addresses)).unwrap_or_default();
            let verdict = Verdict::new(gateway.key.clone(), Verdict::PROGRAMMED, status, (reason, message));
            let facts = Facts { addresses: found, ..Facts::default() };
            report.verdict(Verdict { generation: gateway.meta.generation, ..verdict }.with_facts(facts));
        }
    }
}

fn fields(numbers: &BTreeSet<usize>) -> String {
    let fields = numbers.iter().map(|number| format!("spec.servers[{number}]"));
    fields.collect::<Vec<_>>().join(", ")
}

fn say_unselected(gateway: &Object<Gateway>, index: &Index<'_>, report: &mut Report) {
    let own = index.settings.gateways.first().map(|instance| {
        let pairs = instance.labels.iter().map(|(key, value)| format!("{key}: {value}"));
        pairs.collect::<Vec<_>>().join(", ")
    });
    let at = At::new(gateway, "spec.selector");
    report.problem(messages::selects_nothing(at, &own.unwrap_or_default()));
}
