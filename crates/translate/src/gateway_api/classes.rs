//! Which GatewayClasses are ours, and what is said of them.

use std::collections::BTreeSet;

use limen_resources::Verdict;

use super::features::FEATURES;
use super::status::Said;
use crate::index::Index;
use crate::report::Report;

/// The release of the API whose fields are read, as its definitions begin to say it.
const RELEASE: &str = "v1.6.";
const SUPPORTED: &str = "SupportedVersion";

/// The names of our classes whose Gateways are served. Says what becomes of each class that is ours.
pub(super) fn classes<'a>(index: &Index<'a>, report: &mut Report) -> BTreeSet<&'a str> {
    let supported = release(index);
    let mut served = BTreeSet::new();
    for class in index.snapshot.gateway_classes().iter() {
        if class.spec.controller_name != index.settings.gateway_api.controller {
            continue;
        }
        if index.settings.gateway_api.only.is_some() {
            // Who started this process speaks of the class, and minds its parameters.
            served.insert(&*class.key.name);
            continue;
        }
        let said = Said::of(class);
        match &class.spec.parameters_ref {
            None => {
                served.insert(&*class.key.name);
                let mut features = FEATURES.to_vec();
                features.sort_unstable();
                report.verdict(Verdict {
                    generation: said.generation,
                    supported_features: features,
                    ..Verdict::new(
                        class.key.clone(),
                        "Accepted",
                        true,
                        ("Accepted", "its Gateways are served"),
                    )
                });
            }
            Some(parameters) => {
                let why = format!("no parameters of kind {} are known", parameters.kind);
                let no = Err(("InvalidParameters", why));
                said.whole(report, ("Accepted", ""), &no, "spec.parametersRef");
            }
        }
        let supported = supported.clone().map_err(|why| ("UnsupportedVersion", why));
        match supported {
            Ok(()) => report.verdict(Verdict {
                generation: said.generation,
                ..Verdict::new(class.key.clone(), SUPPORTED, true, (SUPPORTED, known()))
            }),
            no => said.whole(report, (SUPPORTED, ""), &no, "spec.controllerName"),
        }
    }
    served
}

fn known() -> String {
    format!("the fields of Gateway API {RELEASE}x are read")
}

/// Is the release of the cluster's definitions the one that is known? Files have none.
fn release(index: &Index<'_>) -> Result<(), String> {
    if index.settings.files {
        return Ok(());
    }
    match index.snapshot.bundle() {
        Some(bundle) if bundle.starts_with(RELEASE) => Ok(()),
        Some(bundle) => {
            Err(format!("the definitions are of {bundle}, and {}: what both have is served", known()))
        }
        None => Err(format!("the definitions do not say of which release they are; {}", known())),
    }
}
