//! What is left to do where a stage panics: the object that it is because of is found, and the others are translated
//! without it.
//!
//! Which object it is nobody says, so it is sought: of all objects in order, the shortest run that cannot be translated ends
//! with it. That takes a translation for each time that the number of objects can be halved, which is long where there are
//! tens of thousands. So it is sought first among those alone that were others when all could be translated last.

use std::collections::BTreeMap;
use std::sync::Arc;

use limen_ir::{Endpoints, Ir};
use limen_resources::gateway_api::{DefaultScope, ParentReference};
use limen_resources::{AnyObject, Kind, ObjectKey, Part, Snapshot, Verdict};

use crate::gateway_api::{attach, status};
use crate::messages::{self, At};
use crate::{Settings, Stages, Translation, Wants};

/// At most so many objects are left out.
const MOST: usize = 32;

/// What was translated last, and what was left out of it.
#[derive(Debug, Default)]
pub(crate) struct Survivor {
    last: Option<Last>,
    /// Objects that no stage is shown.
    hidden: BTreeMap<ObjectKey, Hidden>,
}

#[derive(Debug)]
struct Last {
    /// As the stages saw it.
    snapshot: Snapshot,
    ir: Arc<Ir>,
    endpoints: Arc<Endpoints>,
    wants: Wants,
    elsewhere: Arc<BTreeMap<ObjectKey, String>>,
}

/// An object that a stage panics of.
#[derive(Debug)]
struct Hidden {
    object: AnyObject,
    why: String,
    /// What stands in for it: what it was when it was last translated.
    former: Option<AnyObject>,
}

/// Translates a snapshot with the stages.
type Whole<'w> = dyn FnMut(&mut Stages, &Snapshot) -> Translation + 'w;

impl Survivor {
    /// Has `whole` translate the snapshot, or what of it can be.
    pub(crate) fn translate(
        &mut self,
        stages: &mut Stages,
        ground: (&Snapshot, &Settings),
        whole: &mut Whole<'_>,
    ) -> Translation {
        let (snapshot, _) = ground;
        // What has changed is looked at again.
        self.hidden.retain(|key, hidden| snapshot.get(key).as_ref() == Some(&hidden.object));
        loop {
            let seen = self.seen(snapshot);
            let why = match attempt(stages, &seen, whole) {
                Ok(made) => return self.conclude(ground, seen, made),
                Err(why) => why,
            };
            if self.hidden.len() >= MOST || !self.hide_one(&seen, &why, whole) {
                return self.as_before(&why);
            }
        }
    }

    fn seen(&self, snapshot: &Snapshot) -> Snapshot {
        if self.hidden.is_empty() {
            return snapshot.clone();
        }
        snapshot.patched(self.hidden.iter().map(|(key, hidden)| (key, hidden.former.as_ref())))
    }

    /// Finds an object that `seen` cannot be translated with, and hides it. False: there is none that may be hidden.
    fn hide_one(&mut self, seen: &Snapshot, why: &str, whole: &mut Whole<'_>) -> bool {
        let found = self.among_changed(seen, whole).or_else(|| {
            let all: Vec<_> = seen.keys().into_iter().map(|key| (key, None)).collect();
            last_of_shortest(seen, &all, whole)
        });
        let Some((key, object)) = found.as_ref().and_then(|key| Some((key, seen.get(key)?))) else {
            return false;
        };
        if let Some(hidden) = self.hidden.get_mut(key) {
            // What it was before is no better.
            hidden.former = None;
            return may_lack(key.kind);
        }
        let former =
            self.last.as_ref().and_then(|last| last.snapshot.get(key)).filter(|known| *known != object);
        if former.is_none() && !may_lack(key.kind) {
            return false;
        }
        self.hidden.insert(key.clone(), Hidden { object, why: why.to_owned(), former });
        true
    }

    /// The same if all could be translated before some were changed.
    fn among_changed(&self, seen: &Snapshot, whole: &mut Whole<'_>) -> Option<ObjectKey> {
        let last = &self.last.as_ref()?.snapshot;
        let changed: Vec<_> = seen
            .keys()
            .into_iter()
            .filter_map(|key| {
                let (now, before) = (seen.get(&key)?, last.get(&key));
                // What has one address is one object.
                let same = before.as_ref().is_some_and(|before| std::ptr::eq(before.key(), now.key()));
                (!same).then_some((key, before))
            })
            .collect();
        let before = seen.patched(changed.iter().map(|(key, before)| (key, before.as_ref())));
        // Otherwise it is because of what is not there any more.
        attempt(&mut Stages::default(), &before, whole).ok()?;
        last_of_shortest(seen, &changed, whole)
    }

    fn conclude(
        &mut self,
        ground: (&Snapshot, &Settings),
        seen: Snapshot,
        mut made: Translation,
    ) -> Translation {
        for (key, Hidden { object, why, former }) in &self.hidden {
            made.problems.insert(0, messages::not_translated(At::any(object, ""), why, former.is_some()));
            made.verdicts = Arc::new(made.verdicts.instead(key, verdicts(ground, object)));
        }
        if !self.hidden.is_empty() {
            // What is not seen is not gone.
            made.made.retain(|one| one.content.is_some());
            let before = self.last.as_ref().map(|last| Arc::clone(&last.elsewhere)).unwrap_or_default();
            let before = before.iter().map(|(key, group)| (key.clone(), group.clone()));
            Arc::make_mut(&mut made.elsewhere).extend(before);
        }
        let (ir, endpoints) = (Arc::clone(&made.ir), Arc::clone(&made.endpoints));
        let elsewhere = Arc::clone(&made.elsewhere);
        // They may be many, and seldom are others.
        let before = self.last.take().map(|last| last.wants).filter(|before| *before == made.wants);
        let wants = before.unwrap_or_else(|| made.wants.clone());
        self.last = Some(Last { snapshot: seen, ir, endpoints, wants, elsewhere });
        made
    }

    /// Nothing can be made of the snapshot.
    fn as_before(&self, why: &str) -> Translation {
        let last = self.last.as_ref();
        Translation {
            ir: last.map(|last| Arc::clone(&last.ir)).unwrap_or_default(),
            endpoints: last.map(|last| Arc::clone(&last.endpoints)).unwrap_or_default(),
            verdicts: Arc::default(),
            problems: vec![messages::nothing_translated(why)],
            wants: last.map(|last| last.wants.clone()).unwrap_or_default(),
            made: Vec::new(),
            elsewhere: last.map(|last| Arc::clone(&last.elsewhere)).unwrap_or_default(),
        }
    }
}

/// Of objects with what each was before: the last of the shortest run that cannot be translated beside the others as they
/// were before.
fn last_of_shortest(
    seen: &Snapshot,
    objects: &[(ObjectKey, Option<AnyObject>)],
    whole: &mut Whole<'_>,
) -> Option<ObjectKey> {
    let mut fails = |count: usize| {
        let rest = objects.get(count..).unwrap_or_default();
        let first = seen.patched(rest.iter().map(|(key, before)| (key, before.as_ref())));
        attempt(&mut Stages::default(), &first, whole).is_err()
    };
    let (mut good, mut bad) = (0, objects.len());
    while bad - good > 1 {
        let middle = good.midpoint(bad);
        if fails(middle) { bad = middle } else { good = middle }
    }
    objects.get(good).map(|(key, _)| key.clone())
}

/// `Err`: why a stage panics. What stages remember then may be half done, and is forgotten.
fn attempt(stages: &mut Stages, snapshot: &Snapshot, whole: &mut Whole<'_>) -> Result<Translation, String> {
    limen_resources::attempt(|| whole(stages, snapshot)).inspect_err(|_| *stages = Stages::default())
}

/// Does less happen where an object of this kind is missing? Without others more is let in, or sent in clear text.
fn may_lack(kind: Kind) -> bool {
    let protects = matches!(kind, Kind::BackendTlsPolicy | Kind::DestinationRule | Kind::MeshConfig);
    !kind.can_deny() && !protects
}

/// What is said of an object that is left out.
fn verdicts(ground: (&Snapshot, &Settings), object: &AnyObject) -> Vec<Verdict> {
    let (key, generation) = (object.key(), object.meta().generation);
    let message = "translation fails with it, see its problem";
    let say = |condition: &'static str, reason: &'static str| Verdict {
        generation,
        ..Verdict::new(key.clone(), condition, false, (reason, message))
    };
    let at_parents = |parents: &[ParentReference], by_default: &DefaultScope| {
        let by_default = *by_default == DefaultScope::All;
        let defaults = ground.0.api_gateways().iter().map(|gateway| &**gateway).filter(|_| by_default);
        let defaults = attach::defaults(defaults).into_iter().filter_map(|default| {
            let unnamed = !attach::names(parents, &key.namespace, &default);
            let parent = attach::parent_key(&default, "")
                .filter(|parent| unnamed && status::is_ours(ground, parent))?;
            let said = Verdict { part: Some(Part::DefaultGateway), ..say("Accepted", "UnsupportedValue") };
            Some(Verdict { parent: Some(parent), ..said })
        });
        let parents = parents.iter().enumerate().filter_map(|(place, parent)| {
            let parent = attach::parent_key(parent, &key.namespace)?;
            let ours = status::is_ours(ground, &parent);
            let said = Verdict { part: Some(Part::ParentRef(place)), ..say("Accepted", "UnsupportedValue") };
            ours.then_some(Verdict { parent: Some(parent), ..said })
        });
        parents.chain(defaults).collect()
    };
    match object {
        AnyObject::HttpRoute(route) => at_parents(&route.spec.parent_refs, &route.spec.use_default_gateways),
        AnyObject::GrpcRoute(route) => at_parents(&route.spec.parent_refs, &route.spec.use_default_gateways),
        AnyObject::TlsRoute(route) => at_parents(&route.spec.parent_refs, &route.spec.use_default_gateways),
        AnyObject::TcpRoute(route) => at_parents(&route.spec.parent_refs, &route.spec.use_default_gateways),
        AnyObject::UdpRoute(route) => at_parents(&route.spec.parent_refs, &route.spec.use_default_gateways),
        AnyObject::ApiGateway(_) | AnyObject::ListenerSet(_) => match status::is_ours(ground, key) {
            true => vec![say("Accepted", "Invalid"), say(Verdict::PROGRAMMED, "Invalid")],
            false => Vec::new(),
        },
        _ => vec![say(Verdict::PROGRAMMED, "Invalid")],
    }
}

#[cfg(test)]
#[path = "survive_tests.rs"]
mod tests;
