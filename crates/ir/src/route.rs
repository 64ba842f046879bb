//! Routes: hosts, then rules in order, then an action.

use std::fmt;
use std::sync::Arc;

use serde::Serialize;

use crate::atoms::{HostPattern, Millis, Port, Share};
use crate::cluster::ClusterKey;
use crate::matcher::Match;
use crate::origin::Origin;
use crate::policy::cors::Cors;
use crate::policy::external_auth::ExternalAuth;
use crate::policy::fault::Fault;
use crate::policy::hash::HashPolicy;
use crate::policy::headers::HeaderOps;
use crate::policy::retry::Retry;
use crate::policy::rewrite::PathRewrite;
use crate::policy::session::Session;
use crate::rare::Rare;

/// `http.<port>` or `https.<declared port>.<port name>.<gateway>.<namespace>`, as istioctl shows it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct RouteTableName(pub String);

impl fmt::Display for RouteTableName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The hosts of one listener or TLS chain. No host appears twice.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RouteTable {
    /// Its name.
    pub name: RouteTableName,
    /// The order in which filters run on its requests.
    pub filter_order: FilterOrder,
    /// Hosts, each with its rules. A request whose host none covers gets 404, flag `NR`.
    pub hosts: Vec<Arc<VirtualHost>>,
}

/// The APIs put filters in different orders (Istio runs CORS after RBAC, the Gateway API before).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum FilterOrder {
    /// Istio's.
    Istio,
}

/// The rules for a set of host names.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct VirtualHost {
    /// `<host>:<declared port>`.
    pub name: String,
    /// The names; a request goes to the most specific pattern of the table.
    pub domains: Vec<HostPattern>,
    /// The port that redirects and matches speak of.
    pub declared: Port,
    /// Answer 301 to `https` whenever the request did not come by https (Gateway `httpsRedirect`).
    pub https_redirect: bool,
    /// The first rule that matches is taken; none: 404, flag `NR`. Hosts that have the same rules share one list, so that
    /// thousands of hosts may have thousands of rules.
    pub rules: Arc<[Arc<Rule>]>,
}

/// One match block with what to do. An OR of blocks is as many rules in a row.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Rule {
    /// The name for the access log (`%ROUTE_NAME%`); empty prints `-`.
    pub name: String,
    /// What must hold.
    pub matches: Match,
    /// What befalls requests before that.
    pub fault: Option<Box<Fault>>,
    /// What scripts of other origins are told, whatever is done. Comes after faults.
    pub cors: Option<Box<Cors>>,
    /// Who decides whether that is done. Comes after cross-origin rules.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub external_auth: Option<Arc<ExternalAuth>>,
    /// What is done.
    pub action: Action,
    /// Operations on the request before it is forwarded (route level).
    pub request_headers: Rare<HeaderOps>,
    /// Operations on the response (route level); also on direct responses and redirects.
    pub response_headers: Rare<HeaderOps>,
    /// The match block (or route) that made it.
    pub origin: Origin,
}

/// What a rule does with a request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Action {
    /// Send it to an endpoint.
    Forward(Forward),
    /// Answer with a Location.
    Redirect(Redirect),
    /// Answer with a fixed response.
    Reply(Reply),
}

/// Forwarding to one of several destinations.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Forward {
    /// At least one. Chosen at random in proportion to the weights.
    pub destinations: Vec<Destination>,
    /// What a request is answered whose destination names no cluster of the IR: 503 (Istio) or 500 (Gateway API).
    #[serde(skip_serializing_if = "is_unavailable")]
    pub no_cluster_status: u16,
    /// Path rewrite, before header operations.
    pub path_rewrite: Option<Box<PathRewrite>>,
    /// Literal Host for the upstream, where no header operation sets one at route level.
    pub host_rewrite: Option<String>,
    /// Whole time for the request including retries; `None`: no limit.
    pub timeout: Option<Millis>,
    /// When a failed attempt is tried again.
    pub retry: Retry,
    /// What of the request its hash is made of, for destinations that are balanced by it; those of all destinations.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub hash: Vec<HashPolicy>,
    /// How the requests of one client stay at one endpoint of one destination; `None`: they do not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub session: Option<Box<Session>>,
    /// Where copies go, and nothing that becomes of them comes back.
    pub mirrors: Vec<Mirror>,
}

fn is_unavailable(status: &u16) -> bool {
    *status == 503
}

/// Where a share of the requests is sent as well.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Mirror {
    /// The cluster; where the IR has none of that key nothing is sent.
    pub cluster: ClusterKey,
    /// Of the requests.
    pub share: Share,
}

/// One weighted destination.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Destination {
    /// The cluster; where the IR has none of that key the rule says what is answered, flag `NC`.
    pub cluster: ClusterKey,
    /// Relative weight, at least 1 (destinations of weight 0 are left out by translation).
    pub weight: u32,
    /// Operations on the request for this destination only.
    pub request_headers: Rare<HeaderOps>,
    /// Operations on the response of this destination only.
    pub response_headers: Rare<HeaderOps>,
    /// How the requests of one client stay at one endpoint of it, where the rule does not say.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub session: Option<Arc<Session>>,
    /// Who decides whether its requests are sent there, after who decides for the rule.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub external_auth: Option<Arc<ExternalAuth>>,
    /// What its requests meet with besides; `None`: what the rule says.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub instead: Option<Box<Instead>>,
}

/// What is done with the requests of one destination that the rule does not say, or says otherwise.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Instead {
    /// They are answered with a Location, and go nowhere.
    Redirect(Redirect),
    /// They get another host or path; what is `None` is as the rule says.
    Rewrite {
        /// As `host_rewrite` of a rule.
        host: Option<String>,
        /// As `path_rewrite` of a rule.
        path: Option<PathRewrite>,
    },
}

/// A redirect. Parts left `None` are taken from the request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Redirect {
    /// 301, 302, 303, 307 or 308.
    pub code: u16,
    /// `http` or `https`.
    pub scheme: Option<String>,
    /// Replaces the host and drops the request's port.
    pub authority: Option<String>,
    /// The port to name; left out where it is the scheme's own.
    pub port: Option<RedirectPort>,
    /// What becomes of the path.
    pub path: Option<RedirectPath>,
}

/// Which port a redirect names.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum RedirectPort {
    /// This one.
    Fixed(Port),
    /// None, whatever the scheme: the scheme's own.
    SchemeDefault,
    /// The port that the listener's configuration declares.
    Declared,
}

/// How a redirect changes the path. The query is kept unless the new path carries its own.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum RedirectPath {
    /// The whole path.
    Full(String),
    /// Only the prefix that the rule matched.
    Prefix(String),
}

/// A response that the gateway makes itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Reply {
    /// 200 to 599.
    pub status: u16,
    /// The body; dumped as text where it is UTF-8.
    #[serde(serialize_with = "text")]
    pub body: Arc<[u8]>,
    /// `%RESPONSE_CODE_DETAILS%`, such as `direct_response`.
    pub details: String,
}

fn text<S: serde::Serializer>(body: &Arc<[u8]>, s: S) -> Result<S::Ok, S::Error> {
    s.serialize_str(&String::from_utf8_lossy(body))
}
