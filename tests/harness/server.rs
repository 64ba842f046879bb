//! An API server to try things on: the double of [`crate::cluster`], or, where `LIMEN_TEST_SERVER=real` says that it may
//! be written to, the one that `KUBECONFIG` names. Each has a namespace of its own.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use futures_util::{Stream, StreamExt};
use http::Request;
use kube::client::Body;
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::core::WatchEvent;
use kube::{Client, Config};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::cluster::{ApiKind, Cluster, Right, kind_of};
use crate::{h1, within, yaml};

/// What a patch is said to be.
pub const MERGE_PATCH: &str = "application/merge-patch+json";
/// Server-side apply.
pub const APPLY_PATCH: &str = "application/apply-patch+yaml";
/// Only metadata is wanted, of one object or of a list.
pub const METADATA: &str = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1";
/// The same of a list.
pub const METADATA_LIST: &str = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1";

/// A client of an API server, and what a test may do to the server.
pub struct Server {
    /// `None`: it is a real one.
    double: Option<Cluster>,
    client: Client,
    kubeconfig: PathBuf,
    /// Where a test's own objects live.
    pub namespace: String,
    home: TempDir,
}

/// An answer: the status and what was said.
pub type Answer = (u16, Value);

impl Server {
    /// A server with a namespace of this name, or one that begins so.
    pub async fn start(name: &str) -> Server {
        let home = tempfile::tempdir().unwrap();
        let real = match std::env::var("LIMEN_TEST_SERVER").as_deref() {
            Ok("real") => true,
            Ok("double") | Err(_) => false,
            Ok(other) => panic!("LIMEN_TEST_SERVER is {other}, neither `real` nor `double`"),
        };
        let double = (!real).then(Cluster::new);
        let kubeconfig = match &double {
            Some(double) => {
                let text = std::fs::read_to_string(double.kubeconfig()).unwrap();
                let own = home.path().join("administrator");
                std::fs::write(&own, text.replace("secret-token", "administrator")).unwrap();
                own
            }
            None => std::env::var_os("KUBECONFIG").expect("KUBECONFIG names the real server").into(),
        };
        // What a run before left behind is not met again.
        let namespace = if real { format!("{name}-{}", std::process::id()) } else { name.to_owned() };
        let client = client_of(&kubeconfig).await;
        let server = Server { double, client, kubeconfig, namespace, home };
        let own = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": server.namespace}});
        assert_eq!(server.call("POST", "/api/v1/namespaces", Some(&own)).await.0, 201);
        if real {
            // What controllers put into each namespace would come while a test watches.
            for theirs in ["configmaps/kube-root-ca.crt", "serviceaccounts/default"] {
                let path = format!("/api/v1/namespaces/{}/{theirs}", server.namespace);
                within(theirs, async {
                    while server.get(&path).await.0 != 200 {
                        tokio::task::yield_now().await;
                    }
                })
                .await;
            }
        }
        server
    }

    /// Is it the real one? Tests ask only where a real server has to be told differently, never to skip.
    pub fn real(&self) -> bool {
        self.double.is_none()
    }

    /// What a gateway is started with to read this namespace.
    pub fn flags(&self) -> Vec<String> {
        self.flags_of(&self.kubeconfig, &self.namespace)
    }

    fn flags_of(&self, kubeconfig: &Path, leases: &str) -> Vec<String> {
        let file = kubeconfig.to_string_lossy().into_owned();
        let space = self.namespace.as_str();
        // Gateways of other tests are no instances of this one.
        [
            "--kube",
            "--kubeconfig",
            &file,
            "--watch-namespaces",
            space,
            "--workload-namespace",
            space,
            "--group",
            space,
        ]
        .into_iter()
        .chain(["--lease-namespace", leases])
        .map(str::to_owned)
        .collect()
    }

    /// Asks with a JSON body, if any.
    pub async fn call(&self, method: &str, path: &str, body: Option<&Value>) -> Answer {
        self.call_as(method, path, body, "application/json").await
    }

    /// The same with a body of another type.
    pub async fn call_as(&self, method: &str, path: &str, body: Option<&Value>, sort: &str) -> Answer {
        call(&self.client, (method, path), body, (sort, "application/json")).await
    }

    /// Asks for what is there, in a form of these.
    pub async fn get_as(&self, path: &str, accept: &str) -> Answer {
        call(&self.client, ("GET", path), None, ("application/json", accept)).await
    }

    /// Asks for what is there.
    pub async fn get(&self, path: &str) -> Answer {
        self.call("GET", path, None).await
    }

    /// Everything that a watch tells, in order: what happened and to what.
    pub async fn watch(
        &self,
        path: &str,
        query: &str,
        accept: &str,
    ) -> impl Stream<Item = (&'static str, Value)> + Unpin + use<> {
        let request = Request::get(format!("{path}?watch=true&{query}")).header("accept", accept);
        let request = request.body(Vec::new()).unwrap();
        let events = self.client.request_events::<Value>(request).await.unwrap();
        events
            .map(|event| match event.unwrap() {
                WatchEvent::Added(object) => ("ADDED", object),
                WatchEvent::Modified(object) => ("MODIFIED", object),
                WatchEvent::Deleted(object) => ("DELETED", object),
                WatchEvent::Bookmark(mark) => {
                    ("BOOKMARK", json!({"kind": mark.types.kind, "version": mark.metadata.resource_version}))
                }
                WatchEvent::Error(status) => ("ERROR", json!({"code": status.code, "reason": status.reason})),
            })
            .boxed()
    }

    /// Where objects of the kind are found whose definition is called so (`plural.group`), in its preferred version.
    pub fn path(&self, name: &str) -> String {
        self.path_of(ApiKind::named(name))
    }

    fn path_of(&self, kind: &ApiKind) -> String {
        let root = kind.root(kind.versions[0]);
        match kind.namespaced {
            true => format!("{root}/namespaces/{}/{}", self.namespace, kind.plural),
            false => format!("{root}/{}", kind.plural),
        }
    }

    /// Creates or replaces the objects of this YAML, in the test's namespace where they name none.
    pub async fn apply(&self, text: &str) {
        for mut object in yaml::documents(text).into_iter().filter(|document| !document.is_null()) {
            let path = self.place(&mut object);
            let (all, name) = (path.clone(), object["metadata"]["name"].as_str().unwrap().to_owned());
            let one = format!("{path}/{name}");
            let status = object.as_object_mut().unwrap().remove("status");
            // Another test may apply the same at the same time.
            let mut now = loop {
                let (code, before) = self.get(&one).await;
                let (code, now) = match code {
                    404 => self.call("POST", &all, Some(&object)).await,
                    _ => {
                        object["metadata"]["resourceVersion"] = before["metadata"]["resourceVersion"].clone();
                        self.call("PUT", &one, Some(&object)).await
                    }
                };
                match code {
                    200 | 201 => break now,
                    409 => object["metadata"].as_object_mut().unwrap().remove("resourceVersion"),
                    _ => panic!("{code} {object}: {now}"),
                };
            };
            if let Some(status) = status {
                now["status"] = status;
                let (code, answer) = self.call("PUT", &format!("{one}/status"), Some(&now)).await;
                assert_eq!(code, 200, "{answer}");
            }
        }
    }

    /// Creates objects that are not there yet, many at a time.
    pub async fn create_all(&self, texts: impl Iterator<Item = String>) {
        let creating = texts.map(|text| async move {
            for mut object in yaml::documents(&text) {
                let path = self.place(&mut object);
                let (code, answer) = self.call("POST", &path, Some(&object)).await;
                assert_eq!(code, 201, "{answer}");
            }
        });
        futures_util::stream::iter(creating).buffer_unordered(16).collect::<Vec<()>>().await;
    }

    /// Deletes the objects of this YAML.
    pub async fn delete(&self, text: &str) {
        for mut object in yaml::documents(text) {
            let path = self.place(&mut object);
            let name = object["metadata"]["name"].as_str().unwrap().to_owned();
            let (code, answer) = self.call("DELETE", &format!("{path}/{name}"), None).await;
            assert_eq!(code, 200, "{answer}");
        }
    }

    /// Where this object belongs; it is told its namespace.
    fn place(&self, object: &mut Value) -> String {
        let kind = kind_of(object);
        let metadata = &mut object["metadata"];
        if kind.namespaced && metadata.get("namespace").is_none() {
            metadata["namespace"] = self.namespace.clone().into();
        }
        let path = self.path_of(kind);
        match metadata["namespace"].as_str() {
            Some(other) => {
                path.replace(&format!("/namespaces/{}/", self.namespace), &format!("/namespaces/{other}/"))
            }
            None => path,
        }
    }

    /// Makes the server forget what was before now. Returns a version that is forgotten.
    pub async fn forget(&self) -> String {
        let (_, list) = self.get("/api/v1/namespaces").await;
        let now = list["metadata"]["resourceVersion"].as_str().unwrap().to_owned();
        match &self.double {
            Some(double) => double.forget_history(),
            None => compact(&now).await,
        }
        "1".to_owned()
    }

    /// A token for the next page that was good before the server forgot.
    pub fn aged(&self, token: &str) -> String {
        if !self.real() {
            return token.to_owned();
        }
        // Servers keep lists in memory longer than what is behind them; a token of long ago has a version of long ago.
        let mut token: Value = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(token).unwrap()).unwrap();
        token["rv"] = json!(1);
        URL_SAFE_NO_PAD.encode(token.to_string())
    }

    /// Sees to it that watches are told soon how far they are.
    pub fn bookmark(&self) {
        // A real one tells them a moment before they end, whoever asks it for a short one.
        self.double.iter().for_each(|double| {
            double.bookmark();
        });
    }

    /// Takes a kind away (`plural.group`), with all its objects. Returns its definition.
    pub async fn uninstall(&self, name: &str) -> Value {
        let path = format!("{DEFINITIONS}/{name}");
        let (code, mut definition) = self.get(&path).await;
        assert_eq!(code, 200, "{definition}");
        match &self.double {
            Some(double) => double.uninstall(name),
            None => assert_eq!(self.call("DELETE", &path, None).await.0, 200),
        }
        let objects = self.path(name);
        within("the kind to be gone", async {
            while self.get(&path).await.0 != 404 || self.get(&objects).await.0 != 404 {
                tokio::task::yield_now().await;
            }
        })
        .await;
        definition.as_object_mut().unwrap().remove("status");
        definition["metadata"] = json!({"name": name, "annotations": definition["metadata"]["annotations"]});
        definition
    }

    /// A kind comes to be, or comes back.
    pub async fn install(&self, definition: &Value) {
        let name = definition["metadata"]["name"].as_str().unwrap();
        match &self.double {
            Some(double) => double.install(name),
            None => {
                let (code, answer) = self.call("POST", DEFINITIONS, Some(definition)).await;
                assert_eq!(code, 201, "{answer}");
            }
        }
    }

    /// Waits until a kind that was installed is served.
    pub async fn until_served(&self, name: &str) {
        let path = self.path(name);
        within(name, async {
            while self.get(&path).await.0 != 200 {
                tokio::task::yield_now().await;
            }
        })
        .await;
    }

    /// The account that this manifest makes, with the rights that it gives it and no others.
    pub async fn account(&self, manifest: &[Value]) -> Account<'_> {
        let kubeconfig = match &self.double {
            Some(double) => {
                double.allow(rights_of(manifest));
                double.kubeconfig()
            }
            None => self.make_account(manifest).await,
        };
        let own = account_in(manifest)["metadata"]["namespace"].as_str();
        let namespace = own.unwrap_or(&self.namespace).to_owned();
        Account { server: self, client: client_of(&kubeconfig).await, kubeconfig, namespace }
    }

    async fn make_account(&self, manifest: &[Value]) -> PathBuf {
        for object in manifest {
            if let Some(space) = object["metadata"]["namespace"].as_str() {
                let space = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": space}});
                let (code, _) = self.call("POST", "/api/v1/namespaces", Some(&space)).await;
                assert!(code == 201 || code == 409);
            }
            self.apply(&object.to_string()).await;
        }
        let account = account_in(manifest);
        let metadata = |field: &str| account["metadata"][field].as_str();
        let (space, name) = (metadata("namespace").unwrap_or(&self.namespace), metadata("name").unwrap());
        let path = format!("/api/v1/namespaces/{space}/serviceaccounts/{name}/token");
        let request = json!({"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {}});
        let (code, answer) = self.call("POST", &path, Some(&request)).await;
        assert_eq!(code, 201, "{answer}");
        let token = answer["status"]["token"].as_str().unwrap();
        let mut config = Kubeconfig::read_from(&self.kubeconfig).unwrap();
        let server = json!(config.clusters.remove(0).cluster.unwrap());
        let config = json!({"apiVersion": "v1", "kind": "Config", "current-context": "account",
            "clusters": [{"name": "one", "cluster": server}],
            "users": [{"name": "account", "user": {"token": token}}],
            "contexts": [{"name": "account", "context": {"cluster": "one", "user": "account"}}]});
        let file = self.home.path().join("account");
        std::fs::write(&file, config.to_string()).unwrap();
        file
    }
}

fn account_in(manifest: &[Value]) -> &Value {
    manifest.iter().find(|object| object["kind"] == "ServiceAccount").unwrap()
}

/// The documents of deploy/rbac.yaml.
pub fn manifest() -> Vec<Value> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../deploy/rbac.yaml");
    yaml::documents(&std::fs::read_to_string(path).unwrap())
}

/// The documents of deploy/deployer.yaml.
pub fn deployer_manifest() -> Vec<Value> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../deploy/deployer.yaml");
    yaml::documents(&std::fs::read_to_string(path).unwrap())
}

/// The rights that a manifest gives, wherever.
pub fn rights_of(manifest: &[Value]) -> BTreeSet<Right> {
    let rules = manifest.iter().filter_map(|document| document["rules"].as_array()).flatten();
    let words = |rule: &Value, field: &str| -> Vec<String> {
        rule[field].as_array().unwrap().iter().map(|word| word.as_str().unwrap().to_owned()).collect()
    };
    let mut rights = BTreeSet::new();
    for rule in rules {
        for group in words(rule, "apiGroups") {
            for resource in words(rule, "resources") {
                let verbs = words(rule, "verbs").into_iter();
                rights.extend(verbs.map(|verb| (group.clone(), resource.clone(), verb)));
            }
        }
    }
    rights
}

const DEFINITIONS: &str = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";

/// Somebody with few rights.
pub struct Account<'a> {
    server: &'a Server,
    client: Client,
    kubeconfig: PathBuf,
    /// Where it lives, and its Leases.
    namespace: String,
}

impl Account<'_> {
    /// What a gateway is started with to be this one.
    pub fn flags(&self) -> Vec<String> {
        self.server.flags_of(&self.kubeconfig, &self.namespace)
    }

    /// Asks for what is there.
    pub async fn get(&self, path: &str) -> Answer {
        call(&self.client, ("GET", path), None, ("application/json", "application/json")).await
    }
}

async fn client_of(kubeconfig: &Path) -> Client {
    let read = Kubeconfig::read_from(kubeconfig).unwrap();
    let mut config = Config::from_custom_kubeconfig(read, &KubeConfigOptions::default()).await.unwrap();
    config.default_retry = false;
    Client::try_from(config).unwrap()
}

async fn call(
    client: &Client,
    (method, path): (&str, &str),
    body: Option<&Value>,
    (sort, accept): (&str, &str),
) -> Answer {
    let request = Request::builder().method(method).uri(path).header("accept", accept);
    let bytes = body.map(|body| body.to_string().into_bytes()).unwrap_or_default();
    let request = request.header("content-type", sort).body(Body::from(bytes)).unwrap();
    let answering = async {
        let response = client.send(request).await.unwrap();
        let code = response.status().as_u16();
        let bytes = response.into_body().collect_bytes().await.unwrap();
        let said = String::from_utf8_lossy(&bytes);
        (code, serde_json::from_str(&said).unwrap_or_else(|_| Value::from(said)))
    };
    within(path, answering).await
}

/// Takes from etcd what was before this version: what a server does itself every few minutes.
async fn compact(version: &str) {
    let place = std::env::var("HOLLOW_ETCD").expect("HOLLOW_ETCD: host:port of the real server's etcd");
    let stream = tokio::net::TcpStream::connect(&place).await.unwrap();
    let mut connection = h1::Connection::new(stream);
    let body = json!({"revision": version, "physical": true}).to_string();
    let head = [("content-type".to_owned(), "application/json".to_owned())];
    connection.send(&h1::request("POST", "/v3/kv/compaction", &place, &head, body.as_bytes())).await;
    let reply = within("etcd", connection.read("POST")).await.unwrap();
    // Another test may have been faster with a later version.
    assert!(reply.status == 200 || reply.text().contains("compacted"), "{} {}", reply.status, reply.text());
}
