//! Writes the status of one object.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use k8s_openapi::jiff::Timestamp;
use kube::Client;
use kube::core::params::{GetParams, PostParams};
use kube::core::{ApiResource, DynamicObject, Request, Resource};
use limen_resources::{ObjectKey, Problem};
use serde_json::Value;

use super::book::Written;
use super::lease::send;
use super::said::{Layout, Said, stored};
use super::speaker::Speaker;
use super::written;
use crate::kube::failure::Failure;

/// So often it is tried again when somebody else has written meanwhile.
const ATTEMPTS: usize = 4;

/// Tells what is said apart from what else may be said. Means nothing outside of this process.
pub(super) fn digest(said: &Said) -> u64 {
    let mut hasher = DefaultHasher::new();
    said.hash(&mut hasher);
    hasher.finish()
}

/// The same of problems.
pub(super) fn digest_of(problems: &[Problem]) -> u64 {
    let mut hasher = DefaultHasher::new();
    for Problem { code, object, field, message, .. } in problems {
        (code, object, field, message).hash(&mut hasher);
    }
    hasher.finish()
}

/// An object, and what is to be said of it.
pub(super) struct Task {
    pub(super) client: Client,
    pub(super) resource: ApiResource,
    pub(super) key: ObjectKey,
    pub(super) layout: Layout,
    pub(super) said: Said,
    pub(super) by: Arc<Speaker>,
}

impl Task {
    /// Reads the object and writes its status, if that says something else.
    pub(super) async fn run(&self) -> Result<Written, Failure> {
        let wanted = digest(&self.said);
        for _ in 0..ATTEMPTS {
            let request = self.request().get(&self.key.name, &GetParams::default());
            let mut object = match send(&self.client, request).await {
                Err(Failure::Refused { code: 404, .. }) => return Ok(Written::Gone),
                other => other?,
            };
            let newest = object.pointer("/metadata/generation").and_then(Value::as_u64);
            if self.said.generation().is_some_and(|spoken| newest.is_some_and(|newest| newest > spoken)) {
                return Ok(Written::Stale);
            }
            let kept = digest(&stored(self.layout, &object, &self.by));
            if kept == wanted {
                return Ok(Written::Says { wanted, kept });
            }
            let now = format!("{:.0}", Timestamp::now());
            let status = written::status(self.layout, &object, &self.said, &self.by, &now);
            if let Some(fields) = object.as_object_mut() {
                fields.insert("status".to_owned(), status);
            }
            let body = object.to_string().into_bytes();
            let request =
                self.request().replace_subresource("status", &self.key.name, &PostParams::default(), body);
            match send(&self.client, request).await {
                Ok(after) => {
                    let kept = digest(&stored(self.layout, &after, &self.by));
                    return Ok(Written::Says { wanted, kept });
                }
                Err(Failure::Refused { code: 409, .. }) => {}
                Err(Failure::Refused { code: 404, .. }) => return Ok(Written::Gone),
                Err(failure) => return Err(failure),
            }
        }
        Ok(Written::Failed)
    }

    fn request(&self) -> Request {
        let namespace = Some(&*self.key.namespace).filter(|namespace| !namespace.is_empty());
        Request::new(DynamicObject::url_path(&self.resource, namespace))
    }
}
