//! Gateways: which servers a gateway workload opens, and which of them share a port.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use limen_ir::atoms::{HostPattern, Port};
use limen_ir::origin::Origin;
use limen_ir::route::RouteTableName;
use limen_resources::istio::{Gateway, Server, TlsMode};
use limen_resources::{AnyObject, Object};

use super::names;
use super::programmed::Programmed;
use super::server_tls::TlsPlan;
use super::slot::{Protocol, Slot};
use crate::index::Index;
use crate::messages::{At, gateway as messages};
use crate::report::Report;
use crate::settings::GatewayInstance;

/// One address to listen on.
#[derive(Debug)]
pub(crate) struct PortPlan {
    /// Which of the gateways in this process it belongs to.
    pub(crate) instance: usize,
    pub(crate) name: String,
    pub(crate) declared: Port,
    pub(crate) bind: SocketAddr,
    pub(crate) serves: ServesPlan,
    pub(crate) origin: Origin,
    /// The servers that came after that one.
    pub(crate) others: Vec<Origin>,
}

/// What is spoken there.
#[derive(Debug)]
pub(crate) enum ServesPlan {
    Plain(PlainPlan),
    Tls {
        chains: Vec<ChainPlan>,
        /// Servers that do not decrypt.
        passthrough: Vec<PassthroughPlan>,
        /// Servers that do not speak TLS.
        plain: Option<PlainPlan>,
    },
}

/// Servers in clear text.
#[derive(Debug)]
pub(crate) enum PlainPlan {
    /// They share a route table.
    Http { table: RouteTableName, servers: Vec<ServerPlan> },
    /// Whatever the clients like.
    Tcp(ServerPlan),
}

impl ServesPlan {
    /// Is a server of protocol GRPC-WEB among those that are not encrypted? Inside TLS, Istio has no such servers.
    pub(crate) fn takes_grpc_web(&self) -> bool {
        let plain = match self {
            ServesPlan::Plain(plain) => Some(plain),
            ServesPlan::Tls { plain, .. } => plain.as_ref(),
        };
        matches!(plain, Some(PlainPlan::Http { servers, .. }) if servers.iter().any(|server| server.grpc_web))
    }
}

impl PlainPlan {
    /// Of the first of them.
    pub(crate) fn title(&self) -> String {
        match self {
            PlainPlan::Http { servers, .. } => servers.first().map(ServerPlan::title).unwrap_or_default(),
            PlainPlan::Tcp(server) => server.title(),
        }
    }
}

/// A TLS server that does not decrypt.
#[derive(Debug)]
pub(crate) struct PassthroughPlan {
    pub(crate) server: ServerPlan,
    /// Server names say where connections go (AUTO_PASSTHROUGH), not VirtualServices.
    pub(crate) auto: bool,
}

/// A TLS server.
#[derive(Debug)]
pub(crate) struct ChainPlan {
    pub(crate) name: String,
    pub(crate) server_names: Vec<HostPattern>,
    /// `None`: nothing is served; handshakes are reset, so that no other server takes its names.
    pub(crate) tls: Option<TlsPlan>,
    pub(crate) inside: InsidePlan,
    pub(crate) server: ServerPlan,
}

/// What is spoken inside TLS.
#[derive(Debug)]
pub(crate) enum InsidePlan {
    /// HTTP with this route table.
    Http(RouteTableName),
    Tcp,
}

/// A server of a Gateway, or of an Ingress.
#[derive(Debug)]
pub(crate) struct ServerPlan {
    pub(crate) object: AnyObject,
    /// `namespace/name`.
    pub(crate) gateway_name: String,
    /// Its place among the servers of the Gateway.
    pub(crate) number: usize,
    pub(crate) field: String,
    pub(crate) port_name: String,
    pub(crate) hosts: Vec<ServerHost>,
    pub(crate) https_redirect: bool,
    /// Its protocol is GRPC-WEB.
    pub(crate) grpc_web: bool,
    pub(crate) declared: Port,
}

/// A host of a server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ServerHost {
    /// The namespace of the VirtualServices that may have it; `None`: any.
    pub(crate) namespace: Option<String>,
    /// Case as written.
    pub(crate) name: String,
}

/// `namespace/name`, or only the name: `./h` and `*/h` are gone.
impl std::fmt::Display for ServerHost {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.namespace {
            Some(namespace) => write!(f, "{namespace}/{}", self.name),
            None => f.write_str(&self.name),
        }
    }
}

impl ServerPlan {
    pub(crate) fn at<'a>(&'a self) -> At<'a> {
        At::any(&self.object, &self.field)
    }

    /// `Gateway namespace/name spec.servers[0]`.
    pub(crate) fn title(&self) -> String {
        format!("{} {}", self.object.key(), self.field)
    }

    pub(crate) fn origin(&self) -> Origin {
        crate::index::origin(self.object.key(), self.field.clone())
    }
}

/// The label of workloads that stand for a Gateway of the Gateway API. They take Gateways of their own namespace only.
const MANAGED: &str = "gateway.networking.k8s.io/gateway-name";

/// The addresses that all gateways of this process listen on, in order, and which servers have one.
pub(crate) fn plan(index: &Index<'_>, report: &mut Report) -> (Vec<PortPlan>, Programmed) {
    let mut planner = Planner {
        index,
        report,
        tables: BTreeSet::new(),
        taken: BTreeMap::new(),
        tls_hosts: BTreeMap::new(),
    };
    let mut ports = Vec::new();
    let mut programmed = Programmed::default();
    for (number, instance) in index.settings.gateways.iter().enumerate() {
        let mut slots = BTreeMap::new();
        planner.tls_hosts.clear();
        let selected =
            index.gateways.iter().filter(|gateway| names::selects(&gateway.spec.selector, &instance.labels));
        let managed = instance.labels.contains_key(MANAGED);
        for gateway in selected {
            if managed && *gateway.key.namespace != *index.settings.workload_namespace {
                programmed.keep_apart(gateway, &instance.name);
                continue;
            }
            programmed.select(gateway, number);
            for at in 0..gateway.spec.servers.len() {
                if !planner.server(gateway, at, instance, &mut slots) {
                    programmed.refuse_number(gateway, at);
                }
            }
        }
        ports.extend(slots.into_values().filter_map(|slot| slot.into_plan(number)));
    }
    ports.sort_by_key(|port| (port.bind, port.declared));
    (ports, programmed)
}

/// Address, bound port (0: any free one) and, where it is 0, the declared port.
type SlotKey = (IpAddr, u16, u16);

/// What a route table is named after.
enum TableKey<'a> {
    /// The real port, and the address if the server names one.
    Plain { port: u16, bind: &'a str },
    /// The server, and the address if it names one.
    Tls { bind: &'a str },
}

struct Planner<'a, 'i> {
    index: &'a Index<'i>,
    report: &'a mut Report,
    /// Names of route tables that are used.
    tables: BTreeSet<RouteTableName>,
    /// Addresses that are used, and by which gateway of this process.
    taken: BTreeMap<SlotKey, String>,
    /// By the port that is listened on and a host in its normal form: of the servers with a `tls` block the latest, with
    /// its address. Like Istio, a server is compared with that one only, if it has the same address.
    tls_hosts: BTreeMap<(u16, String), (IpAddr, String)>,
}

impl Planner<'_, '_> {
    /// Puts a server where it belongs. Is it served?
    fn server(
        &mut self,
        gateway: &Arc<Object<Gateway>>,
        number: usize,
        instance: &GatewayInstance,
        slots: &mut BTreeMap<SlotKey, Slot>,
    ) -> bool {
        let Some(server) = gateway.spec.servers.get(number) else { return false };
        let Some((plan, protocol)) = self.read(gateway, number, server) else { return false };
        let own = server.tls.as_ref().filter(|tls| tls.mode != TlsMode::IstioMutual);
        let completed =
            own.map(|tls| Server { tls: Some(self.index.settings.mesh.tls.complete(tls)), ..server.clone() });
        let server = completed.as_ref().unwrap_or(server);
        let ip = server.bind.parse().unwrap_or(instance.bind);
        let declared = plan.declared.get();
        let bound = self.index.settings.port_map.get(&declared).copied().unwrap_or(declared);
        let (key, shown) = if bound == 0 { ((ip, 0, declared), declared) } else { ((ip, bound, 0), bound) };
        let table = match protocol {
            Protocol::Http | Protocol::Tcp | Protocol::Udp => {
                TableKey::Plain { port: shown, bind: &server.bind }
            }
            Protocol::Https | Protocol::Tls => TableKey::Tls { bind: &server.bind },
        };
        let table = self.table_name(table, &plan, instance);
        if let Some(why) = self.clash(key, &table, instance, slots.get(&key), (server, &plan, &protocol)) {
            self.report.problem(messages::conflict(plan.at(), declared, &why));
            return false;
        }
        self.taken.insert(key, instance.name.clone());
        if server.tls.is_some() {
            let known = |host: &ServerHost| ((shown, host.to_string()), (ip, plan.title()));
            self.tls_hosts.extend(plan.hosts.iter().map(known));
        }
        if !matches!(protocol, Protocol::Tcp | Protocol::Udp) {
            self.tables.insert(table.clone());
        }
        let slot =
            slots.entry(key).or_insert_with(|| Slot::new(&plan, format!("{ip}_{shown}"), (ip, bound).into()));
        slot.join(server, plan, protocol, table, self.report)
    }

    /// Why a server may not have its address and its table.
    fn clash(
        &self,
        key: SlotKey,
        table: &RouteTableName,
        instance: &GatewayInstance,
        slot: Option<&Slot>,
        (server, plan, protocol): (&Server, &ServerPlan, &Protocol),
    ) -> Option<String> {
        if let Some(other) = self.taken.get(&key).filter(|other| **other != instance.name) {
            return Some(format!("gateway {other} of this process listens already"));
        }
        let (ip, bound, declared) = key;
        let port = bound.max(declared);
        let double = plan.hosts.iter().filter(|_| server.tls.is_some()).find_map(|host| {
            let (known, title) = self.tls_hosts.get(&(port, host.to_string()))?;
            (*known == ip).then_some((host, title))
        });
        if let Some((host, other)) = double {
            return Some(format!("{other}, which comes first, has host `{host}` with a tls block, too"));
        }
        if let Some(why) = slot.and_then(|slot| slot.clash(server, plan, protocol)) {
            return Some(why);
        }
        let joins = slot.is_some_and(Slot::is_http);
        let named = !matches!(protocol, Protocol::Tcp | Protocol::Udp);
        (named && !joins && self.tables.contains(table))
            .then(|| format!("another server of this Gateway has the port name `{}`, too", plan.port_name))
    }

    /// The server with its protocol, unless it makes no sense.
    fn read(
        &mut self,
        gateway: &Arc<Object<Gateway>>,
        number: usize,
        server: &Server,
    ) -> Option<(ServerPlan, Protocol)> {
        let field = format!("spec.servers[{number}]");
        let part = |part: &str| format!("{field}{part}");
        let mut refuse = |field: &str, message: String, mend: &str| {
            self.report.problem(messages::invalid(At::new(gateway, field), message, mend));
            None
        };
        if !server.bind.is_empty() && server.bind.parse::<IpAddr>().is_err() {
            self.report.problem(messages::bind_not_served(At::new(gateway, &part(".bind")), &server.bind));
            return None;
        }
        let Some(declared) = Port::new(u32::from(server.port.number)) else {
            return refuse(
                &part(".port.number"),
                "this server is not served: it has no port".to_owned(),
                "write a number from 1 to 65535",
            );
        };
        let Some(protocol) = Protocol::named(&server.port.protocol) else {
            let message = format!("this server is not served: `{}` is no protocol", server.port.protocol);
            return refuse(&part(".port.protocol"), message, "write HTTP or HTTPS");
        };
        let terminates = |mode| !matches!(mode, TlsMode::Passthrough | TlsMode::AutoPassthrough);
        match (&protocol, &server.tls) {
            (Protocol::Https | Protocol::Tls, None) => {
                let message =
                    format!("this server is not served: {} needs a tls block", server.port.protocol);
                return refuse(&field, message, "write tls with mode and credentialName");
            }
            (Protocol::Http | Protocol::Tcp | Protocol::Udp, Some(tls)) if terminates(tls.mode) => {
                let message = format!(
                    "this server is not served: {} is not encrypted, but TLS is asked for",
                    server.port.protocol
                );
                return refuse(&part(".tls.mode"), message, "write protocol HTTPS, or remove the tls block");
            }
            _ => {}
        }
        let plan = ServerPlan {
            object: AnyObject::Gateway(Arc::clone(gateway)),
            gateway_name: format!("{}/{}", gateway.key.namespace, gateway.key.name),
            number,
            field,
            port_name: server.port.name.clone(),
            hosts: server.hosts.iter().map(|host| server_host(host, &gateway.key.namespace)).collect(),
            grpc_web: server.port.protocol.eq_ignore_ascii_case("GRPC-WEB"),
            https_redirect: server.tls.as_ref().is_some_and(|tls| tls.https_redirect),
            declared,
        };
        Some((plan, protocol))
    }

    fn table_name(&self, key: TableKey<'_>, plan: &ServerPlan, instance: &GatewayInstance) -> RouteTableName {
        let gateway = plan.object.key();
        let (mut name, bind) = match key {
            TableKey::Plain { port, bind } => (format!("http.{port}"), bind),
            TableKey::Tls { bind } => {
                let (port, name) = (plan.declared, &plan.port_name);
                (format!("https.{port}.{name}.{}.{}", gateway.name, gateway.namespace), bind)
            }
        };
        if !bind.is_empty() {
            name.push('.');
            name.push_str(bind);
        }
        if self.index.settings.gateways.len() > 1 {
            name.push('@');
            name.push_str(&instance.name);
        }
        RouteTableName(name)
    }
}

/// `./h` is for the Gateway's namespace, `*/h` for any.
fn server_host(written: &str, own: &str) -> ServerHost {
    match written.split_once('/') {
        None | Some(("*", _)) => {
            ServerHost { namespace: None, name: written.strip_prefix("*/").unwrap_or(written).to_owned() }
        }
        Some((".", name)) => ServerHost { namespace: Some(own.to_owned()), name: name.to_owned() },
        Some((namespace, name)) => {
            ServerHost { namespace: Some(namespace.to_owned()), name: name.to_owned() }
        }
    }
}
