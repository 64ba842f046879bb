//! Entries of instances that are no more: who made those clears away what they said of Gateways that are gone.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use kube::Client;
use kube::core::params::{GetParams, PostParams};
use kube::core::{ApiResource, DynamicObject, Request, Resource};
use limen_resources::ObjectKey;

use super::About;
use super::lease::send;
use super::said::Layout;
use super::speaker::Speaker;
use crate::kube::failure::Failure;

/// The same object is not cleared more often: its instances may do so themselves.
const REST: Duration = Duration::from_secs(5);
/// So many at the same time.
const AT_ONCE: usize = 4;

/// What entries of other instances are about, by the object that they stand in.
#[derive(Debug, Default)]
pub(super) struct Orphans {
    about: BTreeMap<ObjectKey, Box<About>>,
    living: Arc<BTreeMap<ObjectKey, String>>,
    /// Is it known yet who lives?
    known: bool,
    /// Objects with entries that nobody minds, and when they may be cleared.
    found: BTreeMap<ObjectKey, Instant>,
}

impl Orphans {
    /// An object was seen, with entries about these.
    pub(super) fn see(&mut self, key: &ObjectKey, about: Option<Box<About>>, by: &Speaker, now: Instant) {
        let Some(about) = about else {
            self.gone(key);
            return;
        };
        self.about.insert(key.clone(), about);
        self.look(key, by, now);
    }

    /// It is not there any more.
    pub(super) fn gone(&mut self, key: &ObjectKey) {
        self.about.remove(key);
        self.found.remove(key);
    }

    /// Those who live now.
    pub(super) fn living(&mut self, living: &Arc<BTreeMap<ObjectKey, String>>, by: &Speaker, now: Instant) {
        if self.known && Arc::ptr_eq(&self.living, living) {
            return;
        }
        (self.living, self.known) = (Arc::clone(living), true);
        let keys: Vec<ObjectKey> = self.about.keys().cloned().collect();
        keys.iter().for_each(|key| self.look(key, by, now));
    }

    fn look(&mut self, key: &ObjectKey, by: &Speaker, now: Instant) {
        let Some(heir) = by.heir.as_ref().filter(|_| self.known) else { return };
        let about = self.about.get(key).map(|about| &*about.0).unwrap_or_default();
        if about.iter().any(|about| heir.orphaned(about, &self.living)) {
            // Instances that end clear away what they said, mostly.
            self.found.entry(key.clone()).or_insert(now + REST);
        } else {
            self.found.remove(key);
        }
    }

    /// Which objects to clear now.
    pub(super) fn due(&mut self, now: Instant) -> BTreeSet<ObjectKey> {
        let due = self.found.iter().filter(|(_, at)| **at <= now).take(AT_ONCE);
        let due: BTreeSet<ObjectKey> = due.map(|(key, _)| key.clone()).collect();
        for key in &due {
            self.found.insert(key.clone(), now + REST);
        }
        due
    }

    /// When the next one is to be cleared.
    pub(super) fn next(&self) -> Option<Instant> {
        self.found.values().min().copied()
    }

    pub(super) fn who_lives(&self) -> Arc<BTreeMap<ObjectKey, String>> {
        Arc::clone(&self.living)
    }
}

/// Clears an object of entries that nobody minds.
pub(super) async fn clear(
    client: Client,
    resource: ApiResource,
    key: ObjectKey,
    (by, living): (Arc<Speaker>, Arc<BTreeMap<ObjectKey, String>>),
) -> Result<(), Failure> {
    let (Some(heir), Some(layout)) = (&by.heir, Layout::of(key.kind)) else { return Ok(()) };
    let request = || Request::new(DynamicObject::url_path(&resource, Some(&*key.namespace)));
    let mut object = match send(&client, request().get(&key.name, &GetParams::default())).await {
        Err(Failure::Refused { code: 404, .. }) => return Ok(()),
        other => other?,
    };
    let Some(status) = heir.cleared(layout, &object, &living) else { return Ok(()) };
    if let Some(fields) = object.as_object_mut() {
        fields.insert("status".to_owned(), status);
    }
    let body = object.to_string().into_bytes();
    let request = request().replace_subresource("status", &key.name, &PostParams::default(), body);
    match send(&client, request).await {
        // Somebody else writes, too: it is looked at again.
        Err(Failure::Refused { code: 404 | 409, .. }) => Ok(()),
        other => other.map(|_| ()),
    }
}
