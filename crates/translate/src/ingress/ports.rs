//! Ports 80 and 443 of a gateway that serves Ingresses, which Istio's servers may have, too.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;

use limen_ir::atoms::{HostPattern, Port};
use limen_ir::origin::Origin;
use limen_ir::route::RouteTableName;
use limen_resources::core::parse_pem_pair;
use limen_resources::istio::{Server, ServerTls, TlsMode};
use limen_resources::{AnyObject, ObjectKey};

use super::draft::{ANY, TlsDraft};
use super::hosts::{Joined, field_of};
use super::{Attachments, Behaviour, IngressDraft, IngressSite, Ingresses, claims, site_id};
use crate::index::{Index, age, origin};
use crate::istio::gateway::{ChainPlan, InsidePlan, PlainPlan, PortPlan, ServerPlan, ServesPlan};
use crate::istio::server_tls::{self, Credential, CredentialRef, TlsPlan};
use crate::messages::{At, ingress as messages};
use crate::report::Report;
use crate::secrets::holds_credentials;
use crate::settings::GatewayInstance;

/// Puts the Ingresses of one gateway onto its ports.
pub(super) struct Joiner<'j, 'a, 'i> {
    pub(super) index: &'j Index<'i>,
    /// Which gateway of this process.
    pub(super) instance: usize,
    /// Its Ingresses, oldest first.
    pub(super) drafts: &'j [Arc<IngressDraft>],
    /// The VirtualServices by Gateway.
    pub(super) attached: &'j BTreeMap<&'a str, Attachments<'a>>,
    pub(super) report: &'j mut Report,
}

/// A port and what may be added there.
struct Place {
    declared: Port,
    bind: SocketAddr,
    name: String,
    table: RouteTableName,
}

impl Joiner<'_, '_, '_> {
    pub(super) fn serve(&mut self, joined: &Joined, ports: &mut Vec<PortPlan>, ingresses: &mut Ingresses) {
        let Some(workload) = self.index.settings.gateways.get(self.instance) else { return };
        if !joined.asked.is_empty()
            && let Some(place) = self.place(80, workload)
        {
            self.plain(place, joined, ports, ingresses);
        }
        if self.drafts.iter().any(|draft| !draft.tls.is_empty())
            && let Some(place) = self.place(443, workload)
        {
            self.tls(place, joined, ports, ingresses);
        }
    }

    fn place(&self, declared: u16, workload: &GatewayInstance) -> Option<Place> {
        let settings = self.index.settings;
        let bound = settings.port_map.get(&declared).copied().unwrap_or(declared);
        let shown = if bound == 0 { declared } else { bound };
        let apart = if settings.gateways.len() > 1 { format!("@{}", workload.name) } else { String::new() };
        let table = match declared {
            443 => format!("https.{declared}.ingress{apart}"),
            _ => format!("http.{shown}{apart}"),
        };
        Some(Place {
            declared: Port::new(u32::from(declared))?,
            bind: (workload.bind, bound).into(),
            name: format!("{}_{shown}", workload.bind),
            table: RouteTableName(table),
        })
    }

    /// What listens there already, or something new of ours; `None`: another gateway of the process has it.
    fn port<'p>(&mut self, place: &Place, ports: &'p mut Vec<PortPlan>) -> Option<&'p mut PortPlan> {
        let same = |port: &PortPlan| {
            port.bind == place.bind && (place.bind.port() != 0 || port.declared == place.declared)
        };
        let at = match ports.iter().position(same) {
            Some(at) => at,
            None => {
                let first = self.drafts.first()?;
                ports.push(PortPlan {
                    instance: self.instance,
                    name: place.name.clone(),
                    declared: place.declared,
                    bind: place.bind,
                    serves: ServesPlan::Tls { chains: Vec::new(), passthrough: Vec::new(), plain: None },
                    origin: origin(&first.object.key, String::new()),
                    others: Vec::new(),
                });
                ports.len() - 1
            }
        };
        let port = ports.get_mut(at)?;
        if port.instance != self.instance {
            let other = self.index.settings.gateways.get(port.instance).map_or("", |other| &other.name);
            self.refuse(place.declared, &format!("gateway {other} of this process listens there"));
            return None;
        }
        let own = self.drafts.iter().map(|draft| origin(&draft.object.key, String::new()));
        let new: Vec<Origin> = own.filter(|origin| *origin != port.origin).collect();
        port.others.extend(new);
        Some(port)
    }

    /// Says of all Ingresses that a port is not theirs.
    fn refuse(&mut self, port: Port, why: &str) {
        for draft in self.drafts {
            self.report.problem(messages::port_taken(At::new(&draft.object, "spec"), port.get(), why));
        }
    }

    fn plain(&mut self, place: Place, joined: &Joined, ports: &mut Vec<PortPlan>, ingresses: &mut Ingresses) {
        let Some(port) = self.port(&place, ports) else {
            self.drafts.iter().for_each(|draft| ingresses.refuse(draft, "port 80 is another gateway's"));
            return;
        };
        let http = || PlainPlan::Http { table: place.table.clone(), servers: Vec::new() };
        let plain = match &mut port.serves {
            ServesPlan::Plain(plain) => plain,
            ServesPlan::Tls { chains, passthrough, plain: None }
                if chains.is_empty() && passthrough.is_empty() =>
            {
                port.serves = ServesPlan::Plain(http());
                match &mut port.serves {
                    ServesPlan::Plain(plain) => plain,
                    ServesPlan::Tls { .. } => return,
                }
            }
            ServesPlan::Tls { plain, .. } => plain.get_or_insert_with(http),
        };
        let table = match plain {
            PlainPlan::Http { table, servers: _ } => table.clone(),
            PlainPlan::Tcp(server) => {
                let why = format!("{} takes every connection", server.title());
                self.drafts.iter().for_each(|draft| ingresses.refuse(draft, &why));
                return self.refuse(place.declared, &why);
            }
        };
        self.site(port, table, joined, ingresses);
    }

    fn tls(&mut self, place: Place, joined: &Joined, ports: &mut Vec<PortPlan>, ingresses: &mut Ingresses) {
        let Some(port) = self.port(&place, ports) else { return };
        self.site(port, place.table.clone(), joined, ingresses);
        let Some(site) = ingresses.sites.get(&site_id(port)) else { return };
        let lost: BTreeSet<&str> =
            joined.hosts.keys().map(|host| &**host).filter(|host| site.withheld(host)).collect();
        let mut names: BTreeMap<HostPattern, ObjectKey> = BTreeMap::new();
        let mut made = Vec::new();
        for draft in self.drafts {
            for tls in &draft.tls {
                let hosts =
                    tls.hosts.iter().filter(|host| joined.admits(host, draft) && !lost.contains(&***host));
                let hosts: Vec<&String> = hosts.collect();
                made.extend(self.chain(draft, tls, &hosts, (&place, &mut names)));
            }
        }
        if let ServesPlan::Plain(_) = &port.serves {
            let empty = ServesPlan::Tls { chains: Vec::new(), passthrough: Vec::new(), plain: None };
            let ServesPlan::Plain(plain) = std::mem::replace(&mut port.serves, empty) else { return };
            port.serves = ServesPlan::Tls { chains: Vec::new(), passthrough: Vec::new(), plain: Some(plain) };
        }
        let mut displaced = Vec::new();
        if let ServesPlan::Tls { chains, .. } = &mut port.serves {
            let taken = |name: &HostPattern| site.taken.contains_key(&name.to_string());
            for chain in std::mem::take(chains) {
                let (lost, left): (Vec<_>, Vec<_>) = chain.server_names.iter().cloned().partition(taken);
                match (lost.is_empty(), left.is_empty()) {
                    (true, _) => chains.push(chain),
                    (false, true) => displaced.push(chain.server),
                    (false, false) => {
                        chains.push(ChainPlan { server_names: left, ..chain });
                    }
                }
            }
            chains.extend(made);
        }
        ingresses.displaced.extend(displaced);
    }

    /// Of the names that a certificate is for, those that no older one has.
    fn chain(
        &mut self,
        draft: &Arc<IngressDraft>,
        tls: &TlsDraft,
        hosts: &[&String],
        (place, taken): (&Place, &mut BTreeMap<HostPattern, ObjectKey>),
    ) -> Option<ChainPlan> {
        let field = format!("spec.tls[{}]", tls.number);
        let at = At::new(&draft.object, &field);
        let Some(credential) = self.credential(draft, tls) else {
            self.report.problem(messages::no_secret(at));
            return None;
        };
        let mut server_names = Vec::new();
        for host in hosts {
            let name = draft.pattern(host);
            match taken.get(&name) {
                Some(first) if *first != draft.object.key => {
                    self.report.problem(messages::certificate_conflict(at, host, first));
                }
                Some(_) => {}
                None => {
                    taken.insert(name.clone(), draft.object.key.clone());
                    server_names.push(name);
                }
            }
        }
        if server_names.is_empty() {
            return None;
        }
        let key = &draft.object.key;
        let server = ServerPlan {
            object: AnyObject::Ingress(Arc::clone(&draft.object)),
            gateway_name: String::new(),
            number: tls.number,
            field: field.clone(),
            port_name: "https".to_owned(),
            hosts: Vec::new(),
            https_redirect: false,
            grpc_web: false,
            declared: place.declared,
        };
        let name = format!("{}.{}.{}.{}", place.table, tls.number, key.name, key.namespace);
        let plan = self.handshake(&server, credential);
        Some(ChainPlan {
            name,
            server_names,
            tls: plan,
            inside: InsidePlan::Http(place.table.clone()),
            server,
        })
    }

    /// What is shown: the certificate that is named, or else the default one, if there is one.
    fn credential(&mut self, draft: &IngressDraft, tls: &TlsDraft) -> Option<Credential> {
        let named = !tls.secret.is_empty();
        if draft.behaviour == Behaviour::Istio {
            return named.then(|| Credential::Secret(tls.secret.clone()));
        }
        let namespace = &*draft.object.key.namespace;
        let own = || Credential::Of(namespace.to_owned(), tls.secret.clone());
        let Some((of, name)) = &self.index.settings.ingress.default_certificate else {
            return named.then(own);
        };
        if named {
            let Some(why) = unusable(self.index, namespace, &tls.secret) else { return Some(own()) };
            let field = format!("spec.tls[{}].secretName", tls.number);
            let at = At::new(&draft.object, &field);
            self.report.problem(messages::default_shown(at, &why, &format!("{of}/{name}")));
        }
        Some(Credential::Of(of.clone(), name.clone()))
    }

    /// As a server of mode SIMPLE is, by what the mesh says of TLS.
    fn handshake(&mut self, plan: &ServerPlan, credential: Credential) -> Option<TlsPlan> {
        let simple = ServerTls { mode: TlsMode::Simple, ..ServerTls::default() };
        let completed = self.index.settings.mesh.tls.complete(&simple);
        let server = Server { tls: Some(completed), ..Server::default() };
        let field = format!("{}.secretName", plan.field);
        let made = server_tls::plan(plan, &server, self.report)?;
        Some(TlsPlan { credentials: vec![CredentialRef { credential, field }], ..made })
    }

    /// Decides whose each host is on a port, between Ingresses and Istio's kinds: the older one's.
    fn site(&mut self, port: &PortPlan, table: RouteTableName, joined: &Joined, ingresses: &mut Ingresses) {
        let claims = claims(port, self.attached);
        let hosts = Arc::clone(&joined.asked);
        let mut site = IngressSite { table, hosts, taken: BTreeMap::new(), lost: BTreeSet::new() };
        let claimed = joined.hosts.iter().filter(|(host, _)| claims.contains_key(&***host));
        for (host, owned) in claimed {
            let Some(owner) = owned.owner() else { continue };
            let own = (age(&owner.object.meta), &owner.object.key);
            match claims.get(&**host) {
                Some(claim) if claim.age <= own.0 => {
                    site.lost.insert(host.to_string());
                    for draft in owned.sharing() {
                        let field = field_of(draft, host);
                        let at = At::new(&draft.object, &field);
                        self.report.problem(messages::host_conflict(at, host, &claim.key));
                        let outcome = ingresses.outcomes.entry(draft.object.key.clone()).or_default();
                        outcome.lose(host, &claim.key);
                    }
                    Arc::make_mut(&mut site.hosts).remove(host);
                }
                Some(claim) => {
                    site.taken.insert(host.to_string(), own.1.clone());
                    self.report.problem(messages::istio_host_conflict(claim.at(), host, own.1));
                }
                None => {}
            }
        }
        ingresses.sites.insert(site_id(port), site);
    }
}

/// Why the certificate of a Secret cannot be shown, if so.
fn unusable(index: &Index<'_>, namespace: &str, name: &str) -> Option<String> {
    let title = format!("Secret {namespace}/{name}");
    let Some(secret) = index.sought.secret(index.snapshot, namespace, name) else {
        return Some(format!("{title} does not exist or is not valid"));
    };
    let pair = secret.spec.server_pair().filter(|_| holds_credentials(secret));
    let Some(pair) = pair else { return Some(format!("{title} has no certificate with a key")) };
    let wrong = parse_pem_pair(pair.certificate.expose(), pair.private_key.expose()).err();
    wrong.map(|(_, error)| format!("{title}: {error}"))
}

impl IngressSite {
    fn withheld(&self, host: &str) -> bool {
        host != ANY && self.lost.contains(host)
    }
}
