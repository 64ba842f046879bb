//! Events: what is wrong with an object, where `kubectl describe` shows it.

use std::collections::BTreeSet;
use std::hash::{DefaultHasher, Hash, Hasher};

use k8s_openapi::jiff::Timestamp;
use kube::Client;
use kube::core::params::PostParams;
use kube::core::{ApiResource, DynamicObject, GroupVersionKind, Request, Resource};
use limen_resources::{Level, ObjectKey, Problem};
use serde_json::json;

use super::lease::send;
use crate::kube::failure::Failure;

/// The longest text of an Event, in bytes.
const LONGEST: usize = 1000;
/// So much of the object's name is in that of an Event, in bytes: there is room for 253.
const NAME: usize = 200;

/// The problems of which Events tell: those of objects. What is told once is not told again before it was mended.
#[derive(Debug, Default)]
pub(super) struct Told(BTreeSet<Problem>);

impl Told {
    /// Which of these are new, at most so many; the others are new the next time, too.
    pub(super) fn new_ones(&mut self, problems: &[Problem], most: usize) -> Vec<Problem> {
        let now: BTreeSet<&Problem> = problems.iter().filter(|problem| problem.object.is_some()).collect();
        self.0.retain(|problem| now.contains(problem));
        let new: Vec<Problem> =
            now.into_iter().filter(|problem| !self.0.contains(problem)).take(most).cloned().collect();
        self.0.extend(new.iter().cloned());
        new
    }
}

/// An object that something is wrong with.
#[derive(Debug)]
pub(super) struct About {
    pub(super) resource: ApiResource,
    pub(super) key: ObjectKey,
    pub(super) uid: String,
}

/// Makes an Event. Where the same one is known still, nothing is done.
pub(super) async fn tell(
    client: Client,
    instance: String,
    about: About,
    problem: Problem,
) -> Result<(), Failure> {
    let About { resource, key, uid } = about;
    let mut hasher = DefaultHasher::new();
    (problem.code, &problem.field, &problem.message, &uid).hash(&mut hasher);
    let namespace = if key.namespace.is_empty() { "default" } else { &*key.namespace };
    let field = if problem.field.is_empty() { String::new() } else { format!("{}: ", problem.field) };
    let text = format!("{field}{}; {} ({})", problem.message, problem.mend, problem.code);
    let now = format!("{:.0}", Timestamp::now());
    let event = json!({
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {
            "name": format!("{}.{:016x}", cut(&key.name, NAME), hasher.finish()),
            "namespace": namespace,
        },
        "involvedObject": {
            "apiVersion": resource.api_version,
            "kind": resource.kind,
            "namespace": &*key.namespace,
            "name": &*key.name,
            "uid": uid,
        },
        "type": "Warning",
        "reason": match problem.level { Level::Error => "NotServed", _ => "Questionable" },
        "message": cut(&text, LONGEST),
        "source": { "component": "limen" },
        "reportingComponent": "limen",
        "reportingInstance": instance,
        "firstTimestamp": now,
        "lastTimestamp": now,
        "count": 1,
    });
    let kind = GroupVersionKind::gvk("", "v1", "Event");
    let resource = ApiResource::from_gvk_with_plural(&kind, "events");
    let request = Request::new(DynamicObject::url_path(&resource, Some(namespace)));
    let created = request.create(&PostParams::default(), event.to_string().into_bytes());
    match send(&client, created).await {
        Err(Failure::Refused { code: 409, .. }) => Ok(()),
        other => other.map(|_| ()),
    }
}

fn cut(text: &str, longest: usize) -> &str {
    let mut end = text.len().min(longest);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.get(..end).unwrap_or_default()
}
