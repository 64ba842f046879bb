//! Rules for `DestinationRule`.

use std::collections::BTreeSet;

use super::path::SPEC;
use super::syntax::{check_export_to, check_host, is_dns_label};
use super::{Check, Validate, traffic_policy};
use crate::istio::DestinationRule;
use crate::object::Meta;

impl Validate for DestinationRule {
    fn validate(&self, _: &Meta, check: &mut Check<'_>) {
        if self.host != "*" {
            check_host(check, SPEC.field("host"), &self.host);
        }
        if let Some(policy) = &self.traffic_policy {
            traffic_policy::check(check, SPEC.field("trafficPolicy"), policy);
        }
        let mut names = BTreeSet::new();
        for (index, subset) in self.subsets.iter().enumerate() {
            let list = SPEC.field("subsets");
            let at = list.item(index);
            if !is_dns_label(&subset.name) {
                let message = format!("expected the name of a subset, found {:?}", subset.name);
                check.error(at.field("name"), message, "use lower-case letters, digits and `-`");
            } else if !names.insert(&subset.name) {
                let message = format!("the subset {:?} stands there twice", subset.name);
                check.error(at.field("name"), message, "change one of the names");
            }
            if let Some(policy) = &subset.traffic_policy {
                traffic_policy::check(check, at.field("trafficPolicy"), policy);
            }
        }
        check_export_to(check, &self.export_to, false);
        if self.workload_selector.is_some() {
            workload_selector(check, self);
        }
    }
}

fn workload_selector(check: &mut Check<'_>, rule: &DestinationRule) {
    let own = check.namespace();
    for (index, namespace) in rule.export_to.iter().enumerate() {
        if namespace != "." && namespace != own {
            let message =
                format!("with a workloadSelector it counts in its own namespace only, not in {namespace:?}");
            check.error(SPEC.field("exportTo").item(index), message, "write `.`");
        }
    }
    let labels = rule.workload_selector.iter().flat_map(|selector| &selector.match_labels);
    for (name, value) in labels {
        if name.is_empty() || name.contains('*') || value.contains('*') {
            let at = SPEC.field("workloadSelector");
            let at = at.field("matchLabels");
            check.error(at.field(name), "labels have no wildcards here", "write the label in full");
        }
    }
}
