//! One address that servers share: which of them can stand there together.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

use limen_ir::atoms::{HostPattern, Port};
use limen_ir::origin::Origin;
use limen_ir::route::RouteTableName;
use limen_resources::istio::{Server, TlsMode};

use super::gateway::{ChainPlan, InsidePlan, PassthroughPlan, PlainPlan, PortPlan, ServerPlan, ServesPlan};
use super::server_tls;
use crate::messages::gateway as messages;
use crate::report::Report;

/// What a server speaks.
pub(super) enum Protocol {
    Http,
    Https,
    /// TLS around something else than HTTP.
    Tls,
    /// Plain, and looked at by nobody.
    Tcp,
    /// No connections at all.
    Udp,
}

impl Protocol {
    pub(super) fn named(written: &str) -> Option<Protocol> {
        Some(match &*written.to_ascii_uppercase() {
            "HTTP" | "HTTP2" | "GRPC" | "GRPC-WEB" | "HTTP_PROXY" => Protocol::Http,
            "HTTPS" => Protocol::Https,
            "TLS" => Protocol::Tls,
            // The filters that Istio has for these only count.
            "TCP" | "MONGO" | "MYSQL" | "REDIS" => Protocol::Tcp,
            "UDP" => Protocol::Udp,
            _ => return None,
        })
    }
}

/// What stands on one address so far.
pub(super) struct Slot {
    name: String,
    declared: Port,
    bind: SocketAddr,
    origin: Origin,
    others: Vec<Origin>,
    /// Who came first, for messages.
    first: String,
    holds: Holds,
    /// Names asked for by SNI, and whose they are.
    server_names: BTreeMap<HostPattern, String>,
}

enum Holds {
    /// Nothing, or a server of a protocol that is not served.
    Unserved,
    Plain(PlainPlan),
    Tls {
        chains: Vec<ChainPlan>,
        passthrough: Vec<PassthroughPlan>,
        plain: Option<PlainPlan>,
    },
}

impl Slot {
    /// An empty one that `first` will join.
    pub(super) fn new(first: &ServerPlan, name: String, bind: SocketAddr) -> Slot {
        Slot {
            name,
            declared: first.declared,
            bind,
            origin: first.origin(),
            others: Vec::new(),
            first: first.title(),
            holds: Holds::Unserved,
            server_names: BTreeMap::new(),
        }
    }

    /// Its servers in clear text.
    fn plain(&self) -> Option<&PlainPlan> {
        match &self.holds {
            Holds::Unserved => None,
            Holds::Plain(plain) => Some(plain),
            Holds::Tls { plain, .. } => plain.as_ref(),
        }
    }

    /// Do its servers in clear text share one route table?
    pub(super) fn is_http(&self) -> bool {
        matches!(self.plain(), Some(PlainPlan::Http { .. }))
    }

    /// Why a server may not join. Who stands here came first: older, or first by name.
    pub(super) fn clash(&self, server: &Server, plan: &ServerPlan, protocol: &Protocol) -> Option<String> {
        match (self.plain(), &self.holds, protocol) {
            (Some(PlainPlan::Http { .. }), _, Protocol::Http) | (None, Holds::Unserved, _) => None,
            (Some(PlainPlan::Tcp(first)), _, Protocol::Tcp) => {
                let title = first.title();
                Some(format!("{title}, which comes first, has TCP, which needs a port of its own"))
            }
            // With the first server in clear text beside it TLS is complete.
            (Some(plain), _, _) => {
                Some(format!("{}, which comes first, speaks another protocol", plain.title()))
            }
            (None, _, Protocol::Https | Protocol::Tls) if passes(server) => None,
            (None, _, Protocol::Https | Protocol::Tls) => server_names(plan).into_iter().find_map(|name| {
                let other = self.server_names.get(&name)?;
                Some(format!("{other}, which comes first, has server name `{name}`, too"))
            }),
            (None, _, Protocol::Http | Protocol::Tcp) => {
                let other = self.server_names.get(&HostPattern::Any)?;
                Some(format!("{other}, which comes first, takes whatever comes"))
            }
            (None, _, Protocol::Udp) => None,
        }
    }

    /// Takes a server in that does not clash. Is it served?
    pub(super) fn join(
        &mut self,
        server: &Server,
        plan: ServerPlan,
        protocol: Protocol,
        table: RouteTableName,
        report: &mut Report,
    ) -> bool {
        let origin = plan.origin();
        if origin != self.origin && !matches!(protocol, Protocol::Udp) {
            self.others.push(origin);
        }
        match protocol {
            Protocol::Udp => {
                report.problem(messages::protocol_not_served(plan.at(), &server.port.protocol));
                false
            }
            Protocol::Tcp | Protocol::Http => {
                if matches!(self.holds, Holds::Tls { .. }) {
                    report.problem(messages::beside_tls(plan.at(), plan.declared.get(), &self.first));
                }
                self.join_plain(plan, protocol, table);
                true
            }
            Protocol::Https | Protocol::Tls if passes(server) => {
                let auto = server.tls.as_ref().is_some_and(|tls| tls.mode == TlsMode::AutoPassthrough);
                self.tls().1.push(PassthroughPlan { server: plan, auto });
                true
            }
            Protocol::Https | Protocol::Tls => {
                let name = table.0.clone();
                let server_names = server_names(&plan);
                self.server_names.extend(server_names.iter().map(|name| (name.clone(), plan.title())));
                let tls = server_tls::plan(&plan, server, report);
                let served = tls.is_some();
                let inside = match protocol {
                    Protocol::Https => InsidePlan::Http(table),
                    _ => InsidePlan::Tcp,
                };
                let chain = ChainPlan { name, server_names, tls, inside, server: plan };
                self.tls().0.push(chain);
                served
            }
        }
    }

    fn join_plain(&mut self, plan: ServerPlan, protocol: Protocol, table: RouteTableName) {
        let plain = match &mut self.holds {
            Holds::Plain(PlainPlan::Http { servers, .. })
            | Holds::Tls { plain: Some(PlainPlan::Http { servers, .. }), .. } => return servers.push(plan),
            _ if matches!(protocol, Protocol::Tcp) => PlainPlan::Tcp(plan),
            _ => PlainPlan::Http { table, servers: vec![plan] },
        };
        match &mut self.holds {
            Holds::Tls { plain: beside, .. } => *beside = Some(plain),
            other => *other = Holds::Plain(plain),
        }
    }

    /// What it holds of TLS, which nothing else stands in the way of.
    fn tls(&mut self) -> (&mut Vec<ChainPlan>, &mut Vec<PassthroughPlan>) {
        if !matches!(self.holds, Holds::Tls { .. }) {
            self.holds = Holds::Tls { chains: Vec::new(), passthrough: Vec::new(), plain: None };
        }
        match &mut self.holds {
            Holds::Tls { chains, passthrough, plain: _ } => (chains, passthrough),
            _ => unreachable!("it was made so above"),
        }
    }

    /// As an address to listen on, unless nothing on it is served. `instance`: which gateway of this process it is for.
    pub(super) fn into_plan(self, instance: usize) -> Option<PortPlan> {
        let serves = match self.holds {
            Holds::Unserved => return None,
            Holds::Plain(plain) => ServesPlan::Plain(plain),
            Holds::Tls { chains, passthrough, plain } => ServesPlan::Tls { chains, passthrough, plain },
        };
        let Slot { name, declared, bind, origin, others, .. } = self;
        Some(PortPlan { instance, name, declared, bind, serves, origin, others })
    }
}

/// Is TLS handed on undecrypted?
fn passes(server: &Server) -> bool {
    let passes = |mode| matches!(mode, TlsMode::Passthrough | TlsMode::AutoPassthrough);
    server.tls.as_ref().is_some_and(|tls| passes(tls.mode))
}

/// The names by which SNI finds a server. One that has `*` takes every name, and its other names then ask nothing.
fn server_names(plan: &ServerPlan) -> Vec<HostPattern> {
    let (mut names, mut known) = (Vec::new(), BTreeSet::new());
    for host in &plan.hosts {
        let name = HostPattern::istio(&host.name);
        if name == HostPattern::Any {
            return vec![name];
        }
        if known.insert(name.clone()) {
            names.push(name);
        }
    }
    names
}
