//! The Gateway API's kinds: what they say, in the terms that Istio's kinds are put in, too.
//!
//! In order: `classes` with `features` and `gateways` (which are ours, and where they listen), `listeners` and
//! `listener_sets` (what they open, and what is wrong with it), `infrastructure` (what is kept in the cluster for them),
//! `routes` with `filters`, `external_auth` and `backends` (what is done with requests), `l4` (where connections and datagrams go), `attach` (which routes hang on which
//! listeners), `alone` and `deployed` (Gateways with instances of their own), `offers` (listeners and route tables, to be joined with those of other APIs), `conclude` (conditions).

mod alone;
pub(crate) mod attach;
pub(crate) mod backend_tls;
mod backends;
mod classes;
mod conclude;
pub(crate) mod deployed;
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
pub(crate) mod status;

use std::collections::BTreeSet;
use std::sync::Arc;

use limen_ir::route::Rule;
use limen_resources::gateway_api::ParentReference;
use limen_resources::{AnyObject, Made};

use attach::{Attachment, Refusal};
use backend_tls::Routed;
use backends::Needed;
use gateways::OwnGateway;
use grants::Grants;
use identity::Identities;
use l4::L4Draft;
use listener_sets::OwnSet;
use listeners::Listener;
use precedence::Precedence;
pub(crate) use routes::RouteMemo;
use routes::{HttpDraft, Route};

use crate::guard;
use crate::index::Index;
use crate::join::Offer;
use crate::merge::{NamedBy, Wanted, WantedClusters};
use crate::report::Report;
use crate::secrets::Certificates;

/// A condition that does not hold: its reason, and why.
type No = (&'static str, String);

/// What became of a route at one of its parents; `None`: the parent is not ours.
type Outcome = Option<Result<Vec<Attachment>, Refusal>>;

/// A route of any kind.
enum Draft<'a> {
    Http(HttpDraft<'a>),
    L4(L4Draft<'a>),
}

impl<'a> Draft<'a> {
    fn route(&self) -> &Route<'a> {
        match self {
            Draft::Http(draft) => &draft.route,
            Draft::L4(draft) => &draft.route,
        }
    }

    /// The object, and the clusters that it needs.
    fn wanted(&self) -> (&AnyObject, &[Needed]) {
        match self {
            Draft::Http(draft) => (&draft.object, &draft.wanted),
            Draft::L4(draft) => (&draft.object, &draft.wanted),
        }
    }

    /// What is done with requests.
    fn rules(&self) -> &[(Precedence, Arc<Rule>)] {
        match self {
            Draft::Http(draft) => &draft.rules,
            Draft::L4(_) => &[],
        }
    }

    /// Where connections or datagrams go.
    fn l4(&self) -> Option<&L4Draft<'a>> {
        match self {
            Draft::Http(_) => None,
            Draft::L4(draft) => Some(draft),
        }
    }
}

/// All that is ours of the Gateway API, and what it comes to.
pub(crate) struct Plan<'a> {
    gateways: Vec<OwnGateway<'a>>,
    sets: Vec<OwnSet<'a>>,
    listeners: Vec<Listener<'a>>,
    routes: Vec<Draft<'a>>,
    /// The Gateways that routes attach to which name none of ours there.
    defaults: Vec<ParentReference>,
    /// Is there such a Gateway of somebody else's?
    foreign_default: bool,
    /// For each route, by its parentRefs, and behind them by default Gateways if it asks for them.
    outcomes: Vec<Vec<Outcome>>,
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
    memo: &mut RouteMemo,
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
            outcomes: Vec::new(),
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
    let openings: Vec<_> = listeners.iter().map(|listener| listener.opening.clone()).collect();
    let ground = (index, &grants);
    memo.begin(index.snapshot);
    let http = index.snapshot.http_routes().iter();
    let http: Vec<_> = http.map(|route| Draft::Http(routes::http(ground, route, memo))).collect();
    let grpc = index.snapshot.grpc_routes().iter();
    let grpc: Vec<_> = grpc.map(|route| Draft::Http(routes::grpc(ground, route, memo))).collect();
    memo.turn();
    let tls = index.snapshot.tls_routes().iter().map(|route| Draft::L4(l4::tls(ground, route)));
    let tcp = index.snapshot.tcp_routes().iter().map(|route| Draft::L4(l4::tcp(ground, route)));
    let udp = index.snapshot.udp_routes().iter().map(|route| Draft::L4(l4::udp(ground, route)));
    let routes: Vec<_> = http.into_iter().chain(grpc).chain(tls).chain(tcp).chain(udp).collect();
    let defaults = attach::defaults(gateways.iter().map(|gateway| &**gateway.object));
    let outcomes = routes.iter().map(|draft| {
        let route = draft.route();
        let outcome = |parent| {
            let owner = attach::parent_key(parent, route.asking.namespace)?;
            let own = gateways.iter().any(|gateway| gateway.object.key == owner)
                || sets.iter().any(|set| set.object.key == owner);
            own.then(|| attach::attach((parent, &owner), route.asking, &openings, index.snapshot))
        };
        let unnamed =
            |default: &&ParentReference| !attach::names(route.parents, route.asking.namespace, default);
        let default = |default| Some(default).filter(unnamed).and_then(outcome);
        let defaults = defaults.iter().filter(|_| route.by_default);
        route.parents.iter().map(outcome).chain(defaults.map(default)).collect::<Vec<_>>()
    });
    let outcomes: Vec<_> = outcomes.collect();
    let identities = Identities::new(ground, &gateways);
    let guards =
        gateways.iter().map(|gateway| guard::of_gateway_api(index, gateway.object, report)).collect();
    let made = infrastructure::made(index, &gateways, &listeners);
    let offered = Vec::new();
    let all_defaults = attach::defaults(index.snapshot.api_gateways().iter().map(|gateway| &**gateway));
    let foreign_default = all_defaults.len() > defaults.len();
    let mut plan = Plan {
        gateways,
        sets,
        listeners,
        routes,
        defaults,
        foreign_default,
        outcomes,
        guards,
        identities,
        offered,
        made,
    };
    plan.want(index, wanted);
    let offers = plan.offers(index);
    (plan, offers)
}

impl Plan<'_> {
    /// Names the clusters that routes need: those of each Gateway that takes them.
    fn want(&mut self, index: &Index<'_>, wanted: &mut WantedClusters) {
        for at in 0..self.routes.len() {
            let gateways = self.taken_by(at);
            let Some(draft) = self.routes.get(at) else { continue };
            let (object, clusters) = draft.wanted();
            self.identities.note(index, clusters);
            for gateway in gateways {
                for (cluster, service, field) in clusters {
                    let by = NamedBy::route(object.clone(), field.clone());
                    let (cluster, identity) = self.identities.cluster(gateway, cluster);
                    let service = Arc::clone(service);
                    wanted.add_wanted(
                        cluster,
                        Wanted { service, by: vec![by], instance: 0, tls: None, identity },
                    );
                }
            }
        }
    }

    /// Says what became of the policies for backends.
    pub(crate) fn conclude_policies(&self, index: &Index<'_>, report: &mut Report) {
        if index.snapshot.backend_tls_policies().is_empty() {
            return;
        }
        let mut routed: Vec<Routed<'_>> =
            self.gateways.iter().map(|gateway| (&gateway.object.key, BTreeSet::new())).collect();
        for (at, draft) in self.routes.iter().enumerate() {
            for gateway in self.taken_by(at) {
                let Some((_, services)) = routed.get_mut(gateway) else { continue };
                let (_, clusters) = draft.wanted();
                services.extend(
                    clusters.iter().map(|(_, service, _)| (&*service.namespace, service.flag_name())),
                );
            }
        }
        index.backend_tls.conclude(&routed, report);
    }

    /// The Gateways that have taken up a route, in their order; none if it is not right by itself.
    fn taken_by(&self, route: usize) -> BTreeSet<usize> {
        let right = self.routes.get(route).is_some_and(|draft| draft.route().accepted.is_ok());
        let outcomes = self.outcomes.get(route).filter(|_| right);
        let attached = outcomes.into_iter().flatten().flatten().flatten().flatten();
        attached.filter_map(|attachment| Some(self.listeners.get(attachment.listener)?.gateway)).collect()
    }
}
