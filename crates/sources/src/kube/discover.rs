//! Which of our kinds a server has. Kinds that are absent may be installed at any time: their definitions are watched.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use kube::Client;
use kube::core::{ApiResource, GroupVersionKind};
use kube::discovery::{ApiGroup, Discovery};
use limen_resources::{Kind, api_kinds};
use serde_json::Value;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

use super::failure::Failure;
use super::follow::{ANSWER, Heard, Target, follow};
use super::pause::Pause;

/// How often to ask although no definition changed.
const REGULARLY: Duration = Duration::from_secs(300);
/// The same where definitions may not be watched.
const BLINDLY: Duration = Duration::from_secs(30);

/// Where each of our kinds that the server has is found.
pub(super) type Kinds = BTreeMap<Kind, ApiResource>;

/// What a server has.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) kinds: Kinds,
    /// Are these all that are defined?
    pub(super) all: bool,
}

/// Asks the server for its kinds, again whenever they may be others, until the future is dropped.
pub(super) async fn discover(client: Client, tell: impl Fn(Result<Found, Failure>) + Send) {
    let (heard, mut definitions) = unbounded_channel();
    let told = |news| {
        // Both ends are in this function.
        let _ = heard.send(news);
    };
    let watching = follow(client.clone(), target(), read_name, told);
    let asking = ask(client, &mut definitions, tell);
    tokio::join!(watching, asking);
}

/// The definitions of kinds, without what they define.
fn target() -> Target {
    let kind = GroupVersionKind::gvk("apiextensions.k8s.io", "v1", "CustomResourceDefinition");
    let resource = ApiResource::from_gvk_with_plural(&kind, "customresourcedefinitions");
    Target { resource, namespace: None, name: None, metadata: true }
}

/// The name of a definition in one of our groups: `plural.group`.
fn read_name(definition: &Value) -> Option<String> {
    let name = definition.pointer("/metadata/name")?.as_str()?;
    let (_, group) = name.split_once('.')?;
    api_kinds().any(|kind| kind.group == group).then(|| name.to_owned())
}

/// Which definitions there are, as far as they tell of our groups.
#[derive(Default)]
struct Defined {
    /// `None`: they have not been listed yet.
    names: Option<BTreeSet<String>>,
    /// They may not be watched.
    blind: bool,
}

impl Defined {
    /// Takes it in. Returns whether the server may have other kinds now than those of `found`.
    fn hear(&mut self, news: Heard<String>, found: &BTreeSet<String>) -> bool {
        let names = self.names.get_or_insert_default();
        match news {
            Heard::All(all) => {
                let former = std::mem::replace(names, all.into_iter().collect());
                self.blind = false;
                !names.is_subset(found) || !former.is_subset(names)
            }
            // The version of a kind may be another one now.
            Heard::One(name) => {
                names.insert(name);
                true
            }
            Heard::Gone(name) => names.remove(&name),
            Heard::Failed(_) => {
                self.blind = true;
                false
            }
            Heard::Mended => false,
        }
    }

    /// Is all of it in `found`? What is defined is served a moment later.
    fn within(&self, found: &BTreeSet<String>) -> bool {
        self.blind || self.names.as_ref().is_some_and(|names| names.is_subset(found))
    }
}

/// A definition that is not served after so many questions is taken for a broken one.
const PATIENCE: u32 = 6;

async fn ask(
    client: Client,
    definitions: &mut UnboundedReceiver<Heard<String>>,
    tell: impl Fn(Result<Found, Failure>),
) {
    let (mut defined, mut pause) = (Defined::default(), Pause::default());
    loop {
        let answer = once(&client).await;
        let found = answer.as_ref().map(|(_, found)| found.clone()).unwrap_or_default();
        let mut told = false;
        let mut kinds = None;
        match answer {
            Ok((found_kinds, _)) => {
                told = defined.within(&found) || pause.failures() >= PATIENCE;
                tell(Ok(Found { kinds: found_kinds.clone(), all: told }));
                kinds = Some(found_kinds);
            }
            Err(failure) => tell(Err(failure)),
        }
        let regularly = if defined.blind { BLINDLY } else { REGULARLY };
        let wait = if kinds.is_some() && defined.within(&found) { regularly } else { pause.next(None) };
        let mut timer = std::pin::pin!(tokio::time::sleep(wait));
        loop {
            tokio::select! {
                () = &mut timer => break,
                Some(news) = definitions.recv() => if defined.hear(news, &found) {
                    pause.reset();
                    break;
                },
            }
            if let Some(kinds) = kinds.as_ref().filter(|_| !told && defined.within(&found)) {
                told = true;
                tell(Ok(Found { kinds: kinds.clone(), all: true }));
                timer.as_mut().reset(tokio::time::Instant::now() + REGULARLY);
            }
        }
    }
}

/// Our kinds, and all kinds of their groups as their definitions are called.
async fn once(client: &Client) -> Result<(Kinds, BTreeSet<String>), Failure> {
    let groups: BTreeSet<&str> = api_kinds().map(|kind| kind.group).collect();
    let groups: Vec<&str> = groups.into_iter().collect();
    let asked = Discovery::new(client.clone()).filter(&groups).run();
    let discovery = match tokio::time::timeout(ANSWER, asked).await {
        Ok(discovery) => discovery?,
        Err(_) => return Err(Failure::slow(ANSWER)),
    };
    let kinds = api_kinds().filter_map(|ours| {
        let group = discovery.get(ours.group)?;
        let resource = ours.versions.iter().find_map(|version| {
            let all = group.versioned_resources(version);
            all.into_iter().map(|(resource, _)| resource).find(|resource| resource.kind == ours.name)
        })?;
        Some((ours.kind, resource))
    });
    let names = discovery.groups().flat_map(names_of);
    Ok((kinds.collect(), names.collect()))
}

fn names_of(group: &ApiGroup) -> impl Iterator<Item = String> {
    let all = group.versions().flat_map(|version| group.versioned_resources(version));
    all.map(|(resource, _)| format!("{}.{}", resource.plural, resource.group))
}
