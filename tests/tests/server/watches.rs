//! Watches.

use futures_util::{Stream, StreamExt};
use limen_e2e::server::{METADATA, Server};
use limen_e2e::within;
use serde_json::{Value, json};

use super::lists::{MAPS, ROUTES, map, route, told};

const PLAIN: &str = "application/json";

type Told = (&'static str, Value);

async fn next(events: &mut (impl Stream<Item = Told> + Unpin)) -> Told {
    within("an event", events.next()).await.expect("the watch goes on")
}

fn version(object: &Value) -> u64 {
    object["metadata"]["resourceVersion"].as_str().unwrap().parse().unwrap()
}

async fn listed(server: &Server, path: &str) -> String {
    let (_, list) = server.get(path).await;
    list["metadata"]["resourceVersion"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_watch_tells_what_comes_after_a_list_in_order() {
    let server = Server::start("watched").await;
    for (path, before, then) in [
        (server.path(MAPS), map("one", "a"), map("one", "b")),
        (server.path(ROUTES), route("one", "a.example.com"), route("one", "b.example.com")),
    ] {
        let from = listed(&server, &path).await;
        server.apply(&before.to_string()).await;
        let query = format!("resourceVersion={from}&timeoutSeconds=240&allowWatchBookmarks=true");
        let mut events = server.watch(&path, &query, PLAIN).await;
        let (sort, added) = next(&mut events).await;
        assert_eq!(
            (sort, &added["metadata"]["name"]),
            ("ADDED", &Value::from("one")),
            "also what came before the watch"
        );
        // In a watch, built-in kinds do say what they are.
        assert!(told(&added["kind"]) && told(&added["apiVersion"]), "{added}");
        assert!(version(&added) > from.parse().unwrap());
        server.apply(&then.to_string()).await;
        let (sort, modified) = next(&mut events).await;
        assert_eq!(sort, "MODIFIED");
        assert!(version(&modified) > version(&added));
        assert_eq!(modified["metadata"]["uid"], added["metadata"]["uid"]);
        server.delete(&then.to_string()).await;
        let (sort, deleted) = next(&mut events).await;
        assert_eq!((sort, &deleted["metadata"]["name"]), ("DELETED", &Value::from("one")));
        assert!(version(&deleted) > version(&modified), "a deletion has a version of its own");
    }
}

#[tokio::test]
async fn a_watch_of_one_name_tells_of_no_other() {
    let server = Server::start("one-name").await;
    let path = server.path("secrets.");
    let secret = |name: &str| format!("{{apiVersion: v1, kind: Secret, metadata: {{name: {name}}}}}");
    let from = listed(&server, &path).await;
    let query = format!("resourceVersion={from}&fieldSelector=metadata.name%3Dwanted");
    let mut events = server.watch(&path, &query, PLAIN).await;
    for name in ["other", "wanted", "another"] {
        server.apply(&secret(name)).await;
    }
    server.delete(&secret("other")).await;
    server.delete(&secret("wanted")).await;
    for sort in ["ADDED", "DELETED"] {
        let (told, object) = next(&mut events).await;
        assert_eq!((told, object["metadata"]["name"].as_str()), (sort, Some("wanted")));
    }
}

#[tokio::test]
async fn whoever_loses_a_label_is_gone_for_a_watch_of_it() {
    let server = Server::start("labelled").await;
    let path = server.path(MAPS);
    let from = listed(&server, &path).await;
    let query = format!("resourceVersion={from}&labelSelector=colour%3Dred");
    let mut events = server.watch(&path, &query, PLAIN).await;
    for (name, colour) in
        [("one", "blue"), ("one", "red"), ("one", "red"), ("one", "green"), ("one", "white"), ("two", "red")]
    {
        let mut object = map(name, colour);
        object["metadata"]["labels"] = json!({"colour": colour, "changes": colour.len().to_string()});
        server.apply(&object.to_string()).await;
    }
    for (sort, name) in [("ADDED", "one"), ("DELETED", "one"), ("ADDED", "two")] {
        let (told, object) = next(&mut events).await;
        assert_eq!((told, object["metadata"]["name"].as_str()), (sort, Some(name)), "{object}");
    }
}

#[tokio::test]
async fn a_watch_of_metadata_tells_no_more() {
    let server = Server::start("watched-metadata").await;
    let path = server.path(MAPS);
    let from = listed(&server, &path).await;
    let mut events = server.watch(&path, &format!("resourceVersion={from}"), METADATA).await;
    server.apply(&map("one", "secret").to_string()).await;
    let (sort, object) = next(&mut events).await;
    assert_eq!((sort, object["kind"].as_str()), ("ADDED", Some("PartialObjectMetadata")));
    assert!(object.get("data").is_none() && told(&object["metadata"]["uid"]));
}

#[tokio::test]
async fn bookmarks_say_how_far_a_watch_is() {
    let server = Server::start("bookmarks").await;
    let path = server.path(MAPS);
    let from = listed(&server, &path).await;
    let query = format!("resourceVersion={from}&timeoutSeconds=4&allowWatchBookmarks=true");
    let mut events = server.watch(&path, &query, PLAIN).await;
    server.bookmark();
    let (sort, mark) = next(&mut events).await;
    assert_eq!((sort, mark["kind"].as_str()), ("BOOKMARK", Some("ConfigMap")));
    let reached = mark["version"].as_str().unwrap();
    assert!(reached.parse::<u64>().unwrap() >= from.parse().unwrap());
    // A watch goes on there.
    server.apply(&map("later", "").to_string()).await;
    let mut events = server.watch(&path, &format!("resourceVersion={reached}"), PLAIN).await;
    assert_eq!(next(&mut events).await.0, "ADDED");
}

#[tokio::test]
async fn a_watch_ends_after_the_time_that_was_asked_for() {
    let server = Server::start("ends").await;
    let path = server.path(MAPS);
    let from = listed(&server, &path).await;
    let query = format!("resourceVersion={from}&timeoutSeconds=1");
    let mut events = server.watch(&path, &query, PLAIN).await;
    assert!(within("the end", events.next()).await.is_none(), "without bookmarks, and without an error");
}

#[tokio::test]
async fn a_watch_from_long_ago_is_told_that_it_is_gone() {
    let server = Server::start("gone").await;
    // Of a kind that was there when it began a server knows everything.
    let path = server.path(ROUTES);
    let forgotten = server.forget().await;
    let mut events = server.watch(&path, &format!("resourceVersion={forgotten}"), PLAIN).await;
    let (sort, status) = next(&mut events).await;
    assert_eq!(
        (sort, status["code"].as_u64(), status["reason"].as_str()),
        ("ERROR", Some(410), Some("Expired"))
    );
    assert!(within("the end", events.next()).await.is_none());
}
