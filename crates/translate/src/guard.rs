//! Nothing fails open: a policy that can deny and is not enforced yet closes every host of the gateways it selects.

use std::sync::Arc;

use limen_ir::matcher::Match;
use limen_ir::rare::Rare;
use limen_ir::route::{Action, Reply, Rule};
use limen_resources::gateway_api;
use limen_resources::istio::{Policy, TargetRef};
use limen_resources::{Kind, Object};

use crate::index::{Index, origin};
use crate::istio::names;
use crate::messages::{At, policy as messages};
use crate::report::Report;

/// For each gateway of this process the rule that stands in for all others, if it is closed.
pub(crate) fn guards(index: &Index<'_>, report: &mut Report) -> Vec<Option<Arc<Rule>>> {
    let mut guards: Vec<Option<Arc<Rule>>> = vec![None; index.settings.gateways.len()];
    for policy in index.snapshot.policies().filter(|policy| denies(policy)) {
        let namespace = &*policy.key.namespace;
        if namespace != index.settings.workload_namespace && namespace != index.settings.root_namespace {
            continue;
        }
        for (instance, guard) in index.settings.gateways.iter().zip(&mut guards) {
            if !applies(&policy.spec, &instance.labels) {
                continue;
            }
            if index.settings.ignored_policies.contains(&policy.key.kind) {
                report.problem(messages::ignored(At::new(policy, "")));
            } else {
                report.problem(messages::unenforced(At::new(policy, "")));
                guard.get_or_insert_with(|| Arc::new(denial(policy)));
            }
        }
    }
    guards
}

/// The rule that stands in for all others of a Gateway of the Gateway API, if a policy closes it: one for its workload,
/// or one that names it or its class.
pub(crate) fn of_gateway_api(
    index: &Index<'_>,
    gateway: &Object<gateway_api::Gateway>,
    report: &mut Report,
) -> Option<Arc<Rule>> {
    let (own, root) = (&*gateway.key.namespace, &*index.settings.root_namespace);
    let name = ("gateway.networking.k8s.io/gateway-name".to_owned(), gateway.key.name.to_string());
    let labels = [name].into();
    let applies = |policy: &Object<Policy>| {
        let namespace = &*policy.key.namespace;
        if policy.spec.target_refs.is_empty() {
            return (namespace == own || namespace == root) && names::selects(&policy.spec.selector, &labels);
        }
        policy.spec.target_refs.iter().any(|target| match (&*target.group, &*target.kind) {
            (gateway_api::GROUP, "Gateway") => namespace == own && *target.name == *gateway.key.name,
            (gateway_api::GROUP, "GatewayClass") => {
                namespace == root && target.name == gateway.spec.gateway_class_name
            }
            _ => false,
        })
    };
    let mut guard = None;
    for policy in index.snapshot.policies().filter(|policy| denies(policy) && applies(policy)) {
        if index.settings.ignored_policies.contains(&policy.key.kind) {
            report.problem(messages::ignored(At::new(policy, "")));
        } else {
            report.problem(messages::unenforced(At::new(policy, "")));
            guard.get_or_insert_with(|| Arc::new(denial(policy)));
        }
    }
    guard
}

/// An AuthorizationPolicy that only audits, or that is only tried out, denies nothing.
fn denies(policy: &Object<Policy>) -> bool {
    let tried_out = policy.meta.annotations.get("istio.io/dry-run").is_some_and(|value| value == "true");
    policy.key.kind != Kind::AuthorizationPolicy || (policy.spec.action != "AUDIT" && !tried_out)
}

fn applies(policy: &Policy, labels: &std::collections::BTreeMap<String, String>) -> bool {
    if policy.target_refs.is_empty() {
        return names::selects(&policy.selector, labels);
    }
    !policy.target_refs.iter().all(aims_elsewhere)
}

/// Is this a kind of object that no Istio Gateway's workload is reached through?
fn aims_elsewhere(target: &TargetRef) -> bool {
    matches!(
        (&*target.group, &*target.kind),
        ("gateway.networking.k8s.io", "Gateway" | "GatewayClass")
            | ("" | "core", "Service")
            | ("networking.istio.io", "ServiceEntry")
    )
}

/// The answer to every request. It does not name the policy, as clients see it.
fn denial(policy: &Object<Policy>) -> Rule {
    let body: Arc<[u8]> = Arc::from(&b"access denied"[..]);
    Rule {
        name: String::new(),
        matches: Match::any(),
        fault: None,
        external_auth: None,
        cors: None,
        action: Action::Reply(Reply { status: 403, body, details: "unenforced_policy".to_owned() }),
        request_headers: Rare::default(),
        response_headers: Rare::default(),
        origin: origin(&policy.key, String::new()),
    }
}
