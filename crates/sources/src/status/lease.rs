//! Leases: one for each instance, which says how far it is, and one that the leader holds.

use std::time::Duration;

use k8s_openapi::jiff::Timestamp;
use kube::Client;
use kube::core::params::{DeleteParams, Patch, PatchParams, PostParams};
use kube::core::{ApiResource, DynamicObject, GroupVersionKind, Request, Resource};
use serde_json::{Value, json};

use super::members::Instance;
use super::said::text;
use crate::kube::failure::Failure;
use crate::leader::{Held, LASTS};

/// Which group of instances a Lease belongs to.
const GROUP_LABEL: &str = "limen.dev/group";
const APPLIED: &str = "limen.dev/applied";
const SNAPSHOT: &str = "limen.dev/snapshot";
const PROBLEMS: &str = "limen.dev/problems";
const READY: &str = "limen.dev/ready";

/// What an instance tells the others.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Progress {
    pub(super) snapshot: String,
    pub(super) applied: String,
    pub(super) problems: String,
    pub(super) ready: bool,
}

/// A Lease of a group, read.
#[derive(Debug)]
pub(super) enum Seen {
    Leader(Held),
    Instance(Instance),
    /// One of another group.
    Other {
        group: String,
        lease: Box<Seen>,
    },
}

/// Where the Leases of a group are.
#[derive(Clone)]
pub(super) struct Leases {
    pub(super) client: Client,
    pub(super) namespace: String,
    pub(super) group: String,
    pub(super) me: String,
}

/// How the API has Leases.
pub(super) fn resource() -> ApiResource {
    let kind = GroupVersionKind::gvk("coordination.k8s.io", "v1", "Lease");
    ApiResource::from_gvk_with_plural(&kind, "leases")
}

/// The selector of a group's Leases, or of those of all groups.
pub(super) fn selector(group: &str, all: bool) -> String {
    if all { GROUP_LABEL.to_owned() } else { format!("{GROUP_LABEL}={group}") }
}

/// The name of the Lease of an instance.
pub(super) fn lease_of(group: &str, instance: &str) -> String {
    format!("{group}-{instance}")
}

/// Reads a Lease, of this group or of another one.
pub(super) fn read(group: &str, lease: &Value) -> Option<Seen> {
    let labelled = lease.get("metadata")?.get("labels").map(|all| text(all, GROUP_LABEL)).unwrap_or_default();
    if labelled.is_empty() || labelled == group {
        return read_own(group, lease);
    }
    let seen = Box::new(read_own(&labelled, lease)?);
    Some(Seen::Other { group: labelled, lease: seen })
}

fn read_own(group: &str, lease: &Value) -> Option<Seen> {
    let (metadata, spec) = (lease.get("metadata")?, lease.get("spec")?);
    let (name, version) = (text(metadata, "name"), text(metadata, "resourceVersion"));
    let holder = text(spec, "holderIdentity");
    let seconds = spec.get("leaseDurationSeconds").and_then(Value::as_u64);
    let lasts = seconds.map_or(LASTS, Duration::from_secs);
    if name == group {
        return Some(Seen::Leader(Held { holder, version, lasts }));
    }
    let annotation = |name| metadata.get("annotations").map(|all| text(all, name)).unwrap_or_default();
    let (applied, ready) = (annotation(APPLIED), annotation(READY) == "true");
    Some(Seen::Instance(Instance { name: holder, applied, ready, lasts, renewal: version }))
}

impl Leases {
    fn request(&self) -> Request {
        Request::new(DynamicObject::url_path(&resource(), Some(&self.namespace)))
    }

    /// The name of an instance's Lease.
    pub(super) fn name_of(&self, instance: &str) -> String {
        lease_of(&self.group, instance)
    }

    /// Writes the own Lease.
    pub(super) async fn renew(&self, progress: &Progress) -> Result<(), Failure> {
        let Progress { snapshot, applied, problems, ready } = progress;
        let annotations = json!({
            SNAPSHOT: snapshot, APPLIED: applied, PROBLEMS: problems, READY: ready.to_string(),
        });
        let (name, spec) = (self.name_of(&self.me), self.spec(&self.me));
        let change = json!({ "metadata": { "annotations": annotations }, "spec": spec });
        match self.patch(&name, &change).await {
            Err(Failure::Refused { code: 404, .. }) => {
                self.create(&name, &annotations, &spec).await.map(|_| ())
            }
            other => other.map(|_| ()),
        }
    }

    /// Becomes the leader, or stays it: makes the Lease, or changes it if it still has this version.
    pub(super) async fn lead(&self, version: Option<&str>) -> Result<Held, Failure> {
        let spec = self.spec(&self.me);
        let lease = match version {
            None => self.create(&self.group, &json!({}), &spec).await?,
            Some(version) => {
                self.patch(&self.group, &json!({ "metadata": { "resourceVersion": version }, "spec": spec }))
                    .await?
            }
        };
        match read(&self.group, &lease) {
            Some(Seen::Leader(held)) => Ok(held),
            _ => Err(Failure::Silent("not a Lease".to_owned())),
        }
    }

    /// Lets go of the leader's Lease.
    pub(super) async fn release(&self, version: &str) -> Result<(), Failure> {
        let change = json!({ "metadata": { "resourceVersion": version }, "spec": self.spec("") });
        self.patch(&self.group, &change).await.map(|_| ())
    }

    /// Removes the Lease of an instance that is no more.
    pub(super) async fn remove(&self, instance: &str) -> Result<(), Failure> {
        self.remove_named(&self.name_of(instance)).await
    }

    /// Removes a Lease.
    pub(super) async fn remove_named(&self, name: &str) -> Result<(), Failure> {
        send(&self.client, self.request().delete(name, &DeleteParams::default())).await.map(|_| ())
    }

    fn spec(&self, holder: &str) -> Value {
        json!({
            "holderIdentity": holder,
            "leaseDurationSeconds": LASTS.as_secs(),
            "renewTime": format!("{:.6}", Timestamp::now()),
        })
    }

    async fn create(&self, name: &str, annotations: &Value, spec: &Value) -> Result<Value, Failure> {
        let lease = json!({
            "apiVersion": "coordination.k8s.io/v1",
            "kind": "Lease",
            "metadata": {
                "name": name,
                "namespace": self.namespace,
                "labels": { GROUP_LABEL: self.group },
                "annotations": annotations,
            },
            "spec": spec,
        });
        send(&self.client, self.request().create(&PostParams::default(), lease.to_string().into_bytes()))
            .await
    }

    async fn patch(&self, name: &str, change: &Value) -> Result<Value, Failure> {
        let request = self.request().patch(name, &PatchParams::default(), &Patch::Merge(change));
        send(&self.client, request).await
    }
}

type Built = Result<http::Request<Vec<u8>>, kube::core::request::Error>;

/// Sends a request and reads the object in the answer.
pub(super) async fn send(client: &Client, request: Built) -> Result<Value, Failure> {
    let request = request.map_err(|error| Failure::Silent(error.to_string()))?;
    let answer = tokio::time::timeout(super::ANSWER, client.request_text(request)).await;
    let text = answer.map_err(|_| Failure::slow(super::ANSWER))??;
    serde_json::from_str(&text).map_err(|error| Failure::Silent(format!("not an object: {error}")))
}
