//! Servers whose connections are handed on without being looked into: where to.

use std::collections::BTreeMap;
use std::sync::Arc;

use limen_ir::atoms::{HostPattern, Millis};
use limen_ir::cluster::{ClusterKey, DEFAULT_IDLE_TIMEOUT_MS};
use limen_ir::listener::Passthrough;
use limen_ir::origin::Origin;
use limen_ir::tcp::{TcpDestination, TcpRoute};
use limen_resources::istio::TcpPool;
use limen_resources::{AnyObject, ObjectKey, Problem};

use super::owners::{self, Names};
use super::{Merger, NamedBy, shared_hosts};
use crate::bind::{self, Site, Target};
use crate::draft::{ConnectionMatch, ConnectionRouteDraft, VirtualServiceDraft};
use crate::index::origin;
use crate::istio::destination_rule::Merged;
use crate::istio::gateway::{ChainPlan, PassthroughPlan, ServerPlan};
use crate::istio::names;
use crate::messages::{At, gateway as gateway_messages, ingress as ownership, route as messages};
use crate::{GatewayInstance, Settings};

/// The protocols of which Istio's proxies offer one to each other.
const MESH_ALPN: [&str; 5] = ["istio", "istio-peer-exchange", "istio-http/1.0", "istio-http/1.1", "istio-h2"];

/// The routes of servers.
#[derive(Default)]
pub(crate) struct Connections {
    routes: BTreeMap<ServerId, TcpRoute>,
    passthrough: BTreeMap<ServerId, Vec<Passthrough>>,
}

/// Gateway of this process, Gateway, field of the server.
type ServerId = (usize, ObjectKey, String);

fn id(instance: usize, server: &ServerPlan) -> ServerId {
    (instance, server.object.key().clone(), server.field.clone())
}

impl Connections {
    /// The route of a server, if it has one.
    pub(crate) fn take(&mut self, instance: usize, server: &ServerPlan) -> Option<TcpRoute> {
        self.routes.remove(&id(instance, server))
    }

    /// What a server hands on by server name.
    pub(crate) fn take_passthrough(&mut self, instance: usize, server: &ServerPlan) -> Vec<Passthrough> {
        self.passthrough.remove(&id(instance, server)).unwrap_or_default()
    }
}

/// Where a server is that connections come to.
fn site<'s>(server: &'s ServerPlan, settings: &'s Settings, workload: &'s GatewayInstance) -> Site<'s> {
    Site {
        gateway: &server.gateway_name,
        declared: server.declared,
        https: false,
        instance: workload,
        namespace: &settings.workload_namespace,
    }
}

impl<'a> Merger<'a, '_, '_, '_> {
    /// The VirtualServices that share a host with a server.
    fn sharing(&self, server: &ServerPlan) -> Vec<&'a Arc<VirtualServiceDraft>> {
        let drafts = self.by_gateway.get(&*server.gateway_name).map(|attached| attached.candidates(server));
        let mut drafts = drafts.unwrap_or_default();
        drafts.retain(|draft| !shared_hosts(server, draft).is_empty());
        drafts
    }

    /// Notes under which hosts a VirtualService is served.
    fn attach(&mut self, server: &'a ServerPlan, draft: &'a VirtualServiceDraft) {
        let hosts = shared_hosts(server, draft).into_iter().map(str::to_ascii_lowercase);
        self.outcomes.of(draft, &server.gateway_name).hosts.extend(hosts);
    }

    /// Notes that what a VirtualService wants is another's.
    fn lose(&mut self, server: &'a ServerPlan, draft: &'a VirtualServiceDraft, why: String, said: Problem) {
        self.report.problem(said);
        self.outcomes.of(draft, &server.gateway_name).lost.insert(why);
    }

    /// Finds the route of a server for all connections: the first that is open, of the VirtualService whose the port is.
    pub(super) fn tcp(&mut self, instance: usize, server: &'a ServerPlan) {
        let settings = self.index.settings;
        let Some(workload) = settings.gateways.get(instance) else { return };
        let site = site(server, settings, workload);
        let drafts = self.sharing(server);
        let route_of = |draft: &'a VirtualServiceDraft| draft.tcp.iter().find(|route| takes(route, site));
        let wanting = drafts.iter().copied().filter(|draft| route_of(draft).is_some());
        let owner = owners::owner(server, wanting, &self.ranks);
        let mut found: Option<String> = None;
        for draft in drafts {
            let other = owner.filter(|owner| owner.namespace != draft.object.key.namespace);
            match (route_of(draft), other, &found) {
                (Some(route), Some(owner), _) => {
                    let port = server.declared.get();
                    let said = ownership::owned_port(At::new(&draft.object, &route.field), port, owner);
                    self.lose(server, draft, format!("port {port} is {owner}'s"), said);
                }
                (Some(route), None, None) => {
                    self.report.problems(&draft.problems);
                    let made = self.connection_route(instance, draft, route, site);
                    self.routing.connections.routes.insert(id(instance, server), made);
                    self.attach(server, draft);
                    found = Some(format!("{} {}", draft.object.key, route.field));
                }
                (Some(route), None, Some(first)) => {
                    let at = At::new(&draft.object, &route.field);
                    self.report.problem(messages::one_per_port(at, server.declared.get(), first));
                    self.outcomes.of(draft, &server.gateway_name).idle = true;
                }
                (None, ..) => {
                    self.outcomes.of(draft, &server.gateway_name).idle = true;
                }
            }
        }
        if found.is_none() {
            let what = "nothing listens for it";
            self.report.problem(gateway_messages::no_connection_route(server.at(), "tcp", what));
        }
    }

    /// Who wants the connections for each server name of a port, undecrypted or not.
    pub(super) fn names(
        &self,
        instance: usize,
        (passthrough, chains): (&'a [PassthroughPlan], &'a [ChainPlan]),
    ) -> Names<'a> {
        let (settings, mut names) = (self.index.settings, Names::default());
        let Some(workload) = settings.gateways.get(instance) else { return names };
        // Without other namespaces nobody takes anything, nor where all is decrypted.
        if self.ranks.is_empty() || passthrough.is_empty() {
            return names;
        }
        for server in passthrough.iter().filter(|plan| !plan.auto).map(|plan| &plan.server) {
            let site = site(server, settings, workload);
            for draft in self.sharing(server) {
                let blocks = draft.tls.iter().flat_map(|route| &route.matches);
                let wanted =
                    blocks.filter(|block| bind::open(&block.gate, site)).flat_map(|block| &block.sni_hosts);
                wanted.for_each(|name| names.claim(name, server, (draft, &self.ranks), true));
            }
        }
        for server in chains.iter().map(|chain| &chain.server) {
            for draft in self.sharing(server) {
                let hosts = shared_hosts(server, draft).into_iter();
                hosts.for_each(|host| names.claim(host, server, (draft, &self.ranks), false));
            }
        }
        names
    }

    /// Finds what a server hands on undecrypted: every open match block of every tls route, for the names that it asks
    /// for, which need not be the server's. `taken`: names of the port that are another's.
    pub(super) fn passthrough(
        &mut self,
        instance: usize,
        server: &'a ServerPlan,
        taken: &mut BTreeMap<HostPattern, String>,
    ) {
        let settings = self.index.settings;
        let Some(workload) = settings.gateways.get(instance) else { return };
        let site = site(server, settings, workload);
        let mut made = Vec::new();
        for draft in self.sharing(server) {
            let mut any = false;
            for route in &draft.tls {
                for block in route.matches.iter().filter(|block| bind::open(&block.gate, site)) {
                    let server_names = self.own_names(server, draft, block);
                    if server_names.is_empty() {
                        continue;
                    }
                    let at = At::new(&draft.object, &block.field);
                    let other = server_names.iter().find_map(|name| taken.get_key_value(name));
                    if let Some((name, other)) = other {
                        self.report.problem(messages::name_is_taken(at, &name.to_string(), other));
                        continue;
                    }
                    let title = format!("{} {}", draft.object.key, block.field);
                    taken.extend(server_names.iter().map(|name| (name.clone(), title.clone())));
                    let route = self.connection_route(instance, draft, route, site);
                    made.push(Passthrough { server_names, alpn: Vec::new(), route });
                    any = true;
                }
            }
            if any {
                self.report.problems(&draft.problems);
                self.attach(server, draft);
            } else {
                self.outcomes.of(draft, &server.gateway_name).idle = true;
            }
        }
        if made.is_empty() {
            let what = "connections for its hosts are closed";
            self.report.problem(gateway_messages::no_connection_route(server.at(), "tls", what));
        }
        self.routing.connections.passthrough.insert(id(instance, server), made);
    }

    /// The names of a match block without those that are a VirtualService's of another namespace, of which it says so.
    fn own_names(
        &mut self,
        server: &'a ServerPlan,
        draft: &'a VirtualServiceDraft,
        block: &ConnectionMatch,
    ) -> Vec<HostPattern> {
        let mut own = Vec::with_capacity(block.sni_hosts.len());
        for name in &block.sni_hosts {
            match self.names.other(draft, name) {
                None => own.push(HostPattern::istio(name)),
                Some(owner) => {
                    let said = ownership::owned_host(At::new(&draft.object, &block.field), name, owner);
                    self.lose(server, draft, format!("{name} is {owner}'s"), said);
                }
            }
        }
        own
    }

    /// Hands on what names a cluster by server name: any port and any subset of every service of the mesh that is within
    /// the server's hosts.
    pub(super) fn auto_passthrough(&mut self, instance: usize, server: &'a ServerPlan) {
        let settings = self.index.settings;
        let Some(workload) = settings.gateways.get(instance) else { return };
        let mut made = Vec::new();
        for service in self.index.services.all(&settings.workload_namespace) {
            // A wildcard is no name that a client could ask for.
            let named = !service.external && !service.host.starts_with('*');
            if !named || !server.hosts.iter().any(|host| names::within(&service.host, &host.name)) {
                continue;
            }
            let rules = self.index.rules.find(&service.host, &service.namespace, &workload.labels);
            let pool = rules.and_then(Merged::tcp_pool);
            let subsets = rules.into_iter().flat_map(Merged::subsets).map(|(_, _, subset)| &*subset.name);
            let subsets: Vec<&str> = std::iter::once("").chain(subsets).collect();
            for port in service.ports.iter().filter(|port| port.protocol.is_some()) {
                for subset in &subsets {
                    let cluster = ClusterKey::new(port.number, subset, &service.host);
                    let cluster = cluster.with(|name| name.by_server_name = true);
                    let destination = TcpDestination { cluster: cluster.clone(), weight: 1 };
                    made.push(Passthrough {
                        server_names: vec![HostPattern::Exact(cluster.to_string())],
                        alpn: MESH_ALPN.map(str::to_owned).into(),
                        route: timed(pool, vec![destination], server.origin()),
                    });
                    let by = NamedBy::other(server.object.clone(), server.field.clone());
                    self.routing.wanted.add(cluster, Arc::clone(service), instance, by);
                }
            }
        }
        if made.is_empty() {
            self.report.problem(gateway_messages::no_service_within(server.at()));
        }
        self.routing.connections.passthrough.insert(id(instance, server), made);
    }

    /// A route with the clusters that its destinations mean.
    fn connection_route(
        &mut self,
        instance: usize,
        draft: &VirtualServiceDraft,
        route: &ConnectionRouteDraft,
        site: Site<'_>,
    ) -> TcpRoute {
        self.report.problems(&route.problems);
        let mut pool = None;
        let mut destinations = Vec::with_capacity(route.destinations.len());
        let object = AnyObject::VirtualService(Arc::clone(&draft.object));
        for (at, destination) in route.destinations.iter().enumerate() {
            let target = bind::target(&object, destination, (site.declared, site.instance), self.index);
            if at == 0 {
                pool = self.tcp_pool(&target, site);
            }
            destinations.push(TcpDestination {
                cluster: ClusterKey::clone(&target.meaning.cluster),
                weight: destination.weight,
            });
            self.want(target, instance);
        }
        timed(pool, destinations, origin(&draft.object.key, route.field.clone()))
    }

    /// The times of connections are those that the DestinationRule of the first destination says for the whole service,
    /// whatever it says for the port or the subset.
    fn tcp_pool(&self, target: &Target, site: Site<'_>) -> Option<&'a TcpPool> {
        let service = target.service.as_ref()?;
        let rules = self.index.rules.find(&service.host, &service.namespace, &site.instance.labels)?;
        rules.tcp_pool()
    }
}

/// A route whose connections last as `pool` says.
pub(crate) fn timed(pool: Option<&TcpPool>, destinations: Vec<TcpDestination>, origin: Origin) -> TcpRoute {
    // 0 turns the idle timeout off.
    let idle = pool.and_then(|pool| pool.idle_timeout).map(|idle| idle.millis());
    TcpRoute {
        destinations,
        idle_timeout: Millis::new(idle.unwrap_or(DEFAULT_IDLE_TIMEOUT_MS)),
        max_duration: pool.and_then(|pool| Millis::new(pool.max_connection_duration?.millis())),
        origin,
    }
}

/// Is any of its match blocks open, or has it none?
fn takes(route: &ConnectionRouteDraft, site: Site<'_>) -> bool {
    route.matches.is_empty() || route.matches.iter().any(|block| bind::open(&block.gate, site))
}
