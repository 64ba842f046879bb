//! Kubernetes Ingresses: which of them a gateway of this process serves, and how they share hosts and ports with one
//! another and with Istio's kinds.
//!
//! `class` says whose an Ingress is, `draft` what it says, `hosts` how those of one gateway join, `ports` where they are
//! served, `verdicts` what became of each. Two behaviours are told apart: that of the Kubernetes specification, and
//! Istio's for its own class.

mod class;
mod draft;
mod hosts;
mod ports;
mod verdicts;

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;

use limen_ir::atoms::{HostPattern, Port};
use limen_ir::route::RouteTableName;
use limen_resources::networking::{Ingress, IngressClass};
use limen_resources::{Object, ObjectKey, Table};

use crate::draft::RouteDraft;
use crate::index::{Index, OldestFirst};
use crate::istio::gateway::{PortPlan, ServerPlan};
use crate::memo::{Memo, Same};
use crate::merge::{Attachments, claims};
use crate::report::Report;

pub(crate) use class::MeshIngress;
pub use class::{IngressSettings, IstioIngress};
pub(crate) use draft::IngressDraft;
use hosts::JoinMemo;
use verdicts::{Outcome, VerdictMemo};

/// Whose rules an Ingress is read by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Behaviour {
    /// The Kubernetes specification's.
    Standard,
    /// Istio's.
    Istio,
}

/// What is remembered of Ingresses.
#[derive(Debug, Default)]
pub(crate) struct IngressMemo {
    objects: OldestFirst<Ingress>,
    classes: Table<IngressClass>,
    drafts: Memo<ObjectKey, Arc<Object<Ingress>>, Ours>,
    /// By gateway.
    joined: Vec<JoinMemo>,
    /// What became of them.
    pub(crate) verdicts: VerdictMemo,
}

/// An Ingress that is ours, and the gateways of this process that serve it.
type Ours = (Arc<IngressDraft>, Arc<Vec<usize>>);

/// What Ingresses add to the route tables of all ports.
#[derive(Debug, Default)]
pub(crate) struct Ingresses {
    sites: BTreeMap<SiteId, IngressSite>,
    outcomes: BTreeMap<ObjectKey, Outcome>,
    /// Servers of Gateways all of whose names are older Ingresses'.
    pub(crate) displaced: Vec<ServerPlan>,
}

/// Which gateway of this process, and where it listens; ports that the system chooses are told apart by what is declared.
type SiteId = (usize, SocketAddr, Port);

fn site_id(port: &PortPlan) -> SiteId {
    (port.instance, port.bind, port.declared)
}

/// What Ingresses add to one port.
#[derive(Debug)]
pub(crate) struct IngressSite {
    /// The route table that their hosts stand in.
    pub(crate) table: RouteTableName,
    /// By host as written, `*` for any.
    pub(crate) hosts: Arc<HostsOfIngresses>,
    /// Hosts that are older Ingresses', and not of the VirtualServices that have them too.
    pub(crate) taken: BTreeMap<String, ObjectKey>,
    /// Hosts of Ingresses that are older VirtualServices' or Gateways'.
    lost: BTreeSet<String>,
}

/// By host as written, `*` for any.
pub(crate) type HostsOfIngresses = BTreeMap<Arc<str>, Arc<IngressHost>>;

/// A host of Ingresses.
#[derive(Debug)]
pub(crate) struct IngressHost {
    pub(crate) pattern: HostPattern,
    /// In the order in which they are tried.
    pub(crate) routes: Vec<PathRoute>,
}

/// A path, or a default backend, of an Ingress.
#[derive(Debug, Clone)]
pub(crate) struct PathRoute {
    draft: Arc<IngressDraft>,
    /// Its place among the paths; `None`: the default backend.
    path: Option<usize>,
}

impl Same for PathRoute {
    fn same(&self, other: &PathRoute) -> bool {
        self.draft.same(&other.draft) && self.path == other.path
    }
}

impl PathRoute {
    pub(crate) fn route(&self) -> Option<&RouteDraft> {
        match self.path {
            Some(at) => self.draft.paths.get(at).map(|path| &path.route),
            None => self.draft.default.as_ref(),
        }
    }

    /// Is it left out if its Service has no port of the name that it asks for (Istio), so that another path may match?
    pub(crate) fn needs_port(&self) -> bool {
        self.draft.behaviour == Behaviour::Istio
    }
}

impl Ingresses {
    /// What is added to a port.
    pub(crate) fn site(&self, port: &PortPlan) -> Option<&IngressSite> {
        self.sites.get(&site_id(port))
    }
}

/// Adds the Ingresses of each gateway to its ports. `attached`: the VirtualServices by Gateway.
pub(crate) fn plan<'a>(
    index: &Index<'_>,
    attached: &BTreeMap<&'a str, Attachments<'a>>,
    ports: &mut Vec<PortPlan>,
    memo: &mut IngressMemo,
    report: &mut Report,
) -> Ingresses {
    let mut ingresses = Ingresses::default();
    let by_instance = class::by_instance(index, memo, report);
    memo.joined.resize_with(by_instance.len(), JoinMemo::default);
    for ((instance, drafts), joined) in by_instance.iter().enumerate().zip(&mut memo.joined) {
        if drafts.is_empty() {
            *joined = JoinMemo::default();
            continue;
        }
        for draft in drafts {
            report.problems(&draft.problems);
            ingresses.outcomes.entry(draft.object.key.clone()).or_default().serve(draft, instance);
        }
        let joined = joined.next(drafts, &mut ingresses.outcomes, report);
        let mut joiner = ports::Joiner { index, instance, drafts, attached, report };
        joiner.serve(joined, ports, &mut ingresses);
    }
    ports.sort_by_key(|port| (port.bind, port.declared));
    ingresses
}
