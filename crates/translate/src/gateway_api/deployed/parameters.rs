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
use super::scaling;
use crate::index::Index;

/// The most instances that a Gateway may ask for.
pub(super) const MOST_REPLICAS: u32 = 1000;

/// Changes to what is made.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Parameters {
    /// To the Deployment.
    pub(super) deployment: Option<Value>,
    /// To the Service.
    pub(super) service: Option<Value>,
    /// To the HorizontalPodAutoscaler; `None`: there is to be none.
    pub(super) autoscaler: Option<Value>,
    /// To the PodDisruptionBudget; `None`: there is to be none.
    pub(super) budget: Option<Value>,
    /// The networks whose addresses Gateways may ask for as external ones of their Service.
    pub(super) external: Vec<IpNet>,
    /// Which labels and annotations that Gateways ask for Pods get, too; one that ends in `/` means all that begin so.
    pub(super) pod_metadata: Vec<String>,
}

impl Parameters {
    /// Those of a class: what to put into each object that is made, under its name; `podMetadata`, what of
    /// `spec.infrastructure` also goes to Pods; and `externalIPs`, which of them Gateways may ask for.
    pub(crate) fn of_class(index: &Index<'_>, class: &Object<GatewayClass>) -> Result<Parameters, No> {
        let Some(reference) = &class.spec.parameters_ref else { return Ok(Parameters::default()) };
        let mut parameters = Parameters::default();
        for (key, text) in texts(index, reference, &reference.namespace)? {
            let place = match &**key {
                "deployment" => &mut parameters.deployment,
                "service" => &mut parameters.service,
                "horizontalPodAutoscaler" => &mut parameters.autoscaler,
                "podDisruptionBudget" => &mut parameters.budget,
                "externalIPs" => {
                    let wrong =
                        || invalid("`externalIPs` is to be networks, such as 192.0.2.0/24".to_owned());
                    parameters.external = networks(text).ok_or_else(wrong)?;
                    continue;
                }
                "podMetadata" => {
                    let names = text.split([',', ' ', '\n']).filter(|name| !name.is_empty());
                    parameters.pod_metadata = names.map(str::to_owned).collect();
                    continue;
                }
                other => {
                    let known = "`deployment`, `service`, `horizontalPodAutoscaler`, `podDisruptionBudget`, \
                                 `podMetadata`, `externalIPs`";
                    return Err(invalid(format!("`{other}` is none of {known}")));
                }
            };
            *place = Some(part(key, text)?);
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

/// A part of an object.
pub(super) fn part(key: &str, text: &str) -> Result<Value, No> {
    let value = parse_value(text).map_err(|why| invalid(format!("`{key}` is no YAML: {why}")))?;
    match value.is_object() {
        true => Ok(value),
        false => Err(invalid(format!("`{key}` is not a part of an object, such as `spec: {{…}}`"))),
    }
}

/// Networks separated by commas or white space; `None`: they are none.
fn networks(text: &str) -> Option<Vec<IpNet>> {
    let written = text.split([',', ' ', '\n']).filter(|network| !network.is_empty());
    written.map(|network| network.parse().ok()).collect()
}

pub(super) fn invalid(why: String) -> No {
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
    let (mut autoscaler, mut budget) = (None, None);
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
            "horizontalPodAutoscaler" if texts.contains_key("replicas") => {
                let why = "`replicas` says how many Pods there are: `horizontalPodAutoscaler` cannot, too";
                return Err(invalid(why.to_owned()));
            }
            "horizontalPodAutoscaler" => autoscaler = Some(scaling::autoscaler(text)?),
            "podDisruptionBudget" => budget = Some(scaling::budget(text)?),
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
                let ranges = networks(text).ok_or_else(|| wrong("networks, such as 192.0.2.0/24"))?;
                let ranges: Vec<String> = ranges.iter().map(ToString::to_string).collect();
                merge(&mut service, &of_service(json!(ranges)));
            }
            other => {
                return Err(invalid(format!(
                    "`{other}` is not for a Gateway to say: it may say replicas, resources, horizontalPodAutoscaler, \
                     podDisruptionBudget, type, externalTrafficPolicy, loadBalancerClass, loadBalancerSourceRanges"
                )));
            }
        }
    }
    if service.pointer("/spec/type").is_some_and(|kind| kind == "ClusterIP") {
        alone_inside(&mut service, texts)?;
    }
    let (deployment, service) = (Some(deployment), Some(service));
    Ok(Parameters { deployment, service, autoscaler, budget, ..Parameters::default() })
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
