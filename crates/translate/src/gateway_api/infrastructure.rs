//! What is kept in the cluster for a Gateway that asks for labels or annotations (`spec.infrastructure`): a Service that
//! bears them, with its addresses and ports, for whoever reads Services, such as those who write DNS records.
//!
//! The Service has no endpoints and no address of its own: traffic comes by the Gateway's.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use limen_resources::core::Service;
use limen_resources::gateway_api::Gateway;
use limen_resources::{Kind, Made, Meta, Now, Object, ObjectKey};
use serde_json::{Value, json};

use super::gateways::OwnGateway;
use super::listeners::Listener;
use crate::index::Index;

/// Whose a Service is, in the API's words.
pub(super) const GATEWAY: &str = "gateway.networking.k8s.io/gateway-name";
pub(super) const CLASS: &str = "gateway.networking.k8s.io/gateway-class-name";
pub(super) const MANAGER: &str = "app.kubernetes.io/managed-by";
/// The digest of all that a Service was made with: what was taken out since is seen by it.
pub(super) const DIGEST: &str = "limen.dev/made-of";
/// Of instances of a Gateway's own: the controller that made an object.
pub(super) const CONTROLLER: &str = "limen.dev/controller";
/// The longest name of a Service, and the longest value of a label, in bytes.
const LONGEST: usize = 63;

/// What is to be changed in the cluster, so that each Gateway has the Service that it asks for, and no other.
pub(super) fn made(index: &Index<'_>, gateways: &[OwnGateway<'_>], listeners: &[Listener<'_>]) -> Vec<Made> {
    if index.settings.gateway_api.only.is_some() {
        // Who started this process makes what there is for its Gateway.
        return Vec::new();
    }
    let ports = |number: usize| {
        let own = listeners.iter().filter(|listener| listener.gateway == number);
        own.map(|listener| (listener.spec.port, protocol(&listener.spec.protocol))).collect()
    };
    let all = gateways.iter().enumerate().map(|(number, gateway)| (&**gateway.object, ports(number)));
    made_for(index, &index.settings.gateway_api.controller, all)
}

/// The same for all Gateways of this controller, with their ports and the protocols of those.
pub(super) fn made_for<'g>(
    index: &Index<'_>,
    controller: &str,
    gateways: impl Iterator<Item = (&'g Object<Gateway>, BTreeSet<(u16, &'static str)>)>,
) -> Vec<Made> {
    let mut changes = Vec::new();
    let mut wanted = BTreeSet::new();
    for (gateway, ports) in gateways {
        let Some(asked) = &gateway.spec.infrastructure else { continue };
        if asked.labels.is_empty() && asked.annotations.is_empty() {
            continue;
        }
        let (key, content) = service(gateway, &ports);
        let known = index.snapshot.services().get(&key.namespace, &key.name);
        // A Service of that name which somebody else made is not ours to change.
        if known.is_none_or(|known| ours(index, controller, known) && !has(&known.meta, &content)) {
            let (owner, now) = (Some(gateway.key.clone()), known.map_or(Now::Absent, |_| Now::Changed));
            changes.push(Made { key: key.clone(), owner, content: Some(content), now });
        }
        wanted.insert(key);
    }
    for service in index.snapshot.services().iter().filter(|service| ours(index, controller, service)) {
        if wanted.contains(&service.key) {
            continue;
        }
        let name = service.meta.labels.get(GATEWAY).cloned().unwrap_or_default();
        let owner = Some(ObjectKey::new(Kind::ApiGateway, Arc::clone(&service.key.namespace), name));
        changes.push(Made { key: service.key.clone(), owner, content: None, now: Now::Changed });
    }
    changes
}

/// Was it made here, for a Gateway of a class of this controller, to bear what that asks for?
fn ours(index: &Index<'_>, controller: &str, service: &Object<Service>) -> bool {
    let label = |name: &str| service.meta.labels.get(name).map(String::as_str);
    let class = |name: &str| {
        let mut classes = index.snapshot.gateway_classes().iter();
        classes.any(|class| shortened(&class.key.name) == name && class.spec.controller_name == controller)
    };
    let leads = service.meta.annotations.contains_key(CONTROLLER);
    !leads && label(MANAGER) == Some("limen") && label(CLASS).is_some_and(class)
}

/// Is all there that is to be there, and was it made with nothing else?
pub(super) fn has(known: &Meta, content: &Value) -> bool {
    let has = |field: &str, known: &BTreeMap<String, String>| {
        let wanted = content.pointer(&format!("/metadata/{field}")).and_then(Value::as_object);
        wanted.is_none_or(|wanted| {
            wanted.iter().all(|(name, value)| known.get(name).map(String::as_str) == value.as_str())
        })
    };
    has("labels", &known.labels) && has("annotations", &known.annotations)
}

fn service(gateway: &Object<Gateway>, ports: &BTreeSet<(u16, &'static str)>) -> (ObjectKey, Value) {
    let (own, class) = (&gateway.key, &gateway.spec.gateway_class_name);
    let mut asked = gateway.spec.infrastructure.clone().unwrap_or_default();
    // What is ours says whose an object is.
    asked.annotations.retain(|name, _| !name.starts_with("limen.dev/"));
    let mut labels = asked.labels;
    labels.insert(GATEWAY.to_owned(), shortened(&own.name));
    labels.insert(CLASS.to_owned(), shortened(class));
    labels.insert(MANAGER.to_owned(), "limen".to_owned());
    let port = |(port, protocol): &(u16, &str)| {
        let name = format!("{}-{port}", protocol.to_ascii_lowercase());
        json!({ "name": name, "port": port, "protocol": protocol })
    };
    let ports: Vec<Value> = ports.iter().map(port).collect();
    let mut annotations = asked.annotations;
    let digest = digest(&format!("{labels:?} {annotations:?} {ports:?}"));
    annotations.insert(DIGEST.to_owned(), format!("{digest:016x}"));
    let name = service_name(&format!("{}-{class}", own.name));
    let content = json!({
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {
            "name": name, "namespace": &*own.namespace, "labels": labels, "annotations": annotations,
        },
        "spec": { "type": "ClusterIP", "clusterIP": "None", "ports": ports },
    });
    (ObjectKey::new(Kind::Service, Arc::clone(&own.namespace), name), content)
}

pub(super) fn protocol(listener: &str) -> &'static str {
    if listener == "UDP" { "UDP" } else { "TCP" }
}

/// As Services are called (RFC 1035).
fn service_name(name: &str) -> String {
    shortened(&plain(name))
}

/// Begins with a letter, has no dots.
pub(super) fn plain(name: &str) -> String {
    let plain = name.replace('.', "-");
    let first = plain.starts_with(|letter: char| letter.is_ascii_lowercase());
    if first { plain } else { format!("g-{plain}") }
}

/// As a label can have it: a name that is too long ends in its digest.
pub(super) fn shortened(name: &str) -> String {
    if name.len() <= LONGEST {
        return name.to_owned();
    }
    // Names of objects are ASCII.
    let start = name.get(..LONGEST - 9).unwrap_or_default().trim_end_matches(['-', '.']);
    format!("{start}-{:08x}", digest(name) >> 32)
}

/// FNV-1a: the same in every instance and release.
pub(super) fn digest(text: &str) -> u64 {
    let step = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
    text.bytes().fold(0xcbf2_9ce4_8422_2325, step)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_such_as_services_and_labels_can_have() {
        assert_eq!(service_name("edge-limen"), "edge-limen");
        assert_eq!(service_name("7.example.com-limen"), "g-7-example-com-limen");
        let (a, b) = (shortened(&"a".repeat(253)), shortened(&format!("{}b", "a".repeat(252))));
        assert_eq!((a.len(), b.len()), (63, 63));
        assert_ne!(a, b);
        assert_eq!(shortened(&"a".repeat(63)).len(), 63);
    }
}
