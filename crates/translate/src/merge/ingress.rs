//! The hosts of Ingresses in a route table.

use std::sync::Arc;

use limen_ir::route::{RouteTableName, Rule, VirtualHost};

use super::Merger;
use crate::bind::{self, Meaning, Site};
use crate::draft::PortChoice;
use crate::ingress::{IngressHost, PathRoute};
use crate::istio::gateway::PortPlan;
use crate::memo::keep;

impl Merger<'_, '_, '_> {
    /// A host with the rules of its paths; notes the clusters that they use.
    pub(super) fn ingress_host(
        &mut self,
        port: &PortPlan,
        (table, https): (&RouteTableName, bool),
        (name, host): (&str, &IngressHost),
        guard: Option<&Arc<Rule>>,
    ) -> Arc<VirtualHost> {
        let declared = port.declared;
        let rules: Vec<_> =
            host.routes.iter().filter_map(|route| self.path_rule(port, https, route)).collect();
        let rules = match guard {
            Some(guard) => vec![Arc::clone(guard)],
            None => rules.into_iter().map(Arc::new).collect(),
        };
        let new = VirtualHost {
            name: format!("{name}:{declared}"),
            domains: vec![host.pattern.clone()],
            declared,
            https_redirect: false,
            rules,
        };
        let key = (table.clone(), name.to_owned());
        let made = keep(self.memo.hosts.get(&key), new);
        self.hosts.insert(key, Arc::clone(&made));
        made
    }

    fn path_rule(&mut self, port: &PortPlan, https: bool, path: &PathRoute) -> Option<Rule> {
        let settings = self.index.settings;
        let workload = settings.gateways.get(port.instance)?;
        let route = path.route()?;
        self.report.problems(&route.problems);
        let mut meanings: Vec<Meaning> = Vec::new();
        let mut left_out = false;
        for destination in bind::of_route(route) {
            let target = bind::target(&route.object, destination, (port.declared, workload), self.index);
            let no_port = target.service.is_none() && matches!(destination.port, PortChoice::Name(_));
            left_out |= no_port && path.needs_port();
            meanings.push(target.meaning.clone());
            self.want(target, port.instance);
        }
        let site = Site {
            gateway: "",
            declared: port.declared,
            https,
            instance: workload,
            namespace: &settings.workload_namespace,
        };
        let rule = route.rules.first().filter(|_| !left_out)?;
        bind::rule(route, rule, &meanings, site)
    }
}
