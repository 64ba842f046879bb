//! Statistics as Istio's proxy exposes Envoy's: `envoy_cluster_<statistic>{cluster_name="…"}` and the like.

use std::sync::Arc;

use super::clusters::{ClusterTotals, Fact};
use super::counters::Registry;
use super::names::Metric;
use super::render::{PAGE_BYTES, Page, label};
use super::statistics::{Chooser, ClusterStat, ListenerStat, exposed};

/// Appends those that are chosen.
pub(super) fn render(registry: &Registry, page: &mut Page<'_>) {
    let chooser = registry.chooser();
    render_listeners(registry, chooser.clone(), page);
    render_clusters(registry, chooser, page);
}

fn render_listeners(registry: &Registry, chooser: Option<Arc<Chooser>>, page: &mut Page<'_>) {
    let listeners: Vec<_> = registry
        .read_listeners()
        .into_iter()
        .map(|(name, totals)| {
            let http = format!("outbound_{name}");
            let of_http = Thing::new(&format!("http.{http};."), "http_conn_manager_prefix", &http);
            (Thing::new(&format!("listener.{name}."), "listener_address", &name), of_http, totals)
        })
        .collect();
    let mut lines = Lines { last: String::new(), chooser };
    for stat in ListenerStat::ALL {
        let metric = stat.metric();
        for (of_listener, of_http, totals) in &listeners {
            let number = totals.get(*stat as usize).copied();
            match metric.name.split_once('.') {
                Some(("http", stat)) => {
                    lines.line("http_", Metric { name: stat, ..metric }, of_http, number, page)
                }
                Some((_, stat)) => {
                    lines.line("listener_", Metric { name: stat, ..metric }, of_listener, number, page)
                }
                None => {}
            }
        }
    }
}

fn render_clusters(registry: &Registry, chooser: Option<Arc<Chooser>>, page: &mut Page<'_>) {
    let mut clusters = registry.read_clusters();
    clusters.retain(ClusterTotals::shows);
    let things: Vec<Thing> = clusters
        .iter()
        .map(|cluster| Thing::new(&format!("cluster.{};.", cluster.name), "cluster_name", &cluster.name))
        .collect();
    let mut lines = Lines { last: String::new(), chooser };
    for stat in ClusterStat::ALL {
        for (cluster, thing) in clusters.iter().zip(&things) {
            let number = cluster.numbers.and_then(|numbers| numbers.get(*stat as usize).copied());
            lines.line("cluster_", stat.metric(), thing, number, page);
        }
    }
    for fact in Fact::ALL {
        for (cluster, thing) in clusters.iter().zip(&things) {
            lines.line("cluster_", fact.metric(), thing, cluster.fact(*fact), page);
        }
    }
}

/// What statistics are about.
struct Thing {
    /// What stands before them in Envoy's name.
    scope: String,
    labels: String,
}

impl Thing {
    fn new(scope: &str, name: &str, value: &str) -> Thing {
        let mut labels = String::new();
        label(&mut labels, name, value);
        Thing { scope: scope.to_owned(), labels }
    }
}

/// Lines of one name stand together below one head.
struct Lines {
    last: String,
    chooser: Option<Arc<Chooser>>,
}

impl Lines {
    /// A line, if there is a number and it is chosen.
    fn line(
        &mut self,
        family: &str,
        metric: Metric,
        thing: &Thing,
        number: Option<u64>,
        page: &mut Page<'_>,
    ) {
        let Some(number) = number else { return };
        let Thing { scope, labels } = thing;
        if self.chooser.as_ref().is_some_and(|chosen| !chosen(&format!("{scope}{}", metric.name))) {
            return;
        }
        let (name, class) = exposed(metric);
        let name = format!("envoy_{family}{name}");
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
