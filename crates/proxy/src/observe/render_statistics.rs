//! Statistics as Istio's proxy exposes Envoy's: `envoy_cluster_<statistic>{cluster_name="…"}` and the like.

use super::clusters::{ClusterTotals, Fact};
use super::counters::Registry;
use super::names::Metric;
use super::render::{PAGE_BYTES, Page, label};
use super::statistics::{ClusterStat, ListenerStat, exposed};

/// Appends all of them.
pub(super) fn render(registry: &Registry, page: &mut Page<'_>) {
    render_listeners(registry, page);
    render_clusters(registry, page);
}

fn render_listeners(registry: &Registry, page: &mut Page<'_>) {
    let listeners = registry.read_listeners();
    let mut family = Family::of("");
    for stat in ListenerStat::ALL {
        let metric = stat.metric();
        let of_http = metric.name.starts_with("http.");
        let labels = |name: &str| match of_http {
            true => labelled("http_conn_manager_prefix", &format!("outbound_{name}")),
            false => labelled("listener_address", name),
        };
        for (name, totals) in &listeners {
            family.line(metric, &labels(name), totals.get(*stat as usize).copied(), page);
        }
    }
}

fn render_clusters(registry: &Registry, page: &mut Page<'_>) {
    let mut clusters = registry.read_clusters();
    clusters.retain(ClusterTotals::shows);
    let labels: Vec<String> =
        clusters.iter().map(|cluster| labelled("cluster_name", &cluster.name)).collect();
    let mut family = Family::of("cluster_");
    for stat in ClusterStat::ALL {
        for (cluster, labels) in clusters.iter().zip(&labels) {
            let number = cluster.numbers.and_then(|numbers| numbers.get(*stat as usize).copied());
            family.line(stat.metric(), labels, number, page);
        }
    }
    for fact in Fact::ALL {
        for (cluster, labels) in clusters.iter().zip(&labels) {
            family.line(fact.metric(), labels, cluster.fact(*fact), page);
        }
    }
}

fn labelled(name: &str, value: &str) -> String {
    let mut labels = String::new();
    label(&mut labels, name, value);
    labels
}

/// Lines of one name stand together below one head.
struct Family {
    prefix: &'static str,
    last: String,
}

impl Family {
    fn of(prefix: &'static str) -> Family {
        Family { prefix, last: String::new() }
    }

    /// A line, if there is a number.
    fn line(&mut self, metric: Metric, labels: &str, number: Option<u64>, page: &mut Page<'_>) {
        let Some(number) = number else { return };
        let (name, class) = exposed(metric);
        let name = format!("envoy_{}{name}", self.prefix);
        if self.last != name {
            let kind = metric.kind.as_str();
            page.text.push_str(&format!("# HELP {name} {}\n# TYPE {name} {kind}\n", metric.help));
            self.last.clone_from(&name);
        }
        let class = class.map(|class| format!(",response_code_class=\"{class}\"")).unwrap_or_default();
        page.text.push_str(&format!("{name}{{{labels}{class}}} {number}\n"));
        page.turn(PAGE_BYTES);
    }
}
