//! What one resource adds before it is merged with others.
//!
//! A draft depends on its resource alone (and on those that it delegates to), so it is made again only when that
//! changes. What depends on the gateway, its port or the services is decided in `bind`.

use std::collections::BTreeMap;
use std::sync::Arc;

use limen_ir::Share;
use limen_ir::atoms::Millis;
use limen_ir::matcher::Match;
use limen_ir::policy::cors::Cors;
use limen_ir::policy::fault::Fault;
use limen_ir::policy::headers::HeaderOps;
use limen_ir::policy::retry::Retry;
use limen_ir::policy::rewrite::PathRewrite;
use limen_ir::route::{RedirectPath, Reply};
use limen_resources::istio::VirtualService;
use limen_resources::{AnyObject, Object, Problem};

/// What a VirtualService says to gateways.
#[derive(Debug)]
pub(crate) struct VirtualServiceDraft {
    pub(crate) object: Arc<Object<VirtualService>>,
    /// Its hosts, short names written out; case as written.
    pub(crate) hosts: Vec<String>,
    /// The gateways that it hangs on, without `mesh`.
    pub(crate) gateways: Vec<GatewayRef>,
    /// Whether the workload sees it, and how near it stands: near ones go first.
    pub(crate) reach: Option<Reach>,
    pub(crate) routes: Vec<RouteDraft>,
    /// Routes of connections that are not decrypted, by server name.
    pub(crate) tls: Vec<ConnectionRouteDraft>,
    /// Routes of connections whatever is said on them.
    pub(crate) tcp: Vec<ConnectionRouteDraft>,
    /// About the object whatever its routes.
    pub(crate) problems: Vec<Problem>,
}

/// A gateway that a VirtualService names.
#[derive(Debug)]
pub(crate) struct GatewayRef {
    /// `namespace/name`.
    pub(crate) name: String,
    /// Where that is written.
    pub(crate) field: String,
}

/// How a VirtualService is exported to the workload's namespace, in the order in which they apply.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Reach {
    /// It lives there and goes nowhere else.
    Private,
    /// To that namespace by name.
    Named,
    /// To all.
    Public,
}

/// An HTTP route: one action under several conditions.
#[derive(Debug)]
pub(crate) struct RouteDraft {
    /// Where it is written: a VirtualService or its delegate, an Ingress.
    pub(crate) object: AnyObject,
    pub(crate) field: String,
    pub(crate) fault: Option<Fault>,
    pub(crate) cors: Option<Cors>,
    pub(crate) action: ActionDraft,
    pub(crate) request_headers: HeaderOps,
    pub(crate) response_headers: HeaderOps,
    /// One for each match block, or one that matches everything.
    pub(crate) rules: Vec<RuleDraft>,
    /// Said if any of its rules is used.
    pub(crate) problems: Vec<Problem>,
}

/// One match block.
#[derive(Debug)]
pub(crate) struct RuleDraft {
    pub(crate) name: String,
    pub(crate) gate: Gate,
    /// `None` if it can never hold.
    pub(crate) matches: Option<Match>,
    /// No request comes past it.
    pub(crate) catch_all: bool,
    /// Where it is written.
    pub(crate) field: String,
    /// Said if the gate is open.
    pub(crate) problems: Vec<Problem>,
}

/// The conditions of a match block that are decided once for a gateway.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Gate {
    /// The declared port; 0: any.
    pub(crate) port: u32,
    /// `namespace/name`, `mesh` kept; if there are any the workload does not count.
    pub(crate) gateways: Vec<String>,
    pub(crate) source_labels: BTreeMap<String, String>,
    pub(crate) source_namespace: String,
}

/// A `tls` or `tcp` route.
#[derive(Debug)]
pub(crate) struct ConnectionRouteDraft {
    pub(crate) field: String,
    /// Any of them; none: it takes every connection.
    pub(crate) matches: Vec<ConnectionMatch>,
    pub(crate) destinations: Vec<DestinationDraft>,
    /// Said if the route is used.
    pub(crate) problems: Vec<Problem>,
}

/// One match block of a `tls` or `tcp` route.
#[derive(Debug)]
pub(crate) struct ConnectionMatch {
    /// Of the gate only port and gateways are ever written.
    pub(crate) gate: Gate,
    /// As written; empty for `tcp`.
    pub(crate) sni_hosts: Vec<String>,
    pub(crate) field: String,
}

/// What a route does.
#[derive(Debug)]
pub(crate) enum ActionDraft {
    Forward(ForwardDraft),
    Redirect(RedirectDraft),
    Reply(Reply),
}

/// Forwarding.
#[derive(Debug)]
pub(crate) struct ForwardDraft {
    pub(crate) destinations: Vec<DestinationDraft>,
    pub(crate) path_rewrite: Option<PathRewrite>,
    pub(crate) host_rewrite: Option<String>,
    pub(crate) timeout: Option<Millis>,
    pub(crate) retry: Retry,
    pub(crate) mirrors: Vec<MirrorDraft>,
}

/// Where a share of the requests is sent as well.
#[derive(Debug)]
pub(crate) struct MirrorDraft {
    pub(crate) to: DestinationDraft,
    pub(crate) share: Share,
}

/// A destination whose service is not looked up yet.
#[derive(Debug)]
pub(crate) struct DestinationDraft {
    /// Its host, lower case, a short name written out.
    pub(crate) host: String,
    pub(crate) port: PortChoice,
    pub(crate) subset: String,
    /// At least 1.
    pub(crate) weight: u32,
    pub(crate) request_headers: HeaderOps,
    pub(crate) response_headers: HeaderOps,
    /// Where `destination` is written.
    pub(crate) field: String,
}

/// How a destination names its port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum PortChoice {
    /// Not at all.
    Implied,
    Number(u32),
    Name(String),
}

/// A redirect whose port is not decided yet.
#[derive(Debug)]
pub(crate) struct RedirectDraft {
    pub(crate) code: u16,
    pub(crate) scheme: Option<String>,
    pub(crate) authority: Option<String>,
    pub(crate) port: RedirectPortDraft,
    pub(crate) path: Option<RedirectPath>,
}

/// The port of a redirect.
#[derive(Debug, Clone, Copy)]
pub(crate) enum RedirectPortDraft {
    /// As in the request.
    Unsaid,
    Fixed(u16),
    /// The declared port of the server.
    Declared,
}
