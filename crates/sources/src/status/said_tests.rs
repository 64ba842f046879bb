// Test code: a failed expectation is a panic with a reason.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use limen_resources::{Facts, ListenerPart};
use serde_json::json;

use super::super::written::status;
use super::*;

fn speaker() -> Speaker {
    Speaker::new("limen.dev/gateway-controller".to_owned(), "limen".to_owned(), None)
}

fn share(serving: usize, instances: usize) -> Share {
    Share { serving, instances }
}

fn verdict(kind: Kind, condition: &'static str, holds: bool) -> Verdict {
    let key = ObjectKey::new(kind, "shop", "web");
    Verdict { generation: Some(3), ..Verdict::new(key, condition, holds, ("Because", "it is so")) }
}

fn of_parent(place: usize, condition: &'static str, holds: bool) -> Verdict {
    let part = Some(Part::ParentRef(place));
    Verdict { part, ..verdict(Kind::HttpRoute, condition, holds) }
}

/// What is said is written in, and read again it says the same. Returns the object.
fn round(layout: Layout, mut object: Value, said: &Said) -> Value {
    let status = status(layout, &object, said, &speaker(), "2026-01-02T03:04:05Z");
    object["status"] = status;
    assert_eq!(stored(layout, &object, &speaker()), *said);
    object
}

#[test]
fn a_route_has_an_entry_for_each_parent_and_those_of_others_stay() {
    let route = json!({
        "metadata": {"generation": 3},
        "spec": {"parentRefs": [{"name": "a", "group": "gateway.networking.k8s.io"}, {"name": "b"}, {"name": "c"}]},
        "status": {"parents": [
            {"parentRef": {"name": "b"}, "controllerName": "example.com/other", "conditions": [{"type": "Accepted"}]},
            {"parentRef": {"name": "c"}, "controllerName": "limen.dev/gateway-controller", "conditions": [
                {"type": "Accepted", "status": "True", "lastTransitionTime": "2020-01-01T00:00:00Z"},
                {"type": "ResolvedRefs", "status": "False", "lastTransitionTime": "2020-01-01T00:00:00Z"},
            ]},
            {"parentRef": {"name": "gone"}, "controllerName": "limen.dev/gateway-controller", "conditions": []},
        ]},
    });
    let verdicts =
        [of_parent(0, "Accepted", true), of_parent(2, "Accepted", true), of_parent(2, "ResolvedRefs", true)];
    let said = Said::of(Kind::HttpRoute, &verdicts, share(1, 1), &speaker());
    assert_ne!(stored(Layout::Parents, &route, &speaker()), said);
    let after = round(Layout::Parents, route.clone(), &said);
    let parents = after["status"]["parents"].as_array().unwrap();
    let shown: Vec<String> =
        parents.iter().map(|p| format!("{} {}", p["parentRef"], p["controllerName"])).collect();
    assert_eq!(
        shown,
        [
            r#"{"name":"b"} "example.com/other""#,
            r#"{"group":"gateway.networking.k8s.io","name":"a"} "limen.dev/gateway-controller""#,
            r#"{"name":"c"} "limen.dev/gateway-controller""#,
        ]
    );
    assert_eq!(
        parents[2]["conditions"],
        json!([
            {"type": "Accepted", "status": "True", "reason": "Because", "message": "it is so", "observedGeneration": 3,
             "lastTransitionTime": "2020-01-01T00:00:00Z"},
            {"type": "ResolvedRefs", "status": "True", "reason": "Because", "message": "it is so", "observedGeneration": 3,
             "lastTransitionTime": "2026-01-02T03:04:05Z"},
        ]),
        "a time is that of the last change of the status"
    );
    // Nothing is said any more: ours go.
    let after = round(Layout::Parents, after, &Said::default());
    assert_eq!(after["status"]["parents"].as_array().unwrap().len(), 1);
    // The order of the parents is part of what is said.
    let mut moved = route;
    moved["spec"]["parentRefs"].as_array_mut().unwrap().reverse();
    assert_eq!(stored(Layout::Parents, &moved, &speaker()).entries[0].0, Whose::Parent(0));
}

#[test]
fn a_route_has_an_entry_for_each_default_gateway_too() {
    let gateway = |name: &str| Some(ObjectKey::new(Kind::ApiGateway, "infra", name));
    let on = |name, holds| Verdict {
        parent: gateway(name),
        part: Some(Part::DefaultGateway),
        ..verdict(Kind::HttpRoute, "Accepted", holds)
    };
    let verdicts = [of_parent(0, "Accepted", true), on("two", false), on("one", true)];
    let said = Said::of(Kind::HttpRoute, &verdicts, share(1, 1), &speaker());
    let route = json!({
        "spec": {"parentRefs": [{"name": "a"}]},
        "status": {"parents": [
            {"parentRef": {"group": "gateway.networking.k8s.io", "kind": "Gateway", "namespace": "infra", "name": "one", "sectionName": "web"},
             "controllerName": "limen.dev/gateway-controller", "conditions": []},
        ]},
    });
    let after = round(Layout::Parents, route, &said);
    let parents = after["status"]["parents"].as_array().unwrap();
    let names: Vec<&Value> = parents.iter().map(|entry| &entry["parentRef"]["name"]).collect();
    assert_eq!(names, ["a", "one", "two"], "one with a section is of a parent that is not named any more");
    assert_eq!(
        parents[1]["parentRef"],
        json!({"group": "gateway.networking.k8s.io", "kind": "Gateway", "namespace": "infra", "name": "one"})
    );
    let of = |place: usize| parents[place]["conditions"][0]["status"].clone();
    assert_eq!([of(1), of(2)], ["True", "False"]);
}

#[test]
fn a_gateway_says_where_it_is_and_what_became_of_its_listeners() {
    let listener = |place, name: &str, condition: &'static str, holds| Verdict {
        part: Some(Part::Listener(Box::new(ListenerPart {
            place,
            name: name.to_owned(),
            attached_routes: place + 1,
            supported_kinds: vec!["HTTPRoute".to_owned()],
        }))),
        ..verdict(Kind::ApiGateway, condition, holds)
    };
    let verdicts = [
        verdict(Kind::ApiGateway, "Accepted", true),
        verdict(Kind::ApiGateway, "Programmed", true).with_facts(Facts {
            addresses: vec![GatewayAddress::ip("10.0.0.1".to_owned())],
            attached_listener_sets: Some(2),
            supported_features: Vec::new(),
        }),
        listener(1, "a", "Programmed", true),
        listener(0, "b", "Programmed", false),
    ];
    let said = Said::of(Kind::ApiGateway, &verdicts, share(3, 3), &speaker());
    let before = json!({"kind": "Gateway", "status": {
        "conditions": [
            {"type": "Programmed", "status": "Unknown", "reason": "Pending", "lastTransitionTime": "1970-01-01T00:00:00Z"},
            {"type": "example.com/Tested", "status": "True"},
        ],
        "other": 1,
    }});
    let after = round(Layout::Whole, before, &said);
    let status = &after["status"];
    assert_eq!(status["other"], 1);
    assert_eq!(status["addresses"], json!([{"type": "IPAddress", "value": "10.0.0.1"}]));
    assert_eq!(status["attachedListenerSets"], 2);
    assert_eq!(status["conditions"][1]["message"], "it is so, by 3/3 instances");
    assert_eq!(status["conditions"][2]["type"], "example.com/Tested");
    assert_eq!(status["listeners"][0]["name"], "b", "in the order of the specification");
    assert_eq!(status["listeners"][1]["attachedRoutes"], 2);
    assert_eq!(
        status["listeners"][1]["supportedKinds"],
        json!([{"group": "gateway.networking.k8s.io", "kind": "HTTPRoute"}])
    );
    // Not served everywhere: then it is not programmed, nor are its listeners.
    let said = Said::of(Kind::ApiGateway, &verdicts, share(2, 3), &speaker());
    let after = round(Layout::Whole, after, &said);
    let programmed = &after["status"]["conditions"][1];
    assert_eq!([&programmed["status"], &programmed["reason"]], ["False", "Pending"]);
    assert_eq!(programmed["message"], "2/3 instances serve it as it is now");
    assert_eq!(after["status"]["listeners"][1]["conditions"][0]["status"], "False");
    assert_eq!(after["status"]["conditions"][0]["status"], "True", "it is accepted all the same");
    // Without addresses and sets the fields go; the list of listeners stays.
    let bare =
        Said::of(Kind::ApiGateway, &[verdict(Kind::ApiGateway, "Accepted", false)], share(1, 1), &speaker());
    let after = round(Layout::Whole, after, &bare);
    assert_eq!(after["status"].get("addresses"), None);
    assert_eq!(after["status"]["listeners"], json!([]));
}

#[test]
fn a_policy_has_an_entry_for_each_gateway() {
    let gateway = |name: &str| Some(ObjectKey::new(Kind::ApiGateway, "infra", name));
    let on = |name, condition| Verdict {
        parent: gateway(name),
        ..verdict(Kind::BackendTlsPolicy, condition, true)
    };
    let service = Some(ObjectKey::new(Kind::Service, "shop", "web"));
    let of_none = Verdict { parent: service, ..verdict(Kind::BackendTlsPolicy, "Accepted", true) };
    let verdicts = [on("one", "Accepted"), on("one", "ResolvedRefs"), on("two", "Accepted"), of_none];
    let said = Said::of(Kind::BackendTlsPolicy, &verdicts, share(1, 1), &speaker());
    let after = round(Layout::Ancestors, json!({"spec": {}}), &said);
    let ancestors = after["status"]["ancestors"].as_array().unwrap();
    assert_eq!(ancestors.len(), 2);
    assert_eq!(
        ancestors[0]["ancestorRef"],
        json!({"group": "gateway.networking.k8s.io", "kind": "Gateway", "namespace": "infra", "name": "one"})
    );
    assert_eq!(ancestors[0]["conditions"].as_array().unwrap().len(), 2);
}

#[test]
fn an_ingress_says_where_it_is() {
    let addresses = vec![
        GatewayAddress::ip("10.0.0.1".to_owned()),
        GatewayAddress::hostname("lb.example.com".to_owned()),
    ];
    let facts = Facts { addresses, ..Facts::default() };
    let verdicts = [verdict(Kind::Ingress, "Programmed", true).with_facts(facts)];
    let said = Said::of(Kind::Ingress, &verdicts, share(1, 1), &speaker());
    let after = round(Layout::LoadBalancer, json!({"status": {"loadBalancer": {}}}), &said);
    assert_eq!(
        after["status"]["loadBalancer"],
        json!({"ingress": [{"ip": "10.0.0.1"}, {"hostname": "lb.example.com"}]})
    );
}

#[test]
fn of_istios_kinds_the_conditions_name_who_wrote_them_and_one_that_does_not_hold_comes_first() {
    let parent = |name: &str| Some(ObjectKey::new(Kind::Gateway, "shop", name));
    let on = |name, holds| Verdict {
        parent: parent(name),
        message: name.into(),
        ..verdict(Kind::VirtualService, "Accepted", holds)
    };
    let verdicts = [on("a", true), on("b", false), on("c", true)];
    let said = Said::of(Kind::VirtualService, &verdicts, share(1, 1), &speaker());
    let others = json!({"status": {"conditions": [{"type": "Accepted", "status": "True"}, {"type": "limens/Accepted"}]}});
    let after = round(Layout::Prefixed, others, &said);
    let conditions = after["status"]["conditions"].as_array().unwrap();
    assert_eq!(conditions.len(), 3);
    assert_eq!([&conditions[0]["type"], &conditions[0]["status"]], ["limen/Accepted", "False"]);
    assert_eq!(conditions[0]["message"], "b");
    let after = round(Layout::Prefixed, after, &Said::default());
    assert_eq!(after["status"]["conditions"].as_array().unwrap().len(), 2);
}

#[test]
fn a_long_message_is_cut_between_letters() {
    let long =
        Verdict { message: "ä".repeat(LONGEST).into(), ..verdict(Kind::GatewayClass, "Accepted", true) };
    let said = Said::of(Kind::GatewayClass, &[long], share(1, 1), &speaker());
    assert_eq!(said.conditions[0].message.len(), LONGEST);
}
