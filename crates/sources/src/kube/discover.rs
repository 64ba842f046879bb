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
    /// Which release of the Gateway API's definitions they are, as far as they say.
    pub(super) bundle: Option<String>,
}

/// A definition, as far as it is looked at.
#[derive(Debug)]
struct Definition {
    /// `plural.group`.
    name: String,
    /// The release that it is of.
    bundle: Option<String>,
}

/// Asks the server for its kinds, again whenever they may be others, until the future is dropped.
pub(super) async fn discover(client: Client, tell: impl Fn(Result<Found, Failure>) + Send) {
    let (heard, mut definitions) = unbounded_channel();
    let told = |news| {
        // Both ends are in this function.
        let _ = heard.send(news);
    };
    let watching = follow(client.clone(), target(), Definition::read, told);
    let asking = ask(client, &mut definitions, tell);
    tokio::join!(watching, asking);
}

/// The definitions of kinds, without what they define.
fn target() -> Target {
    let kind = GroupVersionKind::gvk("apiextensions.k8s.io", "v1", "CustomResourceDefinition");
    let resource = ApiResource::from_gvk_with_plural(&kind, "customresourcedefinitions");
    Target { resource, namespace: None, name: None, labels: None, metadata: true }
}

/// The definition that tells of the release that all of its group are of.
const RELEASED: &str = "gatewayclasses.gateway.networking.k8s.io";

impl Definition {
    /// Of one of our groups.
    fn read(definition: &Value) -> Option<Definition> {
        let text = |pointer: &str| definition.pointer(pointer).and_then(Value::as_str).map(str::to_owned);
        let name = text("/metadata/name")?;
        let (_, group) = name.split_once('.')?;
        let known = api_kinds().any(|kind| kind.group == group);
        let bundle = text("/metadata/annotations/gateway.networking.k8s.io~1bundle-version");
        known.then_some(Definition { name, bundle })
    }
}

/// Which definitions there are, as far as they tell of our groups.
#[derive(Default)]
struct Defined {
    /// `None`: they have not been listed yet.
    names: Option<BTreeSet<String>>,
    /// The release of the Gateway API that they are of.
    bundle: Option<String>,
    /// They may not be watched.
    blind: bool,
}

impl Defined {
    /// Takes it in. Returns whether the server may have other kinds now than those of `found`.
    fn hear(&mut self, news: Heard<Definition>, found: &BTreeSet<String>) -> bool {
        let known = self.names.is_some();
        let names = self.names.get_or_insert_default();
        match news {
            Heard::All(all) => {
                let released = all.iter().find(|definition| definition.name == RELEASED);
                let bundle = released.and_then(|definition| definition.bundle.clone());
                let another = known && self.bundle != bundle;
                self.bundle = bundle;
                let all = all.into_iter().map(|definition| definition.name);
                let former = std::mem::replace(names, all.collect());
                self.blind = false;
                another || !names.is_subset(found) || !former.is_subset(names)
            }
            // The version of a kind may be another one now.
            Heard::One(Definition { name, bundle }) => {
                if name == RELEASED {
                    self.bundle = bundle;
                }
                names.insert(name);
                true
            }
            Heard::Gone(Definition { name, .. }) => {
                if name == RELEASED {
                    self.bundle = None;
                }
                names.remove(&name)
            }
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
    definitions: &mut UnboundedReceiver<Heard<Definition>>,
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
                let bundle = defined.bundle.clone();
                tell(Ok(Found { kinds: found_kinds.clone(), all: told, bundle }));
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
                tell(Ok(Found { kinds: kinds.clone(), all: true, bundle: defined.bundle.clone() }));
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
