//! The services that the gateway sees, by host name: Kubernetes Services and ServiceEntries.

use std::collections::BTreeMap;
use std::sync::Arc;

use limen_ir::cluster::{ClusterKey, Protocol};
use limen_ir::origin::Origin;
use limen_resources::core::{Service, ServicePort};
use limen_resources::gateway_api::XBackend;
use limen_resources::istio::{Resolution, ServiceEntry};
use limen_resources::{Kind, Object, ObjectKey, Problem, Snapshot, Table};

use crate::gateway_api::x_backends;
use crate::index::{oldest_first, origin};
use crate::istio::{names, service_entry};
use crate::lookup::Lookup;
use crate::memo::Memo;
use crate::merge::NamedBy;
use crate::mesh::export_to;
use crate::messages::{At, destination as messages};
use crate::settings::Settings;

/// A service, whatever kind of object made it.
#[derive(Debug)]
pub(crate) struct ServiceFacts {
    /// Lower case.
    pub(crate) host: String,
    pub(crate) namespace: String,
    /// What metrics call it.
    pub(crate) name: String,
    pub(crate) ports: Vec<PortFacts>,
    pub(crate) source: ServiceSource,
    pub(crate) origin: Origin,
    /// It stands outside of the mesh: nothing of the mesh is expected of it.
    pub(crate) external: bool,
    /// Of an ExternalName Service: what it is if no service has the name that it stands for.
    pub(crate) outside: Option<Arc<ServiceFacts>>,
}

/// A port of a service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PortFacts {
    pub(crate) number: u16,
    pub(crate) name: String,
    /// What it speaks; `None`: UDP, a port for datagrams only.
    pub(crate) protocol: Option<Protocol>,
}

/// What made a service.
#[derive(Debug)]
pub(crate) enum ServiceSource {
    Kubernetes(Arc<Object<Service>>),
    /// All of one host and namespace, oldest first, at least one.
    Entries(Vec<Arc<Object<ServiceEntry>>>),
    /// An ExternalName Service, as the name outside that it stands for: it has whatever port is asked for.
    Outside(Arc<Object<Service>>),
    /// Only `--backend` names it: it has whatever port is asked for.
    Backend,
    /// An address that an object names: it has whatever port is asked for.
    Address(NamedBy),
    /// What no cluster knows, by a name that DNS does.
    XBackend(Arc<Object<XBackend>>),
}

impl ServiceFacts {
    /// An address, lower case, that an object names; `origin` is that object.
    pub(crate) fn at_address(host: String, namespace: &str, by: NamedBy, origin: Origin) -> ServiceFacts {
        ServiceFacts {
            name: host.clone(),
            host,
            namespace: namespace.to_owned(),
            ports: Vec::new(),
            source: ServiceSource::Address(by),
            origin,
            external: true,
            outside: None,
        }
    }

    /// As whom it is spoken to.
    pub(crate) fn spoken_to(&self) -> &str {
        match &self.source {
            ServiceSource::XBackend(object) => x_backends::hostname(&object.spec),
            _ => &self.host,
        }
    }

    /// The port with this number, for requests and connections.
    pub(crate) fn port(&self, number: u16) -> Option<PortFacts> {
        self.port_of(number, Some(Protocol::Undetected))
    }

    /// The port with this number, for datagrams.
    pub(crate) fn datagram_port(&self, number: u16) -> Option<PortFacts> {
        self.port_of(number, None)
    }

    /// `unsaid`: what it speaks where nothing says which ports there are.
    fn port_of(&self, number: u16, unsaid: Option<Protocol>) -> Option<PortFacts> {
        let fits = |port: &&PortFacts| port.number == number && port.protocol.is_some() == unsaid.is_some();
        let any = !matches!(
            self.source,
            ServiceSource::Kubernetes(_) | ServiceSource::Entries(_) | ServiceSource::XBackend(_)
        );
        let unsaid = || PortFacts { number, name: String::new(), protocol: unsaid };
        self.ports.iter().find(fits).cloned().or_else(|| any.then(unsaid))
    }

    /// Is its one endpoint whatever address DNS names first?
    pub(crate) fn first_address_only(&self) -> bool {
        let ServiceSource::Entries(entries) = &self.source else { return false };
        entries.first().is_some_and(|entry| entry.spec.resolution == Resolution::DnsRoundRobin)
    }

    /// What `--backend` calls it; empty: it cannot.
    pub(crate) fn flag_name(&self) -> &str {
        match &self.source {
            ServiceSource::Outside(service) => &service.key.name,
            ServiceSource::XBackend(_) => "",
            _ => &self.name,
        }
    }

    /// Its ports for people.
    pub(crate) fn list_ports(&self) -> String {
        let ports = self.ports.iter().filter(|port| port.protocol.is_some());
        ports.map(|port| port.number.to_string()).collect::<Vec<_>>().join(", ")
    }
}

/// All that names services.
type Named = (Table<Service>, Table<ServiceEntry>, Table<XBackend>);

/// ServiceEntries of one host and namespace, oldest first.
type Entries = Vec<Arc<Object<ServiceEntry>>>;

/// What was made of Services and of groups of ServiceEntries, by host and namespace.
#[derive(Debug, Default)]
pub(crate) struct ServiceMemo {
    services: Memo<ObjectKey, Arc<Object<Service>>, Arc<ServiceFacts>>,
    entries: Memo<(String, String), Entries, Arc<ServiceFacts>>,
    x_backends: Memo<ObjectKey, Arc<Object<XBackend>>, Arc<ServiceFacts>>,
    backends: Memo<(String, String), Vec<Arc<()>>, Arc<ServiceFacts>>,
    last: Option<(Named, Arc<Registry>)>,
}

impl ServiceMemo {
    /// The services that there are; the former value if none has changed.
    pub(crate) fn registry(&mut self, snapshot: &Snapshot, settings: &Settings) -> Arc<Registry> {
        let named = (snapshot.services(), snapshot.service_entries(), snapshot.x_backends());
        match &self.last {
            Some(((services, entries, x_backends), registry))
                if services.same(named.0) && entries.same(named.1) && x_backends.same(named.2) =>
            {
                return Arc::clone(registry);
            }
            _ => {}
        }
        let registry = Arc::new(Registry::new(snapshot, settings, self));
        self.services.turn();
        self.entries.turn();
        self.x_backends.turn();
        self.backends.turn();
        let named = (named.0.clone(), named.1.clone(), named.2.clone());
        self.last = Some((named, Arc::clone(&registry)));
        registry
    }
}

/// What a host means.
pub(crate) struct Found<'r> {
    /// The service of that name.
    pub(crate) named: &'r Arc<ServiceFacts>,
    /// Where requests go: the same, unless that is an ExternalName Service.
    pub(crate) service: &'r Arc<ServiceFacts>,
}

/// Services by host. Those of one host: Kubernetes' first, then the oldest.
#[derive(Debug)]
pub(crate) struct Registry {
    /// What is wrong with services as they stand beside one another.
    pub(crate) problems: Vec<Problem>,
    hosts: Lookup<String, Vec<Arc<ServiceFacts>>>,
    /// The oldest ServiceEntry for the host of a Kubernetes Service in its namespace: it only says more of it.
    decorations: BTreeMap<(String, String), Arc<Object<ServiceEntry>>>,
    x_backends: BTreeMap<ObjectKey, Arc<ServiceFacts>>,
}

impl Registry {
    fn new(snapshot: &Snapshot, settings: &Settings, memo: &mut ServiceMemo) -> Registry {
        let mut hosts: Lookup<String, Vec<Arc<ServiceFacts>>> = Lookup::default();
        for service in snapshot.services().iter().filter(|service| service_visible(service, settings)) {
            let facts = memo.services.get(service.key.clone(), Arc::clone(service), |service| {
                Arc::new(kubernetes(service, &settings.cluster_domain))
            });
            hosts.get_or_insert_with(facts.host.clone(), Vec::new).push(facts);
        }
        let mut groups: BTreeMap<(String, String), Entries> = BTreeMap::new();
        let mut order = Vec::new();
        let mut protocols = Protocols::default();
        for entry in oldest_first(snapshot.service_entries()) {
            let own = &*entry.key.namespace;
            if !names::exported(
                export_to(&entry.spec.export_to, &settings.mesh.service_export_to).iter().map(String::as_str),
                own,
                &settings.workload_namespace,
            ) {
                continue;
            }
            protocols.add(entry);
            for host in &entry.spec.hosts {
                let key = (host.to_ascii_lowercase(), own.to_owned());
                let group = groups.entry(key.clone()).or_default();
                if group.is_empty() {
                    order.push(key);
                }
                group.push(Arc::clone(entry));
            }
        }
        let mut decorations = BTreeMap::new();
        for key in order {
            let Some(group) = groups.remove(&key) else { continue };
            let services = hosts.get_or_insert_with(key.0.clone(), Vec::new);
            // An entry for the name of a Kubernetes Service only decorates it.
            if services.iter().any(|other| matches!(other.source, ServiceSource::Kubernetes(_))) {
                decorations.extend(group.into_iter().next().map(|entry| (key, entry)));
                continue;
            }
            services.push(memo.entries.get(key.clone(), group, |group| {
                Arc::new(service_entry::facts(key.0.clone(), key.1.clone(), group))
            }));
        }
        for backend in &settings.backends {
            let host = format!("{}.{}.svc.{}", backend.service, backend.namespace, settings.cluster_domain);
            let services = hosts.get_or_insert_with(host.clone(), Vec::new);
            if services.is_empty() {
                let key = (backend.service.clone(), backend.namespace.clone());
                services.push(memo.backends.get(key, Vec::new(), |_| Arc::new(by_flag(host, backend))));
            }
        }
        let x_backends = snapshot.x_backends().iter().map(|object| {
            let make = |object: &Arc<Object<XBackend>>| Arc::new(x_backends::facts(object));
            (object.key.clone(), memo.x_backends.get(object.key.clone(), Arc::clone(object), make))
        });
        let x_backends = x_backends.collect();
        Registry { hosts, decorations, x_backends, problems: protocols.problems }
    }

    /// The XBackend of this name.
    pub(crate) fn x_backend(&self, namespace: &str, name: &str) -> Option<&Arc<ServiceFacts>> {
        self.x_backends.get(&ObjectKey::new(Kind::XBackend, namespace, name))
    }

    /// The service that `host` means in an object of `namespace`: the one of that namespace, else the first. An
    /// ExternalName Service means the one that it stands for.
    pub(crate) fn find(&self, host: &str, namespace: &str) -> Option<Found<'_>> {
        let named = self.named(host, namespace)?;
        let service = self.concrete(named, namespace, 4)?;
        Some(Found { named, service })
    }

    /// Names that ServiceEntries say the service's certificate carries.
    pub(crate) fn names_of_certificate<'r>(&'r self, service: &'r ServiceFacts) -> &'r [String] {
        let entry = match &service.source {
            ServiceSource::Entries(entries) => entries.first(),
            ServiceSource::Kubernetes(_) => {
                self.decorations.get(&(service.host.clone(), service.namespace.clone()))
            }
            ServiceSource::Outside(_)
            | ServiceSource::Backend
            | ServiceSource::Address(_)
            | ServiceSource::XBackend(_) => None,
        };
        entry.map_or(&[][..], |entry| &entry.spec.subject_alt_names)
    }

    /// The cluster of a service's port. Where services of several namespaces have one host, the first of them has the plain
    /// name, and the others, which only objects of their namespaces mean, names of their own.
    pub(crate) fn cluster(&self, service: &Arc<ServiceFacts>, port: u16, subset: &str) -> ClusterKey {
        let key = ClusterKey::new(port, subset, &service.host);
        match self.is_apart(service) {
            true => key.with(|name| name.namespace.clone_from(&service.namespace)),
            false => key,
        }
    }

    /// Has a service of another namespace the same host, and comes first?
    pub(crate) fn is_apart(&self, service: &Arc<ServiceFacts>) -> bool {
        let first = self.hosts.get(&service.host).and_then(|services| services.first());
        first.is_some_and(|first| !Arc::ptr_eq(first, service))
    }

    fn named(&self, host: &str, namespace: &str) -> Option<&Arc<ServiceFacts>> {
        let services = self.hosts.get(host)?;
        services.iter().find(|facts| facts.namespace == namespace).or_else(|| services.first())
    }

    /// `depth` bounds how many ExternalName Services may stand for one another.
    fn concrete<'r>(
        &'r self,
        named: &'r Arc<ServiceFacts>,
        namespace: &str,
        depth: usize,
    ) -> Option<&'r Arc<ServiceFacts>> {
        let Some(target) = external_name(named) else { return Some(named) };
        match self.named(&target, namespace) {
            Some(next) => self.concrete(next, namespace, depth.checked_sub(1)?),
            None => named.outside.as_ref(),
        }
    }

    /// The services that hosts mean in `namespace`, in the order of their hosts; an ExternalName Service is itself.
    pub(crate) fn all(&self, namespace: &str) -> Vec<&Arc<ServiceFacts>> {
        let hosts = self.hosts.values().filter_map(|services| services.first());
        let mut all: Vec<_> = hosts.filter_map(|facts| self.named(&facts.host, namespace)).collect();
        all.sort_by(|a, b| a.host.cmp(&b.host));
        all
    }

    /// Is there a service of this name?
    pub(crate) fn knows(&self, host: &str) -> bool {
        self.hosts.get(host).is_some()
    }
}

/// What the ports of hosts are said to speak, to find who says otherwise.
#[derive(Default)]
struct Protocols<'a> {
    first: BTreeMap<(String, u16), (Option<Protocol>, &'a ObjectKey)>,
    problems: Vec<Problem>,
}

impl<'a> Protocols<'a> {
    fn add(&mut self, entry: &'a Arc<Object<ServiceEntry>>) {
        for (at, port) in entry.spec.ports.iter().enumerate() {
            let own = service_entry::protocol(&port.protocol.to_ascii_lowercase());
            for host in &entry.spec.hosts {
                let key = (host.to_ascii_lowercase(), port.number);
                let (said, by) = self.first.entry(key).or_insert((own, &entry.key));
                if *said != own {
                    let field = format!("spec.ports[{at}].protocol");
                    let at = At::new(entry, &field);
                    self.problems.push(messages::conflicting_protocol(at, host, port.number, by));
                }
            }
        }
    }
}

/// The annotation that says who may see a Service.
const EXPORT_TO: &str = "networking.istio.io/exportTo";

fn service_visible(service: &Object<Service>, settings: &Settings) -> bool {
    let (own, reader) = (&*service.key.namespace, &*settings.workload_namespace);
    let Some(written) = service.meta.annotations.get(EXPORT_TO) else {
        return names::exported(settings.mesh.service_export_to.iter().map(String::as_str), own, reader);
    };
    names::exported(written.split(',').map(str::trim).filter(|target| !target.is_empty()), own, reader)
}

fn kubernetes(service: &Arc<Object<Service>>, cluster_domain: &str) -> ServiceFacts {
    let (name, namespace) = (&service.key.name, &service.key.namespace);
    let ports = service.spec.ports.iter().map(|port| PortFacts {
        number: port.port,
        name: port.name.clone(),
        protocol: port_protocol(port),
    });
    let mut facts = ServiceFacts {
        host: format!("{name}.{namespace}.svc.{cluster_domain}").to_ascii_lowercase(),
        namespace: namespace.to_string(),
        name: name.to_string(),
        ports: ports.collect(),
        source: ServiceSource::Kubernetes(Arc::clone(service)),
        origin: origin(&service.key, String::new()),
        external: service.spec.service_type == "ExternalName",
        outside: None,
    };
    facts.outside = outside(&facts, service, cluster_domain).map(Arc::new);
    facts
}

/// The name that an ExternalName Service stands for, lower case.
fn external_name(facts: &ServiceFacts) -> Option<String> {
    match &facts.source {
        ServiceSource::Kubernetes(service) if service.spec.service_type == "ExternalName" => {
            Some(service.spec.external_name.trim_end_matches('.').to_ascii_lowercase())
        }
        _ => None,
    }
}

/// Names of the cluster's own domain are never asked of DNS: what the gateway does not see it does not see so either.
fn outside(
    facts: &ServiceFacts,
    service: &Arc<Object<Service>>,
    cluster_domain: &str,
) -> Option<ServiceFacts> {
    let name = external_name(facts)?;
    let inside = name.strip_suffix(cluster_domain).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'));
    (!inside && !name.is_empty()).then(|| ServiceFacts {
        host: name.clone(),
        namespace: facts.namespace.clone(),
        name,
        ports: facts.ports.clone(),
        source: ServiceSource::Outside(Arc::clone(service)),
        origin: facts.origin.clone(),
        external: true,
        outside: None,
    })
}

fn by_flag(host: String, backend: &crate::settings::BackendOverride) -> ServiceFacts {
    let origin = Origin {
        kind: "--backend",
        namespace: (&*backend.namespace).into(),
        name: (&*backend.service).into(),
        field: Arc::default(),
    };
    ServiceFacts {
        host,
        namespace: backend.namespace.clone(),
        name: backend.service.clone(),
        ports: Vec::new(),
        source: ServiceSource::Backend,
        origin,
        external: false,
        outside: None,
    }
}

/// `appProtocol` counts before the name, and of either the first word. `None`: UDP.
fn port_protocol(port: &ServicePort) -> Option<Protocol> {
    if port.protocol.eq_ignore_ascii_case("UDP") {
        return None;
    }
    let named = if port.app_protocol.is_empty() { &port.name } else { &port.app_protocol };
    let named = named.to_ascii_lowercase();
    let word = match &*named {
        "kubernetes.io/h2c" => "http2",
        "kubernetes.io/ws" => "http",
        "kubernetes.io/wss" => "https",
        name if name.starts_with("grpc-web") => "grpc-web",
        name => name.split('-').next().unwrap_or_default(),
    };
    match service_entry::protocol(word) {
        Some(Protocol::Undetected) if WELL_KNOWN_TCP.contains(&port.port) => Some(Protocol::Tcp),
        protocol => protocol,
    }
}

/// SMTP, DNS, MySQL and MongoDB: on their ports the server may speak first, so nothing is found out.
const WELL_KNOWN_TCP: [u16; 4] = [25, 53, 3306, 27017];
