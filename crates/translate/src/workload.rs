//! Who an endpoint is, as metrics name it.

use std::borrow::Cow;
use std::collections::BTreeMap;

use limen_ir::endpoint::WorkloadLabels;
use limen_resources::Object;
use limen_resources::core::Pod;
use limen_resources::istio::WorkloadEntry;

type Labels = BTreeMap<String, String>;

/// The labels of a WorkloadEntry: those of its specification and of its metadata. Where both have one, that of the
/// metadata counts, as in Istio.
pub(crate) fn labels_of(entry: &Object<WorkloadEntry>) -> Cow<'_, Labels> {
    let (spec, meta) = (&entry.spec.labels, &entry.meta.labels);
    if meta.is_empty() {
        return Cow::Borrowed(spec);
    }
    let mut all = spec.clone();
    all.extend(meta.iter().map(|(label, value)| (label.clone(), value.clone())));
    Cow::Owned(all)
}

/// A Pod's.
pub(crate) fn pod_workload(pod: &Object<Pod>, cluster: &str) -> WorkloadLabels {
    let name = workload_name(&pod.key.name, &pod.meta.labels);
    workload(Some(name), &pod.key.namespace, &pod.meta.labels, cluster)
}

/// `name`: the workload's, if it is known.
pub(crate) fn workload(
    name: Option<&str>,
    namespace: &str,
    labels: &Labels,
    cluster: &str,
) -> WorkloadLabels {
    let first = |keys: &[&str]| keys.iter().find_map(|key| labels.get(*key)).map(String::as_str);
    let text = |text: Option<&str>, otherwise: &str| text.unwrap_or(otherwise).to_owned();
    let canonical = first(&["service.istio.io/canonical-name", "app.kubernetes.io/name", "app"]);
    let revision = first(&["service.istio.io/canonical-revision", "app.kubernetes.io/version", "version"]);
    WorkloadLabels {
        workload: text(name, "unknown"),
        namespace: namespace.to_owned(),
        canonical_service: text(canonical.or(name), "unknown"),
        canonical_revision: text(revision, "latest"),
        app: text(first(&["app"]), "unknown"),
        version: text(first(&["version"]), "unknown"),
        cluster: cluster.to_owned(),
    }
}

/// The name of what made a Pod, from the marks that controllers leave: a Deployment, DaemonSet, StatefulSet or Job.
/// A Pod without such marks stands for itself.
fn workload_name<'p>(pod: &'p str, labels: &'p Labels) -> &'p str {
    let without_last = || pod.rsplit_once('-').map_or(pod, |(name, _)| name);
    if let Some(hash) = labels.get("pod-template-hash") {
        let replica_set = without_last();
        let deployment = replica_set.strip_suffix(&**hash).and_then(|name| name.strip_suffix('-'));
        return deployment.unwrap_or(replica_set);
    }
    if let Some(job) = labels.get("batch.kubernetes.io/job-name").or_else(|| labels.get("job-name")) {
        return job;
    }
    let controlled = labels.contains_key("controller-revision-hash");
    if controlled || labels.contains_key("statefulset.kubernetes.io/pod-name") { without_last() } else { pod }
}

#[cfg(test)]
mod tests {
    use super::workload_name;

    #[test]
    fn the_marks_of_controllers_lead_to_the_workload() {
        let name = |pod: &str, labels: &[(&str, &str)]| {
            let labels = labels.iter().map(|(key, value)| (key.to_string(), value.to_string())).collect();
            workload_name(pod, &labels).to_owned()
        };
        assert_eq!(name("web-5d4f8c7b9-x2x7z", &[("pod-template-hash", "5d4f8c7b9")]), "web");
        assert_eq!(name("agent-x2x7z", &[("controller-revision-hash", "abc")]), "agent");
        assert_eq!(name("db-0", &[("statefulset.kubernetes.io/pod-name", "db-0")]), "db");
        assert_eq!(name("backup-28-abcde", &[("job-name", "backup-28")]), "backup-28");
        assert_eq!(name("hand-made", &[]), "hand-made");
    }
}
