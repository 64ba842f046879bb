//! Keeps objects in the cluster that are there for Gateways.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use kube::Client;
use kube::core::params::{DeleteParams, Patch, PatchParams};
use kube::core::{ApiResource, DynamicObject, Request, Resource};
use limen_resources::{Made, ObjectKey};
use serde_json::{Value, json};

use super::lease::send;
use crate::kube::failure::Failure;

/// Who we are to the server, which keeps apart what different writers want of an object.
const MANAGER: &str = "limen";
/// The same change is not made more often: what comes of it is seen after a moment only.
const REST: Duration = Duration::from_secs(5);

/// The changes that were begun.
#[derive(Debug, Default)]
pub(super) struct Kept(BTreeMap<ObjectKey, (Made, Instant)>);

impl Kept {
    /// Which of these to make now.
    pub(super) fn due(&mut self, made: &[Made], now: Instant) -> Vec<Made> {
        self.0.retain(|key, _| made.iter().any(|one| one.key == *key));
        let rests =
            |one: &Made| self.0.get(&one.key).is_some_and(|(before, at)| before == one && now < *at + REST);
        let due: Vec<Made> = made.iter().filter(|one| !rests(one)).cloned().collect();
        self.0.extend(due.iter().map(|one| (one.key.clone(), (one.clone(), now))));
        due
    }

    /// When the next may have to be made again.
    pub(super) fn next(&self) -> Option<Instant> {
        self.0.values().map(|(_, at)| *at + REST).min()
    }
}

/// The Gateway that an object ends with.
#[derive(Debug)]
pub(super) struct Owner {
    pub(super) resource: ApiResource,
    pub(super) uid: String,
}

/// Makes a change. `owner`: `None` if it is not there any more.
pub(super) async fn keep(
    client: Client,
    resource: ApiResource,
    made: Made,
    owner: Option<Owner>,
) -> Result<(), Failure> {
    let Made { key, owner: owned, content } = made;
    let request = Request::new(DynamicObject::url_path(&resource, Some(&key.namespace)));
    let (Some(mut content), Some(Owner { resource, uid })) = (content, owner) else {
        return match send(&client, request.delete(&key.name, &DeleteParams::default())).await {
            Err(Failure::Refused { code: 404, .. }) => Ok(()),
            other => other.map(|_| ()),
        };
    };
    let owners = json!([{
        "apiVersion": resource.api_version, "kind": resource.kind, "name": &*owned.name, "uid": uid,
    }]);
    if let Some(metadata) = content.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.insert("ownerReferences".to_owned(), owners);
    }
    let params = PatchParams::apply(MANAGER).force();
    send(&client, request.patch(&key.name, &params, &Patch::Apply(content))).await.map(|_| ())
}
