//! What classes and Gateways change of what is made: ConfigMaps that they name.
//!
//! A class is an administrator's, whose changes may be any. A Gateway is somebody's who is not to say what Pods with the
//! rights of a gateway run, or with what: of what a Gateway says only what is harmless is known.

use std::collections::BTreeMap;

use ipnet::IpNet;
use limen_resources::gateway_api::{Gateway, GatewayClass, ParametersReference};
use limen_resources::{Object, parse_value};
use serde_json::{Value, json};

use super::super::No;
use super::merge::merge;
use crate::index::Index;

/// The most instances that a Gateway may ask for.
const MOST_REPLICAS: u32 = 1000;

/// Changes to what is made.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Parameters {
    /// To the Deployment.
    pub(super) deployment: Option<Value>,
    /// To the Service.
    pub(super) service: Option<Value>,
    /// Which labels and annotations that Gateways ask for Pods get, too; one that ends in `/` means all that begin so.
    pub(super) pod_metadata: Vec<String>,
}

impl Parameters {
    /// Those of a class: the keys `deployment` and `service`, what to put into the one and the other, and `podMetadata`,
    /// what of `spec.infrastructure` also goes to Pods.
    pub(crate) fn of_class(index: &Index<'_>, class: &Object<GatewayClass>) -> Result<Parameters, No> {
        let Some(reference) = &class.spec.parameters_ref else { return Ok(Parameters::default()) };
        let mut parameters = Parameters::default();
        for (key, text) in texts(index, reference, &reference.namespace)? {
            let place = match &**key {
                "deployment" => &mut parameters.deployment,
                "service" => &mut parameters.service,
                "podMetadata" => {
                    let names = text.split([',', ' ', '\n']).filter(|name| !name.is_empty());
                    parameters.pod_metadata = names.map(str::to_owned).collect();
                    continue;
                }
                other => {
                    let known = "`deployment`, `service`, `podMetadata`";
                    return Err(invalid(format!("`{other}` is none of {known}")));
                }
            };
            let value = parse_value(text).map_err(|why| invalid(format!("`{key}` is no YAML: {why}")))?;
            if !value.is_object() {
                return Err(invalid(format!("`{key}` is not a part of an object, such as `spec: {{…}}`")));
            }
            *place = Some(value);
        }
        Ok(parameters)
    }

    /// Those of a Gateway.
    pub(crate) fn of_gateway(index: &Index<'_>, gateway: &Object<Gateway>) -> Result<Parameters, No> {
        let asked = gateway.spec.infrastructure.as_ref();
        let Some(reference) = asked.and_then(|asked| asked.parameters_ref.as_ref()) else {
            return Ok(Parameters::default());
        };
        harmless(texts(index, reference, &gateway.key.namespace)?)
    }
}

impl Parameters {
    /// Do Pods get a label or an annotation of this name that a Gateway asks for?
    pub(super) fn passes(&self, name: &str) -> bool {
        let mut names = self.pod_metadata.iter();
        names.any(|known| known == name || (known.ends_with('/') && name.starts_with(known.as_str())))
    }
}

fn invalid(why: String) -> No {
    ("InvalidParameters", why)
}

/// What the ConfigMap says that is named.
fn texts<'a>(
    index: &Index<'a>,
    reference: &ParametersReference,
    namespace: &str,
) -> Result<&'a BTreeMap<String, String>, No> {
    let ParametersReference { group, kind, name, .. } = reference;
    if !group.is_empty() || kind != "ConfigMap" {
        return Err(invalid(format!("no parameters of kind {kind} are known")));
    }
    if namespace.is_empty() {
        return Err(invalid(format!("it does not say in which namespace ConfigMap {name} is")));
    }
    match index.sought.config_map(index.snapshot, namespace, name) {
        Some(map) => Ok(&map.spec.data),
        None => Err(invalid(format!("there is no ConfigMap {namespace}/{name}"))),
    }
}

/// The changes that anybody may ask for.
fn harmless(texts: &BTreeMap<String, String>) -> Result<Parameters, No> {
    let (mut deployment, mut service) = (json!({}), json!({}));
    for (key, text) in texts {
        let text = text.trim();
        let wrong = |expected: &str| invalid(format!("`{key}` is {text:?}, expected {expected}"));
        let of_service = |value: Value| json!({ "spec": { &**key: value } });
        match &**key {
            "replicas" => {
                let count = text.parse::<u32>().ok().filter(|count| *count <= MOST_REPLICAS);
                let count = count.ok_or_else(|| wrong(&format!("a number up to {MOST_REPLICAS}")))?;
                merge(&mut deployment, &json!({ "spec": { "replicas": count } }));
            }
            "resources" => {
                let container = json!({ "name": "limen", "resources": resources(text)? });
                let pod = json!({ "containers": [container] });
                merge(&mut deployment, &json!({ "spec": { "template": { "spec": pod } } }));
            }
            "type" if matches!(text, "ClusterIP" | "NodePort" | "LoadBalancer") => {
                merge(&mut service, &of_service(text.into()));
            }
            "type" => return Err(wrong("ClusterIP, NodePort or LoadBalancer")),
            "externalTrafficPolicy" if matches!(text, "Cluster" | "Local") => {
                merge(&mut service, &of_service(text.into()));
            }
            "externalTrafficPolicy" => return Err(wrong("Cluster or Local")),
            "loadBalancerClass" => merge(&mut service, &of_service(text.into())),
            "loadBalancerSourceRanges" => {
                let ranges = text.split([',', ' ', '\n']).filter(|range| !range.is_empty());
                let ranges: Vec<&str> = ranges.collect();
                if ranges.iter().any(|range| range.parse::<IpNet>().is_err()) {
                    return Err(wrong("networks, such as 192.0.2.0/24"));
                }
                merge(&mut service, &of_service(json!(ranges)));
            }
            other => {
                return Err(invalid(format!(
                    "`{other}` is not for a Gateway to say: it may say replicas, resources, type, \
                     externalTrafficPolicy, loadBalancerClass, loadBalancerSourceRanges"
                )));
            }
        }
    }
    if service.pointer("/spec/type").is_some_and(|kind| kind == "ClusterIP") {
        alone_inside(&mut service, texts)?;
    }
    Ok(Parameters { deployment: Some(deployment), service: Some(service), pod_metadata: Vec::new() })
}

/// A Service that nobody finds from outside has nothing that says how it is found from there.
fn alone_inside(service: &mut Value, texts: &BTreeMap<String, String>) -> Result<(), No> {
    let outside =
        ["externalTrafficPolicy", "loadBalancerClass", "loadBalancerSourceRanges", "loadBalancerIP"];
    if let Some(other) = outside.iter().find(|key| texts.contains_key(**key)) {
        return Err(invalid(format!("`{other}` has no meaning where `type` is ClusterIP")));
    }
    if let Some(spec) = service.pointer_mut("/spec").and_then(Value::as_object_mut) {
        spec.extend(outside.map(|key| (key.to_owned(), Value::Null)));
    }
    Ok(())
}

/// `requests` and `limits` of processor and memory.
fn resources(text: &str) -> Result<Value, No> {
    let wrong = || invalid("`resources` is to be `requests` and `limits` of `cpu` and `memory`".to_owned());
    let value = parse_value(text).map_err(|why| invalid(format!("`resources` is no YAML: {why}")))?;
    let right = value.as_object().is_some_and(|parts| {
        parts.iter().all(|(part, amounts)| {
            let amounts = amounts.as_object();
            matches!(&**part, "requests" | "limits")
                && amounts.is_some_and(|all| all.iter().all(|(name, amount)| quantity(name, amount)))
        })
    });
    if right { Ok(value) } else { Err(wrong()) }
}

/// Is it an amount of something that Pods of anybody may have?
fn quantity(name: &str, amount: &Value) -> bool {
    let text = match amount {
        Value::Number(number) => number.to_string(),
        Value::String(text) => text.clone(),
        _ => return false,
    };
    let unit = text.trim_start_matches(|letter: char| letter.is_ascii_digit() || letter == '.');
    let units: &[&str] = match name {
        "cpu" => &["", "m"],
        "memory" => &["", "k", "M", "G", "T", "Ki", "Mi", "Gi", "Ti"],
        _ => return false,
    };
    let number = text.strip_suffix(unit).unwrap_or_default();
    number.parse::<f64>().is_ok_and(f64::is_finite) && units.contains(&unit)
}

#[cfg(test)]
#[path = "parameters_tests.rs"]
mod tests;
