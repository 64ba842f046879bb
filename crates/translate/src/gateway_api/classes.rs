//! Which GatewayClasses are ours, and what is said of them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use limen_resources::gateway_api::GatewayClass;
use limen_resources::{Facts, Object, Verdict};

use super::No;
use super::deployed::Parameters;
use super::features::FEATURES;
use super::status::Said;
use crate::index::Index;
use crate::report::Report;
use crate::settings::Deployer;

/// The release of the API whose fields are read, as its definitions begin to say it.
const RELEASE: &str = "v1.6.";
const SUPPORTED: &str = "SupportedVersion";

/// What the Gateways of a class with instances of their own cannot do in any case: a balancer gives them one address, and
/// more only where their class lets them through.
const SHARED_ONLY: [&str; 1] = ["GatewayStaticAddresses"];

/// The names of our classes whose Gateways are served. Says what becomes of each class that is ours.
pub(super) fn classes<'a>(index: &Index<'a>, report: &mut Report) -> BTreeSet<&'a str> {
    let mut served = BTreeSet::new();
    let settings = &index.settings.gateway_api;
    for class in of_controller(index, &settings.controller) {
        if settings.only.is_some() {
            // Who started this process speaks of the class, and minds its parameters.
            served.insert(&*class.key.name);
            continue;
        }
        let accepted = match &class.spec.parameters_ref {
            None => {
                served.insert(&*class.key.name);
                Ok(())
            }
            Some(parameters) => {
                let why = format!("no parameters of kind {} are known", parameters.kind);
                Err(("InvalidParameters", why))
            }
        };
        say(index, class, (&accepted, "its Gateways are served", &[]), report);
    }
    served
}

/// The classes whose Gateways get instances of their own, and what is to be changed of what is made for those; `None`:
/// what is said of that is wrong. Says what becomes of each.
pub(super) fn deployed<'a>(
    index: &Index<'a>,
    deployer: &Deployer,
    report: &mut Report,
) -> BTreeMap<&'a str, Option<Parameters>> {
    let mut all = BTreeMap::new();
    for class in of_controller(index, &deployer.controller) {
        let parameters = Parameters::of_class(index, class);
        let accepted = parameters.as_ref().map(|_| ()).map_err(No::clone);
        let fine = "its Gateways are served by instances that are made for them";
        say(index, class, (&accepted, fine, &SHARED_ONLY), report);
        all.insert(&*class.key.name, parameters.ok());
    }
    all
}

fn of_controller<'a>(
    index: &Index<'a>,
    controller: &str,
) -> impl Iterator<Item = &'a Arc<Object<GatewayClass>>> {
    index.snapshot.gateway_classes().iter().filter(move |class| class.spec.controller_name == controller)
}

/// Says whether a class is accepted, and what its Gateways can do: all but `missing`.
fn say(
    index: &Index<'_>,
    class: &Object<GatewayClass>,
    (accepted, fine, missing): (&Result<(), No>, &'static str, &[&'static str]),
    report: &mut Report,
) {
    let said = Said::of(class);
    match accepted {
        Ok(()) => {
            let mut features: Vec<_> =
                FEATURES.iter().copied().filter(|feature| !missing.contains(feature)).collect();
            features.sort_unstable();
            let verdict = Verdict::new(class.key.clone(), "Accepted", true, ("Accepted", fine));
            let facts = Facts { supported_features: features, ..Facts::default() };
            report.verdict(Verdict { generation: said.generation, ..verdict }.with_facts(facts));
        }
        no => said.whole(report, ("Accepted", ""), no, "spec.parametersRef"),
    }
    let supported = release(index).map_err(|why| ("UnsupportedVersion", why));
    match supported {
        Ok(()) => report.verdict(Verdict {
            generation: said.generation,
            ..Verdict::new(class.key.clone(), SUPPORTED, true, (SUPPORTED, known()))
        }),
        no => said.whole(report, (SUPPORTED, ""), &no, "spec.controllerName"),
    }
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
