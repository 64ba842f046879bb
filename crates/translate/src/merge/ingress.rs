//! The hosts of Ingresses in a route table.

use std::sync::Arc;

use limen_ir::atoms::Port;
use limen_ir::route::{RouteTableName, Rule, VirtualHost};
use limen_resources::{AnyObject, Problem};

use super::Merger;
use super::shares::{Footing, Named};
use crate::bind::{self, Site, Target};
use crate::draft::{DestinationDraft, PortChoice};
use crate::index::Index;
use crate::ingress::{IngressHost, PathRoute};
use crate::istio::gateway::PortPlan;
use crate::memo::{ByValue, Memo, keep};

/// By host: its paths, and the rule that stands in for them if the gateway is closed.
pub(super) type PathMemo = Memo<Arc<str>, PathInputs, Arc<PathHost>>;
type PathInputs = ((Arc<IngressHost>, Option<Arc<Rule>>), ByValue<(usize, Port, bool)>);

/// A host of Ingresses with its rules.
#[derive(Debug)]
pub(super) struct PathHost {
    host: Arc<VirtualHost>,
    problems: Vec<Problem>,
    named: Named,
    footing: Footing,
}

impl Merger<'_, '_, '_, '_> {
    /// The hosts with the rules of their paths; notes the clusters that they use.
    pub(super) fn ingress_hosts(
        &mut self,
        port: &PortPlan,
        (table, https): (&RouteTableName, bool),
        guard: Option<&Arc<Rule>>,
    ) -> Vec<Arc<VirtualHost>> {
        let Some(site) = self.ingresses.site(port).filter(|site| site.table == *table) else {
            return Vec::new();
        };
        let (index, firm) = (self.index, self.memo.shares.is_firm());
        let mut known = self.memo.paths.remove(table).unwrap_or_default();
        let mut hosts = Vec::with_capacity(site.hosts.len());
        for (name, host) in &*site.hosts {
            let inputs = ((Arc::clone(host), guard.cloned()), ByValue((port.instance, port.declared, https)));
            let holds = |known: &Arc<PathHost>| {
                firm || known.footing.holds(written(&host.routes), port.instance, index)
            };
            let made = known.renew(Arc::clone(name), inputs, holds, |_, before| {
                let before = before.map(|(_, made)| &made.host);
                Arc::new(made(index, (port, https), (name, host), (guard, before)))
            });
            self.report.problems(&made.problems);
            made.named.want(port.instance, &mut self.routing.wanted);
            hosts.push(Arc::clone(&made.host));
        }
        known.turn();
        self.paths.insert(table.clone(), known);
        hosts
    }
}

/// All destinations of paths in order.
fn written(routes: &[PathRoute]) -> impl Iterator<Item = (&AnyObject, &DestinationDraft)> {
    let routes = routes.iter().filter_map(PathRoute::route);
    routes.flat_map(|route| bind::of_route(route).map(|destination| (&route.object, destination)))
}

fn made(
    index: &Index<'_>,
    (port, https): (&PortPlan, bool),
    (name, host): (&str, &IngressHost),
    (guard, before): (Option<&Arc<Rule>>, Option<&Arc<VirtualHost>>),
) -> PathHost {
    let declared = port.declared;
    let (mut rules, mut all, mut problems, mut named) =
        (Vec::new(), Vec::new(), Vec::new(), Named::default());
    for path in &host.routes {
        let (rule, targets) = path_rule(index, port, https, path, &mut problems);
        rules.extend(rule.map(Arc::new));
        all.extend(targets);
    }
    let footing = Footing::of(&all, written(&host.routes), index);
    all.into_iter().for_each(|target| named.add(target, &mut problems));
    let host = VirtualHost {
        name: format!("{name}:{declared}"),
        domains: vec![host.pattern.clone()],
        declared,
        https_redirect: false,
        rules: guard.map_or(rules, |guard| vec![Arc::clone(guard)]).into(),
    };
    PathHost { host: keep(before, host), problems, named, footing }
}

/// The rule of a path, if it has one, and what its destinations mean.
fn path_rule(
    index: &Index<'_>,
    port: &PortPlan,
    https: bool,
    path: &PathRoute,
    problems: &mut Vec<Problem>,
) -> (Option<Rule>, Vec<Target>) {
    let settings = index.settings;
    let (Some(workload), Some(route)) = (settings.gateways.get(port.instance), path.route()) else {
        return (None, Vec::new());
    };
    problems.extend(route.problems.iter().cloned());
    let (mut targets, mut left_out) = (Vec::new(), false);
    for destination in bind::of_route(route) {
        let target = bind::target(&route.object, destination, (port.declared, workload), index);
        let no_port = target.service.is_none() && matches!(destination.port, PortChoice::Name(_));
        left_out |= no_port && path.needs_port();
        targets.push(target);
    }
    let meanings: Vec<_> = targets.iter().map(|target| target.meaning.clone()).collect();
    let site = Site {
        gateway: "",
        declared: port.declared,
        https,
        instance: workload,
        namespace: &settings.workload_namespace,
    };
    let rule = route.rules.first().filter(|_| !left_out);
    (rule.and_then(|rule| bind::rule(route, rule, &meanings, site)), targets)
}
