//! Endpoints of the same clusters as before: only those of the Services that changed are looked at.

use std::sync::Arc;

use limen_ir::endpoint::Endpoints;
use limen_resources::core::Service;
use limen_resources::{Object, Snapshot};

use super::{Changed, EndpointMemo, Ground, Known};
use crate::memo::Same;
use crate::services::ServiceSource;
use crate::settings::Settings;

/// Where clusters stand among those that are known.
#[derive(Debug, Default)]
pub(super) struct Places {
    /// Those of Kubernetes Services, by namespace and name of these. Made when it is asked for.
    by_service: Option<Vec<u32>>,
    /// Those of which something is to be said, ascending.
    speaking: Vec<u32>,
}

impl Places {
    pub(super) fn of(known: &[Known]) -> Places {
        let speaking = (0..).zip(known).filter(|(_, known)| known.speaks()).map(|(place, _)| place);
        Places { by_service: None, speaking: speaking.collect() }
    }

    /// The clusters of which something is to be said.
    pub(super) fn speaking<'k>(&'k self, known: &'k [Known]) -> impl Iterator<Item = &'k Known> {
        self.speaking.iter().filter_map(|place| known.get(*place as usize))
    }

    /// One of them was made again.
    fn put(&mut self, place: u32, speaks: bool) {
        match (self.speaking.binary_search(&place), speaks) {
            (Ok(at), false) => drop(self.speaking.remove(at)),
            (Err(at), true) => self.speaking.insert(at, place),
            _ => {}
        }
    }

    /// The clusters of a Service, by its namespace and name.
    fn of_service(&mut self, known: &[Known], name: (&str, &str)) -> Vec<u32> {
        let service = |place: &u32| known.get(*place as usize).and_then(service);
        let named = |place: &u32| service(place).map(|own| (&*own.key.namespace, &*own.key.name));
        let places = self.by_service.get_or_insert_with(|| {
            let mut places: Vec<u32> = (0..).zip(known).map(|(place, _)| place).collect();
            places.retain(|place| service(place).is_some());
            places.sort_by_key(named);
            places
        });
        let from = places.partition_point(|place| named(place) < Some(name));
        let rest = places.get(from..).unwrap_or_default();
        rest.iter().copied().take_while(|place| named(place) == Some(name)).collect()
    }
}

fn service(known: &Known) -> Option<&Arc<Object<Service>>> {
    match &known.plan.service.source {
        ServiceSource::Kubernetes(service) => Some(service),
        _ => None,
    }
}

impl EndpointMemo {
    /// Looks at the clusters of these Services only. `last`: what there was before.
    pub(super) fn again(
        &mut self,
        changed: &Changed,
        (snapshot, settings): (&Snapshot, &Settings),
        ground: &Ground,
        last: Arc<Endpoints>,
    ) -> Arc<Endpoints> {
        let mut all = last;
        for (namespace, name) in changed {
            for place in self.places.of_service(&self.known, (namespace, name)) {
                let Some(known) = self.known.get_mut(place as usize) else { continue };
                let before = Arc::clone(&known.found.endpoints);
                known.renew((snapshot, settings), (ground, &all));
                self.places.put(place, known.speaks());
                if known.found.endpoints.same(&before) {
                    continue;
                }
                let (key, made) = (&known.plan.cluster.key, &known.found.endpoints);
                let clusters = Arc::make_mut(&mut Arc::make_mut(&mut all).clusters);
                match made.endpoints.is_empty() {
                    true => drop(clusters.remove(key)),
                    false => drop(clusters.insert(key.clone(), Arc::clone(made))),
                }
            }
        }
        all
    }
}
