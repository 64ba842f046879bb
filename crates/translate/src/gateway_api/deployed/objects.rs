//! The objects that are made for a Gateway: a Deployment and a Service, and what is asked for besides.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use limen_resources::gateway_api::{Gateway, Listener};
use limen_resources::{Kind, Object, ObjectKey};
use serde_json::{Value, json};

use super::super::infrastructure::{
    self, CLASS, CONTROLLER, DIGEST, MANAGER, digest, plain, protocol, shortened,
};
use super::merge::merge;
use super::parameters::Parameters;
use crate::settings::Deployer;

/// The Gateway that it was made for, `namespace/name`.
pub(super) const GATEWAY: &str = "limen.dev/gateway";
/// The group of instances; every Pod of it has this label.
const GROUP: &str = "limen.dev/group";
/// The ports of the instances themselves, which no Service leads to: metrics and readiness.
const METRICS: u16 = 15020;
const READY: u16 = 15021;
/// The longest name of a Deployment, in bytes, with which names of its Pods are not cut.
const LONGEST: usize = 46;
/// As which user and group the instances run.
const NOBODY: u32 = 65532;

/// The ports of a Gateway with their protocols, and the listener that each is called after.
pub(super) struct Ports(BTreeMap<(u16, &'static str), String>);

impl Ports {
    pub(super) fn of(listeners: &[&Listener]) -> Ports {
        let mut ports: BTreeMap<(u16, &'static str), String> = BTreeMap::new();
        for Listener { name, port, protocol: spoken, .. } in listeners.iter().copied() {
            let known = matches!(&**spoken, "HTTP" | "HTTPS" | "TLS" | "TCP" | "UDP");
            let place = (*port, protocol(spoken));
            if !known || matches!(*port, METRICS | READY) || ports.contains_key(&place) {
                continue;
            }
            let called = shortened(&name.replace('.', "-"));
            let called = match ports.values().any(|other| *other == called) {
                true => format!("{}-{port}", place.1.to_ascii_lowercase()),
                false => called,
            };
            ports.insert(place, called);
        }
        Ports(ports)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Numbers and protocols.
    pub(super) fn numbers(&self) -> BTreeSet<(u16, &'static str)> {
        self.0.keys().copied().collect()
    }

    fn of_service(&self) -> Vec<Value> {
        let port = |((port, protocol), name): (&(u16, &str), &String)| json!({ "name": name, "port": port, "protocol": protocol, "targetPort": port });
        self.0.iter().map(port).collect()
    }
}

/// What is made for a Gateway is called so; the end tells Gateways of several namespaces apart.
pub(super) fn name(gateway: &Object<Gateway>) -> String {
    let ObjectKey { namespace, name, .. } = &gateway.key;
    let class = &gateway.spec.gateway_class_name;
    let end = digest(&format!("{namespace}/{name}/{class}")) >> 32;
    let start = plain(&format!("{name}-{class}"));
    let start = start.get(..LONGEST - 9).unwrap_or(&start).trim_end_matches('-');
    format!("{start}-{end:08x}")
}

/// The addresses that a Gateway asks for.
fn asked(gateway: &Object<Gateway>) -> impl Iterator<Item = &str> {
    let own = gateway.spec.addresses.iter();
    let own = own.filter(|one| matches!(&*one.address_type, "" | "IPAddress") && !one.value.is_empty());
    own.map(|one| &*one.value)
}

/// Whoever has an external address gets what the cluster's own Pods send there, so classes say which there may be.
fn lets_through(parameters: [&Parameters; 2], address: IpAddr) -> bool {
    parameters.iter().any(|parameters| parameters.external.iter().any(|network| network.contains(&address)))
}

/// The external addresses that a Gateway asks for and may have.
pub(super) fn external(gateway: &Object<Gateway>, parameters: [&Parameters; 2]) -> BTreeSet<IpAddr> {
    let addresses = asked(gateway).filter_map(|one| one.parse().ok());
    addresses.filter(|address| lets_through(parameters, *address)).collect()
}

/// What is made for a Gateway, under this name, with the changes in their order.
pub(super) fn objects(
    (namespace, deployer): (&str, &Deployer),
    (gateway, name): (&Object<Gateway>, &str),
    (ports, external): (&Ports, &[IpAddr]),
    parameters: [&Parameters; 2],
) -> Vec<(Kind, Value)> {
    let maker = Maker { namespace, deployer, gateway, name };
    let (mut deployment, mut service) = (maker.deployment(), maker.service(ports, external, parameters));
    for Parameters { deployment: first, service: second, .. } in parameters {
        first.iter().for_each(|patch| merge(&mut deployment, patch));
        second.iter().for_each(|patch| merge(&mut service, patch));
    }
    let metadata = maker.of_pods(parameters);
    merge(&mut deployment, &json!({ "spec": { "template": { "metadata": metadata } } }));
    // Whose it is, and which Pods are meant, is not for parameters to say.
    merge(&mut deployment, &maker.identity("apps/v1", "Deployment"));
    let labels = maker.own_labels();
    let group = json!({ GROUP: name });
    set(&mut deployment, &["spec", "selector"], json!({ "matchLabels": group }));
    merge(&mut deployment, &json!({ "spec": { "template": { "metadata": { "labels": labels } } } }));
    merge(&mut service, &maker.identity("v1", "Service"));
    set(&mut service, &["spec", "selector"], group);
    let autoscaler = maker.autoscaler(parameters);
    if autoscaler.is_some() {
        // How many there are is its to say.
        merge(&mut deployment, &json!({ "spec": { "replicas": null } }));
    }
    let mut made = vec![(Kind::Deployment, deployment)];
    // A Service without ports cannot be.
    made.extend((!ports.is_empty()).then_some((Kind::Service, service)));
    made.extend(autoscaler.map(|autoscaler| (Kind::HorizontalPodAutoscaler, autoscaler)));
    made.extend(maker.budget(parameters).map(|budget| (Kind::PodDisruptionBudget, budget)));
    made.into_iter().map(|(kind, object)| (kind, sealed(object))).collect()
}

/// Puts a value at a place, whatever is there.
fn set(object: &mut Value, path: &[&str], value: Value) {
    let mut patch = value.clone();
    let mut none = Value::Null;
    for field in path.iter().rev() {
        (patch, none) = (json!({ *field: patch }), json!({ *field: none }));
    }
    merge(object, &none);
    merge(object, &patch);
}

/// With the digest of all that it holds.
fn sealed(mut object: Value) -> Value {
    let digest = format!("{:016x}", digest(&object.to_string()));
    merge(&mut object, &json!({ "metadata": { "annotations": { DIGEST: digest } } }));
    object
}

struct Maker<'m> {
    namespace: &'m str,
    deployer: &'m Deployer,
    gateway: &'m Object<Gateway>,
    name: &'m str,
}

impl Maker<'_> {
    fn own_labels(&self) -> Value {
        json!({
            infrastructure::GATEWAY: shortened(&self.gateway.key.name),
            CLASS: shortened(&self.gateway.spec.gateway_class_name),
            MANAGER: "limen",
            GROUP: self.name,
        })
    }

    fn identity(&self, version: &str, kind: &str) -> Value {
        let ObjectKey { namespace, name, .. } = &self.gateway.key;
        json!({
            "apiVersion": version,
            "kind": kind,
            "metadata": {
                "name": self.name,
                "namespace": self.namespace,
                "labels": self.own_labels(),
                "annotations": {
                    CONTROLLER: self.deployer.controller,
                    GATEWAY: format!("{namespace}/{name}"),
                },
            },
        })
    }

    /// What Pods get of that which the Gateway asks for: what labels and annotations of Pods do in the namespace of the
    /// gateways is not for its owner to decide.
    fn of_pods(&self, parameters: [&Parameters; 2]) -> Value {
        let asked = self.gateway.spec.infrastructure.clone().unwrap_or_default();
        let passed = |mut asked: BTreeMap<String, String>| {
            asked.retain(|name, _| parameters.iter().any(|parameters| parameters.passes(name)));
            asked
        };
        json!({ "labels": passed(asked.labels), "annotations": passed(asked.annotations) })
    }

    /// An object with what the Gateway asks for.
    fn object(&self, version: &str, kind: &str, spec: Value) -> Value {
        let asked = self.gateway.spec.infrastructure.clone().unwrap_or_default();
        let mut object = json!({ "metadata": { "labels": asked.labels, "annotations": asked.annotations } });
        merge(&mut object, &self.identity(version, kind));
        merge(&mut object, &json!({ "spec": spec }));
        object
    }

    fn deployment(&self) -> Value {
        let annotations = json!({
            "prometheus.io/scrape": "true",
            "prometheus.io/port": METRICS.to_string(),
            "prometheus.io/path": "/stats/prometheus",
        });
        self.object(
            "apps/v1",
            "Deployment",
            json!({
                "strategy": { "type": "RollingUpdate", "rollingUpdate": { "maxSurge": 1, "maxUnavailable": 0 } },
                "template": { "metadata": { "annotations": annotations }, "spec": self.pod() },
            }),
        )
    }

    fn pod(&self) -> Value {
        let Deployer { image, service_account, grace_seconds, .. } = self.deployer;
        let field = |name: &str, path: &str| json!({ "name": name, "valueFrom": { "fieldRef": { "fieldPath": path } } });
        let container = json!({
            "name": "limen",
            "image": image,
            "args": self.arguments(),
            "env": [
                field("POD_NAME", "metadata.name"),
                field("NODE_NAME", "spec.nodeName"),
                field("INSTANCE_IP", "status.podIP"),
            ],
            "readinessProbe": {
                "httpGet": { "path": "/healthz/ready", "port": READY },
                "periodSeconds": 2,
            },
            "securityContext": {
                "allowPrivilegeEscalation": false,
                "capabilities": { "drop": ["ALL"] },
                "readOnlyRootFilesystem": true,
            },
        });
        json!({
            "serviceAccountName": service_account,
            "terminationGracePeriodSeconds": grace_seconds,
            "securityContext": {
                "runAsNonRoot": true,
                "runAsUser": NOBODY,
                "runAsGroup": NOBODY,
                "seccompProfile": { "type": "RuntimeDefault" },
                // Ports below 1024 without a capability.
                "sysctls": [{ "name": "net.ipv4.ip_unprivileged_port_start", "value": "0" }],
            },
            "containers": [container],
        })
    }

    fn arguments(&self) -> Vec<String> {
        let ObjectKey { namespace, name, .. } = &self.gateway.key;
        let only = format!("{namespace}/{name}");
        let label = format!("{GROUP}={}", self.name);
        let own = [
            ("--only-gateway", &*only),
            ("--gateway-controller", &self.deployer.controller),
            ("--group", self.name),
            ("--instance", "$(POD_NAME)"),
            ("--workload", self.name),
            ("--workload-namespace", self.namespace),
            ("--labels", &label),
            ("--node", "$(NODE_NAME)"),
        ];
        let own = own.into_iter().flat_map(|(flag, value)| [flag.to_owned(), value.to_owned()]);
        // The Service leads to the ports as they are declared.
        let all = ["run", "--kube", "--strict-ports"].into_iter().map(str::to_owned).chain(own);
        all.chain(self.deployer.arguments.iter().cloned()).collect()
    }

    /// A balancer is asked for one address, the first of those that are not external ones.
    fn service(&self, ports: &Ports, external: &[IpAddr], parameters: [&Parameters; 2]) -> Value {
        let mut spec = json!({
            "type": "LoadBalancer",
            "ports": ports.of_service(),
        });
        let let_through = |one: &str| one.parse().is_ok_and(|address| lets_through(parameters, address));
        if let Some(first) = asked(self.gateway).find(|one| !let_through(one)) {
            merge(&mut spec, &json!({ "loadBalancerIP": first }));
        }
        if !external.is_empty() {
            merge(&mut spec, &json!({ "externalIPs": external }));
        }
        self.object("v1", "Service", spec)
    }

    /// Where one is asked for. How many Pods a Gateway wants goes before what its class says of more and fewer.
    fn autoscaler(&self, [class, own]: [&Parameters; 2]) -> Option<Value> {
        let fixed = own.deployment.as_ref().is_some_and(|own| own.pointer("/spec/replicas").is_some());
        let patches = [class.autoscaler.as_ref().filter(|_| !fixed), own.autoscaler.as_ref()];
        let target = json!({ "apiVersion": "apps/v1", "kind": "Deployment", "name": self.name });
        self.asked(
            "autoscaling/v2",
            "HorizontalPodAutoscaler",
            patches,
            ("scaleTargetRef", target),
            json!({ "maxReplicas": 1 }),
        )
    }

    /// Where one is asked for.
    fn budget(&self, [class, own]: [&Parameters; 2]) -> Option<Value> {
        let group = json!({ "matchLabels": { GROUP: self.name } });
        let patches = [class.budget.as_ref(), own.budget.as_ref()];
        self.asked("policy/v1", "PodDisruptionBudget", patches, ("selector", group), json!({}))
    }

    /// An object of which there is none where nobody says anything of it. `about`: what it is for, which nobody changes.
    fn asked(
        &self,
        version: &str,
        kind: &str,
        patches: [Option<&Value>; 2],
        (field, about): (&str, Value),
        usual: Value,
    ) -> Option<Value> {
        if patches.iter().all(Option::is_none) {
            return None;
        }
        let mut object = self.object(version, kind, usual);
        patches.into_iter().flatten().for_each(|patch| merge(&mut object, patch));
        merge(&mut object, &self.identity(version, kind));
        set(&mut object, &["spec", field], about);
        Some(object)
    }
}

#[cfg(test)]
#[path = "objects_tests.rs"]
mod tests;
