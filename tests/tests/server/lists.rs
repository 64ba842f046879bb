//! Lists, and which kinds there are.

use limen_e2e::server::{METADATA, METADATA_LIST, Server};
use limen_e2e::within;
use serde_json::{Value, json};

/// A map of configuration with this name, for tests of any built-in kind.
pub(super) fn map(name: &str, text: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": {"text": text}})
}

/// A route with this name, for tests of any kind that has a definition.
pub(super) fn route(name: &str, host: &str) -> Value {
    json!({"apiVersion": "gateway.networking.k8s.io/v1", "kind": "HTTPRoute", "metadata": {"name": name},
        "spec": {"hostnames": [host]}})
}

pub(super) const MAPS: &str = "configmaps.";
pub(super) const ROUTES: &str = "httproutes.gateway.networking.k8s.io";

/// Whether it is text that is not empty.
pub(super) fn told(value: &Value) -> bool {
    value.as_str().is_some_and(|text| !text.is_empty())
}

pub(super) fn names(list: &Value) -> Vec<&str> {
    let items = list["items"].as_array().unwrap().iter();
    // Servers put some of their own into each namespace.
    items
        .map(|item| item["metadata"]["name"].as_str().unwrap())
        .filter(|name| name.starts_with("map"))
        .collect()
}

#[tokio::test]
async fn a_list_comes_in_pages_of_one_moment() {
    let server = Server::start("pages").await;
    for number in 0..5 {
        server.apply(&map(&format!("map-{number}"), "").to_string()).await;
    }
    let path = server.path(MAPS);
    let (code, first) = server.get(&format!("{path}?limit=3")).await;
    assert_eq!(code, 200);
    assert_eq!((first["kind"].as_str(), first["apiVersion"].as_str()), (Some("ConfigMapList"), Some("v1")));
    let token = first["metadata"]["continue"].as_str().unwrap().to_owned();
    server.apply(&map("map-9", "").to_string()).await;
    let mut all: Vec<String> = names(&first).into_iter().map(str::to_owned).collect();
    let (mut token, mut pages) = (Some(token), 1);
    while let Some(next) = token {
        let (code, page) = server.get(&format!("{path}?limit=3&continue={next}")).await;
        assert_eq!(code, 200);
        assert_eq!(page["metadata"]["resourceVersion"], first["metadata"]["resourceVersion"]);
        all.extend(names(&page).into_iter().map(str::to_owned));
        token = page["metadata"]["continue"].as_str().filter(|next| !next.is_empty()).map(str::to_owned);
        pages += 1;
    }
    assert_eq!(all, ["map-0", "map-1", "map-2", "map-3", "map-4"], "what came later is not on a later page");
    assert!(pages >= 2);
}

#[tokio::test]
async fn a_page_of_long_ago_is_gone() {
    let server = Server::start("expired").await;
    for number in 0..3 {
        server.apply(&route(&format!("map-{number}"), "a.example.com").to_string()).await;
    }
    let path = server.path(ROUTES);
    let (_, first) = server.get(&format!("{path}?limit=1")).await;
    let token = first["metadata"]["continue"].as_str().unwrap();
    server.forget().await;
    let aged = server.aged(token);
    let (code, answer) = server.get(&format!("{path}?limit=1&continue={aged}")).await;
    assert_eq!((code, answer["reason"].as_str(), answer["code"].as_u64()), (410, Some("Expired"), Some(410)));
    let (code, again) = server.get(&format!("{path}?limit=500")).await;
    assert_eq!((code, names(&again).len()), (200, 3));
}

#[tokio::test]
async fn items_of_built_in_kinds_do_not_say_what_they_are() {
    let server = Server::start("items").await;
    server.apply(&map("map", "").to_string()).await;
    server.apply(&route("map", "a.example.com").to_string()).await;
    let (_, maps) = server.get(&server.path(MAPS)).await;
    assert!(maps["items"][0].get("kind").is_none() && maps["items"][0].get("apiVersion").is_none());
    let (_, routes) = server.get(&server.path(ROUTES)).await;
    assert_eq!(routes["items"][0]["kind"], "HTTPRoute");
    assert_eq!(routes["items"][0]["apiVersion"], "gateway.networking.k8s.io/v1");
    for (list, item) in [(&maps, &maps["items"][0]), (&routes, &routes["items"][0])] {
        assert!(told(&list["metadata"]["resourceVersion"]));
        let metadata = &item["metadata"];
        for field in ["uid", "resourceVersion", "creationTimestamp", "namespace"] {
            assert!(told(&metadata[field]), "{field} of {item}");
        }
        assert!(metadata["managedFields"].is_array());
    }
    assert_eq!(routes["items"][0]["metadata"]["generation"], 1);
}

#[tokio::test]
async fn an_older_version_of_a_kind_tells_the_same_objects() {
    let server = Server::start("versions").await;
    server.apply(&route("map", "a.example.com").to_string()).await;
    let (_, new) = server.get(&server.path(ROUTES)).await;
    let (code, old) = server.get(&server.path(ROUTES).replace("/v1/", "/v1beta1/")).await;
    assert_eq!(code, 200);
    assert_eq!(old["items"][0]["apiVersion"], "gateway.networking.k8s.io/v1beta1");
    assert_eq!(old["items"][0]["metadata"]["uid"], new["items"][0]["metadata"]["uid"]);
    assert_eq!(old["items"][0]["spec"], new["items"][0]["spec"]);
}

#[tokio::test]
async fn only_metadata_is_told_to_whoever_wants_no_more() {
    let server = Server::start("metadata").await;
    server.apply(&map("map", "secret").to_string()).await;
    let path = server.path(MAPS);
    let (code, list) = server.get_as(&path, METADATA_LIST).await;
    assert_eq!(code, 200);
    assert_eq!(list["kind"], "PartialObjectMetadataList");
    assert_eq!(list["apiVersion"], "meta.k8s.io/v1");
    assert_eq!(names(&list), ["map"]);
    assert!(!list.to_string().contains("secret"));
    assert!(told(&list["items"][0]["metadata"]["uid"]));
    let (_, one) = server.get_as(&format!("{path}/map"), METADATA).await;
    assert_eq!(
        (&one["kind"], &one["apiVersion"]),
        (&json!("PartialObjectMetadata"), &json!("meta.k8s.io/v1"))
    );
    assert!(one.get("data").is_none() && told(&one["metadata"]["uid"]));
}

#[tokio::test]
async fn one_secret_is_found_by_its_name() {
    let server = Server::start("named").await;
    for name in ["one", "other"] {
        server.apply(&format!("{{apiVersion: v1, kind: Secret, metadata: {{name: {name}}}}}")).await;
    }
    let path = server.path("secrets.");
    let named = async |name: &str| {
        let (code, list) =
            server.get(&format!("{path}?fieldSelector=metadata.name%3D{name}&limit=500")).await;
        assert_eq!(code, 200);
        assert!(told(&list["metadata"]["resourceVersion"]));
        let items = list["items"].as_array().cloned().unwrap_or_default();
        items.iter().map(|item| item["metadata"]["name"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(named("one").await, ["one"]);
    assert_eq!(named("absent").await, Vec::<String>::new());
}

#[tokio::test]
async fn objects_are_found_by_their_labels() {
    let server = Server::start("labels").await;
    for (name, colour) in [("map-1", "red"), ("map-2", "blue"), ("map-3", "red")] {
        let mut one = map(name, "");
        one["metadata"]["labels"] = json!({"example.com/colour": colour});
        server.apply(&one.to_string()).await;
    }
    let (code, list) =
        server.get(&format!("{}?labelSelector=example.com%2Fcolour%3Dred", server.path(MAPS))).await;
    assert_eq!((code, names(&list)), (200, vec!["map-1", "map-3"]));
    server.apply(&map("map-4", "").to_string()).await;
    let (code, list) = server.get(&format!("{}?labelSelector=example.com%2Fcolour", server.path(MAPS))).await;
    assert_eq!((code, names(&list)), (200, vec!["map-1", "map-2", "map-3"]), "whatever it says");
}

#[tokio::test]
async fn what_is_not_there_is_answered_with_404() {
    let server = Server::start("absent").await;
    let (code, answer) = server.get(&format!("{}/absent", server.path(MAPS))).await;
    assert_eq!(
        (code, answer["kind"].as_str(), answer["reason"].as_str()),
        (404, Some("Status"), Some("NotFound"))
    );
    assert_eq!(server.get("/apis/absent.example.com/v1/things").await.0, 404);
    assert_eq!(server.get("/apis/gateway.networking.k8s.io/v1/things").await.0, 404);
}

#[tokio::test]
async fn kinds_come_and_go_with_their_definitions() {
    const KIND: &str = "proxyconfigs.networking.istio.io";
    let (_change, server) = (super::kinds_change().await, Server::start("kinds").await);
    let served = async || {
        let (code, kinds) = server.get("/apis/networking.istio.io/v1beta1").await;
        assert_eq!(code, 200);
        let mut all = kinds["resources"].as_array().unwrap().iter();
        all.any(|kind| {
            kind["name"] == "proxyconfigs" && kind["kind"] == "ProxyConfig" && kind["namespaced"] == true
        })
    };
    let groups = async || {
        let (_, groups) = server.get("/apis").await;
        let all = groups["groups"].as_array().unwrap();
        all.iter().find(|group| group["name"] == "networking.istio.io").unwrap()["versions"].clone()
    };
    assert!(served().await);
    assert!(groups().await.as_array().unwrap().iter().any(|version| version["version"] == "v1beta1"));
    let definition = server.uninstall(KIND).await;
    within("the kind to be served no more", async {
        while served().await {
            tokio::task::yield_now().await;
        }
    })
    .await;
    server.install(&definition).await;
    server.until_served(KIND).await;
    within("the kind to be told of", async {
        while !served().await {
            tokio::task::yield_now().await;
        }
    })
    .await;
}
