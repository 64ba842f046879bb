//! The Gateway API's kinds: what they say, in the terms that Istio's kinds are put in, too.
//!
//! In order: `classes` with `features` and `gateways` (which are ours, and where they listen), `listeners` and
//! `listener_sets` (what they open, and what is wrong with it), `infrastructure` (what is kept in the cluster for them),
//! `drafts`: `routes` with `filters`, `external_auth` and `backends` (what is done with requests), `l4` (where connections
//! and datagrams go); `standing` by `attach` (which routes hang on which listeners, and what is said of that), `alone` and
//! `deployed` (Gateways with instances of their own), `offers` (listeners and route tables, to be joined with those of other
//! APIs), `conclude` (conditions).

mod alone;
pub(crate) mod attach;
pub(crate) mod backend_tls;
mod backends;
mod classes;
mod conclude;
pub(crate) mod deployed;
mod drafts;
mod external_auth;
mod features;
mod filters;
mod frontend;
mod gateways;
mod grants;
mod identity;
mod infrastructure;
mod l4;
mod l4_offers;
mod listener_sets;
mod listeners;
mod offers;
mod pool;
mod precedence;
mod routes;
mod session;
mod standing;
pub(crate) mod status;
pub(crate) mod traffic;
pub(crate) mod x_backends;

use std::collections::BTreeSet;
use std::sync::Arc;

use limen_ir::Ir;
use limen_ir::route::Rule;
use limen_resources::Made;
use limen_resources::gateway_api::ParentReference;

use backend_tls::Routed;
use drafts::{Draft, DraftMemo};
use gateways::OwnGateway;
use grants::Grants;
use identity::Identities;
use listener_sets::OwnSet;
use listeners::Listener;
use standing::{Field, Standing, StandingMemo};

use crate::guard;
use crate::index::Index;
use crate::join::Offer;
use crate::merge::{Wanted, WantedClusters};
use crate::report::Report;
use crate::secrets::Certificates;
use crate::services::ServiceSource;

/// A condition that does not hold: its reason, and why.
type No = (&'static str, String);

/// What was made before, for sharing.
#[derive(Debug, Default)]
pub(crate) struct RouteMemo {
    drafts: DraftMemo,
    standings: StandingMemo,
}

/// All that is ours of the Gateway API, and what it comes to.
pub(crate) struct Plan<'a> {
    gateways: Vec<OwnGateway<'a>>,
    sets: Vec<OwnSet<'a>>,
    listeners: Vec<Listener<'a>>,
    routes: Vec<Arc<Draft>>,
    /// The Gateways that routes attach to which name none of ours there.
    defaults: Vec<ParentReference>,
    /// Is there such a Gateway of somebody else's?
    foreign_default: bool,
    /// For each route.
    standings: Vec<Arc<Standing>>,
    /// For each Gateway the rule that stands in for all others, if a policy closes it.
    guards: Vec<Option<Arc<Rule>>>,
    identities: Identities,
    /// Whose the offers are, by the place of the Gateway.
    offered: Vec<usize>,
    /// What is to be kept in the cluster for the Gateways.
    pub(crate) made: Vec<Made>,
}

/// What is ours of the Gateway API. Names the clusters that it needs, and offers listeners.
pub(crate) fn plan<'a>(
    index: &Index<'a>,
    certificates: &mut Certificates<'_, '_>,
    wanted: &mut WantedClusters,
    (memo, last): (&mut RouteMemo, &Ir),
    report: &mut Report,
) -> (Plan<'a>, Vec<Offer>) {
    let gateways = gateways::gateways(index, report);
    if gateways.is_empty() {
        let plan = Plan {
            gateways,
            sets: Vec::new(),
            listeners: Vec::new(),
            routes: Vec::new(),
            defaults: Vec::new(),
            foreign_default: false,
            standings: Vec::new(),
            guards: Vec::new(),
            identities: Identities::default(),
            offered: Vec::new(),
            made: infrastructure::made(index, &[], &[]),
        };
        return (plan, Vec::new());
    }
    let grants = Grants::new(index.snapshot);
    let sets = listener_sets::listener_sets(index, &gateways);
    let listeners = listeners::listeners((index, &grants), (&gateways, &sets), certificates);
    let ground = (index, &grants);
    let routes = memo.drafts.drafts(ground);
    let defaults = attach::defaults(gateways.iter().map(|gateway| &**gateway.object));
    let all_defaults = attach::defaults(index.snapshot.api_gateways().iter().map(|gateway| &**gateway));
    let foreign_default = all_defaults.len() > defaults.len();
    let field = Field {
        snapshot: index.snapshot,
        gateways: &gateways,
        sets: &sets,
        listeners: &listeners,
        defaults: &defaults,
        foreign_default,
    };
    let standings = memo.standings.standings(&field, &routes);
    let identities = Identities::new(ground, &gateways);
    let guards =
        gateways.iter().map(|gateway| guard::of_gateway_api(index, gateway.object, report)).collect();
    let made = infrastructure::made(index, &gateways, &listeners);
    let offered = Vec::new();
    let mut plan = Plan {
        gateways,
        sets,
        listeners,
        routes,
        defaults,
        foreign_default,
        standings,
        guards,
        identities,
        offered,
        made,
    };
    plan.want(index, wanted);
    let offers = plan.offers(index, last);
    (plan, offers)
}

impl<'a> Plan<'a> {
    /// Where routes may be.
    fn field<'f>(&'f self, index: &Index<'f>) -> Field<'f, 'a> {
        Field {
            snapshot: index.snapshot,
            gateways: &self.gateways,
            sets: &self.sets,
            listeners: &self.listeners,
            defaults: &self.defaults,
            foreign_default: self.foreign_default,
        }
    }

    /// The routes, each with what it is to its parents.
    fn routes(&self) -> impl Iterator<Item = (&Draft, &Standing)> {
        self.routes.iter().zip(&self.standings).map(|(draft, standing)| (&**draft, &**standing))
    }

    /// Names the clusters that routes need: those of each Gateway that takes them.
    fn want(&mut self, index: &Index<'_>, wanted: &mut WantedClusters) {
        for (draft, standing) in self.routes.iter().zip(&self.standings) {
            self.identities.note(index, draft.wanted());
            for gateway in &standing.taken_by {
                for needed in draft.wanted() {
                    let (cluster, identity) = self.identities.cluster(*gateway, &needed.cluster);
                    let (service, by) = (Arc::clone(&needed.service), Arc::clone(&needed.by));
                    wanted.add_wanted(cluster, Wanted { service, by, instance: 0, tls: None, identity });
                }
            }
        }
    }

    /// Says what became of backends and of policies for them.
    pub(crate) fn conclude_policies(&self, index: &Index<'_>, report: &mut Report) {
        let snapshot = index.snapshot;
        let policies = !snapshot.x_backend_traffic_policies().is_empty();
        if snapshot.backend_tls_policies().is_empty() && snapshot.x_backends().is_empty() && !policies {
            return;
        }
        let mut routed: Vec<Routed<'_>> =
            self.gateways.iter().map(|gateway| (&gateway.object.key, BTreeSet::new())).collect();
        let (mut backends, mut targets_of) = (BTreeSet::new(), traffic::Routed::new());
        for (draft, standing) in self.routes() {
            for gateway in &standing.taken_by {
                let Some((key, services)) = routed.get_mut(*gateway) else { continue };
                let wanted = draft.wanted().iter().map(|needed| &needed.service);
                if policies {
                    for target in wanted.clone().filter_map(|service| traffic::target_of(service)) {
                        let carried: &mut traffic::Carried = targets_of.entry((target, *key)).or_default();
                        carried.requests |= draft.l4().is_none();
                        carried.others |= draft.l4().is_some();
                    }
                }
                services.extend(wanted.clone().map(|service| (&*service.namespace, service.flag_name())));
                backends.extend(wanted.filter_map(|service| match &service.source {
                    ServiceSource::XBackend(object) => Some((&object.key, *key)),
                    _ => None,
                }));
            }
        }
        index.backend_tls.conclude(&routed, report);
        index.x_backends.conclude(&backends, report);
        index.traffic.conclude(&targets_of, report);
    }
}
