// Test code: a failed expectation is a panic with a reason.
#![allow(clippy::unwrap_used)]

use super::*;

fn of(texts: &[(&str, &str)]) -> Result<Parameters, String> {
    let texts = texts.iter().map(|(key, text)| ((*key).to_owned(), (*text).to_owned()));
    harmless(&texts.collect()).map_err(|(reason, why)| {
        assert_eq!(reason, "InvalidParameters");
        why
    })
}

#[test]
fn a_gateway_says_what_is_harmless() {
    let said = of(&[
        ("replicas", "3"),
        ("resources", "requests: {cpu: 0.5, memory: 64Mi}\nlimits: {cpu: 500m}"),
        ("type", "NodePort"),
        ("externalTrafficPolicy", "Local"),
        ("loadBalancerSourceRanges", "192.0.2.0/24, 2001:db8::/32"),
    ]);
    let said = said.unwrap();
    let resources = json!({"requests": {"cpu": 0.5, "memory": "64Mi"}, "limits": {"cpu": "500m"}});
    let containers = json!([{"name": "limen", "resources": resources}]);
    let deployment = json!({"spec": {"replicas": 3, "template": {"spec": {"containers": containers}}}});
    assert_eq!(said.deployment.unwrap(), deployment);
    let ranges = ["192.0.2.0/24", "2001:db8::/32"];
    let service = json!({"spec": {
        "type": "NodePort", "externalTrafficPolicy": "Local", "loadBalancerSourceRanges": ranges,
    }});
    assert_eq!(said.service.unwrap(), service);
}

#[test]
fn a_gateway_says_nothing_else() {
    for (key, text) in [
        ("deployment", "spec: {}"),
        ("image", "example.com/own"),
        ("replicas", "many"),
        ("replicas", "-1"),
        ("replicas", "1001"),
        ("type", "ExternalName"),
        ("externalTrafficPolicy", "local"),
        ("loadBalancerSourceRanges", "everywhere"),
        ("resources", "limits: {nvidia.com/gpu: 1}"),
        ("resources", "limits: {cpu: [1]}"),
        ("resources", "limits: {cpu: 1x}"),
        ("resources", "claims: [{name: a}]"),
        ("resources", "limits: {"),
    ] {
        let why = of(&[(key, text)]).unwrap_err();
        assert!(why.contains(&format!("`{key}`")), "{key}: {text}: {why}");
    }
    assert!(of(&[("type", "ClusterIP"), ("externalTrafficPolicy", "Local")]).is_err());
    assert!(of(&[("type", "ClusterIP")]).is_ok());
}
