//! As whom the workloads of a service run: the names that the mesh's certificates of its endpoints carry.

use std::collections::BTreeSet;
use std::sync::Arc;

use limen_resources::Object;
use limen_resources::core::Service;

use super::Inputs;
use crate::services::ServiceSource;
use crate::settings::Settings;

/// Accounts that a Service names itself, in its own namespace.
const KUBERNETES_ACCOUNTS: &str = "alpha.istio.io/kubernetes-serviceaccounts";
/// The same by their whole names.
const CANONICAL_ACCOUNTS: &str = "alpha.istio.io/canonical-serviceaccounts";

/// Names, one of which the certificate of an endpoint carries; none: nothing is known of any. They hold for the service
/// as a whole, whatever its port or subset (Istio). A gateway without identity has no use for them.
pub(super) fn accounts(inputs: &Inputs, settings: &Settings) -> Arc<[String]> {
    if settings.identity.is_none() {
        return Arc::default();
    }
    let (domain, aliases) = settings.mesh.trust_domains();
    let mut accounts = Accounts { domain, names: BTreeSet::new() };
    for pod in &inputs.pods {
        accounts.add(&pod.key.namespace, &pod.spec.service_account_name);
    }
    for entry in &inputs.workload_entries {
        accounts.add(&entry.key.namespace, &entry.spec.service_account);
    }
    match &inputs.service.source {
        ServiceSource::Kubernetes(service) => accounts.annotated(service),
        ServiceSource::Entries(entries) => {
            for entry in entries {
                accounts.names.extend(entry.spec.subject_alt_names.iter().cloned());
                for endpoint in &entry.spec.endpoints {
                    accounts.add(&entry.key.namespace, &endpoint.service_account);
                }
            }
        }
        ServiceSource::Outside(_)
        | ServiceSource::Backend
        | ServiceSource::Address(_)
        | ServiceSource::XBackend(_) => {}
    }
    accounts.also_in(aliases)
}

struct Accounts<'a> {
    domain: &'a str,
    names: BTreeSet<String>,
}

impl Accounts<'_> {
    fn add(&mut self, namespace: &str, account: &str) {
        if !account.is_empty() {
            self.names.insert(format!("spiffe://{}/ns/{namespace}/sa/{account}", self.domain));
        }
    }

    fn annotated(&mut self, service: &Object<Service>) {
        let listed = |annotation| service.meta.annotations.get(annotation).map_or("", String::as_str);
        for account in listed(KUBERNETES_ACCOUNTS).split(',') {
            self.add(&service.key.namespace, account.trim());
        }
        let whole = listed(CANONICAL_ACCOUNTS).split(',').map(str::trim).filter(|name| !name.is_empty());
        self.names.extend(whole.map(str::to_owned));
    }

    /// With the same accounts of the other names that the mesh goes by.
    fn also_in(self, aliases: &[String]) -> Arc<[String]> {
        let mut all = self.names.clone();
        for name in &self.names {
            let account = name.strip_prefix("spiffe://").and_then(|rest| rest.split_once('/'));
            let Some((_, account)) = account else { continue };
            all.extend(aliases.iter().map(|alias| format!("spiffe://{alias}/{account}")));
        }
        all.into_iter().collect()
    }
}
