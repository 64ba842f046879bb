//! Statistics of clusters as Istio's proxy exposes Envoy's: `envoy_cluster_<statistic>{cluster_name="…"}`.

use super::clusters::{ClusterTotals, Fact};
use super::counters::Registry;
use super::names::Metric;
use super::render::{PAGE_BYTES, Page, label};
use super::statistics::{ClusterStat, exposed};

/// Appends all of them.
pub(super) fn render(registry: &Registry, page: &mut Page<'_>) {
    let mut clusters = registry.read_clusters();
    clusters.retain(ClusterTotals::shows);
    let labelled: Vec<(String, ClusterTotals)> = clusters
        .into_iter()
        .map(|cluster| {
            let mut labels = String::new();
            label(&mut labels, "cluster_name", &cluster.name);
            (labels, cluster)
        })
        .collect();
    let mut family = Family { last: String::new() };
    for stat in ClusterStat::ALL {
        let number = |cluster: &ClusterTotals| cluster.numbers?.get(*stat as usize).copied();
        family.render(stat.metric(), &labelled, number, page);
    }
    for fact in Fact::ALL {
        family.render(fact.metric(), &labelled, |cluster| cluster.fact(*fact), page);
    }
}

/// What was written last: the lines of one name stand together below one head.
struct Family {
    last: String,
}

impl Family {
    fn render(
        &mut self,
        statistic: Metric,
        clusters: &[(String, ClusterTotals)],
        number: impl Fn(&ClusterTotals) -> Option<u64>,
        page: &mut Page<'_>,
    ) {
        let (name, class) = exposed(statistic);
        for (labels, cluster) in clusters {
            let Some(number) = number(cluster) else { continue };
            if self.last != name {
                page.text.push_str(&format!(
                    "# HELP envoy_cluster_{name} {}\n# TYPE envoy_cluster_{name} {}\n",
                    statistic.help,
                    statistic.kind.as_str()
                ));
                self.last.clone_from(&name);
            }
            let class = class.map(|class| format!(",response_code_class=\"{class}\"")).unwrap_or_default();
            page.text.push_str(&format!("envoy_cluster_{name}{{{labels}{class}}} {number}\n"));
            page.turn(PAGE_BYTES);
        }
    }
}
