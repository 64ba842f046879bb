//! Routes of all kinds, as they are before any listener is looked at, and what is remembered of them.

use std::sync::Arc;

use limen_ir::route::Rule;
use limen_resources::gateway_api::{
    DefaultScope, GrpcRoute, HttpRoute, ParentReference, ReferenceGrant, XBackendTrafficPolicy,
};
use limen_resources::{AnyObject, Object, ObjectKey, Snapshot, Table};

use super::No;
use super::attach::{Asking, RouteKind};
use super::backends::Needed;
use super::grants::Grants;
use super::l4::{self, L4Draft};
use super::precedence::Precedence;
use super::routes::{self, HttpDraft};
use super::status::{self, Age, Said};
use crate::index::Index;
use crate::memo::{Memo, Same};
use crate::services::Registry;

/// What every kind of route has: where it wants to be, and whether it is right.
#[derive(Debug)]
pub(crate) struct Route {
    pub(crate) object: AnyObject,
    pub(crate) kind: RouteKind,
    pub(crate) age: Age,
    /// The first of what it refers to that is not there.
    pub(crate) unresolved: Option<Box<Wrong>>,
    /// What rules are left out for.
    pub(crate) dropped: Vec<Wrong>,
    /// Is every rule left out?
    pub(crate) refused: bool,
    /// Does it attach to default Gateways?
    pub(crate) by_default: bool,
}

/// Something that is wrong with a route.
#[derive(Debug)]
pub(crate) struct Wrong {
    /// Where it is written.
    pub(crate) field: String,
    pub(crate) no: No,
}

impl Route {
    /// Right as far as is known.
    pub(crate) fn new(object: AnyObject, kind: RouteKind, default_gateways: DefaultScope) -> Route {
        Route {
            age: status::age_of(object.key(), object.meta()),
            object,
            kind,
            unresolved: None,
            dropped: Vec::new(),
            refused: false,
            by_default: default_gateways == DefaultScope::All,
        }
    }

    /// Why it is not right by itself, if it is not.
    pub(crate) fn refusal(&self) -> Option<&Wrong> {
        self.dropped.first().filter(|_| self.refused)
    }

    pub(crate) fn key(&self) -> &ObjectKey {
        self.object.key()
    }

    pub(crate) fn said(&self) -> Said<'_> {
        let (key, generation) = (self.object.key(), self.object.meta().generation);
        Said { key, source: self.object.source(), generation }
    }

    pub(crate) fn parents(&self) -> &[ParentReference] {
        match &self.object {
            AnyObject::HttpRoute(route) => &route.spec.parent_refs,
            AnyObject::GrpcRoute(route) => &route.spec.parent_refs,
            AnyObject::TlsRoute(route) => &route.spec.parent_refs,
            AnyObject::TcpRoute(route) => &route.spec.parent_refs,
            AnyObject::UdpRoute(route) => &route.spec.parent_refs,
            _ => &[],
        }
    }

    pub(crate) fn asking(&self) -> Asking<'_> {
        let hostnames: &[String] = match &self.object {
            AnyObject::HttpRoute(route) => &route.spec.hostnames,
            AnyObject::GrpcRoute(route) => &route.spec.hostnames,
            AnyObject::TlsRoute(route) => &route.spec.hostnames,
            _ => &[],
        };
        Asking { kind: self.kind, namespace: &self.key().namespace, hostnames }
    }
}

/// A route of any kind.
#[derive(Debug)]
pub(crate) enum Draft {
    Http(HttpDraft),
    L4(Box<L4Draft>),
}

impl Draft {
    pub(crate) fn route(&self) -> &Route {
        match self {
            Draft::Http(draft) => &draft.route,
            Draft::L4(draft) => &draft.route,
        }
    }

    /// The clusters that it needs.
    pub(crate) fn wanted(&self) -> &[Needed] {
        match self {
            Draft::Http(draft) => &draft.wanted,
            Draft::L4(draft) => &draft.wanted,
        }
    }

    /// What is done with requests, in order.
    pub(crate) fn rules(&self) -> &[(Precedence, Arc<Rule>)] {
        match self {
            Draft::Http(draft) => &draft.rules,
            Draft::L4(_) => &[],
        }
    }

    /// Are these its rules, and no others, in order?
    pub(crate) fn is_all_of(&self, rules: &[Arc<Rule>]) -> bool {
        let own = self.rules();
        own.len() == rules.len() && own.iter().zip(rules).all(|((_, own), rule)| own.same(rule))
    }

    /// Where connections or datagrams go.
    pub(crate) fn l4(&self) -> Option<&L4Draft> {
        match self {
            Draft::Http(_) => None,
            Draft::L4(draft) => Some(draft),
        }
    }

    /// Is there what it refers to, as it was when this was made?
    fn holds(&self, index: &Index<'_>) -> bool {
        match self {
            Draft::Http(draft) => draft.seen.iter().all(|seen| seen.holds(index)),
            Draft::L4(_) => false,
        }
    }
}

/// What routes came to before. It holds as long as all that they refer to is the same.
#[derive(Debug, Default)]
pub(crate) struct DraftMemo {
    /// Of all routes.
    policies: Option<(Table<ReferenceGrant>, Table<XBackendTrafficPolicy>)>,
    services: Option<Arc<Registry>>,
    http: Memo<ObjectKey, Arc<Object<HttpRoute>>, Arc<Draft>>,
    grpc: Memo<ObjectKey, Arc<Object<GrpcRoute>>, Arc<Draft>>,
}

impl DraftMemo {
    /// What all routes say, in the order of kinds and names.
    pub(crate) fn drafts(&mut self, ground: (&Index<'_>, &Grants)) -> Vec<Arc<Draft>> {
        let (index, _) = ground;
        let snapshot: &Snapshot = index.snapshot;
        let (grants, traffic) = (snapshot.reference_grants(), snapshot.x_backend_traffic_policies());
        let same = |(before, said): &(Table<ReferenceGrant>, Table<XBackendTrafficPolicy>)| {
            before.same(grants) && said.same(traffic)
        };
        if !self.policies.as_ref().is_some_and(same) {
            *self = DraftMemo::default();
        }
        let same = self.services.as_ref().is_some_and(|services| services.same(&index.services));
        let holds = |draft: &Arc<Draft>| same || draft.holds(index);
        let mut drafts = Vec::with_capacity(snapshot.http_routes().len());
        for object in snapshot.http_routes().iter() {
            let make = |object: &_| Arc::new(Draft::Http(routes::http(ground, object)));
            drafts.push(self.http.get_if(object.key.clone(), Arc::clone(object), holds, make));
        }
        for object in snapshot.grpc_routes().iter() {
            let make = |object: &_| Arc::new(Draft::Http(routes::grpc(ground, object)));
            drafts.push(self.grpc.get_if(object.key.clone(), Arc::clone(object), holds, make));
        }
        self.http.turn();
        self.grpc.turn();
        self.policies = Some((grants.clone(), traffic.clone()));
        self.services = Some(Arc::clone(&index.services));
        let l4 = |draft| Arc::new(Draft::L4(Box::new(draft)));
        drafts.extend(snapshot.tls_routes().iter().map(|route| l4(l4::tls(ground, route))));
        drafts.extend(snapshot.tcp_routes().iter().map(|route| l4(l4::tcp(ground, route))));
        drafts.extend(snapshot.udp_routes().iter().map(|route| l4(l4::udp(ground, route))));
        drafts
    }
}
