//! Events: what is wrong with an object, where `kubectl describe` shows it.

use std::collections::{BTreeSet, VecDeque};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::{Duration, Instant};

use k8s_openapi::jiff::Timestamp;
use kube::Client;
use kube::core::params::PostParams;
use kube::core::{ApiResource, DynamicObject, GroupVersionKind, Request, Resource};
use limen_resources::{Level, ObjectKey, Problem};
use serde_json::json;

use super::lease::send;
use crate::kube::failure::Failure;

/// So many are told at once, and then none for [`REST`].
const AT_ONCE: usize = 5;
const REST: Duration = Duration::from_millis(500);
/// The longest text of an Event, in bytes.
const LONGEST: usize = 1000;
/// So much of the object's name is in that of an Event, in bytes: there is room for 253.
const NAME: usize = 200;

/// The problems of which Events tell: those of objects. What is told once is not told again before it was mended.
#[derive(Debug, Default)]
pub(super) struct Told {
    known: BTreeSet<Problem>,
    /// Those of them that are still to be told.
    waiting: VecDeque<Problem>,
    /// Not before this time.
    rest: Option<Instant>,
}

impl Told {
    /// These are all problems now.
    pub(super) fn take(&mut self, problems: &[Problem]) {
        let now: BTreeSet<&Problem> = problems.iter().filter(|problem| problem.object.is_some()).collect();
        self.known.retain(|problem| now.contains(problem));
        self.waiting.retain(|problem| now.contains(problem));
        for problem in now {
            if self.known.insert(problem.clone()) {
                self.waiting.push_back(problem.clone());
            }
        }
    }

    /// Which to tell now: a server is not to drown in them.
    pub(super) fn due(&mut self, now: Instant) -> Vec<Problem> {
        if self.waiting.is_empty() || self.rest.is_some_and(|rest| now < rest) {
            return Vec::new();
        }
        self.rest = Some(now + REST);
        let count = self.waiting.len().min(AT_ONCE);
        self.waiting.drain(..count).collect()
    }

    /// When the next may be told, if any is to be.
    pub(super) fn next(&self) -> Option<Instant> {
        self.rest.filter(|_| !self.waiting.is_empty())
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

/// Its first bytes, at most so many, in whole letters.
pub(super) fn cut(text: &str, longest: usize) -> &str {
    text.get(..text.floor_char_boundary(longest)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use limen_resources::{Kind, codes};

    use super::*;

    fn problem(number: usize) -> Problem {
        let key = ObjectKey::new(Kind::HttpRoute, "shop", format!("web-{number}"));
        Problem { object: Some(key), ..Problem::new(codes::WRONG_TYPE, "wrong", "mend it") }
    }

    #[test]
    fn what_is_new_is_told_once_and_not_all_at_once() {
        let (mut told, t) = (Told::default(), Instant::now());
        let all: Vec<Problem> = (0..7).map(problem).collect();
        told.take(&all);
        assert_eq!(told.due(t).len(), AT_ONCE);
        assert_eq!((told.due(t).len(), told.next()), (0, Some(t + REST)));
        told.take(&all);
        assert_eq!(told.due(t + REST).len(), 2);
        assert_eq!(told.next(), None);
        told.take(&all[1..]);
        told.take(&all);
        assert_eq!(told.due(t + REST * 2), [problem(0)], "mended, and wrong again");
        let of_nothing = Problem::new(codes::WRONG_TYPE, "wrong", "mend it");
        told.take(&[of_nothing]);
        assert_eq!(told.due(t + REST * 3), []);
    }
}
