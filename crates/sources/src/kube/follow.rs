//! Follows what an API server tells of one kind: lists it, then watches what comes after, for ever.

use std::time::Duration;

use futures_util::StreamExt;
use kube::Client;
use kube::core::params::{ListParams, WatchParams};
use kube::core::{ApiResource, DynamicObject, Request, Resource, WatchEvent};
use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;
use tokio::time::Instant;

use super::failure::Failure;
use super::pause::Pause;

/// Objects in one answer to a list.
const PAGE: u32 = 500;
/// The longest that an answer takes that is no watch.
pub(crate) const ANSWER: Duration = Duration::from_secs(60);
/// After this time the server is to end a watch, in seconds. The next one goes on where it ended.
const WATCH: u32 = 240;
/// A watch in which nothing is told for this long is taken for dead: servers send a bookmark every minute or so.
const SILENCE: Duration = Duration::from_secs(100);
/// A watch that lasts this long did its duty, even if nothing was told.
const DUTY: Duration = Duration::from_secs(5);

/// What is followed.
#[derive(Debug, Clone)]
pub(crate) struct Target {
    /// The kind, as the server has it.
    pub(crate) resource: ApiResource,
    /// The one namespace, if not all.
    pub(crate) namespace: Option<String>,
    /// The one name, if not all.
    pub(crate) name: Option<String>,
    /// Only those with these labels.
    pub(crate) labels: Option<String>,
    /// Is only the metadata wanted?
    pub(crate) metadata: bool,
}

/// What was heard. `T` is what is kept of an object.
#[derive(Debug)]
pub(crate) enum Heard<T> {
    /// These are all.
    All(Vec<T>),
    /// One is there, or is different now.
    One(T),
    /// One is not there any more.
    Gone(T),
    /// The server does not tell, and did not the time before. What it told holds.
    Failed(Failure),
    /// It tells again.
    Mended,
}

/// Follows `target` until the future is dropped. `read` keeps what is needed of an object, if anything; `tell` is called
/// with all that is heard.
pub(crate) async fn follow<T>(
    client: Client,
    target: Target,
    read: impl Fn(&Value) -> Option<T> + Send,
    tell: impl Fn(Heard<T>) + Send,
) {
    let mut follower = Follower { client, target, read, tell, pause: Pause::default(), failing: false };
    let mut version = None;
    loop {
        let outcome = match &mut version {
            None => follower.list().await.map(|listed| version = Some(listed)),
            Some(known) => follower.watch(known).await,
        };
        let Err(failure) = outcome else { continue };
        if failure == Failure::Gone {
            version = None;
        }
        let (again, after) = (follower.pause.failures() > 0, failure.after());
        let wait = follower.pause.next(after);
        tracing::debug!(kind = %follower.target.resource.kind, ?failure, ?wait, "Kubernetes");
        // One that is not repeated is not worth a word.
        if again && failure != Failure::Gone {
            follower.failing = true;
            (follower.tell)(Heard::Failed(failure));
        }
        tokio::time::sleep(wait).await;
    }
}

struct Follower<R, S> {
    client: Client,
    target: Target,
    read: R,
    tell: S,
    pause: Pause,
    /// Was it told that the server does not tell?
    failing: bool,
}

/// One answer to a list. Items of built-in kinds do not say their kind.
#[derive(Deserialize)]
struct Page<'t> {
    metadata: PageMeta,
    /// As they stand in the text: as values all of them at once would take many times as much.
    #[serde(borrow)]
    items: Option<Vec<&'t RawValue>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct PageMeta {
    resource_version: Option<String>,
    #[serde(rename = "continue")]
    next: Option<String>,
}

impl<T, R: Fn(&Value) -> Option<T>, S: Fn(Heard<T>)> Follower<R, S> {
    fn request(&self) -> Request {
        Request::new(DynamicObject::url_path(&self.target.resource, self.target.namespace.as_deref()))
    }

    fn selector(&self) -> Option<String> {
        self.target.name.as_ref().map(|name| format!("metadata.name={name}"))
    }

    /// Lists everything, page by page. Returns the version of the list.
    async fn list(&mut self) -> Result<String, Failure> {
        let mut all = Vec::new();
        let mut next = None;
        loop {
            let text = match tokio::time::timeout(ANSWER, self.page(next)).await {
                Ok(text) => text?,
                Err(_) => return Err(Failure::slow(ANSWER)),
            };
            let not_a_list = |error| Failure::Silent(format!("not a list: {error}"));
            let page: Page<'_> = serde_json::from_str(&text).map_err(not_a_list)?;
            for item in page.items.unwrap_or_default() {
                all.extend((self.read)(&serde_json::from_str(item.get()).map_err(not_a_list)?));
            }
            next = page.metadata.next.filter(|next| !next.is_empty());
            if next.is_some() {
                continue;
            }
            // Without a version there is nothing that a watch could begin with.
            let version = page.metadata.resource_version.filter(|version| !version.is_empty());
            let version =
                version.ok_or_else(|| Failure::Silent("a list without resourceVersion".to_owned()))?;
            self.failing = false;
            (self.tell)(Heard::All(all));
            return Ok(version);
        }
    }

    async fn page(&self, next: Option<String>) -> Result<String, Failure> {
        let mut params = ListParams::default().limit(PAGE);
        params.field_selector = self.selector();
        params.label_selector = self.target.labels.clone();
        params.continue_token = next;
        let request = self.request();
        let request =
            if self.target.metadata { request.list_metadata(&params) } else { request.list(&params) };
        let request = request.map_err(|error| Failure::Silent(error.to_string()))?;
        // Not `request()`, which writes into the log what it does not understand, and that may be a Secret.
        Ok(self.client.request_text(request).await?)
    }

    /// Watches what comes after `version`, which is kept up, until the watch ends.
    async fn watch(&mut self, version: &mut String) -> Result<(), Failure> {
        let mut params = WatchParams::default().timeout(WATCH);
        params.field_selector = self.selector();
        params.label_selector = self.target.labels.clone();
        let request = self.request();
        let request = match self.target.metadata {
            true => request.watch_metadata(&params, version),
            false => request.watch(&params, version),
        };
        let request = request.map_err(|error| Failure::Silent(error.to_string()))?;
        let (began, mut heard) = (Instant::now(), false);
        let events = match tokio::time::timeout(ANSWER, self.client.request_events::<Value>(request)).await {
            Ok(events) => events?,
            Err(_) => return Err(Failure::slow(ANSWER)),
        };
        if std::mem::take(&mut self.failing) {
            (self.tell)(Heard::Mended);
        }
        let mut events = std::pin::pin!(events);
        while let Ok(Some(event)) = tokio::time::timeout(SILENCE, events.next()).await {
            let event = event?;
            if !heard && !matches!(event, WatchEvent::Error(_)) {
                heard = true;
                self.pause.reset();
            }
            let (object, gone) = match event {
                WatchEvent::Added(object) | WatchEvent::Modified(object) => (object, false),
                WatchEvent::Deleted(object) => (object, true),
                WatchEvent::Bookmark(bookmark) => {
                    *version = bookmark.metadata.resource_version;
                    continue;
                }
                WatchEvent::Error(status) => return Err(Failure::of(*status)),
            };
            if let Some(now) = object.pointer("/metadata/resourceVersion").and_then(Value::as_str) {
                now.clone_into(version);
            }
            if let Some(read) = (self.read)(&object) {
                (self.tell)(if gone { Heard::Gone(read) } else { Heard::One(read) });
            }
        }
        if heard || began.elapsed() >= DUTY {
            self.pause.reset();
            return Ok(());
        }
        // A server that accepts watches and drops them is not to be asked without end.
        Err(Failure::Silent("watches end as soon as they begin".to_owned()))
    }
}

#[cfg(test)]
#[path = "follow_tests.rs"]
mod tests;
