//! What a Gateway may say of how many Pods there are: nothing that reads or stops what is not its own.

use serde_json::{Map, Value, json};

use super::super::No;
use super::parameters::{MOST_REPLICAS, invalid, part};

/// What a Gateway changes of its HorizontalPodAutoscaler. It is found by the processor time and memory of the Pods alone.
pub(super) fn autoscaler(text: &str) -> Result<Value, No> {
    let wrong = |why: &str| invalid(format!("`horizontalPodAutoscaler` {why}"));
    let spec = spec("horizontalPodAutoscaler", text)?;
    for (field, value) in &spec {
        let right = match &**field {
            "minReplicas" | "maxReplicas" => {
                value.as_u64().is_some_and(|count| (1..=u64::from(MOST_REPLICAS)).contains(&count))
            }
            "metrics" => value.as_array().is_some_and(|all| all.iter().all(metric)),
            "behavior" => value.is_object(),
            _ => {
                return Err(wrong("may say minReplicas, maxReplicas, metrics and behavior of `spec`"));
            }
        };
        if !right {
            let why = format!(
                "has a `{field}` that is not for a Gateway to say: replicas are 1 to {MOST_REPLICAS}, metrics \
                 are of type Resource or ContainerResource, of cpu or memory"
            );
            return Err(wrong(&why));
        }
    }
    let count = |field: &str| spec.get(field).and_then(Value::as_u64);
    match (count("minReplicas"), count("maxReplicas")) {
        (Some(least), Some(most)) if least > most => Err(wrong("has more `minReplicas` than `maxReplicas`")),
        _ => Ok(json!({ "spec": spec })),
    }
}

/// Is it of the Pods themselves?
fn metric(metric: &Value) -> bool {
    let text = |pointer: &str| metric.pointer(pointer).and_then(Value::as_str);
    let (kind, fields) = match text("/type") {
        Some("Resource") => ("/resource/name", ["type", "resource"]),
        Some("ContainerResource") => ("/containerResource/name", ["type", "containerResource"]),
        _ => return false,
    };
    let known = metric.as_object().is_some_and(|all| all.keys().all(|field| fields.contains(&&**field)));
    known && matches!(text(kind), Some("cpu" | "memory"))
}

/// What a Gateway changes of its PodDisruptionBudget: one of the two bounds, which stands instead of the other.
pub(super) fn budget(text: &str) -> Result<Value, No> {
    let wrong = |why: &str| invalid(format!("`podDisruptionBudget` {why}"));
    let mut spec = spec("podDisruptionBudget", text)?;
    for (field, value) in &spec {
        let right = match &**field {
            "minAvailable" | "maxUnavailable" => {
                let percent = |text: &str| {
                    let number = text.strip_suffix('%').and_then(|number| number.parse::<u8>().ok());
                    number.is_some_and(|number| number <= 100)
                };
                value.as_u64().is_some_and(|count| count <= u64::from(MOST_REPLICAS))
                    || value.as_str().is_some_and(percent)
            }
            "unhealthyPodEvictionPolicy" => {
                matches!(value.as_str(), Some("IfHealthyBudget" | "AlwaysAllow"))
            }
            _ => {
                let known = "minAvailable, maxUnavailable and unhealthyPodEvictionPolicy";
                return Err(wrong(&format!("may say {known} of `spec`")));
            }
        };
        if !right {
            return Err(wrong(&format!("has `{field}: {value}`, expected a number or a share, such as 50%")));
        }
    }
    let other = match (spec.contains_key("minAvailable"), spec.contains_key("maxUnavailable")) {
        (true, true) => return Err(wrong("may say minAvailable or maxUnavailable, not both")),
        (true, false) => Some("maxUnavailable"),
        (false, true) => Some("minAvailable"),
        (false, false) => None,
    };
    spec.extend(other.map(|other| (other.to_owned(), Value::Null)));
    Ok(json!({ "spec": spec }))
}

/// The only part of an object that is for a Gateway to say.
fn spec(key: &str, text: &str) -> Result<Map<String, Value>, No> {
    let written = part(key, text)?;
    let only = || invalid(format!("`{key}` may say `spec` and nothing else"));
    let spec = match written.as_object() {
        Some(fields) if fields.keys().all(|field| field == "spec") => fields.get("spec"),
        _ => return Err(only()),
    };
    match spec {
        None => Ok(Map::new()),
        Some(Value::Object(spec)) => Ok(spec.clone()),
        Some(_) => Err(only()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gateway_says_how_many_pods_there_are_and_nothing_of_others() {
        let cpu =
            "{type: Resource, resource: {name: cpu, target: {type: Utilization, averageUtilization: 60}}}";
        let text = format!("spec: {{minReplicas: 2, maxReplicas: 5, metrics: [{cpu}], behavior: {{}}}}");
        assert_eq!(autoscaler(&text).unwrap()["spec"]["metrics"][0]["resource"]["name"], "cpu");
        assert_eq!(autoscaler("{}"), Ok(json!({"spec": {}})));
        for wrong in [
            "spec: {maxReplicas: 1001}",
            "spec: {minReplicas: 0}",
            "spec: {minReplicas: 3, maxReplicas: 2}",
            "spec: {scaleTargetRef: {name: other}}",
            "spec: {metrics: [{type: External, external: {metric: {name: a}}}]}",
            "spec: {metrics: [{type: Resource, resource: {name: example.com/gpu}}]}",
            "spec: {metrics: [{type: Resource, resource: {name: cpu}, pods: {}}]}",
            "metadata: {labels: {a: b}}",
            "spec: []",
            "2",
            "{",
        ] {
            let (reason, why) = autoscaler(wrong).unwrap_err();
            assert!(
                reason == "InvalidParameters" && why.contains("`horizontalPodAutoscaler`"),
                "{wrong}: {why}"
            );
        }
    }

    #[test]
    fn of_the_two_bounds_of_a_budget_one_holds() {
        let said = budget("spec: {minAvailable: 50%, unhealthyPodEvictionPolicy: AlwaysAllow}").unwrap();
        let spec = json!({"minAvailable": "50%", "maxUnavailable": null, "unhealthyPodEvictionPolicy": "AlwaysAllow"});
        assert_eq!(said, json!({ "spec": spec }));
        assert_eq!(budget("spec: {maxUnavailable: 1}").unwrap()["spec"]["minAvailable"], Value::Null);
        for wrong in [
            "spec: {minAvailable: 1, maxUnavailable: 1}",
            "spec: {minAvailable: half}",
            "spec: {maxUnavailable: -1}",
            "spec: {maxUnavailable: 101%}",
            "spec: {selector: {}}",
            "spec: {unhealthyPodEvictionPolicy: Never}",
            "metadata: {}",
        ] {
            let (reason, why) = budget(wrong).unwrap_err();
            assert!(reason == "InvalidParameters" && why.contains("`podDisruptionBudget`"), "{wrong}: {why}");
        }
    }
}
