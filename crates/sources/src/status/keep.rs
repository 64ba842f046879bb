//! Keeps objects in the cluster that are there for Gateways.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use kube::Client;
use kube::core::params::{DeleteParams, Patch, PatchParams};
use kube::core::{ApiResource, DynamicObject, Request, Resource};
use limen_resources::{Made, Now, ObjectKey};
use serde_json::{Value, json};

use super::lease::send;
use crate::kube::failure::Failure;

/// Who we are to the server, which keeps apart what different writers want of an object.
const MANAGER: &str = "limen";
/// The same change is not made more often: what comes of it is seen after a moment only.
const REST: Duration = Duration::from_secs(5);

/// The changes that were begun, and what came of them.
#[derive(Debug, Default)]
pub(super) struct Kept {
    begun: BTreeMap<ObjectKey, (Made, Instant)>,
    /// The generations that objects had when they were written last.
    written: BTreeMap<ObjectKey, u64>,
}

impl Kept {
    /// Which of these to make now.
    pub(super) fn due(&mut self, made: &[Made], now: Instant) -> Vec<Made> {
        let wanted = |key: &ObjectKey| made.iter().any(|one| one.key == *key);
        self.begun.retain(|key, _| wanted(key));
        self.written.retain(|key, _| wanted(key));
        let untouched = |one: &Made| match one.now {
            Now::Made(seen) => self.written.get(&one.key).is_some_and(|written| seen <= *written),
            Now::Absent | Now::Changed => false,
        };
        let rests = |one: &Made| {
            self.begun.get(&one.key).is_some_and(|(before, at)| before == one && now < *at + REST)
        };
        let due: Vec<Made> = made.iter().filter(|one| !untouched(one) && !rests(one)).cloned().collect();
        self.begun.extend(due.iter().map(|one| (one.key.clone(), (one.clone(), now))));
        due
    }

    /// An object was written, and has this generation since.
    pub(super) fn end(&mut self, key: ObjectKey, generation: Option<u64>) {
        match generation {
            Some(generation) => self.written.insert(key, generation),
            None => self.written.remove(&key),
        };
    }

    /// When the next may have to be made again.
    pub(super) fn next(&self) -> Option<Instant> {
        self.begun.values().map(|(_, at)| *at + REST).min()
    }
}

/// The Gateway that an object ends with.
#[derive(Debug)]
pub(super) struct Owner {
    pub(super) resource: ApiResource,
    pub(super) uid: String,
}

/// Makes a change. `owner`: `None` if the object has none. Returns the generation that it has then, if its kind has such.
pub(super) async fn keep(
    client: Client,
    resource: ApiResource,
    made: Made,
    owner: Option<Owner>,
) -> Result<Option<u64>, Failure> {
    let Made { key, owner: owned, content, now } = made;
    let request = Request::new(DynamicObject::url_path(&resource, Some(&key.namespace)));
    let Some(mut content) = content else {
        return match send(&client, request.delete(&key.name, &DeleteParams::default())).await {
            Err(Failure::Refused { code: 404, .. }) => Ok(None),
            other => other.map(|_| None),
        };
    };
    if let (Some(Owner { resource, uid }), Some(owned)) = (owner, owned)
        && let Some(metadata) = content.get_mut("metadata").and_then(Value::as_object_mut)
    {
        let owners = json!([{
            "apiVersion": resource.api_version, "kind": resource.kind, "name": &*owned.name, "uid": uid,
        }]);
        metadata.insert("ownerReferences".to_owned(), owners);
    }
    let mut params = PatchParams::apply(MANAGER);
    // What somebody else has made meanwhile is in conflict, and stays.
    params.force = now != Now::Absent;
    let written = send(&client, request.patch(&key.name, &params, &Patch::Apply(content))).await?;
    Ok(written.pointer("/metadata/generation").and_then(Value::as_u64))
}

#[cfg(test)]
#[path = "keep_tests.rs"]
mod tests;
