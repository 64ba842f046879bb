//! The double's side of HTTP.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Body, to_bytes};
use axum::http::{Method, Request, Response, StatusCode};
use bytes::Bytes;
use http_body::Frame;
use serde_json::{Value, json};
use tokio::sync::mpsc;

use super::Shared;
use super::kinds::ApiKind;
use super::state::{Change, Key, Refusal, Right, State, merge};
use crate::server::{APPLY_PATCH, MERGE_PATCH};

/// What tests say who write through the double as they would through a real server.
const ADMINISTRATOR: &str = "Bearer administrator";

/// What a path leads to.
struct Place {
    kind: &'static ApiKind,
    version: String,
    namespace: Option<String>,
    name: Option<String>,
    sub: Option<String>,
}

/// What is asked for in the query and the headers.
struct Asked {
    query: Vec<(String, String)>,
    metadata: bool,
    /// By somebody who may do everything, whatever the rights of others.
    administrator: bool,
    /// The body is what the object is to hold, whether it is there or not (server-side apply).
    applies: bool,
}

impl Asked {
    fn get(&self, name: &str) -> Option<&str> {
        self.query.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    fn is(&self, name: &str) -> bool {
        self.get(name).is_some_and(|value| value == "true" || value == "1")
    }

    /// Is the object among those that are asked for?
    fn selects(&self, place: &Place, key: &Key) -> bool {
        let (kind, namespace, name) = key;
        let by_field = |selector: &str| {
            selector.split(',').all(|part| match part.split_once('=') {
                Some(("metadata.name", wanted)) => name == wanted,
                Some(("metadata.namespace", wanted)) => namespace == wanted,
                _ => panic!("the double has no selector {part}"),
            })
        };
        *kind == place.kind.name()
            && place.namespace.as_ref().is_none_or(|wanted| wanted == namespace)
            && self.get("fieldSelector").is_none_or(by_field)
    }

    /// Has it the labels that are asked for?
    fn labelled(&self, object: &Value) -> bool {
        let labels = &object["metadata"]["labels"];
        self.get("labelSelector").is_none_or(|selector| {
            selector.split(',').all(|part| match part.split_once('=') {
                Some((label, wanted)) => labels[label] == *wanted,
                None => labels.get(part).is_some(),
            })
        })
    }

    /// The object as it is asked for.
    fn show(&self, place: &Place, object: &Value) -> Value {
        if self.metadata {
            let metadata = object["metadata"].clone();
            return json!({"apiVersion": "meta.k8s.io/v1", "kind": "PartialObjectMetadata", "metadata": metadata});
        }
        let mut shown = object.clone();
        shown["apiVersion"] = place.kind.api_version(&place.version).into();
        shown
    }
}

fn unescape(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        let digits = || -> Option<u8> {
            let at = text.len() - rest.len();
            u8::from_str_radix(text.get(at..at + 2)?, 16).ok()
        };
        match byte {
            b'%' => {
                bytes.push(digits().unwrap());
                rest.nth(1);
            }
            b'+' => bytes.push(b' '),
            other => bytes.push(other),
        }
    }
    String::from_utf8(bytes).unwrap()
}

/// A request that is not looked at yet.
struct Held(Arc<Shared>, String);

impl Held {
    fn new(shared: Arc<Shared>, request: &Request<Body>) -> Held {
        let line = format!("{} {}", request.method(), request.uri().path());
        shared.state().held.push(line.clone());
        shared.changed();
        Held(shared, line)
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let held = &mut self.0.state().held;
        if let Some(at) = held.iter().position(|line| *line == self.1) {
            held.remove(at);
        }
    }
}

/// Answers one request.
pub(super) async fn answer(shared: Arc<Shared>, request: Request<Body>) -> Response<Body> {
    let faults = shared.state().faults.clone();
    let held = Held::new(Arc::clone(&shared), &request);
    tokio::time::sleep_until(tokio::time::Instant::now() + faults.latency).await;
    let mut news = shared.news.subscribe();
    while shared.state().faults.silent && news.changed().await.is_ok() {}
    drop(held);
    let token = token_of(&request);
    if faults.token.as_ref().is_some_and(|known| token != Some(known)) {
        return refusal((401, "Unauthorized", "Unauthorized".to_owned()));
    }
    if let Some(code) = faults.answer {
        return refusal((code, "Fault", format!("the server answers {code} now")));
    }
    let (parts, body) = request.into_parts();
    let body = to_bytes(body, 1 << 22).await.unwrap_or_default();
    let query = parts.uri.query().unwrap_or_default().split('&').filter_map(|pair| pair.split_once('='));
    let accept = parts.headers.get("accept").and_then(|value| value.to_str().ok()).unwrap_or_default();
    let sort = parts.headers.get("content-type").and_then(|value| value.to_str().ok()).unwrap_or_default();
    if parts.method == Method::PATCH && ![MERGE_PATCH, APPLY_PATCH].contains(&sort) {
        return refusal((415, "UnsupportedMediaType", format!("the double knows no {sort}")));
    }
    let asked = Asked {
        query: query.map(|(name, value)| (name.to_owned(), unescape(value))).collect(),
        metadata: accept.contains("as=PartialObjectMetadata"),
        applies: parts.headers.get("content-type").is_some_and(|value| value == APPLY_PATCH),
        administrator: parts.headers.get("authorization").is_some_and(|value| value == ADMINISTRATOR),
    };
    let path: Vec<&str> = parts.uri.path().split('/').filter(|part| !part.is_empty()).collect();
    shared.state().discoveries += usize::from(path == ["apis"]);
    // The lock is not to be held while the next line takes it again.
    let found = discovery(&shared.state(), &path);
    if let Some(found) = found {
        return json_response(200, &found);
    }
    let place = place(&shared.state(), &path);
    match place {
        Some(place) => resource(&shared, (&parts.method, &body), place, asked),
        None => refusal((404, "NotFound", "the server could not find the requested resource".to_owned())),
    }
}

/// The token of who asks.
fn token_of(request: &Request<Body>) -> Option<&str> {
    request.headers().get("authorization")?.to_str().ok()?.strip_prefix("Bearer ")
}

fn json_response(code: u16, value: &Value) -> Response<Body> {
    let status = StatusCode::from_u16(code).unwrap();
    let response = Response::builder().status(status).header("content-type", "application/json");
    response.body(Body::from(value.to_string())).unwrap()
}

fn refusal((code, reason, message): Refusal) -> Response<Body> {
    let mut response = json_response(code, &status(code, reason, &message));
    if code == 429 {
        response.headers_mut().insert("retry-after", "1".parse().unwrap());
    }
    response
}

fn status(code: u16, reason: &str, message: &str) -> Value {
    let mut status = json!({
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
        "message": message, "reason": reason, "code": code,
    });
    if code == 429 {
        status["details"] = json!({"retryAfterSeconds": 1});
    }
    status
}

/// The pages that say which kinds there are.
fn discovery(state: &State, path: &[&str]) -> Option<Value> {
    let groups = || {
        let mut groups: Vec<&str> = state.kinds.iter().map(|kind| kind.group).collect();
        groups.sort_unstable();
        groups.dedup();
        groups.retain(|group| !group.is_empty());
        groups
    };
    let resources = |group: &str, version: &str| {
        let kinds = state.kinds.iter().filter(|k| k.group == group && k.versions.contains(&version));
        let verbs = ["create", "delete", "get", "list", "patch", "update", "watch"];
        let all: Vec<Value> = kinds
            .map(|k| json!({"name": k.plural, "singularName": "", "namespaced": k.namespaced, "kind": k.kind, "verbs": verbs}))
            .collect();
        let name = if group.is_empty() { version.to_owned() } else { format!("{group}/{version}") };
        (!all.is_empty()).then(|| json!({"kind": "APIResourceList", "groupVersion": name, "resources": all}))
    };
    let group = |group: &str| {
        let mut versions: Vec<&str> = Vec::new();
        for version in state.kinds.iter().filter(|k| k.group == group).flat_map(|k| k.versions) {
            if !versions.contains(version) {
                versions.push(version);
            }
        }
        let all: Vec<Value> = versions
            .iter()
            .map(|version| json!({"groupVersion": format!("{group}/{version}"), "version": version}))
            .collect();
        json!({"name": group, "versions": all, "preferredVersion": all[0]})
    };
    match path {
        ["api"] => Some(json!({"kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs": []})),
        ["apis"] => {
            let all: Vec<Value> = groups().into_iter().map(group).collect();
            Some(json!({"kind": "APIGroupList", "apiVersion": "v1", "groups": all}))
        }
        ["api", version] => resources("", version),
        ["apis", named, version] => resources(named, version),
        _ => None,
    }
}

fn place(state: &State, path: &[&str]) -> Option<Place> {
    let (group, version, rest) = match path {
        ["api", version, rest @ ..] => ("", version, rest),
        ["apis", group, version, rest @ ..] => (*group, version, rest),
        _ => return None,
    };
    let (namespace, rest) = match rest {
        ["namespaces", namespace, rest @ ..] if !rest.is_empty() && rest != ["status"] => {
            (Some((*namespace).to_owned()), rest)
        }
        rest => (None, rest),
    };
    let (plural, name, sub) = match rest {
        [plural] => (plural, None, None),
        [plural, name] => (plural, Some((*name).to_owned()), None),
        [plural, name, sub] => (plural, Some((*name).to_owned()), Some((*sub).to_owned())),
        _ => return None,
    };
    let kind = state
        .kinds
        .iter()
        .find(|kind| kind.group == group && kind.plural == *plural && kind.versions.contains(version))?;
    Some(Place { kind, version: (*version).to_owned(), namespace, name, sub })
}

fn resource(
    shared: &Arc<Shared>,
    (method, body): (&Method, &Bytes),
    place: Place,
    asked: Asked,
) -> Response<Body> {
    let verb = match (method.as_str(), &place.name) {
        ("GET", Some(_)) => "get",
        ("GET", None) if asked.is("watch") => "watch",
        ("GET", None) => "list",
        ("POST", _) => "create",
        ("PUT", _) => "update",
        ("PATCH", _) => "patch",
        ("DELETE", _) => "delete",
        other => panic!("the double has no method {other:?}"),
    };
    let plural = place.sub.iter().fold(place.kind.plural.to_owned(), |plural, sub| plural + "/" + sub);
    let right = |verb: &str| Right::from((place.kind.group.to_owned(), plural.clone(), verb.to_owned()));
    if !asked.administrator {
        let mut state = shared.state();
        let key = State::key(
            place.kind,
            place.namespace.as_deref().unwrap_or_default(),
            place.name.as_deref().unwrap_or_default(),
        );
        let made = asked.applies && !state.objects.contains_key(&key);
        let rights: Vec<Right> =
            [Some(verb), made.then_some("create")].into_iter().flatten().map(right).collect();
        let allowed = state.allowed.as_ref();
        let refused = allowed.is_some_and(|allowed| rights.iter().any(|right| !allowed.contains(right)));
        let selector = asked.get("fieldSelector").unwrap_or("-");
        let (who, namespace) =
            (format!("{verb} {}", place.kind.plural), place.namespace.as_deref().unwrap_or("-"));
        state.selectors.insert(format!("{who} {namespace} {selector}"));
        if refused {
            let message = format!("{} is forbidden: cannot {verb}", place.kind.name());
            return refusal((403, "Forbidden", message));
        }
        state.seen.extend(rights);
    }
    match verb {
        "watch" => watch(shared, place, asked),
        "list" => {
            list(&mut shared.state(), &place, &asked).map_or_else(refusal, |list| json_response(200, &list))
        }
        _ => {
            let mut state = shared.state();
            let verb = if asked.applies { "apply" } else { verb };
            let how = if asked.applies && !asked.is("force") { "claim" } else { verb };
            let written = write(&mut state, how, &place, body);
            if let (Ok((_, object)), true) = (&written, verb != "get" && !asked.administrator) {
                let name = object["metadata"]["name"].as_str().unwrap_or_default();
                let namespace = place.namespace.as_deref().unwrap_or("-");
                state.writes.push(format!("{verb} {plural} {namespace}/{name}"));
            }
            drop(state);
            shared.changed();
            written.map_or_else(refusal, |(code, object)| json_response(code, &asked.show(&place, &object)))
        }
    }
}

fn list(state: &mut State, place: &Place, asked: &Asked) -> Result<Value, Refusal> {
    let (version, mut items) = match asked.get("continue") {
        Some(token) => {
            state.pages.remove(token).ok_or((410, "Expired", "the continue token is too old".to_owned()))?
        }
        None => {
            let selected = state
                .objects
                .iter()
                .filter(|(key, object)| asked.selects(place, key) && asked.labelled(object));
            (state.version, selected.map(|(_, object)| asked.show(place, object)).collect())
        }
    };
    let limit = asked.get("limit").and_then(|limit| limit.parse().ok()).unwrap_or(usize::MAX);
    let mut meta = json!({"resourceVersion": version.to_string()});
    if items.len() > limit {
        let rest = items.split_off(limit);
        let token = format!("{version}-{}-{}", place.kind.plural, rest.len());
        meta["continue"] = token.clone().into();
        state.pages.insert(token, (version, rest));
    }
    // As built-in kinds are listed: the items do not say what they are.
    for item in items.iter_mut().filter(|_| place.kind.built_in()) {
        let item = item.as_object_mut().unwrap();
        item.remove("kind");
        item.remove("apiVersion");
    }
    let (kind, version) = match asked.metadata {
        true => ("PartialObjectMetadataList".to_owned(), "meta.k8s.io/v1".to_owned()),
        false => (format!("{}List", place.kind.kind), place.kind.api_version(&place.version)),
    };
    Ok(json!({"kind": kind, "apiVersion": version, "metadata": meta, "items": items}))
}

fn write(state: &mut State, verb: &str, place: &Place, body: &Bytes) -> Result<(u16, Value), Refusal> {
    let absent = || (404, "NotFound", format!("{} {:?} not found", place.kind.plural, place.name));
    let key = |name: &str| State::key(place.kind, place.namespace.as_deref().unwrap_or_default(), name);
    let name = place.name.as_deref().unwrap_or_default();
    let parsed = || serde_json::from_slice::<Value>(body).map_err(|e| (400, "BadRequest", e.to_string()));
    let on_status = place.sub.as_deref() == Some("status");
    match verb {
        "get" => state.objects.get(&key(name)).cloned().map(|object| (200, object)).ok_or_else(absent),
        "create" => {
            let mut object = parsed()?;
            let known =
                state.objects.contains_key(&key(object["metadata"]["name"].as_str().unwrap_or_default()));
            if known {
                return Err((409, "AlreadyExists", "it exists already".to_owned()));
            }
            keep_status(&mut object, None);
            settle(&mut object, place);
            let of = object["involvedObject"]["namespace"].as_str().unwrap_or_default();
            let lives = if of.is_empty() { "default" } else { of };
            if place.kind.kind == "Event" && place.namespace.as_deref() != Some(lives) {
                let message = "involvedObject.namespace: Invalid value: does not match event.namespace";
                return Err((422, "Invalid", message.to_owned()));
            }
            state.put(&object, false).map(|object| (201, object))
        }
        "update" => {
            let before = state.objects.get(&key(name)).cloned().ok_or_else(absent)?;
            let mut object = parsed()?;
            if object["metadata"]["resourceVersion"].as_str().is_none_or(str::is_empty)
                && place.kind.versioned()
            {
                let message = "metadata.resourceVersion: Invalid value: must be specified for an update";
                return Err((422, "Invalid", message.to_owned()));
            }
            if !on_status {
                keep_status(&mut object, before.get("status"));
            }
            settle(&mut object, place);
            state.put(&object, on_status).map(|object| (200, object))
        }
        // There is one writer who applies: what that does not say any more goes. Without force it claims only what nobody
        // else has said.
        "apply" | "claim" => {
            let before = state.objects.get(&key(name)).cloned();
            let mut object = parsed()?;
            if verb == "claim" && before.as_ref().is_some_and(|before| clashes(before, &object)) {
                return Err((409, "Conflict", "Apply failed with 1 conflict".to_owned()));
            }
            keep_status(&mut object, before.as_ref().and_then(|before| before.get("status")));
            settle(&mut object, place);
            state.put(&object, false).map(|object| (if before.is_some() { 200 } else { 201 }, object))
        }
        "patch" => {
            let before = state.objects.get(&key(name)).cloned().ok_or_else(absent)?;
            let mut object = before.clone();
            object["metadata"]["resourceVersion"] = Value::Null;
            merge(&mut object, &parsed()?);
            if !on_status {
                keep_status(&mut object, before.get("status"));
            }
            state.put(&object, on_status).map(|object| (200, object))
        }
        "delete" => state.delete(&key(name)).map(|object| (200, object)).ok_or_else(absent),
        other => panic!("the double has no verb {other}"),
    }
}

/// Does an object say something else where both say something? Of what others wrote nothing is taken by who applies
/// without force.
fn clashes(before: &Value, applied: &Value) -> bool {
    match (before, applied) {
        (Value::Object(before), Value::Object(applied)) => {
            let both = applied.iter().filter_map(|(field, value)| Some((before.get(field)?, value)));
            both.into_iter().any(|(before, applied)| clashes(before, applied))
        }
        (before, applied) => before != applied,
    }
}

/// A status is not written with the rest of an object.
fn keep_status(object: &mut Value, status: Option<&Value>) {
    match status {
        Some(status) => object["status"] = status.clone(),
        None => drop(object.as_object_mut().and_then(|object| object.remove("status"))),
    }
}

/// An object lives where it is sent to.
fn settle(object: &mut Value, place: &Place) {
    if let Some(namespace) = &place.namespace {
        object["metadata"]["namespace"] = namespace.clone().into();
    }
}

fn watch(shared: &Arc<Shared>, place: Place, asked: Asked) -> Response<Body> {
    let (lines, body) = mpsc::channel(64);
    tokio::spawn(tell(Arc::clone(shared), place, asked, lines));
    let response = Response::builder().header("content-type", "application/json");
    response.body(Body::new(Lines(body))).unwrap()
}

/// Tells a watch what happens, until nobody listens or it is to end.
async fn tell(shared: Arc<Shared>, place: Place, asked: Asked, lines: mpsc::Sender<Bytes>) {
    let mut from: u64 = asked.get("resourceVersion").and_then(|version| version.parse().ok()).unwrap_or(0);
    shared.state().watched_from.insert(place.kind.name(), from);
    let mut news = shared.news.subscribe();
    let age = shared.state().age;
    let seconds = asked.get("timeoutSeconds").and_then(|seconds| seconds.parse().ok()).unwrap_or(300);
    let end = tokio::time::Instant::now() + Duration::from_secs(seconds);
    let mut told = 0;
    loop {
        news.borrow_and_update();
        let (changes, most) = match since(&shared, age, &mut from, (&place, &asked)) {
            Since::Told(changes, most) => (changes, most),
            Since::Forgotten => {
                let gone = status(410, "Expired", "too old resource version");
                // Whether anybody listens any more makes no difference now.
                let _ = lines.send(line_of(&json!({"type": "ERROR", "object": gone}))).await;
                return;
            }
            Since::Over => return,
        };
        for Change { version, sort, object, .. } in changes {
            if most.is_some_and(|most| told >= most) {
                return;
            }
            told += 1;
            let shown = match sort {
                "BOOKMARK" => json!({
                    "kind": place.kind.kind, "apiVersion": place.kind.api_version(&place.version),
                    "metadata": {"resourceVersion": version.to_string()},
                }),
                _ => asked.show(&place, &object),
            };
            if lines.send(line_of(&json!({"type": sort, "object": shown}))).await.is_err() {
                return;
            }
        }
        if most.is_some_and(|most| told >= most) {
            return;
        }
        tokio::select! {
            changed = news.changed() => if changed.is_err() { return },
            () = tokio::time::sleep_until(end) => return,
            () = lines.closed() => return,
        }
    }
}

/// What happened since a watch was told the last time.
enum Since {
    /// This, and after how many events the watch is to end.
    Told(Vec<Change>, Option<usize>),
    /// It is known no more.
    Forgotten,
    /// The watch is to end.
    Over,
}

fn since(shared: &Shared, age: u64, from: &mut u64, (place, asked): (&Place, &Asked)) -> Since {
    let state = shared.state();
    if state.age != age {
        return Since::Over;
    }
    if *from < state.forgotten {
        return Since::Forgotten;
    }
    let seen = |change: &Change| -> Option<Change> {
        if change.version <= *from {
            return None;
        }
        if change.sort == "BOOKMARK" {
            return asked.is("allowWatchBookmarks").then(|| change.clone());
        }
        // Whoever comes to have the labels is new to those who ask for them, whoever loses them is gone.
        let was = change.before.as_ref().is_some_and(|before| asked.labelled(before));
        let sort = match (was, change.sort != "DELETED" && asked.labelled(&change.object)) {
            (false, false) => return None,
            (false, true) => "ADDED",
            (true, true) => "MODIFIED",
            (true, false) => "DELETED",
        };
        asked.selects(place, &change.key).then(|| Change { sort, ..change.clone() })
    };
    let changes = state.history.iter().filter_map(seen).collect();
    *from = state.version;
    Since::Told(changes, state.faults.watch_events)
}

fn line_of(value: &Value) -> Bytes {
    Bytes::from(format!("{value}\n"))
}

/// A body of lines as they come.
struct Lines(mpsc::Receiver<Bytes>);

impl http_body::Body for Lines {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.0.poll_recv(cx).map(|line| line.map(|line| Ok(Frame::data(line))))
    }
}
