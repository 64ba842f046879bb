//! Routes as the workers read them: hosts, then rules in order, then an action.

use std::fmt;
use std::sync::Arc;

use limen_wire::head::RequestHead;

use super::cors::Cors;
use super::hosts::HostMap;
use super::index::RuleIndex;
use super::matcher::{MatchScratch, Matcher, Request, Why};
use super::retry::Retry;
use super::substitution::Substitution;
use crate::filter::external_auth;
use crate::filter::fault::Fault;
use crate::filter::hash::HashPolicy;
use crate::filter::headers::HeaderOps;
use crate::filter::redirect::Redirect;
use crate::filter::rewrite::PathRewrite;
use crate::filter::session::Session;
use crate::filter::share::Share;

/// Index of a cluster in the tables; equal keys have equal slots for as long as a table names them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct ClusterSlot(pub(crate) u32);

/// The hosts of one listener or TLS chain.
#[derive(Debug)]
pub(crate) struct RouteTable {
    /// Its name, as istioctl shows it.
    pub(crate) name: Arc<str>,
    /// In the order of the configuration.
    pub(crate) list: Vec<Arc<VirtualHost>>,
    /// Their places by host name. Tables in which the same names lead to the same places share this, whatever the hosts are.
    pub(crate) hosts: Arc<HostMap<u32>>,
}

impl RouteTable {
    /// Serves no host.
    pub(crate) fn empty() -> RouteTable {
        RouteTable { name: "".into(), list: Vec::new(), hosts: Arc::default() }
    }

    /// The host that serves an authority as received; `None`: 404, flag `NR`.
    pub(crate) fn host(&self, authority: &[u8]) -> Option<&Arc<VirtualHost>> {
        self.list.get(*self.hosts.find(authority)? as usize)
    }
}

/// The rules for a set of host names.
#[derive(Debug)]
pub(crate) struct VirtualHost {
    /// `<host>:<declared port>`.
    pub(crate) name: Arc<str>,
    /// The port that redirects speak of.
    pub(crate) declared: u16,
    /// Answer 301 to `https` whenever the request did not come by https.
    pub(crate) https_redirect: bool,
    /// In order; the first that matches is taken.
    pub(crate) rules: Arc<[Arc<Rule>]>,
    /// Finds candidates where there are many rules.
    index: Option<Arc<RuleIndex>>,
}

/// The rules of a host, or of several that have the same.
#[derive(Debug, Clone)]
pub(crate) struct Rules {
    list: Arc<[Arc<Rule>]>,
    index: Option<Arc<RuleIndex>>,
}

impl Rules {
    /// The rules' ordinals must be their places in `list`.
    pub(crate) fn new(list: Arc<[Arc<Rule>]>) -> Rules {
        let index = (list.len() > LINEAR).then(|| Arc::new(RuleIndex::new(&list)));
        Rules { list, index }
    }
}

/// Up to this many rules are checked one after the other.
const LINEAR: usize = 8;

impl VirtualHost {
    pub(crate) fn new(name: Arc<str>, declared: u16, https_redirect: bool, rules: Rules) -> VirtualHost {
        let Rules { list, index } = rules;
        VirtualHost { name, declared, https_redirect, rules: list, index }
    }

    /// The first rule that matches; `None`: 404, flag `NR`.
    pub(crate) fn find(
        &self,
        head: &RequestHead,
        https: bool,
        scratch: &mut MatchScratch,
    ) -> Option<&Arc<Rule>> {
        let request = Request::new(head, https);
        match &self.index {
            Some(index) => index.find(&self.rules, &request, scratch),
            None => self.rules.iter().find(|rule| rule.check(head, https, scratch).is_ok()),
        }
    }
}

/// One match block with what to do.
#[derive(Debug)]
pub(crate) struct Rule {
    /// Its place among the rules of its host.
    pub(crate) ordinal: u32,
    /// `%ROUTE_NAME%`; may be empty.
    pub(crate) name: Arc<str>,
    /// What must hold.
    pub(crate) matcher: Matcher,
    /// What befalls requests before that.
    pub(crate) fault: Option<Box<Fault>>,
    /// What scripts of other origins are told, whatever is done.
    pub(crate) cors: Option<Box<Cors>>,
    /// Who decides whether that is done.
    pub(crate) external_auth: Option<Box<ExternalAuth>>,
    /// What is done.
    pub(crate) action: Action,
    /// Operations on the request before it is forwarded. Those of a single destination are already among them.
    pub(crate) request_headers: HeaderOps,
    /// Operations on the response, also on replies and redirects.
    pub(crate) response_headers: HeaderOps,
    /// The match block that made it.
    pub(crate) origin: Origin,
}

impl Rule {
    /// Does the rule match, and if not, why? The only matcher: finding and explaining both ask here.
    pub(crate) fn check(
        &self,
        head: &RequestHead,
        https: bool,
        scratch: &mut MatchScratch,
    ) -> Result<(), Why> {
        self.matcher.check(&Request::new(head, https), scratch)
    }
}

/// The resource and the field that a rule comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Origin {
    /// Such as `VirtualService`.
    pub(crate) kind: &'static str,
    /// Its namespace.
    pub(crate) namespace: Arc<str>,
    /// Its name.
    pub(crate) name: Arc<str>,
    /// The path of the field in it; may be empty.
    pub(crate) field: Arc<str>,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}/{}", self.kind, self.namespace, self.name)?;
        if self.field.is_empty() { Ok(()) } else { write!(f, " {}", self.field) }
    }
}

/// What a rule does with a request.
#[derive(Debug)]
pub(crate) enum Action {
    /// Send it to an endpoint.
    Forward(Forward),
    /// Answer with a Location.
    Redirect(Redirect),
    /// Answer with a fixed response.
    Reply(Reply),
}

/// Forwarding to one of several destinations.
#[derive(Debug)]
pub(crate) struct Forward {
    /// At least one.
    pub(crate) destinations: Vec<Destination>,
    /// Sum of the weights.
    pub(crate) total_weight: u64,
    /// What is answered where a destination has no cluster.
    pub(crate) no_cluster_status: u16,
    /// What becomes of the path.
    pub(crate) path_rewrite: Option<Box<Rewrite>>,
    /// Literal Host for the upstream, set after all header operations; `None` where the rule's operations set it.
    pub(crate) host_rewrite: Option<Arc<[u8]>>,
    /// Milliseconds for the request with all its retries; `None`: no limit.
    pub(crate) timeout_ms: Option<u64>,
    /// When a failed attempt is tried again.
    pub(crate) retry: Retry,
    /// What a request is hashed by, for clusters that are balanced by that.
    pub(crate) hash: Box<[HashPolicy]>,
    /// How clients stay at their endpoints.
    pub(crate) session: Option<Box<Session>>,
    /// Does it, or any destination, say that?
    pub(crate) resumes: bool,
    /// Where copies go.
    pub(crate) mirrors: Box<[Mirror]>,
}

/// Where a share of the requests is sent as well.
#[derive(Debug)]
pub(crate) struct Mirror {
    /// Of the requests.
    pub(crate) share: Share,
    /// A rule that no request matches: it forwards copies.
    pub(crate) rule: Arc<Rule>,
}

/// A service that decides on requests.
#[derive(Debug)]
pub(crate) struct ExternalAuth {
    /// How it is asked.
    pub(crate) form: external_auth::Form,
    /// Bytes of the body that it is told at the most; `None`: it is told nothing of it.
    pub(crate) body_most: Option<usize>,
    /// A rule that no request matches: it forwards questions.
    pub(crate) rule: Rule,
}

/// What becomes of a path.
#[derive(Debug)]
pub(crate) enum Rewrite {
    /// What the rule matched is replaced.
    Matched(PathRewrite),
    /// What an expression finds is replaced.
    Found(Substitution),
}

/// One weighted destination.
#[derive(Debug)]
pub(crate) struct Destination {
    /// Where it is in the tables.
    pub(crate) cluster: ClusterSlot,
    /// `outbound|port|subset|host`.
    pub(crate) cluster_name: Arc<str>,
    /// At least 1.
    pub(crate) weight: u32,
    /// Operations on the request for this destination, before the rule's. Empty where it is the only one.
    pub(crate) request_headers: HeaderOps,
    /// Operations on the response of this destination, before the rule's. Empty where it is the only one.
    pub(crate) response_headers: HeaderOps,
    /// How clients stay at its endpoints, where the rule does not say.
    pub(crate) session: Option<Box<Session>>,
    /// Who decides on its requests, after who decides on the rule's.
    pub(crate) external_auth: Option<Box<ExternalAuth>>,
    /// What its requests meet with besides what the rule says.
    pub(crate) instead: Option<Box<Instead>>,
}

/// What is done with the requests of one destination.
#[derive(Debug)]
pub(crate) enum Instead {
    /// They are answered, and go nowhere.
    Redirect(Redirect),
    /// What is `None` is as the rule says.
    Rewrite { host: Option<Arc<[u8]>>, path: Option<Rewrite> },
}

impl Destination {
    /// Where its requests are sent back to, if they are.
    pub(crate) fn redirect(&self) -> Option<&Redirect> {
        match self.instead.as_deref() {
            Some(Instead::Redirect(redirect)) => Some(redirect),
            _ => None,
        }
    }
}

impl Forward {
    /// The index of the destination that an evenly distributed random number falls on.
    pub(crate) fn pick(&self, random: u32) -> usize {
        if self.destinations.len() < 2 {
            return 0;
        }
        let mut at = (u128::from(random) * u128::from(self.total_weight)) >> u32::BITS;
        for (index, destination) in self.destinations.iter().enumerate() {
            let weight = u128::from(destination.weight);
            if at < weight {
                return index;
            }
            at -= weight;
        }
        0
    }
}

/// A response that the gateway makes itself.
#[derive(Debug)]
pub(crate) struct Reply {
    /// 200 to 599.
    pub(crate) status: u16,
    /// The body.
    pub(crate) body: Arc<[u8]>,
    /// `%RESPONSE_CODE_DETAILS%`.
    pub(crate) details: Arc<str>,
}

#[cfg(test)]
#[path = "routes_tests.rs"]
mod tests;
