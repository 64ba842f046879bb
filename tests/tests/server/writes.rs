//! Writes: who wins, what a status is, Leases.

use limen_e2e::server::{APPLY_PATCH, MERGE_PATCH, Server};
use serde_json::{Value, json};

use super::lists::{MAPS, ROUTES, map, route};

const LEASES: &str = "leases.coordination.k8s.io";

fn reason(answer: &Value) -> &str {
    assert_eq!(answer["kind"], "Status");
    answer["reason"].as_str().unwrap_or_default()
}

/// A route as it is stored, and where.
async fn stored(server: &Server) -> (String, Value) {
    let path = server.path(ROUTES);
    let (code, stored) = server.call("POST", &path, Some(&route("one", "a.example.com"))).await;
    assert_eq!(code, 201);
    (format!("{path}/one"), stored)
}

fn parents(controller: &str) -> Value {
    let condition = json!({"type": "Accepted", "status": "True", "reason": "Accepted", "message": "",
        "lastTransitionTime": "2026-01-01T00:00:00Z", "observedGeneration": 1});
    json!({"parents": [{"controllerName": controller, "parentRef": {"name": "edge"}, "conditions": [condition]}]})
}

#[tokio::test]
async fn what_exists_is_not_created_again() {
    let server = Server::start("exists").await;
    let path = server.path(MAPS);
    assert_eq!(server.call("POST", &path, Some(&map("one", "a"))).await.0, 201);
    let (code, answer) = server.call("POST", &path, Some(&map("one", "b"))).await;
    assert_eq!((code, reason(&answer)), (409, "AlreadyExists"));
    let (code, answer) = server.call("DELETE", &format!("{path}/absent"), None).await;
    assert_eq!((code, reason(&answer)), (404, "NotFound"));
    assert_eq!(server.call("DELETE", &format!("{path}/one"), None).await.0, 200);
    assert_eq!(server.get(&format!("{path}/one")).await.0, 404);
}

#[tokio::test]
async fn whoever_read_an_older_version_does_not_overwrite_a_newer_one() {
    let server = Server::start("conflict").await;
    let (path, first) = stored(&server).await;
    let mut mine = first.clone();
    mine["spec"]["hostnames"] = json!(["b.example.com"]);
    assert_eq!(server.call("PUT", &path, Some(&mine)).await.0, 200);
    let (code, answer) = server.call("PUT", &path, Some(&mine)).await;
    assert_eq!((code, reason(&answer)), (409, "Conflict"));
    let mut status = first.clone();
    status["status"] = parents("limen.dev/gateway-controller");
    let (code, answer) = server.call("PUT", &format!("{path}/status"), Some(&status)).await;
    assert_eq!((code, reason(&answer)), (409, "Conflict"), "for a status as well");
    let patch = json!({"metadata": {"resourceVersion": first["metadata"]["resourceVersion"]}, "spec": {"hostnames": []}});
    let (code, answer) = server.call_as("PATCH", &path, Some(&patch), MERGE_PATCH).await;
    assert_eq!((code, reason(&answer)), (409, "Conflict"), "for a patch that names a version");
}

#[tokio::test]
async fn a_kind_with_a_definition_is_not_replaced_without_a_version() {
    let server = Server::start("blind").await;
    let (path, _) = stored(&server).await;
    let (code, answer) = server.call("PUT", &path, Some(&route("one", "b.example.com"))).await;
    assert_eq!((code, reason(&answer)), (422, "Invalid"));
    // A built-in one is.
    let path = server.path(MAPS);
    assert_eq!(server.call("POST", &path, Some(&map("one", "a"))).await.0, 201);
    assert_eq!(server.call("PUT", &format!("{path}/one"), Some(&map("one", "b"))).await.0, 200);
}

#[tokio::test]
async fn a_generation_counts_changes_of_the_spec_alone() {
    let server = Server::start("generation").await;
    let (path, first) = stored(&server).await;
    assert_eq!(first["metadata"]["generation"], 1);
    let patch = json!({"metadata": {"labels": {"a": "b"}}});
    let (_, labelled) = server.call_as("PATCH", &path, Some(&patch), MERGE_PATCH).await;
    assert_eq!(labelled["metadata"]["generation"], 1);
    assert_ne!(labelled["metadata"]["resourceVersion"], first["metadata"]["resourceVersion"]);
    let patch = json!({"spec": {"hostnames": ["b.example.com"]}});
    let (_, changed) = server.call_as("PATCH", &path, Some(&patch), MERGE_PATCH).await;
    assert_eq!(changed["metadata"]["generation"], 2);
    assert_eq!(changed["metadata"]["labels"]["a"], "b");
    for field in ["uid", "creationTimestamp"] {
        assert_eq!(changed["metadata"][field], first["metadata"][field], "{field}");
    }
    // What changes nothing leaves the version as it is.
    let (code, same) = server.call_as("PATCH", &path, Some(&patch), MERGE_PATCH).await;
    assert_eq!((code, &same["metadata"]["resourceVersion"]), (200, &changed["metadata"]["resourceVersion"]));
}

#[tokio::test]
async fn a_status_is_written_apart_from_the_rest() {
    let server = Server::start("status").await;
    let (path, first) = stored(&server).await;
    let mut both = first.clone();
    both["status"] = parents("example.com/one");
    both["spec"]["hostnames"] = json!(["other.example.com"]);
    both["metadata"]["labels"] = json!({"a": "b"});
    let (code, written) = server.call("PUT", &format!("{path}/status"), Some(&both)).await;
    assert_eq!(code, 200, "{written}");
    assert_eq!(written["spec"]["hostnames"], json!(["a.example.com"]), "the spec is not a status");
    assert!(written["metadata"].get("labels").is_none());
    assert_eq!(written["metadata"]["generation"], 1);
    assert_ne!(written["metadata"]["resourceVersion"], first["metadata"]["resourceVersion"]);
    assert_eq!(written["status"]["parents"][0]["controllerName"], "example.com/one");
    assert_eq!(written["status"]["parents"][0]["conditions"], both["status"]["parents"][0]["conditions"]);
    // And the other way round.
    let mut both = written.clone();
    both["status"] = parents("example.com/two");
    both["spec"]["hostnames"] = json!(["b.example.com"]);
    let (code, replaced) = server.call("PUT", &path, Some(&both)).await;
    assert_eq!(code, 200);
    assert_eq!(replaced["status"]["parents"][0]["controllerName"], "example.com/one");
    assert_eq!(replaced["metadata"]["generation"], 2);
    let patch = json!({"status": parents("example.com/three"), "spec": {"hostnames": ["c.example.com"]}});
    let (code, patched) = server.call_as("PATCH", &format!("{path}/status"), Some(&patch), MERGE_PATCH).await;
    assert_eq!((code, &patched["metadata"]["generation"]), (200, &json!(2)));
    assert_eq!(patched["status"]["parents"][0]["controllerName"], "example.com/three");
    assert_eq!(patched["spec"]["hostnames"], json!(["b.example.com"]));
    // An object that comes with a status has none.
    let mut boastful = route("boastful", "a.example.com");
    boastful["status"] = parents("example.com/one");
    let (code, created) = server.call("POST", &server.path(ROUTES), Some(&boastful)).await;
    assert_eq!(code, 201);
    assert!(created.pointer("/status/parents/0").is_none(), "{created}");
}

#[tokio::test]
async fn a_patch_merges_objects_replaces_lists_and_removes_what_is_null() {
    let server = Server::start("patch").await;
    let path = server.path(MAPS);
    let mut one = map("one", "a");
    one["data"]["other"] = "b".into();
    assert_eq!(server.call("POST", &path, Some(&one)).await.0, 201);
    let patch = json!({"data": {"text": null, "third": "c"}});
    let (code, patched) = server.call_as("PATCH", &format!("{path}/one"), Some(&patch), MERGE_PATCH).await;
    assert_eq!((code, &patched["data"]), (200, &json!({"other": "b", "third": "c"})));
    let (code, _) = server.call_as("PATCH", &format!("{path}/absent"), Some(&patch), MERGE_PATCH).await;
    assert_eq!(code, 404);
    let (code, _) = server.call_as("PATCH", &format!("{path}/one"), Some(&patch), "application/json").await;
    assert_eq!(code, 415, "a patch has to say which sort it is");
}

#[tokio::test]
async fn of_two_who_take_a_lease_one_has_it() {
    let server = Server::start("lease").await;
    let path = server.path(LEASES);
    let lease = |holder: &str, second: u8| {
        let time = format!("2026-01-01T00:00:0{second}.000000Z");
        json!({"apiVersion": "coordination.k8s.io/v1", "kind": "Lease",
            "metadata": {"name": "leader", "annotations": {"limen.dev/applied": "7"}},
            "spec": {"holderIdentity": holder, "leaseDurationSeconds": 15, "acquireTime": time, "renewTime": time,
                "leaseTransitions": 0}})
    };
    let (code, mine) = server.call("POST", &path, Some(&lease("one", 1))).await;
    assert_eq!(code, 201, "{mine}");
    let (code, answer) = server.call("POST", &path, Some(&lease("two", 1))).await;
    assert_eq!((code, reason(&answer)), (409, "AlreadyExists"));
    let one = format!("{path}/leader");
    let (code, answer) = server.call("PUT", &one, Some(&lease("two", 2))).await;
    assert_eq!((code, reason(&answer)), (422, "Invalid"), "not without a version");
    let take = |holder: &str| {
        let mut taken = lease(holder, 2);
        taken["metadata"]["resourceVersion"] = mine["metadata"]["resourceVersion"].clone();
        taken
    };
    let (two, three) = (take("two"), take("three"));
    let (second, third) =
        tokio::join!(server.call("PUT", &one, Some(&two)), server.call("PUT", &one, Some(&three)));
    let mut codes = [second.0, third.0];
    codes.sort_unstable();
    assert_eq!(codes, [200, 409]);
    let (_, now) = server.get(&one).await;
    let winner = if second.0 == 200 { "two" } else { "three" };
    assert_eq!(now["spec"]["holderIdentity"], winner);
    assert_eq!(now["spec"]["renewTime"], "2026-01-01T00:00:02.000000Z");
    assert_eq!(now["metadata"]["annotations"]["limen.dev/applied"], "7");
}

#[tokio::test]
async fn what_is_applied_is_made_and_loses_what_it_does_not_say_any_more() {
    let server = Server::start("apply").await;
    let path = format!("{}/one", server.path(MAPS));
    let labelled = |labels: Value| json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "one", "labels": labels}, "data": {"a": "b"}});
    let apply = async |labels: Value| {
        let path = format!("{path}?fieldManager=limen&force=true");
        server.call_as("PATCH", &path, Some(&labelled(labels)), APPLY_PATCH).await
    };
    assert_eq!(apply(json!({"a": "1", "b": "2"})).await.0, 201);
    let (code, after) = apply(json!({"b": "3"})).await;
    assert_eq!((code, &after["metadata"]["labels"]), (200, &json!({"b": "3"})));
    assert_eq!(server.get(&path).await.1["metadata"]["labels"], json!({"b": "3"}));
}

#[tokio::test]
async fn who_applies_without_force_takes_nothing_from_others() {
    let server = Server::start("force").await;
    let path = server.path(MAPS);
    let map = |text: &str| json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "one"}, "data": {"a": text}});
    assert_eq!(server.call("POST", &path, Some(&map("theirs"))).await.0, 201);
    let path = format!("{path}/one");
    let apply = async |query: &str| {
        let path = format!("{path}?fieldManager=limen{query}");
        server.call_as("PATCH", &path, Some(&map("ours")), APPLY_PATCH).await
    };
    let (code, answer) = apply("").await;
    assert_eq!((code, reason(&answer)), (409, "Conflict"));
    assert_eq!(server.get(&path).await.1["data"]["a"], "theirs");
    assert_eq!(apply("&force=true").await.0, 200);
    assert_eq!(server.get(&path).await.1["data"]["a"], "ours");
}

#[tokio::test]
async fn an_event_lives_where_its_object_does() {
    let server = Server::start("event").await;
    let path = server.path("events.");
    let event = |name: &str, namespace: &str| {
        json!({"apiVersion": "v1", "kind": "Event", "metadata": {"name": name}, "type": "Warning",
            "involvedObject": {"apiVersion": "v1", "kind": "ConfigMap", "namespace": namespace, "name": "one"},
            "reason": "NotServed", "message": "why", "count": 1, "source": {"component": "limen"},
            "firstTimestamp": "2026-01-01T00:00:00Z", "lastTimestamp": "2026-01-01T00:00:00Z"})
    };
    let (code, answer) = server.call("POST", &path, Some(&event("one.1", &server.namespace))).await;
    assert_eq!(code, 201, "{answer}");
    let (code, answer) = server.call("POST", &path, Some(&event("one.1", &server.namespace))).await;
    assert_eq!((code, reason(&answer)), (409, "AlreadyExists"));
    let (code, answer) = server.call("POST", &path, Some(&event("one.2", "elsewhere"))).await;
    assert_eq!((code, reason(&answer)), (422, "Invalid"));
    // Those of objects without a namespace live in `default`.
    let (code, _) = server.call("POST", &path, Some(&event("one.3", ""))).await;
    assert_eq!(code, 422);
    let name = format!("{}.4", server.namespace);
    let (code, answer) =
        server.call("POST", "/api/v1/namespaces/default/events", Some(&event(&name, ""))).await;
    assert_eq!(code, 201, "{answer}");
}
