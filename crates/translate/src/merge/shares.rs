//! What a VirtualService is on a server as far as nobody else is asked: which hosts they share, its rules there, and the
//! clusters that these name. Made again only if one of them changes, or a service that it names.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use limen_ir::atoms::Port;
use limen_ir::cluster::ClusterKey;
use limen_ir::route::RouteTableName;
use limen_resources::istio::DestinationRule;
use limen_resources::{AnyObject, ObjectKey, Problem, Table};

use super::{NamedBy, Wanted, WantedClusters, shared_hosts};
use crate::bind::{self, Bound, Meaning, Site, Target};
use crate::draft::{DestinationDraft, VirtualServiceDraft};
use crate::index::Index;
use crate::istio::gateway::{ServerHost, ServerPlan};
use crate::memo::{Memo, Same, keep};
use crate::services::{Registry, ServiceFacts};
use crate::settings::GatewayInstance;

/// A VirtualService on a server.
#[derive(Debug, Default)]
pub(crate) struct Share {
    /// The more specific name of each overlap of their hosts.
    pub(super) hosts: Vec<SharedHost>,
    pub(super) bound: Arc<Bound>,
    /// What is wrong with it there.
    pub(super) problems: Vec<Problem>,
    named: Named,
    footing: Footing,
}

/// Clusters, the services of which they are, and what names them.
#[derive(Debug, Default)]
pub(super) struct Named(Vec<(ClusterKey, Arc<ServiceFacts>, Arc<NamedBy>)>);

impl Named {
    /// Notes what a destination means; what is wrong with it is added to `problems`.
    pub(super) fn add(&mut self, target: Target, problems: &mut Vec<Problem>) {
        let Target { meaning, service, object, field, problem } = target;
        problems.extend(problem);
        self.0.extend(
            service.map(|service| (meaning.cluster, service, Arc::new(NamedBy::route(object, field)))),
        );
    }

    /// Wants them all.
    pub(super) fn want(&self, instance: usize, clusters: &mut WantedClusters) {
        for (key, service, by) in &self.0 {
            let (service, by) = (Arc::clone(service), Arc::clone(by));
            clusters.add_wanted(key.clone(), Wanted { service, by, instance, tls: None, identity: None });
        }
    }
}

/// What destinations were found to mean.
#[derive(Debug, Default)]
pub(super) struct Footing {
    meanings: Vec<Meaning>,
    /// `None`: not for each was there a service with nothing to be said about it.
    found: Option<Vec<Known>>,
}

/// A destination, and the object in which it is written.
type Written<'d> = (&'d AnyObject, &'d DestinationDraft);

impl Footing {
    /// `targets`: what these destinations mean.
    pub(super) fn of<'d>(
        targets: &[Target],
        destinations: impl Iterator<Item = Written<'d>>,
        index: &Index<'_>,
    ) -> Footing {
        let found = targets.iter().zip(destinations).map(|(target, (object, destination))| {
            let found = index.services.find(&destination.host, &object.key().namespace)?;
            let (named, service) = (Arc::clone(found.named), Arc::clone(found.service));
            let apart = index.services.is_apart(&service);
            target.problem.is_none().then_some(Known { named, service, apart })
        });
        let found = found.collect();
        Footing { meanings: targets.iter().map(|target| target.meaning.clone()).collect(), found }
    }

    /// Do they mean the same among the services and rules that there are now?
    pub(super) fn holds<'d>(
        &self,
        destinations: impl Iterator<Item = Written<'d>>,
        instance: usize,
        index: &Index<'_>,
    ) -> bool {
        let Some(found) = &self.found else { return false };
        let Some(workload) = index.settings.gateways.get(instance) else { return false };
        let mut all = destinations.zip(found).zip(&self.meanings);
        all.all(|(((object, destination), known), meaning)| {
            let now = index.services.find(&destination.host, &object.key().namespace);
            let same = now.is_some_and(|now| {
                known.named.same(now.named)
                    && known.service.same(now.service)
                    && known.apart == index.services.is_apart(now.service)
            });
            let number = meaning.cluster.port;
            same && meaning.hash == bind::hash(destination, &known.service, number, workload, index)
        })
    }
}

/// A host of both.
#[derive(Debug)]
pub(super) struct SharedHost {
    pub(super) written: Arc<str>,
    pub(super) lower: Arc<str>,
}

/// What was found under a name.
#[derive(Debug)]
struct Known {
    named: Arc<ServiceFacts>,
    service: Arc<ServiceFacts>,
    /// Another namespace's service has the same host and comes first.
    apart: bool,
}

impl Share {
    /// Notes the clusters that its rules name.
    pub(super) fn want(&self, instance: usize, clusters: &mut WantedClusters) {
        self.named.want(instance, clusters);
    }
}

fn written(draft: &VirtualServiceDraft) -> impl Iterator<Item = Written<'_>> {
    bind::destinations(draft).map(|(route, destination)| (&route.object, destination))
}

/// All that shares are made of besides VirtualServices and servers; settings stay as they are while there is a memo.
#[derive(Debug)]
struct Ground {
    services: Arc<Registry>,
    rules: Table<DestinationRule>,
    taken: BTreeSet<u16>,
}

/// The shares of the run before.
#[derive(Debug, Default)]
pub(super) struct ShareMemo {
    ground: Option<Ground>,
    /// Is that the same as in the run before?
    firm: bool,
    known: BTreeMap<(RouteTableName, usize), ServerShares>,
    asked: BTreeMap<(RouteTableName, usize), ServerShares>,
}

impl ShareMemo {
    /// Are services, rules and the process's ports the same as in the run before?
    pub(super) fn is_firm(&self) -> bool {
        self.firm
    }

    /// Begins a run.
    pub(super) fn begin(&mut self, index: &Index<'_>) {
        let rules = index.snapshot.destination_rules();
        self.firm = self.ground.as_ref().is_some_and(|ground| {
            ground.services.same(&index.services) && ground.rules.same(rules) && ground.taken == index.taken
        });
        if !self.firm {
            let (services, taken) = (Arc::clone(&index.services), index.taken.clone());
            self.ground = Some(Ground { services, rules: rules.clone(), taken });
        }
    }

    /// Those of a server, by its place in a table. To be given [back](ShareMemo::put).
    pub(super) fn take(
        &mut self,
        (table, place): (&RouteTableName, usize),
        (instance, server, https): (usize, &ServerPlan, bool),
    ) -> ServerShares {
        let known = self.known.remove(&(table.clone(), place));
        let firm = self.firm;
        match known.filter(|known| known.facts.are_of(instance, server, https)) {
            Some(known) => ServerShares { firm, ..known },
            None => ServerShares { facts: Facts::of(instance, server, https), firm, shares: Memo::default() },
        }
    }

    pub(super) fn put(&mut self, (table, place): (&RouteTableName, usize), mut shares: ServerShares) {
        shares.shares.turn();
        self.asked.insert((table.clone(), place), shares);
    }

    /// Ends a run.
    pub(super) fn turn(&mut self) {
        self.known = std::mem::take(&mut self.asked);
    }
}

/// What is written of a server, as far as shares depend on it.
#[derive(Debug)]
struct Facts {
    instance: usize,
    gateway: String,
    declared: Port,
    https: bool,
    hosts: Vec<ServerHost>,
}

impl Facts {
    fn of(instance: usize, server: &ServerPlan, https: bool) -> Facts {
        let (gateway, hosts) = (server.gateway_name.clone(), server.hosts.clone());
        Facts { instance, gateway, declared: server.declared, https, hosts }
    }

    fn are_of(&self, instance: usize, server: &ServerPlan, https: bool) -> bool {
        (self.instance, self.declared, self.https) == (instance, server.declared, https)
            && self.gateway == server.gateway_name
            && self.hosts == server.hosts
    }
}

/// The shares of one server.
#[derive(Debug)]
pub(super) struct ServerShares {
    facts: Facts,
    firm: bool,
    shares: Memo<ObjectKey, Arc<VirtualServiceDraft>, Arc<Share>>,
}

impl ServerShares {
    /// What a VirtualService is on the server, which is the one that these were taken for; `None`: they share no host. That is
    /// not remembered: of thousands of both most share none.
    pub(super) fn share(
        &mut self,
        server: &ServerPlan,
        draft: &Arc<VirtualServiceDraft>,
        index: &Index<'_>,
    ) -> Option<Arc<Share>> {
        let (firm, instance, https) = (self.firm, self.facts.instance, self.facts.https);
        let holds = |known: &Arc<Share>| firm || known.footing.holds(written(draft), instance, index);
        let same = |before: &Arc<VirtualServiceDraft>, known: &_| before.same(draft) && holds(known);
        if let Some(known) = self.shares.known(&draft.object.key, same) {
            return Some(Arc::clone(known));
        }
        let hosts = shared_hosts(server, draft);
        let workload = index.settings.gateways.get(instance).filter(|_| !hosts.is_empty())?;
        let (key, new) = (draft.object.key.clone(), Arc::clone(draft));
        // What was known does not hold.
        let share = self.shares.renew(
            key,
            new,
            |_| false,
            |_, before| Arc::new(share((workload, server, https), (draft, hosts), index, before)),
        );
        Some(share)
    }
}

fn share(
    (workload, server, https): (&GatewayInstance, &ServerPlan, bool),
    (draft, hosts): (&VirtualServiceDraft, Vec<&str>),
    index: &Index<'_>,
    before: Option<(&Arc<VirtualServiceDraft>, &Arc<Share>)>,
) -> Share {
    let targets = bind::targets(draft, (server.declared, workload), index);
    let footing = Footing::of(&targets, written(draft), index);
    let site = Site {
        gateway: &server.gateway_name,
        declared: server.declared,
        https,
        instance: workload,
        namespace: &index.settings.workload_namespace,
    };
    let bound = match before {
        Some((known, share))
            if std::ptr::eq(&raw const **known, draft) && share.footing.meanings == footing.meanings =>
        {
            Arc::clone(&share.bound)
        }
        before => keep(before.map(|(_, share)| &share.bound), bind::bind(draft, &footing.meanings, site)),
    };
    let mut problems: Vec<Problem> = draft.problems.iter().chain(&bound.problems).cloned().collect();
    let mut named = Named::default();
    let mut targets: Vec<_> = targets.into_iter().map(Some).collect();
    for target in bound.targets.iter().filter_map(|at| targets.get_mut(*at)?.take()) {
        named.add(target, &mut problems);
    }
    let shared = |host: &str| SharedHost { written: host.into(), lower: host.to_ascii_lowercase().into() };
    Share { hosts: hosts.into_iter().map(shared).collect(), bound, problems, named, footing }
}

#[cfg(test)]
#[path = "shares_tests.rs"]
mod tests;
